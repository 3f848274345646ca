"""Shares that were tampered with, by a holder, by a dealer, or on the way.

Shamir's scheme alone detects nothing: whoever knows the others' shares can choose its own so that any secret comes out (Tompa
and Woll, "How to Share a Secret with Cheaters", Journal of Cryptology 1, 1988), and a share at the index 0, or at the field's
order, is the secret (Trail of Bits, "Disclosing Shamir's Secret Sharing vulnerabilities", December 2021). What stands against it:
signed hashes of all that was dealt, commitments to seeds, public keys to mask keys, and indices that nobody sends.
"""

import os

import numpy as np
import pytest

from reference import field
from secagg.errors import AbortError, InputError, ParameterError, PeerError
from secagg.hazmat import shamir
from secagg.protocols.pairwise import dealing, unmasking
from secagg.protocols.pairwise.messages import Kind
from secagg.wire import encode_body
from support.federation import Federation, fields
from support.liars import lying_answer, shares

P, SEED = field.P, dealing.SEED_SHARE_BYTES


def forged(held, xs, me, secret, target):
    """The share that makes `secret` come out as `target`, for who knows where the other points are."""
    weight = 1
    for x in xs:
        if x != me:
            weight = weight * x * pow(x - me, -1, P) % P
    limbs = []
    for at, (is_now, wanted) in enumerate(zip(field.to_limbs(secret), field.to_limbs(target), strict=True)):
        own = int.from_bytes(held[me][8 * at : 8 * at + 8], "little")
        limbs.append((own + (wanted - is_now) * pow(weight, -1, P)) % P)
    return b"".join(limb.to_bytes(8, "little") for limb in limbs)


def test_without_commitments_a_holder_chooses_the_secret():
    secret, target, xs = os.urandom(16), b"what I say it is", [1, 2, 3, 4]
    held = dict(zip(xs, field.split(secret, 3, xs, os.urandom), strict=True))
    some = [1, 2, 4]
    lie = forged(held, some, 4, secret, target)
    assert field.combine({1: held[1], 2: held[2], 4: lie}, 16) == target


def test_in_a_round_that_holder_is_named_and_the_sum_is_right():
    """c1 knows everything, and forges its share of each survivor's seed so that zeros come out."""
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    f.server.open_round(1)
    f.until("unmask")
    batches = {name: f.clients[name]._core._state.batch for name in f.ids}
    seeds = [batches[name].seeds[0] for name in f.ids]

    def held(rank, holder):
        batch = batches[f.ids[holder]]
        return (batch.own if rank == holder else batch.holdings[rank]).shares[0]

    told = {rank: {holder + 1: held(rank, holder) for holder in range(7)} for rank in range(7)}
    first = [1, 2, 3, 4, 5]  # whose shares the server tries first

    def change(plain):
        lies = b"".join(forged(told[rank], first, 2, seeds[rank], bytes(16)) for rank in range(7))
        return encode_body(fields(shares(plain), seed_shares=lies))

    lie = shares(change(encode_body(shares_of(f, "c1")))).seed_shares[:SEED]
    assert field.combine({**{x: told[0][x] for x in first}, 2: lie}, 16) == bytes(
        16
    )  # without the check it would be believed
    lying_answer(f, "c1", change)
    f.phase()
    f.check(f.ids)
    assert set(f.server.result(1).blamed) == {"c1"}


def shares_of(f, name):
    """The honest answer that a client would give."""
    state = f.clients[name]._core._state
    held = dict(state.batch.holdings) | {state.batch.setup.ranks[name]: state.batch.own}
    return shares(unmasking.make_answer(held, 0, list(range(7)), list(range(7))))


@pytest.mark.parametrize("index", [0, P, 2 * P, -P])
def test_a_share_at_index_zero_sets_the_secret_and_is_refused(index):
    """Plain interpolation believes it; ours takes no such index, and in the protocol an index is a rank plus one, never sent."""
    xs, lie = [1, 2, 3], b"".join(limb.to_bytes(8, "little") for limb in field.to_limbs(b"what I say it is"))
    held = dict(zip(xs, field.split(os.urandom(16), 3, xs, os.urandom), strict=True))
    if index == 0:
        assert field.combine({0: lie, 2: held[2], 3: held[3]}, 16) == b"what I say it is"
    with pytest.raises((InputError, ParameterError)):
        shamir.combine({index: lie, 2: held[2], 3: held[3]}, 3, 16)
    with pytest.raises((InputError, ParameterError)):
        shamir.split(b"k" * 16, 2, [index, 1], os.urandom)


@pytest.mark.parametrize("what", ["another's", "the other kind", "another round's", "swapped", "too few", "an opening"])
def test_a_true_share_in_a_wrong_place_is_found(what):
    """Every share was really dealt, and none was asked for there: its leaf's index, or its length, says so."""
    f = Federation(7, corrupt=1, threshold=5, min_clients=5, rounds_per_setup=2)
    f.server.open_round(1)
    f.until("unmask")
    batch = f.clients["c1"]._core._state.batch

    def change(plain):
        body = shares(plain)
        seeds, size = body.seed_shares, SEED
        rest, opening = seeds[size:], len(body.seed_openings) // 7
        lies = {
            "another's": {"seed_shares": seeds[size : 2 * size] + rest},
            "the other kind": {"seed_shares": batch.holdings[0].shares[1][:size] + rest},
            "another round's": {
                "seed_shares": batch.holdings[0].shares[2] + rest,
                "seed_openings": batch.holdings[0].opening(2) + body.seed_openings[opening:],
            },
            "swapped": {
                "seed_shares": seeds[size : 2 * size] + seeds[:size] + seeds[2 * size :],
                "seed_openings": body.seed_openings[opening : 2 * opening]
                + body.seed_openings[:opening]
                + body.seed_openings[2 * opening :],
            },
            "too few": {"seed_shares": seeds[:-size]},
            "an opening": {
                "seed_shares": bytes(size) + rest,
                "seed_openings": bytes(opening) + body.seed_openings[opening:],
            },
        }
        return encode_body(fields(body, **lies[what]))

    lying_answer(f, "c1", change)
    sent = f.hand(f.requests())
    if what == "too few":
        with pytest.raises(PeerError, match="length"):
            f.server.receive(dict(sent)["c1"])
        sent = [pair for pair in sent if pair[0] != "c1"]
    f.bring(sent)
    f.server.close_phase()
    f.check(f.ids)
    assert set(f.server.result(1).blamed) == (set() if what == "too few" else {"c1"})


def test_a_dealer_that_deals_two_secrets_is_named_and_the_round_ends():
    """Its shares lie on two polynomials, each signed for: some holders have the one, some the other; nothing is released."""
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    real = dealing.deal

    def two_faced(seeds, keys, threshold, me, neighbours, entropy):
        plain = real(seeds, keys, threshold, me, neighbours, entropy)
        other = real([os.urandom(16)], keys, threshold, me, neighbours, entropy)
        return {rank: other[rank] if me == 2 and rank % 2 else plain[rank] for rank in plain}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dealing, "deal", two_faced)
        f.server.open_round(1)
        f.until("masked")
    f.phase()
    with pytest.raises(AbortError, match=r"c2.*inconsistent"):
        f.phase()
    with pytest.raises(AbortError):
        f.server.result(1)


def test_complaints_of_everybody_exclude_nobody():
    """A client that complains of everybody costs them one holder each; the sum is exact without its shares."""
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    f.server.open_round(1)
    f.until("masked")
    f.bring(list(complaining(f, "c1", f.hand(f.requests()))))
    f.server.close_phase()
    f.bring([pair for pair in complaining(f, "c1", f.hand(f.requests())) if pair[0] != "c1"])
    f.server.close_phase()
    f.check(f.ids)
    assert np.all(f.server.result(1).sum == sum(f.updates.values()))


def complaining(f, name, sent):
    """The frames, those of one client complaining of all the others."""
    for who, frame in sent:
        if who == name and frame[3] == Kind.MASKED_HEADER:
            frame = f.forge_client(name, Kind.MASKED_HEADER, fields(f.body(frame), complaints=[0, 2, 3, 4, 5, 6]))  # noqa: PLW2901
        yield who, frame
