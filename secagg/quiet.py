"""What the facades of parties without updates have in common: a ledger, sealed snapshots, and nothing that can be copied."""

from __future__ import annotations

import os
import threading
from typing import Any

import msgspec

from secagg.client import check_ledger, check_parties, check_session
from secagg.errors import DecodeError, InputError, ParameterError, SecAggError, StateError
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.protocols.secret import SecretStruct
from secagg.store import Ledger, open_snapshot, seal_snapshot

__all__ = ["Kept", "QuietParty"]


class Kept(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a snapshot holds: the Params' bytes, whose it is, the ledger's id and number of records, and the core's state."""

    params: bytes
    role: str
    ledger: tuple[bytes, int] | None
    core: bytes


class QuietParty:
    """One party of one session, behind its protocol's core."""

    _core: Any

    def __init__(
        self,
        params: Params,
        identity: Identity,
        roster: Roster,
        session: bytes | None,
        ledger: str | os.PathLike[str] | None,
        role: str,
    ) -> None:
        check_parties(params, roster)
        check_session(params, roster, session)
        self._params, self._identity, self._roster, self._role = params, identity, roster, role
        self._lock = threading.Lock()
        self._ledger = None if ledger is None else Ledger(ledger, me=role, identity=identity)

    def __reduce__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} holds secrets and cannot be pickled or copied")

    @property
    def params(self) -> Params:
        """What this party accepts."""
        return self._params

    @property
    def session(self) -> bytes | None:
        """The 16-byte session id, or None before the first request."""
        found: bytes | None = self._core.session
        return found

    def outbox(self) -> list[bytes]:
        """Return the frames to send to the server, oldest first, and forget them."""
        with self._lock:
            out: list[bytes] = self._core.take_outbox()
            return out

    def _snapshot(self) -> bytes:
        """Return the whole state, sealed; StateError while frames wait in the outbox."""
        with self._lock:
            if self._core.pending:
                raise StateError("frames wait in the outbox; take them, store the snapshot, then send them")
            ledger = None if self._ledger is None else (self._ledger.id, self._ledger.records)
            kept = Kept(self._params.to_bytes(), self._role, ledger, self._core.freeze())
        plain = msgspec.msgpack.encode(kept)
        return seal_snapshot(plain, identity=self._identity, roster=self._roster, session=self._core.session)

    @staticmethod
    def _opened(snapshot: bytes, identity: Identity, roster: Roster, params: Params | None) -> tuple[Kept, Params]:
        """Return what a snapshot holds, and its Params; InputError for one that is another's or not as expected."""
        plain = open_snapshot(snapshot, identity=identity, roster=roster)
        try:
            kept = msgspec.msgpack.decode(plain, type=Kept)
            own = Params.from_bytes(kept.params)
            check_parties(own, roster)
        except (msgspec.DecodeError, ParameterError):
            raise InputError("the snapshot is of another version, or of another kind of party") from None
        if params is not None and params.hash != own.hash:
            raise InputError("the snapshot was made under other Params")
        return kept, own

    def _resume(self, kept: Kept, session: bytes | None, *, ledger_lost: bool) -> None:
        """Take a snapshot's state; what cannot be restored closes the ledger and raises InputError or AbortError."""
        try:
            if not ledger_lost:
                check_ledger(self._ledger, kept.ledger)
            self._core.thaw(kept.core)
            if session is not None and self.session != session:
                raise InputError("the snapshot belongs to another session")
        except SecAggError as error:
            self.close()
            if isinstance(error, DecodeError):
                raise InputError("the snapshot is of another version") from None
            raise

    def close(self) -> None:
        """Close the ledger, if there is one; what was sent stays in it."""
        if self._ledger is not None:
            self._ledger.close()
