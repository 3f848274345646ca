"""The C driver: every implementation this machine has, under sanitizers and with the flags of a release."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from secagg._kernels import build_info

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SOURCES = [
    HERE / "driver.c",
    *sorted((ROOT / "native").glob("*.c")),
    *sorted(p for p in (ROOT / "native" / "kernels").glob("*.c") if not p.name.endswith(".inc.c")),
]
COMMON = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
BUILDS = {
    "sanitized": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "release": ["-O3"],
    # AVX-512 without IFMA, and AVX2 without FMA: other kernels of the ring run under the same names.
    "without IFMA": ["-O3", "-DSA_HIDDEN_FEATURES=(SA_CPU_IFMA)"],
    "without FMA": ["-O3", "-DSA_HIDDEN_FEATURES=(SA_CPU_IFMA|SA_CPU_FMA)"],
}
COMPILER = shutil.which("cc")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # Leak checking needs ptrace, which containers often forbid; the driver frees what it takes anyway.
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env)


def _works(flags: list[str], folder: Path) -> bool:
    source, program = folder / "probe.c", folder / "probe"
    source.write_text("int main(void) { return 0; }\n")
    built = _run([str(COMPILER), *flags, str(source), "-o", str(program)])
    return built.returncode == 0 and _run([str(program)]).returncode == 0


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("build", BUILDS)
def test_fault_57_and_60_every_kernel_on_every_isa_and_wiped_scratch(build: str, tmp_path: Path) -> None:
    if not _works(BUILDS[build], tmp_path):
        pytest.skip(f"the compiler cannot link {' '.join(BUILDS[build])}")
    program = tmp_path / "driver"
    files = ["-I", str(ROOT / "native" / "include"), *map(str, SOURCES), "-lm", "-o", str(program)]
    command = [str(COMPILER), *COMMON, *BUILDS[build], *files]
    compiled = _run(command)
    assert compiled.returncode == 0, compiled.stderr
    run = _run([str(program)])
    assert run.returncode == 0, run.stderr
    assert "portable ok" in run.stdout and "common ok" in run.stdout


def test_backend_matches_the_machine() -> None:
    if COMPILER is None:
        assert build_info()["backend"] == "fallback"
    elif os.environ.get("SECAGG_FORCE_ISA") != "fallback":
        assert build_info()["backend"] == "native"
