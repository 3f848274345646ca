"""The signed account of a round, checkable offline by anybody who has the roster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError
from secagg.hazmat import signing
from secagg.hazmat.transcript import digest, u64
from secagg.protocols.pairwise.messages import account_digest, participants_digest, survivors_digest

if TYPE_CHECKING:
    from secagg.identity import Roster

__all__ = ["Receipt"]


@dataclass(frozen=True)
class Receipt:
    """Who was asked, who is in the sum, on which model, and the digest of the sums.

    Signed by the clients that answered at unmask, and by the server.

    Attributes
    ----------
    session : bytes
    round_id : int
    setup_hash, members_hash, context_hash, result_hash : bytes
        32 bytes each.
    participants, survivors : tuple of str
        Sorted client ids.
    signatures : mapping of str to bytes
        Each answering client's signature on the account.
    server_signature : bytes
        The server's signature on account and result.
    """

    session: bytes
    round_id: int
    setup_hash: bytes
    members_hash: bytes
    context_hash: bytes
    result_hash: bytes
    participants: tuple[str, ...]
    survivors: tuple[str, ...]
    signatures: Mapping[str, bytes]
    server_signature: bytes = b""

    @property
    def account(self) -> bytes:
        """Digest that the answering clients signed."""
        return account_digest(
            self.session, self.round_id, self.setup_hash, self.members_hash,
            participants_digest(self.setup_hash, self.round_id, self.participants),
            survivors_digest(self.setup_hash, self.round_id, self.survivors), self.context_hash,
        )  # fmt: skip

    @property
    def statement(self) -> bytes:
        """Digest that the server signs."""
        names = [
            part for name in sorted(self.signatures, key=str.encode) for part in (name.encode(), self.signatures[name])
        ]
        return digest("receipt", u64(self.round_id), self.account, self.result_hash, *names)

    def verify(self, roster: Roster, *, threshold: int = 1) -> None:
        """Check every signature and that at least `threshold` clients signed.

        Raises
        ------
        AuthenticationError
            A signature does not hold, a signer is unknown, or too few signed.
        """
        if len(self.signatures) < threshold:
            raise AuthenticationError(f"{len(self.signatures)} clients signed this receipt; {threshold} are needed")
        for name, signature in self.signatures.items():
            if name not in roster:
                raise AuthenticationError("a signer of this receipt is not in the roster", peer=name)
            signing.verify(roster.key(name), self.account, signature)
        signing.verify(roster.server, self.statement, self.server_signature)
