"""Both implementations in every seat of oneshot, and a liar with every key on the way: they accept and refuse the same frames."""

import random

import pytest

from reference import frames
from reference.hashes import digest
from reference.oneshot_common import chunk
from secagg import Params
from support.lies import Both, lie
from support.live import ENCODINGS, identity
from support.oneshot_live import SESSION, OneshotLive, Step

FIVE = [f"c{i}" for i in range(5)]
KINDS = {
    "malicious": {"threshold": 4, "packing": 1},
    "semi-honest": {"threat": "semi-honest", "threshold": 3, "packing": 2},
    "drawn": {"threat": "semi-honest", "committee": 3, "threshold": 2, "packing": 1},
}
STEPS = (Step(1), Step(2, {"masked": ["c1"]}, participants=FIVE[:4]), Step(4), Step(5, {"reveal": ["c0"]}))


class Lied(Both, OneshotLive):
    """Hands every frame on only after some lies about it, and compares what both make of each."""

    def __init__(self, seed, kind):
        own, session = KINDS[kind], SESSION if kind == "drawn" else None
        root = {"clients": 5, "corrupt": 1, "min_clients": 3, "rounds_per_setup": 3, "protocol": "oneshot"}
        params = Params(**(root | ENCODINGS | {"max_weight": 3, "frame_bytes": 1 << 16} | own))
        super().__init__(params, FIVE, server="twin", clients=lambda name: "twin", session=session)
        self.rng, self.lies, self.taken, self.answered = random.Random(seed), 0, 0, 0
        self.parties = {"server": self.server, **self.clients}

    def lie(self, frame):
        """Change a frame or one within it, or send another payload in the place of a chunk's, signed by its sender."""
        kind, fields = frames.outer(frame)
        if kind in (frames.UPDATE_REQUEST, frames.REVEAL_REQUEST) and self.rng.random() < 0.5:
            return self.lie_within(frame, fields)
        batch = self.server.reference.batch
        if frame[3] != frames.CHUNK or batch is None or batch.setup is None or self.rng.random() < 0.7:
            return lie(self.rng, frame)
        session, sender, *at, _, payload = fields
        return chunk(identity(sender), session, sender, batch.setup.hash, at, payload[::-1])

    def lie_within(self, frame, fields):
        """Change a frame that a request of the server's shows, signed by its sender, and mostly name the keys that it makes."""
        body = frames.body(frame)
        shown = [at for at in (4, 5) if body[at : at + 1] not in ([], [None])]
        if not shown:
            return lie(self.rng, frame)
        at = self.rng.choice(shown)
        i = self.rng.randrange(len(body[at]))
        body[at][i] = lie(self.rng, body[at][i])
        keys = body[4] if frame[3] == frames.UPDATE_REQUEST else body[5]
        if self.rng.random() < 0.8:
            body[2] = digest("oneshot-setup", fields[0], *keys)
        return frames.envelope(frame[3], fields[0], "", body, identity("the server"))

    def hand(self, to, frame):
        """Tell lies before the frame, few that would take its place, and one after it."""
        first = {frames.MEMBER_KEY: 0.05, frames.REVEAL: 0.1, frames.UPDATE_REQUEST: 0.1, frames.MEMBER_REQUEST: 0.05}
        if self.rng.random() < first.get(frame[3], 0.2 if frame[3] == frames.CHUNK else 1):
            self.tell(to, frame)
        self.both(to, "receive", frame)
        self.tell(to, frame)

    def play(self, step):
        self.server.open_round(step.round_id, step.participants)
        while self.server.phase != "idle":
            gone = step.silent.get(self.server.phase, ())
            for to, frame in self.server.outbox():
                if to not in gone:
                    self.hand(to, frame)
            for name, client in self.clients.items():
                if client.awaiting is not None and name not in gone:
                    client.submit(*self.update(name, client.awaiting), b"the model")
                for frame in client.outbox():
                    self.hand("server", frame)
            closed = self.both("server", "close_phase")
            self.answered += closed and self.server.phase == "idle"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_both_take_the_same_frames_and_no_others(seed, kind):
    live = Lied(seed, kind)
    for step in STEPS:
        live.play(step)
    assert live.lies > 100
    assert live.taken < live.lies / 4 and live.answered > 0
    live.run(Step(9, survivors=FIVE))  # new keys: whatever was told, the session is alive
