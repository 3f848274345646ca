"""Servers that keep a journal, the disks that a crash of one leaves, and whether it goes on from there as if nothing had been."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from secagg import Server
from secagg.errors import AbortError, InputError, StateError

PARTS = ("", "-wal", "-spool")


def journaled(fed: Any, path: Path, **changes: Any) -> Any:
    """Let a federation's server keep a journal."""
    fed.server.close()
    fed.journal = path
    fed.server = reopened(fed, path, **changes)
    return fed


def reopened(fed: Any, path: Path, **changes: Any) -> Server:
    settings = {
        "identity": fed.server_key, "roster": fed.roster, "journal": path, "session": fed.session, **changes,
    }  # fmt: skip
    return Server(settings.pop("params", fed.params), **settings)


def restart(fed: Any, **changes: Any) -> Server:
    """End a federation's server without a word, and let another one go on from its journal."""
    fed.server.close()
    fed.server = reopened(fed, fed.journal, **changes)
    return fed.server


def disk(path: Path) -> dict[str, bytes]:
    """What a process that is killed now leaves of its journal."""
    return {part: Path(f"{path}{part}").read_bytes() for part in PARTS if Path(f"{path}{part}").exists()}


def put(files: dict[str, bytes], path: Path) -> Path:
    for part, content in files.items():
        Path(f"{path}{part}").write_bytes(content)
        Path(f"{path}{part}").chmod(0o600)
    return path


def copied(source: Path, target: Path) -> Path:
    for part in PARTS:
        if Path(f"{source}{part}").exists():
            shutil.copy(f"{source}{part}", f"{target}{part}")
    return target


def fixed_randomness(monkeypatch: Any) -> None:
    """Let servers draw the same bytes each time, so that one that lost a draw can be compared with one that did not."""
    draw = SimpleNamespace(urandom=lambda count: hashlib.shake_256(b"a test").digest(count))
    monkeypatch.setattr("secagg.durable.os", draw)


class Story:
    """A session as it went: what was sent in each phase, what came of each round, and each disk on the way."""

    def __init__(self, fed: Any, rounds: dict[int, dict[str, Collection[str]]], aborts: dict[int, str]) -> None:
        self.fed, self.rounds, self.aborts = fed, rounds, aborts
        self.down: dict[tuple[int, str], list[tuple[str | None, bytes]]] = {}
        self.up: dict[tuple[int, str], list[tuple[str, bytes]]] = {}
        self.receipts: dict[int, Any] = {}
        self.disks: list[tuple[tuple[int | None, str], dict[str, bytes]]] = []
        for round_id, silent in rounds.items():
            self._run(round_id, silent)

    def _look(self) -> None:
        server = self.fed.server
        self.disks.append(((server.round_id, server.phase), disk(self.fed.journal)))

    def _run(self, round_id: int, silent: dict[str, Collection[str]]) -> None:
        fed, server = self.fed, self.fed.server
        gone: set[str] = set()
        server.open_round(round_id)
        self._look()
        while server.phase != "idle":
            here = (round_id, server.phase)
            gone.update(silent.get(server.phase, ()))
            self.down[here] = server.outbox()
            server._out = list(self.down[here])  # for the federation, which takes it again
            self.up[here] = fed.hand(fed.requests(), gone)
            for name, frame in self.up[here]:
                server.receive(frame, sender=name)
                server.sync()
                self._look()
            if self.aborts.get(round_id) == server.phase:
                server.abort()
            else:
                server.close_phase()
            self._look()
        if round_id not in self.aborts:
            self.receipts[round_id] = server.result(round_id).receipt

    def resume(self, server: Server) -> None:
        """Let a server that found some disk of this session go on to the end of it: every frame and sum is as it was."""
        sent = [frame for _, frame in server.outbox()]
        if server.phase != "idle":
            missing = server.missing
            expected = [
                frame
                for to, frame in self.down[server.round_id, server.phase]
                if missing and (to is None or to in missing)
            ]
            assert sent == expected
            self._finish(server)
        else:
            assert sent == []
        for round_id in self._left(server):
            server.open_round(round_id)
            assert server.outbox() == self.down[round_id, server.phase]
            self._finish(server)

    def _left(self, server: Server) -> Iterator[int]:
        for round_id in self.rounds:
            try:
                assert server.result(round_id).receipt == self.receipts[round_id]
            except AbortError:
                assert round_id in self.aborts
            except StateError:
                if any(later in server._outcomes.kept for later in self.rounds if later > round_id):
                    with_id = server.round_id
                    try:
                        server.open_round(round_id)
                    except InputError:  # burned
                        assert server.round_id == with_id
                        continue
                    raise AssertionError("a round id can be used again") from None
                yield round_id

    def _finish(self, server: Server) -> None:
        round_id = server.round_id
        while server.phase != "idle":
            for name, frame in self.up[round_id, server.phase]:
                assert server.receive(frame, sender=name) == name
            if self.aborts.get(round_id) == server.phase:
                server.abort()
                break
            server.close_phase()
            assert server.phase == "idle" or server.outbox() == self.down[round_id, server.phase]
        if round_id in self.aborts:
            assert isinstance(outcome(server, round_id), AbortError)
        else:
            assert outcome(server, round_id).receipt == self.receipts[round_id]


def outcome(server: Server, round_id: int) -> Any:
    try:
        return server.result(round_id)
    except (AbortError, StateError) as error:
        return error


def concurrently(fed: Any, frames: list[tuple[str, bytes]], threads: int = 8) -> None:
    """Let threads bring frames to the server, each frame twice."""
    done: list[int] = []
    start = threading.Barrier(threads)

    def bring(part: list[tuple[str, bytes]]) -> None:
        start.wait()
        for name, frame in part:
            assert fed.server.receive(frame, sender=name) == name
            assert fed.server.missing is not None
        done.append(len(part))

    parts = [[*frames[i::threads], *frames[(i + 1) % threads :: threads]] for i in range(threads)]
    pool = [threading.Thread(target=bring, args=(part,)) for part in parts]
    for each in pool:
        each.start()
    for each in pool:
        each.join()
    assert sum(done) == 2 * len(frames)
