"""Builds ``secagg._native`` from native/ with cffi in API mode, for the stable ABI.

The extension is optional: without a working C compiler the install succeeds with a warning, and the
fallback kernels run.
"""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
NATIVE = HERE / "native"


def _relative(pattern: str) -> list[str]:
    return sorted(path.relative_to(HERE).as_posix() for path in NATIVE.glob(pattern))


SOURCES = [*_relative("*.c"), *(p for p in _relative("kernels/*.c") if not p.endswith(".inc.c"))]
HEADERS = [*_relative("**/*.h"), *_relative("**/*.inc.c")]

# No -march and no per-file flags: each function names its own target, and dispatch picks at run time. The
# encoder must give the same bytes everywhere, so a*b + c is never contracted into one rounding.
UNIX_FLAGS = ["-std=c11", "-O3", "-fno-fast-math", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]

ffi = FFI()
ffi.cdef((NATIVE / "ffi.cdef.h").read_text(encoding="utf-8"))
ffi.set_source(
    "secagg._native",
    '#include "secagg_native.h"',
    sources=SOURCES,
    include_dirs=["native/include"],
    depends=HEADERS,
    extra_compile_args=UNIX_FLAGS if os.name == "posix" else [],
    py_limited_api=True,
    optional=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
