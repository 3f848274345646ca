"""What the server knows, apart from how it moves: the holder's key, and one round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from secagg.errors import EquivocationError, PeerError, StateError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.ckks.messages import Decrypted, EncryptedHeader, KeyAnnouncement, KeyRequest
from secagg.protocols.ckks.transitions import SERVER, ServerEvent, ServerPhase
from secagg.protocols.machine import Machine
from secagg.protocols.secret import Secret

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["Kept", "Key", "Place", "Round", "ServerBulk", "ServerState"]

Place = tuple[int, int]  # segment, chunk


class ServerBulk(Protocol):
    """The bulk side as the server's machine sees it; it never hands a vector back."""

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk of an upload."""

    def add(self, client: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk of an unfinished upload; raise InputError if there is no room for it."""

    def fold(self, client: str, group: bytes) -> None:
        """Add a complete upload to its group's sum; raise InputError if it is malformed, and leave the sum as it was."""

    def discard(self, client: str) -> None:
        """Forget an unfinished upload."""

    def total(self, group: bytes) -> Iterator[tuple[Place, bytes]]:
        """Yield the chunks of a group's sum."""

    def uploads(self, client: str) -> Iterator[tuple[Place, memoryview]]:
        """Yield the chunks of a folded upload, where these are kept."""

    def results(self) -> list[list[int]]:
        """Return, per segment, the bytes of each chunk of an opened sum."""

    def take(self, segment: int, index: int, plain: bytes) -> None:
        """Keep one chunk of the opened sum; raise InputError if it is malformed."""


class Kept(NamedTuple):
    """What is kept of a chunk beside its payload: the digest of that, and the sender's signature."""

    content: bytes
    signature: bytes


@dataclass
class Key:
    """A batch of rounds under one key of the holder's."""

    request: KeyRequest
    body: KeyAnnouncement | None = None
    frame: bytes = b""
    hash: bytes = b""
    shown: set[str] = field(default_factory=set)  # who has shown that it knows this key

    def covers(self, round_id: int) -> bool:
        """Whether a round is one of this key's."""
        return self.body is not None and 0 <= round_id - self.request.first_round < self.request.rounds


@dataclass(repr=False)
class Round(Secret):
    """One round as the server knows it."""

    round_id: int
    participants: list[int] = field(default_factory=list)
    participants_hash: bytes = b""
    kept: dict[str, dict[Place, Kept]] = field(default_factory=lambda: defaultdict(dict))
    headers: dict[str, tuple[bytes, EncryptedHeader]] = field(default_factory=dict)
    complete: dict[str, bytes] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)
    survivors: list[int] = field(default_factory=list)
    context: bytes = b""
    account: bytes = b""
    mark: bytes = b""
    pair: KeyPair | None = None
    salt: bytes = b""
    answer: tuple[bytes, Decrypted] | None = None
    opened: dict[Place, bytes] = field(default_factory=dict)


@dataclass(repr=False)
class ServerState(Secret):
    """Everything the server's two halves share: `CkksServer` moves it, `Intake` fills it."""

    params: Params
    roster: Roster
    session: bytes
    bulk: ServerBulk
    machine: Machine[ServerPhase, ServerEvent] = field(default_factory=lambda: Machine(SERVER, ServerPhase.IDLE))
    key: Key | None = None
    round: Round | None = None
    equivocations: dict[str, str] = field(default_factory=dict)
    ranks: dict[str, int] = field(init=False)  # of every client in the roster

    def __post_init__(self) -> None:
        """Look the ranks up once."""
        self.ranks = {name: rank for rank, name in enumerate(self.roster.ids)}

    @property
    def phase(self) -> str:
        """The open phase by name."""
        return str(self.machine.state.value)

    def now(self, phase: ServerPhase, sender: str) -> tuple[Key, Round]:
        """Return the key and round in progress, refusing a frame of a phase that is not open."""
        if self.machine.state is not phase or self.key is None or self.round is None:
            raise PeerError(f"frame of phase {phase.value}, which is not open", peer=sender, phase=self.phase)
        return self.key, self.round

    def open(self) -> tuple[Key, Round]:
        """Return the key and round in progress."""
        if self.key is None or self.round is None:
            raise StateError("no round is in progress")
        return self.key, self.round

    def twice(self, sender: str, same: bool) -> None:
        """Let an identical second frame pass; record and refuse a different one."""
        if not same:
            self.equivocations[sender] = f"two different frames in phase {self.phase}"
            raise EquivocationError("a second, different frame", peer=sender, phase=self.phase)

    def answered(self) -> bool:
        """Whether the holder's answer is complete."""
        if self.round is None or self.round.answer is None:
            return False
        expected = sum(map(len, self.bulk.results())) if self.params.reveal == "server" else 0
        return len(self.round.opened) == expected
