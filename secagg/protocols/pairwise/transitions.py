"""Every transition of the pairwise roles. Docs diagrams are drawn from these tables."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "CLIENT_ROUND",
    "CLIENT_SETUP",
    "SERVER",
    "ClientEvent",
    "RoundState",
    "ServerEvent",
    "ServerPhase",
    "SetupState",
]


class SetupState(Enum):
    """Where a client's setup stands."""

    EMPTY = "empty"
    ADVERTISED = "advertised"
    SHARED = "shared"
    READY = "ready"


class RoundState(Enum):
    """Where a client's current round stands."""

    IDLE = "idle"
    AWAITING = "awaiting"
    SUBMITTED = "submitted"
    ANSWERED = "answered"


class ClientEvent(Enum):
    """What moves a client."""

    KEYS_REQUEST = "keys request"
    SHARES_REQUEST = "shares request"
    DELIVERY = "setup delivery"
    MASKED_REQUEST = "masked request"
    SUBMIT = "submit"
    UNMASK_REQUEST = "unmask request"


class ServerPhase(Enum):
    """Where a server stands."""

    IDLE = "idle"
    KEYS = "keys"
    SHARES = "shares"
    MASKED = "masked"
    UNMASK = "unmask"


class ServerEvent(Enum):
    """What moves a server."""

    OPEN_SETUP = "open round with setup"
    OPEN_ROUND = "open round"
    CLOSE = "close phase"
    ABORT = "abort"


CLIENT_SETUP = {
    (SetupState.EMPTY, ClientEvent.KEYS_REQUEST): SetupState.ADVERTISED,
    (SetupState.ADVERTISED, ClientEvent.SHARES_REQUEST): SetupState.SHARED,
    (SetupState.SHARED, ClientEvent.DELIVERY): SetupState.READY,
}

CLIENT_ROUND = {
    (RoundState.IDLE, ClientEvent.MASKED_REQUEST): RoundState.AWAITING,
    (RoundState.AWAITING, ClientEvent.SUBMIT): RoundState.SUBMITTED,
    (RoundState.SUBMITTED, ClientEvent.UNMASK_REQUEST): RoundState.ANSWERED,
    # A member that was not sampled holds shares and answers without having submitted.
    (RoundState.IDLE, ClientEvent.UNMASK_REQUEST): RoundState.ANSWERED,
}

SERVER = {
    (ServerPhase.IDLE, ServerEvent.OPEN_SETUP): ServerPhase.KEYS,
    (ServerPhase.KEYS, ServerEvent.CLOSE): ServerPhase.SHARES,
    (ServerPhase.SHARES, ServerEvent.CLOSE): ServerPhase.MASKED,
    (ServerPhase.IDLE, ServerEvent.OPEN_ROUND): ServerPhase.MASKED,
    (ServerPhase.MASKED, ServerEvent.CLOSE): ServerPhase.UNMASK,
    (ServerPhase.UNMASK, ServerEvent.CLOSE): ServerPhase.IDLE,
    (ServerPhase.KEYS, ServerEvent.ABORT): ServerPhase.IDLE,
    (ServerPhase.SHARES, ServerEvent.ABORT): ServerPhase.IDLE,
    (ServerPhase.MASKED, ServerEvent.ABORT): ServerPhase.IDLE,
    (ServerPhase.UNMASK, ServerEvent.ABORT): ServerPhase.IDLE,
}
