"""The client facade: bytes in, bytes out, one update when it is asked for."""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from secagg.accumulator import Masking
from secagg.ciphertexts import Encrypting
from secagg.encoding import Source
from secagg.errors import DecodeError, InputError, ParameterError, SecAggError, StateError
from secagg.frameless import frameless
from secagg.hazmat import aead
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest, u64
from secagg.hintmasks import HintMasking
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.protocols.ckks import CkksClient
from secagg.protocols.oneshot import OneshotClient
from secagg.protocols.pairwise import PairwiseClient
from secagg.protocols.secret import SecretStruct
from secagg.protocols.upload import chunk_nonce
from secagg.store import Ledger, open_snapshot, seal_snapshot
from secagg.workers import Workers

__all__ = ["Awaiting", "Client", "check_ledger", "check_parties", "check_session", "placeholder", "rounding_key"]

_PROTOCOLS: dict[str, tuple[Any, Any]] = {
    "pairwise": (PairwiseClient, Masking),
    "ckks": (CkksClient, Encrypting),
    "oneshot": (OneshotClient, HintMasking),
}

Pins: TypeAlias = dict[tuple[int, int], bytes]  # segment and chunk -> tag of its values. Secret


class _Snapshot(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    params: bytes
    me: str
    rounding_seed: bytes | None
    ledger: tuple[bytes, int] | None  # the ledger's id, and how many records it had
    core: bytes


@dataclass(frozen=True)
class Awaiting:
    """The server asks for an update."""

    round_id: int


def rounding_key(seed: bytes, me: str, round_id: int) -> bytes:
    """Return the 16-byte key that rounds one client's update of one round under a reproducible `rounding_seed`."""
    return hkdf(seed, "rounding-seed", me.encode(), u64(round_id), length=16)


class Client:
    """One client of one session: any number of setups and rounds.

    Parameters
    ----------
    params : Params
        What this client accepts; a server that asks under other Params is refused.
    me : str
        This client's id in the roster.
    identity : Identity
        Its signing key, which must be the roster's.
    roster : Roster
    session : bytes, optional
        16-byte session id to insist on; learnt from the first request otherwise.
    ledger : str or os.PathLike, optional
        File in which this client remembers, durably, what it has sent (see `secagg.store.Ledger`). Without one, a client whose
        state is rolled back or copied can be made to answer twice: docs/threat-model.md says what that costs.
    rounding_seed : bytes, optional
        Makes stochastic rounding reproducible for experiments. Never a source of keys.
    threads : int, optional
        Threads that protect an update; the frames do not depend on it. Default: the cores this process may use.

    Raises
    ------
    ParameterError
        `me` is not in the roster, `identity` is not its key, or the roster is larger than the Params allow.
    InputError
        The ledger is damaged, another client's, or cannot be opened.

    Notes
    -----
    `receive` may be called by any threads; they wait for each other. One update is submitted at a time.

    Examples
    --------
    >>> for frame in inbox:
    ...     client.receive(frame)
    >>> if client.awaiting:
    ...     client.submit(update, weight=n_examples)
    >>> for frame in client.outbox():
    ...     carrier.send(frame)
    """

    @frameless
    def __init__(
        self,
        params: Params,
        *,
        me: str,
        identity: Identity,
        roster: Roster,
        session: bytes | None = None,
        ledger: str | os.PathLike[str] | None = None,
        rounding_seed: bytes | None = None,
        threads: int | None = None,
    ) -> None:
        check_parties(params, roster)
        if me not in roster:
            raise ParameterError(f"{me!r} is not in the roster")
        if identity.verify_key != roster.key(me):
            raise ParameterError(f"identity is not the roster's key of {me!r}")
        check_session(params, roster, session)
        self._params = params
        self._me = me
        self._rounding_seed = rounding_seed
        self._identity = identity
        self._roster = roster
        self._ledger = None if ledger is None else Ledger(ledger, me=me, identity=identity)
        # Which protocol it is shows in these two alone; what passes between them, an upload, is the protocol's own.
        core, bulk = _PROTOCOLS[params.protocol]
        self._core: PairwiseClient | CkksClient | OneshotClient
        self._core = core(params, me, identity, roster, os.urandom, session, self._ledger)
        self._bulk = bulk(params, Workers(threads))
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Client(me={self._me!r}, awaiting={self.awaiting})"

    def __reduce__(self) -> Any:
        raise TypeError("a Client holds secrets and cannot be pickled or copied")

    @property
    def me(self) -> str:
        """This client's id."""
        return self._me

    @property
    def params(self) -> Params:
        """What this client accepts."""
        return self._params

    @property
    def session(self) -> bytes | None:
        """The 16-byte session id, or None before the first request."""
        return self._core.session

    @property
    def awaiting(self) -> Awaiting | None:
        """What the server waits for, or None."""
        round_id = self._core.awaiting
        return None if round_id is None else Awaiting(round_id)

    @frameless
    def receive(self, frame: bytes) -> None:
        """Take one frame from the server.

        Raises
        ------
        PeerError
            The frame was refused (DecodeError, AuthenticationError, EquivocationError say why); state is unchanged.
        AbortError
            The server says that this client dropped out; nothing was released.
        """
        with self._lock:  # or two requests at a time could both be found to be the first
            self._core.receive(frame)

    @frameless
    def submit(
        self,
        update: Any,
        *,
        weight: int = 1,
        metrics: Mapping[str, float] | None = None,
        context: bytes = b"",
    ) -> None:
        """Protect the update of the awaited round and put its frames into the outbox.

        Parameters
        ----------
        update : ndarray or nest of ndarray
            In the structure, shapes and dtypes of the layout. Read, never kept. Secret.
        weight : int
            From 0 to ``params.max_weight``; hidden from the server, who learns only the sum. Weight 0 contributes nothing.
        metrics : mapping of str to float, optional
            Exactly the names of ``params.metrics``.
        context : bytes
            The model this update belongs to, or a hash of it; clients with different contexts are never mixed.

        Raises
        ------
        StateError
            No update is awaited.
        InputError
            The update, weight or metrics do not fit the Params, or another update was already submitted for this round.
            State is unchanged.
        AbortError
            The ledger cannot be written, or says that the round is over; nothing leaves.
        """
        upload, source = self._open(update, weight, metrics, context)
        # Where chunks of a streamed update may have left, these have to be made of the very same values.
        pins = self._intend(upload, source, context)[0] if upload.intended else None
        self._core.send(self._whole(upload, source, pins))

    @frameless
    def stream(
        self,
        update: Any,
        *,
        weight: int = 1,
        metrics: Mapping[str, float] | None = None,
        context: bytes = b"",
    ) -> Iterator[bytes]:
        """Return the frames of a protected update one at a time, each to be sent before the next is made.

        For updates that memory holds once but not twice, a memory-mapped array for instance: beyond the update itself, a few
        frames are in memory at a time. Parameters and errors are those of `submit`.

        Returns
        -------
        iterator of bytes
            The last frame commits to the upload: take all of them. If the process or the carrier fails on the way, `awaiting`
            stays, and the same update gives the same frames again; another one is refused from the first frame on.

        Notes
        -----
        The update is read twice, first to refuse what cannot be encoded and to let the ledger know which update it is. If it
        has changed when a chunk is read again, InputError comes from the iterator and the chunk does not leave. Arrays must be
        C-contiguous, or are copied. A memory-mapped file that is cut short meanwhile ends the process, as it always does.
        """
        upload, source = self._open(update, weight, metrics, context)
        if upload.whole and not upload.intended:  # it was sent whole before: compare before anything leaves
            return iter(self._whole(upload, source))
        return self._one_by_one(upload, source, *self._intend(upload, source, context))

    def _open(
        self, update: Any, weight: int, metrics: Mapping[str, float] | None, context: bytes
    ) -> tuple[Any, Source]:
        if not isinstance(context, bytes | bytearray | memoryview):
            raise InputError("context must be bytes")
        with self._lock:
            upload = self._core.begin_upload(bytes(context))
        key = upload.rounding_key
        if self._rounding_seed is not None and self.awaiting is not None:
            key = rounding_key(self._rounding_seed, self._me, self.awaiting.round_id)
        return upload, self._params.segment_plan.open(update, weight, metrics, key)

    def _intend(self, upload: Any, source: Source, context: bytes) -> tuple[Pins, int]:
        """Let the memory know which update is about to leave; return what holds it to that, and how many values are clipped."""
        pins: Pins = {}
        clipped = 0
        for number in range(1, len(source.segments)):
            for index, start, stop in self._bulk.plan(number):
                tag = aead.Gmac(upload.intent_key, chunk_nonce(number, index))
                clipped += source.check(number, start, stop, tag.update)
                pins[number, index] = tag.finish()
        upload.intend(
            digest("intent", source.fingerprint(bytes(context)), b"".join(pins[place] for place in sorted(pins)))
        )
        return pins, clipped

    def _segment(self, upload: Any, source: Source, number: int, pins: Pins | None) -> Iterator[tuple[bytes, int]]:
        def pin(source: Source, number: int, index: int, start: int, stop: int) -> Source:
            """Copy a chunk's values and check the copy: the caller's array, or its file, may have changed since it was read."""
            copy = source.copy(number, start, stop)
            tag = aead.Gmac(upload.intent_key, chunk_nonce(number, index))
            copy.check(number, start, stop, tag.update)
            if pins is None or not hmac.compare_digest(tag.finish(), pins[number, index]):
                raise InputError("the update changed while it was being sent; send the one that was begun, or none")
            return copy

        frames: Iterator[tuple[bytes, int]] = self._bulk.segment(source, number, upload, None if pins is None else pin)
        return frames

    def _whole(self, upload: Any, source: Source, pins: Pins | None = None) -> list[bytes]:
        """Return all frames of an upload; the memory knows it when this returns."""
        frames, clipped = [], 0
        for number in range(1, len(source.segments)):
            for frame, count in self._segment(upload, source, number, pins):
                frames.append(frame)
                clipped += count
        return [self._bulk.head(source, clipped, upload), *frames, *self._bulk.rest(upload), upload.finish()]

    def _one_by_one(self, upload: Any, source: Source, pins: Pins, clipped: int) -> Iterator[bytes]:
        yield self._bulk.head(source, clipped, upload)
        for number in range(1, len(source.segments)):
            for frame, _ in self._segment(upload, source, number, pins):
                yield frame
        yield from self._bulk.rest(upload)
        yield upload.finish()

    def outbox(self) -> list[bytes]:
        """Return the frames to send to the server, oldest first, and forget them."""
        with self._lock:
            return self._core.take_outbox()

    @frameless
    def snapshot(self) -> bytes:
        """Return this client's whole state, sealed so that only the same identity under the same roster can restore it.

        Store it, in place of the one before, after `outbox` and before the frames are sent.

        Raises
        ------
        StateError
            Frames wait in the outbox, and would be lost: take them first.

        Notes
        -----
        A snapshot holds the secrets of the rounds to come. Together with the identity's private key and recorded traffic, an
        old one opens the masks of rounds that were still ahead when it was made: overwrite it, keep no history. Its size is
        about ``(64 * rounds_per_setup + 500) * neighbours`` bytes.
        """
        with self._lock:
            if self._core.pending:
                raise StateError("frames wait in the outbox; take them, store the snapshot, then send them")
            ledger = None if self._ledger is None else (self._ledger.id, self._ledger.records)
            kept = _Snapshot(self._params.to_bytes(), self._me, self._rounding_seed, ledger, self._core.freeze())
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
        threads: int | None = None,
    ) -> Client:
        """Return the client that made a snapshot; where the ledger knows of later frames, those stand.

        Parameters
        ----------
        snapshot : bytes
            From `snapshot`. An older one than the last is no danger with the ledger: what has left since is sent again byte
            for byte or not at all.
        identity, roster, ledger, threads
            As for the client that made it.
        params : Params, optional
            What the snapshot must have been made under. Give it wherever somebody else could put another snapshot of this
            client in its place, from a session under weaker Params.
        session : bytes, optional
            The session that it must belong to.
        ledger_lost : bool
            Restore although the ledger that belongs to the snapshot is missing, another one or older than it. This client may
            then say what it said before in another way, and counts as corrupt until the next setup.

        Raises
        ------
        InputError
            Torn, changed, another identity's, roster's, session's or Params'; or the ledger is, or is not the snapshot's.
        """
        plain = open_snapshot(snapshot, identity=identity, roster=roster)
        try:
            kept = msgspec.msgpack.decode(plain, type=_Snapshot)
            own = Params.from_bytes(kept.params)
            check_parties(own, roster)
        except (msgspec.DecodeError, ParameterError):
            raise InputError("the snapshot is of another version") from None
        if params is not None and params.hash != own.hash:
            raise InputError("the snapshot was made under other Params")
        if kept.me not in roster or roster.key(kept.me) != identity.verify_key:
            raise InputError("the snapshot is of another version, or not this client's")
        client = cls(
            own, me=kept.me, identity=identity, roster=roster, session=placeholder(own), ledger=ledger,
            rounding_seed=kept.rounding_seed, threads=threads,
        )  # fmt: skip
        try:
            if not ledger_lost:
                check_ledger(client._ledger, kept.ledger)
            client._core.thaw(kept.core)
            if session is not None and client.session != session:
                raise InputError("the snapshot belongs to another session")
        except SecAggError as error:
            client.close()
            if isinstance(error, DecodeError):
                raise InputError("the snapshot is of another version") from None
            raise
        return client

    def close(self) -> None:
        """Close the ledger, if there is one; what was sent stays in it."""
        if self._ledger is not None:
            self._ledger.close()


def check_parties(params: Params, roster: Roster) -> None:
    """Refuse a roster that the Params' bounds were not computed for, or one that lacks a party of the protocol."""
    if not isinstance(params, Params):
        raise ParameterError("params must be a Params")
    if params.protocol == "ckks" and roster.holder is None:
        raise ParameterError("protocol='ckks' needs a key holder in the roster: Roster(clients, server, holder=...)")
    if params.protocol == "oneshot" and params.committee < params.clients != len(roster):
        raise ParameterError(
            f"the roster has {len(roster)} clients; a committee of {params.committee} is drawn from exactly {params.clients}"
        )
    if len(roster) > params.clients:
        raise ParameterError(f"the roster has {len(roster)} clients, Params were checked for {params.clients}")


def check_session(params: Params, roster: Roster, session: bytes | None) -> None:
    """Refuse what is no session id, or none where the server could choose the committee by choosing it."""
    if session is not None and len(session) != 16:
        raise ParameterError("a session id has 16 bytes")
    if params.protocol == "oneshot" and params.committee < len(roster) and session is None:
        raise ParameterError(
            "a committee that is drawn from the roster needs the session id from elsewhere than the server, which could try ids "
            "until the committee suits it: give session="
        )


def placeholder(params: Params) -> bytes | None:
    """Return what stands for the session id until a snapshot gives it."""
    return bytes(16) if params.protocol == "oneshot" else None


def check_ledger(ledger: Ledger | None, kept: tuple[bytes, int] | None) -> None:
    """Refuse to go on from a snapshot without the ledger, by id and number of records, that belongs to it."""
    if kept is None:
        return
    remedy = "with ledger_lost=True it is restored all the same, and counts as corrupt until the next setup"
    if ledger is None:
        raise InputError(f"the party that made this snapshot kept a ledger; give it, or {remedy}")
    if ledger.id != kept[0]:
        raise InputError(f"the ledger is not the one that belongs to this snapshot; {remedy}")
    if ledger.records < kept[1]:
        raise InputError(f"the ledger is older than the snapshot: it was rolled back; {remedy}")
