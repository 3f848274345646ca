"""`receive` of the oneshot protocol."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from fuzz.recipe import Recipe, change
from fuzz.targets.frames import encode
from fuzz.targets.receive import Liar, Receiver, Sent, Stage
from secagg.hazmat import aead
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.transcript import u64
from secagg.protocols.oneshot import merkle
from secagg.protocols.oneshot.intake import cut
from secagg.protocols.oneshot.messages import Kind, answer_key, make_chunk, share_key
from secagg.protocols.oneshot.sharing import box_bytes, share_bytes
from secagg.wire import SERVER, Chunk, decode_frame
from support.committee import Committee
from support.encrypted import tag_of

PHASES = ("keys", "masked", "reveal")
VICTIM = "c1"
CHANNEL_KEY, SHARES_ROOT = 5, 6  # fields of a header


class Table(Committee):
    """A federation of five, all of them members, of whom four are asked for an update."""

    def __init__(self, phase: str) -> None:
        super().__init__(5, rounds_per_setup=2, min_clients=3, frame_bytes=1 << 16)
        self.silent: list[str] = []
        self.until(phase, participants=self.ids[:4])

    def check(self, contributors: Any, round_id: int = 1) -> None:
        self.exact(self.server.result(round_id), contributors)


class OneshotLiar(Liar):
    """Signs chunks; knows what clients sealed to members, and members to the server."""

    def tag(self, chunk: Chunk) -> bytes:
        place = (chunk.round_id, chunk.segment, chunk.index)
        frame, _ = make_chunk(
            chunk.session, chunk.sender, place, self.table.setup.hash, chunk.payload, self.identity(chunk.sender).sign
        )
        return decode_frame(frame, max_bytes=1 << 30)[1].tag

    def unseal(self, kind: int, name: str, body: list) -> Any:
        if kind == Kind.REVEAL and body[3]:
            return functools.partial(self._answer, name)
        return self._request if kind == Kind.REVEAL_REQUEST else None

    def _answer(self, name: str, recipe: Recipe, body: list) -> list:
        """Change the sum of a member's shares under its seal, or the account that it is bound to."""
        round_id, account, signature, sealed, complaints = body
        setup, batch = self.table.setup, self.table.server._core._state.batch
        place = setup.ids.index(name)
        shared = batch.pair.agree(setup.bodies[place].channel_key)
        key = answer_key(shared, setup.session, setup.hash, round_id, name)
        plain = aead.open_(key, sealed, account)
        if recipe.byte() % 4 == 0:
            account = change(recipe, account)
            account = account if isinstance(account, bytes) else b""
            signature = self.identity(name).sign(account)
        else:
            plain = self._spoilt(recipe, plain)
        return [round_id, account, signature, aead.seal(key, plain, account), complaints]

    def _request(self, recipe: Recipe, body: list) -> list:
        """Put another share under a client's seal, with a header of that client's that says so."""
        round_id, headers, sealed, paths = body[0], body[4], body[6], body[7]
        setup, params = self.table.setup, self.table.params
        count, place = len(setup.ids), setup.ids.index(VICTIM)
        size, length = box_bytes(params), merkle.depth(count) * merkle.HASH_BYTES
        at = recipe.below(len(headers))
        _, header = decode_frame(headers[at], max_bytes=1 << 30)
        told = msgspec.msgpack.decode(header.payload)
        pair = KeyPair.generate()
        shared = pair.agree(setup.bodies[place].channel_key)
        key = share_key(shared, setup.session, setup.hash, round_id, header.sender, VICTIM)
        leaves = [bytes(size)] * count
        leaves[place] = aead.seal(key, self._spoilt(recipe, bytes(share_bytes(params))), u64(round_id))
        tree = merkle.tree(leaves)
        told[CHANNEL_KEY], told[SHARES_ROOT] = pair.public_bytes, tree[-1][0]
        forged = self.envelope(Kind.MASKED_HEADER, header.session, header.sender, encode(told))
        return [
            *body[:4], [*headers[:at], forged, *headers[at + 1 :]], body[5],
            sealed[: at * size] + leaves[place] + sealed[(at + 1) * size :],
            paths[: at * length] + merkle.paths_in(tree)[place] + paths[(at + 1) * length :],
        ]  # fmt: skip

    def _spoilt(self, recipe: Recipe, plain: bytes) -> bytes:
        """Return other elements of the field, numbers outside it, or another length."""
        how, at = recipe.byte() % 4, recipe.below(len(plain))
        piece = recipe.take(1 + recipe.byte() % 16)
        if how == 0:
            return plain[:at] + b"\xff" * (len(plain) - at)
        if how == 1:
            return plain[:at]
        return (plain[:at] + piece + plain[at + len(piece) :])[: len(plain)]

    def upload(self, recipe: Recipe, frames: Sent) -> Sent:
        found = [
            decode_frame(frame, max_bytes=1 << 30)[1]
            for name, frame in frames
            if name == "c0" and frame[3] in (Kind.CHUNK, Kind.MASKED_HEADER)
        ]
        chunks = [each for each in found if isinstance(each, Chunk)]
        header = next((each for each in found if not isinstance(each, Chunk)), None)
        if not chunks or header is None:
            return []
        chosen = chunks[recipe.below(len(chunks))]
        places = {(each.segment, each.index): bytes(each.payload) for each in chunks}
        place = (chosen.segment, chosen.index)
        places[place] = self._spoilt(recipe, places[place])
        setup, sign = self.table.setup, self.identity("c0").sign
        told = [
            ("c0", make_chunk(header.session, "c0", (chosen.round_id, *each), setup.hash, memoryview(content), sign)[0])
            for each, content in places.items()
        ]
        body = msgspec.msgpack.decode(header.payload)
        body[-1] = tag_of(places)
        if recipe.byte() % 2:
            last = max(segment for segment, _ in places)
            sealed = b"".join(content for each, content in sorted(places.items()) if each[0] == last)
            body[SHARES_ROOT] = merkle.root(cut(sealed, len(setup.ids)))
        return [*told, ("c0", self.envelope(Kind.MASKED_HEADER, header.session, "c0", encode(body)))]


class OneshotReceiver(Receiver):
    """What both have in common."""

    liar = OneshotLiar
    victim: str

    def stages(self) -> list[Any]:
        return [functools.partial(lambda phase: Stage(Table(phase), self.victim), phase) for phase in PHASES]

    def seen(self, stage: Stage) -> Any:
        core = stage.party._core
        if stage.victim != SERVER:
            return core.freeze(), id(core._state.round), list(core._state.out)
        state = core._state
        current, batch = state.round, state.batch
        return (
            state.phase, dict(batch.keys), set(batch.seen), set(batch.shown), dict(current.headers), set(current.excluded),
            {name: dict(kept) for name, kept in current.kept.items() if kept}, dict(current.complete),
            dict(current.answer_frames), dict(current.complaints), sorted(current.answers), core.bulk._spool.in_memory,
        )  # fmt: skip

    def went_out(self, stage: Stage) -> bool:
        return stage.victim == SERVER and bool(stage.table.server._core._state.round.excluded)


class ToServer(OneshotReceiver):
    """A client or a member that lies."""

    victim = SERVER


class ToClient(OneshotReceiver):
    """A server that lies to a client that is a member too, with what other clients sealed."""

    victim = VICTIM
