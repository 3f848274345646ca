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

    Nothing may leave before the memory knows which update it is. Who makes the whole upload first calls `finish` and then lets it
    go; who lets chunks go one by one calls `intend` before the first.

    Attributes
    ----------
    keys, signs : list
        The mask seeds that apply, secret, and +1 or -1 for each.
    rounding_key : bytes
        16 bytes, secret.
    intent_key : bytes
        32 bytes, secret, for the tag that `intend` takes.
    intended : bytes
        The tag of the update whose chunks may have left already; empty if none has.
    whole : bool
        Whether a header has left.
    """

    def __init__(
        self,
        keys: list[bytes],
        signs: list[int],
        secrets: tuple[bytes, bytes, bytes],
        progress: tuple[bytes, bool],
        frame: Callable[..., Chunk],
        still: Callable[[], None],
        intend: Callable[[bytes], None],
        finish: Callable[[bytes], bytes],
    ) -> None:
        self.keys = keys
        self.signs = signs
        self.rounding_key, self.intent_key, self._mac_key = secrets
        self.intended, self.whole = progress
        self.intend = intend
        self._still = still
        self._frame = frame
        self._finish = finish
        self._tags: dict[tuple[int, int], bytes] = {}

    def chunk(self, segment: int, index: int, payload: bytes | memoryview) -> bytes:
        """Return the frame of one packed chunk; StateError if the round moved on meanwhile."""
        self._still()
        tag = aead.gmac(self._mac_key, chunk_nonce(segment, index), payload)
        self._tags[segment, index] = tag
        return encode_chunk(self._frame(segment=segment, index=index, tag=tag, payload=memoryview(payload)))

    def finish(self) -> bytes:
        """Return the signed header and commit to the upload."""
        return self._finish(upload_tag(self._tags[place] for place in sorted(self._tags)))


def chunk_nonce(segment: int, index: int) -> bytes:
    """Return a chunk's GMAC nonce; the key is fresh per (client, round)."""
    return segment.to_bytes(4, "big") + u64(index)
