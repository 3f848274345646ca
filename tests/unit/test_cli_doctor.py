"""`secagg doctor`: fine here, and each check able to say otherwise."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from typer.testing import CliRunner

import secagg
from secagg import _kernels
from secagg.cli import app
from secagg.cli.doctor import checks
from secagg.cli.vectors.runner import Outcome
from secagg.errors import AbortError, InputError


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_this_machine_is_sound(tmp_path):
    done = run("--ledger", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["sound"] is True
    names = [each["name"] for each in data["findings"]]
    assert names == [
        "package", "processor", "kernels", "vectors", "rounds", "speed", "dependencies", "entropy", "numba cache", "ledger",
    ]  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_text(tmp_path):
    done = run("--ledger", tmp_path)
    assert done.exit_code == 0, done.output
    assert secagg.build_info()["isa"] in done.stdout
    assert "exact sum" in done.stdout


def test_what_is_wrong_is_status_1(tmp_path):
    done = run("--ledger", tmp_path / "absent")
    assert done.exit_code == 1
    said = " ".join(done.stdout.split())  # the path decides where lines end
    assert "WRONG ledger" in said and "No such file" in said and "-> " in said
    assert "Something is wrong" in done.stdout
    assert json.loads(run("--ledger", tmp_path / "absent", "--json").stdout)["sound"] is False


def test_a_ledger_that_cannot_be_kept(tmp_path):
    with mock.patch.object(checks, "Ledger", side_effect=InputError("no room")):
        found = checks.ledger(tmp_path)
    assert found.state == "wrong" and "no room" in found.told


def test_a_slow_disk(tmp_path):
    with mock.patch.object(checks, "SLOW_FSYNC", -1.0):
        found = checks.ledger(tmp_path)
    assert found.state == "slow" and found.mend


def test_only_slow_is_status_0(tmp_path):
    with mock.patch.object(checks, "SLOW_MASKS", 1e18):
        done = run("--ledger", tmp_path)
    assert done.exit_code == 0
    assert "could be faster" in done.stdout and "slow   speed" in done.stdout


def test_all_fine(tmp_path):
    fine = checks.Finding("thing", "fine", "", "", {})
    with (
        mock.patch("secagg.cli.doctor.CHECKS", (lambda: fine,)),
        mock.patch("secagg.cli.doctor.ledger", return_value=fine),
    ):
        assert "All fine." in run().stdout


def info(**given: Any) -> Any:
    base = {
        "backend": "native",
        "isa": "avx2",
        "available": ["avx2", "portable", "fallback"],
        "compiler": "GCC",
        "version": "1",
    }
    return mock.patch.object(_kernels, "build_info", return_value=base | given)


def test_kernels_missing_or_forced(monkeypatch):
    with info():
        assert checks.kernels().state == "fine"
    with info(available=["fallback"], isa="fallback", compiler=None, backend="fallback"):
        found = checks.kernels()
    assert found.state == "slow" and "install a C compiler" in found.mend
    monkeypatch.setenv("SECAGG_FORCE_ISA", "portable")
    with info(isa="portable"):
        found = checks.kernels()
    assert found.state == "slow" and "unset it to run avx2" in found.mend


def test_vectors_that_fail():
    with mock.patch.object(checks, "run", return_value=Outcome("ring", 3, ("case 1 (add): another output",))):
        found = checks.vectors()
    assert found.state == "wrong" and "case 1 (add)" in found.told


def test_rounds_that_fail():
    with mock.patch.object(secagg, "simulate", side_effect=AbortError("too few")):
        found = checks.rounds()
    assert found.state == "wrong" and "AbortError: too few" in found.told
    with mock.patch.object(secagg, "simulate", return_value=mock.Mock(sum=np.zeros(40))):
        found = checks.rounds()
    assert found.state == "wrong" and "pairwise: the sum is not exact" in found.told


@pytest.mark.parametrize(
    ("versions", "state", "words"),
    [
        ({}, "fine", ""),
        ({"numpy": None}, "wrong", "numpy is missing"),
        ({"numpy": "1.2"}, "wrong", "numpy 1.2 is older"),
        ({"tenseal": None}, "fine", "only secagg.integrations.tenseal"),
    ],
)
def test_dependencies(versions, state, words):
    real = metadata.version

    def version(name: str) -> str:
        if name in versions:
            if versions[name] is None:
                raise metadata.PackageNotFoundError(name)
            return versions[name]
        return real(name)

    requires = ["numpy>=1.26", "tenseal>=0.3.15", "rich", "pytest>=8; extra == 'dev'"]
    versions.setdefault("tenseal", "0.3.15")
    with (
        mock.patch.object(metadata, "version", version),
        mock.patch.object(metadata, "requires", return_value=requires),
    ):
        found = checks.dependencies()
    assert found.state == state and words in found.mend
    assert "pytest" not in found.told


def test_entropy(monkeypatch):
    assert checks.entropy().state == "fine"
    with mock.patch.object(os, "urandom", side_effect=NotImplementedError):
        assert "gives no random bytes" in checks.entropy().told
    with mock.patch.object(os, "urandom", return_value=bytes(32)):
        assert "two draws are equal" in checks.entropy().told
    monkeypatch.delattr(os, "getrandom", raising=False)
    assert checks.entropy().data == {"source": "os.urandom"}


def test_numba_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert checks.numba_cache().told == str(tmp_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "absent"))
    with info(backend="fallback"):
        assert checks.numba_cache().state == "slow"
    with info(backend="native"):
        assert checks.numba_cache().state == "fine"


def test_other_processors():
    with mock.patch.object(Path, "read_text", side_effect=FileNotFoundError):
        found = checks.processor()
    assert found.state == "fine"
    with mock.patch("platform.machine", return_value="riscv64"):
        assert checks.processor().data["features"] == {}
    text = "processor\t: 0\nFeatures\t: fp asimd aes\n"
    with (
        mock.patch("platform.machine", return_value="aarch64"),
        mock.patch.object(Path, "read_text", return_value=text),
    ):
        found = checks.processor()
    assert found.data["features"] == {"aes": True, "asimd": True, "sha2": False}
