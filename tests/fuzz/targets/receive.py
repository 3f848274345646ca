"""What `receive` does with what a liar signed: sessions stopped in each phase, and frames changed by somebody who has every key.

A frame that is refused leaves the party as it was, and only `PeerError` or `AbortError` refuse. Every so often the round goes on
with what honest parties sent, and its sum is exact.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec

from fuzz.recipe import Recipe, change
from fuzz.targets.frames import encode
from secagg.errors import AbortError, PeerError
from secagg.protocols.oneshot.server import share_chunks
from secagg.wire import HOLDER, SERVER, Chunk, Envelope, decode_frame, encode_chunk
from secagg.wire.frames import _encoder, _header, _statement
from support.federation import Federation

__all__ = ["Liar", "Receiver", "Stage"]

OFTEN = 64  # one round in so many goes on to its end
STEPS = 8  # frames of one input
Sent = list[tuple[str, bytes]]


class Stage:
    """A session stopped before anybody in a phase has heard, or before the server has.

    Parameters
    ----------
    table : Federation
        In the phase.
    victim : str
        Who is lied to.
    """

    def __init__(self, table: Federation, victim: str) -> None:
        self.table = table
        self.victim = victim
        self.inbox = table.requests()
        self.sent: Sent = [] if victim != SERVER else table.hand(self.inbox)
        self.changed = False
        told = [(SERVER, frame) for frame in dict.fromkeys(itertools.chain(*self.inbox.values()))]
        mine = [(SERVER, frame) for frame in self.inbox.get(victim, ())]
        # The phase's own frames come first, and twice: an input of few bytes is most likely about these.
        self.frames: Sent = [
            *self.sent,
            *mine,
            *told,
            *table.up[::-1],
            *((SERVER, frame) for _, frame in table.down[::-1]),
        ]
        self.saved = _save(table.server) if victim == SERVER else self.party.snapshot()
        self.ledger = b"" if table.ledgers is None else table.ledger(victim).read_bytes()

    @property
    def party(self) -> Any:
        if self.victim == SERVER:
            return self.table.server
        return self.table.holder if self.victim == HOLDER else self.table.clients[self.victim]

    def restart(self) -> None:
        """Put the victim back to where it was, and its ledger with it."""
        if self.table.ledgers is not None:
            self.party.close()
            self.table.ledger(self.victim).write_bytes(self.ledger)
        if self.victim == SERVER:
            _put_back(self.table.server, self.saved)
        elif self.victim == HOLDER:
            self.table.holder = self.table.restore_holder(self.saved)
        else:
            self.table.clients[self.victim] = self.table.restore(self.victim, self.saved)
        self.changed = False

    def finish(self) -> None:
        """End the round with what honest parties say. If nobody believed a lie it ends; if somebody did, it may abort."""
        table = self.table
        self._phase([*self.sent] if self.victim == SERVER else table.hand(self.inbox))
        while table.server.phase != "idle":
            self._phase(table.hand(table.requests()))

    def _phase(self, sent: Sent) -> None:
        for name, frame in sent:
            try:
                self.table.server.receive(frame, sender=name)
            except PeerError:
                assert self.changed, "an honest frame was refused, though no lie was believed"
        try:
            self.table.server.close_phase()
        except AbortError:
            assert self.changed, "the round ended, though no lie was believed"


def _copied(value: Any) -> Any:
    """Return a container of its own, and in it what no frame changes."""
    if isinstance(value, defaultdict):
        return defaultdict(value.default_factory, {name: dict(each) for name, each in value.items()})
    return type(value)(value) if type(value) in (dict, set, list) else value


def _clone(value: Any) -> Any:
    if not is_dataclass(value):
        return value
    return type(value)(**{field.name: _copied(getattr(value, field.name)) for field in fields(value)})


def _save(server: Any) -> dict[str, Any]:
    state = server._core._state
    return {name: _clone(getattr(state, name)) for name in ("batch", "key", "round") if hasattr(state, name)}


def _put_back(server: Any, saved: dict[str, Any]) -> None:
    """Put a server back to where it was: there is no phase in which a frame changes more than these."""
    state = server._core._state
    for name, value in saved.items():
        setattr(state, name, _clone(value))
    state.equivocations.clear()
    if state.phase in ("masked", "encrypted"):
        state.bulk = server._core._new_bulk()
        if hasattr(state.bulk, "expect"):
            state.bulk.expect(share_chunks(state.params, len(state.batch.setup.ids)))
    elif state.phase == "decrypt":
        state.bulk._lanes = None


class Liar:
    """Changes frames and signs them again as their senders; each protocol adds what its chunks and sealed parts need."""

    def __init__(self, table: Federation) -> None:
        self.table = table

    def identity(self, name: str) -> Any:
        named = {SERVER: self.table.server_key, HOLDER: self.table.holder_key}
        return named.get(name) or self.table.keys.get(name) or self.table.keys["c0"]

    def tag(self, chunk: Chunk) -> bytes:
        """Return the tag that a chunk's sender would make."""
        raise AssertionError

    def unseal(self, kind: int, name: str, body: list) -> Callable[[Recipe, list], list] | None:
        """Return what changes the sealed parts of a body, if there are any."""
        raise AssertionError

    def upload(self, recipe: Recipe, frames: Sent) -> Sent:
        """Return the frames of one upload in which a chunk was changed and the header says so."""
        raise AssertionError

    def lie(self, recipe: Recipe, frames: Sent) -> Sent:
        """Return frames to be told, with who is to be named as their carrier."""
        how = recipe.byte() % 16
        if how == 15:
            return self.upload(recipe, frames)
        name, frame = frames[recipe.below(len(frames))]
        if how == 0:
            return [(name, frame)]
        if how == 1:
            at, piece = recipe.below(len(frame)), recipe.take(1 + recipe.byte() % 16)
            return [(name, frame[:at] + piece + frame[at + len(piece) :])]
        return [(name, self.changed(recipe, frame, outer=how == 2))]

    def changed(self, recipe: Recipe, frame: bytes, *, outer: bool = False) -> bytes:
        try:
            kind, found = decode_frame(frame, max_bytes=1 << 30)
        except PeerError:
            return change(recipe, frame)
        if isinstance(found, Chunk):
            return self.chunk(recipe, found)
        session, sender = found.session, found.sender
        body = msgspec.msgpack.decode(found.payload)
        deep = self.unseal(kind, sender, body) if recipe.byte() % 4 == 0 else None
        if outer:
            kind = recipe.byte() if recipe.byte() % 2 else kind
            session = change(recipe, session) if recipe.byte() % 2 else session
            sender = ("c0", "c1", SERVER, HOLDER, "stranger")[recipe.below(5)]
        if deep is not None:
            body = deep(recipe, body)
        else:
            for _ in range(1 + recipe.byte() % 3):
                body = change(recipe, body, self.nested)
        return self.envelope(kind, session if isinstance(session, bytes) else b"", sender, encode(body))

    def envelope(self, kind: int, session: bytes, sender: str, payload: bytes) -> bytes:
        signature = self.identity(sender).sign(_statement(kind, session, sender, payload))
        return _header(kind) + _encoder.encode(Envelope(session, sender, signature, payload))

    def nested(self, recipe: Recipe, value: bytes) -> bytes | None:
        return self.changed(recipe, value) if value[:2] == b"SA" and recipe.byte() % 2 else None

    def chunk(self, recipe: Recipe, found: Chunk) -> bytes:
        parts = [
            found.session,
            found.sender,
            found.round_id,
            found.segment,
            found.index,
            found.tag,
            bytes(found.payload),
        ]
        for _ in range(1 + recipe.byte() % 2):
            at = (6, 2, 3, 4, 1, 0, 5)[recipe.below(7)]
            parts[at] = change(recipe, parts[at])
        try:
            made = Chunk(*parts[:6], memoryview(parts[6]))
            if recipe.byte() % 8:
                made = msgspec.structs.replace(made, tag=self.tag(made))
            return encode_chunk(made)
        except (TypeError, ValueError, OverflowError, AttributeError, KeyError, PeerError):
            return _header(0) + encode(parts)


class Receiver:
    """Lies to one party in every phase."""

    liar: type[Liar]

    def __init__(self) -> None:
        self._stages: dict[int, Stage] = {}
        self._count = 0

    def stages(self) -> list[Callable[[], Stage]]:
        """Return what makes each stage."""
        raise AssertionError

    def seen(self, stage: Stage) -> Any:
        """Return what the victim knows, to be compared."""
        raise AssertionError

    def went_out(self, stage: Stage) -> bool:
        """Whether a refusal was of the kind that leaves its mark: an upload whose signed header does not fit it."""
        raise AssertionError

    def run(self, data: bytes) -> None:
        recipe = Recipe(data)
        makers = self.stages()
        number = recipe.below(len(makers))
        stage = self._stages.pop(number, None) or makers[number]()
        liar = self.liar(stage.table)
        for _ in range(STEPS):
            if recipe.left <= 0:
                break
            for name, frame in liar.lie(recipe, stage.frames):
                self.tell(stage, name, frame)
        self._count += 1
        if self._count % OFTEN == 0 or (stage.changed and recipe.byte() % 8 == 1):
            stage.finish()
            if not stage.changed:
                self.check(stage)
            return
        if stage.changed:
            stage.restart()
        self._stages[number] = stage

    def check(self, stage: Stage) -> None:
        """The sum is that of everybody who was there."""
        stage.table.check([name for name in stage.table.ids[:4] if name not in stage.table.silent])

    def tell(self, stage: Stage, name: str, frame: bytes) -> None:
        party, before = stage.party, self.seen(stage)
        try:
            if stage.victim == SERVER:
                party.receive(frame)
            else:
                party.receive(frame)
        except PeerError:
            if self.seen(stage) != before:
                assert self.went_out(stage), "a frame that was refused changed something"
                stage.changed = True
        except AbortError:
            assert stage.victim != SERVER, "one party's frame ended the round for everybody"
            stage.changed = True
        else:
            stage.changed |= self.seen(stage) != before
        if stage.changed and stage.victim != SERVER:
            self.answer(stage)

    def answer(self, stage: Stage) -> None:
        """Let a client that believed something go on, and keep what it says."""
        party = stage.party
        if getattr(party, "awaiting", None):
            party.submit(stage.table.updates[stage.victim])
        for frame in party.outbox():
            self.said(stage, frame)

    def said(self, stage: Stage, frame: bytes) -> None:
        """Look at a frame that a victim let go of."""

    def seeds(self) -> Iterable[bytes]:
        """Return each frame of each stage as it is, then with one thing changed in it."""
        for number in range(len(self.stages())):
            for at in range(12):
                yield bytes([number, 0, at])
                yield bytes([number, 3, at, 1, 0, 1, 7, at % 5, 1, 3])
                yield bytes([number, 3, at, 0, 0, 1, 7, 1, at, 2, 9])
                yield bytes([number, 15, at, 3, 1, 2]) + bytes([number, 2, at, 1, 1, 1])
