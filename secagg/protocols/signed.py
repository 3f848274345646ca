"""What protocols share whose every frame carries its sender's signature: who may sign, ranks, and signed bulk chunks.

A chunk that is signed is authenticated by itself, in whatever order it comes and to whomever it is passed on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError, DecodeError, PeerError
from secagg.hazmat import signing
from secagg.hazmat.transcript import digest, u64
from secagg.wire import HOLDER, SERVER, Chunk, Envelope, decode_frame, encode_chunk, open_envelope

if TYPE_CHECKING:
    from secagg.identity import Roster

__all__ = ["HASH_BYTES", "check_place", "check_ranks", "make_chunk", "open_relayed", "signer", "verify_chunk"]

HASH_BYTES = 32


def signer(roster: Roster, sender: str) -> bytes:
    """Return the verify key of a frame's sender, or raise AuthenticationError."""
    if sender == SERVER:
        return roster.server
    if sender == HOLDER and roster.holder is not None:
        return roster.holder
    if sender not in roster:
        raise AuthenticationError("sender is not in the roster", peer=sender)
    return roster.key(sender)


def check_ranks(ranks: list[int], among: Iterable[int], peer: str) -> None:
    """Refuse ranks that are unsorted, repeated, or not among those allowed."""
    allowed = set(among)
    if any(rank not in allowed for rank in ranks) or any(a >= b for a, b in pairwise(ranks)):
        raise PeerError("ranks are unknown, repeated or out of order", peer=peer)


def check_place(chunk: Chunk, sizes: list[list[int]], sender: str) -> None:
    """Refuse a chunk that is not one of those whose `sizes` are given."""
    if chunk.segment >= len(sizes) or chunk.index >= len(sizes[chunk.segment]):
        raise DecodeError("chunk outside the vector", peer=sender)
    if len(chunk.payload) != sizes[chunk.segment][chunk.index]:
        raise DecodeError("chunk of another length", peer=sender)


def open_relayed(frame: bytes, kind: int, session: bytes, roster: Roster, max_bytes: int) -> tuple[str, bytes]:
    """Return the sender and payload of a client's signed frame that the server passes on.

    Raises
    ------
    PeerError
        Another kind of frame, of another session, or not signed by somebody on the roster.
    """
    found, outer = decode_frame(frame, max_bytes=max_bytes)
    if found != kind or not isinstance(outer, Envelope) or outer.sender not in roster:
        raise AuthenticationError("a passed-on frame is none of this kind of a client's", peer="server")
    if outer.session != session:
        raise AuthenticationError("a passed-on frame is of another session", peer="server")
    return outer.sender, open_envelope(kind, outer, roster.key(outer.sender))


def _statement(label: str, chunk: Chunk, key_hash: bytes, content: bytes) -> bytes:
    return digest(
        label, chunk.session, chunk.sender.encode(), key_hash, u64(chunk.round_id), u64(chunk.segment), u64(chunk.index), content
    )  # fmt: skip


def make_chunk(
    label: str, session: bytes, sender: str, place: tuple[int, int, int], key_hash: bytes, payload: memoryview,
    sign: Callable[[bytes], bytes],
) -> tuple[bytes, bytes]:  # fmt: skip
    """Return the signed frame of one chunk at `place` (round, segment, index), and the SHA-256 of its payload."""
    content = hashlib.sha256(payload).digest()
    unsigned = Chunk(session, sender, *place, b"", payload)
    tag = sign(_statement(label, unsigned, key_hash, content))
    return encode_chunk(Chunk(session, sender, *place, tag, payload)), content


def verify_chunk(label: str, chunk: Chunk, key_hash: bytes, verify_key: bytes) -> bytes:
    """Return the SHA-256 of a chunk's payload once its sender's signature holds; else AuthenticationError."""
    peer = chunk.sender or "server"
    if len(chunk.tag) != signing.SIGNATURE_BYTES:
        raise AuthenticationError("a chunk's signature has 64 bytes", peer=peer)
    content = hashlib.sha256(chunk.payload).digest()
    try:
        signing.verify(verify_key, _statement(label, chunk, key_hash, content), chunk.tag)
    except AuthenticationError:
        raise AuthenticationError("chunk signature does not hold", peer=peer) from None
    return content
