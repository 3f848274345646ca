"""A whole round in one process, through the real frames."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from secagg.aggregate import Aggregate
from secagg.errors import InputError, InternalError
from secagg.params import Params
from secagg.testing import Network

__all__ = ["simulate"]

PHASES = {
    "pairwise": ("keys", "shares", "masked", "unmask"),
    "ckks": ("keys", "encrypted", "decrypt"),
    "oneshot": ("keys", "masked", "reveal"),
}


def simulate(
    updates: Mapping[str, Any],
    params: Params,
    *,
    weights: Mapping[str, int] | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    dropouts: Mapping[str, Collection[str]] | None = None,
    seed: int | None = None,
    threads: int | None = None,
) -> Aggregate:
    """Return the Aggregate of one round among in-memory clients, and a key holder where the protocol has one.

    Parameters
    ----------
    updates : mapping of id to update
        One update per client; the ids become the roster.
    params : Params
    weights : mapping of id to int, optional
        Default 1 each.
    metrics : mapping of id to mapping, optional
    dropouts : mapping of phase to ids, optional
        Clients whose message of that phase (keys, shares, masked, unmask; in ckks: encrypted; in oneshot: keys, masked,
        reveal) and of all later ones never arrives.
    seed : int, optional
        Makes the stochastic rounding reproducible. Keys always come from the operating system.
    threads : int, optional
        Threads of every party; the result does not depend on it. Default: the cores this process may use.

    Raises
    ------
    InputError
        An unknown phase or id.
    AbortError
        Too few clients were left.
    """
    gone: set[str] = set()
    phases = PHASES[params.protocol]
    schedule = dict(dropouts or {})
    for phase, ids in schedule.items():
        if phase not in phases:
            raise InputError(f"unknown phase {phase!r} in dropouts; phases are {', '.join(phases)}")
        strangers = set(ids) - set(updates)
        if isinstance(ids, str) or strangers:
            raise InputError(f"dropouts[{phase!r}] must be a collection of ids from updates")
    rounding = None if seed is None else hashlib.sha256(b"secagg simulate %d" % seed).digest()
    network = Network.fresh(params, list(updates), rounding_seed=rounding, threads=threads)
    network.server.open_round(1)
    for phase in phases:
        gone.update(schedule.get(phase, ()))
        network.exchange(
            lambda client: client.submit(
                updates[client.me],
                weight=1 if weights is None else weights[client.me],
                metrics=None if metrics is None else metrics[client.me],
            ),
            silent=gone,
        )
        network.server.close_phase()
    told = network.server.result(1)
    if isinstance(told, Aggregate):
        return told
    if network.holder is None:
        raise InternalError("an encrypted sum without a key holder")
    opened = network.holder.result(1)
    opened.receipt = told.receipt  # the one that the server signed too
    return opened
