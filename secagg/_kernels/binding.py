"""The door to the C module: its results as errors, and arrays and bytes as its pointers."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from secagg._native import ffi, lib
from secagg.errors import InputError, InternalError

__all__ = ["as_lanes", "as_out", "bytes_in", "check", "ffi", "key_in", "lib"]

_REFUSALS = {
    lib.SA_ERR_ARGUMENT: "a length, width or clip is outside what the kernel allows",
    lib.SA_ERR_VALUE: "a value does not fit the width; reduce the values or widen the lane",
    lib.SA_ERR_PADDING: "padding bits are not zero",
    lib.SA_ERR_NONFINITE: "NaN or infinity among the values; clean the update first",
    lib.SA_ERR_FIELD: "elements must be canonical modulo 2^61 - 1, and points distinct and not zero",
    lib.SA_ERR_RESIDUE: "a residue is not below the modulus",
    lib.SA_ERR_TRANSPARENT: "a polynomial c1 is zero: such a ciphertext hides nothing",
}


def check(code: int, what: str) -> None:
    """Raise what the result `code` of a C function means; SA_OK means nothing."""
    if code == lib.SA_OK:
        return
    if code not in _REFUSALS:
        raise InternalError(f"{what}: unexpected native result {code}")
    raise InputError(f"{what}: {_REFUSALS[code]}")


def bytes_in(buffer: Any, ctype: str) -> Any:
    """`buffer`, read as an array of `ctype`."""
    return ffi.from_buffer(f"{ctype}[]", buffer)


def key_in(key: bytes | None) -> Any:
    """An AES-128 key, or NULL for none; what is shorter is refused when its memory is taken."""
    if key is None:
        return ffi.NULL
    try:
        return ffi.from_buffer("uint8_t[16]", key)
    except ValueError:
        raise InputError("a key must be 16 bytes long") from None


def as_out(array: npt.NDArray[Any]) -> Any:
    """An unsigned array, to be written."""
    return ffi.from_buffer(f"uint{8 * array.itemsize}_t[]", array, require_writable=True)


def as_lanes(array: npt.NDArray[Any]) -> Any:
    """An unsigned array, to be read."""
    return ffi.from_buffer(f"uint{8 * array.itemsize}_t[]", array)
