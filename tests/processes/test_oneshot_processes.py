"""Clients and members of oneshot in processes, and kill -9 around the ledger write: faults 15, 28, 49, 51."""

import shutil
import signal
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from support import client_process
from support.committee import Committee
from support.committee_watch import Watch
from support.processes import KILLS, OnDisk

KILLED = (-signal.SIGKILL, [])


class Processes(OnDisk, Committee):
    """A federation of which some live on disk, and in a process only for one message; the last one sends no updates."""

    def __init__(self, home, clients=5, on_disk=None, **changes):
        super().__init__(clients, **{"min_clients": 3, "corrupt": 1, "threshold": clients - 1, "packing": 1, **changes})
        self.quiet, self.trainers = {self.ids[-1]}, self.ids[:-1]
        self.settle(home, Watch(), on_disk)

    def reveal(self):
        """Go on until members are asked for their answers; return what each of them is asked."""
        self.until("reveal", participants=self.trainers)
        return self.requests()

    def fewer(self, frame):
        """The same request for a set without the first of its survivors."""
        body = self.body(frame)
        count = len(body.headers)
        box, path = len(body.sealed) // count, len(body.paths) // count
        return self.forged(frame, headers=body.headers[1:], sealed=body.sealed[box:], paths=body.paths[path:])

    def done(self, inbox, names, silent=()):
        """Let everybody answer these requests, and check the sum."""
        self.bring(self.hand(inbox, silent))
        self.server.close_phase()
        self.exact(self.server.result(1), names)


def test_every_message_in_a_new_process(tmp_path):
    f = Processes(tmp_path, 4, rounds_per_setup=2)
    for round_id in (1, 2):
        f.exact(f.round(round_id, f.trainers), f.trainers)
    assert f.started == 4 + 2 * (3 + 4)


@pytest.mark.parametrize("kill", KILLS)
def test_fault_49_killed_at_every_phase_and_sent_again(tmp_path, kill):
    """A client that is a member, and a member alone; the ledger has no entry for a key, which the snapshot has."""
    f = Processes(tmp_path, on_disk={"c1", "c4"})
    f.server.open_round(1, f.trainers)
    while f.server.phase != "idle":
        phase, inbox = f.server.phase, f.requests()
        lost = set()
        for name in ("c1", "c4"):
            if not inbox[name] or (phase == "keys" and kill != "after snapshot"):
                continue
            status, sent, said = f.step(name, inbox[name], kill)
            assert (status, sent) == KILLED, said
            # Killed before its state was stored, the randomness of what may have left is gone: c1 is out of this round.
            if phase == "masked" and kill == "after commit":
                status, sent, said = f.step(name, inbox[name])
                assert (status, sent) == (1, [])
                assert "has left already" in said
                lost.add(name)
        f.bring(f.hand(inbox, lost))
        f.server.close_phase()
    names = [name for name in f.trainers if name != "c1" or kill != "after commit"]
    f.exact(f.server.result(1), names)
    assert set(f.server.result(1).receipt.signatures) >= {"c1", "c4"}


@pytest.mark.parametrize("name, kill", [("c1", "after commit"), ("c4", "after commit"), ("c4", "after snapshot")])
def test_fault_28_another_set_after_the_kill_is_refused(tmp_path, name, kill):
    """Killed once the ledger knows which set was answered for: another one is not, the same one is, with the same answer."""
    f = Processes(tmp_path, on_disk={name})
    inbox = f.reveal()
    (frame,) = inbox[name]
    assert f.step(name, [frame], kill)[:2] == KILLED
    status, sent, said = f.step(name, [f.fewer(frame)])
    assert (status, sent) == (1, [])
    assert "another set of this round was answered for" in said
    _, first, _ = f.step(name, [frame])
    _, again, _ = f.step(name, [frame])
    assert first == again != []
    f.done(inbox, f.trainers)


def test_killed_before_the_commit_either_set_may_be_answered_but_one(tmp_path):
    """Nothing was durable and nothing left: the next request decides, and the first one is then another set."""
    f = Processes(tmp_path, on_disk={"c4"})
    inbox = f.reveal()
    (frame,) = inbox["c4"]
    assert f.step("c4", [frame], "before commit")[:2] == KILLED
    status, sent, _ = f.step("c4", [f.fewer(frame)])
    assert (status, len(sent)) == (0, 1)
    status, sent, said = f.step("c4", [frame])
    assert (status, sent) == (1, [])
    assert "another set" in said
    f.done(inbox, f.trainers, silent={"c4"})


def test_fault_51_a_rolled_back_member_repeats_its_answer(tmp_path):
    f = Processes(tmp_path, on_disk={"c4"})
    inbox = f.reveal()
    snapshot = tmp_path / "c4" / "snapshot"
    old = snapshot.read_bytes()
    _, first, _ = f.step("c4", inbox["c4"])
    snapshot.write_bytes(old)
    status, sent, _ = f.step("c4", [f.fewer(inbox["c4"][0])])
    assert (status, sent) == (1, [])
    _, again, _ = f.step("c4", inbox["c4"])
    assert first == again != []
    f.bring([("c4", frame) for frame in again])
    f.done({name: frames for name, frames in inbox.items() if name != "c4"}, f.trainers)


def test_with_the_ledger_rolled_back_too_a_member_answers_for_two_sets(tmp_path):
    """What is lost without one, as without any: such a member counts as corrupt, and the watch says why."""
    f = Processes(tmp_path, on_disk={"c4"})
    inbox = f.reveal()
    home, image = tmp_path / "c4", tmp_path / "an old image"
    shutil.copytree(home, image)
    assert f.step("c4", inbox["c4"])[0] == 0
    shutil.rmtree(home)
    image.rename(home)  # and with it the ledger
    with pytest.raises(AssertionError, match="answered for two sets"):
        f.step("c4", [f.fewer(inbox["c4"][0])])


def test_two_copies_of_a_member_on_one_ledger_answer_for_one_set(tmp_path):
    """Both processes at once, each asked for another set: the ledger lets one of them speak."""
    f = Processes(tmp_path, on_disk={"c4"})
    inbox = f.reveal()
    home, asked = tmp_path / "c4", [inbox["c4"][0], f.fewer(inbox["c4"][0])]
    copies = []
    for number, frame in enumerate(asked):
        box = home / f"inbox{number}"
        box.write_bytes(msgspec.msgpack.encode([frame]))
        command = [sys.executable, client_process.__file__, str(home), str(box), str(home / f"outbox{number}")]
        copies.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    said = [copy.communicate(timeout=120)[1] for copy in copies]
    assert sorted(copy.returncode for copy in copies) == [0, 1], said
    (lost,) = [number for number, copy in enumerate(copies) if copy.returncode]
    assert "another set of this round was answered for" in said[lost]
    assert not (home / f"outbox{lost}").exists()
    assert len(msgspec.msgpack.decode((home / f"outbox{1 - lost}").read_bytes())) == 1


def test_fault_49_another_update_after_the_kill_is_refused(tmp_path):
    f = Processes(tmp_path, on_disk={"c1"})
    f.until("masked", participants=f.trainers)
    inbox = f.requests()
    assert f.step("c1", inbox["c1"], "after snapshot")[:2] == KILLED
    f.give("c1", np.roll(f.updates["c1"], 1))
    status, sent, said = f.step("c1", inbox["c1"])
    assert (status, sent) == (1, [])
    assert "another update" in said
    f.give("c1", f.updates["c1"])
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.exact(f.finish(1), f.trainers)
