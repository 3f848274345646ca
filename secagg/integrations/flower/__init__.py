"""Secure aggregation for Flower: a mod for the ClientApp, and a Grid around the ServerApp's.

The strategy stays as it is. What it would send to the nodes goes through the engine's phases instead, and what it gets back is
one reply that holds the weighted mean.

>>> app = ClientApp(mods=[secagg_mod()])
>>> strategy.start(grid=SecureGrid(grid, strategy, context, max_weight=1000), initial_arrays=arrays)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secagg.integrations.flower.grid import Round, SecureGrid
    from secagg.integrations.flower.mod import secagg_mod
    from secagg.integrations.flower.strategies import check_strategy
    from secagg.integrations.policy import Policy

__all__ = ["Policy", "Round", "SecureGrid", "check_strategy", "secagg_mod"]

# A client's process lives for one message and needs nothing of the server's side, nor Flower's strategies.
_HOMES = {
    "Policy": "secagg.integrations.policy",
    "Round": f"{__name__}.grid",
    "SecureGrid": f"{__name__}.grid",
    "check_strategy": f"{__name__}.strategies",
    "secagg_mod": f"{__name__}.mod",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
