"""The server's journal: what it refuses, what it keeps, and what it costs. Fault 50, and 49 to 52 of the file itself."""

import copy
import enum
import os
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from secagg import Identity, Server
from secagg.errors import AbortError, InputError, ParameterError, StateError
from secagg.store import Entry, Journal
from secagg.store import journal as journals
from support.federation import Federation, make_params
from support.journaled import disk, journaled, put, reopened, restart

KEY = Identity.generate()
PARAMS, ROSTER, SESSION = bytes(32), bytes([1]) * 32, bytes([2]) * 16


def opened(path, **changes):
    settings = {"identity": KEY, "params": PARAMS, "roster": ROSTER, "session": SESSION, **changes}
    return Journal(path, **settings)


@pytest.fixture
def path(tmp_path):
    """A journal of two rounds: rows of the setup, and of the second round, two of them with frames in the spool."""
    journal = opened(tmp_path / "journal")
    for number in range(3):
        journal.append(number + 1, b"setup %d" % number)
    journal.append_frame(2, b"large frame of round 1")
    journal.commit()
    journal.cut(3)
    journal.append(5, b"memo")
    journal.append_frame(2, b"first large frame")
    journal.append_frame(3, b"second large frame")
    journal.commit()
    journal.close()
    return tmp_path / "journal"


KEPT = [
    Entry(1, 1, b"setup 0"), Entry(2, 2, b"setup 1"), Entry(3, 3, b"setup 2"),
    Entry(5, 5, b"memo"), Entry(6, 2, b"first large frame"), Entry(7, 3, b"second large frame"),
]  # fmt: skip


def test_rows_come_back_in_order_and_the_count_never_falls(path):
    with closing(opened(path)) as journal:
        assert list(journal.entries()) == KEPT
        assert (journal.recorded, journal.session) == (7, SESSION)
        assert repr(journal) == f"<Journal {path}>"
        journal.append(1, b"never committed")
    with closing(opened(path, session=None)) as journal:
        assert list(journal.entries()) == KEPT
        journal.cut(0)
        journal.commit()
        assert list(journal.entries()) == []
        assert (journal.recorded, path.with_name("journal-spool").stat().st_size) == (7, 0)
        journal.append(1, b"again")
        journal.commit()
        assert list(journal.entries()) == [Entry(8, 1, b"again")]
        journal.commit()  # nothing to do


def test_what_was_taken_can_be_dropped(path):
    with closing(opened(path)) as journal:
        journal.cut(0)
        journal.append(1, b"x")
        journal.drop()
        journal.commit()
        assert list(journal.entries()) == KEPT


def test_its_rows_cannot_be_read_without_the_identity(path):
    content = b"".join(disk(path).values())
    assert b"setup" not in content
    assert b"first large frame" in content  # what is in the spool is as masked as it came


@pytest.mark.parametrize("what", ["identity", "params", "roster", "session"])
def test_fault_50_a_foreign_journal_is_refused_and_left_alone(path, what):
    before = disk(path)
    other = {"identity": Identity.generate(), "params": bytes(31) + b"x", "roster": bytes(32), "session": bytes(16)}
    with pytest.raises(InputError, match=what if what != "params" else "Params"):
        opened(path, **{what: other[what]})
    assert disk(path) == before
    with closing(opened(path)) as journal:
        assert list(journal.entries()) == KEPT


def spoil(path, *statements):
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


SPOILT = {
    "some bytes of a row": "UPDATE entries SET sealed = CAST(substr(sealed, 1, 20) || zeroblob(8) || substr(sealed, 29) AS BLOB) "
    "WHERE seq = 2",
    "another kind": "UPDATE entries SET kind = 4 WHERE seq = 2",
    "a kind out of range": "UPDATE entries SET kind = 1000 WHERE seq = 2",
    "another number": "UPDATE entries SET seq = 4 WHERE seq = 3",
    "a negative number": "UPDATE entries SET seq = -1 WHERE seq = 1",
    "text": "UPDATE entries SET sealed = 'text' WHERE seq = 1",
    "a short row": "UPDATE entries SET sealed = x'0011' WHERE seq = 1",
    "without its first row": "DELETE FROM entries WHERE seq = 1",
    "without a row": "DELETE FROM entries WHERE seq = 5",
    "without its last row": "DELETE FROM entries WHERE seq = 7",
    "without rows": "DELETE FROM entries",
    "a row moved to the end": "UPDATE entries SET seq = 9 WHERE seq = 7",
    "two rows exchanged": "UPDATE entries SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3);"
    "UPDATE entries SET seq = -seq WHERE seq < 0",
    "a smaller count": "UPDATE tip SET recorded = 6",
    "a larger count": "UPDATE tip SET recorded = 8",
    "no tip": "DELETE FROM tip",
    "two tips": "INSERT INTO tip SELECT * FROM tip",
    "a tip of text": "UPDATE tip SET seal = 'text'",
    "a short tip": "UPDATE tip SET seal = x'00'",
    "no header": "DELETE FROM header",
    "two headers": "INSERT INTO header SELECT * FROM header",
    "another version": "UPDATE header SET format = 2",
    "another session": f"UPDATE header SET session = x'{bytes(16).hex()}'",
    "another id": f"UPDATE header SET id = x'{bytes(16).hex()}'",
    "a header of text": "UPDATE header SET id = 'text'",
    "another table": "CREATE TABLE more (x)",
    "another application": "PRAGMA application_id = 7",
    "a table less": "DROP TABLE tip",
    "a column less": "ALTER TABLE entries RENAME COLUMN sealed TO body",
}


@pytest.mark.parametrize("how", SPOILT)
def test_fault_50_a_changed_journal_is_refused_and_left_as_it_is(path, how):
    spoil(path, *SPOILT[how].split(";"))
    before = disk(path)
    with pytest.raises(InputError, match="journal"):
        opened(path, session=None)
    assert disk(path) == before


def test_fault_50_rows_of_another_journal_of_the_same_server_are_refused(path, tmp_path):
    with closing(opened(tmp_path / "other")) as other:
        for number in range(3):
            other.append(number + 1, b"setup %d" % number)
        other.commit()
    spoil(path, f"ATTACH '{tmp_path / 'other'}' AS other", "UPDATE entries SET sealed = (SELECT sealed FROM other.entries "
          "WHERE other.entries.seq = entries.seq) WHERE seq <= 3")  # fmt: skip
    with pytest.raises(InputError, match="not the one that was written"):
        opened(path)


@pytest.mark.parametrize("at", [0, 1, 17, 100, 5000, -1])
def test_fault_50_a_flipped_byte_is_refused_or_changes_nothing(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)
    try:
        with closing(opened(path)) as journal:
            assert list(journal.entries()) == KEPT
    except InputError:
        pass


def test_fault_50_every_torn_file_is_refused_or_is_the_whole_one(path):
    whole = path.read_bytes()
    for size in [1, 16, 99, *range(100, len(whole), 1021)]:
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            opened(path)
        path.with_name("journal-wal").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["missing", "short", "changed"])
def test_fault_50_a_spool_that_is_not_the_one_that_was_written_is_refused(path, how):
    spool = path.with_name("journal-spool")
    content = spool.read_bytes()
    if how == "missing":
        spool.unlink()
    else:
        spool.write_bytes(content[:-1] if how == "short" else content[:-1] + b"x")
    with pytest.raises(InputError, match="spool"), closing(opened(path)) as journal:
        list(journal.entries())
    spool.write_bytes(content + b"and what was written after the last commit")
    with closing(opened(path)) as journal:
        assert list(journal.entries()) == KEPT


def test_fault_50_what_is_no_file_of_ones_own_is_refused(path, tmp_path):
    path.chmod(0o666)
    with pytest.raises(InputError, match="chmod"):
        opened(path)
    with pytest.raises(InputError, match="no regular file"):
        opened(tmp_path)
    with pytest.raises(InputError, match="cannot be opened"):
        opened(tmp_path / "missing" / "journal")
    (tmp_path / "text").write_text("not a database, and long enough to be taken for one" * 20)
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(InputError, match="no secagg journal"):
        opened(tmp_path / "text")
    path.chmod(0o600)
    path.with_name("journal-spool").rename(tmp_path / "elsewhere")
    path.with_name("journal-spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError):
        opened(path)


def test_a_journal_is_not_copied(path):
    with closing(opened(path)) as journal:
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                act(journal)


def test_a_new_journal_is_its_owners_alone(tmp_path):
    with closing(opened(tmp_path / "new")) as journal:
        journal.append_frame(2, b"frame")
        journal.commit()
        for part in disk(tmp_path / "new"):
            assert not (tmp_path / f"new{part}").stat().st_mode & 0o077


def test_fault_51_a_second_object_or_process_is_refused_while_the_first_is_open(path):
    journal = opened(path)
    with pytest.raises(InputError, match="in use"):
        opened(path)
    program = (
        "import sys; from secagg.store import Journal; from secagg import Identity; key = bytes.fromhex(sys.argv[2])\n"
        "Journal(sys.argv[1], identity=Identity.from_bytes(key), params=bytes(32), roster=b'', session=None)"
    )
    command = [sys.executable, "-c", program, str(path), KEY.to_bytes().hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "InputError" in done.stderr
    assert "in use" in done.stderr
    journal.append(1, b"still mine")
    journal.commit()
    journal.close()
    journal.close()
    opened(path).close()


def test_a_fork_writes_nothing(path):
    journal = opened(path)
    journal.append(1, b"in the write-ahead log")
    journal.commit()
    before = disk(path)
    child = os.fork()
    if not child:
        status = 1
        try:
            for act in (journal.commit, lambda: journal.append_frame(2, b"frame")):
                with pytest.raises(AbortError, match="fork"):
                    act()
            journal.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert disk(path) == before  # closing it over there has not tidied up over here
    journal.append(1, b"the parent's")
    journal.commit()
    journal.close()
    with closing(opened(path)) as journal:
        assert [entry.content for entry in journal.entries()][-1] == b"the parent's"


def test_fault_52_a_full_file_keeps_what_it_has_and_takes_the_rest_later(path):
    with closing(opened(path)) as journal:
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        for number in range(50):
            journal.append(1, b"%d" % number * 1000)
        for _ in range(2):
            with pytest.raises(AbortError, match="full"):
                journal.commit()
        assert journal.recorded == 7
        assert list(journal.entries()) == KEPT
        journal._db.execute("PRAGMA max_page_count = 100000")
        journal.commit()
        assert journal.recorded == 57


def test_fault_52_a_spool_that_cannot_be_read_is_refused(path, monkeypatch):
    with closing(opened(path)) as journal:
        os.close(journal._spool)
        journal._spool = os.open(os.devnull, os.O_WRONLY)
        with pytest.raises(InputError, match="spool"):
            list(journal.entries())


def test_fault_49_short_writes_are_continued(path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(journals.os, "pwrite", lambda descriptor, data, at: real(descriptor, data[:5], at))
    with closing(opened(path)) as journal:
        journal.append_frame(2, b"a frame that is written in many parts")
        journal.commit()
        assert list(journal.entries())[-1].content == b"a frame that is written in many parts"


# -- a server on it ---------------------------------------------------------------------------------------------------


def test_a_server_refuses_a_journal_that_is_not_its_own_and_leaves_it(memory):
    fed = journaled(Federation(5, rounds_per_setup=2), memory / "journal")
    fed.round(1)
    recorded = fed.server.recorded
    with pytest.raises(InputError, match="in use"):
        reopened(fed, fed.journal)
    fed.server.close()
    other = Federation(5, rounds_per_setup=2)
    for changes, match in [
        ({"identity": other.server_key, "roster": other.roster}, "another"),
        ({"params": make_params(5, rounds_per_setup=3)}, "another Params"),
        ({"session": bytes(16)}, "another session"),
        ({"recorded": recorded + 1}, "rolled back"),
    ]:
        before = disk(fed.journal)
        with pytest.raises(InputError, match=match):
            reopened(fed, fed.journal, **changes)
        assert disk(fed.journal) == before
    with pytest.raises(ParameterError):
        reopened(fed, fed.journal, session=b"short")
    restart(fed, recorded=recorded, session=fed.server.session)
    fed.round(2)
    fed.check(fed.ids, 2)
    assert fed.server.recorded > recorded


def test_a_journal_of_a_server_that_did_otherwise_is_refused(memory, monkeypatch):
    """Whole rows, but this code makes something else of them: it is not the version that wrote them."""
    fed = journaled(Federation(5), memory / "journal")
    fed.round(1)
    fed.server.close()
    before = disk(fed.journal)
    with monkeypatch.context() as patched:
        patched.setattr("secagg.protocols.pairwise.server.participants_digest", lambda *_: bytes(32))
        with pytest.raises(InputError, match="another version"):
            reopened(fed, fed.journal)
    with monkeypatch.context() as patched:
        patched.setattr("secagg.protocols.pairwise.server.KeyPair.generate", lambda entropy: entropy(31))
        with pytest.raises(InputError, match="other randomness"):
            reopened(fed, fed.journal)
    assert disk(fed.journal) == before
    assert restart(fed).result(1).contributors == tuple(fed.ids)


@pytest.mark.parametrize(
    "kind, content", [(2, b"no frame"), (9, b""), (1, b"\x91"), (5, b"\x94\xc0\xc0\xa0\xc0"), (4, b"\x92\x90\xc4\x00")]
)
def test_rows_that_mean_nothing_are_refused(memory, kind, content):
    fed = journaled(Federation(5), memory / "journal")
    fed.server._recorder._journal.append(kind, content)
    fed.server._recorder.sync()
    fed.server.close()
    with pytest.raises(InputError, match="cannot be replayed beyond row 1"):
        reopened(fed, fed.journal)


def test_the_journal_stays_small_over_many_rounds(memory):
    fed = journaled(Federation(5, rounds_per_setup=50), memory / "journal")
    sizes = []
    for round_id in range(1, 31):
        fed.round(round_id)
        sizes.append(sum(map(len, disk(fed.journal).values())))
    assert max(sizes[15:]) <= 2 * max(sizes[:15])
    assert len(list(fed.server._recorder._journal.entries())) < 60  # the setup's and one round's
    restart(fed)
    fed.check(fed.ids, 30)
    with pytest.raises(StateError):
        fed.server.result(29)  # only the last one is computed again


def test_names_and_numbers_of_other_types_are_kept_as_what_they_are(memory):
    fed = journaled(Federation(5, max_participants=5, min_clients=3), memory / "journal")
    number = enum.IntEnum("number", {"one": 1}).one
    fed.server.open_round(
        number, participants=dict.fromkeys(map(np.str_, fed.ids[:4])).keys(), cohort=np.array(fed.ids)
    )
    sent = fed.server.outbox()
    assert restart(fed).outbox() == sent
    fed.server._out = sent
    while fed.server.phase != "idle":
        fed.phase()
    fed.check(fed.ids[:4])


def test_frames_become_durable_in_batches(memory, monkeypatch):
    monkeypatch.setattr("secagg.durable.BATCH_FRAMES", 3)
    fed = journaled(Federation(5), memory / "journal")
    fed.server.open_round(1)
    sent = fed.hand(fed.requests())
    before = fed.server.recorded
    steps = []
    for name, frame in sent:
        fed.server.receive(frame, sender=name)
        steps.append(fed.server.recorded - before)
    assert steps == [0, 0, 3, 3, 3]
    fed.bring(sent)  # repeats are no rows
    fed.server.sync()
    assert fed.server.recorded == before + 5
    image = disk(fed.journal)
    fed.server.close()
    server = fed.server = reopened(fed, put(image, memory / "copy"))
    fed.bring(sent)
    server.sync()
    assert server.recorded == before + 5


def test_a_server_without_a_journal_has_nothing_to_sync(memory):
    fed = Federation(3)
    fed.server.sync()
    assert (fed.server.recorded, fed.server.round_id) == (0, None)
    assert isinstance(fed.server, Server)


def test_a_failed_sync_ends_the_round(memory, monkeypatch):
    fed = journaled(Federation(5), memory / "journal")
    fed.server.open_round(1)
    fed.until("masked")
    fed.bring(fed.hand(fed.requests()))

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(journals, "_flush", fail)
        with pytest.raises(AbortError, match="Input/output"):
            fed.server.sync()
    assert fed.server.phase == "idle"
    with pytest.raises(AbortError, match="journal"):
        fed.server.result(1)
    fed.round(2)
    fed.check(fed.ids, 2)


def test_memos_of_others_are_refused():
    for fed in (Federation(3), Federation(4)):
        core = fed.server._core
        for bad in (b"", b"\x90", b"\xff"):
            with pytest.raises(InputError, match="memo"):
                core.recall(bad)
    with pytest.raises(InputError, match="another roster"):
        Federation(3).server._core.recall(Federation(4).server._core.memo())
    from support.encrypted import Encrypted

    with pytest.raises(InputError, match="memo"):
        Encrypted(3).server._core.recall(b"\x90")
