"""How large the values of a segment, and their sums over honest clients, can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secagg.encoding.source import Segment

__all__ = ["Room", "find_rooms"]

MAX_LIMBS = 8


@dataclass(frozen=True)
class Room:
    """What the coefficients of one segment must hold.

    Attributes
    ----------
    count : int
        Values.
    most : int
        Largest value of one client.
    total : int
        Largest sum of a value over all clients.
    """

    count: int
    most: int
    total: int

    def limbs(self, capacity: int, clients: int) -> tuple[int, int] | None:
        """Return into how many limbs of how many bits a value is cut so that no sum exceeds `capacity`; None if no cut does."""
        if self.total <= capacity:
            return 1, max(1, self.total.bit_length())
        for limbs in range(2, MAX_LIMBS + 1):
            bits = -(-self.most.bit_length() // limbs)
            if clients * ((1 << bits) - 1) <= capacity:
                return limbs, bits
        return None


def find_rooms(segments: Sequence[Segment], max_weight: int, clients: int) -> tuple[Room, ...]:
    """Return every segment's room, the head's first, for at most `clients` updates of at most `max_weight`."""
    values = sum(segment.count for segment in segments[1:])
    head = max(max_weight, values, 1)
    found = [Room(segments[0].count, head, head * clients)]
    for segment in segments[1:]:
        encoding: Any = segment.encoding
        most = max_weight * int(encoding.levels)
        found.append(Room(segment.count, most, most * clients))
    return tuple(found)
