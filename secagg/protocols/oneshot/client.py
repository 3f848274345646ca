"""The client of the oneshot protocol: one request in, one masked update out, and with it the shares of what masks it.

Where the client sits in the committee too, its member's half is in `member`, beside it on the same state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from secagg.errors import AuthenticationError, DecodeError, PeerError
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.hazmat.kdf import hkdf
from secagg.protocols.accounts import context_digest
from secagg.protocols.memory import Memory
from secagg.protocols.one_message import OneMessageClient
from secagg.protocols.oneshot import merkle
from secagg.protocols.oneshot.member import KINDS, Member
from secagg.protocols.oneshot.messages import Kind, MaskedHeader, decoders, make_chunk, public_seed
from secagg.protocols.oneshot.setup import Setup
from secagg.protocols.oneshot.sharing import seal_shares
from secagg.protocols.secret import SecretStruct
from secagg.protocols.upload import Upload
from secagg.wire import Chunk, Envelope

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["UPLOAD", "HintUpload", "OneshotClient", "OneshotMember"]

UPLOAD = "upload"  # the phase under which the memory keeps an upload's header


class HintUpload(Upload):
    """An `Upload`, and what masks it.

    Attributes
    ----------
    seed : bytes
        32 bytes that fix the round's secret s and the errors. Secret.
    public : bytes
        16 bytes that fix the round's public polynomials.
    """

    def __init__(
        self,
        seed: bytes,
        public: bytes,
        secrets: tuple[bytes, bytes],
        progress: tuple[bytes, bool],
        frame: Callable[[int, int, memoryview], tuple[bytes, bytes]],
        still: Callable[[], None],
        begin: Callable[[bytes], None],
        finish: Callable[[bytes], bytes],
        shares: Callable[[], list[bytes]],
    ) -> None:
        super().__init__(secrets, progress, frame, still, begin, finish)
        self.seed, self.public = seed, public
        self.shares = shares


class OneshotClient(OneMessageClient):
    """One client's state across the batches and rounds of a session."""

    phase = UPLOAD
    request_kind = Kind.MASKED_REQUEST
    header_kind = Kind.MASKED_HEADER
    decoders = decoders

    def __init__(
        self,
        params: Params,
        me: str,
        identity: Identity,
        roster: Roster,
        entropy: Callable[[int], bytes],
        session: bytes | None = None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(params, me, identity, roster, entropy, memory=memory, session=session)
        self._member = Member(self._state, self._forget)

    def _forget(self) -> None:
        """Forget a session that another one takes the place of."""
        self._state.basis = self._state.round = None

    def take(self, kind: int, outer: Envelope | Chunk) -> None:
        """Take one decoded frame, for the client or the member in it; state changes only if all of it holds."""
        if kind in KINDS:
            self._member.take(kind, outer)
        else:
            super().take(kind, outer)

    def freeze(self) -> bytes:
        """Return everything but the frames to send, as bytes. Secret: for sealing only."""
        return msgspec.msgpack.encode(_Both(super().freeze(), self._member.freeze()))

    def thaw(self, data: bytes) -> None:
        """Take the state that `freeze` returned; DecodeError for other bytes."""
        try:
            kept = _decoder.decode(data)
        except msgspec.DecodeError:
            raise DecodeError("not a snapshot of this version") from None
        super().thaw(kept.client)
        self._member.thaw(kept.member)

    def _basis_hash(self, body: Any) -> bytes:
        found: bytes = body.setup_hash
        return found

    def _read_basis(self, body: Any, session: bytes) -> Setup:
        state = self._state
        if body.keys is None:
            raise AuthenticationError("a request under keys that we were not shown", peer="server", phase="masked")
        setup = Setup.read(body.keys, session, state.roster, state.params)
        if setup.hash != body.setup_hash:
            raise AuthenticationError("the keys are not those that the request names", peer="server", phase="masked")
        return setup

    def _thaw_basis(self, data: bytes, session: bytes) -> Setup:
        return Setup.thaw(data, session, self._state.roster, self._state.params)

    def begin_upload(self, context: bytes) -> HintUpload:
        """Return seeds, shares and framer of the awaited update; nothing is committed yet.

        Raises
        ------
        StateError
            No update is awaited.
        """
        state, begun = self._state, self._begin()
        setup: Setup = begun.basis
        session, current, params = begun.session, begun.round, state.params
        pair = KeyPair.from_private_bytes(hkdf(begun.seed, "oneshot-channel", length=32))
        mask_seed = hkdf(begun.seed, "oneshot-mask", length=32)
        sealed: list[bytes] = []

        def shares() -> list[bytes]:
            if not sealed:
                secret = MaskSecret(params.mask_plan.segments[0].ring, mask_seed).coefficients()
                sealed.extend(seal_shares(secret, params, setup, pair, current.round_id, state.me, begun.seed))
                secret.fill(0)
            return sealed

        def frame(segment: int, index: int, payload: memoryview) -> tuple[bytes, bytes]:
            place = (current.round_id, segment, index)
            return make_chunk(session, state.me, place, setup.hash, payload, state.identity.sign)

        def finish(tag: bytes) -> bytes:
            return self._commit(begun, MaskedHeader(
                current.round_id, params.hash, setup.hash, current.participants_hash, context_digest(context),
                pair.public_bytes, merkle.root(shares()), tag,
            ))  # fmt: skip

        public = public_seed(session, params.hash, state.roster.hash(), current.round_id)
        return HintUpload(
            mask_seed, public, begun.secrets, begun.progress, frame, begun.still, begun.intend, finish, shares
        )  # fmt: skip


class OneshotMember(OneshotClient):
    """A party that sits in the committee and sends no updates."""

    def take(self, kind: int, outer: Envelope | Chunk) -> None:
        """Take one decoded frame for the member; a request for an update is refused."""
        if kind not in KINDS:
            raise PeerError("not a request to a committee member", peer="server")
        super().take(kind, outer)


class _Both(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    client: bytes
    member: bytes | None


_decoder = msgspec.msgpack.Decoder(_Both)
