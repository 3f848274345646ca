"""A small federation whose every frame a test can see, drop, change or forge."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from secagg import Client, Identity, Integer, Params, Roster, Server
from secagg.errors import AbortError, PeerError
from secagg.protocols.pairwise.messages import Kind, decoders
from secagg.wire import SERVER, decode_frame, seal_envelope

PHASES = ("keys", "shares", "masked", "unmask")
LENGTH = 37


def make_params(clients: int = 5, **changes: Any) -> Params:
    settings: dict[str, Any] = {
        "length": LENGTH,
        "encoding": Integer(-50, 1000),
        "frame_bytes": 64,
        **changes,
    }
    return Params(clients=clients, **settings)


def fields(body: Any, **changes: Any) -> Any:
    """The same body with other fields."""
    return type(body)(**({name: getattr(body, name) for name in body.__struct_fields__} | changes))


class Federation:
    """Clients c0.. and a server, with every key at hand for the attacks."""

    make_params = staticmethod(make_params)
    session: bytes | None = None  # the id that parties insist on

    def __init__(
        self, clients: int = 5, *, params: Params | None = None, ledgers: Path | None = None, **changes: Any
    ) -> None:
        self.ledgers = ledgers
        self.restarts = False  # every client a new object after each phase, as where each message finds a new process
        self.params = params or self.make_params(clients, **changes)
        self.ids = [f"c{i}" for i in range(clients)]
        self.keys = {name: Identity.generate() for name in self.ids}
        self.server_key = Identity.generate()
        self.holder_key = Identity.generate() if self.params.protocol == "ckks" else None
        self.roster = Roster(
            {name: key.verify_key for name, key in self.keys.items()}, self.server_key.verify_key,
            None if self.holder_key is None else self.holder_key.verify_key,
        )  # fmt: skip
        self.server = self.new_server()
        self.clients = {name: self.new_client(name) for name in self.ids}
        rng = np.random.default_rng(7)
        self.updates = {name: rng.integers(-50, 1001, self.params.length) for name in self.ids}
        self.down: list[tuple[str, bytes]] = []  # every frame a client was handed
        self.up: list[tuple[str, bytes]] = []  # every frame the server was handed
        self.errors: dict[str, Exception] = {}

    def new_server(self) -> Server:
        return Server(self.params, identity=self.server_key, roster=self.roster)

    def new_client(self, name: str, **changes: Any) -> Client:
        settings: dict[str, Any] = {
            "me": name,
            "identity": self.keys[name],
            "roster": self.roster,
            "ledger": self.ledger(name),
            **changes,
        }
        return Client(settings.pop("params", self.params), **settings)

    def ledger(self, name: str) -> Path | None:
        return None if self.ledgers is None else self.ledgers / f"{name}.ledger"

    def restore(self, name: str, snapshot: bytes, **changes: Any) -> Client:
        """The client of a snapshot, old or new, as a new process would find it."""
        settings: dict[str, Any] = {
            "identity": self.keys[name], "roster": self.roster, "ledger": self.ledger(name), "params": self.params,
        }  # fmt: skip
        return Client.restore(snapshot, **{**settings, **changes})

    def restart(self, *names: str) -> None:
        """End clients after a clean snapshot and start them again."""
        for name in names or self.ids:
            snapshot = self.clients[name].snapshot()
            self.clients[name].close()
            self.clients[name] = self.restore(name, snapshot)

    # -- carrying -------------------------------------------------------------------------------------------------

    def requests(self) -> dict[str, list[bytes]]:
        """Take the server's frames, by client."""
        inbox: dict[str, list[bytes]] = {name: [] for name in self.ids}
        for to, frame in self.server.outbox():
            for name in self.ids if to is None else [to]:
                inbox[name].append(frame)
        return inbox

    def hand(self, inbox: dict[str, list[bytes]], silent: Collection[str] = ()) -> list[tuple[str, bytes]]:
        """Hand requests to clients, submit what is awaited, and return what they send."""
        sent = []
        for name, frames in inbox.items():
            if name in silent:
                continue
            client = self.clients[name]
            for frame in frames:
                self.down.append((name, frame))
                try:
                    client.receive(frame)
                except (PeerError, AbortError) as error:
                    self.errors[name] = error
            if client.awaiting:
                client.submit(self.updates[name])
            sent += [(name, frame) for frame in client.outbox()]
            if self.restarts:
                self.restart(name)
        return sent

    def bring(self, frames: list[tuple[str, bytes]]) -> None:
        for name, frame in frames:
            self.up.append((name, frame))
            assert self.server.receive(frame, sender=name) == name

    def phase(self, silent: Collection[str] = (), *, close: bool = True) -> None:
        """Run the open phase to its end."""
        self.bring(self.hand(self.requests(), silent))
        if close:
            self.server.close_phase()

    def until(self, phase: str, silent: Collection[str] = ()) -> None:
        """Run phases until `phase` is open."""
        while self.server.phase != phase:
            self.phase(silent)

    def round(self, round_id: int = 1, silent: dict[str, Collection[str]] | None = None, **kwargs: Any) -> None:
        """Run a round in which clients fall silent from a phase on."""
        gone: set[str] = set()
        self.server.open_round(round_id, **kwargs)
        while self.server.phase != "idle":
            gone.update((silent or {}).get(self.server.phase, ()))
            self.phase(gone)

    # -- judging --------------------------------------------------------------------------------------------------

    def check(self, contributors: Collection[str], round_id: int = 1) -> None:
        """The sum is exactly that of the contributors."""
        result = self.server.result(round_id)
        assert result.contributors == tuple(sorted(contributors))
        expected = sum(self.updates[name] for name in contributors)
        np.testing.assert_array_equal(result.sum, expected)
        low = self.params.encoding.low
        plain = sum((self.updates[name] - low).astype(np.uint64) for name in contributors)
        np.testing.assert_array_equal(result.integer_sum, plain)
        result.receipt.verify(self.roster, threshold=self.params.threshold)

    # -- forging --------------------------------------------------------------------------------------------------

    def body(self, frame: bytes) -> Any:
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        return decoders[Kind(kind)].decode(outer.payload)

    def forge(self, kind: Kind, body: Any, *, session: bytes | None = None) -> bytes:
        """A frame that a lying server signs."""
        return seal_envelope(kind, session or self.server.session, SERVER, body, self.server_key.sign)

    def forge_client(self, name: str, kind: Kind, body: Any, *, session: bytes | None = None) -> bytes:
        """A frame that a lying client signs."""
        return seal_envelope(kind, session or self.server.session, name, body, self.keys[name].sign)
