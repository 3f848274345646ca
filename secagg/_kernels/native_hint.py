"""The C kernels of hint-RLWE masks; a thin binding, like `secagg._kernels.native`, which hands these on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from secagg._kernels.binding import as_lanes, as_out, bytes_in, check, ffi, lib
from secagg._kernels.checks import LANES, U64, Lanes
from secagg._kernels.gaussian import gaussian_table
from secagg._kernels.hint_plan import HintPlan
from secagg.errors import InputError

__all__ = ["hint_add", "hint_gaussian", "hint_mask", "hint_open", "hint_store"]

Bytes = npt.NDArray[np.uint8]


def _tables(plan: HintPlan) -> tuple[Any, Any]:
    return as_lanes(plan.tables.reshape(-1)), as_lanes(plan.table)


def _scratch(degree: int, primes: int) -> tuple[Any, int]:
    scratch = np.empty(lib.sa_hint_scratch_bytes(degree, primes), np.uint8)
    return as_out(scratch), len(scratch)


def hint_gaussian(key: bytes, stream_id: int, start: int, out: npt.NDArray[np.int64]) -> None:
    """Samples `start` and on of the stream."""
    table = gaussian_table()
    code = lib.sa_hint_gaussian(
        as_lanes(table.reshape(-1)),
        table.shape[1],
        ffi.from_buffer("int64_t[]", out, require_writable=True),
        len(out),
        bytes_in(key, "uint8_t"),
        stream_id,
        start,
        *_scratch(1024, 0),
    )
    check(code, "hint_gaussian")


def hint_mask(
    plan: HintPlan, secret: U64, values: Lanes, error_key: bytes, public: bytes, first: int, out: Bytes
) -> None:
    """Writes the payload of `values`."""
    code = lib.sa_hint_mask(
        *_tables(plan),
        as_lanes(secret.reshape(-1)),
        as_lanes(values),
        LANES.index(values.dtype),
        len(values),
        bytes_in(error_key, "uint8_t"),
        bytes_in(public, "uint8_t"),
        first,
        as_out(out),
        len(out),
        *_scratch(plan.degree, plan.primes),
    )
    check(code, "hint_mask")


def hint_add(plan: HintPlan, acc: U64, count: int, payload: memoryview) -> None:
    """Adds a payload to the sum, which stays as it was after an error."""
    code = lib.sa_hint_add(
        *_tables(plan),
        as_out(acc),
        count,
        bytes_in(payload, "uint8_t"),
        len(payload),
        *_scratch(plan.degree, plan.primes),
    )
    check(code, "hint_add")


def hint_store(plan: HintPlan, acc: U64, count: int, out: Bytes) -> None:
    """Writes a sum as a payload."""
    code = lib.sa_hint_store(
        *_tables(plan), as_lanes(acc), count, as_out(out), len(out), *_scratch(plan.degree, plan.primes)
    )
    check(code, "hint_store")


def hint_open(plan: HintPlan, acc: U64, secret: U64, public: bytes, first: int, values: U64) -> None:
    """Writes the sums of the values."""
    code = lib.sa_hint_open(
        *_tables(plan),
        as_lanes(acc),
        len(values),
        as_lanes(secret.reshape(-1)),
        bytes_in(public, "uint8_t"),
        first,
        as_out(values),
        *_scratch(plan.degree, plan.primes),
    )
    if code == lib.SA_ERR_VALUE:
        raise InputError("the noise of a coefficient is out of its bounds: the sum, or its secret, is spoilt")
    check(code, "hint_open")
