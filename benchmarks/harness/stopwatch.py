"""Where the time of a protocol step goes: functions of the package timed from outside, each without what it calls."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

__all__ = ["Stopwatch"]


class Stopwatch:
    """Adds up the seconds and calls of chosen functions, by name, excluding those of other chosen functions inside them."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._inside: list[float] = []

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - begin
                self.seconds[name] += spent - self._inside.pop()
                self.calls[name] += 1
                if self._inside:
                    self._inside[-1] += spent

        return run

    @contextlib.contextmanager
    def watching(
        self, functions: dict[str, Callable[..., Any]], methods: dict[str, tuple[type, str]]
    ) -> Iterator[None]:
        """Time every call of these functions, whichever module of the package they were imported into, and methods."""
        with contextlib.ExitStack() as stack:
            for name, function in functions.items():
                timed = self._timed(name, function)
                for module in [m for key, m in sys.modules.items() if key.partition(".")[0] == "secagg"]:
                    for attribute, value in list(vars(module).items()):
                        if value is function:
                            stack.enter_context(mock.patch.object(module, attribute, timed))
            for name, (owner, attribute) in methods.items():
                timed = self._timed(name, getattr(owner, attribute))
                # A plain function, so that it binds as the method did.
                stack.enter_context(mock.patch.object(owner, attribute, _method(timed)))
            yield


def _method(timed: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return timed(self, *args, **kwargs)

    return call
