"""The server's intake: frames of clients and holder in any order, each refused unless all of it holds."""

from __future__ import annotations

from typing import Any

from secagg.errors import AuthenticationError, DecodeError, InputError, PeerError
from secagg.hazmat import aead, signing
from secagg.hazmat.agreement import check_public_key
from secagg.hazmat.rlwe import PublicKey
from secagg.protocols.accounts import holder_statement, upload_tag
from secagg.protocols.ckks.checks import check_header
from secagg.protocols.ckks.messages import (
    HASH_BYTES,
    Decrypted,
    EncryptedHeader,
    KeyAnnouncement,
    Kind,
    decoders,
    key_digest,
    result_key,
    signer,
    verify_chunk,
)
from secagg.protocols.ckks.state import Kept, Key, Round, ServerState
from secagg.protocols.ckks.transitions import ServerPhase
from secagg.protocols.rounds import listed
from secagg.wire import HOLDER, SERVER, Chunk, decode_body, decode_frame, open_envelope

__all__ = ["Intake"]


class Intake:
    """Takes frames into a `ServerState`."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def receive(self, frame: bytes, carrier: str | None = None) -> str:
        """Take one frame and return its authenticated sender; state changes only if all of it holds.

        A frame that names another sender than the carrier does is refused.
        """
        state = self._state
        kind, outer = decode_frame(frame, max_bytes=state.params.max_frame_bytes)
        sender = outer.sender
        if carrier is not None and sender != carrier:
            raise AuthenticationError(
                "the carrier names another sender than the frame", peer=carrier, phase=state.phase
            )
        if sender == SERVER:
            raise AuthenticationError("sender is not in the roster", phase=state.phase)
        key = signer(state.roster, sender)
        if outer.session != state.session:
            raise AuthenticationError("frame of another session", peer=sender, phase=state.phase)
        if isinstance(outer, Chunk):
            (self._take_result if sender == HOLDER else self._take_chunk)(outer, key)
            return sender
        kinds = (Kind.KEY_ANNOUNCEMENT, Kind.DECRYPTED) if sender == HOLDER else (Kind.ENCRYPTED_HEADER,)
        if kind not in kinds:
            raise PeerError("not a frame of this sender's", peer=sender, phase=state.phase)
        payload = open_envelope(kind, outer, key)
        body: Any = decode_body(payload, decoders[Kind(kind)], sender)
        match body:
            case KeyAnnouncement():
                self._take_key(bytes(frame), body, key_digest(state.session, payload))
            case EncryptedHeader():
                self._take_header(sender, bytes(frame), body)
            case Decrypted():
                self._take_answer(bytes(frame), body)
        return sender

    # -- keys -----------------------------------------------------------------------------------------------------

    def _take_key(self, frame: bytes, body: KeyAnnouncement, key_hash: bytes) -> None:
        key, _ = self._state.now(ServerPhase.KEYS, HOLDER)
        asked = key.request
        told = (body.first_round, body.rounds, body.params_hash, body.roster_hash)
        if told != (asked.first_round, asked.rounds, asked.params_hash, asked.roster_hash):
            raise AuthenticationError("a key that was not asked for", peer=HOLDER, phase="keys")
        if key.frame:
            self._state.twice(HOLDER, key.frame == frame)
            return
        check_public_key(body.channel_key)
        PublicKey.from_bytes(self._state.params.cipher_plan.ring, body.public_key)
        key.body, key.frame, key.hash = body, frame, key_hash

    # -- encrypted ------------------------------------------------------------------------------------------------

    def _uploader(self, sender: str) -> tuple[Key, Round]:
        key, current = self._state.now(ServerPhase.ENCRYPTED, sender)
        if not listed(current.participants, self._state.ranks[sender]):
            raise PeerError("no update was asked of this client", peer=sender, phase="encrypted")
        if sender in current.excluded:
            raise PeerError("this client's upload was refused already", peer=sender, phase="encrypted")
        return key, current

    def _take_chunk(self, chunk: Chunk, verify_key: bytes) -> None:
        sender = chunk.sender
        key, current = self._uploader(sender)
        if chunk.round_id != current.round_id:
            raise PeerError("chunk of another round", peer=sender, phase="encrypted")
        check_place(chunk, self._state.bulk.chunks(), sender)
        content = verify_chunk(chunk, key.hash, verify_key)
        place, kept = (chunk.segment, chunk.index), current.kept[sender]
        if place in kept:
            self._state.twice(sender, kept[place].content == content)
            return
        try:
            self._state.bulk.add(sender, *place, chunk.payload)
        except InputError as error:
            raise PeerError(str(error), peer=sender, phase="encrypted") from None
        kept[place] = Kept(content, chunk.tag)
        self._try_complete(sender)

    def _take_header(self, sender: str, frame: bytes, body: EncryptedHeader) -> None:
        key, current = self._uploader(sender)
        channel = b"" if key.body is None else key.body.channel_key
        check_header(body, self._state.params, (key.hash, channel), current.round_id, current.participants_hash, sender)
        if sender in current.headers:
            self._state.twice(sender, current.headers[sender][0] == frame)
            return
        key.shown.add(sender)
        current.headers[sender] = (frame, body)
        self._try_complete(sender)

    def _try_complete(self, sender: str) -> None:
        _, current = self._state.open()
        kept, header = current.kept[sender], current.headers.get(sender)
        if header is None or len(kept) != sum(map(len, self._state.bulk.chunks())):
            return
        body = header[1]
        same = upload_tag(kept[place].content for place in sorted(kept)) == body.tag
        reason = "" if same else "it does not match its signed header"
        if not reason:
            try:
                self._state.bulk.fold(sender, body.context_hash)
            except InputError as error:
                reason = str(error)
        if reason:
            current.excluded.add(sender)
            self._state.bulk.discard(sender)
            raise AuthenticationError(f"upload refused: {reason}", peer=sender, phase="encrypted")
        current.complete[sender] = body.context_hash

    # -- decrypt --------------------------------------------------------------------------------------------------

    def _take_answer(self, frame: bytes, body: Decrypted) -> None:
        key, current = self._state.now(ServerPhase.DECRYPT, HOLDER)
        if body.round_id != current.round_id or body.account != current.account:
            raise AuthenticationError("answer to another account of the round", peer=HOLDER, phase="decrypt")
        if current.answer is not None:
            self._state.twice(HOLDER, current.answer[0] == frame)
            return
        if len(body.signature) != signing.SIGNATURE_BYTES or {len(body.result_hash), len(body.tag)} != {HASH_BYTES}:
            raise DecodeError("a signature has 64 bytes, a hash 32", peer=HOLDER, phase="decrypt")
        statement = holder_statement(body.account, body.result_hash)
        signing.verify(signer(self._state.roster, HOLDER), statement, body.signature)
        if self._state.params.reveal == "server":
            salt = self._open(key, current, body.sealed_salt, b"salt")
            if len(salt) != HASH_BYTES:
                raise DecodeError("a salt has 32 bytes", peer=HOLDER, phase="decrypt")
            current.salt = salt
        elif body.sealed_salt:
            raise DecodeError("a salt where the sum is not revealed", peer=HOLDER, phase="decrypt")
        current.answer = (frame, body)

    def _open(self, key: Key, current: Round, sealed: bytes, place: bytes) -> bytes:
        """Return a part of the holder's answer."""
        if key.body is None or current.pair is None:
            raise PeerError("no key", peer=HOLDER, phase="decrypt")
        shared = current.pair.agree(key.body.channel_key)
        return aead.open_(result_key(shared, self._state.session, key.hash, current.mark), sealed, place)

    def _take_result(self, chunk: Chunk, verify_key: bytes) -> None:
        key, current = self._state.now(ServerPhase.DECRYPT, HOLDER)
        if chunk.round_id != current.round_id or self._state.params.reveal != "server":
            raise PeerError("chunk of another round", peer=HOLDER, phase="decrypt")
        sealed = [[size + aead.OVERHEAD_BYTES for size in row] for row in self._state.bulk.results()]
        check_place(chunk, sealed, HOLDER)
        content = verify_chunk(chunk, key.hash, verify_key)
        place = (chunk.segment, chunk.index)
        if place in current.opened:
            self._state.twice(HOLDER, current.opened[place] == content)
            return
        plain = self._open(key, current, bytes(chunk.payload), b"%d/%d" % place)
        try:
            self._state.bulk.take(*place, plain)
        except InputError as error:
            raise PeerError(str(error), peer=HOLDER, phase="decrypt") from None
        current.opened[place] = content


def check_place(chunk: Chunk, sizes: list[list[int]], sender: str) -> None:
    """Refuse a chunk that is not one of those whose `sizes` are given."""
    if chunk.segment >= len(sizes) or chunk.index >= len(sizes[chunk.segment]):
        raise DecodeError("chunk outside the vector", peer=sender)
    if len(chunk.payload) != sizes[chunk.segment][chunk.index]:
        raise DecodeError("chunk of another length", peer=sender)
