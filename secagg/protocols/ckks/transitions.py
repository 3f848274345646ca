"""Every transition of the ckks roles. Docs diagrams are drawn from these tables."""

from __future__ import annotations

from enum import Enum

from secagg.protocols.one_message import CLIENT_ROUND, ClientEvent, RoundState

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
