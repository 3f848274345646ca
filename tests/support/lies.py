"""A liar with every key: frames with something changed in them, handed to both implementations, which must agree on each."""

from __future__ import annotations

from reference import frames, msgpack
from support.live import REFUSALS, identity

__all__ = ["Both", "lie", "other"]


def other(rng, value):
    """Return something else in the place of a field."""
    if isinstance(value, int):
        return rng.choice([min(value + 1, 2**64 - 1), value - 1, 0, -1, 2**63, 2**64 - 1])
    if value is None:
        return [[0, 1, 2, 3], b"", b""]
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, bytes):
        at = rng.randrange(len(value) + 1)
        changed = value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :] if at < len(value) else b""
        return rng.choice([value[:-1], value + b"0", changed, changed])
    if not value:
        return [rng.choice([0, 1, 9])]
    at = rng.randrange(len(value))
    inside = [*value[:at], other(rng, value[at]), *value[at + 1 :]]
    choices = [value[1:], value[:-1], [*value, value[-1]], value[::-1], inside, inside]
    return rng.choice([*choices, None] if isinstance(value[0], list) else choices)


def lie(rng, frame):
    """Return a frame with something changed in its outer array, or in its body under a fresh signature of its sender."""
    kind, fields = frames.outer(frame)
    if kind == frames.CHUNK or rng.random() < 0.1:
        at = rng.randrange(len(fields))
        fields[at] = other(rng, fields[at])
        return frame[:4] + msgpack.pack(fields)
    session, sender, _, payload = fields
    body = msgpack.unpack(payload)
    at = rng.randrange(len(body))
    body[at] = other(rng, body[at])
    return frames.envelope(kind, session, sender, body, identity(sender or "the server"))


class Both:
    """Has twins do things and compares what comes of it; needs `parties`, `rng`, and the counts `lies` and `taken`."""

    def both(self, who, verb, *args):
        """Have both do it, and return whether they did; which kind of refusal a frame with two faults gets is nobody's matter."""
        made = []
        for party in (self.parties[who].engine, self.parties[who].reference):
            try:
                made.append((True, getattr(party, verb)(*args)))
            except REFUSALS as refused:
                made.append((False, "abort" if refused.__class__.__name__ in ("AbortError", "ThresholdError") else ""))
        assert made[0] == made[1], (who, verb, args[0][:4] if args else b"")
        return made[0][0]

    def tell(self, to, frame):
        self.lies += 1
        self.taken += self.both(to, "receive", self.lie(frame))

    def lie(self, frame):
        """Return a lie about a frame."""
        return lie(self.rng, frame)
