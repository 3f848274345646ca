"""Server, clients, key holder or member as processes that talk over loopback sockets and may be killed at any instruction.

Each keeps what the documentation tells it to keep: the server a journal, the others a ledger and a snapshot. Whatever they send
is written to a log first, for the judge. A *trap* makes a process kill itself in the middle of something.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import secagg
from secagg.errors import AbortError, InputError, PeerError, StateError
from secagg.store import Ledger, database, journal
from secagg.wire import HOLDER

LENGTH = struct.Struct("!I")
MEMBER = "m5"  # of the committee, beside the clients, and sends no updates
PATIENCE = 0.4  # seconds that the server waits for somebody who says nothing
SERVER_TRAPS = (
    "half a frame in the spool",
    "before a flush",
    "before a commit",
    "after a commit",
    "before sending",
    "half sent",
)
PARTY_TRAPS = ("before a commit", "after a commit", "in the ledger", "half a snapshot", "before sending", "half sent")


class Trap:
    """Kills the process at the `count`-th passing of one place."""

    def __init__(self, home: Path, rng: random.Random, places: tuple[str, ...]) -> None:
        self.home = home
        self.place = rng.choice(places) if rng.random() < 0.75 else ""
        self.count = rng.randrange(1, 10)

    def sprung(self, place: str) -> bool:
        if place != self.place:
            return False
        self.count -= 1
        return self.count <= 0

    def at(self, place: str) -> None:
        if self.sprung(place):
            self.die()

    def die(self) -> None:
        (self.home / "logs" / f"died-{os.getpid()}").write_text(self.place)
        os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Put the traps inside the package's own code."""
        write, flush, transaction, close = journal._write, journal._flush, database.transaction, Ledger._close_before

        def half(descriptor: int, data: bytes, at: int) -> None:
            if self.sprung("half a frame in the spool"):
                write(descriptor, data[: len(data) // 2], at)
                self.die()
            write(descriptor, data, at)

        def unflushed(descriptor: int) -> None:
            self.at("before a flush")
            flush(descriptor)

        @contextlib.contextmanager
        def uncommitted(db: Any) -> Any:
            with transaction(db):
                yield
                self.at("before a commit")
            self.at("after a commit")

        def unclosed(ledger: Ledger, session: bytes, round_id: int) -> None:
            self.at("in the ledger")
            close(ledger, session, round_id)

        journal._write, journal._flush, Ledger._close_before = half, unflushed, unclosed
        journal.transaction = secagg.store.ledger.transaction = uncommitted


class Log:
    """Records of one process, each whole or the last one torn."""

    def __init__(self, home: Path, name: str) -> None:
        self._file = os.open(home / "logs" / f"{name}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *record: Any) -> None:
        data = msgspec.msgpack.encode(record)
        os.write(self._file, LENGTH.pack(len(data)) + data)


def records(home: Path, what: str) -> list[Any]:
    found = []
    for path in sorted((home / "logs").glob(f"{what}-*")):
        data = path.read_bytes()
        while len(data) >= LENGTH.size and len(data) >= LENGTH.size + LENGTH.unpack(data[:4])[0]:
            (size,) = LENGTH.unpack(data[:4])
            found.append(msgspec.msgpack.decode(data[4 : 4 + size]))
            data = data[4 + size :]
    return found


def send(link: socket.socket, frame: bytes, trap: Trap) -> None:
    trap.at("before sending")
    if trap.sprung("half sent"):
        link.sendall((LENGTH.pack(len(frame)) + frame)[: 4 + len(frame) // 2])
        trap.die()
    link.sendall(LENGTH.pack(len(frame)) + frame)


class Setting:
    """What all processes know: made before they are forked."""

    def __init__(self, home: Path, mode: str) -> None:
        self.home, self.mode = home, mode
        self.ids = [f"c{i}" for i in range(5)]
        self.keys = {name: secagg.Identity.generate() for name in (*self.ids, HOLDER, MEMBER, "")}
        holder = self.keys[HOLDER].verify_key if mode.startswith("ckks") else None
        clients = {name: self.keys[name].verify_key for name in (*self.ids, *([MEMBER] if mode == "oneshot" else []))}
        self.roster = secagg.Roster(clients, self.keys[""].verify_key, holder)
        common = {
            "clients": 5,
            "length": 37,
            "encoding": secagg.Integer(-50, 1000),
            "corrupt": 1,
            "rounds_per_setup": 3,
            "min_clients": 4,
        }
        self.params = {
            "pairwise": lambda: secagg.Params(**common, threshold=4, frame_bytes=64),
            "ckks": lambda: secagg.Params(**common, protocol="ckks", reveal="server", frame_bytes=1 << 15),
            "ckks-holder": lambda: secagg.Params(**common, protocol="ckks", reveal="holder", frame_bytes=1 << 15),
            # Everybody is a member, and so is somebody who sends no updates: two of the six may be away.
            "oneshot": lambda: secagg.Params(
                **{**common, "clients": 6},
                protocol="oneshot",
                max_participants=5,
                threshold=5,
                packing=2,
                frame_bytes=1 << 16,
            ),
        }[mode]()
        (home / "logs").mkdir()

    @property
    def parties(self) -> list[str]:
        return [*self.ids, *{"pairwise": [], "oneshot": [MEMBER]}.get(self.mode, [HOLDER])]

    def update(self, name: str, round_id: int) -> Any:
        return np.random.default_rng([round_id, *name.encode()]).integers(-50, 1001, 37)


# -- the server -------------------------------------------------------------------------------------------------------


class ServerProcess:
    def __init__(self, setting: Setting, listener: socket.socket, trap: Trap) -> None:
        self.setting, self.listener, self.trap = setting, listener, trap
        self.log, self.sent = Log(setting.home, "outcomes"), Log(setting.home, "server")
        self.server = secagg.Server(
            setting.params,
            identity=setting.keys[""],
            roster=setting.roster,
            threads=1,
            journal=setting.home / "journal",
        )
        self.links: dict[str, socket.socket] = {}
        self.readers: dict[socket.socket, bytearray] = {}
        self.pending: list[tuple[str | None, bytes]] = []
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        done = [round_id for round_id, *_ in records(self.setting.home, "outcomes")]
        round_id = max(done, default=0) + 1
        while True:
            if self.server.phase == "idle" and not self.finished(round_id):
                if (self.setting.home / "stop").exists():
                    return
                self.server.open_round(round_id, participants=self.setting.ids)
            if self.server.phase != "idle":
                with contextlib.suppress(AbortError):
                    self.one_phase()
            round_id += self.finished(round_id, write=True)

    def finished(self, round_id: int, *, write: bool = False) -> bool:
        """Whether a round is over; what came of it is written down."""
        assert not self.server.equivocations, self.server.equivocations
        try:
            result = self.server.result(round_id)
        except AbortError as error:
            outcome: list[Any] = ["abort", str(error)]
        except StateError:
            return False
        else:
            result.receipt.verify(self.setting.roster, self.setting.params)
            sums = None if self.setting.mode == "ckks-holder" else result.sum.astype(int).tolist()
            outcome = ["sum", list(result.contributors), sums, result.receipt.account]
        if write or self.server.phase == "idle":
            self.log.write(round_id, *outcome)
        return True

    def one_phase(self) -> None:
        self.pending = self.server.outbox()
        for name, link in list(self.links.items()):
            self.hand(name, link)
        late = time.monotonic() + PATIENCE
        while self.server.missing and time.monotonic() < late:
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self.accept()
                else:
                    self.read(key.fileobj)
        self.server.close_phase()

    def hand(self, name: str, link: socket.socket) -> None:
        try:
            for to, frame in self.pending:
                if to in {None, name}:
                    self.sent.write(to, frame)
                    send(link, frame, self.trap)
        except OSError:
            self.drop(link)

    def accept(self) -> None:
        link, _ = self.listener.accept()
        link.settimeout(5)
        self.readers[link] = bytearray()
        self.selector.register(link, selectors.EVENT_READ)

    def drop(self, link: socket.socket) -> None:
        self.links = {name: other for name, other in self.links.items() if other is not link}
        if link in self.readers:
            del self.readers[link]
            self.selector.unregister(link)
            link.close()

    def read(self, link: socket.socket) -> None:
        if link not in self.readers:
            return
        buffer = self.readers[link]
        try:
            data = link.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self.drop(link)
            return
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + LENGTH.unpack(buffer[:4])[0]:
            (size,) = LENGTH.unpack(buffer[:4])
            frame = bytes(buffer[4 : 4 + size])
            del buffer[: 4 + size]
            if frame[:2] != b"SA":
                name = frame.decode()
                if name in self.links:
                    self.drop(self.links[name])
                self.links[name] = link
                self.hand(name, link)  # it may have died before it was heard
                continue
            with contextlib.suppress(PeerError):
                self.server.receive(frame)


# -- clients and the holder -------------------------------------------------------------------------------------------


class PartyProcess:
    def __init__(self, setting: Setting, name: str, port: int, trap: Trap) -> None:
        self.setting, self.name, self.port, self.trap = setting, name, port, trap
        self.log = Log(setting.home, "party")
        self.own = "holder" if name == HOLDER else name
        self.snapshot = setting.home / f"{self.own}.snapshot"
        kept = {
            "identity": setting.keys[name],
            "roster": setting.roster,
            "ledger": setting.home / f"{self.own}.ledger",
            "threads": 1,
        }
        made: Any = {HOLDER: secagg.KeyHolder, MEMBER: secagg.Member}.get(name, secagg.Client)
        if name == MEMBER:
            del kept["threads"]
        if self.snapshot.exists():
            self.party = made.restore(self.snapshot.read_bytes(), params=setting.params, **kept)
        else:
            self.party = made(setting.params, **({} if name == HOLDER else {"me": name}), **kept)

    def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError), socket.create_connection(("127.0.0.1", self.port)) as link:
                link.sendall(LENGTH.pack(len(self.name)) + self.name.encode())
                with link.makefile("rb") as stream:
                    while True:
                        for frame in self.answer(self.next(stream)):
                            self.log.write(self.name, frame)
                            send(link, frame, self.trap)
            time.sleep(0.01)

    def next(self, stream: Any) -> bytes:
        head = stream.read(4)
        if len(head) < 4:
            raise EOFError
        (size,) = LENGTH.unpack(head)
        frame = stream.read(size)
        if len(frame) < size:
            raise EOFError
        return frame

    def answer(self, frame: bytes) -> list[bytes]:
        with contextlib.suppress(PeerError, AbortError):
            self.party.receive(frame)
        if self.name in self.setting.ids and self.party.awaiting:
            round_id = self.party.awaiting.round_id
            # Where the randomness of an upload that may have left went with a process, there is none in this round.
            with contextlib.suppress(InputError, AbortError):
                self.party.submit(self.setting.update(self.name, round_id))
        frames = self.party.outbox()
        if self.name == HOLDER:
            self.tell()
        half, data = self.snapshot.with_suffix(f".{os.getpid()}"), self.party.snapshot()
        if self.trap.sprung("half a snapshot"):
            half.write_bytes(data[: len(data) // 2])
            self.trap.die()
        half.write_bytes(data)
        half.replace(self.snapshot)
        return frames

    def tell(self) -> None:
        for round_id, result in self.party._results.items():
            Log(self.setting.home, "holder").write(round_id, list(result.contributors), result.sum.astype(int).tolist())
