"""One whole session whose every byte is fixed by its name, and the digest of all that was sent in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import secagg
from reference.entropy import Entropy
from secagg import Identity, Params, Server
from secagg.protocols.oneshot import OneshotClient, OneshotServer
from support.ckks_live import CkksLive
from support.live import ENCODINGS, EngineClient, Live, Step, identity

__all__ = ["digest", "elsewhere"]

IDS = ["c0", "c1", "c2", "c3", "c4"]
COMMON = {**ENCODINGS, "corrupt": 1, "min_clients": 4, "rounds_per_setup": 2}


class _OneshotClient(EngineClient):
    core = OneshotClient


class _Oneshot(Live):
    """A oneshot session of the engine alone; what a sum must be is told by the rules of pairwise, which encodes alike."""

    def __init__(self, params: Params, ids: list[str], *, name: str) -> None:
        super().__init__(Params(clients=len(ids), **{**COMMON, "threshold": 4}), ids, name=name)
        self.params = params
        key = Identity.from_bytes(identity("the server"))
        self.server = Server(params, identity=key, roster=self.roster)
        bulk = self.server._core._new_bulk
        self.server._core = OneshotServer(params, key, self.roster, bulk, Entropy(f"{name} the server"))
        self.clients = {each: _OneshotClient(self, each) for each in ids}


PARAMS = {
    "pairwise": (Live, {"threshold": 4, "frame_bytes": 64}),
    "ckks": (CkksLive, {"protocol": "ckks", "reveal": "server", "frame_bytes": 1 << 17}),
    "oneshot": (_Oneshot, {"protocol": "oneshot", "frame_bytes": 1 << 16}),
}


def digest(protocol: str) -> str:
    """Return the SHA-256 of every frame of three rounds, of which one loses a client, under the instruction set in use."""
    kind, settings = PARAMS[protocol]
    live, told = kind(Params(clients=5, **{**COMMON, **settings}), IDS, name="paths"), hashlib.sha256()
    receive, outbox = live.server.receive, live.server.outbox

    def watched_receive(frame: bytes, sender: str | None = None) -> str:
        told.update(frame)
        return receive(frame, sender=sender)

    def watched_outbox() -> list[tuple[str | None, bytes]]:
        out = outbox()
        for _, frame in out:
            told.update(frame)
        return out

    live.server.receive, live.server.outbox = watched_receive, watched_outbox
    late = "encrypted" if protocol == "ckks" else "masked"
    for round_id in (1, 2, 3):
        lost = {late: ["c1"]} if round_id == 2 else {}
        live.run(Step(round_id, lost, survivors=[name for name in IDS if round_id != 2 or name != "c1"]))
    return told.hexdigest()


def elsewhere(protocol: str, isa: str) -> str:
    """Return the same from another process that is made to use one instruction set."""
    home = Path(__file__).resolve().parents[1]
    path = [str(home), str(Path(secagg.__file__).parents[1])]
    code = f"import secagg; from support.paths import digest; print(secagg.build_info()['isa'], digest({protocol!r}))"
    env = {**os.environ, "SECAGG_FORCE_ISA": isa, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    ran, told = done.stdout.split()
    assert ran == isa
    return told
