"""The share graph and the mask graph: full, or circulant over a pseudorandom permutation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from secagg.hazmat import prg
from secagg.hazmat.transcript import digest, u64

__all__ = ["Graph", "mask_graph", "share_graph"]


class Graph(Mapping[int, list[int]]):
    """Each vertex's sorted neighbours, computed when asked for: a client needs only its own.

    Parameters
    ----------
    seed : bytes
        16 bytes; unused on the full graph.
    vertices : sequence of int
        Strictly increasing ranks.
    degree : int
        Wanted degree; ``min(degree, len(vertices) - 1)`` is used. An even degree under that gives the circulant graph in
        which permuted positions at distance 1 to degree / 2 are joined.

    Notes
    -----
    Memory is O(vertices), and on a sparse graph O(degree) for each row that was asked for; a row costs O(vertices) on the full
    graph, O(degree) otherwise, the first time.
    """

    def __init__(self, seed: bytes, vertices: Sequence[int], degree: int) -> None:
        self._vertices = tuple(vertices)
        self._degree = degree
        self._order: list[int] = []
        self._position: dict[int, int] = {}
        self._rows: dict[int, list[int]] = {}
        if not self.full:
            self._order = [self._vertices[i] for i in prg.permutation(seed, len(self._vertices))]
            self._position = {vertex: position for position, vertex in enumerate(self._order)}

    @property
    def full(self) -> bool:
        """Whether every two vertices are joined."""
        return self._degree >= len(self._vertices) - 1

    def __getitem__(self, vertex: int) -> list[int]:
        if self.full:
            return [other for other in self._vertices if other != vertex]
        row = self._rows.get(vertex)
        if row is None:
            row = self._rows[vertex] = self._circulant(vertex)
        return list(row)

    def place(self, vertex: int, neighbour: int) -> int:
        """Return how many of a vertex's neighbours come before `neighbour`: its index in the row, without making the row."""
        if self.full:
            return bisect_left(self._vertices, neighbour) - (vertex < neighbour)
        if vertex not in self._rows:
            self._rows[vertex] = self._circulant(vertex)
        return bisect_left(self._rows[vertex], neighbour)

    def _circulant(self, vertex: int) -> list[int]:
        at, size = self._position[vertex], len(self._order)
        return sorted(self._order[(at + d) % size] for d in range(-(self._degree // 2), self._degree // 2 + 1) if d)

    def __iter__(self) -> Iterator[int]:
        return iter(self._vertices)

    def __len__(self) -> int:
        return len(self._vertices)


def share_graph(setup_hash: bytes, cohort: int, degree: int) -> Graph:
    """Return who holds shares of whom, over the cohort's ranks."""
    return Graph(digest("share-graph", setup_hash)[:16], range(cohort), degree)


def mask_graph(setup_hash: bytes, round_id: int, participants_hash: bytes, ranks: Sequence[int], degree: int) -> Graph:
    """Return who masks with whom, over the ranks of a round's participants."""
    return Graph(digest("mask-graph", setup_hash, u64(round_id), participants_hash)[:16], ranks, degree)
