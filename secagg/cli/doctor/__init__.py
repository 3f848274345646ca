"""`secagg doctor`: whether this installation can be trusted on this machine, what is slow about it, and how to mend that."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from pathlib import Path

from secagg.cli.doctor.checks import CHECKS, Finding, ledger

__all__ = ["examine"]

WIDTH = 110
INDENT = 21


def examine(*, directory: Path, as_json: bool) -> bool:
    """Run every check, print what it found, and return whether nothing is wrong.

    Parameters
    ----------
    directory : Path
        Where a ledger would be kept; a temporary one is made there, and removed.
    as_json : bool
    """
    findings = [*(check() for check in CHECKS), ledger(directory)]
    sound = all(finding.state != "wrong" for finding in findings)
    if as_json:
        print(json.dumps({"sound": sound, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return sound
    for finding in findings:
        print(_line(finding))
    slow = sum(finding.state == "slow" for finding in findings)
    if not sound:
        print("\nSomething is wrong: see above.")
    elif slow:
        print(f"\nNothing is wrong; {slow} of it could be faster.")
    else:
        print("\nAll fine.")
    return sound


def _line(finding: Finding) -> str:
    head = f"{finding.state.upper() if finding.state == 'wrong' else finding.state:<7}{finding.name:<{INDENT - 7}}"
    lines = textwrap.wrap(finding.told, WIDTH - INDENT, break_long_words=False) or [""]
    if finding.mend:
        lines += textwrap.wrap(f"-> {finding.mend}", WIDTH - INDENT, break_long_words=False)
    return ("\n" + " " * INDENT).join([head + lines[0], *lines[1:]])
