"""Bodies of the pairwise frames, and the digests that bind them together.

Clients are named by their rank in the sorted advertisements of the setup; repeated fields of fixed size travel as one byte
string, so that no length in a frame asks for an allocation that the frame's own size does not bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from secagg.hazmat.transcript import digest
from secagg.protocols.accounts import (
    account_digest,
    context_digest,
    members_digest,
    participants_digest,
    survivors_digest,
    upload_tag,
)
from secagg.protocols.secret import SecretStruct

__all__ = [
    "HASH_BYTES",
    "KEY_BYTES",
    "SEALED_OVERHEAD",
    "Advertisement",
    "Answer",
    "Dealing",
    "Delivery",
    "KeysRequest",
    "Kind",
    "MaskedHeader",
    "MaskedRequest",
    "SharesRequest",
    "Unmask",
    "UnmaskRequest",
    "account_digest",
    "answer_decoder",
    "context_digest",
    "decoders",
    "members_digest",
    "participants_digest",
    "setup_digest",
    "survivors_digest",
    "upload_tag",
]

HASH_BYTES = 32
KEY_BYTES = 32
SEALED_OVERHEAD = 12 + 16  # AES-GCM nonce and tag


class Kind(IntEnum):
    """Kind byte of each frame; 0 is a bulk chunk."""

    CHUNK = 0
    KEYS_REQUEST = 1
    ADVERTISEMENT = 2
    SHARES_REQUEST = 3
    DEALING = 4
    MASKED_REQUEST = 5
    MASKED_HEADER = 6
    UNMASK_REQUEST = 7
    UNMASK = 8


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of all bodies: an array of exactly its fields."""


class KeysRequest(_Body, frozen=True):
    """Server, broadcast: advertise keys for `rounds` rounds from `first_round` on."""

    first_round: int
    rounds: int
    params_hash: bytes
    roster_hash: bytes
    server_key: bytes


class Advertisement(_Body, frozen=True):
    """Client: its channel key and one mask key a round."""

    first_round: int
    rounds: int
    params_hash: bytes
    server_key: bytes
    channel_key: bytes
    mask_keys: bytes


class SharesRequest(_Body, frozen=True):
    """Server: all signed advertisements, sorted by client id."""

    first_round: int
    advertisements: list[bytes]


class Dealing(_Body, frozen=True):
    """Client: sealed shares for its neighbours, a commitment to each self-mask seed, one hash per holder."""

    first_round: int
    setup_hash: bytes
    commitments: bytes
    holder_hashes: bytes
    sealed: bytes


class Delivery(_Body, frozen=True):
    """What the others dealt to one client: part of a request until the client has shown that it has it."""

    members: list[int]
    holder_hashes: bytes
    sealed: bytes


class MaskedRequest(_Body, frozen=True):
    """Server: an update is asked of `participants`."""

    round_id: int
    setup_hash: bytes
    participants: list[int]
    delivery: Delivery | None


class MaskedHeader(_Body, frozen=True):
    """Client: the signed account of its upload, sent after the chunks; peers see it at unmask."""

    round_id: int
    params_hash: bytes
    setup_hash: bytes
    members_hash: bytes
    participants_hash: bytes
    context_hash: bytes
    tag: bytes
    complaints: list[int]


class UnmaskRequest(_Body, frozen=True):
    """Server: the participants, and the survivors by their signed headers, sorted by client id."""

    round_id: int
    setup_hash: bytes
    participants: list[int]
    headers: list[bytes]
    delivery: Delivery | None


class Unmask(_Body, frozen=True):
    """Client: its account of the round, separately signed for the receipt, and its answer sealed to the server."""

    round_id: int
    account: bytes
    account_signature: bytes
    sealed: bytes
    complaints: list[int]


class Answer(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One share per neighbour, survivors' seed shares and dropouts' key shares, each with its salt and hash path."""

    seed_shares: bytes
    key_shares: bytes
    seed_openings: bytes
    key_openings: bytes


decoders = {
    kind: msgspec.msgpack.Decoder(body)
    for kind, body in {
        Kind.KEYS_REQUEST: KeysRequest,
        Kind.ADVERTISEMENT: Advertisement,
        Kind.SHARES_REQUEST: SharesRequest,
        Kind.DEALING: Dealing,
        Kind.MASKED_REQUEST: MaskedRequest,
        Kind.MASKED_HEADER: MaskedHeader,
        Kind.UNMASK_REQUEST: UnmaskRequest,
        Kind.UNMASK: Unmask,
    }.items()
}

answer_decoder = msgspec.msgpack.Decoder(Answer)


def setup_digest(request_payload: bytes, session: bytes, advertisements: Iterable[bytes]) -> bytes:
    """Return setup_hash: the keys request and every signed advertisement frame, sorted by client id."""
    return digest("setup", session, request_payload, *advertisements)
