"""Masks with hint-RLWE: what the reference computes, what is refused, what stays secret, and the discrete Gaussian."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from reference import hint as reference
from secagg._kernels.gaussian import gaussian_table
from secagg.errors import InputError, ParameterError
from secagg.hazmat import hintrlwe
from secagg.hazmat.hintrlwe import MaskedSum, MaskRing, MaskSecret, gaussian, moduli

SETTINGS = (2048, 50, 1, 17, 2, 1 << 14)
RING = MaskRing(*SETTINGS)
SEED, PUBLIC, KEY = bytes(range(32)), bytes(range(16, 32)), bytes(range(16))
SIGMA = 6.36


def vector(count, seed=0):
    return np.random.default_rng([seed, count]).integers(0, 1 << 15, count, dtype=np.uint32)


def probability(k):
    """Of |x| = k."""
    weights = [math.exp(-x * x / (2 * SIGMA**2)) for x in range(120)]
    return weights[k] * (1 + (k > 0)) / (2 * sum(weights) - 1)


# The ring.


@pytest.mark.parametrize(("bits", "count"), [(21, 4), (50, 3), (52, 2), (60, 8)])
def test_moduli_are_the_largest_primes(bits, count):
    assert list(moduli(bits, count)) == reference.moduli(bits, count)
    assert moduli(bits, 1) == moduli(bits, count)[:1]


@pytest.mark.parametrize(("bits", "count"), [(19, 1), (61, 1), (50, 0), (50, 9), (20, 8), (50, "1"), (50.0, 1)])
def test_moduli_out_of_range(bits, count):
    with pytest.raises(ParameterError):
        moduli(bits, count)


def test_a_ring_counts_polynomials_and_bytes():
    ring = MaskRing(8192, 50, 3, 23, 6, 1024)
    assert ring.moduli == moduli(50, 3)
    assert ring.q == math.prod(ring.moduli)
    assert [ring.polynomials(n) for n in (0, 1, 8192 * 6, 8192 * 6 + 1)] == [0, 1, 1, 2]
    assert ring.payload_bytes(0) == 0
    assert ring.payload_bytes(1) == 3 * 7
    assert ring.payload_bytes(7) == 3 * 13
    assert ring.payload_bytes(8192 * 6 + 1) == 3 * (8192 * 50 // 8 + 7)
    assert ring == MaskRing(8192, 50, 3, 23, 6, 1024)
    assert {ring: 1}[MaskRing(8192, 50, 3, 23, 6, 1024)] == 1
    assert ring != MaskRing(8192, 50, 3, 23, 6, 1023)
    assert pickle.loads(pickle.dumps(ring)) == ring


@pytest.mark.parametrize(
    "bad",
    [
        {"degree": 1024},
        {"degree": 16384},
        {"degree": 2048.0},
        {"degree": True},
        {"bits": 19},
        {"bits": 61},
        {"primes": 0},
        {"primes": 9},
        {"primes": np.int64(1)},
        {"width": 0},
        {"width": 63},
        {"per": 0},
        {"per": 65},
        {"spread": 0},
        {"spread": 1 << 300},
        {"bits": 60, "primes": 5},  # above 2^256
        {"spread": 1 << 15},  # 2 t B above q
        {"per": 3},
    ],
    ids=str,
)
def test_rings_that_do_not_exist(bad):
    names = ("degree", "bits", "primes", "width", "per", "spread")
    with pytest.raises(ParameterError):
        MaskRing(**(dict(zip(names, SETTINGS, strict=True)) | bad))


def test_the_bound_is_exact():
    q = moduli(50, 1)[0]
    spread = q >> 35
    assert 2 * spread << 34 <= q < 2 * (spread + 1) << 34
    MaskRing(2048, 50, 1, 17, 2, spread)
    with pytest.raises(ParameterError, match="fit"):
        MaskRing(2048, 50, 1, 17, 2, spread + 1)


@pytest.mark.parametrize("count", [-1, 1.5, True, None])
def test_counts_that_are_none(count):
    for use in (RING.polynomials, RING.payload_bytes, lambda n: MaskedSum(RING, n)):
        with pytest.raises(InputError):
            use(count)


def test_a_sum_of_nothing():
    with pytest.raises(InputError, match="at least one"):
        MaskedSum(RING, 0)


# The Gaussian.


def test_the_table_is_the_definition_and_its_tail_is_cut_where_nothing_is_left():
    thresholds = reference.thresholds()
    high, low = (row.tolist() for row in gaussian_table())
    assert [h << 63 | x for h, x in zip(high, low, strict=True)] == thresholds
    assert max(high + low) < 1 << 63
    assert len(thresholds) == hintrlwe.SECRET_BOUND
    # 2^126 P(|x| >= k) in logarithms, to a few digits, from the normal tail alone.
    for k, threshold in enumerate(thresholds[10:], 11):
        tail = math.log2(math.erfc((k - 0.5) / (SIGMA * math.sqrt(2)))) + 126
        assert abs(math.log2(threshold) - tail) < 0.3 + 1.5 * (threshold < 16)
    # Whatever the words, at most one unit of 2^-126 a threshold is lost: far below 2^-90 in all.
    assert len(thresholds) < 1 << 7
    # Upper words that are not 0 differ: the kernels count on it.
    assert len({h for h in high if h}) == sum(h > 0 for h in high)


def test_samples_have_the_distribution():
    n = 400_000
    made = gaussian(KEY, 0, 0, n)
    counts = np.bincount(np.abs(made), minlength=30)
    expected = np.array([n * probability(k) for k in range(25)])
    rest = n - expected.sum()
    observed = [*counts[:25], counts[25:].sum()]
    chi = sum((o - e) ** 2 / e for o, e in zip(observed, [*expected, rest], strict=True))
    assert chi < 60  # 25 degrees of freedom: 60 is passed once in 10^4 keys; this key is fixed
    negative, positive = (made < 0).sum(), (made > 0).sum()
    assert abs(int(negative) - int(positive)) < 5 * math.sqrt(n)
    assert abs(made.var() - SIGMA**2) < 6 * SIGMA**2 * math.sqrt(2 / n)
    assert abs(np.corrcoef(made[:-1], made[1:])[0, 1]) < 5 / math.sqrt(n)


def test_samples_are_the_references_from_anywhere():
    for start, count in ((0, 40), (2**40 + 1, 9)):
        assert gaussian(KEY, 7, start, count).tolist() == reference.gaussian(KEY, 7, start, count)
    assert gaussian(KEY, 7, 3, 5).tolist() == gaussian(KEY, 7, 0, 8).tolist()[3:]
    with pytest.raises(InputError):
        gaussian(KEY[1:], 0, 0, 1)


# Secrets.


def test_a_secret_is_the_seed_s_and_the_ring_s():
    secret, ref = MaskSecret(RING, SEED), reference.Masking(*SETTINGS)
    made = secret.coefficients()
    assert made.dtype == np.int64
    assert made.tolist() == ref.secret(SEED)
    assert np.abs(made).max() <= hintrlwe.SECRET_BOUND
    assert np.array_equal(MaskSecret(RING, SEED).coefficients(), made)
    assert not np.array_equal(MaskSecret(RING, SEED[::-1]).coefficients(), made)
    digits = MaskRing(*SETTINGS[:3], 18, *SETTINGS[4:5], 1 << 12)  # another segment of the same upload
    assert np.array_equal(MaskSecret(digits, SEED).coefficients(), made)
    other = MaskRing(SETTINGS[0], SETTINGS[1] - 1, *SETTINGS[2:-1], SETTINGS[-1] >> 2)
    assert not np.array_equal(MaskSecret(other, SEED).coefficients(), made)


def test_a_secret_does_not_leave_by_accident():
    secret = MaskSecret(RING, SEED)
    shown = repr(secret) + str(secret)
    assert SEED.hex() not in shown
    assert str(list(SEED)[:4])[1:-1] not in shown
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(secret)
    with pytest.raises(InputError) as refusal:
        MaskSecret(RING, SEED[:31])
    assert SEED.hex()[:8] not in str(refusal.value)


# Masks and sums.


def test_a_sum_is_the_references_bit_for_bit():
    ref, clients, count, first = reference.Masking(*SETTINGS), 3, 61, 7
    total, payloads, secrets, plain = MaskedSum(RING, count), [], np.zeros(2048, np.int64), np.zeros(count, np.uint64)
    for client in range(clients):
        seed, values = bytes([client]) * 32, vector(count, client)
        secret = MaskSecret(RING, seed)
        payload = secret.mask(values, PUBLIC, first)
        assert payload == ref.mask(values.tolist(), seed, PUBLIC, first)
        payloads.append(payload)
        total.add(payload)
        secrets += secret.coefficients()
        plain += values
    opened = total.open(secrets, PUBLIC, first)
    assert opened.dtype == np.uint64
    assert np.array_equal(opened, plain)
    values, noise = ref.open(payloads, count, secrets.tolist(), PUBLIC, first)
    assert values == plain.tolist()
    assert max(map(abs, noise)) < 10 * SIGMA * math.sqrt(clients)


def test_lanes_of_any_type_and_an_own_buffer():
    secret, values = MaskSecret(RING, SEED), vector(9) % 1000
    made = secret.mask(values, PUBLIC, 0)
    assert len(made) == RING.payload_bytes(9)
    for dtype in (np.uint16, np.uint64):
        assert secret.mask(values.astype(dtype), PUBLIC, 0) == made
    out = bytearray(len(made))
    assert secret.mask(values, PUBLIC, 0, out) == b""
    assert out == made
    assert secret.mask(values, PUBLIC, 1) != made
    assert secret.mask(values, PUBLIC[::-1], 0) != made


@pytest.mark.parametrize(
    "values", [None, [1, 2], np.zeros((2, 2), np.uint32), np.zeros(3, np.int32), np.zeros(0, np.uint32)]
)
def test_values_that_are_none(values):
    with pytest.raises(InputError):
        MaskSecret(RING, SEED).mask(values, PUBLIC, 0)


def test_errors_of_different_polynomials_differ():
    """Two masks of zeros under one secret, with the product of public numbers taken away: the errors alone."""
    secret, count = MaskSecret(RING, SEED), RING.per * 200
    noises = []
    ref = reference.Masking(*SETTINGS)
    for first in (0, 1):
        payload = secret.mask(np.zeros(count, np.uint32), PUBLIC, first)
        noises.append(ref.open([payload], count, secret.coefficients().tolist(), PUBLIC, first)[1])
    assert len(noises[0]) == 200
    assert noises[0] != noises[1]
    assert all(4 < np.std(noise) < 9 for noise in noises)


def sums(count=9, clients=2):
    total, secrets = MaskedSum(RING, count), np.zeros(2048, np.int64)
    for client in range(clients):
        secret = MaskSecret(RING, bytes([client]) * 32)
        total.add(secret.mask(vector(count, client), PUBLIC, 0))
        secrets += secret.coefficients()
    return total, secrets


def test_sums_merge_and_travel():
    count = 9
    total, secrets = sums(count)
    left, right = MaskedSum(RING, count), MaskedSum(RING, count)
    for part, client in ((left, 0), (right, 1)):
        part.add(MaskSecret(RING, bytes([client]) * 32).mask(vector(count, client), PUBLIC, 0))
    left.merge(right)
    assert left.to_bytes() == total.to_bytes()
    again = MaskedSum.from_bytes(RING, count, total.to_bytes())
    assert np.array_equal(again.open(secrets, PUBLIC, 0), vector(count, 0).astype(np.uint64) + vector(count, 1))
    assert len(again) == count
    assert again.nbytes == 8 * 5
    assert repr(again).startswith("<MaskedSum of 9 values in MaskRing(")
    assert MaskedSum.from_bytes(RING, count, bytes(RING.payload_bytes(count))).to_bytes().count(
        0
    ) == RING.payload_bytes(count)
    for other in (MaskedSum(RING, 8), MaskedSum(MaskRing(*SETTINGS[:5], 9), count), left, None):
        with pytest.raises(InputError):
            left.merge(other)


def test_what_is_refused_leaves_the_sum():
    total, _ = sums()
    before = total.to_bytes()
    for bad in (b"", before[:-1], before + b"\0", b"\xff" * len(before), before[:-1] + bytes([before[-1] | 0x80]), 7):
        with pytest.raises(InputError):
            total.add(bad)
        assert total.to_bytes() == before


def test_opening_with_another_secret_or_an_absent_client_is_refused():
    total, secrets = sums()
    for wrong in (secrets + 1, secrets - MaskSecret(RING, bytes(32)).coefficients(), np.zeros(2048, np.int64)):
        with pytest.raises(InputError, match="noise"):
            total.open(wrong, PUBLIC, 0)
    for public, first in ((PUBLIC[::-1], 0), (PUBLIC, 1)):
        with pytest.raises(InputError, match="noise"):
            total.open(secrets, public, first)


@pytest.mark.parametrize(
    "bad",
    [np.zeros(2047, np.int64), np.zeros(2048, np.int32), np.zeros(2048, np.uint64), [0] * 2048, None],
    ids=["short", "int32", "uint64", "list", "None"],
)
def test_a_sum_of_secrets_that_is_none(bad):
    with pytest.raises(InputError):
        sums()[0].open(bad, PUBLIC, 0)


def test_a_sum_of_secrets_that_is_too_large():
    total, secrets = sums()
    for extreme in (1 << 62, -(1 << 62), -(1 << 63)):
        wrong = secrets.copy()
        wrong[5] = extreme
        with pytest.raises(InputError, match="large"):
            total.open(wrong, PUBLIC, 0)


def test_open_reduces_whatever_the_secrets_differ_by_the_modulus():
    total, secrets = sums()
    expected = total.open(secrets, PUBLIC, 0)
    assert np.array_equal(total.open(secrets + RING.q, PUBLIC, 0), expected)
    assert np.array_equal(total.open(secrets - RING.q, PUBLIC, 0), expected)
