"""The kernels without the C module: pycryptodome's AES, numpy, and numba loops where numpy needs many passes.

The same bytes as the C module, checked by the same tests; no claim of constant time, and secrets are wiped only
where numpy owns the buffer. Arguments arrive checked by `Kernels`. Vectors are worked through in chunks, so the
extra memory does not grow with them.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from Crypto.Cipher import AES

from secagg._kernels.checks import BLOCK_BYTES, U64, Lanes, lane_dtype
from secagg.errors import InputError

__all__ = [
    "add_mod",
    "ct_equal",
    "fixed_point_decode",
    "fixed_point_encode",
    "keystream",
    "mask_apply",
    "mask_pack_into",
    "pack",
    "protect_fixed_into",
    "residues_add",
    "shamir_combine",
    "shamir_split",
    "shamir_weights",
    "unpack",
    "unpack_add",
    "unpack_add_many",
]

P = (1 << 61) - 1
CHUNK_BYTES = 1 << 18
# Values at a time for encoding and packing; a multiple of 64, so that every chunk of any width starts on a word.
CHUNK_VALUES = 1 << 14
UPLOAD_VALUES = 1 << 16


@functools.cache
def _loops() -> ModuleType:
    # numba takes most of a second to import: only when a loop is needed.
    from secagg._kernels import fallback_loops

    return fallback_loops


class _Stream:
    """The keystream of one key and stream id, read in order from any byte on."""

    def __init__(self, key: bytes, stream_id: int, start_byte: int) -> None:
        block, skip = divmod(start_byte, BLOCK_BYTES)
        self._cipher = AES.new(key, AES.MODE_CTR, nonce=stream_id.to_bytes(8, "big"), initial_value=block)
        if skip:
            self._cipher.encrypt(bytes(skip))

    def read_into(self, out: memoryview) -> None:
        self._cipher.encrypt(_ZEROS[: len(out)], output=out)


_ZEROS = memoryview(bytes(CHUNK_BYTES))


def _mod_mask(w: int) -> np.unsignedinteger[Any]:
    mask: np.unsignedinteger[Any] = lane_dtype(w).type((1 << w) - 1)
    return mask


def mask_apply(
    acc: Lanes, keys: npt.NDArray[np.uint8], signs: npt.NDArray[np.int8], stream_id: int, start: int, w: int
) -> None:
    """Add every key's mask to `acc` in place; see `Kernels.mask_apply`."""
    lane = acc.dtype.itemsize
    streams = [_Stream(key.tobytes(), stream_id, start * lane) for key in keys]
    steps = [np.add if sign > 0 else np.subtract for sign in signs.tolist()]
    masks = np.empty(min(len(acc), CHUNK_BYTES // lane), dtype=acc.dtype.newbyteorder("<"))
    raw = masks.view(np.uint8).data
    for low in range(0, len(acc), len(masks) or 1):
        part = acc[low : low + len(masks)]
        for stream, step in zip(streams, steps, strict=True):
            stream.read_into(raw[: part.nbytes])
            step(part, masks[: len(part)], out=part)
        part &= _mod_mask(w)
    masks.fill(0)


def keystream(key: bytes, stream_id: int, start_block: int, nbytes: int) -> bytes:
    """Raw keystream from a block on; see `Kernels.keystream`."""
    out = bytearray(nbytes)
    stream = _Stream(key, stream_id, start_block * BLOCK_BYTES)
    view = memoryview(out)
    for low in range(0, nbytes, CHUNK_BYTES):
        stream.read_into(view[low : low + CHUNK_BYTES])
    result = bytes(out)
    view[:] = bytes(nbytes)
    return result


def fixed_point_encode(
    x: npt.NDArray[Any],
    clip: float,
    bits: int,
    out: Lanes,
    key: bytes | None,
    stream_id: int,
    start: int,
    weight: int,
) -> int:
    """Weighted fixed-point codes of `x`; see `Kernels.fixed_point_encode`."""
    loops = _loops()
    stream = None if key is None else _Stream(key, stream_id, start * 4)
    levels = float((1 << bits) - 1)
    scale = levels / (2.0 * clip)
    size = min(len(x), CHUNK_VALUES)
    values, codes, words = np.empty(size), np.empty(size, np.uint32), np.empty(size, np.dtype("<u4"))
    factor = out.dtype.type(weight & int(np.iinfo(out.dtype).max))
    clipped = 0
    for low in range(0, len(x), CHUNK_VALUES):
        part = out[low : low + CHUNK_VALUES]
        n = len(part)
        values[:n] = x[low : low + n]
        if stream is None:
            found = loops.encode_nearest(values[:n], clip, scale, levels, codes)
        else:
            stream.read_into(words[:n].view(np.uint8).data)
            found = loops.encode_stochastic(values[:n], clip, scale, levels, words, codes)
        if found < 0:
            raise InputError("x holds NaN or infinity")
        clipped += found
        part[:] = codes[:n]
        part *= factor
    for scratch in (values, codes, words):
        scratch.fill(0)
    return clipped


def fixed_point_decode(sums: U64, total_weight: int, clip: float, bits: int) -> npt.NDArray[np.float64]:
    """Sums of codes as doubles; see `Kernels.fixed_point_decode`."""
    values = sums.astype(np.float64)
    values *= 2.0 * clip / ((1 << bits) - 1)
    values -= float(total_weight) * clip
    return values


def protect_fixed_into(
    x: npt.NDArray[Any],
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
    """Encode, mask and pack; see `Kernels.protect_fixed_into`."""
    lanes = np.empty(min(len(x), UPLOAD_VALUES), dtype=lane_dtype(w))
    clipped = 0
    try:
        for low in range(0, len(x), UPLOAD_VALUES):
            values = x[low : low + UPLOAD_VALUES]
            part, at = lanes[: len(values)], low * w // 8
            clipped += fixed_point_encode(values, clip, bits, part, rounding_key, stream_id, start + low, weight)
            _mask_pack(part, keys, signs, stream_id, start + low, w, out[at : at + (len(part) * w + 7) // 8])
    except InputError:
        out.fill(0)
        raise
    finally:
        lanes.fill(0)
    return clipped


def mask_pack_into(
    values: Lanes,
    keys: npt.NDArray[np.uint8],
    signs: npt.NDArray[np.int8],
    stream_id: int,
    start: int,
    w: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Mask and pack, leaving `values`; see `Kernels.mask_pack_into`."""
    for low in range(0, len(values), UPLOAD_VALUES):
        part, at = values[low : low + UPLOAD_VALUES].copy(), low * w // 8
        _mask_pack(part, keys, signs, stream_id, start + low, w, out[at : at + (len(part) * w + 7) // 8])


def _mask_pack(
    part: Lanes,
    keys: npt.NDArray[np.uint8],
    signs: npt.NDArray[np.int8],
    stream_id: int,
    start: int,
    w: int,
    out: npt.NDArray[np.uint8],
) -> None:
    mask_apply(part, keys, signs, stream_id, start, w)
    out[:] = np.frombuffer(pack(part, w), np.uint8)
    part.fill(0)


def pack(values: Lanes, w: int) -> bytes:
    """Bits of `values`, lowest first; see `Kernels.pack`."""
    if int(np.bitwise_or.reduce(values)) >> w:
        raise InputError(f"a value does not fit {w} bits")
    if w == values.dtype.itemsize * 8:
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    words: npt.NDArray[np.uint64] = np.zeros(-(-len(values) * w // 64), dtype="<u8")
    for low in range(0, len(values), CHUNK_VALUES):
        part = values[low : low + CHUNK_VALUES].astype(np.uint64)
        _loops().pack(part, w, words[low * w // 64 :])
    return words.view(np.uint8)[: (len(values) * w + 7) // 8].tobytes()


def _unpack_chunk(buf: memoryview, w: int, low: int, n: int) -> U64:
    words: npt.NDArray[np.uint64] = np.zeros(-(-n * w // 64) + 1, dtype="<u8")
    raw = np.frombuffer(buf, dtype=np.uint8)[low * w // 8 : ((low + n) * w + 7) // 8]
    words.view(np.uint8)[: len(raw)] = raw
    values = np.empty(n, dtype=np.uint64)
    _loops().unpack(words, w, values)
    return values


def unpack(buf: memoryview, w: int, count: int) -> Lanes:
    """Lanes of `w` bits; see `Kernels.unpack`."""
    dtype = lane_dtype(w)
    if w == dtype.itemsize * 8:
        return np.frombuffer(buf, dtype=dtype.newbyteorder("<")).astype(dtype)
    out = np.empty(count, dtype=dtype)
    for low in range(0, count, CHUNK_VALUES):
        part = out[low : low + CHUNK_VALUES]
        part[:] = _unpack_chunk(buf, w, low, len(part))
    return out


def unpack_add(acc: Lanes, buf: memoryview, w: int) -> None:
    """Add packed lanes to `acc`; see `Kernels.unpack_add`."""
    if w == acc.dtype.itemsize * 8:
        acc += np.frombuffer(buf, dtype=acc.dtype.newbyteorder("<"))
        return
    for low in range(0, len(acc), CHUNK_VALUES):
        part = acc[low : low + CHUNK_VALUES]
        part += _unpack_chunk(buf, w, low, len(part)).astype(acc.dtype)
        part &= _mod_mask(w)


def unpack_add_many(acc: Lanes, bufs: Sequence[memoryview], w: int) -> None:
    """Add several buffers of packed lanes to `acc`; see `Kernels.unpack_add_many`."""
    for buf in bufs:
        unpack_add(acc, buf, w)


def add_mod(acc: Lanes, other: Lanes, w: int) -> None:
    """Add `other` to `acc`; see `Kernels.add_mod`."""
    acc += other
    acc &= _mod_mask(w)


def _require_field(*arrays: U64) -> None:
    for array in arrays:
        if array.size and int(array.max()) >= P:
            raise InputError("an element is not below p = 2^61 - 1")


def shamir_split(secrets: U64, coeffs: U64, xs: U64) -> U64:
    """Shares for every point; see `Kernels.shamir_split`."""
    _require_field(secrets, coeffs, xs)
    shares = np.empty((len(xs), len(secrets)), dtype=np.uint64)
    _loops().split(np.concatenate((secrets[np.newaxis], coeffs)), xs, shares)
    return shares


def shamir_weights(xs: U64) -> U64:
    """Lagrange basis at 0; see `Kernels.shamir_weights`."""
    _require_field(xs)
    weights = np.empty_like(xs)
    _loops().weights(xs, weights)
    return weights


def shamir_combine(weights: U64, shares: U64) -> U64:
    """Weighted sum of shares; see `Kernels.shamir_combine`."""
    _require_field(weights, shares)
    out = np.zeros(shares.shape[1], dtype=np.uint64)
    _loops().combine(weights, shares, out)
    return out


def residues_add(acc: U64, bufs: Sequence[memoryview], moduli: U64) -> None:
    """Add residues modulo their primes; see `Kernels.residues_add`."""
    shape, primes = acc.shape[1:], moduli[np.newaxis, :]
    parts = [np.frombuffer(buf, dtype="<u8").reshape(shape) for buf in bufs]
    if any(bool(np.any(part.max(axis=2) >= primes)) for part in parts):
        raise InputError("residues_add: a residue is not below its modulus")
    depth = len(parts) // len(acc)
    for i, part in enumerate(parts):
        row = acc[i // depth]
        total = row + part
        # Of the sum and the sum less q, the one that did not wrap is the lesser.
        np.minimum(total, total - moduli[:, np.newaxis], out=row)


def ct_equal(a: bytes, b: bytes) -> bool:
    """Equality of two byte strings of one length; see `Kernels.ct_equal`."""
    return hmac.compare_digest(a, b)
