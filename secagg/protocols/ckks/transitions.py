"""Every transition of the ckks roles. Docs diagrams are drawn from these tables."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "CLIENT_ROUND",
    "HOLDER_ROUND",
    "SERVER",
    "ClientEvent",
    "HolderEvent",
    "HolderState",
    "RoundState",
    "ServerEvent",
    "ServerPhase",
]


class RoundState(Enum):
    """Where a client's current round stands."""

    IDLE = "idle"
    AWAITING = "awaiting"
    SUBMITTED = "submitted"


class ClientEvent(Enum):
    """What moves a client."""

    REQUEST = "encrypted request"
    SUBMIT = "submit"


class HolderState(Enum):
    """Where a key holder's current round stands."""

    GATHERING = "gathering"
    DECRYPTED = "decrypted"


class HolderEvent(Enum):
    """What moves a key holder."""

    DECRYPT = "decrypt"


class ServerPhase(Enum):
    """Where a server stands."""

    IDLE = "idle"
    KEYS = "keys"
    ENCRYPTED = "encrypted"
    DECRYPT = "decrypt"


class ServerEvent(Enum):
    """What moves a server."""

    OPEN_KEYS = "open round with a new key"
    OPEN_ROUND = "open round"
    CLOSE = "close phase"
    ABORT = "abort"


CLIENT_ROUND = {
    (RoundState.IDLE, ClientEvent.REQUEST): RoundState.AWAITING,
    (RoundState.AWAITING, ClientEvent.SUBMIT): RoundState.SUBMITTED,
}

HOLDER_ROUND = {
    (HolderState.GATHERING, HolderEvent.DECRYPT): HolderState.DECRYPTED,
}

SERVER = {
    (ServerPhase.IDLE, ServerEvent.OPEN_KEYS): ServerPhase.KEYS,
    (ServerPhase.KEYS, ServerEvent.CLOSE): ServerPhase.ENCRYPTED,
    (ServerPhase.IDLE, ServerEvent.OPEN_ROUND): ServerPhase.ENCRYPTED,
    (ServerPhase.ENCRYPTED, ServerEvent.CLOSE): ServerPhase.DECRYPT,
    (ServerPhase.DECRYPT, ServerEvent.CLOSE): ServerPhase.IDLE,
    (ServerPhase.KEYS, ServerEvent.ABORT): ServerPhase.IDLE,
    (ServerPhase.ENCRYPTED, ServerEvent.ABORT): ServerPhase.IDLE,
    (ServerPhase.DECRYPT, ServerEvent.ABORT): ServerPhase.IDLE,
}
