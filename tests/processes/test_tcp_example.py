"""The example of the guide, as its reader runs it: processes, sockets, one process that dies in the second round."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "tcp"


def test_hospitals_in_processes_over_sockets_one_of_them_lost():
    # The suite keeps directories off the path, so that it sees the installed wheel; the example's reader does not.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(EXAMPLE / "federation.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, third = (line.split(", ") for line in done.stdout.splitlines()[:3])
    assert [first[0], second[0], third[0]] == [f"round {i}: {n} hospitals" for i, n in ((1, 5), (2, 4), (3, 5))]
    assert first[1] == third[1] != second[1]
