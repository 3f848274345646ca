"""Between NVFlare's DXOs and the engine's updates: differences, their layout, weights, metrics, and the hash of a model.

What is aggregated is the difference to the weights that were received, whether the trainer hands in differences or weights: it
is small and centred, and the mean is the same in the end, for the server adds it to what it sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, MetaKey

from secagg.encoding import FixedPoint, Integer, Layout
from secagg.errors import InputError
from secagg.params import Params
from secagg.planner import plan

__all__ = ["change", "flat_mean", "metrics_of", "model_hash", "plan_for", "update_layout", "weight_of"]

Model: TypeAlias = Mapping[str, NDArray[Any]]
Update: TypeAlias = dict[str, dict[str, NDArray[Any]]]

FLOATS, INTEGERS = "floats", "integers"
WEIGHT = MetaKey.NUM_STEPS_CURRENT_ROUND
COUNTS = Integer(-(1 << 31), (1 << 31) - 1)  # differences of counters, batches seen for instance
METRICS = FixedPoint(clip=1000.0, bits=32)  # to 2.4e-7; refusing would tell the server whose metric is large


def plan_for(
    model: Model, clients: int, *, metrics: Sequence[str] = (), metrics_encoding: FixedPoint = METRICS, **options: Any
) -> Params:
    """Return Params for the weights of a model.

    Parameters
    ----------
    model : mapping of str to ndarray
        The initial weights; only names, shapes and dtypes are used.
    clients : int
        The most sites of a job.
    metrics : sequence of str
        Metrics that the trainer reports beside its weights, as numbers; the server gets their weighted means.
    metrics_encoding : FixedPoint
        Default: clipped at 1000 in magnitude, to 2.4e-7.
    **options
        As for `secagg.plan`: dropout, corrupt, max_weight, clip, error, rounds_per_setup, ...

    Raises
    ------
    InputError
        An array of another dtype than floats and integers.
    ParameterError
        No Params serve this.
    """
    layout = update_layout(model)
    segments: dict[str, FixedPoint | Integer] = {INTEGERS: COUNTS} if INTEGERS in layout.top_keys else {}
    if metrics:
        segments["metrics"] = metrics_encoding
    segments |= dict(options.pop("segments", {}))
    return plan(clients, layout=layout, segments=segments, metrics=tuple(metrics), **options)


def update_layout(model: Model) -> Layout:
    """Return the layout of differences to a model: floats as float32 or float64, integers as int64, each in a group."""
    return Layout.of(_grouped({name: np.empty(_array(model, name).shape, _leaf(model, name)) for name in model}))


def model_hash(model: Model) -> bytes:
    """Return 32 bytes that stand for names, dtypes, shapes and values of a model."""
    hasher = hashlib.sha256(b"secagg nvflare model")
    for name in sorted(model):
        array = _array(model, name)
        native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for part in (name.encode(), native.dtype.str.encode(), repr(array.shape).encode(), native.tobytes()):
            hasher.update(len(part).to_bytes(8, "big"))
            hasher.update(part)
    return hasher.digest()


def change(dxo: DXO, base: Model) -> Update:
    """Return what training changed.

    Parameters
    ----------
    dxo : DXO
        The trainer's result, of kind WEIGHTS or WEIGHT_DIFF. Secret.
    base : mapping of str to ndarray
        What the trainer was given.

    Raises
    ------
    InputError
        Another kind, or other names or shapes. The text names the array and no value.
    """
    kind, data = dxo.data_kind, dxo.data
    if kind not in (DataKind.WEIGHTS, DataKind.WEIGHT_DIFF):
        raise InputError(f"a result of kind {str.__str__(kind)} cannot be aggregated; expected WEIGHTS or WEIGHT_DIFF")
    if dxo.get_meta_prop(MetaKey.PROCESSED_ALGORITHM) is not None:
        raise InputError("the result was processed by a filter, compressed or encrypted, before it came here")
    if data.keys() != base.keys():
        odd = sorted(map(str, data.keys() ^ base.keys()))
        raise InputError(f"the result's arrays are not those that were sent: {', '.join(map(repr, odd[:3]))}")
    changes = {}
    for name in base:
        old, now, wide = _array(base, name), _array(data, name), _leaf(base, name)
        if now.shape != old.shape:
            raise InputError(f"array {name!r}: expected shape {old.shape}, got {now.shape}")
        if wide == np.int64 and now.dtype.kind == "f" and not np.array_equal(now, np.rint(now)):
            raise InputError(f"array {name!r} was of integers, and the result's is not")
        whole = now.astype(wide) if kind == DataKind.WEIGHT_DIFF else np.subtract(now.astype(wide), old.astype(wide))
        changes[name] = np.asarray(whole)
    return _grouped(changes)


def flat_mean(mean: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return a mean of updates as arrays by name."""
    return {name: array for group in mean.values() for name, array in group.items()}


def weight_of(dxo: DXO) -> int:
    """Return the weight of a result: its NUM_STEPS_CURRENT_ROUND, or 1 if it does not say; InputError if that is no count."""
    value = dxo.get_meta_prop(WEIGHT, 1)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"{WEIGHT} is the weight of the result and must be one whole number")
    return int(value)


def metrics_of(dxo: DXO, names: Sequence[str]) -> dict[str, float] | None:
    """Return the metrics of a result that the Params name, or None if they name none; InputError if one is missing."""
    if not names:
        return None
    given = dxo.get_meta_prop(MetaKey.INITIAL_METRICS) or {}
    if missing := [name for name in names if name not in given]:
        raise InputError(f"the result has no metric {missing[0]!r}, which the Params name")
    return {name: given[name] for name in names}


def _array(model: Mapping[str, Any], name: str) -> NDArray[Any]:
    value = model[name]
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.dtype.itemsize > 8:
        raise InputError(
            f"{name!r} is no numpy array of floats or integers; let the job exchange numpy (server_expected_format)"
        )
    return value


def _leaf(model: Mapping[str, Any], name: str) -> np.dtype[Any]:
    dtype = _array(model, name).dtype
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    return np.dtype(np.int64)


def _grouped(arrays: Mapping[str, NDArray[Any]]) -> Update:
    """Return floats and integers apart, so that each has an encoding; in the order of names, whatever the order of the dict."""
    groups: Update = {FLOATS: {}, INTEGERS: {}}
    for name in sorted(arrays):
        groups[FLOATS if arrays[name].dtype.kind == "f" else INTEGERS][name] = arrays[name]
    return {group: leaves for group, leaves in groups.items() if leaves}
