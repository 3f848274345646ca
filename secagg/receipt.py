"""The signed account of a round, checkable offline by anybody who has the roster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from secagg.errors import AuthenticationError, DecodeError, InputError, ParameterError
from secagg.files import RECEIPT, Tagged, decode_object, encode_object, read_bounded, unhex, write_new
from secagg.hazmat import signing
from secagg.hazmat.transcript import digest, u64
from secagg.identity import check_id
from secagg.protocols.accounts import account_digest, holder_statement, participants_digest, survivors_digest
from secagg.protocols.oneshot import committee
from secagg.wire import HOLDER

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params
    from secagg.store import Sent

__all__ = ["Receipt", "result_digest"]

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


def _check_signature(key: bytes, message: bytes, signature: bytes, signer: str) -> None:
    try:
        signing.verify(key, message, signature)
    except AuthenticationError:
        raise AuthenticationError("signature on the receipt does not hold", peer=signer) from None


class _File(Tagged, frozen=True):
    """The JSON form: byte strings in hex."""

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

    Signed by the clients that answered at unmask, by the key holder that decrypted the sum or by the committee members that
    answered for it, and by the server.

    Attributes
    ----------
    session : bytes
        16 bytes.
    round_id : int
    params_hash, setup_hash, members_hash, context_hash, result_hash : bytes
        32 bytes each. In ckks the setup is the holder's key, the members are the roster, and the result's is a commitment, with
        the salt that is `Aggregate.salt`. In oneshot the setup is the committee's keys, and the members are those who sent one.
    participants : tuple of str
        Sorted ids of those who were asked for an update.
    uploads : mapping of str to bytes
        Each survivor's id and the 32-byte tag of the upload that was counted, as its signed header has it.
    signatures : mapping of str to bytes
        Each answering client's signature on the account; in ckks the key holder's alone, on account and result, under
        ``"(key holder)"``.
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
            survivors, and carry its `threshold` of signatures.
        threshold : int
            Fewest signatures where `params` does not say more.

        Raises
        ------
        AuthenticationError
            A signature does not hold, a name is unknown or out of place, too few signed, or `params` are not the ones signed.
        """
        if params is not None:
            self._check_params(params)
            threshold = max(threshold, params.threshold)
        if len(self.signatures) < threshold:
            raise AuthenticationError(f"{len(self.signatures)} clients signed this receipt; {threshold} are needed")
        if list(self.participants) != sorted(set(self.participants), key=str.encode):
            raise AuthenticationError("the receipt's participants are unsorted or repeated")
        if not set(self.uploads) <= set(self.participants):
            raise AuthenticationError("the receipt counts somebody who was not asked for an update")
        self._check_signers(roster, params)
        account = self.account
        for name, signature in self.signatures.items():
            dropped = name in self.participants and name not in self.uploads
            if dropped and (params is None or params.protocol != "oneshot"):
                raise AuthenticationError(
                    "a dropout signed this receipt: it cannot have (but in oneshot, which params= would show)",
                    peer=name,
                )
            if name == HOLDER:
                _check_signature(roster.holder or b"", holder_statement(account, self.result_hash), signature, name)
            else:
                _check_signature(roster.key(name), account, signature, name)
        _check_signature(roster.server, self.statement, self.server_signature, "server")

    def _check_signers(self, roster: Roster, params: Params | None) -> None:
        """Refuse names outside the roster; a key holder signs alone, and only where there is one."""
        held = HOLDER in self.signatures
        if held and (roster.holder is None or len(self.signatures) > 1):
            raise AuthenticationError("a key holder signed a receipt that is not of its protocol", peer=HOLDER)
        if params is not None and held != (params.protocol == "ckks"):
            raise AuthenticationError("the receipt's signers are not those of its protocol")
        if params is not None and params.protocol == "oneshot":
            crew = committee(roster, self.session, params.committee)
            for name in self.signatures:
                if name not in crew:
                    raise AuthenticationError("somebody outside the committee signed this receipt", peer=name)
        for name in (*self.participants, *(() if held else self.signatures)):
            if name not in roster:
                raise AuthenticationError("the receipt names somebody outside the roster", peer=name)

    def _check_params(self, params: Params) -> None:
        if self.params_hash != params.hash:
            raise AuthenticationError("the receipt was signed under other Params")
        if not params.min_clients <= len(self.uploads) <= len(self.participants) <= params.max_participants:
            raise AuthenticationError("the receipt's numbers of participants and survivors are outside Params")

    def verify_sent(self, sent: Sent, roster: Roster) -> None:
        """Check that what this receipt says of one client is what that client's ledger says; after `verify`.

        Parameters
        ----------
        sent : Sent
            From `secagg.store.read_sent`, for this receipt's session and round.
        roster : Roster

        Raises
        ------
        AuthenticationError
            The receipt counts an upload that the ledger does not know, or that was made for another setup, model or set of
            participants; or it leaves out an upload whose client answered, as only a counted one does; or it carries a signature
            that the ledger does not know; or the ledger's answer was to another account.
        InputError
            The ledger is of nobody on this roster, or was read for another round.
        """
        if sent.me not in roster or roster.key(sent.me) != sent.verify_key:
            raise InputError(f"the ledger is of {sent.me!r} with a key that is not on this roster")
        if (sent.session, sent.round_id) != (self.session, self.round_id):
            raise InputError("the ledger was read for another round than the receipt's")
        if sent.me in self.signatures and not sent.answered:
            raise AuthenticationError("the receipt carries a signature that the ledger does not know", peer=sent.me)
        if sent.account not in (None, self.account):
            raise AuthenticationError("the ledger's answer was to another account of this round", peer=sent.me)
        tag, header = self.uploads.get(sent.me), sent.header
        if tag is None:
            # A committee member of oneshot answers whether or not its own update counts.
            if header is not None and sent.answered and not hasattr(header, "shares_root"):
                reason = "the receipt leaves out an upload whose client answered: the server told it otherwise"
                raise AuthenticationError(reason, peer=sent.me)
            return
        if header is None:
            raise AuthenticationError("the receipt counts an upload that the ledger does not know", peer=sent.me)
        if header.tag != tag:
            raise AuthenticationError("the receipt counts another upload than the ledger's", peer=sent.me)
        participants = participants_digest(self.setup_hash, self.round_id, self.participants)
        for what, told, signed in (
            ("under other Params", self.params_hash, header.params_hash),
            (
                "in another setup",
                self.setup_hash,
                getattr(header, "setup_hash", None) or getattr(header, "key_hash", b""),
            ),
            ("among other members", self.members_hash, getattr(header, "members_hash", self.members_hash)),
            ("among other participants", participants, header.participants_hash),
            ("for another model context", self.context_hash, header.context_hash),
        ):
            if told != signed:
                raise AuthenticationError(f"the receipt counts an upload that was made {what}", peer=sent.me)

    def to_json(self) -> str:
        """Return the receipt as a JSON object, byte strings in hex."""
        file = _File(
            RECEIPT, self.session.hex(), self.round_id, self.params_hash.hex(), self.setup_hash.hex(), self.members_hash.hex(),
            self.context_hash.hex(), self.result_hash.hex(), list(self.participants),
            {name: self.uploads[name].hex() for name in self.survivors},
            {name: self.signatures[name].hex() for name in sorted(self.signatures, key=str.encode)},
            self.server_signature.hex(),
        )  # fmt: skip
        return encode_object(file).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """Return the receipt in a JSON object; nothing is verified yet.

        Raises
        ------
        DecodeError
            Not such an object: malformed, a key twice, a field too many or too few, or of another length.
        """
        if len(text) > MAX_BYTES:
            raise DecodeError(f"a receipt of more than {MAX_BYTES} bytes")
        try:
            file = decode_object(text, _File, RECEIPT)
            for name in (*file.participants, *file.uploads, *(name for name in file.signatures if name != HOLDER)):
                check_id(name)
            read = cls(
                unhex(file.session, 16, "session"), file.round_id,
                unhex(file.params_hash, 32, "params_hash"), unhex(file.setup_hash, 32, "setup_hash"),
                unhex(file.members_hash, 32, "members_hash"), unhex(file.context_hash, 32, "context_hash"),
                unhex(file.result_hash, 32, "result_hash"), tuple(file.participants),
                {name: unhex(tag, 32, f"the tag of {name!r}") for name, tag in file.uploads.items()},
                {name: unhex(made, 64, f"the signature of {name!r}") for name, made in file.signatures.items()},
                unhex(file.server_signature, 64, "server_signature"),
            )  # fmt: skip
        except (InputError, ParameterError) as refused:
            raise DecodeError(str(refused)) from None
        if not 0 <= read.round_id < 1 << 63:
            raise DecodeError("a receipt of no possible round")
        return read

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON form to a new file, and flush it to disk.

        Raises
        ------
        InputError
            The file exists: a receipt is never overwritten.
        OSError
            The file cannot be written; no part of it is left.
        """
        write_new(path, self.to_json().encode(), mode=0o644)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Receipt:
        """Return the receipt in a file; nothing is verified yet.

        Raises
        ------
        InputError, DecodeError
            The file holds no receipt; see `from_json`.
        OSError
            The file cannot be read.
        """
        content = read_bounded(path, MAX_BYTES)
        try:
            return cls.from_json(content)
        except DecodeError as refused:
            raise DecodeError(f"{os.fspath(path)}: {refused.reason}") from None
