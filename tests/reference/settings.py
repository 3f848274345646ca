"""Roster and Params, read from their canonical bytes (spec, section 3), and an update encoded under them (section 6)."""

import math
from typing import NamedTuple

from reference import encoding, msgpack
from reference.hashes import digest

FIELD = 2**255 - 19
_EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7  # y of a point of order 8
SMALL_ORDER = {0, 1, FIELD - 1, _EIGHTH, FIELD - _EIGHTH}  # y of every point of order 1, 2, 4 and 8


class Roster:
    """Everybody's verify keys; `clients` is sorted by the UTF-8 bytes of the ids."""

    def __init__(self, server, clients, holder=None):
        for key in (server, *clients.values(), *([] if holder is None else [holder])):
            y = int.from_bytes(key, "little") % 2**255
            if len(key) != 32 or y >= FIELD or y in SMALL_ORDER:
                raise ValueError("no canonical key, or one of small order")
        self.server = server
        self.clients = dict(sorted(clients.items(), key=lambda item: item[0].encode()))
        if len({server, *clients.values()}) != len(clients) + 1:
            raise ValueError("two parties have one key")
        self.holder = holder
        named = [part for name, key in self.clients.items() for part in (name.encode(), key)]
        if holder is None:
            self.hash = digest("roster", server, *named)
        elif holder == server:
            raise ValueError("the server holds the key")
        else:
            self.hash = digest("roster-holder", server, holder, *named)


class Segment(NamedTuple):
    """A part of the vector; `encoding` is the canonical array, None for the head."""

    name: str
    w: int
    count: int
    encoding: list | None

    @property
    def levels(self):
        """The largest encoded value of weight 1."""
        kind, *rest = self.encoding
        return 2 ** rest[1] - 1 if kind == "fixed-point" else rest[1] - rest[0]


def _leaves(tree, top=None, depth=0):
    """Yield (top-level key or None, number of values) in layout order."""
    kind, *rest = tree
    if kind == "flat":
        yield None, rest[0]
    elif kind == "leaf":
        yield top, math.prod(rest[1])
    elif kind == "dict":
        for key, child in rest[0]:
            yield from _leaves(child, top if depth else key, depth + 1)
    else:
        for child in rest[0]:
            yield from _leaves(child, top, depth + 1)


class Settings:
    """Params; the names are the spec's letters where it has one."""

    PROTOCOL = ("pairwise", 0)  # and how many fields it has of its own

    def __init__(self, canonical):
        (
            self.n, _, (_, tree), self.encoding, named, self.metrics, protocol, self.threat, self.t, self.m, _, self.c, self.p,
            self.min_cohort, self.k, self.max_weight, self.rounds, self.frame_bytes, *self.own,
        ) = msgpack.unpack(canonical)  # fmt: skip
        if (protocol, len(self.own)) != self.PROTOCOL:
            raise ValueError("the canonical bytes of another protocol")
        self.hash = digest("params", canonical)
        self.named = dict(named)
        self.leaves = [(top if top in self.named else "model", size) for top, size in _leaves(tree)]
        self.full = self.k == self.n - 1
        self.limit = max(self.frame_bytes, self.n * (1024 + 96 * self.rounds + 5 * self.k)) + 4096
        self.segments = [Segment("head", 64, 3, None)]
        sizes = {"model": 0}
        for name, size in self.leaves:
            sizes[name] = sizes.get(name, 0) + size
        if self.metrics:
            sizes["metrics"] = len(self.metrics)
        for name, count in sizes.items():
            if count:
                self._add(name, count)

    def _add(self, name, count):
        part = Segment(name, 0, count, self.named.get(name, self.encoding))
        w = encoding.width(part.levels.bit_length(), self.p * self.max_weight)
        self.segments.append(part._replace(w=w))

    def chunks(self, number):
        """Return the (start, stop) of each chunk of a segment."""
        return encoding.chunks(self.segments[number].count, self.segments[number].w, self.frame_bytes)

    def encode(self, values, weight, metrics, key):
        """Return each segment's integers, for `values` in layout order and `metrics` in the order of Params."""
        rows, at = {name: [] for name, *_ in self.segments}, 0
        for name, size in self.leaves:
            rows[name] += values[at : at + size]
            at += size
        if at != len(values) or len(metrics) != len(self.metrics):
            raise ValueError("another number of values")
        if self.metrics:
            rows["metrics"] = list(metrics)
        vectors, clipped = [], 0
        for number, part in enumerate(self.segments[1:], 1):
            kind, *rest = part.encoding
            if kind == "integer":
                encoded = encoding.integer(rows[part.name], rest[0])
            else:
                clip, bits, rounding, _ = rest
                drawn = key if rounding == "stochastic" else None
                encoded = encoding.fixed_point(rows[part.name], clip, bits, drawn, number, 0)
                clipped += sum(abs(x) > clip for x in rows[part.name])
            vectors.append([weight * value for value in encoded])
        return [[weight, clipped if weight else 0, 1], *vectors]
