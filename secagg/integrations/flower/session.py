"""One session of the engine over Flower: the Params of a kind of round, and a round through all its phases.

Nothing here knows a protocol. The server's outbox is sent, replies go into `Server.receive`, and `Server.close_phase` is called
when all have answered or time is up, until no phase is open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from logging import getLogger
from typing import Any

from flwr.app import Message, RecordDict

from secagg.aggregate import Aggregate
from secagg.errors import InputError, PeerError
from secagg.identity import Identity, Roster
from secagg.integrations.flower.carriage import Carrier, frames_of, records, settings_of
from secagg.params import Params
from secagg.server import Server
from secagg.wire import HOLDER

__all__ = ["Session"]

# Phases that come before an update is asked for. The model travels with the first message of another one, to those asked.
BEFORE_UPDATES = ("keys", "shares")
MOST_NOTES = 4  # of a reply's, in the log
log = getLogger("flwr")


class Session:
    """The engine's server for one type of message.

    Parameters
    ----------
    params : Params
    identity : Identity
        The server's.
    roster : Roster
    carrier : Carrier
    settings : dict
        What every message of the session tells the nodes beside the frames.
    session : bytes, optional
        The session id, where it was agreed beforehand.
    """

    def __init__(
        self,
        params: Params,
        identity: Identity,
        roster: Roster,
        carrier: Carrier,
        settings: Mapping[str, Any],
        session: bytes | None = None,
    ) -> None:
        self.params = params
        self.exchanges = 0  # of the last round
        self._server = Server(params, identity=identity, roster=roster, session=session)
        self._carrier = carrier
        self._settings = {**settings, "params": params.to_bytes()}
        self._round = 0

    @property
    def round_id(self) -> int:
        """The id of the last round."""
        return self._round

    def run(
        self,
        asked: Mapping[str, Message],
        homes: Mapping[str, int],
        timeout: float | None,
        phase_timeout: float | None,
    ) -> Aggregate:
        """Run one round and return what it gives.

        Parameters
        ----------
        asked : mapping of client id to Message
            The strategy's message for each participant.
        homes : mapping of client id to int
            The node at which each known client lives, and the key holder under `HOLDER`; the same node may be home to several.
        timeout : float or None
            Seconds for the exchange in which the app's functions run.
        phase_timeout : float or None
            Seconds for each other one.

        Raises
        ------
        AbortError
            Too few took part, or the key holder did not answer; nothing was released.
        InputError
            The participants are too few or too many for the Params.
        """
        server, pattern = self._server, next(iter(asked.values()))
        self._round += 1
        self.exchanges = 0
        server.open_round(self._round, participants=list(asked))
        owed = dict(asked)
        while server.phase != "idle":
            boxes = self._boxes(homes)
            hand = {} if server.phase in BEFORE_UPDATES else {name: owed.pop(name) for name in boxes if name in owed}
            outgoing = [
                self._message(name, homes[name], frames, hand.get(name, pattern), name in hand)
                for name, frames in boxes.items()
            ]
            self.exchanges += bool(outgoing)
            for reply in self._carrier.exchange(outgoing, timeout if hand else phase_timeout):
                self._take(reply)
            server.close_phase()
        outcome: Aggregate = server.result(self._round)
        return outcome

    def _boxes(self, homes: Mapping[str, int]) -> dict[str, list[bytes]]:
        """Return the frames for each party that has a home; the others are as good as silent."""
        boxes: dict[str, list[bytes]] = defaultdict(list)
        for to, frame in self._server.outbox():
            for name in homes.keys() - {HOLDER} if to is None else (to,):
                if name in homes:
                    boxes[name].append(frame)
        return boxes

    def _message(self, name: str, node: int, frames: list[bytes], like: Message, hand: bool) -> Message:
        """Return the message to one party on a node: its frames, and the strategy's own records if it is time for them."""
        content = RecordDict(dict(like.content) if hand else {})
        for key, record in records({**self._settings, "to": name}, frames).items():
            content[key] = record
        meta = like.metadata
        return Message(content, node, meta.message_type, ttl=meta.ttl, group_id=meta.group_id)

    def _take(self, reply: Message) -> None:
        """Hand a node's frames to the engine, which knows their authors by their signatures."""
        node = reply.metadata.src_node_id
        if reply.has_error():
            log.warning("secagg: node %s answered with an error: %.500r", node, reply.error.reason)
            return
        try:
            notes, frames = _notes(settings_of(reply.content)), frames_of(reply.content)
        except InputError as error:
            notes, frames = [str(error)], []
        for note in notes[:MOST_NOTES]:
            log.warning("secagg: node %s says: %.500r", node, note)  # quoted: a node writes no lines of its own here
        if len(notes) > MOST_NOTES:
            log.warning("secagg: node %s says %d more things", node, len(notes) - MOST_NOTES)
        for frame in frames:
            try:
                self._server.receive(frame)
            except PeerError as error:
                log.warning("secagg: a frame from node %s was refused: %s", node, error)


def _notes(settings: Mapping[str, Any] | None) -> list[str]:
    notes = (settings or {}).get("notes", [])
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
