"""One secret over two updates, and public polynomials that come back: what gives differences away, and how nobody gets there.

c = a s + t e + m. Under one s, one e and one a, the difference of two such is that of the messages, in clear; under one s and one
a alone it is that of the messages and of a little noise, and the noise goes away modulo t. Snapshots, copies, restarts, streams,
retries, other participants and other batches are the ways to two updates in one round; rounds, chunks and segments the ways to
one polynomial twice. What Hint-RLWE covers is one sum of secrets that is revealed, so a secret is never in two rounds either.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from secagg import Client, FixedPoint, Roster
from secagg._kernels import ring_add_uniform
from secagg.errors import AuthenticationError, InputError, ParameterError, PeerError, SecAggError, StateError
from secagg.hazmat.hintrlwe import MaskedSum, MaskSecret
from secagg.protocols.oneshot.messages import KeysRequest, Kind, public_seed, setup_digest
from secagg.protocols.oneshot.setup import committee
from secagg.wire import SERVER, Chunk, decode_frame, seal_envelope
from support.committee import SESSION, Committee, make_params, refused
from support.committee_watch import Instruments, Watch

PAIRS = list(itertools.product(("stream", "submit"), repeat=2))
SIX = {"min_clients": 4, "threshold": 5, "packing": 2, "corrupt": 1}


def asked(ledgers=None, phase="masked", **changes):
    """A federation whose clients were all sent a request for an update, their states before it, and the requests."""
    f = Committee(6, ledgers=ledgers, **{**SIX, **changes})
    f.until(phase)
    return f, {name: f.clients[name].snapshot() for name in f.ids}, f.requests()


def chunks(frames):
    """What leaves of a masked vector, by place, up to an error; not the head and the shares."""
    found = {}
    try:
        for frame in frames:
            _, outer = decode_frame(frame, max_bytes=1 << 30)
            if isinstance(outer, Chunk) and outer.segment == 1:
                found[outer.index] = bytes(outer.payload)
    except SecAggError:
        pass
    return found


def sent(client, way, update, most=None):
    """What a client lets go of an update, by stream (all, or the first frames) or whole."""
    try:
        if way == "stream":
            return chunks(itertools.islice(client.stream(update), most))
        client.submit(update)
    except SecAggError:
        return {}
    return chunks(client.outbox())


def difference(params, one, other, index=0):
    """The difference of two masked chunks, opened as if no secret were in it; InputError if one is."""
    cut = params.mask_plan.segments[1]
    start, stop = cut.span(index)
    total = MaskedSum.from_bytes(cut.ring, stop - start, one)
    total.subtract(other)
    return total.open(np.zeros(cut.ring.degree, np.int64), bytes(16), 0)


def coefficients(params, lanes):
    """Lanes as the integers that a ring's coefficients hold, each modulo what its digits can."""
    ring, found = params.mask_plan.segments[1].ring, []
    for at in range(0, len(lanes), ring.degree * ring.per):
        poly = lanes[at : at + ring.degree * ring.per]
        count = -(-len(poly) // ring.per)
        for c in range(count):
            part = [int(lane) for lane in poly[c::count]]
            whole = sum(lane << ring.width * place for place, lane in enumerate(part))
            found.append(whole % (1 << ring.width * len(part)))
    return found


def leaks(params, one, other, first, second):
    """Whether the difference of two uploads, in any chunk, is that of their updates."""
    for index in one.keys() & other.keys():
        start, stop = params.mask_plan.segments[1].span(index)
        wanted = coefficients(params, np.asarray(first[start:stop], object) - np.asarray(second[start:stop], object))
        try:
            found = difference(params, one[index], other[index], index)
        except InputError:
            continue
        if coefficients(params, found) == wanted:
            return True
    return False


def test_one_secret_for_two_updates_gives_the_difference():
    """The scheme itself, with one seed; and with fresh errors under one secret, where the noise is too small to hide it."""
    params = make_params()
    cut = params.mask_plan.segments[1]
    secret, public = MaskSecret(cut.ring, b"s" * 32), b"p" * 16
    two = np.arange(37, dtype=np.uint64)
    one = two[::-1] * np.uint64(5)
    first, second = (secret.mask(values, public, 0) for values in (one, two))
    assert leaks(params, {0: first}, {0: second}, one, two)
    assert not leaks(params, {0: first}, {0: second}, one, two[::-1])
    other = MaskSecret(cut.ring, b"s" * 32)
    other._error_key = b"another errorkey"
    third = other.mask(two, public, 0)
    assert third != second
    assert leaks(params, {0: first}, {0: third}, one, two)
    for seed, where in ((b"t" * 32, public), (b"s" * 32, b"q" * 16)):
        again = MaskSecret(cut.ring, seed).mask(two, where, 0)
        assert not leaks(params, {0: first}, {0: again}, one, two)
    assert not leaks(params, {0: first}, {0: secret.mask(two, public, 1)}, one, two)


# -- states that are restored, copied or restarted ----------------------------------------------------------------------------


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "none"])
@pytest.mark.parametrize("most", [2, None], ids=["begun", "whole"])  # the head, and a chunk of the model
def test_two_copies_never_mask_two_updates_with_one_secret(memory, ways, ledger, most):
    """On one ledger the second sends nothing; without one it draws a secret of its own, since none is in the snapshot yet."""
    f, old, requests = asked(memory if ledger else None)
    f.clients["c0"].close()
    copies = [f.restore("c0", old["c0"]) for _ in range(2)]
    for copy in copies:
        copy.receive(requests["c0"][0])
    other = f.updates["c0"][::-1].copy()
    one, two = (
        sent(copy, way, update, most) for copy, way, update in zip(copies, ways, (f.updates["c0"], other), strict=True)
    )
    assert one
    assert not leaks(f.params, one, two, f.updates["c0"], other)
    assert bool(two) != ledger
    assert copies[1].outbox() == []


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "none"])
@pytest.mark.parametrize("most", [2, None], ids=["begun", "whole"])  # the head, and a chunk of the model
def test_copies_of_a_state_that_has_begun_an_update_go_on_with_that_one(memory, ways, ledger, most):
    """Now the secret is in the snapshot, and so is what it masks: the same update is the same bytes, another one is refused."""
    f, _, requests = asked(memory if ledger else None)
    client = f.clients["c0"]
    client.receive(requests["c0"][0])
    one = sent(client, ways[0], f.updates["c0"], most)
    later = client.snapshot()
    client.close()
    other = f.updates["c0"][::-1].copy()
    for copy, update in ((f.restore("c0", later), other), (f.restore("c0", later), f.updates["c0"])):
        copy.receive(requests["c0"][0])
        two = sent(copy, ways[1], update)
        if update is other:
            assert two == {}
        else:
            assert two.items() >= one.items()
            assert leaks(f.params, one, two, update, update)  # the same secret: what this test could see
        copy.close()


def test_a_retry_is_byte_for_byte_the_same():
    f, _, requests = asked()
    client = f.clients["c0"]
    client.receive(requests["c0"][0])
    client.submit(f.updates["c0"])
    first = client.outbox()
    for _ in range(3):
        client.receive(requests["c0"][0])
        client.submit(f.updates["c0"].copy())
        assert client.outbox() == first
        with pytest.raises((StateError, InputError)):
            client.submit(f.updates["c0"] + 1)
    f.restart("c0")
    f.clients["c0"].receive(requests["c0"][0])
    f.clients["c0"].submit(f.updates["c0"])
    assert f.clients["c0"].outbox() == first


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
@pytest.mark.parametrize("copied", [False, True])
def test_an_update_is_never_masked_again_for_other_participants(memory, ways, copied):
    """Two sums of one round in which the same upload stands: the header names the participants, the ledger the header."""
    f, old, requests = asked(memory)
    fewer = f.forged(requests["c0"][0], participants=[0, 1, 2, 3, 4])
    first = f.clients["c0"]
    if copied:
        first.close()
        first = f.restore("c0", old["c0"])
    first.receive(fewer)
    one = sent(first, ways[0], f.updates["c0"], 2)
    first.close()
    later = f.restore("c0", old["c0"])
    try:
        later.receive(requests["c0"][0])
    except PeerError:
        assert later.awaiting is None
    two = sent(later, ways[1], f.updates["c0"]) if later.awaiting else {}
    assert one and two == {}


def test_another_batch_for_the_same_round_masks_nothing_again(memory):
    """The server asks for keys anew, for a round in which clients have spoken: it gets none, over restarts."""
    f, _, requests = asked(memory)
    f.bring(f.hand(requests))
    frame = next(frame for to, frame in f.down if to == "c0" and frame[3] == Kind.KEYS_REQUEST)
    before = {name: f.clients[name].snapshot() for name in f.ids}
    for first_round in (0, 1):
        again = f.forged(frame, first_round=first_round, server_key=bytes(31) + b"\x09")
        for name in f.ids:
            refused(f.clients[name], again)
            f.clients[name].close()
            f.clients[name] = f.restore(name, before[name])
            refused(f.clients[name], again)
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)


# -- rounds -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [1, 2, 4], ids=lambda r: f"batches of {r}")
@pytest.mark.parametrize("how", ["one process", "restarts", "rolled back"])
def test_uploads_of_one_update_in_many_rounds_have_no_secret_in_common(memory, monkeypatch, rounds, how):
    """Four rounds, some aborted, within a batch and over batches, and a client that is set back to before each of them."""
    watch, instruments = Watch(), Instruments(monkeypatch)
    f = Committee(6, rounds_per_setup=rounds, ledgers=memory if how == "rolled back" else None, **SIX)
    f.restarts, uploads = how == "restarts", []
    for round_id in range(1, 5):
        f.until("masked", round_id)
        old = f.clients["c1"].snapshot()
        frames = f.hand(f.requests())
        for name, frame in frames:
            watch.see(name, frame)
        uploads.append(chunks(frame for name, frame in frames if name == "c1"))
        if round_id % 2:
            f.server.abort()
        else:
            f.bring(frames)
            f.server.close_phase()
            result = f.finish(round_id)
            f.exact(result, result.contributors)  # who lost the committee's keys is not in it
        if how == "rolled back" and round_id < 4 and round_id % rounds:
            f.clients["c1"].close()
            f.clients["c1"] = f.restore("c1", old)
    assert sum(map(bool, uploads)) >= (2 if how == "rolled back" else 4)
    mine = f.updates["c1"]
    assert not any(leaks(f.params, one, two, mine, mine) for one, two in itertools.combinations(uploads, 2))
    assert len(instruments.rounds) == len(instruments.dealings) == 4 * 5 + sum(map(bool, uploads))
    assert len(set(instruments.rounds.values())) == 4


# -- public polynomials -------------------------------------------------------------------------------------------------------


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


def test_public_polynomials_differ_in_every_place_round_session_roster_and_params():
    """Expanded, and compared coefficient by coefficient: what two have in common is what chance gives."""
    params, other = make_params(5), make_params(5, max_weight=3)
    cut = params.mask_plan.segments[1]
    f, g = Committee(5, params=params), Committee(5, params=params)
    seeds = {
        public_seed(session, chosen.hash, roster.hash(), round_id)
        for session in (SESSION, bytes(16))
        for chosen in (params, other)
        for roster in (f.roster, g.roster)
        for round_id in (0, 1, 2, (1 << 63) - 1)
    }
    assert len(seeds) == 2 * 2 * 2 * 4
    found = set()
    for seed, (stream, prime) in itertools.product(sorted(seeds)[:8], enumerate(cut.ring.plan.rings)):
        for number in range(4):
            poly = np.zeros(cut.ring.degree, np.uint64)
            ring_add_uniform(prime, poly, seed, stream, number)
            assert int(poly.max()) < prime.modulus and int(poly.max()) > prime.modulus * 0.99
            found.add(poly.tobytes())
    assert len(found) == 8 * 4 * cut.ring.primes


def test_the_server_has_no_say_in_the_public_polynomials_but_the_rounds_number(monkeypatch):
    """Whatever it puts into a request, what a client draws them from is the same, or there is no upload."""
    drawn = []
    honest = public_seed

    def told(*about):
        drawn.append(about)
        return honest(*about)

    monkeypatch.setattr("secagg.protocols.oneshot.client.public_seed", told)
    f, old, requests = asked()
    frame = requests["c0"][0]
    for changes in (
        {},
        {"participants": [0, 1, 2, 3]},
        {"participants": [0, 3, 4, 5]},
        {"round_id": 2},
        {"round_id": 3},
    ):
        copy = f.restore("c0", old["c0"])
        copy.receive(f.forged(frame, **changes))
        copy.submit(f.updates["c0"])
    again = Committee(6, **SIX)  # under other keys of the committee
    assert drawn == [(SESSION, f.params.hash, f.roster.hash(), round_id) for round_id in (1, 1, 1, 2, 3)]
    assert again.roster.hash() != f.roster.hash()


# -- the committee's draw -----------------------------------------------------------------------------------------------------

MANY = {"committee": 7, "corrupt": 1, "threshold": 5, "packing": 1, "min_clients": 10}


def drawn_for(f, wanted, tries):
    """A session id, tried for, under which all of `wanted` sit in the committee."""
    for number in range(tries):
        session = number.to_bytes(16, "big")
        if wanted <= set(committee(f.roster, session, f.params.committee)):
            return session
    return None


def test_who_chooses_the_session_could_try_until_the_committee_suits():
    """The positive control: a few hundred tries for five that the server would like to see there."""
    f = Committee(12, **MANY)
    wanted = set(f.ids[3:8])
    session = drawn_for(f, wanted, 2000)
    assert session is not None
    assert not wanted <= set(committee(f.roster, SESSION, 7)) or session != SESSION


def test_a_session_that_was_tried_for_is_refused_by_all_who_were_told_another(monkeypatch):
    f = Committee(12, **MANY)
    session = drawn_for(f, set(f.ids[3:8]), 2000)
    request = KeysRequest(1, f.params.rounds_per_setup, f.params.hash, f.roster.hash(), bytes(31) + b"\x09")
    frame = seal_envelope(Kind.KEYS_REQUEST, session, SERVER, request, f.server_key.sign)
    for name in f.ids:
        refused(f.clients[name], frame, "another session", AuthenticationError)
    f.until("masked")
    for name, frames in f.requests().items():
        body = f.body(frames[0])
        moved = seal_envelope(Kind.MASKED_REQUEST, session, SERVER, body, f.server_key.sign)
        refused(f.clients[name], moved, error=AuthenticationError)


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


def test_a_key_of_somebody_outside_the_committee_is_in_no_setup():
    """The server and a corrupt client: it signs a key as if it were a member, in place of an honest one or beside all."""
    f = Committee(12, **MANY)
    f.until("masked")
    crew, outside = f.setup.ids, next(name for name in f.ids if name not in f.setup.ids)
    theirs = seal_envelope(Kind.MEMBER_KEY, SESSION, outside, f.body(f.setup.frames[0]), f.keys[outside].sign)
    ordered = sorted([*crew, outside], key=str.encode)
    frames = {**dict(zip(crew, f.setup.frames, strict=True)), outside: theirs}
    requests = f.asked(Kind.MASKED_REQUEST)
    for lost in (None, *crew):
        keys = [frames[name] for name in ordered if name != lost]
        setup = setup_digest(SESSION, keys)
        for to, request in requests.items():
            refused(f.clients[to], f.forged(request, keys=keys, setup_hash=setup), error=PeerError)
    with pytest.raises((PeerError, AuthenticationError)):
        f.server.receive(theirs, sender=outside)


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


def test_nobody_starts_without_a_session_where_the_committee_is_drawn():
    f = Committee(12, **MANY)
    with pytest.raises(ParameterError, match="session id from elsewhere"):
        Client(f.params, me="c0", identity=f.keys["c0"], roster=f.roster)
    snapshot = f.clients["c0"].snapshot()
    with pytest.raises(InputError, match="another session"):
        f.restore("c0", snapshot, session=bytes(16))
