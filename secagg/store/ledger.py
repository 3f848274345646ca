"""A client's durable memory: one frame for each phase of each round, whatever happens to the client's state.

One SQLite file. `record` commits, with the file and its directory flushed to disk, before it returns, and its caller lets no
frame leave before that. Two processes may share one file; the first to record a phase wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from secagg.errors import AbortError, InputError
from secagg.protocols.memory import Record
from secagg.store.database import check_health, check_process, open_database, transaction

if TYPE_CHECKING:
    from secagg.identity import Identity

__all__ = ["FAILURES", "Ledger", "is_ledger"]

APPLICATION_ID = 0x53414C31  # "SAL1"
BUSY_SECONDS = 30.0
FAILURES = (sqlite3.Error, UnicodeDecodeError)  # the latter for errors that quote a damaged file in their text
ID_BYTES = 16
_SCHEMA = """
CREATE TABLE owner (me TEXT NOT NULL, verify_key BLOB NOT NULL, id BLOB NOT NULL, records INTEGER NOT NULL);
CREATE TABLE closed (session BLOB PRIMARY KEY, round INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE frames (
    session BLOB NOT NULL, round INTEGER NOT NULL, phase TEXT NOT NULL,
    mark BLOB NOT NULL, digest BLOB NOT NULL, frame BLOB NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (session, round, phase)
) WITHOUT ROWID;
"""
_OWNER = (str, bytes, bytes, int)
_FRAME = (bytes, int, str, bytes, bytes, bytes, bytes)
# An answer is large and over with its round; headers stay, so that receipts can be compared with what was really sent.
_LARGE = ("unmask", "reveal")
# Once an answer has left, nothing of an upload may follow it: the answer said what was in the sum.
_BEFORE = {"intent": "unmask", "masked": "unmask"}
# What began as one update goes on as it, whoever of two copies of a client goes on: both say of which by their marks.
_TOGETHER = {
    "intent": ("masked", "encrypted", "upload"),
    "masked": ("intent",),
    "encrypted": ("intent",),
    "upload": ("intent",),
}


class Ledger:
    """The ledger of one client, in one file.

    Parameters
    ----------
    path : str or os.PathLike
        Created, readable by its owner only, if it is not there. Keep it on a local disk, out of images and backups that are
        restored: a ledger that is rolled back remembers as little as none.
    me : str
        The client's id.
    identity : Identity
        Its identity; the file is tied to the verify key.
    patience : float
        Seconds to wait for another process that is writing.

    Raises
    ------
    InputError
        The file is another client's, writable by others, no ledger of this version, or damaged.

    Notes
    -----
    A write costs a few milliseconds, mostly the disk's. The file grows by about 800 bytes a round. It holds no keys, but
    frames of rounds in progress, in the form in which they are sent. Not for use over a fork.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, me: str, identity: Identity, patience: float = BUSY_SECONDS
    ) -> None:
        # Absolute, so that SQLite does not see a URI or a memory in the name.
        self._path = os.path.realpath(path)
        self._process = os.getpid()
        self._db = open_database(self._path, "ledger", patience)
        try:
            self._open(me, identity)
        except (*FAILURES, InputError) as error:
            self._db.close()
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self._path} is no secagg ledger, or a damaged one: {error}") from None

    def _open(self, me: str, identity: Identity) -> None:
        db = self._db
        db.execute("PRAGMA synchronous = EXTRA")
        with self._transaction():  # one view of the file, whoever else is writing to it
            (kind,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if kind == 0 and tables == 0:
                for statement in _statements():
                    db.execute(statement)
                db.execute("INSERT INTO owner VALUES (?, ?, ?, 0)", (me, identity.verify_key, os.urandom(ID_BYTES)))
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            if not is_ledger(db):
                raise InputError(f"{self._path} is no secagg ledger of this version")
            check_health(db, self._path, "ledger")
            owners = db.execute("SELECT me, verify_key, id, records FROM owner").fetchall()
            if len(owners) != 1 or owners[0][:2] != (me, identity.verify_key):
                raise InputError(f"the ledger {self._path} belongs to another client or identity")
            rows = db.execute("SELECT session, round, phase, mark, digest, frame, checksum FROM frames").fetchall()
            closed = db.execute("SELECT session, round FROM closed").fetchall()
            # SQLite keeps any type in any column: every value is looked at before anything is made of it.
            kinds = [(owners, _OWNER), (rows, _FRAME), (closed, _FRAME[:2])]
            if not (
                all(tuple(map(type, row)) == columns for found, columns in kinds for row in found)
                and len(rows) == owners[0][3]
                and all(_checksum(*row[:-1]) == row[-1] for row in rows)
            ):
                raise InputError(f"the ledger {self._path} is damaged: its rows are not the ones that were written")
        self.id: bytes = owners[0][2]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        check_process(self._process, self._path, "ledger")
        with transaction(self._db):
            yield

    def __repr__(self) -> str:
        return f"<Ledger {self._path}>"

    def close(self) -> None:
        """Close the file; the ledger cannot be used any more."""
        self._db.close()

    @property
    def records(self) -> int:
        """How many frames were recorded in it, over all sessions."""
        try:
            return int(self._db.execute("SELECT records FROM owner").fetchone()[0])
        except FAILURES as error:
            self._fail(error)

    def floor(self, session: bytes) -> int:
        """Return the highest round that is over, -1 if there is none; see `Memory.floor`."""
        try:
            return self._closed(session)
        except FAILURES as error:
            self._fail(error)

    def _closed(self, session: bytes) -> int:
        row = self._db.execute("SELECT round FROM closed WHERE session = ?", (session,)).fetchone()
        return -1 if row is None else int(row[0])

    def recall(self, session: bytes, round_id: int, phase: str) -> Record | None:
        """Return the frame that stands for one phase of one round, or None; see `Memory.recall`."""
        try:
            return self._stands(session, round_id, phase)
        except FAILURES as error:
            self._fail(error)

    def _stands(self, session: bytes, round_id: int, phase: str) -> Record | None:
        row = self._db.execute(
            "SELECT mark, digest, frame FROM frames WHERE session = ? AND round = ? AND phase = ?",
            (session, round_id, phase),
        ).fetchone()
        return None if row is None else Record(*row)

    def record(self, session: bytes, round_id: int, phase: str, record: Record) -> Record:
        """Make `record` durable unless the phase has one already, and return the one that stands.

        Raises
        ------
        AbortError
            The round is over or was answered, or the file cannot be written (a full disk, say); nothing changed, and nothing
            may leave.
        InputError
            Something of another update of the round may have left; likewise.
        """
        try:
            with self._transaction():
                stands = self._stands(session, round_id, phase)
                if stands is None:
                    self._refuse_over(session, round_id, phase)
                    self._refuse_other(session, round_id, phase, record.mark)
                    self._insert(session, round_id, phase, record)
                    self._close_before(session, round_id)
                    stands = record
        except (*FAILURES, OverflowError) as error:
            self._fail(error)
        return stands

    def _refuse_over(self, session: bytes, round_id: int, phase: str) -> None:
        closed = self._closed(session)
        if round_id <= closed:
            raise AbortError(f"round {round_id} is over: the ledger has frames of rounds after {closed}")
        if phase in _BEFORE and self._stands(session, round_id, _BEFORE[phase]) is not None:
            raise AbortError(f"round {round_id} was answered before this client sent an update; it sends none any more")

    def _refuse_other(self, session: bytes, round_id: int, phase: str, mark: bytes) -> None:
        for other in _TOGETHER.get(phase, ()):
            stands = self._stands(session, round_id, other)
            if stands is not None and stands.mark != mark:
                raise InputError(
                    "another update of this round may have left already, from this client or a copy of it; submit that or none"
                )

    def _insert(self, session: bytes, round_id: int, phase: str, record: Record) -> None:
        row = (session, round_id, phase, *record)
        self._db.execute("INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, _checksum(*row)))
        self._db.execute("UPDATE owner SET records = records + 1")

    def _close_before(self, session: bytes, round_id: int) -> None:
        self._db.execute(
            "INSERT INTO closed VALUES (?1, ?2) ON CONFLICT (session) DO UPDATE SET round = max(round, ?2)",
            (session, round_id - 1),
        )
        old = self._db.execute(
            "SELECT round, phase, mark, digest FROM frames WHERE session = ? AND round < ? AND phase IN (?, ?) "
            "AND length(frame) > 0",
            (session, round_id, *_LARGE),
        ).fetchall()
        for over, phase, mark, digest in old:
            self._db.execute(
                "UPDATE frames SET frame = x'', checksum = ? WHERE session = ? AND round = ? AND phase = ?",
                (_checksum(session, over, phase, mark, digest, b""), session, over, phase),
            )

    def _fail(self, error: Exception) -> NoReturn:
        raise AbortError(f"the ledger {self._path} failed, so nothing may leave: {error}") from None


def _statements() -> list[str]:
    return [statement.strip() for statement in _SCHEMA.split(";") if statement.strip()]


def is_ledger(db: sqlite3.Connection) -> bool:
    """Whether a file is a ledger of this version, with exactly its tables.

    A view or a trigger would be code of its author's, run by every statement on what looks like a table.
    """
    (kind,) = db.execute("PRAGMA application_id").fetchone()
    made = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    return kind == APPLICATION_ID and [sql for (sql,) in made] == _statements()


def _checksum(session: bytes, round_id: int, phase: str, mark: bytes, digest: bytes, frame: bytes) -> bytes:
    """Return what shows that a row is as it was written: against damage, not against an author."""
    parts = (session, str(round_id).encode(), str(phase).encode(), mark, digest, frame)
    joined = b"".join(len(part).to_bytes(8, "big") + part for part in map(bytes, parts))
    return hashlib.blake2b(joined, digest_size=16).digest()
