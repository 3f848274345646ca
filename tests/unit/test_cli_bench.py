"""`secagg bench`, run for real at small sizes: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import secagg
from secagg.cli import app
from secagg.cli.bench import run as running
from secagg.cli.bench.protections import Plaintext, Secagg
from secagg.cli.toml import write_params

OURS = ["pairwise full", "pairwise k-regular", "ckks malicious", "ckks semi-honest", "oneshot", "tenseal interop"]
FIGURES = {
    "client_ms", "server_ms", "holder_ms", "bytes_up", "bytes_down", "expansion", "exchanges", "client_peak_bytes",
    "server_peak_bytes", "max_error", "security", "learns", "phases", "extrapolated",
}  # fmt: skip
OUTSIDE = {"src", "href", "data", "poster", "srcset", "action", "xlink:href"}
VOID = {"meta", "link", "br", "hr", "img", "input"}


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


class Page(HTMLParser):
    """Tags, references, text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.meta: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [f"{tag} {name}={value}" for name, value in attrs if name in OUTSIDE]
        if tag == "meta":
            self.meta.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("bench")
    result = run(
        "--clients", 12, "--length", "2e3", "--bits", 12, "--dropout", 2, "--budget", 20, "--peers", "flower,tenseal",
        "--network", "8Mbit/100ms", "--sweep", "length=500:4000", "--sweep", "clients=4:16",
        "--csv", place / "out.csv", "--html", place / "out.html", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    return {"told": told, "csv": (place / "out.csv").read_text(), "html": (place / "out.html").read_text()}


def test_every_protection_is_measured_and_plausible(made: dict[str, Any]) -> None:
    told = made["told"]
    assert told["schema"] == "secagg-bench/1"
    assert told["config"]["dropouts"] == 2 and told["interrupted"] is False
    rows = {row["name"]: row for row in told["results"]}
    assert list(rows)[:7] == ["plaintext", *OURS]
    for row in rows.values():
        assert row.keys() >= FIGURES
        assert (row["clients"], row["length"], row["extrapolated"]) == (12, 2000, None)
        assert row["client_ms"] > 0 and row["server_ms"] > 0 and row["client_peak_bytes"] > 0
        assert row["client_ms"] == pytest.approx(sum(phase["client_ms"] for phase in row["phases"].values()))
        assert row["bytes_up"] == sum(phase["bytes_up"] for phase in row["phases"].values())
        assert row["error_bound"] is None or 0 < row["max_error"] <= row["error_bound"]
    assert rows["plaintext"]["bytes_up"] == 8000 and rows["plaintext"]["expansion"] == 1.0
    for name in OURS[:5]:  # two ways to the same figure: frames that were counted, and what Params say
        row = rows[name]
        # Params count an answer for every client; two have nothing to answer for here, in an upload of the same length.
        assert row["bytes_up_without_setup"] == pytest.approx(row["bytes_up_predicted"], rel=0.03)
    assert "g=" in rows["pairwise full"]["security"] and "128 bits" in rows["ckks malicious"]["security"]
    assert rows["ckks malicious"]["holder_ms"] > 0 and rows["pairwise full"]["holder_ms"] == 0
    assert rows["pairwise full"]["exchanges"] == 4 and rows["ckks malicious"]["holder_exchanges"] == 2
    assert (rows["oneshot"]["exchanges"], rows["oneshot"]["holder_exchanges"]) == (1, 2)
    reveal = rows["oneshot"]["phases"]["reveal"]
    assert reveal["holder_ms"] > 0 and reveal["client_ms"] == 0 and reveal["bytes_holder_down"] > 1000
    assert "committee" in rows["oneshot"]["title"] and "members open it" in rows["oneshot"]["security"]


def test_peers_are_measured_or_reported_missing(made: dict[str, Any]) -> None:
    found = {row["name"] for row in made["told"]["results"]} | {each["name"] for each in made["told"]["missing"]}
    assert {"peer flower", "peer tenseal"} <= found


def test_machine_and_versions_are_recorded(made: dict[str, Any]) -> None:
    facts = made["told"]["machine"]
    assert facts["secagg"] == secagg.__version__ and facts["isa"] == secagg.build_info()["isa"]
    assert facts["cores"] >= 1 and facts["cpu"] and facts["versions"]["numpy"]


def test_a_busy_machine_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (900.0, 0.0, 0.0))
    result = run("--length", 500, "--only", "pairwise full", "--budget", 2)
    assert "the machine was busy (load 900.0" in result.stdout
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert "busy" not in run("--length", 500, "--only", "pairwise full", "--budget", 2).stdout


def test_transfer_is_modelled_by_phase(made: dict[str, Any]) -> None:
    network = made["told"]["network"]
    assert network == {"text": "8Mbit/100ms", "bits_a_second": 8e6, "round_trip_ms": 100.0, "modelled": True}
    row = next(row for row in made["told"]["results"] if row["name"] == "pairwise full")
    masked = row["phases"]["masked"]
    expected = 100 + (masked["bytes_up"] + masked["bytes_down"]) / 1000  # a byte takes a microsecond
    assert row["modelled_transfer_ms"]["masked"] == pytest.approx(expected, abs=0.01)
    held = next(row for row in made["told"]["results"] if row["name"] == "ckks malicious")
    phase = held["phases"]["keys"]
    sums = sum(phase[part] for part in ("bytes_up", "bytes_down", "bytes_holder_up", "bytes_holder_down"))
    trips = 1 + bool(phase["bytes_up"] or phase["bytes_down"])
    assert held["modelled_transfer_ms"]["keys"] == pytest.approx(100 * trips + sums / 1000, abs=0.01)


def test_growth_is_fitted_over_what_was_measured(made: dict[str, Any]) -> None:
    curves = [
        c for c in made["told"]["growth"] if (c["name"], c["axis"], c["quantity"]) == ("plaintext", "length", "up")
    ]
    (curve,) = curves
    assert curve["sizes"] == [500, 1000, 2000, 4000] and curve["values"] == [4 * size for size in curve["sizes"]]
    assert curve["exponent"] == pytest.approx(1.0) and curve["r2"] == pytest.approx(1.0)
    assert (curve["fitted_from"], curve["fitted_to"]) == (500, 4000)
    axes = {(curve["name"], curve["axis"]) for curve in made["told"]["growth"]}
    assert {("pairwise full", "clients"), ("ckks malicious", "length")} <= axes


def test_error_falls_with_bits(made: dict[str, Any]) -> None:
    points = made["told"]["error_against_bits"]
    assert len(points) >= 8
    assert all(0 < point["max_error"] <= point["bound"] for point in points)
    assert [p["bits"] for p in points] == sorted(p["bits"] for p in points)
    assert all(after["bound"] < before["bound"] for before, after in itertools.pairwise(points))


def test_csv_has_a_row_for_each_phase(made: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(made["csv"])))
    mine = [row for row in rows if (row["kind"], row["name"]) == ("result", "pairwise full")]
    assert [row["phase"] for row in mine] == ["keys", "shares", "masked", "unmask", "total"]
    assert float(mine[-1]["client_ms"]) == pytest.approx(sum(float(row["client_ms"]) for row in mine[:-1]))
    assert float(mine[-1]["modelled_transfer_ms"]) == pytest.approx(
        sum(float(row["modelled_transfer_ms"]) for row in mine[:-1])
    )
    assert {row["kind"] for row in rows} == {"result", "sweep length", "sweep clients"}


def test_page_stands_alone_and_is_whole(made: dict[str, Any]) -> None:
    page = Page(made["html"])
    assert page.open == [], "an element is not closed"
    assert page.outside == [], "the page asks for something else"
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert (
        "url(" not in made["html"]
        and "@import" not in made["html"]
        and "http" not in page.text.replace("https", "http")
    )
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.meta
    assert page.tags.count("figure") == 7  # three figures by length, three by clients, the error
    for words in ("Time by phase", "Bytes", "modelled", "Growth", "Error against bits", "Machine and versions"):
        assert words in page.text
    assert "prefers-color-scheme:dark" in made["html"]
    assert made["told"]["machine"]["cpu"] in page.text


def test_page_escapes_what_it_is_given(made: dict[str, Any]) -> None:
    from secagg.cli.bench.page import page

    evil = json.loads(json.dumps(made["told"]))
    evil["results"][0]["title"] = evil["machine"]["cpu"] = '<script>alert(1)</script>"&'
    evil["missing"] = [{"name": "<img src=x>", "reason": "</style>"}]
    evil["interrupted"] = True
    shown = Page(page(evil))
    assert shown.open == [] and not {"script", "img"} & set(shown.tags)
    assert "<script>alert(1)</script>" in shown.text and "Interrupted" in shown.text


def test_text_says_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(
        "--clients", 5, "--length", 500, "--only", "pairwise full,ckks malicious", "--budget", 4, "--network", "1Mbit",
        "--sweep", "length=500:1000",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for words in (
        "Milliseconds of a round", "Bytes, memory, error", "pairwise, full graph", "ckks, lying server", "who learns what",
        "modelled, not measured", "Growth", "server: every update",
    ):  # fmt: skip
        assert words in result.stdout
    assert "semi-honest" not in result.stdout


def test_what_is_too_large_is_extrapolated_and_says_so() -> None:
    result = run("--clients", 400, "--length", "3e5", "--only", "pairwise full", "--budget", 3, "--json")
    told = json.loads(result.stdout)
    row = told["results"][1]
    assert row["name"] == "pairwise full" and "sessions of" in row["extrapolated"] and row["runs"] == 0
    assert row["bytes_up_without_setup"] == pytest.approx(row["bytes_up_predicted"], abs=1)
    assert row["client_ms"] > 0 and row["server_ms"] > row["phases"]["keys"]["server_ms"] > 0
    text = run("--clients", 400, "--length", "3e5", "--only", "pairwise full", "--budget", 3).stdout
    assert "~ pairwise, full graph: fitted to" in text


def test_params_from_a_file_are_measured(tmp_path: Path) -> None:
    encoding = secagg.FixedPoint(clip=0.25, bits=10)
    params = secagg.Params(
        6,
        length=300,
        encoding=encoding,
        protocol="ckks",
        reveal="holder",
        max_weight=9,
        min_clients=5,
        rounds_per_setup=4,
    )
    (tmp_path / "p.toml").write_text(write_params(params))
    result = run("--params", tmp_path / "p.toml", "--only", "ckks malicious", "--budget", 5, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    row = told["results"][1]
    assert (row["name"], row["clients"], row["length"], row["bits"], row["dropouts"]) == ("params", 6, 300, 10, 1)
    assert row["params"]["reveal"] == "holder" and row["learns"].startswith("holder: sum")
    assert 0 < row["max_error"] <= encoding.error_bound()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"encoding": secagg.Integer(0, 9)}, "fixed point"),
        ({"segments": {"metrics": secagg.Integer(0, 9)}, "metrics": ("loss",)}, "without segments"),
        ({"max_participants": 5}, "ask everybody"),
    ],
)
def test_params_that_cannot_be_measured_are_refused(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(write_params(secagg.Params(7, length=30, **fields)))
    refused(words, "--params", tmp_path / "p.toml")


def refused(words: str, *arguments: object) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and words in result.stderr
    assert "Traceback" not in result.output and not result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clients", "2"], "--clients"),
        (["--length", "0"], "--length"),
        (["--length", "1.5"], "whole number"),
        (["--length", "many"], "number such as"),
        (["--length", "1e12"], "--length"),
        (["--bits", "33"], "--bits"),
        (["--dropout", "1.5"], "--dropout"),
        (["--dropout", "9", "--clients", "10"], "--dropout"),
        (["--dropout", "0.95", "--clients", "10"], "fewer than two"),
        (["--dropout", "-1"], "--dropout"),
        (["--dropout", "nan"], "--dropout"),
        (["--peers", "nobody"], "'nobody' is unknown"),
        (["--only", "rot13"], "'rot13' is unknown"),
        (["--sweep", "bits=1:2"], "--sweep must be"),
        (["--sweep", "length=10"], "--sweep must be"),
        (["--sweep", "length=10:5"], "must go up"),
        (["--sweep", "clients=1:5"], "within 3"),
        (["--network", "fast"], "--network"),
        (["--network", "0Mbit/1ms"], "rate above 0"),
        (["--network", "1.1.1Mbit"], "--network"),
        (["--budget", "0"], "--budget"),
        (["--budget", "nan"], "--budget"),
        (["--threads", "0"], "--threads"),
        (["--html", "nowhere/out.html"], "nowhere"),
        (["--csv", "."], "directory"),
        (["--params", "absent.toml"], "absent.toml"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(words, *arguments)


def test_help_has_examples_and_the_exit_status() -> None:
    told = run("--help").stdout
    assert "Examples:" in told and "secagg bench --clients" in told and "Exit status: 0" in told and "130" in told


def test_ctrl_c_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(self: Secagg, clients: int, length: int, meter: object = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Secagg, "run", interrupted)
    result = run(
        "--length",
        500,
        "--only",
        "pairwise full",
        "--json",
        "--budget",
        2,
        "--html",
        tmp_path / "o.html",
        "--csv",
        tmp_path / "o",
    )
    assert result.exit_code == 130
    told = json.loads(result.stdout)
    assert told["interrupted"] is True and [row["name"] for row in told["results"]] == ["plaintext"]
    assert "Interrupted" in (tmp_path / "o.html").read_text() and "plaintext" in (tmp_path / "o").read_text()
    text = run("--length", 500, "--only", "pairwise full", "--budget", 2)
    assert text.exit_code == 130 and "interrupted" in text.stdout and "plaintext" in text.stdout


def test_a_real_signal_keeps_what_was_measured(tmp_path: Path) -> None:
    code = "from secagg.cli import app; app()"
    arguments = ["bench", "--clients", "60", "--length", "2e5", "--budget", "600", "--json"]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first, second = process.stderr.readline(), process.stderr.readline()
        assert first.startswith("plaintext") and second.startswith("ckks")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    told = json.loads(out)
    assert told["interrupted"] is True and told["results"][0]["name"] == "plaintext"


def test_a_wrong_mean_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from secagg.aggregate import Aggregate

    honest = Aggregate.mean.fget
    assert honest is not None
    monkeypatch.setattr(Aggregate, "mean", property(lambda self: honest(self) + 0.01))
    result = run("--clients", 5, "--length", 500, "--only", "pairwise full", "--budget", 2)
    assert result.exit_code == 2 and "another mean" in result.stderr and not result.stdout


def test_what_params_refuse_is_missing_and_says_why() -> None:
    told = json.loads(run("--clients", 3, "--dropout", 1, "--length", 100, "--budget", 2, "--json").stdout)
    missing = {each["name"]: each["reason"] for each in told["missing"]}
    assert "no Params for 3 clients" in missing["pairwise full"]
    assert told["results"][0]["name"] == "plaintext"


def test_what_does_not_fit_memory_is_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "free_memory", lambda: 1e6)
    told = json.loads(run("--length", 50_000, "--only", "ckks semi-honest", "--budget", 4, "--json").stdout)
    assert all("fitted to" in row["extrapolated"] for row in told["results"])


def test_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from secagg.cli.bench.figures import Size

    row = Plaintext()
    row.prepare(Size(5, 1 << 16, 16, 0))
    peaks, how = running.peak_memory(row, Size(5, 1 << 16, 16, 0))
    vector = 4 << 16
    assert vector <= peaks["client"] < 1.2 * vector  # the bytes that it sends
    assert 2 * vector <= peaks["server"] < 3.5 * vector  # sum, what is added, and mean
    assert "5 clients" in how
    longer, how = running.peak_memory(row, Size(5, 1 << 22, 16, 0))
    assert longer["client"] == pytest.approx(4 << 22, rel=0.02) and "extended" in how


def test_next_wall_goes_on_as_before() -> None:
    assert running.next_wall([(10, 1.0)], 40, 2) == pytest.approx(4.0)
    assert running.next_wall([(10, 1.0), (20, 1.0)], 40, 2) == pytest.approx(2**0.3)
    assert running.next_wall([(10, 1.0), (20, 8.0)], 40, 2) == pytest.approx(32.0)
    assert math.isfinite(running.free_memory()) and running.free_memory() > 0


def test_sweeps_end_with_the_budget_and_say_where() -> None:
    arguments = [
        "--length",
        500,
        "--only",
        "pairwise full",
        "--budget",
        1,
        "--sweep",
        "clients=3:2000",
        "--sweep",
        "length=9:99",
    ]
    told = json.loads(run(*arguments, "--json").stdout)
    assert "the budget" in told["growth_stopped"]["pairwise full clients"]
    assert "budget" in run(*arguments).stdout


def test_a_size_without_params_is_left_out_of_a_sweep() -> None:
    arguments = ["--clients", 6, "--dropout", 2, "--length", 100, "--only", "ckks malicious", "--budget", 4]
    told = json.loads(run(*arguments, "--sweep", "clients=3:12", "--json").stdout)
    (curve,) = [c for c in told["growth"] if (c["name"], c["quantity"]) == ("ckks malicious", "client")]
    assert "not at 3" in told["growth_stopped"]["ckks malicious clients"] and min(curve["sizes"]) > 3


def test_without_tenseal_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenseal", None)
    told = json.loads(
        run("--length", 100, "--only", "tenseal interop", "--peers", "tenseal", "--budget", 2, "--json").stdout
    )
    missing = {each["name"]: each["reason"] for each in told["missing"]}
    assert all("secagg[tenseal]" in missing[name] for name in ("tenseal interop", "peer tenseal"))


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    result = run("--length", 500, "--only", "pairwise full", "--budget", 2)
    assert result.exit_code == 0 and "Milliseconds of a round" in result.stdout
    assert "pairwise, full graph (about" not in result.stderr and "/3" in result.stderr


def test_a_file_that_cannot_be_put_in_place_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = run("--length", 100, "--only", "pairwise full", "--budget", 1, "--csv", tmp_path / "out.csv")
    assert result.exit_code == 2 and "No space left" in result.stderr
    assert list(tmp_path.iterdir()) == []
