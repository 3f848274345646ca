"""Shamir's threshold sharing over p = 2**61 - 1, all limbs and all holders in one call.

The field kernels are constant-time in secrets and coefficients; indices and weights are public.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secagg import _kernels
from secagg.errors import DecodeError, InputError
from secagg.hazmat import field
from secagg.hazmat.guard import draw

__all__ = ["check_share", "combine", "combine_many", "share_bytes", "split"]

_COEFFICIENT_BYTES = 16


def share_bytes(nbytes: int) -> int:
    """Return the length of a share of a secret of `nbytes`: 24 for 16, 40 for 32."""
    return field.ELEMENT_BYTES * field.limb_count(nbytes)


def check_share(share: bytes, nbytes: int) -> None:
    """Return if `share` has the form of a share of a secret of `nbytes`; its value may still be wrong.

    Raises
    ------
    DecodeError
        Another length, or a limb of p or more.
    """
    size = share_bytes(nbytes)
    if not isinstance(share, bytes) or len(share) != size:
        raise DecodeError(_wrong_length(nbytes, size))
    if not field.is_canonical(np.frombuffer(share, dtype="<u8")):
        raise DecodeError("a share's limb is not a canonical field element")


def _wrong_length(nbytes: int, size: int) -> str:
    return f"a share of a secret of {nbytes} bytes has {size} bytes"


def _indices(xs: Sequence[int]) -> tuple[int, ...]:
    indices = tuple(xs)
    for x in indices:
        if isinstance(x, bool) or not isinstance(x, int | np.integer) or not 0 < x < field.P:
            raise InputError("a share index is an integer in [1, p)")  # index 0 is the secret itself
    if len(set(indices)) != len(indices):
        raise InputError("share indices repeat")
    return indices


def split(
    secret: bytes, threshold: int, xs: Sequence[int], entropy: Callable[[int], bytes] = os.urandom
) -> list[bytes]:
    """Return one share for each index, any `threshold` of which give the secret back, and fewer nothing.

    Parameters
    ----------
    secret : bytes
        At least one byte; secret.
    threshold : int
        t, from 1 to the number of indices.
    xs : sequence of int
        Distinct, in [1, p); public.
    entropy : callable
        Called once, for 16 bytes a coefficient: of x, then of x**2, and so on, each over all limbs. An
        element is the little-endian integer mod p.

    Returns
    -------
    list of bytes
        In the order of `xs`: every limb as 8 little-endian bytes (24 for a 16-byte secret, 40 for 32).
        Secret.

    Raises
    ------
    InputError
        An index of 0, out of the field or repeated, a threshold out of range, an empty secret.

    Notes
    -----
    ``len(xs) * (t - 1) * ceil(len(secret) / 7)`` field multiplications; the coefficients are wiped.

    References
    ----------
    Shamir, How to share a secret, CACM 1979.
    """
    indices = _indices(xs)
    _check_threshold(threshold)
    if threshold > len(indices):
        raise InputError(f"threshold {threshold} is above the {len(indices)} holders")
    values = field.limbs(secret)
    count = len(values)
    coefficients = field.reduce_128(draw(entropy, _COEFFICIENT_BYTES * (threshold - 1) * count))
    try:
        shares = _kernels.shamir_split(
            values, coefficients.reshape(threshold - 1, count), np.array(indices, dtype=np.uint64)
        )
    finally:
        values.fill(0)
        coefficients.fill(0)
    whole, size = shares.astype("<u8", copy=False).tobytes(), field.ELEMENT_BYTES * count
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _check_threshold(threshold: int) -> None:
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
        raise InputError("a threshold is an integer of 1 or more")


@lru_cache(maxsize=64)
def _weights(indices: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    weights = _kernels.shamir_weights(np.array(indices, dtype=np.uint64))
    weights.setflags(write=False)  # it is shared by every later call
    return weights


def combine_many(xs: Sequence[int], shares: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the value at 0 of every column's polynomial through the given rows.

    Parameters
    ----------
    xs : sequence of int
        The t indices, distinct, in [1, p).
    shares : ndarray of uint64, shape (t, m)
        Row j belongs to ``xs[j]``; every value below p.

    Returns
    -------
    ndarray of uint64, shape (m,)
        Below p. Wrong shares give wrong values, not an error: check them against a commitment.

    Raises
    ------
    InputError
        An index of 0, out of the field or repeated, no rows, another shape or dtype, or a value of p or more.

    Notes
    -----
    Weights cost O(t**2) and are kept for the last 64 tuples of indices: many secrets from the same holders
    cost O(t) each.
    """
    indices = _indices(xs)
    if not indices:
        raise InputError("no shares to combine")
    if shares.dtype != np.uint64 or shares.ndim != 2 or shares.shape[0] != len(indices):
        raise InputError(f"shares must be uint64 of shape ({len(indices)}, m)")
    if not field.is_canonical(shares):
        raise InputError("a share's limb is not a canonical field element")
    return _kernels.shamir_combine(_weights(indices), np.ascontiguousarray(shares))


def combine(shares: Mapping[int, bytes], threshold: int, nbytes: int) -> bytes:
    """Return the secret of `nbytes` shared with `threshold`.

    Parameters
    ----------
    shares : mapping of int to bytes
        Share by index. Of more than `threshold`, those with the lowest indices are used, and the rest not
        looked at.
    threshold : int
        t.
    nbytes : int
        Length of the secret.

    Raises
    ------
    InputError
        Fewer shares than `threshold`, an index of 0 or out of the field, a share of another length or with a
        limb of p or more, or a result that is no secret of `nbytes` (some share is wrong).
    """
    _check_threshold(threshold)
    indices = tuple(sorted(_indices(tuple(shares))))[:threshold]
    if len(indices) < threshold:
        raise InputError(f"{threshold} shares are needed, got {len(indices)}")
    count, size = field.limb_count(nbytes), share_bytes(nbytes)
    used = [shares[x] for x in indices]
    if not all(isinstance(share, bytes) and len(share) == size for share in used):
        raise InputError(_wrong_length(nbytes, size))
    # Whether the limbs are canonical is seen in one pass over all of them.
    rows = np.frombuffer(b"".join(used), dtype="<u8").reshape(threshold, count)
    return field.from_limbs(combine_many(indices, rows.astype(np.uint64, copy=False)), nbytes)
