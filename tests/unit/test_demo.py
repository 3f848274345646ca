"""The demo, run for real with few rounds, and its parts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from typer.testing import CliRunner

from secagg.cli import app
from secagg.cli.demo import leak, model
from secagg.cli.demo.federation import LOST
from secagg.cli.demo.hospitals import load
from secagg.cli.demo.run import schedule


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    result = run("--rounds", "6", "--seed", "3", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_secure_equals_plaintext_of_the_same_contributors(report: dict[str, Any]) -> None:
    assert report["equal_integer_sums"] is True
    assert all(done["equal_integer_sums"] for done in report["rounds"])
    same, exact = report["models"]["plaintext_same_rounding"], report["models"]["plaintext_float64"]
    assert same["largest_weight_difference"] == 0.0
    # Six means, each off by at most one step of the encoding, with room for what training makes of it.
    assert 0.0 < exact["largest_weight_difference"] < 50 * 6 * 2.0**-16
    assert report["models"]["secure"]["accuracy"] > 0.9


def test_bounds_are_those_of_seven_hospitals(report: dict[str, Any]) -> None:
    config = report["config"]
    assert (config["hospitals"], config["dropout"], config["corrupt"]) == (7, 2, 1)
    assert (config["threshold"], config["min_clients"], config["opened_honest"]) == (5, 4, 2)
    assert (config["asked_in_a_round"], config["rounds_per_setup"]) == (6, 7)


def test_contributors_follow_the_schedule(report: dict[str, Any]) -> None:
    names = set(report["config"]["patients"])
    for done in report["rounds"]:
        absent = {name for name, where in done["lost"].items() if where != LOST["unmask"]}
        assert len(done["lost"]) == 2
        assert len(done["asked"]) == 6 and set(done["asked"]) <= names
        assert set(done["contributors"]) == set(done["asked"]) - absent
        assert done["patients"] == sum(report["config"]["patients"][name] for name in done["contributors"])
    assert {where for done in report["rounds"] for where in done["lost"].values()} == set(LOST.values())


def test_one_setup_then_two_exchanges_and_one_restart(report: dict[str, Any]) -> None:
    assert [done["exchanges"] for done in report["rounds"]] == [4, 2, 2, 2, 2, 2]
    restarted = [done for done in report["rounds"] if done["restarted"]]
    assert [done["round"] for done in restarted] == [4]
    assert restarted[0]["restarted"] in restarted[0]["contributors"]
    assert restarted[0]["equal_integer_sums"] is True


def test_only_the_unprotected_update_gives_the_patient_away(report: dict[str, Any]) -> None:
    found = report["leak"]
    assert found["error_unprotected_update"] < 1e-8
    # What is protected tells an attacker no more than knowing nothing does, give or take chance.
    for name in ("error_masked_frame", "error_released_aggregate"):
        assert found[name] > 1e6 * found["error_unprotected_update"]
        assert found[name] > 0.25 * found["error_guessing_the_mean"]
    tests = found["uniformity_is_a_sanity_check_not_a_proof"]
    assert tests["encoded_unmasked"]["p_value"] < 1e-6
    assert tests["masked"]["p_value"] > 1e-9
    assert "still leaks" in report["caveat"]


def test_the_cost_is_counted(report: dict[str, Any]) -> None:
    size = report["bytes_per_hospital_and_round"]
    values = report["config"]["values"]
    assert values == 30 * 16 + 16 + 16 + 1
    assert size["plaintext_float32"]["up"] == 4 * values
    assert size["secure"]["up"] > size["secure_masked_update"] > 2 * values
    assert all(spent > 0 for spent in report["milliseconds_per_round"].values())


def test_the_seed_repeats_everything_but_keys(report: dict[str, Any]) -> None:
    again = json.loads(run("--rounds", "6", "--seed", "3", "--json").stdout)
    assert again["rounds"] == report["rounds"]
    assert again["models"] == report["models"]
    assert again["leak"]["error_masked_frame"] != report["leak"]["error_masked_frame"]


def test_the_screen_fits_80_columns() -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["demo", "--rounds", "2"])
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    for words in (
        "equal integer sums",
        "yes (2 of 2)",
        "sanity check, not a proof",
        "still leaks",
        "everybody",
        "was restarted in the middle",
    ):
        assert words in result.stdout


@pytest.mark.parametrize(("hospitals", "dropout"), [(3, 0), (5, 1), (12, 3)])
def test_other_federations(hospitals: int, dropout: int) -> None:
    result = run("--hospitals", str(hospitals), "--dropout", str(dropout), "--rounds", "2", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["equal_integer_sums"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dropout", "3"), ("at most 2", "lying server", "threshold")),
        (("--hospitals", "5", "--dropout", "2"), ("at most 1", "lying server")),
        (("--dropout", "7"), ("at most 2",)),
        (("--dropout", "-1"), ("--dropout",)),
        (("--hospitals", "2"), ("--hospitals",)),
        (("--hospitals", "1000"), ("--hospitals",)),
        (("--rounds", "0"), ("--rounds",)),
        (("--seed", "-1"), ("--seed",)),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_the_split_is_uneven_complete_and_repeatable() -> None:
    one, two, other = load(7, 1), load(7, 1), load(7, 2)
    sizes = [hospital.patients for hospital in one.hospitals]
    assert sum(sizes) + len(one.test_y) == 569
    assert max(sizes) > 2 * min(sizes)
    assert all(np.array_equal(a.x, b.x) for a, b in zip(one.hospitals, two.hospitals, strict=True))
    assert np.array_equal(one.test_x, other.test_x)
    assert sizes != [hospital.patients for hospital in other.hospitals]


def test_the_gradient_is_the_derivative() -> None:
    patients = load(3, 0)
    x, y = patients.test_x[:9], patients.test_y[:9]
    weights = model.initial(5)
    slope = model.gradient(weights, x, y)

    def loss(at: model.Weights) -> float:
        p = model.predict(at, x)
        return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))

    rng = np.random.default_rng(0)
    way = {
        part: {name: rng.normal(size=leaf.shape) for name, leaf in leaves.items()} for part, leaves in weights.items()
    }
    measured = (loss(model.add(weights, way, 1e-5)) - loss(model.add(weights, way, -1e-5))) / 2e-5
    told = sum(float(np.sum(way[part][name] * slope[part][name])) for part in way for name in way[part])
    assert measured == pytest.approx(told, rel=1e-6)


def test_auc_counts_ties_half_and_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    patients = load(3, 0)
    weights = model.initial(0)
    x, y = np.round(patients.test_x), patients.test_y
    assert model.auc(weights, x, y) == pytest.approx(roc_auc_score(y, model.predict(weights, x)))
    assert model.auc(weights, np.zeros_like(x), y) == 0.5


def test_uniformity_tells_even_from_uneven() -> None:
    assert leak.uniformity(bytes(range(256)) * 40).p_value > 0.999
    assert leak.uniformity(bytes(range(255)) * 4000).p_value < 1e-6
    # scipy.stats.chi2.sf(293.2478, 255) = 0.05
    counts = np.full(256, 10_000.0)
    counts[0], counts[1] = 10_000 + 1211, 10_000 - 1211
    data = np.repeat(np.arange(256, dtype=np.uint8), counts.astype(int)).tobytes()
    found = leak.uniformity(data)
    assert found.statistic == pytest.approx(2 * 1211**2 / 10_000)
    assert found.p_value == pytest.approx(0.05, abs=2e-3)


def test_the_schedule_rotates_through_all_phases() -> None:
    names = tuple("abcdefg")
    plans = schedule(names, 6, 16, 2, 0)
    assert plans == schedule(names, 6, 16, 2, 0)
    assert all(len(plan.lost) == 2 and len(set(plan.asked)) == 6 for plan in plans)
    assert {tuple(sorted(plan.lost.values())) for plan in plans} >= {
        ("masked", "masked"),
        ("masked", "unmask"),
        ("unmask", "unmask"),
    }
    assert all(name in plan.asked for plan in plans for name, phase in plan.lost.items() if phase == "masked")


def test_importing_the_cli_loads_nothing_heavy() -> None:
    code = "import sys, secagg.cli; print({'sklearn', 'scipy', 'numba', 'secagg.cli.demo'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
