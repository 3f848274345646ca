"""A server that chooses the company of a client: substituted and unsigned keys, Sybils, invented clients, suppression, downgrade.

If all the others of a cohort are the server's, the sum less their updates is the update of the one who is not. Keys that the
server hands on unsigned let it be all the others (Bonawitz et al., CCS 2017, section 6: the server "simulates" users unless
keys are signed under an identity of the clients'); so does an open door for identities (Douceur, "The Sybil Attack", IPTPS 2002;
used against federated learning by Boenisch et al., "Reconstructing Individual Data Points in Federated Learning Hardened with
Differential Privacy and Secure Aggregation", IEEE EuroS&P 2023, section on Sybil devices), and a server that keeps the others'
keys back. What stands against it: one roster that is not the server's, and numbers that are the client's own.
"""

import contextlib
import json

import numpy as np
import pytest

from secagg import Client, Identity, Integer, Params, Roster
from secagg.errors import AbortError, AuthenticationError, InputError, ParameterError, PeerError
from secagg.protocols.pairwise.messages import KeysRequest, Kind, SharesRequest
from support.federation import LENGTH, Federation, fields

VICTIM = "c3"


class Told(Roster):
    """Keys of the server's choice that pass for another roster, as far as a hash in a request goes."""

    def __init__(self, keys, server, passes_for):
        super().__init__(keys, server)
        object.__setattr__(self, "passes_for", passes_for)

    def hash(self):
        return self.passes_for.hash()


def puppets(f, names, victim=None):
    """A federation of the same server in which `names` are the server's own, among them everybody's keys but the honest ones'."""
    g = Federation(len(f.ids), params=f.params)
    g.server_key, honest = f.server_key, [name for name in f.ids if name not in names]
    g.keys.update({name: f.keys[name] for name in honest})
    g.roster = Told({name: key.verify_key for name, key in g.keys.items()}, f.roster.server, f.roster)
    g.server = type(f.server)(g.params, identity=g.server_key, roster=g.roster)
    g.clients = {name: g.new_client(name) for name in g.ids}
    g.clients.update({name: f.clients[name] for name in honest if victim is None})
    return g


def others(f):
    return [name for name in f.ids if name != VICTIM]


# -- substituted keys, invented clients -------------------------------------------------------------------------------


def test_a_client_whose_keys_come_from_the_server_is_alone_with_it():
    """An honest client of the engine, given a roster by the server in place of its own: the sum is its update and puppets'."""
    f = Federation(5)
    g = puppets(f, others(f), victim="no roster")
    g.round()
    found = g.server.result(1).sum - sum(g.updates[name] for name in others(g))
    np.testing.assert_array_equal(found, g.updates[VICTIM])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_with_its_own_roster_it_deals_no_share_to_any_of_them(count):
    f = Federation(5)
    g = puppets(f, others(f)[:count])
    g.server.open_round(1)
    g.phase()
    with contextlib.suppress(AbortError):  # too few have dealt, where there are few puppets
        g.phase()
    for name in set(g.ids) - set(others(f)[:count]):
        assert isinstance(g.errors[name], AuthenticationError)
        assert g.clients[name]._core._state.batch.setup is None
        assert {frame[3] for who, frame in g.up if who == name} == {Kind.ADVERTISEMENT}
    while g.server.phase != "idle":
        g.phase()
    assert VICTIM not in {name for name, frame in g.up if frame[3] != Kind.ADVERTISEMENT}


def signed_by(f, name, frame, identity):
    f.keys[name], own = identity, f.keys[name]
    made = f.forge_client(name, Kind.ADVERTISEMENT, f.body(frame))
    f.keys[name] = own
    return made


def test_unsigned_and_wrongly_signed_keys_are_refused():
    f = Federation(5)
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    body = f.body(inbox[VICTIM][0])
    true, body_of = body.advertisements, f.body(body.advertisements[1])
    fresh = Federation(5)
    fresh.server.open_round(1)
    fresh.phase()
    theirs = fresh.body(fresh.body(fresh.requests()["c1"][0]).advertisements[1])
    at = true[1].index(b"\xc4\x40") + 2  # the 64 bytes of the signature
    lies = [
        true[1][:at] + bytes(64) + true[1][at + 64 :],  # none
        true[1][:at] + os_random(64) + true[1][at + 64 :],
        signed_by(f, "c1", true[1], Identity.generate()),
        signed_by(f, "c1", true[1], f.server_key),  # the server's own signature
        signed_by(f, "c1", true[1], f.keys["c0"]),  # another client's
        fresh.forge_client(
            "c1", Kind.ADVERTISEMENT, fields(body_of, mask_keys=theirs.mask_keys), session=f.server.session
        ),
        true[1].replace(body_of.mask_keys, theirs.mask_keys),
        true[1].replace(body_of.channel_key, theirs.channel_key),
    ]
    for lie in lies:
        assert lie != true[1]
        shown = fields(body, advertisements=[true[0], lie, *true[2:]])
        with pytest.raises(AuthenticationError):
            f.clients[VICTIM].receive(f.forge(Kind.SHARES_REQUEST, shown))
    assert f.clients[VICTIM].outbox() == []
    f.bring(f.hand(inbox))
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


def os_random(length):
    return Identity.generate().sign(b"")[:length]


def test_invented_clients_are_refused_wherever_they_are_named():
    """Somebody outside the roster: in advertisements, among participants, among survivors, and as a sender."""
    f, stranger = Federation(5), Identity.generate()
    f.keys["c9"] = stranger
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    body = f.body(inbox[VICTIM][0])
    invented = f.forge_client("c9", Kind.ADVERTISEMENT, f.body(body.advertisements[4]))
    for shown in ([*body.advertisements[:4], invented], [*body.advertisements, invented]):
        with pytest.raises(PeerError):
            f.clients[VICTIM].receive(f.forge(Kind.SHARES_REQUEST, fields(body, advertisements=shown)))
    with pytest.raises(AuthenticationError, match="not in the roster"):
        f.server.receive(invented)
    f.bring(f.hand(inbox))
    f.server.close_phase()
    inbox = f.requests()
    masked = f.body(inbox[VICTIM][0])
    for participants in ([0, 1, 2, 3, 5], [*masked.participants, 5], [0, 1, 2, 3, 1 << 40]):
        with pytest.raises(PeerError):
            f.clients[VICTIM].receive(f.forge(Kind.MASKED_REQUEST, fields(masked, participants=participants)))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    inbox = f.requests()
    unmask = f.body(inbox[VICTIM][0])
    header = f.forge_client("c9", Kind.MASKED_HEADER, f.body(unmask.headers[4]))
    with pytest.raises(AuthenticationError, match="outside the roster"):
        f.clients[VICTIM].receive(f.forge(Kind.UNMASK_REQUEST, fields(unmask, headers=[*unmask.headers[:4], header])))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids)


# -- Sybils -----------------------------------------------------------------------------------------------------------


def test_sybils_in_the_roster_itself_are_counted_as_corrupt_and_no_roster_can_tell():
    """The limit of it: with n - 1 of them the one honest client is alone, whatever the protocol; Params count c of them."""
    f = Federation(5)
    mine = {name: Identity.generate() for name in others(f)}
    f.roster = Roster({name: mine.get(name, f.keys[name]).verify_key for name in f.ids}, f.server_key.verify_key)
    f.keys.update(mine)
    f.server = type(f.server)(f.params, identity=f.server_key, roster=f.roster)
    f.clients = {name: f.new_client(name) for name in f.ids}
    f.round()
    found = f.server.result(1).sum - sum(f.updates[name] for name in others(f))
    np.testing.assert_array_equal(found, f.updates[VICTIM])
    assert f.params.corrupt == 1  # what these Params promise anything about
    with pytest.raises(ParameterError, match="min_honest"):
        Params(clients=5, length=LENGTH, corrupt=4)


def test_one_key_under_two_names_is_in_no_roster(tmp_path):
    keys = {name: Identity.generate() for name in ("a", "b", "c")}
    good = Roster({name: key.verify_key for name, key in keys.items()}, Identity.generate().verify_key)
    good.save(tmp_path / "good.json")
    told = json.loads((tmp_path / "good.json").read_text())
    doubled = {**told["clients"], "b": told["clients"]["a"]}
    (tmp_path / "doubled.json").write_text(json.dumps({**told, "clients": doubled}))
    with pytest.raises(ParameterError, match="same verify key"):
        Roster.load(tmp_path / "doubled.json")
    upper = (tmp_path / "good.json").read_text().replace('"c"', '"a"')
    (tmp_path / "twice.json").write_text(upper)
    with pytest.raises(InputError):
        Roster.load(tmp_path / "twice.json")
    assert Roster.load(tmp_path / "good.json") == good


def test_one_client_cannot_speak_for_two():
    """Not with its identity under another's name, not by taking another's keys as its own, not by sending another's frames."""
    f = Federation(5)
    with pytest.raises(ParameterError, match="not the roster's key"):
        Client(f.params, me="c1", identity=f.keys["c0"], roster=f.roster)
    f.server.open_round(1)
    sent = dict(f.hand(f.requests()))
    assert f.server.receive(sent["c0"]) == "c0"
    for claimed in (
        sent["c0"].replace(b"\xa2c0", b"\xa2c1"),
        f.forge_client("c1", Kind.ADVERTISEMENT, f.body(sent["c0"])),
    ):
        with pytest.raises(AuthenticationError):
            f.server.receive(claimed)
    with pytest.raises(AuthenticationError, match="carrier"):
        f.server.receive(sent["c1"], sender="c0")
    f.bring([pair for pair in sent.items() if pair[0] != "c0"])
    f.server.close_phase()
    body = f.body(f.requests()[VICTIM][0])
    copied = f.forge_client("c1", Kind.ADVERTISEMENT, f.body(body.advertisements[0]))
    shown = fields(body, advertisements=[body.advertisements[0], copied, *body.advertisements[2:]])
    with pytest.raises(AuthenticationError, match="used twice"):
        f.clients[VICTIM].receive(f.forge(Kind.SHARES_REQUEST, shown))


# -- suppression and downgrade ----------------------------------------------------------------------------------------

STRONG = {"clients": 7, "length": LENGTH, "encoding": Integer(-50, 1000), "frame_bytes": 64, "corrupt": 1}
WEAK = {"threat": "semi-honest", "threshold": 2, "min_clients": 2, "min_honest": 1, "min_cohort": 2}


def weak_server(victims_params):
    """Server and corrupt c0 under Params that ask for almost nobody, and pass for the victim's by their hash."""
    lax = Params(**STRONG, **WEAK)
    lax.__dict__["hash"] = victims_params.hash
    f = Federation(7, params=lax)
    f.clients[VICTIM] = f.new_client(VICTIM, params=victims_params)
    return f


def suppress(f):
    """Keep everybody's keys back but those of the corrupt client and the victim's; subtract what the corrupt one sent."""
    kept = ["c0", VICTIM]
    f.server.open_round(1, cohort=kept)
    while f.server.phase != "idle":
        f.phase(set(f.ids) - set(kept))
    return f.server.result(1).sum - f.updates["c0"]


def test_where_the_server_may_set_the_numbers_suppression_leaves_one():
    f = weak_server(Params(**STRONG, **WEAK))
    np.testing.assert_array_equal(suppress(f), f.updates[VICTIM])


@pytest.mark.parametrize("others_kept", range(1, 5))
def test_a_client_shares_in_no_cohort_below_its_own_number(others_kept):
    """Default Params: t = m = 6 of 7, so that a cohort of six is the smallest."""
    f = weak_server(Params(**STRONG))
    assert f.clients[VICTIM].params.min_cohort == 6
    kept = ["c0", VICTIM, *[name for name in f.ids if name not in ("c0", VICTIM)][:others_kept]]
    f.server.open_round(1, cohort=kept)
    f.until("masked", set(f.ids) - set(kept))
    left = {frame[3] for who, frame in f.up if who == VICTIM}
    if len(kept) >= 6:
        assert VICTIM not in f.errors
        assert left == {Kind.ADVERTISEMENT, Kind.DEALING}
    else:
        assert "min_cohort" in str(f.errors[VICTIM])
        assert left == {Kind.ADVERTISEMENT}


@pytest.mark.parametrize("phase", ["shares", "masked", "unmask"])
def test_suppression_in_a_later_phase_is_refused_there(phase):
    """A full cohort first, then fewer: of members, of participants, of survivors."""
    f = Federation(params=Params(**STRONG), clients=7)
    f.server.open_round(1)
    f.until("masked" if phase == "shares" else phase)
    body = f.body(f.requests()[VICTIM][0])
    kind = Kind.UNMASK_REQUEST if phase == "unmask" else Kind.MASKED_REQUEST
    kept = [0, 3]
    lies = {
        "shares": lambda: fields(body, delivery=fields(body.delivery, members=kept), participants=kept),
        "masked": lambda: fields(body, participants=kept),
        "unmask": lambda: fields(body, headers=[body.headers[rank] for rank in kept]),
    }
    with pytest.raises(PeerError, match=r"min_cohort|outside Params|min_clients"):
        f.clients[VICTIM].receive(f.forge(kind, lies[phase]()))
    assert f.clients[VICTIM].outbox() == []


def test_a_threshold_is_never_the_servers_to_lower():
    """A request names all its Params by one hash: another value of any is refused, and weak ones cannot be built."""
    f = Federation(params=Params(**STRONG), clients=7)
    strong = f.params
    for change in (
        {"threshold": strong.threshold - 1},
        {"min_clients": strong.min_clients - 1},
        {"min_cohort": 7},
        {"threat": "semi-honest"},
        {"corrupt": 0},
        {"min_honest": 1},
        {"max_weight": 2},
        {"frame_bytes": 128},
    ):
        other = Params(**{**STRONG, **change})
        g = Federation(params=other, clients=7)
        g.clients[VICTIM] = g.new_client(VICTIM, params=strong)
        g.server.open_round(1)
        with pytest.raises(AuthenticationError, match="Params"):
            g.clients[VICTIM].receive(g.requests()[VICTIM][0])
        assert g.clients[VICTIM].outbox() == []
    for threshold in (1, 2, 3, 4):
        with pytest.raises(ParameterError, match=r"threshold|min_honest"):
            Params(**{**STRONG, "threshold": threshold})


def test_what_was_agreed_cannot_be_renegotiated_within_a_session():
    f = Federation(params=Params(**STRONG), clients=7)
    f.round(1)
    lax = Params(**STRONG, **WEAK)
    request = KeysRequest(2, 1, lax.hash, f.roster.hash(), f.body(f.down[0][1]).server_key)
    with pytest.raises(AuthenticationError, match="Params"):
        f.clients[VICTIM].receive(f.forge(Kind.KEYS_REQUEST, request))
    with pytest.raises(PeerError):  # nor is a new setup begun in the middle of an old one's shares
        f.clients[VICTIM].receive(f.forge(Kind.SHARES_REQUEST, SharesRequest(1, [])))
    f.round(2)
    f.check(f.ids, 2)
