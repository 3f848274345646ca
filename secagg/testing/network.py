"""An in-memory carrier between one Server, its Clients and the key holder where there is one, with faults on request."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from secagg.client import Client
from secagg.errors import AbortError, PeerError
from secagg.holder import KeyHolder
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.server import Server
from secagg.wire import HOLDER

__all__ = ["FaultPlan", "Network"]


@dataclass
class FaultPlan:
    """What a carrier does to frames on their way to the server.

    Parameters
    ----------
    duplicate, drop, flip : float
        Probability per frame that it arrives twice, never, or with one bit changed (and, for flips, once more intact).
    reorder : bool
        Whether a phase's frames arrive in random order.
    seed : int
        Seed of the schedule; never of keys.
    """

    duplicate: float = 0.0
    drop: float = 0.0
    flip: float = 0.0
    reorder: bool = False
    seed: int = 0
    rng: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Seed the schedule."""
        self.rng = random.Random(self.seed)  # noqa: S311  # schedules, not keys

    def carry(self, frames: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return what arrives of `frames`."""
        arrived: list[tuple[str, bytes]] = []
        for sender, frame in frames:
            if self.rng.random() < self.drop:
                continue
            if self.rng.random() < self.flip:
                bit = self.rng.randrange(len(frame) * 8)
                broken = bytearray(frame)
                broken[bit // 8] ^= 1 << bit % 8
                arrived.append((sender, bytes(broken)))
            arrived += [(sender, frame)] * (2 if self.rng.random() < self.duplicate else 1)
        if self.reorder:
            self.rng.shuffle(arrived)
        return arrived


class Network:
    """A Server, its Clients, and the frames between them.

    Parameters
    ----------
    server : Server
    clients : dict of str to Client
    faults : FaultPlan, optional
    holder : KeyHolder, optional
        Of the ckks protocol.

    Attributes
    ----------
    refused : list of PeerError
        Frames that either side refused.
    aborted : dict of str to AbortError
        Clients that ended the round, or the key holder.
    sent_up, sent_down : dict of str to int
        Bytes by client, and by the key holder under its name.
    """

    def __init__(
        self,
        server: Server,
        clients: dict[str, Client],
        faults: FaultPlan | None = None,
        holder: KeyHolder | None = None,
    ) -> None:
        self.server = server
        self.clients = clients
        self.holder = holder
        self.faults = faults or FaultPlan()
        self.refused: list[PeerError] = []
        self.aborted: dict[str, AbortError] = {}
        names = [*clients, *(() if holder is None else (HOLDER,))]
        self.sent_up = dict.fromkeys(names, 0)
        self.sent_down = dict.fromkeys(names, 0)

    @classmethod
    def fresh(
        cls,
        params: Params,
        ids: Collection[str],
        *,
        rounding_seed: bytes | None = None,
        faults: FaultPlan | None = None,
        threads: int | None = None,
    ) -> Network:
        """Return a network of new identities from the operating system."""
        keys = {name: Identity.generate() for name in ids}
        server_key = Identity.generate()
        holder_key = Identity.generate() if params.protocol == "ckks" else None
        verify_keys = {name: key.verify_key for name, key in keys.items()}
        roster = Roster(verify_keys, server_key.verify_key, None if holder_key is None else holder_key.verify_key)
        session = os.urandom(16)  # known to everybody beforehand, as a drawn committee needs it
        clients = {
            name: Client(
                params,
                me=name,
                identity=key,
                roster=roster,
                session=session,
                rounding_seed=rounding_seed,
                threads=threads,
            )
            for name, key in keys.items()
        }
        holder = None
        if holder_key is not None:
            holder = KeyHolder(params, identity=holder_key, roster=roster, threads=threads)
        server = Server(params, identity=server_key, roster=roster, session=session, threads=threads)
        return cls(server, clients, faults, holder)

    def exchange(self, submit: Callable[[Client], None], *, silent: Collection[str] = ()) -> None:
        """Deliver the server's frames, let awaited clients submit, and bring back what clients and key holder answer.

        Parameters
        ----------
        submit : callable
            Called with each client from which an update is awaited.
        silent : collection of str
            Clients that neither get nor send anything; `HOLDER` for the key holder.
        """
        for to, frame in self.server.outbox():
            for name in self.clients if to is None else (to,):
                if name in silent:
                    continue
                self.sent_down[name] += len(frame)
                try:
                    self._party(name).receive(frame)
                except PeerError as error:
                    self.refused.append(error)
                except AbortError as error:
                    self.aborted[name] = error
        frames: list[tuple[str, bytes]] = []
        for name, client in self.clients.items():
            if name in silent:
                continue
            if client.awaiting:
                submit(client)
            out = client.outbox()
            self.sent_up[name] += sum(map(len, out))
            frames += [(name, frame) for frame in out]
        if self.holder is not None and HOLDER not in silent:
            out = self.holder.outbox()
            self.sent_up[HOLDER] += sum(map(len, out))
            frames += [(HOLDER, frame) for frame in out]
        for sender, frame in self.faults.carry(frames):
            try:
                self.server.receive(frame, sender=sender)
            except PeerError as error:
                self.refused.append(error)

    def _party(self, name: str) -> Client | KeyHolder:
        if name == HOLDER and self.holder is not None:
            return self.holder
        return self.clients[name]
