"""The server of TenSEAL sums: it adds what is signed and well formed, and has no key. Nothing here needs TenSEAL."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from secagg.errors import (
    AbortError,
    AuthenticationError,
    DecodeError,
    EquivocationError,
    InputError,
    ParameterError,
    StateError,
    ThresholdError,
)
from secagg.identity import Identity, Roster
from secagg.integrations.tenseal.ciphertexts import CiphertextSum
from secagg.integrations.tenseal.messages import (
    SUM,
    UPLOAD,
    Limits,
    SumHeader,
    UploadHeader,
    cut,
    model_digest,
    require_terms,
    seal,
    sha256_of,
    unseal,
)
from secagg.integrations.tenseal.params import SumParams
from secagg.integrations.tenseal.seal_format import Compression
from secagg.wire import SERVER

__all__ = ["SumServer"]


@dataclass
class _Round:
    """An open round: the sums of each vector, and whose uploads are in them."""

    round_id: int
    model: bytes
    sums: list[CiphertextSum]
    uploads: dict[str, bytes] = field(default_factory=dict)
    whole: bool = True  # whether every sum holds these uploads and no other


class SumServer:
    """The server of one session.

    Parameters
    ----------
    params : SumParams
    identity : Identity
        Its signing key, which must be the roster's server key.
    roster : Roster
        The clients; no more than ``params.clients``.
    session : bytes, optional
        16-byte session id; drawn from the operating system otherwise.

    Raises
    ------
    ParameterError
        Identity, roster or session do not fit.

    Notes
    -----
    Holds the residues of one sum, 16 bytes for each prime and value, and the upload it is reading. Deadlines are the
    caller's. Not for several threads at once.

    Examples
    --------
    >>> server.open_round(1, context=model_hash)
    >>> for sender, upload in inbox():
    ...     server.receive(upload, sender=sender)
    >>> carrier.broadcast(server.close_round())
    """

    def __init__(self, params: SumParams, *, identity: Identity, roster: Roster, session: bytes | None = None) -> None:
        if identity.verify_key != roster.server:
            raise ParameterError("identity is not the roster's server key")
        if not params.min_clients <= len(roster.ids) <= params.clients:
            raise ParameterError("the roster must have from min_clients to clients ids")
        if session is not None and len(session) != 16:
            raise ParameterError("a session id has 16 bytes")
        self._params, self._identity, self._roster = params, identity, roster
        self._session = os.urandom(16) if session is None else session
        self._limits = Limits.of(params)
        self._round: _Round | None = None
        self._last = -1

    def __repr__(self) -> str:
        return f"SumServer(round_id={self.round_id})"

    def __reduce__(self) -> Any:
        raise TypeError("a SumServer holds a signing key and cannot be pickled or copied")

    @property
    def session(self) -> bytes:
        """The 16-byte session id."""
        return self._session

    @property
    def round_id(self) -> int | None:
        """The open round, None between rounds."""
        return None if self._round is None else self._round.round_id

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of the clients whose uploads are not in the open round."""
        here = {} if self._round is None else self._round.uploads
        return () if self._round is None else tuple(name for name in self._roster.ids if name not in here)

    def open_round(self, round_id: int, context: bytes = b"") -> None:
        """Begin a round; from now on uploads for it are added.

        Parameters
        ----------
        round_id : int
            Greater than every id used before, rounds without a result included.
        context : bytes
            What names the model that updates must have been made from.

        Raises
        ------
        InputError
            The id does not increase.
        StateError
            A round is open.
        """
        if self._round is not None:
            raise StateError(f"round {self.round_id} is open")
        if not isinstance(round_id, int) or not self._last < round_id < 1 << 63:
            raise InputError(f"round ids increase: the last was {self._last}")
        sums = [CiphertextSum(self._params.context, length) for length in self._params.vector_lengths]
        self._round = _Round(round_id, model_digest(context), sums)
        self._last = round_id

    def receive(self, upload: bytes | bytearray | memoryview, sender: str | None = None) -> str:
        """Add one client's upload and return its authenticated sender; the same bytes again change nothing.

        Parameters
        ----------
        upload : bytes-like
            What `SumClient.encrypt` returned.
        sender : str, optional
            Who the carrier says it is; must match.

        Raises
        ------
        AuthenticationError
            Not from this client, not what it signed, or under another context or key; the ciphertexts were not read.
        EquivocationError
            Another upload of this client is in the sum already.
        DecodeError
            Of another round, session, terms or model, or ciphertexts that are malformed; nothing of it was kept.
        AbortError
            The machine failed while an earlier upload was added; the round is lost.
        """
        unopened = unseal(upload, UPLOAD, self._session, self._limits)
        peer = unopened.envelope.sender
        if peer not in self._roster:
            raise AuthenticationError("a sender who is not on the roster", peer=peer)
        if sender is not None and sender != peer:
            raise AuthenticationError(f"signed as {peer!r}, but the carrier says otherwise", peer=sender)
        header, digest = unopened.open(self._roster.key(peer))
        if not isinstance(header, UploadHeader):
            raise DecodeError("not an upload", peer=peer)
        if self._round is None:
            raise DecodeError("no round is open: too late, or too early", peer=peer)
        require_terms(header, self._params, self._round.round_id, peer)
        if header.model != self._round.model:
            raise DecodeError("an update from another model than this round's", peer=peer)
        known = self._round.uploads.get(peer)
        if known is not None:
            if known != digest:
                raise EquivocationError("two different uploads in one round", peer=peer)
            return peer
        self._add(self._round, cut(unopened.body, header.sizes, self._limits, peer), peer)
        self._round.uploads[peer] = digest
        return peer

    @staticmethod
    def _add(current: _Round, vectors: list[memoryview], peer: str) -> None:
        if not current.whole:
            raise AbortError("an upload was added in part when the machine failed; close the round and open another")
        current.whole = False
        added: list[tuple[CiphertextSum, memoryview]] = []
        try:
            for total, vector in zip(current.sums, vectors, strict=True):
                total.add(vector)
                added.append((total, vector))
        except DecodeError as refused:
            for total, vector in added:
                total.undo(vector)
            current.whole = True
            raise DecodeError(refused.reason, peer=peer) from None
        current.whole = True

    def close_round(self, *, compression: Compression = "none") -> bytes:
        """End the round and return its sum, signed, for those who have the key.

        Parameters
        ----------
        compression : str
            As in `CiphertextSum.to_bytes`.

        Raises
        ------
        ThresholdError
            Fewer uploads than ``min_clients``; no sum is given out, and the round is over.
        AbortError
            The sum hides nothing (see `CiphertextSum.to_bytes`), or an upload was added in part when the machine failed; no sum
            is given out, and the round is over.
        StateError
            No round is open.
        """
        current = self._round
        if current is None:
            raise StateError("no round is open")
        self._round = None
        if not current.whole:
            raise AbortError("an upload was added in part when the machine failed; no sum is given out")
        if len(current.uploads) < self._params.min_clients:
            raise ThresholdError("uploads", self._params.min_clients, len(current.uploads))
        vectors = [total.to_bytes(compression=compression) for total in current.sums]
        names = [name for name in self._roster.ids if name in current.uploads]
        header = SumHeader(
            round_id=current.round_id,
            params_hash=self._params.hash(),
            context_hash=self._params.context.hash(),
            model=current.model,
            sizes=[len(vector) for vector in vectors],
            sha256=sha256_of(vectors),
            contributors=names,
            uploads=b"".join(current.uploads[name] for name in names),
        )
        return seal(SUM, self._session, SERVER, header, vectors, self._identity.sign).message
