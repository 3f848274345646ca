"""The demo's small network as one vector, which is what NVFlare's numpy persistor keeps."""

import numpy as np

from secagg.cli.demo.model import initial

SHAPES = {part: {name: leaf.shape for name, leaf in leaves.items()} for part, leaves in initial(0).items()}


def to_vector(weights):
    return np.concatenate([weights[part][name].ravel() for part, leaves in SHAPES.items() for name in leaves])


def from_vector(vector):
    weights, start = {}, 0
    for part, leaves in SHAPES.items():
        weights[part] = {}
        for name, shape in leaves.items():
            size = int(np.prod(shape))
            weights[part][name] = vector[start : start + size].reshape(shape)
            start += size
    return weights
