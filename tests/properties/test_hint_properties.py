"""Masked sums and packed shares of any shape, on any implementation."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from secagg import _kernels
from secagg.errors import InputError, ParameterError
from secagg.hazmat import packed
from secagg.hazmat.field import P
from secagg.hazmat.hintrlwe import SECRET_BOUND, MaskedSum, MaskRing, MaskSecret

BACKENDS = list(_kernels.backends().values())
PUBLIC = bytes(range(16))


@st.composite
def rings(draw):
    bits, primes = draw(st.integers(21, 60)), draw(st.integers(1, 4))
    spare = bits * primes - 12 - (primes + 1)  # a few clients' noise, and what the primes lack
    assume(spare > 0 and bits * primes <= 256)
    width = draw(st.integers(1, min(62, spare)))
    per = draw(st.integers(1, min(64, spare // width)))
    try:
        return MaskRing(2048, bits, primes, width, per, 4 * SECRET_BOUND)
    except ParameterError:  # too few primes of so few bits
        assume(False)


@settings(max_examples=60, deadline=None)
@given(
    ring=rings(),
    clients=st.integers(1, 4),
    size=st.floats(0, 1),
    first=st.integers(0, 2**50),
    turn=st.integers(0, 100),
    seed=st.integers(0, 2**32),
)
def test_the_sum_is_the_sum_wherever_its_parts_are_made(ring, clients, size, first, turn, seed):
    count = 1 + int(size * min(2 * ring.per * ring.degree, 40_000))
    rng = np.random.default_rng(seed)
    values = [
        rng.integers(0, ((1 << ring.width) - 1) // clients, count, dtype=np.uint64, endpoint=True)
        for _ in range(clients)
    ]
    secrets = [MaskSecret(ring, seed.to_bytes(31, "big") + bytes([client])) for client in range(clients)]
    total, secret_sum = MaskedSum(ring, count), np.zeros(ring.degree, np.int64)
    for client, secret in enumerate(secrets):
        kernels = BACKENDS[(turn + client) % len(BACKENDS)]
        out = bytearray(ring.payload_bytes(count))
        kernels.hint_mask(ring.plan, secret._transformed, values[client], secret._error_key, PUBLIC, first, out)
        total.add(out)
        secret_sum += secret.coefficients()
    opened = total.open(secret_sum, PUBLIC, first)
    assert np.array_equal(opened, sum(values))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_shares_come_back_whatever_few_say(data, seed):
    rho = data.draw(st.integers(1, 6))
    threshold = data.draw(st.integers(rho + 1, 12))
    extra = data.draw(st.integers(0, 6))
    lies = data.draw(st.integers(0, extra))
    rng = np.random.default_rng(seed)
    xs = [int(x) for x in rng.choice(1000, threshold + extra, replace=False) + 1]
    values = rng.integers(0, P, (data.draw(st.integers(1, 5)), rho), dtype=np.uint64)
    shares = packed.split(values, threshold, xs)
    for row in rng.choice(len(xs), lies, replace=False):
        column = rng.integers(0, shares.shape[1])
        shares[row, column] = (int(shares[row, column]) + int(rng.integers(1, P))) % P
    if lies > extra // 2:
        try:
            packed.combine(xs, shares, threshold, rho)
        except InputError:
            return
        raise AssertionError("more wrong rows than can be corrected, and they passed")
    opened, wrong = packed.combine(xs, shares, threshold, rho)
    assert np.array_equal(opened, values)
    assert len(wrong) == lies
