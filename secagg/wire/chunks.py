"""How a packed vector is cut into frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ChunkPlan"]


@dataclass(frozen=True)
class ChunkPlan:
    """The value ranges of one segment's frames.

    Every chunk but the last holds the same multiple of 8 values, so that each starts on a byte whatever w is.

    Parameters
    ----------
    count : int
        Values in the segment.
    w : int
        Bits a value, 1 to 64.
    frame_bytes : int
        Largest payload of one frame, at least 64.
    """

    count: int
    w: int
    frame_bytes: int

    @property
    def step(self) -> int:
        """Values in a full chunk."""
        return self.frame_bytes * 8 // self.w // 8 * 8

    @property
    def chunks(self) -> int:
        """Number of frames."""
        return -(-self.count // self.step)

    def span(self, index: int) -> tuple[int, int]:
        """Return the half-open value range of chunk `index`."""
        start = index * self.step
        return start, min(start + self.step, self.count)

    def payload_bytes(self, index: int) -> int:
        """Return the exact payload length of chunk `index`."""
        start, stop = self.span(index)
        return ((stop - start) * self.w + 7) // 8

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield (index, start, stop)."""
        for index in range(self.chunks):
            yield (index, *self.span(index))
