"""A server that keeps books of what it hands to a carrier and what comes back, and sends noise along when told to."""

from __future__ import annotations

import os
from typing import Any

from secagg.identity import Roster
from secagg.server import Server
from secagg.testing.site import mark

__all__ = ["WatchedServer"]


class WatchedServer(Server):
    """A `Server` that a carrier cannot tell from another one.

    Attributes
    ----------
    noise : bool
        Whether each frame goes out twice, in reverse order, after bytes that are no frame.
    handed : list of (str, str)
        Recipient and mark of every frame handed to the carrier in this round.
    back : list of (str or None, str)
        Sender, as the carrier named it, and mark of every frame that came back.
    closed : list of tuple of str
        Who was still missing at each closing of a phase.
    largest : int
        Bytes of the largest frame, either way.
    """

    def __init__(self, *args: Any, roster: Roster, **options: Any) -> None:
        super().__init__(*args, roster=roster, **options)
        self._names = tuple(roster)
        self.noise = False
        self.largest = 0
        self.begin()

    def begin(self) -> None:
        """Begin new books for another round."""
        self.handed: list[tuple[str, str]] = []
        self.back: list[tuple[str | None, str]] = []
        self.closed: list[tuple[str, ...]] = []

    def outbox(self) -> list[tuple[str | None, bytes]]:
        """Return the frames to send, with noise if that is on."""
        out = super().outbox()
        if self.noise:
            addressed = {to for to, _ in out}
            out = [(to, os.urandom(40)) for to in addressed] + out[::-1] + out
        for to, frame in out:
            self.largest = max(self.largest, len(frame))
            self.handed += [(name, mark(frame)) for name in (self._names if to is None else (to,))]
        return out

    def receive(self, frame: bytes, sender: str | None = None) -> str:
        """Take one frame from a client and return its authenticated sender."""
        self.back.append((sender, mark(frame)))
        self.largest = max(self.largest, len(frame))
        return super().receive(frame, sender)

    def close_phase(self) -> None:
        """End the open phase with what has arrived."""
        self.closed.append(self.missing)
        super().close_phase()
