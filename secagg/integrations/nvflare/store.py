"""A site's files: its key, the roster, the policy, the ledger, and the snapshot of the session in progress."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from secagg.client import Client
from secagg.errors import InputError
from secagg.files import read_bounded
from secagg.identity import Identity, Roster
from secagg.integrations.policy import Policy
from secagg.params import Params

__all__ = ["ROSTER_FILE", "SiteFiles", "site_home"]

ROSTER_FILE = "roster"
MAX_SNAPSHOT_BYTES = 1 << 30


def site_home(home: str, name: str, config_dir: str) -> Path:
    """Return the directory of a party's files.

    Parameters
    ----------
    home : str
        As in the job; ``{site}`` stands for `name`. Empty: ``secagg`` in the party's own configuration.
    name : str
        The site's name, or the server's.
    config_dir : str
        The directory ``local`` of its workspace, which no job can write to by itself.
    """
    return Path(home.replace("{site}", name)) if home else Path(config_dir) / "secagg"


class SiteFiles:
    """The files of one site.

    ``NAME.key`` and ``roster`` must be there (see ``secagg keygen`` and ``secagg roster make``); ``policy.toml`` may be. The
    ledger and the snapshots are made.
    """

    def __init__(self, home: Path, name: str, params: Params) -> None:
        self._home, self._name = home, name
        self.params = params
        policy = Policy.load(home / "policy.toml") if (home / "policy.toml").exists() else Policy()
        policy.check(params)
        self._party: dict[str, Any] = {
            "identity": Identity.load(home / f"{name}.key"),
            "roster": Roster.load(home / ROSTER_FILE),
            "ledger": home / "ledger",
        }

    def __repr__(self) -> str:
        return f"SiteFiles({os.fspath(self._home)!r})"

    def client(self, job: str, session: bytes) -> Client:
        """Return the client of a session: the one of the snapshot, if a process before this one left any, or a new one.

        Raises
        ------
        InputError, ParameterError
            A file is damaged, missing, or another party's.
        """
        path = self._snapshot(job, session)
        if path.exists():
            kept = read_bounded(path, MAX_SNAPSHOT_BYTES)
            return Client.restore(kept, params=self.params, session=session, **self._party)
        for old in self._home.glob(
            f"{_plain(job)}.*.snapshot"
        ):  # of a session that is over: it holds secrets nobody needs
            old.unlink()
        return Client(self.params, me=self._name, session=session, **self._party)

    def keep(self, job: str, client: Client) -> None:
        """Store a client's snapshot in place of the one before, before its frames leave."""
        path = self._snapshot(job, client.session or b"")
        half = path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            half.unlink()
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(client.snapshot())
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)

    def _snapshot(self, job: str, session: bytes) -> Path:
        return self._home / f"{_plain(job)}.{session.hex()}.snapshot"


def _plain(job: str) -> str:
    """Return a job's id, if it can be part of a file's name."""
    if not job or not all(letter.isalnum() or letter in "-_" for letter in job):
        raise InputError("the job's id cannot be part of a file's name")
    return job
