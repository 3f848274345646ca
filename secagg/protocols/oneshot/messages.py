"""Bodies of the oneshot frames, and the digests and keys that bind them together.

Clients are named by their rank in the roster, committee members by their place in the setup. Repeated fields of fixed size travel
as one byte string, so that no length in a frame asks for an allocation that the frame's own size does not bound.
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial
from typing import Any

import msgspec

from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest, u64
from secagg.protocols import signed
from secagg.wire import encode_body

__all__ = [
    "KEY_BYTES",
    "KeysRequest",
    "Kind",
    "MaskedHeader",
    "MaskedRequest",
    "MemberKey",
    "Reveal",
    "RevealRequest",
    "answer_key",
    "decoders",
    "make_chunk",
    "public_seed",
    "request_mark",
    "setup_digest",
    "share_key",
    "verify_chunk",
]

KEY_BYTES = 32


class Kind(IntEnum):
    """Kind byte of each frame; 0 is a bulk chunk."""

    CHUNK = 0
    KEYS_REQUEST = 32
    MEMBER_KEY = 33
    MASKED_REQUEST = 34
    MASKED_HEADER = 35
    REVEAL_REQUEST = 36
    REVEAL = 37


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of all bodies: an array of exactly its fields."""


class KeysRequest(_Body, frozen=True):
    """Server to each committee member: a key for `rounds` rounds from `first_round` on."""

    first_round: int
    rounds: int
    params_hash: bytes
    roster_hash: bytes
    server_key: bytes


class MemberKey(_Body, frozen=True):
    """Member: the X25519 key that shares of this batch are sealed to; it names the request that it answers."""

    first_round: int
    rounds: int
    params_hash: bytes
    roster_hash: bytes
    server_key: bytes
    channel_key: bytes


class MaskedRequest(_Body, frozen=True):
    """Server to client: an update is asked of `participants`; with all members' signed keys, until it has shown it has them."""

    round_id: int
    params_hash: bytes
    setup_hash: bytes
    participants: list[int]
    keys: list[bytes] | None


class MaskedHeader(_Body, frozen=True):
    """Client: the signed account of its upload, sent after the chunks; the committee sees it.

    `shares_root` is the root over its sealed shares, one for each member; `tag` covers all chunks, those shares among them.
    """

    round_id: int
    params_hash: bytes
    setup_hash: bytes
    participants_hash: bytes
    context_hash: bytes
    channel_key: bytes
    shares_root: bytes
    tag: bytes


class RevealRequest(_Body, frozen=True):
    """Server to one member: whose shares it is to add, by their signed headers in order of rank, and the shares sealed to it."""

    round_id: int
    params_hash: bytes
    setup_hash: bytes
    participants: list[int]
    headers: list[bytes]
    keys: list[bytes]
    sealed: bytes
    paths: bytes


class Reveal(_Body, frozen=True):
    """Member: its account of the round, separately signed for the receipt, and the sum of its shares sealed to the server.

    With complaints, the ranks of clients whose shares do not open, there is no sum.
    """

    round_id: int
    account: bytes
    account_signature: bytes
    sealed: bytes
    complaints: list[int]


decoders: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(body)
    for kind, body in {
        Kind.KEYS_REQUEST: KeysRequest,
        Kind.MEMBER_KEY: MemberKey,
        Kind.MASKED_REQUEST: MaskedRequest,
        Kind.MASKED_HEADER: MaskedHeader,
        Kind.REVEAL_REQUEST: RevealRequest,
        Kind.REVEAL: Reveal,
    }.items()
}

make_chunk = partial(signed.make_chunk, "oneshot-chunk")
verify_chunk = partial(signed.verify_chunk, "oneshot-chunk")


def setup_digest(session: bytes, frames: list[bytes]) -> bytes:
    """Return setup_hash: the session and every member's signed key, sorted by id."""
    return digest("oneshot-setup", session, *frames)


def request_mark(body: RevealRequest) -> bytes:
    """Return what an answer answers: the whole request."""
    return digest("oneshot-reveal", encode_body(body))


def public_seed(session: bytes, params_hash: bytes, roster_hash: bytes, round_id: int) -> bytes:
    """Return the 16 bytes that a round's public polynomials a_j are drawn from: a digest, at which nobody can aim."""
    return digest("oneshot-public", session, params_hash, roster_hash, u64(round_id))[:16]


def share_key(shared: bytes, session: bytes, setup_hash: bytes, round_id: int, client: str, member: str) -> bytes:
    """Return the 32-byte key that seals one client's share of one round to one member. Secret."""
    fields = (session, setup_hash, u64(round_id), client.encode(), member.encode())
    return hkdf(shared, "oneshot-share", *fields, length=32)


def answer_key(shared: bytes, session: bytes, setup_hash: bytes, round_id: int, member: str) -> bytes:
    """Return the 32-byte key that seals a member's answer to the server. Secret."""
    return hkdf(shared, "oneshot-answer", session, setup_hash, u64(round_id), member.encode(), length=32)
