"""A lying server against clients and committee of oneshot: invented clients, a committee that suits it, weaker terms, old frames.

Members are restored from one state for every try, without a ledger: what stops these is not that they remember.
"""

import dataclasses
import itertools
import os

import numpy as np
import pytest

from secagg import Client, Identity, Params, Roster, Server
from secagg.errors import AuthenticationError, EquivocationError, ParameterError, PeerError
from secagg.protocols.oneshot.messages import KeysRequest, Kind, public_seed
from secagg.protocols.oneshot.setup import Setup, committee
from secagg.wire import SERVER, seal_envelope
from support.committee import SESSION, Committee, make_params
from support.openers import Opener

TIGHT = {"corrupt": 2, "min_clients": 5, "threshold": 7, "packing": 1}


def refused(opener, member, frames, error=PeerError):
    """Each of these requests is refused by the member as it was before any answer."""
    for frame in frames:
        (found,) = opener.told(member, [frame])
        assert isinstance(found, error), found


# -- invented clients -------------------------------------------------------------------------------------------------


def test_survivors_that_the_server_invents_count_for_nothing():
    """Four honest headers and as many of the server's making as it likes: strangers, itself, one client twice, or by its hand."""
    f = Committee(7, **TIGHT)
    opener, honest = Opener(f), ["c0", "c1", "c2", "c3"]
    stranger = Identity.generate()
    body = f.body(opener.headers["c4"])
    made = {
        "a stranger": seal_envelope(Kind.MASKED_HEADER, f.server.session, "z9", body, stranger.sign),
        "a stranger as a client": seal_envelope(Kind.MASKED_HEADER, f.server.session, "c4", body, stranger.sign),
        "the server": seal_envelope(Kind.MASKED_HEADER, f.server.session, SERVER, body, f.server_key.sign),
        "the server as a client": seal_envelope(Kind.MASKED_HEADER, f.server.session, "c4", body, f.server_key.sign),
        "a client as another": seal_envelope(Kind.MASKED_HEADER, f.server.session, "c4", body, f.keys["c0"].sign),
        "one client twice": opener.headers["c3"],
    }
    for what, header in made.items():
        opener.headers["x"], opener.payloads["x"] = header, opener.payloads["c3" if "twice" in what else "c4"]
        for order in ([*honest, "x"], ["x", *honest]):
            refused(opener, "c0", [opener.ask("c0", order)])
    refused(opener, "c0", [opener.ask("c0", honest)])
    (share,) = opener.told("c0", [opener.ask("c0", [*honest, "c4"])])
    assert isinstance(share, np.ndarray)


def test_a_roster_with_sybils_is_refused_by_members_and_by_clients():
    f = Committee(7, **TIGHT)
    keys = {name: f.roster.key(name) for name in f.ids[:4]} | {
        f"s{i}": Identity.generate().verify_key for i in range(3)
    }
    padded = Roster(keys, f.roster.server)
    lying = Server(f.params, identity=f.server_key, roster=padded, session=SESSION)
    lying.open_round(1)
    for to, request in lying.outbox():
        if to in f.clients:
            with pytest.raises(AuthenticationError, match="another roster"):
                f.clients[to].receive(request)
            told = f.forged(request, roster_hash=f.roster.hash())  # nor does it help to name the right one
            f.clients[to].receive(told)
            with pytest.raises(AuthenticationError, match="not asked for"):
                lying.receive(f.clients[to].outbox()[0])
    g = Committee(7, **TIGHT)
    g.until("masked")
    sybil = Identity.generate()
    for to, frame in g.asked(Kind.MASKED_REQUEST).items():
        body = g.body(frame)
        theirs = g.body(body.keys[-1])
        by_sybil = seal_envelope(Kind.MEMBER_KEY, g.server.session, "z9", theirs, sybil.sign)
        for keys in ([*body.keys[:-1], by_sybil], [*body.keys, by_sybil]):
            with pytest.raises(PeerError):
                g.clients[to].receive(g.forged(frame, keys=keys))


def test_what_a_server_may_choose_still_holds_min_clients_less_corrupt_honest_updates():
    """All sets of survivors: below m none is answered for, from m on each; with the corrupt among them g honest ones are left."""
    f = Committee(6, corrupt=1, min_clients=4)
    opener, corrupt = Opener(f), {"c0"}
    least = None
    for size in range(1, 7):
        for names in itertools.combinations(f.ids, size):
            answers = opener.answers(names, f.ids)
            assert len(answers) == (6 if size >= 4 else 0)
            if answers:
                total = opener.opened(names, answers)
                np.testing.assert_array_equal(total, opener.plain(*names))
                honest = len(set(names) - corrupt)
                least = honest if least is None else min(least, honest)
    assert least == f.params.opened_honest == 3


def test_answers_for_one_set_open_no_other():
    """The sum of secrets removes the masks of exactly those whose shares are in it."""
    f = Committee(6, corrupt=1, min_clients=4)
    opener = Opener(f)
    everybody = tuple(f.ids)
    answers = opener.answers(everybody, f.ids)
    for size in range(1, 6):
        for names in itertools.combinations(f.ids, size):
            assert not isinstance(opener.opened(names, answers), np.ndarray)
    np.testing.assert_array_equal(opener.opened(everybody, answers), opener.plain(*everybody))


def test_participants_are_those_that_the_clients_signed_for():
    f = Committee(6, corrupt=1, min_clients=4, max_participants=5)
    opener = Opener(f, participants=f.ids[:5])
    refused(opener, "c5", [opener.ask("c5", f.ids[:4], participants=[0, 1, 2, 3])], AuthenticationError)
    refused(opener, "c5", [opener.ask("c5", f.ids[:5], participants=[0, 1, 2, 3, 5])])
    refused(opener, "c5", [opener.ask("c5", f.ids[:5], participants=list(range(6)))])


# -- a committee that suits the server --------------------------------------------------------------------------------

DRAWN = {"committee": 6, "corrupt": 3, "threshold": 6, "packing": 1, "min_clients": 20}


def ground(roster, corrupt, tries):
    """The most corrupt members among committees of as many session ids."""
    return max(
        len(corrupt & set(committee(roster, number.to_bytes(16, "big"), DRAWN["committee"]))) for number in range(tries)
    )


def test_a_server_that_could_choose_the_session_would_grind_a_committee():
    """What stands against it: the id comes from elsewhere, and without one nobody starts; another one is refused by everybody."""
    f = Committee(24, **DRAWN)
    corrupt = {"c3", "c4", "c5"}
    fair = len(corrupt & set(committee(f.roster, SESSION, 6)))
    assert ground(f.roster, corrupt, 1000) == 3 > fair  # all of the corrupt sit in it
    for name in ("c0", "c9"):
        with pytest.raises(ParameterError, match="session id from elsewhere"):
            Client(f.params, me=name, identity=f.keys[name], roster=f.roster)
    with pytest.raises(ParameterError, match="session id from elsewhere"):
        Server(f.params, identity=f.server_key, roster=f.roster)
    lying = Server(f.params, identity=f.server_key, roster=f.roster, session=os.urandom(16))
    lying.open_round(1)
    for to, request in lying.outbox():
        with pytest.raises(AuthenticationError, match="another session"):
            f.clients[to].receive(request)


def test_keys_of_others_than_the_drawn_committee_are_refused():
    f = Committee(24, **DRAWN)
    crew = set(committee(f.roster, SESSION, 6))
    f.until("masked")
    outsider = next(name for name in f.ids if name not in crew)
    asked = next(frame for name, frame in f.down if name in crew)
    with pytest.raises(PeerError, match="no member"):
        f.clients[outsider].receive(asked)
    for to, frame in f.asked(Kind.MASKED_REQUEST).items():
        body = f.body(frame)
        told = f.body(body.keys[0])
        foreign = seal_envelope(Kind.MEMBER_KEY, SESSION, outsider, told, f.keys[outsider].sign)
        swapped = sorted([foreign, *body.keys[1:]], key=lambda each: f.body(each).channel_key)
        for keys in ([foreign, *body.keys[1:]], [*body.keys[1:], foreign], swapped):
            with pytest.raises(PeerError):
                f.clients[to].receive(f.forged(frame, keys=keys))
        f.clients[to].receive(frame)


def test_a_smaller_committee_is_bound_by_the_same_threshold():
    """The server may lose members' keys, down to T of them: then all must answer, and two sets are further off, not nearer."""
    f = Committee(7, **TIGHT | {"threshold": 6, "corrupt": 1, "min_clients": 4})
    f.until("masked", silent={"c6"})
    asked = f.asked(Kind.MASKED_REQUEST)
    assert len(f.setup.ids) == 6
    five = list(f.setup.frames[:5])
    with pytest.raises(PeerError, match="too few"):
        Setup.read(five, SESSION, f.roster, f.params)
    for to, frame in asked.items():
        with pytest.raises(PeerError, match="too few"):
            f.clients[to].receive(f.forged(frame, keys=five))
    opener = Opener.of(f, asked)
    everybody = tuple(f.ids)
    answers = opener.answers(everybody, opener.setup.ids)
    assert opener.opened(everybody, dict(list(answers.items())[:5])) is None
    np.testing.assert_array_equal(opener.opened(everybody, answers), opener.plain(*everybody))


# -- weaker terms -----------------------------------------------------------------------------------------------------

WEAKER = [
    {"threshold": 6, "corrupt": 1},
    {"min_clients": 3, "corrupt": 1},
    {"corrupt": 1},
    {"min_honest": 1},
    {"threat": "semi-honest"},
    {"threat": "semi-honest", "threshold": 3},
    {"committee": 6, "threshold": 6},
    {"packing": 2, "corrupt": 1},
    {"rounds_per_setup": 4},
    {"max_participants": 6},
    {"ring": (4096, 40, 2)},
    {"max_weight": 2},
]


@pytest.mark.parametrize("change", WEAKER, ids=",".join)
def test_no_other_terms_than_a_partys_own_are_taken_at_any_step(change):
    """Every Params of the server's own, by whole Params and by its hash in the right frame: keys, uploads and answers."""
    f = Committee(7, **TIGHT)
    lax = make_params(7, **{**TIGHT, **change})
    assert lax.hash != f.params.hash
    lying = Server(lax, identity=f.server_key, roster=f.roster, session=SESSION)
    lying.open_round(1, f.ids[: lax.max_participants])
    for to, request in lying.outbox():
        with pytest.raises(AuthenticationError, match="other Params"):
            f.clients[to].receive(request)
    f.until("masked")
    asked = f.asked(Kind.MASKED_REQUEST)
    for to, frame in asked.items():
        with pytest.raises(AuthenticationError, match="other Params"):
            f.clients[to].receive(f.forged(frame, params_hash=lax.hash))
        keys = [f.forged(key, params_hash=lax.hash) for key in f.body(frame).keys]  # as if all members were corrupt
        with pytest.raises(AuthenticationError, match="other Params"):
            f.clients[to].receive(f.forged(frame, keys=keys))
    opener = Opener.of(f, asked)
    refused(opener, "c1", [opener.ask("c1", f.ids, params_hash=lax.hash)], AuthenticationError)
    opener.headers["c3"] = f.forged(opener.headers["c3"], params_hash=lax.hash)
    refused(opener, "c1", [opener.ask("c1", f.ids)], AuthenticationError)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"threshold": 4, "packing": 1}, "two sets"),
        ({"threshold": 7, "packing": 4}, "two sets"),
        ({"threshold": 3, "packing": 2, "threat": "semi-honest"}, "would learn"),
        ({"min_clients": 3}, "min_clients"),
        ({"committee": 8}, "committee"),
    ],
)
def test_terms_that_do_not_hold_are_no_params(change, words):
    with pytest.raises(ParameterError, match=words):
        make_params(7, **{**TIGHT, **change})
    made = make_params(7, **TIGHT)
    forged = dataclasses.replace(made)
    for name, value in change.items():  # nor do their bytes, were somebody to write them
        object.__setattr__(forged, name, value)
    with pytest.raises(ParameterError):
        Params.from_bytes(forged.to_bytes())


# -- old frames -------------------------------------------------------------------------------------------------------


def test_uploads_of_another_round_batch_or_session_are_in_no_sum():
    f = Committee(5, corrupt=1, min_clients=4, rounds_per_setup=2)
    first = Opener(f, 1)
    f.server.abort()
    second = Opener(f, 2)
    assert second.setup.hash == first.setup.hash
    f.server.abort()
    third = Opener(f, 3)  # new keys
    assert third.setup.hash != first.setup.hash
    other = Opener(Committee(5, corrupt=1, min_clients=4, rounds_per_setup=2), 3)
    for later, olds in ((second, [first]), (third, [first, second, other])):
        for old, name in itertools.product(olds, ("c0", "c3")):
            kept = later.headers[name], later.payloads[name]
            later.headers[name], later.payloads[name] = old.headers[name], old.payloads[name]
            refused(later, "c1", [later.ask("c1", f.ids)])
            later.headers[name] = kept[0]  # only the shares are old
            refused(later, "c1", [later.ask("c1", f.ids)], AuthenticationError)
            later.headers[name], later.payloads[name] = kept
        (share,) = later.told("c1", [later.ask("c1", f.ids)])
        assert isinstance(share, np.ndarray)
    # Another round's public polynomials take no mask off, nor do another round's answers.
    answers = third.answers(f.ids, f.ids)
    np.testing.assert_array_equal(third.opened(f.ids, answers), third.plain(*f.ids))
    assert not isinstance(second.opened(f.ids, answers), np.ndarray)
    wrong = public_seed(SESSION, f.params.hash, f.roster.hash(), 2)
    assert not isinstance(third.opened(f.ids, answers, public=wrong), np.ndarray)


def test_requests_and_answers_of_another_round_or_session_are_refused():
    f = Committee(5, corrupt=1, min_clients=4, rounds_per_setup=3)
    f.round(1)
    requests, answers = list(f.down), list(f.up)
    f.until("reveal", 2)
    for name, frame in requests:
        kind = frame[3]
        if kind == Kind.KEYS_REQUEST:
            f.clients[name].receive(frame)  # the batch's own request: the same key again
            assert f.clients[name].outbox() in ([each] for who, each in answers if who == name)
            continue
        if kind == Kind.REVEAL_REQUEST:
            f.clients[name].receive(frame)  # the last one answered: the same answer again
            assert f.clients[name].outbox() in ([each] for who, each in answers if who == name)
            continue
        with pytest.raises(PeerError):
            f.clients[name].receive(frame)
    for name, frame in answers:
        with pytest.raises(PeerError):
            f.server.receive(frame, sender=name)
    f.exact(f.finish(2), f.ids)
    for name, frame in requests:
        if frame[3] == Kind.REVEAL_REQUEST:
            with pytest.raises(PeerError, match="does not increase"):
                f.clients[name].receive(frame)
    other = Committee(5, corrupt=1, min_clients=4)
    for name, frame in requests:  # same names, session id and Params; other keys of everybody
        with pytest.raises(PeerError):
            other.clients[name].receive(frame)


def test_new_keys_for_rounds_that_went_by_are_refused():
    f = Committee(5, corrupt=1, min_clients=4, rounds_per_setup=3)
    f.round(4)
    for first in range(5):
        body = KeysRequest(first, 3, f.params.hash, f.roster.hash(), bytes(31) + b"\x09")
        frame = seal_envelope(Kind.KEYS_REQUEST, SESSION, SERVER, body, f.server_key.sign)
        for client in f.clients.values():
            with pytest.raises((PeerError, EquivocationError)):
                client.receive(frame)
            assert client.outbox() == []


# -- contexts ---------------------------------------------------------------------------------------------------------


def test_updates_on_different_models_are_in_no_sum_together():
    f = Committee(7, **TIGHT)
    opener = Opener(f, contexts={"c5": b"another model", "c6": b"another model"})
    for names in itertools.combinations(f.ids, 6):
        mixed = {"c5", "c6"} & set(names)
        assert mixed
        refused(opener, "c0", [opener.ask("c0", names)], AuthenticationError)
    told = opener.answers(f.ids[:5], f.ids)
    np.testing.assert_array_equal(opener.opened(f.ids[:5], told), opener.plain(*f.ids[:5]))
    opener.headers["c5"] = f.forged(opener.headers["c5"], "c0", context_hash=f.body(opener.headers["c0"]).context_hash)
    refused(opener, "c0", [opener.ask("c0", f.ids[:6])])


# -- public polynomials -----------------------------------------------------------------------------------------------


def test_no_public_polynomial_comes_back():
    """The seed differs with session, Params, roster and round; under one seed, no two chunks of an upload share a number."""
    params = [make_params(5), make_params(5, length=38), make_params(5, rounds_per_setup=4)]
    rosters = [Committee(5).roster.hash() for _ in range(3)]
    sessions = [SESSION, os.urandom(16), bytes(16)]
    rounds = [*range(50), 1 << 32, (1 << 63) - 1]
    seeds = {
        public_seed(session, made.hash, roster, number)
        for session, made, roster, number in itertools.product(sessions, params, rosters, rounds)
    }
    assert len(seeds) == 3 * 3 * 3 * len(rounds)
    for length, frame_bytes in ((1, 1 << 16), (100_000, 1 << 16), (300_000, 4 << 20)):
        plan = make_params(40, length=length, frame_bytes=frame_bytes, metrics=()).mask_plan
        numbers = []
        for cut in plan.segments:
            for index, start, stop in cut:
                numbers += range(cut.number(index), cut.number(index) + cut.ring.polynomials(stop - start))
        assert len(set(numbers)) == len(numbers) == sum(cut.polynomials for cut in plan.segments)


def test_a_request_has_no_say_in_the_public_polynomials():
    """Whatever of a request may vary, its participants, its keys shown or not: a client's are those of the round."""
    f = Committee(6, corrupt=1, min_clients=4)
    f.until("masked")
    asked = f.asked(Kind.MASKED_REQUEST)
    state = f.clients["c0"].snapshot()
    told = set()
    for ranks in ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3], [0, 2, 3, 5]):
        client = f.restore("c0", state)
        client.receive(f.forged(asked["c0"], participants=ranks))
        told.add(client._core.begin_upload(b"any").public)
    assert told == {public_seed(SESSION, f.params.hash, f.roster.hash(), 1)}
