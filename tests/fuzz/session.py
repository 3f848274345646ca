"""Fuzz everything for a while: ``python -P tests/fuzz/session.py SECONDS [TARGET ...]``, which `make fuzz` calls.

The time is shared by all targets, those in Python with atheris and those in C with libFuzzer, one on each core. Working corpora
grow in .fuzz/work from the kept ones; what is found is printed and put into .fuzz/found, and the exit code is 1. ``--keep`` then
takes into tests/fuzz/corpus, shortest first and up to 100 kB a target, what the working corpora have.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import corpora  # the path comes first
from fuzz.native import build
from fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".fuzz"
TIMEOUT = 30  # seconds of one input: more is a hang
MEMORY_MB = 1500
LONGEST = 4096
PROGRESS = re.compile(r"#\d+\s|INFO:|WARNING: Failed to find")
# An upload of many steps, or a hostile file, needs room; nothing else does.
FLAGS = [
    f"-timeout={TIMEOUT}",
    f"-rss_limit_mb={MEMORY_MB}",
    f"-max_len={LONGEST}",
    "-print_final_stats=1",
    "-verbosity=1",
]

# Leak checking needs ptrace, which containers often forbid.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}


def command(name: str) -> list[str]:
    """Return what runs a target, without its options."""
    if name in build.TARGETS:
        return [str(build.built(name, WORK / "native"))]
    return [sys.executable, "-P", str(ROOT / "tests" / "fuzz" / "run.py"), name]


def fuzz(name: str, seconds: int) -> dict[str, str]:
    """Run one target and return its figures; `found` is the file that made it fail."""
    work, found = WORK / "work" / name, WORK / "found" / name
    corpora.unpack(corpora.read(corpora.CORPUS / f"{name}.txt") + corpora.read(corpora.CRASHES / f"{name}.txt"), work)
    found.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    made = [*command(name), *FLAGS, f"-max_total_time={max(1, seconds)}", f"-artifact_prefix={found}/", str(work)]
    begun = time.monotonic()
    told = subprocess.run(made, check=False, capture_output=True, text=True, errors="replace", env=ENVIRONMENT)
    text = told.stdout + told.stderr
    cover = re.findall(r"cov: (\d+) ft: (\d+)", text)
    runs = re.findall(r"stat::number_of_executed_units: +(\d+)", text)
    last = re.findall(r"^#(\d+)\s", text, re.MULTILINE)
    figures = {
        "target": name, "seconds": f"{time.monotonic() - begun:.0f}", "runs": (runs or last or ["0"])[-1],
        "edges": cover[-1][0] if cover else "-", "features": cover[-1][1] if cover else "-",
        "inputs": str(len(list(work.iterdir()))), "found": "",
    }  # fmt: skip
    if told.returncode:
        new = [str(path.relative_to(ROOT)) for path in set(found.iterdir()) - before]
        figures["found"] = ", ".join(new) or f"exit code {told.returncode}"
        print("\n".join(line for line in text.splitlines() if not PROGRESS.match(line))[-4000:])
    return figures


def keep(name: str) -> int:
    """Take the working corpus of a target into the one in the repository, and return how many inputs that has.

    A working corpus has only what reached something new when it was found. In C libFuzzer also merges it, least inputs first;
    under atheris it cannot, for it would have to start itself again.
    """
    work, path = WORK / "work" / name, corpora.CORPUS / f"{name}.txt"
    inputs = [each.read_bytes() for each in work.iterdir()]
    if name in build.TARGETS:
        merged = WORK / "merged" / name
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir(parents=True)
        made = [*command(name), *FLAGS, "-merge=1", str(merged), str(work)]
        subprocess.run(made, check=True, capture_output=True, env=ENVIRONMENT)
        inputs = [each.read_bytes() for each in merged.iterdir()]
    return corpora.write(path, [*inputs, *([] if name in build.TARGETS else corpora.read(path))], REMARK)


REMARK = "Made by tests/fuzz/generate.py and tests/fuzz/session.py --keep; one input a line."


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=int)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    native = list(build.TARGETS) if build.compiler() else []
    if not build.compiler():
        print("clang is not installed: the C kernels are left out")
    names = given.targets or [*TARGETS, *native]
    for name in set(names).intersection(build.TARGETS):
        build.built(name, WORK / "native")
    jobs = max(1, min(4, len(os.sched_getaffinity(0))))
    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(lambda name: fuzz(name, given.seconds * jobs // len(names)), names):
            rows.append(row)
            print("  ".join(f"{key}={value}" for key, value in row.items() if value), flush=True)
    if given.keep:
        for name in names:
            print(f"{name}: {keep(name)} inputs kept")
    total = sum(int(row["runs"]) for row in rows)
    bad = [row for row in rows if row["found"]]
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = spent.ru_utime + spent.ru_stime
    print(f"{total} inputs, {len(names)} targets, {cpu:.0f} s of CPU on {jobs} cores: {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
