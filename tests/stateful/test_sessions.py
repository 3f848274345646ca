"""Whole sessions under random sampling, losses, restarts and rollbacks: exact or a clean abort, and nothing used twice."""

import contextlib
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from secagg.errors import AbortError, InputError, PeerError, ThresholdError
from support.federation import PHASES, Federation
from support.watch import Instruments, Watch

MEMORY = Path("/dev/shm")  # fsync is not what these tests are about


class Watched(Federation):
    """A federation that checks every frame that leaves a client, and keeps old snapshots."""

    def __init__(self, *args, **kwargs):
        self.watch = Watch()
        super().__init__(*args, **kwargs)
        self.old = {name: [self.clients[name].snapshot()] for name in self.ids}

    def hand(self, inbox, silent=()):
        sent = super().hand(inbox, silent)
        for name, frame in sent:
            self.watch.see(name, frame)
        for name in inbox:
            self.old[name].append(self.clients[name].snapshot())
        return sent

    def roll_back(self, name, steps):
        """Restart from an older snapshot: a lost write, a restored image, a copied machine."""
        self.clients[name].close()
        self.clients[name] = self.restore(name, self.old[name][-1 - min(steps, len(self.old[name]) - 1)])


def test_a_hundred_rounds_of_twenty_with_samples_drops_restarts(memory, monkeypatch):
    rounds = 100
    instruments = Instruments(monkeypatch)
    f = Watched(20, corrupt=2, threshold=15, min_clients=8, max_participants=12, rounds_per_setup=8, ledgers=memory)
    assert f.params.opened_honest >= 2
    rng = random.Random(rounds)
    exact, aborted, setups, restarts = 0, 0, 0, 0
    for round_id in range(1, rounds + 1):
        sample = rng.sample(f.ids, rng.randint(10, 12))
        gone = set()
        f.server.open_round(round_id, participants=sample)
        setups += f.server.phase == "keys"
        try:
            while f.server.phase != "idle":
                gone |= {name for name in f.ids if rng.random() < 0.01}
                f.phase(gone, close=False)
                for name in f.ids:
                    if rng.random() < 0.15:
                        f.roll_back(name, rng.choice([0] * 12 + [1, 2, 8]))
                        restarts += 1
                f.server.close_phase()
        except (ThresholdError, AbortError):
            aborted += 1
            assert f.server.phase == "idle"
            with pytest.raises(AbortError):
                f.server.result(round_id)
            continue
        f.check(f.server.result(round_id).contributors, round_id)
        exact += 1
    print(  # noqa: T201  # the figures, for those who run it with -s
        f"\n{rounds} rounds of 20: {exact} exact, {aborted} aborted, {setups} setups, {restarts} restarts; "
        f"{len(instruments.rounds)} mask seeds, {len(instruments.self_masks)} self masks, {len(instruments.boxes)} nonces"
    )
    assert exact + aborted == rounds
    assert exact > rounds // 2
    assert len(instruments.self_masks) == len({(me, at) for me, at in instruments.self_masks.values()})


class SessionMachine(RuleBasedStateMachine):
    """Any interleaving of rounds, frames, losses, duplicates, restarts, rollbacks, copies and closed phases."""

    def __init__(self):
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.round_id, self.finished = 0, []
        self.inbox, self.history, self.pending = [], [], []

    def teardown(self):
        shutil.rmtree(self.home)

    @initialize(rounds=st.integers(1, 3), ledger=st.booleans())
    def build(self, rounds, ledger):
        params = {"corrupt": 1, "threshold": 6, "min_clients": 4, "max_participants": 6, "rounds_per_setup": rounds}
        self.ledger = ledger
        self.fed = Watched(7, ledgers=self.home if ledger else None, **params)

    def busy(self):
        return self.fed.server.phase != "idle"

    @precondition(lambda self: not self.busy())
    @rule(data=st.data(), skip=st.integers(1, 2))
    def open(self, data, skip):
        self.round_id += skip
        sample = data.draw(st.lists(st.sampled_from(self.fed.ids), min_size=4, max_size=6, unique=True))
        cohort = data.draw(st.sampled_from([None, None, None, self.fed.ids, self.fed.ids[:6]]))
        try:
            self.fed.server.open_round(self.round_id, participants=sample, cohort=cohort)
        except InputError:
            return  # somebody outside the cohort was wanted
        except AbortError:
            assert not self.busy()

    @rule()
    def fetch(self):
        self.inbox += [(name, frame) for name, frames in self.fed.requests().items() for frame in frames]

    def deliver(self, name, frame):
        client = self.fed.clients[name]
        with contextlib.suppress(PeerError, AbortError):
            client.receive(frame)
        if client.awaiting:
            client.submit(self.fed.updates[name])
        for sent in client.outbox():
            self.fed.watch.see(name, sent)
            self.pending.append((name, sent))
        self.fed.old[name].append(client.snapshot())

    @precondition(lambda self: self.inbox)
    @rule(data=st.data(), shuffle=st.booleans())
    def to_clients(self, data, shuffle):
        picked, self.inbox = self.inbox, []
        self.history += picked
        for name, frame in data.draw(st.permutations(picked)) if shuffle else picked:
            self.deliver(name, frame)

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def replay_to_a_client(self, data):
        self.deliver(*data.draw(st.sampled_from(self.history[-60:])))

    @rule(data=st.data(), steps=st.sampled_from([0, 0, 1, 3, 30]))
    def restart(self, data, steps):
        # Without a ledger only a clean restart is promised to be safe.
        self.fed.roll_back(data.draw(st.sampled_from(self.fed.ids)), steps if self.ledger else 0)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "drop", "twice", "shuffle"]))
    def to_server(self, data, fate):
        frames, self.pending = self.pending, []
        if fate == "drop":
            gone = data.draw(st.sampled_from(sorted({name for name, _ in frames})))
            frames = [pair for pair in frames if pair[0] != gone]
        if fate == "shuffle":
            frames = data.draw(st.permutations(frames))
        for name, frame in frames * (2 if fate == "twice" else 1):
            try:
                assert self.fed.server.receive(frame) == name
            except PeerError:
                continue

    @precondition(lambda self: self.busy())
    @rule()
    def close(self):
        try:
            self.fed.server.close_phase()
        except AbortError:
            assert not self.busy()
            return
        if not self.busy():
            self.finished.append(self.round_id)

    @precondition(lambda self: self.busy())
    @rule(data=st.data())
    def run_phase(self, data):
        gone = data.draw(st.sampled_from([None, None, *self.fed.ids]))
        self.fetch()
        picked, self.inbox = self.inbox, []
        self.history += picked
        for name, frame in picked:
            if name != gone:
                self.deliver(name, frame)
        frames, self.pending = self.pending, []
        for _, frame in frames:
            try:
                self.fed.server.receive(frame)
            except PeerError:
                continue
        self.close()

    @invariant()
    def finished_rounds_are_exact(self):
        while self.finished:
            round_id = self.finished.pop()
            result = self.fed.server.result(round_id)
            assert len(result.contributors) >= self.fed.params.min_clients
            expected = np.sum([self.fed.updates[name] for name in result.contributors], axis=0)
            np.testing.assert_array_equal(result.sum, expected)
            result.receipt.verify(self.fed.roster, self.fed.params)


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_every_phase_can_be_the_one_that_loses_a_client(memory):
    """No random schedule may miss one: each client is lost at each phase of a batch of three, over restarts."""
    f = Watched(7, corrupt=1, threshold=5, min_clients=5, rounds_per_setup=3, ledgers=memory)
    f.restarts, round_id = True, 0
    for phase in PHASES:
        for name in f.ids[::3]:
            round_id = round_id // 3 * 3 + 4 if phase in ("keys", "shares") else round_id + 1
            f.round(round_id, silent={phase: {name}})
            here = f.server.result(round_id).contributors
            assert (name in here) == (phase == "unmask" or here == tuple(f.ids))
            f.check(here, round_id)
