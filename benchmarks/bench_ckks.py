"""The ckks protocol against TenSEAL: a client's upload, the server's addition, the decryption of a sum, bytes on the wire.

Length 10^6 float32, 16 bits, one thread. TenSEAL does what its users have it do; its values come back with CKKS's error, ours are
the exact integer sum of the same rounded values, so that both are compared with the plaintext sum, each within its own error.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harness.pairs import clocked
from peers import tenseal as peer

import secagg
from secagg.ciphertexts import CipherAccumulator, Encrypting
from secagg.hazmat.ring import Ring, modulus
from secagg.hazmat.rlwe import SecretKey, SeededSum
from secagg.testing import Network
from secagg.wire import HOLDER, Chunk, decode_frame
from secagg.workers import Workers

if TYPE_CHECKING:
    from harness.records import Records

    from conftest import Scale, Versus

LENGTH = 1_000_000
CLIENTS = 10
LEAN = "4096-40-41"
NVFLARE = "8192-60-40-40"
BLOCK = 16 * 2048  # values that are encoded and encrypted in one go


def updates(length: int, count: int) -> list[np.ndarray]:
    """Return as many float32 updates."""
    return list(np.random.default_rng(0).uniform(-1, 1, (count, length)).astype(np.float32))


def params(length: int, clients: int = CLIENTS, **own: Any) -> secagg.Params:
    """Return the Params of the lean set."""
    made: dict[str, Any] = {"protocol": "ckks", "reveal": "server", "rounds_per_setup": 64, **own}
    return secagg.Params(clients, length=length, **made)


class Round:
    """A round up to where the updates were asked for; one client can answer it again and again."""

    def __init__(self, length: int, **own: Any) -> None:
        self.params = params(length, **own)
        self.network = Network.fresh(self.params, [f"h{i}" for i in range(CLIENTS)], threads=1)
        self.server = self.network.server
        self.server.open_round(1)
        self.network.exchange(lambda _: None)
        self.server.close_phase()
        self.requests = dict(self.server.outbox())
        for name, client in self.network.clients.items():
            client.receive(self.requests[name])

    def submit(self, name: str, update: np.ndarray) -> list[bytes]:
        """Return one client's frames: encoded, encrypted, packed, hashed, signed; the same randomness for the same round."""
        client = self.network.clients[name]
        client.receive(self.requests[name])
        client.submit(update)
        return client.outbox()

    def payloads(self, frames: list[bytes]) -> list[tuple[int, int, memoryview]]:
        """Return the ciphertexts in frames."""
        found = []
        for frame in frames:
            _, outer = decode_frame(frame, max_bytes=self.params.max_frame_bytes)
            if isinstance(outer, Chunk):
                found.append((outer.segment, outer.index, outer.payload))
        return found


def small(scale: Scale) -> int:
    """Return the length of this run."""
    return 5000 if scale == "small" else LENGTH


class Bare:
    """An upload whose chunks are neither hashed nor signed: TenSEAL's are not either."""

    def __init__(self, own: Round) -> None:
        made = own.network.clients["h0"]._core.begin_upload(b"")  # noqa: SLF001
        self.public, self.key, self.pad = made.public, made.key, made.pad

    def chunk(self, segment: int, index: int, payload: memoryview) -> memoryview:
        """Return the bytes that would be sent."""
        del segment, index
        return payload


@pytest.mark.measures("ckks_encrypt_vs_tenseal", "ckks_submit_vs_tenseal")
def test_a_clients_upload(scale: Scale, versus: Versus) -> None:
    """Encode, encrypt and serialize, pads included; and, as another result, all that `submit` does around it."""
    length = small(scale)
    own, context = Round(length), peer.context(LEAN, public_key=True)
    (update,) = updates(length, 1)
    public = peer.public(context)

    def equal() -> bool:
        frames = own.submit("h0", update)
        bulk, name = CipherAccumulator(own.params), "h0"
        for segment, index, payload in own.payloads(frames):
            bulk.add(name, segment, index, payload)
        bulk.fold(name, b"")
        error = np.abs(
            np.array(peer.decrypt(peer.load(context, peer.serialize(peer.encrypt(public, update))))) - update
        )
        return own.submit("h0", update) == frames and bool(error.max() < 1e-2)

    about = {
        "peer": f"{peer.NAME} {LEAN}", "peer_version": peer.VERSION, "n": CLIENTS, "length": length, "threads": 1,
        "bytes": sum(map(len, own.submit("h0", update))),
    }  # fmt: skip
    own.network.clients["h0"].receive(own.requests["h0"])
    bare, encrypting = Bare(own), Encrypting(own.params, Workers(1))

    def ours() -> list[Any]:
        source = own.params.segment_plan.open(update, 1, None, bytes(16))
        body = [frame for frame, _ in encrypting.segment(source, 1, bare)]
        return [encrypting.head(source, 0, bare), *body]

    def theirs() -> bytes:
        return peer.serialize(peer.encrypt(public, update))

    def same() -> bool:
        sizes = own.params.cipher_plan.upload_bytes
        return equal() and sum(map(len, ours())) == sizes

    versus("ckks_encrypt_vs_tenseal", clocked(ours), clocked(theirs), equal=same, **about)
    versus(
        "ckks_submit_vs_tenseal",
        clocked(lambda: own.submit("h0", update)),
        clocked(theirs),
        equal=lambda: True,
        **about,
    )


@pytest.mark.measures("ckks_seeded_vs_tenseal")
def test_seeded_symmetric(scale: Scale, versus: Versus) -> None:
    """The building block, under a key that all share; the protocol does not use it. Ours: encode, encrypt, pack."""
    length = small(scale)
    encoding = secagg.FixedPoint(bits=16)
    ring = Ring(2048, modulus(28))
    delta = ring.modulus // (CLIENTS * encoding.levels + 1)
    key, theirs = SecretKey.generate(ring), peer.context(NVFLARE)
    (update,) = updates(length, 1)
    rounding = bytes(16)

    def encoded(start: int) -> np.ndarray:
        part = update[start : start + BLOCK]
        values, _ = encoding.encode(part, weight=1, w=20, key=rounding, stream_id=1, start=start)
        return values.astype(np.uint64)

    def ours(seed: bytes) -> bytes:
        """A few polynomials at a time, as the protocol does it."""
        secret = os.urandom(16)
        return b"".join(
            key.encrypt_seeded(encoded(start), delta, secret, start // ring.degree, seed)
            for start in range(0, length, BLOCK)
        )

    def equal() -> bool:
        seed = os.urandom(16)
        sealed = ours(seed)
        wide = np.concatenate([encoded(start) for start in range(0, length, BLOCK)])
        total = SeededSum(ring, length)
        total.add(sealed, seed)
        values, worst = key.decrypt(total, delta)
        error = np.abs(np.array(peer.decrypt(peer.load(theirs, peer.serialize(peer.encrypt(theirs, update))))) - update)
        return np.array_equal(values, wide) and worst < delta // 2 and bool(error.max() < 1e-6)

    versus(
        "ckks_seeded_vs_tenseal", clocked(lambda: ours(os.urandom(16))),
        clocked(lambda: peer.serialize(peer.encrypt(theirs, update))), equal=equal, peer=f"{peer.NAME} {NVFLARE}",
        peer_version=peer.VERSION, n=CLIENTS, length=length, threads=1, bytes=len(ours(bytes(16))),
    )  # fmt: skip


@pytest.mark.measures("ckks_server_vs_tenseal", "ckks_intake_vs_tenseal")
def test_the_servers_addition(scale: Scale, versus: Versus) -> None:
    """Parse, check and add one client; and, as another result, with everything the server does for it before and around."""
    length = small(scale)
    own, theirs = Round(length), peer.context(LEAN, public_key=True)
    update, other = updates(length, 2)
    frames = own.submit("h0", update)
    payloads = own.payloads(frames)
    bulk = CipherAccumulator(own.params)
    public = peer.public(theirs)
    sealed = peer.serialize(peer.encrypt(public, update))
    total = peer.load(public, peer.serialize(peer.encrypt(public, other)))

    def add_ours() -> None:
        for segment, index, payload in payloads:
            bulk.add("h0", segment, index, payload)
        bulk.fold("h0", b"")

    def add_theirs() -> None:
        peer.add(total, peer.load(public, sealed))

    def equal() -> bool:
        add_ours()
        add_theirs()
        found = np.array(peer.decrypt(peer.load(theirs, peer.serialize(total))))
        return bool(np.abs(found - update - other).max() < 1e-2) and _opens(own, {"h0": frames}, update)

    about = {"peer": f"{peer.NAME} {LEAN}", "peer_version": peer.VERSION, "n": 1, "length": length, "threads": 1}
    versus("ckks_server_vs_tenseal", clocked(add_ours), clocked(add_theirs), equal=equal, **about)

    def intake() -> float:
        """The whole path from frames to the sum; a client is taken once a round, so each pair has a round of its own."""
        fresh = Round(length)
        sent = fresh.submit("h0", update)
        return clocked(lambda: [fresh.server.receive(frame, sender="h0") for frame in sent])()

    versus("ckks_intake_vs_tenseal", intake, clocked(add_theirs), equal=lambda: True, pairs=5, **about)


def _opens(own: Round, frames: dict[str, list[bytes]], total: np.ndarray) -> bool:
    """Whether a round with these frames, and those of as many others as it takes with zeros, gives the right sum."""
    zeros = np.zeros_like(total)
    for name in own.network.clients:
        for frame in frames.get(name) or own.submit(name, zeros):
            own.server.receive(frame, sender=name)
    own.server.close_phase()
    for _, frame in own.server.outbox():
        own.network.holder.receive(frame)
    for frame in own.network.holder.outbox():
        own.server.receive(frame, sender=HOLDER)
    own.server.close_phase()
    found = own.server.result(1)
    return bool(np.abs(found.sum - total).max() < CLIENTS * own.params.encoding.error_bound())


@pytest.mark.measures("ckks_decrypt_vs_tenseal", "ckks_open_vs_tenseal")
def test_the_decryption_of_a_sum(scale: Scale, versus: Versus) -> None:
    """Decrypt, round and decode to the mean; and with all checks and the receipt's hash. TenSEAL: to its list of floats."""
    length = small(scale)
    own, theirs = Round(length, threat="semi-honest"), peer.context(LEAN, public_key=True)
    batch = updates(length, CLIENTS)
    bulk = CipherAccumulator(own.params)
    for name, update in zip(own.network.clients, batch, strict=True):
        for segment, index, payload in own.payloads(own.submit(name, update)):
            bulk.add(name, segment, index, payload)
        bulk.fold(name, b"")
    sums = bulk._sums  # noqa: SLF001  # opened again and again
    secret = own.network.holder._core._state.key.secret  # noqa: SLF001
    public = peer.public(theirs)
    total = peer.load(theirs, peer.serialize(peer.encrypt(public, np.sum(batch, axis=0, dtype=np.float64))))

    def ours() -> Any:
        rows = enumerate(sums[b""])
        lanes = [bulk._open(number, row, secret, []) for number, row in rows]  # noqa: SLF001
        return own.params.segment_plan.decode(lanes).mean

    def whole() -> Any:
        bulk._sums = dict(sums)  # noqa: SLF001
        bulk.open(secret, [], CLIENTS)
        return own.params.segment_plan.decode(bulk.lanes()).mean

    def equal() -> bool:
        plain = np.sum(batch, axis=0, dtype=np.float64)
        if not np.array_equal(ours(), whole()):
            return False
        close = np.abs(ours() - plain / CLIENTS).max() <= own.params.encoding.error_bound()
        return bool(close) and bool(np.abs(np.array(peer.decrypt(total)) - plain).max() < 1e-1)

    about = {"peer": f"{peer.NAME} {LEAN}", "peer_version": peer.VERSION, "n": CLIENTS, "length": length, "threads": 1}
    versus("ckks_decrypt_vs_tenseal", clocked(ours), clocked(lambda: peer.decrypt(total)), equal=equal, **about)
    versus("ckks_open_vs_tenseal", clocked(whole), clocked(lambda: peer.decrypt(total)), equal=equal, **about)


@pytest.mark.parametrize(
    "clients", [pytest.param(n, marks=pytest.mark.measures(f"ckks_bytes_n{n}")) for n in (10, 1000)]
)
def test_bytes_on_the_wire(clients: int, scale: Scale, records: Records) -> None:
    """All that one client sends in a round, frames, hashes and signatures included, a value."""
    told = params(LENGTH, clients).explain().to_dict()
    value = told["bytes_up_round"] / LENGTH
    if clients == CLIENTS:
        length = small(scale)
        own = Round(length)
        sent = sum(map(len, own.submit("h0", updates(length, 1)[0])))
        assert abs(sent - own.params.explain().to_dict()["bytes_up_round"]) < 200  # ids of 16 bytes against 2
    records.add(f"ckks_bytes_n{clients}", value, unit="B/value", peer="as sent", n=clients, length=LENGTH)
