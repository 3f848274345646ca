"""A server that lies about a oneshot round, with every frame at hand: what it may ask of members, and what the answers open."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from secagg.errors import AbortError, PeerError
from secagg.hazmat import aead
from secagg.hintmasks import HintAccumulator
from secagg.protocols.oneshot import merkle, sharing
from secagg.protocols.oneshot.intake import cut
from secagg.protocols.oneshot.messages import Kind, RevealRequest, answer_key, public_seed
from secagg.protocols.oneshot.server import share_chunks
from secagg.wire import SERVER, Chunk, decode_frame, seal_envelope
from support.committee import Committee

__all__ = ["Opener"]


class Opener:
    """One round of a federation up to the uploads; members are restored from that state for every try, without a ledger.

    What stops an attack is then not that a member remembers, but what it checks; `answers` lets each member speak once.
    """

    def __init__(
        self, f: Committee, round_id: int = 1, contexts: Mapping[str, bytes] | None = None, participants: Any = None
    ) -> None:
        f.until("masked", round_id, participants)
        self.begin(f, f.asked(Kind.MASKED_REQUEST), contexts or {})

    @classmethod
    def of(cls, f: Committee, asked: Mapping[str, bytes]) -> Opener:
        """One of a federation whose clients are about to be handed these requests."""
        made = cls.__new__(cls)
        made.begin(f, asked, {})
        return made

    def begin(self, f: Committee, asked: Mapping[str, bytes], contexts: Mapping[str, bytes]) -> None:
        """Take every client's upload, and its state after it."""
        self.f = f
        self.setup, self.batch = f.setup, f.server._core._state.batch
        self.round_id = f.server._core._state.round.round_id
        self.participants = list(f.server._core._state.round.participants)
        self.headers: dict[str, bytes] = {}
        self.payloads: dict[str, dict[tuple[int, int], bytes]] = {}
        self.frames: dict[str, list[bytes]] = {}
        for name, frame in asked.items():
            f.clients[name].receive(frame)
            f.clients[name].submit(f.updates[name], context=contexts.get(name, b""))
            self.take(name, f.clients[name].outbox())
        self.snapshots = {name: f.clients[name].snapshot() for name in f.ids}

    def take(self, name: str, frames: Sequence[bytes]) -> None:
        """Know an upload by its frames."""
        self.frames[name] = list(frames)
        for frame in frames:
            _, outer = decode_frame(frame, max_bytes=1 << 30)
            if isinstance(outer, Chunk):
                self.payloads.setdefault(name, {})[outer.segment, outer.index] = bytes(outer.payload)
            else:
                self.headers[name] = frame

    def boxes(self, name: str) -> list[bytes]:
        """The sealed shares of an upload, one a member."""
        last = max(segment for segment, _ in self.payloads[name])
        joined = b"".join(self.payloads[name][place] for place in sorted(self.payloads[name]) if place[0] == last)
        return cut(joined, len(self.setup.ids))

    def body(self, member: str, names: Sequence[str], **changes: Any) -> RevealRequest:
        """What a member is asked, were `names` the survivors; in their order."""
        place = self.setup.ids.index(member)
        boxes = {name: self.boxes(name) for name in names}
        settings = {
            "params_hash": self.f.params.hash, "setup_hash": self.setup.hash, "participants": self.participants,
            "headers": [self.headers[name] for name in names], "keys": list(self.setup.frames),
            "sealed": b"".join(boxes[name][place] for name in names),
            "paths": b"".join(merkle.paths(boxes[name])[place] for name in names), **changes,
        }  # fmt: skip
        return RevealRequest(
            changes.get("round_id", self.round_id), **{k: settings[k] for k in settings if k != "round_id"}
        )

    def ask(self, member: str, names: Sequence[str], **changes: Any) -> bytes:
        return seal_envelope(
            Kind.REVEAL_REQUEST,
            self.f.server.session,
            SERVER,
            self.body(member, names, **changes),
            self.f.server_key.sign,
        )

    def member(self, name: str) -> Any:
        """The member as it was when all had sent their updates."""
        return self.f.restore(name, self.snapshots[name])

    def told(self, member: str, frames: Sequence[bytes]) -> list[Any]:
        """For each request to one living member: its share of the sum, or its refusal."""
        return self.tell(self.member(member), frames)

    def tell(self, party: Any, frames: Sequence[bytes]) -> list[Any]:
        """The same of a party that is there already."""
        found: list[Any] = []
        for frame in frames:
            try:
                party.receive(frame)
            except (PeerError, AbortError) as error:
                assert party.outbox() == []
                found.append(error)
            else:
                found += [self.share(party.me, out) for out in party.outbox()]
        return found

    def share(self, member: str, answer: bytes) -> Any:
        """The sum of shares in an answer; the ranks that it complains of, if there is none."""
        body = self.f.body(answer)
        if body.complaints:
            return tuple(body.complaints)
        key = self.setup.bodies[self.setup.ids.index(member)].channel_key
        secret = answer_key(
            self.batch.pair.agree(key), self.f.server.session, self.setup.hash, body.round_id, member
        )  # fmt: skip
        return sharing.read_share(aead.open_(secret, body.sealed, body.account), self.f.params, member)

    def answers(self, names: Sequence[str], members: Collection[str]) -> dict[int, Any]:
        """The shares that these members give for a set, by place."""
        made = {}
        for member in members:
            (found,) = self.told(member, [self.ask(member, names)])
            if isinstance(found, np.ndarray):
                made[self.setup.ids.index(member)] = found
        return made

    def opened(self, names: Collection[str], answers: Mapping[int, Any], **changes: Any) -> Any:
        """The sum of these uploads with what the answers give: the model's integers, or why there is none."""
        f = self.f
        if len(answers) < f.params.threshold:
            return None
        try:
            secret_sum, _ = sharing.combine(f.params, answers)
            return self.summed(names, secret_sum, **changes)
        except AbortError as error:
            return error

    def summed(self, names: Collection[str], secret_sum: Any, public: bytes | None = None) -> Any:
        """The sum of these uploads less what masks it, were `secret_sum` the sum of their secrets."""
        f = self.f
        bulk = HintAccumulator(f.params)
        bulk.expect(share_chunks(f.params, len(self.setup.ids)))
        for name in names:
            for (segment, index), payload in sorted(self.payloads[name].items()):
                bulk.add(name, segment, index, memoryview(payload))
            bulk.fold(name, b"")
        mine = public or public_seed(f.server.session, f.params.hash, f.roster.hash(), self.round_id)
        head, model = bulk.finish(b"", secret_sum, mine)[:2]
        if int(head[2]) != len(set(names)):
            return AbortError(f"the check lane says {head[2]}")
        return np.array(model, np.int64) + len(set(names)) * f.params.encoding.low

    def plain(self, *names: str) -> Any:
        return sum(np.asarray(self.f.updates[name], np.int64) for name in names)
