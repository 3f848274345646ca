"""Real values as integers of a few bits, with a stated error."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from secagg import _kernels
from secagg.encoding.weights import sum_width, whole
from secagg.errors import InputError, ParameterError

__all__ = ["FixedPoint"]

MAX_BITS = 32
# Far inside double, so that neither the scale nor a sum of 2**64 values leaves its range.
MIN_CLIP, MAX_CLIP = 1e-100, 1e100
KEY_BYTES = 16
EXACT_FLOAT64 = 1 << 53
ARITHMETIC_SLACK = 2.0**-48  # of clip; docs/encoding.md adds up the roundings that it covers


@dataclass(frozen=True)
class FixedPoint:
    """Values in [-clip, clip] become integers in [0, 2**bits - 1].

    Parameters
    ----------
    clip : float
        Largest magnitude that is kept, 1e-100 to 1e100.
    bits : int
        Bits of one encoded value, 1 to 32.
    rounding : {"stochastic", "nearest"}
        ``"stochastic"`` is unbiased (to 2**-32 of a step), so errors of many clients cancel;
        ``"nearest"`` halves the worst case and is biased.
    overflow : {"clip", "refuse"}
        What happens to a value beyond `clip`: it is clipped and counted, or the update is refused.

    Raises
    ------
    ParameterError
        An option is out of range.

    Notes
    -----
    ``q = round((v + clip) * (2**bits - 1) / (2 * clip))``. Error bounds are derived in docs/encoding.md.
    """

    clip: float = 1.0
    bits: int = 16
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    overflow: Literal["clip", "refuse"] = "clip"

    def __post_init__(self) -> None:
        """Settle the types, so that equal encodings have equal hashes."""
        if isinstance(self.clip, bool) or not isinstance(self.clip, int | float | np.integer | np.floating):
            raise ParameterError("clip must be a positive number")
        if not MIN_CLIP <= self.clip <= MAX_CLIP:
            raise ParameterError(f"clip must lie between {MIN_CLIP:g} and {MAX_CLIP:g}")
        object.__setattr__(self, "clip", float(self.clip))
        object.__setattr__(self, "bits", whole("bits", self.bits, 1, MAX_BITS))
        if self.rounding not in ("stochastic", "nearest"):
            raise ParameterError("rounding must be 'stochastic' or 'nearest'")
        if self.overflow not in ("clip", "refuse"):
            raise ParameterError("overflow must be 'clip' or 'refuse'")

    @property
    def value_bits(self) -> int:
        """Bits of one encoded value of weight 1."""
        return self.bits

    @property
    def levels(self) -> int:
        """Largest encoded value of weight 1."""
        return (1 << self.bits) - 1

    @property
    def step(self) -> float:
        """Distance of neighbouring values, ``2 * clip / levels``."""
        return 2.0 * self.clip / self.levels

    def width(self, total_weight: int) -> int:
        """Return the bits of a sum whose weights are at most `total_weight` together.

        Raises
        ------
        ParameterError
            More than 64.
        """
        return sum_width(self.value_bits, total_weight, "FixedPoint")

    def encode(
        self,
        x: NDArray[Any],
        *,
        weight: int,
        w: int,
        key: bytes | None,
        stream_id: int,
        start: int = 0,
        name: str = "update",
    ) -> tuple[NDArray[np.unsignedinteger], int]:
        """Return the encoded values times `weight`, in lanes of `w` bits, and how many were clipped.

        Parameters
        ----------
        x : ndarray, 1-D
            float16/32/64, or integers up to 2**53 in magnitude. Read, never kept. Secret.
        weight : int
            0 or more, with ``weight * levels < 2**w``.
        w : int
            1 to 64.
        key : bytes or None
            16 bytes, secret: the rounding keystream. Unused by ``"nearest"``.
        stream_id, start : int
            The keystream's stream, and the index in it of ``x[0]``.
        name : str
            What errors call `x`.

        Raises
        ------
        ParameterError
            The weighted values do not fit `w` bits.
        InputError
            A dtype that is no real number, NaN or infinity, or values beyond `clip` under ``overflow="refuse"``.
        """
        weight = operator.index(weight)  # a numpy integer would wrap in the check itself
        if not 1 <= w <= 64 or not 0 <= weight * self.levels < 1 << w:
            raise ParameterError(f"values of {self.bits} bits times this weight do not fit w={w} bits")
        out = np.empty(len(x), dtype=_kernels.lane_dtype(w))
        clipped = self.encode_into(x, out, weight=weight, key=key, stream_id=stream_id, start=start, name=name)
        return out, clipped

    def encode_into(
        self,
        x: NDArray[Any],
        out: NDArray[np.unsignedinteger],
        *,
        weight: int,
        key: bytes | None,
        stream_id: int,
        start: int,
        name: str,
    ) -> int:
        """Write the encoded values times `weight` into `out` and return how many were clipped; see `encode`.

        After an error, `out` is unspecified.
        """

        def encode(reals: NDArray[Any], rounding: bytes | None) -> int:
            return _kernels.fixed_point_encode(reals, self.clip, self.bits, out, rounding, stream_id, start, weight)

        return self._guarded(x, key, name, encode)

    def protect_into(
        self,
        x: NDArray[Any],
        out: memoryview,
        masks: tuple[NDArray[np.uint8], NDArray[np.int8]],
        *,
        weight: int,
        key: bytes | None,
        stream_id: int,
        start: int,
        w: int,
        name: str,
    ) -> int:
        """Encode as `encode_into` does, mask and pack in the same pass; return how many values were clipped.

        Parameters
        ----------
        x, weight, key, stream_id, start, name
            As for `encode`. Secret.
        out : memoryview
            Exactly ``ceil(len(x) * w / 8)`` bytes; zeros or unspecified after an error.
        masks : tuple of ndarray
            Keys and signs, from `secagg.hazmat.prg.joined`; their streams are `stream_id` from `start` on too.
        w : int
            Bits of a packed value.
        """
        keys, signs = masks

        def protect(reals: NDArray[Any], rounding: bytes | None) -> int:
            return _kernels.protect_fixed_into(
                reals, self.clip, self.bits, weight, rounding, keys, signs, stream_id, start, w, out
            )

        return self._guarded(x, key, name, protect)

    def _guarded(
        self, x: NDArray[Any], key: bytes | None, name: str, run: Callable[[NDArray[Any], bytes | None], int]
    ) -> int:
        """Return what `run` counts as clipped, having refused what cannot be encoded with an error that says why."""
        reals = _as_reals(x, name)
        if self.rounding == "nearest":
            key = None
        elif not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise InputError(f"stochastic rounding needs a key of {KEY_BYTES} bytes")
        try:
            clipped = run(reals, key)
        except InputError:
            # Only now look for the reason: an extra pass over every good update would cost more than encoding it.
            bad = len(reals) - int(np.count_nonzero(np.isfinite(reals)))
            if bad:
                raise InputError(
                    f"{name}: {bad} of {len(reals)} values are NaN or infinite; clean the update first"
                ) from None
            raise
        if clipped and self.overflow == "refuse":
            raise InputError(
                f"{name}: {clipped} of {len(reals)} values are beyond clip={self.clip:g}; clip the update or raise clip"
            )
        return clipped

    def check(self, x: NDArray[Any], name: str) -> int:
        """Return how many values of `x` will be clipped; raise as `encode_into` would."""
        unused = np.empty(len(x), dtype=_kernels.lane_dtype(self.bits))
        # To nearest, whatever the rounding: which values are beyond the clip does not depend on it.
        nearest = self if self.rounding == "nearest" else replace(self, rounding="nearest")
        return nearest.encode_into(x, unused, weight=1, key=None, stream_id=0, start=0, name=name)

    def decode_sum(self, sums: NDArray[np.uint64], total_weight: int) -> NDArray[np.float64]:
        """Return the sums of weight times value, float64.

        Parameters
        ----------
        sums : ndarray of uint64, 1-D, C-contiguous
            Sums of encoded values.
        total_weight : int
            Sum of the weights in them.
        """
        return _kernels.fixed_point_decode(sums, total_weight, self.clip, self.bits)

    def error_bound(self, contributors: int = 1) -> float:
        """Return the most by which a decoded weighted mean differs from that of the clipped inputs, per value.

        Parameters
        ----------
        contributors : int
            Does not change the worst case: a mean is off by no more than the worst of its terms.

        Notes
        -----
        A step (stochastic) or half of one (nearest), and the slack of float64 arithmetic, 2**-48 of `clip`. Storing the mean in
        a narrower dtype rounds once more.
        """
        whole("contributors", contributors, 1, 1 << 64)
        share = 1.0 if self.rounding == "stochastic" else 0.5
        return share * self.step + ARITHMETIC_SLACK * self.clip

    def rms_error(self, contributors: float = 1.0) -> float:
        """Return the root mean square error of a decoded weighted mean when values fall anywhere between two steps.

        Parameters
        ----------
        contributors : float
            The effective number ``sum(w)**2 / sum(w**2)``; for equal weights simply how many.

        Notes
        -----
        ``step / sqrt(6 n)`` (stochastic) or ``step / sqrt(12 n)`` (nearest; only if the clients' errors are independent, which
        equal updates are not). Stochastic rounding never exceeds ``step / sqrt(4 n)``, whatever the values.
        """
        if not 1.0 <= contributors < math.inf:
            raise ParameterError("contributors must be a finite number of at least 1")
        return self.step / math.sqrt((6.0 if self.rounding == "stochastic" else 12.0) * contributors)

    def canonical(self) -> tuple[str, float, int, str, str]:
        """Return what the hash of Params covers."""
        return ("fixed-point", self.clip, self.bits, self.rounding, self.overflow)


def _as_reals(x: NDArray[Any], name: str) -> NDArray[Any]:
    """Return `x` as contiguous float32 or float64 without changing a value."""
    kind, size = x.dtype.kind, x.dtype.itemsize
    if kind == "f" and size <= 8:
        return np.require(x, dtype=np.float64 if size == 8 else np.float32, requirements=("C", "A"))
    if kind not in "iu":
        raise InputError(f"{name}: dtype {x.dtype} is no real number of at most 64 bits")
    if size <= 2:
        return x.astype(np.float32)
    if size == 8 and len(x):
        beyond = int(np.count_nonzero((x > EXACT_FLOAT64) | (x < -EXACT_FLOAT64 if kind == "i" else False)))
        if beyond:
            raise InputError(
                f"{name}: {beyond} of {len(x)} integers are beyond 2**53 and not exact here; use Integer(low, high)"
            )
    return x.astype(np.float64)
