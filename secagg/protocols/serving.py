"""What the server's machine of every protocol is to its facade: names, phase, outbox, and the signing of requests."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from secagg.errors import AuthenticationError, EquivocationError, SecAggError
from secagg.protocols.secret import Secret
from secagg.wire import SERVER, Chunk, Envelope, decode_frame, seal_envelope

if TYPE_CHECKING:
    from enum import Enum, IntEnum

    import msgspec

    from secagg.identity import Identity, Roster
    from secagg.params import Params
    from secagg.protocols.machine import Machine

__all__ = ["Intake", "R", "S", "Serving", "admit", "twice"]


class _State(Protocol):
    session: bytes
    bulk: Any
    machine: Machine[Any, Any]
    round: Any
    equivocations: dict[str, str]


class Intake(Protocol):
    """What takes frames into a state."""

    def receive(self, frame: bytes, carrier: str | None = None) -> str:
        """Take one frame."""


S = TypeVar("S", bound=_State)
R = TypeVar("R")


class Serving(Secret, Generic[S, R]):
    """A server's state across the batches and rounds of a session; its subclasses move it from phase to phase.

    A subclass closes its phases in `_close`, which returns an R after the last, and knows of its setup whether it is
    `_unfinished` and how to `forget` it.
    """

    _events: ClassVar[Any]  # with ABORT and CLOSE
    _forgets: ClassVar[Enum | None] = None  # the phase whose failure takes the setup with it

    def __init__(
        self, params: Params, identity: Identity, roster: Roster, bulk: Callable[[], Any], state: S, intake: Intake
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
    def excluded(self) -> Collection[str]:
        """Clients whose upload was refused in the round in progress."""
        found: Collection[str] = () if self._state.round is None else self._state.round.excluded
        return found

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

    def close_phase(self) -> R | None:
        """End the open phase; return what the round leaves when it was the last.

        Raises
        ------
        AbortError
            Too few took part; the round is over and nothing was released.
        """
        self._machine.local(self._events.CLOSE)
        try:
            return self._close()
        except SecAggError:
            forgets = self._machine.state is self._forgets
            self.abort()
            if forgets:
                self.forget()
            raise

    def abort(self) -> None:
        """End the round without a result; its id is burned."""
        # A round that broke while it was opened has not moved the machine yet.
        if self._state.round is None or self.phase != "idle":
            self._machine.fire(self._events.ABORT)
        if self._unfinished:
            self.forget()
        self._state.round = None
        self._out.clear()
        self._state.bulk = self._new_bulk()

    @abstractmethod
    def forget(self) -> None:
        """Between rounds: know no setup, so that the next round runs one."""

    @abstractmethod
    def _close(self) -> R | None:
        """End the open phase."""

    @property
    @abstractmethod
    def _unfinished(self) -> bool:
        """Whether there is a setup that did not come to its end."""

    def _names(self, ranks: Collection[int]) -> list[str]:
        return [self._roster.ids[rank] for rank in ranks]

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
