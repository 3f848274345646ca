"""A small ckks federation: clients, a server and a key holder, whose every frame a test can see, drop, change or forge."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secagg import Integer, KeyHolder, Params
from secagg.aggregate import Aggregate
from secagg.errors import AbortError, PeerError
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.rlwe import Sum
from secagg.protocols.accounts import upload_tag
from secagg.protocols.ckks.messages import DecryptRequest, Kind, decoders, make_chunk
from secagg.wire import HOLDER, SERVER, Chunk, decode_frame, seal_envelope
from support.federation import Federation

PHASES = ("keys", "encrypted", "decrypt")
MODES = [("server", "malicious"), ("holder", "malicious"), ("server", "semi-honest"), ("holder", "semi-honest")]
LENGTH = 37
Place = tuple[int, int]
Payloads = dict[Place, bytes]


def make_params(clients: int = 5, **changes: Any) -> Params:
    settings: dict[str, Any] = {
        "length": LENGTH,
        "encoding": Integer(-50, 1000),
        "protocol": "ckks",
        "reveal": "server",
        "frame_bytes": 1 << 15,  # three polynomials a frame
        "corrupt": 1,
        "min_clients": clients - 1 if clients > 3 else clients,
        **changes,
    }
    return Params(clients=clients, **settings)


class Encrypted(Federation):
    """Clients c0.., a server and a key holder, with every key at hand for the attacks."""

    make_params = staticmethod(make_params)

    def __init__(self, clients: int = 5, *, ledgers: Path | None = None, **changes: Any) -> None:
        super().__init__(clients, ledgers=ledgers, **changes)
        self.holder = self.new_holder()
        self.results: dict[int, Aggregate] = {}  # of the holder, over its restarts

    def new_holder(self, **changes: Any) -> KeyHolder:
        settings = {"identity": self.holder_key, "roster": self.roster, "ledger": self.ledger("holder"), **changes}
        return KeyHolder(settings.pop("params", self.params), **settings)

    def restore_holder(self, snapshot: bytes, **changes: Any) -> KeyHolder:
        """The holder of a snapshot, old or new, as a new process would find it."""
        settings = {
            "identity": self.holder_key, "roster": self.roster, "ledger": self.ledger("holder"), "params": self.params,
        }  # fmt: skip
        return KeyHolder.restore(snapshot, **{**settings, **changes})

    def restart_holder(self) -> None:
        snapshot = self.holder.snapshot()
        self.holder.close()
        self.holder = self.restore_holder(snapshot)

    # -- carrying -------------------------------------------------------------------------------------------------

    def requests(self) -> dict[str, list[bytes]]:
        inbox: dict[str, list[bytes]] = {name: [] for name in (*self.ids, HOLDER)}
        for to, frame in self.server.outbox():
            inbox[to or HOLDER].append(frame)
        return inbox

    def hand(self, inbox: dict[str, list[bytes]], silent: Collection[str] = ()) -> list[tuple[str, bytes]]:
        theirs = {name: frames for name, frames in inbox.items() if name != HOLDER}
        sent = super().hand(theirs, silent)
        if HOLDER not in silent and HOLDER in inbox:
            for frame in inbox[HOLDER]:
                self.down.append((HOLDER, frame))
                try:
                    self.holder.receive(frame)
                except (PeerError, AbortError) as error:
                    self.errors[HOLDER] = error
            sent += [(HOLDER, frame) for frame in self.holder.outbox()]
            self.results.update(self.holder._results)
            if self.restarts:
                self.restart_holder()
        return sent

    def party(self, name: str) -> Any:
        return self.holder if name == HOLDER else self.clients[name]

    # -- judging --------------------------------------------------------------------------------------------------

    def check(self, contributors: Collection[str], round_id: int = 1) -> None:
        """The sum is exactly that of the contributors, for whom it is meant; the receipt holds."""
        told = self.server.result(round_id)
        opened = self.results[round_id]
        assert told.contributors == opened.contributors == tuple(sorted(contributors))
        told.receipt.verify(self.roster, self.params)
        assert told.receipt.account == opened.receipt.account
        assert told.receipt.result_hash == opened.receipt.result_hash
        assert isinstance(told, Aggregate) == (self.params.reveal == "server")
        expected = sum(self.updates[name] for name in contributors)
        for result in (told, opened) if self.params.reveal == "server" else (opened,):
            np.testing.assert_array_equal(result.sum, expected)
            plain = sum((self.updates[name] - self.params.encoding.low).astype(np.uint64) for name in contributors)
            np.testing.assert_array_equal(result.integer_sum, plain)

    # -- looking into and forging frames --------------------------------------------------------------------------

    def body(self, frame: bytes) -> Any:
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        return decoders[Kind(kind)].decode(outer.payload)

    def forge_holder(self, kind: Kind, body: Any, *, session: bytes | None = None) -> bytes:
        return seal_envelope(kind, session or self.server.session, HOLDER, body, self.holder_key.sign)

    @property
    def key_hash(self) -> bytes:
        return self.server._core._state.key.hash

    def chunk(
        self, sender: str, place: tuple[int, int, int], payload: bytes, *, key_hash: bytes | None = None,
        session: bytes | None = None,
    ) -> bytes:  # fmt: skip
        """A signed chunk of anybody's at (round, segment, index)."""
        identity = {SERVER: self.server_key, HOLDER: self.holder_key}.get(sender) or self.keys[sender]
        used = self.key_hash if key_hash is None else key_hash
        frame, _ = make_chunk(
            session or self.server.session, sender, place, used, memoryview(payload), identity.sign
        )  # fmt: skip
        return frame

    def sums(self, uploads: Iterable[Mapping[Place, bytes]]) -> Payloads:
        """The sum of uploads, place by place."""
        plan = self.params.cipher_plan
        totals: dict[Place, Sum] = {}
        for upload in uploads:
            for (number, index), payload in upload.items():
                cut = plan.segments[number]
                total = totals.setdefault((number, index), Sum(plan.ring, cut.coefficients(index)))
                total.add(payload)
        return {place: total.to_bytes() for place, total in totals.items()}

    def upload(self, name: str, header: Any, payloads: Mapping[Place, bytes]) -> list[tuple[str, bytes]]:
        """The frames of one client's upload of these very ciphertexts, under a header like `header`."""
        frames = [self.chunk(name, (header.round_id, *place), payload) for place, payload in payloads.items()]
        header = type(header)(*(getattr(header, field) for field in header.__struct_fields__[:-1]), tag_of(payloads))
        return [(name, frame) for frame in (*frames, self.forge_client(name, Kind.ENCRYPTED_HEADER, header))]

    def ask(
        self, headers: list[bytes], payloads: Mapping[Place, bytes], *, round_id: int = 1, **changes: Any
    ) -> list[bytes]:
        """What a lying server sends to have `payloads` decrypted as the sum of the uploads with these headers."""
        first = self.body(headers[0])
        settings = {
            "params_hash": first.params_hash, "key_hash": first.key_hash, "participants": list(range(len(self.ids))),
            "headers": headers, "sum_tag": tag_of(payloads), "server_key": KeyPair.generate().public_bytes, **changes,
        }  # fmt: skip
        request = self.forge(Kind.DECRYPT_REQUEST, DecryptRequest(round_id, **settings))
        key_hash = settings["key_hash"]
        return [
            request,
            *(self.chunk(SERVER, (round_id, *place), payloads[place], key_hash=key_hash) for place in sorted(payloads)),
        ]


def tag_of(payloads: Mapping[Place, bytes]) -> bytes:
    """The tag of an upload, or of a sum."""
    return upload_tag(hashlib.sha256(payloads[place]).digest() for place in sorted(payloads))


def uploads(sent: Iterable[tuple[str, bytes]]) -> tuple[dict[str, bytes], dict[str, Payloads]]:
    """Each client's header frame, and its ciphertexts by place."""
    headers: dict[str, bytes] = {}
    payloads: dict[str, Payloads] = {}
    for name, frame in sent:
        _, outer = decode_frame(frame, max_bytes=1 << 30)
        if isinstance(outer, Chunk):
            payloads.setdefault(name, {})[outer.segment, outer.index] = bytes(outer.payload)
        else:
            headers[name] = frame
    return headers, payloads


def tell(party: Any, frames: Iterable[bytes]) -> Exception | None:
    """Hand frames over; return the first refusal."""
    for frame in frames:
        try:
            party.receive(frame)
        except (PeerError, AbortError) as error:
            return error
    return None
