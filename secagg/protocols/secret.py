"""What holds secrets in memory is never pickled or copied by accident."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

__all__ = ["Secret"]


class Secret:
    """Base of objects whose fields are secret: pickling and copying raise TypeError."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets and cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        self.__reduce_ex__(4)

    def __deepcopy__(self, memo: object, /) -> NoReturn:
        self.__reduce_ex__(4)
