"""What a step of each kind takes on this machine: measured in a moment, by running the package's own functions.

The units are those of `secagg.cli.plan.work`. Each is the least of several runs, in
seconds of this thread's processor time, since whatever else the machine does only adds.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from secagg import _kernels
from secagg.hazmat import aead, prg, shamir, signing
from secagg.hazmat.agreement import KeyPair, check_public_key
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest, u64
from secagg.protocols.pairwise import dealing
from secagg.protocols.pairwise.messages import KeysRequest, Kind, SharesRequest, decoders
from secagg.protocols.pairwise.opening import combine
from secagg.spool import Spool
from secagg.wire import SERVER, Envelope, decode_body, decode_frame, encode_body, open_envelope, seal_envelope

__all__ = ["Units", "least", "measure_units", "middle", "per_item"]

SLICE = 0.01  # seconds that a unit may take, measured again and again
MOST_RUNS = 50
LARGE = 1 << 18
FRESH = 48 << 20  # more than the C library keeps for itself: memory of this size is the system's each time
Function = Callable[[], object]


def least(function: Function, budget: float = SLICE, runs: int = 3) -> float:
    """Return the shortest of several runs, in seconds: at least `runs`, and as many as `budget` seconds allow."""
    best, spent, count = float("inf"), 0.0, 0
    while count < runs or (spent < budget and count < MOST_RUNS):
        begin = time.thread_time()
        function()
        took = time.thread_time() - begin
        best, spent, count = min(best, took), spent + took, count + 1
    return best


def middle(function: Function, budget: float = SLICE) -> float:
    """Return the median of three runs or more, in seconds: for work that memory holds up, where the least is luck."""
    took: list[float] = []
    while len(took) < 3 or (sum(took) < budget and len(took) < MOST_RUNS):
        begin = time.thread_time()
        function()
        took.append(time.thread_time() - begin)
    return statistics.median(took)


def per_item(function: Callable[[int], object], few: int, many: int) -> tuple[float, float]:
    """Return what a run costs for nothing, and for each item, from a run of few and one of many items."""
    low, high = least(lambda: function(few)), least(lambda: function(many))
    each = max(high - low, 0.0) / (many - few)
    return max(low - few * each, 0.0), each


@dataclass(frozen=True)
class Units:
    """Seconds of one step each; ``*_byte`` and ``*_item`` are what a step takes more for every byte or item.

    Attributes
    ----------
    sign, verify : float
        Ed25519 over a digest.
    keypair, agree, check_key : float
        X25519: a new pair, one agreement, the check of a received key.
    hkdf, digest, digest_field, digest_byte : float
        HKDF-SHA256, and TupleHash256 with the fields and bytes it takes in.
    sha_byte, gmac_byte : float
        SHA-256 and GMAC of bulk bytes.
    seal, open, aead_byte : float
        AES-256-GCM.
    envelope_out, envelope_in, envelope_byte : float
        A signed frame made, or taken: encoding, signature and all.
    shuffle_item : float
        The sparse graph's permutation.
    shamir, shamir_item : float
        A sharing, and each coefficient of each limb and holder in it.
    combine, combine_item : float
        A reconstruction by one set of holders, and each share in it.
    weight_item : float
        Each pair of holders in the Lagrange weights.
    leaf : float
        Each share in the tree of hashes that a dealer signs.
    item : float
        One element of a list that Python walks.
    fresh_byte : float
        A byte of memory that the system hands over when it is first touched; on virtual machines often the dearest of all.
    spool_byte : float
        A byte that goes to the spool's file, and back.
    """

    sign: float
    verify: float
    keypair: float
    agree: float
    check_key: float
    hkdf: float
    digest: float
    digest_field: float
    digest_byte: float
    sha_byte: float
    gmac_byte: float
    seal: float
    open: float
    aead_byte: float
    envelope_out: float
    envelope_in: float
    envelope_byte: float
    shuffle_item: float
    shamir: float
    shamir_item: float
    combine: float
    combine_item: float
    weight_item: float
    leaf: float
    item: float
    fresh_byte: float
    spool_byte: float


def measure_units() -> Units:
    """Return the units of this machine, in under a second on a recent one."""
    key = os.urandom(32)
    made: dict[str, float] = {}
    signer = signing.SigningKey.generate()
    message = os.urandom(32)
    signature = signer.sign(message)
    made["sign"] = least(lambda: signer.sign(message))
    made["verify"] = least(lambda: signing.verify(signer.public_bytes, message, signature))
    pair, other = KeyPair.generate(), KeyPair.generate().public_bytes
    made["keypair"] = least(lambda: KeyPair.generate().public_bytes)
    made["agree"] = least(lambda: pair.agree(other))
    made["check_key"] = least(lambda: check_public_key(other))
    made["hkdf"] = least(
        lambda: hkdf(key, "mask", message, u64(1), message, message, b"client-1", b"client-2", length=16)
    )
    made["digest"], made["digest_field"] = per_item(lambda n: digest("plan", *[message] * n), 3, 203)
    made["digest_byte"] = per_item(lambda n: digest("plan", bytes(n)), 64, LARGE)[1]
    bulk = os.urandom(1 << 20)
    made["sha_byte"] = least(lambda: hashlib.sha256(bulk).digest()) / len(bulk)
    made["gmac_byte"] = least(lambda: aead.gmac(key, bytes(12), bulk)) / len(bulk)
    made["seal"], made["aead_byte"] = per_item(lambda n: aead.seal(key, bytes(n), message), 64, LARGE)
    sealed = aead.seal(key, bytes(64), message)
    made["open"] = least(lambda: aead.open_(key, sealed, message))
    made |= _envelopes(signer)
    made["shuffle_item"] = least(lambda: prg.permutation(key[:16], 512)) / 512
    made |= _shares()
    made["item"] = least(lambda: set(range(4096)).issuperset([x for x in range(4096) if x >= 0])) / 8192
    made["fresh_byte"] = _fresh()
    made["spool_byte"] = least(lambda: _spooled(bytes(bytearray(bulk) * 4)), runs=2) / FRESH
    return Units(**made)


def _envelopes(signer: signing.SigningKey) -> dict[str, float]:
    session = bytes(16)
    small = KeysRequest(1, 1, bytes(32), bytes(32), bytes(32))
    large = SharesRequest(1, [bytes(300)] * (LARGE // 300))
    frames = [
        (kind, body, seal_envelope(kind, session, SERVER, body, signer.sign), len(encode_body(body)))
        for kind, body in ((Kind.KEYS_REQUEST, small), (Kind.SHARES_REQUEST, large))
    ]

    def out(number: int) -> object:
        kind, body, _, _ = frames[number]
        return seal_envelope(kind, session, SERVER, body, signer.sign)

    def take(number: int) -> object:
        kind, outer = decode_frame(frames[number][2], max_bytes=1 << 30)
        if not isinstance(outer, Envelope):
            return None
        payload = open_envelope(kind, outer, signer.public_bytes)
        return decode_body(payload, decoders[Kind(kind)], SERVER)

    one, many = least(lambda: take(0)), least(lambda: take(1))
    return {
        "envelope_out": least(lambda: out(0)),
        "envelope_in": one,
        "envelope_byte": max(many - one, 0.0) / (frames[1][3] - frames[0][3]),
    }


def _shares() -> dict[str, float]:
    secret, threshold = os.urandom(32), 40

    def split(holders: int) -> object:
        return shamir.split(secret, threshold, range(1, holders + 1))

    fixed, each = per_item(split, threshold, 10 * threshold)
    shares = split(threshold)
    held = dict(enumerate(shares)) if isinstance(shares, list) else {}
    holders = tuple(range(threshold))
    combine(holders, [held], len(secret))  # from here on the weights are remembered
    together, one = per_item(lambda n: combine(holders, [held] * n, len(secret)), 1, 33)
    rounds = 8
    plain = os.urandom(dealing.holding_bytes(rounds))
    indices = np.arange(1, 257, dtype=np.uint64)
    weights = least(lambda: _kernels.shamir_weights(indices))
    return {
        "shamir": fixed,
        "shamir_item": each / (threshold * 5),
        "combine": together,
        "combine_item": one / threshold,
        "weight_item": weights / 256**2,
        "leaf": least(lambda: dealing.Holding.of(plain, rounds).root()) / (2 * rounds),
    }


def _fresh() -> float:
    """Return the mean of memory never used before and of memory given back a moment ago, as a server's later rounds get it."""
    took = 0.0
    for _ in range(2):
        kept = []
        begin = time.thread_time()
        for _ in range(3):
            kept.append(np.empty(FRESH, dtype=np.uint8))
            kept[-1].fill(1)
        filled = time.thread_time()
        for array in kept:
            array.fill(2)
        took += max(2 * filled - begin - time.thread_time(), 0.0)
        del kept
    return took / (6 * FRESH)


def _spooled(payload: bytes) -> int:
    spool = Spool(0)
    for index in range(FRESH // len(payload)):
        spool.put("client", (0, index), memoryview(payload))
    read = sum(len(back) for _, back in spool.payloads("client"))
    spool.clear()
    return read
