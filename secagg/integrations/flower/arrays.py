"""Between Flower's records and the engine's updates: deltas, their layout, and the hash of a model.

What is aggregated is the difference to the arrays that were received: small, centred, and the same mean in the end, for the
server adds it back to what it sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from secagg.encoding import Layout
from secagg.errors import InputError

__all__ = ["add_mean", "delta", "model_hash", "model_layout", "one_record", "whole_weight"]


def one_record(records: Mapping[str, Any], what: str) -> Any:
    """Return the only record of a mapping; InputError for none or several."""
    if len(records) != 1:
        raise InputError(f"expected exactly one {what}, found {len(records)}")
    return next(iter(records.values()))


def _leaf(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Return the dtype in which the difference of two such arrays is handed in."""
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    if dtype.kind in "iu":
        return np.dtype(np.float64)  # as Flower does: the mean of counters is no counter
    raise InputError(f"array {name!r}: dtype {dtype} cannot be aggregated; use floats or integers")


def model_layout(arrays: ArrayRecord) -> Layout:
    """Return the layout of differences to `arrays`."""
    return Layout.of(
        {name: np.empty(array.shape, _leaf(np.dtype(array.dtype), name)) for name, array in arrays.items()}
    )


def model_hash(arrays: ArrayRecord) -> bytes:
    """Return 32 bytes that stand for names, dtypes, shapes and contents of a model."""
    hasher = hashlib.sha256(b"secagg flower model")
    for name, array in arrays.items():
        for part in (name.encode(), array.dtype.encode(), repr(tuple(array.shape)).encode(), array.data):
            hasher.update(len(part).to_bytes(8, "big"))
            hasher.update(part)
    return hasher.digest()


def delta(new: ArrayRecord, base: ArrayRecord, layout: Layout) -> dict[str, NDArray[Any]]:
    """Return what training changed, array by array.

    Parameters
    ----------
    new : ArrayRecord
        What the client's function returned. Secret.
    base : ArrayRecord
        What it was given.
    layout : Layout
        The session's. It says the dtypes: a strategy may send float64 where it began with float32.

    Raises
    ------
    InputError
        Other names or shapes; the text names the array and no value.
    """
    dtypes = {name: np.dtype(leaf.dtype) for name, leaf in zip(layout.top_keys, layout.leaves, strict=True)}
    if odd := sorted((set(new) ^ set(base)) | (set(base) ^ set(dtypes))):
        raise InputError(f"the reply's arrays are not those that were sent: {', '.join(map(repr, odd[:3]))}")
    changes = {}
    for name, before in base.items():
        old, now = before.numpy(), new[name].numpy()
        if now.shape != old.shape:
            raise InputError(f"array {name!r}: expected shape {old.shape}, got {now.shape}")
        wide = np.result_type(_leaf(now.dtype, name), _leaf(old.dtype, name))
        changes[name] = np.subtract(now, old, dtype=wide).astype(dtypes[name], copy=False)
    return changes


def add_mean(base: ArrayRecord, mean: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Return `base` plus the mean difference; floats keep their dtype, counters become float64."""
    arrays = {}
    for name, before in base.items():
        old = before.numpy()
        kept = old.dtype if old.dtype.kind == "f" else np.dtype(np.float64)
        arrays[name] = Array(np.asarray((old + mean[name]).astype(kept, copy=False)))
    return ArrayRecord(arrays)


def whole_weight(value: Any, name: str) -> int:
    """Return the weight of an update as an integer; InputError, without the value, if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"the metric {name!r} is the update's weight and must be one whole number")
    return value
