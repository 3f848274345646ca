"""The ring and RLWE without the C module: numpy over whole polynomials, numba for transforms and products.

The same bytes as the C module; no claim of constant time. Arguments arrive checked by `Kernels`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import numpy.typing as npt

from secagg._kernels import fallback
from secagg._kernels.checks import U64, lane_dtype
from secagg._kernels.plan import HEADER, RingPlan
from secagg._kernels.rings import BINOMIAL, TERNARY, UNIFORM
from secagg.errors import InputError

__all__ = [
    "ring_add",
    "ring_add_uniform",
    "ring_forward",
    "ring_inverse",
    "ring_multiply_add",
    "ring_sample",
    "rlwe_add",
    "rlwe_add_seeded",
    "rlwe_decrypt",
    "rlwe_encrypt",
    "rlwe_encrypt_seeded",
    "rlwe_store",
]

Bytes = npt.NDArray[np.uint8]

_ONE = np.uint64(1)
_LOW_21 = np.uint64((1 << 21) - 1)
STREAM_SECRET, STREAM_ERROR, STREAM_ERROR_2, STREAM_SEEDED, STREAM_PAD = 0, 1, 2, 1, 0


@functools.cache
def _loops() -> ModuleType:
    from secagg._kernels import fallback_ring_loops

    return fallback_ring_loops


def _q(plan: RingPlan) -> np.uint64:
    return np.uint64(plan.modulus)


def _arrays(plan: RingPlan) -> U64:
    """Roots, their quotients, inverse roots, their quotients."""
    rows: U64 = plan.table[HEADER:].reshape(4, plan.degree)
    return rows


def _once(values: U64, q: np.uint64) -> U64:
    reduced: U64 = np.where(values >= q, values - q, values)
    return reduced


def _require_canonical(plan: RingPlan, *arrays: U64) -> None:
    for array in arrays:
        if array.size and int(array.max()) >= plan.modulus:
            raise InputError("a residue is not below the modulus")


def ring_forward(plan: RingPlan, polys: U64) -> None:
    """Transform in place; see `Rings.ring_forward`."""
    _require_canonical(plan, polys)
    roots, quotients, _, _ = _arrays(plan)
    _loops().forward(polys, roots, quotients, _q(plan))


def ring_inverse(plan: RingPlan, polys: U64) -> None:
    """Undo it; see `Rings.ring_inverse`."""
    _require_canonical(plan, polys)
    _, _, roots, quotients = _arrays(plan)
    _loops().inverse(polys, roots, quotients, _q(plan), plan.table[4], plan.table[5])


def ring_add(plan: RingPlan, acc: U64, other: U64, minus: bool) -> None:
    """Add or subtract in place; see `Rings.ring_add`."""
    _require_canonical(plan, acc, other)
    acc[...] = _once(acc + (_q(plan) - other if minus else other), _q(plan))


def ring_multiply_add(plan: RingPlan, acc: U64, a: U64, b: U64) -> None:
    """Add products in place; see `Rings.ring_multiply_add`."""
    _require_canonical(plan, acc, a, b)
    flat = [x.reshape(-1) for x in (acc, a, b)]
    _loops().multiply_add(*flat, _q(plan), plan.bits, plan.table[3])


def _words(key: bytes, stream_id: int, first_byte: int, nbytes: int, dtype: str) -> npt.NDArray[np.unsignedinteger]:
    raw = fallback.keystream(key, stream_id, first_byte // 16, nbytes)
    return np.frombuffer(raw, dtype)


def _uniform(plan: RingPlan, key: bytes, stream_id: int, index: int) -> U64:
    n = plan.degree
    words = _words(key, stream_id, 16 * n * index, 16 * n, "<u8").astype(np.uint64)
    out = np.empty(n, np.uint64)
    _loops().scale_high(words, _q(plan), 52 if plan.bits <= 50 else 64, out)
    return out


def _ternary(plan: RingPlan, key: bytes, stream_id: int, index: int) -> U64:
    n = plan.degree
    words = _words(key, stream_id, 4 * n * index, 4 * n, "<u4").astype(np.uint64)
    digits = words * np.uint64(3) >> np.uint64(32)
    return _once(digits + (_q(plan) - _ONE), _q(plan))


def _bit_counts(words: U64) -> U64:
    bits = np.unpackbits(words.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1)
    counts: U64 = bits.sum(axis=1, dtype=np.uint64)
    return counts


def _binomial(plan: RingPlan, key: bytes, stream_id: int, index: int) -> U64:
    n = plan.degree
    words = _words(key, stream_id, 8 * n * index, 8 * n, "<u8").astype(np.uint64)
    plus, minus = _bit_counts(words & _LOW_21), _bit_counts(words >> np.uint64(21) & _LOW_21)
    return _once(plus + (_q(plan) - minus), _q(plan))


_SAMPLERS = {UNIFORM: _uniform, TERNARY: _ternary, BINOMIAL: _binomial}


def ring_sample(plan: RingPlan, distribution: int, key: bytes, stream_id: int, first: int, out: U64) -> None:
    """Fill `out` with polynomials of the stream; see `Rings.ring_sample`."""
    for k in range(len(out)):
        out[k] = _SAMPLERS[distribution](plan, key, stream_id, first + k)


def ring_add_uniform(plan: RingPlan, acc: U64, key: bytes, stream_id: int, first: int, minus: bool) -> None:
    """Add or subtract the stream's uniform residues; see `Rings.ring_add_uniform`."""
    _require_canonical(plan, acc)
    for index, part in _parts(plan, acc):
        ring_add(plan, part, _uniform(plan, key, stream_id, first + index)[: len(part)], minus)


def _parts(plan: RingPlan, vector: U64) -> Iterator[tuple[int, U64]]:
    for index, low in enumerate(range(0, len(vector), plan.degree)):
        yield index, vector[low : low + plan.degree]


def _pack(plan: RingPlan, residues: U64) -> Bytes:
    return np.frombuffer(fallback.pack(residues.astype(lane_dtype(plan.bits)), plan.bits), np.uint8)


def _times(plan: RingPlan, a: U64, b: U64) -> U64:
    """The polynomial whose transform is a * b."""
    product = np.zeros((1, plan.degree), np.uint64)
    ring_multiply_add(plan, product[0], a, b)
    ring_inverse(plan, product)
    row: U64 = product[0]
    return row


def _require_values(plan: RingPlan, values: U64, delta: int) -> None:
    if int(values.max()) > (plan.modulus - 1) // delta:
        raise InputError("a value does not fit: it must be at most (q - 1) // delta")


def rlwe_encrypt(
    plan: RingPlan, public: U64, values: U64, delta: int, key: bytes, pad: bytes | None, first: int, out: Bytes
) -> None:
    """Encrypt a vector; see `Rings.rlwe_encrypt`."""
    _require_values(plan, values, delta)
    at = 0
    for index, part in _parts(plan, values):
        number, n = first + index, len(part)
        u = _ternary(plan, key, STREAM_SECRET, number)[np.newaxis].copy()
        ring_forward(plan, u)
        c1, c0 = _times(plan, u[0], public[0]), _times(plan, u[0], public[1])[:n].copy()
        ring_add(plan, c1, _binomial(plan, key, STREAM_ERROR_2, number), False)
        ring_add(plan, c0, _binomial(plan, key, STREAM_ERROR, number)[:n], False)
        ring_add(plan, c0, part * np.uint64(delta), False)
        if pad is not None:
            ring_add(plan, c0, _uniform(plan, pad, STREAM_PAD, number)[:n], False)
        for packed in (_pack(plan, c1), _pack(plan, c0)):
            out[at : at + len(packed)] = packed
            at += len(packed)


def rlwe_encrypt_seeded(
    plan: RingPlan, secret: U64, values: U64, delta: int, key: bytes, seed: bytes, first: int, out: Bytes
) -> None:
    """Encrypt a vector without c1; see `Rings.rlwe_encrypt_seeded`."""
    _require_values(plan, values, delta)
    at = 0
    for index, part in _parts(plan, values):
        number, n = first + index, len(part)
        a = _uniform(plan, seed, STREAM_SEEDED, number)[np.newaxis].copy()
        ring_forward(plan, a)
        c0 = _binomial(plan, key, STREAM_ERROR, number)[:n].copy()
        ring_add(plan, c0, part * np.uint64(delta), False)
        ring_add(plan, c0, _times(plan, a[0], secret)[:n], True)
        packed = _pack(plan, c0)
        out[at : at + len(packed)] = packed
        at += len(packed)


def _unpack(plan: RingPlan, packed: memoryview, n: int) -> U64:
    if n * plan.bits % 8 and packed[-1] >> n * plan.bits % 8:
        raise InputError("padding bits are not zero")
    residues: U64 = fallback.unpack(packed, plan.bits, n).astype(np.uint64)
    _require_canonical(plan, residues)
    return residues


def _payload(plan: RingPlan, payload: memoryview, n: int, seeded: bool) -> tuple[U64, U64]:
    """A payload's c1, of no polynomials where it is seeded, and c0; InputError for what no sum may take."""
    c1 = np.zeros((0 if seeded else -(-n // plan.degree), plan.degree), np.uint64)
    c0 = np.empty(n, np.uint64)
    at = 0
    for index, part in _parts(plan, c0):
        if not seeded:
            size = plan.degree * plan.bits // 8
            c1[index] = _unpack(plan, payload[at : at + size], plan.degree)
            if not c1[index].any():
                raise InputError("a polynomial c1 is zero: such a ciphertext hides nothing")
            at += size
        size = (len(part) * plan.bits + 7) // 8
        part[:] = _unpack(plan, payload[at : at + size], len(part))
        at += size
    return c1, c0


def rlwe_add(plan: RingPlan, c1: U64, c0: U64, payload: memoryview) -> None:
    """Add a payload to the sum; see `Rings.rlwe_add`."""
    more_c1, more_c0 = _payload(plan, payload, len(c0), seeded=False)
    ring_add(plan, c1, more_c1, False)
    ring_add(plan, c0, more_c0, False)


def rlwe_add_seeded(plan: RingPlan, c1: U64, c0: U64, payload: memoryview, seed: bytes, first: int) -> None:
    """Add a payload and the expansion of its seed to the sum; see `Rings.rlwe_add_seeded`."""
    _, more_c0 = _payload(plan, payload, len(c0), seeded=True)
    ring_add(plan, c0, more_c0, False)
    ring_add_uniform(plan, c1.reshape(-1), seed, STREAM_SEEDED, first, False)


def rlwe_store(plan: RingPlan, c1: U64, c0: U64, out: Bytes) -> None:
    """Write a sum as a payload; see `Rings.rlwe_store`."""
    at = 0
    for index, part in _parts(plan, c0):
        for packed in (_pack(plan, c1[index]), _pack(plan, part)):
            out[at : at + len(packed)] = packed
            at += len(packed)


def rlwe_decrypt(plan: RingPlan, secret: U64, c1: U64, c0: U64, delta: int, values: U64) -> int:
    """Decrypt a sum; see `Rings.rlwe_decrypt`."""
    _require_canonical(plan, c1, c0)
    half, step, worst = np.uint64(delta // 2), np.uint64(delta), 0
    transformed = c1.copy()
    ring_forward(plan, transformed)
    for index, part in _parts(plan, c0):
        v = _times(plan, transformed[index], secret)[: len(part)].copy()
        ring_add(plan, v, part, False)
        v = _once(v + half, _q(plan))
        into = values[index * plan.degree : index * plan.degree + len(part)]
        into[:] = v // step
        residual = (v - into * step).astype(np.int64)
        worst = max(worst, int(np.abs(residual - np.int64(half)).max()))
    return worst
