"""What the server knows, apart from how it moves: one committee's keys, and one round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from secagg.errors import PeerError, StateError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.machine import Machine
from secagg.protocols.oneshot.merkle import Tree
from secagg.protocols.oneshot.messages import KeysRequest, MaskedHeader
from secagg.protocols.oneshot.setup import Setup
from secagg.protocols.oneshot.transitions import SERVER, ServerEvent, ServerPhase
from secagg.protocols.secret import Secret
from secagg.protocols.serving import twice

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["Batch", "Bulk", "Place", "Round", "ServerState"]

Place = tuple[int, int]  # segment, chunk


class Bulk(Protocol):
    """The bulk side as the machine sees it; it never hands a vector back."""

    def expect(self, shares: list[int]) -> None:
        """Let each upload have chunks of these lengths for its sealed shares, as one segment after the others."""

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk of an upload; the last segment is the sealed shares."""

    def add(self, client: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk of an unfinished upload; raise InputError if there is no room for it."""

    def fold(self, client: str, group: bytes) -> None:
        """Add a complete upload to its group's sum, and keep its sealed shares; raise InputError if it is malformed."""

    def shares(self, client: str) -> bytes:
        """Return the sealed shares of a complete upload, all members' in one piece."""

    def uploaded(self, client: str) -> Iterator[tuple[Place, memoryview]]:
        """Yield the chunks of an unfinished upload."""

    def discard(self, client: str) -> None:
        """Forget an unfinished upload."""


@dataclass(repr=False)
class Batch(Secret):
    """A batch of rounds under one committee's keys."""

    request: KeysRequest
    pair: KeyPair
    crew: tuple[str, ...]
    keys: dict[str, bytes] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)
    setup: Setup | None = None
    shown: set[str] = field(default_factory=set)  # who has shown that it knows the setup


@dataclass(repr=False)
class Round(Secret):
    """One round as the server knows it."""

    round_id: int
    participants: list[int] = field(default_factory=list)
    participants_hash: bytes = b""
    kept: dict[str, dict[Place, bytes]] = field(default_factory=lambda: defaultdict(dict))
    headers: dict[str, tuple[bytes, MaskedHeader]] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    complete: dict[str, bytes] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)
    survivors: list[int] = field(default_factory=list)
    context: bytes = b""
    account: bytes = b""
    answer_frames: dict[str, bytes] = field(default_factory=dict)
    answers: dict[int, npt.NDArray[np.uint64]] = field(default_factory=dict)
    complaints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    signatures: dict[str, bytes] = field(default_factory=dict)


@dataclass(repr=False)
class ServerState(Secret):
    """Everything the server's two halves share: `OneshotServer` moves it, `Intake` fills it."""

    params: Params
    roster: Roster
    session: bytes
    bulk: Bulk
    machine: Machine[ServerPhase, ServerEvent] = field(default_factory=lambda: Machine(SERVER, ServerPhase.IDLE))
    batch: Batch | None = None
    round: Round | None = None
    equivocations: dict[str, str] = field(default_factory=dict)

    @property
    def phase(self) -> str:
        """The open phase by name."""
        return str(self.machine.state.value)

    def now(self, phase: ServerPhase, sender: str) -> tuple[Batch, Round]:
        """Return the batch and round in progress, refusing a frame of a phase that is not open."""
        if self.machine.state is not phase or self.batch is None or self.round is None:
            raise PeerError(f"frame of phase {phase.value}, which is not open", peer=sender, phase=self.phase)
        return self.batch, self.round

    def setup(self) -> tuple[Batch, Setup, Round]:
        """Return batch, setup and round once the keys phase is over."""
        if self.batch is None or self.batch.setup is None or self.round is None:
            raise StateError("no setup is complete")
        return self.batch, self.batch.setup, self.round

    def twice(self, sender: str, same: bool) -> None:
        """Let an identical second frame pass; record and refuse a different one."""
        twice(self, sender, same)
