"""Measures what gradients tell of records, bare and in sums, and what sums over changing participants tell of one update.

Run ``python docs/tools/inversion.py`` to write docs/data/inversion.json, from which docs/tools/plots.py draws; a test measures
again and compares. It needs numpy, and nothing of secagg: sums are exact, so that masks make no difference to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[1] / "data" / "inversion.json"
FEATURES, UNITS, TRIALS, SIZES = 30, 256, 101, (1, 2, 4, 8, 16, 32, 64, 128, 256)
STEP = 2.0 / (2**20 - 1)  # of FixedPoint(clip=1.0, bits=20)
CLIENTS, RUNS, PATIENCE = 20, 51, 200

Floats = NDArray[np.float64]


def encoded(gradient: Floats) -> Floats:
    """Return a gradient as it comes out of the encoding."""
    made: Floats = np.rint(gradient / STEP) * STEP
    return made


# -- records out of gradients -----------------------------------------------------------------------------------------


def logistic(weights: Floats, x: Floats, y: float) -> Floats:
    """Return one record's gradient of a logistic model: residual times record, then the residual, which is the bias's."""
    residual = 1 / (1 + np.exp(-(weights[:-1] @ x + weights[-1]))) - y
    made: Floats = np.append(residual * x, residual)
    return made


def invert(gradient: Floats) -> Floats:
    """Return the record of a gradient of one record: the weights' part over the bias's."""
    made: Floats = gradient[..., :-1] / gradient[..., -1:]
    return made


def crafted(thresholds: Floats, x: Floats, y: float) -> Floats:
    """Return one record's gradient of a layer whose units all measure the mean feature, each above a threshold of its own."""
    fires = (x.mean() * np.sqrt(FEATURES) > thresholds).astype(float)
    made: Floats = fires[:, None] * np.append(x, 1.0) * (0.5 - y) / 8
    return made


def invert_crafted(gradient: Floats) -> Floats:
    """Return what lies between each two neighbouring thresholds; one record alone there is read exactly."""
    apart = gradient - np.vstack([gradient[1:], np.zeros(FEATURES + 1)])
    return invert(apart[np.abs(apart[:, -1]) > 100 * STEP])


def distances(records: Floats, guesses: Floats) -> Floats:
    """Return for each record how far the nearest guess is: root mean square over the features, in standard deviations."""
    apart = np.sqrt(((records[:, None, :] - guesses[None, :, :]) ** 2).mean(-1))
    made: Floats = apart.min(1)
    return made


def spread() -> Floats:
    """Return thresholds that an even share of records of a standard normal distribution lies between."""
    sample = np.sort(np.random.default_rng(1).normal(size=200_000))
    made: Floats = sample[np.linspace(0, len(sample) - 1, UNITS + 2).astype(int)[:-2]]
    return made


def errors(size: int) -> tuple[float, float]:
    """Return how far off, in the median, records are that are read out of sums of `size` gradients: ordinary model, crafted."""
    found: tuple[list[float], list[float]] = ([], [])
    thresholds = spread()
    for trial in range(TRIALS):
        rng = np.random.default_rng([size, trial])
        weights, records = rng.normal(0, 0.2, FEATURES + 1), rng.normal(size=(size, FEATURES))
        answers = rng.integers(0, 2, size).astype(float)
        rows = list(zip(records, answers, strict=True))
        plain = sum(encoded(logistic(weights, x, y)) for x, y in rows)
        made = sum(encoded(crafted(thresholds, x, y)) for x, y in rows)
        found[0].append(float(np.median(distances(records, invert(plain)[None, :]))))
        guesses = invert_crafted(made)
        found[1].append(float(np.median(distances(records, guesses))) if len(guesses) else 1.0)
    return float(np.median(found[0])), float(np.median(found[1]))


# -- updates out of sums ----------------------------------------------------------------------------------------------


def solved(rows: Floats) -> int:
    """Return how many updates that stay the same are determined by their sums over these participants."""
    if not len(rows):
        return 0
    _, sizes, right = np.linalg.svd(rows, full_matrices=False)
    space = right[sizes > 1e-9]
    return int(np.sum((space**2).sum(0) > 1 - 1e-9))


def halves(_: np.random.Generator, round_id: int) -> Floats:
    """Return one of two groups that never change."""
    return np.arange(CLIENTS) % 2 == round_id % 2


def drawn(rng: np.random.Generator, _: int) -> Floats:
    """Return half of the clients, drawn anew each round."""
    return np.isin(np.arange(CLIENTS), rng.choice(CLIENTS, CLIENTS // 2, replace=False))


def lossy(rng: np.random.Generator, _: int) -> Floats:
    """Return all clients but those that a round loses, one in twenty."""
    return rng.random(CLIENTS) > 0.05


def rounds_until(who: Callable[[np.random.Generator, int], Floats]) -> tuple[float, float] | None:
    """Return the median number of rounds until one update is determined, and until all are; None if none ever is."""
    first, last = [], []
    for run in range(RUNS):
        rng, rows = np.random.default_rng([7, run]), np.zeros((0, CLIENTS))
        for round_id in range(1, PATIENCE + 1):
            rows = np.vstack([rows, who(rng, round_id)])
            count = solved(rows)
            if count and len(first) == run:
                first.append(round_id)
            if count == CLIENTS:
                last.append(round_id)
                break
        else:
            return None
    return float(np.median(first)), float(np.median(last))


def measured() -> dict[str, Any]:
    """Return everything that the page shows."""
    points = []
    for size in SIZES:
        ordinary, made = errors(size)
        points.append({"at": size, "ordinary": float(f"{ordinary:.3g}"), "crafted": float(f"{made:.3g}")})
    ways = {"halves": halves, "drawn": drawn, "lossy": lossy}
    return {"points": points, "rounds": {name: rounds_until(who) for name, who in ways.items()}}


if __name__ == "__main__":
    DATA.write_text(json.dumps(measured(), indent=1) + "\n", encoding="utf-8")
