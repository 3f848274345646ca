"""What is fuzzed, by name: each target takes bytes and fails on anything that the documentation does not allow.

A target's module is loaded when the target is asked for, so that a fuzzer can instrument what it imports.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["TARGETS", "Target", "load"]

TARGETS = {
    "frames": "frames:Frames",
    "bodies": "frames:Bodies",
    "params": "files:ParamsBytes",
    "toml": "files:ParamsToml",
    "roster": "files:RosterFile",
    "keys": "files:KeyFiles",
    "policy": "files:PolicyFile",
    "receipt": "files:ReceiptFile",
    "snapshot": "stores:Snapshots",
    "ledger": "stores:LedgerFile",
    "seal": "tenseal:Seal",
    "tenseal": "tenseal:Messages",
    "pairwise_server": "pairwise:ToServer",
    "pairwise_client": "pairwise:ToClient",
    "ckks_server": "ckks:ToServer",
    "ckks_client": "ckks:ToClient",
    "ckks_holder": "ckks:ToHolder",
    "oneshot_server": "oneshot:ToServer",
    "oneshot_client": "oneshot:ToClient",
}


@dataclass(frozen=True)
class Target:
    """One thing that takes hostile bytes.

    Attributes
    ----------
    run : callable
        Takes an input, and raises what a user would see if something is wrong.
    seeds : callable
        Returns inputs to begin with.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


def load(name: str) -> Target:
    """Return a new target of that name."""
    module, maker = TARGETS[name].split(":")
    made = getattr(importlib.import_module(f"fuzz.targets.{module}"), maker)()
    return Target(made.run, made.seeds)
