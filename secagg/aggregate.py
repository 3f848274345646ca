"""What comes out of a round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.encoding import Decoded
from secagg.receipt import Receipt

__all__ = ["Aggregate"]


class Aggregate:
    """The opened sum of one round. Vectors are decoded when they are first asked for, and kept.

    Attributes
    ----------
    receipt : Receipt
    blamed : mapping of str to str
        Clients whose shares were provably wrong, and what they did.
    nbytes : int
        Memory of the opened sums, before anything is decoded.
    """

    def __init__(self, decoded: Decoded, receipt: Receipt, blamed: Mapping[str, str], nbytes: int) -> None:
        self._decoded = decoded
        self.receipt = receipt
        self.blamed = blamed
        self.nbytes = nbytes

    def release(self) -> None:
        """Forget what was decoded; it is decoded anew when asked for."""
        self._decoded.release()

    def __repr__(self) -> str:
        return (
            f"Aggregate(weight={self.weight}, contributors={self.contributors!r}, clipped={self.clipped}, "
            f"blamed={dict(self.blamed)!r})"
        )

    @property
    def mean(self) -> Any:
        """Weighted mean of the contributors' updates, in the layout's structure, shapes and dtypes (a flat update: float64)."""
        return self._decoded.mean

    @property
    def sum(self) -> Any:
        """Sum of weight times update, in the same structure."""
        return self._decoded.sum

    @property
    def integer_sum(self) -> NDArray[np.uint64]:
        """The sum of the encoded integers in layout order, equal bit for bit to their plaintext sum; uint64, shape (length,)."""
        return self._decoded.integer_sum

    @property
    def weight(self) -> int:
        """Sum of the contributors' weights."""
        return self._decoded.weight

    @property
    def metrics(self) -> Mapping[str, float]:
        """Weighted means of the metrics."""
        return self._decoded.metrics

    @property
    def contributors(self) -> tuple[str, ...]:
        """Sorted ids of the clients whose update is in the sum."""
        return self.receipt.survivors

    @property
    def clipped(self) -> int:
        """Values that were clipped before encoding, over all contributors."""
        return self._decoded.clipped
