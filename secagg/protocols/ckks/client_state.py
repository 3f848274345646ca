"""What a client knows, apart from how it moves: the holder's key, and its view of the round."""

from __future__ import annotations

from dataclasses import dataclass, field

from secagg.hazmat.rlwe import PublicKey
from secagg.protocols.ckks.messages import EncryptedHeader, KeyAnnouncement
from secagg.protocols.ckks.transitions import CLIENT_ROUND, ClientEvent, RoundState
from secagg.protocols.machine import Machine
from secagg.protocols.party import Party, Submission

__all__ = ["ENCRYPTED", "ClientRound", "ClientState", "HeldKey"]

ENCRYPTED = "encrypted"  # the phase under which the memory keeps an upload's header


@dataclass(frozen=True)
class HeldKey:
    """The holder's key as a client knows it."""

    body: KeyAnnouncement
    hash: bytes
    frame: bytes
    public: PublicKey

    def covers(self, round_id: int) -> bool:
        """Whether a round is one of this key's."""
        return self.body.first_round <= round_id < self.body.first_round + self.body.rounds


@dataclass(repr=False)
class ClientRound(Submission):
    """The client's view of the round in progress."""

    key_hash: bytes = b""
    seed: bytes = b""
    body: EncryptedHeader | None = None
    machine: Machine[RoundState, ClientEvent] = field(default_factory=lambda: Machine(CLIENT_ROUND, RoundState.IDLE))

    def submitted(self, header: bytes, body: EncryptedHeader) -> None:
        """Keep the header that left."""
        self.machine.fire(ClientEvent.SUBMIT)
        super().submitted(header, body)


@dataclass(repr=False)
class ClientState(Party):
    """Everything the client knows."""

    key: HeldKey | None = None
    round: ClientRound | None = None
