"""`secagg bench --peers flower`: the adapter calls Flower's own functions, and what they give is the mean."""

from __future__ import annotations

import json

import pytest

from secagg.cli import app
from secagg.cli.bench.figures import Size
from secagg.cli.bench.flower import Flower
from secagg.cli.bench.run import peak_memory


@pytest.fixture
def flower():
    row = Flower()
    row.prepare(Size(6, 2000, 16, 1))
    return row


def test_a_session_gives_the_mean_within_flowers_quantization(flower):
    sample = flower.run(6, 2000)
    assert 0 < sample.error <= flower.error_bound()
    assert list(sample.phases) == ["keys", "shares", "masked", "unmask"]
    assert all(phase.client > 0 for phase in sample.phases.values())
    assert sample.phases["unmask"].server > 0
    assert 4 * 2000 < sample.phases["masked"].up < 20 * 2000  # values of 8 bytes at most, and little else
    assert sample.phases["shares"].down > 5 * 64  # five others' public keys


def test_without_dropouts_too():
    row = Flower()
    row.prepare(Size(4, 500, 30, 0))  # more bits than Flower's modulus has room for
    assert 0 < row.run(4, 500).error <= row.error_bound() == pytest.approx(2.0**-21)


def test_memory_is_seen(flower):
    peaks, _ = peak_memory(flower, Size(6, 20_000, 16, 1))
    assert min(peaks["client"], peaks["server"]) > 4 * 20_000


def test_the_command_measures_it(capsys):
    arguments = [
        "bench",
        "--clients",
        "5",
        "--length",
        "1000",
        "--only",
        "pairwise full",
        "--peers",
        "flower",
        "--budget",
        "8",
    ]
    app([*arguments, "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    row = told["results"][-1]
    assert row["name"] == "peer flower" and row["title"].endswith("SecAgg+") and told["missing"] == []
    assert (
        row["note"] == "server: the unmask stage alone" and "32 bits" in row["security"] and "weight" in row["learns"]
    )


def test_another_layout_of_flower_is_missing(monkeypatch):
    from secagg.cli.bench import flower as module
    from secagg.cli.bench.protections import Missing

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(Missing, match="not laid out as this adapter expects"):
        Flower().prepare(Size(6, 2000, 16, 1))
