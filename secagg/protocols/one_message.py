"""The client of every protocol in which it speaks once a round: one request in, one protected update out.

Theory of operation. A `ClientState` holds the basis of the present batch of rounds (the key holder's key, the committee's keys)
and the view of the round in progress. A request is checked whole before anything changes. The randomness of an upload is drawn
from the operating system when the update is first protected and kept only while its round is the one in progress, so that the
same update gives the same frames again and another one is refused: two updates under one randomness would give their difference
away. A state that was rolled back draws anew. Before a header leaves, the memory has it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from secagg.errors import AuthenticationError, DecodeError, EquivocationError, PeerError, StateError
from secagg.hazmat.kdf import hkdf
from secagg.protocols.accounts import participants_digest
from secagg.protocols.machine import Machine
from secagg.protocols.memory import UNREADABLE, Forgetful, Memory
from secagg.protocols.party import INTENT, Party, Submission, commit, intend
from secagg.protocols.secret import Secret, SecretStruct
from secagg.protocols.signed import check_ranks
from secagg.wire import SERVER, Chunk, Envelope, decode_body, decode_frame, open_envelope

if TYPE_CHECKING:
    from enum import IntEnum

    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["CLIENT_ROUND", "Basis", "Begun", "ClientEvent", "ClientState", "OneMessageClient", "RoundState"]

SEED_BYTES = 32


class RoundState(Enum):
    """Where a client's current round stands."""

    IDLE = "idle"
    AWAITING = "awaiting"
    SUBMITTED = "submitted"


class ClientEvent(Enum):
    """What moves a client."""

    REQUEST = "request"
    SUBMIT = "submit"


CLIENT_ROUND = {
    (RoundState.IDLE, ClientEvent.REQUEST): RoundState.AWAITING,
    (RoundState.AWAITING, ClientEvent.SUBMIT): RoundState.SUBMITTED,
}


class Basis(Protocol):
    """What a batch of rounds rests on: somebody's public keys, bound to session, Params and roster."""

    @property
    def hash(self) -> bytes:
        """32 bytes that stand for it."""

    @property
    def first_round(self) -> int:
        """First round of the batch."""

    @property
    def rounds(self) -> int:
        """Rounds in the batch."""

    def frozen(self) -> bytes:
        """Return it as bytes; public."""


@dataclass(repr=False)
class ClientRound(Submission):
    """The client's view of the round in progress."""

    basis_hash: bytes = b""
    seed: bytes = b""
    machine: Machine[RoundState, ClientEvent] = field(default_factory=lambda: Machine(CLIENT_ROUND, RoundState.IDLE))

    def submitted(self, header: bytes, body: Any) -> None:
        """Keep the header that left."""
        self.machine.fire(ClientEvent.SUBMIT)
        super().submitted(header, body)


@dataclass(repr=False)
class ClientState(Party):
    """Everything the client knows."""

    basis: Any = None
    round: ClientRound | None = None


class Begun(NamedTuple):
    """What an upload is made with: its round, the basis, the randomness, and what it must call. Secret."""

    session: bytes
    round: ClientRound
    basis: Any
    seed: bytes
    secrets: tuple[bytes, bytes]
    progress: tuple[bytes, bool]
    still: Callable[[], None]
    intend: Callable[[bytes], None]

    def __repr__(self) -> str:
        return f"<Begun round {self.round.round_id}>"


class OneMessageClient(Secret):
    """One client's state across the batches and rounds of a session; what differs between protocols is in its subclasses."""

    phase: str  # the phase under which the memory keeps an upload's header
    request_kind: IntEnum
    header_kind: IntEnum
    decoders: Any

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

    @abstractmethod
    def _basis_hash(self, body: Any) -> bytes:
        """Return the hash of the basis that a request or header names."""

    @abstractmethod
    def _read_basis(self, body: Any, session: bytes) -> Basis:
        """Return the basis that a request brings, all of it checked; AuthenticationError if it brings none."""

    @abstractmethod
    def _thaw_basis(self, data: bytes, session: bytes) -> Basis:
        """Return the basis whose `frozen` these bytes are."""

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

    # -- the request ----------------------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """Take one frame of the server's; state changes only if all of it holds."""
        kind, outer = decode_frame(frame, max_bytes=self._state.params.max_frame_bytes)
        self.take(kind, outer)

    def take(self, kind: int, outer: Envelope | Chunk) -> None:
        """Take one decoded frame, as `receive` does."""
        state = self._state
        if kind != self.request_kind or not isinstance(outer, Envelope) or outer.sender != SERVER:
            raise PeerError("not a request of the server's", peer="server")
        if state.session not in (None, outer.session) and not state.provisional:
            raise AuthenticationError("frame of another session", peer="server")
        payload = open_envelope(kind, outer, state.roster.server)
        self._requested(decode_body(payload, self.decoders[self.request_kind], SERVER), outer.session)

    def _requested(self, body: Any, session: bytes) -> None:
        state = self._state
        if body.params_hash != state.params.hash:
            raise AuthenticationError("the server asks under other Params than ours", peer="server", phase=self.phase)
        basis = self._basis(body, session)
        current = state.round if state.session == session else None
        if current is not None and current.round_id == body.round_id:
            self._again(current, body)
            return
        if not 0 <= body.round_id < 1 << 63 or body.round_id <= state.floor(session):
            raise PeerError("round id does not increase", peer="server", phase=self.phase)
        self._check_participants(body)
        view = participants_digest(basis.hash, body.round_id, (state.roster.ids[rank] for rank in body.participants))
        current = ClientRound(body.round_id, list(body.participants), view, basis_hash=basis.hash)
        if state.memory.recall(session, body.round_id, self.phase) is not None:
            raise PeerError("an update of this round has left already", peer="server", phase=self.phase)
        begun = state.memory.recall(session, body.round_id, INTENT)
        if begun is not None:
            current.intent = begun.mark
        current.machine.fire(ClientEvent.REQUEST)
        state.session, state.basis, state.round, state.own_floor = session, basis, current, body.round_id

    def _again(self, current: ClientRound, body: Any) -> None:
        """Let an identical request have the identical reply."""
        if current.participants != body.participants or current.basis_hash != self._basis_hash(body):
            raise EquivocationError(
                "the same round again with other participants or another key", peer="server", phase=self.phase
            )
        current.resubmit = current.machine.state is RoundState.SUBMITTED

    def _basis(self, body: Any, session: bytes) -> Basis:
        """Return the basis a request names, checked if it is new."""
        state = self._state
        held: Basis | None = state.basis if state.session == session else None
        if held is not None and held.hash == self._basis_hash(body):
            basis = held
        else:
            basis = self._read_basis(body, session)
            if held is not None and basis.first_round == held.first_round:
                raise EquivocationError("a second key for the same rounds", peer="server", phase=self.phase)
            if held is not None and basis.first_round < held.first_round:
                raise PeerError("a key of earlier rounds", peer="server", phase=self.phase)
        if not basis.first_round <= body.round_id < basis.first_round + basis.rounds:
            raise PeerError("the round is not one of this key's", peer="server", phase=self.phase)
        return basis

    def _check_participants(self, body: Any) -> None:
        state = self._state
        check_ranks(body.participants, range(len(state.roster)), "server")
        if not state.params.min_clients <= len(body.participants) <= state.params.max_participants:
            raise PeerError("number of participants is outside Params", peer="server", phase=self.phase)
        if state.me not in state.roster.ids or state.roster.ids.index(state.me) not in body.participants:
            raise PeerError("an update is asked of us but we are no participant", peer="server", phase=self.phase)

    # -- the upload -----------------------------------------------------------------------------------------------

    def _begin(self) -> Begun:
        """Return what an upload of the awaited round is made with; nothing is committed yet.

        Raises
        ------
        StateError
            No update is awaited.
        """
        state = self._state
        current, basis, session = state.round, state.basis, state.session
        if current is None or basis is None or session is None or self.awaiting is None:
            raise StateError("no update is awaited; receive() the server's request first")
        # Nothing was made with the present one that could have left; or what has left was made by a state that is gone.
        if not current.seed or not (current.intent or current.header):
            current.seed = state.entropy(SEED_BYTES)

        def still() -> None:
            if state.round is not current or self.awaiting is None:
                raise StateError("the round moved on while its update was being protected")

        def begin(mark: bytes) -> None:
            still()
            intend(state, session, current, mark)
            state.provisional = False

        secrets = (hkdf(current.seed, "rounding", length=16), hkdf(current.seed, "intent", length=32))
        return Begun(
            session, current, basis, current.seed, secrets, (current.intent, bool(current.header)), still, begin
        )  # fmt: skip

    def _commit(self, begun: Begun, body: msgspec.Struct) -> bytes:
        """Return the signed header of an upload once the memory has it."""
        begun.still()
        header = commit(self._state, begun.session, begun.round, self.phase, self.header_kind, body)
        self._state.provisional = False
        return header

    # -- snapshots ------------------------------------------------------------------------------------------------

    def freeze(self) -> bytes:
        """Return everything but the frames to send, as bytes. Secret: for sealing only."""
        state, current, kept = self._state, self._state.round, None
        if current is not None:
            # Randomness that no update is tied to yet stays out: two copies of this state could use it for two updates.
            seed = current.seed if current.header or current.intent else b""
            kept = _Round(
                current.round_id, current.participants, current.machine.state.value, current.intent, current.header,
                current.resubmit, seed,
            )  # fmt: skip
        basis = None if state.basis is None else state.basis.frozen()
        return msgspec.msgpack.encode(_State(state.session, state.provisional, state.own_floor, basis, kept))

    def thaw(self, data: bytes) -> None:
        """Take the state that `freeze` returned, and let what the memory knows of later frames stand.

        Raises
        ------
        DecodeError
            Not such bytes.
        """
        state = self._state
        try:
            kept = _decoder.decode(data)
            state.session, state.provisional, state.own_floor = kept.session, kept.provisional, kept.floor
            if kept.session is None or kept.basis is None:
                return
            state.basis = self._thaw_basis(kept.basis, kept.session)
            if kept.round is not None:
                self._thaw_round(kept.session, kept.round)
        except UNREADABLE:
            raise DecodeError("not a snapshot of this version") from None

    def _thaw_round(self, session: bytes, kept: _Round) -> None:
        state = self._state
        if kept.round_id <= state.memory.floor(session):
            return
        sent = state.memory.recall(session, kept.round_id, self.phase)
        if sent is not None and sent.frame != kept.header:
            return  # an update left after this state was saved, and its randomness is gone
        names = (state.roster.ids[rank] for rank in kept.participants)
        view = participants_digest(state.basis.hash, kept.round_id, names)
        body: Any = None
        if kept.header:
            _, outer = decode_frame(kept.header, max_bytes=len(kept.header))
            if not isinstance(outer, Envelope):
                raise DecodeError("the snapshot holds no header")
            body = decode_body(outer.payload, self.decoders[self.header_kind], outer.sender)
        state.round = ClientRound(
            kept.round_id, kept.participants, view, kept.intent, kept.header, body, kept.resubmit, state.basis.hash, kept.seed,
            Machine(CLIENT_ROUND, RoundState(kept.phase)),
        )  # fmt: skip
        begun = state.memory.recall(session, kept.round_id, INTENT)
        if begun is not None:
            state.round.intent = begun.mark


class _Frozen(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base: an array of exactly its fields."""


class _Round(_Frozen, frozen=True):
    round_id: int
    participants: list[int]
    phase: str
    intent: bytes
    header: bytes
    resubmit: bool
    seed: bytes


class _State(_Frozen, frozen=True):
    session: bytes | None
    provisional: bool
    floor: int
    basis: bytes | None
    round: _Round | None


_decoder = msgspec.msgpack.Decoder(_State)
