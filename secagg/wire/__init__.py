"""Frames: versioned, bounded, authenticated before their body is parsed.

A frame is ``b"SA"``, one version byte, one kind byte and a MessagePack array. Small frames are envelopes: the signature
covers the exact payload bytes, so nothing of a payload is parsed before its author is known. Vectors travel as chunks
under a GMAC. Nothing here ever reads pickle or .npy.
"""

from secagg.wire.chunks import ChunkPlan
from secagg.wire.frames import (
    HOLDER,
    MAGIC,
    SERVER,
    VERSION,
    Chunk,
    Envelope,
    decode_body,
    decode_frame,
    encode_body,
    encode_chunk,
    open_envelope,
    seal_envelope,
)

__all__ = [
    "HOLDER",
    "MAGIC",
    "SERVER",
    "VERSION",
    "Chunk",
    "ChunkPlan",
    "Envelope",
    "decode_body",
    "decode_frame",
    "encode_body",
    "encode_chunk",
    "open_envelope",
    "seal_envelope",
]
