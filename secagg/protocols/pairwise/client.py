"""The client of the pairwise protocol: frames in, frames out, one answer a phase.

Theory of operation. A `ClientBatch` holds the secrets of one setup; a `ClientRound` the view of the round in progress.
Every handler first checks everything and only then changes state, so that a refused frame leaves nothing behind. A request
is remembered by its digest: the identical request gets the identical reply, a different one is equivocation. Secrets of a
round are forgotten when it is answered or a later round begins, the channel key as soon as the shares have arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from secagg.errors import (
    AbortError,
    AuthenticationError,
    EquivocationError,
    InputError,
    PeerError,
    StateError,
)
from secagg.hazmat import aead
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest, u64
from secagg.protocols.machine import Machine
from secagg.protocols.pairwise import dealing, graph, unmasking
from secagg.protocols.pairwise.delivery import Delivered, accept_delivery, check_delivery
from secagg.protocols.pairwise.messages import (
    Advertisement,
    Dealing,
    KeysRequest,
    Kind,
    MaskedHeader,
    MaskedRequest,
    SharesRequest,
    Unmask,
    UnmaskRequest,
    context_digest,
    decoders,
    participants_digest,
)
from secagg.protocols.pairwise.setup import Setup, read_advertisements
from secagg.protocols.pairwise.transitions import CLIENT_ROUND, ClientEvent, RoundState
from secagg.protocols.pairwise.upload import ClientBatch, ClientRound, Upload
from secagg.protocols.secret import Secret
from secagg.wire import SERVER, Chunk, Envelope, decode_body, decode_frame, open_envelope, seal_envelope

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["PairwiseClient", "Upload"]

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
    ) -> None:
        self._params = params
        self._me = me
        self._identity = identity
        self._roster = roster
        self._entropy = entropy
        self._session = session
        self._provisional = session is None  # until a shares request with our own fresh keys shows that it lives
        self._batch: ClientBatch | None = None
        self._round: ClientRound | None = None
        self._floor = -1  # highest round id that a setup or round has used
        self._out: list[bytes] = []

    # -- what the facade sees -------------------------------------------------------------------------------------

    @property
    def session(self) -> bytes | None:
        """The pinned session id, or None before the first request."""
        return self._session

    @property
    def awaiting(self) -> int | None:
        """The round an update is asked for, or None."""
        current = self._round
        if current is None:
            return None
        return current.round_id if current.machine.state is RoundState.AWAITING or current.resubmit else None

    def take_outbox(self) -> list[bytes]:
        """Return and forget the frames to send, oldest first."""
        out, self._out = self._out, []
        return out

    def send(self, frames: list[bytes]) -> None:
        """Queue the frames of a finished upload."""
        self._out += frames

    def receive(self, frame: bytes) -> None:
        """Take one frame of the server's; state changes only if all of it holds."""
        kind, outer = decode_frame(frame, max_bytes=self._params.max_frame_bytes)
        if kind not in _REQUESTS or not isinstance(outer, Envelope) or outer.sender != SERVER:
            raise PeerError("not a request of the server's", peer="server")
        if self._session not in (None, outer.session) and not (self._provisional and kind == Kind.KEYS_REQUEST):
            raise AuthenticationError("frame of another session", peer="server")
        payload = open_envelope(kind, outer, self._roster.server)
        body = decode_body(payload, decoders[Kind(kind)], SERVER)
        match body:
            case KeysRequest():
                self._keys_requested(body, outer.session, payload)
            case SharesRequest():
                self._shares_requested(body, payload)
            case MaskedRequest():
                self._masked_requested(body)
            case UnmaskRequest():
                self._unmask_requested(body, payload)

    # -- setup ----------------------------------------------------------------------------------------------------

    def _keys_requested(self, body: KeysRequest, session: bytes, payload: bytes) -> None:
        mark = digest("request", session, payload)
        # A request of another session, let in while ours is provisional, is judged as if we were new; ours stays until it holds.
        batch, floor = (self._batch, self._floor) if self._session == session else (None, -1)
        if batch is not None and batch.request_digest == mark:
            self._out.append(batch.advertisement)
            return
        if batch is not None and body.first_round == batch.request.first_round:
            raise EquivocationError("a second, different keys request", peer="server", phase="keys")
        if body.params_hash != self._params.hash or body.rounds != self._params.rounds_per_setup:
            raise AuthenticationError("the server asks under other Params than ours", peer="server", phase="keys")
        if body.roster_hash != self._roster.hash():
            raise AuthenticationError("the server has another roster than ours", peer="server", phase="keys")
        if body.first_round <= floor or body.first_round >= 1 << 63:
            raise PeerError("round id does not increase", peer="server", phase="keys")
        channel = KeyPair.generate(self._entropy)
        server_secret = channel.agree(body.server_key)  # refuses a small-order server key before anything is kept
        pairs = [KeyPair.generate(self._entropy) for _ in range(body.rounds)]
        advertisement = seal_envelope(
            Kind.ADVERTISEMENT, session, self._me,
            Advertisement(
                body.first_round, body.rounds, body.params_hash, body.server_key, channel.public_bytes,
                b"".join(pair.public_bytes for pair in pairs),
            ),
            self._identity.sign,
        )  # fmt: skip
        seeds = [self._entropy(dealing.SEED_BYTES) for _ in pairs]
        self._batch = ClientBatch(
            body, mark, advertisement, channel, server_secret, [*pairs], [*seeds], self._entropy(32)
        )
        self._batch.machine.fire(ClientEvent.KEYS_REQUEST)
        self._round = None
        self._session = session
        self._floor = max(floor, body.first_round - 1)
        self._out.append(advertisement)

    def _need_batch(self, phase: str) -> ClientBatch:
        if self._batch is None:
            raise PeerError("no setup is under way here", peer="server", phase=phase)
        return self._batch

    def _shares_requested(self, body: SharesRequest, payload: bytes) -> None:
        batch = self._need_batch("shares")
        mark = digest("request", payload)
        if batch.shares_digest:
            if batch.shares_digest != mark:
                raise EquivocationError("a second, different shares request", peer="server", phase="shares")
            batch.machine.remote(ClientEvent.DELIVERY, "server")  # once delivered, the dealing itself is forgotten
            self._out.append(batch.dealt)
            return
        batch.machine.remote(ClientEvent.SHARES_REQUEST, "server")
        if body.first_round != batch.request.first_round:
            raise PeerError("shares request of another setup", peer="server", phase="shares")
        if len(body.advertisements) < self._params.min_cohort:
            raise PeerError("cohort is below min_cohort", peer="server", phase="shares")
        setup = read_advertisements(body, batch.request, self._session or b"", self._roster, self._params)
        me = setup.ranks.get(self._me)
        if me is None or body.advertisements[me] != batch.advertisement:
            raise AuthenticationError("our own keys were left out or substituted", peer="server", phase="shares")
        frame, own = self._deal(batch, setup, me)
        batch.setup, batch.own, batch.dealt, batch.shares_digest = setup, own, frame, mark
        batch.machine.fire(ClientEvent.SHARES_REQUEST)
        self._provisional = False
        self._out.append(frame)

    def _deal(self, batch: ClientBatch, setup: Setup, me: int) -> tuple[bytes, dealing.Holding]:
        seeds = [seed for seed in batch.seeds if seed is not None]
        keys = [pair.private_bytes() for pair in batch.mask_pairs if pair is not None]
        others = setup.neighbours[me]
        if batch.channel is None:
            raise StateError("the setup's channel key was erased")
        batch.pairwise = {rank: batch.channel.agree(setup.advertisements[rank].channel_key) for rank in others}
        plain = dealing.deal(seeds, keys, self._params.threshold, me, others, self._entropy)
        sealed = [
            dealing.seal_holding(shared, setup.setup_hash, self._me, setup.ids[rank], plain[rank], self._entropy)
            for rank, shared in batch.pairwise.items()
        ]
        roots = b"".join(dealing.Holding.of(plain[rank], setup.rounds).root() for rank in sorted(plain))
        commitments = b"".join(
            dealing.commitment(setup.setup_hash, self._me, setup.first_round + i, seed) for i, seed in enumerate(seeds)
        )
        body = Dealing(setup.first_round, setup.setup_hash, commitments, roots, b"".join(sealed))
        frame = seal_envelope(Kind.DEALING, setup.session, self._me, body, self._identity.sign)
        return frame, dealing.Holding.of(plain[me], setup.rounds)

    # -- rounds ---------------------------------------------------------------------------------------------------

    def _need_setup(self, setup_hash: bytes, round_id: int, phase: str) -> tuple[ClientBatch, Setup]:
        batch = self._need_batch(phase)
        if batch.setup is None:
            raise PeerError("no shares were dealt yet", peer="server", phase=phase)
        if setup_hash != batch.setup.setup_hash:
            raise AuthenticationError("request of another setup", peer="server", phase=phase)
        if not batch.setup.covers(round_id):
            raise PeerError("round is not in this setup", peer="server", phase=phase)
        return batch, batch.setup

    def _check_participants(self, setup: Setup, members: list[int], participants: list[int], phase: str) -> None:
        setup.check_ranks(participants, members, "server")
        if not self._params.min_clients <= len(participants) <= self._params.max_participants:
            raise PeerError("number of participants is outside Params", peer="server", phase=phase)

    def _masked_requested(self, body: MaskedRequest) -> None:
        batch, setup = self._need_setup(body.setup_hash, body.round_id, "masked")
        current = self._round
        if current is not None and current.round_id == body.round_id:
            if current.participants != body.participants:
                raise EquivocationError("the same round again with other participants", peer="server", phase="masked")
            if current.machine.state is RoundState.ANSWERED:
                raise PeerError("the round was answered already", peer="server", phase="masked")
            current.resubmit = current.machine.state is RoundState.SUBMITTED
            return
        if body.round_id <= self._floor:
            raise PeerError("round id does not increase", peer="server", phase="masked")
        checked = check_delivery(batch, setup, body.delivery, self._me, self._params.min_cohort, "masked")
        members = batch.members if checked is None else checked.members
        self._check_participants(setup, members, body.participants, "masked")
        if setup.ranks[self._me] not in body.participants:
            raise PeerError("an update is asked of us but we are no participant", peer="server", phase="masked")
        accept_delivery(batch, checked)
        self._begin(batch, setup, body.round_id, body.participants, RoundState.IDLE).machine.fire(
            ClientEvent.MASKED_REQUEST
        )

    def _begin(
        self, batch: ClientBatch, setup: Setup, round_id: int, participants: list[int], state: RoundState
    ) -> ClientRound:
        batch.erase_before(round_id)
        self._floor = round_id
        view = participants_digest(setup.setup_hash, round_id, setup.names(participants))
        self._round = ClientRound(round_id, list(participants), view, Machine(CLIENT_ROUND, state))
        return self._round

    def begin_upload(self, context: bytes) -> Upload:
        """Return the masks and framer of the awaited update; nothing is committed yet.

        Raises
        ------
        StateError
            No update is awaited.
        """
        current, batch = self._round, self._batch
        if current is None or batch is None or batch.setup is None or self.awaiting is None:
            raise StateError("no update is awaited; receive() the server's request first")
        setup, session, round_id = batch.setup, self._session or b"", current.round_id
        offset = round_id - setup.first_round
        seed, pair = batch.seeds[offset], batch.mask_pairs[offset]
        if seed is None or pair is None:
            raise StateError("the secrets of this round were erased")
        me = setup.ranks[self._me]
        edges = graph.mask_graph(
            setup.setup_hash,
            round_id,
            current.participants_hash,
            current.participants,
            self._params.neighbours,
        )[me]
        keys, signs = [seed], [1]
        for rank in edges:
            shared = pair.agree(setup.mask_key(rank, round_id))
            keys.append(unmasking.pair_seed(shared, setup, round_id, current.participants_hash, me, rank))
            signs.append(unmasking.sign(me, rank))
        mac_key = unmasking.upload_key(batch.server_secret, setup, self._me, round_id)
        rounding = hkdf(batch.rounding, "rounding", u64(round_id), length=16)

        def frame(segment: int, index: int, tag: bytes, payload: memoryview) -> Chunk:
            return Chunk(session, self._me, round_id, segment, index, tag, payload)

        def finish(tag: bytes) -> bytes:
            return self._commit(batch, setup, current, MaskedHeader(
                round_id, self._params.hash, setup.setup_hash, setup.members_hash(batch.members), current.participants_hash,
                context_digest(context), tag, batch.complaints,
            ))  # fmt: skip

        return Upload(keys, signs, rounding, mac_key, frame, finish)

    def _commit(self, batch: ClientBatch, setup: Setup, current: ClientRound, body: MaskedHeader) -> bytes:
        if self._round is not current or self._batch is not batch or self.awaiting is None:
            raise StateError("the round moved on while its update was being protected")
        if current.body is not None:
            if current.body != body:
                raise InputError("another update was already submitted for this round; submit the same one or none")
            current.resubmit = False
            return current.header
        header = seal_envelope(Kind.MASKED_HEADER, setup.session, self._me, body, self._identity.sign)
        current.machine.fire(ClientEvent.SUBMIT)
        current.header, current.body = header, body
        return header

    def _unmask_requested(self, body: UnmaskRequest, payload: bytes) -> None:
        batch, setup = self._need_setup(body.setup_hash, body.round_id, "unmask")
        current, mark = self._round, digest("request", payload)
        fresh = current is None or body.round_id > current.round_id
        if current is not None and not fresh:
            if body.round_id < current.round_id:
                raise PeerError("request of an earlier round", peer="server", phase="unmask")
            if current.unmask_digest:
                if current.unmask_digest != mark:
                    raise EquivocationError("a second, different unmask request", peer="server", phase="unmask")
                self._out.append(current.answer)
                return
        elif body.round_id <= self._floor:
            raise PeerError("request of an earlier round", peer="server", phase="unmask")
        checked = check_delivery(batch, setup, body.delivery, self._me, self._params.min_cohort, "unmask")
        members = batch.members if checked is None else checked.members
        self._check_participants(setup, members, body.participants, "unmask")
        if not fresh and current is not None and current.participants != body.participants:
            raise EquivocationError("the same round with other participants", peer="server", phase="unmask")
        survivors, context = self._check_survivors(setup, members, body)
        me = setup.ranks[self._me]
        if me in body.participants and me not in survivors:
            self._end_dead(batch, setup, body, checked, fresh=fresh)
        self._check_own(current, me, survivors, body)
        accept_delivery(batch, checked)
        if fresh or current is None:
            current = self._begin(batch, setup, body.round_id, body.participants, RoundState.IDLE)
        answer = self._answer(batch, setup, current, survivors, context)
        current.machine.fire(ClientEvent.UNMASK_REQUEST)
        current.unmask_digest, current.answer, current.resubmit = mark, answer, False
        batch.erase_before(body.round_id + 1)
        self._out.append(answer)

    def _check_own(self, current: ClientRound | None, me: int, survivors: list[int], body: UnmaskRequest) -> None:
        if me not in survivors:
            return
        mine = body.headers[survivors.index(me)]
        if current is None or current.round_id != body.round_id or current.header != mine:
            raise AuthenticationError("our own header was substituted", peer="server", phase="unmask")

    def _end_dead(
        self,
        batch: ClientBatch,
        setup: Setup,
        body: UnmaskRequest,
        checked: Delivered | None,
        *,
        fresh: bool,
    ) -> None:
        """End a round whose request says that we dropped out: answer nothing, forget its secrets."""
        accept_delivery(batch, checked)
        if fresh:
            self._begin(batch, setup, body.round_id, body.participants, RoundState.IDLE)
        batch.erase_before(body.round_id + 1)
        self._round = None
        raise AbortError("the server counts us as dropped out of this round; nothing was released")

    def _check_survivors(self, setup: Setup, members: list[int], body: UnmaskRequest) -> tuple[list[int], bytes]:
        """Return the survivors' ranks and their common context hash, every signature and binding checked."""
        if len(body.headers) < self._params.min_clients:
            raise PeerError("fewer survivors than min_clients", peer="server", phase="unmask")
        if len(body.headers) > len(body.participants):
            raise PeerError("more survivors than participants", peer="server", phase="unmask")
        survivors, context = unmasking.read_headers(setup, members, body, self._roster, self._params)
        current = self._round
        ours = current.body if current is not None and current.round_id == body.round_id else None
        if ours is not None and setup.ranks[self._me] in survivors and ours.context_hash != context:
            raise AuthenticationError("survivors trained on another model than ours", peer="server", phase="unmask")
        return survivors, context

    def _answer(
        self, batch: ClientBatch, setup: Setup, current: ClientRound, survivors: list[int], context: bytes
    ) -> bytes:
        round_id, me = current.round_id, setup.ranks[self._me]
        offset = round_id - setup.first_round
        holdings = dict(batch.holdings)
        if batch.own is not None:
            holdings[me] = batch.own
        answer = unmasking.make_answer(holdings, offset, survivors, current.participants)
        account = unmasking.account(setup, round_id, batch.members, current.participants_hash, survivors, context)
        sealed = aead.seal(
            unmasking.answer_key(batch.server_secret, setup, self._me, round_id), answer, account, self._entropy
        )
        body = Unmask(round_id, account, self._identity.sign(account), sealed, batch.complaints)
        return seal_envelope(Kind.UNMASK, setup.session, self._me, body, self._identity.sign)
