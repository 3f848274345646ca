"""The ring and RLWE, each against plain C; what is noted is the time a value takes, in nanoseconds.

One thread, N = 2048, a modulus of 43 bits: the lean set for 16-bit values of a thousand clients.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pytest
from harness.pairs import clocked, measure_pairs

from secagg import _kernels
from secagg._kernels.checked import Kernels
from secagg.hazmat.ring import Ring, modulus

NATIVE = _kernels.build_info()["backend"] == "native"
ISA = _kernels.build_info()["isa"]
BACKENDS = _kernels.backends()
OURS, PLAIN = BACKENDS[ISA], BACKENDS["portable" if NATIVE else "fallback"]
RING = Ring(2048, modulus(43))
KEY, SEED = bytes(range(16)), bytes(range(16, 32))
DELTA = 1 << 25
PAIRS = 9


class PerValue(Protocol):
    """What the `per_value` fixture is."""

    def __call__(self, what: str, run: Callable[[Kernels], Any], values: int, peer: str = "plain C") -> None:
        """Compare, then time pairs."""


@pytest.fixture
def length(benchmark: Any) -> int:
    """Values in a vector; few in an ordinary test run, which checks the same code untimed."""
    return 5000 if benchmark.disabled else 1_000_000


@pytest.fixture
def per_value(benchmark: Any, note: Callable[[str], None]) -> PerValue:
    """Run the same on this machine's best kernels and on plain C; what `run` returns is compared first."""

    def measure(what: str, run: Callable[[Kernels], Any], values: int, peer: str = "plain C") -> None:
        assert run(OURS) == run(PLAIN), f"{what}: the outputs differ, so their times mean nothing"
        benchmark.pedantic(lambda: run(OURS), rounds=1)
        if not benchmark.enabled:
            return
        timed = measure_pairs(clocked(lambda: run(OURS)), clocked(lambda: run(PLAIN)), PAIRS)
        low, middle, high = timed.ratios(inverse=False)
        ours, theirs = (statistics.median(side) / values * 1e9 for side in (timed.ours, timed.theirs))
        note(
            f"{what}: {ours:.2f} ns a value on {ISA}, {theirs:.2f} in {peer}; {middle:.2f}x "
            f"(quartiles {low:.2f} to {high:.2f}, {PAIRS} pairs)"
        )

    return measure


def message(length: int) -> np.ndarray:
    """Return values of 16 bits."""
    return np.random.default_rng(0).integers(0, 1 << 16, length, dtype=np.uint64)


def keys() -> tuple[np.ndarray, np.ndarray]:
    """Return transforms of a public key and of a secret one: any residues take the same time."""
    public = RING.uniform(KEY, 1, 0, 2)
    secret = RING.ternary(KEY, 2, 0, 1)
    RING.forward(secret)
    return public, secret[0]


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("bits", [43, 50, 61])
def test_transform(bits: int, direction: str, per_value: PerValue) -> None:
    """Sixteen polynomials, in place."""
    ring = Ring(2048, modulus(bits))
    polys = ring.uniform(KEY, 0, 0, 16)
    sides = {id(OURS): polys.copy(), id(PLAIN): polys.copy()}

    def run(kernels: Kernels) -> bytes:
        work = sides[id(kernels)]
        getattr(kernels, f"ring_{direction}")(ring.plan, work)
        return work[0, :2].tobytes()

    per_value(f"ring_{direction}: N = 2048, {bits} bits", run, polys.size)


@pytest.mark.parametrize("distribution", ["uniform", "ternary", "binomial"])
def test_sample(distribution: str, per_value: PerValue) -> None:
    """Sixteen polynomials, into new memory."""

    def run(kernels: Kernels) -> bytes:
        return kernels.ring_sample(RING.plan, distribution, KEY, 0, 0, 16)[-1, -2:].tobytes()

    per_value(f"ring_sample: {distribution}", run, 16 * RING.degree)


@pytest.mark.parametrize("padded", [False, True], ids=["plain", "padded"])
def test_encrypt(padded: bool, length: int, per_value: PerValue) -> None:
    """With a public key, packing included."""
    public, _ = keys()
    values = message(length)
    out = bytearray(OURS.rlwe_payload_bytes(RING.plan, length))

    def run(kernels: Kernels) -> bytes:
        kernels.rlwe_encrypt(RING.plan, public, values, DELTA, KEY, SEED if padded else None, 0, out)
        return bytes(out[-9:])

    per_value(f"rlwe_encrypt{', padded' if padded else ''}: {length} values", run, length)


def test_encrypt_seeded(length: int, per_value: PerValue) -> None:
    """With a secret key, c1 being a seed."""
    _, secret = keys()
    values = message(length)
    out = bytearray(OURS.rlwe_payload_bytes(RING.plan, length, seeded=True))

    def run(kernels: Kernels) -> bytes:
        kernels.rlwe_encrypt_seeded(RING.plan, secret, values, DELTA, KEY, SEED, 0, out)
        return bytes(out[-9:])

    per_value(f"rlwe_encrypt_seeded: {length} values", run, length)


def ciphertext(length: int) -> bytes:
    """Return a ciphertext of `message`."""
    out = bytearray(OURS.rlwe_payload_bytes(RING.plan, length))
    OURS.rlwe_encrypt(RING.plan, keys()[0], message(length), DELTA, KEY, None, 0, out)
    return bytes(out)


def sums(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the zero sum."""
    count = -(-length // RING.degree)
    return _kernels.aligned_words(count, RING.degree), _kernels.aligned_words(length)


def test_add(length: int, per_value: PerValue) -> None:
    """A ciphertext checked and added to a sum, in one pass."""
    payload = ciphertext(length)
    sides = {id(OURS): sums(length), id(PLAIN): sums(length)}

    def run(kernels: Kernels) -> bytes:
        c1, c0 = sides[id(kernels)]
        kernels.rlwe_add(RING.plan, c1, c0, payload)
        return c0[-9:].tobytes()

    per_value(f"rlwe_add: {length} values", run, length)


def test_decrypt(length: int, per_value: PerValue) -> None:
    """A sum, with its rounding and the largest distance from it."""
    _, secret = keys()
    c1, c0 = sums(length)
    OURS.rlwe_add(RING.plan, c1, c0, ciphertext(length))

    def run(kernels: Kernels) -> tuple[bytes, int]:
        values, worst = kernels.rlwe_decrypt(RING.plan, secret, c1, c0, DELTA)
        return values[-9:].tobytes(), worst

    per_value(f"rlwe_decrypt: {length} values", run, length)
