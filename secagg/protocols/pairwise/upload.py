"""One update on its way out, masked."""

from __future__ import annotations

from collections.abc import Callable

from secagg.protocols.upload import Upload

__all__ = ["MaskedUpload"]


class MaskedUpload(Upload):
    """An `Upload`, and the masks that apply to it.

    Attributes
    ----------
    keys, signs : list
        The mask seeds, secret, and +1 or -1 for each.
    mac_key : bytes
        32 bytes, secret: what authenticates its chunks to the server.
    """

    def __init__(
        self,
        keys: list[bytes],
        signs: list[int],
        mac_key: bytes,
        secrets: tuple[bytes, bytes],
        progress: tuple[bytes, bool],
        frame: Callable[[int, int, memoryview], tuple[bytes, bytes]],
        still: Callable[[], None],
        intend: Callable[[bytes], None],
        finish: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(secrets, progress, frame, still, intend, finish)
        self.keys = keys
        self.signs = signs
        self.mac_key = mac_key
