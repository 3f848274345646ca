"""Timing: the time of Shamir, comparison, samplers and stochastic rounding does not tell two classes of secrets apart.

No time is asserted, only that two distributions taken in random order are alike: |t| of Welch's test below 10, where chance
gives 2 or 3 and the comparison that stops early, in the same run, some thousands. A busy machine can disturb one class more than
the other, so a pair that differs is measured again, up to three times, with four times as much each; a real difference only
grows.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SOURCES = [
    HERE / "timing.c",
    *sorted((ROOT / "native").glob("*.c")),
    *sorted(p for p in (ROOT / "native" / "kernels").glob("*.c") if not p.name.endswith(".inc.c")),
]
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-function",
    "-Wno-unused-variable",
]
BOUND = 10.0
KERNELS = {
    "equal", "split", "combine", "ternary", "binomial", "uniform", "gaussian",
    "rounding", "rounding-tiny-f32", "rounding-tiny-f64",
}  # fmt: skip

pytestmark = pytest.mark.slow


def _measure(program: Path, batches: int) -> dict[tuple[str, str], float]:
    run = subprocess.run([str(program), str(batches)], check=True, capture_output=True, text=True, timeout=1500)
    lines = [line.split() for line in run.stdout.splitlines()]
    return {(isa, kernel): abs(float(t)) for isa, kernel, t in lines}


def test_no_class_of_secrets_takes_another_time(tmp_path: Path) -> None:
    if platform.machine() not in {"x86_64", "AMD64"} or shutil.which("gcc") is None:
        pytest.skip("needs gcc and the cycle counter of x86-64")
    program = tmp_path / "timing"
    files = ["-I", str(ROOT / "native" / "include"), *map(str, SOURCES), "-lm", "-o", str(program)]
    built = subprocess.run(["gcc", *FLAGS, *files], check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    apart: set[tuple[str, str]] = set()
    for attempt, batches in enumerate((10, 40, 160)):
        found = _measure(program, batches)
        leaks = {at for at in found if at[1] == "leak"}
        assert found.keys() - leaks == {(isa, kernel) for isa, _ in leaks for kernel in KERNELS}
        # Were it blind, it would see no difference anywhere.
        assert all(found[at] > 10 * BOUND for at in leaks)
        differ = {at for at in found if at not in leaks and found[at] > BOUND}
        apart = differ if attempt == 0 else apart & differ
        if not apart:
            return
    pytest.fail(f"the secrets show in the time of {sorted(apart)}")
