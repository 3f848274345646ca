"""Watches what leaves the parties of oneshot: one upload and one answer a round, one mask a vector, one set a member."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from secagg.hazmat import aead
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.protocols.oneshot import client
from secagg.protocols.oneshot.messages import Kind, decoders
from secagg.wire import Chunk, decode_frame

PHASE = {Kind.MASKED_HEADER: "upload", Kind.REVEAL: "reveal"}


class Watch:
    """Fails when a party sends two different frames for one place, answers for two sets of a round, or shows a key twice."""

    def __init__(self) -> None:
        self.frames: dict[tuple[Any, ...], bytes] = {}
        self.channels: dict[bytes, tuple[Any, ...]] = {}  # an upload's key -> its place
        self.keys: dict[bytes, bytes] = {}  # a member's key -> the frame that announced it
        self.sets: dict[tuple[Any, ...], bytes] = {}  # member, session, round -> the account that was answered for

    def see(self, name: str, frame: bytes) -> None:
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        if isinstance(outer, Chunk):
            self._once((name, outer.session, outer.round_id, outer.segment, outer.index), frame)
            return
        body = decoders[Kind(kind)].decode(outer.payload)
        if kind == Kind.MEMBER_KEY:
            assert self.keys.setdefault(body.channel_key, frame) == frame, "a member's key came back in another batch"
            assert body.channel_key not in self.channels, "a member's key is an upload's"
            return
        place = (name, outer.session, body.round_id, PHASE[Kind(kind)])
        if kind == Kind.REVEAL:
            assert self.sets.setdefault(place, body.account) == body.account, f"answered for two sets: {place}"
        else:
            used = body.channel_key
            assert self.channels.setdefault(used, place) == place, "an upload's key came back in another round"
            assert used not in self.keys, "an upload's key is a member's"
        self._once(place, frame)

    def _once(self, place: tuple[Any, ...], frame: bytes) -> None:
        assert self.frames.setdefault(place, frame) == frame, f"two different frames: {place}"


class Instruments:
    """Looks inside: no secret masks two vectors at one polynomial, serves two rounds or is dealt twice; no nonce comes back."""

    def __init__(self, monkeypatch: Any) -> None:
        self.vectors: dict[tuple[bytes, int], bytes] = {}  # mask seed, polynomial number -> what it masked
        self.rounds: dict[bytes, bytes] = {}  # mask seed -> what the public polynomials of its one round are drawn from
        self.publics: dict[bytes, tuple[Any, ...]] = {}  # that -> session, Params, roster, round
        self.dealings: dict[bytes, bytes] = {}  # an upload's seed -> the shares it was dealt in
        self.boxes: dict[tuple[bytes, bytes], bytes] = {}  # key, nonce -> output
        mask, deal, seal, public_seed = MaskSecret.mask, client.seal_shares, aead.seal, client.public_seed

        def watched_mask(secret: MaskSecret, values: Any, public: bytes, first: int, out: Any = None) -> bytes:
            unit = secret.ring.degree * secret.ring.per
            assert public in self.publics, "public polynomials that no round has"
            assert self.rounds.setdefault(secret._seed, public) == public, "one secret served two rounds"
            for at in range(0, len(values), unit):
                part = np.ascontiguousarray(values[at : at + unit])
                told = hashlib.sha256(part.astype("<u8").tobytes()).digest()
                place = (secret._seed, first + at // unit)
                assert self.vectors.setdefault(place, told) == told, "one mask hid two vectors"
            return mask(secret, values, public, first, out)

        def watched_deal(secret: Any, params: Any, setup: Any, pair: Any, round_id: int, me: str, seed: bytes) -> Any:
            made = deal(secret, params, setup, pair, round_id, me, seed)
            told = hashlib.sha256(secret.tobytes() + b"".join(made)).digest()
            assert self.dealings.setdefault(seed, told) == told, "one secret was dealt in two ways"
            return made

        def watched_seal(key: bytes, plaintext: bytes, aad: bytes, *entropy: Any) -> bytes:
            box = seal(key, plaintext, aad, *entropy)
            assert self.boxes.setdefault((key, box[:12]), box) == box, "a key and nonce sealed two things"
            return box

        def watched_public(*names: Any) -> bytes:
            made = public_seed(*names)
            assert self.publics.setdefault(made, names) == names, "two rounds have the same public polynomials"
            return made

        monkeypatch.setattr(MaskSecret, "mask", watched_mask)
        monkeypatch.setattr(client, "seal_shares", watched_deal)
        monkeypatch.setattr(aead, "seal", watched_seal)
        monkeypatch.setattr(client, "public_seed", watched_public)
