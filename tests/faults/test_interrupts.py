"""A server that is interrupted anywhere in a call: the round goes on or is over, and the next one is exact."""

import contextlib

import numpy as np
import pytest

from secagg import HOLDER, Client, Identity, Integer, KeyHolder, Params, Roster, Server
from secagg.errors import AbortError, SecAggError
from support.interrupts import Interrupt, interrupted

IDS = ("ana", "bo", "cy", "dan")
PROTOCOLS = {"pairwise": {}, "ckks": {"protocol": "ckks", "reveal": "server"}, "oneshot": {"protocol": "oneshot"}}


class _Session:
    def __init__(self, protocol, journal):
        self.params = Params(clients=4, length=9, encoding=Integer(0, 100), rounds_per_setup=8, **PROTOCOLS[protocol])
        self.keys = {name: Identity.generate() for name in (*IDS, "server", HOLDER)}
        held = protocol == "ckks"
        self.roster = Roster(
            {name: self.keys[name].verify_key for name in IDS}, self.keys["server"].verify_key,
            self.keys[HOLDER].verify_key if held else None,
        )  # fmt: skip
        self.parties = {
            name: Client(self.params, me=name, identity=self.keys[name], roster=self.roster) for name in IDS
        }
        if held:
            self.parties[HOLDER] = KeyHolder(self.params, identity=self.keys[HOLDER], roster=self.roster)
        self.updates = {name: np.full(9, 10 + rank) for rank, name in enumerate(IDS)}
        self.journal = journal
        self.server = self.serve()

    def serve(self):
        return Server(
            self.params, identity=self.keys["server"], roster=self.roster, journal=self.journal, threads=1
        )  # fmt: skip

    def exchange(self):
        for to, frame in self.server.outbox():
            for name in IDS if to is None else (to,):
                with contextlib.suppress(SecAggError):
                    self.parties[name].receive(frame)
        for name, party in self.parties.items():
            if name != HOLDER and party.awaiting:
                party.submit(self.updates[name])
            for frame in party.outbox():
                self.server.receive(frame)

    def finish(self):
        while self.server.phase != "idle":
            self.exchange()
            self.server.close_phase()

    def check(self, round_id):
        result = self.server.result(round_id)
        np.testing.assert_array_equal(result.sum, sum(self.updates[name] for name in result.contributors))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("durable", [False, True])
def test_fault_49_an_interrupt_anywhere_in_open_round_leaves_a_server_that_works(protocol, durable, tmp_path):
    reached, number, round_id = True, 0, 0
    session = _Session(protocol, tmp_path / "server.journal" if durable else None)
    while reached:
        number, round_id = number + 1, round_id + 1
        with contextlib.suppress(Interrupt), interrupted(number) as reached:
            session.server.open_round(round_id)
        assert (session.server.phase == "idle") == (session.server.round_id is None), number
        if durable and number % 3 == 0:
            session.server.close()
            session.server = session.serve()
        if session.server.phase != "idle":
            session.server.abort()
    assert number > 10
    session.server.open_round(round_id + 1)
    session.finish()
    session.check(round_id + 1)
    session.server.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144])
def test_fault_49_an_interrupted_phase_ends_the_round_or_not_at_all(protocol, number, tmp_path):
    session = _Session(protocol, tmp_path / "server.journal")
    session.server.open_round(1)
    with contextlib.suppress(Interrupt, AbortError):
        while session.server.phase != "idle":
            session.exchange()
            with interrupted(number):
                session.server.close_phase()
    session.server.close()
    session.server = session.serve()
    if session.server.phase != "idle":
        session.finish()
    with contextlib.suppress(AbortError):
        session.check(1)
    session.server.open_round(2)
    session.finish()
    session.check(2)
    session.server.close()
