"""What a client is in every protocol: its names and memory, and the one upload it makes in a round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from secagg.errors import InputError
from secagg.hazmat.transcript import digest
from secagg.protocols.memory import Memory, Record
from secagg.protocols.secret import Secret
from secagg.wire import seal_envelope

if TYPE_CHECKING:
    import msgspec

    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["INTENT", "Party", "Submission", "commit", "intend"]

INTENT = "intent"  # the phase under which the memory keeps that chunks of one update may have left
ANOTHER_UPDATE = "another update was already submitted for this round; submit the same one or none"


@dataclass(repr=False)
class Party(Secret):
    """A client's names, its memory, and the frames that wait to be sent."""

    params: Params
    me: str
    identity: Identity
    roster: Roster
    entropy: Callable[[int], bytes]
    memory: Memory
    session: bytes | None = None
    provisional: bool = True  # until something shows that the session lives
    own_floor: int = -1  # highest round id that a setup or round has used, as far as this state knows
    out: list[bytes] = field(default_factory=list)

    def floor(self, session: bytes) -> int:
        """Return the highest round of a session that is over, or in progress as far as this state knows."""
        return max(self.own_floor if self.session == session else -1, self.memory.floor(session))

    def record(
        self, session: bytes, round_id: int, phase: str, frame: bytes, *, mark: bytes = b"", kept: bytes | None = None
    ) -> Record:
        """Make a frame durable before it leaves, by its digest and as `kept` says, and return the record that stands."""
        made = Record(mark, digest("record", frame), frame if kept is None else kept)
        return self.memory.record(session, round_id, phase, made)

    def recorded(self, session: bytes, round_id: int, phase: str, frame: bytes, *, mark: bytes = b"") -> bool:
        """Make a frame durable before it leaves; return whether it is the one that stands."""
        return self.record(session, round_id, phase, frame, mark=mark) == Record(mark, digest("record", frame), frame)


@dataclass(repr=False)
class Submission(Secret):
    """A client's view of a round as far as its upload goes."""

    round_id: int
    participants: list[int]
    participants_hash: bytes
    intent: bytes = b""
    header: bytes = b""
    body: Any = None
    resubmit: bool = False

    def submitted(self, header: bytes, body: Any) -> None:
        """Keep the header that left."""
        self.header, self.body = header, body


def intend(party: Party, session: bytes, current: Submission, mark: bytes) -> None:
    """Remember which update's chunks are about to leave, and refuse another one's with InputError.

    Which update, and for which participants under which keys: the same values among others would wear other masks, and the
    difference of the two is what a liar wants.
    """
    mark = digest("intended", mark, current.participants_hash)
    same = current.intent in (b"", mark)
    if not same or not party.recorded(session, current.round_id, INTENT, b"", mark=mark):
        raise InputError(ANOTHER_UPDATE)
    current.intent = mark


def commit(party: Party, session: bytes, current: Submission, phase: str, kind: IntEnum, body: msgspec.Struct) -> bytes:
    """Return the signed header of an upload once the memory has it; InputError if another one's was submitted."""
    header = seal_envelope(kind, session, party.me, body, party.identity.sign)
    same = current.body in (None, body)
    if not same or not party.recorded(session, current.round_id, phase, header, mark=current.intent):
        raise InputError(ANOTHER_UPDATE)
    if current.body is None:
        current.submitted(header, body)
    current.resubmit = False
    return header
