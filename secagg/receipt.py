"""The signed account of a round, checkable offline by anybody who has the roster."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from secagg.errors import AuthenticationError, DecodeError
from secagg.hazmat import signing
from secagg.hazmat.transcript import digest, u64
from secagg.identity import check_id
from secagg.protocols.pairwise.messages import account_digest, participants_digest, survivors_digest

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["Receipt", "result_digest"]

FORMAT = "secagg receipt v1"
MAX_BYTES = 1 << 28


def result_digest(sums: Sequence[NDArray[np.unsignedinteger]]) -> bytes:
    """Return the digest of opened sums: segment after segment, each value as a little-endian word of its lane.

    Notes
    -----
    SHA-256 over the values, since it has to keep up with the summing; without a copy on little-endian machines.
    """
    inner = hashlib.sha256()
    for array in sums:
        inner.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).view(np.uint8).data)
    return digest("result", inner.digest())


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON form: byte strings in hex."""

    format: str
    session: str
    round_id: int
    params_hash: str
    setup_hash: str
    members_hash: str
    context_hash: str
    result_hash: str
    participants: list[str]
    uploads: dict[str, str]
    signatures: dict[str, str]
    server_signature: str


@dataclass(frozen=True)
class Receipt:
    """Who was asked, whose upload is in the sum, on which model, and the digest of the sums.

    Signed by the clients that answered at unmask, and by the server.

    Attributes
    ----------
    session : bytes
        16 bytes.
    round_id : int
    params_hash, setup_hash, members_hash, context_hash, result_hash : bytes
        32 bytes each.
    participants : tuple of str
        Sorted ids of those who were asked for an update.
    uploads : mapping of str to bytes
        Each survivor's id and the 32-byte tag of the upload that was counted, as its signed header has it.
    signatures : mapping of str to bytes
        Each answering client's signature on the account.
    server_signature : bytes
        The server's signature on account, result and the clients' signatures.

    Notes
    -----
    What it proves, and what it does not, is in docs/receipts.md. The result hash speaks for the server only: it alone sees
    the opened sums.
    """

    session: bytes
    round_id: int
    params_hash: bytes
    setup_hash: bytes
    members_hash: bytes
    context_hash: bytes
    result_hash: bytes
    participants: tuple[str, ...]
    uploads: Mapping[str, bytes]
    signatures: Mapping[str, bytes]
    server_signature: bytes = b""

    @property
    def survivors(self) -> tuple[str, ...]:
        """Sorted ids of those whose upload is in the sum."""
        return tuple(sorted(self.uploads, key=str.encode))

    @property
    def account(self) -> bytes:
        """Digest that the answering clients signed."""
        return account_digest(
            self.session, self.round_id, self.params_hash, self.setup_hash, self.members_hash,
            participants_digest(self.setup_hash, self.round_id, self.participants),
            survivors_digest(self.setup_hash, self.round_id, self.uploads), self.context_hash,
        )  # fmt: skip

    @property
    def statement(self) -> bytes:
        """Digest that the server signs."""
        names = [
            part for name in sorted(self.signatures, key=str.encode) for part in (name.encode(), self.signatures[name])
        ]
        return digest("receipt", u64(self.round_id), self.account, self.result_hash, *names)

    def verify(self, roster: Roster, params: Params | None = None, *, threshold: int = 1) -> None:
        """Check every signature, and that enough clients signed.

        Parameters
        ----------
        roster : Roster
        params : Params, optional
            What the session was meant to run under: the receipt must name its hash, keep its bounds on participants and
            survivors, and carry as many signatures as it demands answers (its `threshold`; on a sparse graph its `min_clients`).
        threshold : int
            Fewest signatures where `params` does not say more.

        Raises
        ------
        AuthenticationError
            A signature does not hold, a name is unknown or out of place, too few signed, or `params` are not the ones signed.
        """
        if params is not None:
            self._check_params(params)
            threshold = max(threshold, params.threshold if params.full else params.min_clients)
        if len(self.signatures) < threshold:
            raise AuthenticationError(f"{len(self.signatures)} clients signed this receipt; {threshold} are needed")
        if list(self.participants) != sorted(set(self.participants), key=str.encode):
            raise AuthenticationError("the receipt's participants are unsorted or repeated")
        if not set(self.uploads) <= set(self.participants):
            raise AuthenticationError("the receipt counts somebody who was not asked for an update")
        for name in (*self.participants, *self.signatures):
            if name not in roster:
                raise AuthenticationError("the receipt names somebody outside the roster", peer=name)
        account = self.account
        for name, signature in self.signatures.items():
            if name in self.participants and name not in self.uploads:
                raise AuthenticationError("a dropout signed this receipt: it cannot have", peer=name)
            signing.verify(roster.key(name), account, signature)
        signing.verify(roster.server, self.statement, self.server_signature)

    def _check_params(self, params: Params) -> None:
        if self.params_hash != params.hash:
            raise AuthenticationError("the receipt was signed under other Params")
        if not params.min_clients <= len(self.uploads) <= len(self.participants) <= params.max_participants:
            raise AuthenticationError("the receipt's numbers of participants and survivors are outside Params")

    def to_json(self) -> str:
        """Return the receipt as a JSON object, byte strings in hex."""
        file = _File(
            FORMAT, self.session.hex(), self.round_id, self.params_hash.hex(), self.setup_hash.hex(), self.members_hash.hex(),
            self.context_hash.hex(), self.result_hash.hex(), list(self.participants),
            {name: self.uploads[name].hex() for name in self.survivors},
            {name: self.signatures[name].hex() for name in sorted(self.signatures, key=str.encode)},
            self.server_signature.hex(),
        )  # fmt: skip
        return msgspec.json.format(msgspec.json.encode(file), indent=1).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """Return the receipt in a JSON object; nothing is verified yet.

        Raises
        ------
        DecodeError
            Not such an object: malformed, a field too many or too few, or of another length.
        """
        if len(text) > MAX_BYTES:
            raise DecodeError(f"a receipt of more than {MAX_BYTES} bytes")
        try:
            file = msgspec.json.decode(text, type=_File)
            read = cls(
                bytes.fromhex(file.session), file.round_id, bytes.fromhex(file.params_hash), bytes.fromhex(file.setup_hash),
                bytes.fromhex(file.members_hash), bytes.fromhex(file.context_hash), bytes.fromhex(file.result_hash),
                tuple(file.participants), {name: bytes.fromhex(tag) for name, tag in file.uploads.items()},
                {name: bytes.fromhex(made) for name, made in file.signatures.items()}, bytes.fromhex(file.server_signature),
            )  # fmt: skip
            for name in (*read.participants, *read.uploads, *read.signatures):
                check_id(name)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise DecodeError("not a secagg receipt") from None
        hashes = (read.params_hash, read.setup_hash, read.members_hash, read.context_hash, read.result_hash)
        lengths = (
            file.format == FORMAT and len(read.session) == 16 and 0 <= read.round_id < 1 << 63
            and all(len(value) == 32 for value in (*hashes, *read.uploads.values()))
            and all(len(value) == 64 for value in (*read.signatures.values(), read.server_signature))
        )  # fmt: skip
        if not lengths:
            raise DecodeError("not a secagg receipt of this version")
        return read
