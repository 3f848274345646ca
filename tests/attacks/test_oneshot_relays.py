"""A lying server of oneshot, which signs and passes on whatever it likes: what honest members answer to, and for whom.

It has every frame of the round, its own keys, and what corrupt clients hand it. What it wants is a sum with one honest update in
it, or two sums that differ in one. Willow (Bell-Clark et al., CRYPTO 2025) and its relatives leave to the committee what is
checked here: that survivors are real, many, of one model, and that every share is the one that its client meant for this round.
"""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Client, Identity, Member, Roster, Server
from secagg.errors import AbortError, AuthenticationError, EquivocationError, PeerError
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.hazmat.kdf import hkdf
from secagg.protocols.oneshot import merkle, sharing
from secagg.protocols.oneshot.messages import KeysRequest, Kind, MaskedHeader
from secagg.protocols.oneshot.setup import Setup
from secagg.wire import SERVER, seal_envelope
from support.canary import forms, variables
from support.committee import Committee, lie, refused
from support.openers import Opener

SIX = {"min_clients": 4, "threshold": 5, "packing": 2, "corrupt": 1}


def refusals(attack, member, *frames):
    """All of these are refused; return the errors."""
    found = attack.told(member, frames)
    assert len(found) == len(frames)
    assert all(isinstance(each, PeerError) for each in found), found
    return found


def still_exact(attack, names):
    np.testing.assert_array_equal(attack.opened(names, attack.answers(names, attack.f.ids)), attack.plain(*names))


# -- clients that do not exist ------------------------------------------------------------------------------------------------


def test_clients_that_the_server_made_up_are_no_survivors():
    """Under new names, under the roster's names with its own key, and a corrupt client's header under a second name."""
    f = Committee(6, **SIX)
    attack = Opener(f, participants=f.ids[:5])
    mine = Identity.generate()
    told = f.body(attack.headers["c0"])
    made = [
        seal_envelope(Kind.MASKED_HEADER, f.server.session, name, told, mine.sign) for name in ("x", "c1", "c5", SERVER)
    ]
    made += [
        seal_envelope(Kind.MASKED_HEADER, f.server.session, name, told, key.sign)
        for name, key in (("c5", f.keys["c5"]), ("c0", f.server_key), (SERVER, f.server_key), ("c1", f.keys["c0"]))
    ]
    honest = [attack.headers[name] for name in f.ids[:4]]
    for place, sybil in [(at, each) for each in made for at in range(4)] + [(4, each) for each in made]:
        headers = [*honest[:place], sybil, *honest[place + 1 :]]
        refusals(attack, "c3", attack.ask("c3", f.ids[: len(headers)], headers=headers))
    still_exact(attack, f.ids[:4])


def test_a_roster_with_the_servers_own_clients_in_it_is_nobody_elses():
    """It runs a session over that roster: no member gives a key under it, no client an update."""
    f = Committee(6, **SIX)
    keys = {name: f.roster.key(name) for name in f.ids[:4]} | {
        name: Identity.generate().verify_key for name in ("c4", "c5")
    }
    padded = Roster(keys, f.roster.server)
    lying = Server(f.params, identity=f.server_key, roster=padded, session=f.session)
    lying.open_round(1)
    requests = dict(lying.outbox())
    for name in f.ids[:4]:
        refused(f.clients[name], requests[name], "another roster", AuthenticationError)
    f.until("masked")
    request = f.asked(Kind.MASKED_REQUEST)["c0"]
    body = f.body(request)
    for place, name in enumerate(f.ids):  # each of the keys, by a stranger of the same name
        stranger = seal_envelope(
            Kind.MEMBER_KEY, f.server.session, name, f.body(body.keys[place]), Identity.generate().sign
        )
        swapped = [*body.keys[:place], stranger, *body.keys[place + 1 :]]
        refused(f.clients["c0"], f.forged(request, keys=swapped), error=AuthenticationError)
    f.clients["c0"].receive(request)


def test_a_client_that_was_not_asked_is_no_survivor_even_if_it_answers_with_the_server():
    """A corrupt client signs a header for a round that it is no participant of."""
    f = Committee(6, **SIX)
    attack = Opener(f, participants=f.ids[:5])
    told = f.body(attack.headers["c4"])
    joined = seal_envelope(Kind.MASKED_HEADER, f.server.session, "c5", told, f.keys["c5"].sign)
    headers = [attack.headers[name] for name in f.ids[:3]]
    refusals(
        attack, "c1",
        attack.ask("c1", f.ids[:4], headers=[*headers, joined]),
        attack.ask("c1", f.ids[:4], headers=[*headers, joined], participants=[0, 1, 2, 3, 5]),
        attack.ask("c1", f.ids[:4], headers=[*headers, joined], participants=[0, 1, 2, 3, 4, 5]),
    )  # fmt: skip
    still_exact(attack, f.ids[:4])


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


# -- other rounds, batches and sessions ---------------------------------------------------------------------------------------


def test_nothing_of_an_earlier_round_counts_in_a_later_one():
    """Two sums of one update, with other neighbours, would give it away: headers and shares name their round."""
    f = Committee(6, rounds_per_setup=3, **SIX)
    first = Opener(f, 1)
    f.server.abort()
    second = Opener(f, 2)
    assert first.setup.hash == second.setup.hash  # one batch, the same keys
    old, new = first.body("c2", f.ids), second.body("c2", f.ids)
    mixed = {
        "an old header": {"headers": [old.headers[0], *new.headers[1:]]},
        "all old headers": {"headers": old.headers, "sealed": old.sealed, "paths": old.paths},
        "old shares": {"sealed": old.sealed, "paths": old.paths},
        "old shares under new paths": {"sealed": old.sealed},
        "old headers over new shares": {"headers": old.headers},
        "the new round by the old number": {"round_id": 1},
        "a round beyond the batch": {"round_id": 4},
    }
    for changes in mixed.values():
        refusals(second, "c2", second.ask("c2", f.ids, **changes))
    still_exact(second, f.ids)


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


def test_nothing_of_an_earlier_batch_counts_under_new_keys():
    f = Committee(6, rounds_per_setup=1, **SIX)
    first = Opener(f, 1)
    f.server.abort()
    second = Opener(f, 2)
    assert first.setup.hash != second.setup.hash
    old, new = first.body("c2", f.ids), second.body("c2", f.ids)
    for changes in (
        {"headers": old.headers}, {"keys": old.keys}, {"keys": old.keys, "setup_hash": old.setup_hash},
        {"setup_hash": old.setup_hash}, {"sealed": old.sealed, "paths": old.paths, "headers": old.headers},
        {"keys": [new.keys[0], *old.keys[1:]]}, {"keys": [old.keys[0], *new.keys[1:]]}, {"keys": new.keys[:5]},
        {"round_id": 1}, {"round_id": 3},
    ):  # fmt: skip
        refusals(second, "c2", second.ask("c2", f.ids, **changes))
    refusals(second, "c2", first.ask("c2", f.ids))  # its key is gone
    still_exact(second, f.ids)


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


# -- shares -------------------------------------------------------------------------------------------------------------------


def test_shares_that_the_server_changed_moved_or_made_are_refused():
    """A member adds what clients signed for, at its own place, and nothing else: not one bit, not another's, not twice."""
    f = Committee(6, **SIX)
    attack = Opener(f)
    box, path = sharing.box_bytes(f.params), merkle.depth(6) * merkle.HASH_BYTES
    body, other = attack.body("c2", f.ids), attack.body("c3", f.ids)
    boxes = [body.sealed[at * box : (at + 1) * box] for at in range(6)]
    paths = [body.paths[at * path : (at + 1) * path] for at in range(6)]
    for victim in range(6):
        flipped = bytes([*boxes[victim][:40], boxes[victim][40] ^ 4, *boxes[victim][41:]])
        theirs = other.sealed[victim * box : (victim + 1) * box], other.paths[victim * path : (victim + 1) * path]
        for put, way in (
            (flipped, paths[victim]),
            (theirs[0], paths[victim]),
            theirs,
            (boxes[victim - 1], paths[victim - 1]),
            (boxes[victim], paths[victim][:-1] + b"\x01"),
            (boxes[victim], bytes(path)),
            (bytes(box), bytes(path)),
        ):
            sealed = b"".join([*boxes[:victim], put, *boxes[victim + 1 :]])
            ways = b"".join([*paths[:victim], way, *paths[victim + 1 :]])
            if sealed != body.sealed or ways != body.paths:
                refusals(attack, "c2", attack.ask("c2", f.ids, sealed=sealed, paths=ways))
    for sealed, ways in (
        (b"".join(boxes[::-1]), b"".join(paths[::-1])),
        (body.sealed + boxes[0], body.paths + paths[0]),
        (body.sealed[:-box], body.paths[:-path]),
        (b"", b""),
    ):
        refusals(attack, "c2", attack.ask("c2", f.ids, sealed=sealed, paths=ways))
    still_exact(attack, f.ids)


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


# -- members' keys ------------------------------------------------------------------------------------------------------------


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


# -- what refusals say --------------------------------------------------------------------------------------------------------


def test_refusals_hold_no_seed_no_coefficient_and_no_share(monkeypatch):
    """In their texts, and in the variables of the frames that a reporter of errors would send along."""
    f = Committee(6, **SIX)
    attack = Opener(f)
    body = attack.body("c2", f.ids)
    errors = refusals(
        attack, "c2",
        attack.ask("c2", f.ids[:3]),
        attack.ask("c2", f.ids, sealed=body.sealed[:-1] + b"\x00"),
        attack.ask("c2", f.ids, paths=body.paths[::-1]),
        attack.ask("c2", f.ids, headers=body.headers[::-1]),
        attack.ask("c2", f.ids, setup_hash=bytes(32)),
        attack.ask("c2", f.ids, round_id=9),
    )  # fmt: skip
    errors += attack.told("c2", [attack.ask("c2", f.ids), attack.ask("c2", f.ids[:4])])[1:]
    answers = attack.answers(f.ids, f.ids)
    g = Committee(6, **SIX)
    g.until("reveal")
    lie(monkeypatch, 0, 3, 4)
    g.carry()
    with pytest.raises(AbortError) as told:
        g.server.close_phase()
    errors.append(told.value)
    clients = [*f.clients.values(), *g.clients.values()]
    secrets = [client._core._state.round.seed for client in clients]
    secrets += [client._core._member._batch.private for client in clients]
    secrets += [share[:4].tobytes() for share in answers.values()]
    shown = [form for secret in secrets for _, form in forms(secret)]
    shown += [str(int(share[at])) for share in answers.values() for at in range(8)]
    for seed in secrets[: len(clients)]:
        key = hkdf(seed, "oneshot-mask", length=32)
        some = MaskSecret(f.params.mask_plan.segments[0].ring, key).coefficients()[:9].tolist()
        shown += [", ".join(map(str, some)), " ".join(f"{each:3d}" for each in some)]
    assert len(errors) == 8
    for error in errors:
        text = "\n".join([str(error), repr(error), repr(error.args), repr(vars(error)), *variables(error)])
        assert not [form for form in shown if len(form) > 6 and form in text]
        assert error.__cause__ is None and error.__context__ is None
