"""AES-256-GCM: sealed boxes under a random nonce, and GMAC over public bulk data.

A key seals or authenticates, never both: their nonces come from different places and must not meet.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from secagg.errors import AuthenticationError, InputError
from secagg.hazmat.guard import draw, exactly

__all__ = ["KEY_BYTES", "NONCE_BYTES", "OVERHEAD_BYTES", "TAG_BYTES", "Gmac", "gmac", "gmac_verify", "open_", "seal"]

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES
_LIMIT = 2**31 - 1


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(exactly(key, KEY_BYTES, "AES-256-GCM key"))


def _bounded(data: bytes, what: str) -> None:
    if not isinstance(data, bytes):
        raise InputError(f"{what} must be bytes, got {type(data).__name__}")
    if len(data) > _LIMIT:
        raise InputError(f"{what} of {len(data)} bytes is over the limit of {_LIMIT}")


def _flat(data: bytes | bytearray | memoryview) -> memoryview:
    try:
        view = memoryview(data).cast("B")
    except TypeError:
        raise InputError("data must be bytes-like and C-contiguous") from None
    if view.nbytes > _LIMIT:
        raise InputError(f"data of {view.nbytes} bytes is over the limit of {_LIMIT}")
    return view


def seal(key: bytes, plaintext: bytes, aad: bytes, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return ``nonce || ciphertext || tag`` of `plaintext`, bound to `aad`.

    Parameters
    ----------
    key : bytes
        32 bytes, secret.
    plaintext : bytes
        Secret; under 2**31 bytes.
    aad : bytes
        Public data the box is bound to and does not carry.
    entropy : callable
        Gives the 12-byte nonce. There is no way to choose one: a repeated nonce gives the plaintexts and the
        tag key away.

    Returns
    -------
    bytes
        28 bytes longer than the plaintext. Sealing again gives other bytes: keep what was sent.

    Raises
    ------
    InputError
        A key of another length, data over the limit, or a short entropy source.

    Notes
    -----
    About 2 microseconds for 64 bytes; one key may seal 2**32 boxes.

    References
    ----------
    NIST SP 800-38D, section 8.2.2.
    """
    _bounded(plaintext, "plaintext")
    _bounded(aad, "associated data")
    nonce = draw(entropy, NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, plaintext, aad)


def open_(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext in `sealed`, as made by `seal` with the same key and `aad`.

    Raises
    ------
    AuthenticationError
        Too short, or the key, the data or `aad` differ; nothing was released.
    InputError
        A key of another length, or data over the limit.
    """
    _bounded(sealed, "sealed data")
    _bounded(aad, "associated data")
    if len(sealed) < OVERHEAD_BYTES:
        raise AuthenticationError(f"sealed data needs at least {OVERHEAD_BYTES} bytes, got {len(sealed)}")
    try:
        return _cipher(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except InvalidTag:
        raise AuthenticationError("sealed data does not open under this key and context") from None


def gmac(key: bytes, nonce: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """Return the 16-byte GMAC (AES-256-GCM without plaintext) of `data`.

    Parameters
    ----------
    key : bytes
        32 bytes, secret, used for nothing but tags.
    nonce : bytes
        12 bytes; the caller must never use one twice with a key, as two tags under one nonce give the tag key
        away.
    data : bytes-like
        C-contiguous, under 2**31 bytes; not copied.

    Raises
    ------
    InputError
        A key or nonce of another length, data over the limit or not C-contiguous.
    """
    return _cipher(key).encrypt(exactly(nonce, NONCE_BYTES, "nonce"), b"", _flat(data))


class Gmac:
    """A GMAC over data that comes in pieces.

    Parameters
    ----------
    key : bytes
        32 bytes, secret, used for nothing but tags.
    nonce : bytes
        12 bytes; as for `gmac`, if tags leave the process.
    """

    def __init__(self, key: bytes, nonce: bytes) -> None:
        mode = modes.GCM(exactly(nonce, NONCE_BYTES, "nonce"))
        cipher = Cipher(algorithms.AES256(exactly(key, KEY_BYTES, "AES-256-GCM key")), mode)
        self._encryptor = cipher.encryptor()

    def update(self, data: bytes | memoryview) -> None:
        """Take the next piece."""
        self._encryptor.authenticate_additional_data(data)

    def finish(self) -> bytes:
        """Return the 16-byte tag of all pieces, joined."""
        self._encryptor.finalize()
        return self._encryptor.tag


def gmac_verify(key: bytes, nonce: bytes, data: bytes | bytearray | memoryview, tag: bytes) -> None:
    """Return if `tag` is the GMAC of `data`; the comparison is constant-time.

    Raises
    ------
    AuthenticationError
        The tag is of another length, or the key, nonce, data or tag differ.
    InputError
        A key or nonce of another length, data over the limit or not C-contiguous.
    """
    # Checked here because the cipher would read a longer tag as ciphertext and tag.
    if len(tag) != TAG_BYTES:
        raise AuthenticationError(f"a tag has {TAG_BYTES} bytes, got {len(tag)}")
    try:
        _cipher(key).decrypt(exactly(nonce, NONCE_BYTES, "nonce"), tag, _flat(data))
    except InvalidTag:
        raise AuthenticationError("tag does not hold") from None
