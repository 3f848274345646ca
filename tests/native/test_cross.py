"""The C driver built for AArch64 and run under emulation: that the NEON kernels give the reference's bytes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    Path(__file__).resolve().parent / "driver.c",
    *sorted((ROOT / "native").glob("*.c")),
    *sorted(p for p in (ROOT / "native" / "kernels").glob("*.c") if not p.name.endswith(".inc.c")),
]
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
LIBRARIES = Path("/usr/aarch64-linux-gnu")

pytestmark = pytest.mark.slow


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _probe(folder: Path) -> None:
    missing = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: `make cross` as root installs them")
    if not (LIBRARIES / "include" / "stdio.h").exists():
        pytest.skip(f"no AArch64 C library in {LIBRARIES}: `make cross` as root installs it")
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    assert _run([COMPILER, str(source), "-o", str(folder / "probe")]).returncode == 0


def test_neon_under_emulation(tmp_path: Path) -> None:
    _probe(tmp_path)
    program = tmp_path / "driver"
    files = ["-I", str(ROOT / "native" / "include"), *map(str, SOURCES), "-lm", "-o", str(program)]
    compiled = _run([COMPILER, *FLAGS, *files])
    assert compiled.returncode == 0, compiled.stderr
    run = _run([EMULATOR, "-L", str(LIBRARIES), str(program)])
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["neon ok", "portable ok", "common ok"]
