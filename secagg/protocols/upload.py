"""One update on its way out, whatever protects it."""

from __future__ import annotations

from collections.abc import Callable

from secagg.hazmat.transcript import u64
from secagg.protocols.accounts import upload_tag
from secagg.protocols.secret import Secret

__all__ = ["Upload", "chunk_nonce"]


class Upload(Secret):
    """One update on its way out: its chunks' frames and, last, its signed header.

    Nothing may leave before the memory knows which update it is. Who makes the whole upload first calls `finish` and then lets it
    go; who lets chunks go one by one calls `intend` before the first.

    Parameters
    ----------
    secrets : (bytes, bytes)
        The rounding key and the intent key.
    progress : (bytes, bool)
        What `intended` and `whole` say.
    frame : callable
        ``(segment, index, payload) -> (frame, tag)``.
    still : callable
        Raises StateError if the round moved on.
    intend : callable
        Takes the digest of the update whose chunks are about to leave.
    finish : callable
        Takes the tag of all chunks, commits and returns the signed header.

    Attributes
    ----------
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
        secrets: tuple[bytes, bytes],
        progress: tuple[bytes, bool],
        frame: Callable[[int, int, memoryview], tuple[bytes, bytes]],
        still: Callable[[], None],
        intend: Callable[[bytes], None],
        finish: Callable[[bytes], bytes],
    ) -> None:
        self.rounding_key, self.intent_key = secrets
        self.intended, self.whole = progress
        self.intend = intend
        self._still = still
        self._frame = frame
        self._finish = finish
        self._tags: dict[tuple[int, int], bytes] = {}

    def chunk(self, segment: int, index: int, payload: bytes | bytearray | memoryview) -> bytes:
        """Return the frame of one packed chunk; StateError if the round moved on meanwhile."""
        self._still()
        frame, tag = self._frame(segment, index, memoryview(payload))
        self._tags[segment, index] = tag
        return frame

    def finish(self) -> bytes:
        """Return the signed header and commit to the upload."""
        return self._finish(upload_tag(self._tags[place] for place in sorted(self._tags)))


def chunk_nonce(segment: int, index: int) -> bytes:
    """Return a chunk's GMAC nonce; the key is fresh per (client, round)."""
    return segment.to_bytes(4, "big") + u64(index)
