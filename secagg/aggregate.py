"""What comes out of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.receipt import Receipt

__all__ = ["Aggregate"]


@dataclass(frozen=True, eq=False)
class Aggregate:
    """The opened sum of one round.

    Attributes
    ----------
    mean : nest of ndarray
        Weighted mean of the contributors' updates, in the layout's structure, shapes and dtypes (a flat update: float64).
    sum : nest of ndarray
        Sum of weight times update, in the same structure.
    integer_sum : ndarray of uint64, shape (length,)
        The sum of the encoded integers in layout order, equal bit for bit to their plaintext sum.
    weight : int
        Sum of the contributors' weights.
    metrics : mapping of str to float
        Weighted means of the metrics.
    contributors : tuple of str
        Sorted ids of the clients whose update is in the sum.
    clipped : int
        Values that were clipped before encoding, over all contributors.
    receipt : Receipt
    blamed : mapping of str to str
        Clients whose shares were provably wrong, and what they did.
    """

    mean: Any = field(repr=False)
    sum: Any = field(repr=False)
    integer_sum: NDArray[np.uint64] = field(repr=False)
    weight: int
    metrics: Mapping[str, float] = field(repr=False)
    contributors: tuple[str, ...]
    clipped: int
    receipt: Receipt = field(repr=False)
    blamed: Mapping[str, str]
