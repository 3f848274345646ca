"""The server under load: exact whatever else arrives, and its memory does not grow with the uploads it has taken."""

from __future__ import annotations

import pytest

from load.run import run

# Beside the accounts, whose size a header and a few digests give, what is left is the allocator's.
PER_CLIENT = 4096
SLACK = 32 << 20


def check(figures, clients):
    """Duplicates and garbage came at about a tenth each, all of the garbage was refused, and memory stayed within its bound."""
    frames = sum(figures.frames.values())
    assert frames > 3 * clients
    assert figures.refused == figures.garbage
    assert 0.04 < figures.garbage / frames < 0.2
    assert 0.04 < figures.twice / frames < 0.2
    assert figures.grown < (PER_CLIENT + figures.kept) * clients + SLACK
    print("\n".join(figures.lines()))


@pytest.mark.parametrize("protocol", ["pairwise", "ckks", "oneshot"])
def test_a_small_crowd_among_garbage(protocol):
    check(run(protocol, 60, 500, processes=1), 60)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["pairwise", "ckks", "oneshot"])
def test_ten_thousand_clients_among_garbage(protocol):
    """Some minutes each. An upload is 30 KB in pairwise, 110 KB in ckks, and 36 KB in oneshot with as much of shares."""
    figures = run(protocol, 10_000, 10_000)
    check(figures, 10_000)
    uploads = figures.bytes["encrypted" if protocol == "ckks" else "masked"] - figures.kept * 10_000
    assert figures.grown < uploads / 4 + figures.kept * 10_000
