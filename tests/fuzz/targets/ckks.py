"""`receive` of the ckks protocol."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from fuzz.recipe import Recipe, change
from fuzz.targets.frames import encode
from fuzz.targets.receive import Liar, Receiver, Sent, Stage
from secagg.hazmat import aead
from secagg.protocols.ckks.messages import Kind, make_chunk, result_key
from secagg.wire import HOLDER, SERVER, Chunk, decode_frame
from support.encrypted import Encrypted, tag_of
from support.refusals import seen

PHASES = ("keys", "encrypted", "decrypt")
VICTIM = "c1"


class Table(Encrypted):
    """A federation of five of whom four are asked."""

    def __init__(self, phase: str, **changes: Any) -> None:
        super().__init__(5, rounds_per_setup=2, min_clients=3, **changes)
        self.silent: list[str] = []
        self.server.open_round(1, participants=self.ids[:4])
        self.until(phase)


class CkksLiar(Liar):
    """Signs chunks, and opens what the holder sealed to the server."""

    def tag(self, chunk: Chunk) -> bytes:
        place = (chunk.round_id, chunk.segment, chunk.index)
        key_hash = self.table.server._core._state.key.hash
        frame, _ = make_chunk(
            chunk.session, chunk.sender, place, key_hash, chunk.payload, self.identity(chunk.sender).sign
        )
        return decode_frame(frame, max_bytes=1 << 30)[1].tag

    def unseal(self, kind: int, name: str, body: list) -> Any:
        return self._answer if kind == Kind.DECRYPTED else None

    def _key(self) -> bytes:
        state = self.table.server._core._state
        shared = state.round.pair.agree(state.key.body.channel_key)
        return result_key(shared, state.session, state.key.hash, state.round.mark)

    def _answer(self, recipe: Recipe, body: list) -> list:
        """Change the salt under its seal."""
        salt = change(recipe, aead.open_(self._key(), body[4], b"salt")) if body[4] else recipe.take(32)
        return [*body[:4], aead.seal(self._key(), salt if isinstance(salt, bytes) else b"", b"salt"), *body[5:]]

    def upload(self, recipe: Recipe, frames: Sent) -> Sent:
        state = self.table.server._core._state
        who = HOLDER if state.phase == "decrypt" else "c0"
        found = [
            decode_frame(frame, max_bytes=1 << 30)[1]
            for name, frame in frames
            if name == who and frame[3] in (Kind.CHUNK, Kind.ENCRYPTED_HEADER, Kind.DECRYPTED)
        ]
        chunks = [each for each in found if isinstance(each, Chunk)]
        header = next((each for each in found if not isinstance(each, Chunk)), None)
        if not chunks or header is None:
            return []
        chosen = chunks[recipe.below(len(chunks))]
        places = {(each.segment, each.index): bytes(each.payload) for each in chunks}
        place = (chosen.segment, chosen.index)
        places[place] = self._spoilt(recipe, places[place], who, place)
        key_hash, sign = state.key.hash, self.identity(who).sign
        told = [
            (who, make_chunk(header.session, who, (chosen.round_id, *each), key_hash, memoryview(content), sign)[0])
            for each, content in places.items()
        ]
        body = msgspec.msgpack.decode(header.payload)
        body[-1] = tag_of(places)
        kind = Kind.DECRYPTED if who == HOLDER else Kind.ENCRYPTED_HEADER
        return [*told, (who, self.envelope(kind, header.session, who, encode(body)))]

    def _spoilt(self, recipe: Recipe, payload: bytes, who: str, place: tuple[int, int]) -> bytes:
        """Return another payload: transparent, out of range, or with a few bytes changed; sealed again if it was sealed."""
        if who == HOLDER:
            plain = aead.open_(self._key(), payload, b"%d/%d" % place)
            changed = bytearray(plain)
            changed[-1 if recipe.byte() % 2 else recipe.below(len(changed))] ^= recipe.byte()
            return aead.seal(self._key(), bytes(changed), b"%d/%d" % place)
        how, at = recipe.byte() % 4, recipe.below(len(payload))
        piece = recipe.take(1 + recipe.byte() % 64)
        if how == 0:
            return bytes(len(payload))
        if how == 1:
            return payload[:at] + b"\xff" * (len(payload) - at)
        if how == 2:
            return payload[:-1] + bytes([payload[-1] | recipe.byte()])
        return (payload[:at] + piece + payload[at + len(piece) :])[: len(payload)]


class CkksReceiver(Receiver):
    """What the three have in common."""

    liar = CkksLiar
    victim: str

    def stages(self) -> list[Any]:
        modes = ({}, {"reveal": "holder", "threat": "semi-honest"})
        return [
            functools.partial(lambda phase, mode: Stage(Table(phase, **mode), self.victim), phase, mode)
            for phase in self.phases()
            for mode in modes
        ]

    def phases(self) -> tuple[str, ...]:
        return PHASES

    def seen(self, stage: Stage) -> Any:
        found = seen(stage.table, stage.victim)
        if stage.victim != HOLDER:
            return found
        state = stage.table.holder._core._state
        waiting = state.waiting
        return *found, waiting and (dict(waiting.rounds), {name: dict(each) for name, each in waiting.contents.items()})

    def went_out(self, stage: Stage) -> bool:
        return stage.victim == SERVER and bool(stage.table.server._core._state.round.excluded)


class ToServer(CkksReceiver):
    """A client or a key holder that lies."""

    victim = SERVER


class ToClient(CkksReceiver):
    """A server or a key holder that lies."""

    victim = VICTIM

    def phases(self) -> tuple[str, ...]:
        return ("encrypted",)


class ToHolder(CkksReceiver):
    """A server or a client that lies."""

    victim = HOLDER

    def phases(self) -> tuple[str, ...]:
        return ("keys", "decrypt")
