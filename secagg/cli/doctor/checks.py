"""What can be wrong, or slow, about a machine and an installation; each check looks at one thing and says how to mend it."""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

import secagg
from secagg import _kernels
from secagg.cli.vectors.runner import files, run
from secagg.errors import SecAggError
from secagg.hazmat.prg import apply_masks
from secagg.protocols.memory import Record
from secagg.store import Ledger

__all__ = ["CHECKS", "Finding", "ledger"]

State: TypeAlias = Literal["fine", "slow", "wrong"]
FEATURES = {
    "x86_64": ("aes", "avx2", "avx512f", "avx512ifma", "vaes", "vpclmulqdq", "sha_ni"),
    "aarch64": ("aes", "asimd", "sha2"),
}
REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)")
OPTIONAL = ("tenseal",)  # for its own integration alone
SLOW_MASKS = 2e9  # bytes a second; the compiled fallback's order of magnitude
SLOW_FSYNC = 0.02


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes
    ----------
    name : str
    state : {"fine", "slow", "wrong"}
        Wrong: results or secrets could not be trusted, or something will fail. Slow: all is right, and could be faster.
    told : str
    mend : str
        What to do; empty if nothing.
    data : dict
        For JSON.
    """

    name: str
    state: State
    told: str
    mend: str
    data: dict[str, Any]


def processor() -> Finding:
    """Which processor it is, and which of the features that kernels use it has."""
    machine = platform.machine()
    known = FEATURES.get(machine, ())
    model, flags = _cpuinfo()
    has = [name for name in known if name in flags]
    told = f"{model or machine}: {', '.join(has) or 'no feature that is known here'}"
    data = {
        "machine": machine,
        "model": model,
        "features": {name: name in flags for name in known},
        "cores": os.cpu_count(),
    }
    return Finding("processor", "fine", told, "", data)


def _cpuinfo() -> tuple[str, frozenset[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return platform.processor(), frozenset()
    lines = dict(re.findall(r"^([\w ]+?)\s*:\s*(.*)$", text, re.MULTILINE))
    return lines.get("model name", ""), frozenset((lines.get("flags") or lines.get("Features") or "").split())


def kernels() -> Finding:
    """Which kernels run, and whether they are the best that this machine can run."""
    info = _kernels.build_info()
    forced = os.environ.get(_kernels.FORCE_VARIABLE, "")
    told = f"{info['isa']} of {', '.join(info['available'])}" + (
        f"; built by {info['compiler']}" if info["compiler"] else ""
    )
    state: State = "fine"
    mend = ""
    if len(info["available"]) == 1:
        state, mend = "slow", (
            "the C module is missing: install a C compiler and the Python headers, then `pip install --force-reinstall "
            "--no-binary secagg secagg`; the fallback gives the same bytes, and makes no constant-time claim"
        )  # fmt: skip
    elif info["isa"] != info["available"][0]:
        state, mend = "slow", f"{_kernels.FORCE_VARIABLE}={forced} is set: unset it to run {info['available'][0]}"
    return Finding("kernels", state, told, mend, info | {"forced": forced or None})


def vectors() -> Finding:
    """Whether the kernels that run give what the shipped vectors say."""
    outcomes = [run(file) for file in files()]
    bad = [f"{outcome.name}: {reason}" for outcome in outcomes for reason in outcome.failed]
    passed = sum(outcome.passed for outcome in outcomes)
    data = {"passed": passed, "failed": bad}
    if bad:
        told = f"{len(bad)} of {passed + len(bad)} cases fail, first {bad[0]}"
        return Finding("vectors", "wrong", told, "do not use this build; run `secagg vectors`, and report it", data)
    return Finding("vectors", "fine", f"{passed} cases hold on {_kernels.build_info()['isa']}", "", data)


def rounds() -> Finding:
    """Whether a small round of each protocol gives the exact sum."""
    updates = {f"client-{i}": np.arange(40, dtype=np.int64) * i for i in range(5)}
    exact = np.sum(list(updates.values()), axis=0)
    encoding = secagg.Integer(0, 200)
    failed: dict[str, str] = {}
    for own in ({"protocol": "pairwise"}, {"protocol": "ckks", "reveal": "server"}, {"protocol": "oneshot"}):
        try:
            params = secagg.Params(5, length=40, encoding=encoding, **own)  # type: ignore[arg-type]
            if not np.array_equal(secagg.simulate(updates, params).sum, exact):
                failed[own["protocol"]] = "the sum is not exact"
        except SecAggError as error:
            failed[own["protocol"]] = f"{type(error).__name__}: {error}"
    if failed:
        told = "; ".join(f"{protocol}: {reason}" for protocol, reason in failed.items())
        return Finding("rounds", "wrong", told, "do not use this build; report it", {"failed": failed})
    return Finding(
        "rounds", "fine", "pairwise, ckks and oneshot give the exact sum of five clients", "", {"failed": {}}
    )


def speed() -> Finding:
    """How fast masks are made, which is most of what a client of pairwise does."""
    lanes = np.zeros(1 << 18, dtype=np.uint32)
    keys = [os.urandom(16) for _ in range(4)]
    apply_masks(lanes, keys, [1] * 4, 1, 0, 20)  # the fallback compiles at its first call
    best = float("inf")
    for _ in range(5):
        begin = time.thread_time()
        apply_masks(lanes, keys, [1] * 4, 1, 0, 20)
        best = min(best, time.thread_time() - begin)
    rate = 4 * lanes.nbytes / max(best, 1e-9)
    told = f"masks at {rate / 1e9:.1f} GB/s on one thread"
    slow = rate < SLOW_MASKS
    mend = "these kernels are the cause, if a better one is named above; else it is the machine" if slow else ""
    return Finding("speed", "slow" if slow else "fine", told, mend, {"mask_bytes_per_second": rate})


def dependencies() -> Finding:
    """Whether what the package needs is there, and new enough."""
    found: dict[str, str | None] = {}
    wrong: list[str] = []
    missing: list[str] = []
    for text in metadata.requires("secagg") or ():
        match = REQUIREMENT.match(text)
        if match is None or "extra ==" in text:
            continue
        name, floor = match[1], match[2]
        try:
            found[name] = version = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
            (missing if name in OPTIONAL else wrong).append(f"{name} is missing")
            continue
        if _numbers(version) < _numbers(floor):
            wrong.append(f"{name} {version} is older than {floor}")
    told = ", ".join(f"{name} {version or '-'}" for name, version in sorted(found.items()))
    mend = "; ".join([*wrong, *(f"{each}: only secagg.integrations.tenseal needs it" for each in missing)])
    if wrong:
        mend += ": `pip install --upgrade secagg` brings what is needed"
    return Finding(
        "dependencies", "wrong" if wrong else "fine", told, mend, {"python": platform.python_version(), **found}
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])


def entropy() -> Finding:
    """Whether the operating system gives random bytes, at once."""
    data: dict[str, Any] = {}
    try:
        draws = [os.urandom(32) for _ in range(4)]
        if hasattr(os, "getrandom"):
            draws.append(os.getrandom(32, os.GRND_NONBLOCK))
            data["source"] = "getrandom"
        else:
            data["source"] = "os.urandom"
    except (OSError, NotImplementedError) as error:
        told = f"the operating system gives no random bytes: {type(error).__name__}"
        mend = "wait until it has gathered enough after its start; in a virtual machine, give it a virtio-rng device"
        return Finding("entropy", "wrong", told, mend, data)
    if len(set(draws)) < len(draws) or any(len(draw) != 32 for draw in draws):
        return Finding("entropy", "wrong", "two draws are equal", "do not make keys on this machine", data)
    return Finding("entropy", "fine", f"{data['source']} answers at once", "", data)


def numba_cache() -> Finding:
    """Whether what the fallback compiles can be kept for the next process."""
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(_kernels.__file__).parent / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [Path(wanted)] if wanted else [beside, beside.parent, home, home.parent]
    for place in places:
        if place.is_dir() and os.access(place, os.W_OK):
            return Finding("numba cache", "fine", str(place), "", {"directory": str(place)})
    told = "nowhere to keep what the fallback compiles: every process would compile anew, some ten seconds"
    mend = "set NUMBA_CACHE_DIR to a directory that can be written"
    state: State = "slow" if _kernels.build_info()["backend"] == "fallback" else "fine"
    return Finding("numba cache", state, told, mend, {"directory": None})


def ledger(directory: Path) -> Finding:
    """Whether a ledger can be kept in a directory, and what a durable record costs."""
    records = 5
    took: list[float] = []
    try:
        with tempfile.TemporaryDirectory(prefix="secagg-doctor-", dir=directory) as inside:
            book = Ledger(Path(inside) / "ledger.db", me="doctor", identity=secagg.Identity.generate())
            try:
                for round_id in range(records):
                    begin = time.perf_counter()
                    book.record(bytes(16), round_id, "masked", Record(bytes(32), bytes(32), b""))
                    took.append(time.perf_counter() - begin)
            finally:
                book.close()
    except (OSError, SecAggError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        told = f"{directory}: {reason}"
        mend = (
            "name a directory that can be written with --ledger; without a ledger a rolled-back client may answer twice"
        )
        return Finding("ledger", "wrong", told, mend, {"directory": str(directory)})
    cost = statistics.median(took)
    told = f"{directory}: {1000 * cost:.1f} ms for a durable record"
    slow = cost > SLOW_FSYNC
    mend = (
        "two records a round, so seldom a matter; a disk with a write cache that survives a power cut is faster"
        if slow
        else ""
    )
    return Finding("ledger", "slow" if slow else "fine", told, mend, {"directory": str(directory), "seconds": cost})


def interpreter() -> Finding:
    """Which Python and package run."""
    told = f"secagg {secagg.__version__} on Python {platform.python_version()} ({sys.platform})"
    return Finding(
        "package", "fine", told, "", {"version": secagg.__version__, "path": str(Path(secagg.__file__).parent)}
    )


CHECKS: tuple[Callable[[], Finding], ...] = (
    interpreter, processor, kernels, vectors, rounds, speed, dependencies, entropy, numba_cache,
)  # fmt: skip
