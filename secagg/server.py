"""The server facade: it opens rounds, carries frames, closes phases, and learns the sum."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from secagg.accumulator import Accumulator
from secagg.aggregate import Aggregate, EncryptedAggregate, decode_sums
from secagg.ciphertexts import CipherAccumulator
from secagg.client import check_parties
from secagg.errors import AbortError, InternalError, ParameterError, SecAggError, StateError, ThresholdError
from secagg.frameless import frameless
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.protocols.ckks import CkksServer, Decryption
from secagg.protocols.ckks.messages import result_commitment
from secagg.protocols.pairwise import Opening, PairwiseServer
from secagg.receipt import Receipt, result_digest
from secagg.spool import Spool
from secagg.workers import Workers

__all__ = ["Server"]

SPARE_GROUPS = 4  # models of honest clients in one round, beside one for each corrupt client
KEPT_RESULTS = 8
KEPT_BYTES = 1 << 30  # of older results; the last one is kept whatever its size
SPOOL_BYTES = 256 << 20


@dataclass(frozen=True)
class _Ended:
    """Why a round has no result."""

    reason: str
    counts: tuple[str, int, int] | None = None


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

    Notes
    -----
    Nothing but `open_round`, `close_phase` and `abort` moves a phase: deadlines are the caller's.

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
    ) -> None:
        check_parties(params, roster)
        if identity.verify_key != roster.server:
            raise ParameterError("identity is not the roster's server key")
        if session is not None and len(session) != 16:
            raise ParameterError("a session id has 16 bytes")
        self._params = params
        self._identity = identity
        workers, groups = Workers(threads), SPARE_GROUPS + int(params.corrupt)
        self._core: PairwiseServer | CkksServer
        if params.protocol == "ckks":
            self._core = CkksServer(
                params, identity, roster,
                lambda: CipherAccumulator(params, groups, workers, Spool(spool), keep=params.recompute), os.urandom, session,
            )  # fmt: skip
        else:
            segments = params.segment_plan.segments
            self._core = PairwiseServer(
                params, identity, roster,
                lambda: Accumulator(segments, params.frame_bytes, groups, workers, Spool(spool)), os.urandom, session,
            )  # fmt: skip
        self._results: dict[int, Aggregate | EncryptedAggregate | _Ended] = {}

    def __repr__(self) -> str:
        return f"Server(phase={self.phase!r}, round_id={self._core.round_id})"

    def __reduce__(self) -> Any:
        raise TypeError("a Server holds secrets and cannot be pickled or copied")

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
    def missing(self) -> tuple[str, ...]:
        """Ids of those still awaited in the open phase; `HOLDER` is the key holder."""
        return self._core.missing

    @property
    def equivocations(self) -> Mapping[str, str]:
        """Clients that sent two different frames where one is allowed, and when."""
        return dict(self._core.equivocations)

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
        """
        self._core.open_round(round_id, participants, cohort)

    def outbox(self) -> list[tuple[str | None, bytes]]:
        """Return the (recipient, frame) pairs to send, oldest first, and forget them.

        A recipient of None means every client of the roster; `HOLDER` means the key holder.
        """
        return self._core.take_outbox()

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
        """
        return self._core.receive(frame, sender)

    @frameless
    def close_phase(self) -> None:
        """End the open phase with what has arrived.

        Raises
        ------
        ThresholdError, AbortError
            Too few took part, or masks could not be rebuilt; nothing was released and the round's id is burned.
        StateError
            No phase is open.
        """
        round_id, bulk = self._core.round_id, self._core.bulk
        ended: _Ended | None = _Ended("an error of the engine or the machine")
        try:
            opening = self._core.close_phase()
            if opening is not None:
                self._results[opening.round_id] = self._open(opening, bulk)
            ended = None
        except ThresholdError as error:
            ended = _Ended(str(error), (error.what, error.needed, error.have))
            raise
        except SecAggError as error:
            ended = _Ended(str(error))
            raise
        finally:
            # Whatever went wrong, if the round is over, result() must say so; in words, for an exception keeps its frames alive.
            if ended is not None and round_id is not None and self._core.round_id is None:
                self._results[round_id] = ended
            self._let_go()

    def _let_go(self) -> None:
        """Forget all but the last results."""
        room = KEPT_BYTES
        for count, round_id in enumerate(sorted(self._results, reverse=True)):
            kept = self._results[round_id]
            if count and not isinstance(kept, _Ended):
                kept.release()
                room -= kept.nbytes
            if count >= KEPT_RESULTS or room < 0:
                del self._results[round_id]

    def abort(self) -> None:
        """End the round in progress without a result."""
        round_id = self._core.round_id
        self._core.abort()
        if round_id is not None:
            self._results[round_id] = _Ended("the server's caller aborted this round")
            self._let_go()

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
        result = self._results.get(round_id)
        if result is None:
            raise StateError(f"round {round_id} has no result (open phase: {self.phase})")
        if isinstance(result, _Ended):
            raise AbortError(result.reason) if result.counts is None else ThresholdError(*result.counts)
        return result

    def _open(self, opening: Opening | Decryption, bulk: Any) -> Aggregate | EncryptedAggregate:
        """Return the aggregate of a finished round, and its receipt signed."""
        if isinstance(opening, Opening):
            sums = bulk.finish(opening.context, opening.keys, opening.signs)
            found = result_digest(sums)
        elif self._params.reveal == "server":
            sums = bulk.lanes()
            found = result_commitment(opening.salt, result_digest(sums))
            if found != opening.result_hash:
                raise AbortError("the key holder's result is not the one it signed for; nothing was released")
        else:
            receipt = self._receipt(opening, opening.result_hash)
            return EncryptedAggregate(b"".join(payload for _, payload in bulk.total(opening.context)), receipt)
        decoded = decode_sums(self._params, sums, len(opening.uploads))
        nbytes, salt = sum(array.nbytes for array in sums), b"" if isinstance(opening, Opening) else opening.salt
        return Aggregate(decoded, self._receipt(opening, found), opening.blamed, nbytes, salt)

    def _receipt(self, opening: Opening | Decryption, result_hash: bytes) -> Receipt:
        receipt = Receipt(
            opening.session, opening.round_id, self._params.hash, opening.setup_hash, opening.members_hash, opening.context,
            result_hash, opening.participants, opening.uploads, opening.signatures,
        )  # fmt: skip
        if receipt.account != opening.account:
            raise InternalError("receipt does not match the round's account")
        object.__setattr__(receipt, "server_signature", self._identity.sign(receipt.statement))
        return receipt
