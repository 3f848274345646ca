"""What the server's machine of every protocol is to its facade: names, phase, outbox, and the signing of requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from secagg.errors import AuthenticationError, EquivocationError
from secagg.protocols.secret import Secret
from secagg.wire import SERVER, Chunk, Envelope, decode_frame, seal_envelope

if TYPE_CHECKING:
    from enum import IntEnum

    import msgspec

    from secagg.identity import Identity, Roster
    from secagg.params import Params
    from secagg.protocols.machine import Machine

__all__ = ["Serving", "admit", "twice"]


class _State(Protocol):
    session: bytes
    bulk: Any
    machine: Machine[Any, Any]
    round: Any
    equivocations: dict[str, str]


class _Intake(Protocol):
    def receive(self, frame: bytes, carrier: str | None = None) -> str:
        """Take one frame."""


S = TypeVar("S", bound=_State)


class Serving(Secret, Generic[S]):
    """A server's state across the batches and rounds of a session; its subclasses move it from phase to phase."""

    def __init__(
        self, params: Params, identity: Identity, roster: Roster, bulk: Callable[[], Any], state: S, intake: _Intake
    ) -> None:
        self._params, self._identity, self._roster = params, identity, roster
        self._new_bulk = bulk
        self._state, self._machine, self._intake = state, state.machine, intake
        self._floor = -1  # highest round id ever used
        self._wanted: tuple[str, ...] = ()
        self._out: list[tuple[str | None, bytes]] = []

    @property
    def session(self) -> bytes:
        """The session id."""
        return self._state.session

    @property
    def bulk(self) -> Any:
        """The bulk side of the round in progress."""
        return self._state.bulk

    @property
    def equivocations(self) -> dict[str, str]:
        """Senders that said two different things, and when."""
        return self._state.equivocations

    @property
    def phase(self) -> str:
        """The open phase by name."""
        return str(self._machine.state.value)

    @property
    def round_id(self) -> int | None:
        """The round in progress, or None."""
        found: int | None = None if self._state.round is None else self._state.round.round_id
        return found

    def take_outbox(self) -> list[tuple[str | None, bytes]]:
        """Return and forget the frames to send; a recipient of None means everybody."""
        out, self._out = self._out, []
        return out

    def receive(self, frame: bytes, carrier: str | None = None) -> str:
        """Take one frame and return its authenticated sender; state changes only if all of it holds.

        A frame that names another sender than the carrier does is refused.
        """
        return self._intake.receive(frame, carrier)

    def _sign(self, kind: IntEnum, body: msgspec.Struct) -> bytes:
        return seal_envelope(kind, self.session, SERVER, body, self._identity.sign)


def admit(
    frame: bytes, carrier: str | None, known: Callable[[str], bytes], session: bytes, phase: str, max_bytes: int
) -> tuple[int, Envelope | Chunk, bytes]:
    """Return a frame's kind, outer structure and its sender's verify key; nothing in it is authenticated yet.

    Raises
    ------
    PeerError
        It is no frame, names another sender than the carrier does or one whom `known` refuses, or is of another session.
    """
    kind, outer = decode_frame(frame, max_bytes=max_bytes)
    sender = outer.sender
    if carrier is not None and sender != carrier:
        raise AuthenticationError("the carrier names another sender than the frame", peer=carrier, phase=phase)
    if sender == SERVER:
        raise AuthenticationError("sender is not in the roster", phase=phase)
    key = known(sender)
    if outer.session != session:
        raise AuthenticationError("frame of another session", peer=sender, phase=phase)
    return kind, outer, key


def twice(state: _State, sender: str, same: bool) -> None:
    """Let an identical second frame pass; record and refuse a different one."""
    if not same:
        phase = str(state.machine.state.value)
        state.equivocations[sender] = f"two different frames in phase {phase}"
        raise EquivocationError("a second, different frame", peer=sender, phase=phase)
