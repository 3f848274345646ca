"""Watches every frame that clients let go of: one frame a phase, one mask a vector, one nonce a box."""

from __future__ import annotations

from typing import Any

from secagg.protocols.pairwise.messages import Kind, decoders
from secagg.wire import Chunk, decode_frame

PHASE = {Kind.DEALING: "shares", Kind.MASKED_HEADER: "masked", Kind.UNMASK: "unmask"}


class Watch:
    """Fails when a client sends two different frames for one phase of one round, or two vectors under one mask."""

    def __init__(self) -> None:
        self.frames: dict[tuple[Any, ...], bytes] = {}
        self.public_keys: dict[bytes, tuple[Any, ...]] = {}
        self.nonces: dict[bytes, bytes] = {}

    def see(self, name: str, frame: bytes) -> None:
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        if isinstance(outer, Chunk):
            self._once((name, outer.session, outer.round_id, outer.segment, outer.index), frame)
            return
        body = decoders[Kind(kind)].decode(outer.payload)
        if kind == Kind.ADVERTISEMENT:
            keys = [body.channel_key, *(body.mask_keys[i : i + 32] for i in range(0, len(body.mask_keys), 32))]
            for i, key in enumerate(keys):
                place = (name, outer.session, body.first_round, i)
                assert self.public_keys.setdefault(key, place) == place, "a public key came back in another place"
            return
        round_id = body.first_round if kind == Kind.DEALING else body.round_id
        self._once((name, outer.session, round_id, PHASE[Kind(kind)]), frame)
        if kind == Kind.UNMASK:
            nonce = body.sealed[:12]
            assert self.nonces.setdefault(nonce, frame) == frame, "a nonce came back in another frame"

    def _once(self, place: tuple[Any, ...], frame: bytes) -> None:
        assert self.frames.setdefault(place, frame) == frame, f"two different frames: {place}"
