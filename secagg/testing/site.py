"""A client at the far end of a carrier under test, which may be lost, restarted, or told to garble what it sends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.client import Client
from secagg.errors import AbortError, PeerError
from secagg.identity import Identity, Roster
from secagg.params import Params

__all__ = ["LARGEST_WEIGHT", "Lost", "Orders", "Site", "mark", "update_of", "weight_of"]

LARGEST_WEIGHT = 9


class Lost(Exception):  # noqa: N818  # not an error: the process died, as it was meant to
    """The client's process has died: there is no answer, now or later in this round."""


@dataclass(frozen=True)
class Orders:
    """What a site does in one round.

    Parameters
    ----------
    round_id : int
    lost : {"", "setup", "update", "answer"}
        Before which of its messages it dies: the first of the session, the update, or what it is asked after that.
    restart : bool
        Whether its process ends after every message, and a new one goes on from snapshot and ledger.
    duplicate, reorder, garble, cut, hold : bool
        Whether its frames go out twice, in reverse, after an altered copy of each, without the last one of the update, or only
        with its next message.
    """

    round_id: int
    lost: str = ""
    restart: bool = False
    duplicate: bool = False
    reorder: bool = False
    garble: bool = False
    cut: bool = False
    hold: bool = False


def mark(frame: bytes) -> str:
    """Return the digest that stands for a frame in the books."""
    return hashlib.sha256(frame).hexdigest()


def update_of(name: str, round_id: int, length: int) -> NDArray[np.int64]:
    """Return the update of a client in a round: small integers that anybody can compute again."""
    seed = int.from_bytes(hashlib.sha256(f"{name} {round_id}".encode()).digest()[:8])
    return np.random.default_rng(seed).integers(-1000, 1001, length)


def weight_of(name: str, round_id: int) -> int:
    """Return the weight of a client in a round, from 1 to `LARGEST_WEIGHT`."""
    return 1 + hashlib.sha256(f"weight {name} {round_id}".encode()).digest()[0] % LARGEST_WEIGHT


class Site:
    """One client of the conformance suite, for the client side of the carrier under test to serve.

    Everything it needs is in its directory: a site may be pickled, or made anew from `home` in another process, and any process
    may answer the next message, one at a time.

    Parameters
    ----------
    home : str or os.PathLike
        Its directory, which the suite has filled.

    Attributes
    ----------
    name : str
        The client's id.
    max_frame_bytes : int
        The longest frame that can come.
    """

    def __init__(self, home: str | os.PathLike[str]) -> None:
        self._home = Path(home)
        self._client: Client | None = None
        settings = json.loads((self._home / "settings.json").read_text())
        self.name: str = settings["name"]
        self._params = Params.from_bytes(bytes.fromhex(settings["params"]))
        self.max_frame_bytes = self._params.max_frame_bytes

    def __repr__(self) -> str:
        return f"Site({os.fspath(self._home)!r})"

    def __reduce__(self) -> tuple[type[Site], tuple[str]]:
        return Site, (os.fspath(self._home),)

    @classmethod
    def settle(cls, home: Path, name: str, identity: Identity, roster: Roster, params: Params) -> Site:
        """Return a new site, whose directory this makes."""
        home.mkdir()
        identity.save(home / "identity")
        roster.save(home / "roster")
        (home / "settings.json").write_text(json.dumps({"name": name, "params": params.to_bytes().hex()}))
        return cls(home)

    def order(self, orders: Orders) -> None:
        """Tell the site, in whatever process it is, what it does in the coming round."""
        (self._home / "orders.json").write_text(json.dumps(asdict(orders)))

    def answer(self, frames: Sequence[bytes]) -> list[bytes]:
        """Give the client one message of the server's, one frame or several, and return the frames to send back.

        Raises
        ------
        Lost
            The client has died. Send nothing, and let the carrier notice as it would notice a dead process.
        """
        orders = Orders(**json.loads((self._home / "orders.json").read_text()))
        self._note("got", frames)
        if orders.lost == "setup" or self._read("died") == orders.round_id:
            self._die(orders)
        client = self._open()
        for frame in frames:
            # A frame that is none of this client's business, or of a round that is over for it, changes nothing.
            with contextlib.suppress(PeerError, AbortError):
                client.receive(frame)
        uploads = client.awaiting is not None
        if uploads and orders.lost == "update":
            self._die(orders)
        if self._read("uploaded") == orders.round_id and orders.lost == "answer":
            self._die(orders)
        if client.awaiting is not None:
            round_id = client.awaiting.round_id
            update = update_of(self.name, round_id, self._params.segment_plan.layout.size)
            client.submit(update, weight=weight_of(self.name, round_id))
            self._write("uploaded", round_id)
        made = client.outbox()
        self._keep(client.snapshot())
        if orders.restart:
            self.close()
        return self._send(made, orders, uploads=uploads)

    def close(self) -> None:
        """Forget the client in this process; its files stay."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # -- how the process lives and dies ---------------------------------------------------------------------------

    def _open(self) -> Client:
        if self._client is None:
            identity, roster = Identity.load(self._home / "identity"), Roster.load(self._home / "roster")
            party: dict[str, Any] = {
                "identity": identity,
                "roster": roster,
                "ledger": self._home / "ledger",
                "threads": 1,
            }
            try:
                snapshot = (self._home / "snapshot").read_bytes()
            except FileNotFoundError:
                self._client = Client(self._params, me=self.name, **party)
            else:
                self._client = Client.restore(snapshot, params=self._params, **party)
        return self._client

    def _die(self, orders: Orders) -> None:
        self.close()
        self._write("died", orders.round_id)
        raise Lost(f"{self.name} is dead until the next round")

    def _keep(self, snapshot: bytes) -> None:
        half = self._home / "snapshot.new"
        half.write_bytes(snapshot)
        half.replace(self._home / "snapshot")

    # -- what goes out, and the books -----------------------------------------------------------------------------

    def _send(self, made: list[bytes], orders: Orders, *, uploads: bool) -> list[bytes]:
        held = self._home / "held.json"
        late = [bytes.fromhex(text) for text in json.loads(held.read_text())] if held.exists() else []
        held.unlink(missing_ok=True)
        due = made[:-1] if orders.cut and uploads else made
        if orders.hold and uploads:
            held.write_text(json.dumps([frame.hex() for frame in due]))
            due = []
        self._note("made", due)
        sent = due[::-1] if orders.reorder else list(due)
        if orders.garble:
            sent = [each for frame in sent for each in (_altered(frame), frame)]
        if orders.duplicate:
            sent += sent
        sent = late + sent
        self._note("sent", sent)
        return sent

    def _note(self, what: str, frames: Sequence[bytes]) -> None:
        """Write into the books, which outlive the process."""
        with (self._home / "books").open("a") as books:
            books.writelines(f"{what} {mark(frame)}\n" for frame in frames)

    def audit(self) -> Mapping[str, list[str]]:
        """Return the marks of the frames got, made and sent since the last audit, and begin new books."""
        books = self._home / "books"
        found: dict[str, list[str]] = {"got": [], "made": [], "sent": []}
        for line in books.read_text().splitlines() if books.exists() else []:
            what, which = line.split()
            found[what].append(which)
        books.unlink(missing_ok=True)
        return found

    def _read(self, name: str) -> int | None:
        path = self._home / name
        return int(path.read_text()) if path.exists() else None

    def _write(self, name: str, value: int) -> None:
        (self._home / name).write_text(str(value))


def _altered(frame: bytes) -> bytes:
    middle = len(frame) // 2
    return frame[:middle] + bytes([frame[middle] ^ 1]) + frame[middle + 1 :]
