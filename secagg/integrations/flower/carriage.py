"""Frames in Flower's messages, and an exchange that polls for itself.

A message of ours holds a ConfigRecord of settings and an ArrayRecord of frames: arrays, since Flower splits large ones into
chunks where a carrier has a limit. On the way to a node the strategy's own records may lie beside them; on the way back nothing
else is let through.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from secagg.errors import InputError

__all__ = ["FRAMES", "SETTINGS", "Carrier", "error_reply", "frames_of", "records", "settings_of", "strip"]

SETTINGS, FRAMES = "secagg", "secagg-frames"
REFUSED = 6  # Flower's code for a mod whose precondition failed
_FRAME = "secagg frame"
MAX_FRAMES = 1 << 20


def records(settings: Mapping[str, Any], frames: Sequence[bytes] = ()) -> dict[str, Any]:
    """Return the two records that carry settings and frames."""
    arrays = ArrayRecord({str(i): Array("uint8", (len(frame),), _FRAME, frame) for i, frame in enumerate(frames)})
    return {SETTINGS: ConfigRecord(dict(settings)), FRAMES: arrays}


def strip(content: RecordDict) -> RecordDict:
    """Return a message's content without ours."""
    return RecordDict({name: record for name, record in content.items() if name not in (SETTINGS, FRAMES)})


def settings_of(content: RecordDict) -> dict[str, Any] | None:
    """Return the settings of a message of ours, or None."""
    record = content.config_records.get(SETTINGS)
    return None if record is None else dict(record)


def frames_of(content: RecordDict) -> list[bytes]:
    """Return the frames of a message, in order.

    Raises
    ------
    InputError
        Something else is in their place.
    """
    record = content.array_records.get(FRAMES)
    if record is None:
        return []
    if len(record) > MAX_FRAMES or any(array.stype != _FRAME for array in record.values()):
        raise InputError("a message holds something else in place of frames")
    try:
        return [record[str(i)].data for i in range(len(record))]
    except KeyError:
        raise InputError("a message holds something else in place of frames") from None


def error_reply(reason: str, message: Message) -> Message:
    """Return an answer that says why there is none."""
    return Message(Error(REFUSED, reason), reply_to=message)


class Carrier:
    """Sends messages over a Grid and hands out replies as they come.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
    poll : float, optional
        Seconds between two looks for replies. Default: 0.005 in a simulation and 0.5 elsewhere.
    """

    def __init__(self, grid: Any, poll: float | None = None) -> None:
        self._grid = grid
        near = type(grid).__name__ == "InMemoryGrid"
        self._poll = (0.005 if near else 0.5) if poll is None else poll

    def exchange(self, messages: Iterable[Message], timeout: float | None) -> Iterator[Message]:
        """Yield replies until all are there or `timeout` seconds have passed; None waits for all.

        Notes
        -----
        A node that Flower knows to be gone is answered for by Flower, with an error.
        """
        awaited = {identifier for identifier in self._grid.push_messages(messages) if identifier}
        end = None if timeout is None else time.monotonic() + timeout
        while awaited:
            replies = list(self._grid.pull_messages(awaited))
            awaited.difference_update(reply.metadata.reply_to_message_id for reply in replies)
            yield from replies
            if not awaited or (end is not None and time.monotonic() >= end):
                return
            if not replies:
                time.sleep(self._poll)
