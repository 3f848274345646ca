"""The bulk side: the only code that touches masked vectors.

`protect` is the client's half (mask, pack, frame); `Accumulator` is the server's (unpack, add, unmask a range, merge, finish).
Sums merge and the mask generator seeks, so both split over ranges, threads and machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from secagg import _kernels
from secagg.encoding import Segment
from secagg.errors import InputError, StateError
from secagg.hazmat import prg
from secagg.wire import ChunkPlan

__all__ = ["Accumulator", "protect"]


def protect(
    segments: Sequence[Segment],
    vectors: Sequence[NDArray[np.unsignedinteger]],
    keys: Sequence[bytes],
    signs: Sequence[int],
    frame_bytes: int,
    chunk: Callable[[int, int, bytes], bytes],
) -> list[bytes]:
    """Return the frames of a masked vector; `vectors` are masked in place.

    Parameters
    ----------
    segments : sequence of Segment
    vectors : sequence of ndarray
        Encoded values, one lane array a segment, owned by the caller and overwritten. Secret before, masked after.
    keys, signs : sequence
        16-byte mask seeds and +1 or -1 for each. Secret.
    frame_bytes : int
        Largest payload of a frame.
    chunk : callable
        ``(segment, index, payload) -> frame``.

    Notes
    -----
    One pass over the vector for all keys; the frames hold w bits a value.
    """
    frames: list[bytes] = []
    for number, (segment, vector) in enumerate(zip(segments, vectors, strict=True)):
        for index, start, stop in ChunkPlan(segment.count, segment.w, frame_bytes):
            part = vector[start:stop]
            prg.apply_masks(part, keys, signs, segment.stream_id, start, segment.w)
            frames.append(chunk(number, index, _kernels.pack(part, segment.w)))
    return frames


class Accumulator:
    """Masked sums by group (clients that trained on the same model), and what is needed to open one.

    Parameters
    ----------
    segments : sequence of Segment
    frame_bytes : int
        Largest payload of a frame; clients and server agree on it through Params.
    max_groups : int
        Groups that are kept; an upload to one more is refused, since each costs a whole vector.

    Notes
    -----
    Memory is one vector of lanes a group, and the packed bytes of unfinished uploads.
    """

    def __init__(self, segments: Sequence[Segment], frame_bytes: int, max_groups: int = 1 << 20) -> None:
        self._max_groups = max_groups
        self._segments = tuple(segments)
        self._plans = tuple(ChunkPlan(s.count, s.w, frame_bytes) for s in self._segments)
        self._sizes = [[plan.payload_bytes(i) for i in range(plan.chunks)] for plan in self._plans]
        self._pending: dict[str, dict[tuple[int, int], bytes]] = {}
        self._sums: dict[bytes, list[NDArray[np.unsignedinteger]]] = {}

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk."""
        return self._sizes

    def add(self, client: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk of an unfinished upload; the bytes are copied."""
        self._pending.setdefault(client, {})[segment, index] = bytes(payload)

    def discard(self, client: str) -> None:
        """Forget an unfinished upload."""
        self._pending.pop(client, None)

    def fold(self, client: str, group: bytes) -> None:
        """Add a complete upload to its group's masked sum.

        Raises
        ------
        InputError
            A chunk has non-zero padding, or there are too many groups; nothing was added.
        """
        parts = self._pending[client]
        for (number, index), payload in parts.items():
            segment, (start, stop) = self._segments[number], self._plans[number].span(index)
            # Only a chunk's last byte can be badly packed; all are checked before any is added.
            tail = (stop - start) * segment.w % 8
            if tail and payload[-1] >> tail:
                raise InputError("padding bits are not zero")
        sums = self._sums.get(group)
        if sums is None:
            if len(self._sums) >= self._max_groups:
                raise InputError("too many different contexts in one round")
            sums = [np.zeros(s.count, dtype=_kernels.lane_dtype(s.w)) for s in self._segments]
            self._sums[group] = sums
        for (number, index), payload in parts.items():
            start, stop = self._plans[number].span(index)
            _kernels.unpack_add(sums[number][start:stop], payload, self._segments[number].w)
        del self._pending[client]

    def merge(self, other: Accumulator) -> None:
        """Add another accumulator's groups to this one's."""
        if other._segments != self._segments:
            raise InputError("accumulators of different segments do not merge")
        for group, theirs in other._sums.items():
            mine = self._sums.get(group)
            if mine is None:
                self._sums[group] = [array.copy() for array in theirs]
                continue
            for segment, a, b in zip(self._segments, mine, theirs, strict=True):
                _kernels.add_mod(a, b, segment.w)

    def unmask_range(
        self, group: bytes, number: int, start: int, stop: int, keys: Sequence[bytes], signs: Sequence[int]
    ) -> None:
        """Apply masks to one range of one segment of a group's sum, in place."""
        segment = self._segments[number]
        prg.apply_masks(self._of(group)[number][start:stop], keys, signs, segment.stream_id, start, segment.w)

    def finish(self, group: bytes, keys: Sequence[bytes], signs: Sequence[int]) -> list[NDArray[np.unsignedinteger]]:
        """Return a group's sums with all masks applied, and forget every group."""
        self._of(group)
        for number, segment in enumerate(self._segments):
            self.unmask_range(group, number, 0, segment.count, keys, signs)
        sums = self._sums[group]
        self._sums, self._pending = {}, {}
        return sums

    def _of(self, group: bytes) -> list[NDArray[np.unsignedinteger]]:
        if group not in self._sums:
            raise StateError("no upload was folded into this group")
        return self._sums[group]
