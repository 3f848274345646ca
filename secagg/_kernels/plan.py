"""The tables of a ring Z_q[X]/(X^N + 1), the same for every implementation, and its public numbers."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from secagg._kernels.checks import U64, require_integer
from secagg.errors import ParameterError

__all__ = [
    "DEGREES",
    "MAX_BITS",
    "MIN_BITS",
    "RingPlan",
    "aligned_words",
    "is_prime",
    "require_table",
    "ring_modulus",
    "ring_plan",
]

DEGREES = (1024, 2048, 4096, 8192)
MIN_BITS, MAX_BITS = 19, 61
HEADER = 16
# Deterministic below 3.3e24: Sorenson and Webster, Strong pseudoprimes to twelve prime bases (Math. Comp. 2017).
_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)


@dataclass(frozen=True, slots=True, eq=False)
class RingPlan:
    """What the kernels know of one ring; make it with `ring_plan`. Nothing here is secret."""

    degree: int
    modulus: int
    bits: int
    root: int
    table: U64 = field(repr=False)

    def __post_init__(self) -> None:
        # The kernels read as far as the table's header says, whatever made it.
        n, log = self.degree, self.degree.bit_length() - 1
        if n not in DEGREES or self.modulus.bit_length() != self.bits or not MIN_BITS <= self.bits <= MAX_BITS:
            raise ParameterError("a ring's plan comes from ring_plan: these numbers are none of its")
        require_table("a ring's table", self.table, (HEADER + 4 * n,))
        if self.table[:3].tolist() != [self.modulus, n, self.bits] or int(self.table[6]) != log:
            raise ParameterError("a ring's plan comes from ring_plan: this table is another ring's")


def require_table(name: str, table: U64, shape: tuple[int, ...]) -> None:
    """A table of words that the kernels may read: of this shape, in one piece and read-only."""
    if type(table) is not np.ndarray or table.dtype != np.uint64 or table.shape != shape:
        raise ParameterError(f"{name} is uint64 of shape {shape}")
    if not (table.flags.c_contiguous and table.flags.aligned) or table.flags.writeable:
        raise ParameterError(f"{name} is contiguous, aligned and read-only")


def aligned_words(*shape: int) -> U64:
    """Zeros of dtype uint64, beginning on a cache line: rows of a ring's polynomials are read in whole lines."""
    size = int(np.prod(shape))
    raw = np.zeros(size + 8, np.uint64)
    skip = -raw.ctypes.data // 8 % 8
    words: U64 = raw[skip : skip + size].reshape(shape)
    return words


def is_prime(n: int) -> bool:
    """Whether `n`, below 2^81, is a prime; Miller-Rabin with bases that leave no doubt there."""
    if n < 2:
        return False
    if any(n % base == 0 for base in _BASES):
        return n in _BASES
    twos = (n - 1 & 1 - n).bit_length() - 1
    odd = n - 1 >> twos
    for base in _BASES:
        x = pow(base, odd, n)
        if x not in {1, n - 1} and not any((x := x * x % n) == n - 1 for _ in range(twos - 1)):
            return False
    return True


@lru_cache(maxsize=64)
def ring_modulus(bits: int) -> int:
    """The largest prime below 2^bits that is 1 modulo 16384; ParameterError unless bits is 20 to 61."""
    bits = require_integer("bits", bits, 0, 1 << 16)
    if not 20 <= bits <= MAX_BITS:
        raise ParameterError(f"a ring's modulus has 20 to {MAX_BITS} bits, not {bits}")
    step = 2 * DEGREES[-1]
    q = (1 << bits) - step + 1
    while not is_prime(q):
        q -= step
    return q


def _smallest_root(degree: int, q: int) -> int:
    """The smallest primitive root of unity of order 2 * degree: of one of them, the odd powers are all."""
    x = next(x for g in range(2, q) if pow(x := pow(g, (q - 1) // (2 * degree), q), degree, q) == q - 1)
    square, smallest = x * x % q, x
    for _ in range(degree - 1):
        x = x * square % q
        smallest = min(smallest, x)
    return smallest


def _powers(root: int, degree: int, q: int) -> U64:
    """root^r(i) for i < degree, r reversing the bits of i; and the quotients floor(2^64 w / q)."""
    ordered = [1] * degree
    for i in range(1, degree):
        ordered[i] = ordered[i - 1] * root % q
    width = degree.bit_length() - 1
    powers = [ordered[int(f"{i:0{width}b}"[::-1], 2)] for i in range(degree)]
    return np.array([powers, [(w << 64) // q for w in powers]], np.uint64)


@lru_cache(maxsize=64)
def _plan(degree: int, modulus: int) -> RingPlan:
    if degree not in DEGREES:
        raise ParameterError(f"a ring's degree is one of {DEGREES}, not {degree}")
    if not 1 << MIN_BITS - 1 < modulus < 1 << MAX_BITS:
        raise ParameterError(f"a ring's modulus lies between 2^{MIN_BITS - 1} and 2^{MAX_BITS}")
    if modulus % (2 * degree) != 1 or not is_prime(modulus):
        raise ParameterError("a ring's modulus is a prime that is 1 modulo twice the degree")
    bits, root, last = modulus.bit_length(), _smallest_root(degree, modulus), pow(degree, -1, modulus)
    table = aligned_words(HEADER + 4 * degree)
    # Products that Montgomery's reduction leaves 2^-52 times too small are made up for when they come back.
    shifted = last * (1 << 52) % modulus
    numbers = [
        modulus,
        degree,
        bits,
        (1 << 2 * bits) // modulus,
        last,
        (last << 64) // modulus,
        degree.bit_length() - 1,
    ]
    numbers += [shifted, (shifted << 64) // modulus, pow(modulus, -1, 1 << 52)]
    table[: len(numbers)] = numbers
    table[HEADER : HEADER + 2 * degree] = _powers(root, degree, modulus).reshape(-1)
    table[HEADER + 2 * degree :] = _powers(pow(root, -1, modulus), degree, modulus).reshape(-1)
    table.flags.writeable = False
    return RingPlan(degree, modulus, bits, root, table)


def ring_plan(degree: int, modulus: int) -> RingPlan:
    """The plan of Z_modulus[X]/(X^degree + 1), made once.

    Raises
    ------
    ParameterError
        Unless degree is 1024, 2048, 4096 or 8192 and modulus a prime, 1 modulo 2 * degree, above 2^18 and below 2^61.
    """
    try:
        return _plan(operator.index(degree), operator.index(modulus))
    except TypeError:
        raise ParameterError("a ring's degree and modulus are integers") from None
