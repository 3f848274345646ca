"""A provisioned federation on loopback: server and sites as NVFlare deploys them, TLS, startup kits, a site that vanishes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from nvflare.fuel.flare_api.flare_api import new_secure_session
from simulation import SITES, Outcome, job
from test_simulator import check, in_clear, says

import secagg
from secagg.integrations.nvflare import Claim, roster_of

ADMIN = "admin@nvidia.com"
TIMEOUT = 240


def poc(*arguments):
    command = [str(Path(sys.executable).parent / "nvflare"), "poc", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)


@contextmanager
def deployment(home, monkeypatch):
    """Provision, give every party its key and the roster, start all, and stop all."""
    monkeypatch.setenv("NVFLARE_POC_WORKSPACE", str(home / "poc"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # their scripts call python3
    poc("prepare", "-n", str(len(SITES)), "--force")
    (server,) = (home / "poc").rglob("server.key")
    kits = server.parents[2]
    claims = {}
    for name in (*SITES, "server"):
        local = kits / name / "local" / "secagg"
        local.mkdir()
        identity = secagg.Identity.generate()
        identity.save(local / f"{name}.key")
        claims[name] = Claim.sign(kits / name / "startup", secagg.PublicKey(name, identity.verify_key))
    for name in claims:  # everybody from its own root certificate
        root = (kits / name / "startup" / "rootCA.pem").read_bytes()
        roster = roster_of([claims[site] for site in SITES], claims["server"], root)
        roster.save(kits / name / "local" / "secagg" / "roster")
    poc("start")
    try:
        yield kits
    finally:
        poc("stop")


@pytest.mark.slow
def test_a_provisioned_federation_survives_a_site_that_vanishes(tmp_path, monkeypatch):
    made = job(tmp_path, rounds=3, trainer={"vanishes": {"site-4": 1}}, seconds=40)
    with deployment(tmp_path, monkeypatch) as kits:
        made.export_job(str(tmp_path / "jobs"))
        session = new_secure_session(ADMIN, str(kits / ADMIN))
        try:
            number = session.submit_job(str(tmp_path / "jobs" / "secure"))
            session.monitor_job(number, timeout=TIMEOUT)
            assert session.get_job_meta(number)["status"].startswith("FINISHED:")
        finally:
            session.close()
    outcome = Outcome(tmp_path)
    assert outcome.contributors == [4, 3, 3]
    check(outcome, {"site-4": [1, 2]})
    for secret in in_clear(3):
        assert not [task for task, message in outcome.heard if says(secret, message)]
