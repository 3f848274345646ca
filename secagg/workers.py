"""Threads for the bulk work: kernels release the GIL, and no byte depends on how many threads there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from secagg.errors import ParameterError

__all__ = ["Workers", "usable_cores"]

STEP = 8  # ranges are cut at multiples of this many values, where packed values begin on a byte whatever their width
LEAST = 1 << 16  # values that are worth a thread
MOST = 1024


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class Workers:
    """Runs a function over ranges, on `threads` threads.

    Parameters
    ----------
    threads : int or None
        1 runs everything in the caller's thread; None takes every core that this process may use.

    Raises
    ------
    ParameterError
        Not an integer from 1 to 1024.

    Notes
    -----
    Threads are started at the first range that is worth one, and end with this object. Calls do not nest.
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is None:
            threads = usable_cores()
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST:
            raise ParameterError(f"threads must be an integer from 1 to {MOST}, or None for all usable cores")
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def split(self, count: int, unit: int = STEP) -> list[tuple[int, int]]:
        """Return up to `threads` ranges that cover ``range(count)``, cut at multiples of `unit`, each worth a thread."""
        if not count:
            return []
        parts = max(1, min(self.threads, count // LEAST))
        step = -(-count // parts // unit) * unit
        return [(at, min(at + step, count)) for at in range(0, count, step)]

    def each(self, run: Callable[[int, int], None], ranges: Iterable[tuple[int, int]]) -> None:
        """Call `run` for every range and return when all are done; the first error is raised."""
        todo = list(ranges)
        if self.threads == 1 or len(todo) < 2:
            for start, stop in todo:
                run(start, stop)
            return
        if self._pool is None or self._process != os.getpid():  # a fork leaves the threads behind
            self._process = os.getpid()
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="secagg")
        futures = [self._pool.submit(run, start, stop) for start, stop in todo]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()  # those that have not begun
            wait(futures)  # nothing still runs on what the caller may wipe or use again
        for future in futures:
            if not future.cancelled():
                future.result()
