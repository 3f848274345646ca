"""What must outlive a client's process: which frames have left it, so that none gets a second, different one.

The machines ask a `Memory` before a frame of theirs may leave. `Forgetful` serves clients that keep no ledger; the durable
one is `secagg.store.Ledger`.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from secagg.errors import PeerError

__all__ = ["UNREADABLE", "Forgetful", "Memory", "Record"]

UNREADABLE = (
    msgspec.DecodeError, ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError, PeerError,
)  # fmt: skip
"""What reading a saved state raises where it is none of ours: any value may stand in any field. Never a memory's AbortError."""


class Record(NamedTuple):
    """A frame that may have left: what it answers, its digest, and its bytes (empty where only the digest is kept)."""

    mark: bytes
    digest: bytes
    frame: bytes


class Memory(Protocol):
    """Remembers, per session, each phase's one frame, and which rounds are over."""

    def floor(self, session: bytes) -> int:
        """Return the highest round that is over, because a frame of a later one was recorded; -1 if there is none."""

    def recall(self, session: bytes, round_id: int, phase: str) -> Record | None:
        """Return the frame that stands for one phase of one round."""

    def record(self, session: bytes, round_id: int, phase: str, record: Record) -> Record:
        """Make `record` durable unless the phase has one already; return the record that stands.

        Raises
        ------
        AbortError
            It could not be made durable, or the round is over: nothing may leave.
        InputError
            Something of another update of the round may have left: nothing may leave.
        """


class Forgetful:
    """A memory that lasts no longer than the process: whatever is offered stands."""

    def floor(self, session: bytes) -> int:
        """Return -1."""
        del session
        return -1

    def recall(self, session: bytes, round_id: int, phase: str) -> Record | None:
        """Return None."""
        del session, round_id, phase
        return None

    def record(self, session: bytes, round_id: int, phase: str, record: Record) -> Record:
        """Return `record`."""
        del session, round_id, phase
        return record
