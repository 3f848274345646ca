"""Dealing plaintexts and the tree over a holder's shares (spec, section 5)."""

import hashlib

from reference import field
from reference.hashes import digest, u32, u64

SIZES = (24, 40)  # a seed share, a key share


def _sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def _salt(salt, i):
    return _sha(b"\x02", salt, u32(i))[:16]


def _leaf(salt_i, i, share):
    return _sha(b"\x00", salt_i, u32(i), share)


def shares_of(plaintext):
    """Return the salt and the 2R shares of one holder."""
    salt, at, shares = plaintext[:16], 16, []
    while at < len(plaintext):
        for size in SIZES:
            shares.append(plaintext[at : at + size])
            at += size
    return salt, shares


def levels(plaintext):
    """Return the tree's levels, leaves first."""
    salt, shares = shares_of(plaintext)
    level = [_leaf(_salt(salt, i), i, share) for i, share in enumerate(shares)]
    while len(level) & (len(level) - 1):
        level.append(bytes(32))
    tree = [level]
    while len(tree[-1]) > 1:
        level = tree[-1]
        tree.append([_sha(b"\x01", level[i], level[i + 1]) for i in range(0, len(level), 2)])
    return tree


def root(plaintext):
    return levels(plaintext)[-1][0]


def opening(plaintext, i):
    path = [_salt(plaintext[:16], i)]
    for level in levels(plaintext)[:-1]:
        path.append(level[i ^ 1])
        i //= 2
    return b"".join(path)


def opens(root_hash, i, share, opened):
    node = _leaf(opened[:16], i, share)
    for at in range(16, len(opened), 32):
        sibling = opened[at : at + 32]
        node = _sha(b"\x01", sibling, node) if i % 2 else _sha(b"\x01", node, sibling)
        i //= 2
    return node == root_hash


def commitment(setup_hash, dealer, round_id, seed):
    return digest("seed", setup_hash, dealer.encode(), u64(round_id), seed)


def plaintexts(seeds, keys, threshold, me, neighbours, entropy):
    """Return each holder's plaintext, by rank."""
    holders = sorted({me, *neighbours})
    others = [rank for rank in holders if rank != me]
    made = {rank: entropy(16) for rank in holders}
    for seed, key in zip(seeds, keys, strict=True):
        of_seed = field.split(seed, threshold, [r + 1 for r in holders], entropy)
        of_key = field.split(key, min(threshold, len(others)), [r + 1 for r in others], entropy)
        of_key.insert(holders.index(me), bytes(40))
        for rank, one, two in zip(holders, of_seed, of_key, strict=True):
            made[rank] += one + two
    return made
