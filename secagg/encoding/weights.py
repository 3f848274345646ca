"""Weights, and the bits that a sum of weighted values needs so that it never wraps."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from secagg.errors import InputError, ParameterError

__all__ = ["MAX_WIDTH", "check_weight", "sum_width", "whole"]

MAX_WIDTH = 64


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return an integer option as int; bool and float are no integers.

    Raises
    ------
    ParameterError
        Not an integer from `low` to `high`.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        number = operator.index(value)
        if low <= number <= high:
            return number
    raise ParameterError(f"{name} must be an integer from {low} to {high}")


def check_weight(weight: Any, max_weight: int) -> int:
    """Return the weight of an update as int.

    Raises
    ------
    InputError
        Not an integer (bool, float and NaN are none), negative, or over `max_weight`. The message does not quote it: the
        weight is hidden from the server, and messages end up in logs.
    """
    if not isinstance(weight, int | np.integer) or isinstance(weight, bool):
        raise InputError(f"weight must be an integer from 0 to {max_weight}; round counts, or scale fractions up")
    number = operator.index(weight)
    if number < 0:
        raise InputError("weight must not be negative")
    if number > max_weight:
        raise InputError(f"weight is over max_weight={max_weight}")
    return number


def sum_width(value_bits: int, total_weight: int, what: str) -> int:
    """Return the bits w of a sum: ``total_weight * (2**value_bits - 1) < 2**w``.

    Raises
    ------
    ParameterError
        More than 64 bits, or `total_weight` below 1.
    """
    total = whole("total_weight", total_weight, 1, 1 << 128)
    w = max(1, value_bits + (total - 1).bit_length())
    if w > MAX_WIDTH:
        raise ParameterError(
            f"{what}: {value_bits}-bit values with weights of at most {total} in all need {w} bits, and a lane has "
            f"{MAX_WIDTH}; lower the range, max_weight or max_participants"
        )
    return w
