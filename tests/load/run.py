"""A whole round of many clients against one server process, with duplicates and garbage among the frames, and what it cost."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import random
import resource
import time
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

import secagg
from load.clients import identity, main, update
from secagg import Integer, KeyHolder, Params, Roster, Server
from secagg.errors import PeerError
from secagg.protocols.oneshot.sharing import box_bytes
from secagg.wire import HOLDER

__all__ = ["Figures", "make_params", "memory", "run"]

ENCODING = Integer(-50, 1000)
SESSION = b"a load test's id"
ODDS = 0.1  # that a frame comes twice, and that one of garbage comes before it


def make_params(protocol: str, clients: int, length: int) -> Params:
    """Return Params for so many clients."""
    if protocol == "pairwise":
        sparse = {"threat": "semi-honest", "corrupt": 0.05} if clients > 200 else {"corrupt": 1}
        return secagg.plan(clients, length, dropout=0.01, encoding=ENCODING, rounds_per_setup=1, **sparse)
    if protocol == "oneshot":
        return secagg.plan(clients, length, dropout=0.01, corrupt=0.05, encoding=ENCODING, protocol="oneshot")
    return Params(
        clients=clients, length=length, encoding=ENCODING, protocol="ckks", reveal="server",
        corrupt=max(1, clients // 20), min_clients=clients - clients // 10,
    )  # fmt: skip


def memory() -> int:
    """Return the resident bytes of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Garbage:
    """Frames of strangers: noise, and honest frames with a bit, the sender or the version changed."""

    def __init__(self, names: list[str]) -> None:
        self._rng = random.Random(11)
        self._names = names

    def of(self, frame: bytes) -> bytes:
        rng = self._rng
        how = rng.randrange(5)
        if how == 0:
            return rng.randbytes(rng.randrange(200))
        if how == 1:
            return frame[:4] + rng.randbytes(rng.randrange(200))
        if how == 2:
            return frame[: rng.randrange(len(frame))]
        at = rng.randrange(min(len(frame), 100)) if how == 3 else rng.randrange(len(frame))
        return frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1 :]


@dataclass
class Figures:
    """What a run cost: seconds of CPU, counts of frames, bytes."""

    protocol: str
    clients: int
    server: dict[str, float] = field(default_factory=dict)  # by phase: taking frames
    closing: dict[str, float] = field(default_factory=dict)  # by phase: ending it
    others: float = 0.0  # all clients together, and the key holder
    frames: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    twice: int = 0
    garbage: int = 0
    grown: int = 0  # bytes of resident memory from the first tenth of the uploads to the last
    kept: int = 0  # bytes of an upload that stay until the round is over: shares for others
    peak: int = 0  # most resident bytes this process ever had

    def lines(self) -> list[str]:
        """Return them as text."""
        mixed = f"{self.twice} duplicates, {self.garbage} frames of garbage, {self.refused} refused"
        found = [f"{self.protocol}: {self.clients} clients, {mixed}"]
        for phase, seconds in self.server.items():
            rate, mbs = self.frames[phase] / max(seconds, 1e-9), self.bytes[phase] / max(seconds, 1e-9) / 1e6
            found.append(
                f"  {phase:9} {self.frames[phase]:7} frames {self.bytes[phase] / 1e6:8.1f} MB  {seconds:7.2f} s  "
                f"{rate:8.0f} frames/s {mbs:7.1f} MB/s  closed in {self.closing[phase]:.2f} s"
            )
        total = sum(self.server.values()) + sum(self.closing.values())
        others = f"clients and holder {self.others:.1f} s of CPU"
        return [
            *found,
            f"  server {total:.1f} s, {others}; memory grew by {self.grown / 1e6:.1f} MB, at most {self.peak / 1e6:.0f} MB",
        ]


class Crowd:
    """Client processes."""

    def __init__(self, params: Params, names: list[str], roster: Roster, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        keys = {name: roster.key(name) for name in names}
        self.pipes: dict[Any, list[str]] = {}
        self._processes = []
        for at in range(processes):
            ours, theirs = context.Pipe()
            mine = names[at::processes]
            told = (theirs, params.to_bytes(), mine, (keys, roster.server, roster.holder), SESSION)
            child = context.Process(target=main, args=told, daemon=True)
            child.start()
            theirs.close()
            self._processes.append(child)
            self.pipes[ours] = mine
        for pipe in self.pipes:
            assert pipe.recv()[0] == "ready"

    def stop(self) -> None:
        """End them."""
        for pipe in self.pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for child in self._processes:
            child.join(30)
            child.terminate()

    def ask(self, inbox: list[tuple[str | None, bytes]]) -> Any:
        """Hand out the server's frames and yield what comes back: lists of (name, frame), and seconds when a process is done."""
        everybody = [frame for to, frame in inbox if to is None]
        own: dict[str, list[bytes]] = {}
        for to, frame in inbox:
            if to is not None:
                own.setdefault(to, []).append(frame)
        inbox.clear()
        for pipe, names in self.pipes.items():
            mine = {name: own.pop(name) for name in names if name in own}
            frames = list(mine.values())
            if len(mine) == len(names) and all(each == frames[0] for each in frames):
                pipe.send(([*everybody, *frames[0]], {}))  # one and the same frame for each of them
            else:
                pipe.send((everybody, mine))
        busy = set(self.pipes)
        while busy:
            for pipe in wait(list(busy)):
                kind, what = pipe.recv()
                if kind == "refused":
                    raise AssertionError(f"an honest request was refused: {what}")
                if kind == "done":
                    busy.discard(pipe)
                yield kind, what


def run(protocol: str, clients: int, length: int, *, processes: int = 2, say: Any = None) -> Figures:
    """Run one round and return its figures; fail unless the sum is exact and nothing else changed it."""
    params = make_params(protocol, clients, length)
    names = [f"n{at:05d}" for at in range(clients)]
    holder_key = identity(HOLDER) if protocol == "ckks" else None
    roster = Roster(
        {name: identity(name).verify_key for name in names}, identity("the server").verify_key,
        holder_key and holder_key.verify_key,
    )  # fmt: skip
    server = Server(params, identity=identity("the server"), roster=roster, session=SESSION, threads=1)
    holder = KeyHolder(params, identity=holder_key, roster=roster, threads=1) if holder_key else None
    crowd = Crowd(params, names, roster, processes)
    figures = Figures(protocol, clients)
    if protocol == "oneshot":
        figures.kept = params.committee * box_bytes(params)
    try:
        _round(server, holder, crowd, figures, names, say or (lambda line: None))
    finally:
        crowd.stop()
    figures.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    result = server.result(1)
    expected = np.zeros(length, np.int64)
    for name in names:
        expected += update(name, params)
    assert len(result.contributors) == clients
    assert np.array_equal(result.sum, expected), "the sum is not that of the updates"
    result.receipt.verify(roster, params)
    return figures


def _round(
    server: Server, holder: KeyHolder | None, crowd: Crowd, figures: Figures, names: list[str], say: Any
) -> None:
    rng, garbage = random.Random(5), Garbage(names)
    bulk = {"masked", "encrypted"}
    begun = time.process_time()
    server.open_round(1)
    figures.closing["open"] = time.process_time() - begun
    uploads = 0
    while server.phase != "idle":
        phase = server.phase
        inbox = server.outbox()
        to_holder = [frame for to, frame in inbox if to == HOLDER]
        spent = figures.server.setdefault(phase, 0.0)
        figures.frames[phase] = figures.bytes[phase] = 0
        first = 0

        def take(name: str, frame: bytes, phase: str = phase) -> None:
            arriving = [(name, frame, True)]
            if rng.random() < ODDS:
                figures.twice += 1
                arriving.append((name, frame, True))
            if rng.random() < ODDS:
                figures.garbage += 1
                arriving.insert(0, (name if rng.random() < 0.5 else None, garbage.of(frame), False))
            begun = time.process_time()
            for sender, each, good in arriving:
                try:
                    server.receive(each, sender=sender)
                except PeerError:
                    assert not good, "an honest frame was refused"
                    figures.refused += 1
                figures.frames[phase] += 1
                figures.bytes[phase] += len(each)
            figures.server[phase] += time.process_time() - begun

        if to_holder and holder is not None:
            begun = time.process_time()
            for frame in to_holder:
                holder.receive(frame)
            answered = holder.outbox()
            figures.others += time.process_time() - begun
            for frame in answered:
                take(HOLDER, frame)
        else:
            for kind, what in crowd.ask(inbox):
                if kind == "done":
                    figures.others += what
                    continue
                for name, frame in what:
                    take(name, frame)
                uploads += len({name for name, _ in what}) if phase in bulk else 0
                if phase in bulk and not first and uploads >= len(names) // 10:
                    first = memory()
        if phase in bulk:
            figures.grown = memory() - first
        assert not server.missing
        begun = time.process_time()
        server.close_phase()
        figures.closing[phase] = time.process_time() - begun
        say(
            f"{phase}: {figures.server[phase] - spent:.1f} s, closed in {figures.closing[phase]:.1f} s, {memory() / 1e6:.0f} MB"
        )
