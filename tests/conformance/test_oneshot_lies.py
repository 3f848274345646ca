"""Both implementations in every seat of oneshot, and a liar with every key on the way: they accept and refuse the same frames."""

import random

import pytest

from reference import frames
from reference.oneshot_common import chunk
from secagg import Params
from support.lies import Both, lie
from support.live import ENCODINGS, identity
from support.oneshot_live import OneshotLive, Step

FIVE = [f"c{i}" for i in range(5)]
STEPS = (Step(1), Step(2, {"masked": ["c1"]}, participants=FIVE[:4]), Step(4), Step(5, {"reveal": ["c0"]}))


class Lied(Both, OneshotLive):
    """Hands every frame on only after some lies about it, and compares what both make of each."""

    def __init__(self, seed, threat):
        params = Params(
            clients=5, corrupt=1, min_clients=3, threshold=3 + (threat == "malicious"), packing=1, rounds_per_setup=3,
            protocol="oneshot", threat=threat, **(ENCODINGS | {"max_weight": 3, "frame_bytes": 1 << 16}),
        )  # fmt: skip
        super().__init__(params, FIVE, server="twin", clients=lambda name: "twin")
        self.rng, self.lies, self.taken, self.answered = random.Random(seed), 0, 0, 0
        self.parties = {"server": self.server, **self.clients}

    def lie(self, frame):
        """Change a frame, or send another payload in the place of a chunk's, signed by its sender."""
        _, fields = frames.outer(frame)
        batch = self.server.reference.batch
        if frame[3] != frames.CHUNK or batch is None or batch.setup is None or self.rng.random() < 0.7:
            return lie(self.rng, frame)
        session, sender, *at, _, payload = fields
        return chunk(identity(sender), session, sender, batch.setup.hash, at, payload[::-1])

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


@pytest.mark.parametrize("threat", ["malicious", "semi-honest"])
@pytest.mark.parametrize("seed", range(3))
def test_both_take_the_same_frames_and_no_others(seed, threat):
    live = Lied(seed, threat)
    for step in STEPS:
        live.play(step)
    assert live.lies > 100
    assert live.taken < live.lies / 4 and live.answered > 1
    live.run(Step(9, survivors=FIVE))  # new keys: whatever was told, the session is alive
