"""The server facade: it opens rounds, carries frames, closes phases, and learns the sum."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from secagg.accumulator import Accumulator
from secagg.ciphertexts import CipherAccumulator
from secagg.client import check_parties
from secagg.durable import Recorder, Steps, outcome
from secagg.errors import (
    AbortError,
    InputError,
    ParameterError,
    PeerError,
    SecAggError,
    StateError,
    ThresholdError,
)
from secagg.frameless import frameless
from secagg.identity import Identity, Roster
from secagg.outcomes import Ended, Outcomes
from secagg.params import Params
from secagg.protocols.ckks import CkksServer
from secagg.protocols.pairwise import PairwiseServer
from secagg.spool import Spool
from secagg.store import Journal
from secagg.workers import Workers

__all__ = ["Server"]

SPARE_GROUPS = 4  # models of honest clients in one round, beside one for each corrupt client
SPOOL_BYTES = 256 << 20


_BROKEN = Ended("an error of the engine, the machine or the journal")
_NO_MEMORY = "the machine has no memory left; the round is over and nothing was released"


class Server:
    """The server of one session.

    Parameters
    ----------
    params : Params
    identity : Identity
        Its signing key, which must be the roster's server key.
    roster : Roster
    session : bytes, optional
        16-byte session id; drawn from the operating system otherwise.
    spool : int
        Bytes of unfinished uploads that are kept in memory; what comes beyond that waits in a temporary file without a name.
    threads : int, optional
        Threads that add and unmask; the sum does not depend on it. Default: the cores this process may use.
    journal : str or os.PathLike, optional
        File in which this server remembers, durably, what it has done, with its spool beside it (``-spool``). Where there is one
        already, the server that wrote it goes on from there, whatever killed it: see docs/guides/restart.md.
    recorded : int
        What `recorded` must at least be, where the caller keeps it elsewhere: an older copy of the journal is then refused.

    Raises
    ------
    ParameterError
        `identity` is not the roster's server key, or the roster does not fit the Params.
    InputError
        The journal is in use, damaged, older than `recorded`, or of another server, session, roster or Params; it is left
        as it was.

    Notes
    -----
    Nothing but `open_round`, `close_phase` and `abort` moves a phase: deadlines are the caller's. Calls may come from any
    threads; they wait for each other, and the sum does not depend on their order.

    Examples
    --------
    >>> server.open_round(1)
    >>> while server.phase != "idle":
    ...     for to, frame in server.outbox():
    ...         carrier.send(to, frame)
    ...     for sender, frame in inbox():
    ...         server.receive(frame, sender=sender)
    ...     server.close_phase()
    >>> server.result(1).mean
    """

    @frameless
    def __init__(
        self,
        params: Params,
        *,
        identity: Identity,
        roster: Roster,
        session: bytes | None = None,
        spool: int = SPOOL_BYTES,
        threads: int | None = None,
        journal: str | os.PathLike[str] | None = None,
        recorded: int = 0,
    ) -> None:
        check_parties(params, roster)
        if identity.verify_key != roster.server:
            raise ParameterError("identity is not the roster's server key")
        if session is not None and len(session) != 16:
            raise ParameterError("a session id has 16 bytes")
        self._params = params
        self._identity = identity
        self._lock = threading.Lock()
        self._closed = False
        self._out: list[tuple[str | None, bytes]] = []
        self._outcomes = Outcomes(params, identity)
        self._recorder: Recorder | None = None
        workers, groups = Workers(threads), SPARE_GROUPS + int(params.corrupt)

        def core(entropy: Callable[[int], bytes]) -> PairwiseServer | CkksServer:
            if params.protocol == "ckks":
                return CkksServer(
                    params, identity, roster,
                    lambda: CipherAccumulator(params, groups, workers, Spool(spool), keep=params.recompute), entropy, session,
                )  # fmt: skip
            segments = params.segment_plan.segments
            return PairwiseServer(
                params, identity, roster,
                lambda: Accumulator(segments, params.frame_bytes, groups, workers, Spool(spool)), entropy, session,
            )  # fmt: skip

        if journal is None:
            self._core = core(os.urandom)
            return
        kept = Journal(
            journal, identity=identity, params=params.hash, roster=roster.hash(), session=session
        )  # fmt: skip
        try:
            session = kept.session
            self._recorder = Recorder(kept, core)
            self._core = self._recorder.core
            self._resume(self._recorder, recorded)
        except BaseException:
            kept.close()
            raise

    def _resume(self, recorder: Recorder, recorded: int) -> None:
        """Take the journal's steps again; what may not have left is in the outbox once more."""
        if recorder.recorded < recorded:
            raise InputError(
                f"the journal has recorded {recorder.recorded} steps, not the {recorded} that were seen: it was rolled back"
            )
        recorder.replay(Steps(self._step_open, self._core.receive, self._step_close, self._step_end, self._out.clear))
        missing = set(self._core.missing)
        self._out = [(to, frame) for to, frame in self._out if missing and (to is None or to in missing)]

    def __repr__(self) -> str:
        return f"Server(phase={self._core.phase!r}, round_id={self._core.round_id})"

    def __reduce__(self) -> Any:
        raise TypeError("a Server holds secrets and cannot be pickled or copied")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One call at a time."""
        with self._lock:
            if self._closed:
                raise StateError("this server was closed")
            yield

    @property
    def session(self) -> bytes:
        """The 16-byte session id."""
        return self._core.session

    @property
    def phase(self) -> str:
        """The open phase.

        ``"idle"``; in pairwise ``"keys"``, ``"shares"``, ``"masked"`` or ``"unmask"``; in ckks ``"keys"``, ``"encrypted"`` or
        ``"decrypt"``.
        """
        return self._core.phase

    @property
    def round_id(self) -> int | None:
        """The round in progress, or None."""
        return self._core.round_id

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of those still awaited in the open phase; `HOLDER` is the key holder."""
        with self._lock:
            return self._core.missing

    @property
    def equivocations(self) -> Mapping[str, str]:
        """Clients that sent two different frames where one is allowed, and when."""
        with self._lock:
            return dict(self._core.equivocations)

    @property
    def recorded(self) -> int:
        """How many steps the journal has recorded over its life, 0 without one; it never falls unless an old copy is put back."""
        return 0 if self._recorder is None else self._recorder.recorded

    @frameless
    def open_round(
        self,
        round_id: int,
        participants: Collection[str] | None = None,
        cohort: Collection[str] | None = None,
    ) -> None:
        """Ask for a round; keys and shares are exchanged first when no setup covers it.

        Parameters
        ----------
        round_id : int
            Greater than every id used before in the session, aborted rounds included.
        participants : collection of str, optional
            Who is asked for an update. Default: the whole cohort.
        cohort : collection of str, optional
            Pairwise: who takes part in the setup. Default: the present cohort, at first the whole roster.

        Raises
        ------
        InputError
            The id does not increase, a name is unknown, or a set is outside the Params' bounds.
        StateError
            A round is in progress.
        AbortError
            The journal cannot be written; the round's id is burned.
        """
        with self._turn():
            before = self._core.round_id
            ended: Ended | None = _BROKEN
            try:
                memo = self._core.memo()
                made = self._step_open(round_id, participants, cohort)
                if self._recorder is not None:
                    self._recorder.opened(memo, round_id, (participants, cohort), made)
                ended = None
            except MemoryError:
                raise AbortError(_NO_MEMORY) from None
            finally:
                if ended is not None and before is None and self._core.round_id is not None:
                    self._end(round_id, ended, broken=True)

    @frameless
    def outbox(self) -> list[tuple[str | None, bytes]]:
        """Return the (recipient, frame) pairs to send, oldest first, and forget them.

        A recipient of None means every client of the roster; `HOLDER` means the key holder. With a journal, what made them is
        durable.
        """
        with self._turn():
            out, self._out = self._out, []
            return out

    @frameless
    def receive(self, frame: bytes, sender: str | None = None) -> str:
        """Take one frame from a client or the key holder, and return its authenticated sender.

        Parameters
        ----------
        frame : bytes
        sender : str, optional
            Who the carrier says it is; must match.

        Raises
        ------
        PeerError
            The frame was refused; nothing of it was kept.
        AbortError
            The machine or the journal failed; the round is over and nothing was released.

        Notes
        -----
        With a journal, a frame is durable once the phase was closed, or after `sync`. A server that is killed before asks for it
        again.
        """
        with self._turn():
            round_id = self._core.round_id
            whole = False
            try:
                try:
                    name = self._core.receive(frame, sender)
                except PeerError as error:
                    if self._recorder is not None:
                        self._recorder.refused(frame, error.peer)
                    whole = True
                    raise
                if self._recorder is not None:
                    self._recorder.received(frame)
                whole = True
            except MemoryError:
                raise AbortError(_NO_MEMORY) from None
            finally:
                if not whole and round_id is not None:
                    self._end(round_id, _BROKEN, broken=True)
            return name

    @frameless
    def sync(self) -> None:
        """Make every frame that was received durable; without a journal, do nothing.

        Raises
        ------
        AbortError
            The journal cannot be written; the round is over and nothing was released.
        """
        with self._turn():
            if self._recorder is None:
                return
            try:
                self._recorder.sync()
            except AbortError:
                if self._core.round_id is not None:
                    self._end(self._core.round_id, _BROKEN)
                raise

    @frameless
    def close_phase(self) -> None:
        """End the open phase with what has arrived.

        Raises
        ------
        ThresholdError, AbortError
            Too few took part, masks could not be rebuilt, or the machine or the journal failed; nothing was released and the
            round's id is burned.
        StateError
            No phase is open.
        """
        with self._turn():
            round_id = self._core.round_id
            ended: Ended | None = _BROKEN
            broken = True
            try:
                made = self._step_close()
                if self._recorder is not None:
                    self._recorder.closed(made)
                ended = None
            except ThresholdError as error:
                ended, broken = Ended(str(error), (error.what, error.needed, error.have)), False
                raise
            except SecAggError as error:
                ended, broken = Ended(str(error)), False
                raise
            except MemoryError:
                raise AbortError(_NO_MEMORY) from None
            finally:
                # Whatever went wrong, result() must say so; in words, for an exception keeps its frames alive.
                if ended is not None and round_id is not None:
                    self._end(round_id, ended, broken=broken)

    @frameless
    def abort(self) -> None:
        """End the round in progress without a result.

        Raises
        ------
        StateError
            No round is in progress.
        AbortError
            The round is over, but the journal cannot be written: after a restart it may be in progress again.
        """
        with self._turn():
            round_id = self._core.round_id
            self._core.abort()
            if round_id is not None:
                self._end(round_id, Ended("the server's caller aborted this round"), told=True)

    def close(self) -> None:
        """Let go of the journal; the server cannot be used any more, but for its results.

        Frames that came since the last phase was closed are asked for again by the next server, unless `sync` was called.
        """
        with self._lock:
            self._closed = True
            if self._recorder is not None:
                self._recorder.close()

    # -- steps, none of which is recorded here --------------------------------------------------------------------

    def _step_open(self, round_id: int, participants: Collection[str] | None, cohort: Collection[str] | None) -> bytes:
        self._core.open_round(round_id, participants, cohort)
        return self._step(b"")

    def _step_close(self) -> bytes:
        bulk, signature = self._core.bulk, b""
        opening = self._core.close_phase()
        if opening is not None:
            result = self._outcomes.open(opening, bulk)
            self._outcomes.keep(opening.round_id, result)
            signature = result.receipt.server_signature
        return self._step(signature)

    def _step(self, signature: bytes) -> bytes:
        """Put what the step made into the outbox; with a journal, return its digest."""
        frames = self._core.take_outbox()
        self._out += frames
        return b"" if self._recorder is None else outcome(frames, signature)

    def _step_end(self, round_id: int | None, why: Ended) -> None:
        if self._core.round_id is not None:
            self._core.abort()
        self._out.clear()
        if round_id is not None:
            self._outcomes.keep(round_id, why)

    def _end(self, round_id: int, why: Ended, *, broken: bool = False, told: bool = False) -> None:
        """End a round and record that; one that broke halfway takes its setup along, for half of a step may be in it."""
        self._step_end(round_id, why)
        if broken:
            self._core.forget()
        if self._recorder is not None:
            failed = self._recorder.ended(round_id, why)
            if failed is not None and told:
                raise failed

    @frameless
    def result(self, round_id: int) -> Any:
        """Return the `Aggregate` of a finished round; under ``reveal="holder"`` the `EncryptedAggregate`, without a sum.

        Raises
        ------
        AbortError
            The round was aborted.
        StateError
            The round has not finished, never was, or is older than the eight last ones, which are kept (fewer if they are
            large: the last one, and older ones of 1 GiB together).
        """
        with self._lock:
            result = self._outcomes.get(round_id)
            if result is None:
                raise StateError(f"round {round_id} has no result (open phase: {self._core.phase})")
            return result
