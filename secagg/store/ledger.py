"""A client's durable memory: one frame for each phase of each round, whatever happens to the client's state.

One SQLite file. `record` commits, with the file and its directory flushed to disk, before it returns, and its caller lets no
frame leave before that. Two processes may share one file; the first to record a phase wins.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, NoReturn

from secagg.errors import AbortError, InputError
from secagg.protocols.memory import Record

if TYPE_CHECKING:
    from secagg.identity import Identity

__all__ = ["Ledger"]

APPLICATION_ID = 0x53414C31  # "SAL1"
BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE owner (me TEXT NOT NULL, verify_key BLOB NOT NULL);
CREATE TABLE closed (session BLOB PRIMARY KEY, round INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE frames (
    session BLOB NOT NULL, round INTEGER NOT NULL, phase TEXT NOT NULL,
    mark BLOB NOT NULL, digest BLOB NOT NULL, frame BLOB NOT NULL,
    PRIMARY KEY (session, round, phase)
) WITHOUT ROWID;
"""
# An answer is large and over with its round; headers stay, so that receipts can be compared with what was really sent.
_LARGE = "unmask"


class Ledger:
    """The ledger of one client, in one file.

    Parameters
    ----------
    path : path-like
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
        The file is another client's, no ledger of this version, or damaged.

    Notes
    -----
    A write costs a few milliseconds, mostly the disk's. The file grows by about 600 bytes a round. It holds no keys, but
    frames of rounds in progress, in the form in which they are sent.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, me: str, identity: Identity, patience: float = BUSY_SECONDS
    ) -> None:
        self._path = os.fspath(path)
        try:
            # The mode at creation, not after: nobody else gets a moment to open it. Only a new file is ever opened here, for
            # closing any descriptor of a file drops all the locks that this process holds on it.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self._db = sqlite3.connect(self._path, timeout=patience, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"the ledger {self._path} cannot be opened: {error}") from None
        try:
            self._open(me, identity)
        except (sqlite3.Error, InputError) as error:
            self._db.close()
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self._path} is no secagg ledger, or a damaged one: {error}") from None

    def _open(self, me: str, identity: Identity) -> None:
        db = self._db
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("BEGIN IMMEDIATE")
        (kind,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if kind == 0 and tables == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute("INSERT INTO owner VALUES (?, ?)", (me, identity.verify_key))
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("COMMIT")
        (kind,) = db.execute("PRAGMA application_id").fetchone()
        if kind != APPLICATION_ID:
            raise InputError(f"{self._path} is no secagg ledger of this version")
        (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise InputError(f"the ledger {self._path} is damaged: {health}")
        if db.execute("SELECT me, verify_key FROM owner").fetchall() != [(me, identity.verify_key)]:
            raise InputError(f"the ledger {self._path} belongs to another client or identity")

    def __repr__(self) -> str:
        return f"<Ledger {self._path}>"

    def close(self) -> None:
        """Close the file; the ledger cannot be used any more."""
        self._db.close()

    def floor(self, session: bytes) -> int:
        """Return the highest round that is over, -1 if there is none; see `Memory.floor`."""
        try:
            return self._closed(session)
        except sqlite3.Error as error:
            self._fail(error)

    def _closed(self, session: bytes) -> int:
        row = self._db.execute("SELECT round FROM closed WHERE session = ?", (session,)).fetchone()
        return -1 if row is None else int(row[0])

    def recall(self, session: bytes, round_id: int, phase: str) -> Record | None:
        """Return the frame that stands for one phase of one round, or None; see `Memory.recall`."""
        try:
            return self._stands(session, round_id, phase)
        except sqlite3.Error as error:
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
            The round is over, or the file cannot be written (a full disk, say); nothing changed, and nothing may leave.
        """
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                stands = self._stands(session, round_id, phase)
                if stands is None:
                    self._refuse_closed(session, round_id)
                    db.execute("INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?)", (session, round_id, phase, *record))
                    self._close_before(session, round_id)
                    stands = record
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            self._fail(error)
        return stands

    def _refuse_closed(self, session: bytes, round_id: int) -> None:
        closed = self._closed(session)
        if round_id <= closed:
            raise AbortError(f"round {round_id} is over: the ledger has frames of rounds after {closed}")

    def _close_before(self, session: bytes, round_id: int) -> None:
        self._db.execute(
            "INSERT INTO closed VALUES (?1, ?2) ON CONFLICT (session) DO UPDATE SET round = max(round, ?2)",
            (session, round_id - 1),
        )
        self._db.execute(
            "UPDATE frames SET frame = x'' WHERE session = ? AND round < ? AND phase = ? AND length(frame) > 0",
            (session, round_id, _LARGE),
        )

    def _fail(self, error: sqlite3.Error) -> NoReturn:
        raise AbortError(f"the ledger {self._path} failed, so nothing may leave: {error}") from None
