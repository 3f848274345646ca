"""Both implementations in every seat, and a liar with every key on the way: they accept and refuse the same frames."""

import random

import pytest

from reference import frames
from secagg import Params
from support.lies import Both
from support.live import ENCODINGS, Live, Step

FIVE = [f"c{i}" for i in range(5)]
PARAMS = Params(clients=5, corrupt=0, threshold=3, min_clients=3, min_cohort=4, rounds_per_setup=2, **ENCODINGS)


class Lied(Both, Live):
    """Hands every frame on only after some lies about it, and compares what both make of each."""

    def __init__(self, seed):
        super().__init__(PARAMS, FIVE, server="twin", clients=lambda name: "twin")
        self.rng, self.lies, self.taken = random.Random(seed), 0, 0
        self.parties = {"server": self.server, **self.clients}

    def hand(self, to, frame):
        """Tell lies before the frame, few about keys and shares, which may be anything, and one after it."""
        ours = frame[3] in (frames.ADVERTISEMENT, frames.DEALING)
        for _ in range(int(self.rng.random() < 0.1) if ours else 8 if frame[3] == frames.UNMASK_REQUEST else 1):
            self.tell(to, frame)
        self.both(to, "receive", frame)
        self.tell(to, frame)

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
