"""A server whose every phase is another process, with another order of hashing: fault 49."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from support.committee import Committee
from support.encrypted import Encrypted
from support.federation import Federation
from support.journaled import journaled, reopened

PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import secagg
home = Path(sys.argv[1])
server = secagg.Server(
    secagg.Params.from_bytes((home / "params").read_bytes()), identity=secagg.Identity.load(home / "identity"),
    roster=secagg.Roster.load(home / "roster"), journal=home / "journal", threads=1,
)
out = server.outbox()
server.close()
sent = [[to, hashlib.sha256(frame).hexdigest()] for to, frame in out]
print(json.dumps([server.phase, server.round_id, sent]))
"""


@pytest.mark.parametrize("made", [Federation, Encrypted, Committee])
def test_fault_49_another_process_goes_on_whatever_the_order_of_its_sets(made, memory):
    """Hashing is salted by the process, so a step that followed the order of a set would not come out the same."""
    fed = journaled(made(7, corrupt=1, min_clients=6, rounds_per_setup=2), memory / "journal")
    (memory / "params").write_bytes(fed.params.to_bytes())
    fed.roster.save(memory / "roster")
    fed.server_key.save(memory / "identity")

    def other(seed):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-c", PROGRAM, str(memory)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    for round_id in (1, 2):
        fed.server.open_round(round_id)
        while fed.server.phase != "idle":
            out = fed.server.outbox()
            sent = [[to, hashlib.sha256(frame).hexdigest()] for to, frame in out]
            here = [fed.server.phase, round_id, sent]
            fed.server.close()
            assert other(round_id) == here
            fed.server = reopened(fed, fed.journal)
            fed.phase({"c3"} if fed.server.phase in {"masked", "encrypted"} else ())
        fed.check([name for name in fed.ids if name != "c3"], round_id)
