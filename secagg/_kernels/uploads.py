"""The fused kernels of an upload, and their contract: encode, mask and pack in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from secagg._kernels.backend import Backend
from secagg._kernels.checks import (
    FLOATS,
    KEY_BYTES,
    U64_END,
    Lanes,
    require_apart,
    require_array,
    require_bytes,
    require_fixed_point,
    require_integer,
    require_keys,
    require_lanes,
    require_out,
    require_span,
)

__all__ = ["Uploads"]


class Uploads:
    """The part of `Kernels` that makes whole uploads.

    Parameters
    ----------
    backend : Backend
        The implementation.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def protect_fixed(
        self,
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
    ) -> tuple[bytes, int]:
        """The packed upload of `x`, and how many values were clipped: encode, mask and pack in one pass.

        Parameters
        ----------
        x, clip, bits, weight
            As in `Kernels.fixed_point_encode`.
        rounding_key : bytes or None
            16-byte key of stochastic rounding, or None to round to nearest; its stream is `stream_id` too.
        keys, signs, stream_id, start, w
            As in `Kernels.mask_apply`; value i is number start + i of every stream.

        Returns
        -------
        tuple of bytes and int
            The bytes that `pack` gives after `fixed_point_encode` and `mask_apply`.

        Raises
        ------
        InputError
            On misuse, and when `x` holds NaN or infinity.

        Notes
        -----
        Each value is read once and written once; the lanes exist only a tile at a time, and are wiped.
        """
        require_array("x", x, FLOATS)
        out = np.empty((len(x) * require_integer("w", w, 1, 65) + 7) // 8, np.uint8)
        clipped = self.protect_fixed_into(
            x, clip, bits, weight, rounding_key, keys, signs, stream_id, start, w, out.data
        )
        return out.tobytes(), clipped

    def protect_fixed_into(
        self,
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
        out: bytearray | memoryview,
    ) -> int:
        """Write what `protect_fixed` returns into `out`, exactly ceil(n * w / 8) bytes; how many values were clipped.

        `out` must not overlap `x`; when `x` holds NaN or infinity it is all zero.
        """
        require_array("x", x, FLOATS)
        w = require_integer("w", w, 1, 65)
        to = require_out(out, w, len(x))
        require_apart("out", to, x)
        clip, bits = require_fixed_point(clip, bits)
        if rounding_key is not None:
            require_bytes("rounding_key", rounding_key, KEY_BYTES)
        require_keys(keys, signs)
        stream_id = require_integer("stream_id", stream_id, 0, U64_END)
        weight = require_integer("weight", weight, 0, U64_END)
        start = require_span(start, len(x))
        return self._backend.protect_fixed_into(
            x, clip, bits, weight, rounding_key, keys, signs, stream_id, start, w, to
        )

    def mask_pack(
        self,
        values: Lanes,
        keys: npt.NDArray[np.uint8],
        signs: npt.NDArray[np.int8],
        stream_id: int,
        start: int,
        w: int,
    ) -> bytes:
        """The bytes that `pack` gives after `mask_apply`, in one pass; `values` stay as they are.

        Parameters are those of `Kernels.mask_apply`.
        """
        w = require_lanes("values", values, w)
        out = np.empty((len(values) * w + 7) // 8, np.uint8)
        self.mask_pack_into(values, keys, signs, stream_id, start, w, out.data)
        return out.tobytes()

    def mask_pack_into(
        self,
        values: Lanes,
        keys: npt.NDArray[np.uint8],
        signs: npt.NDArray[np.int8],
        stream_id: int,
        start: int,
        w: int,
        out: bytearray | memoryview,
    ) -> None:
        """Write what `mask_pack` returns into `out`, exactly ceil(n * w / 8) bytes that do not overlap `values`."""
        w = require_lanes("values", values, w)
        to = require_out(out, w, len(values))
        require_apart("out", to, values)
        require_keys(keys, signs)
        stream_id = require_integer("stream_id", stream_id, 0, U64_END)
        start = require_span(start, len(values))
        self._backend.mask_pack_into(values, keys, signs, stream_id, start, w, to)
