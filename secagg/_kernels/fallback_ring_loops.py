"""The fallback's transforms and products modulo q < 2^61, compiled by numba; no value may wrap, see `fallback_loops`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg._kernels.fallback_loops import compiled

__all__ = ["forward", "inverse", "multiply_add", "scale_high"]

U64 = npt.NDArray[np.uint64]

_LOW_32 = np.uint64((1 << 32) - 1)
_LOW_63 = np.uint64((1 << 63) - 1)
_TOP = np.uint64(1 << 63)
_32 = np.uint64(32)


@compiled
def _high(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of a * b, by halves."""
    a_high, a_low = a >> _32, a & _LOW_32
    b_high, b_low = b >> _32, b & _LOW_32
    middle = a_high * b_low + (a_low * b_low >> _32)
    other = a_low * b_high + (middle & _LOW_32)
    return a_high * b_high + (middle >> _32) + (other >> _32)


@compiled
def _low(a: np.uint64, b: np.uint64) -> np.uint64:
    """The lower 64 bits of a * b."""
    a_high, a_low = a >> _32, a & _LOW_32
    b_high, b_low = b >> _32, b & _LOW_32
    low = a_low * b_low
    middle = (a_high * b_low & _LOW_32) + (a_low * b_high & _LOW_32) + (low >> _32)
    return ((middle & _LOW_32) << _32) | (low & _LOW_32)


@compiled
def _difference(a: np.uint64, b: np.uint64) -> np.uint64:
    """A - b modulo 2^63."""
    return ((a & _LOW_63) + (_TOP - (b & _LOW_63))) & _LOW_63


@compiled
def _once(v: np.uint64, q: np.uint64) -> np.uint64:
    # As a product: a branch would be taken at random, and mispredicted half of the time.
    return v - q * np.uint64(v >= q)


@compiled
def _multiply(x: np.uint64, w: np.uint64, quotient: np.uint64, q: np.uint64) -> np.uint64:
    """X * w mod q, given floor(2^64 w / q): the estimate is at most 1 too small, so that 63 bits of the difference are enough."""
    rest = _difference(_low(x, w), _low(_high(x, quotient), q))
    return _once(rest, q)


@compiled
def forward(a: U64, roots: U64, quotients: U64, q: np.uint64) -> None:
    """Cooley-Tukey butterflies to bit-reversed order, for each row of `a`."""
    for row in range(a.shape[0]):
        blocks, t = 1, a.shape[1] // 2
        while t > 0:
            for b in range(blocks):
                w, quotient = roots[blocks + b], quotients[blocks + b]
                # As slices, or the compiler does not see that they are apart: four times slower.
                low, high = a[row, 2 * b * t : 2 * b * t + t], a[row, 2 * b * t + t : 2 * b * t + 2 * t]
                for j in range(t):
                    y = _multiply(high[j], w, quotient, q)
                    high[j] = _once(low[j] + (q - y), q)
                    low[j] = _once(low[j] + y, q)
            blocks, t = blocks * 2, t // 2


@compiled
def inverse(a: U64, roots: U64, quotients: U64, q: np.uint64, last: np.uint64, last_quotient: np.uint64) -> None:
    """Gentleman-Sande butterflies from bit-reversed order, for each row of `a`; `last` is 1/N."""
    for row in range(a.shape[0]):
        blocks, t = a.shape[1] // 2, 1
        while blocks > 0:
            for b in range(blocks):
                w, quotient = roots[blocks + b], quotients[blocks + b]
                for j in range(2 * b * t, 2 * b * t + t):
                    x, y = a[row, j], a[row, j + t]
                    a[row, j] = _once(x + y, q)
                    a[row, j + t] = _multiply(x + (q - y), w, quotient, q)
            blocks, t = blocks // 2, t * 2
        for j in range(a.shape[1]):
            a[row, j] = _multiply(a[row, j], last, last_quotient, q)


@compiled
def multiply_add(acc: U64, a: U64, b: U64, q: np.uint64, bits: int, barrett: np.uint64) -> None:
    """Acc += a * b mod q by Barrett's reduction: the estimate is at most 2 too small."""
    down, up = np.uint64(bits - 1), np.uint64(65 - bits)
    quotient_down, quotient_up = np.uint64(bits + 1), np.uint64(63 - bits)
    low_up = (np.uint64(1) << (np.uint64(64) - up)) - np.uint64(1)
    for i in range(len(acc)):
        top = ((_high(a[i], b[i]) & low_up) << up) | (_low(a[i], b[i]) >> down)
        estimate = (_high(top, barrett) << quotient_up) | (_low(top, barrett) >> quotient_down)
        rest = _difference(_low(a[i], b[i]), _low(estimate, q))
        acc[i] = _once(acc[i] + _once(_once(rest, q), q), q)


@compiled
def scale_high(words: U64, q: np.uint64, width: int, out: U64) -> None:
    """out[i] = floor(x q / 2^(2 width)), x being words 2i and 2i + 1 of `width` bits each, 52 or 64; q < 2^50 for the former."""
    low = (_TOP | _LOW_63) >> np.uint64(64 - width)
    over = np.uint64(64 - width)
    for i in range(len(out)):
        # Words moved to the top of 64 bits: the upper half of the product is then the part above `width`.
        carry = _high((words[2 * i] & low) << over, q)
        word = (words[2 * i + 1] & low) << over
        high, rest = _high(word, q), (_low(word, q) >> over)
        total = (rest >> np.uint64(1)) + (carry >> np.uint64(1)) + (rest & carry & np.uint64(1))
        out[i] = high + (total >> np.uint64(width - 1))
