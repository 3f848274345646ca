"""The example runs as its README says, and the guide's blocks run in order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from simulation import ATTEMPTS, NEVER_CAME_UP
from test_kits import provision

from secagg.cli.demo import hospitals
from secagg.cli.demo import model as net

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLE = DOCS / "examples" / "nvflare-hospitals"
ROUNDS = 5


def run(home, monkeypatch, *options):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)  # the example imports from its own directory
    for attempt in range(ATTEMPTS):
        workspace = home / str(attempt)
        command = [sys.executable, str(EXAMPLE / "job.py"), "--workspace", str(workspace), *options]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300, check=False)
        if NEVER_CAME_UP not in done.stdout + done.stderr:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    (saved,) = workspace.rglob("models/server.npy")
    return np.load(saved), done.stdout


def fedavg():
    """Return what FedAvg makes of the hospitals, in float64."""
    patients = hospitals.load(7, 1)
    model = net.initial(1)
    total = sum(each.patients for each in patients.hospitals)
    for _ in range(ROUNDS):
        start = model
        for each in patients.hospitals:
            model = net.add(model, net.train(start, each.x, each.y), each.patients / total)
    return np.concatenate([leaf.ravel() for part in model.values() for leaf in part.values()])


def check(tmp_path, monkeypatch, *options):
    got, said = run(tmp_path, monkeypatch, *options)
    assert np.abs(got - fedavg()).max() < 1e-5
    line = said.splitlines()[-1]
    assert line in (EXAMPLE / "README.md").read_text()
    return said


def test_the_example_runs(tmp_path, monkeypatch):
    said = check(tmp_path, monkeypatch)
    assert said.count("7 of 7 sites, weight 426, 0 values clipped, accuracy 0.") == ROUNDS


@pytest.mark.slow
def test_without_protection_it_ends_with_the_same_model(tmp_path, monkeypatch):
    check(tmp_path, monkeypatch, "--plain")


def test_the_guide_runs(tmp_path, monkeypatch, capsys):
    kits = provision(tmp_path / "provisioned", server="server")
    for name in ("site-1", "site-2", "server"):
        (kits / name / "local" / "secagg").mkdir(parents=True)
    (kits / "train.py").touch()
    monkeypatch.chdir(kits)
    namespace: dict[str, object] = {}
    blocks = re.findall(r"^```py\n(.*?)^```$", (DOCS / "guides" / "nvflare.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    for number, source in enumerate(blocks):
        exec(compile(source, f"nvflare.md:{number}", "exec"), namespace)
    namespace["job"].export_job("jobs")
    assert (kits / "jobs" / "study" / "meta.json").exists()
    assert len(capsys.readouterr().out.split()) >= 10
