"""What Params of every protocol are held to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from secagg.errors import ParameterError

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["CORRECTNESS_LOG2", "MAX_CLIENTS", "SECURITY_LOG2", "check_counts", "settle_counts", "whole"]

MAX_CLIENTS = 1 << 20
SECURITY_LOG2 = -40.0
CORRECTNESS_LOG2 = -20.0


def whole(name: str, value: object, low: int, high: int) -> None:
    """Refuse what is no integer from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(f"{name} must be an integer from {low} to {high}")


def _count(name: str, value: float, of: int) -> int:
    """Return an int as it is and a float as that fraction of `of`, rounded up."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterError(f"{name} must be a count (int) or a fraction (float)")
    if isinstance(value, float):
        if not 0.0 <= value < 1.0:
            raise ParameterError(f"{name} as a fraction must lie in [0, 1)")
        # A fraction like 0.1 is a decimal to its author: 0.1 * 30 must not become 4.
        return math.ceil(round(value * of, 9))
    return value


def settle_counts(params: Params) -> dict[str, int]:
    """Return participants, survivors and corrupt clients, with the defaults that depend on n."""
    n = params.clients
    for name in ("threshold", "min_clients", "max_participants", "min_cohort", "neighbours"):
        if getattr(params, name) is not None:
            whole(name, getattr(params, name), 0, MAX_CLIENTS)
    p = n if params.max_participants is None else params.max_participants
    corrupt = max(1, math.ceil(n / 10)) if params.corrupt is None else _count("corrupt", params.corrupt, n)
    m = (p - (0 if p <= 3 else math.ceil(p / 10))) if params.min_clients is None else params.min_clients
    return {"max_participants": p, "corrupt": corrupt, "min_clients": m}


def check_counts(params: Params) -> None:
    """Refuse counts that are out of range, or leave too few honest updates in a sum."""
    n, c, m = params.clients, params.corrupt, params.min_clients
    whole("corrupt", c, 0, n - 1)
    whole("max_participants", params.max_participants, 2, n)
    whole("min_clients", m, 2, params.max_participants)
    whole("min_honest", params.min_honest, 1, n)
    if m - c < params.min_honest:
        raise ParameterError(
            f"min_clients={m} with corrupt={c} leaves {m - int(c)} honest updates in a sum; min_honest={params.min_honest}"
        )
