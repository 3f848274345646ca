"""What a value costs on this machine, in the hands of each party: measured on real vectors, by the package's own bulk code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from secagg.accumulator import Accumulator, Masking
from secagg.aggregate import decode_sums
from secagg.ciphertexts import CipherAccumulator, Encrypting
from secagg.cli.plan.units import middle
from secagg.hazmat import aead
from secagg.hazmat.rlwe import SecretKey
from secagg.params import Params
from secagg.protocols.ckks import EncryptedUpload
from secagg.protocols.pairwise import MaskedUpload
from secagg.receipt import result_digest
from secagg.wire import Chunk, encode_chunk
from secagg.workers import Workers

__all__ = [
    "CipherBulk",
    "MaskBulk",
    "decode_seconds",
    "measure_ciphers",
    "measure_masks",
    "scaled_update",
    "shortened",
]

# Beyond these the cost of a value no longer changes: whole frames where values are encoded or encrypted, and where they are added
# vectors that no cache keeps.
MOST_MADE = 3_400_000
MOST_MASKED_SUM = 24_000_000
MOST_ENCRYPTED = 1_000_000
MOST_ENCRYPTED_SUM = 8_000_000
ROUND, SESSION, ME = 1, bytes(16), "client"
SLICE = 0.1


@dataclass(frozen=True)
class MaskBulk:
    """Seconds a value under pairwise.

    Attributes
    ----------
    protect, mask : float
        The client: encode, pack and authenticate; and each mask.
    take : float
        The server: unpack and add one client's value.
    unmask : float
        One mask removed.
    decode : float
        From sums to the mean, digest and range checks included.
    """

    protect: float
    mask: float
    take: float
    unmask: float
    decode: float


@dataclass(frozen=True)
class CipherBulk:
    """Seconds a value under ckks.

    Attributes
    ----------
    encrypt : float
        The client: encode, encrypt, pack; with its pad, if there are pads. Hashing is counted apart.
    add : float
        Server or holder: one client's value checked and added.
    total : float
        The sum packed for the holder.
    decrypt, pad : float
        The holder: the sum opened and its digest taken; and each pad removed.
    results, taken : float
        The opened sum packed by the holder, and unpacked by the server.
    decode : float
        From integers to the mean.
    key : float
        A key made, or read; seconds in all.
    """

    encrypt: float
    add: float
    total: float
    decrypt: float
    pad: float
    results: float
    taken: float
    decode: float
    key: float


def shortened(params: Params, most: int) -> Params:
    """Return Params of a flat update of the same encoding that is no longer than `most`."""
    from dataclasses import replace

    count = min(params.segment_plan.layout.size, most)
    return replace(params, layout=None, length=count, segments=(), metrics=())


def _update(count: int) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, count).astype(np.float32)


def _nothing(*_: object) -> None:
    return None


def measure_masks(params: Params) -> MaskBulk:
    """Return what values cost under these pairwise Params."""
    short = shortened(params, MOST_MADE)
    count = short.segment_plan.layout.size
    source = short.segment_plan.open(scaled_update(short, count), 1, None, os.urandom(16))
    masking = Masking(short, Workers(1))
    mac = os.urandom(32)

    def upload(masks: int) -> MaskedUpload:
        def frame(segment: int, index: int, payload: memoryview) -> tuple[bytes, bytes]:
            tag = aead.gmac(mac, bytes(12), payload)
            return encode_chunk(Chunk(SESSION, ME, ROUND, segment, index, tag, payload)), tag

        keys = [os.urandom(16) for _ in range(masks)]
        secrets = (os.urandom(16), os.urandom(32))
        return MaskedUpload(keys, [1] * masks, mac, secrets, (b"", False), frame, _nothing, _nothing, lambda _: b"")

    def protect(masks: int) -> list[bytes]:
        return [frame for frame, _ in masking.segment(source, 1, upload(masks))]

    one, many = middle(lambda: protect(1), SLICE), middle(lambda: protect(9), SLICE)
    mask = max(many - one, 0.0) / 8 / count
    protected = max(one / count - mask, 0.0)
    bulk, taken = _take(shortened(params, MOST_MASKED_SUM))
    keys = [os.urandom(16) for _ in range(8)]
    eight = middle(lambda: bulk.unmask_range(b"", 1, 0, count, keys, [1] * 8), SLICE / 2) / count
    return MaskBulk(protect=protected, mask=mask, take=taken, unmask=eight / 8, decode=decode_seconds(short) / count)


def _take(params: Params) -> tuple[Accumulator, float]:
    """Return an accumulator with a sum in it, and the seconds a value that adding one more upload takes."""
    segment = params.segment_plan.segments[1]
    bulk = Accumulator(params.segment_plan.segments, params.frame_bytes)
    (head,), sizes = bulk.chunks()
    block = os.urandom(max(sizes))
    payloads = [bytes(bytearray(block[:size])) for size in sizes]  # copies: one block would stay in the cache
    tail = segment.count * segment.w % 8
    if tail:
        payloads[-1] = payloads[-1][:-1] + bytes([payloads[-1][-1] & ((1 << tail) - 1)])

    def take() -> None:
        bulk.add(ME, 0, 0, memoryview(bytes(head)))
        for index, payload in enumerate(payloads):
            bulk.add(ME, 1, index, memoryview(payload))
        bulk.fold(ME, b"")

    take()  # memory for the sum is counted apart
    return bulk, middle(take, SLICE) / segment.count


def scaled_update(params: Params, count: int) -> Any:
    """Return an update that the encoding takes: values within its clip, or integers within its range."""
    encoding = params.encoding
    unit = _update(count)
    if hasattr(encoding, "clip"):
        return unit * np.float32(encoding.clip)
    low, high = encoding.low, encoding.high
    return (low + (unit.astype(np.float64) + 1) / 2 * (high - low)).astype(np.int64).clip(low, high)


def decode_seconds(params: Params) -> float:
    """Return the seconds from opened sums of one update to its mean."""
    plan = params.segment_plan
    sums = plan.encode(scaled_update(params, plan.layout.size), 1, None, os.urandom(16)).vectors

    def run() -> None:
        result_digest(sums)
        _ = decode_sums(params, sums, 1).mean

    return middle(run, SLICE)


def measure_ciphers(params: Params) -> CipherBulk:
    """Return what values cost under these ckks Params."""
    short = shortened(params, MOST_ENCRYPTED)
    count, plan = short.segment_plan.layout.size, short.cipher_plan
    secret = SecretKey.generate(plan.ring)
    public = secret.public_key()
    source = short.segment_plan.open(scaled_update(short, count), 1, None, os.urandom(16))
    encrypting = Encrypting(short, Workers(1))
    pad = os.urandom(16) if short.padded else None
    sent: list[tuple[int, int, bytes]] = []

    def upload() -> EncryptedUpload:
        def frame(segment: int, index: int, payload: memoryview) -> tuple[bytes, bytes]:
            sent.append((segment, index, bytes(payload)))
            return b"", b""

        secrets = (os.urandom(16), os.urandom(32))
        keys = (os.urandom(16), pad)
        return EncryptedUpload(public, keys, secrets, (b"", False), frame, _nothing, _nothing, lambda _: b"")

    def encrypt() -> None:
        sent.clear()
        made = upload()
        encrypting.head(source, 0, made)
        for _ in encrypting.segment(source, 1, made):
            pass

    encrypted = middle(encrypt, SLICE)
    bulk = CipherAccumulator(short)

    def add() -> None:
        for segment, index, payload in sent:
            bulk.add(ME, segment, index, memoryview(payload))
        bulk.fold(ME, b"")

    add()
    total = middle(lambda: list(bulk.total(b"")), SLICE / 2)
    (sums,) = bulk._sums.values()  # noqa: SLF001  # decrypted again and again, which the protocol forbids and a clock needs
    pads = [] if pad is None else [pad]
    opening = CipherAccumulator(short)

    def open_(more: int) -> None:
        for number, row in enumerate(sums):
            first = plan.segments[number]
            for index, each in enumerate(row):
                extra = [(key, first.number(index)) for key in pads * more]
                secret.decrypt(each, plan.delta, pads=extra)

    plain, padded = middle(lambda: open_(0), SLICE), middle(lambda: open_(2 if pads else 0), SLICE)
    lanes = short.segment_plan.encode(scaled_update(short, count), 1, None, os.urandom(16)).vectors
    opening._lanes = lanes  # noqa: SLF001  # what an opening leaves
    results = middle(lambda: list(opening.opened()), SLICE / 2)
    packed = list(opening.opened())
    taking = CipherAccumulator(short)

    def take() -> None:
        for (segment, index), payload in packed:
            taking.take(segment, index, payload)

    taken = middle(take, SLICE / 2)
    added = _add(short, sent, params.segment_plan.layout.size)
    zeros = np.zeros(_coefficients(short), np.uint64)
    joined = middle(lambda: plan.values(1, zeros), SLICE / 2)
    return CipherBulk(
        encrypt=encrypted / count, add=added, total=total / count, decrypt=(plain + joined) / count,
        pad=max(padded - plain, 0.0) / 2 / count, results=results / count, taken=taken / count,
        decode=decode_seconds(short) / count,
        key=middle(lambda: SecretKey.generate(plan.ring).public_key().transformed),
    )  # fmt: skip


def _add(params: Params, sent: list[tuple[int, int, bytes]], count: int) -> float:
    """Return the seconds a value of adding ciphertexts to a sum of `count` values, or as many as leave every cache."""
    have = params.segment_plan.layout.size
    copies = max(1, min(count, MOST_ENCRYPTED_SUM) // have)
    bulks = [CipherAccumulator(params) for _ in range(copies)]
    payloads = [[(number, at, bytes(bytearray(payload))) for number, at, payload in sent] for _ in bulks]

    def add() -> None:
        for bulk, chunks in zip(bulks, payloads, strict=True):
            for segment, index, payload in chunks:
                bulk.add(ME, segment, index, memoryview(payload))
            bulk.fold(ME, b"")

    add()  # memory for the sum is counted apart
    return middle(add, SLICE) / (copies * have)


def _coefficients(params: Params) -> int:
    cut = params.cipher_plan.segments[1]
    return cut.count * cut.limbs
