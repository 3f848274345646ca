"""Clients that garble a oneshot round and members that answer wrongly: the sum is exact, or the round ends; never another sum.

What is no fault here: a client's own values, whatever they are, count as it sends them (docs/threat-model.md, One message).
"""

import itertools

import numpy as np
import pytest

from secagg.errors import AbortError, PeerError
from secagg.hazmat import aead, field
from secagg.hazmat.hintrlwe import MaskedSum
from secagg.protocols.accounts import upload_tag
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import Kind, make_chunk
from secagg.wire import Chunk, decode_frame
from support.canary import Canary
from support.committee import Committee
from support.openers import Opener

LIAR = "c3"
SIX = {"corrupt": 1, "min_clients": 5, "threshold": 5, "packing": 1}


# -- uploads that are none --------------------------------------------------------------------------------------------


def coefficients(ring, count, values):
    """A chunk of the plain polynomial that has these coefficients and else zeros, in the format of a masked one."""
    out = bytearray()
    whole, rest = divmod(count, ring.degree * ring.per)
    sizes = [ring.degree] * whole + [-(-rest // ring.per)] * bool(rest)
    for number, size in enumerate(sizes):
        for modulus in ring.moduli:
            bits = 0
            for place, value in values.items():
                if number == 0:
                    bits |= value % modulus << place * ring.bits
            out += bits.to_bytes((size * ring.bits + 7) // 8, "little")
    return bytes(out)


def replaced(f, frames, segment, values):
    """The liar's upload with a polynomial added to the first chunk of a segment, signed as if it had been so."""
    cut, setup = f.params.mask_plan.segments[segment], f.setup
    made, told = [], {}
    for frame in frames:
        _, outer = decode_frame(frame, max_bytes=1 << 30)
        if not isinstance(outer, Chunk):
            made.append(f.forged(frame, tag=upload_tag(told[place] for place in sorted(told))))
            continue
        place, payload = (outer.segment, outer.index), bytes(outer.payload)
        if place == (segment, 0):
            count = cut.span(0)[1]
            total = MaskedSum.from_bytes(cut.ring, count, payload)
            total.add(coefficients(cut.ring, count, values(cut.ring)))
            payload = total.to_bytes()
        signed, told[place] = make_chunk(
            f.server.session, LIAR, (outer.round_id, *place), setup.hash, memoryview(payload), f.keys[LIAR].sign
        )  # fmt: skip
        made.append(signed)
    return made


def outcome(f, change=None):
    """A round whose masked phase is open: its result, or why there is none; the next round is as it should be."""
    sent = f.hand(f.requests())
    if change is not None:
        mine = change([frame for name, frame in sent if name == LIAR])
        sent = [pair for pair in sent if pair[0] != LIAR] + [(LIAR, frame) for frame in mine]
    f.bring(sent)
    f.server.close_phase()
    try:
        return f.finish(1)
    except AbortError as error:
        with pytest.raises(AbortError):
            f.server.result(1)
        return error


def t_of(ring):
    return 1 << ring.width * ring.per


HUGE = {
    "an error beyond the bound": lambda ring: {0: t_of(ring) * 2 * ring.spread},
    "one below it": lambda ring: {0: -t_of(ring) * 2 * ring.spread},
    "in the last coefficient": lambda ring: {0: 0, -(-3 // ring.per) - 1: t_of(ring) * 2 * ring.spread},
    "half the modulus": lambda ring: {0: ring.q // 2},
    "the modulus less the bound": lambda ring: {0: ring.q - 2 * t_of(ring) * ring.spread + t_of(ring) * 3},
}


@pytest.mark.parametrize("segment", [0, 1], ids=["head", "model"])
@pytest.mark.parametrize("how", HUGE)
def test_errors_beyond_the_bound_end_the_round(segment, how):
    f = Committee(6, **SIX)
    f.until("masked")
    found = outcome(f, lambda frames: replaced(f, frames, segment, HUGE[how]))
    assert isinstance(found, AbortError)
    assert "garbled" in str(found)
    f.exact(f.round(2), f.ids)


def test_an_error_within_the_bound_goes_away():
    """The check looks at the right place: t times a small number more is an error like others, and the sum is exact."""
    f = Committee(6, **SIX)
    f.until("masked")
    f.exact(
        outcome(f, lambda frames: replaced(f, frames, 1, lambda ring: {0: 5 * t_of(ring), 3: -7 * t_of(ring)})), f.ids
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_head_of_noise_ends_the_round(seed):
    """Random residues in the head, where the check lane is."""
    f = Committee(6, **SIX)
    f.until("masked")
    rng = np.random.default_rng(seed)

    def noise(ring):
        return {place: int.from_bytes(rng.bytes(40), "little") % ring.q for place in range(-(-3 // ring.per))}

    assert isinstance(outcome(f, lambda frames: replaced(f, frames, 0, noise)), AbortError)
    f.exact(f.round(2), f.ids)


# -- shares that are none ---------------------------------------------------------------------------------------------


def with_secret(monkeypatch, change):
    """Let the liar deal shares of another secret than the one that masks its update."""
    honest = sharing.seal_shares

    def seal_shares(secret, params, setup, pair, round_id, me, seed):
        return honest(change(secret.copy()) if me == LIAR else secret, params, setup, pair, round_id, me, seed)

    monkeypatch.setattr("secagg.protocols.oneshot.client.seal_shares", seal_shares)


def bumped(place, by):
    def change(secret):
        secret[place] += by
        return secret

    return change


SECRETS = {
    "one more in a coefficient": bumped(0, 1),
    "one less in the last": bumped(-1, -1),
    "nothing": lambda secret: secret * 0,
    "its negative": lambda secret: -secret,
    "reversed": lambda secret: secret[::-1].copy(),
    "rolled": lambda secret: np.roll(secret, 1),
    "a large coefficient": bumped(7, 150),
}


@pytest.mark.parametrize("how", SECRETS)
def test_shares_of_another_secret_end_the_round(monkeypatch, how):
    """Members cannot tell: the shares are good ones, of the wrong thing. The sum does not open, nor does any other."""
    f = Committee(6, **SIX)
    f.until("masked")
    with_secret(monkeypatch, SECRETS[how])
    assert isinstance(outcome(f), AbortError)
    monkeypatch.undo()
    f.exact(f.round(2), f.ids)


@pytest.mark.parametrize("others", range(7))
def test_shares_wrong_for_some_members_give_the_sum_or_none(monkeypatch, others):
    """From one member to all of them: corrected where enough are right, and otherwise the end of the round."""
    f = Committee(7, corrupt=1, min_clients=5, threshold=5, packing=1)
    f.until("masked")
    honest = sharing.packed.split

    def split(rows, threshold, points, draw):
        shares = honest(rows, threshold, points, draw)
        for place in range(others):
            shares[place] = (shares[place] + np.uint64(place + 1)) % np.uint64(field.P)
        return shares

    seal = sharing.seal_shares

    def seal_shares(*args):
        with monkeypatch.context() as patch:
            if args[5] == LIAR:
                patch.setattr(sharing.packed, "split", split)
            return seal(*args)

    monkeypatch.setattr("secagg.protocols.oneshot.client.seal_shares", seal_shares)
    found = outcome(f)
    if others <= (7 - 5) // 2:
        f.exact(found, f.ids)
        assert sorted(found.blamed) == f.ids[:others]
    else:
        assert isinstance(found, AbortError)


# -- members ----------------------------------------------------------------------------------------------------------


def answered(members=9, threshold=5, rho=1):
    f = Committee(members, corrupt=1, min_clients=members - 2, threshold=threshold, packing=rho, threat="semi-honest")
    opener = Opener(f)
    return f, opener, opener.answers(f.ids, f.ids)


def polynomial(rng, threshold, zeros):
    """Values at 1, 2, .. of one of degree below the threshold that is zero at some places, the same in every row."""
    roots, spare = [place + 1 for place in zeros], [int(v) for v in rng.integers(1, 1 << 60, threshold - len(zeros))]

    def at(x):
        value = sum(c * pow(x, k, field.P) for k, c in enumerate(spare)) % field.P
        for root in roots:
            value = value * (x - root) % field.P
        return value

    return at


@pytest.mark.parametrize("liars", range(10))
def test_members_that_make_up_their_answers(liars):
    """Up to half of the spare answers: exact. From there to all of them: exact or none, each time."""
    f, opener, answers = answered()
    rng = np.random.default_rng(liars)
    for wrong in itertools.islice(itertools.combinations(range(9), liars), 0, None, 9):
        told = dict(answers)
        for place in wrong:
            told[place] = rng.integers(0, field.P, told[place].shape, dtype=np.uint64)
        total = opener.opened(f.ids, told)
        if liars <= 2:
            np.testing.assert_array_equal(total, opener.plain(*f.ids))
        else:
            assert isinstance(total, AbortError)


@pytest.mark.parametrize("liars", range(1, 10))
def test_members_that_lie_along_one_polynomial(liars):
    """They know all answers and agree on another sum, which fits as many honest ones as can be: then the honest look wrong.

    Whoever is named, what comes out is the sum or nothing: no sum of secrets but the true one takes the masks off.
    """
    f, opener, answers = answered()
    rng, won = np.random.default_rng(liars), 0
    for _ in range(4):
        wrong = sorted(rng.permutation(9)[:liars])
        zeros = [place for place in range(9) if place not in wrong][:4]
        other = polynomial(rng, 5, zeros)
        told = {place: answers[place].copy() for place in answers}
        for place in wrong:
            told[place] = (told[place] + np.uint64(other(int(place) + 1))) % np.uint64(field.P)
        total = opener.opened(f.ids, told)
        if isinstance(total, AbortError):
            won += 1
            continue
        np.testing.assert_array_equal(total, opener.plain(*f.ids))
        assert liars <= 2
    assert won == (4 if liars > 2 else 0)


@pytest.mark.parametrize("by", [1, field.P - 1, 1 << 16, 1 << 40])
def test_with_no_answer_to_spare_a_wrong_one_ends_the_round(by):
    """T answers fit any polynomial: what finds it is that the sum does not open."""
    f, opener, answers = answered()
    for places in ([0, 1, 2, 3, 4], [8, 6, 4, 2, 0]):
        np.testing.assert_array_equal(
            opener.opened(f.ids, {place: answers[place] for place in places}), opener.plain(*f.ids)
        )
        for liar, row in itertools.product(places, (0, -1)):
            told = {place: answers[place].copy() for place in places}
            told[liar][row] = (int(told[liar][row]) + by) % field.P
            assert isinstance(opener.opened(f.ids, told), AbortError)


def test_shares_that_the_server_exchanges_are_refused_by_every_member():
    """Another client's share, another member's, swapped paths, halves of two: only what the client signed for opens."""
    f = Committee(6, **SIX)
    opener, names = Opener(f), tuple(f.ids)
    for member in names:
        good = opener.body(member, names)
        box, path = len(good.sealed) // 6, len(good.paths) // 6
        boxes = [good.sealed[i * box : (i + 1) * box] for i in range(6)]
        paths = [good.paths[i * path : (i + 1) * path] for i in range(6)]
        other = opener.body(next(name for name in names if name != member), names)
        lies = [
            {"sealed": other.sealed},
            {"sealed": other.sealed, "paths": other.paths},
            {"sealed": b"".join([boxes[1], boxes[0], *boxes[2:]])},
            {
                "sealed": b"".join([boxes[1], boxes[0], *boxes[2:]]),
                "paths": b"".join([paths[1], paths[0], *paths[2:]]),
            },
            {"sealed": b"".join([boxes[0][: box // 2] + boxes[1][box // 2 :], *boxes[1:]])},
            {"paths": b"".join([paths[1], paths[0], *paths[2:]])},
            {"paths": bytes(len(good.paths))},
            {"sealed": bytes(len(good.sealed))},
        ]
        for lie in lies:
            (found,) = opener.told(member, [opener.ask(member, names, **lie)])
            assert isinstance(found, PeerError), lie.keys()
        (share,) = opener.told(member, [opener.ask(member, names)])
        assert isinstance(share, np.ndarray)


# -- what refusals give away ------------------------------------------------------------------------------------------


def test_refusals_and_aborts_carry_no_secret(monkeypatch):
    """Two sets, exchanged shares, a garbled sum: no seed, secret or share is in a text, a traceback's variables, a pickle."""
    canary, f = Canary(), Committee(6, **SIX)
    secrets = []
    coefficients_, seal, unseal = sharing.seal_shares, aead.seal, aead.open_

    def dealt(secret, *rest):
        secrets.append(secret.copy())
        canary.plant(rest[5])
        return coefficients_(secret, *rest)

    def sealed(key, plain, *rest):
        canary.plant(key, plain[:32])
        return seal(key, plain, *rest)

    def opened(key, *rest):
        plain = unseal(key, *rest)
        canary.plant(key, plain[:32])
        return plain

    monkeypatch.setattr("secagg.protocols.oneshot.client.seal_shares", dealt)
    monkeypatch.setattr(aead, "seal", sealed)
    monkeypatch.setattr(aead, "open_", opened)
    canary.watch(monkeypatch, [f.clients[name]._core._state for name in f.ids])
    opener, names = Opener(f), tuple(f.ids)
    everybody = {name: opener.body(name, names) for name in names}
    errors = []
    for member in names:
        lies = [
            opener.ask(member, names[:5]),
            opener.ask(member, names[:4]),
            opener.ask(member, names, sealed=everybody["c0" if member != "c0" else "c1"].sealed),
            opener.ask(member, names, round_id=2),
            opener.ask(member, names, setup_hash=bytes(32)),
        ]
        party = opener.member(member)
        errors += [
            each
            for each in opener.tell(party, [lies[1], opener.ask(member, names), *lies])
            if isinstance(each, Exception)
        ]
        canary.things(party, *party.outbox())
    f.bring([(name, frame) for name in names for frame in opener.frames[name]])
    f.server.close_phase()
    asked = f.asked(Kind.REVEAL_REQUEST)
    with_wrong = iter([True, *[False] * 5])
    honest = sharing.add_shares
    monkeypatch.setattr(
        sharing, "add_shares", lambda shares: honest([*shares, shares[0]] if next(with_wrong) else shares)
    )
    for name, frame in list(asked.items())[:5]:
        f.clients[name].receive(frame)
        f.bring([(name, out) for out in f.clients[name].outbox()])
    with pytest.raises(AbortError) as error:
        f.server.close_phase()
    errors.append(error.value)
    for each in errors:
        canary.error(each)
    canary.things(f.server, *f.clients.values())
    assert len(errors) > 30
    assert len(canary.secrets) > 50
    assert len(secrets) == 6
    assert canary.found() == []
    text = "\n".join(canary.texts)
    for secret in secrets:
        for shown in (str(secret[:8].tolist())[1:-1], str(secret[:8])[1:-1]):
            assert shown not in text
    canary.texts.add(f"a secret: {max(canary.secrets).hex()}")
    assert canary.found()  # it can find one
