"""The C kernels of the ring and of RLWE; a thin binding, like `secagg._kernels.native`, which hands these on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from secagg._kernels.binding import as_lanes, as_out, bytes_in, check, ffi, key_in, lib
from secagg._kernels.checks import U64
from secagg._kernels.plan import RingPlan

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


def _table(plan: RingPlan) -> Any:
    return as_lanes(plan.table)


def _scratch(plan: RingPlan) -> tuple[Any, int]:
    scratch = np.empty(lib.sa_ring_scratch_bytes(plan.degree), np.uint8)
    return as_out(scratch), len(scratch)


def ring_forward(plan: RingPlan, polys: U64) -> None:
    """Transforms every polynomial in place."""
    check(lib.sa_ring_forward(_table(plan), as_out(polys), len(polys)), "ring_forward")


def ring_inverse(plan: RingPlan, polys: U64) -> None:
    """Undoes `ring_forward` in place."""
    check(lib.sa_ring_inverse(_table(plan), as_out(polys), len(polys)), "ring_inverse")


def ring_add(plan: RingPlan, acc: U64, other: U64, minus: bool) -> None:
    """``acc += other`` or ``acc -= other``, modulo q, in place."""
    check(lib.sa_ring_add(_table(plan), as_out(acc), as_lanes(other), acc.size, minus), "ring_add")


def ring_multiply_add(plan: RingPlan, acc: U64, a: U64, b: U64) -> None:
    """``acc += a * b``, modulo q, coefficient by coefficient, in place."""
    code = lib.sa_ring_multiply_add(_table(plan), as_out(acc), as_lanes(a), as_lanes(b), acc.size)
    check(code, "ring_multiply_add")


def ring_sample(plan: RingPlan, distribution: int, key: bytes, stream_id: int, first: int, out: U64) -> None:
    """Polynomials `first` and on of the stream."""
    code = lib.sa_ring_sample(
        _table(plan), distribution, as_out(out), len(out), key_in(key), stream_id, first, *_scratch(plan)
    )
    check(code, "ring_sample")


def ring_add_uniform(plan: RingPlan, acc: U64, key: bytes, stream_id: int, first: int, minus: bool) -> None:
    """Adds the stream's uniform residues from polynomial `first` on, or takes them away, in place."""
    code = lib.sa_ring_add_uniform(
        _table(plan), as_out(acc), len(acc), key_in(key), stream_id, first, minus, *_scratch(plan)
    )
    check(code, "ring_add_uniform")


def rlwe_encrypt(
    plan: RingPlan, public: U64, values: U64, delta: int, key: bytes, pad: bytes | None, first: int, out: Bytes
) -> None:
    """Writes the payload of `values`."""
    code = lib.sa_rlwe_encrypt(
        _table(plan),
        as_lanes(public),
        as_lanes(values),
        len(values),
        delta,
        key_in(key),
        key_in(pad),
        first,
        as_out(out),
        len(out),
        *_scratch(plan),
    )
    check(code, "rlwe_encrypt")


def rlwe_encrypt_seeded(
    plan: RingPlan, secret: U64, values: U64, delta: int, key: bytes, seed: bytes, first: int, out: Bytes
) -> None:
    """Writes the payload of `values` without c1."""
    code = lib.sa_rlwe_encrypt_seeded(
        _table(plan),
        as_lanes(secret),
        as_lanes(values),
        len(values),
        delta,
        key_in(key),
        key_in(seed),
        first,
        as_out(out),
        len(out),
        *_scratch(plan),
    )
    check(code, "rlwe_encrypt_seeded")


def rlwe_add(plan: RingPlan, c1: U64, c0: U64, payload: memoryview) -> None:
    """Adds a payload to the sum, which stays as it was after an error."""
    code = lib.sa_rlwe_add(
        _table(plan),
        as_out(c1),
        as_out(c0),
        len(c0),
        bytes_in(payload, "uint8_t"),
        len(payload),
        *_scratch(plan),
    )
    check(code, "rlwe_add")


def rlwe_add_seeded(plan: RingPlan, c1: U64, c0: U64, payload: memoryview, seed: bytes, first: int) -> None:
    """Adds a payload without c1 and what its seed expands to; the sum stays as it was after an error."""
    code = lib.sa_rlwe_add_seeded(
        _table(plan),
        as_out(c1),
        as_out(c0),
        len(c0),
        bytes_in(payload, "uint8_t"),
        len(payload),
        key_in(seed),
        first,
        *_scratch(plan),
    )
    check(code, "rlwe_add_seeded")


def rlwe_store(plan: RingPlan, c1: U64, c0: U64, out: Bytes) -> None:
    """Writes a sum as a payload."""
    code = lib.sa_rlwe_store(_table(plan), as_lanes(c1), as_lanes(c0), len(c0), as_out(out), len(out), *_scratch(plan))
    check(code, "rlwe_store")


def rlwe_decrypt(plan: RingPlan, secret: U64, c1: U64, c0: U64, delta: int, values: U64) -> int:
    """Writes the values and returns the largest rounding distance."""
    worst = ffi.new("uint64_t *")
    code = lib.sa_rlwe_decrypt(
        _table(plan),
        as_lanes(secret),
        as_lanes(c1),
        as_lanes(c0),
        len(c0),
        delta,
        as_out(values),
        worst,
        *_scratch(plan),
    )
    check(code, "rlwe_decrypt")
    return int(worst[0])
