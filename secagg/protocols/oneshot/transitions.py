"""Every transition of the oneshot roles. Docs diagrams are drawn from these tables."""

from __future__ import annotations

from enum import Enum

from secagg.protocols.one_message import CLIENT_ROUND, ClientEvent, RoundState

__all__ = [
    "CLIENT_ROUND",
    "MEMBER_BATCH",
    "SERVER",
    "ClientEvent",
    "MemberEvent",
    "MemberState",
    "RoundState",
    "ServerEvent",
    "ServerPhase",
]


class MemberState(Enum):
    """Where a committee member stands in its batch."""

    IDLE = "idle"
    READY = "ready"
    ANSWERED = "answered"


class MemberEvent(Enum):
    """What moves a committee member."""

    KEYS_REQUEST = "keys request"
    REVEAL_REQUEST = "reveal request"


class ServerPhase(Enum):
    """Where a server stands."""

    IDLE = "idle"
    KEYS = "keys"
    MASKED = "masked"
    REVEAL = "reveal"


class ServerEvent(Enum):
    """What moves a server."""

    OPEN_KEYS = "open round with a new committee"
    OPEN_ROUND = "open round"
    CLOSE = "close phase"
    ABORT = "abort"


MEMBER_BATCH = {
    (MemberState.IDLE, MemberEvent.KEYS_REQUEST): MemberState.READY,
    (MemberState.READY, MemberEvent.KEYS_REQUEST): MemberState.READY,
    (MemberState.READY, MemberEvent.REVEAL_REQUEST): MemberState.ANSWERED,
    (MemberState.ANSWERED, MemberEvent.REVEAL_REQUEST): MemberState.ANSWERED,
    (MemberState.ANSWERED, MemberEvent.KEYS_REQUEST): MemberState.READY,
}

SERVER = {
    (ServerPhase.IDLE, ServerEvent.OPEN_KEYS): ServerPhase.KEYS,
    (ServerPhase.KEYS, ServerEvent.CLOSE): ServerPhase.MASKED,
    (ServerPhase.IDLE, ServerEvent.OPEN_ROUND): ServerPhase.MASKED,
    (ServerPhase.MASKED, ServerEvent.CLOSE): ServerPhase.REVEAL,
    (ServerPhase.REVEAL, ServerEvent.CLOSE): ServerPhase.IDLE,
    (ServerPhase.KEYS, ServerEvent.ABORT): ServerPhase.IDLE,
    (ServerPhase.MASKED, ServerEvent.ABORT): ServerPhase.IDLE,
    (ServerPhase.REVEAL, ServerEvent.ABORT): ServerPhase.IDLE,
}
