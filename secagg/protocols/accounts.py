"""Digests by which the parties of a round name what they agreed on; the same for every protocol.

`setup_hash` stands for what a batch of rounds rests on: the keys of a pairwise setup, the holder's key in ckks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from secagg.hazmat.transcript import digest, u64

__all__ = [
    "account_digest",
    "context_digest",
    "holder_statement",
    "members_digest",
    "participants_digest",
    "survivors_digest",
    "upload_tag",
]


def _ids(ids: Iterable[str]) -> list[bytes]:
    return [name.encode() for name in ids]


def members_digest(setup_hash: bytes, ids: Iterable[str]) -> bytes:
    """Return H(U2): who shared."""
    return digest("members", setup_hash, *_ids(ids))


def participants_digest(setup_hash: bytes, round_id: int, ids: Iterable[str]) -> bytes:
    """Return H(participants) of one round."""
    return digest("participants", setup_hash, u64(round_id), *_ids(ids))


def survivors_digest(setup_hash: bytes, round_id: int, uploads: Mapping[str, bytes]) -> bytes:
    """Return H(survivors) of one round: each survivor's id and the tag of its upload, in order of id."""
    parts = [part for name in sorted(uploads, key=str.encode) for part in (name.encode(), uploads[name])]
    return digest("survivors", setup_hash, u64(round_id), *parts)


def context_digest(context: bytes) -> bytes:
    """Return the hash of the model bytes that a client really received."""
    return digest("context", context)


def holder_statement(account: bytes, result_hash: bytes) -> bytes:
    """Return what a key holder signs of a round: its account, and the commitment to the opened sum."""
    return digest("ckks-statement", account, result_hash)


def upload_tag(chunk_tags: Iterable[bytes]) -> bytes:
    """Return the tag of a whole upload from its chunk tags in order."""
    return digest("upload", b"".join(chunk_tags))


def account_digest(
    session: bytes,
    round_id: int,
    params: bytes,
    setup_hash: bytes,
    members: bytes,
    participants: bytes,
    survivors: bytes,
    context: bytes,
) -> bytes:
    """Return the account of a round that every answering client signs for the receipt."""
    return digest("account", session, u64(round_id), params, setup_hash, members, participants, survivors, context)
