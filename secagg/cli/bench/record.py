"""What was measured, for programs: one JSON object, or a CSV file with a row for each result."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import secagg
from secagg.cli.bench.figures import BYTES, SECONDS, Result
from secagg.cli.bench.options import Network
from secagg.cli.bench.run import Bench

__all__ = ["as_csv", "as_json", "busy", "machine", "transfer"]

SCHEMA = "secagg-bench/1"
BUSY = 0.75  # processes that want to run, for each core
PACKAGES = ("numpy", "cryptography", "pycryptodome", "tenseal", "flwr")


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, system, versions."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    info = secagg.build_info()
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "secagg": secagg.__version__,
        "backend": info["backend"],
        "isa": info["isa"],
        "versions": versions,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def busy(load: float | None) -> str | None:
    """Return a warning if, before anything ran, the processors had enough to do already."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if load is None or load < BUSY * cores:
        return None
    return f"the machine was busy (load {load:.1f} on {cores} cores before the run): times are longer than at rest"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def transfer(result: Result, network: Network) -> dict[str, float]:
    """Return the modelled seconds on the way of each phase: the client's exchange, then the key holder's or a member's."""
    found = {}
    for name, phase in result.phases.items():
        seconds = network.seconds(phase.up, phase.down) if phase.up or phase.down else 0.0
        if phase.holder_up or phase.holder_down:
            seconds += network.seconds(phase.holder_up, phase.holder_down)
        found[name] = seconds
    return found


def as_json(bench: Bench) -> dict[str, Any]:
    """Return everything, ready for JSON."""
    options, size = bench.options, bench.options.size
    results = []
    for result in bench.results:
        entry = result.as_json()
        if options.network is not None:
            spent = transfer(result, options.network)
            entry["modelled_transfer_ms"] = {name: 1e3 * seconds for name, seconds in spent.items()}
        results.append(entry)
    network = options.network
    return {
        "schema": SCHEMA,
        "machine": {**machine(), "load": bench.load},
        "busy": busy(bench.load),
        "config": {
            "clients": size.clients, "length": size.length, "bits": size.bits, "dropouts": size.lost,
            "threads": options.threads, "budget_seconds": options.budget, "peers": list(options.peers),
            "only": list(options.only), "sweeps": {sweep.axis: list(sweep.values) for sweep in options.sweeps},
        },
        "network": None
        if network is None
        else {
            "text": network.text, "bits_a_second": network.bits_a_second, "round_trip_ms": 1e3 * network.round_trip,
            "modelled": True,
        },
        "results": results,
        "missing": [{"name": name, "reason": reason} for name, reason in bench.missing.items()],
        "growth": [curve.as_json() for curve in bench.growth],
        "growth_stopped": dict(bench.stopped),
        "swept": [{"axis": axis, **result.as_json()} for axis, result in bench.swept],
        "error_against_bits": [
            {"bits": point.bits, "max_error": point.max_error, "bound": point.bound, "bits_sent": point.bits_sent}
            for point in bench.errors
        ],
        "interrupted": bench.interrupted,
        "seconds": bench.seconds,
    }  # fmt: skip


def as_csv(bench: Bench) -> str:
    """Return a row for each result and each phase of it; the phase "total" is their sum."""
    out = io.StringIO()
    parts = [*(f"{party}_ms" for party in SECONDS), *(f"bytes_{part}" for part in BYTES)]
    head = ["kind", "name", "clients", "length", "bits", "dropouts", "phase", "setup", *parts]
    tail = ["modelled_transfer_ms", "expansion", "max_error", "client_peak_bytes", "server_peak_bytes", "extrapolated"]
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(head + tail)
    for kind, result in _all(bench):
        told = result.as_json()
        first = [kind, *(told[name] for name in ("name", "clients", "length", "bits", "dropouts"))]
        network = bench.options.network
        spent = {} if network is None else {name: 1e3 * s for name, s in transfer(result, network).items()}
        whole = {**told, "setup": ""}
        for phase, figures in [*told["phases"].items(), ("total", whole)]:
            way = sum(spent.values()) if phase == "total" else spent.get(phase, 0.0)
            last = [told[name] for name in tail[1:]] if phase == "total" else [""] * (len(tail) - 1)
            rows.writerow(
                [*first, phase, figures["setup"], *(figures[part] for part in parts), way if spent else "", *last]
            )
    return out.getvalue()


def _all(bench: Bench) -> Iterable[tuple[str, Result]]:
    yield from (("result", result) for result in bench.results)
    yield from ((f"sweep {axis}", result) for axis, result in bench.swept)
