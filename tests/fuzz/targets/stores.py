"""A party's own state as somebody else may have left it: snapshots and ledgers."""

from __future__ import annotations

import contextlib
import sqlite3

import msgspec

from fuzz.recipe import CHANGES, ODD, Recipe, change
from fuzz.targets.files import OneFile
from fuzz.targets.frames import encode
from secagg import Client, KeyHolder
from secagg.errors import AbortError, InputError
from secagg.protocols.memory import Record
from secagg.store import Ledger, read_sent
from secagg.store.ledger import _checksum
from secagg.store.snapshot import open_snapshot, seal_snapshot
from support.committee import Committee
from support.encrypted import Encrypted
from support.federation import Federation

COLUMNS = {
    "owner": ("me", "verify_key", "id", "records"),
    "closed": ("session", "round"),
    "frames": ("session", "round", "phase", "mark", "digest", "frame", "checksum"),
}
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS"
SCRIPTS = (
    "DROP TABLE frames",
    "DROP TABLE owner",
    "DELETE FROM owner",
    "DELETE FROM frames",
    "DROP TABLE closed",
    "CREATE TABLE more (a)",
    "CREATE TRIGGER t AFTER INSERT ON frames BEGIN DELETE FROM frames; END",
    "CREATE TRIGGER t AFTER UPDATE ON owner BEGIN UPDATE owner SET records = 0; END",
    "ALTER TABLE frames RENAME TO f\nCREATE VIEW frames AS SELECT * FROM f",
    f"ALTER TABLE closed RENAME TO c\nCREATE VIEW closed AS {_ENDLESS} session, i AS round FROM n",
    f"ALTER TABLE frames RENAME TO f\nCREATE VIEW frames AS {_ENDLESS} session, i, i, i, i, i, i FROM n",
    "ALTER TABLE frames RENAME COLUMN mark TO m",
    "ALTER TABLE frames ADD COLUMN more",
    "PRAGMA user_version = 5",
    "PRAGMA application_id = 0",
    "INSERT INTO owner SELECT * FROM owner",
    "INSERT INTO closed VALUES (x'00', 9223372036854775807)",
    "UPDATE frames SET frame = zeroblob(100000)",
    "UPDATE owner SET me = CAST(x'ff80' AS TEXT)",
    "UPDATE closed SET round = 9223372036854775807",
    "PRAGMA journal_mode = WAL",
)


class Snapshots:
    """`Client.restore` and `KeyHolder.restore`.

    The first byte says whose snapshot, the second whether the rest is laid over the sealed bytes or changes what was sealed. The
    latter only the owner of the identity can do: it stands for a snapshot of another version.
    """

    def __init__(self) -> None:
        self._parties = []
        for table, phases in (
            (Federation(4, rounds_per_setup=2, min_clients=3), ("keys", "shares", "masked", "unmask")),
            (Encrypted(4, rounds_per_setup=2, min_clients=3), ("keys", "encrypted", "decrypt")),
            (Committee(4, rounds_per_setup=2, min_clients=3), ("keys", "masked", "reveal")),
        ):
            for round_id in (1, 2):
                table.server.open_round(round_id)
                for phase in phases:
                    if table.server.phase != phase:
                        continue
                    inbox = table.requests()
                    sent = table.hand(inbox)
                    self._parties.append((Client, table, "c0", table.clients["c0"].snapshot()))
                    if isinstance(table, Encrypted):
                        self._parties.append((KeyHolder, table, "holder", table.holder.snapshot()))
                    table.bring(sent)
                    table.server.close_phase()

    def run(self, data: bytes) -> None:
        recipe = Recipe(data)
        kind, table, name, good = self._parties[recipe.below(len(self._parties))]
        identity = table.holder_key if name == "holder" else table.keys[name]
        if recipe.byte() % 2:
            at = recipe.below(len(good) + 1)
            with_ = recipe.rest()
            blob = good[:at] + with_ + (good[at + len(with_) :] if with_ else b"")
        else:
            plain = msgspec.msgpack.decode(open_snapshot(good, identity=identity, roster=table.roster))
            core = msgspec.msgpack.decode(plain[-1])
            for _ in range(CHANGES):
                if recipe.left <= 0:
                    break
                if recipe.byte() % 4:
                    core = change(recipe, core)
                else:
                    plain = change(recipe, plain)
            if isinstance(plain, list) and plain:
                plain = [*plain[:-1], encode(core)]
            blob = seal_snapshot(encode(plain), identity=identity, roster=table.roster, session=table.server.session)
        try:
            made = kind.restore(blob, identity=identity, roster=table.roster, threads=1)
        except InputError:
            return
        made.snapshot()
        made.close()

    def seeds(self) -> list[bytes]:
        count = len(self._parties)
        return [bytes([at, how, 1, 1, 6, at, 7, 2, 3]) for at in range(count) for how in (0, 1)]


class LedgerFile(OneFile):
    """`Ledger` and `read_sent` of one file: bytes laid over a good one, or a good one that SQL has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._table = Federation(4, min_clients=3)
        self._identity = self._table.keys["c0"]
        self._session = self._table.server.session
        self.path.unlink()
        client = self._table.new_client("c0", ledger=self.path)
        self._table.clients["c0"] = client
        self._table.round()
        client.close()
        self._good = self.path.read_bytes()

    def run(self, data: bytes) -> None:
        recipe = Recipe(data)
        for end in ("-journal", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        how = recipe.byte() % 3
        if how == 0:
            self.write(recipe.rest())
        elif how == 1:
            content = bytearray(self._good)
            while recipe.left > 0:
                at = recipe.below(len(content))
                with_ = recipe.take(1 + recipe.byte() % 16)
                content[at : at + len(with_)] = with_
            self.write(bytes(content))
        else:
            self.write(self._good)
            with contextlib.suppress(sqlite3.Error, OverflowError, UnicodeError):
                self._tamper(recipe)
        self._open()
        with contextlib.suppress(InputError):
            read_sent(self.path, self._session, 1)

    def _tamper(self, recipe: Recipe) -> None:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            steps = iter(range(50))
            db.set_progress_handler(lambda: next(steps, None) is None, 10_000)  # a script of ours may have no end
            while recipe.left > 0:
                if recipe.byte() % 4 == 0:
                    for statement in SCRIPTS[recipe.below(len(SCRIPTS))].split("\n"):
                        db.execute(statement)
                    continue
                table = list(COLUMNS)[recipe.below(3)]
                column = COLUMNS[table][recipe.below(len(COLUMNS[table]))]
                value = ODD[recipe.below(len(ODD))]
                if isinstance(value, list | dict):
                    value = recipe.take(16)
                db.execute(f"UPDATE {table} SET {column} = ?", (value,))
                if recipe.byte() % 2:
                    rows = db.execute("SELECT * FROM frames").fetchall()
                    for row in rows:
                        if tuple(map(type, row[:-1])) == (bytes, int, str, bytes, bytes, bytes):
                            db.execute("UPDATE frames SET checksum = ? WHERE phase = ?", (_checksum(*row[:-1]), row[2]))

    def _open(self) -> None:
        try:
            ledger = Ledger(self.path, me="c0", identity=self._identity, patience=0.1)
        except InputError:
            return
        try:
            assert isinstance(ledger.id, bytes)
            assert isinstance(ledger.records, int)
            assert isinstance(ledger.floor(self._session), int)
            for phase in ("masked", "unmask", "shares", "intent", "keys"):
                found = ledger.recall(self._session, 1, phase)
                assert found is None or all(isinstance(part, bytes) for part in found)
                ledger.record(self._session, 1, phase, Record(b"", bytes(32), b"frame"))
        except AbortError:
            pass
        finally:
            ledger.close()

    def seeds(self) -> list[bytes]:
        scripts = [bytes([2, 0, at]) for at in range(len(SCRIPTS))]
        odd = [
            bytes([2, 1, table, column, value, 1])
            for table in range(3)
            for column in range(7)
            for value in (0, 4, 12, 20, 30)
        ]
        return [*scripts, *odd, b"\x00", b"\x00SQLite format 3\x00", b"\x01\x00\x00\x00\x60\x00\x01"]
