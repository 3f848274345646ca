"""One message in one process: restore, receive, submit if asked, take the outbox, keep the snapshot, send.

    python client_process.py DIRECTORY INBOX OUTBOX [KILL]

DIRECTORY holds the files of a client, a member or the key holder; INBOX a MessagePack list of frames; OUTBOX is where its
frames go. KILL names a point at which the process kills itself with SIGKILL: "before commit", "after commit", "after snapshot".
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec
import numpy as np

import secagg
from secagg.store import Ledger
from secagg.wire import HOLDER


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    if point == "before commit":
        original = Ledger._close_before

        def half(self: Ledger, session: bytes, round_id: int) -> None:
            original(self, session, round_id)
            die()

        Ledger._close_before = half
    elif point == "after commit":
        record = Ledger.record

        def whole(self: Ledger, *args: object) -> object:
            made = record(self, *args)
            die()
            return made

        Ledger.record = whole


def write(path: Path, data: bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one."""
    half = path.with_suffix(".new")
    with half.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def main(home: Path, inbox: Path, outbox: Path, kill: str = "") -> None:
    arm(kill)
    settings = msgspec.msgpack.decode((home / "settings").read_bytes())
    roster = secagg.Roster(settings["clients"], settings["server"], settings["holder"])
    party = {"identity": secagg.Identity.load(home / "identity"), "roster": roster, "ledger": home / "ledger"}
    snapshot, holder, quiet = home / "snapshot", settings["me"] == HOLDER, settings.get("quiet", False)
    made = secagg.KeyHolder if holder else secagg.Member if quiet else secagg.Client
    if snapshot.exists():
        client = made.restore(snapshot.read_bytes(), **party)
    else:
        names = {} if holder else {"me": settings["me"]}
        client = made(secagg.Params.from_bytes(settings["params"]), **names, **party)
    for frame in msgspec.msgpack.decode(inbox.read_bytes()):
        client.receive(frame)
    if not (holder or quiet) and client.awaiting:
        client.submit(np.frombuffer((home / "update").read_bytes(), dtype=np.int64))
    frames = client.outbox()
    write(snapshot, client.snapshot())
    if kill == "after snapshot":
        die()
    write(outbox, msgspec.msgpack.encode(frames))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), *sys.argv[4:])
