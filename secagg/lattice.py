"""Rings for the ckks protocol: which one holds a sum and its noise, how values lie in its coefficients, and what is at risk.

Theory. A client encrypts a polynomial m as ``c1 = a*u + e1, c0 = b*u + e0 + delta*m`` with ``b = -a*s + e``. The sum of n such
ciphertexts opens to ``delta * sum(m) + e*U + s*E1 + E0`` where U, E1, E0 are sums over the clients. Every error is centred
binomial with parameter 21: sub-Gaussian with its variance 21/2 as proxy. Given U and s, a coefficient of the noise is therefore
sub-Gaussian with proxy ``21/2 * (|U|^2 + n*|s|^2 + n)``, and U and s, being ternary, have norms that concentrate. The whole
argument is in docs/spec/ckks.md, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from secagg.encoding import Room, Segment, find_rooms
from secagg.errors import InputError, ParameterError
from secagg.hazmat.ring import Ring, modulus

__all__ = [
    "DEGREES",
    "FAILURE_LOG2",
    "MAX_BITS",
    "STANDARD_BITS",
    "CipherPlan",
    "CipherSegment",
    "Room",
    "choose",
    "noise_radius",
]

# Largest log2 q for 128-bit classical security with a ternary secret: Homomorphic Encryption Security Standard, 2018.
STANDARD_BITS = {1024: 27, 2048: 54, 4096: 109, 8192: 218}
# What is taken: a bit less; from 4096 on it is the kernels' word that ends first.
MAX_BITS = {1024: 26, 2048: 53, 4096: 60, 8192: 60}
DEGREES = tuple(MAX_BITS)
LEAN_DEGREES = (2048, 4096, 8192)  # 1024 leaves no margin: it is there for those who ask for it
MIN_BITS = 20
FAILURE_LOG2 = -40.0  # a round's sum is wrong with at most this probability
VARIANCE = 21 / 2
# A decrypted coefficient further from its integer than 15/16 of the way to the next was no honest one.
MARGIN = (15, 16)


def noise_radius(
    degree: int, clients: int, coefficients: int, polynomials: int, failure_log2: float = FAILURE_LOG2
) -> float:
    """Return what no coefficient's noise exceeds but with probability 2**failure_log2, all coefficients together.

    Parameters
    ----------
    degree : int
        N, a power of two.
    clients : int
        n, ciphertexts in the sum.
    coefficients, polynomials : int
        How many are decrypted under one sum.
    failure_log2 : float

    References
    ----------
    docs/spec/ckks.md, section 5; Hsu, Kakade and Zhang (2012) for the norm of U, Hoeffding (1963) for that of s.
    """
    # A quarter of the failure for the norms, the rest for the coefficients.
    x = math.log(2) * (2 - failure_log2 + math.log2(polynomials + 1))
    u = clients * 2 / 3 * (degree + 2 * math.sqrt(degree * x) + 2 * x)
    s = degree * 2 / 3 + math.sqrt(degree * x / 2)
    proxy = VARIANCE * (u + clients * s + clients)
    return math.sqrt(2 * proxy * math.log(2 * coefficients / (0.75 * 2.0**failure_log2)))


@dataclass(frozen=True)
class CipherSegment:
    """How one segment's values become coefficients, polynomials and frames.

    Every chunk but the last holds the same whole number of polynomials and of values.

    Attributes
    ----------
    count : int
        Values.
    limbs, limb_bits : int
        Coefficients a value, lowest first, and the bits of each; one limb holds the value as it is.
    first : int
        Number of its first polynomial among all of an upload.
    degree, bits : int
        Of the ring.
    step : int
        Polynomials of a full chunk.
    most : int
        Largest sum of a coefficient over honest clients.
    """

    count: int
    limbs: int
    limb_bits: int
    first: int
    degree: int
    bits: int
    step: int
    most: int

    @property
    def group(self) -> int:
        """Polynomials after which a value ends with one."""
        return self.limbs // math.gcd(self.limbs, self.degree)

    @property
    def polynomials(self) -> int:
        """Polynomials in all."""
        return -(-self.count * self.limbs // self.degree)

    @property
    def chunks(self) -> int:
        """Number of frames."""
        return -(-self.polynomials // self.step)

    def span(self, index: int) -> tuple[int, int]:
        """Return the half-open range of values of chunk `index`."""
        values = self.step * self.degree // self.limbs
        return index * values, min((index + 1) * values, self.count)

    def number(self, index: int) -> int:
        """Return the number of the first polynomial of chunk `index`."""
        return self.first + index * self.step

    def coefficients(self, index: int) -> int:
        """Return how many coefficients chunk `index` has."""
        start, stop = self.span(index)
        return (stop - start) * self.limbs

    def payload_bytes(self, index: int) -> int:
        """Return the exact payload length of chunk `index`."""
        return _payload_bytes(self.degree, self.bits, self.coefficients(index))

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield (index, start, stop)."""
        for index in range(self.chunks):
            yield (index, *self.span(index))

    def split(self, lanes: NDArray[np.unsignedinteger]) -> NDArray[np.uint64]:
        """Return the coefficients of values; a new array, as secret as they are."""
        values = lanes.astype(np.uint64)
        if self.limbs == 1:
            return values
        out = np.empty((len(values), self.limbs), dtype=np.uint64)
        mask = np.uint64((1 << self.limb_bits) - 1)
        for limb in range(self.limbs):
            np.bitwise_and(values >> np.uint64(limb * self.limb_bits), mask, out=out[:, limb])
        values.fill(0)
        return out.reshape(-1)

    def join(self, sums: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the values whose coefficients' sums these are, modulo 2**64."""
        if self.limbs == 1:
            return sums
        rows = sums.reshape(-1, self.limbs)
        out = np.zeros(len(rows), dtype=np.uint64)
        for limb in range(self.limbs):
            out += rows[:, limb] << np.uint64(limb * self.limb_bits)
        return out


@dataclass(frozen=True)
class CipherPlan:
    """The ring of a session and the place of every segment in it.

    Attributes
    ----------
    ring : Ring
    delta : int
        What integers are multiplied by, the largest that leaves room for every sum.
    radius : float
        What no noise exceeds but with the failure probability.
    segments : tuple of CipherSegment
    rooms : tuple of Room
    """

    ring: Ring
    delta: int
    radius: float
    segments: tuple[CipherSegment, ...]
    rooms: tuple[Room, ...]

    def canonical(self) -> tuple[object, ...]:
        """Return what all parties must have chosen alike: ring, delta, and the cut of every segment."""
        cuts = tuple((segment.limbs, segment.limb_bits) for segment in self.segments)
        return (self.ring.degree, self.ring.bits, self.delta, cuts)

    @property
    def worst(self) -> int:
        """Largest distance from delta times an integer that a decrypted coefficient may have."""
        return self.delta // 2 * MARGIN[0] // MARGIN[1]

    @property
    def coefficients(self) -> int:
        """Coefficients of one upload that are not padding."""
        return sum(segment.count * segment.limbs for segment in self.segments)

    @property
    def upload_bytes(self) -> int:
        """Payload of one upload."""
        return sum(segment.payload_bytes(index) for segment in self.segments for index, _, _ in segment)

    def values(self, number: int, sums: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the values of a segment whose coefficients' sums these are; they fit its lanes.

        Raises
        ------
        InputError
            A sum that no honest uploads have.
        """
        room, cut = self.rooms[number], self.segments[number]
        if int(sums.max()) > cut.most:
            raise InputError("a sum is out of range")
        values = cut.join(sums)
        if cut.limbs > 1 and int(values.max()) > room.total:
            raise InputError("a sum is out of range")
        return values


def _fit(ring: tuple[int, int], rooms: tuple[Room, ...], clients: int) -> tuple[float, list[tuple[int, int]]] | None:
    """Return the noise in a ring and every segment's cut; None if the ring is too small."""
    degree, bits = ring
    coefficients = sum(room.count for room in rooms)
    polynomials = sum(-(-room.count // degree) for room in rooms)
    while True:  # more limbs make more coefficients, and so, a little, more noise
        radius = noise_radius(degree, clients, coefficients, polynomials)
        least = 2 * (math.ceil(radius) * MARGIN[1] // MARGIN[0] + 2)
        cuts = [room.limbs(modulus(bits) // least - 1, clients) for room in rooms]
        found = [cut for cut in cuts if cut is not None]
        if len(found) < len(rooms):
            return None
        sizes = [room.count * limbs for room, (limbs, _) in zip(rooms, found, strict=True)]
        if sum(sizes) <= coefficients:
            return radius, found
        coefficients, polynomials = sum(sizes), sum(-(-size // degree) for size in sizes)


@cache
def _choose(
    rooms: tuple[Room, ...], clients: int, asked: tuple[int, int] | None
) -> tuple[int, int, float, list[tuple[int, int]]]:
    """Return the ring with the smallest upload, degree and bits, its noise, and every segment's cut."""
    candidates = [asked] if asked else [(n, bits) for n in LEAN_DEGREES for bits in range(MIN_BITS, MAX_BITS[n] + 1)]
    found: list[tuple[int, int, int, float, list[tuple[int, int]]]] = []
    for degree, bits in candidates:
        fit = _fit((degree, bits), rooms, clients)
        if fit is not None:
            sizes = [
                _payload_bytes(degree, bits, room.count * limbs) for room, (limbs, _) in zip(rooms, fit[1], strict=True)
            ]
            found.append((sum(sizes), degree, bits, *fit))
    if not found:
        which = f"ring={asked} does" if asked else "no ring with 128-bit security does"
        raise ParameterError(
            f"{which} not hold the sums of {clients} clients and their noise; lower max_weight, bits or max_participants"
        )
    return min(found, key=lambda each: each[:3])[1:]


def _payload_bytes(degree: int, bits: int, coefficients: int) -> int:
    """Return the payload of so many coefficients in one piece."""
    whole, rest = divmod(coefficients, degree)
    poly = degree * bits // 8
    return 2 * whole * poly + (poly + (rest * bits + 7) // 8 if rest else 0)


def choose(
    segments: Sequence[Segment], *, max_weight: int, clients: int, frame_bytes: int, ring: tuple[int, int] | None = None
) -> CipherPlan:
    """Return the plan of the smallest uploads that holds every sum of `clients` updates and their noise.

    Parameters
    ----------
    segments : sequence of Segment
        The head first.
    max_weight, clients : int
        Largest weight, and most ciphertexts in a sum.
    frame_bytes : int
        Largest payload of a frame.
    ring : (int, int), optional
        Degree and bits of the modulus; the one of the smallest uploads is taken otherwise.

    Raises
    ------
    ParameterError
        The ring breaks the security cap, or no ring, or not this one, holds the sums; or one polynomial is longer than a frame.
    """
    if ring is not None and (ring[0] not in MAX_BITS or not MIN_BITS <= ring[1] <= MAX_BITS[ring[0]]):
        caps = ", ".join(f"{bits} at degree {degree}" for degree, bits in MAX_BITS.items())
        raise ParameterError(
            f"ring={ring}: a modulus has {MIN_BITS} bits or more, and at most {caps} (128-bit security)"
        )
    rooms = find_rooms(segments, max_weight, clients)
    degree, bits, radius, cuts = _choose(rooms, clients, ring)
    made: list[CipherSegment] = []
    for room, (limbs, limb_bits) in zip(rooms, cuts, strict=True):
        first = made[-1].first + made[-1].polynomials if made else 0
        group = limbs // math.gcd(limbs, degree)
        step = frame_bytes // (2 * degree * bits // 8) // group * group
        if not step:
            least = group * 2 * degree * bits // 8
            raise ParameterError(
                f"frame_bytes={frame_bytes} is less than the {least} bytes of {group} polynomials; raise it"
            )
        most = room.total if limbs == 1 else clients * ((1 << limb_bits) - 1)
        made.append(CipherSegment(room.count, limbs, limb_bits, first, degree, bits, step, most))
    q = modulus(bits)
    delta = q // (max(segment.most for segment in made) + 1)
    return CipherPlan(Ring(degree, q), delta, radius, tuple(made), rooms)
