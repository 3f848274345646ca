"""A user's program is checked against the types that the installed wheel ships, strictly; and they catch a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

import secagg


def hospital(me: str, key: secagg.Identity, roster: secagg.Roster, params: secagg.Params) -> secagg.Client:
    return secagg.Client(params, me=me, identity=key, roster=roster, ledger=f"{me}.db")


def answer(client: secagg.Client, frames: list[bytes], update: NDArray[np.float32]) -> list[bytes]:
    for frame in frames:
        client.receive(frame)
    if client.awaiting:
        round_id: int = client.awaiting.round_id
        client.submit(update, weight=100, context=str(round_id).encode())
    return client.outbox()


def lead(server: secagg.Server, arrived: Mapping[str, list[bytes]]) -> list[tuple[str | None, bytes]]:
    for sender, frames in arrived.items():
        for frame in frames:
            try:
                name: str = server.receive(frame, sender=sender)
            except secagg.errors.PeerError as error:
                print(error.peer, error.phase)
            else:
                print(name)
    missing: tuple[str, ...] = server.missing
    print(missing)
    server.close_phase()
    return server.outbox()


params: secagg.Params = secagg.plan(12, 1_000_000, dropout=2, corrupt=1, encoding=secagg.FixedPoint(bits=12))
figures: dict[str, object] = params.explain().to_dict()
found: secagg.Aggregate = secagg.simulate({"a": np.zeros(3), "b": np.ones(3)}, secagg.Params(2, length=3, min_honest=1))
weight: int = found.weight
receipt: secagg.Receipt = found.receipt
read: str = receipt.to_json()
"""


def check(home: Path, program: str) -> subprocess.CompletedProcess[str]:
    (home / "program.py").write_text(program)
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--no-incremental", "--config-file", "", "program.py"]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)


def test_a_program_passes(tmp_path):
    done = check(tmp_path, PROGRAM)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mistakes_are_seen(tmp_path):
    wrong = (
        'import secagg\n\nsecagg.Params("twelve", length=3)\nsecagg.Params(12, lenght=3)\nx: str = secagg.plan(12, 3)\n'
    )
    done = check(tmp_path, wrong)
    assert done.returncode == 1
    assert {line.split(":")[1] for line in done.stdout.splitlines() if "error:" in line} == {"3", "4", "5"}
