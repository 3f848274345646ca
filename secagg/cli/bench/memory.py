"""Peak memory of a party: what it allocates while it works, and what it keeps."""

from __future__ import annotations

import threading
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

__all__ = ["Meter", "resident"]

STATUS = Path("/proc/self/status")
SECONDS = 0.001
T = TypeVar("T")


def resident() -> int | None:
    """Return the anonymous memory of this process that is resident now; None where the system does not tell."""
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), None)


class Meter:
    """The most memory that one party of each kind had, beyond what it was given.

    A context. Python and numpy tell of every allocation; libraries in C++ do not, so for them `outside` looks at the memory of
    the whole process instead, while nothing but the party's work goes on.
    """

    def __init__(self, *, outside: bool = False) -> None:
        self._outside = outside
        self._kept: dict[str, int] = defaultdict(int)
        self.peaks: dict[str, int] = defaultdict(int)

    def __enter__(self) -> Self:
        if not self._outside:
            tracemalloc.start()
        return self

    def __exit__(self, *error: object) -> None:
        if not self._outside:
            tracemalloc.stop()

    def watch(self, kind: str, party: str, do: Callable[[], T], holding: int = 0) -> T:
        """Call `do`, and count what it takes at most, and what is left of it afterwards, as the party's."""
        before = self._now()
        with _Peak(outside=self._outside) as peak:
            made = do()
        self.peaks[kind] = max(self.peaks[kind], self._kept[party] + peak.most - before + holding)
        self._kept[party] += self._now() - before
        return made

    def _now(self) -> int:
        return (resident() or 0) if self._outside else tracemalloc.get_traced_memory()[0]


class _Peak:
    """The most memory between enter and exit."""

    def __init__(self, *, outside: bool) -> None:
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True) if outside else None

    def _look(self) -> None:
        while True:
            self.most = max(self.most, resident() or 0)
            if self._done.wait(SECONDS):
                break
        self.most = max(self.most, resident() or 0)

    def __enter__(self) -> Self:
        if self._thread is None:
            tracemalloc.reset_peak()
        else:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is None:
            self.most = tracemalloc.get_traced_memory()[1]
        else:
            self._done.set()
            self._thread.join()
