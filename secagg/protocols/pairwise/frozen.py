"""A client's state as bytes and back, for sealed snapshots. The bytes are secret; their form is no part of the protocol."""

from __future__ import annotations

import msgspec

from secagg.errors import DecodeError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.machine import Machine
from secagg.protocols.memory import UNREADABLE
from secagg.protocols.pairwise import dealing, graph
from secagg.protocols.pairwise.client_state import UNMASK, ClientBatch, ClientRound, ClientState, read_header
from secagg.protocols.pairwise.messages import Advertisement, KeysRequest, participants_digest
from secagg.protocols.pairwise.setup import Setup
from secagg.protocols.pairwise.transitions import CLIENT_ROUND, CLIENT_SETUP, RoundState, SetupState
from secagg.protocols.secret import SecretStruct

__all__ = ["freeze", "thaw"]


class _Frozen(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base: an array of exactly its fields."""


class _Holding(_Frozen, frozen=True):
    salt: bytes
    shares: list[bytes | None]
    erased: list[bytes]  # leaf hashes of the erased shares, in order; the others are computed again


class _Setup(_Frozen, frozen=True):
    ids: list[str]
    advertisements: list[Advertisement]
    setup_hash: bytes


class _Batch(_Frozen, frozen=True):
    request: KeysRequest
    request_digest: bytes
    advertisement: bytes
    channel: bytes | None
    server_secret: bytes
    mask_keys: list[bytes | None]
    seeds: list[bytes | None]
    rounding: bytes
    dealing: bytes
    phase: str
    pairwise: dict[int, bytes]
    setup: _Setup | None
    shares_digest: bytes
    dealt: bytes
    own: _Holding | None
    members: list[int]
    holdings: dict[int, _Holding]
    complaints: list[int]


class _Round(_Frozen, frozen=True):
    round_id: int
    participants: list[int]
    phase: str
    intent: bytes
    header: bytes
    resubmit: bool
    unmask_digest: bytes
    answer: bytes


class _State(_Frozen, frozen=True):
    session: bytes | None
    provisional: bool
    floor: int
    batch: _Batch | None
    round: _Round | None


_decoder = msgspec.msgpack.Decoder(_State)


def freeze(state: ClientState) -> bytes:
    """Return the state without its outbox. Secret."""
    batch, current = state.batch, state.round
    return msgspec.msgpack.encode(
        _State(
            state.session,
            state.provisional,
            state.own_floor,
            None if batch is None else _freeze_batch(batch),
            None if current is None else _freeze_round(current),
        )
    )


def _freeze_batch(batch: ClientBatch) -> _Batch:
    setup = batch.setup
    return _Batch(
        batch.request, batch.request_digest, batch.advertisement, _private(batch.channel), batch.server_secret,
        [_private(pair) for pair in batch.mask_pairs], batch.seeds, batch.rounding, batch.dealing,
        batch.machine.state.value, batch.pairwise,
        None if setup is None else _Setup(list(setup.ids), list(setup.advertisements), setup.setup_hash),
        batch.shares_digest, batch.dealt, None if batch.own is None else _freeze_holding(batch.own), batch.members,
        {rank: _freeze_holding(held) for rank, held in batch.holdings.items()}, batch.complaints,
    )  # fmt: skip


def _private(pair: KeyPair | None) -> bytes | None:
    return None if pair is None else pair.private_bytes()


def _freeze_holding(held: dealing.Holding) -> _Holding:
    erased = [leaf for leaf, share in zip(held.leaves, held.shares, strict=False) if share is None]
    return _Holding(held.salt, held.shares, erased)


def _freeze_round(current: ClientRound) -> _Round:
    return _Round(
        current.round_id, current.participants, current.machine.state.value, current.intent, current.header, current.resubmit,
        current.unmask_digest, current.answer,
    )  # fmt: skip


def thaw(state: ClientState, data: bytes) -> None:
    """Fill a fresh state; whatever its memory knows to have left since then stands.

    Raises
    ------
    DecodeError
        Not what `freeze` returned.
    """
    try:
        _thaw(state, _decoder.decode(data))
    except UNREADABLE:
        raise DecodeError("not a snapshot of this version") from None


def _thaw(state: ClientState, frozen: _State) -> None:
    batch = None if frozen.batch is None else _thaw_batch(state, frozen.batch, frozen.session or b"")
    state.session, state.provisional, state.own_floor = frozen.session, frozen.provisional, frozen.floor
    state.batch = batch
    floor = state.memory.floor(frozen.session) if frozen.session else -1
    if batch is not None and batch.setup is not None and frozen.session:  # before, all secrets are needed to deal again
        answered = state.memory.recall(frozen.session, floor + 1, UNMASK) is not None
        batch.erase_before(floor + 1 + answered)
    kept = frozen.round
    if kept is None or batch is None or batch.setup is None or kept.round_id <= floor:
        return
    view = participants_digest(batch.setup.setup_hash, kept.round_id, batch.setup.names(kept.participants))
    body = read_header(kept.header) if kept.header else None
    state.round = ClientRound(
        kept.round_id, kept.participants, view, kept.intent, kept.header, body, kept.resubmit,
        Machine(CLIENT_ROUND, RoundState(kept.phase)), kept.unmask_digest, kept.answer,
    )  # fmt: skip
    state.reconcile(state.round)
    if state.round.machine.state is RoundState.ANSWERED:
        batch.erase_before(kept.round_id + 1)


def _thaw_batch(state: ClientState, kept: _Batch, session: bytes) -> ClientBatch:
    setup = None
    if kept.setup is not None:
        ids = tuple(kept.setup.ids)
        setup = Setup(
            session, kept.request, ids, tuple(kept.setup.advertisements), kept.setup.setup_hash,
            graph.share_graph(kept.setup.setup_hash, len(ids), state.params.neighbours),
            {name: rank for rank, name in enumerate(ids)},
        )  # fmt: skip
    return ClientBatch(
        kept.request, kept.request_digest, kept.advertisement, _pair(kept.channel), kept.server_secret,
        [_pair(key) for key in kept.mask_keys], kept.seeds, kept.rounding, kept.dealing,
        Machine(CLIENT_SETUP, SetupState(kept.phase)), kept.pairwise, setup, kept.shares_digest, kept.dealt,
        None if kept.own is None else _thaw_holding(kept.own), kept.members,
        {rank: _thaw_holding(held) for rank, held in kept.holdings.items()}, kept.complaints,
    )  # fmt: skip


def _pair(private: bytes | None) -> KeyPair | None:
    return None if private is None else KeyPair.from_private_bytes(private)


def _thaw_holding(kept: _Holding) -> dealing.Holding:
    return dealing.Holding.rebuild(kept.salt, kept.shares, kept.erased)
