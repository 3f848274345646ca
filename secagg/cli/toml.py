"""Params as a TOML file that people read and edit: every command that takes ``--params`` takes it.

The file says everything, also what was a default when it was written, so that a later version with other defaults reads the same
Params from it. What is unknown is refused by name: a mistyped key must not quietly become a default.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from secagg.cli.files import using
from secagg.encoding import FixedPoint, Integer, Layout
from secagg.errors import InputError, ParameterError
from secagg.files import read_bounded
from secagg.params import Params

__all__ = ["params_from_toml", "read_params", "write_params"]

MAX_BYTES = 1 << 26
FORMAT = 1
ENCODINGS: dict[str, Any] = {"fixed-point": FixedPoint, "integer": Integer}
# What a protocol has no use for is not written; Params refuse it if somebody else does.
UNUSED = {
    "pairwise": ("reveal", "ring", "committee", "packing"),
    "ckks": ("threshold", "min_cohort", "neighbours", "committee", "packing"),
    "oneshot": ("min_cohort", "neighbours", "reveal"),
}
LEAF = re.compile(r"([a-z]+[0-9]+)\[((?:[0-9]+(?:,[0-9]+)*)?)\]")


def write_params(params: Params) -> str:
    """Return a TOML document that `read_params` turns into equal Params.

    Parameters
    ----------
    params : Params

    Returns
    -------
    str
        Nothing in it is secret.
    """
    lines = ["# Params of a session of secagg; every participant needs the same.", f"format = {FORMAT}"]
    tables: list[str] = []
    for field in fields(Params):
        value = getattr(params, field.name)
        if field.name in UNUSED[params.protocol] or (field.name == "length" and not _flat(params)):
            continue
        if field.name == "layout":
            if not _flat(params):
                tables += ["", *_layout_table(value)]
        elif field.name == "encoding":
            tables += ["", "[encoding]", *_encoding(value)]
        elif field.name == "segments":
            for name, encoding in value:
                tables += ["", f"[segments.{_string(name)}]", *_encoding(encoding)]
        else:
            lines.append(f"{field.name} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def read_params(path: Path) -> Params:
    """Return the Params in a file, TOML or canonical bytes; all checks are made again.

    Parameters
    ----------
    path : Path
        What `secagg plan --out` writes, or ``Params.to_bytes()``.

    Raises
    ------
    InputError
        No such file, or not Params: the message names the file, and the key that is wrong.
    """
    with using(path):
        content = read_bounded(path, MAX_BYTES)
    try:
        # Canonical bytes begin with a MessagePack array, and TOML with ASCII.
        return Params.from_bytes(content) if content[:1] >= b"\x80" else params_from_toml(content.decode())
    except UnicodeDecodeError:
        raise InputError(f"{path}: neither TOML nor the canonical bytes of Params") from None
    except (ParameterError, InputError) as refused:
        raise InputError(f"{path}: {refused}") from None


def params_from_toml(text: str) -> Params:
    """Return the Params that a TOML document describes.

    Parameters
    ----------
    text : str

    Raises
    ------
    InputError
        Not TOML, a key that nothing has a use for, or a value of another type.
    ParameterError
        The values do not make Params.
    """
    try:
        given = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # TOMLDecodeError is a ValueError, and so is an integer of too many digits
        raise InputError(f"not TOML: {error}") from None
    if given.pop("format", None) != FORMAT:
        raise InputError(f"format = {FORMAT} is missing: not Params, or those of another version")
    _no_others(given, (field.name for field in fields(Params)), "Params")
    values = dict(given)
    if "encoding" in values:
        values["encoding"] = _read_encoding(values["encoding"], "encoding")
    if "segments" in values:
        parts = _table(values["segments"], "segments")
        values["segments"] = {name: _read_encoding(part, f"segments.{name}") for name, part in parts.items()}
    if "layout" in values:
        values["layout"] = _read_layout(values["layout"])
    for name in ("metrics", "ring"):
        if name in values:
            values[name] = tuple(_array(values[name], name))
    try:
        return Params(**values)
    except TypeError:
        raise InputError("a value of Params has another type than it should, or clients is missing") from None


def _flat(params: Params) -> bool:
    return params.layout is not None and params.layout.is_flat


# -- writing ------------------------------------------------------------------------------------------------------


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    return repr(value)  # int, and float in TOML's own form


def _encoding(encoding: FixedPoint | Integer) -> list[str]:
    (kind,) = [name for name, made in ENCODINGS.items() if isinstance(encoding, made)]
    return [
        f"kind = {_string(kind)}",
        *(f"{field.name} = {_value(getattr(encoding, field.name))}" for field in fields(encoding)),
    ]


def _layout_table(layout: Layout) -> list[str]:
    """Return the table of a layout: what it is made of, one entry of its outermost nest a line."""
    kind, *rest = layout.tree
    if kind == "dict" and rest[0]:
        return ["[layout.dict]", *(f"{_string(key)} = {_node(child)}" for key, child in rest[0])]
    return (
        ["[layout]", _node(layout.tree)[1:-1].strip()]
        if kind != "leaf"
        else ["[layout]", f"leaf = {_node(layout.tree)}"]
    )


def _node(tree: tuple[Any, ...]) -> str:
    kind, *rest = tree
    if kind == "leaf":
        dtype, shape = rest
        return _string(f"{dtype}[{','.join(map(str, shape))}]")
    if kind == "dict":
        inside = ", ".join(f"{_string(key)} = {_node(child)}" for key, child in rest[0])
        return f"{{ dict = {{ {inside} }} }}" if inside else "{ dict = {} }"
    return f"{{ {kind} = [{', '.join(_node(child) for child in rest[0])}] }}"


# -- reading ------------------------------------------------------------------------------------------------------


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a table")
    return value


def _array(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where} must be an array")
    return value


def _no_others(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = sorted(known)
    for name in given:
        if name not in known:
            raise InputError(f"{where} has no {name!r}; it knows {', '.join(known)}")


def _read_encoding(given: Any, where: str) -> FixedPoint | Integer:
    given = dict(_table(given, where))
    kind = given.pop("kind", None)
    made = ENCODINGS.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise InputError(f"{where}: kind must be one of {', '.join(map(repr, ENCODINGS))}")
    _no_others(given, (field.name for field in fields(made)), where)
    for name, value in given.items():
        if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"{where}.{name} must be a number or a string")
    try:
        encoding: FixedPoint | Integer = made(**given)
    except TypeError:
        raise InputError(f"{where}: a value is missing, or has another type than it should") from None
    return encoding


def _read_layout(given: Any) -> Layout:
    given = _table(given, "layout")
    if set(given) == {"leaf"}:
        given = given["leaf"]
    return Layout.from_canonical(("layout", _read_node(given)))


def _read_node(given: Any) -> tuple[Any, ...]:
    if isinstance(given, str):
        found = LEAF.fullmatch(given)
        if found is None:
            raise InputError(f"layout: {given!r} is no array; write 'float32[10,3]'")
        sides = found[2].split(",") if found[2] else []
        if any(len(side) > 13 for side in sides):
            raise InputError("layout: an array is too large")
        return ("leaf", found[1], tuple(map(int, sides)))
    made: dict[str, Callable[[Any], tuple[Any, ...]]] = {
        "dict": lambda inside: tuple((k, _read_node(v)) for k, v in _table(inside, "layout: dict").items()),
        "list": lambda inside: tuple(_read_node(each) for each in _array(inside, "layout: list")),
        "tuple": lambda inside: tuple(_read_node(each) for each in _array(inside, "layout: tuple")),
    }
    given = _table(given, "layout")
    if len(given) != 1 or not set(given) <= set(made):
        raise InputError("layout: a nest is one of dict, list or tuple, and a leaf is a string such as 'float32[10,3]'")
    ((kind, inside),) = given.items()
    return (kind, made[kind](inside))
