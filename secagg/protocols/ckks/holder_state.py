"""What the key holder knows, apart from how it moves: its key, and one round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from secagg.errors import DecodeError
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.rlwe import SecretKey
from secagg.protocols.ckks.messages import (
    DecryptRequest,
    EncryptedHeader,
    KeyAnnouncement,
    Kind,
    key_digest,
)
from secagg.protocols.ckks.transitions import HOLDER_ROUND, HolderEvent, HolderState
from secagg.protocols.machine import Machine
from secagg.protocols.memory import UNREADABLE, Memory
from secagg.protocols.secret import Secret, SecretStruct
from secagg.wire import HOLDER, encode_body, seal_envelope

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["HolderBulk", "HolderParty", "HolderRound", "OwnKey", "Waiting", "freeze", "thaw"]

Place = tuple[int, int]
SEED_BYTES = 32


class HolderBulk(Protocol):
    """The bulk side as the holder's machine sees it."""

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk of an upload, or of a sum."""

    def add(self, sender: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk; raise InputError if there is no room for it."""

    def discard(self, sender: str) -> None:
        """Forget what a sender sent."""

    def fold(self, sender: str, group: bytes) -> None:
        """Add what a sender sent, all of it, to the sum; raise InputError if it is malformed."""

    def open(self, secret: SecretKey, pads: list[bytes], uploads: int) -> bytes:
        """Decrypt the sum and return the digest of the integers in it; raise AbortError if they are none of honest clients."""

    def opened(self) -> Iterator[tuple[Place, bytes]]:
        """Yield the chunks of the opened sum."""


class OwnKey(Secret):
    """The holder's key of a batch of rounds; everything follows from its seed.

    Parameters
    ----------
    seed : bytes
        32 bytes, secret.
    """

    def __init__(self, party: HolderParty, session: bytes, first_round: int, seed: bytes) -> None:
        self.first_round, self.rounds, self.seed = first_round, party.params.rounds_per_setup, seed
        self.secret = SecretKey(party.params.cipher_plan.ring, hkdf(seed, "ckks-secret", length=32))
        self.channel = KeyPair.from_private_bytes(hkdf(seed, "ckks-holder-channel", length=32))
        body = KeyAnnouncement(
            first_round, self.rounds, party.params.hash, party.roster.hash(), self.channel.public_bytes,
            self.secret.public_key().to_bytes(),
        )  # fmt: skip
        self.hash = key_digest(session, encode_body(body))
        self.frame = seal_envelope(Kind.KEY_ANNOUNCEMENT, session, HOLDER, body, party.identity.sign)

    def covers(self, round_id: int) -> bool:
        """Whether a round is one of this key's."""
        return self.first_round <= round_id < self.first_round + self.rounds


@dataclass(repr=False)
class Waiting(Secret):
    """Chunks that came before the request they belong to: of each sender those of one round, so that none is in another's way."""

    bulk: HolderBulk
    rounds: dict[str, int] = field(default_factory=dict)
    contents: dict[str, dict[Place, bytes]] = field(default_factory=dict)


@dataclass(repr=False)
class HolderRound(Secret):
    """The holder's view of the round in progress."""

    round_id: int
    bulk: HolderBulk
    machine: Machine[HolderState, HolderEvent] = field(
        default_factory=lambda: Machine(HOLDER_ROUND, HolderState.GATHERING)
    )
    contents: dict[str, dict[Place, bytes]] = field(default_factory=dict)
    request: DecryptRequest | None = None
    headers: Mapping[str, EncryptedHeader] = field(default_factory=dict)
    participants: tuple[str, ...] = ()
    context: bytes = b""
    account: bytes = b""
    mark: bytes = b""
    result_hash: bytes = b""
    salt: bytes = b""
    signature: bytes = b""
    frames: list[bytes] = field(default_factory=list)


@dataclass(repr=False)
class HolderParty(Secret):
    """Everything the holder knows: `CkksHolder` moves it."""

    params: Params
    identity: Identity
    roster: Roster
    entropy: Callable[[int], bytes]
    memory: Memory
    session: bytes | None = None
    provisional: bool = True
    own_floor: int = -1  # highest round that was decrypted, or whose key was given up
    done: tuple[int, bytes] | None = None  # the last round that was decrypted, and what was asked
    key: OwnKey | None = None
    round: HolderRound | None = None
    waiting: Waiting | None = None
    out: list[bytes] = field(default_factory=list)

    def floor(self, session: bytes) -> int:
        """Return the highest round of a session that is over."""
        return max(self.own_floor if self.session == session else -1, self.memory.floor(session))


class _Frozen(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    session: bytes | None
    provisional: bool
    floor: int
    done: tuple[int, bytes] | None
    first_round: int | None
    seed: bytes


_decoder = msgspec.msgpack.Decoder(_Frozen)


def freeze(party: HolderParty) -> bytes:
    """Return the holder's state without its outbox and without a round that is not finished. Secret."""
    key = party.key
    return msgspec.msgpack.encode(
        _Frozen(
            party.session, party.provisional, party.own_floor, party.done, None if key is None else key.first_round,
            b"" if key is None else key.seed,
        )
    )  # fmt: skip


def thaw(party: HolderParty, data: bytes) -> None:
    """Fill a fresh state.

    Raises
    ------
    DecodeError
        Not what `freeze` returned.
    """
    try:
        kept = _decoder.decode(data)
        party.session, party.provisional, party.own_floor = kept.session, kept.provisional, kept.floor
        party.done = kept.done
        if kept.session is not None and kept.first_round is not None:
            party.key = OwnKey(party, kept.session, kept.first_round, kept.seed)
    except UNREADABLE:
        raise DecodeError("not a snapshot of this version") from None
