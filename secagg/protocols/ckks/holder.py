"""The key holder of the ckks protocol: a public key out, one decryption a round.

Theory of operation. The holder makes one key for a batch of rounds. Of a round it decrypts one sum, and only one whose account
it has checked: signed headers of at least min_clients on the roster, all for this key, these participants and one model, and
either the sum that the server signed (over which lie pads that no other sum takes off, or a server follows the protocol) or the
uploads themselves, which it adds. Which sum that is stands in its memory before anything is decrypted; the same request
again has the same answer, another one none. Only the rounded integers leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from secagg.errors import (
    AbortError,
    AuthenticationError,
    DecodeError,
    EquivocationError,
    InputError,
    ParameterError,
    PeerError,
)
from secagg.hazmat import aead
from secagg.hazmat.agreement import check_public_key
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest
from secagg.protocols.accounts import (
    account_digest,
    holder_statement,
    participants_digest,
    survivors_digest,
    upload_tag,
)
from secagg.protocols.ckks import holder_state
from secagg.protocols.ckks.checks import check_header
from secagg.protocols.ckks.holder_state import HolderBulk, HolderParty, HolderRound, OwnKey, Waiting
from secagg.protocols.ckks.intake import check_place
from secagg.protocols.ckks.messages import (
    HASH_BYTES,
    Decrypted,
    DecryptRequest,
    EncryptedHeader,
    KeyRequest,
    Kind,
    check_ranks,
    decoders,
    make_chunk,
    pad_key,
    request_mark,
    result_commitment,
    result_key,
    signer,
    verify_chunk,
)
from secagg.protocols.ckks.transitions import HolderEvent, HolderState
from secagg.protocols.memory import Forgetful, Memory, Record
from secagg.protocols.secret import Secret
from secagg.wire import HOLDER, SERVER, Chunk, Envelope, decode_body, decode_frame, open_envelope, seal_envelope

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["CkksHolder"]

DECRYPT = "decrypt"  # the phase under which the memory keeps which sum of a round was decrypted


class CkksHolder(Secret):
    """The key holder's state across the keys and rounds of a session."""

    def __init__(
        self,
        params: Params,
        identity: Identity,
        roster: Roster,
        bulk: Callable[[], HolderBulk],
        entropy: Callable[[int], bytes],
        session: bytes | None = None,
        memory: Memory | None = None,
    ) -> None:
        if params.protocol != "ckks":
            raise ParameterError("only protocol='ckks' has a key holder")
        if roster.holder is None or identity.verify_key != roster.holder:
            raise ParameterError("identity is not the roster's key holder")
        self._new_bulk = bulk
        self._state = HolderParty(
            params, identity, roster, entropy, memory or Forgetful(), session, provisional=session is None
        )

    # -- what the facade sees -------------------------------------------------------------------------------------

    @property
    def session(self) -> bytes | None:
        """The session id; until a sum was decrypted, that of the last request."""
        return self._state.session

    @property
    def decrypted(self) -> HolderRound | None:
        """The round in progress once its sum is open, or None."""
        current = self._state.round
        return current if current is not None and current.machine.state is HolderState.DECRYPTED else None

    @property
    def key_hash(self) -> bytes:
        """What stands for the present key; empty if there is none."""
        return b"" if self._state.key is None else self._state.key.hash

    @property
    def pending(self) -> bool:
        """Whether frames wait to be taken."""
        return bool(self._state.out)

    def take_outbox(self) -> list[bytes]:
        """Return and forget the frames to send, oldest first."""
        out, self._state.out = self._state.out, []
        return out

    def freeze(self) -> bytes:
        """Return the state as bytes, without what an unfinished round has gathered. Secret: for sealing only."""
        return holder_state.freeze(self._state)

    def thaw(self, data: bytes) -> None:
        """Take the state that `freeze` returned; DecodeError for other bytes."""
        holder_state.thaw(self._state, data)

    def receive(self, frame: bytes) -> None:
        """Take one frame, the server's or one that it passes on; state changes only if all of it holds.

        Raises
        ------
        PeerError
            The frame was refused.
        AbortError
            The round cannot be decrypted; nothing was released, and never will be of this round.
        """
        state = self._state
        kind, outer = decode_frame(frame, max_bytes=state.params.max_frame_bytes)
        pinned = not (state.provisional and kind == Kind.KEY_REQUEST)
        if state.session not in (None, outer.session) and pinned:
            raise AuthenticationError("frame of another session", peer=outer.sender or "server")
        if isinstance(outer, Chunk):
            self._take_chunk(outer)
            return
        if kind not in (Kind.KEY_REQUEST, Kind.DECRYPT_REQUEST) or outer.sender != SERVER:
            raise PeerError("not a request of the server's", peer="server")
        payload = open_envelope(kind, outer, state.roster.server)
        body: Any = decode_body(payload, decoders[Kind(kind)], SERVER)
        match body:
            case KeyRequest():
                self._key_requested(body, outer.session)
            case DecryptRequest():
                self._decrypt_requested(body)

    # -- keys -----------------------------------------------------------------------------------------------------

    def _key_requested(self, body: KeyRequest, session: bytes) -> None:
        state = self._state
        key = state.key if state.session == session else None
        if body.params_hash != state.params.hash or body.rounds != state.params.rounds_per_setup:
            raise AuthenticationError("the server asks under other Params than ours", peer="server", phase="keys")
        if body.roster_hash != state.roster.hash():
            raise AuthenticationError("the server has another roster than ours", peer="server", phase="keys")
        if key is None or body.first_round != key.first_round:
            if not 0 <= body.first_round <= (1 << 63) - body.rounds or body.first_round <= state.floor(session):
                raise PeerError("a key for rounds that are over", peer="server", phase="keys")
            if key is not None and body.first_round < key.first_round:
                raise PeerError("a key for earlier rounds than the present one's", peer="server", phase="keys")
            key = OwnKey(state, session, body.first_round, state.entropy(holder_state.SEED_BYTES))
            state.own_floor = max(state.floor(session), body.first_round - 1)
            state.session, state.key, state.round, state.waiting = session, key, None, None
        state.out.append(key.frame)

    # -- decrypt --------------------------------------------------------------------------------------------------

    def _need_key(self, round_id: int, peer: str) -> tuple[OwnKey, bytes]:
        key, session = self._state.key, self._state.session
        if key is None or session is None:
            raise PeerError("no key was asked for yet", peer=peer, phase=DECRYPT)
        if not key.covers(round_id):
            raise PeerError("the round is not one of this key's", peer=peer, phase=DECRYPT)
        return key, session

    def _gather(self, session: bytes, round_id: int, peer: str) -> HolderRound:
        """Return the view of a round; a later round than the one in progress takes its place."""
        state = self._state
        current = state.round
        if current is not None and current.round_id == round_id:
            return current
        if current is not None and current.round_id > round_id:
            raise PeerError("a later round is being gathered", peer=peer, phase=DECRYPT)
        again = state.done is not None and state.done[0] == round_id
        if round_id <= state.floor(session) and not again:
            raise PeerError("round id does not increase", peer=peer, phase=DECRYPT)
        return HolderRound(round_id, self._new_bulk())

    def _take_up(self, current: HolderRound) -> None:
        """Let the chunks that waited for this round's request count, and forget the others."""
        waiting, self._state.waiting = self._state.waiting, None
        if waiting is None:
            return
        current.bulk = waiting.bulk
        senders = self._senders(current)
        for sender, round_id in waiting.rounds.items():
            if round_id == current.round_id and sender in senders:
                current.contents[sender] = waiting.contents[sender]
            else:
                current.bulk.discard(sender)

    def _decrypt_requested(self, body: DecryptRequest) -> None:
        state = self._state
        key, session = self._need_key(body.round_id, "server")
        if body.params_hash != state.params.hash or body.key_hash != key.hash:
            raise AuthenticationError("a request under other Params or another key", peer="server", phase=DECRYPT)
        current = self._gather(session, body.round_id, "server")
        if current.request is not None:
            if current.request != body:
                raise EquivocationError("a second, different request to decrypt", peer="server", phase=DECRYPT)
            state.out += current.frames
            return
        check_public_key(body.server_key)
        if body.server_key == key.channel.public_bytes:
            raise AuthenticationError("our own channel key, reflected", peer="server", phase=DECRYPT)
        if len(body.sum_tag) != (0 if state.params.recompute else HASH_BYTES):
            raise DecodeError(
                "a sum's tag has 32 bytes, and none where it is not the server's", peer="server", phase=DECRYPT
            )
        headers, participants, context = self._read_headers(body, key)
        account = account_digest(
            session, body.round_id, state.params.hash, key.hash, state.roster.hash(),
            participants_digest(key.hash, body.round_id, participants),
            survivors_digest(key.hash, body.round_id, {name: header.tag for name, header in headers.items()}), context,
        )  # fmt: skip
        mark = request_mark(account, body)
        if state.done is not None and state.done[0] == body.round_id and state.done[1] != mark:
            raise EquivocationError("another sum of this round was decrypted before", peer="server", phase=DECRYPT)
        current.request, current.headers, current.participants = body, headers, participants
        current.context, current.account, current.mark = context, account, mark
        self._take_up(current)
        state.round = current
        self._try_decrypt(current, key, session)

    def _read_headers(
        self, body: DecryptRequest, key: OwnKey
    ) -> tuple[dict[str, EncryptedHeader], tuple[str, ...], bytes]:
        """Return the survivors' headers, the participants' names and the common context, every signature and binding checked."""
        state = self._state
        ids, params = state.roster.ids, state.params
        check_ranks(body.participants, range(len(ids)), "server")
        if not params.min_clients <= len(body.participants) <= params.max_participants:
            raise PeerError("number of participants is outside Params", peer="server", phase=DECRYPT)
        if len(body.headers) < params.min_clients:
            raise PeerError("fewer survivors than min_clients", peer="server", phase=DECRYPT)
        participants = tuple(ids[rank] for rank in body.participants)
        view = participants_digest(key.hash, body.round_id, participants)
        order = {name: rank for rank, name in enumerate(participants)}
        headers: dict[str, EncryptedHeader] = {}
        last = -1
        for frame in body.headers:
            kind, outer = decode_frame(frame, max_bytes=params.max_frame_bytes)
            if kind != Kind.ENCRYPTED_HEADER or not isinstance(outer, Envelope) or outer.session != state.session:
                raise AuthenticationError("not a header of this session", peer="server", phase=DECRYPT)
            if order.get(outer.sender, -1) <= last:
                raise PeerError("survivors are unknown, repeated or out of order", peer="server", phase=DECRYPT)
            last = order[outer.sender]
            payload = open_envelope(kind, outer, signer(state.roster, outer.sender))
            header: Any = decode_body(payload, decoders[Kind.ENCRYPTED_HEADER], outer.sender)
            check_header(header, params, (key.hash, key.channel.public_bytes), body.round_id, view, outer.sender)
            headers[outer.sender] = header
        contexts = {header.context_hash for header in headers.values()}
        if len(contexts) != 1:
            raise AuthenticationError("survivors trained on different models", peer="server", phase=DECRYPT)
        return headers, participants, contexts.pop()

    def _take_chunk(self, chunk: Chunk) -> None:
        state, sender = self._state, chunk.sender
        peer = sender or "server"
        if state.params.recompute == (sender == SERVER) or sender == HOLDER:
            raise PeerError("not a chunk that this protocol has", peer=peer, phase=DECRYPT)
        verify_key = signer(state.roster, sender)
        key, session = self._need_key(chunk.round_id, peer)
        current = state.round
        asked = current is not None and current.round_id == chunk.round_id
        if current is not None and not asked and current.machine.state is HolderState.GATHERING:
            raise PeerError("chunk of another round than the one that is gathered", peer=peer, phase=DECRYPT)
        if current is not None and asked and sender not in self._senders(current):
            raise PeerError("chunk of a client that is not in the sum", peer=peer, phase=DECRYPT)
        if not asked and chunk.round_id <= state.floor(session):
            raise PeerError("chunk of a round that is over", peer=peer, phase=DECRYPT)
        held: Any = current if asked else state.waiting or Waiting(self._new_bulk())
        check_place(chunk, held.bulk.chunks(), peer)
        content = verify_chunk(chunk, key.hash, verify_key)
        if not asked:
            state.waiting = held
        fresh = not asked and held.rounds.get(sender, chunk.round_id) != chunk.round_id
        place, contents = (chunk.segment, chunk.index), {} if fresh else held.contents.get(sender, {})
        if place in contents:
            if contents[place] != content:
                raise EquivocationError("a second, different chunk", peer=peer, phase=DECRYPT)
            return
        if fresh:
            held.bulk.discard(sender)
            held.contents.pop(sender, None)
        try:
            held.bulk.add(sender, *place, chunk.payload)
        except InputError as error:
            raise PeerError(str(error), peer=peer, phase=DECRYPT) from None
        held.contents[sender] = contents | {place: content}
        if not asked:
            held.rounds[sender] = chunk.round_id
        if asked:
            self._try_decrypt(held, key, session)

    def _senders(self, current: HolderRound) -> tuple[str, ...]:
        return tuple(current.headers) if self._state.params.recompute else (SERVER,)

    def _try_decrypt(self, current: HolderRound, key: OwnKey, session: bytes) -> None:
        """Decrypt and answer once everything is here; before that, do nothing."""
        request, state = current.request, self._state
        count = sum(map(len, current.bulk.chunks()))
        senders = self._senders(current)
        if request is None or any(len(current.contents.get(sender, ())) != count for sender in senders):
            return
        # Whatever comes of it, no other sum of this round.
        state.own_floor, state.done = max(state.own_floor, current.round_id), (current.round_id, current.mark)
        try:
            current.frames = self._answer(current, request, key, session, senders)
        except BaseException as error:
            # A sum that could not be opened is not opened in another way: a second try would be a second question.
            state.round = state.done = None
            if isinstance(error, InputError | PeerError | AbortError):
                raise AbortError(str(error)) from None
            raise
        current.machine.fire(HolderEvent.DECRYPT)
        state.provisional = False
        state.out += current.frames

    def _answer(
        self, current: HolderRound, request: DecryptRequest, key: OwnKey, session: bytes, senders: tuple[str, ...]
    ) -> list[bytes]:
        state = self._state
        for sender in senders:
            contents = current.contents[sender]
            tag = request.sum_tag if sender == SERVER else current.headers[sender].tag
            if upload_tag(contents[place] for place in sorted(contents)) != tag:
                raise AbortError("what is to be summed is not what was signed for; nothing was released")
            current.bulk.fold(sender, current.context)
        made = Record(current.mark, digest("record", current.account), b"")
        if state.memory.record(session, current.round_id, DECRYPT, made) != made:
            raise AbortError("another sum of this round was decrypted before; nothing was released")
        pads = [
            pad_key(key.channel.agree(header.channel_key), session, key.hash, current.round_id, name)
            for name, header in current.headers.items()
            if state.params.padded
        ]
        current.salt = hkdf(key.seed, "ckks-result-salt", current.mark, length=HASH_BYTES)
        current.result_hash = result_commitment(current.salt, current.bulk.open(key.secret, pads, len(current.headers)))
        sealed_salt = b""
        frames, digests = [], []
        if state.params.reveal == "server":
            shared = key.channel.agree(request.server_key)
            sealing = result_key(shared, session, key.hash, current.mark)
            sealed_salt = _seal(key, sealing, current, current.salt, b"salt")
            for frame, content in self._results(current, key, sealing, session):
                frames.append(frame)
                digests.append(content)
        current.signature = state.identity.sign(holder_statement(current.account, current.result_hash))
        body = Decrypted(
            current.round_id, current.account, current.result_hash, current.signature, sealed_salt, upload_tag(digests)
        )
        return [seal_envelope(Kind.DECRYPTED, session, HOLDER, body, state.identity.sign), *frames]

    def _results(
        self, current: HolderRound, key: OwnKey, sealing: bytes, session: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the frames of the opened sum, sealed to the server, and the digest of each one's payload."""
        for (segment, index), plain in current.bulk.opened():
            sealed = memoryview(_seal(key, sealing, current, plain, b"%d/%d" % (segment, index)))
            at = (current.round_id, segment, index)
            yield make_chunk(session, HOLDER, at, key.hash, sealed, self._state.identity.sign)


def _seal(key: OwnKey, sealing: bytes, current: HolderRound, plain: bytes, place: bytes) -> bytes:
    """Return a part of the answer sealed to the server.

    The nonce is derived, so that a restarted holder's answer is the same byte for byte; what is sealed follows from the mark.
    """
    nonce = hkdf(key.seed, "ckks-result-nonce", current.mark, place, length=aead.NONCE_BYTES)
    return aead.seal(sealing, plain, place, lambda _: nonce)
