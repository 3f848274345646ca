"""What a client knows of its setup and round, and one update on its way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from secagg.hazmat import aead
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.transcript import u64
from secagg.protocols.machine import Machine
from secagg.protocols.pairwise import dealing
from secagg.protocols.pairwise.messages import KeysRequest, MaskedHeader, upload_tag
from secagg.protocols.pairwise.setup import Setup
from secagg.protocols.pairwise.transitions import CLIENT_SETUP, ClientEvent, RoundState, SetupState
from secagg.protocols.secret import Secret
from secagg.wire import Chunk, encode_chunk

__all__ = ["ClientBatch", "ClientRound", "Upload", "chunk_nonce"]


@dataclass(repr=False)
class ClientBatch(Secret):
    """Secrets of one setup."""

    request: KeysRequest
    request_digest: bytes
    advertisement: bytes
    channel: KeyPair | None
    server_secret: bytes
    mask_pairs: list[KeyPair | None]
    seeds: list[bytes | None]
    rounding: bytes
    machine: Machine[SetupState, ClientEvent] = field(default_factory=lambda: Machine(CLIENT_SETUP, SetupState.EMPTY))
    pairwise: dict[int, bytes] = field(default_factory=dict)
    setup: Setup | None = None
    shares_digest: bytes = b""
    dealt: bytes = b""
    own: dealing.Holding | None = None
    members: list[int] = field(default_factory=list)
    holdings: dict[int, dealing.Holding] = field(default_factory=dict)
    complaints: list[int] = field(default_factory=list)

    def erase_before(self, round_id: int) -> None:
        """Forget the secrets of every round before `round_id`."""
        for offset in range(min(max(round_id - self.request.first_round, 0), self.request.rounds)):
            self.mask_pairs[offset] = None
            self.seeds[offset] = None
            for holding in (self.own, *self.holdings.values()):
                if holding is not None:
                    holding.erase(offset)
        if round_id >= self.request.first_round + self.request.rounds:
            self.channel, self.server_secret = None, b""
            self.pairwise.clear()


@dataclass(repr=False)
class ClientRound(Secret):
    """The client's view of the round in progress."""

    round_id: int
    participants: list[int]
    participants_hash: bytes
    machine: Machine[RoundState, ClientEvent]
    header: bytes = b""
    body: MaskedHeader | None = None
    resubmit: bool = False
    unmask_digest: bytes = b""
    answer: bytes = b""


class Upload(Secret):
    """One update on its way out: its masks, its chunks' frames and, last, its signed header.

    Nothing is committed before `finish`; an upload that fails half-way leaves the round awaiting.
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
