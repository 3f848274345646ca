"""The fallback's inner loops, compiled by numba on first use and cached.

No value here may wrap: with numba's JIT off the same lines run on numpy scalars, which warn where machine
integers would not. Every constant is a uint64, because uint64 with a signed integer becomes a float in numba.
`fastmath` stays off: the encoder must round every operation on its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

__all__ = [
    "combine",
    "compiled",
    "encode_nearest",
    "encode_stochastic",
    "multiply",
    "pack",
    "split",
    "unpack",
    "weights",
]

Function = TypeVar("Function", bound=Callable[..., Any])
U64 = npt.NDArray[np.uint64]

_P = np.uint64((1 << 61) - 1)
_ONE = np.uint64(1)
_LOW_29 = np.uint64((1 << 29) - 1)
_LOW_32 = np.uint64((1 << 32) - 1)
_BITS_3 = np.uint64(3)
_BITS_29 = np.uint64(29)
_BITS_32 = np.uint64(32)
_BITS_61 = np.uint64(61)
_TWO_32 = 4294967296.0


def compiled(function: Function) -> Function:
    """`function`, compiled at its first call, cached on disk and free of the GIL."""
    return cast("Function", numba.njit(cache=True, nogil=True)(function))


@compiled
def multiply(a: np.uint64, b: np.uint64) -> np.uint64:
    """A * b mod p for a, b < p.

    By halves of 32 bits: 2^64 = 8 and 2^61 = 1 mod p. The four terms below add up to less than 2^63.
    """
    a_high, a_low = a >> _BITS_32, a & _LOW_32
    b_high, b_low = b >> _BITS_32, b & _LOW_32
    middle = a_high * b_low + a_low * b_high
    low = a_low * b_low
    total = ((a_high * b_high) << _BITS_3) + ((middle & _LOW_29) << _BITS_32) + (middle >> _BITS_29)
    total += (low & _P) + (low >> _BITS_61)
    total = (total & _P) + (total >> _BITS_61)
    return total - _P if total >= _P else total


@compiled
def _add(a: np.uint64, b: np.uint64) -> np.uint64:
    total = a + b
    return total - _P if total >= _P else total


@compiled
def split(coeffs: U64, xs: U64, shares: U64) -> None:
    """shares[i, j] = sum_d coeffs[d, j] * xs[i]^d, by Horner."""
    for i in range(len(xs)):
        for j in range(coeffs.shape[1]):
            y = coeffs[coeffs.shape[0] - 1, j]
            for d in range(coeffs.shape[0] - 2, -1, -1):
                y = _add(multiply(y, xs[i]), coeffs[d, j])
            shares[i, j] = y


@compiled
def _inverse(v: np.uint64) -> np.uint64:
    # v^(p - 2); p - 2 = 2^61 - 3 is ones but for bit 1.
    result = _ONE
    for bit in range(60, -1, -1):
        result = multiply(result, result)
        if bit != 1:
            result = multiply(result, v)
    return result


@compiled
def weights(xs: U64, out: U64) -> None:
    """out[j] = prod_{i != j} xs[i] / (xs[i] - xs[j]); points distinct and nonzero."""
    for j in range(len(xs)):
        above, below = _ONE, _ONE
        for i in range(len(xs)):
            if i != j:
                above = multiply(above, xs[i])
                below = multiply(below, _add(xs[i], _P - xs[j]))
        out[j] = multiply(above, _inverse(below))


@compiled
def combine(factors: U64, shares: U64, out: U64) -> None:
    """out[j] += sum_i factors[i] * shares[i, j]."""
    for i in range(shares.shape[0]):
        for j in range(shares.shape[1]):
            out[j] = _add(out[j], multiply(factors[i], shares[i, j]))


@compiled
def encode_nearest(
    x: npt.NDArray[np.float64], clip: float, scale: float, levels: float, out: npt.NDArray[np.uint32]
) -> int:
    """Codes rounded half up; returns the count of clipped values, -1 at NaN or infinity."""
    clipped = 0
    for i in range(len(x)):
        v = x[i]
        if not math.isfinite(v):
            return -1
        if v > clip or v < -clip:
            clipped += 1
        s = min((min(max(v, -clip), clip) + clip) * scale, levels)
        out[i] = np.uint32(min(np.floor(s + 0.5), levels))
    return clipped


@compiled
def encode_stochastic(
    x: npt.NDArray[np.float64],
    clip: float,
    scale: float,
    levels: float,
    words: npt.NDArray[np.uint32],
    out: npt.NDArray[np.uint32],
) -> int:
    """Codes rounded up with the probability of the fraction; returns as `encode_nearest`."""
    clipped = 0
    for i in range(len(x)):
        v = x[i]
        if not math.isfinite(v):
            return -1
        if v > clip or v < -clip:
            clipped += 1
        s = min((min(max(v, -clip), clip) + clip) * scale, levels)
        low = np.floor(s)
        code = np.uint64(low)
        if np.uint64(words[i]) < np.uint64((s - low) * _TWO_32):
            code += _ONE
        out[i] = np.uint32(code)
    return clipped


@compiled
def pack(values: U64, w: int, words: U64) -> None:
    """Put value i at bits i*w .. i*w + w - 1 of the zeroed `words`; values < 2^w."""
    for i in range(len(values)):
        at = i * w
        word, shift = at >> 6, at & 63
        words[word] |= values[i] << np.uint64(shift)
        if shift + w > 64:
            words[word + 1] |= values[i] >> np.uint64(64 - shift)


@compiled
def unpack(words: U64, w: int, values: U64) -> None:
    """The inverse of `pack` for w < 64; `words` has one word more than needed."""
    mask = (_ONE << np.uint64(w)) - _ONE
    for i in range(len(values)):
        at = i * w
        word, shift = at >> 6, at & 63
        v = words[word] >> np.uint64(shift)
        if shift + w > 64:
            v |= words[word + 1] << np.uint64(64 - shift)
        values[i] = v & mask
