"""Builds the C targets with clang, under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["TARGETS", "built", "compiler"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TARGETS = tuple(sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c")))
SOURCES = [
    *sorted((ROOT / "native").glob("*.c")),
    *sorted(p for p in (ROOT / "native" / "kernels").glob("*.c") if ".inc" not in p.name),
]
FLAGS = [
    "-std=c11",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fno-sanitize-recover=all",
    "-I",
    str(ROOT / "native" / "include"),
]
SANITIZE = "-fsanitize=address,undefined"


def compiler() -> str | None:
    """Return clang, or None where there is none."""
    return shutil.which("clang")


def _newest() -> float:
    return max(path.stat().st_mtime for folder in (ROOT / "native", HERE) for path in folder.rglob("*.[ch]"))


def built(name: str, folder: Path) -> Path:
    """Return the program of a target, built anew if a source changed."""
    program = folder / name
    if program.is_file() and program.stat().st_mtime > _newest():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in SOURCES:
        made = folder / f"{source.stem}.o"
        if not made.is_file() or made.stat().st_mtime < _newest():
            _run([f"{SANITIZE},fuzzer-no-link", "-c", str(source), "-o", str(made)])
        objects.append(str(made))
    _run([f"{SANITIZE},fuzzer", str(HERE / f"fuzz_{name}.c"), *objects, "-lm", "-o", str(program)])
    return program


def _run(arguments: list[str]) -> None:
    subprocess.run([str(compiler()), *FLAGS, *arguments], check=True)
