"""A small oneshot federation whose every frame a test can see, drop, change or forge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from secagg import Client, Integer, Params, Server
from secagg.errors import PeerError
from secagg.hazmat import field
from secagg.protocols.oneshot import merkle, sharing
from secagg.protocols.oneshot.messages import Kind, decoders
from secagg.wire import SERVER, Envelope, decode_frame, seal_envelope
from support.federation import Federation, fields

LENGTH = 37
SESSION = bytes(range(16))


def make_params(clients: int = 5, **changes: Any) -> Params:
    settings: dict[str, Any] = {
        "length": LENGTH, "encoding": Integer(-50, 1000), "protocol": "oneshot", "rounds_per_setup": 3, **changes,
    }  # fmt: skip
    return Params(clients=clients, **settings)


class Committee(Federation):
    """Clients c0.., all of them members unless the Params draw a committee, and a server."""

    make_params = staticmethod(make_params)
    session = SESSION

    def new_server(self) -> Server:
        return Server(self.params, identity=self.server_key, roster=self.roster, session=SESSION)

    def new_client(self, name: str, **changes: Any) -> Client:
        return super().new_client(name, **{"session": SESSION, **changes})

    @property
    def setup(self):
        return self.server._core._state.batch.setup

    def carry(self, silent=(), change: Callable[[str, bytes], bytes] | None = None):
        """One exchange: requests down, answers up; `change` may alter what the server is handed."""
        sent = self.hand(self.requests(), silent)
        self.bring(sent if change is None else [(name, change(name, frame)) for name, frame in sent])

    def until(self, phase: str, round_id: int = 1, participants=None, silent=()) -> None:
        """Open a round and go on until `phase` is open."""
        self.server.open_round(round_id, participants)
        while self.server.phase != phase:
            self.carry(silent)
            self.server.close_phase()

    def finish(self, round_id: int, silent=()):
        """Go on until the round is over, and return its result."""
        while self.server.phase != "idle":
            self.carry(silent)
            self.server.close_phase()
        return self.server.result(round_id)

    def round(self, round_id: int = 1, participants=None, silent=()):
        self.server.open_round(round_id, participants)
        return self.finish(round_id, silent)

    def exact(self, result, names) -> None:
        """Check a result against the plain integer sum."""
        total = np.sum([self.updates[name] for name in names], axis=0)
        assert result.contributors == tuple(sorted(names))
        np.testing.assert_array_equal(result.sum, total)
        result.receipt.verify(self.roster, self.params)

    def check(self, contributors, round_id: int = 1) -> None:
        """The sum is exactly that of the contributors."""
        self.exact(self.server.result(round_id), contributors)

    def body(self, frame: bytes) -> Any:
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        assert isinstance(outer, Envelope)
        return decoders[Kind(kind)].decode(outer.payload)

    def forged(self, frame: bytes, signer: str | None = None, **changes: Any) -> bytes:
        """The same frame with other fields, signed again with its sender's key, or somebody else's."""
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        key = self.server_key if (signer or outer.sender) == SERVER else self.keys[signer or outer.sender]
        return seal_envelope(kind, outer.session, outer.sender, fields(self.body(frame), **changes), key.sign)

    def asked(self, kind: Kind) -> dict[str, bytes]:
        """Take the server's frames of one kind, by recipient."""
        return {to: frame for to, frame in self.server.outbox() if frame[3] == kind}

    def fewer(self, frame: bytes, count: int) -> bytes:
        """A member's request with the last `count` survivors alone, as a lying server would sign it."""
        body = self.body(frame)
        box, path = sharing.box_bytes(self.params), merkle.depth(len(self.setup.ids)) * merkle.HASH_BYTES
        return self.forged(
            frame, headers=body.headers[-count:], sealed=body.sealed[-count * box :], paths=body.paths[-count * path :]
        )


def refused(party: Any, frame: bytes, words: str | None = None, error: type[Exception] = PeerError) -> None:
    """The frame is refused, and the client or member is as it was."""
    before = party._core.freeze(), list(party._core._state.out)
    with pytest.raises(error, match=words or None):
        party.receive(frame)
    assert (party._core.freeze(), party._core._state.out) == before


def lie(monkeypatch: pytest.MonkeyPatch, *liars: int, by: int = 1) -> None:
    """Let some members, by the order in which they answer, send another sum than that of their shares."""
    honest, answered = sharing.add_shares, []

    def add(shares: Any) -> bytes:
        answered.append(1)
        total = honest(shares)
        if len(answered) - 1 in liars:
            wrong = (int.from_bytes(total[:8], "little") + by) % field.P
            return wrong.to_bytes(8, "little") + total[8:]
        return total

    monkeypatch.setattr(sharing, "add_shares", add)


def known(f: Committee) -> Any:
    """What the server knows, to be compared."""
    state = f.server._core._state
    batch, current = state.batch, state.round
    return (
        f.server.phase, f.server.missing, {name: dict(kept) for name, kept in current.kept.items() if kept},
        dict(current.headers), set(current.excluded), dict(current.answer_frames), list(current.answers), dict(batch.keys),
        set(batch.seen), set(batch.shown), f.server._core.bulk._spool.in_memory,
    )  # fmt: skip


def unknown(
    f: Committee, frame: bytes, words: str = "", error: type[Exception] = PeerError, sender: str | None = None
) -> None:
    """The server refuses a frame, and knows what it knew."""
    before = known(f)
    with pytest.raises(error, match=words or None):
        f.server.receive(frame, sender)
    assert known(f) == before


# -- rounds in which four of five take part, all of them members ------------------------------------------------------

FOUR = ("c0", "c1", "c2", "c3")


def five(**own: Any) -> Committee:
    return Committee(5, **{"max_participants": 4, "min_clients": 3, **own})


def at(phase: str) -> tuple[Committee, dict[str, list[bytes]]]:
    """Run to a phase of a round, and return what everybody is asked in it."""
    f = five()
    f.until(phase, 1, participants=list(FOUR))
    return f, f.requests()


def finish(f: Committee, inbox: dict[str, list[bytes]]) -> None:
    """Whatever was refused, the round ends with the exact sum."""
    f.errors.clear()
    f.bring(f.hand(inbox))
    f.server.close_phase()
    result = f.finish(1)
    assert not f.errors
    f.exact(result, FOUR)
