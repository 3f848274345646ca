"""Clients, a server and maybe a key holder in one process: real frames, carried in memory, counted and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from secagg import HOLDER, Aggregate, Client, Identity, KeyHolder, Params, Roster, Server
from secagg.cli.demo import liar
from secagg.cli.demo.model import Weights
from secagg.hazmat import transcript
from secagg.wire import Chunk, decode_frame

__all__ = ["LATE", "LOST", "LOST_CKKS", "LOST_ONESHOT", "Federation", "Traffic", "lost_in", "rounding_seed"]

# Where a hospital can be lost in a round of a session: it falls silent before its answer of that phase, until the next round.
LOST = {"masked": "before its masked update", "unmask": "before unmasking"}
LOST_CKKS = {"encrypted": "before its encrypted update"}
LATE = "late"  # no phase: silent in the masked one alone
LOST_ONESHOT = {
    "masked": "before its masked update",
    LATE: "before its masked update, back for the committee",
    "reveal": "silent in the committee",
}
UPLOADS = ("masked", "encrypted")  # phases in which updates are sent
MODEL_SEGMENT = 1


def rounding_seed(seed: int) -> bytes:
    """Return 32 bytes that make the rounding, and nothing else, reproducible."""
    return transcript.digest("demo rounding", transcript.u64(seed))


def lost_in(params: Params) -> Mapping[str, str]:
    """Return where a hospital can be lost in a round of this protocol."""
    return {"pairwise": LOST, "ckks": LOST_CKKS, "oneshot": LOST_ONESHOT}[params.protocol]


@dataclass
class Traffic:
    """Bytes a hospital sent (`masked` of them carry its update) and received; its seconds in the engine."""

    up: int = 0
    masked: int = 0
    down: int = 0
    seconds: float = 0.0
    rounds: int = 0

    def add(self, other: Traffic) -> None:
        """Count another round in."""
        self.up += other.up
        self.masked += other.masked
        self.down += other.down
        self.seconds += other.seconds
        self.rounds += other.rounds


@dataclass
class Federation:
    """One session of the engine over named hospitals.

    Parameters
    ----------
    params : Params
    names : tuple of str
        Every hospital.
    seed : int
        Drives the rounding only; keys come from the operating system.
    home : Path
        Directory of the hospitals' ledgers and snapshots.
    lies : mapping of str to collection of int
        In oneshot: who answers wrongly in the committee, and in which rounds.
    """

    params: Params
    names: tuple[str, ...]
    seed: int
    home: Path
    lies: Mapping[str, Collection[int]] = field(default_factory=dict)
    exchanges: int = field(default=0, init=False)  # of the last round
    total: Traffic = field(default_factory=Traffic, init=False)  # over the rounds that a hospital was there throughout
    server_seconds: float = field(default=0.0, init=False)
    uploads: dict[str, bytes] = field(default_factory=dict, init=False)  # the last round's masked model bytes

    def __post_init__(self) -> None:
        """Draw every key and build the parties."""
        keys = {name: Identity.generate() for name in self.names}
        server_key = Identity.generate()
        # In ckks the first hospital also holds the key: it, and not the server, sees the sum.
        holder = keys[self.names[0]] if self.params.protocol == "ckks" else None
        roster = Roster(
            {name: key.verify_key for name, key in keys.items()}, server=server_key.verify_key,
            holder=None if holder is None else holder.verify_key,
        )  # fmt: skip
        self._keys, self._roster = keys, roster
        self._clients = {
            name: Client(
                self.params, me=name, identity=key, roster=roster, ledger=self._ledger(name),
                rounding_seed=rounding_seed(self.seed),
            )
            for name, key in keys.items()
        }  # fmt: skip
        for name, rounds in self.lies.items():
            liar.corrupt(self._clients[name], rounds)
        self._server = Server(self.params, identity=server_key, roster=roster)
        self._holder_key = holder
        self._holder = None
        if holder is not None:
            self._holder = KeyHolder(self.params, identity=holder, roster=roster, ledger=self._ledger("key-holder"))
        self._spent: dict[str, Traffic] = {}

    def _ledger(self, name: str) -> Path:
        return self.home / f"{name}.ledger"

    def _snapshot(self, name: str) -> Path:
        return self.home / f"{name}.snapshot"

    def close(self) -> None:
        """Close the ledgers."""
        for client in self._clients.values():
            client.close()
        if self._holder is not None:
            self._holder.close()

    def round(
        self,
        round_id: int,
        model: Weights,
        work: Callable[[str], tuple[Weights, int]],
        asked: Collection[str],
        lost: Mapping[str, str],
        restarted: str | None = None,
    ) -> Aggregate:
        """Run one round and return its aggregate.

        Parameters
        ----------
        round_id : int
            Higher than any before.
        model : Weights
            What every hospital starts from; its bytes are the round's context.
        work : callable
            A hospital's update and weight, asked for only once the server has asked for it.
        asked : collection of str
            Hospitals sampled for this round.
        lost : mapping
            Hospital to the phase before whose answer it falls silent.
        restarted : str, optional
            A hospital whose process ends when it has sent its update; another one goes on from snapshot and ledger. So does
            the key holder's.

        Raises
        ------
        AbortError
            More were lost than the parameters allow; nothing was released.
        """
        context = b"".join(leaf.tobytes() for part in model.values() for leaf in part.values())
        reached = set(self.names)
        self.uploads = {}
        self.exchanges = 0
        self._spent = {name: Traffic(rounds=1) for name in self.names}
        with self._server_clock():
            self._server.open_round(round_id, participants=asked)  # a setup runs first where none covers the round
        while (phase := self._server.phase) != "idle":
            reached -= {name for name, where in lost.items() if where == phase}
            late = {name for name, where in lost.items() if where == LATE and phase in UPLOADS}
            self._ask(reached - late)
            for name in sorted(reached - late):
                self._answer(name, work, context)
            self._answer_holder()
            if phase in UPLOADS and restarted is not None:
                self.restart(restarted)
                self._restart_holder()
            with self._server_clock():
                self._server.close_phase()
        for name in reached.intersection(asked).difference(name for name in lost if lost[name] == LATE):
            self.total.add(self._spent[name])
        with self._server_clock():
            result = self._server.result(round_id)
        opened: Aggregate = self._holder.result(round_id) if self._holder is not None else result
        return opened

    def _ask(self, reached: set[str]) -> None:
        with self._server_clock():
            frames = self._server.outbox()
        self.exchanges += any(to != HOLDER for to, _ in frames)
        for to, frame in frames:
            if to == HOLDER and self._holder is not None:
                self._holder.receive(frame)
                continue
            for name in sorted(reached if to is None else reached & {to}):
                self._spent[name].down += len(frame)
                with self._clock(name):
                    self._clients[name].receive(frame)

    def _answer(self, name: str, work: Callable[[str], tuple[Weights, int]], context: bytes) -> None:
        client = self._clients[name]
        if client.awaiting is not None:
            update, weight = work(name)  # training is not cryptography: off the clock
            with self._clock(name):
                client.submit(update, weight=weight, context=context)
        with self._clock(name):
            frames = client.outbox()
            self._snapshot(name).write_bytes(client.snapshot())
        for frame in frames:
            self._spent[name].up += len(frame)
            self._eavesdrop(name, frame)
            with self._server_clock():
                self._server.receive(frame, sender=name)

    def _answer_holder(self) -> None:
        if self._holder is None:
            return
        frames = self._holder.outbox()
        self._snapshot("key-holder").write_bytes(self._holder.snapshot())
        for frame in frames:
            with self._server_clock():
                self._server.receive(frame, sender=HOLDER)

    def _restart_holder(self) -> None:
        if self._holder is None or self._holder_key is None:
            return
        self._holder.close()
        self._holder = KeyHolder.restore(
            self._snapshot("key-holder").read_bytes(), identity=self._holder_key, roster=self._roster,
            ledger=self._ledger("key-holder"),
        )  # fmt: skip

    def restart(self, name: str) -> None:
        """End a hospital's process; another one goes on from the snapshot and the ledger on its disk."""
        self._clients[name].close()
        self._clients[name] = Client.restore(
            self._snapshot(name).read_bytes(), identity=self._keys[name], roster=self._roster, ledger=self._ledger(name)
        )

    def _eavesdrop(self, name: str, frame: bytes) -> None:
        """Keep what a curious server sees of a hospital's model update."""
        _, outer = decode_frame(frame, max_bytes=self.params.max_frame_bytes)
        if isinstance(outer, Chunk) and outer.segment == MODEL_SEGMENT:
            self._spent[name].masked += len(frame)
            self.uploads[name] = self.uploads.get(name, b"") + bytes(outer.payload)

    @contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._spent[name].seconds += time.perf_counter() - start

    @contextmanager
    def _server_clock(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.server_seconds += time.perf_counter() - start
