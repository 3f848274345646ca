"""The server's side of enrolment: nodes that come and go, and the clients that live on them."""

from __future__ import annotations

import os
import time
from collections import Counter
from logging import getLogger
from typing import Any

from flwr.app import Message, RecordDict

from secagg.errors import ParameterError, PeerError
from secagg.identity import Identity, Roster
from secagg.integrations.flower.carriage import Carrier, records, settings_of
from secagg.integrations.flower.enrolment import CHALLENGE_BYTES, Claim, Trust, read_answer
from secagg.wire import HOLDER

__all__ = ["Directory"]

WAIT = 0.5  # seconds between two looks for nodes
log = getLogger("flwr")


class Directory:
    """Who lives where.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
    carrier : Carrier
    trust : {"roster", "first-use", "simulation"}
    identity : Identity
        The server's.
    roster : Roster or None
        None makes one of those who answer first.
    clients : int or None
        How many nodes to wait for before a roster is made, or before the first round.
    holding : bool
        Whether rounds need a key holder.
    """

    def __init__(
        self,
        grid: Any,
        carrier: Carrier,
        trust: Trust,
        identity: Identity,
        roster: Roster | None,
        clients: int | None,
        *,
        holding: bool = False,
    ) -> None:
        self._grid, self._carrier, self._trust, self._identity = grid, carrier, trust, identity
        self._holding = holding
        self._wanted = clients
        if clients is None and roster is not None:
            apart = holding and all(roster.key(name) != roster.holder for name in roster)  # on a node of its own
            self._wanted = len(roster) + apart
        self._waited = False
        self._seen: dict[int, str | None] = {}  # None: a stranger
        self.roster = roster
        self.homes: dict[str, int] = {}

    def name(self, node: int) -> str | None:
        """Return the client on a node, or None for a stranger or one that never answered."""
        name = self._seen.get(node)
        return name if name is not None and self.homes.get(name) == node else None

    def is_stranger(self, node: int) -> bool:
        """Whether a node has answered and is nobody on the roster."""
        return node in self._seen and self.name(node) is None

    @property
    def lacks_holder(self) -> bool:
        """Whether rounds need a key holder and none is connected."""
        return self._holding and self.homes.get(HOLDER) not in set(self._grid.get_node_ids())

    def wait(self, seconds: float) -> None:
        """Return, once, when as many nodes as wanted are connected, or time is up.

        Where no number is known, as in a simulation, when there are some and no more are coming.
        """
        if self._waited:
            return
        end, before = time.monotonic() + seconds, -1
        while time.monotonic() < end:
            now = len(list(self._grid.get_node_ids()))
            if now >= self._wanted if self._wanted is not None else 0 < now == before:
                break
            before = now
            time.sleep(WAIT)
        self._waited = True  # later rounds take who is there

    def enrol(self, message_type: str, timeout: float | None) -> Roster:
        """Ask every node that is new who it is, and return the roster.

        Raises
        ------
        ParameterError
            Nobody answered of whom a roster could be made, or not one node that would hold the key.
        """
        new = [node for node in self._grid.get_node_ids() if node not in self._seen]
        challenge = os.urandom(CHALLENGE_BYTES)
        settings = {
            "step": "enrol", "trust": self._trust, "challenge": challenge, "server": self._identity.verify_key,
        }  # fmt: skip
        ask = [Message(RecordDict(records(settings)), node, message_type) for node in new]
        claims: dict[int, Claim] = {}
        for reply in self._carrier.exchange(ask, timeout):
            node = reply.metadata.src_node_id
            if reply.has_error():
                log.warning("secagg: node %s does not enrol: %.500r", node, reply.error.reason)
                continue
            try:
                claims[node] = read_answer(settings_of(reply.content) or {}, challenge, node, self._identity.verify_key)
            except PeerError as error:
                log.warning("secagg: node %s does not enrol: %s", node, error.reason)
        if self.roster is None:
            self.roster = self._make(list(claims.values()))
        for node, claim in claims.items():
            known = claim.name in self.roster and self.roster.key(claim.name) == claim.key
            self._seen[node] = claim.name if known else None
            # Whoever moved, say restarted, is found at its new node.
            if known:
                self.homes[claim.name] = node
            if holds := claim.holds and claim.key == self.roster.holder:
                self.homes[HOLDER] = node
            if not known and not holds:
                log.warning("secagg: node %s says it is %r, who is not on the roster with that key", node, claim.name)
        return self.roster

    def _make(self, claims: list[Claim]) -> Roster:
        """Return a roster of those who answered, with a key holder if there has to be one."""
        claims = self._undisputed(claims)
        clients = {claim.name: claim.key for claim in claims if claim.name}
        if not clients:
            raise ParameterError("no node answered, so there is nobody to put on a roster")
        willing = sorted((claim.name, claim.key) for claim in claims if claim.holds) if self._holding else []
        if self._trust == "simulation":
            willing = willing[:1]  # all nodes are one machine: one is as good as another
        if self._holding and len(willing) != 1:
            raise ParameterError(
                f"{len(willing)} nodes would hold the key, and it has to be one: its config names a secagg-holder-ledger"
            )
        return Roster(clients, self._identity.verify_key, willing[0][1] if willing else None)

    def _undisputed(self, claims: list[Claim]) -> list[Claim]:
        """Return the claims without all those that share a name or a key: nobody can say which of them is right."""
        names = Counter(claim.name for claim in claims if claim.name)
        keys = Counter([self._identity.verify_key, *(claim.key for claim in claims)])
        kept = [claim for claim in claims if names[claim.name] <= 1 and keys[claim.key] == 1]
        if lost := sorted({claim.name for claim in claims} - {claim.name for claim in kept}):
            log.warning("secagg: left off the roster, for a name or a key that another has too: %.500r", lost)
        return kept
