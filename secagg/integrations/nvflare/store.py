"""A site's files: its key, the roster, the policy, the ledger, and the snapshot of the session in progress."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from secagg.client import Client
from secagg.errors import AuthenticationError, InputError, ParameterError
from secagg.files import read_bounded
from secagg.holder import KeyHolder
from secagg.identity import Identity, Roster
from secagg.integrations.policy import Policy
from secagg.integrations.sessions import needed, session_of
from secagg.params import Params

__all__ = ["HOME_VARIABLE", "ROSTER_FILE", "SESSION_FILE", "SiteFiles", "agreed_session", "site_home"]

HOME_VARIABLE = "SECAGG_NVFLARE_HOME"
ROSTER_FILE = "roster"
SESSION_FILE = "session"  # agreed beforehand, for a committee that is drawn from the roster
MAX_SESSION_BYTES = 64
MAX_SNAPSHOT_BYTES = 1 << 30
# What the snapshots of a site's two parts are called.
CLIENT, HOLDER = "snapshot", "holder-snapshot"
Party = TypeVar("Party", Client, KeyHolder)


def site_home(name: str, config_dir: str, run_dir: str) -> Path:
    """Return the directory of a party's files, about which a job has no say.

    It is what the variable SECAGG_NVFLARE_HOME of the party's own environment says, with ``{site}`` in it standing for `name`, or
    else ``secagg`` in its own configuration.

    Parameters
    ----------
    name : str
        The site's name, or the server's.
    config_dir : str
        The directory ``local`` of its workspace, which no job can write to by itself.
    run_dir : str
        The job's directory, in which all is as the job has it.

    Raises
    ------
    ParameterError
        The directory is the job's, or depends on where the process was started.
    """
    given = os.environ.get(HOME_VARIABLE, "")
    home = Path(given.replace("{site}", name)) if given else Path(config_dir) / "secagg"
    if given and not home.is_absolute():
        raise ParameterError(f"{HOME_VARIABLE} must be an absolute path")
    if home.resolve().is_relative_to(Path(run_dir).resolve()):
        raise ParameterError("the party's key and policy would come with the job; they belong outside its directory")
    return home


def agreed_session(home: Path, params: Params) -> bytes | None:
    """Return the session id in a party's own files, None without one.

    Raises
    ------
    ParameterError
        The file holds none; or there is no file, and the Params draw a committee by it.
    """
    path = home / SESSION_FILE
    if not path.exists():
        needed(params, f"the file {SESSION_FILE!r} beside every party's key")
        return None
    return session_of(read_bounded(path, MAX_SESSION_BYTES).decode(errors="replace"), f"the file {SESSION_FILE!r}")


class SiteFiles:
    """The files of one site.

    ``NAME.key`` and ``roster`` must be there (see ``secagg keygen`` and ``secagg roster make``); ``policy.toml`` may be, and so
    may ``session``, an id agreed beforehand, without which no committee is drawn from the roster. The
    ledgers and the snapshots are made. The roster says whether the key is a client's, the key holder's or both.
    """

    def __init__(self, home: Path, name: str, params: Params) -> None:
        self._home, self._name = home, name
        self.params = params
        policy = Policy.load(home / "policy.toml") if (home / "policy.toml").exists() else Policy()
        policy.check(params)
        self._agreed = agreed_session(home, params)
        self._party: dict[str, Any] = {
            "identity": Identity.load(home / f"{name}.key"),
            "roster": Roster.load(home / ROSTER_FILE),
        }

    def __repr__(self) -> str:
        return f"SiteFiles({os.fspath(self._home)!r})"

    def client(self, job: str, session: bytes) -> Client:
        """Return the client of a session: the one of the snapshot, if a process before this one left any, or a new one.

        Raises
        ------
        InputError, ParameterError
            A file is damaged, missing, or another party's.
        AuthenticationError
            The session is not the one that was agreed.
        """
        if self._agreed not in (None, session):
            raise AuthenticationError("the server's session is not the one in this site's files", peer="server")
        party = self._party | {"session": session, "ledger": self._home / "ledger"}
        return self._open(
            (job, session, CLIENT), partial(Client.restore, params=self.params, **party),
            partial(Client, self.params, me=self._name, **party),
        )  # fmt: skip

    def holder(self, job: str, session: bytes) -> KeyHolder:
        """Return the key holder of a session in the same way.

        Raises
        ------
        InputError, ParameterError
            A file is damaged or missing, or another party holds the key.
        """
        party = self._party | {"session": session, "ledger": self._home / "holder-ledger"}
        return self._open(
            (job, session, HOLDER), partial(KeyHolder.restore, params=self.params, **party),
            partial(KeyHolder, self.params, **party),
        )  # fmt: skip

    def _open(
        self, place: tuple[str, bytes, str], restored: Callable[[bytes], Party], made: Callable[[], Party]
    ) -> Party:
        path = self._snapshot(*place)
        if path.exists():
            return restored(read_bounded(path, MAX_SNAPSHOT_BYTES))
        for old in self._home.glob(f"{_plain(place[0])}.*.{place[2]}"):
            old.unlink()  # of a session that is over: it holds secrets nobody needs
        return made()

    def keep(self, job: str, party: Client | KeyHolder) -> None:
        """Store a party's snapshot in place of the one before, before its frames leave."""
        path = self._snapshot(job, party.session or b"", HOLDER if isinstance(party, KeyHolder) else CLIENT)
        half = path.with_name(f"{path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            half.unlink()
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(party.snapshot())
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        directory = os.open(self._home, os.O_RDONLY)
        try:
            os.fsync(directory)  # or the name could still stand for the snapshot before after a power cut
        finally:
            os.close(directory)

    def _snapshot(self, job: str, session: bytes, part: str) -> Path:
        return self._home / f"{_plain(job)}.{session.hex()}.{part}"


def _plain(job: str) -> str:
    """Return a job's id, if it can be part of a file's name."""
    if not job or not all(letter.isalnum() or letter in "-_" for letter in job):
        raise InputError("the job's id cannot be part of a file's name")
    return job
