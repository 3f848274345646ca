"""`secagg vectors`: the conformance vectors that ship with the package, run on everything this machine can run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from secagg import build_info
from secagg.cli.files import table, using
from secagg.cli.vectors.runner import files
from secagg.errors import InputError
from secagg.files import write_new

__all__ = ["export_files", "list_files", "run_all"]

PUBLIC = 0o644
SLOWEST = 600  # seconds; the fallback compiles at its first run
# -P: what is run is the package that this command belongs to, not a directory of its name that happens to be here.
START = "import sys; sys.path.insert(0, {0!r}); from secagg.cli.vectors.runner import main; main()"


def run_all(*, isa: str | None, as_json: bool) -> bool:
    """Run every shipped case on every implementation, print a table, and return whether all hold.

    Parameters
    ----------
    isa : str, optional
        One of ``build_info()["available"]``; all by default.
    as_json : bool

    Raises
    ------
    InputError
        An implementation that this machine cannot run.
    """
    available = build_info()["available"]
    if isa is not None and isa not in available:
        raise InputError(f"--isa {isa!r} cannot run here: choose one of {', '.join(available)}")
    results = {name: _in_process(name) for name in ([isa] if isa else available)}
    holds = all(not found["error"] and not any(bad for _, bad in found["files"].values()) for found in results.values())
    if as_json:
        print(json.dumps({"holds": holds, "results": results}, indent=2))
        return holds
    names = [file.name for file in files()]
    rows = [
        [name, *(_cell(found, name) for found in results.values()), str(len(file.data["cases"]))]
        for name, file in zip(names, files(), strict=True)
    ]
    print(table(["vectors", *results, "cases"], rows))
    for name, found in results.items():
        if found["error"]:
            print(f"\n{name} did not run: {found['error']}")
        for file_name, (_, bad) in found["files"].items():
            for reason in bad:
                print(f"\n{name}, {file_name}: {reason}")
    print("\nAll hold." if holds else "\nNOT ALL HOLD: do not use this build; please report it.")
    return holds


def _cell(found: dict[str, Any], name: str) -> str:
    passed, bad = found["files"].get(name, (0, ()))
    if found["error"]:
        return "-"
    return f"{len(bad)} FAIL" if bad else f"{passed} hold"


def _in_process(isa: str) -> dict[str, Any]:
    """Return what a process of its own finds: an implementation is chosen when the package is imported."""
    home = str(Path(__file__).resolve().parents[3])
    environment = os.environ | {"SECAGG_FORCE_ISA": isa}
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter, on this package
            [sys.executable, "-P", "-c", START.format(home)], env=environment, capture_output=True, text=True, timeout=SLOWEST,
            check=False,
        )  # fmt: skip
        told = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return {"error": type(error).__name__, "files": {}}
    if told.get("isa") != isa:
        last = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        return {"error": f"exit status {done.returncode}: {last[0]}", "files": {}}
    return {"error": "", "files": told["files"]}


def list_files(*, as_json: bool) -> None:
    """Print which files ship, from where they are and who has verified them."""
    told = [
        {key: value for key, value in {"name": file.name, **file.data}.items() if key != "cases"}
        | {"cases": len(file.data["cases"])}
        for file in files()
    ]
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for each in told:
        verified = each["verified_by"]
        print(f"{each['name']}: {each['cases']} cases ({each['selection']})")
        print(f"  source       {each['source']}")
        print(f"  licence      {each['licence']}")
        print(f"  verified by  {verified if isinstance(verified, str) else '; '.join(verified)}")


def export_files(directory: Path, *, as_json: bool) -> None:
    """Write the shipped files into a directory, for another implementation.

    Raises
    ------
    InputError
        A file of that name exists: nothing is ever overwritten.
    """
    found = list(files())
    with using(directory):
        directory.mkdir(parents=True, exist_ok=True)
    taken = [path for path in (directory / f"{file.name}.json" for file in found) if path.exists()]
    if taken:
        raise InputError(f"{taken[0]} exists; nothing was written, for no file is ever overwritten")
    written = []
    for file in found:
        path = directory / f"{file.name}.json"
        with using(path):
            write_new(path, file.text.encode(), mode=PUBLIC)
        written.append(str(path))
    print(json.dumps({"written": written}, indent=2) if as_json else "\n".join(written))
