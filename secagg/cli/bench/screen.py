"""What the bench prints for people: progress while it runs, then tables."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from secagg.cli.bench.figures import Result
from secagg.cli.bench.record import busy, machine, transfer
from secagg.cli.bench.run import Bench
from secagg.explain import human

__all__ = ["Display", "milliseconds", "show"]

WIDEST = 140
MODELLED = (
    "Transfer times are modelled, not measured: each exchange takes a round trip, and its bytes at the link's rate; all clients "
    "have a link of their own, and the server's is not the bottleneck."
)


class Display:
    """Progress on stderr: a bar on a terminal, elsewhere a line for each step."""

    def __init__(self, steps: int, budget: float) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal
        self._budget, self._begin, self._started = budget, time.perf_counter(), False
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=steps, left="")

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()

    def tell(self, what: str) -> None:
        """Say what begins now, and how long all may still take."""
        left = self._budget - (time.perf_counter() - self._begin)
        about = f"about {left:.0f} s left" if left >= 1 else "nearly done"
        if self._live:
            self._progress.update(self._task, description=what, left=about, advance=1 if self._started else 0)
            self._started = True
        else:
            print(f"{what} ({about})", file=sys.stderr, flush=True)


def milliseconds(seconds: float) -> str:
    """Return seconds as a person would say them, in ms with three digits."""
    value = 1e3 * seconds
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def show(bench: Bench) -> None:
    """Print the tables."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:  # a file or a pipe has no width: nothing is cut
        console = Console(highlight=False, width=WIDEST)
    size, facts = bench.options.size, machine()
    console.print(
        f"[bold]{size.clients} clients, {size.length:,} values of {size.bits} bits, {size.lost} lost[/bold]; "
        f"{facts['cpu']}, {facts['isa']}, {bench.options.threads} thread(s) a party\n"
    )
    if (warning := busy(bench.load)) is not None:
        console.print(f"[bold]{warning}[/bold]\n")
    _costs(console, bench)
    _protections(console, bench)
    if bench.options.network is not None:
        _network(console, bench)
    if bench.swept:
        _growth(console, bench)
    for result in bench.results:
        if "note" in result.facts:
            console.print(f"{result.title}: {result.facts['note']}", markup=False)
        if result.fitted:
            console.print(f"~ {result.title}: {result.fitted}", markup=False)
    for name, reason in bench.missing.items():
        console.print(f"missing: {name}: {reason}", markup=False)
    for name, reason in bench.stopped.items():
        console.print(f"growth of {name}: {reason}", markup=False)
    if bench.interrupted:
        console.print("[bold]interrupted:[/bold] the above is what was measured until then")


def _costs(console: Console, bench: Bench) -> None:
    times = _table(
        "Milliseconds of a round", "client", "server", "holder, member", "setup: client", "setup: server", "exchanges"
    )
    sizes = _table(
        "Bytes, memory, error", "up", "down", "x float32", "peak client", "peak server", "largest error", "its bound"
    )
    for row in bench.results:
        name = ("~ " if row.fitted else "") + row.title
        times.add_row(
            name,
            *(milliseconds(row.total(party, setup=False)) for party in ("client", "server")),
            milliseconds(row.total("holder", setup=False)) if row.holder_exchanges else "",
            *(_setup(row, party) for party in ("client", "server")),
            f"{row.exchanges}" + (f" + {row.holder_exchanges}" if row.holder_exchanges else ""),
        )
        sizes.add_row(
            name, human(row.total("up")), human(row.total("down")), f"{row.expansion:.2f}",
            *("" if peak is None else human(peak) for peak in (row.client_peak, row.server_peak)), f"{row.error:.1e}",
            "" if row.error_bound is None else f"{row.error_bound:.1e}",
        )  # fmt: skip
    console.print(times)
    console.print(
        "The median client's; the server's for all clients; the key holder's, or the median member's. Exchanges: of a first "
        "round, + with the key holder or the committee.\n"
    )
    console.print(sizes)
    console.print(
        "Bytes of one client, setup included. x float32: bytes up of a steady round against 4 bytes a value. Peak memory: of "
        "sessions of few clients, outside the clock.\n"
    )


def _setup(row: Result, party: str) -> str:
    spent = row.total(party) - row.total(party, setup=False)
    return milliseconds(spent) if row.setup and spent else ""


def _protections(console: Console, bench: Bench) -> None:
    table = Table(
        title="What it protects", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in ("", "security level", "who learns what"):
        table.add_column(column, overflow="fold")
    for row in bench.results:
        table.add_row(row.title, row.security, row.learns)
    console.print(table)


def _network(console: Console, bench: Bench) -> None:
    network = bench.options.network
    if network is None:
        return
    table = _table(f"On the way, {network.text}, modelled", "ms in all", "by phase")
    for row in bench.results:
        spent = transfer(row, network)
        phases = ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in spent.items())
        table.add_row(row.title, milliseconds(sum(spent.values())), phases)
    console.print(table)
    console.print(MODELLED + "\n")


def _growth(console: Console, bench: Bench) -> None:
    table = _table(
        "Growth: exponents by least squares on logarithms", "with", "from", "to", "client ms", "server ms", "up", "down"
    )
    growth = bench.growth
    for name, axis in dict.fromkeys((curve.name, curve.axis) for curve in growth):
        mine = {curve.quantity: curve for curve in growth if (curve.name, curve.axis) == (name, axis)}
        any_ = next(iter(mine.values()))
        cells = [
            "" if (found := mine.get(part)) is None or found.exponent is None else f"{found.exponent:.2f}"
            for part in ("client", "server", "up", "down")
        ]
        table.add_row(any_.title, axis, f"{any_.sizes[0]:,}", f"{any_.sizes[-1]:,}", *cells)
    console.print(table)
