"""The model and the patients of `secagg demo`, as named float32 arrays."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord
from secagg.cli.demo import model as net
from secagg.cli.demo.hospitals import Patients, load

SEED = 0
LAYERS = (("hidden", "weight"), ("hidden", "bias"), ("output", "weight"), ("output", "bias"))


def patients(hospitals: int) -> Patients:
    """Return the patients, split the same way in every process."""
    return load(hospitals, SEED)


def to_arrays(model: net.Weights) -> ArrayRecord:
    """Return a model as Flower carries it."""
    return ArrayRecord({f"{part}.{name}": Array(model[part][name].astype(np.float32)) for part, name in LAYERS})


def from_arrays(arrays: ArrayRecord) -> net.Weights:
    """Return the model in an ArrayRecord."""
    model: net.Weights = {}
    for part, name in LAYERS:
        model.setdefault(part, {})[name] = arrays[f"{part}.{name}"].numpy().astype(np.float64)
    return model


def loss(model: net.Weights, x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean cross-entropy."""
    p = np.clip(net.predict(model, x), 1e-7, 1 - 1e-7)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
