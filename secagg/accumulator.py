"""The bulk side: the only code that touches masked vectors.

`protect` is the client's half (encode, mask, pack, frame); `Accumulator` is the server's (unpack, add, unmask a range, merge,
finish). Sums merge and the mask generator seeks, so both split over ranges, threads and machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from secagg import _kernels
from secagg.encoding import Segment, Source
from secagg.errors import AbortError, InputError, StateError
from secagg.hazmat.prg import Masks, apply_masks
from secagg.params import Params
from secagg.protocols.pairwise import MaskedUpload
from secagg.spool import Spool
from secagg.wire import ChunkPlan
from secagg.workers import Workers

__all__ = ["Accumulator", "Masking", "protect", "protect_head"]

Pin: TypeAlias = Callable[[Source, int, int, int, int], Source]


def protect(
    source: Source,
    number: int,
    keys: Sequence[bytes],
    signs: Sequence[int],
    frame_bytes: int,
    chunk: Callable[[int, int, memoryview], bytes],
    workers: Workers,
    pin: Pin | None = None,
) -> Iterator[tuple[bytes, int]]:
    """Yield the masked frames of one segment, and with each how many of its values were clipped.

    Parameters
    ----------
    source : Source
        The update; encoded here, chunk by chunk. Secret.
    number : int
        Which segment, the head excepted.
    keys, signs : sequence
        16-byte mask seeds and +1 or -1 for each. Secret.
    frame_bytes : int
        Largest payload of a frame.
    chunk : callable
        ``(segment, index, payload) -> frame``.
    workers : Workers
    pin : callable, optional
        ``(source, segment, index, start, stop) -> source``: what a chunk is really made of, a copy that was checked.

    Raises
    ------
    InputError
        A value cannot be encoded, or `pin` refuses.

    Notes
    -----
    One pass over each chunk for all keys, in the memory of one chunk; the frames hold w bits a value.
    """
    segment = source.segments[number]
    with Masks(keys, signs) as masks:
        for index, start, stop in ChunkPlan(segment.count, segment.w, frame_bytes):
            payload = bytearray(((stop - start) * segment.w + 7) // 8)
            fixed = source if pin is None else pin(source, number, index, start, stop)
            work = _Chunk(fixed, number, start, payload, masks)
            workers.each(work.fill, workers.split(stop - start))
            yield chunk(number, index, memoryview(payload)), sum(work.clipped)


class _Chunk:
    """One chunk under protection; ranges of it may be filled by several threads."""

    def __init__(self, source: Source, number: int, start: int, payload: bytearray, masks: Masks) -> None:
        self._source, self._number, self._start = source, number, start
        self._w = source.segments[number].w
        self._into = memoryview(payload)
        self._masks = masks
        self.clipped: list[int] = []

    def fill(self, low: int, high: int) -> None:
        """Encode, mask and pack a range of the chunk's values; `low` is a multiple of 8."""
        out = self._into[low * self._w // 8 : (high * self._w + 7) // 8]
        self.clipped.append(
            self._source.protect_into(self._number, self._start + low, self._start + high, self._masks, out)
        )


def protect_head(
    source: Source,
    clipped: int,
    keys: Sequence[bytes],
    signs: Sequence[int],
    chunk: Callable[[int, int, memoryview], bytes],
) -> bytes:
    """Return the masked frame of the head segment, which knows how many values were clipped in all."""
    segment, lanes = source.segments[0], source.head(clipped)
    apply_masks(lanes, keys, signs, segment.stream_id, 0, segment.w)
    return chunk(0, 0, memoryview(_kernels.pack(lanes, segment.w)))


class Masking:
    """Encodes, masks and packs updates, chunk by chunk: what `Client` does with an update in pairwise."""

    def __init__(self, params: Params, workers: Workers) -> None:
        self._segments, self._frame_bytes, self._workers = params.segment_plan.segments, params.frame_bytes, workers

    def plan(self, number: int) -> ChunkPlan:
        """Return how a segment's values are cut into chunks."""
        segment = self._segments[number]
        return ChunkPlan(segment.count, segment.w, self._frame_bytes)

    def segment(
        self, source: Source, number: int, upload: MaskedUpload, pin: Pin | None = None
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the masked frames of one segment; see `protect`."""
        return protect(source, number, upload.keys, upload.signs, self._frame_bytes, upload.chunk, self._workers, pin)

    def head(self, source: Source, clipped: int, upload: MaskedUpload) -> bytes:
        """Return the masked frame of the head segment; see `protect_head`."""
        return protect_head(source, clipped, upload.keys, upload.signs, upload.chunk)

    def rest(self, upload: MaskedUpload) -> list[bytes]:
        """Return what else an upload holds before its header: nothing."""
        del upload
        return []


def _add_range(vector: NDArray[np.unsignedinteger], packed: memoryview, w: int, low: int, high: int) -> None:
    _kernels.unpack_add(vector[low:high], packed[low * w // 8 : (high * w + 7) // 8], w)


class Accumulator:
    """Masked sums by group (clients that trained on the same model), and what is needed to open one.

    Parameters
    ----------
    segments : sequence of Segment
    frame_bytes : int
        Largest payload of a frame; clients and server agree on it through Params.
    max_groups : int
        Groups that are kept; an upload to one more is refused, since each costs a whole vector.
    workers : Workers, optional
        Default: the caller's thread alone.
    spool : Spool, optional
        Where unfinished uploads wait. Default: in memory.

    Notes
    -----
    Memory is one vector of lanes a group, and what the spool keeps.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        frame_bytes: int,
        max_groups: int = 1 << 20,
        workers: Workers | None = None,
        spool: Spool | None = None,
    ) -> None:
        self._max_groups = max_groups
        self._segments = tuple(segments)
        self._plans = tuple(ChunkPlan(s.count, s.w, frame_bytes) for s in self._segments)
        self._sizes = [[plan.payload_bytes(i) for i in range(plan.chunks)] for plan in self._plans]
        self._workers = workers or Workers(1)
        self._spool = spool or Spool(1 << 62)
        self._sums: dict[bytes, list[NDArray[np.unsignedinteger]]] = {}
        self._broken = False

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk."""
        return self._sizes

    def add(self, client: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk of an unfinished upload.

        Raises
        ------
        InputError
            There is no room for it.
        """
        self._spool.put(client, (segment, index), payload)

    def discard(self, client: str) -> None:
        """Forget an unfinished upload."""
        self._spool.drop(client)

    def fold(self, client: str, group: bytes) -> None:
        """Add a complete upload to its group's masked sum.

        Raises
        ------
        InputError
            A chunk has non-zero padding, or there are too many groups; nothing was added.
        """
        for (number, index), last in self._spool.last_bytes(client):
            segment, (start, stop) = self._segments[number], self._plans[number].span(index)
            # Only a chunk's last byte can be badly packed; all are checked before any is added.
            tail = (stop - start) * segment.w % 8
            if tail and last >> tail:
                raise InputError("padding bits are not zero")
        sums = self._sums.get(group)
        if sums is None:
            if len(self._sums) >= self._max_groups:
                raise InputError("too many different contexts in one round")
            sums = [np.zeros(s.count, dtype=_kernels.lane_dtype(s.w)) for s in self._segments]
            self._sums[group] = sums
        self._check_whole()
        self._broken = True  # until all of it is added
        for (number, index), payload in self._spool.payloads(client):
            start, stop = self._plans[number].span(index)
            add = partial(_add_range, sums[number][start:stop], payload, self._segments[number].w)
            self._workers.each(add, self._workers.split(stop - start))
        self._broken = False
        self._spool.drop(client)

    def _check_whole(self) -> None:
        if self._broken:
            raise AbortError("an upload was added in part when the machine failed; abort the round")

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
        segment, vector = self._segments[number], self._of(group)[number]
        with Masks(keys, signs) as masks:

            def unmask(low: int, high: int) -> None:
                masks.apply(vector[start + low : start + high], segment.stream_id, start + low, segment.w)

            self._workers.each(unmask, self._workers.split(stop - start))

    def finish(self, group: bytes, keys: Sequence[bytes], signs: Sequence[int]) -> list[NDArray[np.unsignedinteger]]:
        """Return a group's sums with all masks applied, and forget every group."""
        self._of(group)
        self._check_whole()
        self._broken = True  # a mask that was removed must not be removed again
        for number, segment in enumerate(self._segments):
            self.unmask_range(group, number, 0, segment.count, keys, signs)
        sums = self._sums[group]
        self._sums, self._broken = {}, False
        self._spool.clear()
        return sums

    def _of(self, group: bytes) -> list[NDArray[np.unsignedinteger]]:
        if group not in self._sums:
            raise StateError("no upload was folded into this group")
        return self._sums[group]
