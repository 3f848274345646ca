"""Checks the Promela models of this directory with Spin: ``make model``, or ``python docs/spec/model/run.py --help``.

A model with all its rules has to hold over its whole state space; with a rule taken away, Spin has to find the attack that the
rule stops. One line for each run; exit status 1 if any comes out otherwise, stops at a limit, or cannot be built.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secagg.bounds import opened_honest, quorum_ok

HERE = Path(__file__).resolve().parent
MEMORY_MB, MEMORY_MB_FULL = 1500, 4000
DEPTH = 100_000
SECONDS = 120
SECONDS_FULL = 1800


@dataclass(frozen=True)
class Case:
    """One run of Spin: what is built, and what has to come out."""

    name: str
    model: str
    defines: tuple[str, ...]
    attack: str = ""  # what has to be broken; empty: everything has to hold
    full: bool = False

    @property
    def options(self) -> list[str]:
        """The preprocessor's options for this case."""
        broken = [f"-DBROKEN={self.attack}"] if self.attack else []
        return [*(f"-D{define}" for define in self.defines), *broken]


@dataclass(frozen=True)
class Outcome:
    """What Spin said."""

    verdict: str  # "holds", "broken" or why there is none
    states: int = 0
    depth: int = 0
    seconds: float = 0.0
    trace: str = ""


# -- the server lies ------------------------------------------------------------------------------------------------------------


def lying(
    name: str,
    clients: tuple[int, int, int, int, int],
    *extra: str,
    rounds: int = 1,
    models: int = 1,
    attack: str = "",
    full: bool = False,
    promised: int | None = None,
) -> Case:
    """A case of n, c, p, m, t; the bound is the engine's unless `promised` says otherwise."""
    n, c, p, m, t = clients
    g = opened_honest(n, p, c, t, m) if promised is None else promised
    cohort = max(t, m)
    defines = {"N": n, "HONEST": n - c, "T": t, "M": m, "PMAX": p, "MIN_COHORT": cohort, "G": g}
    flags = [f"{key}={value}" for key, value in {**defines, "ROUNDS": rounds, "CONTEXTS": models}.items()]
    title = f"{name}: n={n} c={c} p={p} m={m} t={t} g={g}"
    return Case(title, "lying_server.pml", (*flags, *extra), attack, full)


def settings(n: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Every n, c, p, m, t that Params take with min_honest=2, sampled rounds (p < n) included."""
    for c in range(n - 1):
        for p in range(2, n + 1):
            for m in range(2, p + 1):
                for t in range(c + 1, n + 1):
                    if quorum_ok(n, c, t) and opened_honest(n, p, c, t, m) >= 2:
                        yield n, c, p, m, t


def all_settings(n: int, *extra: str, full: bool) -> Iterator[Case]:
    """Every setting: g is promised, and one more is not, for some strategy opens just g."""
    for clients in settings(n):
        if clients == FOUR:
            continue  # is among the everyday ones
        _, c, p, m, t = clients
        g = opened_honest(n, p, c, t, m)
        if n < 5 or c or p < 4 or m > 2:  # else over 10 million states, more than the memory holds
            yield lying("all rules", clients, *extra, full=full)
        yield lying("one more", clients, *extra, promised=g + 1, attack="opened_too_few", full=full)


FEW, BOTH = "opened_too_few", "opened_both_ways"
FOUR = (4, 1, 4, 3, 3)
SIX = (6, 1, 5, 4, 4)


def with_all_rules() -> Iterator[Case]:
    """The models in which nothing may break."""
    yield from all_settings(3, full=False)
    yield lying("all rules", FOUR)
    yield lying("one more", FOUR, promised=3, attack=FEW)
    yield lying("all rules, sampled", (4, 1, 3, 3, 3))
    yield lying("all rules, sampled", (4, 0, 3, 2, 3))
    yield lying("all rules, nobody corrupt", (4, 0, 4, 3, 3))
    yield lying("two models", FOUR, models=2)
    yield lying("two rounds", (3, 0, 3, 2, 2), rounds=2)
    yield lying("two rounds, sampled", (3, 0, 2, 2, 2), rounds=2)
    yield lying("two rounds", FOUR, rounds=2)
    yield lying("lies in the setup", (3, 1, 3, 3, 3), "SETUPS")
    yield lying("lies in the setup", FOUR, "SETUPS")
    yield lying("lies in the setup, sampled", (4, 1, 3, 3, 3), "SETUPS")
    yield lying("restored clients", FOUR, "ROLLBACK")
    yield lying("restored clients, lies in the setup", (3, 0, 3, 2, 2), "ROLLBACK", "SETUPS")
    yield lying("restored clients, two rounds", (3, 0, 2, 2, 2), "ROLLBACK", rounds=2)
    yield lying("in turn", FOUR, "IN_TURN", models=2)
    yield lying("five clients, two models", (5, 1, 5, 4, 4), "IN_TURN", models=2)
    yield lying("five clients, sampled", (5, 1, 3, 3, 4), "IN_TURN", models=2)
    yield lying("five clients, sampled", (5, 1, 4, 3, 4), "IN_TURN")
    yield lying("five clients, two corrupt", (5, 2, 5, 5, 4), "IN_TURN", models=2)
    yield lying("five clients", (5, 0, 4, 3, 3), "IN_TURN")
    yield lying("six clients", SIX, "IN_TURN", full=True)
    yield from all_settings(4, full=True)
    yield from all_settings(5, "IN_TURN", full=True)
    yield lying("two rounds, two models", (4, 1, 3, 3, 3), rounds=2, models=2, full=True)
    yield lying("lies in the setup, two models", FOUR, "SETUPS", models=2, full=True)
    yield lying("restored clients, lies in the setup", FOUR, "ROLLBACK", "SETUPS", full=True)


def with_a_rule_removed() -> Iterator[Case]:
    """The models that must break, with what breaks in them."""

    def without(
        rule: str, attack: str, clients: tuple[int, int, int, int, int] = FOUR, *extra: str, **more: int
    ) -> Case:
        return lying(f"without {rule.lower()}", clients, f"NO_{rule}", *extra, attack=attack, **more)

    yield without("SIGNED_KEYS", FEW)
    yield without("SIGNED_KEYS", "opened_below_threshold")
    yield without("PARAMS_HASH", "opened_below_threshold")
    yield without("ONCE", BOTH)
    yield without("LEDGER", BOTH, FOUR, "ROLLBACK")
    yield without("LEDGER", "two_uploads", FOUR, "ROLLBACK")
    yield without("FLOOR", BOTH, (3, 0, 3, 2, 2), rounds=2)
    yield without("ONE_KIND", BOTH)
    yield without("FRESH_KEYS", BOTH, (3, 0, 3, 2, 2), rounds=2)
    yield without("MIN_CLIENTS", FEW)
    yield without("DISTINCT", FEW)
    yield without("SURVIVORS_ASKED", FEW, SIX, "IN_TURN")
    yield without("CAP", FEW, (5, 0, 3, 3, 3), "IN_TURN")
    yield without("LIST_IN_HEADERS", FEW, (5, 0, 5, 3, 3), "IN_TURN")
    yield without("SIGNED_HEADERS", FEW, (5, 0, 5, 3, 3), "IN_TURN")
    yield without("CONTEXT", "opened_mixed_models", models=2)
    yield without("OWN_DEATH", "left_out")
    yield without("SAME_LIST", "left_out")
    yield without("CLOSED", "left_out")
    # Params that the engine refuses: the same model, all rules in place.
    yield lying("2t = n + c", (4, 0, 4, 3, 2), promised=2, attack=BOTH)
    yield lying("2t = n + c", (4, 0, 4, 3, 2), promised=2, attack="two_accounts")
    yield lying("t = c", (4, 2, 4, 3, 2), promised=1, attack=BOTH)
    yield lying("g below min_honest", (4, 1, 4, 2, 3), promised=2, attack=FEW)
    yield lying("more corrupt than c", (4, 2, 4, 3, 3), promised=2, attack=FEW)


# -- the server is honest -------------------------------------------------------------------------------------------------------


def summing(name: str, n: int, honest: int, m: int, t: int, *extra: str, attack: str = "", full: bool = False) -> Case:
    """A case of the model in which the server follows the protocol."""
    defines = (f"N={n}", f"HONEST={honest}", f"M={m}", f"T={t}", *extra)
    return Case(f"{name}: n={n} c={n - honest} m={m} t={t}", "honest_server.pml", defines, attack, full)


def sums() -> Iterator[Case]:
    """The sum of the contributors, or an abort."""
    small, large = (3, 3, 2, 2), (4, 3, 3, 3)
    yield summing("sum or abort", *small)
    yield summing("sum or abort", *large)
    yield summing("a sum comes out", *large, attack="phase==released")
    yield summing("an abort comes out", *large, attack="phase==aborted")
    yield summing("without context", *small, "NO_CONTEXT", attack="mixed_models")
    yield summing("without min_clients", 3, 3, 3, 2, "NO_MIN_CLIENTS", attack="too_few")
    # The check lanes are a second line: each of these holds by them alone, and they alone are not missed.
    yield summing("without lanes", *large, "NO_LANES")
    for rule, attack in (
        ("DUPLICATES", "inexact"),
        ("DEADLINE", "inexact"),
        ("COMMITMENTS", "inexact"),
        ("THRESHOLD", "below_threshold"),
    ):
        small_enough = small if rule == "DUPLICATES" else large
        yield summing(f"without {rule.lower()}", *small_enough, f"NO_{rule}")
        yield summing(f"without {rule.lower()} and lanes", *large, f"NO_{rule}", "NO_LANES", attack=attack)
    yield summing("without tag", *large, "NO_TAG")
    yield summing("without same_bytes", *small, "NO_SAME_BYTES")
    yield summing("without same_bytes and tag", *small, "NO_SAME_BYTES", "NO_TAG", attack="inexact")
    yield summing("sum or abort, two corrupt", 4, 2, 3, 4, full=True)
    yield summing("without duplicates", *large, "NO_DUPLICATES", full=True)
    yield summing("sum or abort, five clients", 5, 4, 4, 4, full=True)


# -- running --------------------------------------------------------------------------------------------------------------------


def run(case: Case, seconds: int, *, trace: bool = False) -> Outcome:
    """Build and search one case in a directory of its own."""
    with tempfile.TemporaryDirectory() as folder:
        model = shutil.copy(HERE / case.model, folder)
        small = bool(case.attack) and "IN_TURN" not in case.defines  # found sooner than compiled with more
        optimize = "-O2" if case.full else "-O0" if small else "-O1"
        compiler = [
            "gcc",
            optimize,
            "-w",
            "-DSAFETY",
            f"-DMEMLIM={MEMORY_MB_FULL if case.full else MEMORY_MB}",
            *(["-DBFS"] if trace else []),
            "-o",
            "pan",
            "pan.c",
        ]
        for command in (["spin", "-a", *case.options, model], compiler):
            built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if built.returncode or "rror" in built.stdout:
                return Outcome(f"not built: {(built.stdout + built.stderr).strip()[:400]}")
        start = time.monotonic()
        try:
            search = subprocess.run(
                ["./pan", f"-m{DEPTH}", "-w22"],
                cwd=folder, capture_output=True, text=True, check=False, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(f"no verdict in {seconds} s")
        spent = time.monotonic() - start
        steps = ""
        if trace:
            replay = ["spin", "-t", "-B", *case.options, model]
            steps = subprocess.run(replay, cwd=folder, capture_output=True, text=True, check=False).stdout
        return read(search.stdout, spent, steps)


def read(text: str, seconds: float, trace: str = "") -> Outcome:
    """Make out what the search came to; a search that stopped at a limit has shown nothing."""
    states, errors = re.search(r"^ *(\d+) states, stored", text, re.MULTILINE), re.search(r"errors: (\d+)", text)
    depth = re.search(r"depth reached (\d+)", text)
    if states is None or errors is None or depth is None:
        return Outcome(f"no verdict: {text.strip()[:400]}")
    found = (int(states[1]), int(depth[1]), seconds, trace)
    if "assertion violated" in text:
        return Outcome("broken", *found)
    if (
        int(errors[1])
        or "Search not completed" in text
        or "too small" in text
        or "memory" in text.split("Stats", maxsplit=1)[0]
    ):
        return Outcome("stopped at a limit or on another error", *found)
    return Outcome("holds", *found)


def report(case: Case, seconds: int) -> bool:
    """Run a case, print its line, and tell whether it came out as it has to."""
    out = run(case, seconds)
    good = out.verdict == ("broken" if case.attack else "holds")
    found = "reached" if case.attack.startswith("phase") else "attack found"
    said = {"holds": "holds", "broken": f"{found} ({case.attack})" if case.attack else "BROKEN"}.get(
        out.verdict, out.verdict
    )
    if out.verdict == "holds" and case.attack:
        said = f"NOT FOUND: {case.attack}"
    mark = "ok  " if good else "FAIL"
    print(
        f"{mark} {case.name:<52} {said:<40} {out.states:>10} states {out.depth:>6} deep {out.seconds:6.2f} s",
        flush=True,
    )
    return good


def cases() -> list[Case]:
    """Every case, in the order of the page."""
    return [*with_all_rules(), *with_a_rule_removed(), *sums()]


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for and return the exit status."""
    parser = argparse.ArgumentParser(description="Check the Promela models of the pairwise protocol.")
    parser.add_argument("--full", action="store_true", help="the larger models as well")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--trace", action="store_true", help="the steps of the shortest attack instead of a line")
    asked = parser.parse_args(arguments)
    for tool in ("spin", "gcc"):
        if shutil.which(tool) is None:
            print(f"{tool} is not installed: `make model` as root installs it", file=sys.stderr)
            return 2
    chosen = [case for case in cases() if asked.only in case.name and (asked.full or not case.full)]
    if not chosen:
        print(f"no model is called {asked.only!r}", file=sys.stderr)
        return 2
    limit = SECONDS_FULL if asked.full else SECONDS
    if asked.trace:
        for case in chosen:
            print(f"== {case.name} {case.attack}\n{run(case, limit, trace=True).trace}")
        return 0
    start = time.monotonic()
    failed = [case.name for case in chosen if not report(case, limit)]
    print(f"{len(chosen)} models, {len(failed)} failed, {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
