"""A root over the sealed shares of one upload, and for each of them the hashes that tie it to the root (RFC 6962's tree)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

from secagg.errors import AuthenticationError

__all__ = ["Tree", "check", "depth", "paths", "paths_in", "root", "tree"]

HASH_BYTES = 32
Tree: TypeAlias = list[list[bytes]]  # every level of hashes, from the leaves' up to the root


def depth(count: int) -> int:
    """Return how many hashes the path of a leaf among `count` has room for; a shorter one is filled up with zero bytes."""
    return (count - 1).bit_length()


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def tree(leaves: Sequence[bytes]) -> Tree:
    """Return every level from the hashes of at least one leaf up; the last of an odd number of nodes goes up as it is."""
    levels = [[_leaf(data) for data in leaves]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [_node(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        levels.append(above + below[len(above) * 2 :])
    return levels


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the 32-byte root over at least one leaf."""
    return tree(leaves)[-1][0]


def paths(leaves: Sequence[bytes]) -> list[bytes]:
    """Return every leaf's path: the hashes beside its way up, lowest first, filled up to `depth` hashes."""
    return paths_in(tree(leaves))


def paths_in(levels: Tree) -> list[bytes]:
    """Return the same from the tree over the leaves, for those who have it already."""
    count = len(levels[0])
    size = depth(count) * HASH_BYTES
    found = []
    for place in range(count):
        at, beside = place, []
        for level in levels[:-1]:
            if at ^ 1 < len(level):
                beside.append(level[at ^ 1])
            at //= 2
        found.append(b"".join(beside).ljust(size, b"\0"))
    return found


def check(leaf: bytes, place: int, count: int, path: bytes, expected: bytes) -> None:
    """Return if `leaf` is number `place` of the `count` under a root.

    Raises
    ------
    AuthenticationError
        It is not, or the path has another length.
    """
    if len(path) != depth(count) * HASH_BYTES:
        raise AuthenticationError("a path of another length")
    found, at, width, used = _leaf(leaf), place, count, 0
    while width > 1:
        if at ^ 1 < width:
            beside = path[used : used + HASH_BYTES]
            found = _node(beside, found) if at & 1 else _node(found, beside)
            used += HASH_BYTES
        at, width = at // 2, (width + 1) // 2
    if any(path[used:]) or found != expected:
        raise AuthenticationError("a share is not the one its client signed for")
