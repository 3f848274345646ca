"""From updates to lane integers and from their sums back, with stated errors."""

from secagg.encoding.fixed_point import FixedPoint
from secagg.encoding.integer import Integer
from secagg.encoding.layout import Layout
from secagg.encoding.segments import Decoded, Encoded, Encoding, Segment, SegmentPlan

__all__ = ["Decoded", "Encoded", "Encoding", "FixedPoint", "Integer", "Layout", "Segment", "SegmentPlan"]
