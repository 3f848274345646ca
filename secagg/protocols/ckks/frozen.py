"""A client's state as bytes and back, for sealed snapshots. The bytes are secret; their form is no part of the protocol."""

from __future__ import annotations

from typing import Any

import msgspec

from secagg.errors import DecodeError
from secagg.hazmat.rlwe import PublicKey
from secagg.protocols.accounts import participants_digest
from secagg.protocols.ckks.client_state import ENCRYPTED, ClientRound, ClientState, HeldKey
from secagg.protocols.ckks.messages import Kind, decoders, read_key
from secagg.protocols.ckks.transitions import CLIENT_ROUND, RoundState
from secagg.protocols.machine import Machine
from secagg.protocols.memory import UNREADABLE
from secagg.protocols.secret import SecretStruct
from secagg.wire import Envelope, decode_body, decode_frame

__all__ = ["freeze", "thaw"]


class _Frozen(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base: an array of exactly its fields."""


class _Round(_Frozen, frozen=True):
    round_id: int
    participants: list[int]
    phase: str
    intent: bytes
    header: bytes
    resubmit: bool
    seed: bytes


class _State(_Frozen, frozen=True):
    session: bytes | None
    provisional: bool
    floor: int
    key: bytes | None
    round: _Round | None


_decoder = msgspec.msgpack.Decoder(_State)


def freeze(state: ClientState) -> bytes:
    """Return a client's state without its outbox. Secret."""
    current, kept = state.round, None
    if current is not None:
        # Randomness that no update is tied to yet stays out: two copies of this state could use it for two updates.
        seed = current.seed if current.header or current.intent else b""
        kept = _Round(
            current.round_id, current.participants, current.machine.state.value, current.intent, current.header,
            current.resubmit, seed,
        )  # fmt: skip
    key = None if state.key is None else state.key.frame
    return msgspec.msgpack.encode(_State(state.session, state.provisional, state.own_floor, key, kept))


def thaw(state: ClientState, data: bytes) -> None:
    """Fill a fresh state; whatever its memory knows to have left since then stands.

    Raises
    ------
    DecodeError
        Not what `freeze` returned.
    """
    try:
        kept = _decoder.decode(data)
        state.session, state.provisional, state.own_floor = kept.session, kept.provisional, kept.floor
        if kept.session is None or kept.key is None:
            return
        told, key_hash = read_key(kept.key, kept.session, state.roster, len(kept.key))
        public = PublicKey.from_bytes(state.params.cipher_plan.ring, told.public_key)
        state.key = HeldKey(told, key_hash, kept.key, public)
        if kept.round is not None:
            _thaw_round(state, kept.session, state.key, kept.round)
    except UNREADABLE:
        raise DecodeError("not a snapshot of this version") from None


def _thaw_round(state: ClientState, session: bytes, key: HeldKey, kept: _Round) -> None:
    if kept.round_id <= state.memory.floor(session):
        return
    sent = state.memory.recall(session, kept.round_id, ENCRYPTED)
    if sent is not None and sent.frame != kept.header:
        return  # an update left after this state was saved, and its randomness is gone
    view = participants_digest(key.hash, kept.round_id, (state.roster.ids[rank] for rank in kept.participants))
    body: Any = None
    if kept.header:
        _, outer = decode_frame(kept.header, max_bytes=len(kept.header))
        if not isinstance(outer, Envelope):
            raise DecodeError("the snapshot holds no header")
        body = decode_body(outer.payload, decoders[Kind.ENCRYPTED_HEADER], outer.sender)
    state.round = ClientRound(
        kept.round_id, kept.participants, view, kept.intent, kept.header, body, kept.resubmit, key.hash, kept.seed,
        Machine(CLIENT_ROUND, RoundState(kept.phase)),
    )  # fmt: skip
    begun = state.memory.recall(session, kept.round_id, "intent")
    if begun is not None:
        state.round.intent = begun.mark
