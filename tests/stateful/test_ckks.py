"""Sessions of ckks under random sampling, losses, restarts and rollbacks: exact or a clean abort, and nothing used twice."""

from __future__ import annotations

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

from secagg.errors import AbortError, PeerError
from secagg.wire import HOLDER
from support.encrypted import MODES, PHASES, Encrypted
from support.encrypted_watch import Instruments, Watch

MEMORY = Path("/dev/shm")  # fsync is not what these tests are about


class Watched(Encrypted):
    """A federation that checks every frame that leaves a client or the holder, and keeps old snapshots."""

    def __init__(self, *args, **kwargs):
        self.watch = Watch()
        super().__init__(*args, **kwargs)
        self.old = {name: [self.party(name).snapshot()] for name in (*self.ids, HOLDER)}

    def hand(self, inbox, silent=()):
        sent = super().hand(inbox, silent)
        for name, frame in sent:
            self.watch.see(name, frame)
        for name in inbox:
            self.old[name].append(self.party(name).snapshot())
        return sent

    def roll_back(self, name, steps):
        """Restart from an older snapshot: a lost write, a restored image, a copied machine."""
        snapshot = self.old[name][-1 - min(steps, len(self.old[name]) - 1)]
        self.party(name).close()
        if name == HOLDER:
            self.holder = self.restore_holder(snapshot)
        else:
            self.clients[name] = self.restore(name, snapshot)


@pytest.mark.parametrize("reveal, threat", MODES)
def test_rounds_of_twelve_with_samples_drops_and_restarts(memory, monkeypatch, reveal, threat):
    rounds = 25
    instruments = Instruments(monkeypatch)
    f = Watched(
        12,
        corrupt=1,
        min_clients=5,
        max_participants=8,
        rounds_per_setup=6,
        ledgers=memory,
        reveal=reveal,
        threat=threat,
    )
    rng = random.Random(reveal + threat)
    exact, aborted = 0, 0
    for round_id in range(1, rounds + 1):
        sample, gone = rng.sample(f.ids, rng.randint(6, 8)), set()
        f.server.open_round(round_id, participants=sample)
        try:
            while f.server.phase != "idle":
                gone |= {name for name in (*f.ids, HOLDER) if rng.random() < 0.02}
                f.phase(gone, close=False)
                for name in (*f.ids, HOLDER):
                    if rng.random() < 0.1:
                        f.roll_back(name, rng.choice([0] * 8 + [1, 4]))
                f.server.close_phase()
        except AbortError:
            aborted += 1
            assert f.server.phase == "idle"
            with pytest.raises(AbortError):
                f.server.result(round_id)
            continue
        f.check(f.server.result(round_id).contributors, round_id)
        exact += 1
    assert exact + aborted == rounds
    assert exact > rounds // 2
    assert len(instruments.sums) >= exact
    assert len(instruments.pads) == (len(instruments.randomness) if threat == "malicious" else 0)


class SessionMachine(RuleBasedStateMachine):
    """Any interleaving of rounds, frames, losses, duplicates, flips, restarts, rollbacks and closed phases."""

    def __init__(self):
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.patches = pytest.MonkeyPatch()
        self.round_id, self.finished = 0, []
        self.inbox, self.history, self.pending = [], [], []

    def teardown(self):
        self.patches.undo()
        shutil.rmtree(self.home)

    @initialize(mode=st.sampled_from(MODES), rounds=st.integers(1, 3), ledger=st.booleans())
    def build(self, mode, rounds, ledger):
        reveal, threat = mode
        self.instruments = Instruments(self.patches)
        self.ledger = ledger
        self.fed = Watched(
            5, corrupt=1, min_clients=3, max_participants=4, rounds_per_setup=rounds,
            ledgers=self.home if ledger else None, reveal=reveal, threat=threat,
        )  # fmt: skip

    def busy(self):
        return self.fed.server.phase != "idle"

    @precondition(lambda self: not self.busy())
    @rule(data=st.data(), skip=st.integers(1, 2))
    def open(self, data, skip):
        self.round_id += skip
        sample = data.draw(st.lists(st.sampled_from(self.fed.ids), min_size=3, max_size=4, unique=True))
        self.fed.server.open_round(self.round_id, participants=sample)

    @rule()
    def fetch(self):
        self.inbox += [(name, frame) for name, frames in self.fed.requests().items() for frame in frames]

    def deliver(self, name, frame):
        party = self.fed.party(name)
        with contextlib.suppress(PeerError, AbortError):
            party.receive(frame)
        if name != HOLDER and party.awaiting:
            party.submit(self.fed.updates[name])
        for sent in party.outbox():
            self.fed.watch.see(name, sent)
            self.pending.append((name, sent))
        if name == HOLDER:
            self.fed.results.update(party._results)
        self.fed.old[name].append(party.snapshot())

    @precondition(lambda self: self.inbox)
    @rule(data=st.data(), shuffle=st.booleans())
    def to_parties(self, data, shuffle):
        picked, self.inbox = self.inbox, []
        self.history += picked
        for name, frame in data.draw(st.permutations(picked)) if shuffle else picked:
            self.deliver(name, frame)

    @precondition(lambda self: self.history)
    @rule(data=st.data(), flip=st.booleans())
    def replay_to_a_party(self, data, flip):
        name, frame = data.draw(st.sampled_from(self.history[-60:]))
        if flip:
            broken = bytearray(frame)
            broken[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            frame = bytes(broken)
        self.deliver(name, frame)

    @rule(data=st.data(), steps=st.sampled_from([0, 0, 1, 3, 30]))
    def restart(self, data, steps):
        # Without a ledger only a clean restart is promised to be safe.
        name = data.draw(st.sampled_from([*self.fed.ids, HOLDER]))
        self.fed.roll_back(name, steps if self.ledger else 0)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "drop", "twice", "flip", "shuffle"]))
    def to_server(self, data, fate):
        frames, self.pending = self.pending, []
        if fate == "drop":
            gone = data.draw(st.sampled_from(sorted({name for name, _ in frames})))
            frames = [pair for pair in frames if pair[0] != gone]
        if fate == "shuffle":
            frames = data.draw(st.permutations(frames))
        for name, frame in frames * (2 if fate == "twice" else 1):
            if fate == "flip":
                broken = bytearray(frame)
                broken[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
                self.accept(name, bytes(broken))
            self.accept(name, frame)

    def accept(self, name, frame):
        with contextlib.suppress(PeerError):
            assert self.fed.server.receive(frame) == name

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
        for name, frame in frames:
            self.accept(name, frame)
        self.close()

    @invariant()
    def finished_rounds_are_exact(self):
        while self.finished:
            round_id = self.finished.pop()
            names = self.fed.server.result(round_id).contributors
            assert len(names) >= self.fed.params.min_clients
            self.fed.check(names, round_id)


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_every_phase_can_be_the_one_that_loses_somebody(memory):
    """No random schedule may miss one: each of them is lost at each phase, over restarts."""
    f = Watched(4, corrupt=1, min_clients=3, rounds_per_setup=2, ledgers=memory)
    f.restarts, round_id = True, 0
    for phase in PHASES:
        for name in (*f.ids, HOLDER):
            round_id = round_id // 2 * 2 + 3 if phase == "keys" else round_id + 1
            if name == HOLDER:
                with pytest.raises(AbortError):
                    f.round(round_id, silent={phase: {name}})
                continue
            f.round(round_id, silent={phase: {name}})
            here = f.server.result(round_id).contributors
            assert (name in here) == (phase == "decrypt")
            f.check(here, round_id)


def test_the_watch_fails_where_randomness_comes_back(monkeypatch):
    """The checker can lose: an upload whose seed is that of another round's is found."""
    instruments = Instruments(monkeypatch)
    f = Encrypted(3, rounds_per_setup=2)
    f.round(1)
    assert len(instruments.randomness) == 6
    state = f.clients["c0"]._core._state
    seed = state.round.seed
    f.server.open_round(2)
    f.clients["c0"].receive(f.requests()["c0"][0])
    state.entropy = lambda size: seed
    f.updates["c0"] = np.roll(f.updates["c0"], 1)
    with pytest.raises(AssertionError, match="one randomness encrypted two vectors"):
        f.clients["c0"].submit(f.updates["c0"])
