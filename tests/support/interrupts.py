"""Exceptions that come from nowhere: Ctrl-C, a handler of a signal, a thread that is told to end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Interrupt", "interrupted"]


class Interrupt(BaseException):
    """What a signal handler may raise between any two instructions."""


def finalizing(frame: FrameType | None) -> bool:
    """Whether a finalizer runs: Python reports what is raised there, and drops it."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


@contextlib.contextmanager
def interrupted(number: int) -> Iterator[list[bool]]:
    """Raise at the entry of the `number`-th function of the engine that the block calls; yields whether it was reached."""
    left = number
    hit: list[bool] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if (
            event == "call"
            and f"{frame.f_globals.get('__name__', '')}.".startswith("secagg.")
            and not finalizing(frame)
        ):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                hit.append(True)
                raise Interrupt

    sys.setprofile(watch)
    try:
        yield hit
    finally:
        sys.setprofile(None)
