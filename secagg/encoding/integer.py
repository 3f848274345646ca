"""Integers of a known range, summed exactly."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg import _kernels
from secagg.encoding.weights import sum_width, whole
from secagg.errors import InputError, ParameterError

__all__ = ["Integer"]

INT64_MAX = (1 << 63) - 1
# A mean is one conversion of the sum and one division, each off by 2**-53 at most.
MEAN_SLACK = 2.0**-51


@dataclass(frozen=True)
class Integer:
    """Integers in [low, high] become integers in [0, high - low]; their sum is exact.

    Parameters
    ----------
    low, high : int
        The range, within int64, ``low < high``. A value outside it is refused, never clipped.

    Raises
    ------
    ParameterError
        Not such a range.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        """Settle the types, so that equal encodings have equal hashes."""
        object.__setattr__(self, "low", whole("low", self.low, -INT64_MAX - 1, INT64_MAX))
        object.__setattr__(self, "high", whole("high", self.high, -INT64_MAX - 1, INT64_MAX))
        if self.low >= self.high:
            raise ParameterError("low must be below high")

    @property
    def value_bits(self) -> int:
        """Bits of one encoded value of weight 1."""
        return self.levels.bit_length()

    @property
    def levels(self) -> int:
        """Largest encoded value of weight 1."""
        return self.high - self.low

    def width(self, total_weight: int) -> int:
        """Return the bits of a sum whose weights are at most `total_weight` together.

        Raises
        ------
        ParameterError
            More than 64, or a decoded sum might not fit int64.
        """
        w = sum_width(self.value_bits, total_weight, "Integer")
        if total_weight > INT64_MAX or self.high * total_weight > INT64_MAX or self.low * total_weight < -INT64_MAX - 1:
            raise ParameterError(
                f"Integer: sums of values from {self.low} to {self.high} with weights of at most {total_weight} in all "
                "do not fit int64; lower the range, max_weight or max_participants"
            )
        return w

    def encode(
        self,
        x: NDArray[Any],
        *,
        weight: int,
        w: int,
        key: bytes | None = None,
        stream_id: int = 0,
        start: int = 0,
        name: str = "update",
    ) -> tuple[NDArray[np.unsignedinteger], int]:
        """Return the encoded values times `weight`, in lanes of `w` bits, and 0 (nothing is ever clipped).

        Parameters
        ----------
        x : ndarray, 1-D
            Integers, or floats that are whole numbers. Read, never kept. Secret.
        weight : int
            0 or more, with ``weight * levels < 2**w``.
        w : int
            1 to 64.
        key, stream_id, start
            Unused: nothing is rounded.
        name : str
            What errors call `x`.

        Raises
        ------
        ParameterError
            The weighted values do not fit `w` bits.
        InputError
            Another dtype, or a value that is not a whole number in [low, high].
        """
        weight = operator.index(weight)  # a numpy integer would wrap in the check itself
        if not 1 <= w <= 64 or not 0 <= weight * self.levels < 1 << w:
            raise ParameterError(f"values of {self.value_bits} bits times this weight do not fit w={w} bits")
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
        """Write the encoded values times `weight` into `out` and return 0; see `encode`.

        After an error, `out` is unspecified.
        """
        del key, stream_id, start
        if len(x) == 0:
            return 0
        whole_values = self._checked(x, name)
        # Everything modulo the lane: the result is below 2**w, so the steps between may wrap.
        modulus = 1 << (8 * out.dtype.itemsize)
        out[:] = whole_values.astype(out.dtype)
        out -= out.dtype.type(self.low % modulus)
        out *= out.dtype.type(weight % modulus)
        return 0

    def check(self, x: NDArray[Any], name: str) -> int:
        """Return 0, having refused what `encode_into` would."""
        if len(x):
            self._checked(x, name)
        return 0

    def _checked(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        whole_values = _as_integers(x, name)
        # Python integers compare exactly; numpy would round the bounds of a float or unsigned comparison.
        if int(whole_values.min()) < self.low or int(whole_values.max()) > self.high:
            raise InputError(
                f"{name}: {self._beyond(whole_values)} of {len(x)} values are outside [{self.low}, {self.high}]"
            )
        return whole_values

    def _beyond(self, x: NDArray[Any]) -> int:
        """Count the values outside [low, high], with bounds that the dtype of `x` can hold."""
        info = np.iinfo(x.dtype)
        low, high = max(self.low, int(info.min)), min(self.high, int(info.max))
        if low > high:
            return len(x)
        return int(np.count_nonzero((x < x.dtype.type(low)) | (x > x.dtype.type(high))))

    def decode_sum(self, sums: NDArray[np.uint64], total_weight: int) -> NDArray[np.int64]:
        """Return the exact sums of weight times value, int64.

        Parameters
        ----------
        sums : ndarray of uint64, 1-D
            Sums of encoded values.
        total_weight : int
            Sum of the weights in them, of which `width` approved.
        """
        # True sums fit int64, so adding modulo 2**64 is exact.
        return (sums + np.uint64(self.low * total_weight % (1 << 64))).view(np.int64)

    def error_bound(self, contributors: int = 1) -> float:
        """Return the most by which a float64 weighted mean differs from the exact one; the sum itself is exact."""
        whole("contributors", contributors, 1, 1 << 64)
        return MEAN_SLACK * max(abs(self.low), abs(self.high))

    def rms_error(self, contributors: float = 1.0) -> float:
        """Return 0: nothing is rounded."""
        del contributors
        return 0.0

    def canonical(self) -> tuple[str, int, int]:
        """Return what the hash of Params covers."""
        return ("integer", self.low, self.high)


def _as_integers(x: NDArray[Any], name: str) -> NDArray[Any]:
    """Return `x` as integers without changing a value."""
    if x.dtype.kind in "iu":
        return x
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:
        raise InputError(f"{name}: dtype {x.dtype} holds no integers of at most 64 bits")
    finite = int(np.count_nonzero(np.isfinite(x)))
    if finite < len(x):
        raise InputError(f"{name}: {len(x) - finite} of {len(x)} values are NaN or infinite; clean the update first")
    reals = x.astype(np.float64)
    bad = int(np.count_nonzero((reals != np.floor(reals)) | (reals < -(2.0**63)) | (reals >= 2.0**63)))
    if bad:
        raise InputError(f"{name}: {bad} of {len(x)} values are no integers of 64 bits; use FixedPoint for fractions")
    return reals.astype(np.int64)
