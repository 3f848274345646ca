"""The client's part in unmasking: check what the server says of the round, then reveal one kind of share for each peer."""

from __future__ import annotations

from secagg.errors import AbortError, AuthenticationError, EquivocationError, PeerError
from secagg.hazmat import aead
from secagg.hazmat.transcript import digest
from secagg.protocols.pairwise import unmasking
from secagg.protocols.pairwise.client_state import UNMASK, ClientBatch, ClientRound, ClientState
from secagg.protocols.pairwise.dealing import Holding
from secagg.protocols.pairwise.delivery import Delivered, accept_delivery, check_delivery
from secagg.protocols.pairwise.messages import Kind, Unmask, UnmaskRequest
from secagg.protocols.pairwise.setup import Setup
from secagg.protocols.pairwise.transitions import ClientEvent
from secagg.wire import seal_envelope

__all__ = ["unmask_requested"]


def unmask_requested(state: ClientState, body: UnmaskRequest, payload: bytes) -> None:
    """Answer an unmask request, or refuse it.

    Raises
    ------
    AbortError
        The server counts us as dropped out, or the answer could not be made durable; nothing leaves.
    """
    batch, setup = state.need_setup(body.setup_hash, body.round_id, "unmask")
    setup.check_ranks(body.participants, None, "server")
    current, mark = state.round, digest("request", payload)
    if current is None or current.round_id != body.round_id:
        if body.round_id <= state.floor(setup.session):
            raise PeerError("request of an earlier round", peer="server", phase="unmask")
        current = state.new_round(setup, body.round_id, body.participants)
    current.check_same(body.participants, "unmask")
    if current.unmask_digest:
        if current.unmask_digest != mark:
            raise EquivocationError("a second, different unmask request", peer="server", phase="unmask")
        if current is not state.round:
            _catch_up(state, batch, setup, current, body)
        state.out.append(current.answer)
        return
    checked = check_delivery(batch, setup, body.delivery, state.me, state.params.min_cohort, "unmask")
    members = batch.members if checked is None else checked.members
    state.check_participants(setup, members, body.participants, "unmask")
    survivors, uploads, context = _check_survivors(state, current, setup, members, body)
    me = setup.ranks[state.me]
    if me in body.participants and me not in survivors:
        accept_delivery(batch, checked)
        state.enter(batch, current)
        batch.erase_before(body.round_id + 1)
        state.round = None
        raise AbortError("the server counts us as dropped out of this round; nothing was released")
    current.machine.remote(ClientEvent.UNMASK_REQUEST, "server")
    members_hash = setup.members_hash(members)
    account = unmasking.account(setup, body.round_id, members_hash, current.participants_hash, uploads, context)
    answer = _answer(state, batch, setup, current, survivors, account, checked)
    recorded = state.answerable(setup.session, body.round_id, UNMASK, answer, mark)
    if recorded is None:
        raise EquivocationError("another answer was given to this round before", peer="server", phase="unmask")
    accept_delivery(batch, checked)
    state.enter(batch, current)
    current.machine.fire(ClientEvent.UNMASK_REQUEST)
    current.unmask_digest, current.answer, current.resubmit = mark, recorded, False
    batch.erase_before(body.round_id + 1)
    state.out.append(recorded)


def _catch_up(state: ClientState, batch: ClientBatch, setup: Setup, current: ClientRound, body: UnmaskRequest) -> None:
    """Let a state that is older than its last answer take what it had taken with it, and forget what it had forgotten."""
    if body.delivery is not None:
        accept_delivery(batch, check_delivery(batch, setup, body.delivery, state.me, state.params.min_cohort, "unmask"))
    state.enter(batch, current)
    batch.erase_before(body.round_id + 1)


def _check_survivors(
    state: ClientState, current: ClientRound, setup: Setup, members: list[int], body: UnmaskRequest
) -> tuple[list[int], dict[str, bytes], bytes]:
    """Return the survivors' ranks, upload tags and common context hash, every signature and binding checked."""
    if len(body.headers) < state.params.min_clients:
        raise PeerError("fewer survivors than min_clients", peer="server", phase="unmask")
    if len(body.headers) > len(body.participants):
        raise PeerError("more survivors than participants", peer="server", phase="unmask")
    survivors, uploads, context = unmasking.read_headers(setup, members, body, state.roster, state.params)
    me = setup.ranks[state.me]
    if me in survivors:
        if current.body is not None and current.body.context_hash != context:
            raise AuthenticationError("survivors trained on another model than ours", peer="server", phase="unmask")
        if current.header != body.headers[survivors.index(me)]:
            raise AuthenticationError("our own header was substituted", peer="server", phase="unmask")
    return survivors, uploads, context


def _answer(
    state: ClientState,
    batch: ClientBatch,
    setup: Setup,
    current: ClientRound,
    survivors: list[int],
    account: bytes,
    checked: Delivered | None,
) -> bytes:
    round_id = current.round_id
    held: dict[int, Holding] = dict(batch.holdings if checked is None else checked.holdings)
    complaints = batch.complaints if checked is None else checked.complaints
    if batch.own is not None:
        held[setup.ranks[state.me]] = batch.own
    answer = unmasking.make_answer(held, round_id - setup.first_round, survivors, current.participants)
    key = unmasking.answer_key(batch.server_secret, setup, state.me, round_id)
    sealed = aead.seal(key, answer, account, state.entropy)
    body = Unmask(round_id, account, state.identity.sign(account), sealed, complaints)
    return seal_envelope(Kind.UNMASK, setup.session, state.me, body, state.identity.sign)
