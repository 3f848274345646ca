"""X25519 key agreement that refuses every peer key whose result an onlooker could know."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from secagg.errors import AuthenticationError
from secagg.hazmat.guard import KeyObject, draw, exactly

__all__ = ["KEY_BYTES", "LOW_ORDER", "KeyPair", "check_public_key"]

KEY_BYTES = 32
_P = 2**255 - 19

# Canonical u-coordinates of the points of order 1, 2, 4 and 8 on Curve25519 and its twist.
LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    _P - 1,
)


def check_public_key(public: bytes) -> None:
    """Return if `public` is the canonical encoding of a u-coordinate that is not of low order.

    RFC 7748 lets an implementation ignore the top bit and reduce the rest. Here one point has one encoding,
    so that a key repeated or reflected as it is cannot hide. A key plus a point of low order is another point with the same
    agreements: what keeps those apart is that every derivation names both parties.

    Raises
    ------
    AuthenticationError
        Another length, a value of 2**255 - 19 or more, or a low-order point.

    References
    ----------
    RFC 7748, sections 5 and 6.1.
    """
    if not isinstance(public, bytes) or len(public) != KEY_BYTES:
        raise AuthenticationError("an X25519 public key has 32 bytes")
    u = int.from_bytes(public, "little")
    if u >= _P:
        raise AuthenticationError("X25519 public key is not canonical")
    if u in LOW_ORDER:
        raise AuthenticationError("X25519 public key has low order")


class KeyPair(KeyObject):
    """An X25519 key pair; make one with `generate` or `from_private_bytes`.

    Notes
    -----
    The private key lives in the cryptographic library's memory, which it clears when the pair is dropped, as
    best it can.
    """

    __slots__ = ("_key", "_public_bytes")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self._public_bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes] = os.urandom) -> KeyPair:
        """Return a fresh pair from 32 bytes of `entropy`."""
        return cls.from_private_bytes(draw(entropy, KEY_BYTES))

    @classmethod
    def from_private_bytes(cls, private: bytes) -> KeyPair:
        """Return the pair of a 32-byte private key, clamped when used; InputError for another length."""
        return cls(X25519PrivateKey.from_private_bytes(exactly(private, KEY_BYTES, "X25519 private key")))

    def _public(self) -> bytes:
        return self._public_bytes

    @property
    def public_bytes(self) -> bytes:
        """The 32-byte public key."""
        return self._public_bytes

    def private_bytes(self) -> bytes:
        """Return the 32-byte private key. Secret: for sharing or sealing, never for storing in clear."""
        return self._key.private_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        """Return the 32 shared bytes with a peer. Secret; feed them to `kdf.hkdf`, use them for nothing else.

        Raises
        ------
        AuthenticationError
            The peer's key has another length, is not canonical, has low order (the result would be all zero,
            checked on the input and again on the output), or is our own.

        Notes
        -----
        About 35 microseconds; constant-time in the private key.
        """
        check_public_key(peer_public)
        if hmac.compare_digest(peer_public, self._public_bytes):
            raise AuthenticationError("X25519 public key is our own, reflected")
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError:  # the library refuses an all-zero result
            raise AuthenticationError("X25519 agreement gave zero") from None
