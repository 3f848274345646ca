"""The server under load: exact whatever else arrives, and its memory does not grow with the uploads it has taken."""

from __future__ import annotations

import pytest

from load.run import run

# Beside the accounts, whose size a header and a few digests give, what is left is the allocator's.
PER_CLIENT = 4096
SLACK = 32 << 20


def check(figures, clients):
    """Duplicates and garbage came at about a tenth each, all of the garbage was refused, and memory stayed within its bound.

    Beside its accounts the server of oneshot keeps every client's sealed shares, which its members are to be sent.
    """
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
@pytest.mark.parametrize("protocol", ["pairwise", "ckks"])
def test_ten_thousand_clients_among_garbage(protocol):
    """Some minutes each. An upload is 30 KB in pairwise and 110 KB in ckks: all together would be 300 and 1100 MB."""
    figures = run(protocol, 10_000, 10_000)
    check(figures, 10_000)
    uploads = figures.bytes["masked" if protocol == "pairwise" else "encrypted"]
    assert figures.grown < uploads / 4


@pytest.mark.slow
def test_two_thousand_clients_and_a_drawn_committee_among_garbage():
    """Some minutes, most of them the clients': an upload is 60 KB, of which half are the shares that the server keeps.

    Its requests to the 60 members are 3 MB each, and are all made when the uploads are over.
    """
    figures = run("oneshot", 2000, 10_000)
    check(figures, 2000)
    assert figures.grown < figures.kept * 2000 + figures.bytes["masked"] / 4
