"""The shipped vectors run by the implementation that this process has chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from secagg import errors
from secagg.cli.vectors.cases import OPERATIONS
from secagg.errors import SecAggError

__all__ = ["File", "Outcome", "files", "main", "run"]


@dataclass(frozen=True)
class File:
    """One file of vectors, as it ships.

    Attributes
    ----------
    name : str
    text : str
        As it lies in the wheel.
    data : dict
        Parsed: schema, source, licence, verified_by, params, selection, cases.
    """

    name: str
    text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How many cases of a file held, and which did not."""

    name: str
    passed: int
    failed: tuple[str, ...]


def files() -> Iterator[File]:
    """Yield the shipped files by name."""
    folder = resources.files("secagg") / "vectors"
    for name in sorted(OPERATIONS):
        text = (folder / f"{name}.json").read_text(encoding="utf-8")
        yield File(name, text, json.loads(text))


def run(file: File) -> Outcome:
    """Return what becomes of every case of a file: the output it names, or the error."""
    passed, failed = 0, []
    for number, case in enumerate(file.data["cases"]):
        reason = _run(file.name, case)
        if reason:
            failed.append(f"case {number} ({case['op']}): {reason}")
        else:
            passed += 1
    return Outcome(file.name, passed, tuple(failed))


def _run(name: str, case: dict[str, Any]) -> str:
    """Return why a case does not hold, or nothing; never what came out, which may be as long as a vector."""
    operation = OPERATIONS[name].get(case["op"])
    if operation is None:
        return "an operation that is not known here"
    try:
        made = operation(case["input"])
    except SecAggError as error:
        if case["success"]:
            return f"refused with {type(error).__name__}"
        return "" if isinstance(error, getattr(errors, case["error"])) else f"another error, {type(error).__name__}"
    if not case["success"]:
        return f"accepted, where {case['error']} is due"
    return "" if made == case["output"] else "another output"


def main() -> None:
    """Print the outcomes of all files as JSON: what `secagg vectors` starts once for each instruction set."""
    from secagg import build_info

    outcomes = [run(file) for file in files()]
    print(json.dumps({"isa": build_info()["isa"], "files": {o.name: [o.passed, list(o.failed)] for o in outcomes}}))
