"""The server's work on ciphertexts that TenSEAL made: parse and add one client's, against TenSEAL's load and add.

NVFlare's context (N = 8192, primes of 60, 40 and 40 bits), 10^6 float32 values, 245 ciphertexts. The residues of both sums are
compared before the clock starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harness.pairs import clocked
from peers import tenseal as peer

from secagg.integrations.tenseal import CiphertextSum, SharedContext

if TYPE_CHECKING:
    from conftest import Scale, Versus

LENGTH = 1_000_000
NAMES = {"zstd": "ckks_interop_add_vs_tenseal", "none": "ckks_interop_add_vs_tenseal_uncompressed"}


@pytest.mark.parametrize(
    "compression", [pytest.param(mode, marks=pytest.mark.measures(name)) for mode, name in NAMES.items()]
)
def test_adding_one_client(compression: Any, scale: Scale, versus: Versus) -> None:
    """From a client's bytes to the sum that holds them: nothing is decrypted, and both sides add in place."""
    length = 5000 if scale == "small" else LENGTH
    context = peer.context()
    public = SharedContext(context).public()
    updates = np.random.default_rng(0).uniform(-1, 1, (2, length)).astype(np.float32)
    first, second = (packed(public, peer.serialize(peer.encrypt(context, u)), length, compression) for u in updates)
    ours, theirs = CiphertextSum(public, length), peer.load(context, first)
    ours.add(first)

    def add_ours() -> None:
        ours.add(second)

    def add_theirs() -> None:
        peer.add(theirs, peer.load(context, second))

    def equal() -> bool:
        add_ours()
        add_theirs()
        read = CiphertextSum(public, length)
        read.add(peer.serialize(theirs))
        error = np.abs(np.array(peer.decrypt(peer.load(context, ours.to_bytes()))) - updates.sum(axis=0)).max()
        return np.array_equal(read.residues(), ours.residues()) and bool(error < 1e-6)

    versus(
        NAMES[compression], clocked(add_ours), clocked(add_theirs), equal=equal, peer=peer.NAME, peer_version=peer.VERSION,
        n=2, length=length, threads=1, bytes=len(second),
    )  # fmt: skip


@pytest.mark.measures(f"{NAMES['none']}_together")
def test_adding_four_clients_together(scale: Scale, versus: Versus) -> None:
    """Four uncompressed uploads in one pass over the sum, as a server does that has them all; TenSEAL adds one by one."""
    length = 5000 if scale == "small" else LENGTH
    context = peer.context()
    public = SharedContext(context).public()
    updates = np.random.default_rng(1).uniform(-1, 1, (4, length)).astype(np.float32)
    sent = [packed(public, peer.serialize(peer.encrypt(context, u)), length, "none") for u in updates]
    ours, theirs = CiphertextSum(public, length), peer.load(context, sent[0])
    ours.add(sent[0])

    def add_ours() -> None:
        ours.add_many(sent)

    def add_theirs() -> None:
        for data in sent:
            peer.add(theirs, peer.load(context, data))

    def equal() -> bool:
        add_ours()
        add_theirs()
        read = CiphertextSum(public, length)
        read.add(peer.serialize(theirs))
        return np.array_equal(read.residues(), ours.residues())

    versus(
        f"{NAMES['none']}_together", clocked(add_ours), clocked(add_theirs), equal=equal, peer=peer.NAME,
        peer_version=peer.VERSION, n=4, length=length, threads=1, bytes=sum(map(len, sent)),
    )  # fmt: skip


def packed(public: Any, data: bytes, length: int, compression: Any) -> bytes:
    """Return a vector's bytes in that compression; TenSEAL itself writes zstd only."""
    if compression == "zstd":
        return data
    again = CiphertextSum(public, length)
    again.add(data)
    return again.to_bytes(compression=compression)
