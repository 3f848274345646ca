"""A client's state, sealed so that only the same client can open it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError, InputError
from secagg.hazmat import aead
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster

__all__ = ["open_snapshot", "seal_snapshot"]

HEADER = b"secagg snapshot v1\n"
SESSION_BYTES = 16


def seal_snapshot(plaintext: bytes, *, identity: Identity, roster: Roster, session: bytes | None) -> bytes:
    """Return `plaintext` sealed under a key that only this identity can derive, bound to roster and session.

    Parameters
    ----------
    plaintext : bytes
        Secret.
    identity : Identity
    roster : Roster
    session : bytes or None
        16 bytes, or None for a client that has not heard of one.

    Returns
    -------
    bytes
        As secret as the traffic that it could decrypt, to anybody who also has the identity's private key; to others, noise.
    """
    name = session or bytes(SESSION_BYTES)
    return HEADER + name + aead.seal(_key(identity, name), plaintext, _context(roster), os.urandom)


def open_snapshot(blob: bytes, *, identity: Identity, roster: Roster) -> bytes:
    """Return the plaintext of a snapshot.

    Raises
    ------
    InputError
        Not a snapshot; torn or changed; or sealed by another identity or under another roster.
    """
    if not isinstance(blob, bytes | bytearray | memoryview):
        raise InputError("a snapshot is bytes")
    data = bytes(blob)
    start = len(HEADER) + SESSION_BYTES
    if not data.startswith(HEADER) or len(data) < start + aead.OVERHEAD_BYTES:
        raise InputError("not a secagg snapshot of this version, or a torn one")
    try:
        return aead.open_(_key(identity, data[len(HEADER) : start]), data[start:], _context(roster))
    except AuthenticationError:
        raise InputError("the snapshot is damaged, or belongs to another identity or roster") from None


def _key(identity: Identity, session: bytes) -> bytes:
    return hkdf(identity.to_bytes(), "snapshot", session, length=aead.KEY_BYTES)


def _context(roster: Roster) -> bytes:
    return digest("snapshot", HEADER, roster.hash())
