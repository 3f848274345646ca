"""What rounds came to: the aggregates of those that finished, each with its receipt, and why the others did not."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from secagg.aggregate import Aggregate, EncryptedAggregate, decode_sums
from secagg.errors import AbortError, InternalError, ThresholdError
from secagg.identity import Identity
from secagg.params import Params
from secagg.protocols.ckks import Decryption
from secagg.protocols.ckks.messages import result_commitment
from secagg.protocols.pairwise import Opening
from secagg.receipt import Receipt, result_digest

__all__ = ["Ended", "Outcomes"]

KEPT_RESULTS = 8
KEPT_BYTES = 1 << 30  # of older results; the last one is kept whatever its size

Result: TypeAlias = Aggregate | EncryptedAggregate


class Ended(NamedTuple):
    """Why a round has no result; with counts, too few took part."""

    reason: str
    counts: tuple[str, int, int] | None = None


class Outcomes:
    """The last results of one server, which signs their receipts.

    Parameters
    ----------
    params : Params
    identity : Identity
    """

    def __init__(self, params: Params, identity: Identity) -> None:
        self._params = params
        self._identity = identity
        self.kept: dict[int, Result | Ended] = {}

    def keep(self, round_id: int, made: Result | Ended) -> None:
        """Let this be what a round came to, and forget all but the last ones."""
        self.kept[round_id] = made
        room = KEPT_BYTES
        for count, old in enumerate(sorted(self.kept, reverse=True)):
            result = self.kept[old]
            if count and not isinstance(result, Ended):
                result.release()
                room -= result.nbytes
            if count >= KEPT_RESULTS or room < 0:
                del self.kept[old]

    def get(self, round_id: int) -> Result | None:
        """Return a round's result, None if there is none; AbortError if the round ended without."""
        made = self.kept.get(round_id)
        if isinstance(made, Ended):
            raise AbortError(made.reason) if made.counts is None else ThresholdError(*made.counts)
        return made

    def open(self, opening: Opening | Decryption, bulk: Any) -> Result:
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
