"""The measurements, one after the other, within a budget; whatever ends them, what was measured stays."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from secagg.cli.bench.ciphertexts import Interop, TenSeal
from secagg.cli.bench.estimate import measure
from secagg.cli.bench.figures import Phase, Result, Size
from secagg.cli.bench.flower import Flower
from secagg.cli.bench.growth import Curve, curves
from secagg.cli.bench.memory import Meter
from secagg.cli.bench.options import Options, Sweep
from secagg.cli.bench.protections import Missing, Plaintext, Protection, Secagg, secagg_protections
from secagg.cli.bench.session import play
from secagg.encoding import FixedPoint
from secagg.params import Params
from secagg.planner import plan

__all__ = ["Bench", "ErrorPoint", "protections"]

MEMORY_CLIENTS = 5
MEMORY_LENGTH, OUTSIDE_LENGTH = 1 << 20, 1 << 18  # peaks of longer updates are extended from this length and half of it
ERROR_BITS = (4, 6, 8, 10, 12, 16, 20, 24)
ERROR_CLIENTS, ERROR_LENGTH = 8, 4096
COSTLY = ("peer flower", "pairwise k-regular", "pairwise full", "params")
SWEEP_SHARE = 0.6  # of the budget, where a sweep is asked for
SPARE_SHARE = 0.35  # of what is left of the budget: one session of the size itself may take it
MEMORY_SHARE = 0.5  # of the memory that is free


@dataclass(frozen=True)
class ErrorPoint:
    """What so many bits an encoded value cost, and what they give."""

    bits: int
    max_error: float
    bound: float
    bits_sent: float


@dataclass
class Bench:
    """One run: `go` measures; the other attributes hold what was measured so far, whenever it ends.

    Parameters
    ----------
    options : Options
    params : Params, optional
        The user's own, measured in place of the planned ones of their protocol.
    tell : callable
        Called with what happens next, for a display.
    """

    options: Options
    params: Params | None = None
    tell: Callable[[str], None] = lambda _: None
    results: list[Result] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    swept: list[tuple[str, Result]] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    errors: list[ErrorPoint] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0
    load: float | None = field(default_factory=lambda: os.getloadavg()[0] if hasattr(os, "getloadavg") else None)
    _begin: float = field(default_factory=time.perf_counter)

    @property
    def growth(self) -> list[Curve]:
        """What the sweeps say."""
        return curves(self.swept)

    def go(self) -> None:
        """Measure; Ctrl-C ends it early and marks it."""
        try:
            self._all()
        except KeyboardInterrupt:
            self.interrupted = True
        order = [row.name for row in protections(self.options, self.params)]
        self.results.sort(key=lambda result: order.index(result.name))
        self.seconds = time.perf_counter() - self._begin

    def _left(self, share: float = 1.0) -> float:
        return self.options.budget * share - (time.perf_counter() - self._begin)

    def steps(self) -> int:
        """Return how often `tell` will be called."""
        rows = len(protections(self.options, self.params))
        return rows * (1 + len(self.options.sweeps)) + 1

    def _all(self) -> None:
        rows = protections(self.options, self.params)
        share = 1 - SWEEP_SHARE if self.options.sweeps else 1.0
        # What can take any time comes last, and gets what the others leave of the budget.
        for i, row in enumerate(sorted(rows, key=lambda row: COSTLY.index(row.name) if row.name in COSTLY else -1)):
            self.tell(row.title)
            try:
                left = self._left(share)
                self.results.append(self._one(row, self.options.size, left / (len(rows) - i), SPARE_SHARE * left))
            except Missing as reason:
                self.missing[row.name] = str(reason)
        self.tell("error against bits")
        self.errors += error_points(self.options.size)
        jobs = [(sweep, row) for sweep in self.options.sweeps for row in rows if row.name not in self.missing]
        for i, (sweep, row) in enumerate(jobs):
            self.tell(f"{row.title}: growth with {sweep.axis}")
            self._sweep(row, sweep, self._left() / (len(jobs) - i))

    def _one(self, row: Protection, size: Size, seconds: float, spare: float) -> Result:
        row.prepare(size)
        room = MEMORY_SHARE * free_memory()

        def fits(clients: int, length: int) -> bool:
            # The updates' common vector, and a few copies of one upload on either side.
            return length * (4 + 4 * row.bytes_a_value + 16) + clients * 4096 < room

        if not fits(3, size.length):
            self.tell(f"{row.title}: memory allows no update of {size.length:,} values, so shorter ones are measured")
        phases, sample, fitted, runs = measure(row.run, size, row.terms, 0.85 * seconds, fits, spare)
        if fitted and "bytes_up_predicted" in (told := row.facts()):
            phases = with_exact_upload(phases, row.setup, told["bytes_up_predicted"])
        peaks, how = peak_memory(row, size)
        return self._result(row, size, phases, sample.error, fitted, runs, peaks, how)

    @staticmethod
    def _result(
        row: Protection, size: Size, phases: Any, error: float, fitted: str, runs: int, peaks: dict[str, int], how: str
    ) -> Result:
        security, learns = row.words()
        return Result(
            row.name, row.title, size, phases, row.setup, row.exchanges, row.holder_exchanges, error, row.error_bound(),
            security, learns, peaks.get("client"), peaks.get("server"), fitted, runs, {**row.facts(), "peak_memory": how},
        )  # fmt: skip

    def _sweep(self, row: Protection, sweep: Sweep, seconds: float) -> None:
        """Measure sizes in ascending order, as long as the next one can be expected to fit."""
        if self._left() <= 0:
            self.stopped[f"{row.name} {sweep.axis}"] = "not begun: the budget was spent"
            return
        begin = time.perf_counter()
        walls: list[tuple[int, float]] = []
        whole, power = self.options.size, row.terms.power if sweep.axis == "clients" else 1
        for value in sweep.values:
            left = max(seconds - (time.perf_counter() - begin), SPARE_SHARE * self._left())
            if walls and next_wall(walls, value, power) > left:
                reached = walls[-1][0]
                self.stopped[f"{row.name} {sweep.axis}"] = (
                    f"stopped at {reached:,}: the budget does not reach {value:,}"
                )
                return
            size = (
                replace(whole, length=value)
                if sweep.axis == "length"
                else replace(whole, clients=value, lost=whole.lost * value // whole.clients)
            )
            try:
                row.prepare(size)
            except Missing as reason:
                self.stopped[f"{row.name} {sweep.axis}"] = f"not at {value:,}: {reason}"
                continue
            sample = row.run(size.clients, size.length)
            walls.append((value, sample.wall))
            self.swept.append((sweep.axis, self._result(row, size, sample.phases, sample.error, "", 1, {}, "")))


def next_wall(walls: Sequence[tuple[int, float]], value: int, power: int) -> float:
    """Return the seconds to expect of the next session of a sweep: the last ones' growth goes on, up to the expected power."""
    (last, wall), slope = walls[-1], 0.5 * power
    if len(walls) > 1:
        before, less = walls[-2]
        slope = min(max(math.log(wall / less) / math.log(last / before), 0.0) + 0.3, power)
    return float(wall * (value / last) ** slope)


def protections(options: Options, params: Params | None = None) -> list[Protection]:
    """Return what is to be compared, plaintext first and peers last."""
    threads = options.threads
    rows: list[Protection] = [Plaintext(threads)]
    own: list[Secagg] = secagg_protections(threads)
    if params is not None:
        own.insert(0, Secagg("params", f"your Params ({params.protocol})", threads, {"params": params}))
    rows.extend(own)
    rows.append(Interop(threads))
    if options.only:
        rows = [row for row in rows if row.name in (*options.only, "plaintext", "params")]
    if "flower" in options.peers:
        rows.append(Flower())
    if "tenseal" in options.peers:
        rows.append(TenSeal(threads))
    return rows


def with_exact_upload(phases: Mapping[str, Phase], setup: Sequence[str], exact: int) -> Mapping[str, Phase]:
    """Return the phases with the bytes that a steady round sends by the Params, where a fit is off by a part of a polynomial."""
    upload = max(phases, key=lambda name: phases[name].up)
    off = exact - sum(phase.up for name, phase in phases.items() if name not in setup)
    return {**phases, upload: replace(phases[upload], up=phases[upload].up + off)}


def peak_memory(row: Protection, size: Size) -> tuple[dict[str, int], str]:
    """Return each party's peak bytes, and how they were found: in sessions of few clients, outside the clock."""
    outside = "tenseal" in row.name
    peaks: list[dict[str, int]] = []
    most = OUTSIDE_LENGTH if outside else MEMORY_LENGTH
    lengths = [size.length] if size.length <= most else [most // 2, most]
    clients = min(MEMORY_CLIENTS, size.clients)
    for length in lengths:
        with Meter(outside=outside) as meter:
            row.run(clients, length, meter)
        peaks.append(dict(meter.peaks))
    how = f"a session of {clients} clients" + (" seen from the system" if outside else "")
    if len(peaks) == 1:
        return peaks[0], how
    slope = (size.length - lengths[1]) / (lengths[1] - lengths[0])
    extended = {party: round(peak + max(peak - peaks[0].get(party, 0), 0) * slope) for party, peak in peaks[1].items()}
    return extended, f"{how}, extended from {lengths[0]:,} and {lengths[1]:,} values"


def error_points(size: Size) -> Sequence[ErrorPoint]:
    """Return the largest error of a real mean for several widths of the encoding."""
    clients, length = min(size.clients, ERROR_CLIENTS), min(size.length, ERROR_LENGTH)
    found = []
    for bits in sorted({*ERROR_BITS, min(size.bits, 24)}):
        encoding = FixedPoint(clip=1.0, bits=bits)
        params = plan(clients, length, dropout=0, encoding=encoding, rounds_per_setup=1)
        sample = play(params, 0, 1)
        width = params.segment_plan.segments[-1].w
        found.append(ErrorPoint(bits, sample.error, encoding.error_bound(), width))
    return found


def free_memory() -> float:
    """Return the bytes that can be had without swapping; 4 GiB where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123  # no file of the user's
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024
    except OSError:
        pass
    return 4.0 * 2**30
