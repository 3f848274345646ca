"""`secagg vectors`, and the files that it runs: shipped, in step with tests/vectors, and able to fail."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

import secagg
from secagg.cli import app
from secagg.cli.vectors import cases, runner
from secagg.hazmat import prg
from vectors import generate_kernels, ship

FILES = list(runner.files())


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["vectors", *map(str, arguments)])


def test_what_ships_is_what_the_tests_have():
    shipped = resources.files("secagg") / "vectors"
    assert {path.name for path in shipped.iterdir()} == {f"{name}.json" for name in ship.NAMES}
    for name in ship.NAMES:
        assert (shipped / f"{name}.json").read_text("utf-8") == ship.selection(name)


def test_kernels_are_what_the_reference_makes():
    assert generate_kernels.PATH.read_text("utf-8") == generate_kernels.text(generate_kernels.build())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_case_holds_here(file):
    outcome = runner.run(file)
    assert outcome.failed == ()
    assert outcome.passed == len(file.data["cases"]) > 0
    assert {case["success"] for case in file.data["cases"]} == {True, False}
    assert all(file.data[key] for key in ("schema", "source", "licence", "verified_by"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_case_can_fail(file):
    spoilt = []
    for case in file.data["cases"]:
        if case["success"]:
            spoilt.append({**case, "output": [case["output"]]})
        else:
            spoilt.append({**case, "error": "EquivocationError"})
    outcome = runner.run(runner.File(file.name, "", {"cases": spoilt}))
    assert outcome.passed == 0
    assert len(outcome.failed) == len(spoilt)


def test_what_is_accepted_or_refused_wrongly_is_told():
    good = next(case for case in FILES[0].data["cases"] if case["success"])
    bad = next(case for case in FILES[0].data["cases"] if not case["success"])
    outcome = runner.run(runner.File(FILES[0].name, "", {"cases": [
        {**good, "success": False, "error": "InputError"},
        {**bad, "success": True, "output": ""},
        {**good, "op": "unheard of"},
    ]}))  # fmt: skip
    assert [reason.partition(": ")[2] for reason in outcome.failed] == [
        "accepted, where InputError is due", f"refused with {bad['error']}", "an operation that is not known here",
    ]  # fmt: skip


def test_a_broken_kernel_is_seen():
    def off_by_one(lanes, *args):
        prg.apply_masks(lanes, *args)
        lanes[0] ^= 1

    file = next(file for file in FILES if file.name == "kernels")
    with mock.patch.object(cases, "prg", mock.Mock(apply_masks=off_by_one, expand=prg.expand)):
        outcome = runner.run(file)
    assert {reason.split("(")[1].split(")")[0] for reason in outcome.failed} == {"masks"}


def test_on_one_implementation():
    done = run("--isa", secagg.build_info()["isa"], "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["holds"] is True
    (found,) = data["results"].values()
    assert {name: passed for name, (passed, _) in found["files"].items()} == {
        file.name: len(file.data["cases"]) for file in FILES
    }


def test_the_table():
    done = run("--isa", secagg.build_info()["isa"])
    assert done.exit_code == 0
    assert all(name in done.stdout for name in (*ship.NAMES, "All hold."))


@pytest.mark.slow
def test_everywhere():
    done = run("--json")
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["results"]) == set(secagg.build_info()["available"])


def stub(output: str = "", status: int = 0, error: str = "") -> Any:
    return mock.patch("subprocess.run", return_value=mock.Mock(stdout=output, returncode=status, stderr=error))


def test_a_failing_case_is_status_1():
    isa = secagg.build_info()["isa"]
    told = {
        "isa": isa,
        "files": {file.name: [1, []] for file in FILES} | {"ring": [0, ["case 3 (add): another output"]]},
    }
    with stub(json.dumps(told)):
        done = run("--isa", isa)
    assert done.exit_code == 1
    assert f"{isa}, ring: case 3 (add): another output" in done.stdout
    assert "1 FAIL" in done.stdout and "NOT ALL HOLD" in done.stdout


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"status": 3, "error": "a\nImportError: gone"}, "exit status 3: ImportError: gone"),
        ({"output": "not JSON"}, "JSONDecodeError"),
        ({"output": json.dumps({"isa": "another", "files": {}})}, "it says nothing"),
    ],
)
def test_a_process_that_does_not_answer_is_status_1(given, reason):
    with stub(**given):
        done = run("--isa", secagg.build_info()["isa"])
    assert done.exit_code == 1
    assert f"did not run: {reason}" in done.stdout or reason in done.stdout


def test_list():
    data = json.loads(run("--list", "--json").stdout)
    assert [each["name"] for each in data] == sorted(ship.NAMES)
    text = run("--list").stdout
    assert all(words in text for words in ("NIST", "licence", "verified by"))


def test_export_writes_once(tmp_path):
    done = run("--export", tmp_path / "new")
    assert done.exit_code == 0, done.output
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "new").iterdir()} == {
        f"{file.name}.json": file.text for file in FILES
    }
    again = run("--export", tmp_path / "new")
    assert again.exit_code == 2
    assert "nothing was written" in again.stderr
    (tmp_path / "file").touch()
    assert run("--export", tmp_path / "file").exit_code == 2
    assert len(json.loads(run("--export", tmp_path / "other", "--json").stdout)["written"]) == len(FILES)


def test_an_implementation_that_is_not_here():
    done = run("--isa", "abacus")
    assert done.exit_code == 2
    assert "choose one of" in done.stderr


def test_what_the_processes_print(capsys):
    runner.main()
    data = json.loads(capsys.readouterr().out)
    assert data["isa"] == secagg.build_info()["isa"]
    assert all(not bad for _, bad in data["files"].values())
