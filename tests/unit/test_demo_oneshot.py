"""The demo over a committee: dropouts in every round, one member silent, one lying, and what the report says of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from typer.testing import CliRunner

import secagg
from secagg.cli import app
from secagg.cli.demo.committee import committee_params, committee_schedule
from secagg.cli.demo.federation import LATE, LOST_ONESHOT
from secagg.cli.demo.liar import corrupt
from secagg.errors import InternalError
from secagg.testing import Network


def run(*arguments: str, columns: str = "80") -> Any:
    return CliRunner(env={"COLUMNS": columns}).invoke(app, ["demo", "--protocol", "oneshot", *arguments])


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    result = run("--rounds", "6", "--seed", "3", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_three_of_ten_are_lost_in_every_round_and_the_sums_are_equal(report: dict[str, Any]) -> None:
    assert report["equal_integer_sums"] is True
    assert report["models"]["plaintext_same_rounding"]["largest_weight_difference"] == 0.0
    config = report["config"]
    assert (config["hospitals"], config["dropout"], config["committee"], config["threshold"]) == (10, 3, 10, 6)
    for done in report["rounds"]:
        absent = {name for name, where in done["lost"].items() if where != LOST_ONESHOT["reveal"]}
        assert len(absent) == 3
        assert set(done["contributors"]) == set(done["asked"]) - absent
        assert done["equal_integer_sums"] is True
        assert list(done["lost"].values()).count(LOST_ONESHOT["reveal"]) == 1


def test_the_liar_is_named_in_the_rounds_in_which_it_lies_and_in_no_other(report: dict[str, Any]) -> None:
    lied = [done["lied"] for done in report["rounds"]]
    assert len({name for name in lied if name}) == 1
    assert [number for number, name in enumerate(lied) if name] == [1, 4]
    for done in report["rounds"]:
        assert done["blamed"] == ([done["lied"]] if done["lied"] else [])


def test_two_exchanges_a_round_and_one_for_the_keys(report: dict[str, Any]) -> None:
    assert [done["exchanges"] for done in report["rounds"]] == [3, 2, 2, 2, 2, 2]


def test_only_the_unprotected_update_gives_the_patient_away(report: dict[str, Any]) -> None:
    found = report["leak"]
    assert found["error_unprotected_update"] < 1e-8
    for name in ("error_masked_frame", "error_released_aggregate"):
        assert found[name] > 1e6 * found["error_unprotected_update"]
    tests = found["uniformity_is_a_sanity_check_not_a_proof"]
    assert tests["encoded_unmasked"]["p_value"] < 1e-6
    assert tests["masked"]["p_value"] > 1e-9


def test_the_screen_fits_80_columns_and_names_the_liar() -> None:
    result = run("--rounds", "3")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    for words in (
        "yes (3 of 3)",
        "lied; named:",
        "lies in the committee",
        "answered in the committee",
        "changed no sum",
    ):
        assert words in " ".join(result.stdout.split())


@pytest.mark.parametrize(("hospitals", "dropout"), [(3, 0), (4, 1), (7, 2), (12, 4)])
def test_other_federations(hospitals: int, dropout: int) -> None:
    result = run("--hospitals", str(hospitals), "--dropout", str(dropout), "--rounds", "2", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["equal_integer_sums"] is True
    assert all(done["blamed"] == ([done["lied"]] if done["lied"] else []) for done in told["rounds"])


def test_where_no_lie_can_be_corrected_nobody_lies() -> None:
    result = run("--hospitals", "3", "--dropout", "0", "--rounds", "2")
    assert result.exit_code == 0, result.output
    assert "Nobody lied" in result.stdout


def test_more_dropouts_than_the_bound_bears_are_refused_in_one_line() -> None:
    result = run("--dropout", "8")
    assert result.exit_code == 2
    assert "at most 7" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(("hospitals", "dropout"), [(n, d) for n in (3, 5, 8, 10, 17, 40) for d in (0, 1, n // 4)])
def test_a_schedule_asks_no_more_of_a_committee_than_it_can_bear(hospitals: int, dropout: int) -> None:
    names = tuple(f"h{i}" for i in range(hospitals))
    params = secagg.Params(hospitals, length=4, min_honest=1, min_clients=hospitals, **committee_params(hospitals, dropout))
    for lost, liar in committee_schedule(names, params, 9, dropout, 1):
        places = list(lost.values())
        answers = hospitals - places.count("masked") - places.count("reveal")
        assert answers >= params.threshold + (2 if liar else 0)
        assert places.count("masked") + places.count(LATE) == dropout
        assert liar not in lost


def test_only_a_client_of_a_committee_can_be_made_to_lie() -> None:
    network = Network.fresh(secagg.Params(3, length=4), ["a", "b", "c"])
    with pytest.raises(InternalError):
        corrupt(network.clients["a"], {1})


def test_two_liars_of_seven_are_too_many_and_nothing_is_released() -> None:
    params = secagg.Params(7, length=4, protocol="oneshot", threshold=5, packing=1)
    network = Network.fresh(params, list("abcdefg"))
    for name in "ab":
        corrupt(network.clients[name], {1})
    network.server.open_round(1)
    with pytest.raises(secagg.errors.AbortError, match="contradict"):
        while network.server.phase != "idle":
            network.exchange(lambda client: client.submit(np.ones(4)))
            network.server.close_phase()
