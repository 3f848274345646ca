"""Recomputes the tables of docs/spec/oneshot.md, section 9, from that page's formulas alone.

Run ``python docs/spec/oneshot_parameters.py``; it needs nothing but Python. A test compares it with page and engine.

The security columns are estimates of the primal attack on RLWE with secret and errors of deviation 3.18, to which Hint-RLWE
with twice that is reduced: the least BKZ block size beta for which the short vector is found (Alkim, Ducas, Poeppelmann,
Schwabe, 2016), at ``0.292 beta + 16.4 + log2(8 d)`` bits. It is a check on the order of magnitude; what Params enforce is the
cap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

CAPS = {2048: 53, 4096: 106, 8192: 214}  # bits of q
SIGMA = 6.36  # of secrets and errors
HARD_SIGMA = 3.18  # of the RLWE that is left once the sums are known
LARGEST = 83  # no sample of the Gaussian is larger
FAILURE = 2.0**-41  # for the errors of a round, and again for the secrets
CORRUPT = 2.0**-40  # a drawn committee has more corrupt members with at most this probability
VALUES = 1_000_000  # of an update
HEAD = (3, 62)  # values, and bits of their sums
CASES = (
    (16, 10), (16, 100), (16, 1000), (16, 10_000), (16, 100_000), (8, 1000), (24, 1000), (32, 1000),
)  # fmt: skip
"""Bits of a value, clients."""


def is_prime(n: int) -> bool:
    """Miller and Rabin's test with bases that decide every n below 3.3e24 (Sorenson and Webster, 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    if n < 2 or any(n % p == 0 for p in bases):
        return n in bases
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


@cache
def moduli(bits: int, primes: int) -> tuple[int, ...]:
    """Return the largest primes below 2^bits that are 1 mod 16384."""
    found: list[int] = []
    q = (1 << bits) + 1
    while len(found) < primes:
        q -= 16384
        if is_prime(q):
            found.append(q)
    return tuple(found)


def radius(clients: int, coefficients: int) -> int:
    """Return what no coefficient of a sum of Gaussians exceeds but with probability 2^-41, all of them together."""
    return math.ceil(SIGMA * math.sqrt(2 * clients * math.log(2 * coefficients / FAILURE)))


def corrupt_members(clients: int, size: int, corrupt: int) -> int:
    """Return the least c' that a committee has more than with probability at most 2^-40; all of them if nobody is left out."""
    most = min(corrupt, size)
    if size >= clients:
        return most
    ways = math.comb(clients, size)
    tail, count = 0, most + 1
    while count > 0:
        more = tail + math.comb(corrupt, count - 1) * math.comb(clients - corrupt, size - count + 1)
        if more / ways > CORRUPT:
            break
        tail, count = more, count - 1
    return max(count - 1, 0)


def committee(clients: int) -> tuple[int, int, int, int]:
    """Return M, c', T and rho of Params that name none, for a tenth of the clients corrupt and a server that lies."""
    size = min(clients, 100)
    bad = corrupt_members(clients, size, max(1, math.ceil(clients / 10)))
    threshold = size - (0 if size <= 3 else math.ceil(size / 10))
    rho = min(16, threshold - max(bad, 1), threshold - (size + bad) // 2)
    return size, bad, threshold, max(1, rho)


def secure(degree: int, log2_q: float) -> float:
    """Return the estimated cost of the primal attack, in bits."""
    best = math.inf
    for samples in range(degree // 2, 2 * degree + 1, max(1, degree // 32)):
        d = samples + degree + 1
        volume = samples * log2_q / d
        low, high = 50, d
        while low < high:
            beta = (low + high) // 2
            root = (math.log2(beta / (2 * math.pi * math.e)) + math.log2(math.pi * beta) / beta) / (2 * (beta - 1))
            if 0.5 * math.log2(beta * HARD_SIGMA**2) <= (2 * beta - d) * root + volume:
                high = beta
            else:
                low = beta + 1
        best = min(best, 0.292 * low + 16.4 + math.log2(8 * d))
    return best


def smoothing(dimension: int) -> float:
    """Return log2 of the least epsilon with 3.18 >= sqrt(2) eta_epsilon(Z^dimension), as a deviation."""
    # eta <= sqrt(ln(2 dimension (1 + 1 / epsilon)) / 2) / pi
    room = 2 * (math.pi * HARD_SIGMA / math.sqrt(2)) ** 2 - math.log(2 * dimension)
    return -room / math.log(2)


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    bits: int
    clients: int
    committee: tuple[int, int, int, int]
    degree: int
    primes: tuple[int, int]
    modulus: float
    width: int
    per: int
    spread: int
    digit_bits: int
    upload: int
    shares: int
    security: float
    epsilon: float

    def __str__(self) -> str:
        size, bad, threshold, rho = self.committee
        needed = math.log2(2 * self.spread) + self.width * self.per
        bits, shares = 8 * self.upload / VALUES, self.shares / 1000
        return (
            f"| {self.bits} | {self.clients} | {size}, {bad}, {threshold}, {rho} | {self.degree} | "
            f"{self.primes[1]} x {self.primes[0]} | {self.modulus:.1f} | {needed:.1f} | {self.per} x {self.width} | "
            f"{self.spread} | {self.digit_bits} | {bits:.2f} | {shares:.1f} | {self.security:.0f} | {self.epsilon:.0f} |"
        )


def polynomials(count: int, degree: int, per: int) -> int:
    """Return how many polynomials carry so many values."""
    return -(-count // (degree * per))


def payload(count: int, degree: int, bits: int, primes: int, per: int) -> int:
    """Return the bytes of a segment's masked values."""
    whole, rest = divmod(count, degree * per)
    return primes * (whole * degree * bits // 8 + (-(-rest // per) * bits + 7) // 8)


@cache
def choose(bits: int, clients: int) -> Row:
    """Return the ring of the smallest uploads of a flat update with weights of 1."""
    crew = committee(clients)
    size, _, _, rho = crew
    segments = (HEAD, (VALUES, (clients * ((1 << bits) - 1)).bit_length()))
    spread = radius(clients, sum(count for count, _ in segments))
    best: tuple[float, Row] | None = None
    for degree, cap in CAPS.items():
        for primes in range(1, 5):
            for prime_bits in range(30, min(60, cap // primes) + 1):
                q = math.prod(moduli(prime_bits, primes))
                room = (q // (2 * spread)).bit_length() - 1
                pers = [min(64, room // width) for _, width in segments]
                if not all(pers):
                    continue
                digit_bits = max(radius(clients, degree), LARGEST).bit_length() + 1
                rows = -(-degree // (60 // digit_bits * rho))
                upload = sum(
                    payload(count, degree, prime_bits, primes, per)
                    for (count, _), per in zip(segments, pers, strict=True)
                )
                total = upload + 8 * size * rows
                weighed = total * (1 if prime_bits <= 50 else 1.1)
                if best is None or weighed < best[0]:
                    made = sum(polynomials(count, degree, per) for (count, _), per in zip(segments, pers, strict=True))
                    best = weighed, Row(
                        bits, clients, crew, degree, (prime_bits, primes), math.log2(q), segments[1][1], pers[1], spread,
                        digit_bits, upload, size * (8 * rows + 28), secure(degree, math.log2(q)),
                        smoothing(degree * (made + 1)),
                    )  # fmt: skip
    if best is None:
        raise ValueError("no ring holds this")
    return best[1]


HEADER = """\
| b | n | M, c', T, rho | N | primes | log2 q | needed | digits | B | w' | bits a value | kB of shares | security | epsilon |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def table() -> str:
    """Return the table of the page."""
    return "\n".join([HEADER, *(str(choose(bits, clients)) for bits, clients in CASES)])


def caps() -> str:
    """Return what the caps leave."""
    rows = [f"| {degree} | {bits} | {secure(degree, bits):.0f} |" for degree, bits in CAPS.items()]
    return "\n".join(["| N | cap on log2 q | estimate at the cap |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
    print()
    print(caps())
