"""The client's part in a setup: advertise fresh keys, deal shares of them."""

from __future__ import annotations

from collections.abc import Callable

from secagg.errors import AuthenticationError, EquivocationError, PeerError, StateError
from secagg.hazmat import prg
from secagg.hazmat.agreement import KeyPair, check_public_key
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest
from secagg.protocols.pairwise import dealing
from secagg.protocols.pairwise.client_state import MASKED, SHARES, UNMASK, ClientBatch, ClientState
from secagg.protocols.pairwise.messages import Advertisement, Dealing, KeysRequest, Kind, SharesRequest
from secagg.protocols.pairwise.setup import Setup, read_advertisements
from secagg.protocols.pairwise.transitions import ClientEvent
from secagg.protocols.party import INTENT
from secagg.wire import seal_envelope

__all__ = ["keys_requested", "shares_requested"]

SECRET_BYTES = 32


def keys_requested(state: ClientState, body: KeysRequest, session: bytes, payload: bytes) -> None:
    """Answer a keys request with an advertisement of fresh keys, or refuse it."""
    mark = digest("request", session, payload)
    # A request of another session, let in while ours is provisional, is judged as if we were new; ours stays until it holds.
    batch = state.batch if state.session == session else None
    if batch is not None and batch.request_digest == mark:
        state.out.append(batch.advertisement)
        return
    if batch is not None and body.first_round == batch.request.first_round:
        raise EquivocationError("a second, different keys request", peer="server", phase="keys")
    _check_keys_request(state, body, session)
    channel = KeyPair.generate(state.entropy)
    server_secret = channel.agree(body.server_key)
    pairs = [KeyPair.generate(state.entropy) for _ in range(body.rounds)]
    seeds = [state.entropy(dealing.SEED_BYTES) for _ in pairs]
    rounding, sharing = state.entropy(SECRET_BYTES), state.entropy(SECRET_BYTES)
    advertisement = seal_envelope(
        Kind.ADVERTISEMENT, session, state.me,
        Advertisement(
            body.first_round, body.rounds, body.params_hash, body.server_key, channel.public_bytes,
            b"".join(pair.public_bytes for pair in pairs),
        ),
        state.identity.sign,
    )  # fmt: skip
    state.own_floor = max(state.floor(session), body.first_round - 1)
    state.batch = ClientBatch(body, mark, advertisement, channel, server_secret, [*pairs], [*seeds], rounding, sharing)
    state.batch.machine.fire(ClientEvent.KEYS_REQUEST)
    state.round = None
    state.session = session
    state.out.append(advertisement)


def _check_keys_request(state: ClientState, body: KeysRequest, session: bytes) -> None:
    if body.params_hash != state.params.hash or body.rounds != state.params.rounds_per_setup:
        raise AuthenticationError("the server asks under other Params than ours", peer="server", phase="keys")
    if body.roster_hash != state.roster.hash():
        raise AuthenticationError("the server has another roster than ours", peer="server", phase="keys")
    if body.first_round <= state.floor(session) or body.first_round + body.rounds > 1 << 63:
        raise PeerError("round id does not increase", peer="server", phase="keys")
    check_public_key(body.server_key)  # before anything is drawn
    if any(state.memory.recall(session, body.first_round, phase) for phase in (SHARES, INTENT, MASKED, UNMASK)):
        # A copy or an earlier state of this client took part: keys drawn now could never be used.
        raise PeerError("this client took part in that round already", peer="server", phase="keys")


def shares_requested(state: ClientState, body: SharesRequest, payload: bytes) -> None:
    """Answer a shares request with a dealing, or refuse it."""
    batch = state.need_batch("shares")
    mark = digest("request", payload)
    if body.first_round != batch.request.first_round:  # before blame: another setup's request is no equivocation
        raise PeerError("shares request of another setup", peer="server", phase="shares")
    if batch.shares_digest:
        if batch.shares_digest != mark:
            raise EquivocationError("a second, different shares request", peer="server", phase="shares")
        batch.machine.remote(ClientEvent.DELIVERY, "server")  # once delivered, the dealing itself is forgotten
        state.out.append(batch.dealt)
        return
    batch.machine.remote(ClientEvent.SHARES_REQUEST, "server")
    if len(body.advertisements) < state.params.min_cohort:
        raise PeerError("cohort is below min_cohort", peer="server", phase="shares")
    setup = read_advertisements(body, batch.request, state.session or b"", state.roster, state.params)
    me = setup.ranks.get(state.me)
    if me is None or body.advertisements[me] != batch.advertisement:
        raise AuthenticationError("our own keys were left out or substituted", peer="server", phase="shares")
    pairwise, frame, own = _deal(state, batch, setup, me)
    if state.answerable(setup.session, setup.first_round, SHARES, frame, b"") is None:
        raise EquivocationError("other shares of this setup were dealt before", peer="server", phase="shares")
    batch.pairwise, batch.setup, batch.own, batch.dealt, batch.shares_digest = pairwise, setup, own, frame, mark
    batch.machine.fire(ClientEvent.SHARES_REQUEST)
    state.provisional = False
    state.out.append(frame)


def _deal(
    state: ClientState, batch: ClientBatch, setup: Setup, me: int
) -> tuple[dict[int, bytes], bytes, dealing.Holding]:
    seeds = [seed for seed in batch.seeds if seed is not None]
    keys = [pair.private_bytes() for pair in batch.mask_pairs if pair is not None]
    others = setup.neighbours[me]
    if batch.channel is None:
        raise StateError("the setup's channel key was erased")
    pairwise = {rank: batch.channel.agree(setup.advertisements[rank].channel_key) for rank in others}
    entropy = _derived(hkdf(batch.dealing, "dealing", setup.setup_hash, length=prg.SEED_BYTES))
    plain = dealing.deal(seeds, keys, state.params.threshold, me, others, entropy)
    sealed = [
        dealing.seal_holding(shared, setup.setup_hash, state.me, setup.ids[rank], plain[rank], entropy)
        for rank, shared in pairwise.items()
    ]
    roots = b"".join(dealing.Holding.of(plain[rank], setup.rounds).root() for rank in sorted(plain))
    commitments = b"".join(
        dealing.commitment(setup.setup_hash, state.me, setup.first_round + i, seed) for i, seed in enumerate(seeds)
    )
    body = Dealing(setup.first_round, setup.setup_hash, commitments, roots, b"".join(sealed))
    frame = seal_envelope(Kind.DEALING, setup.session, state.me, body, state.identity.sign)
    return pairwise, frame, dealing.Holding.of(plain[me], setup.rounds)


def _derived(key: bytes) -> Callable[[int], bytes]:
    """Return a source of the keystream of `key` in order, so that one state answers one request with one dealing."""
    used = 0

    def draw(length: int) -> bytes:
        nonlocal used
        made = prg.expand(key, 0, length, start=used)
        used += length
        return made

    return draw
