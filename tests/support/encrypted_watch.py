"""Watches what leaves the parties of ckks: one upload and one answer a round, no randomness twice, one sum opened a round."""

from __future__ import annotations

import hashlib
from typing import Any

from secagg import ciphertexts
from secagg.protocols.ckks import CkksHolder
from secagg.protocols.ckks.messages import Kind, decoders
from secagg.wire import Chunk, decode_frame

PHASE = {Kind.ENCRYPTED_HEADER: "encrypted", Kind.DECRYPTED: "decrypt"}


class Watch:
    """Fails when a party sends two different frames for one place, or two uploads under one key of a pad."""

    def __init__(self) -> None:
        self.frames: dict[tuple[Any, ...], bytes] = {}
        self.channels: dict[bytes, tuple[Any, ...]] = {}
        self.keys: dict[bytes, bytes] = {}

    def see(self, name: str, frame: bytes) -> None:
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        if isinstance(outer, Chunk):
            self._once((name, outer.session, outer.round_id, outer.segment, outer.index), frame)
            return
        body = decoders[Kind(kind)].decode(outer.payload)
        if kind == Kind.KEY_ANNOUNCEMENT:
            assert self.keys.setdefault(body.public_key, frame) == frame, (
                "a public key came back in another announcement"
            )
            return
        place = (name, outer.session, body.round_id, PHASE[Kind(kind)])
        self._once(place, frame)
        if kind == Kind.ENCRYPTED_HEADER and body.channel_key:
            assert self.channels.setdefault(body.channel_key, place) == place, (
                "a channel key came back in another round"
            )

    def _once(self, place: tuple[Any, ...], frame: bytes) -> None:
        assert self.frames.setdefault(place, frame) == frame, f"two different frames: {place}"


class Instruments:
    """Looks inside: no randomness or pad encrypts two vectors at one polynomial number, no key opens two sums of a round."""

    def __init__(self, monkeypatch: Any) -> None:
        self.randomness: dict[tuple[bytes, int], bytes] = {}  # key, polynomial number -> what it encrypted, to whom
        self.pads: dict[tuple[bytes, int], tuple[bytes, int]] = {}
        self.sums: dict[tuple[bytes, int], bytes] = {}  # key_hash, round -> the ciphertext that was opened
        encrypt, answer, open_ = ciphertexts.encrypt, CkksHolder._answer, ciphertexts.CipherAccumulator.open

        def watched_encrypt(public: Any, values: Any, delta: int, key: bytes, first: int, **rest: Any) -> bytes:
            degree = public.ring.degree
            for number in range(-(-len(values) // degree)):
                part = values[number * degree : (number + 1) * degree]
                told = hashlib.sha256(public.to_bytes() + part.tobytes()).digest()
                place = (key, first + number)
                assert self.randomness.setdefault(place, told) == told, "one randomness encrypted two vectors"
                if rest.get("pad") is not None:
                    used = (rest["pad"], first + number)
                    assert self.pads.setdefault(used, place) == place, "one pad lay over two vectors"
            return encrypt(public, values, delta, key, first, **rest)

        def watched_answer(holder: Any, current: Any, request: Any, key: Any, *rest: Any) -> Any:
            self._now = (key.hash, current.round_id)
            return answer(holder, current, request, key, *rest)

        def watched_open(bulk: Any, secret: Any, pads: Any, uploads: int) -> bytes:
            (group,) = bulk._sums
            told = hashlib.sha256(b"".join(payload for _, payload in bulk.total(group)) + b"".join(pads)).digest()
            assert self.sums.setdefault(self._now, told) == told, "a second sum of a round was decrypted"
            return open_(bulk, secret, pads, uploads)

        monkeypatch.setattr(ciphertexts, "encrypt", watched_encrypt)
        monkeypatch.setattr(CkksHolder, "_answer", watched_answer)
        monkeypatch.setattr(ciphertexts.CipherAccumulator, "open", watched_open)
