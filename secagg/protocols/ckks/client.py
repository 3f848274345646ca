"""The client of the ckks protocol: one request in, one encrypted update out.

Theory of operation. A `ClientState` holds the key holder's present key and the view of the round in progress. A request is
checked whole before anything changes. The randomness of an upload is drawn from the operating system when the update is first
protected and kept only while its round is the one in progress, so that the same update gives the same frames again and another
one is refused: ciphertexts of two updates under one randomness would give their difference away. A state that was rolled back
draws anew. Before a header leaves, the memory has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from secagg.errors import AuthenticationError, EquivocationError, PeerError, StateError
from secagg.hazmat.agreement import KeyPair, check_public_key
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.rlwe import PublicKey
from secagg.protocols.accounts import context_digest, participants_digest
from secagg.protocols.ckks import frozen
from secagg.protocols.ckks.client_state import ENCRYPTED, ClientRound, ClientState, HeldKey
from secagg.protocols.ckks.messages import (
    EncryptedHeader,
    EncryptedRequest,
    Kind,
    check_ranks,
    decoders,
    make_chunk,
    pad_key,
    read_key,
)
from secagg.protocols.ckks.transitions import ClientEvent, RoundState
from secagg.protocols.memory import Forgetful, Memory
from secagg.protocols.party import INTENT, commit, intend
from secagg.protocols.secret import Secret
from secagg.protocols.upload import Upload
from secagg.wire import SERVER, Envelope, decode_body, decode_frame, open_envelope

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["CkksClient", "EncryptedUpload"]

SEED_BYTES = 32


class EncryptedUpload(Upload):
    """An `Upload`, and what its ciphertexts are made with.

    Attributes
    ----------
    public : PublicKey
    key : bytes
        16 bytes of randomness for this upload. Secret.
    pad : bytes or None
        16 bytes, agreed with the key holder. Secret.
    """

    def __init__(
        self,
        public: PublicKey,
        keys: tuple[bytes, bytes | None],
        secrets: tuple[bytes, bytes],
        progress: tuple[bytes, bool],
        frame: Callable[[int, int, memoryview], tuple[bytes, bytes]],
        still: Callable[[], None],
        begin: Callable[[bytes], None],
        finish: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(secrets, progress, frame, still, begin, finish)
        self.public = public
        self.key, self.pad = keys


class CkksClient(Secret):
    """One client's state across the keys and rounds of a session."""

    def __init__(
        self,
        params: Params,
        me: str,
        identity: Identity,
        roster: Roster,
        entropy: Callable[[int], bytes],
        session: bytes | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._state = ClientState(
            params, me, identity, roster, entropy, memory or Forgetful(), session, provisional=session is None
        )

    # -- what the facade sees -------------------------------------------------------------------------------------

    @property
    def session(self) -> bytes | None:
        """The session id; until an update was submitted, that of the last request."""
        return self._state.session

    @property
    def awaiting(self) -> int | None:
        """The round an update is asked for, or None."""
        current = self._state.round
        if current is None:
            return None
        return current.round_id if current.machine.state is RoundState.AWAITING or current.resubmit else None

    @property
    def pending(self) -> bool:
        """Whether frames wait to be taken."""
        return bool(self._state.out)

    def take_outbox(self) -> list[bytes]:
        """Return and forget the frames to send, oldest first."""
        out, self._state.out = self._state.out, []
        return out

    def send(self, frames: list[bytes]) -> None:
        """Queue the frames of a finished upload."""
        self._state.out += frames

    def freeze(self) -> bytes:
        """Return everything but the frames to send, as bytes. Secret: for sealing only."""
        return frozen.freeze(self._state)

    def thaw(self, data: bytes) -> None:
        """Take the state that `freeze` returned, and let what the memory knows of later frames stand.

        Raises
        ------
        DecodeError
            Not such bytes.
        """
        frozen.thaw(self._state, data)

    # -- the request ----------------------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """Take one frame of the server's; state changes only if all of it holds."""
        state = self._state
        kind, outer = decode_frame(frame, max_bytes=state.params.max_frame_bytes)
        if kind != Kind.ENCRYPTED_REQUEST or not isinstance(outer, Envelope) or outer.sender != SERVER:
            raise PeerError("not a request of the server's", peer="server")
        if state.session not in (None, outer.session) and not state.provisional:
            raise AuthenticationError("frame of another session", peer="server")
        payload = open_envelope(kind, outer, state.roster.server)
        body: Any = decode_body(payload, decoders[Kind.ENCRYPTED_REQUEST], SERVER)
        self._requested(body, outer.session)

    def _requested(self, body: EncryptedRequest, session: bytes) -> None:
        state = self._state
        if body.params_hash != state.params.hash:
            raise AuthenticationError("the server asks under other Params than ours", peer="server", phase=ENCRYPTED)
        key = self._key(body, session)
        current = state.round if state.session == session else None
        if current is not None and current.round_id == body.round_id:
            self._again(current, body)
            return
        if not 0 <= body.round_id < 1 << 63 or body.round_id <= state.floor(session):
            raise PeerError("round id does not increase", peer="server", phase=ENCRYPTED)
        self._check_participants(body)
        view = participants_digest(key.hash, body.round_id, (state.roster.ids[rank] for rank in body.participants))
        current = ClientRound(body.round_id, list(body.participants), view, key_hash=key.hash)
        if state.memory.recall(session, body.round_id, ENCRYPTED) is not None:
            raise PeerError("an update of this round has left already", peer="server", phase=ENCRYPTED)
        begun = state.memory.recall(session, body.round_id, INTENT)
        if begun is not None:
            current.intent = begun.mark
        current.machine.fire(ClientEvent.REQUEST)
        state.session, state.key, state.round, state.own_floor = session, key, current, body.round_id

    def _again(self, current: ClientRound, body: EncryptedRequest) -> None:
        """Let an identical request have the identical reply."""
        if current.participants != body.participants or current.key_hash != body.key_hash:
            raise EquivocationError(
                "the same round again with other participants or another key", peer="server", phase=ENCRYPTED
            )
        current.resubmit = current.machine.state is RoundState.SUBMITTED

    def _key(self, body: EncryptedRequest, session: bytes) -> HeldKey:
        """Return the key a request names, its announcement checked if it is new."""
        state = self._state
        held = state.key if state.session == session else None
        if held is not None and held.hash == body.key_hash:
            key = held
        elif body.key is None:
            raise AuthenticationError("a request under a key that we were not shown", peer="server", phase=ENCRYPTED)
        else:
            key = self._new_key(body, session, held)
        if not key.covers(body.round_id):
            raise PeerError("the round is not one of this key's", peer="server", phase=ENCRYPTED)
        return key

    def _new_key(self, body: EncryptedRequest, session: bytes, held: HeldKey | None) -> HeldKey:
        state = self._state
        frame = body.key or b""
        told, key_hash = read_key(frame, session, state.roster, state.params.max_frame_bytes)
        if key_hash != body.key_hash:
            raise AuthenticationError("the key is not the one the request names", peer="server", phase=ENCRYPTED)
        if told.params_hash != state.params.hash or told.rounds != state.params.rounds_per_setup:
            raise AuthenticationError("the key was made under other Params than ours", peer="server", phase=ENCRYPTED)
        if told.roster_hash != state.roster.hash():
            raise AuthenticationError("the key was made for another roster than ours", peer="server", phase=ENCRYPTED)
        if held is not None and told.first_round == held.body.first_round:
            raise EquivocationError("a second key for the same rounds", peer="server", phase=ENCRYPTED)
        if held is not None and told.first_round < held.body.first_round:
            raise PeerError("a key of earlier rounds", peer="server", phase=ENCRYPTED)
        check_public_key(told.channel_key)
        public = PublicKey.from_bytes(state.params.cipher_plan.ring, told.public_key)
        return HeldKey(told, key_hash, frame, public)

    def _check_participants(self, body: EncryptedRequest) -> None:
        state = self._state
        check_ranks(body.participants, range(len(state.roster)), "server")
        if not state.params.min_clients <= len(body.participants) <= state.params.max_participants:
            raise PeerError("number of participants is outside Params", peer="server", phase=ENCRYPTED)
        if state.roster.ids.index(state.me) not in body.participants:
            raise PeerError("an update is asked of us but we are no participant", peer="server", phase=ENCRYPTED)

    # -- the upload -----------------------------------------------------------------------------------------------

    def begin_upload(self, context: bytes) -> EncryptedUpload:
        """Return key, randomness and framer of the awaited update; nothing is committed yet.

        Raises
        ------
        StateError
            No update is awaited.
        """
        state = self._state
        current, key, session = state.round, state.key, state.session
        if current is None or key is None or session is None or self.awaiting is None:
            raise StateError("no update is awaited; receive() the server's request first")
        # Nothing was made with the present one that could have left; or what has left was made by a state that is gone.
        if not current.seed or not (current.intent or current.header):
            current.seed = state.entropy(SEED_BYTES)
        round_id, seed = current.round_id, current.seed
        secrets = (hkdf(seed, "rounding", length=16), hkdf(seed, "intent", length=32))
        pad, channel = self._pad(key, session, round_id, seed)

        def frame(segment: int, index: int, payload: memoryview) -> tuple[bytes, bytes]:
            return make_chunk(session, state.me, (round_id, segment, index), key.hash, payload, state.identity.sign)

        def finish(tag: bytes) -> bytes:
            still()
            body = EncryptedHeader(
                round_id, state.params.hash, key.hash, current.participants_hash, context_digest(context), channel, tag
            )
            header = commit(state, session, current, ENCRYPTED, Kind.ENCRYPTED_HEADER, body)
            state.provisional = False
            return header

        def begin(mark: bytes) -> None:
            still()
            intend(state, session, current, mark)
            state.provisional = False

        def still() -> None:
            if state.round is not current or self.awaiting is None:
                raise StateError("the round moved on while its update was being protected")

        keys = (hkdf(seed, "ckks-encrypt", length=16), pad)
        progress = (current.intent, bool(current.header))
        return EncryptedUpload(key.public, keys, secrets, progress, frame, still, begin, finish)

    def _pad(self, key: HeldKey, session: bytes, round_id: int, seed: bytes) -> tuple[bytes | None, bytes]:
        """Return the pad's key and our half of its agreement; neither where clients and server follow the protocol."""
        if not self._state.params.padded:
            return None, b""
        pair = KeyPair.from_private_bytes(hkdf(seed, "ckks-channel", length=32))
        shared = pair.agree(key.body.channel_key)
        return pad_key(shared, session, key.hash, round_id, self._state.me), pair.public_bytes
