"""The structure of an update: which arrays, of which shapes and dtypes, in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.encoding.weights import whole
from secagg.errors import InputError

__all__ = ["Layout", "Leaf"]

MAX_DEPTH = 64
MAX_LENGTH = 1 << 40
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
EXACT_FLOAT64 = 1 << 53

# A nest of tuples, so that it hashes and goes into the hash of Params as it is. The first item says what the others are: after
# "flat" the length; after "leaf" dtype and shape; after "dict" (key, tree) pairs; after "list" and "tuple" trees.
Tree = tuple[Any, ...]


@dataclass(frozen=True)
class Leaf:
    """One array of an update; `top` is the top-level dict key that it is under, if there is one."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    top: str | None

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The structure of an update; build it with `Layout.of` or `Layout.flat`.

    Parameters
    ----------
    tree : tuple
        The nest in canonical form.

    Notes
    -----
    Two layouts are equal when structure, order of keys, shapes and dtypes are. Values are laid out leaf after leaf, depth first,
    dicts in the order of the example, arrays in C order.
    """

    tree: Tree

    @classmethod
    def flat(cls, length: int) -> Layout:
        """Return the layout of one 1-D array of `length` values of any real dtype; results are float64.

        Raises
        ------
        ParameterError
            `length` is not an integer from 1 to 2**40.
        """
        return cls(("flat", whole("length", length, 1, MAX_LENGTH)))

    @classmethod
    def of(cls, example: Any) -> Layout:
        """Return the layout of updates like `example`.

        Parameters
        ----------
        example : ndarray, number, or nest of dict, list and tuple of them
            Only structure, shapes and dtypes are kept. float16/32/64 and signed or unsigned integers; a Python float is a
            float64 and a Python int an int64 of shape ().

        Raises
        ------
        InputError
            Another type, dtype or key than these, or no value at all.
        """
        layout = cls(_tree_of(example, "update", 0))
        if layout.size == 0:
            raise InputError("the update is empty: it has no values to aggregate")
        if layout.size > MAX_LENGTH:
            raise InputError(f"the update has more than {MAX_LENGTH} values")
        return layout

    @classmethod
    def from_canonical(cls, canonical: Sequence[Any]) -> Layout:
        """Return the layout that `canonical` describes, as a nest of tuples or lists.

        Raises
        ------
        InputError
            Not such a nest.
        """
        try:
            name, tree = canonical
            layout = cls(_checked_tree(tree, 0))
        except (TypeError, ValueError, IndexError):
            raise InputError("not a canonical layout") from None
        if name != "layout" or not 1 <= layout.size <= MAX_LENGTH:
            raise InputError("not a canonical layout")
        return layout

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The arrays in layout order."""
        found: list[Leaf] = []
        _list_leaves(self.tree, "", None, found)
        return tuple(found)

    @cached_property
    def size(self) -> int:
        """How many values an update has."""
        return sum(leaf.size for leaf in self.leaves)

    @property
    def is_flat(self) -> bool:
        """Whether an update is one 1-D array of any real dtype."""
        return bool(self.tree[0] == "flat")

    @cached_property
    def top_keys(self) -> tuple[str, ...]:
        """The top-level dict keys, in order; none if the update is no dict."""
        return tuple(key for key, _ in self.tree[1]) if self.tree[0] == "dict" else ()

    def flatten(self, update: Any) -> list[NDArray[Any]]:
        """Return one 1-D, native, C-contiguous array per leaf; dict keys may come in any order.

        Parameters
        ----------
        update : as the example
            Read, never kept or changed.

        Returns
        -------
        list of ndarray
            Views of `update` where they can be, copies otherwise; do not write into them.

        Raises
        ------
        InputError
            Structure, shape or dtype differ from the layout; the message names the leaf and never its values.
        """
        if self.is_flat:
            return [_flat_values(update, self.tree[1])]
        values: list[NDArray[Any]] = []
        _collect(self.tree, update, "", values)
        return values

    def unflatten(self, values: Sequence[NDArray[Any]], *, cast: bool = True) -> Any:
        """Return the nest whose leaves hold `values`; the inverse of `flatten`.

        Parameters
        ----------
        values : sequence of ndarray, 1-D
            One per leaf, of its size.
        cast : bool
            To the leaf's dtype: integers by rounding to nearest, halves to even; what a dtype cannot hold becomes its nearest
            finite value. False keeps the dtypes of `values`. Flat layouts cast to float64.

        Returns
        -------
        nest of ndarray
            A leaf of a Python number is an array of shape ().

        Raises
        ------
        InputError
            Another number of arrays, or another size.
        """
        if len(values) != len(self.leaves) or any(
            len(v) != leaf.size for v, leaf in zip(values, self.leaves, strict=True)
        ):
            raise InputError(f"expected {len(self.leaves)} arrays with the sizes of the layout's leaves")
        shaped = [
            (to_dtype(array, np.dtype(leaf.dtype)) if cast else array).reshape(leaf.shape)
            for array, leaf in zip(values, self.leaves, strict=True)
        ]
        return _build(self.tree, iter(shaped))

    def canonical(self) -> Tree:
        """Return what the hash of Params covers."""
        return ("layout", self.tree)


def to_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `values` in `dtype`; see `Layout.unflatten`."""
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        fitting: NDArray[Any] = np.clip(values.astype(np.float64, copy=False), -limit, limit)
        return fitting.astype(dtype)
    info = np.iinfo(dtype)
    if values.dtype.kind == "f":
        # 2**63 - 1 and 2**64 - 1 round up to floats that no longer fit.
        top = float(info.max) if int(float(info.max)) <= info.max else math.nextafter(float(info.max), 0.0)
        fitting = np.clip(np.rint(values), float(info.min), top)
    else:
        own = np.iinfo(values.dtype)
        low, high = max(int(info.min), int(own.min)), min(int(info.max), int(own.max))
        fitting = np.clip(values, values.dtype.type(low), values.dtype.type(high))
    return fitting.astype(dtype)


def number_values(value: Any, name: str) -> NDArray[Any]:
    """Return one number as an array of shape (1,).

    Raises
    ------
    InputError
        Not a single real number.
    """
    array = _as_array(value, name)
    if array.size != 1:
        raise InputError(f"{name} must be one number")
    return _line_up(array)


def _join(path: str, part: str | int) -> str:
    return f"{path}/{part}" if path else str(part)


def _tree_of(example: Any, path: str, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise InputError(f"the update is nested more than {MAX_DEPTH} deep")
    if isinstance(example, dict):
        for key in example:
            if not isinstance(key, str) or not _is_utf8(key):
                raise InputError(f"{path}: dict keys must be str, and valid Unicode")
        return ("dict", tuple((key, _tree_of(value, _join(path, key), depth + 1)) for key, value in example.items()))
    if type(example) in (list, tuple):
        items = tuple(_tree_of(value, _join(path, i), depth + 1) for i, value in enumerate(example))
        return ("list" if type(example) is list else "tuple", items)
    array = _as_array(example, path)
    return ("leaf", array.dtype.newbyteorder("=").name, tuple(int(side) for side in array.shape))


def _checked_tree(tree: Sequence[Any], depth: int) -> Tree:
    """Return a decoded tree as tuples; TypeError, ValueError or IndexError if it is none."""
    kind, *rest = tree
    if kind == "flat" and depth == 0 and type(rest[0]) is int and len(rest) == 1:
        return ("flat", rest[0])
    if kind == "leaf":
        dtype, shape = rest
        if dtype in DTYPES and all(type(side) is int and side >= 0 for side in shape):
            return ("leaf", dtype, tuple(shape))
    if kind in ("dict", "list", "tuple") and depth <= MAX_DEPTH and len(rest) == 1:
        if kind != "dict":
            return (kind, tuple(_checked_tree(child, depth + 1) for child in rest[0]))
        pairs = tuple((key, _checked_tree(child, depth + 1)) for key, child in rest[0])
        if all(isinstance(key, str) and _is_utf8(key) for key, _ in pairs) and len(dict(pairs)) == len(pairs):
            return ("dict", pairs)
    raise ValueError


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _as_array(value: Any, path: str) -> NDArray[Any]:
    """Return a leaf as an ndarray of a dtype that can be aggregated."""
    if isinstance(value, bool | np.bool_):
        raise InputError(f"{path}: bool cannot be summed; convert it to uint8")
    if isinstance(value, int) and not isinstance(value, np.generic):
        if not -(1 << 63) <= value < 1 << 63:
            raise InputError(f"{path}: a Python int must fit int64")
        return np.array(value, dtype=np.int64)
    if isinstance(value, float | np.floating | np.integer):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{path}: expected a numpy array or a number, not {type(value).__name__}; convert it first")
    array = np.asarray(value)
    if array.dtype.newbyteorder("=").name not in DTYPES:
        raise InputError(f"{path}: dtype {array.dtype} cannot be aggregated; use float16/32/64 or an integer dtype")
    return array


def _list_leaves(tree: Tree, path: str, top: str | None, found: list[Leaf]) -> None:
    kind = tree[0]
    if kind == "flat":
        found.append(Leaf("update", "float64", (tree[1],), None))
    elif kind == "leaf":
        found.append(Leaf(path or "update", tree[1], tree[2], top))
    elif kind == "dict":
        for key, child in tree[1]:
            # Only keys of the outermost dict name a segment.
            _list_leaves(child, _join(path, key), key if not path and top is None else top, found)
    else:
        for i, child in enumerate(tree[1]):
            _list_leaves(child, _join(path, i), top, found)


def _line_up(array: NDArray[Any]) -> NDArray[Any]:
    """Return the values in C order, native, as a view where that is possible."""
    return np.require(array, dtype=array.dtype.newbyteorder("="), requirements=("C", "A")).reshape(-1)


def _flat_values(update: Any, length: int) -> NDArray[Any]:
    if not isinstance(update, np.ndarray):
        raise InputError(f"update: expected a 1-D numpy array of {length} values, not {type(update).__name__}")
    array = _as_array(update, "update")
    if array.shape != (length,):
        raise InputError(f"update: expected shape ({length},), got {array.shape}")
    return _line_up(array)


def _collect(tree: Tree, update: Any, path: str, values: list[NDArray[Any]]) -> None:
    kind, here = tree[0], path or "update"
    if kind == "leaf":
        values.append(_leaf_values(tree, update, here))
        return
    if kind == "dict":
        if not isinstance(update, dict):
            raise InputError(f"{here}: expected a dict, not {type(update).__name__}")
        if len(update) != len(tree[1]) or any(key not in update for key, _ in tree[1]):
            missing = sorted(key for key, _ in tree[1] if key not in update)
            text = f"missing {', '.join(map(repr, missing))}" if missing else "keys that the layout does not have"
            raise InputError(f"{here}: the keys differ from the layout's: {text}")
        for key, child in tree[1]:
            _collect(child, update[key], _join(path, key), values)
        return
    if type(update) is not (list if kind == "list" else tuple):
        raise InputError(f"{here}: expected a {kind}, not {type(update).__name__}")
    if len(update) != len(tree[1]):
        raise InputError(f"{here}: expected {len(tree[1])} items, got {len(update)}")
    for i, child in enumerate(tree[1]):
        _collect(child, update[i], _join(path, i), values)


def _leaf_values(tree: Tree, update: Any, path: str) -> NDArray[Any]:
    _, dtype, shape = tree
    array = _as_array(update, path)
    if tuple(array.shape) != shape:
        raise InputError(f"{path}: expected shape {shape}, got {array.shape}")
    if array.dtype.newbyteorder("=").name != dtype:
        if shape == () and dtype == "float64" and type(update) is int and abs(update) <= EXACT_FLOAT64:
            return array.astype(np.float64).reshape(-1)  # a Python 0 where the example had 0.0
        raise InputError(
            f"{path}: expected dtype {dtype}, got {array.dtype}; convert it, so that nothing is rounded unseen"
        )
    return _line_up(array)


def _build(tree: Tree, leaves: Any) -> Any:
    kind = tree[0]
    if kind in ("flat", "leaf"):
        return next(leaves)
    if kind == "dict":
        return {key: _build(child, leaves) for key, child in tree[1]}
    items = [_build(child, leaves) for child in tree[1]]
    return items if kind == "list" else tuple(items)
