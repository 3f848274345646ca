"""The cost model of oneshot: what a client, the server and a committee member do in a batch and in a round."""

from __future__ import annotations

from functools import cached_property

from secagg.cli.plan.hintbulk import HintBulk
from secagg.cli.plan.units import Units
from secagg.cli.plan.work import ENVELOPE, FIXED, HEADER, SPOOL, Model, Party, Prediction
from secagg.params import Params
from secagg.protocols.oneshot import merkle
from secagg.protocols.oneshot.server import share_chunks
from secagg.protocols.oneshot.sharing import box_bytes, share_bytes

__all__ = ["Oneshot"]

KEY = 300  # a member's signed key, as a whole frame


class Oneshot(Model):
    """The oneshot protocol under some Params; `predict` gives the seconds."""

    def __init__(self, params: Params, units: Units, bulk: HintBulk) -> None:
        super().__init__(params, units)
        plan = params.mask_plan
        self.bulk, self.members, self.needed = bulk, params.committee, params.threshold
        self.share, self.box = share_bytes(params), box_bytes(params)
        self.chunks = sum(cut.chunks for cut in plan.segments) + len(share_chunks(params, self.members))
        self.size = plan.upload_bytes + self.members * self.box
        self.words = 8 * sum(cut.polynomials * cut.ring.degree * cut.ring.primes for cut in plan.segments)
        self.path = merkle.depth(self.members)
        self.keys = self.members * (KEY + 3)  # all of them, as requests have them
        header = HEADER + 34  # of an upload: its key and the root over its shares too
        self.request = (
            FIXED + self.p * (header + 4 + self.box + merkle.HASH_BYTES * self.path) + self.keys
        )  # to a member

    def predict(self) -> Prediction:
        """Return the seconds of client, server and committee member."""
        u = self.units
        made = self.taken() + u.check_key + u.keypair + self.digest(3) + self.made(KEY - ENVELOPE)
        return Prediction(
            Party(self._read + u.envelope_byte * self.keys, self.client_round, self.rounds),
            Party(self.server_setup, self.server_round, self.rounds),
            None,
            Party(made, self.member_round, self.rounds),
        )

    @cached_property
    def _read(self) -> float:
        """All members' signed keys verified and checked, and setup_hash made."""
        each = self.taken(KEY - ENVELOPE) + 2 * self.units.check_key
        return self.members * each + self.digest(self.members, self.keys)

    @property
    def _view(self) -> float:
        """Participants hashed, and their ranks checked."""
        return self.digest(self.p) + 4 * self.p * self.units.item

    @property
    def _account(self) -> float:
        return self.digest(2 * self.p) + self.digest(4)

    @property
    def _tree(self) -> float:
        """The tree of hashes over one upload's sealed shares: a hash of two others for each leaf beside the leaf's own."""
        return self.members * (2 * self.units.leaf + self.units.sha_byte * self.box)

    @property
    def client_round(self) -> float:
        """The update encoded and masked; the secret split, sealed to each member and signed for."""
        u = self.units
        seals = self.members * (u.agree + u.hkdf + u.seal + u.aead_byte * self.share)
        shares = self.bulk.secret + self.bulk.split + u.keypair + seals + self._tree
        chunks = self.chunks * (u.sign + self.digest(8)) + self.size * u.sha_byte
        masked = self.values * self.bulk.protect + 5 * u.hkdf + chunks
        return self.taken() + self._view + shares + masked + self.made(HEADER - ENVELOPE)

    @property
    def server_setup(self) -> float:
        """Members' keys taken, and read again as clients will."""
        u = self.units
        taken = self.members * (self.taken(KEY - ENVELOPE) + 2 * u.check_key)
        return self.made() + u.keypair + taken + self._read + u.envelope_byte * self.keys

    @property
    def server_round(self) -> float:
        """Uploads verified and added; the committee asked, its answers opened and put together; the sum opened and decoded."""
        u, p = self.units, self.p
        chunks = self.chunks * (u.verify + self.digest(8)) + self.size * u.sha_byte
        upload = chunks + self._tree + self.taken(HEADER - ENVELOPE) + u.check_key + self.members * u.item
        uploads = p * (upload + self.digest(3) + self.values * self.bulk.add)
        beyond = max(p * self.members * self.box - SPOOL, 0) * (u.spool_byte + u.fresh_byte)  # shares wait for the end
        cut = p * 3 * self.members * self.path * u.item  # each member's part of each upload
        ask = self.members * self.made(self.request)
        answer = self.taken(self.share + FIXED) + u.verify + u.agree + u.hkdf + u.open + u.aead_byte * self.share
        opened = self.bulk.combine + self.values * (self.bulk.open + self.bulk.decode) + self.mean
        sums = self.fresh(self.words)
        answers = self.members * answer + opened + self.receipt
        return 2 * self.made() + self._view + uploads + beyond + sums + self._account + cut + ask + answers

    @property
    def member_round(self) -> float:
        """Every survivor's header verified, its share tied to it, opened and added; the sum signed and sealed to the server."""
        u = self.units
        opened = u.agree + u.hkdf + u.open + u.aead_byte * self.share + self.bulk.share
        tied = (1 + self.path) * u.leaf + u.sha_byte * self.box
        header = self.taken(HEADER - ENVELOPE) + u.check_key + 2 * self.members * u.item
        account = self._view + self._account + self.digest(1, self.request) + u.sign
        answer = u.agree + u.hkdf + u.seal + u.aead_byte * self.share + self.made(self.share + FIXED)
        return self.taken(self.request) + self._read + self.p * (header + tied + opened) + account + answer
