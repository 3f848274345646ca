"""Both implementations in every seat, and a liar with every key on the way: they accept and refuse the same frames."""

import random

import pytest

from reference import frames, msgpack
from secagg import Params
from support.live import ENCODINGS, REFUSALS, Live, Step, identity

FIVE = [f"c{i}" for i in range(5)]
PARAMS = Params(clients=5, corrupt=0, threshold=3, min_clients=3, min_cohort=4, rounds_per_setup=2, **ENCODINGS)


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


class Lied(Live):
    """Hands every frame on only after some lies about it, and compares what both make of each."""

    def __init__(self, seed):
        super().__init__(PARAMS, FIVE, server="twin", clients=lambda name: "twin")
        self.rng, self.lies, self.taken = random.Random(seed), 0, 0
        self.parties = {"server": self.server, **self.clients}

    def both(self, who, verb, *args):
        """Have both do it, and return whether they did; which kind of refusal a frame with two faults gets is nobody's matter."""
        made = []
        for party in (self.parties[who].engine, self.parties[who].reference):
            try:
                made.append((True, getattr(party, verb)(*args)))
            except REFUSALS as refused:
                made.append((False, "abort" if refused.__class__.__name__ in ("AbortError", "ThresholdError") else ""))
        assert made[0] == made[1], (who, verb, args)
        return made[0][0]

    def hand(self, to, frame):
        """Tell lies before the frame, few about keys and shares, which may be anything, and one after it."""
        ours = frame[3] in (frames.ADVERTISEMENT, frames.DEALING)
        for _ in range(int(self.rng.random() < 0.1) if ours else 8 if frame[3] == frames.UNMASK_REQUEST else 1):
            self.tell(to, frame)
        self.both(to, "receive", frame)
        self.tell(to, frame)

    def tell(self, to, frame):
        self.lies += 1
        self.taken += self.both(to, "receive", lie(self.rng, frame))

    def play(self, step):
        gone = set()
        self.server.open_round(step.round_id, step.participants)
        while self.server.phase != "idle":
            gone |= set(step.silent.get(self.server.phase, ()))
            for to, frame in self.server.outbox():
                for name in [to] if to else FIVE:
                    if name not in gone:
                        self.hand(name, frame)
            for name, client in self.clients.items():
                if client.awaiting is not None and name not in gone:
                    client.submit(*self.update(name, client.awaiting), b"the model")
                for frame in client.outbox():
                    self.hand("server", frame)
            self.both("server", "close_phase")


@pytest.mark.parametrize("seed", range(12))
def test_both_take_the_same_frames_and_no_others(seed):
    live = Lied(seed)
    for step in (Step(1), Step(2, {"masked": ["c1"]}, participants=FIVE[:4]), Step(4, {"keys": ["c4"]})):
        live.play(step)
    assert live.lies > 30
    assert live.taken < live.lies / 4
