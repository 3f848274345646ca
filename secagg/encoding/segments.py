"""The masked vector of a round: its segments, and the way from an update to lanes and from sums to a mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from secagg.encoding.decoded import Decoded
from secagg.encoding.fixed_point import FixedPoint
from secagg.encoding.integer import Integer
from secagg.encoding.layout import Layout, Leaf, number_values
from secagg.encoding.source import Encoded, Part, Segment, Source
from secagg.encoding.weights import check_weight, whole
from secagg.errors import InputError, ParameterError

__all__ = ["Encoding", "Place", "SegmentPlan"]

Encoding: TypeAlias = FixedPoint | Integer
Lanes: TypeAlias = NDArray[np.unsignedinteger]

HEAD = "head"
MODEL = "model"
METRICS = "metrics"
HEAD_VALUES = 3  # weight, clipped, check lane
HEAD_WIDTH = 64


@dataclass(frozen=True)
class Place:
    """Where a leaf's values are: in which segment from which index, and from which index of the flat update."""

    leaf: Leaf
    encoding: Encoding
    segment: int
    start: int
    offset: int


@dataclass(frozen=True, init=False)
class SegmentPlan:
    """How updates of one layout become segments, and sums become an update.

    Parameters
    ----------
    layout : Layout
    encoding : FixedPoint or Integer
        Of everything that `segments` does not name.
    segments : mapping of str to encoding, optional
        ``"model"`` (in place of `encoding`), ``"metrics"``, and any top-level key of the layout, which becomes a segment.
    metrics : sequence of str
        Names of scalars beside the update.
    max_weight, max_participants : int
        Their product is the largest sum of weights, and with the encoding gives each segment's width.

    Raises
    ------
    ParameterError
        A segment that is not there, metrics without an encoding, or a sum that could wrap 64 bits.
    """

    layout: Layout
    encoding: Encoding
    overrides: tuple[tuple[str, Encoding], ...]
    metrics: tuple[str, ...]
    max_weight: int
    max_participants: int

    def __init__(
        self,
        layout: Layout,
        encoding: Encoding,
        segments: Mapping[str, Encoding] | None = None,
        metrics: Sequence[str] = (),
        *,
        max_weight: int = 1,
        max_participants: int,
    ) -> None:
        if isinstance(metrics, str) or not all(isinstance(name, str) for name in metrics) or "" in metrics:
            raise ParameterError("metrics must be a tuple of names")
        if len(set(metrics)) != len(metrics):
            raise ParameterError("metrics must have distinct names")
        settled = {
            "layout": layout,
            "encoding": encoding,
            "overrides": tuple(sorted((segments or {}).items())),
            "metrics": tuple(metrics),
            "max_weight": whole("max_weight", max_weight, 1, 1 << 63),
            "max_participants": whole("max_participants", max_participants, 1, 1 << 32),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        if not isinstance(layout, Layout):
            raise ParameterError("layout must be a Layout; build it with Layout.of(example)")
        if not all(isinstance(each, FixedPoint | Integer) for each in (encoding, *dict(self.overrides).values())):
            raise ParameterError("an encoding is a FixedPoint or an Integer")
        self._check_names()
        _ = self.segments  # refuses what could wrap

    def _check_names(self) -> None:
        named = dict(self.overrides)
        keys = self.layout.top_keys
        if HEAD in named:
            raise ParameterError(f"the segment {HEAD!r} is the engine's own")
        if self.metrics and METRICS not in named:
            raise ParameterError(f"metrics need an encoding: segments={{{METRICS!r}: FixedPoint(...)}}")
        if self.metrics and METRICS in keys:
            raise ParameterError(f"the layout has a key {METRICS!r}; rename it, or leave metrics= empty")
        for name in named:
            if name not in keys and name != MODEL and not (name == METRICS and self.metrics):
                known = ", ".join(map(repr, (MODEL, *keys))) + (f", {METRICS!r}" if self.metrics else "")
                raise ParameterError(f"segments names {name!r}, which is none of {known}")

    @property
    def total_weight(self) -> int:
        """Largest sum of weights that the widths allow."""
        return self.max_weight * self.max_participants

    def _segment_of(self, leaf: Leaf) -> str:
        return leaf.top if leaf.top is not None and leaf.top in dict(self.overrides) else MODEL

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The head; the model, unless every leaf is elsewhere; named keys in layout order; the metrics."""
        named = dict(self.overrides)
        counts = {MODEL: 0} | {key: 0 for key in self.layout.top_keys if key in named}
        for leaf in self.layout.leaves:
            counts[self._segment_of(leaf)] += leaf.size
        empty = [name for name, count in counts.items() if count == 0 and name in named]
        if empty:
            raise ParameterError(f"the segment {empty[0]!r} has no values")
        found = [Segment(HEAD, 0, None, HEAD_WIDTH, HEAD_VALUES)]
        parts = [(name, count) for name, count in counts.items() if count]
        if self.metrics:
            parts.append((METRICS, len(self.metrics)))
        if self.total_weight >= 1 << HEAD_WIDTH:
            raise ParameterError("max_weight * max_participants must stay below 2**64; lower max_weight")
        for name, count in parts:
            encoding = named.get(name, self.encoding)
            found.append(Segment(name, len(found), encoding, encoding.width(self.total_weight), count))
        return tuple(found)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where each leaf of the layout is, in its order."""
        named = dict(self.overrides)
        numbers = {segment.name: i for i, segment in enumerate(self.segments)}
        filled = dict.fromkeys(numbers, 0)
        places, offset = [], 0
        for leaf in self.layout.leaves:
            name = self._segment_of(leaf)
            # A leaf without values may belong to a model segment that does not exist; its slices are empty anywhere.
            encoding = named.get(name, self.encoding)
            places.append(Place(leaf, encoding, numbers.get(name, 0), filled.get(name, 0), offset))
            if leaf.size:
                filled[name] += leaf.size
            offset += leaf.size
        return tuple(places)

    def open(self, update: Any, weight: int, metrics: Mapping[str, float] | None, rounding_key: bytes) -> Source:
        """Return an update opened for encoding, any range of any segment at a time.

        Parameters
        ----------
        update : as the layout
            Read while the source is in use, never kept longer or changed. Secret.
        weight : int
            From 0 to `max_weight`. The values of weight 0 are checked and become zeros.
        metrics : mapping of str to float, or None
            Exactly the names of the plan.
        rounding_key : bytes
            16 bytes, secret, used for one update only.

        Raises
        ------
        InputError
            Something does not fit; the message names the leaf and never a value.
        """
        weight = check_weight(weight, self.max_weight)
        given: Any = {} if metrics is None else metrics
        if not isinstance(given, Mapping) or set(given) != set(self.metrics):
            raise InputError(f"metrics must be a mapping with exactly these names: {', '.join(self.metrics) or 'none'}")
        scalars = [number_values(given[name], f"metric {name!r}") for name in self.metrics]
        parts = [
            Part(values, place.encoding, place.segment, place.start, place.leaf.name)
            for place, values in zip(self.places, self.layout.flatten(update), strict=True)
        ]
        last = len(self.segments) - 1
        parts += [
            Part(value, dict(self.overrides)[METRICS], last, i, f"metric {name!r}")
            for i, (name, value) in enumerate(zip(self.metrics, scalars, strict=True))
        ]
        return Source(self.segments, parts, weight, rounding_key)

    def encode(self, update: Any, weight: int, metrics: Mapping[str, float] | None, rounding_key: bytes) -> Encoded:
        """Return the lane arrays of a whole update: each value encoded, then multiplied by `weight`.

        Parameters and errors are those of `open`.
        """
        source = self.open(update, weight, metrics, rounding_key)
        parts = [source.encode(number, 0, self.segments[number].count) for number in range(1, len(self.segments))]
        clipped = sum(count for _, count in parts)
        return Encoded([source.head(clipped), *(vector for vector, _ in parts)], clipped if weight else 0)

    def decode(self, sums: Sequence[Lanes]) -> Decoded:
        """Return what sums of `Encoded.vectors`, each modulo 2**w, say.

        Parameters
        ----------
        sums : sequence of ndarray of unsigned integers, 1-D
            One per segment. Kept, and read when a result is asked for.

        Raises
        ------
        InputError
            Another number of arrays, or an array of another length or dtype. Sums that no honest client can cause do not
            raise: see `Decoded.out_of_range`, and compare `Decoded.lanes` and `Decoded.weight` with the contributors.
        """
        if len(sums) != len(self.segments):
            raise InputError(f"expected the sums of {len(self.segments)} segments, got {len(sums)}")
        array: Any
        for segment, array in zip(self.segments, sums, strict=True):
            if not isinstance(array, np.ndarray) or array.dtype.kind != "u" or array.shape != (segment.count,):
                raise InputError(f"the sum of segment {segment.name!r} must be {segment.count} unsigned integers")
        return Decoded(self, sums)

    def canonical(self) -> tuple[Any, ...]:
        """Return nested tuples of str, int and float that stand for the plan."""
        overrides = tuple((name, encoding.canonical()) for name, encoding in self.overrides)
        return (
            "segments", self.layout.canonical(), self.encoding.canonical(), overrides, self.metrics,
            self.max_weight, self.max_participants,
        )  # fmt: skip
