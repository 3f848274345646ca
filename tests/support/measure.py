"""How far bytes are from even."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["deviation"]


def deviation(seeds):
    """The most that single bits, neighbouring bits, or bytes of equally long strings deviate, in standard deviations."""
    data = np.frombuffer(b"".join(seeds), np.uint8).reshape(len(seeds), -1)
    bits = np.unpackbits(data, axis=1).astype(float)
    half = math.sqrt(len(seeds)) / 2
    single = np.abs(bits.sum(0) - len(seeds) / 2).max() / half
    apart = np.abs((bits[:, 1:] != bits[:, :-1]).sum(0) - len(seeds) / 2).max() / half
    counts = np.bincount(data.ravel(), minlength=256)
    even = data.size / 256
    chi = (np.sum((counts - even) ** 2) / even - 255) / math.sqrt(2 * 255)
    return max(single, apart, abs(chi))
