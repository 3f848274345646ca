"""Refusals that leave a facade without the frames below it.

The frames under a facade's method hold mask seeds, shares and values as their variables. Whoever logs a traceback with variables,
as reporters of errors do by default, would send them to wherever such reports are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from secagg.errors import InternalError, SecAggError

__all__ = ["frameless"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def frameless(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return `method` so that what it raises on purpose says what was wrong and nothing of how far it had come.

    Parameters
    ----------
    method : callable
        Of a facade. If it returns an iterator, that one's errors are treated alike.

    Notes
    -----
    The error keeps its type, text, attributes and notes. It loses the frames below, and the errors that it was raised from or
    after, which have frames of their own. `InternalError` keeps them: a bug cannot be found without. So does what is raised by
    accident.
    """

    @wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            made = method(*args, **kwargs)
        except InternalError:
            raise
        except SecAggError as error:
            refused = error
        else:
            return _each(made) if isinstance(made, Iterator) else made  # type: ignore[return-value]
        del args, kwargs  # the update among them
        raise _bare(refused) from None

    return call


def _each(items: Iterator[Any] | None) -> Iterator[Any]:
    item = None
    while items is not None:
        try:
            item = next(items)
        except StopIteration:
            return
        except InternalError:
            raise
        except SecAggError as error:
            refused = error
        else:
            yield item
            continue
        item = items = None
        raise _bare(refused) from None


def _bare(error: SecAggError) -> SecAggError:
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
