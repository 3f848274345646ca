"""Corpora as text: one file a target, one input a line in hex, remarks after #."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["CORPUS", "CRASHES", "MAX_BYTES", "read", "unpack", "write"]

HERE = Path(__file__).resolve().parent
CORPUS, CRASHES = HERE / "corpus", HERE / "crashes"
MAX_BYTES = 100_000  # of one file


def read(path: Path) -> list[bytes]:
    """Return the inputs in a file, none if there is no such file."""
    if not path.is_file():
        return []
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="ascii").splitlines())
    # An empty input is written as a dash.
    return [b"" if line == "-" else bytes.fromhex(line) for line in lines if line]


def write(path: Path, inputs: Iterable[bytes], remark: str) -> int:
    """Write as many inputs as fit, short ones first, and return how many these are."""
    lines, room = [f"# {remark}"], MAX_BYTES - len(remark) - 3
    for each in sorted(set(inputs), key=lambda data: (len(data), data)):
        line = each.hex() or "-"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return len(lines) - 1


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """Write each input to a file of its own, as libFuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in inputs:
        (folder / hashlib.sha256(each).hexdigest()[:24]).write_bytes(each)
