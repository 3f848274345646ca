"""Fuzz one target with atheris: ``python -P tests/fuzz/run.py TARGET [libFuzzer's options and folders]``; `session` calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.targets import load  # the path comes first

# Whatever of the package is imported from here on tells the fuzzer which branches it took.
with atheris.instrument_imports(include=["secagg"]):
    target = load(sys.argv[1])


def main() -> None:
    """Run until libFuzzer's options say that it is enough, or something is found."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
