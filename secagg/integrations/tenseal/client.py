"""A client of TenSEAL sums: it signs what it encrypts, and opens only what the server signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import (
    AuthenticationError,
    DecodeError,
    EquivocationError,
    InputError,
    ParameterError,
    StateError,
    ThresholdError,
)
from secagg.frameless import frameless
from secagg.hazmat.transcript import DIGEST_BYTES
from secagg.identity import Identity, Roster
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
from secagg.integrations.tenseal.shared import SharedContext
from secagg.wire import SERVER

__all__ = ["SumClient", "SumResult"]


@dataclass(frozen=True, repr=False)
class SumResult:
    """A decrypted sum.

    Parameters
    ----------
    round_id : int
    sum : ndarray of float64
        Exact sum of the rounded updates, multiples of ``params.step``.
    contributors : tuple of str
        Whose updates are in it.
    """

    round_id: int
    sum: npt.NDArray[np.float64]
    contributors: tuple[str, ...]

    def __repr__(self) -> str:
        return f"SumResult(round_id={self.round_id}, contributors={len(self.contributors)})"

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """The sum over the number of contributors."""
        return self.sum / len(self.contributors)


class SumClient:
    """One client of one session.

    Parameters
    ----------
    shared : SharedContext
        Its TenSEAL context, with the key that all clients share.
    params : SumParams
    me : str
        Its id on the roster.
    identity : Identity
    roster : Roster
    session : bytes
        16-byte session id, the same for everybody.

    Raises
    ------
    ParameterError
        Identity, roster, session or context do not belong together.

    Notes
    -----
    What it remembers, the last upload and the last sum, is in memory only: after a restart a round can be decrypted a second
    time. Not for several threads at once.
    """

    def __init__(
        self, shared: SharedContext, params: SumParams, *, me: str, identity: Identity, roster: Roster, session: bytes
    ) -> None:
        if shared.public() != params.context:
            raise ParameterError("params are for another TenSEAL context or key")
        if me not in roster or roster.key(me) != identity.verify_key:
            raise ParameterError(f"identity is not the roster's key of {me!r}")
        if len(session) != 16:
            raise ParameterError("a session id has 16 bytes")
        self._shared, self._params, self._me = shared, params, me
        self._identity, self._roster, self._session = identity, roster, session
        self._limits = Limits.of(params)
        self._sent: tuple[int, bytes, bytes] | None = None
        self._opened: tuple[int, bytes] | None = None

    def __repr__(self) -> str:
        return f"SumClient(me={self._me!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a SumClient holds secrets and cannot be pickled or copied")

    @frameless
    def encrypt(self, update: npt.ArrayLike, round_id: int, context: bytes = b"") -> bytes:
        """Return the signed upload of an update.

        Parameters
        ----------
        update : array_like of float, shape (params.length,)
            Secret; rounded to multiples of ``params.step``.
        round_id : int
            Greater than that of the last upload: one update a round.
        context : bytes
            What names the model the update was made from, such as its hash; the server refuses another than its own.

        Raises
        ------
        InputError
            The update is refused (see `SharedContext.encrypt`), or `round_id` is no round.
        StateError
            An update was encrypted for that round or a later one.
        """
        if not isinstance(round_id, int) or not 0 <= round_id < 1 << 63:
            raise InputError("a round id is an integer from 0 to 2**63 - 1")
        if self._sent is not None and round_id <= self._sent[0]:
            raise StateError(f"an update was already encrypted for round {self._sent[0]}; send the same bytes again")
        vectors = self._shared.encrypt(update, self._params)
        model = model_digest(context)
        header = UploadHeader(
            round_id=round_id,
            params_hash=self._params.hash(),
            context_hash=self._params.context.hash(),
            model=model,
            sizes=[len(vector) for vector in vectors],
            sha256=sha256_of(vectors),
        )
        written = seal(UPLOAD, self._session, self._me, header, vectors, self._identity.sign)
        self._sent = (round_id, written.digest, model)
        return written.message

    @frameless
    def decrypt(self, message: bytes, round_id: int) -> SumResult:
        """Return the sum of a round, once it is shown to be what the server signed for it.

        Parameters
        ----------
        message : bytes
            What `SumServer.close_round` gave.
        round_id : int

        Raises
        ------
        PeerError
            Not the server's, of another round, session, context or model, malformed, or without this client's own upload
            though it names it; TenSEAL has not seen it.
        EquivocationError
            The server gave another sum for this round before.
        ThresholdError
            Fewer than ``min_clients`` are in it.
        AbortError
            It decrypts to something that is no sum of updates.
        StateError
            A later round was decrypted already.
        """
        if self._opened is not None and round_id < self._opened[0]:
            raise StateError(f"round {self._opened[0]} was decrypted already")
        unopened = unseal(message, SUM, self._session, self._limits)
        if unopened.envelope.sender != SERVER:
            raise AuthenticationError("a sum that is not the server's", peer=unopened.envelope.sender)
        header, digest = unopened.open(self._roster.server)
        if not isinstance(header, SumHeader):
            raise DecodeError("not a sum", peer="server")
        require_terms(header, self._params, round_id, "server")
        self._check_contributors(header)
        if self._opened is not None and self._opened[0] == round_id and self._opened[1] != digest:
            raise EquivocationError("two different sums for one round", peer="server")
        vectors = cut(unopened.body, header.sizes, self._limits, "server")
        # Before decryption: whatever comes of it, no other ciphertext is decrypted for this round.
        self._opened = (round_id, digest)
        return SumResult(round_id, self._shared.decrypt(vectors, self._params), tuple(header.contributors))

    def _check_contributors(self, header: SumHeader) -> None:
        names = header.contributors
        if sorted(set(names), key=str.encode) != names or not all(name in self._roster for name in names):
            raise DecodeError("contributors are unknown, repeated or out of order", peer="server")
        if len(header.uploads) != DIGEST_BYTES * len(names) or len(names) > self._params.clients:
            raise DecodeError("contributors and uploads do not match", peer="server")
        if len(names) < self._params.min_clients:
            raise ThresholdError("contributors", self._params.min_clients, len(names))
        if self._sent is None or self._sent[0] != header.round_id:
            return
        _, mine, model = self._sent
        if header.model != model:
            raise AuthenticationError("a sum of updates from another model", peer="server")
        if self._me in names:
            at = names.index(self._me) * DIGEST_BYTES
            if header.uploads[at : at + DIGEST_BYTES] != mine:
                raise AuthenticationError("the sum names an upload that this client did not send", peer="server")
