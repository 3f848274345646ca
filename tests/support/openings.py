"""What a server can open, given who masked with whom and which secrets it has: by a rule on sets, and by algebra.

Names are numbers, first those of the honest clients, whose secrets `seeds` and `keys` tell open or shut; masks shared with
corrupt names are known. `lists[i]` is the participant list under which honest client i submitted, or None. It put a mask on its
upload for everybody else in its list, and two such masks are the same one, and cancel, exactly if the lists are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

PRIME = 2**31 - 1
Opened = tuple[bool, ...]
Lists = tuple[frozenset[int] | None, ...]


def partners(shown: frozenset[int] | None, me: int, honest: int) -> list[int]:
    """With which other honest clients `me` shares a mask under a list."""
    return [j for j in shown or () if j < honest and j != me]


@cache
def smallest_opened(lists: Lists, seeds: Opened, keys: Opened) -> int | None:
    """Size of the smallest set of submitted honest updates whose sum is open, None if none is.

    The sum over a set opens if every self-mask in it is open, and so is, by the key of either end, every mask that does not
    cancel inside the set.
    """
    senders = [i for i, shown in enumerate(lists) if shown is not None and seeds[i]]
    for size in range(1, len(senders) + 1):
        for chosen in itertools.combinations(senders, size):
            if all(
                keys[i] or keys[j] or (j in chosen and lists[i] == lists[j])
                for i in chosen
                for j in partners(lists[i], i, len(keys))
            ):
                return size
    return None


def rank(rows: Sequence[Sequence[int]]) -> int:
    """Rank of a small integer matrix modulo a prime."""
    left, found = [[v % PRIME for v in row] for row in rows], 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((r for r in range(found, len(left)) if left[r][column]), None)
        if pivot is None:
            continue
        left[found], left[pivot] = left[pivot], left[found]
        inverse = pow(left[found][column], -1, PRIME)
        for r in range(found + 1, len(left)):
            factor = left[r][column] * inverse
            left[r] = [(a - factor * b) % PRIME for a, b in zip(left[r], left[found], strict=True)]
        found += 1
    return found


def smallest_by_algebra(lists: Lists, seeds: Opened, keys: Opened) -> int | None:
    """The same answer from the equations alone: any linear combination of uploads, not just sums of sets.

    Columns are the honest updates, then the self-masks and pairwise masks that stayed shut, one for each list and pair.
    Something about the updates of a set is learnt exactly if the rows combine to zero in all columns but those of the set.
    """
    senders = [i for i, shown in enumerate(lists) if shown is not None]
    shut: dict[object, int] = {}
    uploads: list[dict[int, int]] = []
    for i in senders:
        upload = {} if seeds[i] else {shut.setdefault(i, len(shut)): 1}
        for j in partners(lists[i], i, len(keys)):
            if not (keys[i] or keys[j]):
                upload[shut.setdefault((lists[i], min(i, j), max(i, j)), len(shut))] = 1 if i < j else -1
        uploads.append(upload)
    masks = [[upload.get(column, 0) for column in range(len(shut))] for upload in uploads]
    for size in range(1, len(senders) + 1):
        for chosen in itertools.combinations(range(len(senders)), size):
            rows = [[int(u == v) for v in range(len(senders)) if v not in chosen] + row for u, row in enumerate(masks)]
            if rank(rows) < len(senders):
                return size
    return None
