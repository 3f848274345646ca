"""Clients and the key holder of ckks in processes, and kill -9 around the ledger write: faults 15, 49, 51 and 72."""

import signal

import numpy as np
import pytest

from secagg.protocols.ckks.messages import Kind
from secagg.wire import HOLDER
from support.encrypted import Encrypted
from support.encrypted_watch import Watch
from support.federation import fields
from support.processes import KILLS, OnDisk


class Processes(OnDisk, Encrypted):
    """A federation of which some live on disk, and in a process only for one message."""

    def __init__(self, home, clients=4, on_disk=None, **changes):
        super().__init__(clients, **{"min_clients": 3, **changes})
        self.settle(home, Watch(), on_disk)

    def check(self, contributors, round_id=1):
        """The holder's own result ended with its process; the server has it, or the holder's signature on it."""
        told = self.server.result(round_id)
        assert told.contributors == tuple(sorted(contributors))
        told.receipt.verify(self.roster, self.params)
        if self.params.reveal == "server":
            np.testing.assert_array_equal(told.sum, sum(self.updates[name] for name in contributors))


def test_every_message_in_a_new_process(tmp_path):
    f = Processes(tmp_path, 3, rounds_per_setup=2)
    for round_id in (1, 2):
        f.round(round_id)
        f.check(f.ids, round_id)
    assert f.started == 1 + 2 * (3 + 1)


@pytest.mark.parametrize("kill", KILLS)
def test_fault_49_killed_at_every_phase_and_sent_again(tmp_path, kill):
    """A client and the holder, each in its phase; the holder keeps no ledger entry for a key, which its snapshot has."""
    f = Processes(tmp_path, on_disk={"c1", HOLDER})
    f.server.open_round(1)
    while f.server.phase != "idle":
        phase, inbox = f.server.phase, f.requests()
        who = "c1" if phase == "encrypted" else HOLDER
        if phase != "keys" or kill == "after snapshot":
            status, sent, said = f.step(who, inbox[who], kill)
            assert (status, sent) == (-signal.SIGKILL, []), said
        # Killed before its state was stored, the randomness of what may have left is gone: c1 is out of this round.
        lost = phase == "encrypted" and kill == "after commit"
        f.bring(f.hand(inbox, {"c1"} if lost else ()))
        if lost:
            status, sent, said = f.step(who, inbox[who])
            assert (status, sent) == (1, [])
            assert "has left already" in said
        f.server.close_phase()
    f.check([name for name in f.ids if name != "c1"] if kill == "after commit" else f.ids)


@pytest.mark.parametrize("kill", ["after commit", "after snapshot"])
def test_fault_72_another_sum_after_the_kill_is_refused(tmp_path, kill):
    """Killed once the ledger knows which sum is to be decrypted: another one is not, the same one is."""
    f = Processes(tmp_path, on_disk={HOLDER})
    f.server.open_round(1)
    f.until("decrypt")
    inbox = f.requests()
    request, *chunks = inbox[HOLDER]
    status, sent, _ = f.step(HOLDER, inbox[HOLDER], kill)
    assert (status, sent) == (-signal.SIGKILL, [])
    body = f.body(request)
    lie = f.forge(Kind.DECRYPT_REQUEST, fields(body, server_key=f.body(body.headers[0]).channel_key))
    status, sent, said = f.step(HOLDER, [lie, *chunks])
    assert (status, sent) == (1, [])
    assert "another sum of this round was decrypted before" in said
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids)


def test_fault_49_another_update_after_the_kill_is_refused(tmp_path):
    f = Processes(tmp_path, on_disk={"c1"})
    f.server.open_round(1)
    f.until("encrypted")
    inbox = f.requests()
    status, _, _ = f.step("c1", inbox["c1"], "after snapshot")
    assert status == -signal.SIGKILL
    f.give("c1", np.roll(f.updates["c1"], 1))
    status, sent, said = f.step("c1", inbox["c1"])
    assert (status, sent) == (1, [])
    assert "another update" in said
    f.give("c1", f.updates["c1"])
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_fault_51_a_rolled_back_holder_repeats_its_answer(tmp_path):
    f = Processes(tmp_path, on_disk={HOLDER})
    f.server.open_round(1)
    f.until("decrypt")
    inbox = f.requests()
    snapshot = tmp_path / "holder" / "snapshot"
    old = snapshot.read_bytes()
    _, first, _ = f.step(HOLDER, inbox[HOLDER])
    snapshot.write_bytes(old)
    _, again, _ = f.step(HOLDER, inbox[HOLDER])
    assert first == again != []
    f.bring([(HOLDER, frame) for frame in again])
    f.server.close_phase()
    f.check(f.ids)
