"""The C kernels: a thin binding over ``secagg._native``.

Arguments arrive validated by the package; what only the data can show (NaN, values too large for their
width, padding, elements outside the field) is found in C and raised here. cffi releases the GIL around every
call. Names, signatures and results are those of the package.

Importing this module raises `ImportError` where the C module was not built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg._kernels.binding import as_lanes as _lanes
from secagg._kernels.binding import as_out as _out
from secagg._kernels.binding import bytes_in as _in
from secagg._kernels.binding import check as _check
from secagg._kernels.binding import ffi, key_in, lib
from secagg._kernels.native_hint import hint_add, hint_gaussian, hint_mask, hint_open, hint_store
from secagg._kernels.native_ring import (
    ring_add,
    ring_add_uniform,
    ring_forward,
    ring_inverse,
    ring_multiply_add,
    ring_sample,
    rlwe_add,
    rlwe_add_seeded,
    rlwe_decrypt,
    rlwe_encrypt,
    rlwe_encrypt_seeded,
    rlwe_store,
)
from secagg.errors import InputError, ParameterError

__all__ = [
    "add_mod",
    "aes_rounds",
    "available",
    "compiler",
    "ct_equal",
    "fixed_point_decode",
    "fixed_point_encode",
    "hint_add",
    "hint_gaussian",
    "hint_mask",
    "hint_open",
    "hint_store",
    "keystream",
    "mask_apply",
    "mask_pack_into",
    "pack",
    "protect_fixed_into",
    "residues_add",
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
    "select",
    "selected",
    "shamir_combine",
    "shamir_split",
    "shamir_weights",
    "unpack",
    "unpack_add",
    "unpack_add_many",
]

Array = npt.NDArray[Any]
U64 = npt.NDArray[np.uint64]


def _named(stem: str) -> dict[int, Any]:
    return {size: getattr(lib, f"{stem}_u{8 * size}") for size in (2, 4, 8)}


_MASK_APPLY = _named("sa_mask_apply")
_PACK = _named("sa_bits_pack")
_UNPACK = _named("sa_bits_unpack")
_UNPACK_ADD = _named("sa_bits_unpack_add")
_UNPACK_ADD_MANY = _named("sa_bits_unpack_add_many")
_MASK_PACK = _named("sa_mask_pack")
_ADD = _named("sa_lanes_add")
_PROTECT = {4: lib.sa_fixed_protect_f32, 8: lib.sa_fixed_protect_f64}
_ENCODE = {4: _named("sa_fixed_encode_f32"), 8: _named("sa_fixed_encode_f64")}


def _text(value: Any) -> str:
    return str(ffi.string(value).decode("ascii"))


def available() -> list[str]:
    """Implementations this machine can run, best first."""
    names: list[str] = []
    while (name := lib.sa_available(len(names))) != ffi.NULL:
        names.append(_text(name))
    return names


def select(name: str) -> None:
    """Every later call runs on the implementation of that name.

    Raises
    ------
    ParameterError
        No such implementation, or this machine cannot run it; the choice stays as it was.
    """
    if name not in available() or lib.sa_select(name.encode("ascii")) != lib.SA_OK:
        names = ", ".join(available())
        raise ParameterError(f"no native implementation {name!r} on this machine; it has: {names}")


def selected() -> str:
    """Name of the implementation in use."""
    return _text(lib.sa_selected())


def compiler() -> str:
    """Name and version of the compiler that built the C module."""
    return _text(lib.sa_compiler())


def aes_rounds(nbytes: int) -> None:
    """Run the AES rounds that `nbytes` of keystream take, and nothing else: the bound for benchmarks of the masks.

    They run in registers of the width that the implementation in use masks with; nothing is kept, nothing is secret.
    """
    state = np.empty(512, np.uint8)
    _check(lib.sa_aes_rounds(_out(state), len(state), nbytes), "aes_rounds")


def _reals(array: Array) -> Any:
    return ffi.from_buffer("float[]" if array.itemsize == 4 else "double[]", array)


def _masks(keys: npt.NDArray[np.uint8], signs: npt.NDArray[np.int8]) -> tuple[Any, ...]:
    return _in(keys, "uint8_t"), _in(signs, "int8_t"), len(keys)


def _scratch(keys: npt.NDArray[np.uint8]) -> tuple[Any, int]:
    scratch = np.empty(lib.sa_mask_scratch_bytes(len(keys)), np.uint8)
    return _out(scratch), len(scratch)


def _empty_lanes(count: int, w: int) -> Array:
    return np.empty(count, np.uint16 if w <= 16 else np.uint32 if w <= 32 else np.uint64)


def mask_apply(
    acc: Array, keys: npt.NDArray[np.uint8], signs: npt.NDArray[np.int8], stream_id: int, start: int, w: int
) -> None:
    """``acc[i] = (acc[i] + sum_k signs[k] * KS_k[start + i]) mod 2^w``, in place, one pass for all keys."""
    code = _MASK_APPLY[acc.itemsize](_out(acc), len(acc), *_masks(keys, signs), stream_id, start, w, *_scratch(keys))
    _check(code, "mask_apply")


def keystream(key: bytes, stream_id: int, start_byte_block: int, nbytes: int) -> bytes:
    """AES-128-CTR keystream of (key, stream_id) from that block on."""
    out = bytearray(nbytes)
    to = _in(out, "uint8_t")
    code = lib.sa_keystream_fill(key_in(key), stream_id, start_byte_block, to, nbytes)
    _check(code, "keystream")
    result = bytes(out)
    lib.sa_zero(to, nbytes)
    return result


def fixed_point_encode(
    x: Array, clip: float, bits: int, out: Array, key: bytes | None, stream_id: int, start: int, weight: int
) -> int:
    """Writes the encoded values into `out`, unspecified after an error; returns how many were clipped."""
    clipped = ffi.new("uint64_t *")
    code = _ENCODE[x.itemsize][out.itemsize](
        _reals(x),
        len(x),
        clip,
        bits,
        _out(out),
        key_in(key),
        stream_id,
        start,
        weight,
        clipped,
    )
    _check(code, "fixed_point_encode")
    return int(clipped[0])


def fixed_point_decode(sums: U64, total_weight: int, clip: float, bits: int) -> npt.NDArray[np.float64]:
    """What sums of codes stand for, as doubles."""
    out = np.empty(len(sums), np.float64)
    to = ffi.from_buffer("double[]", out, require_writable=True)
    _check(lib.sa_fixed_decode_u64(_lanes(sums), len(sums), total_weight, clip, bits, to), "fixed_point_decode")
    return out


def protect_fixed_into(
    x: Array,
    clip: float,
    bits: int,
    weight: int,
    rounding_key: bytes | None,
    keys: npt.NDArray[np.uint8],
    signs: npt.NDArray[np.int8],
    stream_id: int,
    start: int,
    w: int,
    out: npt.NDArray[np.uint8],
) -> int:
    """Encodes, masks and packs into `out`, all zero after NaN or infinity; returns how many values were clipped."""
    clipped = ffi.new("uint64_t *")
    code = _PROTECT[x.itemsize](
        _reals(x),
        len(x),
        clip,
        bits,
        weight,
        key_in(rounding_key),
        *_masks(keys, signs),
        stream_id,
        start,
        w,
        _out(out),
        len(out),
        *_scratch(keys),
        clipped,
    )
    _check(code, "protect_fixed")
    return int(clipped[0])


def mask_pack_into(
    values: Array,
    keys: npt.NDArray[np.uint8],
    signs: npt.NDArray[np.int8],
    stream_id: int,
    start: int,
    w: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Masks and packs `values`, which stay, into `out`."""
    code = _MASK_PACK[values.itemsize](
        _lanes(values), len(values), *_masks(keys, signs), stream_id, start, w, _out(out), len(out), *_scratch(keys)
    )
    _check(code, "mask_pack")


def pack(values: Array, w: int) -> bytes:
    """LSB-first packing of w-bit values into ``ceil(len(values) * w / 8)`` bytes."""
    out = np.empty((len(values) * w + 7) // 8, np.uint8)
    _check(_PACK[values.itemsize](_lanes(values), len(values), w, _out(out), len(out)), "pack")
    return out.tobytes()


def unpack(buf: bytes | bytearray | memoryview, w: int, count: int) -> Array:
    """The lane array of `count` values packed in `buf`."""
    out = _empty_lanes(count, w)
    packed = _in(buf, "uint8_t")
    _check(_UNPACK[out.itemsize](packed, len(packed), w, _out(out), count), "unpack")
    return out


def unpack_add(acc: Array, buf: bytes | bytearray | memoryview, w: int) -> None:
    """``acc = (acc + unpack(buf)) mod 2^w``; `acc` is as it was after an error."""
    packed = _in(buf, "uint8_t")
    _check(_UNPACK_ADD[acc.itemsize](_out(acc), len(acc), packed, len(packed), w), "unpack_add")


def unpack_add_many(acc: Array, bufs: Sequence[bytes | bytearray | memoryview], w: int) -> None:
    """``acc = (acc + unpack(buf) + ...) mod 2^w`` for buffers of one length; `acc` is as it was after an error."""
    views = [_in(buf, "uint8_t") for buf in bufs]
    pointers = ffi.new("uint8_t *[]", views)
    many = ffi.cast("uint8_t const *const *", pointers)
    code = _UNPACK_ADD_MANY[acc.itemsize](_out(acc), len(acc), many, len(views), len(views[0]), w)
    _check(code, "unpack_add_many")


def add_mod(acc: Array, other: Array, w: int) -> None:
    """``acc = (acc + other) mod 2^w``, in place."""
    _check(_ADD[acc.itemsize](_out(acc), _lanes(other), len(acc), w), "add_mod")


def shamir_split(secrets: U64, coeffs: U64, xs: U64) -> U64:
    """Shares of every secret at every x: constant time in secrets and coefficients."""
    shares = np.empty((len(xs), len(secrets)), np.uint64)
    code = lib.sa_shamir_split_u64(
        _lanes(secrets), len(secrets), _lanes(coeffs), len(coeffs) + 1, _lanes(xs), len(xs), _out(shares)
    )
    _check(code, "shamir_split")
    return shares


def shamir_weights(xs: U64) -> U64:
    """The Lagrange basis at 0 of these points."""
    weights, scratch = np.empty(len(xs), np.uint64), np.empty(len(xs), np.uint64)
    _check(lib.sa_shamir_weights_u64(_lanes(xs), len(xs), _out(weights), _out(scratch)), "shamir_weights")
    return weights


def shamir_combine(weights: U64, shares: U64) -> U64:
    """``sum_j weights[j] * shares[j] mod p`` for every column of shares."""
    out = np.empty(shares.shape[1], np.uint64)
    code = lib.sa_shamir_combine_u64(_lanes(weights), len(weights), _lanes(shares), len(out), _out(out))
    _check(code, "shamir_combine")
    return out


def residues_add(acc: U64, bufs: Sequence[memoryview], moduli: U64) -> None:
    """Add each row's buffers to it, every residue modulo its prime; `acc` is as it was after an error."""
    rows, npolys, nmoduli, n = acc.shape
    pointers = ffi.new("uint8_t *[]", [_in(buf, "uint8_t") for buf in bufs])
    many = ffi.cast("uint8_t const *const *", pointers)
    depth = len(bufs) // rows
    code = lib.sa_residues_add_u64(_out(acc), rows, many, depth, n, _lanes(moduli), nmoduli, npolys)
    if code == lib.SA_ERR_VALUE:
        raise InputError("residues_add: a residue is not below its modulus")
    _check(code, "residues_add")


def ct_equal(a: bytes, b: bytes) -> bool:
    """Whether both are equal; for equal lengths the time depends on the length alone."""
    return len(a) == len(b) and bool(lib.sa_ct_equal(_in(a, "uint8_t"), _in(b, "uint8_t"), len(a)))
