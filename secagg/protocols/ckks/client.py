"""The client of the ckks protocol: one request in, one encrypted update out; what it shares with others is in `one_message`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secagg.errors import AuthenticationError
from secagg.hazmat.agreement import KeyPair, check_public_key
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.rlwe import PublicKey
from secagg.protocols.accounts import context_digest
from secagg.protocols.ckks.messages import (
    EncryptedHeader,
    KeyAnnouncement,
    Kind,
    decoders,
    make_chunk,
    pad_key,
    read_key,
)
from secagg.protocols.one_message import OneMessageClient
from secagg.protocols.upload import Upload

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["ENCRYPTED", "CkksClient", "EncryptedUpload", "HeldKey"]

ENCRYPTED = "encrypted"  # the phase under which the memory keeps an upload's header


@dataclass(frozen=True)
class HeldKey:
    """The holder's key as a client knows it."""

    body: KeyAnnouncement
    hash: bytes
    frame: bytes
    public: PublicKey

    @classmethod
    def read(cls, frame: bytes, session: bytes, roster: Roster, params: Params, max_bytes: int) -> HeldKey:
        """Return the key in a holder's announcement; PeerError or InputError if it is none."""
        told, key_hash = read_key(frame, session, roster, max_bytes)
        return cls(told, key_hash, frame, PublicKey.from_bytes(params.cipher_plan.ring, told.public_key))

    @property
    def first_round(self) -> int:
        """First round of the batch."""
        return self.body.first_round

    @property
    def rounds(self) -> int:
        """Rounds in the batch."""
        return self.body.rounds

    def frozen(self) -> bytes:
        """Return the announcement."""
        return self.frame


class EncryptedUpload(Upload):
    """An `Upload`, and what its ciphertexts are made with.

    Attributes
    ----------
    public : PublicKey
    key : bytes
        16 bytes of randomness for this upload. Secret.
    pad : bytes or None
        16 bytes, agreed with the key holder. Secret.
    """

    def __init__(
        self,
        public: PublicKey,
        keys: tuple[bytes, bytes | None],
        secrets: tuple[bytes, bytes],
        progress: tuple[bytes, bool],
        frame: Callable[[int, int, memoryview], tuple[bytes, bytes]],
        still: Callable[[], None],
        begin: Callable[[bytes], None],
        finish: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(secrets, progress, frame, still, begin, finish)
        self.public = public
        self.key, self.pad = keys


class CkksClient(OneMessageClient):
    """One client's state across the keys and rounds of a session."""

    phase = ENCRYPTED
    request_kind = Kind.ENCRYPTED_REQUEST
    header_kind = Kind.ENCRYPTED_HEADER
    decoders = decoders

    def _basis_hash(self, body: Any) -> bytes:
        found: bytes = body.key_hash
        return found

    def _read_basis(self, body: Any, session: bytes) -> HeldKey:
        state = self._state
        if body.key is None:
            raise AuthenticationError("a request under a key that we were not shown", peer="server", phase=ENCRYPTED)
        key = HeldKey.read(body.key, session, state.roster, state.params, state.params.max_frame_bytes)
        told = key.body
        if key.hash != body.key_hash:
            raise AuthenticationError("the key is not the one the request names", peer="server", phase=ENCRYPTED)
        if told.params_hash != state.params.hash or told.rounds != state.params.rounds_per_setup:
            raise AuthenticationError("the key was made under other Params than ours", peer="server", phase=ENCRYPTED)
        if told.roster_hash != state.roster.hash():
            raise AuthenticationError("the key was made for another roster than ours", peer="server", phase=ENCRYPTED)
        check_public_key(told.channel_key)
        return key

    def _thaw_basis(self, data: bytes, session: bytes) -> HeldKey:
        return HeldKey.read(data, session, self._state.roster, self._state.params, len(data))

    def begin_upload(self, context: bytes) -> EncryptedUpload:
        """Return key, randomness and framer of the awaited update; nothing is committed yet.

        Raises
        ------
        StateError
            No update is awaited.
        """
        state, begun = self._state, self._begin()
        key: HeldKey = begun.basis
        session, current = begun.session, begun.round
        pad, channel = self._pad(key, session, current.round_id, begun.seed)

        def frame(segment: int, index: int, payload: memoryview) -> tuple[bytes, bytes]:
            place = (current.round_id, segment, index)
            return make_chunk(session, state.me, place, key.hash, payload, state.identity.sign)

        def finish(tag: bytes) -> bytes:
            return self._commit(begun, EncryptedHeader(
                current.round_id, state.params.hash, key.hash, current.participants_hash, context_digest(context), channel, tag
            ))  # fmt: skip

        keys = (hkdf(begun.seed, "ckks-encrypt", length=16), pad)
        return EncryptedUpload(
            key.public, keys, begun.secrets, begun.progress, frame, begun.still, begun.intend, finish
        )  # fmt: skip

    def _pad(self, key: HeldKey, session: bytes, round_id: int, seed: bytes) -> tuple[bytes | None, bytes]:
        """Return the pad's key and our half of its agreement; neither where clients and server follow the protocol."""
        if not self._state.params.padded:
            return None, b""
        pair = KeyPair.from_private_bytes(hkdf(seed, "ckks-channel", length=32))
        shared = pair.agree(key.body.channel_key)
        return pad_key(shared, session, key.hash, round_id, self._state.me), pair.public_bytes
