"""What a server's journal keeps of the rounds that are over, beside the frames of the setup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from secagg.errors import InputError

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.protocols.pairwise.state import ServerState

__all__ = ["Memo", "read_memo"]


class Memo(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The server between two rounds, less its setup's frames; public to whoever sees the traffic."""

    floor: int
    cohort: list[str]
    equivocations: dict[str, str]
    setup: bool
    acknowledged: list[int]
    complaints: dict[int, list[int]]

    @classmethod
    def of(cls, state: ServerState, floor: int, cohort: tuple[str, ...]) -> Memo:
        """Return what there is to keep of a state."""
        batch = state.batch
        return cls(
            floor, list(cohort), dict(state.equivocations), batch is not None,
            [] if batch is None else sorted(batch.acknowledged),
            {} if batch is None else {holder: list(batch.complaints[holder]) for holder in sorted(batch.complaints)},
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """Return the MessagePack form."""
        return msgspec.msgpack.encode(self)

    def fill(self, state: ServerState) -> None:
        """Put everything but floor and cohort back into a state."""
        state.equivocations.clear()
        state.equivocations.update(self.equivocations)
        if not self.setup:
            state.batch = None
        elif state.batch is not None:  # where a new setup follows at once, the old one was not kept
            state.batch.acknowledged = set(self.acknowledged)
            state.batch.complaints = {holder: tuple(of) for holder, of in self.complaints.items()}


def read_memo(data: bytes, roster: Roster) -> Memo:
    """Return the memo of these bytes; InputError if they are none."""
    try:
        memo = msgspec.msgpack.decode(data, type=Memo)
    except msgspec.DecodeError:
        raise InputError("not a server's memo of this version") from None
    if not set(memo.cohort) <= set(roster.ids):
        raise InputError("a memo of another roster")
    return memo
