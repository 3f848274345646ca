"""What the others dealt to one client: checked once, complained of where it is wrong, and never asked for again."""

from __future__ import annotations

from dataclasses import dataclass, field

from secagg.errors import AbortError, AuthenticationError, EquivocationError, PeerError
from secagg.protocols.pairwise import dealing
from secagg.protocols.pairwise.client_state import ClientBatch
from secagg.protocols.pairwise.messages import HASH_BYTES, Delivery
from secagg.protocols.pairwise.setup import Setup
from secagg.protocols.pairwise.transitions import ClientEvent, SetupState
from secagg.protocols.secret import Secret

__all__ = ["Delivered", "accept_delivery", "check_delivery"]


@dataclass(repr=False)
class Delivered(Secret):
    """A first delivery that held: who shared, what we hold, and whose shares were not the ones they signed for."""

    members: list[int]
    holdings: dict[int, dealing.Holding] = field(default_factory=dict)
    complaints: list[int] = field(default_factory=list)


def check_delivery(
    batch: ClientBatch, setup: Setup, delivery: Delivery | None, me: str, min_cohort: int, phase: str
) -> Delivered | None:
    """Return a first delivery opened and checked, or None when one was accepted before; state is unchanged."""
    if batch.machine.state is SetupState.READY:
        if delivery is not None and delivery.members != batch.members:
            raise EquivocationError("a second, different setup delivery", peer="server", phase=phase)
        return None
    batch.machine.remote(ClientEvent.DELIVERY, "server")
    if delivery is None:
        raise PeerError("request without the setup delivery", peer="server", phase=phase)
    setup.check_ranks(delivery.members, None, "server")
    if setup.ranks[me] not in delivery.members:
        raise AbortError("the server says that we did not share; this setup goes on without us")
    if len(delivery.members) < min_cohort:
        raise PeerError("fewer members than min_cohort", peer="server", phase=phase)
    members = set(delivery.members)
    dealers = [rank for rank in setup.neighbours[setup.ranks[me]] if rank in members]
    size = dealing.sealed_bytes(setup.rounds)
    if len(delivery.sealed) != size * len(dealers) or len(delivery.holder_hashes) != HASH_BYTES * len(dealers):
        raise PeerError("setup delivery of another length", peer="server", phase=phase)
    delivered = Delivered(list(delivery.members))
    for i, rank in enumerate(dealers):
        sealed = delivery.sealed[i * size : (i + 1) * size]
        try:
            holding = dealing.open_holding(
                batch.pairwise[rank], setup.setup_hash, setup.ids[rank], me, sealed, setup.rounds
            )
        except AuthenticationError:
            delivered.complaints.append(rank)
            continue
        if holding.root() == delivery.holder_hashes[i * HASH_BYTES : (i + 1) * HASH_BYTES]:
            delivered.holdings[rank] = holding
        else:
            delivered.complaints.append(rank)
    return delivered


def accept_delivery(batch: ClientBatch, delivered: Delivered | None) -> None:
    """Keep a checked delivery and forget what it took to open it."""
    if delivered is None:
        return
    batch.members, batch.holdings, batch.complaints = delivered.members, delivered.holdings, delivered.complaints
    batch.machine.fire(ClientEvent.DELIVERY)
    batch.erase_setup()
