"""What every SQLite file of the package has in common: made for its owner alone, opened with the same care."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from secagg.errors import AbortError, InputError

__all__ = ["check_health", "check_process", "open_database", "transaction"]


def open_database(path: str, what: str, patience: float) -> sqlite3.Connection:
    """Return a connection to a file that nobody but its owner can write, made if it was not there.

    Raises
    ------
    InputError
        It cannot be opened, is no regular file, or others can write to it.
    """
    try:
        # The mode at creation, not after: nobody else gets a moment to open it. Only a new file is ever opened here, for
        # closing any descriptor of a file drops all the locks that this process holds on it.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        _check_file(Path(path).stat(), path, what)
        db = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"the {what} {path} cannot be opened: {error}") from None
    db.execute("PRAGMA fullfsync = ON")  # where flushing a file does not yet flush the disk
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def _check_file(found: os.stat_result, path: str, what: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"the {what} {path} is no regular file")
    if os.name == "posix" and found.st_mode & 0o022:
        raise InputError(f"the {what} {path} can be written by others than its owner; run chmod 600 on it")


def check_health(db: sqlite3.Connection, path: str, what: str) -> None:
    """Return if the file is a whole database; InputError otherwise."""
    (health,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        raise InputError(f"the {what} {path} is damaged: {health}")


def check_process(process: int, path: str, what: str) -> None:
    """Return if this process is `process`; AbortError after a fork, for SQLite's locks do not follow one."""
    if process != os.getpid():
        raise AbortError(f"the {what} {path} was opened by another process; open it anew after a fork")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
