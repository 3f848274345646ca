"""What holds secrets in memory is never pickled or copied by accident."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

import msgspec

__all__ = ["Secret", "SecretStruct"]


class Secret:
    """Base of objects whose fields are secret: pickling and copying raise TypeError."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets and cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        self.__reduce_ex__(4)

    def __deepcopy__(self, memo: object, /) -> NoReturn:
        self.__reduce_ex__(4)


class SecretStruct(msgspec.Struct, frozen=True):
    """Base of structs whose fields are secret: they have no telling repr, and pickling and copying raise TypeError."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets and cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        self.__reduce__()

    def __deepcopy__(self, memo: object, /) -> NoReturn:
        self.__reduce__()
