"""The ring kernels on every implementation: one set of bytes, and that of the reference."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from reference import ring as reference
from secagg import _kernels
from secagg.errors import InputError

BACKENDS = _kernels.backends()
KEY, PAD = bytes(range(16)), bytes(range(16, 32))
BITS = (20, 27, 32, 33, 37, 43, 49, 50, 51, 55, 60, 61)
DISTRIBUTIONS = ("uniform", "ternary", "binomial")


@pytest.fixture(scope="module", params=list(BACKENDS))
def kernels(request):
    return BACKENDS[request.param]


def plan_of(bits, degree=1024):
    return _kernels.ring_plan(degree, _kernels.ring_modulus(bits))


def residues(plan, *shape, seed=0):
    """Random residues, with the smallest and largest at the beginning of each row."""
    rng = np.random.default_rng([seed, plan.degree, plan.bits])
    made = rng.integers(0, plan.modulus, shape, dtype=np.uint64)
    made[..., :4] = [plan.modulus - 1, 0, 1, plan.modulus - 1]
    return made


def extremes(plan):
    """Polynomials at the limits of every lazy reduction."""
    rows = np.full((4, plan.degree), plan.modulus - 1, np.uint64)
    rows[1, 1::2] = 0
    rows[2, plan.degree // 2 :] = 1
    rows[3] = 0
    return rows


@functools.cache
def sampled(distribution, stream, index, bits):
    """The reference's polynomial, made once for all implementations."""
    plan = plan_of(bits)
    return getattr(reference, distribution)(KEY, stream, index, plan.degree, plan.modulus)


@functools.cache
def multiplied(bits, degree):
    """Two polynomials and the reference's product of them."""
    plan = plan_of(bits, degree)
    a, b = residues(plan, 1, degree), residues(plan, 1, degree, seed=1)
    return a, b, reference.multiply(a[0].tolist(), b[0].tolist(), plan.modulus)


@pytest.mark.parametrize("degree", [1024, 2048, 4096, 8192])
@pytest.mark.parametrize("bits", BITS)
def test_products_equal_the_reference(kernels, bits, degree):
    plan = plan_of(bits, degree)
    *factors, expected = multiplied(bits, degree)
    a, b = (factor.copy() for factor in factors)
    for poly in (a, b):
        kernels.ring_forward(plan, poly)
    product = np.zeros_like(a)
    kernels.ring_multiply_add(plan, product, a, b)
    kernels.ring_inverse(plan, product)
    assert product[0].tolist() == expected


@pytest.mark.parametrize("bits", BITS)
def test_inverse_undoes_forward_at_every_limit(kernels, bits):
    plan = plan_of(bits)
    polys = np.concatenate([extremes(plan), residues(plan, 1, plan.degree)])
    before = polys.copy()
    kernels.ring_forward(plan, polys)
    assert polys.max() < plan.modulus
    assert not np.array_equal(polys, before)
    kernels.ring_inverse(plan, polys)
    assert np.array_equal(polys, before)
    kernels.ring_inverse(plan, polys)
    assert polys.max() < plan.modulus
    kernels.ring_forward(plan, polys)
    assert np.array_equal(polys, before)


@pytest.mark.parametrize("bits", [20, 50, 61])
def test_the_order_of_the_transform(kernels, bits):
    """X has the value of the point itself, and so shows which point sits where."""
    plan = plan_of(bits)
    x = np.zeros((1, plan.degree), np.uint64)
    x[0, 1] = 1
    kernels.ring_forward(plan, x)
    psi = reference.smallest_root(plan.degree, plan.modulus) if bits == 20 else plan.root
    order = [int(f"{i:010b}"[::-1], 2) for i in range(plan.degree)]
    assert x[0].tolist() == [pow(psi, 2 * r + 1, plan.modulus) for r in order]


@pytest.mark.parametrize("bits", BITS)
def test_elementwise_of_any_length(kernels, bits):
    plan = plan_of(bits)
    q = plan.modulus
    for n in (0, 1, 2, 3, 7, 8, 9, 17, 64, 1001):
        acc, a, b = residues(plan, n + 4)[:n], residues(plan, n + 4, seed=1)[:n], residues(plan, n + 4, seed=2)[:n]
        plain = [x.tolist() for x in (acc, a, b)]
        for minus, sign in ((False, 1), (True, -1)):
            out = acc.copy()
            kernels.ring_add(plan, out, a, minus=minus)
            assert out.tolist() == [(x + sign * y) % q for x, y in zip(plain[0], plain[1], strict=True)]
        out = acc.copy()
        kernels.ring_multiply_add(plan, out, a, b)
        assert out.tolist() == [(x + y * z) % q for x, y, z in zip(*plain, strict=True)]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_samples_equal_the_reference_from_anywhere(kernels, bits, distribution):
    plan = plan_of(bits)
    for stream, first in ((0, 0), (7, 3), (2**64 - 1, 2**53 - 2)):
        made = kernels.ring_sample(plan, distribution, KEY, stream, first, 2)
        for k in range(2):
            assert made[k].tolist() == sampled(distribution, stream, first + k, bits)


@pytest.mark.parametrize("bits", [20, 43, 50, 51, 61])
def test_add_uniform_is_a_prefix_of_the_stream(kernels, bits):
    plan = plan_of(bits)
    for n in (0, 1, 5, 511, 512, 513, 1024, 1025, 2600):
        acc = residues(plan, n + 4)[:n]
        stream = kernels.ring_sample(plan, "uniform", KEY, 5, 9, 3).reshape(-1)[:n]
        out, expected = acc.copy(), acc.copy()
        kernels.ring_add_uniform(plan, out, KEY, 5, 9)
        kernels.ring_add(plan, expected, stream)
        assert np.array_equal(out, expected)
        kernels.ring_add_uniform(plan, out, KEY, 5, 9, minus=True)
        assert np.array_equal(out, acc)


def run_all(kernels, plan, n, delta):
    """Everything of RLWE, as bytes."""
    secret = kernels.ring_sample(plan, "ternary", PAD, 0, 0, 1)
    public = kernels.ring_sample(plan, "uniform", KEY, 9, 0, 2)
    values = np.random.default_rng(n).integers(0, (plan.modulus - 1) // delta, n, dtype=np.uint64, endpoint=True)
    made = []
    for pad in (None, PAD):
        out = bytearray(kernels.rlwe_payload_bytes(plan, n))
        kernels.rlwe_encrypt(plan, public, values, delta, KEY, pad, 3, out)
        made.append(bytes(out))
    seeded = bytearray(kernels.rlwe_payload_bytes(plan, n, seeded=True))
    kernels.rlwe_encrypt_seeded(plan, secret[0], values, delta, KEY, PAD, 3, seeded)
    c1, c0 = np.zeros((-(-n // plan.degree), plan.degree), np.uint64), np.zeros(n, np.uint64)
    for payload in made[:2]:
        kernels.rlwe_add(plan, c1, c0, payload)
    kernels.rlwe_add_seeded(plan, c1, c0, bytes(seeded), PAD, 3)
    opened, worst = kernels.rlwe_decrypt(plan, secret[0], c1, c0, delta)
    return [*made, bytes(seeded), kernels.rlwe_store(plan, c1, c0), opened.tobytes(), worst]


@pytest.mark.parametrize("degree", [1024, 2048])
@pytest.mark.parametrize("bits", BITS)
def test_every_implementation_gives_the_same_bytes(bits, degree):
    plan = plan_of(bits, degree)
    for n in (1, 13, degree, degree + 523):
        for delta in (1, 2, 1000, plan.modulus // 2, plan.modulus - 1):
            if delta != 1000 and n != 13:
                continue
            first, *others = [run_all(backend, plan, n, delta) for backend in BACKENDS.values()]
            for other in others:
                assert other == first


MISUSES = {
    "a residue of q": lambda k, p: k.ring_forward(p, np.full((1, p.degree), p.modulus, np.uint64)),
    "a residue with every bit": lambda k, p: k.ring_inverse(p, np.full((1, p.degree), 2**64 - 1, np.uint64)),
    "another degree": lambda k, p: k.ring_forward(p, np.zeros((1, 512), np.uint64)),
    "one dimension": lambda k, p: k.ring_forward(p, np.zeros(p.degree, np.uint64)),
    "another type": lambda k, p: k.ring_inverse(p, np.zeros((1, p.degree), np.int64)),
    "three dimensions": lambda k, p: k.ring_add(p, np.zeros((1, 1, 8), np.uint64), np.zeros((1, 1, 8), np.uint64)),
    "no array": lambda k, p: k.ring_add(p, [1], [2]),
    "shapes that differ": lambda k, p: k.ring_add(p, np.zeros(8, np.uint64), np.zeros(9, np.uint64)),
    "a summand of q": lambda k, p: k.ring_add(p, np.zeros(8, np.uint64), np.full(8, p.modulus, np.uint64)),
    "a factor of q": lambda k, p: k.ring_multiply_add(
        p, np.zeros(8, np.uint64), np.ones(8, np.uint64), np.full(8, p.modulus, np.uint64)
    ),
    "an unknown distribution": lambda k, p: k.ring_sample(p, "gaussian", KEY, 0, 0, 1),
    "a short key": lambda k, p: k.ring_sample(p, "uniform", KEY[:15], 0, 0, 1),
    "a stream beyond 64 bits": lambda k, p: k.ring_sample(p, "uniform", KEY, 2**64, 0, 1),
    "a number beyond the stream": lambda k, p: k.ring_sample(p, "uniform", KEY, 0, 2**53, 1),
    "a sum that is not canonical": lambda k, p: k.ring_add_uniform(p, np.full(3, p.modulus, np.uint64), KEY, 0, 0),
    "a public key of one": lambda k, p: k.rlwe_encrypt(
        p, np.zeros((1, p.degree), np.uint64), np.ones(1, np.uint64), 1, KEY, None, 0, bytearray(10)
    ),
    "no values": lambda k, p: k.rlwe_encrypt(
        p, np.zeros((2, p.degree), np.uint64), np.ones(0, np.uint64), 1, KEY, None, 0, bytearray()
    ),
    "a short secret": lambda k, p: k.rlwe_decrypt(
        p, np.zeros(8, np.uint64), np.zeros((1, p.degree), np.uint64), np.zeros(1, np.uint64), 1
    ),
    "c1 too few": lambda k, p: k.rlwe_store(p, np.zeros((1, p.degree), np.uint64), np.zeros(p.degree + 1, np.uint64)),
    "c1 not canonical": lambda k, p: k.rlwe_decrypt(
        p, np.zeros(p.degree, np.uint64), np.full((1, p.degree), p.modulus, np.uint64), np.zeros(1, np.uint64), 1
    ),
    "c0 not canonical": lambda k, p: k.rlwe_decrypt(
        p, np.zeros(p.degree, np.uint64), np.zeros((1, p.degree), np.uint64), np.full(1, p.modulus, np.uint64), 1
    ),
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_misuse_is_refused(kernels, misuse):
    with pytest.raises(InputError):
        misuse(kernels, plan_of(43))


def test_what_is_refused_stays(kernels):
    plan = plan_of(43)
    polys = residues(plan, 2, plan.degree)
    polys[1, -1] = plan.modulus
    before = polys.copy()
    for call in (kernels.ring_forward, kernels.ring_inverse):
        with pytest.raises(InputError, match="modulus"):
            call(plan, polys)
        assert np.array_equal(polys, before)
