"""What benchmarks share: how large they are, the paired runner, the named ratios and the table at the end.

Ours and a peer are interleaved, their outputs compared before the clock starts. An ordinary test run calls everything once,
small, and looks at no clock.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from harness.pairs import Pairs, clocked, measure_pairs
from harness.records import Records
from pytest_benchmark.fixture import BenchmarkFixture

import secagg

PAIRS = 15
ROOT = Path(__file__).resolve().parents[1]
LINES = pytest.StashKey[list[str]]()
RECORDS = pytest.StashKey[Records]()
Scale = Literal["small", "bench", "full"]


class Paired(Protocol):
    """What the `paired` fixture is."""

    def __call__(
        self, ours: Callable[[], Any], peer: Callable[[], Any], *, equal: Callable[[], bool], nbytes: int, about: str
    ) -> None:
        """Compare once, then time pairs."""


class Versus(Protocol):
    """What the `versus` fixture is."""

    def __call__(
        self,
        name: str,
        ours: Callable[[], float],
        theirs: Callable[[], float],
        *,
        equal: Callable[[], bool],
        pairs: int = PAIRS,
        inverse: bool = False,
        **about: Any,
    ) -> Pairs | None:
        """Compare once, then time pairs and keep their ratio under `name`."""


def cpu() -> str:
    """Return the processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _scale(config: pytest.Config) -> Scale:
    if not config.getoption("benchmark_enable", default=False):
        return "small"
    return "full" if os.environ.get("SECAGG_BENCH_FULL") else "bench"


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Scale:
    """How large: "small" in an ordinary test run, "bench" for `make bench`, "full" for `make bench-full`."""
    return _scale(request.config)


@pytest.fixture
def records(request: pytest.FixtureRequest) -> Iterator[Records]:
    """Where results are kept by name: written after each benchmark, so that a run that is cut short keeps what it has."""
    kept = request.config.stash[RECORDS]
    yield kept
    if _scale(request.config) != "small" and kept.new:
        kept.save()


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keep a line for the end of the run."""
    return request.config.stash[LINES].append


@pytest.fixture
def versus(records: Records, scale: Scale) -> Versus:
    """Time two sides that clock themselves, pair by pair, and keep the ratio with its quartiles under a name."""

    def run(
        name: str,
        ours: Callable[[], float],
        theirs: Callable[[], float],
        *,
        equal: Callable[[], bool],
        pairs: int = PAIRS,
        inverse: bool = False,
        **about: Any,
    ) -> Pairs | None:
        assert equal(), f"{name}: the outputs differ, so their times mean nothing"
        if scale == "small":
            ours()
            theirs()
            return None
        timed = measure_pairs(ours, theirs, pairs)
        low, middle, high = timed.ratios(inverse=inverse)
        records.add(
            name, middle, low=low, high=high, sense="ours/peer" if inverse else "peer/ours", pairs=pairs,
            ours_seconds=statistics.median(timed.ours), peer_seconds=statistics.median(timed.theirs), **about,
        )  # fmt: skip
        return timed

    return run


@pytest.fixture
def paired(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Paired:
    """Time two functions in alternating order and report the median of the ratios peer / ours with its spread."""

    def run(
        ours: Callable[[], Any], peer: Callable[[], Any], *, equal: Callable[[], bool], nbytes: int, about: str
    ) -> None:
        # Both run before `equal` looks: this is the warm-up too.
        ours()
        peer()
        assert equal(), f"{about}: the outputs differ, so their times mean nothing"
        if not benchmark.enabled:
            benchmark.pedantic(ours, rounds=1)
            return
        timed = measure_pairs(clocked(ours), clocked(peer), PAIRS)
        low, middle, high = timed.ratios(inverse=False)
        speed = nbytes / statistics.median(timed.ours) / 1e9
        other = nbytes / statistics.median(timed.theirs) / 1e9
        line = (
            f"{about}: {speed:.2f} GB/s against {other:.2f}; {middle:.2f}x "
            f"(quartiles {low:.2f} to {high:.2f}, {PAIRS} pairs)"
        )
        request.config.stash[LINES].append(line)
        benchmark.extra_info.update(
            about=about, bytes=nbytes, median_ratio=middle, low=low, high=high, build=secagg.build_info(), cpu=cpu()
        )
        benchmark.pedantic(ours, rounds=3)

    return run


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the results."""
    config.addinivalue_line(
        "markers", "measures(name, ...): named results that a benchmark gives; BENCH= picks by them"
    )
    config.addinivalue_line("markers", "full: measured by `make bench-full` only")
    config.stash[LINES] = []
    date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    common = {"isa": secagg.build_info()["isa"], "cpu": cpu(), "date": date}
    config.stash[RECORDS] = Records(ROOT / ".bench" / "ratios.json", common)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `make bench` does not measure, and with BENCH= all but what gives that result."""
    scale, wanted = _scale(config), os.environ.get("BENCH", "")
    if scale == "small":
        return
    named = {item: {name for mark in item.iter_markers("measures") for name in mark.args} for item in items}
    exact = any(wanted in names for names in named.values())

    def leave_out(item: pytest.Item) -> bool:
        if wanted:
            return wanted not in named[item] if exact else wanted not in item.nodeid
        return scale != "full" and item.get_closest_marker("full") is not None

    left_out = [item for item in items if leave_out(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was noted, and the table of named ratios."""
    if _scale(config) == "small":
        return
    info = secagg.build_info()
    if lines := config.stash[LINES]:
        terminalreporter.section("as measured")
        for line in lines:
            terminalreporter.write_line(line)
    if config.stash[RECORDS].new:
        terminalreporter.section(f"ratios: {cpu()}, {info['backend']} {info['isa']}, one thread")
        for line in config.stash[RECORDS].table():
            terminalreporter.write_line(line)
