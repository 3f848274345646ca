"""Which evaluations of a polynomial over p = 2**61 - 1 are wrong: Reed-Solomon decoding, on a few public numbers."""

from __future__ import annotations

from collections.abc import Sequence

from secagg.errors import InputError
from secagg.hazmat.field import P

__all__ = ["wrong_rows"]

# Polynomials are lists of coefficients, that of X^0 first, the last one not 0; [] is 0.


def _trimmed(a: list[int]) -> list[int]:
    while a and a[-1] == 0:
        a.pop()
    return a


def _divided(a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
    """Quotient and remainder."""
    rest, quotient = list(a), [0] * max(len(a) - len(b) + 1, 0)
    inverse = pow(b[-1], -1, P)
    for shift in reversed(range(len(quotient))):
        factor = quotient[shift] = rest[shift + len(b) - 1] * inverse % P
        for k, c in enumerate(b):
            rest[shift + k] = (rest[shift + k] - factor * c) % P
    return quotient, _trimmed(rest)


def _minus_product(a: list[int], b: list[int], c: list[int]) -> list[int]:
    """Return a - b c."""
    out = a + [0] * max(len(b) + len(c) - 1 - len(a), 0)
    for i, x in enumerate(b):
        for j, y in enumerate(c):
            out[i + j] = (out[i + j] - x * y) % P
    return _trimmed(out)


def _value(a: list[int], x: int) -> int:
    value = 0
    for c in reversed(a):
        value = (value * x + c) % P
    return value


def _interpolated(xs: Sequence[int], ys: Sequence[int]) -> tuple[list[int], list[int]]:
    """The product of all X - x, and the polynomial through all points (Newton)."""
    product, through = [1], list[int]()
    for x, y in zip(xs, ys, strict=True):
        factor = (y - _value(through, x)) * pow(_value(product, x), -1, P) % P
        through = through + [0] * (len(product) - len(through))
        through = [(c + factor * d) % P for c, d in zip(through, product, strict=True)]
        shifted, scaled = [0, *product], [*(-x * c % P for c in product), 0]
        product = [(c + d) % P for c, d in zip(shifted, scaled, strict=True)]
    return product, _trimmed(through)


def wrong_rows(xs: Sequence[int], ys: Sequence[int], threshold: int) -> set[int]:
    """Return which of the points do not lie on the one polynomial of degree threshold - 1 that passes most of them.

    Parameters
    ----------
    xs : sequence of int
        Distinct, below p.
    ys : sequence of int
        Below p.
    threshold : int
        At most as many as there are points.

    Returns
    -------
    set of int
        Positions, at most floor((len(xs) - threshold) / 2) of them.

    Raises
    ------
    InputError
        No polynomial passes all but so many points.

    Notes
    -----
    Gao's decoder: Euclid's algorithm on the product of all X - x and the polynomial through all points, stopped at a degree below
    (n + threshold) / 2; the remainder over the cofactor is the polynomial. Quadratic in n.
    """
    n = len(xs)
    product, through = _interpolated(xs, ys)
    high, low, high_cofactor, low_cofactor = product, through, list[int](), [1]
    while 2 * (len(low) - 1) >= n + threshold:
        quotient, rest = _divided(high, low)
        high, low = low, rest
        high_cofactor, low_cofactor = low_cofactor, _minus_product(high_cofactor, quotient, low_cofactor)
    polynomial, rest = _divided(low, low_cofactor)
    wrong = {i for i in range(n) if _value(polynomial, xs[i]) != ys[i]}
    if rest or len(_trimmed(polynomial)) > threshold or 2 * len(wrong) > n - threshold:
        raise InputError("the shares contradict each other in more rows than can be corrected")
    return wrong
