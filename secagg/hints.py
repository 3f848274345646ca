"""Which ring masks a oneshot session's updates: capacity, noise and security, computed before anything is masked.

Sums of masks open exactly while every coefficient of the sum of the errors stays below the ring's spread, and the sum of the
secrets travels in digits wide enough for it. Both are sums of independent samples of a discrete Gaussian, which is
subgaussian with its own width: what they exceed with probability 2^-40 a round, all coefficients together, follows.

Security is that of RLWE with a secret and errors of width 3.18: revealing the sums of secrets and of errors of width 2 * 3.18
each is covered by Hint-RLWE (docs/spec/oneshot.md, section 8, says under which assumptions).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from secagg.encoding import Room, Segment, find_rooms
from secagg.errors import ParameterError
from secagg.hazmat.hintrlwe import SECRET_BOUND, MaskRing, moduli
from secagg.hazmat.packed import digits_per_element

__all__ = ["CAPS", "FAILURE_LOG2", "SIGMA", "MaskPlan", "MaskSegment", "choose"]

SIGMA = 6.36  # of secrets and errors alike: 2 * 3.18
FAILURE_LOG2 = -40.0  # a round's sum cannot be opened with at most this probability
# Bits of q with 128-bit classical security, error width 3.19 and ternary secrets: Bossuat et al., Security Guidelines for
# Implementing Homomorphic Encryption (ePrint 2024/463). For secrets as wide as the errors it has two bits more.
CAPS = {2048: 53, 4096: 106, 8192: 214}
PRIMES = range(1, 5)
BITS = range(30, 61)
FAST_BITS = 50  # moduli up to here have the fast kernels
SLOWER = 1.1  # what bytes of other moduli are counted as
HEAD_BITS = 62  # the head's check lane catches a garbled sum


def sum_radius(clients: int, coefficients: int, failure_log2: float = FAILURE_LOG2) -> int:
    """Return what no coefficient of a sum of Gaussians exceeds in size but with probability 2**failure_log2, all together."""
    return math.ceil(SIGMA * math.sqrt(2 * clients * math.log(2 * coefficients / 2.0**failure_log2)))


@dataclass(frozen=True)
class MaskSegment:
    """How one segment's values become coefficients, polynomials and frames.

    Attributes
    ----------
    count : int
        Values.
    first : int
        Number of its first polynomial among all of an upload.
    step : int
        Polynomials of a full chunk.
    ring : MaskRing
        The same q for all segments, with this one's digits.
    """

    count: int
    first: int
    step: int
    ring: MaskRing

    @property
    def unit(self) -> int:
        """Values of a whole polynomial."""
        return self.ring.degree * self.ring.per

    @property
    def polynomials(self) -> int:
        """Polynomials in all."""
        return -(-self.count // self.unit)

    @property
    def chunks(self) -> int:
        """Number of frames."""
        return -(-self.polynomials // self.step)

    def span(self, index: int) -> tuple[int, int]:
        """Return the half-open range of values of chunk `index`."""
        values = self.step * self.unit
        return index * values, min((index + 1) * values, self.count)

    def number(self, index: int) -> int:
        """Return the number of the first polynomial of chunk `index`."""
        return self.first + index * self.step

    def payload_bytes(self, index: int) -> int:
        """Return the exact payload length of chunk `index`."""
        start, stop = self.span(index)
        return self.ring.payload_bytes(stop - start)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield (index, start, stop)."""
        for index in range(self.chunks):
            yield (index, *self.span(index))


@dataclass(frozen=True)
class MaskPlan:
    """The ring of a session and the place of every segment in it.

    Attributes
    ----------
    segments : tuple of MaskSegment
        The head first.
    digit_bits : int
        Bits of a signed digit that a coefficient of a sum of secrets fits.
    """

    segments: tuple[MaskSegment, ...]
    digit_bits: int

    @property
    def degree(self) -> int:
        """N."""
        return self.segments[0].ring.degree

    @property
    def bits(self) -> int:
        """Bits of q."""
        return self.segments[0].ring.q.bit_length()

    @property
    def upload_bytes(self) -> int:
        """Masked payload of one upload."""
        return sum(segment.payload_bytes(index) for segment in self.segments for index, _, _ in segment)

    def share_rows(self, packing: int) -> int:
        """Return how many polynomials share one secret: elements of a member's share."""
        return _rows(self.degree, self.digit_bits, packing)

    def canonical(self) -> tuple[object, ...]:
        """Return what all parties must have chosen alike."""
        ring = self.segments[0].ring
        digits = tuple((segment.ring.width, segment.ring.per, segment.ring.spread) for segment in self.segments)
        return (ring.degree, ring.bits, ring.primes, digits, self.digit_bits)


def _rows(degree: int, digit_bits: int, packing: int) -> int:
    return -(-degree // (digits_per_element(digit_bits) * packing))


@cache
def _candidates() -> tuple[tuple[int, int, int, int], ...]:
    """Every (degree, bits, primes, q) within the caps."""
    found = []
    for degree, cap in CAPS.items():
        for primes in PRIMES:
            for bits in BITS:
                if bits * primes <= cap:
                    q = math.prod(moduli(bits, primes))
                    found.append((degree, bits, primes, q))
    return tuple(found)


def _digits(width: int, q: int, radius: int) -> int:
    """Return how many digits of `width` bits a coefficient holds beside the error; 0 if none."""
    return max(0, (q // (2 * radius)).bit_length() - 1) // width


def _payload_bytes(degree: int, bits: int, primes: int, per: int, count: int) -> int:
    """What `MaskRing.payload_bytes` says, without the tables of a ring."""
    whole, rest = divmod(count, degree * per)
    return primes * (whole * degree * bits // 8 + (-(-rest // per) * bits + 7) // 8)


@cache
def _choose(
    found: tuple[tuple[int, int], ...], clients: int, shares: tuple[int, int], asked: tuple[int, int, int] | None
) -> tuple[tuple[MaskRing, ...], int]:
    """Return the rings with the smallest upload, one a segment, and the bits of a digit of the sum of secrets."""
    coefficients = sum(count for count, _ in found)  # at most, with one digit each
    radius = sum_radius(clients, coefficients, FAILURE_LOG2 - 1)
    members, packing = shares
    best: tuple[float, int, int, int, list[int], int] | None = None
    for degree, bits, primes, q in _candidates():
        if asked is not None and (degree, bits, primes) != asked:
            continue
        pers = [min(_digits(width, q, radius), 64) for _, width in found]
        if not all(pers):
            continue
        secret = max(sum_radius(clients, degree, FAILURE_LOG2 - 1), SECRET_BOUND)
        digit_bits = secret.bit_length() + 1
        size = sum(_payload_bytes(degree, bits, primes, per, n) for per, (n, _) in zip(pers, found, strict=True))
        size += 8 * members * _rows(degree, digit_bits, packing)
        weighed = size * (1 if bits <= FAST_BITS else SLOWER)
        if best is None or weighed < best[0]:
            best = weighed, degree, bits, primes, pers, digit_bits
    if best is None:
        which = f"ring={asked} does" if asked else "no ring with 128-bit security does"
        raise ParameterError(
            f"{which} not hold the sums of {clients} clients and their errors; lower max_weight, bits or max_participants"
        )
    _, degree, bits, primes, pers, digit_bits = best
    rings = (MaskRing(degree, bits, primes, width, per, radius) for per, (_, width) in zip(pers, found, strict=True))
    return tuple(rings), digit_bits


def choose(
    segments: Sequence[Segment],
    *,
    max_weight: int,
    clients: int,
    frame_bytes: int,
    committee: int,
    packing: int,
    ring: tuple[int, int, int] | None = None,
) -> MaskPlan:
    """Return the plan of the smallest uploads that holds every sum of `clients` updates and their errors.

    Parameters
    ----------
    segments : sequence of Segment
        The head first.
    max_weight, clients : int
        Largest weight, and most uploads in a sum.
    frame_bytes : int
        Largest payload of a frame.
    committee, packing : int
        Members, and secrets that one polynomial shares.
    ring : (int, int, int), optional
        Degree, bits of a prime, and number of primes; otherwise the one of the smallest uploads, where primes of more than 50
        bits count a tenth more, for their kernels are slower.

    Raises
    ------
    ParameterError
        The ring breaks the security cap, or no ring, or not this one, holds the sums; or one polynomial is longer than a frame.
    """
    if ring is not None and not any(ring == found[:3] for found in _candidates()):
        caps = ", ".join(f"{bits} at degree {degree}" for degree, bits in CAPS.items())
        raise ParameterError(f"ring={ring}: 1 to 4 primes of 30 to 60 bits, in all at most {caps} (128-bit security)")
    needed: tuple[Room, ...] = find_rooms(segments, max_weight, clients)
    widths = tuple((room.count, room.total.bit_length()) for room in needed)
    if max(width for _, width in widths) > HEAD_BITS:
        raise ParameterError(f"sums of more than {HEAD_BITS} bits; lower max_weight, bits or max_participants")
    head = (widths[0][0], HEAD_BITS)
    rings, digit_bits = _choose((head, *widths[1:]), clients, (committee, packing), ring)
    made: list[MaskSegment] = []
    for room, own in zip(needed, rings, strict=True):
        first = made[-1].first + made[-1].polynomials if made else 0
        poly = own.payload_bytes(own.degree * own.per)
        step = frame_bytes // poly
        if not step:
            raise ParameterError(f"frame_bytes={frame_bytes} is less than the {poly} bytes of a polynomial; raise it")
        made.append(MaskSegment(room.count, first, step, own))
    return MaskPlan(tuple(made), digit_bits)
