"""What the servers of the protocols have in common in which a client sends one message a round, under somebody else's keys."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from secagg.errors import InputError
from secagg.protocols.rounds import check_participants, check_round_id, known
from secagg.protocols.serving import R, S, Serving

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params
    from secagg.protocols.serving import Intake

__all__ = ["OneMessageServer"]


class _Memo(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The server between two rounds, less the keys in use; public to whoever sees the traffic."""

    floor: int
    equivocations: dict[str, str]
    keys: bool
    shown: list[str]


class OneMessageServer(Serving[S, R]):
    """A server that asks for keys when none cover a round, then for updates, then for what opens their sum.

    A subclass says what its `_keys` are, whether they cover a round, how they are asked for, and how updates are.
    """

    _setup_phase: ClassVar[Enum]

    def __init__(
        self, params: Params, identity: Identity, roster: Roster, bulk: Callable[[], Any], state: S, intake: Intake,
        entropy: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        super().__init__(params, identity, roster, bulk, state, intake)
        self._entropy = entropy

    @property
    def setting_up(self) -> bool:
        """Whether the open phase belongs to a setup."""
        return self._machine.state is self._setup_phase

    def open_round(self, round_id: int, participants: Collection[str] | None, cohort: Collection[str] | None) -> None:
        """Ask for a round; keys are asked for first when none cover it."""
        check_round_id(round_id, self._floor)
        if cohort is not None:
            raise InputError(f"protocol={self._params.protocol!r} has no cohort; say who takes part with participants")
        wanted = known(self._roster, participants, "participants")
        check_participants(self._params, wanted)
        fresh = not self._covers(round_id)
        if fresh and round_id + self._params.rounds_per_setup > 1 << 63:
            raise InputError("the setup's last round would be beyond 2**63 - 1")
        self._machine.local(self._events.OPEN_KEYS)
        self._floor, self._wanted = round_id, wanted
        self._state.round = self._new_round(round_id)
        self._state.bulk = self._new_bulk()
        if fresh:
            asked = self._ask_keys(round_id)
            self._machine.fire(self._events.OPEN_KEYS)
            self._out += asked
        else:
            self._machine.fire(self._events.OPEN_ROUND)
            self._ask_updates()

    # -- what outlives a round, for a journal ---------------------------------------------------------------------

    def memo(self) -> bytes:
        """Return what outlives a round and does not follow from the signed keys."""
        keys = self._keys
        shown = [] if keys is None else sorted(keys.shown)
        return msgspec.msgpack.encode(_Memo(self._floor, dict(self.equivocations), keys is not None, shown))

    def recall(self, memo: bytes) -> None:
        """Between rounds: know what was known when `memo` was made; InputError if it is none of this session's."""
        try:
            kept = msgspec.msgpack.decode(memo, type=_Memo)
        except msgspec.DecodeError:
            raise InputError("not a server's memo of this version") from None
        self._floor = kept.floor
        self.equivocations.clear()
        self.equivocations.update(kept.equivocations)
        if not kept.keys:
            self.forget()
        elif self._keys is not None:  # where new keys are asked for at once, the old ones were not kept
            self._keys.shown = set(kept.shown)

    # -- what a subclass has --------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _keys(self) -> Any:
        """The keys in use or asked for, with the names `shown` of who has them; None if there are none."""

    @abstractmethod
    def _covers(self, round_id: int) -> bool:
        """Whether the keys are a round's."""

    @abstractmethod
    def _new_round(self, round_id: int) -> Any:
        """Return the state of a round that nobody has answered in."""

    @abstractmethod
    def _ask_keys(self, round_id: int) -> list[tuple[str | None, bytes]]:
        """Forget the keys before and return the requests for others."""

    @abstractmethod
    def _ask_updates(self) -> None:
        """Ask the participants."""
