"""The C driver under emulation: the NEON kernels on AArch64, and x86 processors that lack what this machine has.

Emulated VAES is left out: qemu 7.2 computes the upper halves of 256-bit registers wrongly.
"""

from __future__ import annotations

import platform
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


X86 = {
    "Nehalem": [],  # SSE4.1, no AES
    "Westmere": ["aesni"],
    "Haswell": ["avx2", "aesni"],
    "EPYC-Milan": ["avx2", "aesni"],
}


@pytest.fixture(scope="module")
def x86_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if platform.machine() not in {"x86_64", "AMD64"} or shutil.which("cc") is None:
        pytest.skip("no C compiler for x86-64")
    if shutil.which("qemu-x86_64") is None:
        pytest.skip("qemu-x86_64 not installed: `make cross` as root installs it")
    program = tmp_path_factory.mktemp("x86") / "driver"
    files = ["-I", str(ROOT / "native" / "include"), *map(str, SOURCES), "-lm", "-o", str(program)]
    compiled = _run(["cc", *FLAGS, *files])
    assert compiled.returncode == 0, compiled.stderr
    return program


@pytest.mark.parametrize("processor", X86)
def test_a_processor_runs_what_it_has_and_no_more(processor: str, x86_driver: Path) -> None:
    run = _run(["qemu-x86_64", "-cpu", processor, str(x86_driver)])
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [*(f"{name} ok" for name in X86[processor]), "portable ok", "common ok"]


def test_neon_under_emulation(tmp_path: Path) -> None:
    _probe(tmp_path)
    program = tmp_path / "driver"
    files = ["-I", str(ROOT / "native" / "include"), *map(str, SOURCES), "-lm", "-o", str(program)]
    compiled = _run([COMPILER, *FLAGS, *files])
    assert compiled.returncode == 0, compiled.stderr
    run = _run([EMULATOR, "-L", str(LIBRARIES), str(program)])
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["neon ok", "portable ok", "common ok"]
