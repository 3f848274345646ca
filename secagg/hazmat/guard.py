"""Key objects that cannot leave the process by accident."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NoReturn, SupportsIndex

from secagg.errors import InputError

__all__ = ["KeyObject", "draw", "exactly"]


class KeyObject:
    """Base of objects that hold a private key: repr shows a public fingerprint, pickling and copying raise.

    A copy would outlive the erasure of the original, and a pickle would carry the key in clear.
    """

    __slots__ = ()

    def _public(self) -> bytes:
        raise TypeError(f"{type(self).__name__} has no public part")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {hashlib.sha256(self._public()).hexdigest()[:16]}>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a private key and cannot be pickled")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a private key and cannot be pickled")

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a private key and cannot be copied")

    def __deepcopy__(self, memo: object, /) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a private key and cannot be copied")


def exactly(value: bytes, length: int, what: str) -> bytes:
    """Return `value` if it is bytes of the given length, else raise InputError without its content."""
    if not isinstance(value, bytes) or len(value) != length:
        size = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise InputError(f"{what} must be bytes of length {length}, got {size}")
    return value


def draw(entropy: Callable[[int], bytes], length: int) -> bytes:
    """Return `length` bytes of `entropy`, refusing a source that returns any other amount."""
    return exactly(entropy(length), length, "output of the entropy source")
