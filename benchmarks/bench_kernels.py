"""The mask kernel against the obvious way: a keystream from `cryptography`, one key at a time, added with numpy."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg._kernels import lane_dtype, mask_apply

if TYPE_CHECKING:
    from conftest import Paired

KEYS = 32
LENGTH = 1 << 20
STREAM = 1


def with_cryptography(
    acc: np.ndarray, keys: np.ndarray, signs: np.ndarray, w: int, zeros: bytes, buffer: bytearray
) -> None:
    """Do what `mask_apply` does from value 0 on, with a buffer of the caller's so that only the work is timed."""
    stream = np.frombuffer(buffer, dtype=acc.dtype, count=len(acc))
    for key, sign in zip(keys, signs, strict=True):
        counter = STREAM.to_bytes(8, "big") + bytes(8)
        Cipher(algorithms.AES(key.tobytes()), modes.CTR(counter)).encryptor().update_into(zeros, buffer)
        if sign > 0:
            np.add(acc, stream, out=acc)
        else:
            np.subtract(acc, stream, out=acc)
    if w < 8 * acc.itemsize:
        np.bitwise_and(acc, (1 << w) - 1, out=acc)


@pytest.mark.parametrize("w", [16, 23, 32, 64])
def test_mask_apply(w: int, paired: Paired) -> None:
    """Masks of many keys in one pass, against the keystream of each key and an addition."""
    """One pass over the vector for all keys, against one pass for each."""
    rng = np.random.default_rng(w)
    lane = lane_dtype(w)
    keys = rng.integers(0, 256, (KEYS, 16), dtype=np.uint8)
    signs = rng.choice(np.array([-1, 1], dtype=np.int8), KEYS)
    ours = np.zeros(LENGTH, dtype=lane)
    theirs = np.zeros(LENGTH, dtype=lane)
    zeros, buffer = bytes(ours.nbytes), bytearray(ours.nbytes + 15)
    paired(
        lambda: mask_apply(ours, keys, signs, STREAM, 0, w),
        lambda: with_cryptography(theirs, keys, signs, w, zeros, buffer),
        # Each has run once; from here on they part, which changes no time.
        equal=lambda: np.array_equal(ours, theirs),
        nbytes=KEYS * ours.nbytes,
        about=f"mask_apply, {KEYS} keys, {LENGTH} values of {w} bits, cryptography {metadata.version('cryptography')}",
    )
