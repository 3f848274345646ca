"""A server's durable memory: what was done, in order, sealed row by row, so that doing it again gives the same server.

One SQLite file in WAL mode with ``synchronous = FULL``, and beside it a spool, a plain file in which the large frames wait. Each
row is sealed under a key that only the server's identity gives, and bound to the row before it; the tip is bound to the last.
Rows are kept in memory until `commit`, which flushes the spool, writes them all or none, and flushes those.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from secagg.errors import AbortError, AuthenticationError, InputError
from secagg.hazmat import aead
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest, u32, u64
from secagg.protocols.secret import Secret
from secagg.store.database import check_health, check_process, open_database, transaction

if TYPE_CHECKING:
    from secagg.identity import Identity

__all__ = ["Entry", "Journal"]

APPLICATION_ID = 0x53414A31  # "SAJ1"
FORMAT = 1
ID_BYTES = 16
DIGEST_BYTES = 32
SQLITE_HEADER_BYTES = 100
IN_SPOOL = 0x80  # set in the kind of a row whose frame is in the spool
_SCHEMA = """
CREATE TABLE header (format INTEGER NOT NULL, params BLOB NOT NULL, roster BLOB NOT NULL, verify_key BLOB NOT NULL,
    session BLOB NOT NULL, id BLOB NOT NULL);
CREATE TABLE tip (recorded INTEGER NOT NULL, seal BLOB NOT NULL);
CREATE TABLE entries (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, sealed BLOB NOT NULL);
"""


class Entry(NamedTuple):
    """One row: its place, what it is, and its content."""

    seq: int
    kind: int
    content: bytes


class _Place(NamedTuple):
    """Where in the spool a frame is."""

    at: int
    size: int
    checksum: bytes

    def to_bytes(self) -> bytes:
        return u64(self.at) + u64(self.size) + self.checksum


class Journal(Secret):
    """The journal of one server session, in one file and its spool.

    Parameters
    ----------
    path : str or os.PathLike
        Created, readable by its owner only, if it is not there. The spool is ``path`` with ``-spool`` behind it.
    identity : Identity
        The server's; rows are sealed under a key derived from it.
    params, roster : bytes
        Hashes of what the session runs under.
    session : bytes or None
        16 bytes to insist on, or to begin with; drawn otherwise.

    Raises
    ------
    InputError
        The file is in use, another server's, session's, roster's or Params', no journal of this version, torn or changed; it is
        left as it was.

    Notes
    -----
    One object at a time holds a journal, in whatever process: SQLite's exclusive lock sees to it, and one on the spool, for the
    former goes when anything in the process closes the file. Not for use over a fork, nor by two threads at once; a forked child
    that lives on keeps the spool's lock until it closes its copy of this object, or ends.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, identity: Identity, params: bytes, roster: bytes, session: bytes | None
    ) -> None:
        self._path = os.path.realpath(path)
        self._process = os.getpid()
        self._tail: list[tuple[int, bytes]] = []
        self._cut: int | None = None  # with the next commit, rows behind this one are deleted
        self._spool = -1
        self._links: dict[int, bytes] = {0: b""}  # the tag of each row, by its number
        self._ends: dict[int, int] = {}  # where the frames of rows end that are in the spool
        self._last = 0
        self._end = 0
        self._unflushed = self._torn = False
        if not os.path.lexists(self._path):
            self._refuse_parts(0)
        self._db = open_database(self._path, "journal", 0.0)
        try:
            self._open(identity, params, roster, session)
        except (sqlite3.Error, OSError) as error:
            self.close()
            used = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
            why = (
                "is in use by another process or object" if used else f"is no secagg journal, or a damaged one: {error}"
            )
            raise InputError(f"{self._path} {why}") from None
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Journal {self._path}>"

    # -- opening --------------------------------------------------------------------------------------------------

    def _open(self, identity: Identity, params: bytes, roster: bytes, session: bytes | None) -> None:
        db = self._db
        size = Path(self._path).stat().st_size
        if 0 < size < SQLITE_HEADER_BYTES:  # SQLite takes some of these for empty ones
            raise InputError(f"{self._path} is no secagg journal, or a torn one")
        # Before SQLite looks. A journal that was never finished being made has nothing beside it; and the lock must outlive
        # whoever else reads the file here.
        if not size:
            self._refuse_parts(1)
        self._lock_spool(new=not size)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        with transaction(db):
            (kind,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (kind, tables) not in {(0, 0), (APPLICATION_ID, 3)}:
            raise InputError(f"{self._path} is no secagg journal of this version")
        if size and not tables and os.fstat(self._spool).st_size:
            raise InputError(f"{self._path} has no tables: its {self._path}-wal is missing or damaged")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        with transaction(db):
            if not tables:
                self._found(identity, params, roster, session)
            check_health(db, self._path, "journal")
            rows = db.execute("SELECT format, params, roster, verify_key, session, id FROM header").fetchall()
            if len(rows) != 1 or rows[0][0] != FORMAT or any(type(value) is not bytes for value in rows[0][1:]):
                raise InputError(f"{self._path} is no secagg journal of this version")
            theirs = dict(zip(("Params", "roster", "identity"), rows[0][1:4], strict=True))
            ours = {"Params": params, "roster": roster, "identity": identity.verify_key}
            for what, value in ours.items():
                if theirs[what] != value:
                    raise InputError(f"the journal {self._path} was written under another {what}")
            self.session: bytes = rows[0][4]
            if session not in {None, self.session}:
                raise InputError(f"the journal {self._path} is of another session")
            self._bind(identity, *rows[0][1:])
            self._read(*self._tip())
        if not tables:  # so that the file itself says from now on that it is a journal, whatever becomes of its log
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._open_spool()

    def _found(self, identity: Identity, params: bytes, roster: bytes, session: bytes | None) -> None:
        """Write the first rows of a new file."""
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        header = (params, roster, identity.verify_key, session or os.urandom(16), os.urandom(ID_BYTES))
        self._db.execute("INSERT INTO header VALUES (?, ?, ?, ?, ?, ?)", (FORMAT, *header))
        self._bind(identity, *header)
        self._db.execute("INSERT INTO tip VALUES (0, ?)", (self._seal_tip(0, b""),))
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _bind(
        self, identity: Identity, params: bytes, roster: bytes, verify_key: bytes, session: bytes, own: bytes
    ) -> None:
        self._key = hkdf(identity.to_bytes(), "journal", session, own, length=aead.KEY_BYTES)
        self._header = digest("journal", u32(FORMAT), params, roster, verify_key, session, own)

    def _tip(self) -> tuple[int, bytes]:
        tips = self._db.execute("SELECT recorded, seal FROM tip").fetchall()
        if len(tips) != 1 or [type(value) for value in tips[0]] != [int, bytes]:
            self._damaged("it has no one tip")
        return int(tips[0][0]), bytes(tips[0][1])

    def _read(self, recorded: int, seal: bytes) -> None:
        """Check every row against the one before it, and the last one against the tip."""
        self._recorded = recorded
        for seq, kind, content in self._rows():
            if seq > recorded:
                self._damaged("it has rows after its last")
            if kind & IN_SPOOL:
                self._ends[seq] = _end(content)
        try:
            aead.open_(self._key, seal, self._tip_context(recorded, self._links[self._last]))
        except AuthenticationError:
            self._damaged("its last rows are not the ones that were written")

    def _rows(self) -> Iterator[Entry]:
        """Yield the rows, opened, in order; InputError for one that does not follow from the one before."""
        self._last, before = 0, b""
        for seq, kind, sealed in self._db.execute("SELECT seq, kind, sealed FROM entries ORDER BY seq"):
            if [type(value) for value in (seq, kind, sealed)] != [int, int, bytes] or not (seq > 0 and 0 <= kind < 256):
                self._damaged("a row is none that was written")
            try:
                content = aead.open_(self._key, sealed, self._context(seq, kind, before))
            except AuthenticationError:
                self._damaged("a row is not the one that was written in its place")
            before = self._links[seq] = sealed[-aead.TAG_BYTES :]
            self._last = seq
            yield Entry(seq, kind, content)

    def _damaged(self, why: str) -> NoReturn:
        raise InputError(f"the journal {self._path} is damaged: {why}")

    # -- sealing --------------------------------------------------------------------------------------------------

    def _context(self, seq: int, kind: int, before: bytes) -> bytes:
        return digest("journal entry", self._header, u64(seq), u32(kind), before)

    def _tip_context(self, recorded: int, last: bytes) -> bytes:
        return digest("journal tip", self._header, u64(recorded), last)

    def _seal_tip(self, recorded: int, last: bytes) -> bytes:
        return aead.seal(self._key, b"", self._tip_context(recorded, last))

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def recorded(self) -> int:
        """How many rows were ever written, those that are gone included: it never falls."""
        return self._recorded

    @property
    def last(self) -> int:
        """The number that the last row that was taken has, or will have when it is committed."""
        return self._recorded + len(self._tail)

    def entries(self) -> Iterator[Entry]:
        """Yield what was recorded, in order, large frames read from the spool and checked.

        Raises
        ------
        InputError
            The spool is not the one that was written.
        """
        for seq, kind, content in self._rows():
            if kind & IN_SPOOL:
                yield Entry(seq, kind & ~IN_SPOOL, self._fetch(_place(content)))
            else:
                yield Entry(seq, kind, content)

    def _fetch(self, place: _Place) -> bytes:
        try:
            frame = os.pread(self._spool, place.size, place.at)
        except OSError as error:
            self._damaged(f"its spool cannot be read: {error.strerror}")
        if hashlib.sha256(frame).digest() != place.checksum:
            self._damaged("its spool is not the one that was written")
        return frame

    def _refuse_parts(self, least: int) -> None:
        """Refuse to make a new journal where a part of an old one lies, of at least so many bytes."""
        for end in ("-spool", "-wal"):
            part = Path(self._path + end)
            if os.path.lexists(part) and part.lstat().st_size >= least:
                raise InputError(f"{self._path} is empty or not there, but {part} is: a part of a journal is missing")

    def _lock_spool(self, *, new: bool) -> None:
        """Open the spool and lock it, for SQLite's own lock goes when anybody in this process closes the file."""
        import fcntl  # journals are for POSIX, the rest of the package is not

        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | (os.O_CREAT if new else 0)
        self._spool = os.open(self._path + "-spool", flags, 0o600)
        found = os.fstat(self._spool)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022:
            raise InputError(f"{self._path}-spool is no file that its owner alone can write; it is no journal's")
        try:
            fcntl.flock(self._spool, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self._path} is in use by another process or object") from None

    def _open_spool(self) -> None:
        self._end = max(self._ends.values(), default=0)
        if os.fstat(self._spool).st_size < self._end:
            self._damaged("its spool is missing or was cut short")
        _flush_directory(self._path)

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, kind: int, content: bytes) -> None:
        """Take one row to be written with the next `commit`."""
        self._tail.append((kind, content))

    def append_frame(self, kind: int, frame: bytes) -> None:
        """Take a row whose frame is large: it goes into the spool now.

        Raises
        ------
        AbortError
            The spool cannot be written (a full disk, say); nothing was taken.
        """
        check_process(self._process, self._path, "journal")
        place = _Place(self._end, len(frame), hashlib.sha256(frame).digest())
        try:
            _write(self._spool, frame, place.at)
        except OSError as error:
            raise AbortError(f"the spool of the journal {self._path} cannot be written: {error.strerror}") from None
        self._end += place.size
        self._unflushed = True
        self._tail.append((kind | IN_SPOOL, place.to_bytes()))

    def cut(self, keep: int) -> None:
        """With the next `commit`, delete all rows behind number `keep`; what was taken and not committed is forgotten."""
        self._tail.clear()
        self._torn = False
        self._cut = keep

    def drop(self) -> None:
        """Forget what was taken and not committed, and what was to be deleted."""
        self._tail.clear()
        self._torn = False
        self._cut = None

    def commit(self) -> None:
        """Make everything that was taken durable, or nothing of it.

        Raises
        ------
        AbortError
            It cannot be written; the file is as it was, and what was taken still waits.
        """
        check_process(self._process, self._path, "journal")
        if not self._tail and self._cut is None:
            return
        keep = self._last if self._cut is None else self._cut
        seq, before, rows = self._recorded, self._links[keep], []
        links = {number: tag for number, tag in self._links.items() if number <= keep}
        ends = {number: end for number, end in self._ends.items() if number <= keep}
        for kind, content in self._tail:
            seq += 1
            sealed = aead.seal(self._key, content, self._context(seq, kind, before))
            before = links[seq] = sealed[-aead.TAG_BYTES :]
            rows.append((seq, kind, sealed))
            if kind & IN_SPOOL:
                ends[seq] = _end(content)
        if self._torn and any(kind & IN_SPOOL for kind, _ in self._tail):
            raise AbortError(f"the spool of the journal {self._path} could not be flushed; its frames may be lost")
        try:
            if self._unflushed:
                self._torn = True  # an error of a flush is told once: the next one may say that all is well
                _flush(self._spool)
                self._unflushed = self._torn = False
            with transaction(self._db):
                if self._cut is not None:
                    self._db.execute("DELETE FROM entries WHERE seq > ?", (keep,))
                self._db.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
                self._db.execute("UPDATE tip SET recorded = ?, seal = ?", (seq, self._seal_tip(seq, before)))
        except (OSError, sqlite3.Error) as error:
            raise AbortError(f"the journal {self._path} failed, so nothing may leave: {error}") from None
        self._links, self._ends, self._recorded, self._last = links, ends, seq, seq if rows else keep
        self._tail.clear()
        if self._cut is not None:  # what no row speaks of any more, makes room
            self._cut = None
            self._end = max(ends.values(), default=0)
            with suppress(OSError):
                os.ftruncate(self._spool, self._end)

    def close(self) -> None:
        """Let go of the files; what was taken and not committed is lost."""
        if hasattr(self, "_db"):  # not where the file could not be opened
            if self._process != os.getpid():
                # Closed on the other side of a fork, SQLite would tidy up a file that is not its own: this object never goes.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))
                del self._db
                os.close(self._spool)  # the lock stays with the other side
                self._spool = -1
                return
            with suppress(sqlite3.Error):
                self._db.close()
        if self._spool >= 0:
            os.close(self._spool)
            self._spool = -1


def _place(content: bytes) -> _Place:
    return _Place(int.from_bytes(content[:8], "big"), int.from_bytes(content[8:16], "big"), content[16:])


def _end(content: bytes) -> int:
    place = _place(content)
    return place.at + place.size


def _write(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view.nbytes:
        done = os.pwrite(descriptor, view, at)
        view, at = view[done:], at + done


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)


def _flush_directory(path: str) -> None:
    """Make the names of new files durable, where directories can be flushed."""
    with suppress(OSError):
        descriptor = os.open(Path(path).parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
