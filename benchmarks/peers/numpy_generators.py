"""numpy's bit generators as mask generators, as declearn and APPFL use them. They are no cryptographic generators."""

from __future__ import annotations

import numpy as np

__all__ = ["GENERATORS", "NAME", "VERSION", "apply_masks"]

NAME, VERSION = "numpy", np.__version__
GENERATORS = {"philox": np.random.Philox, "pcg64": np.random.PCG64}


def apply_masks(acc: np.ndarray, seeds: list[int], signs: list[int], generator: str) -> None:
    """Add one stream for each seed to `acc`, modulo its lanes."""
    for seed, sign in zip(seeds, signs, strict=True):
        rng = np.random.Generator(GENERATORS[generator](seed))
        stream = np.frombuffer(rng.bytes(acc.nbytes), dtype=acc.dtype)
        (np.add if sign > 0 else np.subtract)(acc, stream, out=acc)
