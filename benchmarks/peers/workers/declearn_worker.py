"""Runs declearn's own masking on request: JSON lines in, JSON lines out. Runs under declearn's environment, alone."""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from typing import Any

import numpy as np
from declearn.model.sklearn import NumpyVector
from declearn.secagg.masking import MaskingEncrypter

BITS = 32
CLIP = 1.0
CHECKED = 1000


def mask(clients: int, length: int) -> dict[str, Any]:
    """Return the seconds to quantise and mask one update, and the error of its sum with a counterpart's."""
    base = np.random.default_rng(0).uniform(-1, 1, 2 * length).astype(np.float32)
    update = base[:length]
    seeds = [int(s) for s in np.random.default_rng(1).integers(1 << 62, size=clients - 1)]
    ours = MaskingEncrypter(seeds, [], bitsize=BITS, clipval=CLIP)
    vector = NumpyVector({"model": update})
    begin = time.perf_counter()
    masked, _ = ours.encrypt_vector(vector)
    seconds = time.perf_counter() - begin
    # Somebody with the same masks subtracted, and an update of zeros.
    other = MaskingEncrypter([], seeds, bitsize=BITS, clipval=CLIP)
    zeros, _ = other.encrypt_vector(NumpyVector({"model": np.zeros(length, np.float32)}))
    total = [(a + b) % ours.max_int for a, b in zip(masked[:CHECKED], zeros[:CHECKED], strict=True)]
    opened = np.array([value * 2 * CLIP / ours.quantizer.int_range for value in total]) - 2 * CLIP
    return {"seconds": seconds, "error": float(np.abs(opened - update[:CHECKED]).max())}


def serve() -> None:
    """Answer requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints may get between the answers
    for line in sys.stdin:
        request = json.loads(line)
        do = request.pop("do")
        result = {"declearn": metadata.version("declearn")} if do == "versions" else mask(**request)
        answers.write(json.dumps({"result": result}) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
