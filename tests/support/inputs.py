"""What callers may hand in, whatever the protocol: each check takes what it has to be right for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from secagg import Client, FixedPoint, Params, simulate
from secagg.errors import InputError, ParameterError

__all__ = [
    "BAD_NUMBERS", "BAD_SHAPES", "BAD_WEIGHTS", "SIGNS", "check_arrays", "check_clip", "check_empty", "check_number",
    "check_shape", "check_two_clients", "check_weight", "check_weight_zero", "params", "updates",
]  # fmt: skip

LENGTH = 5
BAD_NUMBERS = (np.nan, np.inf, -np.inf)
BAD_SHAPES = (np.zeros(4, np.float32), np.zeros((5, 1), np.float32), np.array(["x"] * 5), None, {"a": 1.0})
BAD_WEIGHTS = (-1, float("nan"), 0.5, True, 9, None)
SIGNS = {"c0": np.full(5, 0.5, np.float32), "c1": np.full(5, -0.5, np.float32), "c2": np.full(5, -1, np.float32)}


def updates(n: int = 3, value: float = 0.25, length: int = LENGTH) -> dict[str, Any]:
    return {f"c{i}": np.full(length, value, np.float32) for i in range(n)}


def params(n: int = 3, **changes: Any) -> Params:
    return Params(clients=n, **{"length": LENGTH, "encoding": FixedPoint(clip=1.0, bits=16), **changes})


def check_number(client: Client, bad: float) -> None:
    """No such number leaves, and the client goes on."""
    update = np.zeros(LENGTH, np.float32)
    update[3] = bad
    for act in (client.submit, client.stream):
        with pytest.raises(InputError):
            act(update)
    assert client.awaiting is not None
    assert client.outbox() == []
    client.submit(np.zeros(LENGTH, np.float32))
    assert client.awaiting is None
    assert client.outbox()


def check_clip(**own: Any) -> None:
    result = simulate(updates(value=3.0), params(**own))
    assert result.clipped == 15
    np.testing.assert_allclose(result.mean, 1.0, atol=1e-4)
    with pytest.raises(InputError):
        simulate(updates(value=3.0), params(encoding=FixedPoint(clip=1.0, bits=16, overflow="refuse"), **own))


def check_empty(client: Client, **own: Any) -> None:
    with pytest.raises(ParameterError):
        params(length=0, **own)
    with pytest.raises(InputError):
        client.submit(np.zeros(0, np.float32))


def check_shape(client: Client, bad: Any) -> None:
    with pytest.raises(InputError):
        client.submit(bad)
    assert client.awaiting is not None


def check_arrays(**own: Any) -> None:
    """Arrays with gaps and of the other byte order are what they say."""
    base = np.linspace(-0.5, 0.5, 10, dtype=np.float64)
    ways = [base[::2], base[::2].astype(">f8"), np.ascontiguousarray(base[::2])]
    nearest = params(encoding=FixedPoint(clip=1.0, bits=16, rounding="nearest"), **own)
    sums = [simulate(dict.fromkeys(("c0", "c1", "c2"), way), nearest) for way in ways]
    np.testing.assert_allclose(sums[0].mean, base[::2], atol=1e-4)
    for result in sums:
        np.testing.assert_array_equal(result.integer_sum, sums[0].integer_sum)


def check_weight_zero(**own: Any) -> None:
    """It contributes nothing; where that is everybody's, the round has no mean."""
    weighted = params(max_weight=8, **own)
    result = simulate(SIGNS, weighted, weights={"c0": 3, "c1": 1, "c2": 0})
    assert result.weight == 4
    np.testing.assert_allclose(result.mean, 0.25, atol=1e-4)


def check_weight(client: Client, weight: Any) -> None:
    with pytest.raises(InputError):
        client.submit(np.zeros(LENGTH, np.float32), weight=weight)
    assert client.awaiting is not None
    assert client.outbox() == []


def check_two_clients(make: Callable[..., Params] = params, **own: Any) -> None:
    with pytest.raises(ParameterError, match="at least 2"):
        make(1, **own)
    with pytest.raises(ParameterError, match="min_honest"):
        make(2, **own)
    np.testing.assert_allclose(simulate(updates(2), make(2, min_honest=1, **own)).mean, 0.25, atol=1e-4)
