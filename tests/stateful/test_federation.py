"""Whole federations under random faults: the exact sum of the contributors, or an abort; never anything else."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from secagg.errors import AbortError, PeerError
from support.federation import Federation, make_params


class FederationMachine(RuleBasedStateMachine):
    """Frames between honest clients and an honest server, lost, doubled, reordered, replayed, flipped, in any interleaving."""

    def __init__(self) -> None:
        super().__init__()
        self.round_id = 0
        self.finished: list[int] = []
        self.history: list[tuple[str, bytes]] = []
        self.pending: list[tuple[str, bytes]] = []
        self.inbox: list[tuple[str, bytes]] = []
        self.complete: dict[int, set[str]] = {}

    @initialize(sparse=st.booleans(), rounds=st.integers(1, 3))
    def build(self, sparse: bool, rounds: int) -> None:
        if sparse:
            params = make_params(
                12,
                threat="semi-honest",
                corrupt=0,
                neighbours=6,
                threshold=3,
                min_clients=11,
                min_cohort=11,
                rounds_per_setup=rounds,
            )
        else:
            params = make_params(6, corrupt=1, threshold=5, min_clients=5, rounds_per_setup=rounds)
        self.fed = Federation(params.clients, params=params)

    def busy(self) -> bool:
        return self.fed.server.phase != "idle"

    @precondition(lambda self: not self.busy())
    @rule()
    def open(self) -> None:
        self.round_id += 1
        self.fed.server.open_round(self.round_id)

    @rule()
    def fetch(self) -> None:
        for name, frames in self.fed.requests().items():
            self.inbox += [(name, frame) for frame in frames]

    @precondition(lambda self: self.inbox)
    @rule(data=st.data(), keep=st.booleans())
    def to_client(self, data: st.DataObject, keep: bool) -> None:
        count = data.draw(st.integers(1, len(self.inbox)))
        picked, self.inbox = self.inbox[:count], self.inbox[count:]
        self.history += picked
        for name, frame in data.draw(st.permutations(picked)) if keep else picked:
            self.deliver(name, frame)

    def deliver(self, name: str, frame: bytes) -> None:
        client = self.fed.clients[name]
        try:
            client.receive(frame)
        except (PeerError, AbortError):
            return
        if client.awaiting:
            client.submit(self.fed.updates[name])
        self.pending += [(name, sent) for sent in client.outbox()]

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def replay_to_client(self, data: st.DataObject) -> None:
        self.deliver(*data.draw(st.sampled_from(self.history[-40:])))

    @precondition(lambda self: self.pending)
    @rule(
        data=st.data(),
        fate=st.sampled_from(["deliver", "deliver", "deliver", "drop", "twice", "flip", "shuffle"]),
    )
    def to_server(self, data: st.DataObject, fate: str) -> None:
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

    def accept(self, name: str, frame: bytes) -> None:
        try:
            assert self.fed.server.receive(frame) == name
        except PeerError:
            return

    @precondition(lambda self: self.busy())
    @rule()
    def close(self) -> None:
        try:
            self.fed.server.close_phase()
        except AbortError:
            return
        if not self.busy():
            self.finished.append(self.round_id)

    @precondition(lambda self: self.busy())
    @rule()
    def run_phase_honestly(self) -> None:
        self.fetch()
        while self.inbox:
            name, frame = self.inbox.pop(0)
            self.history.append((name, frame))
            self.deliver(name, frame)
        frames, self.pending = self.pending, []
        for name, frame in frames:
            self.accept(name, frame)
        self.close()

    @invariant()
    def finished_rounds_are_exact(self) -> None:
        while self.finished:
            round_id = self.finished.pop()
            result = self.fed.server.result(round_id)
            assert len(result.contributors) >= self.fed.params.min_clients
            expected = np.sum([self.fed.updates[name] for name in result.contributors], axis=0)
            np.testing.assert_array_equal(result.sum, expected)
            result.receipt.verify(self.fed.roster)


TestFederation = FederationMachine.TestCase
TestFederation.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
