"""A whole update in and out of the encoding layer, against numpy doing the same arithmetic over the same arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import secagg

if TYPE_CHECKING:
    from conftest import Paired, Scale

BITS = 16
LEVELS = 2**BITS - 1
KEY = bytes(range(16))
CLIENTS = 100


@pytest.fixture
def update(scale: Scale) -> dict[str, np.ndarray]:
    """Fifty arrays of a model, a million float32 together, some of them beyond the clip."""
    rows = 2 if scale == "small" else 200
    rng = np.random.default_rng(3)
    return {f"layer{i:02d}": rng.normal(0, 0.5, (rows, 100)).astype(np.float32) for i in range(50)}


@pytest.fixture
def plan(update: dict[str, np.ndarray]) -> secagg.encoding.SegmentPlan:
    """How such an update is laid out, rounded to nearest so that outputs can be compared."""
    encoding = secagg.FixedPoint(clip=1.0, bits=BITS, rounding="nearest")
    layout = secagg.Layout.of(update)
    return secagg.Params(clients=CLIENTS, layout=layout, encoding=encoding).segment_plan


def in_steps(update: dict[str, np.ndarray]) -> np.ndarray:
    """Return the update as one vector of encoded integers."""
    flat = np.concatenate([array.ravel() for array in update.values()]).astype(np.float64)
    return np.floor((np.clip(flat, -1, 1) + 1) * (LEVELS / 2) + 0.5).astype(np.uint32)


def test_encode_update(update: dict[str, np.ndarray], plan: secagg.encoding.SegmentPlan, paired: Paired) -> None:
    """Fifty arrays into one vector of lanes."""
    made: dict[str, np.ndarray] = {}

    def ours() -> None:
        made["ours"] = plan.encode(update, 1, None, KEY).vectors[1]

    def theirs() -> None:
        made["theirs"] = in_steps(update)

    paired(
        ours, theirs, equal=lambda: np.array_equal(made["ours"], made["theirs"]),
        nbytes=sum(array.nbytes for array in update.values()),
        about=f"encode an update of {len(update)} arrays, numpy {np.__version__}",
    )  # fmt: skip


def test_decode_update(update: dict[str, np.ndarray], plan: secagg.encoding.SegmentPlan, paired: Paired) -> None:
    """Sums of a hundred equal updates back into fifty arrays of means."""
    encoded = in_steps(update)
    head = np.array([CLIENTS, 0, CLIENTS], dtype=plan.encode(update, 1, None, KEY).vectors[0].dtype)
    sums = [head, (CLIENTS * encoded.astype(np.uint64)).astype(np.uint32)]
    made: dict[str, dict[str, np.ndarray]] = {}

    def ours() -> None:
        made["ours"] = plan.decode([array.copy() for array in sums]).mean

    def theirs() -> None:
        flat = sums[1] * (2 / (LEVELS * CLIENTS)) - 1
        cuts = np.split(flat.astype(np.float32), np.cumsum([array.size for array in update.values()])[:-1])
        made["theirs"] = {name: cut.reshape(update[name].shape) for name, cut in zip(update, cuts, strict=True)}

    def equal() -> bool:
        return all(np.allclose(made["ours"][name], made["theirs"][name], rtol=0, atol=1e-6) for name in update)

    paired(
        ours, theirs, equal=equal, nbytes=sums[1].nbytes,
        about=f"decode the mean of {len(update)} arrays, numpy {np.__version__}",
    )  # fmt: skip
