"""What kernels leave on the stack, searched on one of its own: no key, no round key, no word of 64 bits of a secret or of
keystream, whether this code stored it or a compiler spilled it. Scratch that callers give is asserted zero by the driver.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
KERNELS = [
    *sorted((ROOT / "native").glob("*.c")),
    *sorted(path for path in (ROOT / "native" / "kernels").glob("*.c") if not path.name.endswith(".inc.c")),
]
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-Wno-unused-function", "-Wl,-z,now"]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def built(compiler: str, level: str, home: Path) -> Path:
    """The searching program. Bound at once: the linker's lazy binding saves vector registers to the stack, once a function."""
    program = home / "stacks"
    files = [
        "-I",
        str(ROOT / "native" / "include"),
        str(HERE / "stacks.c"),
        *map(str, KERNELS),
        "-lm",
        "-o",
        str(program),
    ]
    command = [compiler, *FLAGS, level, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("level", ["-O3", pytest.param("-O1", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "compiler", [pytest.param(each, marks=[pytest.mark.slow] * (each == "clang")) for each in COMPILERS]
)
def test_fault_60_no_kernel_leaves_secrets_on_its_stack(compiler, level, tmp_path):
    program = built(compiler, level, tmp_path)
    control = subprocess.run([str(program), "find"], capture_output=True, text=True, check=False)
    assert control.returncode == 0 and "find left 16 bytes" in control.stdout
    run = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines and all(line.endswith(" searched") for line in lines), run.stdout
    assert "portable searched" in lines
