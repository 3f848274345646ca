"""Frames and bodies: whatever decodes encodes to the same bytes, and whatever does not is a DecodeError."""

from __future__ import annotations

from typing import Any

import msgspec

from fuzz.recipe import CHANGES, Recipe, change
from secagg.errors import AuthenticationError, DecodeError
from secagg.protocols.ckks.messages import decoders as ckks_decoders
from secagg.protocols.oneshot.messages import decoders as oneshot_decoders
from secagg.protocols.pairwise.messages import answer_decoder
from secagg.protocols.pairwise.messages import decoders as pairwise_decoders
from secagg.wire import Chunk, Envelope, decode_body, decode_frame, encode_body, encode_chunk, open_envelope
from support.committee import Committee
from support.encrypted import Encrypted
from support.federation import Federation

LIMIT = 1 << 20
KEY = bytes(31) + b"\x01"


def session_frames() -> list[bytes]:
    """Every frame of a round of each protocol, the long ones aside."""
    found = []
    for made in (Federation(3), Encrypted(3), Committee(3)):
        made.round()
        found += [frame for _, frame in made.up + made.down]
    return [frame for frame in found if len(frame) < 1 << 12]


class Frames:
    """`decode_frame`, and the signature check of what it returns."""

    def run(self, data: bytes) -> None:
        try:
            kind, outer = decode_frame(data, max_bytes=LIMIT)
        except DecodeError:
            return
        if isinstance(outer, Chunk):
            # A chunk's tag covers its payload alone, so its outer form need not be the one that we write.
            again, same = decode_frame(encode_chunk(outer), max_bytes=LIMIT + 64)
            assert (again, same) == (kind, outer)
            return
        assert isinstance(outer, Envelope)
        assert data == data[:4] + msgspec.msgpack.encode(outer)
        try:
            open_envelope(kind, outer, KEY)
        except AuthenticationError:
            return
        raise AssertionError("a signature of nobody's holds")

    def seeds(self) -> list[bytes]:
        return session_frames()


class Bodies:
    """`decode_body` of every kind of body: the first byte says which, the second whether the rest is bytes or a recipe."""

    def __init__(self) -> None:
        of_kind: dict[int, Any] = {**pairwise_decoders, **ckks_decoders, **oneshot_decoders}
        self._decoders = [*of_kind.values(), answer_decoder]
        self._bodies: list[tuple[int, object]] = []
        for frame in session_frames():
            kind, outer = decode_frame(frame, max_bytes=LIMIT)
            if isinstance(outer, Envelope):
                self._bodies.append((self._decoders.index(of_kind[kind]), msgspec.msgpack.decode(outer.payload)))

    def run(self, data: bytes) -> None:
        recipe = Recipe(data)
        number, raw = recipe.below(len(self._decoders)), recipe.byte() % 2
        if raw:
            body = recipe.rest()
        else:
            number, value = self._bodies[recipe.below(len(self._bodies))]
            for _ in range(CHANGES):
                value = change(recipe, value) if recipe.left > 0 else value
            body = encode(value)
        try:
            made = decode_body(body, self._decoders[number], "c0")
        except DecodeError:
            return
        assert encode_body(made) == body

    def seeds(self) -> list[bytes]:
        raw = [bytes([number, 1]) + encode(value) for number, value in self._bodies]
        return [*raw, *(bytes([0, 0, at, 1, 6, at, 3, 9, 2]) for at in range(len(self._bodies)))]


def encode(value: object) -> bytes:
    """Return a value as MessagePack; a number that it cannot hold becomes one that it can."""
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return b"\xcf" + b"\xff" * 8
