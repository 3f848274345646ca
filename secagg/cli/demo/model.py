"""A small network in plain numpy, 30-16-1, its gradient written out to show what an update contains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEATURES",
    "HIDDEN",
    "Weights",
    "accuracy",
    "add",
    "auc",
    "gradient",
    "initial",
    "largest_gap",
    "predict",
    "train",
]

FEATURES, HIDDEN = 30, 16
LEARNING_RATE = 0.2
LOCAL_STEPS = 4

Weights = dict[str, dict[str, NDArray[np.float64]]]


def initial(seed: int) -> Weights:
    """Return the first global model: random weights, zero biases."""
    rng = np.random.default_rng([seed, FEATURES, HIDDEN])
    return {
        "hidden": {"weight": rng.normal(0.0, FEATURES**-0.5, (FEATURES, HIDDEN)), "bias": np.zeros(HIDDEN)},
        "output": {"weight": rng.normal(0.0, HIDDEN**-0.5, HIDDEN), "bias": np.zeros(1)},
    }


def add(model: Weights, delta: Weights, scale: float = 1.0) -> Weights:
    """Return ``model + scale * delta``, new arrays."""
    return {
        part: {name: leaf + scale * delta[part][name] for name, leaf in leaves.items()}
        for part, leaves in model.items()
    }


def largest_gap(one: Weights, other: Weights) -> float:
    """Return the largest absolute difference between two models' weights."""
    return max(float(np.abs(leaf - other[part][name]).max()) for part in one for name, leaf in one[part].items())


def _forward(model: Weights, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    hidden = np.tanh(x @ model["hidden"]["weight"] + model["hidden"]["bias"])
    logit = hidden @ model["output"]["weight"] + model["output"]["bias"][0]
    return hidden, 0.5 * (1.0 + np.tanh(0.5 * logit))  # the logistic function without overflow


def predict(model: Weights, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of malignancy for records (patients, 30)."""
    return _forward(model, x)[1]


def gradient(model: Weights, x: NDArray[np.float64], y: NDArray[np.float64]) -> Weights:
    """Return the gradient of the mean cross-entropy over a batch.

    Notes
    -----
    For a batch of one, column j of the hidden weights' gradient is the record itself times bias gradient j:
    their ratio is the patient.
    """
    hidden, probability = _forward(model, x)
    at_logit = (probability - y) / len(y)
    at_hidden = np.outer(at_logit, model["output"]["weight"]) * (1.0 - hidden**2)
    return {
        "hidden": {"weight": x.T @ at_hidden, "bias": at_hidden.sum(axis=0)},
        "output": {"weight": hidden.T @ at_logit, "bias": np.array([at_logit.sum()])},
    }


def train(model: Weights, x: NDArray[np.float64], y: NDArray[np.float64], steps: int = LOCAL_STEPS) -> Weights:
    """Return what a hospital sends: its weights after `steps` full-batch gradient steps, minus `model`."""
    local = model
    for _ in range(steps):
        local = add(local, gradient(local, x, y), -LEARNING_RATE)
    return add(local, model, -1.0)


def accuracy(model: Weights, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the fraction of patients told right."""
    return float(np.mean((predict(model, x) >= 0.5) == (y == 1.0)))


def auc(model: Weights, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the probability that a malignant record scores above a benign one, ties counted half."""
    score = predict(model, x)
    gap = score[y == 1.0][:, None] - score[y == 0.0][None, :]
    return float(np.mean(gap > 0) + 0.5 * np.mean(gap == 0))
