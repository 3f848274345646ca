"""Growth: the exponent that fits measured points."""

from __future__ import annotations

import numpy as np

__all__ = ["exponent"]


def exponent(sizes: list[float], values: list[float]) -> tuple[float, float]:
    """Return the slope b of ``log(value) = a + b log(size)`` by least squares, and R^2."""
    x, y = np.log(sizes), np.log(values)
    slope, offset = np.polyfit(x, y, 1)
    spread = float(np.sum((y - y.mean()) ** 2))
    left = float(np.sum((y - slope * x - offset) ** 2))
    return float(slope), 1.0 if spread == 0 else 1 - left / spread
