"""Recomputes the table of docs/spec/ckks.md, section 9, from that page's formulas alone: rings, noise, bytes and security.

Run ``python docs/spec/ckks_parameters.py``; it needs nothing but Python. A test compares it with the page and with the engine.

The security column is an estimate of the primal attack (Alkim, Ducas, Poeppelmann, Schwabe, 2016, with the secret scaled to the
size of the error as by Bai and Galbraith, 2014): the least BKZ block size beta for which the short vector is found, at
``0.292 beta + 16.4 + log2(8 d)`` bits, the cost model of the Homomorphic Encryption Security Standard. It is a check on the order
of magnitude; what Params enforce is the cap, which lies below that standard's table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CAPS = {1024: 26, 2048: 53, 4096: 60, 8192: 60}  # by security, and by the kernels' word from 4096 on
STANDARD = {1024: 27, 2048: 54, 4096: 109, 8192: 218}
VARIANCE = 21 / 2  # of the errors
SECRET_VARIANCE = 2 / 3
FAILURE = 2.0**-40
VALUES = 1_000_000  # of an update
CASES = ((16, 10), (16, 100), (16, 1000), (24, 1000), (32, 1000), (8, 10))  # bits of a value, clients


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


def modulus(bits: int) -> int:
    """Return the largest prime below 2^bits that is 1 mod 16384."""
    q = (1 << bits) - 16384 + 1
    while not is_prime(q):
        q -= 16384
    return q


def radius(degree: int, clients: int, coefficients: int, polynomials: int) -> float:
    """Return the bound on the noise of section 5."""
    x = math.log(2) * (42 + math.log2(polynomials + 1))
    u = clients * 2 / 3 * (degree + 2 * math.sqrt(degree * x) + 2 * x)
    s = degree * 2 / 3 + math.sqrt(degree * x / 2)
    proxy = VARIANCE * (u + clients * s + clients)
    return math.sqrt(2 * proxy * math.log(2 * coefficients / (0.75 * FAILURE)))


def security(degree: int, log2_q: float) -> float:
    """Return the estimated cost of the primal attack on one sample of the ring, in bits."""
    best = math.inf
    ratio = math.sqrt(VARIANCE / SECRET_VARIANCE)
    for samples in range(degree // 4, degree + 1, max(1, degree // 64)):
        d = samples + degree + 1
        volume = (samples * log2_q + degree * math.log2(ratio)) / d
        low, high = 50, d
        while low < high:
            beta = (low + high) // 2
            root = (math.log2(beta / (2 * math.pi * math.e)) + math.log2(math.pi * beta) / beta) / (2 * (beta - 1))
            if 0.5 * math.log2(beta * VARIANCE) <= (2 * beta - d) * root + volume:
                high = beta
            else:
                low = beta + 1
        best = min(best, 0.292 * low + 16.4 + math.log2(8 * d))
    return best


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    bits: int
    clients: int
    degree: int
    modulus_bits: int
    limbs: int
    log2_needed: float
    noise_bits: float
    delta_bits: float
    bytes_a_value: float
    security: float
    headroom: int

    def __str__(self) -> str:
        return (
            f"| {self.bits} | {self.clients} | {self.degree} | {self.modulus_bits} | {self.limbs} | {self.log2_needed:.1f} | "
            f"{self.noise_bits:.1f} | {self.delta_bits:.1f} | {self.bytes_a_value:.2f} | 2^-40 | {self.security:.0f} | "
            f"{self.headroom} |"
        )


def cut(most: int, total: int, capacity: int, clients: int) -> tuple[int, int, int] | None:
    """Return limbs, bits of one, and the largest sum of one, or None."""
    if total <= capacity:
        return 1, max(1, total.bit_length()), total
    for limbs in range(2, 9):
        bits = -(-most.bit_length() // limbs)
        if clients * ((1 << bits) - 1) <= capacity:
            return limbs, bits, clients * ((1 << bits) - 1)
    return None


def choose(bits: int, clients: int, values: int = VALUES) -> Row:
    """Return the ring of the smallest uploads for a flat update with weights of 1."""
    rooms = ((3, values), (values, (1 << bits) - 1))  # the head's largest value is the count of clipped ones
    best: tuple[int, int, int, Row] | None = None
    for degree in (2048, 4096, 8192):
        for modulus_bits in range(20, CAPS[degree] + 1):
            q, sizes = modulus(modulus_bits), [count for count, _ in rooms]
            while True:
                noise = radius(degree, clients, sum(sizes), sum(-(-size // degree) for size in sizes))
                least = 2 * (math.ceil(noise) * 16 // 15 + 2)
                cuts = [cut(most, most * clients, q // least - 1, clients) for _, most in rooms]
                found = [each for each in cuts if each is not None]
                if len(found) < len(rooms):
                    break
                needed = [count * each[0] for (count, _), each in zip(rooms, found, strict=True)]
                if sum(needed) <= sum(sizes):
                    size = sum(payload(degree, modulus_bits, each) for each in needed)
                    top = max(each[2] for each in found)
                    row = Row(
                        bits, clients, degree, modulus_bits, found[1][0], math.log2(least * (top + 1)), math.log2(noise),
                        math.log2(q // (top + 1)), size / values, security(degree, math.log2(q)),
                        STANDARD[degree] - modulus_bits,
                    )  # fmt: skip
                    if best is None or (size, degree, modulus_bits) < best[:3]:
                        best = (size, degree, modulus_bits, row)
                    break
                sizes = needed
    if best is None:
        raise ValueError("no ring holds this")
    return best[3]


def payload(degree: int, bits: int, coefficients: int) -> int:
    """Return the bytes of an upload's polynomials: c1 whole, c0 as far as there are values."""
    whole, rest = divmod(coefficients, degree)
    poly = degree * bits // 8
    return 2 * whole * poly + (poly + (rest * bits + 7) // 8 if rest else 0)


HEADER = """\
| b | n | N | log2 q | limbs | needed | noise | delta | bytes a value | failure a round | security | below the standard |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def table() -> str:
    """Return the table of the page."""
    return "\n".join([HEADER, *(str(choose(bits, clients)) for bits, clients in CASES)])


def caps() -> str:
    """Return what the caps leave."""
    rows = [
        f"| {degree} | {bits} | {STANDARD[degree]} | {security(degree, bits):.0f} | {security(degree, STANDARD[degree]):.0f} |"
        for degree, bits in CAPS.items()
    ]
    return "\n".join(
        [
            "| N | cap on log2 q | standard | estimate at the cap | estimate at the standard |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


if __name__ == "__main__":
    print(table())
    print()
    print(caps())
