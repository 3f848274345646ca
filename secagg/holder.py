"""The key holder's facade: a public key out, one decryption a round."""

from __future__ import annotations

import os
import threading
from typing import Any

import msgspec

from secagg.aggregate import Aggregate, decode_sums
from secagg.ciphertexts import CipherAccumulator
from secagg.client import check_ledger, check_parties
from secagg.errors import DecodeError, InputError, ParameterError, SecAggError, StateError
from secagg.frameless import frameless
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.protocols.ckks import CkksHolder
from secagg.protocols.secret import SecretStruct
from secagg.receipt import Receipt
from secagg.spool import Spool
from secagg.store import Ledger, open_snapshot, seal_snapshot
from secagg.wire import HOLDER
from secagg.workers import Workers

__all__ = ["KeyHolder"]

KEPT_RESULTS = 8
SPOOL_BYTES = 256 << 20


class _Snapshot(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    params: bytes
    role: str
    ledger: tuple[bytes, int] | None
    core: bytes


class KeyHolder:
    """Who can decrypt in one ckks session: it makes the key, and opens one sum a round.

    Parameters
    ----------
    params : Params
        ``protocol="ckks"``.
    identity : Identity
        Its signing key, which must be the roster's holder; it may also be the identity of one of the clients.
    roster : Roster
    session : bytes, optional
        16-byte session id to insist on; learnt from the first request otherwise.
    ledger : str or os.PathLike, optional
        File in which it remembers, durably, which sum of a round it decrypted; not the file of a client. Without one, a holder
        whose state is rolled back or copied can be made to decrypt two sums of one round, and so their difference.
    spool : int
        Bytes of what is to be summed that are kept in memory; the rest waits in a temporary file without a name.
    threads : int, optional
        Threads that add and decrypt; the sum does not depend on it. Default: the cores this process may use.

    Raises
    ------
    ParameterError
        The Params are of another protocol, or `identity` is not the roster's holder.
    InputError
        The ledger is damaged, another party's, or cannot be opened.

    Notes
    -----
    Calls may come from any threads; they wait for each other.

    Under ``reveal="holder"`` it alone learns the sum (`result`), under ``reveal="server"`` the server too. Who holds the key and
    sees the clients' uploads could decrypt every one of them: it must not be, or share anything with, the server.

    Examples
    --------
    >>> for frame in inbox:
    ...     holder.receive(frame)
    >>> for frame in holder.outbox():
    ...     carrier.send(frame)
    """

    @frameless
    def __init__(
        self,
        params: Params,
        *,
        identity: Identity,
        roster: Roster,
        session: bytes | None = None,
        ledger: str | os.PathLike[str] | None = None,
        spool: int = SPOOL_BYTES,
        threads: int | None = None,
    ) -> None:
        check_parties(params, roster)
        if session is not None and len(session) != 16:
            raise ParameterError("a session id has 16 bytes")
        self._params, self._identity, self._roster = params, identity, roster
        self._lock = threading.Lock()
        workers = Workers(threads)
        Spool(spool)  # refuses here, not in the first round, what is no number of bytes
        self._ledger: Ledger | None = None
        if ledger is not None:
            self._ledger = Ledger(ledger, me=HOLDER, identity=identity)
        self._core = CkksHolder(
            params, identity, roster, lambda: CipherAccumulator(params, 1, workers, Spool(spool)), os.urandom, session,
            self._ledger,
        )  # fmt: skip
        self._results: dict[int, Aggregate] = {}

    def __repr__(self) -> str:
        return f"KeyHolder(results={sorted(self._results)})"

    def __reduce__(self) -> Any:
        raise TypeError("a KeyHolder holds secrets and cannot be pickled or copied")

    @property
    def params(self) -> Params:
        """What this holder accepts."""
        return self._params

    @property
    def session(self) -> bytes | None:
        """The 16-byte session id, or None before the first request."""
        return self._core.session

    @frameless
    def receive(self, frame: bytes) -> None:
        """Take one frame that the server sends, or passes on.

        Raises
        ------
        PeerError
            The frame was refused; state is unchanged.
        AbortError
            What was to be decrypted is not the sum that was signed for, or none of honest clients; nothing was released, and no
            other sum of this round will be decrypted.
        """
        with self._lock:
            self._receive(frame)

    def _receive(self, frame: bytes) -> None:
        before = self._core.decrypted
        self._core.receive(frame)
        current = self._core.decrypted
        if current is not None and current is not before:
            bulk: Any = current.bulk
            sums = bulk.lanes()
            decoded = decode_sums(self._params, sums, len(current.headers))
            uploads = {name: header.tag for name, header in current.headers.items()}
            signature = {HOLDER: current.signature}
            receipt = Receipt(
                self.session or b"", current.round_id, self._params.hash, self._core.key_hash, self._roster.hash(),
                current.context, current.result_hash, current.participants, uploads, signature,
            )  # fmt: skip
            nbytes = sum(array.nbytes for array in sums)
            self._results[current.round_id] = Aggregate(decoded, receipt, {}, nbytes, current.salt)
            for old in sorted(self._results)[:-KEPT_RESULTS]:
                del self._results[old]

    def outbox(self) -> list[bytes]:
        """Return the frames to send to the server, oldest first, and forget them."""
        with self._lock:
            return self._core.take_outbox()

    @frameless
    def result(self, round_id: int) -> Aggregate:
        """Return the Aggregate of a round that was decrypted; its receipt is not signed by the server yet.

        Raises
        ------
        StateError
            The round was not decrypted here, or is older than the eight last ones.
        """
        if round_id not in self._results:
            raise StateError(f"round {round_id} was not decrypted, or is older than the last {KEPT_RESULTS}")
        return self._results[round_id]

    @frameless
    def snapshot(self) -> bytes:
        """Return the holder's whole state, sealed so that only the same identity under the same roster can restore it.

        Store it after `outbox` and before the frames are sent. It holds the secret key of the present batch of rounds: together
        with the identity's private key and recorded traffic it opens them. Results are not in it.

        Raises
        ------
        StateError
            Frames wait in the outbox, and would be lost: take them first.
        """
        with self._lock:
            if self._core.pending:
                raise StateError("frames wait in the outbox; take them, store the snapshot, then send them")
            ledger = None if self._ledger is None else (self._ledger.id, self._ledger.records)
            kept = _Snapshot(self._params.to_bytes(), HOLDER, ledger, self._core.freeze())
        plain = msgspec.msgpack.encode(kept)
        return seal_snapshot(plain, identity=self._identity, roster=self._roster, session=self._core.session)

    @classmethod
    @frameless
    def restore(
        cls,
        snapshot: bytes,
        *,
        identity: Identity,
        roster: Roster,
        ledger: str | os.PathLike[str] | None = None,
        params: Params | None = None,
        session: bytes | None = None,
        ledger_lost: bool = False,
        spool: int = SPOOL_BYTES,
        threads: int | None = None,
    ) -> KeyHolder:
        """Return the holder that made a snapshot; where the ledger knows of later decryptions, those stand.

        Parameters
        ----------
        snapshot : bytes
        identity, roster, ledger, spool, threads
            As for the holder that made it.
        params, session
            What the snapshot must have been made under, if given.
        ledger_lost : bool
            Restore although the ledger that belongs to the snapshot is missing, another one or older than it. This holder may
            then be made to decrypt a second sum of a round.

        Raises
        ------
        InputError
            Torn, changed, another identity's, roster's, session's or Params'; or the ledger is, or is not the snapshot's.
        """
        plain = open_snapshot(snapshot, identity=identity, roster=roster)
        try:
            kept = msgspec.msgpack.decode(plain, type=_Snapshot)
            own = Params.from_bytes(kept.params)
        except (msgspec.DecodeError, ParameterError):
            raise InputError("the snapshot is of another version, or a client's") from None
        if kept.role != HOLDER:
            raise InputError("the snapshot is not a key holder's")
        if params is not None and params.hash != own.hash:
            raise InputError("the snapshot was made under other Params")
        holder = cls(own, identity=identity, roster=roster, ledger=ledger, spool=spool, threads=threads)
        try:
            if not ledger_lost:
                check_ledger(holder._ledger, kept.ledger)
            holder._core.thaw(kept.core)
            if session is not None and holder.session != session:
                raise InputError("the snapshot belongs to another session")
        except SecAggError as error:
            holder.close()
            if isinstance(error, DecodeError):
                raise InputError("the snapshot is of another version") from None
            raise
        return holder

    def close(self) -> None:
        """Close the ledger, if there is one."""
        if self._ledger is not None:
            self._ledger.close()
