"""The Promela models of docs/spec/model: with all rules they hold, with a rule removed the attack is found. Needs Spin."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "spec" / "model"


def runner():
    spec = importlib.util.spec_from_file_location("model_runner", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


RUNNER = runner()


def test_every_rule_of_the_models_is_removed_in_some_case():
    """A rule that no case removes could be left out of the model without anyone seeing it."""
    for model in ("lying_server.pml", "honest_server.pml"):
        text = (FOLDER / model).read_text(encoding="utf-8")
        removed = {
            define
            for case in RUNNER.cases()
            if case.model == model
            for define in case.defines
            if define.startswith("NO_")
        }
        assert removed == set(re.findall(r"#ifn?def (NO_\w+)", text))


def test_cases_are_told_apart():
    cases = RUNNER.cases()
    assert len({(case.name, case.attack, case.defines) for case in cases}) == len(cases)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("depth reached 9, errors: 0\n   36 states, stored\n", "holds"),
        ("pan:1: assertion violated  !(left_out)\ndepth reached 9, errors: 1\n   36 states, stored\n", "broken"),
        ("pan:1: invalid end state\ndepth reached 9, errors: 1\n   36 states, stored\n", "stopped"),
        ("Warning: Search not completed\ndepth reached 9, errors: 0\n   36 states, stored\n", "stopped"),
        ("error: max search depth too small\ndepth reached 9, errors: 0\n   36 states, stored\n", "stopped"),
        ("pan: reached -DMEMLIM bound\n", "no verdict"),
    ],
)
def test_a_search_that_stopped_has_shown_nothing(said, verdict):
    assert RUNNER.read(said, 0.0).verdict.startswith(verdict)


@pytest.mark.slow
def test_the_models_come_out_as_they_must(capsys):
    missing = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: `make model` as root installs what is missing")
    status = RUNNER.main([])
    assert status == 0, capsys.readouterr().out
