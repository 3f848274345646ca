"""AES-128-CTR of the `cryptography` package (OpenSSL), one key at a time, added with numpy."""

from __future__ import annotations

from importlib import metadata

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["NAME", "VERSION", "CtrMasks"]

NAME, VERSION = "cryptography", metadata.version("cryptography")


class CtrMasks:
    """Applies masks; its buffers are made once, so that only the work is timed."""

    def __init__(self, nbytes: int, stream_id: int) -> None:
        self._zeros, self._buffer = bytes(nbytes), bytearray(nbytes + 15)
        self._counter = stream_id.to_bytes(8, "big") + bytes(8)

    def apply(self, acc: np.ndarray, keys: np.ndarray, signs: np.ndarray, w: int) -> None:
        """Add every key's keystream, with its sign, to `acc`, modulo 2^w."""
        stream = np.frombuffer(self._buffer, dtype=acc.dtype, count=len(acc))
        for key, sign in zip(keys, signs, strict=True):
            encryptor = Cipher(algorithms.AES(key.tobytes()), modes.CTR(self._counter)).encryptor()
            encryptor.update_into(self._zeros, self._buffer)
            (np.add if sign > 0 else np.subtract)(acc, stream, out=acc)
        if w < 8 * acc.itemsize:
            np.bitwise_and(acc, (1 << w) - 1, out=acc)
