"""Ed25519 signatures with one encoding per key, and none of the keys that verify anything."""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from secagg.errors import AuthenticationError
from secagg.hazmat.guard import KeyObject, draw, exactly

__all__ = ["KEY_BYTES", "SIGNATURE_BYTES", "SMALL_ORDER", "SigningKey", "check_public_key", "verify"]

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P

# The canonical encodings of the eight points of order 1, 2, 4 and 8. Under such a key one signature fits many
# messages.
SMALL_ORDER = frozenset(
    bytes.fromhex(encoding)
    for encoding in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
# y = 1 and y = -1 have x = 0, whose sign is 0: with the sign bit set they are no canonical encodings.
_NEGATIVE_ZERO = frozenset(
    bytes((*key[:31], key[31] | 0x80)) for key in SMALL_ORDER if int.from_bytes(key, "little") in (1, _P - 1)
)


def _refuse_weak(public: bytes) -> int:
    if not isinstance(public, bytes) or len(public) != KEY_BYTES:
        raise AuthenticationError("an Ed25519 public key has 32 bytes")
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= _P or public in _NEGATIVE_ZERO:
        raise AuthenticationError("Ed25519 public key is not canonical")
    if public in SMALL_ORDER:
        raise AuthenticationError("Ed25519 public key has small order")
    return y


def check_public_key(public: bytes) -> None:
    """Return if `public` is the canonical encoding of a curve point that is not of small order.

    Raises
    ------
    AuthenticationError
        Another length, a non-canonical encoding, one of the eight small-order points, or no point at all.

    References
    ----------
    RFC 8032, section 5.1.3.
    """
    y = _refuse_weak(public)
    # x^2 = (y^2 - 1) / (d y^2 + 1); the quotient is a square exactly when the product is.
    square = (y * y - 1) * (_D * y * y + 1) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        raise AuthenticationError("Ed25519 public key is not a point of the curve")


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Return if `signature` is the Ed25519 signature of `message` under `public`.

    Parameters
    ----------
    public : bytes
        32 bytes.
    message : bytes
        What was signed; bind it to its use first, with `transcript.digest`.
    signature : bytes
        64 bytes, R and S.

    Raises
    ------
    AuthenticationError
        The signature does not hold, has another length, has S of the group order or more, or the key is not
        canonical, of small order or no point.

    Notes
    -----
    About 105 microseconds.

    References
    ----------
    RFC 8032, section 5.1.7.
    """
    _refuse_weak(public)
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        raise AuthenticationError("an Ed25519 signature has 64 bytes")
    # The library refuses this too; a second signature for one message must not hang on its version.
    if int.from_bytes(signature[32:], "little") >= _L:
        raise AuthenticationError("Ed25519 signature is not canonical")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise AuthenticationError("Ed25519 signature does not hold") from None


class SigningKey(KeyObject):
    """An Ed25519 signing key; make one with `generate` or `from_private_bytes`."""

    __slots__ = ("_key", "_public_bytes")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public_bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes] = os.urandom) -> SigningKey:
        """Return a fresh key from 32 bytes of `entropy`."""
        return cls.from_private_bytes(draw(entropy, KEY_BYTES))

    @classmethod
    def from_private_bytes(cls, private: bytes) -> SigningKey:
        """Return the key of a 32-byte seed; InputError for another length."""
        return cls(Ed25519PrivateKey.from_private_bytes(exactly(private, KEY_BYTES, "Ed25519 private key")))

    def _public(self) -> bytes:
        return self._public_bytes

    @property
    def public_bytes(self) -> bytes:
        """The 32-byte verify key."""
        return self._public_bytes

    def private_bytes(self) -> bytes:
        """Return the 32-byte seed. Secret."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`; about 35 microseconds, constant-time in the key."""
        return self._key.sign(message)
