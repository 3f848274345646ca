"""From updates to lane integers and from their sums back, with stated errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from secagg.encoding.decoded import Decoded
from secagg.encoding.fixed_point import FixedPoint
from secagg.encoding.integer import Integer
from secagg.encoding.layout import Layout
from secagg.encoding.rooms import Room, find_rooms
from secagg.encoding.segments import Encoding, SegmentPlan
from secagg.encoding.source import Encoded, Segment, Source
from secagg.errors import ParameterError

__all__ = [
    "Decoded",
    "Encoded",
    "Encoding",
    "FixedPoint",
    "Integer",
    "Layout",
    "Room",
    "Segment",
    "SegmentPlan",
    "Source",
    "encoding_from_canonical",
    "find_rooms",
]

_KINDS: dict[str, type[FixedPoint | Integer]] = {"fixed-point": FixedPoint, "integer": Integer}


def encoding_from_canonical(canonical: Sequence[Any]) -> Encoding:
    """Return the encoding that `canonical` describes.

    Raises
    ------
    ParameterError
        Not the canonical form of an encoding, or an option out of range.
    """
    kind, *options = canonical
    if kind not in _KINDS or len(options) != len(fields(_KINDS[kind])):
        raise ParameterError("not the canonical form of an encoding")
    return _KINDS[kind](*options)
