"""pycryptodome's Shamir sharing, over GF(2^128): 16 bytes at a time."""

from __future__ import annotations

from importlib import metadata

from Crypto.Protocol.SecretSharing import Shamir

__all__ = ["NAME", "VERSION", "split_and_combine"]

NAME, VERSION = "pycryptodome", metadata.version("pycryptodome")
BLOCK = 16


def split_and_combine(secret: bytes, threshold: int, holders: int) -> bytes:
    """Share a secret of whole blocks and rebuild it from the first `threshold` shares."""
    rebuilt = b""
    for at in range(0, len(secret), BLOCK):
        shares = Shamir.split(threshold, holders, secret[at : at + BLOCK])
        rebuilt += Shamir.combine(shares[:threshold])
    return rebuilt
