"""`receive` of the pairwise protocol."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from fuzz.recipe import Recipe, change
from fuzz.targets.files import folder_for
from fuzz.targets.frames import encode
from fuzz.targets.receive import Liar, Receiver, Sent, Stage
from secagg.errors import AuthenticationError
from secagg.hazmat import aead
from secagg.protocols.pairwise import dealing, unmasking
from secagg.protocols.pairwise.messages import HASH_BYTES, Kind, upload_tag
from secagg.protocols.upload import chunk_nonce
from secagg.wire import SERVER, Chunk, decode_frame, encode_chunk
from support.federation import Federation
from support.watch import Watch

PHASES = ("keys", "shares", "masked", "unmask")
VICTIM = "c1"


class Table(Federation):
    """A federation of five of whom four are asked, and one of these may fall silent before its update."""

    def __init__(self, phase: str, *, silent: bool, ledger: bool = False) -> None:
        home = folder_for(self) if ledger else None
        super().__init__(5, ledgers=home, rounds_per_setup=2, min_clients=3, frame_bytes=64)
        self.silent = ["c3"] if silent else []
        self.watch = Watch()
        self.server.open_round(1, participants=self.ids[:4])
        while self.server.phase != phase:
            self.phase(self.silent if self.server.phase == "masked" else ())

    def hand(self, inbox: dict[str, list[bytes]], silent: Any = ()) -> Sent:
        return super().hand(inbox, silent or (self.silent if self.server.phase in ("masked", "unmask") else ()))


class PairwiseLiar(Liar):
    """Has the keys of chunks, answers and shares as well."""

    def _setup(self) -> Any:
        return self.table.server._core._state.batch

    def tag(self, chunk: Chunk) -> bytes:
        batch = self._setup()
        key = unmasking.upload_key(batch.secrets[chunk.sender], batch.setup, chunk.sender, chunk.round_id)
        return aead.gmac(key, chunk_nonce(chunk.segment, chunk.index), chunk.payload)

    def unseal(self, kind: int, name: str, body: list) -> Any:
        if kind == Kind.UNMASK:
            return functools.partial(self._answer, name)
        if kind in (Kind.MASKED_REQUEST, Kind.UNMASK_REQUEST) and isinstance(body, list) and body[-1] is not None:
            return self._delivery
        return None

    def _answer(self, name: str, recipe: Recipe, body: list) -> list:
        """Change what an answer holds under its seal, or the account that it is bound to."""
        round_id, account, signature, sealed, complaints = body
        batch = self._setup()
        key = unmasking.answer_key(batch.secrets[name], batch.setup, name, round_id)
        plain = aead.open_(key, sealed, account)
        if recipe.byte() % 4 == 0:
            account = change(recipe, account)
            account = account if isinstance(account, bytes) else b""
            signature = self.identity(name).sign(account)
        else:
            plain = encode(change(recipe, msgspec.msgpack.decode(plain)))
        return [round_id, account, signature, aead.seal(key, plain, account), complaints]

    def _delivery(self, recipe: Recipe, body: list) -> list:
        """Change a share under its seal, and the hash that vouches for it."""
        client = self.table.clients[VICTIM]._core._state.batch
        setup = self._setup().setup
        members, hashes, sealed = body[-1]
        me = setup.ranks[VICTIM]
        dealers = [rank for rank in setup.neighbours[me] if rank in members]
        at = recipe.below(len(dealers))
        size, dealer = dealing.sealed_bytes(setup.rounds), setup.ids[dealers[at]]
        box = sealed[at * size : (at + 1) * size]
        if not client.pairwise or len(box) != size:
            return change(recipe, body)
        key = dealing._sealing_key(client.pairwise[dealers[at]], setup.setup_hash, dealer, VICTIM)
        try:
            plain = aead.open_(key, box, setup.setup_hash)
        except AuthenticationError:  # a lie of before
            return change(recipe, body)
        piece = recipe.take(1 + recipe.byte() % 40)
        start = recipe.below(len(plain))
        plain = (plain[:start] + piece + plain[start + len(piece) :])[: len(plain)]
        if recipe.byte() % 2:
            root = dealing.Holding.of(plain, setup.rounds).root()
            hashes = hashes[: at * HASH_BYTES] + root + hashes[(at + 1) * HASH_BYTES :]
        box = aead.seal(key, plain, setup.setup_hash)
        return [*body[:-1], [members, hashes, sealed[: at * size] + box + sealed[(at + 1) * size :]]]

    def upload(self, recipe: Recipe, frames: Sent) -> Sent:
        mine = [frame for name, frame in frames if name == "c0" and frame[3] in (Kind.CHUNK, Kind.MASKED_HEADER)]
        found = [decode_frame(frame, max_bytes=1 << 30)[1] for frame in mine]
        chunks = [each for each in found if isinstance(each, Chunk)]
        header = next((each for each in found if not isinstance(each, Chunk)), None)
        if not chunks or header is None:
            return []
        at = recipe.below(len(chunks))
        payload = bytearray(chunks[at].payload)
        where = -1 if recipe.byte() % 2 else recipe.below(len(payload))
        payload[where] ^= recipe.byte()
        chunks[at] = msgspec.structs.replace(chunks[at], payload=memoryview(bytes(payload)))
        chunks = [msgspec.structs.replace(each, tag=self.tag(each)) for each in chunks]
        body = msgspec.msgpack.decode(header.payload)
        ordered = sorted(chunks, key=lambda each: (each.segment, each.index))
        body[-2] = upload_tag(each.tag for each in ordered)
        if recipe.byte() % 4 == 3:
            body[5] = recipe.take(32).ljust(32, b"x")
        told = [("c0", encode_chunk(each)) for each in chunks]
        return [*told, ("c0", self.envelope(Kind.MASKED_HEADER, header.session, "c0", encode(body)))]


class ToServer(Receiver):
    """A client that lies, or all of them."""

    liar = PairwiseLiar

    def stages(self) -> list[Any]:
        return [
            functools.partial(lambda phase, silent: Stage(Table(phase, silent=silent), SERVER), phase, silent)
            for phase, silent in (*((each, False) for each in PHASES), ("unmask", True))
        ]

    def seen(self, stage: Stage) -> Any:
        state = stage.table.server._core._state
        batch, current = state.batch, state.round
        return (
            stage.table.server.phase, stage.table.server.missing, dict(batch.advertisements), dict(batch.secrets),
            set(batch.keys_seen), {name: frame for name, (frame, _) in batch.dealings.items()}, set(batch.acknowledged),
            dict(batch.complaints), {name: dict(tags) for name, tags in current.tags.items() if tags}, set(current.headers),
            dict(current.complete), set(current.excluded), dict(current.answer_frames), set(current.answers),
            state.bulk._spool.in_memory, len(state.bulk._sums),
        )  # fmt: skip

    def went_out(self, stage: Stage) -> bool:
        return bool(stage.table.server._core._state.round.excluded)


class ToClient(Receiver):
    """A server that lies, and whoever may help it."""

    liar = PairwiseLiar

    def stages(self) -> list[Any]:
        kinds = [
            *((phase, False, False) for phase in PHASES),
            ("unmask", True, False),
            ("masked", False, True),
            ("unmask", True, True),
        ]
        return [
            functools.partial(
                lambda phase, silent, ledger: Stage(Table(phase, silent=silent, ledger=ledger), VICTIM), *kind
            )
            for kind in kinds
        ]

    def seen(self, stage: Stage) -> Any:
        client = stage.party
        records = None if client._ledger is None else client._ledger.records
        return client._core.freeze(), list(client._core._state.out), client.awaiting, records

    def went_out(self, stage: Stage) -> bool:
        return False

    def said(self, stage: Stage, frame: bytes) -> None:
        stage.table.watch.see(VICTIM, frame)

    def run(self, data: bytes) -> None:
        for stage in self._stages.values():
            stage.table.watch = Watch()  # a client without a ledger that was put back may say another thing
        super().run(data)
