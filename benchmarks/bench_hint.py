"""The kernels of hint-RLWE masks, each against plain C; the mask also against pairwise masks of the same values; packed sharing.

One thread. What is noted is the time of a whole vector of 10^6 values of 16 bits, in digits of 23 bits: a hundred clients.
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
from secagg.hazmat import field, packed
from secagg.hazmat.hintrlwe import MaskRing

NATIVE = _kernels.build_info()["backend"] == "native"
ISA = _kernels.build_info()["isa"]
BACKENDS = _kernels.backends()
OURS, PLAIN = BACKENDS[ISA], BACKENDS["portable" if NATIVE else "fallback"]
RINGS = {
    "N = 8192, 3 x 50 bits, 6 a coefficient": MaskRing(8192, 50, 3, 23, 6, 1024),
    "N = 8192, 3 x 60 bits, 7 a coefficient": MaskRing(8192, 60, 3, 23, 7, 1024),
    "N = 4096, 2 x 52 bits, 4 a coefficient": MaskRing(4096, 52, 2, 23, 4, 1024),
}
FAST = next(iter(RINGS))
KEY, PUBLIC = bytes(range(16)), bytes(range(16, 32))
# As plan() has it for a thousand clients: a sparse graph, where the server is trusted to follow the protocol, and the full one.
NEIGHBOURS = (46, 999)
PAIRS = 9


class Versus(Protocol):
    """What the `against` fixture is."""

    def __call__(self, what: str, ours: Callable[[], Any], theirs: Callable[[], Any], peer: str) -> None:
        """Time pairs."""


@pytest.fixture
def length(benchmark: Any) -> int:
    """Values in a vector; few in an ordinary test run, which runs the same code untimed."""
    return 5000 if benchmark.disabled else 1_000_000


@pytest.fixture
def against(benchmark: Any, note: Callable[[str], None]) -> Versus:
    """Call both sides once, then time pairs."""

    def measure(what: str, ours: Callable[[], Any], theirs: Callable[[], Any], peer: str) -> None:
        ours()
        theirs()
        benchmark.pedantic(ours, rounds=1)
        if not benchmark.enabled:
            return
        timed = measure_pairs(clocked(ours), clocked(theirs), PAIRS)
        low, middle, high = timed.ratios(inverse=False)
        mine, other = (statistics.median(side) * 1e3 for side in (timed.ours, timed.theirs))
        note(
            f"{what}: {mine:.2f} ms on {ISA}, {other:.2f} ms {peer}; {middle:.2f}x "
            f"(quartiles {low:.2f} to {high:.2f}, {PAIRS} pairs)"
        )

    return measure


def both(against: Versus, what: str, run: Callable[[Kernels], bytes]) -> None:
    """Compare what `run` returns on both implementations, then time them."""
    assert run(OURS) == run(PLAIN), f"{what}: the outputs differ, so their times mean nothing"
    against(what, lambda: run(OURS), lambda: run(PLAIN), "in plain C")


def message(length: int) -> np.ndarray:
    """Return values of 16 bits."""
    return np.random.default_rng(0).integers(0, 1 << 16, length, dtype=np.uint32)


def secret(ring: MaskRing) -> np.ndarray:
    """Return transforms of a secret: any residues take the same time."""
    made = _kernels.aligned_words(ring.primes, ring.degree)
    for row, prime in zip(made, ring.plan.rings, strict=True):
        row[:] = OURS.ring_sample(prime, "uniform", KEY, 9, 0, 1)[0]
    return made


def masked(ring: MaskRing, length: int) -> bytearray:
    """Return the payload of `message`."""
    out = bytearray(ring.payload_bytes(length))
    OURS.hint_mask(ring.plan, secret(ring), message(length), KEY, PUBLIC, 0, out)
    return out


@pytest.mark.parametrize("name", RINGS)
def test_mask(name: str, length: int, against: Versus) -> None:
    """A whole update, packing included."""
    ring, values = RINGS[name], message(length)
    key, out = secret(ring), bytearray(RINGS[name].payload_bytes(length))

    def run(kernels: Kernels) -> bytes:
        kernels.hint_mask(ring.plan, key, values, KEY, PUBLIC, 0, out)
        return bytes(out[-9:])

    both(against, f"hint_mask: {name}, {8 * len(out) / length:.1f} bits a value", run)


@pytest.mark.parametrize("neighbours", NEIGHBOURS)
def test_mask_against_pairwise_masks(neighbours: int, length: int, against: Versus) -> None:
    """The same values, masked and packed as pairwise does it, with as many keys as there are neighbours."""
    ring, values = RINGS[FAST], message(length)
    key, out = secret(ring), bytearray(RINGS[FAST].payload_bytes(length))
    keys = np.random.default_rng(1).integers(0, 256, (neighbours, 16), dtype=np.uint8)
    signs = np.where(np.arange(neighbours) % 2, 1, -1).astype(np.int8)
    other = bytearray((length * ring.width + 7) // 8)
    against(
        f"hint_mask: {FAST}",
        lambda: OURS.hint_mask(ring.plan, key, values, KEY, PUBLIC, 0, out),
        lambda: OURS.mask_pack_into(values, keys, signs, 0, 0, ring.width, other),
        f"for pairwise masks of {neighbours} neighbours",
    )


@pytest.mark.parametrize("name", RINGS)
def test_add(name: str, length: int, against: Versus) -> None:
    """One client's update checked and added to the sum, in one pass."""
    ring, payload = RINGS[name], masked(RINGS[name], length)
    sums = {id(k): _kernels.aligned_words(ring.plan.residues(length)) for k in (OURS, PLAIN)}

    def run(kernels: Kernels) -> bytes:
        acc = sums[id(kernels)]
        kernels.hint_add(ring.plan, acc, length, payload)
        return acc[-9:].tobytes()

    both(against, f"hint_add: {name}", run)


@pytest.mark.parametrize("name", RINGS)
def test_open(name: str, length: int, against: Versus) -> None:
    """A sum, with its mask expanded once however many came."""
    ring, payload, key = RINGS[name], masked(RINGS[name], length), secret(RINGS[name])
    acc = _kernels.aligned_words(ring.plan.residues(length))
    OURS.hint_add(ring.plan, acc, length, payload)

    def run(kernels: Kernels) -> bytes:
        return kernels.hint_open(ring.plan, acc, length, key, PUBLIC, 0)[-9:].tobytes()

    both(against, f"hint_open: {name}", run)


def test_gaussian(length: int, against: Versus) -> None:
    """As many samples as 10^6 values have coefficients, six values each."""
    both(against, "hint_gaussian: length / 6 samples", lambda k: k.hint_gaussian(KEY, 0, 0, length // 6)[-9:].tobytes())


@pytest.mark.parametrize("answers", [50, 60], ids=["as many as needed", "ten more, five of them wrong"])
def test_packed_sharing(answers: int, against: Versus) -> None:
    """What a client splits and the server combines: M = T = 50, rho = 16, 171 polynomials; against splitting."""
    threshold, rho, m = 50, 16, 171
    secrets = np.random.default_rng(0).integers(0, field.P, (m, rho), dtype=np.uint64)
    xs = list(range(1, answers + 1))
    shares = packed.split(secrets, threshold, xs)
    wrong = tuple(xs[: (answers - threshold) // 2])
    for x in wrong:
        shares[x - 1, 3] ^= np.uint64(1)
    opened, found = packed.combine(xs, shares, threshold, rho)
    assert np.array_equal(opened, secrets)
    assert found == wrong
    against(
        f"packed.combine of {answers} answers, {len(wrong)} wrong",
        lambda: packed.combine(xs, shares, threshold, rho),
        lambda: packed.split(secrets, threshold, xs),
        f"for packed.split to {answers}",
    )
