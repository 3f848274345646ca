"""Params of the ckks protocol: which ring, how values become coefficients, and these chunks (spec of ckks, sections 2 and 5)."""

import math
from typing import NamedTuple

from reference import ckks_ring, encoding
from reference.settings import Settings

CAPS = {1024: 26, 2048: 53, 4096: 60, 8192: 60}  # bits of q, by N
CHOICE = [(N, B) for N in (2048, 4096, 8192) for B in range(20, CAPS[N] + 1)]


def noise_radius(N, n, C, K):
    x = math.log(2) * (42 + math.log2(K + 1))
    u = 2 * n / 3 * (N + 2 * math.sqrt(N * x) + 2 * x)
    s = 2 * N / 3 + math.sqrt(N * x / 2)
    V = 21 / 2 * (u + n * s + n)
    return math.sqrt(2 * V * math.log(2 * C / (3 / 4 * 2**-40)))


def cut(most, p, capacity):
    """Return how many limbs of how many bits a value is cut into, or None."""
    if p * most <= capacity:
        return 1, (p * most).bit_length()
    for limbs in range(2, 9):
        bits = -(-most.bit_length() // limbs)
        if p * (2**bits - 1) <= capacity:
            return limbs, bits
    return None


def cuts_in(N, q, rooms, p):
    """Return each segment's cut, or None; `rooms` are (count, most). C is the least number that is its own need."""
    sizes = [count for count, _ in rooms]
    while True:
        radius = noise_radius(N, p, sum(sizes), sum(-(-size // N) for size in sizes))
        least = 2 * (16 * math.ceil(radius) // 15 + 2)
        cuts = [cut(most, p, q // least - 1) for _, most in rooms]
        if None in cuts:
            return None
        needed = [count * limbs for (count, _), (limbs, _) in zip(rooms, cuts, strict=True)]
        if sum(needed) == sum(sizes):
            return cuts
        sizes = needed


def upload_size(N, B, coefficients):
    """Return the bytes of a segment's ciphertext: of each polynomial c1 whole, and c0 as far as there are values."""
    return -(-coefficients // N) * (N * B // 8) + (coefficients * B + 7) // 8


def choose(rooms, p):
    """Return the (N, B) of the smallest uploads; of equal ones the smaller N, then B."""
    made = []
    for N, B in CHOICE:
        cuts = cuts_in(N, ckks_ring.modulus(B), rooms, p)
        if cuts is not None:
            sizes = [upload_size(N, B, count * limbs) for (count, _), (limbs, _) in zip(rooms, cuts, strict=True)]
            made.append((sum(sizes), N, B))
    return min(made)[1:]


class Cut(NamedTuple):
    """How a segment's values become coefficients; `first` numbers its first polynomial, `step` counts those of a chunk."""

    count: int
    limbs: int
    bits: int
    first: int
    step: int

    def split(self, values):
        if self.limbs == 1:
            return list(values)
        return [value >> (i * self.bits) & (2**self.bits - 1) for value in values for i in range(self.limbs)]

    def join(self, sums):
        """Return values from sums of coefficients, as a lane of 64 bits holds them."""
        rows = [sums[i : i + self.limbs] for i in range(0, len(sums), self.limbs)]
        return [sum(limb << (i * self.bits) for i, limb in enumerate(row)) % 2**64 for row in rows]


class CkksSettings(Settings):
    """Params of the ckks protocol."""

    PROTOCOL = ("ckks", 2)

    def __init__(self, canonical):
        super().__init__(canonical)
        self.reveal, (self.N, self.B, delta, told) = self.own
        self.q = ckks_ring.modulus(self.B)
        self.padded = self.threat == "malicious"
        self.recompute = self.padded and self.reveal == "holder"
        self.rooms = [(3, max(self.max_weight, sum(part.count for part in self.segments[1:]), 1))]
        self.rooms += [(part.count, self.max_weight * part.levels) for part in self.segments[1:]]
        self.totals = [self.p * most for _, most in self.rooms]
        self.cuts, first = [], 0
        for (count, _), (limbs, bits) in zip(self.rooms, cuts_in(self.N, self.q, self.rooms, self.p), strict=True):
            group = limbs // math.gcd(limbs, self.N)  # polynomials after which a value ends where one does
            step = self.frame_bytes // (2 * self.N * self.B // 8) // group * group
            self.cuts.append(Cut(count, limbs, bits, first, step))
            first += -(-count * limbs // self.N)
        self.tops = [
            total if each.limbs == 1 else self.p * (2**each.bits - 1)
            for total, each in zip(self.totals, self.cuts, strict=True)
        ]
        self.delta = self.q // (max(self.tops) + 1)
        if (delta, [list(each) for each in told]) != (self.delta, [[each.limbs, each.bits] for each in self.cuts]):
            raise ValueError("another delta or cut than the formulas give")
        self.worst = 15 * (self.delta // 2) // 16
        self.limit = max(self.frame_bytes, 1024 * self.n + 2 * self.N * self.B // 8) + 4096

    def pieces(self, number):
        """Return, for each chunk of a segment, the coefficients of each of its polynomials as (number of it, start, stop)."""
        each, N = self.cuts[number], self.N
        end = each.count * each.limbs
        made = [(each.first + j, j * N, min((j + 1) * N, end)) for j in range(-(-end // N))]
        return [made[i : i + each.step] for i in range(0, len(made), each.step)]

    def places(self):
        """Return (segment, chunk) of every chunk of an upload, in order."""
        return [(number, index) for number in range(len(self.cuts)) for index in range(len(self.pieces(number)))]

    def size(self, place):
        """Return the payload bytes of a chunk."""
        pieces = self.pieces(place[0])[place[1]]
        return sum(self.N * self.B // 8 + -(-(stop - start) * self.B // 8) for _, start, stop in pieces)


def result_places(settings):
    """Return the (start, stop, w) of each chunk of an opened sum by its place."""
    made = {}
    for number, part in enumerate(settings.segments):
        for index, (start, stop) in enumerate(encoding.chunks(part.count, part.w, settings.frame_bytes)):
            made[number, index] = start, stop, part.w
    return made
