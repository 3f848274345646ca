"""Whole sessions with a clock beside every party, and parties that can be played again alone.

A party is a function of its entropy and of the frames it gets. So one session is run for real, every party's entropy and every
frame are kept, and then one client, or the server, is run again as often as needed: the same work on the same bytes, without
the other parties' work around it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

import secagg
from secagg.hazmat import agreement, signing
from secagg.simulate import PHASES as EVERY

__all__ = ["PHASES", "Session", "play_client", "play_server", "run_session", "trusting", "updates_of"]

PHASES = EVERY["pairwise"]
ROUND = 1
_urandom = os.urandom  # kept, because `os.urandom` is replaced while a party is made


def updates_of(length: int) -> Callable[[int], np.ndarray]:
    """Return the updates of all clients: views of one vector, each from another place on, so that no two are equal."""
    base = np.random.default_rng(0).uniform(-1, 1, 2 * length).astype(np.float32)
    return lambda i: base[(7919 * i) % length :][:length]


class _Tape:
    """The operating system's entropy, kept as it is drawn."""

    def __init__(self) -> None:
        self._drawn: list[bytes] = []

    def record(self, count: int) -> bytes:
        self._drawn.append(_urandom(count))
        return self._drawn[-1]

    def play(self) -> Callable[[int], bytes]:
        drawn = iter(self._drawn)
        return lambda _: next(drawn)


@dataclass
class Session:
    """One finished session: what each party spent and sent, and all that is needed to run a party again."""

    params: secagg.Params
    roster: secagg.Roster
    keys: dict[str, secagg.Identity]
    server_key: secagg.Identity
    id: bytes
    update: Callable[[str], np.ndarray]
    tapes: dict[str, _Tape] = field(default_factory=lambda: defaultdict(_Tape))
    down: dict[str, dict[str, list[bytes]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    up: dict[str, list[tuple[str, bytes]]] = field(default_factory=lambda: defaultdict(list))
    client_seconds: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    server_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    bytes_up: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    bytes_down: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    result: Any = None

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of the session's protocol."""
        return EVERY[self.params.protocol]

    @property
    def finished(self) -> list[str]:
        """Clients that took part to the end."""
        return list(self.client_seconds[self.phases[-1]])

    def client_median(self, *phases: str) -> float:
        """Return the median client's seconds over these phases, all by default."""
        of = phases or self.phases
        return float(np.median([sum(self.client_seconds[phase][name] for phase in of) for name in self.finished]))

    def median_up(self) -> float:
        """Return the bytes that the median client sends."""
        return float(np.median([self.bytes_up[name] for name in self.finished]))


def _server(session: Session, entropy: Callable[[int], bytes]) -> secagg.Server:
    with mock.patch("os.urandom", entropy):
        return secagg.Server(
            session.params, identity=session.server_key, roster=session.roster, session=session.id, threads=1
        )


def _client(session: Session, name: str, entropy: Callable[[int], bytes], **more: Any) -> secagg.Client:
    with mock.patch("os.urandom", entropy):
        return secagg.Client(
            session.params,
            me=name,
            identity=session.keys[name],
            roster=session.roster,
            session=session.id,
            threads=1,
            **more,
        )


@contextlib.contextmanager
def trusting() -> Iterator[None]:
    """Let every signature and key pass unchecked: for parties that only make what the measured one is given.

    A thousand clients that check each other take minutes, none of which is looked at.
    """

    def nothing(*_: object) -> None:
        return None

    with contextlib.ExitStack() as stack:
        for function in (signing.verify, agreement.check_public_key):
            for module in [each for name, each in sys.modules.items() if name.partition(".")[0] == "secagg"]:
                for attribute, value in list(vars(module).items()):
                    if value is function:
                        stack.enter_context(mock.patch.object(module, attribute, nothing))
        yield


def run_session(
    params: secagg.Params, gone: Mapping[str, Collection[int]] | None = None, *, keep: bool | Collection[str] = True
) -> Session:
    """Return one session of one round among all clients, exact sum checked.

    Parameters
    ----------
    params : Params
        Fixed-point updates of float32 for ``params.clients`` clients.
    gone : mapping
        By phase: the indices of the clients that nothing arrives from, from that phase on.
    keep : bool or collection of str
        Whether to keep the frames, without which no party can be played again; or whose.
    """
    ids = [f"c{i:04d}" for i in range(params.clients)]
    keys = {name: secagg.Identity.generate() for name in ids}
    server_key = secagg.Identity.generate()
    roster = secagg.Roster({name: key.verify_key for name, key in keys.items()}, server_key.verify_key)
    vectors = updates_of(params.length or 0)
    session = Session(params, roster, keys, server_key, _urandom(16), lambda name: vectors(int(name[1:])))
    clients = {name: _client(session, name, session.tapes[name].record) for name in ids}
    server = _server(session, session.tapes[""].record)
    silent: set[str] = set()
    clock = time.perf_counter
    begin = clock()
    server.open_round(ROUND)
    session.server_seconds["keys"] += clock() - begin
    while (phase := server.phase) != "idle":
        silent |= {ids[i] for i in (gone or {}).get(phase, ())}
        begin = clock()
        out = server.outbox()
        spent = clock() - begin
        for to, frame in out:
            for name in ids if to is None else [to]:
                if name in silent:
                    continue
                session.bytes_down[name] += len(frame)
                if keep is True or (keep and name in keep):
                    session.down[name][phase].append(frame)
                begin = clock()
                clients[name].receive(frame)
                session.client_seconds[phase][name] += clock() - begin
        for name in ids:
            if name in silent:
                continue
            begin = clock()
            frames = _answer(clients[name], session)
            session.client_seconds[phase][name] += clock() - begin
            session.bytes_up[name] += sum(map(len, frames))
            if keep is True:
                session.up[phase] += [(name, frame) for frame in frames]
            begin = clock()
            for frame in frames:
                server.receive(frame, sender=name)
            spent += clock() - begin
        begin = clock()
        server.close_phase()
        session.server_seconds[phase] += spent + clock() - begin
    begin = clock()
    session.result = server.result(ROUND)
    _ = session.result.mean
    session.server_seconds["decode"] += clock() - begin
    _check(session)
    return session


def _answer(client: secagg.Client, session: Session) -> list[bytes]:
    if client.awaiting:
        client.submit(session.update(client.me))
    return client.outbox()


def _check(session: Session) -> None:
    """Refuse a session whose mean is not the mean of the updates, up to the steps of the encoding."""
    names = session.result.contributors
    total = np.zeros(session.params.length or 0)
    for name in names:
        total += session.update(name)
    encoding = session.params.encoding
    step = 2 * encoding.clip / (2**encoding.bits - 1)
    assert np.abs(session.result.mean - total / len(names)).max() <= step, "the mean is not that of the updates"


def play_server(session: Session, *, stop: str = "") -> tuple[dict[str, float], Any]:
    """Run the server again on the session's frames; return its seconds by phase, "decode" being the result's, and the result.

    Parameters
    ----------
    session : Session
        Run with ``keep``.
    stop : str
        Phase before which to stop, for the cost of a part.
    """
    server = _server(session, session.tapes[""].play())
    seconds: dict[str, float] = defaultdict(float)
    clock = time.perf_counter
    begin = clock()
    server.open_round(ROUND)
    seconds["keys"] += clock() - begin
    while (phase := server.phase) not in ("idle", stop):
        frames = session.up[phase]
        begin = clock()
        server.outbox()
        for name, frame in frames:
            server.receive(frame, sender=name)
        answered = clock()
        server.close_phase()
        end = clock()
        seconds[phase] += end - begin
        seconds[f"close {phase}"] = end - answered
    if stop:
        return seconds, None
    begin = clock()
    result = server.result(ROUND)
    _ = result.mean
    seconds["decode"] += clock() - begin
    return seconds, result


def play_client(session: Session, name: str, *, ledger: str | None = None) -> dict[str, float]:
    """Run one client again and check that it sends the same number of bytes.

    Returns
    -------
    dict
        Seconds by phase; beside them "update", the part of "masked" that follows the server's request.
    """
    client = _client(session, name, session.tapes[name].play(), ledger=ledger)
    seconds: dict[str, float] = {}
    sent, update = 0, 0.0
    for phase in session.phases:
        begin = time.perf_counter()
        for frame in session.down[name][phase]:
            client.receive(frame)
        received = time.perf_counter()
        frames = _answer(client, session)
        end = time.perf_counter()
        seconds[phase] = end - begin
        if phase == "masked":
            update = end - received
        sent += sum(map(len, frames))
    seconds["update"] = update
    assert sent == session.bytes_up[name], "played again, the client sent something else"
    return seconds
