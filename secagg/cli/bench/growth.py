"""Growth: the exponents that fit what a sweep measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from secagg.cli.bench.figures import Result

__all__ = ["QUANTITIES", "Curve", "curves", "exponent"]

QUANTITIES = {"client": 1e3, "server": 1e3, "holder": 1e3, "up": 1.0, "down": 1.0}
UNITS = {"client": "ms", "server": "ms", "holder": "ms", "up": "bytes", "down": "bytes"}
FEWEST = 3  # a line through two points fits whatever they are


@dataclass(frozen=True)
class Curve:
    """One quantity of one protection along one axis.

    Attributes
    ----------
    name, title, axis, quantity, unit : str
    sizes : tuple of int
        Each was measured.
    values : tuple of float
    exponent, r2 : float or None
        Slope of ``log(value)`` against ``log(size)`` by least squares over these sizes, and its R^2; None of fewer than three.
    """

    name: str
    title: str
    axis: str
    quantity: str
    unit: str
    sizes: tuple[int, ...]
    values: tuple[float, ...]
    exponent: float | None
    r2: float | None

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON, with the range that the exponent was fitted over."""
        return {
            "name": self.name, "axis": self.axis, "quantity": self.quantity, "unit": self.unit, "sizes": list(self.sizes),
            "values": list(self.values), "exponent": self.exponent, "r2": self.r2, "fitted_from": self.sizes[0],
            "fitted_to": self.sizes[-1],
        }  # fmt: skip


def exponent(sizes: Sequence[float], values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the slope of log(value) against log(size), and R^2; None, None of fewer than three points."""
    if len(sizes) < FEWEST:
        return None, None
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(values, dtype=float))
    x -= x.mean()
    spread = y - y.mean()
    slope = float(x @ spread / (x @ x))
    total = float(spread @ spread)
    return slope, 1.0 if total == 0 else 1 - float(np.sum((spread - slope * x) ** 2)) / total


def curves(swept: Sequence[tuple[str, Result]]) -> list[Curve]:
    """Return every quantity's curve of every protection that was swept."""
    found = []
    for name, axis in dict.fromkeys((result.name, axis) for axis, result in swept):
        rows = [result for where, result in swept if where == axis and result.name == name]
        sizes = tuple(getattr(row.size, axis) for row in rows)
        for quantity, scale in QUANTITIES.items():
            values = tuple(scale * row.total(quantity) for row in rows)
            if min(values) > 0:
                slope, r2 = exponent(sizes, values)
                title = rows[-1].title.partition(", k=")[0]
                found.append(Curve(name, title, axis, quantity, UNITS[quantity], sizes, values, slope, r2))
    return found
