"""What a server of any protocol asks of a round before it opens one, and how it finds the clients that trained on one model."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from secagg.errors import AbortError, InputError, ThresholdError

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["check_participants", "check_round_id", "known", "listed", "one_model"]


def check_round_id(round_id: object, floor: int) -> None:
    """Refuse what is no round id, or not greater than every one before."""
    if isinstance(round_id, bool) or not isinstance(round_id, int) or not 0 <= round_id < 1 << 63:
        raise InputError("round_id must be an integer from 0 to 2**63 - 1")
    if round_id <= floor:
        raise InputError(f"round ids strictly increase; the last one used is {floor}")


def known(roster: Roster, ids: Collection[str] | None, what: str) -> tuple[str, ...]:
    """Return names of the roster in its order, all of them for None; InputError for a stranger."""
    if ids is None:
        return tuple(roster.ids)
    if isinstance(ids, str):
        raise InputError(f"{what} must be a collection of ids, not one string")
    strangers = [c for c in ids if c not in roster]
    if strangers:
        raise InputError(f"{what} names {strangers[0]!r}, who is not in the roster")
    return tuple(sorted(set(ids), key=str.encode))


def listed(ranks: Sequence[int], rank: int) -> bool:
    """Whether a rank is in a strictly increasing sequence of them.

    Notes
    -----
    O(log n): a server asks this of every frame, and a set for each frame would make a round of n clients cost n**2.
    """
    at = bisect_left(ranks, rank)
    return at < len(ranks) and ranks[at] == rank


def check_participants(params: Params, wanted: Collection[str]) -> None:
    """Refuse a number of participants that the Params do not allow."""
    if not params.min_clients <= len(wanted) <= params.max_participants:
        raise InputError(
            f"{len(wanted)} participants; these Params allow {params.min_clients} to {params.max_participants}"
        )


def one_model(params: Params, complete: Mapping[int, bytes]) -> tuple[bytes, list[int]]:
    """Return the context that most uploads were made for, and the ranks of their clients.

    Parameters
    ----------
    params : Params
    complete : mapping of int to bytes
        Rank of each complete upload's client, in order, and its context.

    Raises
    ------
    ThresholdError
        Fewer than min_clients trained on one model.
    AbortError
        Two groups are equally large.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for rank, context in complete.items():
        groups[context].append(rank)
    largest = sorted(groups.items(), key=lambda item: len(item[1]), reverse=True)
    have = len(largest[0][1]) if largest else 0
    if have < params.min_clients:
        split = f" on one model ({len(groups)} different contexts)" if len(groups) > 1 else ""
        raise ThresholdError(f"survivors{split}", params.min_clients, have)
    if len(largest) > 1 and len(largest[1][1]) == have:
        raise AbortError("two equally large groups of clients trained on different models")
    return largest[0]
