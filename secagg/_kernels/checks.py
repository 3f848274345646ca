"""Refusals of what no kernel may be given; each raises `InputError` naming the argument and never its content."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError

__all__ = [
    "BLOCK_BYTES",
    "FLOATS",
    "KEY_BYTES",
    "LANES",
    "U64",
    "U64_END",
    "WORDS",
    "Buffer",
    "Lanes",
    "lane_dtype",
    "require_apart",
    "require_array",
    "require_bytes",
    "require_fixed_point",
    "require_integer",
    "require_keys",
    "require_lanes",
    "require_out",
    "require_packed",
    "require_room",
    "require_same_length",
    "require_span",
    "require_view",
    "require_writable",
]

Lanes: TypeAlias = npt.NDArray[Any]
U64: TypeAlias = npt.NDArray[np.uint64]
Buffer: TypeAlias = bytes | bytearray | memoryview

KEY_BYTES = 16
BLOCK_BYTES = 16
U64_END = 1 << 64
MIN_CLIP, MAX_CLIP = 1e-280, 1e280
LANES = tuple(np.dtype(t) for t in (np.uint16, np.uint32, np.uint64))
WORDS = LANES[2:]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def require_integer(name: str, value: int, low: int, end: int) -> int:
    """`value` as an int from `low` to below `end`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not low <= number < end:
        raise InputError(f"{name} must be at least {low} and below {end}")
    return number


def require_array(name: str, array: npt.NDArray[Any], dtypes: tuple[np.dtype[Any], ...], ndim: int = 1) -> None:
    """An aligned C-contiguous array of one of these types and this many dimensions."""
    # C reads the memory, whatever a subclass says of its length, its largest element or what it masks.
    if type(array) not in {np.ndarray, np.memmap}:
        raise InputError(f"{name} must be a plain numpy array, not {type(array).__name__}")
    if array.dtype not in dtypes:
        raise InputError(f"{name} must have dtype {' or '.join(map(str, dtypes))}, not {array.dtype}")
    if array.ndim != ndim:
        raise InputError(f"{name} must have {ndim} dimension(s), not {array.ndim}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise InputError(f"{name} must be C-contiguous and aligned: pass a copy")


def require_writable(name: str, array: npt.NDArray[Any]) -> None:
    """An array that may be written in place."""
    if not array.flags.writeable:
        raise InputError(f"{name} is written in place but is read-only")


def require_apart(name: str, array: npt.NDArray[Any], other: npt.NDArray[Any] | memoryview) -> None:
    """Two arguments that do not overlap, for the order of reading and writing is not part of the contract."""
    if np.may_share_memory(array, np.asarray(other)):
        raise InputError(f"{name} must not share memory with another argument")


def require_same_length(first: str, a: npt.NDArray[Any], second: str, b: npt.NDArray[Any]) -> None:
    """Two arrays of one length."""
    if len(a) != len(b):
        raise InputError(f"{first} and {second} must have the same length, not {len(a)} and {len(b)}")


def require_view(name: str, value: Buffer) -> memoryview:
    """What is contiguous in memory, as bytes."""
    try:
        view = memoryview(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be bytes-like, not {type(value).__name__}") from None
    if not view.c_contiguous:
        raise InputError(f"{name} must be contiguous: pass a copy")
    return view.cast("B") if view.nbytes else memoryview(b"")


def require_room(name: str, value: bytearray | memoryview, needed: int, why: str = "") -> npt.NDArray[np.uint8]:
    """The same as an array, where it may be written and has exactly `needed` bytes."""
    view = require_view(name, value)
    if memoryview(value).readonly:
        raise InputError(f"{name} must be writable")
    if view.nbytes != needed:
        raise InputError(f"{name} must be {needed} bytes long{why}, not {view.nbytes}")
    return np.frombuffer(view, np.uint8) if needed else np.empty(0, np.uint8)


def require_bytes(name: str, value: bytes, length: int | None = None) -> None:
    """Bytes, of this length where one is given."""
    if type(value) not in {bytes, bytearray}:
        raise InputError(f"{name} must be bytes, not {type(value).__name__}")
    if length is not None and len(value) != length:
        raise InputError(f"{name} must be {length} bytes long, not {len(value)}")


def require_span(start: int, count: int) -> int:
    """`start`, where `count` values from it on stay within 64-bit indices."""
    start = require_integer("start", start, 0, U64_END)
    if start + count > U64_END:
        raise InputError("start plus the number of values must not exceed 2^64")
    return start


def require_lanes(name: str, array: Lanes, w: int) -> int:
    """`w`, where `array` is a vector of its lanes."""
    w = require_integer("w", w, 1, 65)
    require_array(name, array, (lane_dtype(w),))
    return w


def require_keys(keys: npt.NDArray[np.uint8], signs: npt.NDArray[np.int8]) -> None:
    """AES-128 keys, one in a row, and a sign for each."""
    require_array("keys", keys, (np.dtype(np.uint8),), 2)
    require_array("signs", signs, (np.dtype(np.int8),))
    require_same_length("keys", keys, "signs", signs)
    if keys.shape[1] != KEY_BYTES:
        raise InputError(f"keys must have shape (k, {KEY_BYTES})")
    if not bool(np.all((signs == 1) | (signs == -1))):
        raise InputError("signs must be +1 or -1")


def require_out(out: bytearray | memoryview, w: int, count: int) -> npt.NDArray[np.uint8]:
    """`out` as an array of bytes, where it may be written and has room for exactly `count` values of `w` bits."""
    return require_room("out", out, (count * w + 7) // 8, f" for {count} values of {w} bits")


def require_packed(buf: Buffer, w: int, count: int) -> memoryview:
    """`buf` as bytes, where they are exactly `count` values of `w` bits with clean padding."""
    view = require_view("buf", buf)
    needed = (count * w + 7) // 8
    if view.nbytes != needed:
        raise InputError(f"buf must be {needed} bytes long for {count} values of {w} bits, not {view.nbytes}")
    used = count * w % 8
    if used and view[-1] >> used:
        raise InputError("buf has padding bits that are not zero")
    return view


def require_fixed_point(clip: float, bits: int) -> tuple[float, int]:
    """`clip` and `bits` of an encoding."""
    bits = require_integer("bits", bits, 1, 33)
    # The limits keep the scale levels / (2 * clip) and its inverse finite and normal.
    if not isinstance(clip, Real) or not MIN_CLIP <= clip <= MAX_CLIP:
        raise InputError(f"clip must be a number from {MIN_CLIP} to {MAX_CLIP}")
    return float(clip), bits


def lane_dtype(w: int) -> np.dtype[Any]:
    """The unsigned type that holds values of `w` bits: 16, 32 or 64 bits wide.

    Parameters
    ----------
    w : int
        Width in bits, 1 to 64.

    Returns
    -------
    numpy.dtype
        uint16 for w <= 16, uint32 for w <= 32, else uint64.

    Raises
    ------
    InputError
        When `w` is not an integer from 1 to 64.
    """
    w = require_integer("w", w, 1, 65)
    return LANES[(w > 16) + (w > 32)]
