"""The client of the pairwise protocol: frames in, frames out, one answer a phase.

Theory of operation. A `ClientState` holds the secrets of one setup (`ClientBatch`), the view of the round in progress
(`ClientRound`) and the memory of what has left. Every handler first checks everything and only then changes state, so that a
refused frame leaves nothing behind. A request is remembered by its digest: the identical request gets the identical reply, a
different one is equivocation. Before a dealing, a header or an answer leaves, the memory has it, and keeps any state that is
older than its last frame from sending another. Secrets of a round are forgotten when it is answered or a later round begins,
the channel key as soon as the shares have arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError, PeerError, StateError
from secagg.hazmat import aead
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import u64
from secagg.protocols.memory import Forgetful, Memory
from secagg.protocols.pairwise import answering, client_setup, frozen, graph, unmasking
from secagg.protocols.pairwise.client_state import MASKED, ClientBatch, ClientRound, ClientState
from secagg.protocols.pairwise.delivery import accept_delivery, check_delivery
from secagg.protocols.pairwise.messages import (
    KeysRequest,
    Kind,
    MaskedHeader,
    MaskedRequest,
    SharesRequest,
    UnmaskRequest,
    context_digest,
    decoders,
)
from secagg.protocols.pairwise.transitions import ClientEvent, RoundState
from secagg.protocols.pairwise.upload import MaskedUpload
from secagg.protocols.party import commit, intend
from secagg.protocols.secret import Secret
from secagg.protocols.upload import chunk_nonce
from secagg.wire import (
    SERVER,
    Chunk,
    Envelope,
    decode_body,
    decode_frame,
    encode_chunk,
    open_envelope,
)

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["PairwiseClient"]

_REQUESTS = (Kind.KEYS_REQUEST, Kind.SHARES_REQUEST, Kind.MASKED_REQUEST, Kind.UNMASK_REQUEST)


class PairwiseClient(Secret):
    """One client's state across the setups and rounds of a session."""

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
        self._state = ClientState(
            params, me, identity, roster, entropy, memory or Forgetful(), session, provisional=session is None
        )

    # -- what the facade sees -------------------------------------------------------------------------------------

    @property
    def session(self) -> bytes | None:
        """The pinned session id, or None before the first request."""
        return self._state.session

    @property
    def awaiting(self) -> int | None:
        """The round an update is asked for, or None."""
        current = self._state.round
        if current is None:
            return None
        return current.round_id if current.machine.state is RoundState.AWAITING or current.resubmit else None

    @property
    def pending(self) -> bool:
        """Whether frames wait to be taken."""
        return bool(self._state.out)

    def take_outbox(self) -> list[bytes]:
        """Return and forget the frames to send, oldest first."""
        out, self._state.out = self._state.out, []
        return out

    def send(self, frames: list[bytes]) -> None:
        """Queue the frames of a finished upload."""
        self._state.out += frames

    def freeze(self) -> bytes:
        """Return everything but the frames to send, as bytes. Secret: for sealing only."""
        return frozen.freeze(self._state)

    def thaw(self, data: bytes) -> None:
        """Take the state that `freeze` returned, and let what the memory knows of later frames stand.

        Raises
        ------
        DecodeError
            Not such bytes.
        """
        frozen.thaw(self._state, data)

    def receive(self, frame: bytes) -> None:
        """Take one frame of the server's; state changes only if all of it holds."""
        state = self._state
        kind, outer = decode_frame(frame, max_bytes=state.params.max_frame_bytes)
        if kind not in _REQUESTS or not isinstance(outer, Envelope) or outer.sender != SERVER:
            raise PeerError("not a request of the server's", peer="server")
        if state.session not in (None, outer.session) and not (state.provisional and kind == Kind.KEYS_REQUEST):
            raise AuthenticationError("frame of another session", peer="server")
        payload = open_envelope(kind, outer, state.roster.server)
        body = decode_body(payload, decoders[Kind(kind)], SERVER)
        match body:
            case KeysRequest():
                client_setup.keys_requested(state, body, outer.session, payload)
            case SharesRequest():
                client_setup.shares_requested(state, body, payload)
            case MaskedRequest():
                self._masked_requested(body)
            case UnmaskRequest():
                answering.unmask_requested(state, body, payload)

    # -- masked ---------------------------------------------------------------------------------------------------

    def _masked_requested(self, body: MaskedRequest) -> None:
        state = self._state
        batch, setup = state.need_setup(body.setup_hash, body.round_id, "masked")
        current = state.round
        if current is not None and current.round_id == body.round_id:
            current.check_same(body.participants, "masked")
            check_delivery(batch, setup, body.delivery, state.me, state.params.min_cohort, "masked")
            if current.machine.state is RoundState.ANSWERED:
                raise PeerError("the round was answered already", peer="server", phase="masked")
            current.resubmit = current.machine.state is RoundState.SUBMITTED
            return
        if body.round_id <= state.floor(setup.session):
            raise PeerError("round id does not increase", peer="server", phase="masked")
        checked = check_delivery(batch, setup, body.delivery, state.me, state.params.min_cohort, "masked")
        members = batch.members if checked is None else checked.members
        state.check_participants(setup, members, body.participants, "masked")
        if setup.ranks[state.me] not in body.participants:
            raise PeerError("an update is asked of us but we are no participant", peer="server", phase="masked")
        current = state.new_round(setup, body.round_id, body.participants)
        current.check_same(body.participants, "masked")
        accept_delivery(batch, checked)
        if current.machine.allows(ClientEvent.MASKED_REQUEST):
            current.machine.fire(ClientEvent.MASKED_REQUEST)
        state.enter(batch, current)
        # A state older than its own frames learns of them here: it may repeat its update, or has answered already.
        current.resubmit = current.machine.state is RoundState.SUBMITTED
        if current.machine.state is RoundState.ANSWERED:
            batch.erase_before(body.round_id + 1)

    def begin_upload(self, context: bytes) -> MaskedUpload:
        """Return the masks and framer of the awaited update; nothing is committed yet.

        Raises
        ------
        StateError
            No update is awaited.
        """
        state = self._state
        current, batch = state.round, state.batch
        if current is None or batch is None or batch.setup is None or self.awaiting is None:
            raise StateError("no update is awaited; receive() the server's request first")
        setup, round_id = batch.setup, current.round_id
        offset = round_id - setup.first_round
        seed, pair = batch.seeds[offset], batch.mask_pairs[offset]
        if seed is None or pair is None:
            raise StateError("the secrets of this round were erased")
        me = setup.ranks[state.me]
        edges = graph.mask_graph(
            setup.setup_hash, round_id, current.participants_hash, current.participants, state.params.neighbours
        )[me]
        keys, signs = [seed], [1]
        for rank in edges:
            shared = pair.agree(setup.mask_key(rank, round_id))
            keys.append(unmasking.pair_seed(shared, setup, round_id, current.participants_hash, me, rank))
            signs.append(unmasking.sign(me, rank))
        secrets = (
            hkdf(batch.rounding, "rounding", u64(round_id), length=16),
            hkdf(batch.rounding, "intent", u64(round_id), length=32),
        )
        mac_key = unmasking.upload_key(batch.server_secret, setup, state.me, round_id)

        def frame(segment: int, index: int, payload: memoryview) -> tuple[bytes, bytes]:
            tag = aead.gmac(mac_key, chunk_nonce(segment, index), payload)
            return encode_chunk(Chunk(setup.session, state.me, round_id, segment, index, tag, payload)), tag

        def finish(tag: bytes) -> bytes:
            self._still(batch, current)
            return commit(state, setup.session, current, MASKED, Kind.MASKED_HEADER, MaskedHeader(
                round_id, state.params.hash, setup.setup_hash, setup.members_hash(batch.members), current.participants_hash,
                context_digest(context), tag, batch.complaints,
            ))  # fmt: skip

        def begin(mark: bytes) -> None:
            self._still(batch, current)
            intend(state, setup.session, current, mark)

        def still() -> None:
            self._still(batch, current)

        return MaskedUpload(
            keys, signs, mac_key, secrets, (current.intent, bool(current.header)), frame, still, begin, finish
        )

    def _still(self, batch: ClientBatch, current: ClientRound) -> None:
        if self._state.round is not current or self._state.batch is not batch or self.awaiting is None:
            raise StateError("the round moved on while its update was being protected")
