"""Pairs: ours and a peer in turn, so that whatever slows the machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Pairs", "clocked", "measure_pairs", "quartiles"]


def clocked(run: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that calls `run` and returns the seconds it took."""

    def timed() -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    return timed


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return lower quartile, median, upper quartile; of fewer than four values the extremes stand for the quartiles."""
    if len(values) < 4:
        return min(values), statistics.median(values), max(values)
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


@dataclass
class Pairs:
    """Seconds of both sides, pair by pair."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def ratios(self, *, inverse: bool) -> tuple[float, float, float]:
        """Return the quartiles of theirs / ours, or of ours / theirs if `inverse`."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return quartiles([a / b if inverse else b / a for a, b in pairs])


def measure_pairs(ours: Callable[[], float], peer: Callable[[], float], count: int) -> Pairs:
    """Return `count` pairs; each side is called in turn, returns its own seconds, and goes first every other time."""
    pairs = Pairs()
    for turn in range(count):
        if turn % 2:  # whoever runs second finds warmer caches
            theirs = peer()
            pairs.ours.append(ours())
        else:
            pairs.ours.append(ours())
            theirs = peer()
        pairs.theirs.append(theirs)
    return pairs
