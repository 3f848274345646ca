"""Dealing, sealing and opening of shares, with one signed hash per holder that makes blame sound.

A dealer gives each holder, for each round of the batch, a share of its self-mask seed and a share of its mask private key,
sealed together with a salt. The holder's hash is the root of a tree over the 2R salted shares, so that one share can be shown
to be the dealt one without showing the others.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secagg.errors import AuthenticationError
from secagg.hazmat import aead, shamir
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import digest, u64
from secagg.protocols.pairwise.messages import HASH_BYTES, SEALED_OVERHEAD
from secagg.protocols.secret import Secret

__all__ = [
    "KEY_SHARE_BYTES",
    "SALT_BYTES",
    "SEED_BYTES",
    "SEED_SHARE_BYTES",
    "Holding",
    "check_opening",
    "commitment",
    "deal",
    "holding_bytes",
    "open_holding",
    "opening_bytes",
    "seal_holding",
    "sealed_bytes",
]

SEED_BYTES = 16
SALT_BYTES = 16
SEED_SHARE_BYTES = 24  # 3 limbs
KEY_SHARE_BYTES = 40  # 5 limbs
ROUND_BYTES = SEED_SHARE_BYTES + KEY_SHARE_BYTES


def commitment(setup_hash: bytes, dealer: str, round_id: int, seed: bytes) -> bytes:
    """Return the dealer's commitment to one self-mask seed."""
    return digest("seed", setup_hash, dealer.encode(), u64(round_id), seed)


def holding_bytes(rounds: int) -> int:
    """Return the length of one holder's plaintext: salt, then a seed share and a key share a round."""
    return SALT_BYTES + rounds * ROUND_BYTES


def sealed_bytes(rounds: int) -> int:
    """Return the length of one sealed holding."""
    return holding_bytes(rounds) + SEALED_OVERHEAD


def _depth(rounds: int) -> int:
    return (2 * rounds - 1).bit_length()


def opening_bytes(rounds: int) -> int:
    """Return the length of one opening: the leaf's salt and its path to the root."""
    return SALT_BYTES + _depth(rounds) * HASH_BYTES


def _leaf(salt: bytes, index: int, share: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + salt + index.to_bytes(4, "big") + share).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(repr=False)
class Holding(Secret):
    """What one holder has of one dealer, for all rounds of a batch. Secret."""

    salt: bytes
    shares: list[bytes | None]  # index 2 * round offset + kind; None once erased
    leaves: list[bytes]

    @classmethod
    def of(cls, plaintext: bytes, rounds: int) -> Holding:
        """Return the holding in a plaintext of `holding_bytes(rounds)` bytes."""
        salt = plaintext[:SALT_BYTES]
        shares: list[bytes | None] = []
        at = SALT_BYTES
        for _ in range(rounds):
            for size in (SEED_SHARE_BYTES, KEY_SHARE_BYTES):
                shares.append(plaintext[at : at + size])
                at += size
        return cls.rebuild(salt, shares, ())

    @classmethod
    def rebuild(cls, salt: bytes, shares: Sequence[bytes | None], erased: Sequence[bytes]) -> Holding:
        """Return the holding of these shares, None standing for one whose leaf hash comes, in order, in `erased`."""
        gone = iter(erased)
        leaves = [next(gone) if share is None else _leaf(_salt(salt, i), i, share) for i, share in enumerate(shares)]
        leaves += [bytes(HASH_BYTES)] * ((1 << _depth(len(leaves) // 2)) - len(leaves))
        return cls(salt, list(shares), leaves)

    def root(self) -> bytes:
        """Return the holder's hash, as the dealer signs it."""
        level = self.leaves
        while len(level) > 1:
            level = [_node(level[i], level[i + 1]) for i in range(0, len(level), 2)]
        return level[0]

    def opening(self, index: int) -> bytes:
        """Return the leaf's salt and its path to the root."""
        path, level, at = [_salt(self.salt, index)], self.leaves, index
        while len(level) > 1:
            path.append(level[at ^ 1])
            level = [_node(level[i], level[i + 1]) for i in range(0, len(level), 2)]
            at >>= 1
        return b"".join(path)

    def erase(self, offset: int) -> None:
        """Forget both shares of one round; the leaf hashes stay, for the other rounds' paths."""
        self.shares[2 * offset] = self.shares[2 * offset + 1] = None


def _salt(seed: bytes, index: int) -> bytes:
    return hashlib.sha256(b"\x02" + seed + index.to_bytes(4, "big")).digest()[:SALT_BYTES]


def check_opening(root: bytes, index: int, share: bytes, opening: bytes) -> bool:
    """Whether `share` is leaf `index` under the dealer's hash `root`."""
    node = _leaf(opening[:SALT_BYTES], index, share)
    for at in range(SALT_BYTES, len(opening), HASH_BYTES):
        sibling = opening[at : at + HASH_BYTES]
        node = _node(sibling, node) if index & 1 else _node(node, sibling)
        index >>= 1
    return hmac.compare_digest(node, root)


def deal(
    seeds: Sequence[bytes],
    keys: Sequence[bytes],
    threshold: int,
    me: int,
    neighbours: Sequence[int],
    entropy: Callable[[int], bytes],
) -> dict[int, bytes]:
    """Return each holder's plaintext, by rank.

    Parameters
    ----------
    seeds, keys : sequence of bytes
        One 16-byte self-mask seed and one 32-byte mask private key a round. Secret.
    threshold : int
        t.
    me : int
        The dealer's rank: it holds a share of its own seeds, and none of its own keys (zeros stand there).
    neighbours : sequence of int
        Ranks of the share-graph neighbours.
    entropy : callable
        Source of the polynomials and salts.
    """
    own = sorted([me, *neighbours])
    plain = {rank: [entropy(SALT_BYTES)] for rank in own}
    for seed, key in zip(seeds, keys, strict=True):
        seed_shares = dict(zip(own, shamir.split(seed, threshold, [r + 1 for r in own], entropy), strict=True))
        key_shares = dict(
            zip(
                neighbours,
                shamir.split(key, min(threshold, len(neighbours)), [r + 1 for r in neighbours], entropy),
                strict=True,
            )
        )
        for rank in own:
            plain[rank] += [seed_shares[rank], key_shares.get(rank, bytes(KEY_SHARE_BYTES))]
    return {rank: b"".join(parts) for rank, parts in plain.items()}


def _sealing_key(shared: bytes, setup_hash: bytes, sender: str, recipient: str) -> bytes:
    return hkdf(shared, "share", setup_hash, sender.encode(), recipient.encode(), length=32)


def seal_holding(
    shared: bytes,
    setup_hash: bytes,
    sender: str,
    recipient: str,
    plaintext: bytes,
    entropy: Callable[[int], bytes],
) -> bytes:
    """Return a holding sealed for its holder under a key of its own direction."""
    return aead.seal(_sealing_key(shared, setup_hash, sender, recipient), plaintext, setup_hash, entropy)


def open_holding(shared: bytes, setup_hash: bytes, sender: str, recipient: str, sealed: bytes, rounds: int) -> Holding:
    """Return the holding in a sealed share, or raise AuthenticationError."""
    plaintext = aead.open_(_sealing_key(shared, setup_hash, sender, recipient), sealed, setup_hash)
    if len(plaintext) != holding_bytes(rounds):
        raise AuthenticationError("sealed share has another length", peer=sender)
    return Holding.of(plaintext, rounds)
