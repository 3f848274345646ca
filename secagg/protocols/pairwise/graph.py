"""The share graph and the mask graph: full, or circulant over a pseudorandom permutation."""

from __future__ import annotations

from secagg.hazmat import prg
from secagg.hazmat.transcript import digest, u64

__all__ = ["mask_graph", "neighbours", "share_graph"]


def neighbours(seed: bytes, size: int, degree: int) -> list[list[int]]:
    """Return the sorted neighbours of each of `size` vertices.

    Parameters
    ----------
    seed : bytes
        16 bytes; unused on the full graph.
    size : int
        Vertices.
    degree : int
        Wanted degree; ``min(degree, size - 1)`` is used. An even degree under size - 1 gives the circulant graph in which
        permuted positions at distance 1 to degree / 2 are joined.
    """
    if degree >= size - 1:
        return [[j for j in range(size) if j != i] for i in range(size)]
    order = prg.permutation(seed, size)
    reach = [d for d in range(-(degree // 2), degree // 2 + 1) if d]
    result: list[list[int]] = [[] for _ in range(size)]
    for position, vertex in enumerate(order):
        result[vertex] = sorted(order[(position + d) % size] for d in reach)
    return result


def share_graph(setup_hash: bytes, cohort: int, degree: int) -> list[list[int]]:
    """Return who holds shares of whom, over the cohort's ranks."""
    return neighbours(digest("share-graph", setup_hash)[:16], cohort, degree)


def mask_graph(
    setup_hash: bytes, round_id: int, participants_hash: bytes, ranks: list[int], degree: int
) -> dict[int, list[int]]:
    """Return who masks with whom, over the ranks of a round's participants."""
    seed = digest("mask-graph", setup_hash, u64(round_id), participants_hash)[:16]
    edges = neighbours(seed, len(ranks), degree)
    return {rank: [ranks[j] for j in edges[i]] for i, rank in enumerate(ranks)}
