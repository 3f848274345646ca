"""Both implementations in every seat of ckks, and a liar with every key on the way: they accept and refuse the same frames."""

import random

import pytest

from reference import frames
from reference.ckks_common import chunk
from secagg import Params
from secagg.wire import HOLDER
from support.ckks_live import CkksLive, Step
from support.lies import Both, lie
from support.live import ENCODINGS, identity

FIVE = [f"c{i}" for i in range(5)]
SETTINGS = [("semi-honest", "server"), ("semi-honest", "holder"), ("malicious", "server"), ("malicious", "holder")]
STEPS = (Step(1), Step(2, {"encrypted": ["c1"]}, participants=FIVE[:4]), Step(4), Step(5))
FROM_HOLDER = (frames.KEY_ANNOUNCEMENT, frames.DECRYPTED)


class Lied(Both, CkksLive):
    """Hands every frame on only after some lies about it, and compares what both make of each."""

    def __init__(self, seed, threat, reveal):
        params = Params(
            clients=5, corrupt=1, min_clients=3, rounds_per_setup=3, protocol="ckks", threat=threat, reveal=reveal,
            ring=(1024, 26), **(ENCODINGS | {"max_weight": 3, "frame_bytes": 1 << 14}),
        )  # fmt: skip
        super().__init__(params, FIVE, server="twin", clients=lambda name: "twin", holder="twin")
        self.rng, self.lies, self.taken, self.answered = random.Random(seed), 0, 0, 0
        self.parties = {"server": self.server, HOLDER: self.holder, **self.clients}

    def lie(self, frame):
        """Change a frame, or send another payload in the place of a chunk's, signed by its sender."""
        _, fields = frames.outer(frame)
        key = self.server.reference.key
        if frame[3] != frames.CHUNK or key is None or self.rng.random() < 0.9:
            return lie(self.rng, frame)
        session, sender, *at, _, payload = fields
        return chunk(identity(sender or "the server"), session, sender, key.hash, at, payload[::-1])

    def hand(self, to, frame):
        """Tell lies before the frame, few that would take its place, and one after it."""
        seldom = frame[3] in (*FROM_HOLDER, frames.CHUNK, frames.DECRYPT_REQUEST, frames.ENCRYPTED_REQUEST)
        if not seldom or self.rng.random() < 0.2:
            self.tell(to, frame)
        self.both(to, "receive", frame)
        self.tell(to, frame)

    def play(self, step):
        gone = step.silent.get("encrypted", ())
        self.server.open_round(step.round_id, step.participants)
        while self.server.phase != "idle":
            for to, frame in self.server.outbox():
                if to not in gone:
                    self.hand(to, frame)
            for name, client in self.clients.items():
                if client.awaiting is not None and name not in gone:
                    client.submit(*self.update(name, client.awaiting), b"the model")
            for party in (self.holder, *self.clients.values()):
                for frame in party.outbox():
                    self.hand("server", frame)
            closed = self.both("server", "close_phase")
            self.answered += closed and self.server.phase == "idle"


@pytest.mark.parametrize("threat, reveal", SETTINGS)
@pytest.mark.parametrize("seed", range(4))
def test_both_take_the_same_frames_and_no_others(seed, threat, reveal):
    live = Lied(seed, threat, reveal)
    for step in STEPS:
        live.play(step)
    assert live.lies > 50
    assert live.taken < live.lies / 4
    live.server.open_round(9)  # a new key: whatever was told, the session is alive
    while live.server.phase != "idle":
        for to, frame in live.server.outbox():
            live.both(to, "receive", frame)
        for name, client in live.clients.items():
            if client.awaiting is not None:
                client.submit(*live.update(name, 9), b"the model")
        for party in (live.holder, *live.clients.values()):
            for frame in party.outbox():
                live.both("server", "receive", frame)
        live.server.close_phase()
    live.check(Step(9, survivors=FIVE))
