"""Parties that live on disk, and in a process only for one message."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from secagg.wire import HOLDER
from support import client_process

KILLS = ["before commit", "after commit", "after snapshot"]


class OnDisk:
    """Makes a federation's parties files, and each of their steps a process; a watch sees every frame."""

    def settle(self: Any, home: Path, watch: Any, on_disk: Collection[str] | None = None) -> None:
        """Write the files of all parties, or of some: the others stay in this process."""
        self.home, self.watch, self.started, self.on_disk = home, watch, 0, on_disk
        keys = dict(self.keys) if self.holder_key is None else {**self.keys, HOLDER: self.holder_key}
        for name, key in keys.items():
            mine = self.place(name)
            mine.mkdir()
            key.save(mine / "identity")
            settings = {
                "me": name, "params": self.params.to_bytes(), "server": self.roster.server, "holder": self.roster.holder,
                "clients": {other: self.roster.key(other) for other in self.ids}, "quiet": name in getattr(self, "quiet", ()),
            }  # fmt: skip
            (mine / "settings").write_bytes(msgspec.msgpack.encode(settings))
        for name in self.ids:
            self.give(name, self.updates[name])

    def place(self: Any, name: str) -> Path:
        """A party's directory."""
        return self.home / ("holder" if name == HOLDER else name)

    def give(self: Any, name: str, update: Any) -> None:
        """Let this be the update that a client sends."""
        (self.place(name) / "update").write_bytes(np.asarray(update, dtype=np.int64).tobytes())

    def step(self: Any, name: str, frames: list[bytes], kill: str = "") -> tuple[int, list[bytes], str]:
        """Run one process; return its exit status, its frames and what it said."""
        inbox, outbox = self.place(name) / "inbox", self.place(name) / "outbox"
        inbox.write_bytes(msgspec.msgpack.encode(frames))
        outbox.unlink(missing_ok=True)
        command = [sys.executable, client_process.__file__, str(self.place(name)), str(inbox), str(outbox), kill]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.started += 1
        sent = msgspec.msgpack.decode(outbox.read_bytes()) if outbox.exists() else []
        for frame in sent:
            self.watch.see(name, frame)
        return done.returncode, sent, done.stderr

    def hand(self: Any, inbox: dict[str, list[bytes]], silent: Collection[str] = ()) -> list[tuple[str, bytes]]:
        here = [] if self.on_disk is None else [name for name in inbox if name not in self.on_disk]
        sent = super().hand({name: inbox[name] for name in here}, silent)
        for name, frames in inbox.items():
            if frames and name not in silent and name not in here:
                status, out, said = self.step(name, frames)
                assert status == 0, said
                sent += [(name, frame) for frame in out]
        return sent
