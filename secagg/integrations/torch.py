"""PyTorch: a state_dict goes in, a state_dict comes out, with its dtypes, devices and ties.

The module itself needs no torch; its functions import it when they are called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from secagg.encoding import FixedPoint, Integer, Layout
from secagg.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["StateLayout"]

State: TypeAlias = "Mapping[str, torch.Tensor]"
Update: TypeAlias = dict[str, dict[str, NDArray[Any]]]

FLOATS, INTEGERS = "floats", "integers"
# What a dtype travels as: wide enough that neither its values nor a difference of two of them needs more.
_TRAVELS = {
    "bfloat16": "float32",
    "float16": "float32",
    "float32": "float32",
    "float64": "float64",
    "int8": "int64",
    "int16": "int64",
    "int32": "int64",
    "int64": "int64",
    "uint8": "int64",
}


@dataclass(frozen=True)
class _Entry:
    """One tensor of a state; `alias` names the earlier one whose memory it shares."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    alias: str | None

    @property
    def group(self) -> str:
        return INTEGERS if _TRAVELS[self.dtype] == "int64" else FLOATS


class StateLayout:
    """How the state_dicts of one model become updates, and means become state_dicts.

    Parameters
    ----------
    example : state_dict
        Names, dtypes, shapes and ties are kept, and no values. Tensors that are one and the same memory, tied weights, travel
        once.
    leave_out : collection of str
        Names that do not take part: constants such as masks. A result has them as they were.

    Attributes
    ----------
    layout : Layout
        For ``Params(layout=...)``. Its top-level keys are ``"floats"`` and ``"integers"``, those of the two that are there.

    Raises
    ------
    InputError
        An entry that cannot be averaged: no tensor, or a sparse, quantised, complex, boolean, 8-bit float or meta one.

    Notes
    -----
    bfloat16 and float16 travel as float32, which holds each of their values exactly; float64 stays; integers travel as int64.
    A mean is rounded to the tensor's own dtype once, to nearest with halves to even: for bfloat16 at most 2**-8 of the value,
    for float16 2**-11, beside the error of the encoding.
    """

    def __init__(self, example: State, *, leave_out: Collection[str] = ()) -> None:
        if not isinstance(example, Mapping):
            raise InputError(f"the example must be a state_dict, not {type(example).__name__}")
        if isinstance(leave_out, str) or (strangers := sorted(set(leave_out) - example.keys())):
            raise InputError(f"leave_out must be a collection of names of the state; got {leave_out or strangers!r}")
        self._leave_out = frozenset(leave_out)
        self._entries = _entries(example, self._leave_out)
        empty = {entry.name: np.empty(entry.shape, _TRAVELS[entry.dtype]) for entry in self._entries if not entry.alias}
        self.layout = Layout.of(self._grouped(empty))

    def __repr__(self) -> str:
        return f"<StateLayout of {len(self._entries)} tensors, {self.layout.size} values>"

    def segments(
        self, *, floats: FixedPoint | None = None, integers: Integer | FixedPoint | None = None
    ) -> dict[str, FixedPoint | Integer]:
        """Return ``Params(segments=...)`` with an encoding for each group that is there; what is None is left to the default.

        Parameters
        ----------
        floats : FixedPoint, optional
            For weights and float buffers.
        integers : Integer or FixedPoint, optional
            For integer buffers, such as counts of batches.
        """
        wanted = {FLOATS: floats, INTEGERS: integers}
        return {key: wanted[key] for key in self.layout.top_keys if wanted[key] is not None}  # type: ignore[misc]

    def pack(self, state: State, *, since: State | None = None) -> Update:
        """Return the update for `Client.submit` that `state` is, or that it is beyond `since`.

        Parameters
        ----------
        state : state_dict
            Of the example's names, dtypes and shapes, on any device. Read, never changed. Secret.
        since : state_dict, optional
            What the client started from; the update is the difference then.

        Returns
        -------
        dict of dict of ndarray
            In the structure of `layout`. May share the memory of `state` if `since` is None: do not write into it.

        Raises
        ------
        InputError
            Another structure, or tied tensors that differ. The message names the tensor and no values.
        """
        import torch

        self._check(state, "the state")
        if since is not None:
            self._check(since, "the state to start from")
        values: dict[str, NDArray[Any]] = {}
        for entry in self._entries:
            tensor = state[entry.name].detach()
            if entry.alias is not None:
                _same(tensor, state[entry.alias].detach(), entry)
                continue
            wide = tensor.to(device="cpu", dtype=getattr(torch, _TRAVELS[entry.dtype]))
            if since is not None:
                wide = wide - since[entry.name].detach().to(device="cpu", dtype=wide.dtype)
            values[entry.name] = wide.contiguous().numpy(force=True)
        return self._grouped(values)

    def unpack(self, mean: Mapping[str, Mapping[str, Any]], like: State, *, add: bool = False) -> OrderedDict[str, Any]:
        """Return the state_dict that a mean of updates says.

        Parameters
        ----------
        mean : nest of ndarray
            `Aggregate.mean`, in the structure of `layout`.
        like : state_dict
            Gives devices, ties, and what was left out. Read, never changed.
        add : bool
            Whether `mean` is of differences, to be added to `like`.

        Returns
        -------
        OrderedDict of str to Tensor
            New tensors in the order, dtypes and devices of `like`; tied names hold one tensor. What a dtype cannot hold becomes
            its nearest finite value, and integers are rounded.

        Raises
        ------
        InputError
            `mean` or `like` have another structure.
        """
        import torch

        self._check(like, "the state")
        arrays = dict(zip(self._order(), self.layout.flatten(mean), strict=True))
        made: dict[str, torch.Tensor] = {}
        for entry in self._entries:
            target = like[entry.name].detach()
            if entry.alias is not None:
                made[entry.name] = made[entry.alias]
                continue
            value = torch.from_numpy(arrays[entry.name].copy()).reshape(entry.shape)
            if add:
                value = target.to(device="cpu", dtype=value.dtype) + value
            made[entry.name] = _narrow(value, target.dtype).to(target.device)
        out: OrderedDict[str, Any] = OrderedDict(
            (name, like[name].detach().clone() if name in self._leave_out else made[name]) for name in like
        )
        if (
            metadata := getattr(like, "_metadata", None)
        ) is not None:  # versions of modules, which load_state_dict reads
            out._metadata = metadata  # type: ignore[attr-defined]  # noqa: SLF001
        return out

    def _order(self) -> list[str]:
        own = [entry for entry in self._entries if entry.alias is None]
        return [entry.name for group in self.layout.top_keys for entry in own if entry.group == group]

    def _grouped(self, values: Mapping[str, NDArray[Any]]) -> Update:
        groups: Update = {FLOATS: {}, INTEGERS: {}}
        for entry in self._entries:
            if entry.alias is None:
                groups[entry.group][entry.name] = values[entry.name]
        return {group: leaves for group, leaves in groups.items() if leaves}

    def _check(self, state: State, what: str) -> None:
        if not isinstance(state, Mapping):
            raise InputError(f"{what} must be a state_dict, not {type(state).__name__}")
        names = {entry.name for entry in self._entries} | self._leave_out
        if state.keys() != names:
            odd = sorted(map(str, names.symmetric_difference(state.keys())))
            raise InputError(f"{what} has other names than the example: {', '.join(map(repr, odd[:5]))}")
        for entry in self._entries:
            dtype = _dtype(entry.name, state[entry.name])
            if dtype != entry.dtype:
                raise InputError(f"{what}: {entry.name!r} is {dtype}, and was {entry.dtype} in the example")
            if tuple(state[entry.name].shape) != entry.shape:
                raise InputError(
                    f"{what}: {entry.name!r} has shape {tuple(state[entry.name].shape)}, and had {entry.shape} in the example"
                )


def _entries(example: State, leave_out: frozenset[str]) -> tuple[_Entry, ...]:
    owners: dict[tuple[Any, ...], str] = {}
    entries = []
    for name, tensor in example.items():
        if name in leave_out:
            continue
        dtype = _dtype(name, tensor)
        memory = (str(tensor.device), tensor.data_ptr(), dtype, tuple(tensor.shape), tuple(tensor.stride()))
        owner = owners.setdefault(memory, name) if tensor.numel() else name  # tensors without values share nothing
        entries.append(_Entry(name, dtype, tuple(tensor.shape), None if owner == name else owner))
    return tuple(entries)


def _dtype(name: str, tensor: Any) -> str:
    """Return the name of a tensor's dtype, if it can be averaged."""
    import torch

    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise InputError(f"{name!r} is a {type(tensor).__name__}, not a plain tensor; leave_out what is not averaged")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise InputError(f"{name!r} is a sparse, quantised or meta tensor, whose values cannot be averaged")
    if dtype not in _TRAVELS:
        raise InputError(f"{name!r} is {dtype}, which cannot be averaged; leave_out constants, convert the rest")
    return dtype


def _same(tensor: torch.Tensor, other: torch.Tensor, entry: _Entry) -> None:
    import torch

    one_memory = tensor.data_ptr() == other.data_ptr() and tensor.stride() == other.stride()
    if not one_memory and not torch.equal(tensor, other.to(tensor.device)):
        raise InputError(f"{entry.name!r} and {entry.alias!r} were tied in the example, and differ now")


def _narrow(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a float32, float64 or int64 tensor in a dtype that may hold less."""
    import torch

    if value.dtype == dtype:
        return value
    limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    return value.clamp(limits.min, limits.max).to(dtype)
