"""A whole session in one process with a stopwatch beside every party."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from secagg.aggregate import EncryptedAggregate
from secagg.cli.bench.figures import Phase, Sample
from secagg.cli.bench.memory import Meter
from secagg.client import Client
from secagg.encoding import FixedPoint
from secagg.errors import InputError, InternalError
from secagg.holder import KeyHolder
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.protocols.oneshot import committee
from secagg.server import Server
from secagg.wire import HOLDER

__all__ = ["Watch", "play", "updates_of"]

SERVER = ""
ROUND = 1
T = TypeVar("T")


def updates_of(length: int, clip: float = 1.0) -> Callable[[int], npt.NDArray[np.float32]]:
    """Return the updates of all clients: float32 in [-clip, clip], views of one vector, each from another place on."""
    spare = min(length, 7919)
    base = np.random.default_rng(0).uniform(-clip, clip, length + spare).astype(np.float32)
    return lambda i: base[(37 * i) % spare :][:length]


class Watch:
    """Seconds and bytes by phase and party; a `Meter` beside it looks at memory instead, for which clocks are too slow."""

    def __init__(self, meter: Meter | None = None) -> None:
        self._seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._up: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._down: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._meter = meter

    def of(self, phase: str, party: str, do: Callable[..., T], *arguments: Any, holding: int = 0) -> T:
        """Call `do` on a party's account; `holding` bytes that it is given count as its memory."""
        self._seconds[phase].setdefault(party, 0.0)
        if self._meter is not None:
            kind = {SERVER: "server", HOLDER: "holder"}.get(party, "client")
            return self._meter.watch(kind, party, lambda: do(*arguments), holding)
        begin = time.perf_counter()
        try:
            return do(*arguments)
        finally:
            self._seconds[phase][party] += time.perf_counter() - begin

    def sent(self, phase: str, party: str, count: int) -> None:
        """Count bytes from a party to the server."""
        self._up[phase][party] += count

    def got(self, phase: str, party: str, count: int) -> None:
        """Count bytes from the server to a party."""
        self._down[phase][party] += count

    def phases(self, finished: Collection[str], committee: Collection[str] = ()) -> dict[str, Phase]:
        """Return each phase, with the medians of the clients that took part to the end.

        What members of a committee do outside the masked phase is no client's work, and stands where a key holder's would.
        """

        def median(of: Mapping[str, Any], names: Collection[str]) -> float:
            return float(np.median([of.get(name, 0) for name in names])) if names else 0.0

        found = {}
        for phase, seconds in self._seconds.items():
            members = committee if phase != "masked" else ()
            clients = () if members else finished
            openers = members or (HOLDER,)
            found[phase] = Phase(
                median(seconds, clients), seconds.get(SERVER, 0.0), median(seconds, openers), median(self._up[phase], clients),
                median(self._down[phase], clients), median(self._up[phase], openers), median(self._down[phase], openers),
            )  # fmt: skip
        return found


def play(params: Params, lost: int, threads: int, meter: Meter | None = None) -> Sample:
    """Return one session of one round, whose mean was compared with the exact one.

    Parameters
    ----------
    params : Params
        Of a flat update. Weights are 1.
    lost : int
        The first `lost` clients fall silent once they are asked for their update.
    threads : int
        Threads of each party.
    meter : Meter, optional
        Looks at memory; the seconds are then those of a program under observation.
    """
    started = time.perf_counter()
    ids = [f"client-{i:09d}" for i in range(params.clients)]
    keys = {name: Identity.generate() for name in ids}
    server_key, ckks = Identity.generate(), params.protocol == "ckks"
    holder_key = Identity.generate() if ckks else None
    roster = Roster(
        {name: key.verify_key for name, key in keys.items()},
        server_key.verify_key,
        None if holder_key is None else holder_key.verify_key,
    )
    encoding = params.encoding
    if not isinstance(encoding, FixedPoint):
        raise InputError("only Params of a FixedPoint encoding are measured")
    updates = updates_of(params.length or 0, encoding.clip)
    session = os.urandom(16)  # known to everybody beforehand, as a drawn committee needs it
    server = Server(params, identity=server_key, roster=roster, session=session, threads=threads)
    parties: dict[str, Client | KeyHolder] = {
        name: Client(params, me=name, identity=keys[name], roster=roster, session=session, threads=threads)
        for name in ids
    }
    if holder_key is not None:
        parties[HOLDER] = KeyHolder(params, identity=holder_key, roster=roster, threads=threads)
    watch, silent, phase = Watch(meter), set(), ""

    def answer(name: str) -> list[bytes]:
        party = parties[name]
        if isinstance(party, Client) and party.awaiting:
            party.submit(updates(int(name[7:])))
        return party.outbox()

    watch.of("keys", SERVER, server.open_round, ROUND)
    while (phase := server.phase) != "idle":
        if phase in ("masked", "encrypted"):
            silent = set(ids[:lost])
        for to, frame in watch.of(phase, SERVER, server.outbox):
            for name in ids if to is None else (to,):
                if name not in silent:
                    watch.got(phase, name, len(frame))
                    watch.of(phase, name, parties[name].receive, frame)
        for name in parties:
            if name in silent:
                continue
            frames = watch.of(phase, name, answer, name)
            watch.sent(phase, name, sum(map(len, frames)))
            for frame in frames:
                watch.of(phase, SERVER, server.receive, frame, name, holding=len(frame))
            del frames
        watch.of(phase, SERVER, server.close_phase)
        last = phase
    result, reader = server.result(ROUND), SERVER
    holder = parties.get(HOLDER)
    if isinstance(result, EncryptedAggregate) and isinstance(holder, KeyHolder):
        result, reader = holder.result(ROUND), HOLDER
    mean = watch.of(last, reader, lambda: result.mean)
    total = np.zeros(params.length or 0)
    for i in range(lost, params.clients):
        total += updates(i)
    error = float(np.abs(mean - total / (params.clients - lost)).max())
    if len(result.contributors) != params.clients - lost or error > encoding.error_bound():
        raise InternalError("a session gave another mean than that of its updates")
    wall = time.perf_counter() - started
    crew = set(committee(roster, session, params.committee)) - silent if params.protocol == "oneshot" else ()
    return Sample(params.clients, params.length or 0, watch.phases(ids[lost:], crew), wall, error)
