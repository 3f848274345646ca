"""The paired runner: ours and a peer, interleaved in one process, their outputs compared before the clock starts."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import secagg

PAIRS = 15
LINES = pytest.StashKey[list[str]]()


class Paired(Protocol):
    """What the `paired` fixture is."""

    def __call__(
        self, ours: Callable[[], Any], peer: Callable[[], Any], *, equal: Callable[[], bool], nbytes: int, about: str
    ) -> None:
        """Compare once, then time pairs."""


def cpu() -> str:
    """Return the processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def clock(run: Callable[[], Any]) -> float:
    """Return the seconds that one call takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


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
        pairs: list[tuple[float, float]] = []
        for turn in range(PAIRS):
            # Whoever runs second finds warmer caches: take turns.
            if turn % 2:
                theirs, mine = clock(peer), clock(ours)
            else:
                mine, theirs = clock(ours), clock(peer)
            pairs.append((mine, theirs))
        ratios = sorted(theirs / mine for mine, theirs in pairs)
        low, middle, high = statistics.quantiles(ratios, n=4)
        speed = nbytes / statistics.median(mine for mine, _ in pairs) / 1e9
        other = nbytes / statistics.median(theirs for _, theirs in pairs) / 1e9
        line = (
            f"{about}: {speed:.2f} GB/s against {other:.2f}; {middle:.2f}x "
            f"(quartiles {low:.2f} to {high:.2f}, range {ratios[0]:.2f} to {ratios[-1]:.2f}, {PAIRS} pairs)"
        )
        request.config.stash[LINES].append(line)
        benchmark.extra_info.update(
            about=about, bytes=nbytes, ratios=ratios, median_ratio=middle, build=secagg.build_info(), cpu=cpu()
        )
        benchmark.pedantic(ours, rounds=3)

    return run


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the lines of the summary."""
    config.stash[LINES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the ratios after the ordinary table."""
    if config.stash[LINES]:
        terminalreporter.section("ours against the peer, paired")
        info = secagg.build_info()
        terminalreporter.write_line(f"{cpu()}, {info['backend']} {info['isa']}, one thread")
        for line in config.stash[LINES]:
            terminalreporter.write_line(line)
