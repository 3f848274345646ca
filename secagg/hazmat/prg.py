"""The mask generator: AES-128-CTR keystreams, their use as masks, and the keyed shuffle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from secagg import _kernels
from secagg.errors import InputError
from secagg.hazmat.guard import exactly

__all__ = ["SEED_BYTES", "apply_masks", "expand", "joined", "permutation"]

SEED_BYTES = 16
_WORD_BYTES = 8
_BLOCK_BYTES = 16


def expand(key: bytes, stream_id: int, nbytes: int, *, start: int = 0) -> bytes:
    """Return `nbytes` of the keystream of (key, stream id).

    Parameters
    ----------
    key : bytes
        16 bytes, secret.
    stream_id : int
        In [0, 2**64); the first half of every counter block.
    nbytes : int
        0 or more.
    start : int
        Byte of the keystream to begin with.

    Raises
    ------
    InputError
        A value out of range.
    """
    if nbytes < 0 or start < 0:
        raise InputError(f"cannot expand to {nbytes} bytes from byte {start}")
    block, within = divmod(start, _BLOCK_BYTES)
    made = _kernels.keystream(exactly(key, SEED_BYTES, "seed"), _stream(stream_id), block, within + nbytes)
    return made[within:]


def _stream(stream_id: int) -> int:
    if not 0 <= stream_id < 1 << 64:
        raise InputError(f"stream id {stream_id} is outside [0, 2**64)")
    return stream_id


def apply_masks(
    acc: npt.NDArray[np.unsignedinteger],
    keys: Sequence[bytes],
    signs: Sequence[int],
    stream_id: int,
    start: int,
    w: int,
) -> None:
    """Add the keystreams of all `keys`, each with its sign, to `acc` in place, modulo 2**w.

    Parameters
    ----------
    acc : ndarray, 1-D, the lane dtype of `w`, C-contiguous
        Changed in place.
    keys : sequence of bytes
        16 bytes each, secret. None at all leaves `acc` as it is.
    signs : sequence of int
        +1 or -1 for each key.
    stream_id, start : int
        The segment, and the index within it of ``acc[0]``.
    w : int
        Bits of a value, 1 to 64.

    Raises
    ------
    InputError
        Shapes, types or values out of range; `acc` is unchanged.

    Notes
    -----
    One pass over `acc`, whatever the number of keys. The joined copy of the keys is wiped.
    """
    with joined(keys, signs) as (rows, plus_or_minus):
        _kernels.mask_apply(acc, rows, plus_or_minus, _stream(stream_id), start, w)


@contextmanager
def joined(keys: Sequence[bytes], signs: Sequence[int]) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]]:
    """Give mask keys and signs as the kernels take them; the joined copy of the keys is wiped afterwards.

    Raises
    ------
    InputError
        As `apply_masks`, of keys and signs.
    """
    if len(keys) != len(signs):
        raise InputError(f"{len(keys)} keys but {len(signs)} signs")
    if any(sign not in (1, -1) for sign in signs):
        raise InputError("a mask's sign is +1 or -1")
    for key in keys:
        exactly(key, SEED_BYTES, "seed")
    rows = np.frombuffer(bytearray().join(keys), dtype=np.uint8).reshape(len(keys), SEED_BYTES)
    try:
        yield rows, np.array(signs, dtype=np.int8)
    finally:
        rows.fill(0)


def permutation(key: bytes, n: int) -> list[int]:
    """Return the permutation of ``range(n)`` that `key` determines, uniform for a uniform key.

    Parameters
    ----------
    key : bytes
        16 bytes; public or secret.
    n : int
        0 or more.

    Notes
    -----
    Fisher-Yates from i = n-1 down to 1. For each i, 64-bit little-endian words of the keystream of stream 0
    are taken in order, those of at least ``floor(2**64 / (i+1)) * (i+1)`` passed over, and j = word mod
    (i+1). Time depends on `key` only through rejections, which are rarer than n / 2**64.
    """
    exactly(key, SEED_BYTES, "shuffle key")
    if n < 0:
        raise InputError(f"cannot permute {n} items")
    order = list(range(n))
    words = np.frombuffer(expand(key, 0, _WORD_BYTES * n), dtype="<u8").tolist()
    at = 0
    for i in range(n - 1, 0, -1):
        size = i + 1
        limit = (1 << 64) // size * size
        while True:
            if at == len(words):
                # Rejections used the spare word up: read the stream twice as far.
                words = np.frombuffer(expand(key, 0, 2 * _WORD_BYTES * at), dtype="<u8").tolist()
            word = words[at]
            at += 1
            if word < limit:
                break
        j = word % size
        order[i], order[j] = order[j], order[i]
    return order
