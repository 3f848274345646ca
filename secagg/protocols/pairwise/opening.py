"""Rebuilding of masks from answers, and who is to blame when a share is wrong.

The fast path rebuilds all targets that the same holders answered for in one combination. A rebuilt self-mask seed must open its
commitment, a rebuilt mask key must give the advertised public key. When one does not, shares that are not the dealt ones (by the
dealer's signed hash) convict their holder and are left out; then subsets of the remaining shares are tried, a bounded number;
when none fits, the dealer dealt inconsistently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from secagg.errors import AbortError, AuthenticationError, InputError, ThresholdError
from secagg.hazmat import field as gf
from secagg.hazmat import shamir
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.pairwise import dealing, unmasking
from secagg.protocols.pairwise.setup import Setup
from secagg.protocols.secret import Secret

__all__ = ["Opener", "Opening"]

MAX_SWAPS = 64  # subsets tried against one dealer; each costs a fresh set of Lagrange weights


@dataclass(frozen=True, repr=False)
class Opening(Secret):
    """What turns the masked sum into the sum: keys and signs to apply, and who is in it. Secret until applied."""

    round_id: int
    context: bytes
    keys: list[bytes]
    signs: list[int]
    participants: tuple[str, ...]
    uploads: dict[str, bytes]
    members_hash: bytes
    setup_hash: bytes
    session: bytes
    account: bytes
    signatures: dict[str, bytes]
    blamed: dict[str, str]


@dataclass(repr=False)
class Opener(Secret):
    """One round's answers on their way to its masks.

    Parameters
    ----------
    setup : Setup
    round_id : int
    threshold : int
        Shares needed for a target.
    roots : mapping
        dealer rank -> holder rank -> the dealer's signed hash over that holder's shares.
    commitments : mapping
        dealer rank -> its commitment to this round's seed.
    answers : mapping
        holder rank -> its answer.
    """

    setup: Setup
    round_id: int
    threshold: int
    roots: Mapping[int, Mapping[int, bytes]]
    commitments: Mapping[int, bytes]
    answers: Mapping[int, unmasking.Opened]
    blamed: dict[str, str] = field(default_factory=dict)
    liars: set[int] = field(default_factory=set)

    @property
    def _leaf(self) -> int:
        return 2 * (self.round_id - self.setup.first_round)

    def seeds(self, survivors: Sequence[int]) -> list[bytes]:
        """Return the self-mask seeds of the survivors."""
        shares = self._by_target(survivors, {holder: answer.seeds for holder, answer in self.answers.items()})
        return self._rebuild(shares, dealing.SEED_BYTES, self.threshold, self._leaf, self._seed_fits)

    def mask_keys(self, dropouts: Sequence[int]) -> list[KeyPair]:
        """Return the mask key pairs of the participating dropouts."""
        shares = self._by_target(dropouts, {holder: answer.keys for holder, answer in self.answers.items()})
        # A key has one holder fewer than a seed: its owner holds no share of it.
        needed = min(self.threshold, min((len(self.setup.neighbours[d]) for d in dropouts), default=self.threshold))
        keys = self._rebuild(shares, _KEY_BYTES, needed, self._leaf + 1, self._key_fits)
        return [KeyPair.from_private_bytes(key) for key in keys]

    @staticmethod
    def _by_target(targets: Sequence[int], answers: Mapping[int, Mapping[int, bytes]]) -> dict[int, dict[int, bytes]]:
        """Return each target's shares by holder, in one pass over the answers: on a sparse graph few hold one target's."""
        shares: dict[int, dict[int, bytes]] = {target: {} for target in targets}
        for holder, told in answers.items():
            for target, share in told.items():
                if target in shares:
                    shares[target][holder] = share
        return shares

    def _seed_fits(self, target: int, secret: bytes) -> bool:
        made = dealing.commitment(self.setup.setup_hash, self.setup.ids[target], self.round_id, secret)
        return made == self.commitments[target]

    def _key_fits(self, target: int, secret: bytes) -> bool:
        return KeyPair.from_private_bytes(secret).public_bytes == self.setup.mask_key(target, self.round_id)

    def _rebuild(
        self,
        shares: dict[int, dict[int, bytes]],
        size: int,
        needed: int,
        leaf: int,
        fits: Callable[[int, bytes], bool],
    ) -> list[bytes]:
        for target, held in shares.items():
            if len(held) < needed:
                raise ThresholdError(f"shares of {self.setup.ids[target]!r}", needed, len(held))
        found: dict[int, bytes] = {}
        while len(found) < len(shares):
            known = len(self.liars)
            for holders, targets in self._groups(shares, found, needed).items():
                for target, secret in zip(targets, combine(holders, [shares[t] for t in targets], size), strict=True):
                    if secret is not None and fits(target, secret):
                        found[target] = secret
                    elif len(self.liars) == known:
                        found[target] = self._rebuild_against_liars(target, shares[target], size, needed, leaf, fits)
                    # else: tried again without the liar that this pass has found, all such targets in one combination
        return [found[target] for target in shares]

    def _groups(
        self, shares: dict[int, dict[int, bytes]], found: dict[int, bytes], needed: int
    ) -> dict[tuple[int, ...], list[int]]:
        """Return the targets that are not found yet by the holders whose shares are tried: no known liars, if enough others."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for target, held in shares.items():
            if target not in found:
                trusted = [holder for holder in sorted(held) if holder not in self.liars]
                groups[tuple((trusted if len(trusted) >= needed else sorted(held))[:needed])].append(target)
        return groups

    def _rebuild_against_liars(
        self,
        target: int,
        held: dict[int, bytes],
        size: int,
        needed: int,
        leaf: int,
        fits: Callable[[int, bytes], bool],
    ) -> bytes:
        dealer = self.setup.ids[target]
        honest: dict[int, bytes] = {}
        for holder, share in held.items():
            answer = self.answers[holder]
            openings = answer.key_openings if leaf & 1 else answer.seed_openings
            if dealing.check_opening(self.roots[target][holder], leaf, share, openings[target]):
                honest[holder] = share
            else:
                self.blamed[self.setup.ids[holder]] = f"sent a wrong share of {dealer!r}"
                self.liars.add(holder)
        if len(honest) < needed:
            raise ThresholdError(
                f"right shares of {dealer!r} (wrong ones from {sorted(self.blamed)})", needed, len(honest)
            )
        holders = sorted(honest)
        spare = holders[needed:]
        swaps = ([*holders[:i], *holders[i + 1 : needed], other] for other in spare for i in range(needed))
        for attempt, subset in enumerate(chain([holders[:needed]], islice(swaps, MAX_SWAPS))):
            (secret,) = combine(tuple(sorted(subset)), [honest], size)
            if secret is not None and fits(target, secret):
                if attempt:  # shares that the dealer signed for did not lie on one polynomial
                    self.blamed[dealer] = "dealt an inconsistent share"
                return secret
        self.blamed[dealer] = "dealt inconsistent shares"
        raise AbortError(f"client {dealer!r} dealt inconsistent shares; the round cannot be opened")


_KEY_BYTES = 32


def combine(holders: tuple[int, ...], shares: Sequence[Mapping[int, bytes]], size: int) -> list[bytes | None]:
    """Return the secret of each target from the same holders' shares; None where it is not a well-formed secret."""
    rows = np.array([np.frombuffer(b"".join(s[h] for s in shares), dtype="<u8") for h in holders], dtype=np.uint64)
    width = rows.shape[1] // len(shares)
    bad = np.flatnonzero((rows >= np.uint64(gf.P)).any(axis=0).reshape(len(shares), width).any(axis=1))
    rows[:, (rows >= np.uint64(gf.P)).any(axis=0)] = 0
    limbs = shamir.combine_many(tuple(h + 1 for h in holders), rows).reshape(len(shares), width)
    secrets: list[bytes | None] = []
    for i in range(len(shares)):
        try:
            secrets.append(None if i in bad else gf.from_limbs(limbs[i], size))
        except (InputError, AuthenticationError):
            secrets.append(None)
    return secrets
