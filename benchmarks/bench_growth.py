"""Time and bytes against the number of clients and the length, with the exponents that fit them.

Whole sessions, everybody in one process: a client's figure is the median over all clients, the server's is one session's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harness.cohort import PHASES, run_session
from harness.fits import exponent

import secagg

if TYPE_CHECKING:
    from harness.records import Records

    from conftest import Scale

SPARSE = {"neighbours": 36, "threat": "semi-honest", "corrupt": 0.05}  # holds for all of 50 to 1000 clients
CURVES: dict[str, dict[str, Any]] = {
    "length": {"over": "length", "sizes": (10_000, 100_000, 1_000_000, 10_000_000), "clients": 10, "repeats": 3},
    "clients_full_graph": {"over": "clients", "sizes": (10, 20, 50, 100, 200), "length": 10_000, "repeats": 1},
    "clients_sparse": {"over": "clients", "sizes": (50, 100, 200, 400), "length": 10_000, "repeats": 1, **SPARSE},
    "clients_sparse_1000": {"over": "clients", "sizes": (100, 300, 1000), "length": 10_000, "repeats": 1, **SPARSE},
}  # fmt: skip
MEASURES = ("client", "server", "bytes up", "bytes down")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.measures(f"growth_{name}"), *([pytest.mark.full] if "1000" in name else [])]
        )
        for name in CURVES
    ],
)
def test_growth(name: str, scale: Scale, records: Records, note: Callable[[str], None]) -> None:
    """One curve: everything fixed but one size."""
    fixed = dict(CURVES[name])
    over, sizes, repeats = fixed.pop("over"), fixed.pop("sizes"), fixed.pop("repeats")
    if scale == "small":
        repeats, fixed = 1, {**fixed, "length": 100}
        sizes = (50 if "neighbours" in fixed else 10,) if over == "clients" else (100,)
    points = [_point({**fixed, over: size}, repeats) for size in sizes]
    if scale == "small":
        return
    fits = {measure: exponent(list(sizes), [point[i] for point in points]) for i, measure in enumerate(MEASURES)}
    about = {key: value for key, value in fixed.items() if key in ("clients", "length", "neighbours")}
    note(f"growth with {over}, {about}:")
    for size, (client, server, up, down) in zip(sizes, points, strict=True):
        note(
            f"  {size:>10,}  client {1e3 * client:9.2f} ms  server {1e3 * server:9.2f} ms  "
            f"up {up:13,.0f} bytes  down {down:11,.0f}"
        )
    note("  exponents: " + ", ".join(f"{m} {slope:.2f} (R^2 {r2:.3f})" for m, (slope, r2) in fits.items()))
    records.add(
        f"growth_{name}", fits["client"][0], unit="exponent", sense=f"client's seconds over {over}",
        length=fixed.get("length", ""), n=fixed.get("clients", ""),
        exponents={m: {"exponent": b, "r2": r2} for m, (b, r2) in fits.items()},
        points=[dict(zip((over, *MEASURES), (size, *point), strict=True)) for size, point in zip(sizes, points, strict=True)],
    )  # fmt: skip


def _point(params: dict[str, Any], repeats: int) -> tuple[float, float, float, float]:
    sessions = [run_session(secagg.Params(**params), keep=False) for _ in range(repeats)]
    return (
        _median([session.client_median(*PHASES) for session in sessions]),
        _median([sum(session.server_seconds.values()) for session in sessions]),
        _median([session.median_up() for session in sessions]),
        _median([float(np.median(list(session.bytes_down.values()))) for session in sessions]),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
