"""Which implementation runs: forced by name, without the C module, or with one that cannot be loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import secagg
from secagg import _kernels
from secagg.errors import ParameterError

BACKENDS = _kernels.backends()


def run(code, force=None, prelude=""):
    env = {k: v for k, v in os.environ.items() if k != "SECAGG_FORCE_ISA"}
    env["PYTHONPATH"] = str(Path(secagg.__file__).parents[1])
    if force is not None:
        env["SECAGG_FORCE_ISA"] = force
    return subprocess.run(
        [sys.executable, "-P", "-c", f"import json, sys\n{prelude}\n{code}"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


REPORT = """
from secagg import _kernels
stream = _kernels.keystream(bytes(16), 1, 2, 40).hex()
loaded = [name for name in ("numba", "secagg._kernels.fallback") if name in sys.modules]
print(json.dumps([_kernels.build_info(), stream, loaded]))
"""


@pytest.mark.parametrize("name", BACKENDS)
def test_a_forced_isa_is_the_one_that_runs(name):
    info, stream, loaded = json.loads(run(REPORT, force=name).stdout)
    assert info["isa"] == name
    assert info["backend"] == ("fallback" if name == "fallback" else "native")
    assert info["available"] == list(BACKENDS)
    assert stream == _kernels.keystream(bytes(16), 1, 2, 40).hex()
    assert loaded == (["secagg._kernels.fallback"] if name == "fallback" else [])


def test_unforced_runs_the_best_and_an_empty_name_is_none():
    for force in (None, ""):
        info = json.loads(run(REPORT, force=force).stdout)[0]
        assert info["isa"] == info["available"][0] == next(iter(BACKENDS))
        assert info["compiler"] if info["backend"] == "native" else info["compiler"] is None


@pytest.mark.parametrize("name", ["nonesuch", "AESNI", "native", "fallback "])
def test_an_unknown_isa_fails_at_import(name):
    done = run("import secagg._kernels", force=name)
    assert done.returncode != 0
    assert ParameterError.__name__ in done.stderr
    assert "choose one of" in done.stderr


ABSENT = "sys.modules['secagg._native'] = None"
BROKEN = """
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "secagg._native":
            raise ImportError("undefined symbol", name=name)
sys.meta_path.insert(0, Broken())
"""


def test_without_the_c_module_the_fallback_runs():
    info, stream, _ = json.loads(run(REPORT, prelude=ABSENT).stdout)
    assert (info["backend"], info["isa"], info["available"]) == ("fallback", "fallback", ["fallback"])
    assert stream == _kernels.keystream(bytes(16), 1, 2, 40).hex()
    assert "ParameterError" in run(REPORT, force="portable", prelude=ABSENT).stderr


def test_a_broken_c_module_is_an_error_unless_the_fallback_is_forced():
    assert "undefined symbol" in run(REPORT, prelude=BROKEN).stderr
    assert json.loads(run(REPORT, force="fallback", prelude=BROKEN).stdout)[0]["isa"] == "fallback"
