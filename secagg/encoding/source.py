"""An update opened for encoding: any range of any segment on demand, so that no more than a frame is in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from secagg import _kernels
from secagg.encoding.fixed_point import FixedPoint
from secagg.encoding.integer import Integer
from secagg.hazmat.prg import Masks
from secagg.hazmat.transcript import digest, u64

__all__ = ["Encoded", "Part", "Segment", "Source"]

Lanes: TypeAlias = NDArray[np.unsignedinteger]

PIECE = 1 << 16  # values looked at in one go when an update is checked


@dataclass(frozen=True)
class Segment:
    """A part of the masked vector with its own encoding, width and keystreams.

    Attributes
    ----------
    name : str
        ``"head"``, ``"model"``, a top-level key of the layout, or ``"metrics"``.
    stream_id : int
        Its position, and the stream id of its masks and of its rounding.
    encoding : FixedPoint, Integer or None
        None for the head, whose integers are added as they are.
    w : int
        Bits of a value on the wire, and the modulus 2**w of the sum.
    count : int
        Values in it.
    """

    name: str
    stream_id: int
    encoding: FixedPoint | Integer | None
    w: int
    count: int


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a client masks: one lane array per segment, the caller's to overwrite. Secret."""

    vectors: list[Lanes] = field(repr=False)
    clipped: int = field(repr=False)


@dataclass(frozen=True, eq=False)
class Part:
    """A leaf's values, 1-D, and where they go: into which segment, from which index on. Secret."""

    values: NDArray[Any] = field(repr=False)
    encoding: FixedPoint | Integer
    segment: int
    start: int
    name: str


class Source:
    """One update, with its weight and metrics, ready to be encoded piece by piece. Secret.

    Parameters
    ----------
    segments : sequence of Segment
    parts : sequence of Part
        Together they fill every segment but the head.
    weight : int
        Checked already.
    rounding_key : bytes
        16 bytes, secret.

    Notes
    -----
    Ranges may be encoded in any order, twice, and by several threads: the same range always gives the same lanes.
    """

    __slots__ = ("_key", "_parts", "_starts", "segments", "weight")

    def __init__(self, segments: Sequence[Segment], parts: Sequence[Part], weight: int, rounding_key: bytes) -> None:
        self.segments = tuple(segments)
        self.weight = weight
        self._key = rounding_key
        self._parts: dict[int, list[Part]] = {}
        for part in parts:
            if len(part.values):
                self._parts.setdefault(part.segment, []).append(part)
        self._starts = {number: [part.start for part in row] for number, row in self._parts.items()}

    def __repr__(self) -> str:
        return f"<Source of {len(self.segments)} segments>"

    def fingerprint(self, context: bytes) -> bytes:
        """Return a digest of all that decides the encoding but the values themselves: they follow by `check`. Secret."""
        dtypes = (part.values.dtype.name.encode() for row in self._parts.values() for part in row)
        return digest("intent", u64(self.weight), self._key, context, *dtypes)

    def head(self, clipped: int) -> Lanes:
        """Return the head segment's lanes: weight, clipped values (0 if the weight is 0: nothing of them counts), 1."""
        vector = np.empty(self.segments[0].count, dtype=_kernels.lane_dtype(self.segments[0].w))
        vector[:] = (self.weight, clipped if self.weight else 0, 1)
        return vector

    def pieces(self, number: int, start: int, stop: int) -> Iterator[tuple[Part, int, int]]:
        """Yield the parts in a range of a segment, each with the range of its own values that lies in it."""
        row = self._parts[number]
        at = bisect_right(self._starts[number], start) - 1
        while start < stop:
            part = row[at]
            low = start - part.start
            high = min(stop - part.start, len(part.values))
            yield part, low, high
            start = part.start + high
            at += 1

    def encode(self, number: int, start: int, stop: int) -> tuple[Lanes, int]:
        """Return the lanes of a range of a segment other than the head, and how many values were clipped.

        Raises
        ------
        InputError
            A value cannot be encoded; the message names the leaf and never the value.
        """
        segment = self.segments[number]
        out = np.empty(stop - start, dtype=_kernels.lane_dtype(segment.w))
        clipped = 0
        for part, low, high in self.pieces(number, start, stop):
            at = part.start + low - start
            clipped += part.encoding.encode_into(
                part.values[low:high],
                out[at : at + high - low],
                weight=self.weight,
                key=self._key,
                stream_id=segment.stream_id,
                start=part.start + low,
                name=part.name,
            )
        return out, clipped

    def protect_into(self, number: int, start: int, stop: int, masks: Masks, out: memoryview) -> int:
        """Write a range of a segment, encoded, masked and packed, into `out`; return how many values were clipped.

        Parameters
        ----------
        number, start, stop : int
            Which values; in a range that begins on a byte of the packed segment.
        masks : Masks
            Secret.
        out : memoryview
            Exactly as long as the packed range.

        Raises
        ------
        InputError
            As `encode`.
        """
        segment = self.segments[number]
        (part, low, high), *more = self.pieces(number, start, stop)
        if not more and isinstance(part.encoding, FixedPoint):
            return part.encoding.protect_into(
                part.values[low:high],
                out,
                weight=self.weight,
                key=self._key,
                masks=masks,
                stream_id=segment.stream_id,
                start=start,
                w=segment.w,
                name=part.name,
            )
        lanes, clipped = self.encode(number, start, stop)
        try:
            masks.pack_into(lanes, segment.stream_id, start, segment.w, out)
        finally:
            lanes.fill(0)
        return clipped

    def copy(self, number: int, start: int, stop: int) -> Source:
        """Return a source of a range of a segment alone, with values of its own that nobody else can change."""
        parts = [
            Part(part.values[low:high].copy(), part.encoding, number, part.start + low, part.name)
            for part, low, high in self.pieces(number, start, stop)
        ]
        return Source(self.segments, parts, self.weight, self._key)

    def check(self, number: int, start: int, stop: int, absorb: Callable[[memoryview], None]) -> int:
        """Return how many values of a range of a segment will be clipped, having refused what cannot be encoded.

        Parameters
        ----------
        number, start, stop : int
        absorb : callable
            Given the bytes of every value in order, piece by piece, in the native byte order.

        Raises
        ------
        InputError
            As `encode`.

        Notes
        -----
        One pass over the range, in memory of one piece.
        """
        clipped = 0
        for part, first, last in self.pieces(number, start, stop):
            for low in range(first, last, PIECE):
                piece = part.values[low : min(low + PIECE, last)]
                clipped += part.encoding.check(piece, part.name)
                absorb(piece.view(np.uint8).data)
        return clipped
