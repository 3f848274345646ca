"""Masks from hint-RLWE without the C module: numpy over whole polynomials, on the fallback's ring.

The same bytes as the C module; no claim of constant time. Arguments arrive checked by `Kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from secagg._kernels import fallback, fallback_ring
from secagg._kernels.checks import U64, Lanes, lane_dtype
from secagg._kernels.gaussian import HALF_BITS, gaussian_table
from secagg._kernels.hint_plan import HintPlan
from secagg._kernels.plan import RingPlan
from secagg._kernels.rings import UNIFORM
from secagg.errors import InputError

__all__ = ["hint_add", "hint_gaussian", "hint_mask", "hint_open", "hint_store"]

Bytes = npt.NDArray[np.uint8]

_LOW = np.uint64((1 << HALF_BITS) - 1)
_TOP = np.uint64(HALF_BITS)
_LOW_32 = np.uint64((1 << 32) - 1)
_32 = np.uint64(32)


def hint_gaussian(key: bytes, stream_id: int, start: int, out: npt.NDArray[np.int64]) -> None:
    """Fill `out` with samples `start` and on of the stream; see `Hints.hint_gaussian`."""
    words = np.frombuffer(fallback.keystream(key, stream_id, start, 16 * len(out)), "<u8").reshape(-1, 2)
    low, high = words[:, 0] & _LOW, words[:, 1] & _LOW
    size = np.zeros(len(out), np.int64)
    for threshold_high, threshold_low in gaussian_table().T:
        size += (high < threshold_high) | ((high == threshold_high) & (low < threshold_low))
    minus = (words[:, 1] >> _TOP).astype(np.int64)
    out[:] = size * (1 - 2 * minus)


def _chunk(plan: HintPlan, count: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Of each polynomial: its place, the coefficients it carries, its first value, how many values, and its first residue."""
    at = residue = 0
    for place, n in enumerate(plan.coefficients(count)):
        values = min(count - at, n * plan.per)
        yield place, n, at, values, residue
        at += values
        residue += n * plan.primes


def _digits(plan: HintPlan, values: Lanes, n: int) -> U64:
    """Row k holds the values that are digit k of coefficients 0 to n - 1."""
    digits = np.zeros(n * plan.per, np.uint64)
    digits[: len(values)] = values
    rows: U64 = digits.reshape(plan.per, n)
    return rows


def _scaled(ring: RingPlan, acc: U64, values: U64, factor: int) -> None:
    """Add values * factor to acc modulo the ring's prime."""
    reduced = values % np.uint64(ring.modulus)
    fallback_ring.ring_multiply_add(ring, acc, reduced, np.full(len(acc), factor % ring.modulus, np.uint64))


def _lift(ring: RingPlan, values: npt.NDArray[np.int64]) -> U64:
    lifted: U64 = (values % ring.modulus).astype(np.uint64)
    return lifted


def _times(plan: HintPlan, i: int, secret: U64, public: bytes, number: int) -> U64:
    """Polynomial `number` of the public stream times the secret, modulo prime i."""
    ring = plan.rings[i]
    a, product = np.empty((1, plan.degree), np.uint64), np.zeros((1, plan.degree), np.uint64)
    fallback_ring.ring_sample(ring, UNIFORM, public, i, number, a)
    fallback_ring.ring_multiply_add(ring, product[0], a[0], secret[i])
    fallback_ring.ring_inverse(ring, product)
    row: U64 = product[0]
    return row


def _pack(plan: HintPlan, residues: U64) -> Bytes:
    return np.frombuffer(fallback.pack(residues.astype(lane_dtype(plan.bits)), plan.bits), np.uint8)


def hint_mask(
    plan: HintPlan, secret: U64, values: Lanes, error_key: bytes, public: bytes, first: int, out: Bytes
) -> None:
    """Mask a chunk; see `Hints.hint_mask`."""
    if int(values.max()) >> plan.width:
        raise InputError("a value does not fit the width")
    at = 0
    for place, n, low, count, _ in _chunk(plan, len(values)):
        digits = _digits(plan, values[low : low + count], n)
        error = np.empty(n, np.int64)
        hint_gaussian(error_key, 0, (first + place) * plan.degree, error)
        for i, ring in enumerate(plan.rings):
            c = _times(plan, i, secret, public, first + place)[:n].copy()
            _scaled(ring, c, _lift(ring, error), 1 << plan.width * plan.per)
            for k in range(plan.per):
                _scaled(ring, c, digits[k], 1 << plan.width * k)
            packed = _pack(plan, c)
            out[at : at + len(packed)] = packed
            at += len(packed)


def hint_add(plan: HintPlan, acc: U64, count: int, payload: memoryview) -> None:
    """Add a payload to the sum; see `Hints.hint_add`."""
    more = np.empty_like(acc)
    at = 0
    for _, n, _, _, low in _chunk(plan, count):
        size = (n * plan.bits + 7) // 8
        for i, ring in enumerate(plan.rings):
            packed = payload[at : at + size]
            if n * plan.bits % 8 and packed[-1] >> n * plan.bits % 8:
                raise InputError("padding bits are not zero")
            residues = fallback.unpack(packed, plan.bits, n).astype(np.uint64)
            if int(residues.max()) >= ring.modulus:
                raise InputError("a residue is not below the modulus")
            more[low + i * n : low + (i + 1) * n] = residues
            at += size
    _each(plan, count, acc, more)


def _each(plan: HintPlan, count: int, acc: U64, other: U64) -> None:
    for _, n, _, _, low in _chunk(plan, count):
        for i, ring in enumerate(plan.rings):
            part = slice(low + i * n, low + (i + 1) * n)
            fallback_ring.ring_add(ring, acc[part], other[part], False)


def hint_store(plan: HintPlan, acc: U64, count: int, out: Bytes) -> None:
    """Write a sum as a payload; see `Hints.hint_store`."""
    at = 0
    for _, n, _, _, low in _chunk(plan, count):
        for i in range(plan.primes):
            packed = _pack(plan, acc[low + i * n : low + (i + 1) * n])
            out[at : at + len(packed)] = packed
            at += len(packed)


def _mixed_radix(plan: HintPlan, residues: list[U64]) -> list[U64]:
    """Garner's digits v: the number is v_0 + q_0 (v_1 + q_1 (v_2 + ...)). Primes of one length: one subtraction reduces."""
    found: list[U64] = []
    for i, ring in enumerate(plan.rings):
        q, u = np.uint64(ring.modulus), residues[i]
        for j, v in enumerate(found):
            fallback_ring.ring_add(ring, u, np.where(v >= q, v - q, v), True)
            scaled = np.zeros_like(u)
            _scaled(ring, scaled, u, pow(plan.rings[j].modulus, -1, ring.modulus))
            u = scaled
        found.append(u)
    return found


def _long(plan: HintPlan, digits: list[U64]) -> list[U64]:
    """The numbers of mixed-radix digits, in words of 32 bits, the lowest first."""
    total = [np.zeros_like(digits[0]) for _ in range(-(-plan.bits * plan.primes // 32) + 2)]
    for i in reversed(range(plan.primes)):
        q = plan.rings[i].modulus if i < plan.primes - 1 else 0
        carry_in = [digits[i] & _LOW_32, digits[i] >> _32]
        made = [np.zeros_like(digits[0]) for _ in total]
        for shift, half in ((0, np.uint64(q & 0xFFFFFFFF)), (1, np.uint64(q >> 32))):
            carry = np.zeros_like(digits[0])
            for k in range(len(total) - shift):
                word = total[k] * half + made[k + shift] + carry
                made[k + shift], carry = word & _LOW_32, word >> _32
        carry = np.zeros_like(digits[0])
        for k in range(len(total)):
            word = made[k] + (carry_in[k] if k < 2 else np.uint64(0)) + carry
            made[k], carry = word & _LOW_32, word >> _32
        total = made
    return total


def _below(words: list[U64], limit: int) -> bool:
    """Whether all numbers are below `limit`."""
    less = np.zeros(len(words[0]), bool)
    equal = np.ones(len(words[0]), bool)
    for k in reversed(range(len(words))):
        part = np.uint64(limit >> 32 * k & 0xFFFFFFFF)
        less |= equal & (words[k] < part)
        equal &= words[k] == part
    return bool(less.all())


def _field(words: list[U64], low: int, width: int) -> U64:
    """Bits `low` to low + width - 1, width below 63, of every number."""
    k, skip = divmod(low, 32)
    at = [words[k + j] if k + j < len(words) else np.zeros_like(words[0]) for j in range(3)]
    joined = (at[0] | at[1] << _32) >> np.uint64(skip)
    if skip:
        joined = joined | at[2] << np.uint64(64 - skip)
    field: U64 = joined & np.uint64((1 << width) - 1)
    return field


def hint_open(plan: HintPlan, acc: U64, secret: U64, public: bytes, first: int, values: U64) -> None:
    """Open a sum; see `Hints.hint_open`."""
    limit = 2 * plan.spread << plan.width * plan.per
    for place, n, low, count, residue in _chunk(plan, len(values)):
        residues = []
        for i, ring in enumerate(plan.rings):
            c = acc[residue + i * n : residue + (i + 1) * n].copy()
            fallback_ring.ring_add(ring, c, _times(plan, i, secret, public, first + place)[:n], True)
            offset = (plan.spread << plan.width * plan.per) % ring.modulus
            fallback_ring.ring_add(ring, c, np.full(n, offset, np.uint64), False)
            residues.append(c)
        words = _long(plan, _mixed_radix(plan, residues))
        if not _below(words, limit):
            raise InputError("the noise of a coefficient is out of its bounds: the sum, or its secret, is spoilt")
        digits = np.concatenate([_field(words, k * plan.width, plan.width) for k in range(plan.per)])
        values[low : low + count] = digits[:count]
