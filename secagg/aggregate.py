"""What comes out of a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from secagg.encoding import Decoded
from secagg.errors import AbortError
from secagg.receipt import Receipt

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["Aggregate", "EncryptedAggregate", "decode_sums"]


def decode_sums(params: Params, sums: Sequence[NDArray[np.unsignedinteger]], uploads: int) -> Decoded:
    """Return what opened sums say, having refused what honest clients cannot have caused.

    Parameters
    ----------
    params : Params
    sums : sequence of ndarray
        One lane array a segment. Kept.
    uploads : int
        How many are in the sum.

    Raises
    ------
    AbortError
        A client garbled its upload, or there is no mean; the message says which, and never a value of the sum.
    """
    plan = params.segment_plan
    decoded = plan.decode(sums)
    if decoded.lanes != uploads:
        raise AbortError("check lane does not hold: a client garbled its upload or its shares; nothing was released")
    if decoded.weight > params.max_weight * uploads:
        raise AbortError(
            "the sum of weights is out of range: a client sent a weight over max_weight; nothing was released"
        )
    if decoded.clipped > sum(segment.count for segment in plan.segments[1:]) * uploads:
        raise AbortError(
            "the count of clipped values is out of range: a client garbled its upload; nothing was released"
        )
    if decoded.weight == 0:
        raise AbortError("the contributors' weights sum to 0: there is no mean")
    if decoded.out_of_range:
        raise AbortError(
            f"{decoded.out_of_range} sums are out of range: a client garbled its upload; nothing was released"
        )
    return decoded


class EncryptedAggregate:
    """What a server has of a round whose sum only the key holder sees.

    Attributes
    ----------
    ciphertext : bytes
        The sum's chunks, joined; under ``threat="malicious"`` the clients' pads lie over it.
    receipt : Receipt
    blamed : mapping of str to str
        Empty.
    """

    def __init__(self, ciphertext: bytes, receipt: Receipt) -> None:
        self.ciphertext = ciphertext
        self.receipt = receipt
        self.blamed: Mapping[str, str] = {}
        self.nbytes = len(ciphertext)

    def __repr__(self) -> str:
        return f"EncryptedAggregate(contributors={self.contributors!r}, {self.nbytes} bytes)"

    def release(self) -> None:
        """Return; there is nothing that could be made anew."""

    @property
    def contributors(self) -> tuple[str, ...]:
        """Sorted ids of the clients whose update is in the sum."""
        return self.receipt.survivors


class Aggregate:
    """The opened sum of one round. Vectors are decoded when they are first asked for, and kept.

    Attributes
    ----------
    receipt : Receipt
    blamed : mapping of str to str
        Whom the round speaks against, and why. In pairwise their shares were provably wrong. In oneshot either they lied
        or somebody did who made them look so.
    nbytes : int
        Memory of the opened sums, before anything is decoded.
    salt : bytes
        In ckks, 32 bytes that open the receipt's commitment to the sum; to be shown only to those who may see the sum.
    """

    def __init__(
        self, decoded: Decoded, receipt: Receipt, blamed: Mapping[str, str], nbytes: int, salt: bytes = b""
    ) -> None:
        self._decoded = decoded
        self.receipt = receipt
        self.blamed = blamed
        self.nbytes = nbytes
        self.salt = salt

    def release(self) -> None:
        """Forget what was decoded; it is decoded anew when asked for."""
        self._decoded.release()

    def __repr__(self) -> str:
        return (
            f"Aggregate(weight={self.weight}, contributors={self.contributors!r}, clipped={self.clipped}, "
            f"blamed={dict(self.blamed)!r})"
        )

    @property
    def mean(self) -> Any:
        """Weighted mean of the contributors' updates, in the layout's structure, shapes and dtypes (a flat update: float64)."""
        return self._decoded.mean

    @property
    def sum(self) -> Any:
        """Sum of weight times update, in the same structure."""
        return self._decoded.sum

    @property
    def integer_sum(self) -> NDArray[np.uint64]:
        """The sum of the encoded integers in layout order, equal bit for bit to their plaintext sum; uint64, shape (length,)."""
        return self._decoded.integer_sum

    @property
    def weight(self) -> int:
        """Sum of the contributors' weights."""
        return self._decoded.weight

    @property
    def metrics(self) -> Mapping[str, float]:
        """Weighted means of the metrics."""
        return self._decoded.metrics

    @property
    def contributors(self) -> tuple[str, ...]:
        """Sorted ids of the clients whose update is in the sum."""
        return self.receipt.survivors

    @property
    def clipped(self) -> int:
        """Values that were clipped before encoding, over all contributors."""
        return self._decoded.clipped
