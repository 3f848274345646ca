"""Bodies of the ckks frames, and the digests and keys that bind them together.

Clients are named by their rank in the roster. A bulk chunk carries its sender's signature, so that it is authenticated by itself,
in whatever order it comes and to whomever it is passed on.
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from secagg.errors import AuthenticationError, DecodeError
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest, u64
from secagg.protocols import signed
from secagg.protocols.signed import signer
from secagg.wire import HOLDER, Envelope, decode_body, decode_frame, open_envelope

if TYPE_CHECKING:
    from secagg.identity import Roster

__all__ = [
    "CHANNEL_BYTES",
    "DecryptRequest",
    "Decrypted",
    "EncryptedHeader",
    "EncryptedRequest",
    "KeyAnnouncement",
    "KeyRequest",
    "Kind",
    "decoders",
    "key_digest",
    "make_chunk",
    "pad_key",
    "read_key",
    "request_mark",
    "result_commitment",
    "result_key",
    "verify_chunk",
]

CHANNEL_BYTES = 32


class Kind(IntEnum):
    """Kind byte of each frame; 0 is a bulk chunk."""

    CHUNK = 0
    KEY_REQUEST = 16
    KEY_ANNOUNCEMENT = 17
    ENCRYPTED_REQUEST = 18
    ENCRYPTED_HEADER = 19
    DECRYPT_REQUEST = 20
    DECRYPTED = 21


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of all bodies: an array of exactly its fields."""


class KeyRequest(_Body, frozen=True):
    """Server to holder: a key for `rounds` rounds from `first_round` on."""

    first_round: int
    rounds: int
    params_hash: bytes
    roster_hash: bytes


class KeyAnnouncement(_Body, frozen=True):
    """Holder: its public key for a batch of rounds, and the X25519 key that pads are agreed with."""

    first_round: int
    rounds: int
    params_hash: bytes
    roster_hash: bytes
    channel_key: bytes
    public_key: bytes


class EncryptedRequest(_Body, frozen=True):
    """Server to client: an update is asked of `participants`, encrypted to the holder's key."""

    round_id: int
    params_hash: bytes
    key_hash: bytes
    participants: list[int]
    key: bytes | None


class EncryptedHeader(_Body, frozen=True):
    """Client: the signed account of its upload, sent after the chunks; the holder sees it."""

    round_id: int
    params_hash: bytes
    key_hash: bytes
    participants_hash: bytes
    context_hash: bytes
    channel_key: bytes
    tag: bytes


class DecryptRequest(_Body, frozen=True):
    """Server to holder: whose uploads are in the sum, by their signed headers in order of rank, and the sum's tag."""

    round_id: int
    params_hash: bytes
    key_hash: bytes
    participants: list[int]
    headers: list[bytes]
    sum_tag: bytes
    server_key: bytes


class Decrypted(_Body, frozen=True):
    """Holder: the account of the round and a commitment to its sum, both signed for the receipt, and what its chunks hold."""

    round_id: int
    account: bytes
    result_hash: bytes
    signature: bytes
    sealed_salt: bytes
    tag: bytes


decoders: dict[Kind, msgspec.msgpack.Decoder[msgspec.Struct]] = {
    kind: msgspec.msgpack.Decoder(body)
    for kind, body in {
        Kind.KEY_REQUEST: KeyRequest,
        Kind.KEY_ANNOUNCEMENT: KeyAnnouncement,
        Kind.ENCRYPTED_REQUEST: EncryptedRequest,
        Kind.ENCRYPTED_HEADER: EncryptedHeader,
        Kind.DECRYPT_REQUEST: DecryptRequest,
        Kind.DECRYPTED: Decrypted,
    }.items()
}


def key_digest(session: bytes, announcement: bytes) -> bytes:
    """Return key_hash: the session and the announcement's payload."""
    return digest("ckks-key", session, announcement)


def request_mark(account: bytes, body: DecryptRequest) -> bytes:
    """Return what a decryption answers: account, sum, whom its result is for, and the headers, whose keys decide the pads."""
    return digest("ckks-decrypt", account, body.sum_tag, body.server_key, *body.headers)


def result_commitment(salt: bytes, result: bytes) -> bytes:
    """Return what stands for an opened sum in public: a sum may be guessed, and its bare digest would confirm the guess."""
    return digest("ckks-result", salt, result)


def pad_key(shared: bytes, session: bytes, key_hash: bytes, round_id: int, client: str) -> bytes:
    """Return the 16-byte key of the pad that a client lays over its ciphertexts. Secret."""
    return hkdf(shared, "ckks-pad", session, key_hash, u64(round_id), client.encode(), length=16)


def result_key(shared: bytes, session: bytes, key_hash: bytes, mark: bytes) -> bytes:
    """Return the 32-byte key that seals a round's result to the server. Secret."""
    return hkdf(shared, "ckks-result", session, key_hash, mark, length=32)


make_chunk = partial(signed.make_chunk, "ckks-chunk")
verify_chunk = partial(signed.verify_chunk, "ckks-chunk")


def read_key(frame: bytes, session: bytes, roster: Roster, max_bytes: int) -> tuple[KeyAnnouncement, bytes]:
    """Return a holder's announcement and its key_hash, its signature checked.

    Raises
    ------
    PeerError
        It is none, of another session, or not signed by the roster's holder.
    """
    kind, outer = decode_frame(frame, max_bytes=max_bytes)
    if kind != Kind.KEY_ANNOUNCEMENT or not isinstance(outer, Envelope) or outer.sender != HOLDER:
        raise DecodeError("no key of the holder's", peer="server")
    if outer.session != session:
        raise AuthenticationError("a key of another session", peer="server")
    payload = open_envelope(kind, outer, signer(roster, HOLDER))
    body = decode_body(payload, decoders[Kind.KEY_ANNOUNCEMENT], HOLDER)
    if not isinstance(body, KeyAnnouncement) or len(body.channel_key) != CHANNEL_BYTES:
        raise DecodeError("a channel key has 32 bytes", peer=HOLDER)
    return body, key_digest(session, payload)
