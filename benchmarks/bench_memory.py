"""Peak memory, each in a fresh process: a client that streams a large update, a server against the number of clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harness.fits import exponent

if TYPE_CHECKING:
    from harness.records import Records

    from conftest import Scale

CHILDREN = Path(__file__).resolve().parent / "children"
MEGABYTE = 1e6
STEP = 10_000_000


def _child(script: str, *args: object) -> dict[str, Any]:
    command = [sys.executable, "-P", str(CHILDREN / script), *map(str, args)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))  # noqa: S603


def _write(path: Path, length: int) -> None:
    rng = np.random.default_rng(5)
    with path.open("wb") as file:
        for at in range(0, length, STEP):
            file.write(rng.uniform(-1, 1, min(STEP, length - at)).astype(np.float32).tobytes())


@pytest.mark.parametrize(
    ("name", "length"),
    [
        pytest.param("client_peak_memory", 100_000_000, marks=pytest.mark.measures("client_peak_memory")),
        pytest.param(
            "client_peak_memory_1e9", 1_000_000_000,
            marks=[pytest.mark.measures("client_peak_memory_1e9"), pytest.mark.full],
        ),
    ],
)  # fmt: skip
def test_client_memory(
    name: str, length: int, scale: Scale, tmp_path: Path, records: Records, note: Callable[[str], None]
) -> None:
    """Anonymous memory beyond what the process had before `Client.stream`; the input is a file that is mapped, not read."""
    length = 100_000 if scale == "small" else length
    file = tmp_path / "update.f32"
    _write(file, length)
    try:
        seen = _child("client_memory.py", file, length, 10)
    finally:
        file.unlink()
    assert seen["bytes_up"] > 2 * length
    if scale == "small":
        return
    more = (seen["peak"] - seen["before"]) / MEGABYTE
    records.add(
        name, more, unit="MB", sense="peak beyond the input", n=10, length=length, bytes=seen["bytes_up"],
        whole_process_mb=seen["peak"] / MEGABYTE, seconds=seen["seconds"],
    )  # fmt: skip
    note(
        f"{name}: {more:.1f} MB beyond the process's {seen['before'] / MEGABYTE:.0f} MB (imports, keys and 10 clients); "
        f"{seen['frames']} frames, {length / seen['seconds'] / 1e6:.0f} million values a second"
    )


@pytest.mark.measures("server_peak_memory")
def test_server_memory(scale: Scale, records: Records, note: Callable[[str], None]) -> None:
    """Anonymous memory beyond what the process had before the first upload, against the number of clients."""
    counts, length = ((4,), 10_000) if scale == "small" else ((10, 30, 100), 1_000_000)
    seen = [_child("server_memory.py", n, length) for n in counts]
    if scale == "small":
        return
    more = [(one["peak"] - one["before"]) / MEGABYTE for one in seen]
    slope, fit = exponent(list(counts), more)
    points = ", ".join(f"n={n}: {mb:.1f} MB" for n, mb in zip(counts, more, strict=True))
    note(f"server_peak_memory: {points} (a vector of lanes has {4 * length / MEGABYTE:.0f} MB); exponent {slope:.2f}")
    records.add(
        "server_peak_memory", more[-1], unit="MB", sense="peak beyond the clients'", n=counts[-1], length=length,
        exponent=slope, r2=fit, points=dict(zip(map(str, counts), more, strict=True)),
    )  # fmt: skip
