"""One hospital, one process: `python hospital.py HOME PORT [ROUND]`. It dies when it is asked for its update of that round.

HOME holds its identity, the roster and the Params, and whom it counts; it keeps its ledger and its snapshot there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import numpy as np
from carrier import serve_client

import secagg
from secagg.errors import AbortError, PeerError

HOST = "127.0.0.1"


def main(home: Path, port: int, last_round: int | None) -> None:
    params = secagg.Params.from_bytes((home / "params").read_bytes())
    party = {
        "identity": secagg.Identity.load(home / "identity"),
        "roster": secagg.Roster.load(home / "roster"),
        "ledger": home / "ledger",
    }
    snapshot = home / "snapshot"
    if snapshot.exists():  # the process before this one ended
        client = secagg.Client.restore(snapshot.read_bytes(), params=params, **party)
    else:
        client = secagg.Client(params, me=home.name, **party)

    def answer(frame: bytes) -> list[bytes]:
        with contextlib.suppress(PeerError, AbortError):  # not meant for us, or the round is over for us: say nothing
            client.receive(frame)
        if client.awaiting:
            if client.awaiting.round_id == last_round:
                os._exit(1)  # the machine is switched off
            client.submit(np.array(json.loads((home / "ages.json").read_text())))
        frames = client.outbox()
        half = home / "snapshot.new"
        half.write_bytes(client.snapshot())
        half.replace(snapshot)  # kept before anything is sent
        return frames

    asyncio.run(serve_client(home.name, HOST, port, params.max_frame_bytes, answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
