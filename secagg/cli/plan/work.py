"""The cost model: which steps each party takes in a setup and in a round, how many, and what that comes to in seconds.

A round is one in which everybody answers. The counts follow the protocols' code, for ids of 16 bytes; docs/planning.md says in
words what is counted, and tests count the signatures and agreements of real rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from secagg.cli.plan.bulk import CipherBulk, MaskBulk
from secagg.cli.plan.units import Units
from secagg.params import Params
from secagg.protocols.pairwise import dealing
from secagg.wire import ChunkPlan

__all__ = ["ENVELOPE", "FIXED", "HEADER", "SPOOL", "Ckks", "Model", "Pairwise", "Party", "Prediction"]

SMALL = 120  # payload of the envelope that is measured
FIXED = 150  # of a body: its hashes and numbers
ENVELOPE = 110  # of a frame beside its payload
HEADER = 330  # an upload's signed header, as a whole frame
SPOOL = 256 << 20  # of uploads that server and holder keep in memory
KEPT = 32 << 20  # the C library keeps freed memory of up to this size; what is larger comes from the system each time


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
    """What one round costs each party; a key holder is of ckks alone, a committee member of oneshot."""

    client: Party
    server: Party
    holder: Party | None = None
    member: Party | None = None

    @property
    def opener(self) -> Party | None:
        """Who opens what the server has, if it cannot do so itself: the key holder, or each of the committee at once."""
        return self.holder or self.member


class Model:
    """What all protocols share."""

    def __init__(self, params: Params, units: Units) -> None:
        self.units = units
        self.n, self.p, self.rounds = params.clients, params.max_participants, params.rounds_per_setup
        segments = params.segment_plan.segments
        self.values = sum(segment.count for segment in segments)
        self.packed = sum((segment.count * segment.w + 7) // 8 for segment in segments)
        self.frames = sum(ChunkPlan(s.count, s.w, params.frame_bytes).chunks for s in segments)
        self.lane = 8 if max(segment.w for segment in segments[1:]) > 32 else 4

    def taken(self, size: float = SMALL) -> float:
        """A signed frame of this payload, decoded and verified."""
        return self.units.envelope_in + self.units.envelope_byte * max(size - SMALL, 0.0)

    def made(self, size: float = SMALL) -> float:
        """A signed frame of this payload, encoded and signed."""
        return self.units.envelope_out + self.units.envelope_byte * max(size - SMALL, 0.0)

    def digest(self, fields: float, size: float = 0.0) -> float:
        """One TupleHash over so many fields, and bytes beyond a hash each."""
        return self.units.digest + self.units.digest_field * fields + self.units.digest_byte * size

    def fresh(self, *sizes: float) -> float:
        """Arrays of these sizes."""
        return self.units.fresh_byte * sum(size for size in sizes if size > KEPT)

    @property
    def mean(self) -> float:
        """Memory of the sums and of what decoding makes of them: integers, and floats."""
        return self.fresh(self.lane * self.values, 8 * self.values, 8 * self.values)

    @property
    def receipt(self) -> float:
        """Account, statement and signature: ids and upload tags."""
        return self.digest(4 * self.p) + self.digest(2 * self.p) + self.units.sign

    @property
    def headers(self) -> float:
        """The participants' signed headers verified, one by one."""
        return self.p * self.taken(HEADER - ENVELOPE)


class Pairwise(Model):
    """The pairwise protocol under some Params; `predict` gives the seconds."""

    def __init__(self, params: Params, units: Units, bulk: MaskBulk) -> None:
        super().__init__(params, units)
        self.bulk, self.threshold, self.full = bulk, params.threshold, params.full
        self.k = min(params.neighbours, self.n - 1)
        self.pairs = round(self.k * (self.p - 1) / (self.n - 1))  # neighbours that are asked for an update too
        self.box = dealing.sealed_bytes(self.rounds)
        self.advertisement = FIXED + 64 + 32 * self.rounds  # payload
        self.list = self.n * (self.advertisement + ENVELOPE)  # all of them, as the shares request has them
        self.dealt = FIXED + 32 * self.rounds + self.k * (self.box + dealing.SALT_BYTES * 2)
        self.answer = (self.pairs + 1) * (dealing.opening_bytes(self.rounds) + dealing.SEED_SHARE_BYTES)
        self.request = self.p * (HEADER + 4)  # the unmask request

    def predict(self) -> Prediction:
        """Return the seconds of client and server."""
        client = Party(self.client_setup, self.client_round, self.rounds)
        return Prediction(client, Party(self.server_setup, self.server_round, self.rounds))

    @cached_property
    def _setup_view(self) -> float:
        """Everybody's advertisements verified, their keys checked, setup_hash and graph made."""
        keys = self.n * (1 + self.rounds) * self.units.check_key
        order = 0.0 if self.full else self.n * self.units.shuffle_item
        return self.n * self.taken(self.advertisement) + keys + self.digest(self.n, self.list) + order

    @cached_property
    def _tree(self) -> float:
        """The tree of hashes over one holder's shares."""
        return 2 * self.rounds * self.units.leaf

    @property
    def client_setup(self) -> float:
        """Keys advertised, everybody's read, shares dealt, sealed, received and checked."""
        u, k = self.units, self.k
        keys = (1 + self.rounds) * u.keypair + (1 + k) * u.agree
        talk = self.taken() + self.made(self.advertisement) + self.taken(self.list) + self.digest(1, self.list)
        split = 2 * u.shamir + u.shamir_item * self.threshold * (3 * (k + 1) + 5 * k)  # 16 and 32 bytes: 3 and 5 limbs
        share = u.hkdf + u.aead_byte * self.box + self._tree
        shares = self.rounds * (split + self.digest(4)) + k * (share + u.seal) + self._tree + self.made(self.dealt)
        received = u.envelope_byte * self.dealt + k * (share + u.open) + 4 * self.n * u.item
        return keys + talk + self._setup_view + shares + received

    @property
    def _round_view(self) -> float:
        """Participants, survivors and account hashed, lists checked, the round's graph made."""
        hashes = 2 * self.digest(self.p) + self.digest(2 * self.p) + 6 * self.digest(4)
        return hashes + 8 * self.p * self.units.item + (0.0 if self.full else self.p * self.units.shuffle_item)

    @property
    def client_round(self) -> float:
        """The update masked, everybody's headers verified, shares opened."""
        u, pairs = self.units, self.pairs
        masks = pairs * (u.agree + u.hkdf) + self.values * (self.bulk.protect + (pairs + 1) * self.bulk.mask)
        upload = 5 * u.hkdf + masks + self.made(HEADER - ENVELOPE)
        answer = (pairs + 1) * self._tree + u.seal + u.aead_byte * self.answer + u.sign + self.made(self.answer)
        return self.taken() + upload + self.taken(self.request) + self.headers + self._round_view + answer

    @property
    def server_setup(self) -> float:
        """Advertisements taken, and read again as clients will; dealings taken; each client's shares cut out and signed."""
        u, n = self.units, self.n
        keys = u.keypair + n * (u.agree + (1 + self.rounds) * u.check_key) + n * self.taken(self.advertisement)
        cut = 110 * self.k * u.item  # its place looked up twice and two slices, for each neighbour
        deal = n * (self.taken(self.dealt) + cut + self.made(self.dealt))
        return self.made() + keys + self._setup_view + self.made(self.list) + deal

    @property
    def server_round(self) -> float:
        """Uploads authenticated and added, answers opened, seeds rebuilt, masks removed, the mean decoded."""
        u, p = self.units, self.p
        frames = p * self.frames * (u.hkdf + self.digest(4))  # decoding and bookkeeping are about a digest
        kept = 2 * self.digest(4) + 2 * p * u.item  # the tag of tags; who it is, looked up for each frame
        uploads = frames + p * (kept + self.packed * u.gmac_byte + self.values * self.bulk.take)
        requests = 2 * self.made() + u.envelope_byte * self.request
        answer = self.taken(self.answer) + u.verify + u.hkdf + u.open + u.aead_byte * self.answer
        lists = 30 * self.pairs * u.item + 10 * self.n * u.item  # cut up by target; who was asked
        rebuild = p * (
            (u.combine_item + 30 * u.item) * self.threshold + self.digest(4)
        )  # shares picked, joined, combined
        sets = 1 if self.full else p  # of holders, each with Lagrange weights of its own
        rebuild += sets * (2 * u.combine + u.weight_item * self.threshold**2)
        opened = self.values * (p * self.bulk.unmask + self.bulk.decode) + self.mean
        answers = self.n * (answer + lists)
        return uploads + self.headers + self._round_view + requests + answers + rebuild + opened + self.receipt


class Ckks(Model):
    """The ckks protocol under some Params; `predict` gives the seconds."""

    def __init__(self, params: Params, units: Units, bulk: CipherBulk) -> None:
        super().__init__(params, units)
        plan = params.cipher_plan
        self.bulk, self.recompute, self.shown = bulk, params.recompute, params.reveal == "server"
        self.pads = self.p if params.padded else 0
        self.chunks, self.size = sum(cut.chunks for cut in plan.segments), plan.upload_bytes
        self.words = 8 * plan.coefficients  # of either half of a sum
        self.key = plan.ring.degree * plan.ring.bits // 8 + FIXED
        self.request = self.p * (HEADER + 4)  # the decrypt request

    def predict(self) -> Prediction:
        """Return the seconds of client, server and key holder."""
        u = self.units
        read = self.taken(self.key) + u.check_key + self.digest(1, self.key) + self.bulk.key
        relayed = u.envelope_byte * self.key
        made = self.taken() + self.bulk.key + u.keypair + self.made(self.key)
        return Prediction(
            Party(read + relayed, self.client_round, self.rounds),
            Party(self.made() + read + relayed, self.server_round, self.rounds),
            Party(made, self.holder_round, self.rounds),
        )

    @property
    def _agreed(self) -> float:
        return self.units.agree + self.units.hkdf

    @property
    def _signed(self) -> float:
        """The chunks of one upload, or of a sum, hashed and signed."""
        return self.chunks * (self.units.sign + self.digest(7)) + self.size * self.units.sha_byte

    @property
    def _verified(self) -> float:
        """The same, hashed and verified."""
        return self.chunks * (self.units.verify + self.digest(7)) + self.size * self.units.sha_byte

    @property
    def _view(self) -> float:
        return self.digest(self.p) + 4 * self.p * self.units.item

    @property
    def _account(self) -> float:
        """Survivors, account, and the mark over the request."""
        return self.digest(2 * self.p) + self.digest(self.p, self.request)

    @property
    def client_round(self) -> float:
        """The update encoded, encrypted, hashed and signed."""
        u = self.units
        pad = u.keypair + self._agreed if self.pads else 0.0
        upload = self.values * self.bulk.encrypt + self._signed + self.made(HEADER - ENVELOPE)
        return self.taken() + self._view + pad + 4 * u.hkdf + upload

    @property
    def _sum(self) -> float:
        """Every upload verified and added by one party."""
        return self.fresh(self.words, self.words) + self.p * (self._verified + self.values * self.bulk.add)

    @property
    def _beyond(self) -> float:
        """Bytes that go to the spool's file: uploads wait for the holder, or one at a time until it is complete."""
        return max(self.p * self.size - SPOOL, 0) if self.recompute else self.p * max(self.size - SPOOL, 0)

    @property
    def _spooled(self) -> float:
        return self._beyond * (self.units.spool_byte + self.units.fresh_byte)  # the file's pages are memory too

    @property
    def server_round(self) -> float:
        """Uploads verified and added; the sum, or every upload, passed on; the opened sum taken and decoded."""
        u = self.units
        requests = 2 * self.made() + self.made(self.request)
        if self.recompute:
            passed_on = (
                self._beyond * u.spool_byte / 2
            )  # read again; the frames are of a size that the C library reuses
        else:
            passed_on = self.values * self.bulk.total + self._signed + self.fresh(self.size, self.size)
        told = self.taken() + u.verify
        if self.shown:
            told += self.frames * (u.verify + self.digest(7) + self._agreed + u.open)
            told += (
                self.packed * (u.sha_byte + u.aead_byte)
                + self.values * (self.bulk.taken + self.bulk.decode)
                + self.mean
            )
        else:
            told += self.values * self.bulk.total
        taken = self._view + self.headers + self._sum + self._spooled + self._account
        return requests + taken + passed_on + told + self.receipt

    @property
    def holder_round(self) -> float:
        """Headers verified, the sum taken or made, pads removed, decrypted, decoded, and answered."""
        u = self.units
        asked = self.taken(self.request) + self.headers + self._view + self._account
        if self.recompute:
            gathered = self._sum + self._spooled
        else:
            gathered = self._verified + self.fresh(self.words, self.words) + self.values * self.bulk.add
        opened = self.pads * (self._agreed + self.values * self.bulk.pad) + self.values * self.bulk.decrypt
        decoded = self.values * self.bulk.decode + self.mean
        answer = self.made() + u.sign
        if self.shown:
            answer += self.values * self.bulk.results + self.fresh(self.packed)
            answer += self.frames * (u.sign + self.digest(7) + u.seal + u.hkdf) + self.packed * (
                u.sha_byte + u.aead_byte
            )
        return asked + gathered + opened + decoded + answer + self.receipt
