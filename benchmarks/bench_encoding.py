"""Encoding and decoding against the same arithmetic written in numpy, in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import secagg

if TYPE_CHECKING:
    from conftest import Paired, Scale

CLIP, BITS, WIDTH = 1.0, 16, 23
LEVELS = 2**BITS - 1
KEY = bytes(range(16))


@pytest.fixture
def values(scale: Scale) -> np.ndarray:
    """A million float32, some of them beyond the clip."""
    return np.random.default_rng(3).normal(0, 0.5, 1000 if scale == "small" else 1_000_000).astype(np.float32)


def scaled(x: np.ndarray) -> np.ndarray:
    """Return the values as numbers of steps from the bottom of the range."""
    return (np.clip(x.astype(np.float64), -CLIP, CLIP) + CLIP) * (LEVELS / (2 * CLIP))


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_encode(rounding: str, values: np.ndarray, paired: Paired) -> None:
    """Clip, scale, round, as uint32 lanes."""
    encoding = secagg.FixedPoint(clip=CLIP, bits=BITS, rounding=rounding)
    rng = np.random.default_rng(4)
    made: dict[str, np.ndarray] = {}

    def ours() -> None:
        made["ours"], _ = encoding.encode(values, w=WIDTH, weight=1, key=KEY, stream_id=1, start=0, name="x")

    def theirs() -> None:
        steps = scaled(values)
        made["theirs"] = np.floor(steps + (0.5 if rounding == "nearest" else rng.random(len(steps)))).astype(np.uint32)

    def equal() -> bool:
        apart = np.abs(made["ours"].astype(np.int64) - made["theirs"].astype(np.int64))
        return int(apart.max()) <= (0 if rounding == "nearest" else 1)

    paired(ours, theirs, equal=equal, nbytes=values.nbytes, about=f"encode, {rounding}, numpy {np.__version__}")


def test_decode(values: np.ndarray, paired: Paired) -> None:
    """Sums of a hundred clients back to reals."""
    encoding = secagg.FixedPoint(clip=CLIP, bits=BITS)
    sums = np.floor(100 * scaled(values)).astype(np.uint64)
    made: dict[str, np.ndarray] = {}

    def ours() -> None:
        made["ours"] = encoding.decode_sum(sums, 100)

    def theirs() -> None:
        made["theirs"] = sums * (2 * CLIP / LEVELS) - 100 * CLIP

    paired(
        ours, theirs, equal=lambda: bool(np.allclose(made["ours"], made["theirs"], rtol=0, atol=1e-10)),
        nbytes=sums.nbytes, about=f"decode a sum, numpy {np.__version__}",
    )  # fmt: skip
