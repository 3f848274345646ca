"""The kernels' one contract: what a caller may pass, checked once for every implementation behind it.

Shapes, types, lengths and public values are checked here. What needs a pass over the data (a value that does not fit its
width, NaN, a limb outside the field) is refused by the implementation itself in that pass, with the same errors.
"""

from __future__ import annotations

import operator
import sys
from numbers import Real
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError

__all__ = ["KEY_BYTES", "Backend", "Buffer", "Kernels", "Lanes", "U64", "lane_dtype"]

Lanes: TypeAlias = npt.NDArray[Any]
U64: TypeAlias = npt.NDArray[np.uint64]
Buffer: TypeAlias = bytes | bytearray | memoryview

KEY_BYTES = 16
BLOCK_BYTES = 16
U64_END = 1 << 64
MIN_CLIP, MAX_CLIP = 1e-280, 1e280
LANES = tuple(np.dtype(t) for t in (np.uint16, np.uint32, np.uint64))
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Backend(Protocol):
    """What an implementation provides; arguments arrive checked by `Kernels`."""

    def mask_apply(
        self, acc: Lanes, keys: npt.NDArray[np.uint8], signs: npt.NDArray[np.int8], stream_id: int, start: int, w: int
    ) -> None: ...
    def keystream(self, key: bytes, stream_id: int, start_block: int, nbytes: int) -> bytes: ...
    def fixed_point_encode(
        self,
        x: npt.NDArray[Any],
        clip: float,
        bits: int,
        out: Lanes,
        key: bytes | None,
        stream_id: int,
        start: int,
        weight: int,
    ) -> int: ...
    def pack(self, values: Lanes, w: int) -> bytes: ...
    def unpack(self, buf: memoryview, w: int, count: int) -> Lanes: ...
    def unpack_add(self, acc: Lanes, buf: memoryview, w: int) -> None: ...
    def add_mod(self, acc: Lanes, other: Lanes, w: int) -> None: ...
    def shamir_split(self, secrets: U64, coeffs: U64, xs: U64) -> U64: ...
    def shamir_weights(self, xs: U64) -> U64: ...
    def shamir_combine(self, weights: U64, shares: U64) -> U64: ...
    def ct_equal(self, a: bytes, b: bytes) -> bool: ...


def _integer(name: str, value: int, low: int, end: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not low <= number < end:
        raise InputError(f"{name} must be at least {low} and below {end}")
    return number


def _array(name: str, array: npt.NDArray[Any], dtypes: tuple[np.dtype[Any], ...], ndim: int = 1) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} must be a numpy array, not {type(array).__name__}")
    if array.dtype not in dtypes:
        raise InputError(f"{name} must have dtype {' or '.join(map(str, dtypes))}, not {array.dtype}")
    if array.ndim != ndim:
        raise InputError(f"{name} must have {ndim} dimension(s), not {array.ndim}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise InputError(f"{name} must be C-contiguous and aligned: pass a copy")


def _writable(name: str, array: npt.NDArray[Any]) -> None:
    if not array.flags.writeable:
        raise InputError(f"{name} is written in place but is read-only")


def _apart(name: str, array: npt.NDArray[Any], other: npt.NDArray[Any] | memoryview) -> None:
    if np.may_share_memory(array, np.asarray(other)):
        raise InputError(f"{name} must not share memory with another argument")


def _same_length(first: str, a: npt.NDArray[Any], second: str, b: npt.NDArray[Any]) -> None:
    if len(a) != len(b):
        raise InputError(f"{first} and {second} must have the same length, not {len(a)} and {len(b)}")


def _bytes(name: str, value: bytes, length: int | None = None) -> None:
    if not isinstance(value, bytes | bytearray):
        raise InputError(f"{name} must be bytes, not {type(value).__name__}")
    if length is not None and len(value) != length:
        raise InputError(f"{name} must be {length} bytes long, not {len(value)}")


def _span(start: int, count: int) -> int:
    start = _integer("start", start, 0, U64_END)
    if start + count > U64_END:
        raise InputError("start plus the number of values must not exceed 2^64")
    return start


def _lanes(name: str, array: Lanes, w: int) -> int:
    w = _integer("w", w, 1, 65)
    _array(name, array, (lane_dtype(w),))
    return w


def _packed(buf: Buffer, w: int, count: int) -> memoryview:
    try:
        view = memoryview(buf)
    except TypeError:
        raise InputError(f"buf must be bytes-like, not {type(buf).__name__}") from None
    if not view.c_contiguous:
        raise InputError("buf must be contiguous: pass a copy")
    needed = (count * w + 7) // 8
    if view.nbytes != needed:
        raise InputError(f"buf must be {needed} bytes long for {count} values of {w} bits, not {view.nbytes}")
    if needed == 0:
        return memoryview(b"")
    view = view.cast("B")
    used = count * w % 8
    if used and view[-1] >> used:
        raise InputError("buf has padding bits that are not zero")
    return view


def _fixed_point(clip: float, bits: int) -> tuple[float, int]:
    bits = _integer("bits", bits, 1, 33)
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
    w = _integer("w", w, 1, 65)
    return LANES[(w > 16) + (w > 32)]


class Kernels:
    """Every kernel of one implementation, behind the checks.

    All methods raise `InputError` on misuse and leave their arguments as they were, except where said. Every
    implementation gives the same bytes. A lane array is 1-D, C-contiguous and of dtype `lane_dtype(w)`.

    Parameters
    ----------
    backend : Backend
        The implementation.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def mask_apply(
        self, acc: Lanes, keys: npt.NDArray[np.uint8], signs: npt.NDArray[np.int8], stream_id: int, start: int, w: int
    ) -> None:
        """Add every key's mask to `acc` in place: acc[i] + sum_k signs[k] * KS_k[start + i] mod 2^w.

        Parameters
        ----------
        acc : ndarray of lanes, shape (n,)
            Changed in place; secret until every mask is on.
        keys : ndarray of uint8, shape (k, 16)
            AES-128 keys; secret.
        signs : ndarray of int8, shape (k,)
            +1 or -1 each.
        stream_id : int
            Upper half of the counter block, below 2^64.
        start : int
            Index of acc[0] in the stream, any value.
        w : int
            Width in bits, 1 to 64.

        Notes
        -----
        KS_k is the AES-128-CTR keystream from counter 0, read as little-endian lanes. One pass over `acc` for all keys;
        extra memory is one key schedule per key (native) or a fixed chunk (fallback). Native: constant time in keys and
        `acc`. The fallback makes no such claim.

        References
        ----------
        NIST SP 800-38A, section 6.5.
        """
        w = _lanes("acc", acc, w)
        _writable("acc", acc)
        _array("keys", keys, (np.dtype(np.uint8),), 2)
        _array("signs", signs, (np.dtype(np.int8),))
        _same_length("keys", keys, "signs", signs)
        if keys.shape[1] != KEY_BYTES:
            raise InputError(f"keys must have shape (k, {KEY_BYTES})")
        if not bool(np.all((signs == 1) | (signs == -1))):
            raise InputError("signs must be +1 or -1")
        stream_id = _integer("stream_id", stream_id, 0, U64_END)
        self._backend.mask_apply(acc, keys, signs, stream_id, _span(start, len(acc)), w)

    def keystream(self, key: bytes, stream_id: int, start_block: int, nbytes: int) -> bytes:
        """The AES-128-CTR keystream of (key, stream_id), `nbytes` long, from 16-byte block `start_block` on.

        Parameters
        ----------
        key : bytes
            16 bytes; secret.
        stream_id, start_block : int
            The two big-endian halves of the first counter block; the counter may not pass 2^64.
        nbytes : int
            Length of the result.

        Returns
        -------
        bytes
            The keystream; secret.
        """
        _bytes("key", key, KEY_BYTES)
        stream_id = _integer("stream_id", stream_id, 0, U64_END)
        start_block = _integer("start_block", start_block, 0, U64_END)
        nbytes = _integer("nbytes", nbytes, 0, sys.maxsize)
        if start_block + -(-nbytes // BLOCK_BYTES) > U64_END:
            raise InputError("the block counter must not pass 2^64")
        return self._backend.keystream(key, stream_id, start_block, nbytes)

    def fixed_point_encode(
        self,
        x: npt.NDArray[Any],
        clip: float,
        bits: int,
        out: Lanes,
        key: bytes | None,
        stream_id: int,
        start: int,
        weight: int,
    ) -> int:
        """Write `weight` times the fixed-point code of `x` into `out`, modulo the lane.

        Parameters
        ----------
        x : ndarray of float32 or float64, shape (n,)
            Values; beyond [-clip, clip] they are clipped and counted. Secret.
        clip : float
            Bound of the range, positive.
        bits : int
            Codes run from 0 to 2^bits - 1; 1 to 32.
        out : ndarray of lanes, shape (n,)
            Result; owned by the caller.
        key : bytes or None
            16-byte key of stochastic rounding, or None to round to nearest (half up).
        stream_id, start : int
            Value i rounds by the 32-bit little-endian keystream word start + i of (key, stream_id).
        weight : int
            0 to 2^64 - 1.

        Returns
        -------
        int
            How many values were clipped.

        Raises
        ------
        InputError
            On misuse, and when `x` holds NaN or infinity: `out` is then unspecified.

        Notes
        -----
        Computed in double precision, every operation rounded on its own, so the result is the same everywhere.
        """
        _array("x", x, FLOATS)
        _array("out", out, LANES)
        _writable("out", out)
        _same_length("x", x, "out", out)
        _apart("out", out, x)
        clip, bits = _fixed_point(clip, bits)
        if key is not None:
            _bytes("key", key, KEY_BYTES)
        stream_id = _integer("stream_id", stream_id, 0, U64_END)
        weight = _integer("weight", weight, 0, U64_END)
        return self._backend.fixed_point_encode(x, clip, bits, out, key, stream_id, _span(start, len(x)), weight)

    def fixed_point_decode(self, sums: U64, total_weight: int, clip: float, bits: int) -> npt.NDArray[np.float64]:
        """The sum of weighted values that a sum of codes stands for: sums * (2 * clip / levels) - total_weight * clip.

        Parameters
        ----------
        sums : ndarray of uint64, shape (n,)
            Sums of codes, each already multiplied by its weight.
        total_weight : int
            Sum of those weights, 0 to 2^64 - 1.
        clip, bits : float, int
            As in `fixed_point_encode`.

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        _array("sums", sums, LANES[2:])
        clip, bits = _fixed_point(clip, bits)
        total_weight = _integer("total_weight", total_weight, 0, U64_END)
        values = sums.astype(np.float64)
        values *= 2.0 * clip / ((1 << bits) - 1)
        values -= float(total_weight) * clip
        return values

    def pack(self, values: Lanes, w: int) -> bytes:
        """`values` packed to `w` bits each, lowest bit first, ceil(n * w / 8) bytes, zero bits at the end.

        Raises
        ------
        InputError
            On misuse, and when some value is 2^w or more.
        """
        w = _lanes("values", values, w)
        return self._backend.pack(values, w)

    def unpack(self, buf: Buffer, w: int, count: int) -> Lanes:
        """The `count` lanes of `w` bits that `pack` wrote; wrong length and padding bits that are not zero are refused."""
        w = _integer("w", w, 1, 65)
        count = _integer("count", count, 0, sys.maxsize)
        return self._backend.unpack(_packed(buf, w, count), w, count)

    def unpack_add(self, acc: Lanes, buf: Buffer, w: int) -> None:
        """Add the packed lanes of `buf` to `acc` in place, modulo 2^w; `acc` is unchanged when `buf` is refused."""
        w = _lanes("acc", acc, w)
        _writable("acc", acc)
        view = _packed(buf, w, len(acc))
        _apart("acc", acc, view)
        self._backend.unpack_add(acc, view, w)

    def add_mod(self, acc: Lanes, other: Lanes, w: int) -> None:
        """Add `other` to `acc` in place, lane by lane, modulo 2^w."""
        w = _lanes("acc", acc, w)
        _writable("acc", acc)
        _lanes("other", other, w)
        _same_length("acc", acc, "other", other)
        _apart("acc", acc, other)
        self._backend.add_mod(acc, other, w)

    def shamir_split(self, secrets: U64, coeffs: U64, xs: U64) -> U64:
        """Shares of `m` secrets over p = 2^61 - 1 for every point of `xs`.

        Parameters
        ----------
        secrets : ndarray of uint64, shape (m,)
            The constant terms, below p; secret.
        coeffs : ndarray of uint64, shape (t - 1, m)
            Coefficients of degree 1 first, below p; secret, uniform, used once.
        xs : ndarray of uint64, shape (n,)
            Points, from 1 to p - 1; public.

        Returns
        -------
        ndarray of uint64, shape (n, m)

        Notes
        -----
        n * m * t multiplications. Native: constant time in secrets and coefficients.

        References
        ----------
        Shamir, How to share a secret, CACM 1979.
        """
        _array("secrets", secrets, LANES[2:])
        _array("coeffs", coeffs, LANES[2:], 2)
        _array("xs", xs, LANES[2:])
        if coeffs.shape[1] != len(secrets):
            raise InputError("coeffs must have one column for each secret")
        # A share at 0 is the secret itself.
        if not bool(np.all(xs)):
            raise InputError("xs must not contain 0")
        return self._backend.shamir_split(secrets, coeffs, xs)

    def shamir_weights(self, xs: U64) -> U64:
        """The Lagrange basis at 0 of the distinct, nonzero points `xs`, uint64 of shape (t,); everything is public."""
        _array("xs", xs, LANES[2:])
        if len(xs) == 0 or not bool(np.all(xs)) or len(np.unique(xs)) != len(xs):
            raise InputError("xs must be distinct points other than 0, at least one")
        return self._backend.shamir_weights(xs)

    def shamir_combine(self, weights: U64, shares: U64) -> U64:
        """sum_j weights[j] * shares[j] mod p: the `m` secrets, from uint64 `weights` (t,) and `shares` (t, m) below p."""
        _array("weights", weights, LANES[2:])
        _array("shares", shares, LANES[2:], 2)
        _same_length("weights", weights, "shares", shares)
        if len(weights) == 0:
            raise InputError("weights must not be empty")
        return self._backend.shamir_combine(weights, shares)

    def ct_equal(self, a: bytes, b: bytes) -> bool:
        """Whether `a` and `b` are the same bytes, in time that depends on their lengths alone."""
        _bytes("a", a)
        _bytes("b", b)
        return len(a) == len(b) and self._backend.ct_equal(a, b)
