"""Params of the oneshot protocol: which ring masks, how values become coefficients, and who opens (spec of oneshot, 2 and 3)."""

import math
from typing import NamedTuple

from reference.hint import Masking, moduli
from reference.settings import Settings

CAPS = {2048: 53, 4096: 106, 8192: 214}  # bits of q, by N
CHOICE = [
    (N, bits, primes) for N in CAPS for primes in range(1, 5) for bits in range(30, 61) if bits * primes <= CAPS[N]
]
SIGMA = 6.36
LARGEST = 83  # coefficient of a secret
HEAD_WIDTH = 62
SEALED = 28  # bytes that sealing adds


def radius(n, coefficients):
    """Return what no coefficient of a sum of n Gaussians exceeds but with probability 2^-41, all coefficients together."""
    return math.ceil(SIGMA * math.sqrt(2 * n * math.log(2 * coefficients * 2**41)))


def digit_bits(N, n):
    """Return the bits of a signed digit that every coefficient of a sum of n secrets fits."""
    return max(radius(n, N), LARGEST).bit_length() + 1


def digits(width, q, spread):
    """Return how many digits of `width` bits go into a coefficient."""
    return min(64, ((q // (2 * spread)).bit_length() - 1) // width)


def share_rows(N, bits, rho):
    """Return how many polynomials share a secret."""
    return -(-N // (60 // bits * rho))


def upload_size(N, bits, primes, per, count):
    """Return the masked bytes of a segment."""
    whole, rest = divmod(count, N * per)
    return primes * (whole * N * bits // 8 + (-(-rest // per) * bits + 7) // 8)


def choose(widths, n, M, rho):
    """Return the (N, bits, primes) of the smallest uploads, shares included, where primes above 50 bits count a tenth more.

    `widths` are (count, bits of the largest sum), the head's first.
    """
    spread, best = radius(n, sum(count for count, _ in widths)), None
    for N, bits, primes in CHOICE:
        q = math.prod(moduli(bits, primes))
        pers = [digits(width, q, spread) for _, width in widths]
        if 0 in pers:
            continue
        size = 8 * M * share_rows(N, digit_bits(N, n), rho)
        size += sum(upload_size(N, bits, primes, per, count) for per, (count, _) in zip(pers, widths, strict=True))
        weighed = size * (1 if bits <= 50 else 1.1)
        if best is None or weighed < best[0]:
            best = weighed, (N, bits, primes)
    return best[1]


class Part(NamedTuple):
    """A segment in the ring; `first` numbers its first polynomial, `step` counts those of a chunk."""

    count: int
    ring: Masking
    first: int
    step: int

    def spans(self):
        """Return the (start, stop, number of the first polynomial) of each chunk."""
        size = self.step * self.ring.n * self.ring.per
        starts = range(0, self.count, size)
        return [(start, min(start + size, self.count), self.first + i * self.step) for i, start in enumerate(starts)]

    def size(self, start, stop):
        ring = self.ring
        return upload_size(ring.n, ring.bits, len(ring.primes), ring.per, stop - start)


class OneshotSettings(Settings):
    """Params of the oneshot protocol; M members, T shares, rho secrets to a polynomial."""

    PROTOCOL = ("oneshot", 3)

    def __init__(self, canonical):
        super().__init__(canonical)
        (self.N, self.bits, self.primes, told, self.digit_bits), self.M, self.rho = self.own
        self.T = self.t
        if (self.N, self.bits, self.primes) not in CHOICE:
            raise ValueError("a ring that is not secure")
        heads = [(3, HEAD_WIDTH)]
        most = self.p * self.max_weight
        self.widths = heads + [(part.count, (most * part.levels).bit_length()) for part in self.segments[1:]]
        self.spread = radius(self.p, sum(count for count, _ in self.widths))
        q = math.prod(moduli(self.bits, self.primes))
        rings = [[width, digits(width, q, self.spread), self.spread] for _, width in self.widths]
        if told != rings or self.digit_bits != digit_bits(self.N, self.p) or not all(ring[1] for ring in rings):
            raise ValueError("Params with other digits than the spec's")
        self.parts, first = [], 0
        for (count, _), ring in zip(self.widths, rings, strict=True):
            made = Masking(self.N, self.bits, self.primes, *ring)
            polynomial = self.primes * self.N * self.bits // 8
            self.parts.append(Part(count, made, first, self.frame_bytes // polynomial))
            first += -(-count // (self.N * made.per))
        self.rows = share_rows(self.N, self.digit_bits, self.rho)
        self.box = 8 * self.rows + SEALED
        each = self.box + 32 * self.M.bit_length() + 640
        self.limit = max(self.frame_bytes, self.p * each) + 512 * self.M + 5 * self.n + 4096

    def sizes(self, members):
        """Return the payload bytes of an upload's chunks by place, with sealed shares for so many members."""
        made = {
            (number, index): part.size(start, stop)
            for number, part in enumerate(self.parts)
            for index, (start, stop, _) in enumerate(part.spans())
        }
        return made | {(len(self.parts), i): (b - a) * self.box for i, (a, b) in enumerate(self.share_spans(members))}

    def share_spans(self, members):
        """Return, for each chunk of sealed shares, the places of the members that they are for."""
        step = max(1, self.frame_bytes // self.box)
        return [(at, min(at + step, members)) for at in range(0, members, step)]
