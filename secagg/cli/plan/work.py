"""The cost model: how many steps of which kind each party takes in a setup and in a round, and what that comes to in seconds.

A round is one in which everybody answers. What is counted follows the protocols' code (docs/planning.md, "How seconds are
predicted"); bytes are those of `secagg.costs`, by way of `Params.explain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secagg.cli.plan.bulk import CipherBulk, MaskBulk
from secagg.cli.plan.units import Units
from secagg.params import Params
from secagg.protocols.pairwise import dealing
from secagg.wire import ChunkPlan

__all__ = ["Party", "Prediction", "predict_ckks", "predict_pairwise"]

FRAME = 190  # bytes of an envelope and of the fixed fields of a body, hashes included; ids of 16 bytes
HEADER = 330
SPOOL = 256 << 20
KEPT = 32 << 20  # the C library keeps freed memory of up to this size; what is larger comes from the system each time


def _fresh(units: Units, *sizes: float) -> float:
    """Return what arrays of these sizes cost to come by."""
    return units.fresh_byte * sum(size for size in sizes if size > KEPT)


@dataclass(frozen=True)
class Party:
    """Seconds of one party on one thread, without the network.

    Attributes
    ----------
    setup : float
        Once for each batch of `rounds` rounds: keys and shares, or a key.
    steady : float
        In every round.
    rounds : int
    """

    setup: float
    steady: float
    rounds: int

    @property
    def average(self) -> float:
        """Seconds a round, the setup's share included."""
        return self.steady + self.setup / self.rounds


@dataclass(frozen=True)
class Prediction:
    """What one round costs each party; there is no holder under pairwise."""

    client: Party
    server: Party
    holder: Party | None


def predict_pairwise(params: Params, units: Units, bulk: MaskBulk) -> Prediction:
    """Return the seconds of every party under pairwise."""
    n, p, rounds = params.clients, params.max_participants, params.rounds_per_setup
    k = min(params.neighbours, n - 1)
    pairs = round(k * (p - 1) / (n - 1))
    values = sum(segment.count for segment in params.segment_plan.segments)
    chunks = sum(ChunkPlan(s.count, s.w, params.frame_bytes).chunks for s in params.segment_plan.segments)
    sizes, lane = _Sizes(n, k, rounds), 8 if params.segment_plan.segments[-1].w > 32 else 4
    spread = 0.0 if params.full else units.shuffle_item
    tree = 2 * rounds * units.leaf
    adverts = n * (units.envelope_in + units.envelope_byte * sizes.advertisement + (1 + rounds) * units.check_key)
    setup_hash = n * units.digest_field + units.digest_byte * n * sizes.advertisement
    shares = rounds * (2 * units.shamir + units.shamir_item * params.threshold * (3 * (k + 1) + 5 * k))
    per_share = units.hkdf + units.aead_byte * sizes.box + tree
    client_setup = (
        (1 + rounds) * units.keypair + (1 + k) * units.agree  # keys, and a channel to each neighbour
        + 2 * units.envelope_in + 2 * units.envelope_out + adverts + setup_hash
        + units.envelope_byte * n * sizes.advertisement + units.digest_byte * n * sizes.advertisement  # the list, twice
        + n * spread + shares + rounds * units.digest
        + k * (per_share + units.seal) + tree + units.envelope_byte * sizes.dealing
        + k * (per_share + units.open) + units.envelope_byte * sizes.delivery + 4 * n * units.item
    )  # fmt: skip
    requests = 2 * units.envelope_in + units.envelope_byte * p * (HEADER + 6)
    headers = p * (units.envelope_in + units.envelope_byte * (HEADER - FRAME))
    views = 4 * p * units.digest_field + 2 * p * units.digest_field + 8 * units.digest + 8 * p * units.item
    answer = (pairs + 1) * sizes.opening
    client_round = (
        requests + headers + views + p * spread
        + pairs * (units.agree + units.hkdf) + 5 * units.hkdf
        + values * (bulk.protect + (pairs + 1) * bulk.mask) + chunks * units.digest / 4
        + (pairs + 1) * tree + units.seal + units.aead_byte * answer + units.envelope_byte * answer
        + 2 * units.envelope_out + units.sign
    )  # fmt: skip
    server_setup = (
        2 * adverts + setup_hash + n * units.agree + units.keypair + 2 * units.envelope_out + n * spread
        + units.envelope_byte * n * sizes.advertisement
        + n * (units.envelope_in + units.envelope_byte * sizes.dealing)
        + n * (units.envelope_out + units.envelope_byte * sizes.delivery + 6 * k * 10 * units.item)  # cut and signed for each
    )  # fmt: skip
    uploads = (
        p * chunks * (units.hkdf + 12 * units.digest_field)
        + p * values * bulk.take
        + p * _bytes(params) * units.gmac_byte
    )
    answers = n * (
        units.envelope_in + units.verify + units.hkdf + units.open + (units.aead_byte + units.envelope_byte) * answer
        + 30 * pairs * units.item + 2 * n * units.item
    )  # fmt: skip
    groups = 1 if params.full else p
    rebuild = (
        groups * units.weight_item * params.threshold**2 + p * (units.combine_item * params.threshold + units.digest)
        + (0 if params.full else p * units.shamir)
    )  # fmt: skip
    server_round = (
        uploads + p * (units.envelope_in + units.envelope_byte * (HEADER - FRAME)) + views
        + 2 * units.envelope_out + units.envelope_byte * p * (HEADER + 6) + p * spread
        + answers + rebuild + values * (p * bulk.unmask + bulk.decode)
        + _fresh(units, lane * values, 8 * values, 8 * values) + p * 8 * units.digest_field + units.sign
    )  # fmt: skip
    return Prediction(Party(client_setup, client_round, rounds), Party(server_setup, server_round, rounds), None)


def _bytes(params: Params) -> int:
    return sum((segment.count * segment.w + 7) // 8 for segment in params.segment_plan.segments)


class _Sizes:
    """Bytes of what a setup carries."""

    def __init__(self, n: int, k: int, rounds: int) -> None:
        self.box = dealing.sealed_bytes(rounds)
        self.advertisement = FRAME + 64 + 32 * rounds
        self.dealing = FRAME + 32 * rounds + k * (self.box + 32)
        self.delivery = FRAME + k * (self.box + 32) + 2 * n
        self.opening = dealing.opening_bytes(rounds) + dealing.SEED_SHARE_BYTES


def predict_ckks(params: Params, units: Units, bulk: CipherBulk) -> Prediction:
    """Return the seconds of every party under ckks."""
    p, rounds = params.max_participants, params.rounds_per_setup
    plan = params.cipher_plan
    values = sum(segment.count for segment in params.segment_plan.segments)
    chunks = sum(cut.chunks for cut in plan.segments)
    size = plan.upload_bytes
    results = [ChunkPlan(s.count, s.w, params.frame_bytes) for s in params.segment_plan.segments]
    shown = params.reveal == "server"
    result_chunks, result_bytes = sum(each.chunks for each in results) * shown, _bytes(params) * shown
    pads = p if params.padded else 0
    key_bytes = plan.ring.degree * plan.ring.bits // 8
    announced = units.envelope_in + units.envelope_byte * key_bytes + units.check_key + units.digest_byte * key_bytes
    view = p * units.digest_field + 2 * units.digest
    statement = units.digest + 6 * units.digest_field
    made = chunks * (units.sign + statement) + size * units.sha_byte  # chunks of one upload, or of the sum, signed
    checked = chunks * (units.verify + statement) + size * units.sha_byte
    headers = p * (units.envelope_in + units.envelope_byte * (HEADER - FRAME))
    agreed = units.agree + units.hkdf
    upload = values * bulk.encrypt + made
    client_round = (
        units.envelope_in + view + 2 * p * units.item + (units.keypair + agreed) * bool(pads) + 4 * units.hkdf + upload
        + units.envelope_out
    )  # fmt: skip
    words = 8 * values * plan.segments[-1].limbs
    sums, lanes, mean = _fresh(units, words, words), _fresh(units, 4 * values), _fresh(units, 8 * values, 8 * values)
    intake = sums + p * checked + p * values * bulk.add
    # Under recompute uploads are kept for the holder; else only the unfinished one. The file's pages are fresh memory too.
    over = max(p * size - SPOOL, 0) if params.recompute else p * max(size - SPOOL, 0)
    spooled = over * (units.spool_byte + units.fresh_byte)
    survivors = 2 * p * units.digest_field + p * units.digest_field + units.digest_byte * p * HEADER
    told = units.envelope_out + units.envelope_byte * p * (HEADER + 6)
    passed_on = (
        _fresh(units, p * size) + over * units.spool_byte / 2
        if params.recompute
        else values * bulk.total + made + _fresh(units, size, size)
    )
    taken = result_chunks * (units.verify + statement + agreed + units.open) + result_bytes * (
        units.sha_byte + units.aead_byte
    )
    server_round = (
        2 * units.envelope_out + view + headers + intake + spooled + survivors + told + passed_on + units.envelope_in + units.verify
        + taken + shown * (values * (bulk.taken + bulk.decode) + lanes + mean) + (0 if shown else values * bulk.total)
        + p * 8 * units.digest_field + units.sign
    )  # fmt: skip
    request = units.envelope_in + units.envelope_byte * p * (HEADER + 6)
    gathered = intake + spooled if params.recompute else checked + sums + values * bulk.add
    sealed = result_chunks * (units.sign + statement + units.seal + units.hkdf) + result_bytes * (
        units.sha_byte + units.aead_byte
    )
    holder_round = (
        request + headers + view + survivors + gathered + pads * agreed + values * (bulk.decrypt + pads * bulk.pad)
        + _fresh(units, words) + lanes + mean + shown * (values * bulk.results + _fresh(units, result_bytes)) + sealed + values * bulk.decode + units.envelope_out + 2 * units.sign
        + p * 8 * units.digest_field
    )  # fmt: skip
    client_setup = announced + bulk.key + units.envelope_byte * key_bytes
    server_setup = announced + bulk.key + 2 * units.envelope_out + units.envelope_byte * key_bytes
    holder_setup = units.envelope_in + bulk.key + units.keypair + units.envelope_out + units.envelope_byte * key_bytes
    parties: list[Any] = [(client_setup, client_round), (server_setup, server_round), (holder_setup, holder_round)]
    return Prediction(*(Party(setup, steady, rounds) for setup, steady in parties))
