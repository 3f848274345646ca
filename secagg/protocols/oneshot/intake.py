"""The server's intake: frames of clients and members in any order, each refused unless all of it holds."""

from __future__ import annotations

from functools import partial
from typing import Any

from secagg.errors import AuthenticationError, DecodeError, InputError, PeerError
from secagg.hazmat import aead, signing
from secagg.protocols.accounts import upload_tag
from secagg.protocols.oneshot import merkle, sharing
from secagg.protocols.oneshot.checks import check_header
from secagg.protocols.oneshot.messages import (
    Kind,
    MaskedHeader,
    MemberKey,
    Reveal,
    answer_key,
    decoders,
    verify_chunk,
)
from secagg.protocols.oneshot.setup import Setup, check_member_key
from secagg.protocols.oneshot.state import Batch, Round, ServerState
from secagg.protocols.oneshot.transitions import ServerPhase
from secagg.protocols.serving import admit
from secagg.protocols.signed import check_place, check_ranks, signer
from secagg.wire import HOLDER, Chunk, decode_body, open_envelope

__all__ = ["Intake"]

KINDS = (Kind.MEMBER_KEY, Kind.MASKED_HEADER, Kind.REVEAL)


class Intake:
    """Takes frames into a `ServerState`."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def receive(self, frame: bytes, carrier: str | None = None) -> str:
        """Take one frame and return its authenticated sender; state changes only if all of it holds."""
        state = self._state
        known = partial(_known, state)
        kind, outer, key = admit(frame, carrier, known, state.session, state.phase, state.params.max_frame_bytes)
        sender = outer.sender
        if isinstance(outer, Chunk):
            self._take_chunk(outer, key)
            return sender
        if kind not in KINDS:
            raise PeerError("not a client's frame", peer=sender, phase=state.phase)
        payload = open_envelope(kind, outer, key)
        body: Any = decode_body(payload, decoders[Kind(kind)], sender)
        match body:
            case MemberKey():
                self._take_key(sender, bytes(frame), body)
            case MaskedHeader():
                self._take_header(sender, bytes(frame), body)
            case Reveal():
                self._take_answer(sender, bytes(frame), body)
        return sender

    # -- keys -----------------------------------------------------------------------------------------------------

    def _take_key(self, sender: str, frame: bytes, body: MemberKey) -> None:
        batch, _ = self._state.now(ServerPhase.KEYS, sender)
        if sender not in batch.crew:
            raise PeerError("no key was asked of this client", peer=sender, phase="keys")
        asked = batch.request
        told = (body.first_round, body.rounds, body.params_hash, body.roster_hash, body.server_key)
        if told != (asked.first_round, asked.rounds, asked.params_hash, asked.roster_hash, asked.server_key):
            raise AuthenticationError("a key that was not asked for", peer=sender, phase="keys")
        if sender in batch.keys:
            self._state.twice(sender, batch.keys[sender] == frame)
            return
        check_member_key(body, sender)
        if body.channel_key in batch.seen:
            raise AuthenticationError("a public key is used twice", peer=sender, phase="keys")
        batch.seen.add(body.channel_key)
        batch.keys[sender] = frame

    # -- masked ---------------------------------------------------------------------------------------------------

    def _uploader(self, sender: str) -> tuple[Batch, Setup, Round]:
        self._state.now(ServerPhase.MASKED, sender)
        batch, setup, current = self._state.setup()
        if self._state.roster.ids.index(sender) not in current.participants:
            raise PeerError("no update was asked of this client", peer=sender, phase="masked")
        if sender in current.excluded:
            raise PeerError("this client's upload was refused already", peer=sender, phase="masked")
        return batch, setup, current

    def _take_chunk(self, chunk: Chunk, verify_key: bytes) -> None:
        sender = chunk.sender
        _, setup, current = self._uploader(sender)
        if chunk.round_id != current.round_id:
            raise PeerError("chunk of another round", peer=sender, phase="masked")
        check_place(chunk, self._state.bulk.chunks(), sender)
        content = verify_chunk(chunk, setup.hash, verify_key)
        place, kept = (chunk.segment, chunk.index), current.kept[sender]
        if place in kept:
            self._state.twice(sender, kept[place] == content)
            return
        try:
            self._state.bulk.add(sender, *place, chunk.payload)
        except InputError as error:
            raise PeerError(str(error), peer=sender, phase="masked") from None
        kept[place] = content
        self._try_complete(sender)

    def _take_header(self, sender: str, frame: bytes, body: MaskedHeader) -> None:
        batch, setup, current = self._uploader(sender)
        check_header(body, self._state.params, setup, current.round_id, current.participants_hash, sender)
        if sender in current.headers:
            self._state.twice(sender, current.headers[sender][0] == frame)
            return
        batch.shown.add(sender)
        current.headers[sender] = (frame, body)
        self._try_complete(sender)

    def _try_complete(self, sender: str) -> None:
        _, setup, current = self._state.setup()
        kept, header, bulk = current.kept[sender], current.headers.get(sender), self._state.bulk
        if header is None or len(kept) != sum(map(len, bulk.chunks())):
            return
        body = header[1]
        same = upload_tag(kept[place] for place in sorted(kept)) == body.tag
        reason = "" if same else "it does not match its signed header"
        if not reason:
            last = len(bulk.chunks()) - 1
            sealed = b"".join(bytes(data) for place, data in sorted(bulk.uploaded(sender)) if place[0] == last)
            found = merkle.tree(cut(sealed, len(setup.ids)))
            current.trees[sender] = found  # of which the committee is shown paths
            if found[-1][0] != body.shares_root:
                reason = "its shares are not those of its signed header"
        if not reason:
            try:
                bulk.fold(sender, body.context_hash)
            except InputError as error:
                reason = str(error)
        if reason:
            current.excluded.add(sender)
            bulk.discard(sender)
            raise AuthenticationError(f"upload refused: {reason}", peer=sender, phase="masked")
        current.complete[sender] = body.context_hash

    # -- reveal ---------------------------------------------------------------------------------------------------

    def _take_answer(self, sender: str, frame: bytes, body: Reveal) -> None:
        state = self._state
        state.now(ServerPhase.REVEAL, sender)
        batch, setup, current = state.setup()
        if sender not in setup.ids:
            raise PeerError("no answer was asked of this client", peer=sender, phase="reveal")
        if body.round_id != current.round_id or body.account != current.account:
            raise AuthenticationError("answer to another account of the round", peer=sender, phase="reveal")
        if sender in current.answer_frames:
            state.twice(sender, current.answer_frames[sender] == frame)
            return
        if len(body.account_signature) != signing.SIGNATURE_BYTES:
            raise DecodeError("a signature has 64 bytes", peer=sender, phase="reveal")
        signing.verify(state.roster.key(sender), body.account, body.account_signature)
        check_ranks(body.complaints, current.survivors, sender)
        place = setup.ids.index(sender)
        if body.complaints:
            if body.sealed:
                raise DecodeError("an answer beside complaints", peer=sender, phase="reveal")
            current.complaints[sender] = tuple(state.roster.ids[rank] for rank in body.complaints)
        else:
            shared = batch.pair.agree(setup.bodies[place].channel_key)
            key = answer_key(shared, state.session, setup.hash, current.round_id, sender)
            plain = aead.open_(key, body.sealed, body.account)
            current.answers[place] = sharing.read_share(plain, state.params, sender)
        current.answer_frames[sender] = frame
        current.signatures[sender] = body.account_signature


def _known(state: ServerState, sender: str) -> bytes:
    if sender == HOLDER:
        raise AuthenticationError("sender is not in the roster", peer=sender, phase=state.phase)
    return signer(state.roster, sender)


def cut(sealed: bytes, count: int) -> list[bytes]:
    """Return the sealed shares of one upload, one for each member."""
    box = len(sealed) // count
    return [sealed[at * box : (at + 1) * box] for at in range(count)]
