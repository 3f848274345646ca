"""What was measured, by name: kept in a JSON file, printed as one table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.marks import MARKS

__all__ = ["Records"]

COLUMNS = ("name", "value", "low .. high", "mark", "met", "is", "peer", "isa", "n", "length")


class Records:
    """The results of one run, merged into those of earlier ones by name.

    Parameters
    ----------
    path : Path
        The JSON file: name -> what was measured.
    common : dict
        What holds for every result of the run: isa, cpu, date.
    """

    def __init__(self, path: Path, common: dict[str, Any]) -> None:
        self._path = path
        self._common = common
        self.new: dict[str, dict[str, Any]] = {}

    def add(self, name: str, value: float | None, **about: Any) -> dict[str, Any]:
        """Keep one result; a `value` of None means that it could not be measured, and `about` says why."""
        mark = MARKS.get(name)
        entry = {"ratio": value, "low": value, "high": value, "peer": "", "peer_version": "", "threads": 1, **about}
        entry.setdefault("unit", "x" if mark is None else mark.unit)
        entry["mark"] = None if mark is None else str(mark)
        entry["met"] = None if mark is None or value is None else mark.met(value)
        self.new[name] = {**entry, **self._common}
        return self.new[name]

    def save(self) -> None:
        """Write the file: the new results, and those of other names as they were."""
        known = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
        order = [*MARKS, *sorted((known | self.new).keys() - MARKS.keys())]
        merged = {**known, **self.new}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({name: merged[name] for name in order if name in merged}, indent=1)
        self._path.write_text(text + "\n", encoding="utf-8")

    def table(self) -> list[str]:
        """Return the lines of the table of the new results, those with marks first."""
        names = sorted(
            self.new, key=lambda name: (name not in MARKS, list(MARKS).index(name) if name in MARKS else name)
        )
        return _aligned([COLUMNS, *(_row(name, self.new[name]) for name in names)])


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    peer = f"{entry['peer']} {entry['peer_version']}".strip()
    unit = "" if entry["unit"] == "x" else f" {entry['unit']}"
    tail = (entry.get("sense", ""), peer, entry["isa"], str(entry.get("n", "")), str(entry.get("length", "")))
    if entry["ratio"] is None:
        return (name, "missing", "", entry["mark"] or "", "", entry.get("missing", ""), *tail[1:])
    spread = "" if entry["low"] == entry["high"] else f"{_number(entry['low'])} .. {_number(entry['high'])}"
    met = {True: "yes", False: "NO", None: ""}[entry["met"]]
    return (name, _number(entry["ratio"]) + unit, spread, entry["mark"] or "", met, *tail)


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
