"""RLWE sums of any shape, cut anywhere, on any implementation."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import _kernels
from secagg.hazmat import rlwe
from secagg.hazmat.ring import Ring, modulus

BACKENDS = list(_kernels.backends().values())
N = 1024
KEYS = {bits: rlwe.SecretKey(Ring(N, modulus(bits)), bytes(32)) for bits in (37, 43, 48, 50, 51, 61)}


def messages(seed, clients, n, top):
    rng = np.random.default_rng([seed, clients, n])
    return rng.integers(0, top, (clients, n), dtype=np.uint64, endpoint=True)


@settings(max_examples=40)
@given(
    bits=st.sampled_from(list(KEYS)),
    n=st.integers(1, 3 * N),
    clients=st.integers(1, 5),
    first=st.integers(0, 2**53 - 4),
    padded=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_the_sum_is_the_sum(bits, n, clients, first, padded, seed):
    secret = KEYS[bits]
    ring, public = secret.ring, secret.public_key()
    # Ten deviations of five clients' noise are below 2^15, so that half of delta holds them.
    delta = 1 << 17
    top = (ring.modulus - 1) // delta // clients
    vectors = messages(seed, clients, n, top)
    total, pads = rlwe.Sum(ring, n), []
    for client, vector in enumerate(vectors):
        key = bytes([client]) * 8 + seed.to_bytes(8, "big")
        pad = key[::-1] if padded else None
        total.add(rlwe.encrypt(public, vector, delta, key, first, pad=pad))
        pads += [(pad, first)] if padded else []
    opened, worst = secret.decrypt(total, delta, pads=pads)
    assert np.array_equal(opened, vectors.sum(axis=0, dtype=np.uint64))
    assert worst < 1 << 15


@settings(max_examples=25)
@given(
    bits=st.sampled_from(list(KEYS)),
    sizes=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    rest=st.integers(0, N - 1),
    first=st.integers(0, 2**52),
    seed=st.integers(0, 2**32),
)
def test_polynomials_can_be_made_apart_and_anywhere(bits, sizes, rest, first, seed):
    """Pieces of whole polynomials, on whichever implementation, joined are the bytes of one call on any other."""
    secret = KEYS[bits]
    plan, public = secret.ring.plan, secret.public_key().transformed
    n = sum(sizes) * N + rest
    if n == 0:
        return
    values, key = messages(seed, 1, n, 1000)[0], seed.to_bytes(16, "big")
    wholes = set()
    for turn, kernels in enumerate(BACKENDS):
        whole = bytearray(kernels.rlwe_payload_bytes(plan, n))
        kernels.rlwe_encrypt(plan, public, values, 1000, key, key, first, whole)
        wholes.add(bytes(whole))
        joined, low = bytearray(), 0
        for step, size in enumerate([*sizes, 1]):
            part = values[low : low + size * N]
            if len(part):
                out = bytearray(kernels.rlwe_payload_bytes(plan, len(part)))
                other = BACKENDS[(turn + step) % len(BACKENDS)]
                other.rlwe_encrypt(plan, public, part, 1000, key, key, first + low // N, out)
                joined += out
            low += len(part)
        wholes.add(bytes(joined))
    assert len(wholes) == 1
