"""What Params of the ckks protocol are held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.errors import ParameterError
from secagg.rules import check_counts, settle_counts

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["check", "settle"]


def settle(params: Params) -> dict[str, int]:
    """Return the fields whose defaults depend on others."""
    counts = settle_counts(params)
    unused = {"threshold": 1, "min_cohort": counts["min_clients"], "neighbours": 0}
    for name, value in unused.items():
        if getattr(params, name) not in (None, value):
            raise ParameterError(f"{name} belongs to pairwise; protocol='ckks' has no shares and no graph")
    return counts | unused


def check(params: Params) -> None:
    """Refuse what could leak, or never finish; that sums and their noise fit is for `secagg.lattice` to say."""
    check_counts(params)
    if params.reveal not in ("holder", "server"):
        raise ParameterError("say who learns the sum: reveal='holder' (the key holder alone) or reveal='server'")
    ring = params.ring
    if ring is not None and not (
        isinstance(ring, tuple)
        and len(ring) == 2
        and all(isinstance(part, int) and not isinstance(part, bool) for part in ring)
    ):
        raise ParameterError("ring is a pair of integers: the degree, and the bits of the modulus")
