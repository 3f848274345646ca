"""The ledger and sealed snapshots: what they keep, and everything they refuse."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import threading

import msgspec
import pytest

from secagg import Client, FixedPoint, Identity, Roster
from secagg.errors import AbortError, InputError, ParameterError, PeerError, StateError
from secagg.hazmat import aead
from secagg.protocols.memory import Record
from secagg.store import Ledger, open_snapshot, read_sent, seal_snapshot
from support.federation import Federation

SESSION, OTHER = bytes(range(16)), bytes(16)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


@pytest.fixture
def key():
    return Identity.generate()


@pytest.fixture
def ledger(tmp_path, key):
    return Ledger(tmp_path / "c.ledger", me="c", identity=key)


def made(text=b"frame", mark=b""):
    return Record(mark, bytes(32), text)


# -- ledger -----------------------------------------------------------------------------------------------------------


def test_the_first_record_stands(ledger):
    assert ledger.recall(SESSION, 3, "masked") is None
    assert ledger.record(SESSION, 3, "masked", made(b"one")) == made(b"one")
    assert ledger.record(SESSION, 3, "masked", made(b"two")) == made(b"one")
    assert ledger.record(SESSION, 3, "unmask", made(b"two", b"m")) == made(b"two", b"m")
    assert ledger.recall(SESSION, 3, "masked") == made(b"one")
    assert ledger.recall(OTHER, 3, "masked") is None


def test_later_rounds_close_earlier_ones_for_ever(ledger):
    assert ledger.floor(SESSION) == -1
    ledger.record(SESSION, 5, "masked", made())
    assert ledger.floor(SESSION) == 4
    for phase in ("shares", "masked", "unmask"):
        with pytest.raises(AbortError, match="over"):
            ledger.record(SESSION, 4, phase, made())
    ledger.record(SESSION, 5, "unmask", made())
    ledger.record(OTHER, 1, "unmask", made())
    ledger.record(SESSION, 9, "shares", made())
    assert (ledger.floor(SESSION), ledger.floor(OTHER)) == (8, 0)
    assert ledger.record(SESSION, 5, "masked", made(b"other")) == made()  # what stands may be repeated


def test_answers_of_rounds_that_are_over_shrink_to_their_digest(ledger):
    for round_id in (1, 2):
        ledger.record(SESSION, round_id, "masked", made(b"header"))
        ledger.record(SESSION, round_id, "unmask", made(b"answer" * 1000, b"mark"))
    assert ledger.recall(SESSION, 1, "unmask") == made(b"", b"mark")
    assert ledger.recall(SESSION, 1, "masked") == made(b"header")
    assert ledger.recall(SESSION, 2, "unmask").frame == b"answer" * 1000


def test_it_is_on_disk_when_record_returns_and_readable_by_its_owner_only(tmp_path, ledger, key):
    ledger.record(SESSION, 1, "masked", made())
    path = tmp_path / "c.ledger"
    assert sqlite3.connect(path).execute("SELECT count(*) FROM frames").fetchone() == (1,)
    assert ledger._db.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA: the directory too
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ledger.close()
    assert Ledger(path, me="c", identity=key).recall(SESSION, 1, "masked") == made()
    assert repr(path) not in repr(ledger) and "c.ledger" in repr(ledger)


def test_another_clients_ledger_is_refused(tmp_path, ledger, key):
    ledger.close()
    for changes in ({"me": "d"}, {"identity": Identity.generate()}):
        with pytest.raises(InputError, match="another client"):
            Ledger(tmp_path / "c.ledger", **{"me": "c", "identity": key, **changes})


def test_fault_50_torn_corrupt_and_foreign_files_are_refused(tmp_path, ledger, key):
    for i in range(200):
        ledger.record(SESSION, i, "masked", made(os.urandom(300)))
    ledger.close()
    good = (tmp_path / "c.ledger").read_bytes()
    foreign = tmp_path / "foreign"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE things (a)")
    db.commit()
    db.close()
    files = {
        "torn": good[: len(good) // 2],
        "header": b"SQLite format 4" + good[15:],
        "page": good[:8192] + bytes(4096) + good[12288:],
        "text": b"what is this?" * 100,
        "foreign": foreign.read_bytes(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError):
            Ledger(tmp_path / name, me="c", identity=key)
    with pytest.raises(InputError, match="cannot be opened"):
        Ledger(tmp_path / "nowhere" / "c.ledger", me="c", identity=key)


def test_fault_52_a_full_disk_aborts_and_the_old_ledger_stays(tmp_path, key):
    f = Federation(3, ledgers=tmp_path)
    f.round(1)
    f.server.open_round(2)
    f.until("masked")
    client = f.clients["c1"]
    ledger = client._ledger
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    inbox = f.requests()
    client.receive(inbox["c1"][0])
    filler = iter(range(100, 100_000))
    with pytest.raises(AbortError, match="nothing may leave"):
        while True:  # until the pages are used up
            ledger.record(OTHER, next(filler), "masked", made(bytes(1000)))
    with pytest.raises(AbortError, match="nothing may leave"):
        for round_id in filler:
            ledger.record(OTHER, round_id, "masked", made(b""))
    before = ledger.floor(f.server.session)
    with pytest.raises(AbortError):
        client.submit(f.updates["c1"])
    assert client.outbox() == []
    assert ledger.floor(f.server.session) == before
    ledger._db.execute("PRAGMA max_page_count = 100000")  # space again
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    f.check(f.ids, 2)


def test_a_closed_ledger_lets_nothing_leave(tmp_path):
    f = Federation(3, ledgers=tmp_path)
    f.server.open_round(1)
    f.until("unmask")
    request = f.requests()["c0"][0]
    f.clients["c0"].close()
    with pytest.raises(AbortError, match="failed"):
        f.clients["c0"].receive(request)
    assert f.clients["c0"].outbox() == []


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "file:y"])
def test_a_ledger_is_a_file_whatever_its_name(tmp_path, monkeypatch, key, name):
    monkeypatch.chdir(tmp_path)
    one = Ledger(name, me="c", identity=key)
    one.record(SESSION, 1, "masked", made())
    one.close()
    assert (tmp_path / name).stat().st_size > 4096
    assert Ledger(name, me="c", identity=key).recall(SESSION, 1, "masked") == made()


@pytest.mark.skipif(os.name != "posix", reason="file modes and links are POSIX's")
def test_links_are_followed_to_a_private_file_and_open_files_refused(tmp_path, key):
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    Ledger(link, me="c", identity=key).close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    target.chmod(0o622)
    with pytest.raises(InputError, match="chmod 600"):
        Ledger(link, me="c", identity=key)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError):
        Ledger(tmp_path / "folder", me="c", identity=key)


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TRIGGER t AFTER INSERT ON frames BEGIN DELETE FROM frames; END",
        "ALTER TABLE frames RENAME TO f; CREATE VIEW frames AS SELECT * FROM f",
        f"ALTER TABLE closed RENAME TO c; CREATE VIEW closed AS {ENDLESS} i AS session, i AS round FROM n",
        "CREATE TABLE more (a)",
        "UPDATE frames SET mark = 1000000000000",
        "UPDATE frames SET round = 'three'",
        "UPDATE frames SET phase = x'00'",
        "UPDATE closed SET round = x'00'",
        "UPDATE owner SET records = 1.5",
        "UPDATE owner SET id = 'text'",
    ],
)
def test_fault_50_a_file_with_code_or_other_types_in_it_is_refused(tmp_path, ledger, key, script):
    """A view can be without end, and a number of bytes to be made from a number larger than the memory."""
    ledger.record(SESSION, 3, "masked", made())
    ledger.close()
    path = tmp_path / "c.ledger"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(script)
    with pytest.raises(InputError, match="ledger"):
        Ledger(path, me="c", identity=key)
    if not script.startswith("UPDATE"):
        with pytest.raises(InputError, match="ledger"):
            read_sent(path, SESSION, 3)


def test_fault_50_a_damaged_file_that_cannot_be_quoted_is_refused(tmp_path, ledger, key):
    """SQLite's own word about it is no UTF-8."""
    ledger.close()
    path = tmp_path / "c.ledger"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE owner", b"CREATE\xcfTABLE owner"))
    with pytest.raises(InputError, match="ledger"):
        Ledger(path, me="c", identity=key)
    with pytest.raises(InputError, match="ledger"):
        read_sent(path, SESSION, 3)


def test_fault_50_a_bit_that_flips_in_any_row_is_noticed(tmp_path, ledger, key):
    for phase in ("shares", "masked", "unmask"):
        ledger.record(SESSION, 3, phase, made(b"F" * 50, b"M" * 32))
    ledger.close()
    path = tmp_path / "c.ledger"
    good = path.read_bytes()
    for needle in (SESSION, b"F" * 50, b"M" * 32, b"masked"):
        at = -1
        while (at := good.find(needle, at + 1)) >= 0:
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            try:
                opened = Ledger(path, me="c", identity=key)
            except InputError:
                continue
            # a copy of the row in an unused part of a page, or the table of floors
            for phase in ("shares", "masked", "unmask"):
                assert opened.recall(SESSION, 3, phase) == made(b"F" * 50, b"M" * 32)
            opened.close()
    path.write_bytes(good)
    db = sqlite3.connect(path)
    db.execute("DELETE FROM frames WHERE phase = 'masked'")
    db.commit()
    db.close()
    with pytest.raises(InputError, match="rows"):
        Ledger(path, me="c", identity=key)


def test_an_interrupted_transaction_is_rolled_back(ledger):
    class Stop(BaseException):
        pass

    with pytest.raises(Stop), ledger._transaction():
        ledger._db.execute("UPDATE owner SET records = 77")
        raise Stop
    assert not ledger._db.in_transaction
    assert ledger.records == 0
    assert ledger.record(SESSION, 1, "masked", made()) == made()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fault_55_a_forked_child_cannot_write_through_its_parents_ledger(ledger):
    child = os.fork()
    if child == 0:
        try:
            ledger.record(SESSION, 1, "masked", made())
        except AbortError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert ledger.recall(SESSION, 1, "masked") is None


def test_rounds_beyond_what_a_file_can_hold_are_typed_errors(ledger):
    with pytest.raises(AbortError):
        ledger.record(SESSION, 1 << 63, "masked", made())
    f = Federation(3, rounds_per_setup=4)
    for bad in ((1 << 63) - 1, (1 << 63) - 3):
        with pytest.raises(InputError, match=r"last round|round_id"):
            f.server.open_round(bad)
    f.server.open_round((1 << 63) - 4)
    request = f.requests()["c0"][0]
    body = f.body(request)
    late = type(body)((1 << 63) - 3, *[getattr(body, name) for name in body.__struct_fields__[1:]])
    with pytest.raises(PeerError, match="increase"):
        f.clients["c0"].receive(f.forge(1, late))


def test_two_ledgers_on_one_file_agree_whoever_is_first(tmp_path, ledger, key):
    stands = []

    def race(number):
        mine = Ledger(tmp_path / "c.ledger", me="c", identity=key)
        stands.append(mine.record(SESSION, 1, "masked", made(b"%d" % number)))
        mine.close()

    threads = [threading.Thread(target=race, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stands) == 8
    assert len(set(stands)) == 1


def test_opening_a_ledger_again_keeps_the_locks_of_this_process(tmp_path, ledger, key):
    """POSIX drops a process's locks on a file when any descriptor of it is closed."""
    ledger._db.execute("BEGIN IMMEDIATE")
    with pytest.raises(InputError, match="locked"):
        Ledger(tmp_path / "c.ledger", me="c", identity=key, patience=0.0)
    probe = (
        "import sqlite3, sys\nsqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')"
    )
    other = subprocess.run(
        [sys.executable, "-c", probe, tmp_path / "c.ledger"], capture_output=True, text=True, check=False
    )
    assert "locked" in other.stderr
    ledger._db.execute("ROLLBACK")


def test_opening_while_another_writes_sees_one_state(tmp_path, ledger, key):
    """The count and the rows must be of one moment, or an honest file looks damaged."""
    stop, trouble = threading.Event(), []

    def write():
        for i in range(400):
            ledger.record(SESSION, i, "masked", made(os.urandom(8)))
            if stop.is_set():
                break

    def open_again():
        try:
            for _ in range(15):
                Ledger(tmp_path / "c.ledger", me="c", identity=key).close()
        except InputError as error:
            trouble.append(error)

    threads = [threading.Thread(target=write), *(threading.Thread(target=open_again) for _ in range(2))]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    stop.set()
    threads[0].join()
    assert trouble == []


# -- snapshots --------------------------------------------------------------------------------------------------------


def parties(key):
    return Roster({"c": key.verify_key}, Identity.generate().verify_key)


def test_snapshots_open_for_the_same_identity_and_roster_only(key):
    roster = parties(key)
    blob = seal_snapshot(b"state", identity=key, roster=roster, session=SESSION)
    assert b"state" not in blob
    assert open_snapshot(blob, identity=key, roster=roster) == b"state"
    for changes in ({"identity": Identity.generate()}, {"roster": parties(key)}):
        with pytest.raises(InputError, match="damaged"):
            open_snapshot(blob, **{"identity": key, "roster": roster, **changes})


def test_fault_50_torn_and_changed_snapshots_are_refused(key):
    roster = parties(key)
    blob = seal_snapshot(bytes(100), identity=key, roster=roster, session=None)
    for cut in range(len(blob)):
        with pytest.raises(InputError):
            open_snapshot(blob[:cut], identity=key, roster=roster)
        flipped = bytearray(blob)
        flipped[cut] ^= 1
        with pytest.raises(InputError):
            open_snapshot(bytes(flipped), identity=key, roster=roster)
    for bad in ("text", None, b""):
        with pytest.raises(InputError):
            open_snapshot(bad, identity=key, roster=roster)


def test_a_sealed_snapshot_of_another_version_is_refused():
    f = Federation(3)
    c = f.clients["c0"]
    for plain in (b"", b"\x90", b"\x95\xc4\x00\xa0\xc0\xc0\xc4\x00"):
        blob = seal_snapshot(plain, identity=f.keys["c0"], roster=f.roster, session=None)
        with pytest.raises((InputError, ParameterError)):
            f.restore("c0", blob)
    import msgspec

    for core in (b"\x95\xc0\xc3\x00\xc0", b"\x95\xc0\xc3\x00\xc0\xc0\xc0"):
        plain = msgspec.msgpack.encode([c.params.to_bytes(), "c0", None, None, core])
        blob = seal_snapshot(plain, identity=f.keys["c0"], roster=f.roster, session=None)
        with pytest.raises(InputError, match="another version"):
            f.restore("c0", blob)


def test_a_snapshot_of_another_client_of_the_same_identity_is_refused():
    f = Federation(3)
    plain = msgspec.msgpack.decode(open_snapshot(f.clients["c0"].snapshot(), identity=f.keys["c0"], roster=f.roster))
    for name in ("c1", "nobody"):
        plain[1] = name
        blob = seal_snapshot(msgspec.msgpack.encode(plain), identity=f.keys["c0"], roster=f.roster, session=None)
        with pytest.raises(InputError, match="not this client's"):
            f.restore("c0", blob)


def test_a_snapshot_with_frames_waiting_is_refused():
    f = Federation(3)
    f.server.open_round(1)
    f.clients["c0"].receive(f.requests()["c0"][0])
    with pytest.raises(StateError, match="outbox"):
        f.clients["c0"].snapshot()
    f.clients["c0"].outbox()
    f.clients["c0"].snapshot()


def test_a_restored_client_keeps_params_rounding_and_session():
    f = Federation(3, encoding=FixedPoint(clip=3, bits=20), length=5)
    f.updates = {name: f.updates[name] / 1000 for name in f.ids}
    f.clients = {name: f.new_client(name, rounding_seed=bytes([i] * 32)) for i, name in enumerate(f.ids)}
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    f.restart()
    first = f.hand(inbox)
    f.restart()
    assert f.hand(inbox) == first
    assert all(f.clients[name]._core.session == f.server.session for name in f.ids)
    other = Federation(3, encoding=FixedPoint(clip=3, bits=20), length=5)
    other.server.open_round(1)
    with pytest.raises(PeerError):
        f.clients["c0"].receive(other.requests()["c0"][0])


def test_fault_58_no_secret_of_the_state_is_readable_in_a_snapshot():
    f = Federation(3)
    f.server.open_round(1)
    f.until("masked")
    state = f.clients["c0"]._core._state
    blob = f.clients["c0"].snapshot()
    plain = f.clients["c0"]._core.freeze()
    secrets = [*state.batch.seeds, state.batch.rounding, state.batch.server_secret, state.batch.dealing]
    for secret in secrets:
        assert secret in plain and secret not in blob
    nonce = len(b"secagg snapshot v1\n") + 16
    assert f.clients["c0"].snapshot()[nonce : nonce + 12] != blob[nonce : nonce + 12]
    assert len(blob) >= aead.OVERHEAD_BYTES


def test_erased_secrets_are_in_no_later_snapshot():
    f = Federation(3, rounds_per_setup=2)
    f.server.open_round(1)
    f.until("unmask")
    state = f.clients["c0"]._core._state
    gone = [state.batch.seeds[0], state.batch.mask_pairs[0].private_bytes()]
    gone += [share for held in state.batch.holdings.values() for share in held.shares[:2]]
    f.phase()
    plain = f.clients["c0"]._core.freeze()
    assert all(secret not in plain for secret in gone)
    f.restart()
    f.round(2)
    f.check(f.ids, 2)
    assert state.batch.seeds[1] not in f.clients["c0"]._core.freeze()


def test_a_client_restores_under_its_own_params(tmp_path):
    f = Federation(3)
    blob = f.clients["c0"].snapshot()
    again = Client.restore(blob, identity=f.keys["c0"], roster=f.roster)
    assert again._params == f.params
    with pytest.raises(InputError):
        Client.restore(blob, identity=f.keys["c1"], roster=f.roster)
