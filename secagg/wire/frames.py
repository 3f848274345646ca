"""Encoding and strict decoding of frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from secagg.errors import AuthenticationError, DecodeError
from secagg.hazmat import signing, transcript

__all__ = [
    "HOLDER",
    "MAGIC",
    "SERVER",
    "VERSION",
    "Chunk",
    "Envelope",
    "decode_body",
    "decode_frame",
    "encode_body",
    "encode_chunk",
    "open_envelope",
    "seal_envelope",
]

MAGIC = b"SA"
VERSION = 1
HEADER_BYTES = 4
SESSION_BYTES = 16
MAX_SENDER_BYTES = 64
SERVER = ""  # the server's sender name; no client id may be empty
HOLDER = "(key holder)"  # the key holder's; no client id has white space
CHUNK_KIND = 0
TAG_BYTES = (16, 64)  # a GMAC, or an Ed25519 signature

Body = TypeVar("Body", bound=msgspec.Struct)


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A signed small frame; `payload` is the MessagePack body, still unparsed."""

    session: bytes
    sender: str
    signature: bytes
    payload: bytes


class Chunk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A range of one masked or encrypted segment, bit-packed; `payload` is a view into the frame, `tag` authenticates it."""

    session: bytes
    sender: str
    round_id: int
    segment: int
    index: int
    tag: bytes
    payload: memoryview


_envelope_decoder = msgspec.msgpack.Decoder(Envelope)
_chunk_decoder = msgspec.msgpack.Decoder(Chunk)
_encoder = msgspec.msgpack.Encoder()
_EMPTY = memoryview(b"")


def _header(kind: int) -> bytes:
    return MAGIC + bytes((VERSION, kind))


def decode_frame(frame: bytes, *, max_bytes: int) -> tuple[int, Envelope | Chunk]:
    """Return a frame's kind and its outer structure; the envelope's payload is neither parsed nor trusted yet.

    Raises
    ------
    DecodeError
        Not bytes, longer than `max_bytes` (checked first), another magic or version, or not exactly one well-formed array.
    """
    if not isinstance(frame, bytes | bytearray | memoryview):
        raise DecodeError("a frame is a bytes-like object")
    size = frame.nbytes if isinstance(frame, memoryview) else len(frame)
    if size > max_bytes:
        raise DecodeError(f"frame of {size} bytes is over the limit of {max_bytes}")
    data = bytes(frame)
    if len(data) < HEADER_BYTES or data[:2] != MAGIC:
        raise DecodeError("not a secagg frame")
    if data[2] != VERSION:
        raise DecodeError(f"frame version {data[2]} is not version {VERSION}")
    kind = data[3]
    decoder: msgspec.msgpack.Decoder[Chunk] | msgspec.msgpack.Decoder[Envelope]
    decoder = _chunk_decoder if kind == CHUNK_KIND else _envelope_decoder
    try:
        outer = decoder.decode(memoryview(data)[HEADER_BYTES:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError("malformed frame") from None
    # One frame has one encoding: a stranger on the path must not be able to make a second one that still verifies.
    if isinstance(outer, Envelope) and _header(kind) + _encoder.encode(outer) != data:
        raise DecodeError("frame is not canonically encoded")
    if len(outer.session) != SESSION_BYTES:
        raise DecodeError("a session id has 16 bytes")
    if len(outer.sender.encode("utf-8", "surrogatepass")) > MAX_SENDER_BYTES:
        raise DecodeError("sender name is too long")
    if isinstance(outer, Chunk) and (
        len(outer.tag) not in TAG_BYTES
        or min(outer.round_id, outer.segment, outer.index) < 0
        or outer.round_id >= 1 << 64
    ):
        raise DecodeError("chunk header out of range")
    return kind, outer


def _statement(kind: int, session: bytes, sender: str, payload: bytes) -> bytes:
    return transcript.digest("frame", bytes((kind,)), session, sender.encode(), payload)


def seal_envelope(
    kind: int, session: bytes, sender: str, body: msgspec.Struct, sign: Callable[[bytes], bytes]
) -> bytes:
    """Return the signed frame of `body`."""
    payload = _encoder.encode(body)
    signature = sign(_statement(kind, session, sender, payload))
    return _header(kind) + _encoder.encode(Envelope(session, sender, signature, payload))


def open_envelope(kind: int, envelope: Envelope, verify_key: bytes) -> bytes:
    """Return the payload once its signature holds.

    Raises
    ------
    AuthenticationError
        The signature is not the sender's; the payload was not parsed.
    """
    if len(envelope.signature) != signing.SIGNATURE_BYTES:
        raise AuthenticationError("a signature has 64 bytes", peer=envelope.sender)
    statement = _statement(kind, envelope.session, envelope.sender, envelope.payload)
    try:
        signing.verify(verify_key, statement, envelope.signature)
    except AuthenticationError:
        raise AuthenticationError("signature does not hold", peer=envelope.sender or "server") from None
    return envelope.payload


def encode_chunk(chunk: Chunk) -> bytes:
    """Return the frame of one chunk; its payload is copied once."""
    payload = chunk.payload
    outer = Chunk(chunk.session, chunk.sender, chunk.round_id, chunk.segment, chunk.index, chunk.tag, _EMPTY)
    before = _encoder.encode(outer)[: -len(_encoder.encode(b""))]
    return b"".join((_header(CHUNK_KIND), before, _bin_header(payload.nbytes), payload))


def _bin_header(size: int) -> bytes:
    """Return MessagePack's header of `size` bytes, in its shortest form."""
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def encode_body(body: msgspec.Struct) -> bytes:
    """Return the MessagePack bytes of a body."""
    return _encoder.encode(body)


def decode_body(data: bytes, decoder: msgspec.msgpack.Decoder[Body], peer: str) -> Body:
    """Return a body parsed strictly from authenticated bytes, or raise DecodeError."""
    try:
        body = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError("malformed body", peer=peer or "server") from None
    if _encoder.encode(body) != data:
        raise DecodeError("body is not canonically encoded", peer=peer or "server")
    return body
