"""What travels: a signed header that names the ciphertexts by their digest, then the ciphertexts themselves.

The header is an envelope of `secagg.wire`, so nothing of it is parsed before its signature holds, and nothing of the
ciphertexts before they are what was signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from secagg.errors import AuthenticationError, DecodeError
from secagg.hazmat.transcript import DIGEST_BYTES, digest
from secagg.identity import MAX_ID_BYTES
from secagg.integrations.tenseal.ciphertexts import VectorFormat
from secagg.integrations.tenseal.params import SumParams
from secagg.wire import Envelope, decode_body, decode_frame, encode_body, open_envelope, seal_envelope

__all__ = [
    "SUM",
    "UPLOAD",
    "Limits",
    "SumHeader",
    "Unopened",
    "UploadHeader",
    "Written",
    "cut",
    "model_digest",
    "require_terms",
    "seal",
    "sha256_of",
    "unseal",
]

# Kinds of frames beside those of the protocols.
UPLOAD, SUM = 64, 65
_LENGTH_BYTES = 4


class _Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    round_id: int
    params_hash: bytes
    context_hash: bytes
    model: bytes
    sizes: list[int]
    sha256: bytes


class UploadHeader(_Header, frozen=True):
    """Client: its update of one round."""


class SumHeader(_Header, frozen=True):
    """Server: the sum of one round, who is in it, and the digest of each one's upload, in order of ids."""

    contributors: list[str]
    uploads: bytes


_upload: msgspec.msgpack.Decoder[UploadHeader | SumHeader] = msgspec.msgpack.Decoder(UploadHeader)
_sum: msgspec.msgpack.Decoder[UploadHeader | SumHeader] = msgspec.msgpack.Decoder(SumHeader)


@dataclass(frozen=True)
class Limits:
    """The most bytes of each part of a message, known before it comes."""

    header: int
    vectors: tuple[int, ...]

    @classmethod
    def of(cls, params: SumParams) -> Limits:
        """Return the limits under these terms."""
        vectors = tuple(VectorFormat(params.context, length).max_bytes for length in params.vector_lengths)
        each = 16 + MAX_ID_BYTES + DIGEST_BYTES
        return cls(1024 + 16 * len(vectors) + each * params.clients, vectors)

    @property
    def total(self) -> int:
        """The most bytes of a whole message."""
        return _LENGTH_BYTES + self.header + sum(self.vectors)


@dataclass(frozen=True)
class Written:
    """A message, and the digest of the header in it."""

    message: bytes
    digest: bytes


@dataclass(frozen=True)
class Unopened:
    """A message whose outer form holds: who says it sent it is known, nothing is proven, nothing parsed."""

    kind: int
    envelope: Envelope
    body: memoryview

    def open(self, verify_key: bytes) -> tuple[UploadHeader | SumHeader, bytes]:
        """Return the header and its digest once signature, form and the digest of the ciphertexts hold.

        Raises
        ------
        AuthenticationError
            The signature does not hold, or the ciphertexts are not those that were signed.
        DecodeError
            The signed header is malformed.
        """
        payload = open_envelope(self.kind, self.envelope, verify_key)
        peer = self.envelope.sender
        header = decode_body(payload, _upload if self.kind == UPLOAD else _sum, peer)
        hashes = (header.params_hash, header.context_hash, header.model, header.sha256)
        if any(len(value) != DIGEST_BYTES for value in hashes) or not 0 <= header.round_id < 1 << 63:
            raise DecodeError("header out of range", peer=peer or "server")
        if hashlib.sha256(self.body).digest() != header.sha256:
            raise AuthenticationError("the ciphertexts are not those that were signed", peer=peer or "server")
        return header, _named(payload)


def _named(payload: bytes) -> bytes:
    return digest("tenseal/header", payload)


def model_digest(context: bytes) -> bytes:
    """Return the digest of the bytes that name the model an update belongs to."""
    return digest("tenseal/model", context)


def seal(
    kind: int,
    session: bytes,
    sender: str,
    header: UploadHeader | SumHeader,
    vectors: Sequence[bytes],
    sign: Callable[[bytes], bytes],
) -> Written:
    """Return the message of a header and the vectors it names, and the header's digest."""
    frame = seal_envelope(kind, session, sender, header, sign)
    message = b"".join((len(frame).to_bytes(_LENGTH_BYTES, "big"), frame, *vectors))
    return Written(message, _named(encode_body(header)))


def sha256_of(vectors: Sequence[bytes]) -> bytes:
    """Return the SHA-256 of all vectors one after the other."""
    hasher = hashlib.sha256()
    for vector in vectors:
        hasher.update(vector)
    return hasher.digest()


def require_terms(header: UploadHeader | SumHeader, params: SumParams, round_id: int, peer: str) -> None:
    """Return if a header is of that round, under these terms and this key.

    Raises
    ------
    AuthenticationError
        Another context: other parameters or another key.
    DecodeError
        Another round, or other terms.
    """
    if header.context_hash != params.context.hash():
        raise AuthenticationError(
            "ciphertexts under another TenSEAL context: other parameters or another key", peer=peer
        )
    if header.params_hash != params.hash():
        raise DecodeError("other parameters of the sum", peer=peer)
    if header.round_id != round_id:
        raise DecodeError(f"a message of round {header.round_id}, not {round_id}", peer=peer)


def unseal(data: bytes | bytearray | memoryview, kind: int, session: bytes, limits: Limits) -> Unopened:
    """Return the parts of a message of that kind and session.

    Raises
    ------
    DecodeError
        Too long or short, of another kind or session, or malformed.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise DecodeError("a message is a bytes-like object")
    view = memoryview(data)
    if not view.c_contiguous:
        raise DecodeError("a message is contiguous bytes")
    view = view.cast("B")
    if len(view) > limits.total:
        raise DecodeError(f"a message of {len(view)} bytes is over the limit of {limits.total}")
    size = int.from_bytes(view[:_LENGTH_BYTES], "big")
    if len(view) < _LENGTH_BYTES or not 0 < size <= min(limits.header, len(view) - _LENGTH_BYTES):
        raise DecodeError("a message is empty or cut short")
    found, envelope = decode_frame(bytes(view[_LENGTH_BYTES : _LENGTH_BYTES + size]), max_bytes=limits.header)
    if found != kind or not isinstance(envelope, Envelope):
        raise DecodeError("a frame of another kind")
    if envelope.session != session:
        raise DecodeError("a frame of another session", peer=envelope.sender or "server")
    return Unopened(kind, envelope, view[_LENGTH_BYTES + size :])


def cut(body: memoryview, sizes: Sequence[int], limits: Limits, peer: str) -> list[memoryview]:
    """Return the vectors in a body; DecodeError unless the signed sizes are within limits and add up exactly."""
    if len(sizes) != len(limits.vectors) or any(
        not 0 < n <= most for n, most in zip(sizes, limits.vectors, strict=False)
    ):
        raise DecodeError("vectors of ciphertexts of other sizes or numbers than agreed", peer=peer)
    if sum(sizes) != len(body):
        raise DecodeError("the ciphertexts have another length than their header says", peer=peer)
    parts, at = [], 0
    for n in sizes:
        parts.append(body[at : at + n])
        at += n
    return parts
