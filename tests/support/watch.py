"""Watches every frame that clients let go of: one frame a phase, one mask a vector, one nonce a box."""

from __future__ import annotations

import os
from typing import Any

from secagg.hazmat import aead
from secagg.protocols.pairwise import PairwiseClient
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


class Instruments:
    """Looks inside: no mask seed serves two rounds or two vectors of a client, no key and nonce seal two things."""

    def __init__(self, monkeypatch: Any) -> None:
        self.rounds: dict[bytes, tuple[bytes, int]] = {}  # mask seed -> the one round it may serve
        self.vectors: dict[tuple[bytes, str, int, int], bytes] = {}  # seed, client, segment, chunk -> what it masked
        self.boxes: dict[tuple[bytes, bytes], bytes] = {}  # key, nonce -> output
        self.self_masks: dict[bytes, tuple[str, int]] = {}
        begin, seal, gmac = PairwiseClient.begin_upload, aead.seal, aead.gmac

        def begin_upload(core: PairwiseClient, context: bytes) -> Any:
            upload = begin(core, context)
            state = core._state
            here = (state.session, state.round.round_id)
            for key in upload.keys:
                assert self.rounds.setdefault(key, here) == here, "a mask seed came back in another round"
            mine = (state.me, state.round.round_id)
            assert self.self_masks.setdefault(upload.keys[0], mine) == mine, "a self mask came back"
            upload.chunk = self._watch_chunk(upload, state.me)
            return upload

        def watched_seal(key: bytes, plaintext: bytes, aad: bytes, entropy: Any = os.urandom) -> bytes:
            box = seal(key, plaintext, aad, entropy)
            assert self.boxes.setdefault((key, box[:12]), box) == box, "a key and nonce sealed two things"
            return box

        def watched_gmac(key: bytes, nonce: bytes, data: Any) -> bytes:
            tag = gmac(key, nonce, data)
            assert self.boxes.setdefault((key, nonce), tag) == tag, "a key and nonce tagged two things"
            return tag

        monkeypatch.setattr(PairwiseClient, "begin_upload", begin_upload)
        monkeypatch.setattr(aead, "seal", watched_seal)
        monkeypatch.setattr(aead, "gmac", watched_gmac)

    def _watch_chunk(self, upload: Any, me: str) -> Any:
        chunk = type(upload).chunk

        def watched(segment: int, index: int, payload: bytes) -> bytes:
            for key in upload.keys:
                place = (key, me, segment, index)
                assert self.vectors.setdefault(place, bytes(payload)) == payload, "one mask hid two vectors"
            return chunk(upload, segment, index, payload)

        return watched
