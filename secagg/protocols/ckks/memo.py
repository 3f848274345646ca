"""What a server's journal keeps of the rounds that are over, beside the holder's announcement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from secagg.errors import InputError

if TYPE_CHECKING:
    from secagg.protocols.ckks.state import ServerState

__all__ = ["Memo", "read_memo"]


class Memo(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The server between two rounds, less the key in use; public to whoever sees the traffic."""

    floor: int
    equivocations: dict[str, str]
    key: bool
    shown: list[str]

    @classmethod
    def of(cls, state: ServerState, floor: int) -> Memo:
        """Return what there is to keep of a state."""
        return cls(
            floor,
            dict(state.equivocations),
            state.key is not None,
            [] if state.key is None else sorted(state.key.shown),
        )

    def to_bytes(self) -> bytes:
        """Return the MessagePack form."""
        return msgspec.msgpack.encode(self)

    def fill(self, state: ServerState) -> None:
        """Put everything but the floor back into a state."""
        state.equivocations.clear()
        state.equivocations.update(self.equivocations)
        if not self.key:
            state.key = None
        elif state.key is not None:  # where a new key is asked for at once, the old one was not kept
            state.key.shown = set(self.shown)


def read_memo(data: bytes) -> Memo:
    """Return the memo of these bytes; InputError if they are none."""
    try:
        return msgspec.msgpack.decode(data, type=Memo)
    except msgspec.DecodeError:
        raise InputError("not a server's memo of this version") from None
