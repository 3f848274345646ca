"""Clients and members of oneshot that break the rules, several at once: both implementations make the same of it."""

import random
from collections import Counter

import pytest

from reference.errors import AbortError
from secagg import Params, Receipt
from support.live import ENCODINGS
from support.oneshot_live import OneshotLive, Step, lying

FIVE = [f"c{i}" for i in range(5)]
ROOT = {"clients": 5, "corrupt": 1, "min_clients": 3, "protocol": "oneshot", "max_weight": 3, "frame_bytes": 1 << 16}
KINDS = {
    "malicious": {"threshold": 4, "packing": 1},
    "two answers to spare": {"corrupt": 0, "threshold": 3, "packing": 1},
    "three answers to spare": {"threat": "semi-honest", "threshold": 2, "packing": 1},
    "two secrets to a polynomial": {"threat": "semi-honest", "threshold": 3, "packing": 2},
}


class Malice:
    """Draws who does what in a round."""

    def __init__(self, live, seed):
        self.live, self.rng, self.came = live, random.Random(seed), Counter()

    def some(self, *counts):
        return self.rng.sample(FIVE, self.rng.choice(counts))

    def upload(self, client):
        """Return the frames of an upload that is not what an honest client sends, under a header that fits."""
        vectors = client.settings.encode(*client.given, client.rounding_key(client.round.round_id))
        own, made = client.mask_seed, client.shares()
        match self.rng.choice(["boxes", "head", "values", "secret"]):
            case "boxes":
                boxes = client.sealed(made)
                for place in self.rng.sample(range(len(boxes)), self.rng.choice([1, 2])):
                    boxes[place] = bytes(len(boxes[place]))
                return client.frame(client.mask(vectors), boxes, b"the model")
            case "head":
                vectors[0][self.rng.randrange(3)] = self.rng.randrange(2**62)
            case "values":
                vectors[1][self.rng.randrange(len(vectors[1]))] = self.rng.randrange(2**20)
            case "secret":
                client.mask_seed = lambda: bytes(32)
                made = client.shares()
                client.mask_seed = own
        return client.frame(client.mask(vectors), client.sealed(made), b"the model")

    def play(self, round_id):
        live = self.live
        tamper = {key: change for name in self.some(0, 0, 1, 1, 2) for key, change in lying(live, name).items()}
        live.instead.clear()
        for name in self.some(0, 0, 1, 2):
            live.second(name).given = live.update(name, round_id)
            live.instead[name] = self.upload
        silent = {phase: self.some(0, 0, 1) for phase in ("keys", "masked", "reveal")}
        try:
            live.run_to_the_end(Step(round_id, silent, tamper=tamper))
        except AbortError as error:  # which both raised
            self.came[type(error).__name__] += 1
            return
        engine, reference = live.server.result(round_id)
        assert [lanes.tolist() for lanes in engine._decoded._sums] == reference.sums
        assert sorted(engine.blamed) == sorted(reference.blamed)
        assert Receipt.from_json(reference.json) == engine.receipt
        self.came["blamed" if reference.blamed else "opened"] += 1


def play(seed, kind, rounds):
    params = Params(**(ENCODINGS | ROOT | {"rounds_per_setup": 1 + seed % 3} | KINDS[kind]))
    live = OneshotLive(params, FIVE, server="twin", clients=lambda name: "twin", name=f"malice {seed}")
    malice = Malice(live, seed)
    for round_id in range(1, rounds + 1):
        malice.play(round_id)
    assert live.refused == []
    live.instead.clear()
    live.run(Step(rounds + 1, survivors=FIVE))
    return malice.came


@pytest.mark.parametrize("kind", KINDS)
def test_both_open_the_same_sums_and_name_the_same_parties(kind):
    came = play(2, kind, 4)
    assert sum(came.values()) == 4 and came["AbortError"] < 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_at_length(kind):
    came = Counter()
    for seed in range(10, 15):
        came += play(seed, kind, 4)
    assert set(came) >= {"AbortError", "opened"}
