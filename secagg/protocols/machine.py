"""One table-driven state machine that does not know whose role it plays.

Every transition of every role stands in a table ``{(state, event): next_state}``; an event without a row is out of order.
Whose fault that is, the caller knows: a local call out of order is a `StateError`, a frame out of order a `PeerError`.
Diagrams in the documentation are drawn from the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from secagg.errors import PeerError, StateError

__all__ = ["Machine", "diagram"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


class Machine(Generic[S, E]):
    """A state and the table that moves it."""

    __slots__ = ("_table", "state")

    def __init__(self, table: Mapping[tuple[S, E], S], state: S) -> None:
        self._table = table
        self.state = state

    def allows(self, event: E) -> bool:
        """Whether `event` has a row in the present state."""
        return (self.state, event) in self._table

    def local(self, event: E) -> None:
        """Refuse a call of the caller's that is out of order, without moving."""
        if not self.allows(event):
            raise StateError(f"{event.value} is not possible while {self.state.value}")

    def remote(self, event: E, peer: str) -> None:
        """Refuse a peer's frame that is out of order, without moving."""
        if not self.allows(event):
            raise PeerError(f"{event.value} out of order", peer=peer, phase=str(self.state.value))

    def fire(self, event: E) -> None:
        """Move along the table's row."""
        self.local(event)
        self.state = self._table[self.state, event]


def diagram(table: Mapping[tuple[S, E], S]) -> str:
    """Return a Mermaid state diagram of a table."""
    rows = [f"    {a.value} --> {b.value}: {event.value}" for (a, event), b in table.items()]
    return "\n".join(["stateDiagram-v2", *rows])
