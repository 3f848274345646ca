"""The server's intake: client frames in any order, each refused unless all of it holds.

A frame is refused unless its phase is open; an identical duplicate changes nothing; a different second frame is refused and
remembered as equivocation. Chunks are authenticated before they reach the bulk side, which folds an upload in only when it is
complete and its signed header holds.
"""

from __future__ import annotations

from secagg.errors import AuthenticationError, DecodeError, InputError, PeerError
from secagg.hazmat import aead, signing
from secagg.protocols.pairwise import dealing, unmasking
from secagg.protocols.pairwise.messages import (
    HASH_BYTES,
    Advertisement,
    Dealing,
    Kind,
    MaskedHeader,
    Unmask,
    answer_decoder,
    decoders,
    upload_tag,
)
from secagg.protocols.pairwise.setup import Setup, check_advertisement, public_keys
from secagg.protocols.pairwise.state import Batch, Round, ServerState
from secagg.protocols.pairwise.transitions import ServerPhase
from secagg.protocols.rounds import listed
from secagg.protocols.upload import chunk_nonce
from secagg.wire import SERVER, Chunk, decode_body, decode_frame, open_envelope

__all__ = ["Intake"]


class Intake:
    """Takes client frames into a `ServerState`."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def receive(self, frame: bytes, carrier: str | None = None) -> str:
        """Take one client frame and return its authenticated sender; state changes only if all of it holds.

        A frame that names another sender than the carrier does is refused.
        """
        kind, outer = decode_frame(frame, max_bytes=self._state.params.max_frame_bytes)
        sender = outer.sender
        if carrier is not None and sender != carrier:
            raise AuthenticationError(
                "the carrier names another sender than the frame", peer=carrier, phase=self._state.phase
            )
        if sender == SERVER or sender not in self._state.roster:
            raise AuthenticationError("sender is not in the roster", peer=sender or None, phase=self._state.phase)
        if outer.session != self._state.session:
            raise AuthenticationError("frame of another session", peer=sender, phase=self._state.phase)
        if isinstance(outer, Chunk):
            self._take_chunk(outer)
            return sender
        if kind not in (Kind.ADVERTISEMENT, Kind.DEALING, Kind.MASKED_HEADER, Kind.UNMASK):
            raise PeerError("not a client's frame", peer=sender, phase=self._state.phase)
        payload = open_envelope(kind, outer, self._state.roster.key(sender))
        body = decode_body(payload, decoders[Kind(kind)], sender)
        match body:
            case Advertisement():
                self._take_advertisement(sender, bytes(frame), body)
            case Dealing():
                self._take_dealing(sender, bytes(frame), body)
            case MaskedHeader():
                self._take_header(sender, bytes(frame), body)
            case Unmask():
                self._take_answer(sender, bytes(frame), body)
        return sender

    def _take_advertisement(self, sender: str, frame: bytes, body: Advertisement) -> None:
        batch, _ = self._state.now(ServerPhase.KEYS, sender)
        if sender not in batch.cohort:
            raise PeerError("not asked for keys", peer=sender, phase="keys")
        check_advertisement(body, batch.request, sender)  # before blame: a stale frame is no equivocation
        if sender in batch.advertisements:
            self._state.twice(sender, batch.advertisements[sender] == frame)
            return
        keys = public_keys(body)
        if len(set(keys)) != len(keys) or not batch.keys_seen.isdisjoint(keys):
            raise AuthenticationError("a public key is used twice", peer=sender, phase="keys")
        secret = batch.pair.agree(body.channel_key)
        batch.keys_seen.update(keys)
        batch.advertisements[sender] = frame
        batch.secrets[sender] = secret

    def _take_dealing(self, sender: str, frame: bytes, body: Dealing) -> None:
        self._state.now(ServerPhase.SHARES, sender)
        batch, setup, _ = self._state.setup()
        if sender not in setup.ranks:
            raise PeerError("shares without keys", peer=sender, phase="shares")
        if body.setup_hash != setup.setup_hash or body.first_round != setup.first_round:
            raise AuthenticationError("shares of another setup", peer=sender, phase="shares")
        if sender in batch.dealings:
            self._state.twice(sender, batch.dealings[sender][0] == frame)
            return
        others = len(setup.neighbours[setup.ranks[sender]])
        if (
            len(body.commitments) != HASH_BYTES * setup.rounds
            or len(body.holder_hashes) != HASH_BYTES * (others + 1)
            or len(body.sealed) != dealing.sealed_bytes(setup.rounds) * others
        ):
            raise DecodeError("shares of another length", peer=sender, phase="shares")
        batch.dealings[sender] = (frame, body)

    def _uploader(self, sender: str) -> tuple[Batch, Setup, Round]:
        self._state.now(ServerPhase.MASKED, sender)
        batch, setup, current = self._state.setup()
        if not listed(current.participants, setup.ranks.get(sender, -1)):
            raise PeerError("no update was asked of this client", peer=sender, phase="masked")
        if sender in current.excluded:
            raise PeerError("this client's upload was refused already", peer=sender, phase="masked")
        return batch, setup, current

    def _take_chunk(self, chunk: Chunk) -> None:
        sender = chunk.sender
        batch, setup, current = self._uploader(sender)
        if chunk.round_id != current.round_id:
            raise PeerError("chunk of another round", peer=sender, phase="masked")
        sizes = self._state.bulk.chunks()
        if chunk.segment >= len(sizes) or chunk.index >= len(sizes[chunk.segment]):
            raise DecodeError("chunk outside the vector", peer=sender, phase="masked")
        if len(chunk.payload) != sizes[chunk.segment][chunk.index]:
            raise DecodeError("chunk of another length", peer=sender, phase="masked")
        key = unmasking.upload_key(batch.secrets[sender], setup, sender, current.round_id)
        try:
            aead.gmac_verify(key, chunk_nonce(chunk.segment, chunk.index), chunk.payload, chunk.tag)
        except AuthenticationError:
            raise AuthenticationError("chunk tag does not hold", peer=sender, phase="masked") from None
        place = (chunk.segment, chunk.index)
        tags = current.tags[sender]
        if place in tags:
            self._state.twice(sender, tags[place] == chunk.tag)
            return
        try:
            self._state.bulk.add(sender, chunk.segment, chunk.index, chunk.payload)
        except InputError as error:
            raise PeerError(str(error), peer=sender, phase="masked") from None
        tags[place] = chunk.tag
        self._try_complete(sender)

    def _take_header(self, sender: str, frame: bytes, body: MaskedHeader) -> None:
        batch, setup, current = self._uploader(sender)
        unmasking.check_header(
            body, setup, batch.members_hash, current.round_id, current.participants_hash, self._state.params
        )
        if sender in current.headers:
            self._state.twice(sender, current.headers[sender][0] == frame)
            return
        self._note_complaints(sender, body.complaints)
        current.headers[sender] = (frame, body)
        self._try_complete(sender)

    def _note_complaints(self, sender: str, complaints: list[int]) -> None:
        batch, setup, _ = self._state.setup()
        rank = setup.ranks[sender]
        if rank in batch.acknowledged:
            self._state.twice(sender, tuple(complaints) == batch.complaints.get(rank, ()))
            return
        setup.check_ranks(complaints, setup.neighbours[rank], sender)
        batch.complaints[rank] = tuple(complaints)
        batch.acknowledged.add(rank)

    def _try_complete(self, sender: str) -> None:
        _, _, current = self._state.setup()
        tags, header = current.tags[sender], current.headers.get(sender)
        sizes = self._state.bulk.chunks()
        if header is None or len(tags) != sum(map(len, sizes)):
            return
        ordered = (tags[segment, index] for segment, row in enumerate(sizes) for index in range(len(row)))
        body = header[1]
        reason = "" if upload_tag(ordered) == body.tag else "it does not match its signed header"
        if not reason:
            try:
                self._state.bulk.fold(sender, body.context_hash)
            except InputError as error:
                reason = str(error)
        if reason:
            current.excluded.add(sender)
            self._state.bulk.discard(sender)
            raise AuthenticationError(f"upload refused: {reason}", peer=sender, phase="masked")
        current.complete[sender] = body.context_hash

    def _take_answer(self, sender: str, frame: bytes, body: Unmask) -> None:
        self._state.now(ServerPhase.UNMASK, sender)
        batch, setup, current = self._state.setup()
        rank = setup.ranks.get(sender, -1)
        if not self._state.answers(rank):
            raise PeerError("no answer was asked of this client", peer=sender, phase="unmask")
        if body.round_id != current.round_id:
            raise PeerError("answer of another round", peer=sender, phase="unmask")
        if body.account != current.account:
            raise AuthenticationError("answer to another account of the round", peer=sender, phase="unmask")
        if sender in current.answer_frames:
            self._state.twice(sender, current.answer_frames[sender] == frame)
            return
        if len(body.account_signature) != signing.SIGNATURE_BYTES:
            raise DecodeError("a signature has 64 bytes", peer=sender, phase="unmask")
        signing.verify(self._state.roster.key(sender), body.account, body.account_signature)
        key = unmasking.answer_key(batch.secrets[sender], setup, sender, current.round_id)
        plain = aead.open_(key, body.sealed, body.account)
        answer = decode_body(plain, answer_decoder, sender)
        setup.check_ranks(body.complaints, setup.neighbours[rank], sender)
        complaints = batch.complaints.get(rank, tuple(body.complaints))
        dealers = (d for d in setup.neighbours[rank] if listed(batch.members, d) and d not in complaints)
        held = sorted([rank, *dealers])
        seeds, keys = unmasking.split_neighbours(held, current.survivors, current.participants)
        opened = unmasking.read_answer(answer, seeds, keys, setup.rounds, sender)
        self._note_complaints(sender, body.complaints)
        current.answer_frames[sender] = frame
        current.answers[rank] = opened
        current.signatures[sender] = body.account_signature
