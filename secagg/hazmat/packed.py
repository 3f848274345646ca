"""Packed threshold sharing over p = 2**61 - 1: several secrets in one polynomial, sums of shares, wrong shares found and named.

A polynomial of degree threshold - 1 takes rho secrets as its values at -1, ..., -rho. Any `threshold` shares give all of them; up
to threshold - rho shares say nothing; numbers in between say something (a ramp scheme). Shares of sums are sums of shares.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secagg import _kernels
from secagg.errors import InputError
from secagg.hazmat import field
from secagg.hazmat.correction import wrong_rows
from secagg.hazmat.guard import draw

__all__ = ["MAX_POINTS", "add", "combine", "digits_per_element", "pack_digits", "split", "unpack_digits"]

MAX_POINTS = 1024

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_P = np.uint64(field.P)
_DRAWN = 16  # bytes of entropy for an element
_DIGIT_BITS = 60  # of an element: sums of signed digits stay below p / 2 in size


def _whole(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise InputError(f"{name} is an integer from {low} to {high}")
    return int(value)


def _indices(xs: Sequence[int]) -> tuple[int, ...]:
    indices = tuple(_whole("a share index", x, 1, (1 << 31) - 1) for x in xs)
    if not 1 <= len(indices) <= MAX_POINTS:
        raise InputError(f"there are 1 to {MAX_POINTS} shares, not {len(indices)}")
    if len(set(indices)) != len(indices):
        raise InputError("share indices repeat")
    return indices


def _sizes(threshold: int, rho: int) -> tuple[int, int]:
    threshold = _whole("a threshold", threshold, 1, MAX_POINTS)
    rho = _whole("the number of secrets in a polynomial", rho, 1, MAX_POINTS)
    if rho >= threshold:
        raise InputError(f"{rho} secrets need a threshold above {rho}, or single shares would tell of them")
    return threshold, rho


def _elements(name: str, values: U64) -> U64:
    if not isinstance(values, np.ndarray) or values.dtype != np.uint64 or values.ndim != 2 or 0 in values.shape:
        raise InputError(f"{name} must be uint64 of two dimensions, not empty")
    if not field.is_canonical(values):
        raise InputError(f"{name} hold an element that is not canonical")
    return np.ascontiguousarray(values)


@lru_cache(maxsize=256)
def _rows(nodes: tuple[int, ...], points: tuple[int, ...]) -> U64:
    """Row i gives the value at points[i] of the polynomial through values at `nodes`: its Lagrange basis there. Public."""
    at = np.array([[(node - point) % field.P for node in nodes] for point in points], np.uint64)
    made = np.array([_kernels.shamir_weights(np.ascontiguousarray(row)) for row in at], np.uint64)
    made.setflags(write=False)  # it is shared by every later call
    return made


def _values_at(points: tuple[int, ...], nodes: tuple[int, ...], values: U64) -> U64:
    """Row i: the values at points[i] of the polynomials whose values at the nodes are the rows of `values`."""
    out = np.empty((len(points), values.shape[1]), np.uint64)
    for row, weights in zip(out, _rows(nodes, points), strict=True):
        row[:] = _kernels.shamir_combine(weights, values)
    return out


def _secret_points(rho: int) -> tuple[int, ...]:
    return tuple(field.P - j for j in range(1, rho + 1))


def split(secrets: U64, threshold: int, xs: Sequence[int], entropy: Callable[[int], bytes] = os.urandom) -> U64:
    """Return one row of shares for each index.

    Parameters
    ----------
    secrets : ndarray of uint64, shape (m, rho)
        Row i goes into polynomial i; below p; secret.
    threshold : int
        T: above rho, and at most the number of indices.
    xs : sequence of int
        Distinct, 1 to 2^31 - 1, at most 1024; public.
    entropy : callable
        Called once, for 16 bytes an element, which is the little-endian integer mod p.

    Returns
    -------
    ndarray of uint64, shape (len(xs), m)
        In the order of `xs`; secret.

    Raises
    ------
    InputError
        A value out of range.

    Notes
    -----
    The elements drawn are the shares of the first T - rho indices, polynomial after polynomial for each: with the secrets they
    fix the polynomials, and they are uniform whatever the secrets are. Lagrange's formula gives the other shares.
    (len(xs) - T + rho) * T * m multiplications, constant time in what is secret.

    References
    ----------
    Franklin and Yung, Communication complexity of secure computation (STOC 1992).
    """
    values = _elements("secrets", secrets)
    count, rho = values.shape
    threshold, rho = _sizes(threshold, rho)
    indices = _indices(xs)
    if threshold > len(indices):
        raise InputError(f"threshold {threshold} is above the {len(indices)} holders")
    free = threshold - rho
    known = np.empty((threshold, count), np.uint64)
    known[:rho] = values.T
    known[rho:] = field.reduce_128(draw(entropy, _DRAWN * free * count)).reshape(free, count)
    shares = np.empty((len(indices), count), np.uint64)
    shares[:free] = known[rho:]
    shares[free:] = _values_at(indices[free:], _secret_points(rho) + indices[:free], known)
    known.fill(0)
    return shares


def combine(xs: Sequence[int], shares: U64, threshold: int, rho: int) -> tuple[U64, tuple[int, ...]]:
    """Return the secrets, and the indices of the rows that were wrong.

    Parameters
    ----------
    xs : sequence of int
        The indices of the rows; at least T of them, distinct.
    shares : ndarray of uint64, shape (len(xs), m)
        Below p.
    threshold, rho : int
        As in `split`.

    Returns
    -------
    secrets : ndarray of uint64, shape (m, rho)
    wrong : tuple of int
        Indices whose rows differ from the polynomials at any place, in the order of `xs`. With T rows none can be told: whatever
        they hold is taken.

    Raises
    ------
    InputError
        A value out of range, fewer than T rows, or rows that no polynomials fit with at most floor((len(xs) - T) / 2) wrong
        ones.

    Notes
    -----
    With k rows, up to floor((k - T) / 2) wrong ones are corrected, whoever made them. More of them, up to k - T, are noticed
    and refused, except where the liars agree on a polynomial to add, for which they need not know the other rows: then from one
    more on its secrets are added, and the honest are named.

    One random combination of the columns is decoded (Gao): it misses a wrong row with probability 1 / p. All columns are then
    held, exactly, to the rows that were found right. Nothing here is constant time: the rows are sums that the caller may know.

    References
    ----------
    Gao, A new algorithm for decoding Reed-Solomon codes (2003).
    """
    threshold, rho = _sizes(threshold, rho)
    indices = _indices(xs)
    values = _elements("shares", shares)
    if len(values) != len(indices) or len(indices) < threshold:
        raise InputError(f"at least {threshold} rows are needed, one an index, got {len(values)} for {len(indices)}")
    wrong: tuple[int, ...] = ()
    if not _consistent(indices, values, threshold):
        bad = wrong_rows(indices, _combination(values), threshold)
        good = [i for i in range(len(indices)) if i not in bad]
        wrong = tuple(indices[i] for i in sorted(bad))
        indices, values = tuple(indices[i] for i in good), np.ascontiguousarray(values[good])
        if not _consistent(indices, values, threshold):
            raise InputError("the shares contradict each other in more rows than can be corrected")
    secrets = _values_at(_secret_points(rho), indices[:threshold], np.ascontiguousarray(values[:threshold]))
    return np.ascontiguousarray(secrets.T), wrong


def _consistent(indices: tuple[int, ...], values: U64, threshold: int) -> bool:
    """Whether one polynomial of degree threshold - 1 goes through every row, column by column."""
    if len(indices) == threshold:
        return True
    expected = _values_at(indices[threshold:], indices[:threshold], np.ascontiguousarray(values[:threshold]))
    return bool(np.array_equal(expected, values[threshold:]))


def _combination(values: U64) -> list[int]:
    """One element a row, a random combination of its columns: wrong where the row is wrong anywhere, but for one chance in p."""
    weights = field.reduce_128(os.urandom(_DRAWN * values.shape[1]))
    return [int(v) for v in _kernels.shamir_combine(weights, np.ascontiguousarray(values.T))]


def add(acc: U64, shares: U64) -> None:
    """Add shares to `acc` in place, element by element modulo p.

    Raises
    ------
    InputError
        Shapes that differ, or an element of `shares` that is not canonical; `acc`, its owner's, is taken as it is.
    """
    for array in (acc, shares):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint64:
            raise InputError("shares must be uint64")
    if acc.shape != shares.shape or not field.is_canonical(shares):
        raise InputError("shares must have the shape of what they are added to, and be canonical")
    np.add(acc, shares, out=acc)
    acc -= _P * (acc >= _P).astype(np.uint64)


def digits_per_element(width: int) -> int:
    """Return how many digits of `width` bits an element holds: floor(60 / width); InputError unless width is 2 to 60."""
    return _DIGIT_BITS // _whole("a digit's width", width, 2, _DIGIT_BITS)


def pack_digits(values: I64, width: int, rho: int = 1) -> U64:
    """Return signed values as digits of field elements, such that sums of elements unpack to sums of values.

    Parameters
    ----------
    values : ndarray of int64, shape (n,)
        Below 2^(width - 1) in size, and so must their sums be; secret.
    width : int
        2 to 60.
    rho : int
        The elements are filled up with zeros to a multiple of it.

    Returns
    -------
    ndarray of uint64, 1-D
        Element i is the sum over k of values[i c + k] 2^(width k) mod p, c being `digits_per_element`.

    Raises
    ------
    InputError
        A value out of range.
    """
    per = digits_per_element(width)
    rho = _whole("the number of secrets in a polynomial", rho, 1, MAX_POINTS)
    if not isinstance(values, np.ndarray) or values.dtype != np.int64 or values.ndim != 1 or len(values) == 0:
        raise InputError("values must be a vector of int64, not empty")
    half = 1 << width - 1
    if bool(((values <= -half) | (values >= half)).any()):
        raise InputError(f"a value does not fit a signed digit of {width} bits")
    count = -(-len(values) // (per * rho)) * rho
    digits = np.zeros(count * per, np.int64)
    digits[: len(values)] = values
    places = np.array([1 << width * k for k in range(per)], np.int64)
    joined = (digits.reshape(count, per) * places).sum(axis=1)
    digits.fill(0)
    elements: U64 = (joined + (joined >> 63 & field.P)).astype(np.uint64)
    return elements


def unpack_digits(elements: U64, width: int, count: int) -> I64:
    """Return the `count` signed values that elements, or sums of them, hold.

    Parameters
    ----------
    elements : ndarray of uint64, 1-D
        Below p, at least as many as `count` values need; what lies beyond must be 0.
    width, count : int
        As `pack_digits` had them.

    Returns
    -------
    ndarray of int64, shape (count,)

    Raises
    ------
    InputError
        A value out of range, or elements that no values give whose sums are below 2^(width - 1) in size.
    """
    per = digits_per_element(width)
    count = _whole("a number of values", count, 1, 1 << 40)
    if not isinstance(elements, np.ndarray) or elements.dtype != np.uint64 or elements.ndim != 1:
        raise InputError("elements must be a vector of uint64")
    if len(elements) * per < count or not field.is_canonical(elements):
        raise InputError(f"{count} values of {width} bits lie in {-(-count // per)} elements or more, all canonical")
    offset = sum(1 << width * k + width - 1 for k in range(per))
    # From [0, p) to what is nearest to 0; then every digit is lifted by half its range.
    lifted = (elements + np.uint64(offset)).astype(np.int64)
    lifted -= field.P * (elements > _P >> np.uint64(1)).astype(np.int64)
    if bool(((lifted < 0) | (lifted >> width * per != 0)).any()):
        raise InputError("an element is not a sum of signed digits")
    places = np.array([width * k for k in range(per)], np.int64)
    digits: I64 = ((lifted[:, np.newaxis] >> places) & (1 << width) - 1) - (1 << width - 1)
    flat: I64 = digits.reshape(-1)
    if bool((flat == -(1 << width - 1)).any()) or bool(flat[count:].any()):
        raise InputError("an element is not a sum of signed digits")
    return flat[:count].copy()
