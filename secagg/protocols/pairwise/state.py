"""What the server knows, apart from how it moves: one setup, one round, and the questions both halves ask of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from secagg.errors import EquivocationError, PeerError, StateError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.machine import Machine
from secagg.protocols.pairwise import dealing, unmasking
from secagg.protocols.pairwise.messages import HASH_BYTES, Dealing, Delivery, KeysRequest, MaskedHeader
from secagg.protocols.pairwise.setup import Setup
from secagg.protocols.pairwise.transitions import SERVER, ServerEvent, ServerPhase
from secagg.protocols.rounds import listed
from secagg.protocols.secret import Secret

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["Batch", "Bulk", "Round", "ServerState", "holder_root"]


class Bulk(Protocol):
    """The bulk side as the machine sees it; it never hands a vector back."""

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk."""

    def add(self, client: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk of an unfinished upload; raise InputError if there is no room for it."""

    def fold(self, client: str, group: bytes) -> None:
        """Add a complete upload to its group's masked sum; raise InputError if it is not well packed."""

    def discard(self, client: str) -> None:
        """Forget an unfinished upload."""


@dataclass(repr=False)
class Batch(Secret):
    """One setup as the server knows it."""

    cohort: tuple[str, ...]
    request: KeysRequest
    pair: KeyPair
    advertisements: dict[str, bytes] = field(default_factory=dict)
    keys_seen: set[bytes] = field(default_factory=set)
    secrets: dict[str, bytes] = field(default_factory=dict)
    setup: Setup | None = None
    dealings: dict[str, tuple[bytes, Dealing]] = field(default_factory=dict)
    members: list[int] = field(default_factory=list)
    members_hash: bytes = b""
    acknowledged: set[int] = field(default_factory=set)
    complaints: dict[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(repr=False)
class Round(Secret):
    """One round as the server knows it."""

    round_id: int
    participants: list[int] = field(default_factory=list)
    participants_hash: bytes = b""
    tags: dict[str, dict[tuple[int, int], bytes]] = field(default_factory=lambda: defaultdict(dict))
    headers: dict[str, tuple[bytes, MaskedHeader]] = field(default_factory=dict)
    complete: dict[str, bytes] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)
    survivors: list[int] = field(default_factory=list)
    context: bytes = b""
    account: bytes = b""
    answer_frames: dict[str, bytes] = field(default_factory=dict)
    answers: dict[int, unmasking.Opened] = field(default_factory=dict)
    signatures: dict[str, bytes] = field(default_factory=dict)


@dataclass(repr=False)
class ServerState(Secret):
    """Everything the server's two halves share: `PairwiseServer` moves it, `Intake` fills it."""

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
        batch, current = self.batch, self.round
        if batch is None or batch.setup is None or current is None:
            raise StateError("no setup is complete")
        return batch, batch.setup, current

    def twice(self, sender: str, same: bool) -> None:
        """Let an identical second frame pass; record and refuse a different one."""
        if not same:
            self.equivocations[sender] = f"two different frames in phase {self.phase}"
            raise EquivocationError("a second, different frame", peer=sender, phase=self.phase)

    def delivery(self, rank: int) -> Delivery | None:
        """Return what the others dealt to one client, or None once it has shown that it has it."""
        batch, setup, _ = self.setup()
        if rank in batch.acknowledged:
            return None
        size = dealing.sealed_bytes(setup.rounds)
        hashes, sealed = [], []
        for dealer in setup.neighbours[rank]:
            if listed(batch.members, dealer):
                body = batch.dealings[setup.ids[dealer]][1]
                at = setup.neighbours.place(dealer, rank)
                sealed.append(body.sealed[at * size : (at + 1) * size])
                hashes.append(holder_root(setup, body, dealer, rank))
        return Delivery(batch.members, b"".join(hashes), b"".join(sealed))

    def unopenable(self, ranks: Iterable[int]) -> dict[int, list[int]]:
        """Return those whose masks too few holders could ever open, each with the holders that complained of its shares."""
        if self.batch is None or self.batch.setup is None:
            raise StateError("no setup is complete")
        batch, setup = self.batch, self.batch.setup
        members = set(batch.members)
        found: dict[int, list[int]] = {}
        for rank in ranks:
            holders = members.intersection(setup.neighbours[rank])
            unhappy = sorted(holder for holder in holders if rank in batch.complaints.get(holder, ()))
            if len(holders) + 1 - len(unhappy) < self.params.threshold:
                found[rank] = unhappy
        return found

    def asked(self) -> list[int]:
        """Return the members that answer."""
        batch, _, _ = self.setup()
        return [rank for rank in batch.members if self.answers(rank)]

    def answers(self, rank: int) -> bool:
        """Whether a client is one that answers: a survivor, or a member not asked for an update; a dropout would refuse."""
        batch, _, current = self.setup()
        return listed(batch.members, rank) and (
            listed(current.survivors, rank) or not listed(current.participants, rank)
        )


def holder_root(setup: Setup, body: Dealing, dealer: int, holder: int) -> bytes:
    """Return the dealer's signed hash over one holder's shares."""
    # The dealer is a holder too, in order of rank among its neighbours.
    at = setup.neighbours.place(dealer, holder) + (dealer < holder)
    return body.holder_hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]
