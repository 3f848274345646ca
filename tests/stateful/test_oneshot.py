"""Sessions of oneshot under random sampling, losses, restarts and liars: exact or a clean abort, and nothing used twice."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from secagg import Client, Identity, Member
from secagg.errors import AbortError, InputError, PeerError
from secagg.hazmat import field
from secagg.protocols.oneshot import client, sharing
from support.committee import SESSION, Committee
from support.committee_watch import Instruments, Watch
from support.journaled import journaled, restart

MEMORY = Path("/dev/shm")  # fsync is not what these tests are about
PHASES = ("keys", "masked", "reveal")
GARBLED = [None, None, None, None, "another secret", "boxes of nothing"]


class Watched(Committee):
    """Clients c0.. of whom the last few only answer; every frame that leaves one is checked, and old snapshots are kept."""

    def __init__(self, clients, *, quiet=1, **changes):
        self.watch, self.quiet = Watch(), {f"c{clients - 1 - i}" for i in range(quiet)}
        self.liars, self.answering, self.garblers = set(), "", {}
        super().__init__(clients, **changes)
        self.trainers = [name for name in self.ids if name not in self.quiet]
        self.old = {name: [self.clients[name].snapshot()] for name in self.ids}

    def new_client(self, name, **changes):
        if name not in self.quiet:
            return super().new_client(name, **changes)
        return Member(
            self.params, me=name, identity=self.keys[name], roster=self.roster, session=SESSION, ledger=self.ledger(name)
        )  # fmt: skip

    def restore(self, name, snapshot, **changes):
        if name not in self.quiet:
            return super().restore(name, snapshot, **changes)
        return Member.restore(
            snapshot, identity=self.keys[name], roster=self.roster, ledger=self.ledger(name), params=self.params
        )  # fmt: skip

    def lie(self, patches):
        """Let members in `liars` answer with another sum than that of their shares, and `garblers` deal shares that are none."""
        honest = sharing.add_shares

        def add(shares):
            total = honest(shares)
            if self.answering not in self.liars:
                return total
            wrong = (int.from_bytes(total[:8], "little") + 1 + len(self.answering)) % field.P
            return wrong.to_bytes(8, "little") + total[8:]

        patches.setattr(sharing, "add_shares", add)
        deal = client.seal_shares

        def seal_shares(secret, *rest):
            how = self.garblers.get((rest[3], rest[4]))  # a repeated upload is garbled alike
            if how == "another secret":
                secret = np.roll(secret, 1)
            boxes = deal(secret, *rest)
            if how == "boxes of nothing":
                boxes[1] = bytes(len(boxes[1]))
            return boxes

        patches.setattr(client, "seal_shares", seal_shares)

    def tell(self, name, frame):
        """Hand one frame to a party; what it sends is watched and returned."""
        party, self.answering = self.clients[name], name
        with contextlib.suppress(PeerError, AbortError):
            party.receive(frame)
        if isinstance(party, Client) and party.awaiting:
            # A rolled-back client has no update for a round of which something may have left.
            with contextlib.suppress(InputError, AbortError):
                party.submit(self.updates[name])
        sent = party.outbox()
        for out in sent:
            self.watch.see(name, out)
        self.old[name].append(party.snapshot())
        return [(name, out) for out in sent]

    def hand(self, inbox, silent=()):
        told = [(name, frame) for name, frames in inbox.items() if name not in silent for frame in frames]
        sent = [pair for name, frame in told for pair in self.tell(name, frame)]
        if self.restarts:
            self.restart()
        return sent

    def roll_back(self, name, steps):
        """Restart from an older snapshot: a lost write, a restored image, a copied machine."""
        snapshot = self.old[name][-1 - min(steps, len(self.old[name]) - 1)]
        self.clients[name].close()
        self.clients[name] = self.restore(name, snapshot)

    def check(self, round_id):
        """The sum is exactly that of its contributors, who are enough; whoever is blamed did lie, as a member or a client."""
        result = self.server.result(round_id)
        assert len(result.contributors) >= self.params.min_clients
        self.exact(result, result.contributors)
        garblers = {name: how for (number, name), how in self.garblers.items() if number == round_id}
        assert set(result.blamed) <= self.liars | set(garblers)
        assert "another secret" not in {garblers.get(name) for name in result.contributors}
        return result


def test_rounds_of_twelve_with_samples_drops_restarts_and_liars(memory, monkeypatch):
    rounds = 30
    instruments = Instruments(monkeypatch)
    f = Watched(
        12, quiet=2, corrupt=1, min_clients=5, max_participants=8, rounds_per_setup=6, threshold=9, packing=1, ledgers=memory
    )  # fmt: skip
    f.lie(monkeypatch)
    journaled(f, memory / "journal", session=SESSION)
    rng = random.Random(4)
    exact, aborted, blamed = 0, 0, 0
    for round_id in range(1, rounds + 1):
        sample, gone = rng.sample(f.trainers, rng.randint(6, 8)), set()
        f.liars = {rng.choice(f.ids)} if rng.random() < 0.4 else set()
        f.server.open_round(round_id, sample)
        try:
            while f.server.phase != "idle":
                gone |= {name for name in f.ids if rng.random() < 0.02}
                f.carry(gone)
                for name in f.ids:
                    if rng.random() < 0.1:
                        f.roll_back(name, rng.choice([0] * 8 + [1, 4]))
                if rng.random() < 0.2:
                    f.server.sync()
                    restart(f, session=SESSION)
                f.server.close_phase()
        except AbortError:
            aborted += 1
            assert f.server.phase == "idle"
            with pytest.raises(AbortError):
                f.server.result(round_id)
            continue
        blamed += bool(f.check(round_id).blamed)
        exact += 1
    assert exact + aborted == rounds
    assert exact > rounds // 2
    assert blamed
    assert len(instruments.dealings) >= exact * 5
    assert len(instruments.dealings) == len(instruments.rounds)


class SessionMachine(RuleBasedStateMachine):
    """Any interleaving of rounds, frames, losses, duplicates, flips, restarts, rollbacks, liars and closed phases."""

    def __init__(self):
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.patches = pytest.MonkeyPatch()
        self.round_id, self.finished = 0, []
        self.inbox, self.history, self.pending = [], [], []

    def teardown(self):
        if hasattr(self, "fed"):
            self.fed.server.close()
            for party in self.fed.clients.values():
                party.close()
        self.patches.undo()
        shutil.rmtree(self.home)

    @initialize(rounds=st.integers(1, 3), ledger=st.booleans(), journal=st.booleans(), members=st.sampled_from([6, 5]))
    def build(self, rounds, ledger, journal, members):
        self.instruments = Instruments(self.patches)
        self.ledger, self.journal = ledger, journal
        # Who is drawn into a committee follows from the roster's keys, and what is drawn here from who it is.
        seeds = (hashlib.sha256(b"stateful %d" % number).digest() for number in itertools.count())
        self.patches.setattr(Identity, "generate", lambda: Identity.from_bytes(next(seeds)))
        self.fed = Watched(
            6, corrupt=1, min_clients=3, max_participants=4, rounds_per_setup=rounds, threshold=4, packing=1,
            committee=members, ledgers=self.home if ledger else None,
        )  # fmt: skip
        self.fed.lie(self.patches)
        if journal:
            journaled(self.fed, self.home / "journal", session=SESSION)

    def busy(self):
        return self.fed.server.phase != "idle"

    @precondition(lambda self: not self.busy())
    @rule(
        data=st.data(),
        skip=st.integers(1, 2),
        liar=st.sampled_from([None, None, "c1", "c5"]),
        how=st.sampled_from(GARBLED),
    )
    def open(self, data, skip, liar, how):
        self.round_id += skip
        self.fed.liars = set() if liar is None else {liar}
        self.fed.garblers |= {(self.round_id, "c2"): how} if how else {}
        sample = data.draw(st.lists(st.sampled_from(self.fed.trainers), min_size=3, max_size=4, unique=True))
        self.fed.server.open_round(self.round_id, sample)

    @rule()
    def fetch(self):
        self.inbox += [(name, frame) for name, frames in self.fed.requests().items() for frame in frames]

    def deliver(self, name, frame):
        self.pending += self.fed.tell(name, frame)

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
        self.fed.roll_back(data.draw(st.sampled_from(self.fed.ids)), steps if self.ledger else 0)

    @precondition(lambda self: self.journal)
    @rule(synced=st.booleans())
    def restart_the_server(self, synced):
        if synced:
            self.fed.server.sync()
        restart(self.fed, session=SESSION)

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
            self.fed.check(self.finished.pop())


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_every_phase_can_be_the_one_that_loses_somebody(memory):
    """No random schedule may miss one: each of them is lost at each phase, over restarts of all parties and the server."""
    f = Watched(5, corrupt=1, min_clients=3, rounds_per_setup=2, threshold=4, packing=1, ledgers=memory)
    journaled(f, memory / "journal", session=SESSION)
    f.restarts, round_id = True, 0
    for phase in PHASES:
        for name in f.ids:
            # A setup that lacks a member's key can lose nobody else: where keys are not what is lost, it is another one's.
            round_id += 2 if phase == "keys" or name == "c0" else 1
            gone = set()
            f.server.open_round(round_id, f.trainers)
            while f.server.phase != "idle":
                gone |= {name} if f.server.phase == phase else set()
                f.carry(gone)
                f.server.sync()
                restart(f, session=SESSION).outbox()  # requests to those who did not answer, which nobody gets
                f.server.close_phase()
            here = f.check(round_id).contributors
            assert here == tuple(each for each in f.trainers if each not in gone or phase == "reveal")


def test_the_watch_fails_where_a_secret_comes_back(monkeypatch):
    """The checker can lose: an upload whose seed is that of another round's is found."""
    instruments = Instruments(monkeypatch)
    f = Committee(4, rounds_per_setup=2)
    f.round(1)
    assert len(instruments.rounds) == 4
    state = f.clients["c0"]._core._state
    seed = state.round.seed
    f.server.open_round(2)
    f.clients["c0"].receive(f.requests()["c0"][0])
    state.entropy = lambda size: seed
    with pytest.raises(AssertionError, match="one secret served two rounds"):
        f.clients["c0"].submit(np.roll(f.updates["c0"], 1))


def test_the_watch_fails_where_a_member_answers_twice(memory):
    """The checker can lose: a member without a ledger, rolled back to before its answer, and asked for another set."""
    f = Watched(5, corrupt=1, min_clients=3, ledgers=None)
    f.server.open_round(1, f.trainers)
    while f.server.phase != "reveal":
        f.carry()
        f.server.close_phase()
    (frame,) = f.requests()["c4"]
    before = f.clients["c4"].snapshot()
    body = f.body(frame)
    box, path = len(body.sealed) // 4, len(body.paths) // 4
    fewer = f.forged(frame, headers=body.headers[1:], sealed=body.sealed[box:], paths=body.paths[path:])
    assert f.tell("c4", frame)
    f.clients["c4"] = f.restore("c4", before)
    with pytest.raises(AssertionError, match="answered for two sets"):
        f.tell("c4", fewer)
