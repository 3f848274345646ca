"""Whole rounds in Flower's simulation: unmodified FedAvg through a SecureGrid, and the same without one.

They run in the environment of `make test-integrations`, where Flower and our wheel are both installed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness.pairs import Pairs

if TYPE_CHECKING:
    from harness.records import Records

    from conftest import Scale

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".integrations" / "flower" / "bin" / "python"
WORKER = ROOT / "benchmarks" / "peers" / "workers" / "flower_round_worker.py"
CLIENTS, LENGTH, PAIRS = 10, 1_000_000, 21


def rounds(out: Path, **wanted: Any) -> dict[str, Any]:
    """Return the seconds of both sides, from one simulation."""
    asked = {"clients": CLIENTS, "length": LENGTH, "pairs": PAIRS, "protocol": "pairwise", **wanted, "out": str(out)}
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    environment = {**os.environ, **quiet, "SECAGG_FLOWER_ROUND": json.dumps(asked)}
    done = subprocess.run(  # noqa: S603  # our own script, under the integration's interpreter
        [str(PYTHON), str(WORKER)], env=environment, cwd=out.parent, capture_output=True, text=True, check=False
    )
    if not out.exists():
        raise RuntimeError(f"the simulation ended with {done.returncode}: {done.stderr[-2000:]}")
    return dict(json.loads(out.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "training", "protocol"),
    [
        pytest.param(name, training, protocol, marks=pytest.mark.measures(name))
        for name, training, protocol in (
            ("flower_round_vs_plain", 0.0, "pairwise"),
            ("flower_round_vs_plain_50ms", 0.05, "pairwise"),
            ("flower_oneshot_vs_plain", 0.0, "oneshot"),
        )
    ],
)
def test_a_round_in_flowers_simulation(
    name: str, training: float, protocol: str, scale: Scale, records: Records, tmp_path: Path
) -> None:
    """A warm round, without training and with 50 ms of it at each client."""
    if scale == "small":
        return  # Ray takes ten seconds to start; make test-integrations runs the same apps' parts
    if not PYTHON.exists():
        records.add(name, None, peer="flwr FedAvg", missing="make test-integrations installs Flower")
        return
    found = rounds(tmp_path / "found.json", training=training, protocol=protocol)
    assert set(found["exchanges"][1:]) == {2}, "a steady round of either protocol is two exchanges"
    assert found["error"] <= found["step"], f"{name}: the models differ, so their times mean nothing"
    pairs = Pairs(found["ours"], found["plain"])
    low, middle, high = pairs.ratios(inverse=True)
    records.add(
        name, middle, low=low, high=high, sense="ours/peer", pairs=len(pairs.ours), peer="flwr FedAvg",
        ours_seconds=sorted(pairs.ours)[len(pairs.ours) // 2], peer_seconds=sorted(pairs.theirs)[len(pairs.theirs) // 2],
        n=CLIENTS, length=LENGTH, threads=2, training_seconds=training, exchanges=found["exchanges"][-1],
    )  # fmt: skip
