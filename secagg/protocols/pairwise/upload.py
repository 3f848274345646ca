"""One update on its way out."""

from __future__ import annotations

from collections.abc import Callable

from secagg.hazmat import aead
from secagg.hazmat.transcript import u64
from secagg.protocols.pairwise.messages import upload_tag
from secagg.protocols.secret import Secret
from secagg.wire import Chunk, encode_chunk

__all__ = ["Upload", "chunk_nonce"]


class Upload(Secret):
    """One update on its way out: its masks, its chunks' frames and, last, its signed header.

    Nothing is committed before `finish`; an upload that fails half-way leaves the round awaiting. No chunk may leave before
    `finish` has returned: only then does the memory know which update it is.
    """

    def __init__(
        self,
        keys: list[bytes],
        signs: list[int],
        rounding_key: bytes,
        mac_key: bytes,
        frame: Callable[..., Chunk],
        finish: Callable[[bytes], bytes],
    ) -> None:
        self.keys = keys
        self.signs = signs
        self.rounding_key = rounding_key
        self._mac_key = mac_key
        self._frame = frame
        self._finish = finish
        self._tags: list[bytes] = []

    def chunk(self, segment: int, index: int, payload: bytes) -> bytes:
        """Return the frame of the next packed chunk; call in order of (segment, index)."""
        tag = aead.gmac(self._mac_key, chunk_nonce(segment, index), payload)
        self._tags.append(tag)
        return encode_chunk(self._frame(segment=segment, index=index, tag=tag, payload=memoryview(payload)))

    def finish(self) -> bytes:
        """Return the signed header and commit to the upload."""
        return self._finish(upload_tag(self._tags))


def chunk_nonce(segment: int, index: int) -> bytes:
    """Return a chunk's GMAC nonce; the key is fresh per (client, round)."""
    return segment.to_bytes(4, "big") + u64(index)
