"""Real processes over sockets, killed with SIGKILL at random points, by others or themselves in the middle of a write: fault 49.

Every round ends in the exact sum over its contributors or in an abort, once; nobody is ever asked or told two different things;
and when the dying stops, all clients are in a sum again. ``pytest -rP`` prints what happened.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
MODES = ["pairwise", "ckks", "ckks-holder", "oneshot"]


def crash(home, mode, kills, seed):
    script = TESTS / "support" / "crash_run.py"
    command = [sys.executable, str(script), str(home), mode, str(kills), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    failed = "\n".join(path.read_text() for path in Path(home).glob("failure-*"))
    assert done.returncode == 0, f"seed {seed}: {done.stderr}\n{failed}"
    return json.loads(done.stdout)


def told(record_property, mode, seed, found):
    record_property("crashes", json.dumps({"mode": mode, "seed": seed, **found}))
    print(f"{mode}, seed {seed}: {found}")  # noqa: T201 - the figures are the point
    assert found["exact"] >= 1
    assert found["of all"] >= 1


@pytest.mark.parametrize("mode", MODES)
def test_fault_49_twenty_processes_die_and_every_round_is_exact_or_aborted(memory, record_property, mode):
    found = crash(memory, mode, 20, seed := random.SystemRandom().getrandbits(32))
    told(record_property, mode, seed, found)
    assert sum(found["killed"].values()) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_fault_49_hundreds_of_processes_die_and_every_round_is_exact_or_aborted(memory, record_property, mode):
    found = crash(memory, mode, 400, seed := random.SystemRandom().getrandbits(32))
    told(record_property, mode, seed, found)
    assert sum(found["killed"].values()) >= 400
    assert min(found["killed"][who] for who in ("server", "client")) >= 100
