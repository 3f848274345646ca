"""What opened sums say, computed when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from secagg.encoding.segments import Place, SegmentPlan

__all__ = ["Decoded"]

Lanes: TypeAlias = NDArray[np.unsignedinteger]

PIECE = 1 << 20


class Decoded:
    """What the sums of one round say; nothing is copied before it is asked for.

    Parameters
    ----------
    plan : SegmentPlan
    sums : sequence of ndarray
        One lane array a segment, as `SegmentPlan.decode` checked them. Kept.

    Attributes
    ----------
    weight, clipped, lanes : int
        Sums over the contributors of their weights, their clipped values, and of 1. Nothing is checked here: `lanes` must be
        the number of contributors.
    """

    def __init__(self, plan: SegmentPlan, sums: Sequence[Lanes]) -> None:
        self._plan = plan
        self._sums = tuple(sums)
        self.weight, self.clipped, self.lanes = (int(value) for value in sums[0])

    def __repr__(self) -> str:
        return f"Decoded(weight={self.weight}, clipped={self.clipped}, lanes={self.lanes})"

    def release(self) -> None:
        """Forget what was decoded; it is decoded anew when asked for."""
        for name in ("integer_sum", "sum", "mean"):
            self.__dict__.pop(name, None)

    @property
    def plausible(self) -> bool:
        """Whether the weight is one that contributors can have together: neither 0 nor over the plan's total."""
        return 0 < self.weight <= self._plan.total_weight

    @cached_property
    def out_of_range(self) -> int:
        """Values whose sum no honest updates of this weight can have: a contributor garbled its upload."""
        if not self.plausible:
            return 0
        found = 0
        for segment, array in zip(self._plan.segments[1:], self._sums[1:], strict=True):
            if segment.encoding is None:
                continue
            # Python's product is at most 2**64 - 1: the width allows total_weight * levels.
            limit = self.weight * segment.encoding.levels
            if limit >= np.iinfo(array.dtype).max:
                continue
            for at in range(0, len(array), PIECE):
                found += int(np.count_nonzero(array[at : at + PIECE] > array.dtype.type(limit)))
        return found

    @cached_property
    def integer_sum(self) -> NDArray[np.uint64]:
        """Sums of the encoded update in layout order; uint64, shape (size,)."""
        out = np.empty(self._plan.layout.size, dtype=np.uint64)
        for place in self._plan.places:
            out[place.offset : place.offset + place.leaf.size] = self._part(place)
        return out

    def _part(self, place: Place) -> Lanes:
        return self._sums[place.segment][place.start : place.start + place.leaf.size]

    def _leaf_sums(self, place: Place) -> NDArray[Any]:
        return place.encoding.decode_sum(self._part(place).astype(np.uint64, copy=False), self.weight)

    @cached_property
    def sum(self) -> Any:
        """Sums of weight times update: a nest of float64 (FixedPoint) or int64 (Integer) arrays; None if not `plausible`."""
        if not self.plausible:
            return None
        return self._plan.layout.unflatten([self._leaf_sums(place) for place in self._plan.places], cast=False)

    @cached_property
    def mean(self) -> Any:
        """Weighted means in the dtypes of the layout; None if not `plausible`."""
        if not self.plausible:
            return None
        means = [_mean(self._leaf_sums(place), self.weight, np.dtype(place.leaf.dtype)) for place in self._plan.places]
        return self._plan.layout.unflatten(means)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Weighted means of the metrics; empty if not `plausible`."""
        encoding = self._plan.segments[-1].encoding
        if not self._plan.metrics or not self.plausible or encoding is None:
            return {}
        means = encoding.decode_sum(self._sums[-1].astype(np.uint64), self.weight) / self.weight
        return dict(zip(self._plan.metrics, means.tolist(), strict=True))


def _mean(total: NDArray[Any], weight: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the mean of decoded sums, in place where they are floats."""
    if total.dtype.kind == "f":
        total /= float(weight)
        return total
    if dtype.kind == "f":
        mean: NDArray[np.float64] = total / float(weight)
        return mean
    # Exact division, to nearest with halves to even, as for every other integer leaf; float64 would lose the low bits.
    quotient, rest = np.divmod(total, np.int64(weight))
    above = rest > weight - rest
    tie = rest == weight - rest
    rounded: NDArray[np.int64] = quotient + (above | (tie & (quotient % 2 == 1)))
    return rounded
