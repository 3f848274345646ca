"""The discrete Gaussian of the masks, as thresholds of its cumulative table."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from secagg._kernels.checks import U64

__all__ = ["HALF_BITS", "SIGMA", "gaussian_bound", "gaussian_table"]

SIGMA = "6.36"
HALF_BITS = 63  # of each of the two words that a sample is compared with

_DIGITS = 90
_FAR = 200  # the mass from here on is below 2^-700


@lru_cache(maxsize=1)
def _thresholds() -> tuple[int, ...]:
    """For k = 1, 2, ...: floor(2^126 P(|x| >= k)), as long as it is not 0.

    P(x) is exp(-x^2 / (2 sigma^2)) over the sum of all of them. Ninety digits decide every floor: a wrong one would lie within
    10^-85 of an integer.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        twice_variance = 2 * Decimal(SIGMA) ** 2
        weights = [(-Decimal(k * k) / twice_variance).exp() for k in range(_FAR)]
        scale = Decimal(2) ** (2 * HALF_BITS + 1) / (weights[0] + 2 * sum(weights[1:]))
        tail, found = Decimal(0), []
        for weight in reversed(weights[1:]):
            tail += weight
            found.append(int(tail * scale))
    return tuple(t for t in reversed(found) if t)


def gaussian_bound() -> int:
    """The largest size of a sample."""
    return len(_thresholds())


@lru_cache(maxsize=1)
def gaussian_table() -> U64:
    """The thresholds' upper words, then their lower ones: uint64, shape (2, `gaussian_bound()`), each below 2^63."""
    low = (1 << HALF_BITS) - 1
    table = np.array([[t >> HALF_BITS for t in _thresholds()], [t & low for t in _thresholds()]], np.uint64)
    table.flags.writeable = False
    return table
