"""Parts of a journal that are lost or damaged, a setup whose last step is not in it, and who else may hold it."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from secagg import Client, Identity, Params, Roster, Server
from secagg.errors import AbortError, InputError, ThresholdError
from secagg.store import journal as journal_module

NAMES = [f"h{i}" for i in range(5)]


class _Session:
    def __init__(self, home):
        self.params = Params(
            clients=5, length=9, threshold=3, corrupt=0, min_clients=3, rounds_per_setup=8, min_honest=2
        )  # fmt: skip
        self.keys = {name: Identity.generate() for name in NAMES}
        self.key = Identity.generate()
        self.roster = Roster({name: key.verify_key for name, key in self.keys.items()}, self.key.verify_key)
        self.path = home / "server.journal"
        self.clients = {
            name: Client(self.params, me=name, identity=key, roster=self.roster, ledger=home / f"{name}.ledger")
            for name, key in self.keys.items()
        }
        self.server = self.serve()

    def serve(self, **more):
        return Server(self.params, identity=self.key, roster=self.roster, journal=self.path, **more)

    def carry(self, silent=()):
        for to, frame in self.server.outbox():
            for name in NAMES if to is None else [to]:
                if name not in silent:
                    self.clients[name].receive(frame)
        for name, client in self.clients.items():
            if client.awaiting:
                client.submit(np.full(9, 0.1))
            for frame in client.outbox():
                if name not in silent:
                    self.server.receive(frame)

    def finish(self, silent=()):
        while self.server.phase != "idle":
            self.carry(silent)
            self.server.close_phase()

    def part(self, end):
        return Path(f"{self.path}{end}")


@pytest.fixture
def session(tmp_path):
    made = _Session(tmp_path)
    yield made
    made.server.close()


@pytest.mark.parametrize("why", ["dropout", "disk"])
def test_fault_49_a_setup_whose_last_step_is_not_recorded_is_not_built_upon(session, why, monkeypatch):
    if why == "dropout":
        session.server.open_round(1, participants=NAMES[:3])
        session.carry()
        session.server.close_phase()
        session.carry(silent=("h2",))
        with pytest.raises(ThresholdError):
            session.server.close_phase()
    else:
        session.server.open_round(1)
        session.carry()
        session.server.close_phase()
        session.carry()
        commit = journal_module.Journal.commit
        failing = [True]

        def fail_once(self):
            if failing:
                failing.clear()
                raise AbortError("a disk that has no room for a moment")
            commit(self)

        monkeypatch.setattr(journal_module.Journal, "commit", fail_once)
        with pytest.raises(AbortError):
            session.server.close_phase()
    session.server.open_round(2)
    session.finish()
    signed = session.server.result(2).receipt
    session.server.close()
    session.server = session.serve()
    assert session.server.result(2).receipt == signed
    session.server.open_round(3)
    session.finish()
    assert len(session.server.result(3).contributors) == 5


def interrupted_round(session):
    """A round whose server ends without a word, its log beside its file."""
    session.server.open_round(1)
    session.carry()
    session.server.close_phase()
    return {end: session.part(end).read_bytes() for end in ("", "-wal", "-spool")}


def left(session, files):
    session.server.close()
    for end in ("", "-wal", "-spool"):
        session.part(end).unlink(missing_ok=True)
        if end in files:
            session.part(end).write_bytes(files[end])
            session.part(end).chmod(0o600)


def test_fault_50_a_journal_without_its_file_or_its_spool_is_no_new_one(session):
    files = interrupted_round(session)
    for gone in ({"-wal": files["-wal"]}, {"-spool": files["-spool"]}, {"": b"", "-spool": b"", "-wal": files["-wal"]}):
        left(session, gone)
        with pytest.raises(InputError, match="part of a journal is missing"):
            session.serve()
    left(session, {"": files[""], "-wal": files["-wal"]})
    with pytest.raises(InputError):
        session.serve()


def test_fault_49_a_server_killed_while_its_journal_was_made_makes_it_again(session):
    """The file is there before its tables are, and the spool before both: nothing was ever recorded."""
    session.server.close()
    with sqlite3.connect(session.path.parent / "begun.db") as db:
        db.execute("PRAGMA journal_mode = WAL")
    begun = (session.path.parent / "begun.db").read_bytes()
    for content in (b"", begun):
        left(session, {"": content, "-spool": b""})
        session.server = session.serve()
        session.server.open_round(1)
        session.server.close()
    session.server = session.serve()
    assert session.server.round_id == 1


def test_fault_51_a_journal_without_its_log_is_an_old_one_of_the_same_session(session):
    """It says less than it did, which `recorded=` shows; clients refuse what contradicts what they were told."""
    files = interrupted_round(session)
    was, seen = session.server.session, session.server.recorded
    left(session, {"": files[""], "-spool": files["-spool"]})
    with pytest.raises(InputError, match="rolled back"):
        session.serve(recorded=seen)
    session.server = session.serve()
    assert session.server.session == was
    assert session.server.recorded < seen


def test_fault_50_a_spool_that_others_can_write_or_that_is_no_file_is_refused(session):
    session.server.close()
    session.part("-spool").chmod(0o666)
    with pytest.raises(InputError, match="owner alone"):
        session.serve()
    session.part("-spool").unlink()
    os.mkfifo(session.part("-spool"), 0o600)
    with pytest.raises(InputError):
        session.serve()


def test_fault_51_another_process_is_refused_whoever_read_the_file_in_this_one(session):
    session.server.open_round(1)
    session.path.read_bytes()  # closing any descriptor of it drops SQLite's lock
    code = (
        "import sys; from pathlib import Path; from secagg import Identity, Params, Roster, Server\n"
        "from secagg.errors import InputError\n"
        "params, roster = Params.from_bytes(bytes.fromhex(sys.argv[1])), Roster.load(sys.argv[3])\n"
        "try: Server(params, identity=Identity.load(sys.argv[2]), roster=roster, journal=sys.argv[4])\n"
        "except InputError as error: print(error)"
    )
    home = session.path.parent
    session.key.save(home / "server.key")
    session.roster.save(home / "roster.json")
    told = subprocess.run(
        [sys.executable, "-P", "-c", code, session.params.to_bytes().hex(), home / "server.key", home / "roster.json",
         session.path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "in use" in told.stdout


def test_fault_52_frames_whose_flush_failed_are_never_spoken_of(session, monkeypatch):
    session.server.open_round(1)
    for _ in range(2):
        session.carry()
        session.server.close_phase()
    session.carry()
    flush, failing = journal_module._flush, [True]

    def fail_once(descriptor):
        if failing:
            failing.clear()
            raise OSError(5, "Input/output error")
        flush(descriptor)

    monkeypatch.setattr(journal_module, "_flush", fail_once)
    with pytest.raises(AbortError):
        session.server.close_phase()
    assert not failing
    session.server.close()
    spool = session.part("-spool")
    spool.write_bytes(bytes(spool.stat().st_size))  # what the disk did not take
    session.server = session.serve()
    if session.server.phase != "idle":
        session.server.abort()
    session.server.open_round(2)
    session.finish()
    assert len(session.server.result(2).contributors) == 5
