"""The server of the pairwise protocol: phases advance only by `close_phase`, frames are taken at any time.

Theory of operation. A `ServerState` holds what one setup fixed and what the round in progress has gathered. `Intake` fills it
from client frames; this class moves it from phase to phase and writes the requests. A phase that ends with too few aborts the
round: its id is burned, nothing is released, the session goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from secagg.errors import AbortError, InputError, StateError, ThresholdError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.pairwise import graph, unmasking
from secagg.protocols.pairwise.intake import Intake
from secagg.protocols.pairwise.memo import Memo, read_memo
from secagg.protocols.pairwise.messages import (
    HASH_BYTES,
    Dealing,
    Delivery,
    KeysRequest,
    Kind,
    MaskedRequest,
    SharesRequest,
    UnmaskRequest,
    participants_digest,
)
from secagg.protocols.pairwise.opening import Opener, Opening
from secagg.protocols.pairwise.setup import Setup, read_advertisements
from secagg.protocols.pairwise.state import Batch, Bulk, Round, ServerState, holder_root
from secagg.protocols.pairwise.transitions import ServerEvent, ServerPhase
from secagg.protocols.rounds import check_participants, check_round_id, known, listed, one_model
from secagg.protocols.serving import Serving

if TYPE_CHECKING:
    import msgspec

    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["Opening", "PairwiseServer"]


class PairwiseServer(Serving[ServerState, Opening]):
    """The server's state across the setups and rounds of a session."""

    _events = ServerEvent

    def __init__(
        self,
        params: Params,
        identity: Identity,
        roster: Roster,
        bulk: Callable[[], Bulk],
        entropy: Callable[[int], bytes],
        session: bytes | None = None,
    ) -> None:
        state = ServerState(params, roster, entropy(16) if session is None else session, bulk())
        super().__init__(params, identity, roster, bulk, state, Intake(state))
        self._entropy = entropy
        self._cohort = tuple(roster.ids)

    # -- what the facade sees -------------------------------------------------------------------------------------

    @property
    def setting_up(self) -> bool:
        """Whether the open phase belongs to a setup."""
        return self._machine.state in {ServerPhase.KEYS, ServerPhase.SHARES}

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids still awaited in the open phase, sorted."""
        batch, current = self._state.batch, self._state.round
        if batch is None or current is None:
            return ()
        match self._machine.state:
            case ServerPhase.KEYS:
                return tuple(c for c in batch.cohort if c not in batch.advertisements)
            case ServerPhase.SHARES if batch.setup is not None:
                return tuple(c for c in batch.setup.ids if c not in batch.dealings)
            case ServerPhase.MASKED if batch.setup is not None:
                gone = current.complete.keys() | current.excluded
                return tuple(c for c in batch.setup.names(current.participants) if c not in gone)
            case ServerPhase.UNMASK if batch.setup is not None:
                return tuple(c for c in batch.setup.names(self._state.asked()) if c not in current.answer_frames)
        return ()

    def open_round(self, round_id: int, participants: Collection[str] | None, cohort: Collection[str] | None) -> None:
        """Ask for a round; setup runs first when there is none for it, `cohort` differs or too few members are left."""
        check_round_id(round_id, self._floor)
        batch = self._state.batch
        crew = known(self._roster, cohort, "cohort") if cohort is not None else self._cohort
        wanted = known(self._roster, participants, "participants") if participants is not None else crew
        if not set(wanted) <= set(crew):
            raise InputError("participants must belong to the cohort")
        check_participants(self._params, wanted)
        if not self._params.min_cohort <= len(crew) <= self._params.clients:
            raise InputError(
                f"a cohort of {len(crew)}; these Params allow {self._params.min_cohort} to {self._params.clients}"
            )
        fresh = batch is None or batch.setup is None or not batch.setup.covers(round_id) or batch.cohort != crew
        if not fresh and batch is not None and batch.setup is not None:
            useless = self._state.unopenable(batch.members)
            members = {batch.setup.ids[rank] for rank in batch.members if rank not in useless}
            fresh = len(members.intersection(wanted)) < self._params.min_clients
        if fresh and round_id + self._params.rounds_per_setup > 1 << 63:
            raise InputError("the setup's last round would be beyond 2**63 - 1")
        self._machine.local(ServerEvent.OPEN_SETUP)
        self._floor, self._wanted, self._cohort = round_id, wanted, crew
        self._state.round = Round(round_id)
        self._state.bulk = self._new_bulk()
        if fresh:
            self._machine.fire(ServerEvent.OPEN_SETUP)
            self._ask_keys(round_id, crew)
        else:
            self._machine.fire(ServerEvent.OPEN_ROUND)
            self._ask_masked()

    def _close(self) -> Opening | None:
        match self._machine.state:
            case ServerPhase.KEYS:
                self._close_keys()
            case ServerPhase.SHARES:
                self._close_shares()
            case ServerPhase.MASKED:
                self._close_masked()
            case _:
                return self._close_unmask()
        return None

    @property
    def _unfinished(self) -> bool:
        return self._state.batch is not None and not self._state.batch.members

    # -- what outlives a round, for a journal ---------------------------------------------------------------------

    def memo(self) -> bytes:
        """Return what outlives a round and does not follow from the frames of the setup."""
        return Memo.of(self._state, self._floor, self._cohort).to_bytes()

    def recall(self, memo: bytes) -> None:
        """Between rounds: know what was known when `memo` was made; InputError if it is none of this session's."""
        kept = read_memo(memo, self._roster)
        self._floor, self._cohort = kept.floor, tuple(kept.cohort)
        kept.fill(self._state)

    def forget(self) -> None:
        """Between rounds: know no setup, so that the next round runs one."""
        self._state.batch = None

    # -- keys -----------------------------------------------------------------------------------------------------

    def _ask_keys(self, round_id: int, cohort: tuple[str, ...]) -> None:
        pair = KeyPair.generate(self._entropy)
        request = KeysRequest(
            round_id, self._params.rounds_per_setup, self._params.hash, self._roster.hash(), pair.public_bytes
        )
        self._state.batch = Batch(cohort, request, pair, keys_seen={pair.public_bytes})
        frame = self._sign(Kind.KEYS_REQUEST, request)
        everybody = len(cohort) == len(self._roster)
        self._out += [(None, frame)] if everybody else [(c, frame) for c in cohort]

    def _close_keys(self) -> None:
        batch = self._state.batch
        if batch is None:
            raise StateError("no setup is under way")
        have = len(batch.advertisements)
        if have < self._params.min_cohort:
            raise ThresholdError("clients that sent keys", self._params.min_cohort, have)
        ids = sorted(batch.advertisements, key=str.encode)
        body = SharesRequest(batch.request.first_round, [batch.advertisements[c] for c in ids])
        batch.setup = read_advertisements(body, batch.request, self.session, self._roster, self._params)
        frame = self._sign(Kind.SHARES_REQUEST, body)
        self._machine.fire(ServerEvent.CLOSE)
        self._out += [(c, frame) for c in ids]

    # -- shares ---------------------------------------------------------------------------------------------------

    def _close_shares(self) -> None:
        batch, setup, _ = self._state.setup()
        members = [rank for rank, name in enumerate(setup.ids) if name in batch.dealings]
        if len(members) < self._params.min_cohort:
            raise ThresholdError("clients that dealt shares", self._params.min_cohort, len(members))
        batch.members, batch.members_hash = members, setup.members_hash(members)
        self._machine.fire(ServerEvent.CLOSE)
        self._ask_masked()

    # -- masked ---------------------------------------------------------------------------------------------------

    def _ask_masked(self) -> None:
        batch, setup, current = self._state.setup()
        wanted = set(self._wanted)
        ready = [rank for rank in batch.members if setup.ids[rank] in wanted]
        lost = self._state.unopenable(ready)  # known to be useless from an earlier round of the batch
        current.participants = [rank for rank in ready if rank not in lost]
        if len(current.participants) < self._params.min_clients:
            raise ThresholdError("participants with shares", self._params.min_clients, len(current.participants))
        current.participants_hash = participants_digest(
            setup.setup_hash, current.round_id, setup.names(current.participants)
        )
        self._send_each(
            Kind.MASKED_REQUEST,
            current.participants,
            lambda delivery: MaskedRequest(current.round_id, setup.setup_hash, current.participants, delivery),
        )

    def _send_each(self, kind: Kind, ranks: Iterable[int], body: Callable[[Delivery | None], msgspec.Struct]) -> None:
        _, setup, _ = self._state.setup()
        plain: bytes | None = None
        for rank in ranks:
            delivery = self._state.delivery(rank)
            if delivery is None:
                plain = plain or self._sign(kind, body(None))
                self._out.append((setup.ids[rank], plain))
            else:
                self._out.append((setup.ids[rank], self._sign(kind, body(delivery))))

    def _close_masked(self) -> None:
        batch, setup, current = self._state.setup()
        current.context, current.survivors = one_model(self._params, {
            rank: current.complete[setup.ids[rank]]
            for rank in current.participants
            if setup.ids[rank] in current.complete
        })  # fmt: skip
        for rank, unhappy in self._state.unopenable(current.survivors).items():
            raise AbortError(
                f"too few hold good shares of {setup.ids[rank]!r}: {', '.join(setup.names(unhappy))} complained of them"
            )
        current.account = unmasking.account(
            setup,
            current.round_id,
            batch.members_hash,
            current.participants_hash,
            {setup.ids[rank]: current.headers[setup.ids[rank]][1].tag for rank in current.survivors},
            current.context,
        )
        headers = [current.headers[setup.ids[rank]][0] for rank in current.survivors]
        self._machine.fire(ServerEvent.CLOSE)
        self._send_each(
            Kind.UNMASK_REQUEST,
            self._state.asked(),
            lambda delivery: UnmaskRequest(current.round_id, setup.setup_hash, current.participants, headers, delivery),
        )

    # -- unmask ---------------------------------------------------------------------------------------------------

    def _close_unmask(self) -> Opening:
        batch, setup, current = self._state.setup()
        if len(current.answers) < self._params.threshold and self._params.full:
            raise ThresholdError("answers at unmask", self._params.threshold, len(current.answers))
        offset = current.round_id - setup.first_round
        bodies = {rank: batch.dealings[setup.ids[rank]][1] for rank in batch.members}
        opener = Opener(
            setup, current.round_id, self._params.threshold,
            {rank: _Roots(setup, body, rank) for rank, body in bodies.items()},
            {rank: body.commitments[offset * HASH_BYTES : (offset + 1) * HASH_BYTES] for rank, body in bodies.items()},
            current.answers,
        )  # fmt: skip
        dropouts = [rank for rank in current.participants if not listed(current.survivors, rank)]
        try:
            keys = opener.seeds(current.survivors)
            pairs = opener.mask_keys(dropouts)
        except AbortError as error:
            error.add_note(f"blamed: {opener.blamed}")
            raise
        signs = [-1] * len(keys)
        edges = graph.mask_graph(
            setup.setup_hash,
            current.round_id,
            current.participants_hash,
            current.participants,
            self._params.neighbours,
        )
        alive = set(current.survivors)
        for dropout, pair in zip(dropouts, pairs, strict=True):
            for rank in edges[dropout]:
                if rank in alive:
                    shared = pair.agree(setup.mask_key(rank, current.round_id))
                    keys.append(
                        unmasking.pair_seed(shared, setup, current.round_id, current.participants_hash, dropout, rank)
                    )
                    signs.append(-unmasking.sign(rank, dropout))
        self._machine.fire(ServerEvent.CLOSE)
        self._state.round = None
        return Opening(
            current.round_id, current.context, keys, signs, tuple(setup.names(current.participants)),
            {setup.ids[rank]: current.headers[setup.ids[rank]][1].tag for rank in current.survivors},
            batch.members_hash, setup.setup_hash, self.session, current.account, current.signatures,
            opener.blamed,
        )  # fmt: skip


class _Roots(dict[int, bytes]):
    """A dealer's signed hash per holder, cut from its dealing when a share has to be checked."""

    def __init__(self, setup: Setup, body: Dealing, dealer: int) -> None:
        super().__init__()
        self._source = (setup, body, dealer)

    def __missing__(self, holder: int) -> bytes:
        setup, body, dealer = self._source
        return holder_root(setup, body, dealer, holder)
