"""Anonymous memory of this process: what it allocated, without the files that are mapped into it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["PeakMemory", "anonymous_bytes"]

_STATUS = Path("/proc/self/status")
SECONDS = 0.001


def anonymous_bytes() -> int:
    """Return the anonymous memory that is resident now (Linux)."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("this system does not tell anonymous memory")


class PeakMemory:
    """The most anonymous memory between enter and exit, looked at every millisecond and whenever `look` is called."""

    def __init__(self) -> None:
        self.before = 0
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def look(self) -> None:
        """Take one sample."""
        self.peak = max(self.peak, anonymous_bytes())

    def _watch(self) -> None:
        while not self._done.wait(SECONDS):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        self.before = self.peak = anonymous_bytes()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.look()
        self._done.set()
        self._thread.join()
