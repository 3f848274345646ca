"""The ring of the hazmat layer: its parameters, its distributions, packing, and what it refuses."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import numpy as np
import pytest

from reference import ring as reference
from secagg import _kernels
from secagg._kernels.plan import is_prime
from secagg.errors import InputError, ParameterError
from secagg.hazmat.ring import Ring, modulus

RING = Ring(1024, modulus(43))
KEY = bytes(range(16))


def test_primes_against_a_sieve_and_against_composites_that_fool_single_bases():
    sieve = [n for n in range(2, 3000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    assert [n for n in range(3000) if is_prime(n)] == sieve
    # Strong pseudoprimes to the first 1, 4, 9 and 12 prime bases (OEIS A014233), and to base 41's predecessors.
    for fool in (2047, 3215031751, 3825123056546413051, 318665857834031151167461):
        assert not is_prime(fool)
    assert is_prime(2**61 - 1)
    assert not is_prime((2**31 - 1) * (2**30 - 35))


@pytest.mark.parametrize("bits", range(20, 62))
def test_moduli(bits):
    q = modulus(bits)
    assert q.bit_length() == bits
    assert q % 16384 == 1
    assert pow(3, q - 1, q) == 1
    assert not any(is_prime(p) for p in range(q + 16384, 1 << bits, 16384))


@pytest.mark.parametrize("bits", [-1, 0, 19, 62, 100])
def test_other_widths_are_refused(bits):
    with pytest.raises((ParameterError, InputError)):
        modulus(bits)


@pytest.mark.parametrize(
    "degree, q",
    [
        (512, modulus(30)),
        (1000, modulus(30)),
        (16384, modulus(30)),
        (1024, 12289),  # a prime, 1 modulo 2048, but too small
        (1024, modulus(30) - 16384),  # not a prime
        (1024, 2**61 - 1),  # a prime, but not 1 modulo 2048
        (1024, 2**61 + 2**14 * 3 + 1),
        (1024, 0),
        (1024, -modulus(30)),
        (1024.0, modulus(43)),
        (1024, str(modulus(43))),
    ],
)
def test_other_rings_are_refused(degree, q):
    with pytest.raises(ParameterError):
        Ring(degree, q)


def test_a_ring_is_a_value():
    ring = Ring(2048, modulus(49))
    assert (ring.degree, ring.modulus, ring.bits) == (2048, modulus(49), 49)
    assert ring == Ring(2048, modulus(49)) != Ring(1024, modulus(49))
    assert ring != 2048
    assert len({ring, Ring(2048, modulus(49)), Ring(4096, modulus(49))}) == 2
    assert repr(ring) == f"Ring(degree=2048, modulus={modulus(49)})"
    assert pickle.loads(pickle.dumps(ring)) == copy.deepcopy(ring) == ring
    with pytest.raises(AttributeError):
        ring.degree = 4096
    with pytest.raises(AttributeError):
        ring._plan = None
    with pytest.raises(ValueError, match="read-only"):
        ring.plan.table[0] = 3


@pytest.mark.parametrize("bits", [20, 43])
def test_the_root_is_the_smallest(bits):
    ring = Ring(1024, modulus(bits))
    if bits == 20:
        assert ring.plan.root == reference.smallest_root(1024, ring.modulus)
    else:  # too many numbers to try: the odd powers are all there are
        assert ring.plan.root == min(pow(ring.plan.root, k, ring.modulus) for k in range(1, 2048, 2))


def test_a_prime_of_one_degree_only():
    q = next(q for q in itertools.count((1 << 30) + 1, 2048) if q % 4096 != 1 and is_prime(q))
    a = Ring(1024, q).uniform(KEY, 0, 0, 1)
    b = a.copy()
    Ring(1024, q).forward(b)
    assert b[0].tolist() == reference.transform(a[0].tolist(), Ring(1024, q).plan.root, q)
    with pytest.raises(ParameterError):
        Ring(2048, q)


def test_products_are_the_schoolbooks():
    a, b = RING.uniform(KEY, 0, 0, 2)
    small = [x[:32].tolist() for x in (a, b)]
    assert reference.schoolbook(*small, RING.modulus) == reference.multiply(*small, RING.modulus)
    polys = np.stack([a, b])
    RING.forward(polys)
    product = np.zeros((1, 1024), np.uint64)
    RING.multiply_add(product, polys[:1].copy(), polys[1:].copy())
    RING.inverse(product)
    assert product[0].tolist() == reference.multiply(a.tolist(), b.tolist(), RING.modulus)


def test_add_and_subtract():
    a, b = RING.uniform(KEY, 0, 0, 1), RING.uniform(KEY, 1, 0, 1)
    total = a.copy()
    RING.add(total, b)
    assert total[0].tolist() == [(x + y) % RING.modulus for x, y in zip(a[0].tolist(), b[0].tolist(), strict=True)]
    RING.subtract(total, b)
    assert np.array_equal(total, a)
    vector = np.zeros(1500, np.uint64)
    RING.add_uniform(vector, KEY, 0, 0)
    assert vector.tolist() == RING.uniform(KEY, 0, 0, 2).reshape(-1)[:1500].tolist()
    RING.add_uniform(vector, KEY, 0, 0, subtract=True)
    assert not vector.any()


def chi_square_is_plausible(counts, probabilities):
    """Within six standard deviations of a chi-square's mean; the keys are fixed, so this never changes."""
    total = sum(counts)
    statistic = sum((c - total * p) ** 2 / (total * p) for c, p in zip(counts, probabilities, strict=True))
    freedom = len(counts) - 1
    return abs(statistic - freedom) < 6 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("bits", [20, 43, 50, 60])
def test_uniform_is_uniform(bits):
    ring = Ring(8192, modulus(bits))
    x = ring.uniform(KEY, 0, 0, 32).reshape(-1)
    bins = np.bincount((x.astype(np.float64) * (64 / ring.modulus)).astype(int), minlength=64)
    assert chi_square_is_plausible(bins.tolist(), [1 / 64] * 64)
    assert chi_square_is_plausible(np.bincount((x % 61).astype(int), minlength=61).tolist(), [1 / 61] * 61)
    mean, deviation = float(x.astype(np.float64).mean()) / ring.modulus, 1 / math.sqrt(12 * len(x))
    assert abs(mean - 0.5) < 5 * deviation


def centred(x, q):
    return np.where(x > q // 2, x.astype(np.int64) - q, x.astype(np.int64))


@pytest.mark.parametrize("bits", [20, 50, 61])
def test_ternary_is_uniform_on_three(bits):
    ring = Ring(8192, modulus(bits))
    x = centred(ring.ternary(KEY, 0, 0, 32).reshape(-1), ring.modulus)
    assert set(x.tolist()) == {-1, 0, 1}
    assert chi_square_is_plausible(np.bincount(x + 1).tolist(), [1 / 3] * 3)
    assert abs(x.mean()) < 5 * math.sqrt(2 / 3 / len(x))


@pytest.mark.parametrize("bits", [20, 50, 61])
def test_binomial_is_centred_binomial(bits):
    ring = Ring(8192, modulus(bits))
    x = centred(ring.binomial(KEY, 0, 0, 32).reshape(-1), ring.modulus)
    assert abs(x).max() <= 21
    assert abs(x.mean()) < 5 * math.sqrt(10.5 / len(x))
    assert abs(x.var() - 10.5) < 5 * 10.5 * math.sqrt(2 / len(x))
    exact = [math.comb(42, 21 + k) / 2**42 for k in range(-21, 22)]
    tail = 12  # beyond it, expected counts are too small for the statistic
    counts = np.bincount(np.clip(x, -tail, tail) + tail, minlength=2 * tail + 1).tolist()
    ends = sum(exact[: 22 - tail])
    assert chi_square_is_plausible(counts, [ends, *exact[22 - tail : 21 + tail], ends])


def test_streams_keys_and_polynomials_differ():
    made = [RING.uniform(KEY, 0, 0, 2), RING.uniform(KEY, 1, 0, 2), RING.uniform(bytes(16), 0, 0, 2)]
    rows = {row.tobytes() for block in made for row in block}
    assert len(rows) == 6
    assert np.array_equal(RING.uniform(KEY, 0, 1, 1)[0], made[0][1])


@pytest.mark.parametrize("bits", [20, 32, 33, 43, 61])
def test_packing(bits):
    ring = Ring(1024, modulus(bits))
    for n in (0, 1, 7, 1024, 1025):
        x = ring.uniform(KEY, 0, 0, 2).reshape(-1)[:n].copy()
        data = ring.pack(x)
        assert data == reference.pack(x.tolist(), ring.modulus)
        assert ring.unpack(data, n).tolist() == x.tolist()
        assert ring.unpack(data, n).dtype == np.uint64
        with pytest.raises(InputError):
            ring.unpack(data + b"\0", n)
    if bits * 7 % 8:
        with pytest.raises(InputError, match="padding"):
            ring.unpack(bytes((7 * bits) // 8) + b"\x80", 7)
    assert ring.pack(ring.uniform(KEY, 0, 0, 2)) == ring.pack(ring.uniform(KEY, 0, 0, 2).reshape(-1))
    for bad in (np.array([ring.modulus], np.uint64), np.array([1], np.int64), [1]):
        with pytest.raises(InputError):
            ring.pack(bad)
    with pytest.raises(InputError, match="modulus"):
        ring.unpack(ring.modulus.to_bytes((bits + 7) // 8, "little"), 1)


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(17), "0" * 16, bytearray(16)])
def test_keys_of_another_kind_are_refused(key):
    for call in (RING.uniform, RING.ternary, RING.binomial):
        with pytest.raises(InputError):
            call(key, 0, 0, 1)
    with pytest.raises(InputError):
        RING.add_uniform(np.zeros(3, np.uint64), key, 0, 0)


def test_plans_are_shared_and_aligned():
    assert Ring(1024, modulus(43)).plan is Ring(1024, modulus(43)).plan  # others may have been made since RING was
    assert RING.plan.table.ctypes.data % 64 == 0
    assert _kernels.aligned_words(3, 5).shape == (3, 5)
    assert "table" not in repr(RING.plan)
