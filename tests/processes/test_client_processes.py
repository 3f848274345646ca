"""Every message in a new process, and kill -9 around the ledger write: faults 15, 49 and 51 on real processes."""

import signal
from pathlib import Path

import numpy as np
import pytest

from support import client_process
from support.federation import Federation
from support.processes import KILLS, OnDisk
from support.watch import Watch

FRESH = {"shares", "masked", "unmask"}  # phases whose frame the ledger keeps


class Processes(OnDisk, Federation):
    """A federation whose clients live on disk, and in a process only for one message."""

    def __init__(self, home, clients=3, **changes):
        super().__init__(clients, **changes)
        self.settle(home, Watch())


def test_every_message_in_a_new_process(tmp_path):
    f = Processes(tmp_path, rounds_per_setup=2)
    for round_id in (1, 2):
        f.round(round_id)
        f.check(f.ids, round_id)
    assert f.started == 3 * (4 + 2)


@pytest.mark.parametrize("kill", KILLS)
def test_fault_49_killed_at_every_phase_and_sent_again(tmp_path, kill):
    f = Processes(tmp_path)
    f.server.open_round(1)
    while f.server.phase != "idle":
        phase, inbox = f.server.phase, f.requests()
        status, sent, said = f.step("c1", inbox["c1"], kill)
        if phase in FRESH or kill == "after snapshot":
            assert (status, sent) == (-signal.SIGKILL, []), said
        if status == 0:
            f.bring([("c1", frame) for frame in sent])
        f.bring(f.hand(inbox))
        f.server.close_phase()
    f.check(f.ids)


@pytest.mark.parametrize("kill", ["after commit", "after snapshot"])
def test_fault_49_another_update_after_the_kill_is_refused(tmp_path, kill):
    f = Processes(tmp_path, 4, corrupt=1, threshold=3, min_clients=3)
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    status, _, _ = f.step("c1", inbox["c1"], kill)
    assert status == -signal.SIGKILL
    f.give("c1", np.roll(f.updates["c1"], 1))
    status, sent, said = f.step("c1", inbox["c1"])
    assert (status, sent) == (1, [])
    assert "another update was already submitted" in said
    f.give("c1", f.updates["c1"])
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_fault_51_a_rolled_back_process_repeats_its_answer(tmp_path):
    f = Processes(tmp_path)
    f.server.open_round(1)
    f.until("unmask")
    inbox = f.requests()
    snapshot = tmp_path / "c2" / "snapshot"
    old = snapshot.read_bytes()
    _, first, _ = f.step("c2", inbox["c2"])
    snapshot.write_bytes(old)
    _, again, _ = f.step("c2", inbox["c2"])
    assert first == again != []
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids)


def test_the_process_script_is_the_readme_order():
    """Outbox, snapshot, send: the order that the documentation asks for."""
    text = Path(client_process.__file__).read_text()
    assert text.index("client.outbox()") < text.index("client.snapshot()") < text.index("write(outbox")
