"""The tables of a masking ring: several primes, the digits of a coefficient, and what puts residues together again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

from secagg._kernels.checks import U64, require_integer
from secagg._kernels.gaussian import gaussian_table
from secagg._kernels.plan import DEGREES, RingPlan, aligned_words, is_prime, require_table, ring_plan
from secagg._kernels.plan import HEADER as RING_HEADER
from secagg.errors import InputError, ParameterError

__all__ = ["HintPlan", "HintShape", "hint_moduli", "hint_plan", "hint_shape"]

HINT_DEGREES = DEGREES[1:]
MAX_PRIMES, MAX_PER, MAX_PRODUCT_BITS = 8, 64, 256
MAX_WIDTH = 62
HEADER = 16
LIMBS = MAX_PRODUCT_BITS // 64
LIMIT = 8  # where the limbs of the end of what opens lie in the header
ROW = 4 + 2 * MAX_PRIMES + LIMBS  # words of a prime, before its digits' weights


@dataclass(frozen=True, slots=True, eq=False)
class HintShape:
    """A masking ring's numbers and how values lie in it, without tables; make it with `hint_shape`."""

    degree: int
    bits: int
    width: int
    per: int
    spread: int
    moduli: tuple[int, ...]

    @property
    def primes(self) -> int:
        return len(self.moduli)

    @property
    def product(self) -> int:
        return math.prod(self.moduli)

    def coefficients(self, count: int) -> list[int]:
        """How many coefficients each polynomial of a chunk of `count` values carries."""
        whole, rest = divmod(count, self.degree * self.per)
        return [self.degree] * whole + ([-(-rest // self.per)] if rest else [])

    def residues(self, count: int) -> int:
        """How many residues a chunk of `count` values has, modulo all primes together."""
        whole, rest = divmod(count, self.degree * self.per)
        return self.primes * (whole * self.degree + -(-rest // self.per))

    def payload_bytes(self, count: int) -> int:
        """How long the payload of a chunk of `count` values is."""
        whole, rest = divmod(count, self.degree * self.per)
        return self.primes * (whole * self.degree * self.bits // 8 + (-(-rest // self.per) * self.bits + 7) // 8)


@dataclass(frozen=True, slots=True, eq=False)
class HintPlan(HintShape):
    """What the kernels know of a masking ring; make it with `hint_plan`. Nothing here is secret."""

    rings: tuple[RingPlan, ...] = field(repr=False)
    tables: U64 = field(repr=False)
    table: U64 = field(repr=False)

    def __post_init__(self) -> None:
        # The kernels read as far as the tables' headers say, whatever made them.
        shape = hint_shape(self.degree, self.bits, len(self.moduli), self.width, self.per, self.spread)
        thresholds = gaussian_table().shape[1]
        require_table("a masking ring's tables", self.tables, (self.primes, RING_HEADER + 4 * self.degree))
        words = HEADER + self.primes * (ROW + 2 * self.per) + 2 * thresholds
        require_table("a masking ring's table", self.table, (words,))
        headers = [[q, self.degree, self.bits] for q in shape.moduli]
        if (
            self.moduli != shape.moduli
            or [(ring.modulus, ring.degree) for ring in self.rings] != [(q, self.degree) for q in shape.moduli]
            or self.tables[:, :3].tolist() != headers
            or self.table[:4].tolist() != [self.primes, self.width, self.per, thresholds]
        ):
            raise ParameterError("a masking ring's plan comes from hint_plan: these tables are another ring's")


@lru_cache(maxsize=64)
def _moduli(bits: int, count: int) -> tuple[int, ...]:
    step = 2 * DEGREES[-1]
    found: list[int] = []
    q = (1 << bits) - step + 1
    while len(found) < count and q >> bits - 1:
        if is_prime(q):
            found.append(q)
        q -= step
    if len(found) < count:
        raise ParameterError(f"there are only {len(found)} primes of {bits} bits that are 1 modulo {step}, not {count}")
    return tuple(found)


def _integer(name: str, value: int, low: int, high: int) -> int:
    try:
        return require_integer(name, value, low, high + 1)
    except InputError as error:
        raise ParameterError(str(error)) from None


def hint_moduli(bits: int, count: int) -> tuple[int, ...]:
    """The `count` largest primes of `bits` bits that are 1 modulo 16384, descending; ParameterError where there are too few."""
    return _moduli(_integer("bits", bits, 20, 60), _integer("the number of primes", count, 1, MAX_PRIMES))


def _limbs(value: int) -> list[int]:
    return [value >> 64 * k & (1 << 64) - 1 for k in range(LIMBS)]


def _with_quotient(value: int, q: int) -> list[int]:
    return [value % q, (value % q << 64) // q]


def _row(moduli: tuple[int, ...], i: int, width: int, per: int, spread: int) -> list[int]:
    """Of prime i: t and its quotient, t B, 0; inverses of the primes before it; their product; the digits' weights."""
    q, t, before = moduli[i], 1 << width * per, 1
    inverses: list[int] = []
    for prime in moduli[:i]:
        inverses += _with_quotient(pow(prime, -1, q), q)
        before *= prime
    inverses += [0] * (2 * MAX_PRIMES - len(inverses))
    weights = [word for k in range(per) for word in _with_quotient(1 << width * k, q)]
    return [*_with_quotient(t, q), t * spread % q, 0, *inverses, *_limbs(before), *weights]


@lru_cache(maxsize=256)
def hint_shape(degree: int, bits: int, primes: int, width: int, per: int, spread: int) -> HintShape:
    """The shape of a masking ring, cheap: no table is made.

    Raises
    ------
    ParameterError
        A value out of range, or 2 t spread above the product of the primes.
    """
    # Ints from here on, for shapes and plans are kept: in numpy's small integers the sizes of chunks would wrap.
    degree, bits = _integer("degree", degree, 1, DEGREES[-1]), _integer("bits", bits, 20, 60)
    if degree not in HINT_DEGREES:
        raise ParameterError(f"a masking ring's degree is one of {HINT_DEGREES}, not {degree}")
    moduli = hint_moduli(bits, primes)
    width, per = _integer("width", width, 1, MAX_WIDTH), _integer("per", per, 1, MAX_PER)
    spread = _integer("spread", spread, 1, 1 << MAX_PRODUCT_BITS)
    shape = HintShape(degree, bits, width, per, spread, moduli)
    if shape.product >> MAX_PRODUCT_BITS:
        raise ParameterError(f"the primes' product must stay below 2^{MAX_PRODUCT_BITS}")
    if 2 * spread << width * per > shape.product:
        raise ParameterError(
            f"{per} values of {width} bits and a noise below {spread} do not fit the modulus: fewer values a coefficient, "
            "or more primes"
        )
    return shape


@lru_cache(maxsize=32)
def hint_plan(degree: int, bits: int, primes: int, width: int, per: int, spread: int) -> HintPlan:
    """The plan of a masking ring, with its tables, made once; the errors of `hint_shape`."""
    shape = hint_shape(degree, bits, primes, width, per, spread)
    degree, bits, width, per, spread = shape.degree, shape.bits, shape.width, shape.per, shape.spread
    rings = tuple(ring_plan(degree, prime) for prime in shape.moduli)
    tables = aligned_words(shape.primes, len(rings[0].table))
    for row, ring in zip(tables, rings, strict=True):
        row[:] = ring.table
    gaussian = gaussian_table()
    header = [shape.primes, width, per, gaussian.shape[1]]
    limit = _limbs(2 * spread << width * per)
    words = [*header, *[0] * (LIMIT - len(header)), *limit, *[0] * (HEADER - LIMIT - LIMBS)]
    for i in range(shape.primes):
        words += _row(shape.moduli, i, width, per, spread)
    table = aligned_words(len(words) + gaussian.size)
    table[: len(words)] = words
    table[len(words) :] = gaussian.reshape(-1)
    tables.flags.writeable = table.flags.writeable = False
    return HintPlan(degree, bits, width, per, spread, shape.moduli, rings, tables, table)
