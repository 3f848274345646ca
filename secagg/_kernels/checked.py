"""The kernels' one contract: what a caller may pass, checked once for every implementation behind it.

Shapes, types, lengths and public values are checked here. What needs a pass over the data (a value that does
not fit its width, NaN, a limb outside the field) is refused by the implementation itself in that pass, with the
same errors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg._kernels.checks import (
    BLOCK_BYTES,
    FLOATS,
    KEY_BYTES,
    LANES,
    U64,
    U64_END,
    WORDS,
    Buffer,
    Lanes,
    require_apart,
    require_array,
    require_bytes,
    require_fixed_point,
    require_integer,
    require_keys,
    require_lanes,
    require_packed,
    require_same_length,
    require_span,
    require_writable,
)
from secagg._kernels.hints import Hints
from secagg._kernels.residues import Residues
from secagg._kernels.rings import Rings
from secagg._kernels.uploads import Uploads
from secagg.errors import InputError

__all__ = ["Kernels"]


class Kernels(Uploads, Rings, Hints, Residues):
    """Every kernel of one implementation, behind the checks.

    All methods raise `InputError` on misuse and leave their arguments as they were, except where said. Every
    implementation gives the same bytes. A lane array is 1-D, C-contiguous and of dtype `lane_dtype(w)`.

    Parameters
    ----------
    backend : Backend
        The implementation.
    """

    def mask_apply(
        self,
        acc: Lanes,
        keys: npt.NDArray[np.uint8],
        signs: npt.NDArray[np.int8],
        stream_id: int,
        start: int,
        w: int,
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
        KS_k is the AES-128-CTR keystream from counter 0, read as little-endian lanes. One pass over `acc` for
        all keys; extra memory is one key schedule per key, and in the fallback a fixed chunk. Native: constant
        time in keys and `acc`. The fallback makes no such claim.

        References
        ----------
        NIST SP 800-38A, section 6.5.
        """
        w = require_lanes("acc", acc, w)
        require_writable("acc", acc)
        require_keys(keys, signs)
        stream_id = require_integer("stream_id", stream_id, 0, U64_END)
        self._backend.mask_apply(acc, keys, signs, stream_id, require_span(start, len(acc)), w)

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
        require_bytes("key", key, KEY_BYTES)
        stream_id = require_integer("stream_id", stream_id, 0, U64_END)
        start_block = require_integer("start_block", start_block, 0, U64_END)
        nbytes = require_integer("nbytes", nbytes, 0, sys.maxsize)
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
        In double precision, every operation rounded on its own, so that the result is the same everywhere; but where another
        library has made the processor take denormal numbers for zero, codes of clips below about 1e-22 may differ.
        """
        require_array("x", x, FLOATS)
        require_array("out", out, LANES)
        require_writable("out", out)
        require_same_length("x", x, "out", out)
        require_apart("out", out, x)
        clip, bits = require_fixed_point(clip, bits)
        if key is not None:
            require_bytes("key", key, KEY_BYTES)
        stream_id = require_integer("stream_id", stream_id, 0, U64_END)
        weight = require_integer("weight", weight, 0, U64_END)
        return self._backend.fixed_point_encode(x, clip, bits, out, key, stream_id, require_span(start, len(x)), weight)

    def fixed_point_decode(self, sums: U64, total_weight: int, clip: float, bits: int) -> npt.NDArray[np.float64]:
        """What a sum of codes stands for: sums * (2 * clip / levels) - total_weight * clip.

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

        Notes
        -----
        Sums are rounded to double first; no operation is fused, so that the result is the same everywhere.
        """
        require_array("sums", sums, WORDS)
        clip, bits = require_fixed_point(clip, bits)
        total_weight = require_integer("total_weight", total_weight, 0, U64_END)
        return self._backend.fixed_point_decode(sums, total_weight, clip, bits)

    def pack(self, values: Lanes, w: int) -> bytes:
        """`values` packed to `w` bits each, lowest bit first, ceil(n * w / 8) bytes, zero bits at the end.

        Raises
        ------
        InputError
            On misuse, and when some value is 2^w or more.
        """
        w = require_lanes("values", values, w)
        return self._backend.pack(values, w)

    def unpack(self, buf: Buffer, w: int, count: int) -> Lanes:
        """The `count` lanes of `w` bits that `pack` wrote into `buf`.

        Raises
        ------
        InputError
            On misuse, a wrong length, and padding bits that are not zero.
        """
        w = require_integer("w", w, 1, 65)
        count = require_integer("count", count, 0, sys.maxsize)
        return self._backend.unpack(require_packed(buf, w, count), w, count)

    def unpack_add(self, acc: Lanes, buf: Buffer, w: int) -> None:
        """Add the packed lanes of `buf` to `acc` in place, modulo 2^w; `acc` stays when `buf` is refused."""
        w = require_lanes("acc", acc, w)
        require_writable("acc", acc)
        view = require_packed(buf, w, len(acc))
        require_apart("acc", acc, view)
        self._backend.unpack_add(acc, view, w)

    def unpack_add_many(self, acc: Lanes, bufs: Sequence[Buffer], w: int) -> None:
        """Add the packed lanes of every buffer to `acc` in place, modulo 2^w, in one pass over `acc`.

        `acc` stays when any buffer is refused.
        """
        w = require_lanes("acc", acc, w)
        require_writable("acc", acc)
        views = [require_packed(buf, w, len(acc)) for buf in bufs]
        for view in views:
            require_apart("acc", acc, view)
        if views:
            self._backend.unpack_add_many(acc, views, w)

    def add_mod(self, acc: Lanes, other: Lanes, w: int) -> None:
        """Add `other` to `acc` in place, lane by lane, modulo 2^w."""
        w = require_lanes("acc", acc, w)
        require_writable("acc", acc)
        require_lanes("other", other, w)
        require_same_length("acc", acc, "other", other)
        require_apart("acc", acc, other)
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
        require_array("secrets", secrets, WORDS)
        require_array("coeffs", coeffs, WORDS, 2)
        require_array("xs", xs, WORDS)
        if coeffs.shape[1] != len(secrets):
            raise InputError("coeffs must have one column for each secret")
        # A share at 0 is the secret itself.
        if not bool(np.all(xs)):
            raise InputError("xs must not contain 0")
        return self._backend.shamir_split(secrets, coeffs, xs)

    def shamir_weights(self, xs: U64) -> U64:
        """The Lagrange basis at 0, uint64 of shape (t,), of as many distinct nonzero points `xs` below p.

        Everything is public; t * t multiplications.
        """
        require_array("xs", xs, WORDS)
        if len(xs) == 0 or not bool(np.all(xs)) or len(np.unique(xs)) != len(xs):
            raise InputError("xs must be distinct points other than 0, at least one")
        return self._backend.shamir_weights(xs)

    def shamir_combine(self, weights: U64, shares: U64) -> U64:
        """The `m` secrets sum_j weights[j] * shares[j] mod p.

        Both are uint64 and below p: `weights`, public, of shape (t,) from `shamir_weights`; `shares`, secret, of
        shape (t, m). Native: constant time in the shares.
        """
        require_array("weights", weights, WORDS)
        require_array("shares", shares, WORDS, 2)
        require_same_length("weights", weights, "shares", shares)
        if len(weights) == 0:
            raise InputError("weights must not be empty")
        return self._backend.shamir_combine(weights, shares)

    def ct_equal(self, a: bytes, b: bytes) -> bool:
        """Whether `a` and `b` are the same bytes, in time that depends on their lengths alone."""
        require_bytes("a", a)
        require_bytes("b", b)
        return len(a) == len(b) and self._backend.ct_equal(a, b)
