"""What a lying server may carry from one place to another: frames, rounds, sessions, keys, shares, and the committee's draw.

Members are restored from one state for every try, without a ledger: what stops these is not that they remember. Who answers for
which set, which secrets mask what, and what liars spoil is in test_oneshot_sets, test_oneshot_secrets and test_oneshot_liars.
"""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Client, FixedPoint, Member, Roster, Server
from secagg.errors import AuthenticationError, EquivocationError, InputError, PeerError
from secagg.protocols.accounts import participants_digest
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import KeysRequest, Kind, MaskedHeader, setup_digest
from secagg.protocols.oneshot.setup import Setup, committee
from secagg.wire import SERVER, seal_envelope
from support.committee import SESSION, Committee, refused
from support.committee_watch import Instruments
from support.openers import Opener

SIX = {"min_clients": 4, "threshold": 5, "packing": 2, "corrupt": 1}
MANY = {"committee": 7, "corrupt": 1, "threshold": 5, "packing": 1, "min_clients": 10}


def refusals(attack, member, *frames):
    """All of these are refused; return the errors."""
    found = attack.told(member, frames)
    assert len(found) == len(frames)
    assert all(isinstance(each, PeerError) for each in found), found
    return found


def still_exact(attack, names):
    np.testing.assert_array_equal(attack.opened(names, attack.answers(names, attack.f.ids)), attack.plain(*names))


# -- models -------------------------------------------------------------------------------------------------------------------


def test_updates_of_two_models_are_in_no_sum_and_one_model_is_summed_once():
    f = Committee(8, min_clients=4, threshold=7, packing=2, corrupt=1)
    attack = Opener(f, contexts=dict.fromkeys(f.ids[4:], b"the server's own model"))
    one, other = f.ids[:4], f.ids[4:]
    for mixed in (f.ids, [*one, "c7"], ["c0", *other], f.ids[2:6]):
        for error in refusals(attack, "c1", attack.ask("c1", mixed)):
            assert "different models" in str(error)
    first, second = attack.told("c1", [attack.ask("c1", one), attack.ask("c1", other)])
    assert isinstance(first, np.ndarray) and isinstance(second, EquivocationError)
    still_exact(attack, one)
    still_exact(attack, other)


# -- rounds and sessions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [1, 2])
def test_of_two_rounds_with_the_same_clients_each_is_answered_once_and_in_order(answered):
    """Round 1 was left open by the server. It may be answered for late, before round 2 and never after it."""
    f = Committee(6, rounds_per_setup=3, **SIX)
    first = Opener(f, 1)
    f.server.abort()
    second = Opener(f, 2)
    asked = {1: first.ask("c2", f.ids), 2: second.ask("c2", f.ids)}
    fewer = {1: first.ask("c2", f.ids[:4]), 2: second.ask("c2", f.ids[:4])}
    party = second.member("c2")
    (told,) = second.tell(party, [asked[answered]])
    assert isinstance(told, np.ndarray)
    found = second.tell(party, [fewer[1], fewer[2], asked[answered]])
    if answered == 2:
        assert [type(each) for each in found[:2]] == [PeerError, EquivocationError]
    else:  # round 2 was not answered for, with either set
        assert isinstance(found[0], EquivocationError) and isinstance(found[1], np.ndarray)
        assert isinstance(second.tell(party, [asked[2]])[0], EquivocationError)
        return
    np.testing.assert_array_equal(found[2], told)


def test_nothing_of_another_session_counts():
    """The same people under the same Params, in two sessions that the server runs: no frame of one is one of the other's."""
    f = Committee(6, **SIX)
    here = Opener(f)
    g = Committee(6, **SIX)
    g.keys, g.server_key, g.roster, g.session = f.keys, f.server_key, f.roster, bytes(range(50, 66))
    g.server = Server(g.params, identity=g.server_key, roster=g.roster, session=g.session)
    g.clients = {name: g.new_client(name, session=g.session) for name in g.ids}
    there = Opener(g)
    assert here.setup.hash != there.setup.hash
    mine, theirs = here.body("c2", f.ids), there.body("c2", f.ids)
    refusals(here, "c2", there.ask("c2", f.ids))
    for changes in (
        {"headers": theirs.headers}, {"headers": [theirs.headers[0], *mine.headers[1:]]}, {"keys": theirs.keys},
        {"keys": theirs.keys, "setup_hash": theirs.setup_hash, "headers": theirs.headers, "sealed": theirs.sealed,
         "paths": theirs.paths},
        {"sealed": theirs.sealed, "paths": theirs.paths},
    ):  # fmt: skip
        refusals(here, "c2", here.ask("c2", f.ids, **changes))
    request = seal_envelope(Kind.REVEAL_REQUEST, g.session, SERVER, mine, f.server_key.sign)
    refusals(here, "c2", request)
    refusals(there, "c2", request)
    for name, frame in here.headers.items():
        with pytest.raises(AuthenticationError):
            g.server.receive(frame, sender=name)
    still_exact(here, f.ids)
    still_exact(there, f.ids)


@pytest.mark.parametrize("kind", [Client, Member])
def test_who_has_spoken_in_a_session_speaks_in_no_other(kind):
    """A session that was learnt from the server is final from the first answer on: its rounds have an order."""
    f = Committee(6, **SIX)
    f.clients["c0"].close()
    given = {"me": "c0", "identity": f.keys["c0"], "roster": f.roster}
    party = f.clients["c0"] = kind(f.params, **given)
    f.server.open_round(1, f.ids[1:])  # everybody is a member; c0 sends no update
    while f.server.phase != "idle":
        for name, frames in f.requests().items():
            for frame in frames:
                f.clients[name].receive(frame)
                if getattr(f.clients[name], "awaiting", None):
                    f.clients[name].submit(f.updates[name])
            for out in f.clients[name].outbox():
                f.server.receive(out, sender=name)
        f.server.close_phase()
    f.exact(f.server.result(1), f.ids[1:])
    request = KeysRequest(5, f.params.rounds_per_setup, f.params.hash, f.roster.hash(), bytes(31) + b"\x09")
    other = seal_envelope(Kind.KEYS_REQUEST, bytes(16), SERVER, request, f.server_key.sign)
    before = party._core.freeze()
    with pytest.raises(AuthenticationError, match="another session"):
        party.receive(other)
    assert party._core.freeze() == before and party.outbox() == []


@pytest.mark.parametrize("spoken", [False, True], ids=["given", "learnt and spoken in"])
def test_a_whole_request_of_another_session_of_the_same_people_is_refused(spoken):
    """Its keys are theirs, and rightly signed: for the session that the server would like this client in."""
    f = Committee(6, **SIX)
    f.until("masked")
    request = f.asked(Kind.MASKED_REQUEST)["c0"]
    g = Committee(6, **SIX)
    g.keys, g.server_key, g.roster, g.session = f.keys, f.server_key, f.roster, bytes(range(50, 66))
    g.server = Server(g.params, identity=g.server_key, roster=g.roster, session=g.session)
    g.clients = {name: g.new_client(name, session=None if spoken else g.session) for name in g.ids}
    if spoken:
        g.exact(g.round(0), g.ids)
    refused(g.clients["c0"], request, "another session", AuthenticationError)
    f.clients["c0"].receive(request)
    g.exact(g.round(1), g.ids)


def test_requests_in_another_name_are_nobodys():
    """Signed by the server, or by the one whose name they bear: members and clients take requests of the server's alone."""
    f = Committee(6, **SIX)
    f.server.open_round(1)
    while f.server.phase != "idle":
        requests = f.requests()
        (frame,) = requests["c1"]
        for name, key in (("c0", f.server_key), ("c0", f.keys["c0"]), ("c1", f.keys["c1"]), ("holder", f.server_key)):
            lie = seal_envelope(frame[3], f.server.session, name, f.body(frame), key.sign)
            refused(f.clients["c1"], lie)
        refused(f.clients["c1"], seal_envelope(frame[3], f.server.session, SERVER, f.body(frame), f.keys["c0"].sign))
        f.bring(f.hand(requests))
        f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


# -- shares and keys of others ------------------------------------------------------------------------------------------------


def test_an_honest_clients_shares_under_a_corrupt_clients_header_tell_nothing():
    """The server has a corrupt client sign for another's boxes and key: they are sealed to that name, and do not open under this.

    Were it otherwise, a set with c0's shares twice would be open, and twice c0's update in it.
    """
    f = Committee(6, **SIX)
    attack = Opener(f)
    told = f.body(attack.headers["c0"])
    attack.headers["c5"] = f.forged(
        attack.headers["c5"], channel_key=told.channel_key, shares_root=told.shares_root, tag=told.tag
    )
    attack.payloads["c5"] = attack.payloads["c0"]
    for member in f.ids[:5]:
        (found,) = attack.told(member, [attack.ask(member, f.ids)])
        assert found == (5,)  # a complaint of c5, and no sum
    assert attack.opened(f.ids, attack.answers(f.ids, f.ids)) is None
    still_exact(attack, f.ids[:5])


def test_a_corrupt_client_with_the_servers_or_a_members_key_is_refused():
    f = Committee(6, **SIX)
    attack = Opener(f)
    for key in (attack.setup.server_key, *attack.setup.channel_keys):
        lie = f.forged(attack.headers["c5"], channel_key=key)
        (found,) = refusals(attack, "c1", attack.ask("c1", f.ids, headers=[*attack.body("c1", f.ids).headers[:5], lie]))
        assert "reflected" in str(found)
    still_exact(attack, f.ids)


def test_a_setup_in_which_the_server_holds_an_honest_members_key_is_not_answered_in():
    """Clients cannot tell it from the real one if it is signed with that member's key; the member can."""
    f = Committee(6, **SIX)
    f.until("masked")
    frames = f.asked(Kind.MASKED_REQUEST)
    keys = list(f.setup.frames)
    stale = f.forged(keys[2], channel_key=bytes(31) + b"\x09")  # in c2's name, with its key: as if stolen, or of a copy
    changed = [*keys[:2], stale, *keys[3:]]
    setup = Setup.read(changed, f.server.session, f.roster, f.params)
    for name in f.ids:
        f.clients[name].receive(f.forged(frames[name], keys=changed, setup_hash=setup.hash))
        f.clients[name].submit(f.updates[name])
    headers = {name: next(x for x in f.clients[name].outbox() if x[3] == Kind.MASKED_HEADER) for name in f.ids}
    assert all(isinstance(f.body(frame), MaskedHeader) for frame in headers.values())
    attack = object.__new__(Opener)
    attack.f, attack.round_id, attack.setup = f, 1, setup
    attack.participants, attack.headers = list(range(6)), headers
    attack.payloads, attack.snapshots = {}, {name: f.clients[name].snapshot() for name in f.ids}
    box = sharing.box_bytes(f.params)
    attack.boxes = lambda name: [bytes(box)] * 6
    (found,) = refusals(attack, "c2", attack.ask("c2", f.ids))
    assert "our own key was left out or substituted" in str(found)
    (found,) = refusals(attack, "c2", attack.ask("c2", f.ids, keys=keys))
    (found,) = refusals(attack, "c2", attack.ask("c2", f.ids, keys=keys, setup_hash=f.setup.hash))
    assert "header of another setup" in str(found)


def setups(f):
    """Member keys that the server can have signed if members are corrupt, and what a client says to them."""
    keys, ids = list(f.setup.frames), f.setup.ids
    outside = next(name for name in f.ids if name not in ids)
    theirs = seal_envelope(Kind.MEMBER_KEY, SESSION, outside, f.body(keys[0]), f.keys[outside].sign)
    joined = dict(zip(ids, keys, strict=True)) | {outside: f.forged(theirs, channel_key=bytes(31) + b"\x09")}
    ordered = [joined[name] for name in sorted(joined, key=str.encode)]
    yield "outside the committee", [frame for frame in ordered if frame != keys[3]]
    yield "too few or too many", ordered
    yield "used twice", [f.forged(keys[0], channel_key=f.body(keys[1]).channel_key), *keys[1:]]
    yield "reflected", [f.forged(keys[0], channel_key=f.setup.server_key), *keys[1:]]
    yield "another roster", [f.forged(frame, roster_hash=bytes(32)) for frame in keys]
    yield "different requests", [keys[0], f.forged(keys[1], roster_hash=bytes(32)), *keys[2:]]
    yield "other Params", [f.forged(frame, rounds=4) for frame in keys]
    yield "repeated or unsorted", [keys[1], keys[0], *keys[2:]]
    yield "repeated or unsorted", [keys[0], keys[0], *keys[2:]]
    for odd in (31, 33, 0):
        yield "32 bytes", [f.forged(keys[0], channel_key=bytes(odd)), *keys[1:]]
        yield "32 bytes", [f.forged(frame, server_key=bytes(odd)) for frame in keys]


def test_setups_that_corrupt_members_could_make_with_the_server_are_refused():
    """All of it rightly signed, and named by its hash: what is wrong is what the keys say, or whose they are."""
    f = Committee(12, **MANY)
    f.until("masked")
    requests = f.asked(Kind.MASKED_REQUEST)
    tried = 0
    for words, keys in setups(f):
        lie = f.forged(requests["c0"], keys=keys, setup_hash=setup_digest(SESSION, keys))
        refused(f.clients["c0"], lie, words)
        tried += 1
    assert tried == 15
    f.bring(f.hand({name: [frame] for name, frame in requests.items()}))
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)


@pytest.mark.parametrize("more", ["a byte", "a client's", "none"])
def test_shares_and_paths_are_as_many_as_headers_and_end_there(more):
    f = Committee(6, **SIX)
    attack = Opener(f)
    body = attack.body("c2", f.ids)
    box, path = sharing.box_bytes(f.params), len(body.paths) // 6
    tail = {"a byte": (1, 1), "a client's": (box, path), "none": (0, 0)}[more]
    lies = [{"sealed": body.sealed + bytes(tail[0])}, {"paths": body.paths + bytes(tail[1])}] if tail != (0, 0) else [
        {"sealed": b""}, {"paths": b""}, {"sealed": b"", "paths": b""}
    ]  # fmt: skip
    for lie in lies:
        (found,) = refusals(attack, "c2", attack.ask("c2", f.ids, **lie))
        assert "another number or length" in str(found)
    still_exact(attack, f.ids)


def test_participants_beyond_what_was_agreed_are_refused_by_clients_and_by_members_whoever_signed_for_them():
    """More than max_participants, and fewer than min_clients: honest clients sign no such list, but all may be corrupt."""
    f = Committee(6, max_participants=5, **SIX)
    f.until("masked", 1, f.ids[:5])
    asked = f.asked(Kind.MASKED_REQUEST)
    for ranks in ([0, 1, 2, 3, 4, 5], [0, 1, 2], [0]):
        refused(f.clients["c0"], f.forged(asked["c0"], participants=ranks), "number of participants is outside")
    attack = Opener.of(f, asked)
    for ranks in ([0, 1, 2, 3, 4, 5], [0, 1, 2]):
        names = [f.ids[rank] for rank in ranks]
        view = participants_digest(attack.setup.hash, 1, names)
        headers = [f.forged(attack.headers[name], participants_hash=view) for name in names[:4]]
        told = {"participants": ranks, "headers": headers}
        (found,) = refusals(attack, "c5", attack.ask("c5", f.ids[: len(headers)], **told))
        assert "number of participants is outside" in str(found)
    still_exact(attack, f.ids[:4])


# -- polynomials --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length, metrics, frame_bytes", [(37, (), 1 << 20), (30_000, ("loss", "auc"), 1 << 16)])
@pytest.mark.parametrize("way", ["submit", "stream", "threads"])
def test_no_polynomial_masks_two_places_of_an_upload(monkeypatch, length, metrics, frame_bytes, way):
    """Head, model and metrics, chunk after chunk, by any number of threads: every number once, from 0 on."""
    instruments = Instruments(monkeypatch)
    segments = {"metrics": FixedPoint()} if metrics else {}
    f = Committee(5, length=length, metrics=metrics, segments=segments, frame_bytes=frame_bytes)
    f.clients["c0"].close()
    f.clients["c0"] = f.new_client("c0", threads=3 if way == "threads" else 1)
    f.until("masked")
    f.clients["c0"].receive(f.requests()["c0"][0])
    given = {"metrics": dict.fromkeys(metrics, 0.5)} if metrics else {}
    if way == "stream":
        frames = list(f.clients["c0"].stream(f.updates["c0"], **given))
    else:
        f.clients["c0"].submit(f.updates["c0"], **given)
        frames = f.clients["c0"].outbox()
    assert frames
    numbers = sorted(number for _, number in instruments.vectors)
    assert numbers == list(range(sum(cut.polynomials for cut in f.params.mask_plan.segments)))
    assert len(numbers) >= (2 if length == 37 else 4)
    assert len({seed for seed, _ in instruments.vectors}) == 1


# -- the committee's draw -----------------------------------------------------------------------------------------------------


def test_within_a_session_nothing_moves_the_committee():
    """Not the round, not the batch, not who is asked for an update, not who is silent: who is no member gives no key."""
    f = Committee(12, rounds_per_setup=1, **MANY)
    crew = committee(f.roster, SESSION, 7)
    outside = [name for name in f.ids if name not in crew]
    assert len(outside) == 5
    seen = set()
    for round_id, silent, participants in ((1, (), None), (2, crew[:1], f.ids[1:]), (5, crew[3:4], f.ids[:11])):
        f.server.open_round(round_id, participants)
        requests = f.requests()
        seen |= {name for name, frames in requests.items() if frames}
        for name in outside:
            refused(f.clients[name], requests[crew[0]][0], "no member")
        f.bring(f.hand(requests, silent))
        f.server.close_phase()
        assert set(f.setup.ids) == set(crew) - set(silent)
        f.exact(f.finish(round_id), participants or f.ids)
    assert seen == set(crew)


def test_a_roster_that_was_tried_for_is_another_roster():
    """Ids of the server's choice move the draw too: such a roster has another hash, and all who compared theirs refuse it."""
    f = Committee(12, **MANY)
    crews = set()
    for number in range(20):
        keys = {name: f.roster.key(name) for name in f.ids[:11]} | {f"z{number}": f.roster.key("c11")}
        tried = Roster(keys, f.roster.server)
        crews.add(committee(tried, SESSION, 7))
        request = KeysRequest(1, f.params.rounds_per_setup, f.params.hash, tried.hash(), bytes(31) + b"\x09")
        frame = seal_envelope(Kind.KEYS_REQUEST, SESSION, SERVER, request, f.server_key.sign)
        refused(f.clients["c0"], frame, "another roster", AuthenticationError)
    assert len(crews) > 10


# -- the ends of what can be counted ------------------------------------------------------------------------------------------


def test_the_last_rounds_there_are_end_a_session_and_no_number_wraps():
    """A server that skips to the end has no more rounds; members and clients take no number beyond."""
    f = Committee(5)
    last = (1 << 63) - 1
    for round_id in range(last - 2, last + 1):
        f.exact(f.round(round_id), f.ids)
    for round_id in (last, last + 1, 0):
        with pytest.raises(InputError):
            f.server.open_round(round_id)
    g = Committee(5)
    with pytest.raises(InputError, match="last round"):
        g.server.open_round(last - 1)
    g.until("masked")
    frame = g.asked(Kind.MASKED_REQUEST)["c0"]
    for round_id in (-1, last, last + 1):
        with pytest.raises(PeerError):
            g.clients["c0"].receive(g.forged(frame, round_id=round_id))
    for first_round in (-1, last, last - 1, last + 1):
        told = KeysRequest(first_round, 3, g.params.hash, g.roster.hash(), bytes(31) + b"\x09")
        request = seal_envelope(Kind.KEYS_REQUEST, SESSION, SERVER, told, g.server_key.sign)
        refused(g.clients["c0"], request)
