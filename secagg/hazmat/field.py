"""The field of the shares, p = 2**61 - 1, and how secrets become limbs of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg.errors import InputError

__all__ = [
    "ELEMENT_BYTES",
    "LIMB_BYTES",
    "P",
    "from_limbs",
    "is_canonical",
    "limb_count",
    "limbs",
    "reduce_128",
]

P = 2**61 - 1
LIMB_BYTES = 7
ELEMENT_BYTES = 8

_P = np.uint64(P)
_BITS = np.uint64(61)


def limb_count(nbytes: int) -> int:
    """Return how many limbs hold a secret of `nbytes`; InputError unless `nbytes` is 1 or more."""
    if nbytes < 1:
        raise InputError(f"a secret has at least one byte, not {nbytes}")
    return -(-nbytes // LIMB_BYTES)


def limbs(secret: bytes) -> npt.NDArray[np.uint64]:
    """Return a secret as 7-byte little-endian limbs, each below 2**56 and so below p.

    Parameters
    ----------
    secret : bytes
        At least one byte.

    Returns
    -------
    ndarray of uint64, 1-D
        ``ceil(len(secret) / 7)`` limbs, the last one padded with zeros at its high end. Secret; the caller's.
    """
    if not isinstance(secret, bytes):
        raise InputError(f"a secret must be bytes, got {type(secret).__name__}")
    count = limb_count(len(secret))
    wide = np.zeros((count, ELEMENT_BYTES), dtype=np.uint8)
    flat = np.zeros(count * LIMB_BYTES, dtype=np.uint8)
    flat[: len(secret)] = np.frombuffer(secret, dtype=np.uint8)
    wide[:, :LIMB_BYTES] = flat.reshape(count, LIMB_BYTES)
    return wide.view("<u8").reshape(count).astype(np.uint64, copy=False)


def from_limbs(values: npt.NDArray[np.uint64], nbytes: int) -> bytes:
    """Return the secret of `nbytes` that `limbs` gave these values for.

    Raises
    ------
    InputError
        Not the number of limbs of `nbytes`, a limb of 2**56 or more, or bits beyond `nbytes`: no secret has
        these limbs.
    """
    count = limb_count(nbytes)
    if values.dtype != np.uint64 or values.shape != (count,):
        raise InputError(f"a secret of {nbytes} bytes has {count} limbs of uint64")
    wide = np.ascontiguousarray(values).astype("<u8", copy=False).view(np.uint8).reshape(count, ELEMENT_BYTES)
    flat = wide[:, :LIMB_BYTES].tobytes()
    if wide[:, LIMB_BYTES:].any() or any(flat[nbytes:]):
        raise InputError(f"limbs hold more than {nbytes} bytes")
    return flat[:nbytes]


def is_canonical(values: npt.NDArray[np.uint64]) -> bool:
    """Return whether every value is below p; not constant-time, so for shares as they came from the wire."""
    return bool((values < _P).all())


def reduce_128(data: bytes) -> npt.NDArray[np.uint64]:
    """Return one field element for every 16 bytes: the little-endian integer mod p.

    Uniform bytes give elements within 2**-66 of uniform. Branch-free in the data. Secret if the data is.

    Raises
    ------
    InputError
        A length that is no multiple of 16.
    """
    if len(data) % 16:
        raise InputError(f"field elements are drawn from 16 bytes each, not from {len(data)} in all")
    words = np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False).reshape(-1, 2)
    low, high = _fold(words[:, 0]), _fold(words[:, 1])
    # 2**64 = 8 (mod p), and times 8 is a rotation of 61-bit words by three.
    rotated = ((high << np.uint64(3)) & _P) | (high >> np.uint64(58))
    return _fold(low + rotated)


def _fold(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    partial = (values & _P) + (values >> _BITS)
    folded: npt.NDArray[np.uint64] = partial - _P * (partial >= _P).astype(np.uint64)
    return folded
