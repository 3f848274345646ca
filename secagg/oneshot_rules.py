"""What Params of the oneshot protocol are held to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secagg import bounds
from secagg.errors import ParameterError
from secagg.rules import CORRECTNESS_LOG2, SECURITY_LOG2, check_counts, settle_counts, whole

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["check", "committee_corrupt", "most_packing", "plan_committee", "sets_apart", "settle"]

LARGE = 100  # clients up to whom everybody is a member unless the Params say otherwise
MAX_COMMITTEE = 1024
MOST_PACKING = 16


def committee_corrupt(clients: int, committee: int, corrupt: int) -> int:
    """Return the corrupt members that a committee has at most, but with probability 2^-40 where it is a sample.

    Parameters
    ----------
    clients : int
        n, of whom the committee is drawn.
    committee : int
        M.
    corrupt : int
        Corrupt clients, chosen before the committee is known.
    """
    most = min(corrupt, committee)
    if committee >= clients:
        return most
    for count in range(most + 1):
        if bounds.log2_hypergeom_tail(clients, corrupt, committee, count + 1) <= SECURITY_LOG2:
            return count
    return most


def sets_apart(participants: int, min_clients: int, corrupt: int) -> bool:
    """Tell whether two sets of survivors that members accept may have no honest client in common."""
    return 2 * min_clients <= participants + corrupt


def most_packing(committee: int, corrupt: int, threshold: int, threat: str, apart: bool) -> int:
    """Return the largest rho that keeps secrets secret and, where the server may lie, lets one set be opened a round; 0 if none.

    Secrecy: ``threshold - rho >= corrupt``, and at least 1, or a single member's share would tell of them. One set:
    ``2 * (threshold - rho + 1) > committee + corrupt``; where sets may be apart, three of them must not mix either:
    ``3 * (threshold - rho + 1) > 2 * committee + corrupt`` (docs/spec/oneshot.md, section 8).
    """
    most = threshold - max(corrupt, 1)
    if threat == "malicious":
        most = min(most, threshold - (committee + corrupt) // 2)
        if apart:
            most = min(most, threshold - (2 * committee + corrupt) // 3)
    return max(0, most)


def settle(params: Params) -> dict[str, int]:
    """Return the fields whose defaults depend on others."""
    counts = settle_counts(params)
    unused = {"min_cohort": counts["min_clients"], "neighbours": 0}
    for name, value in unused.items():
        if getattr(params, name) not in (None, value):
            raise ParameterError(f"{name} belongs to pairwise; protocol='oneshot' has no cohort and no graph")
    size = min(params.clients, LARGE) if params.committee is None else params.committee
    whole("committee", size, 2, min(params.clients, MAX_COMMITTEE))
    threshold = params.threshold
    if threshold is None:
        threshold = size - (0 if size <= 3 else math.ceil(size / 10))
    packing = params.packing
    if packing is None:
        corrupt = committee_corrupt(params.clients, size, min(counts["corrupt"], params.clients))
        apart = sets_apart(counts["max_participants"], counts["min_clients"], counts["corrupt"])
        packing = max(1, min(MOST_PACKING, most_packing(size, corrupt, threshold, params.threat, apart)))
    return counts | unused | {"committee": size, "threshold": threshold, "packing": packing}


def check(params: Params) -> None:
    """Refuse what could leak, or never finish; that sums and their errors fit is for `secagg.hints` to say."""
    check_counts(params)
    size, threshold, rho = params.committee, params.threshold, params.packing
    whole("threshold", threshold, 2, size)
    whole("packing", rho, 1, size)
    corrupt = committee_corrupt(params.clients, size, int(params.corrupt))
    if threshold <= rho:
        raise ParameterError(
            f"threshold={threshold}, packing={rho}: a single member's share would tell of the secrets; need threshold > packing"
        )
    if threshold < corrupt + rho:
        raise ParameterError(
            f"threshold={threshold}, packing={rho}: {corrupt} corrupt members of {size} would learn of the secrets; "
            f"need threshold >= {corrupt} + packing"
        )
    if params.threat == "malicious" and 2 * (threshold - rho + 1) <= size + corrupt:
        raise ParameterError(
            f"threshold={threshold}, packing={rho}: a lying server could open two sets in one round; "
            f"need 2 * (threshold - packing + 1) > committee + corrupt members = {size + corrupt}"
        )
    if (
        params.threat == "malicious"
        and sets_apart(params.max_participants, params.min_clients, int(params.corrupt))
        and 3 * (threshold - rho + 1) <= 2 * size + corrupt
    ):
        raise ParameterError(
            f"threshold={threshold}, packing={rho}: a lying server could mix three sets of one round, for min_clients="
            f"{params.min_clients} of {params.max_participants} lets two sets have no honest client in common; need "
            f"3 * (threshold - packing + 1) > 2 * committee + corrupt members = {2 * size + corrupt}, or a larger min_clients"
        )
    ring = params.ring
    if ring is not None and not (
        isinstance(ring, tuple)
        and len(ring) == 3
        and all(isinstance(part, int) and not isinstance(part, bool) for part in ring)
    ):
        raise ParameterError("ring is three integers: the degree, the bits of a prime, and the number of primes")


def _silent(clients: int, committee: int, away: int) -> int:
    """Return how many members may be missing when `away` clients are, but with probability 2^-20 where they are a sample."""
    if committee >= clients:
        return min(away, committee)
    for count in range(min(away, committee)):
        if bounds.log2_hypergeom_tail(clients, away, committee, count + 1) <= CORRECTNESS_LOG2:
            return count
    return min(away, committee)


def plan_committee(
    clients: int, corrupt: int, away: int, threat: str, apart: bool, fixed: Mapping[Any, Any]
) -> dict[str, int]:
    """Return committee, threshold and packing that survive `away` of the clients, with the fewest bytes of shares.

    Parameters
    ----------
    clients, corrupt, away : int
        n, c, and how many clients may be missing.
    threat : str
    apart : bool
        What `sets_apart` says.
    fixed : dict
        Values of ``committee``, ``threshold``, ``packing`` that are not to be chosen.

    Raises
    ------
    ParameterError
        No committee survives that and keeps its secrets.
    """
    if "committee" in fixed:
        sizes = [int(fixed["committee"])]
    elif clients <= LARGE:
        sizes = [clients]
    else:
        sizes = [*range(30, min(clients, MAX_COMMITTEE), 10), *([clients] if clients <= MAX_COMMITTEE else [])]
    best: tuple[float, int, int, int] | None = None
    for size in sizes:
        bad = committee_corrupt(clients, size, corrupt)
        threshold = int(fixed.get("threshold", size - _silent(clients, size, away)))
        most = most_packing(size, bad, threshold, threat, apart)
        rho = int(fixed.get("packing", min(MOST_PACKING, most)))
        if not 1 <= rho <= most or threshold > size:
            continue
        weighed = size / rho
        if best is None or weighed < best[0]:
            best = weighed, size, threshold, rho
    if best is None:
        raise ParameterError(
            f"no committee both survives losing {away} of {clients} clients and keeps its secrets from {corrupt} corrupt ones; "
            "lower dropout or corrupt" + (", or leave committee, threshold and packing to plan()" if fixed else "")
        )
    return {"committee": best[1], "threshold": best[2], "packing": best[3]}
