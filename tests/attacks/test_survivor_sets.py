"""A server that shows different survivor sets to different clients: all it can open on a full graph, small n.

Model. The server controls c clients, of which some participate. To every honest client it shows some survivor
set: it holds the client itself (if a participant) and at least min_clients names. The client answers, for
each honest participant, with the share of the self-mask (named a survivor) or of the mask key (named
missing), never both; corrupt clients hand over both. A secret opens with `threshold` shares, a mask key also with those of all
clients but its owner. What then leaks is found by `smallest_opened`, which linear algebra checks in turn. Servers that show
different participant lists are in test_participant_lists.py.

What an outcome depends on is only how many honest clients declare each honest participant missing, so
strategies are explored as the set of reachable count vectors, one honest client at a time. Nothing is left
out by that: `test_counts_lose_no_strategy` compares with the plain product of all choices. Withholding an
answer never opens more, so all honest clients answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache

import pytest

from secagg.bounds import opened_honest, quorum_ok
from support.openings import Opened, smallest_by_algebra, smallest_opened

Votes = tuple[int, ...]


def declared_missing(voter: int, honest: int, allowed: int) -> Iterator[Votes]:
    """The choices for one voter: which honest participants it is told are missing, as a 0/1 vector.

    Voters 0 to honest - 1 are the honest participants, who refuse to be missing themselves; later ones were
    not asked.
    """
    others = [j for j in range(honest) if j != voter]
    for size in range(min(allowed, len(others)) + 1):
        for chosen in itertools.combinations(others, size):
            yield tuple(int(j in chosen) for j in range(honest))


@cache
def reachable(voters: int, honest: int, allowed: int) -> frozenset[Votes]:
    """All vectors of "declared missing" counts a server can bring about among `voters` honest clients."""
    found = {(0,) * honest}
    for voter in range(voters):
        choices = list(declared_missing(voter, honest, allowed))
        found = {tuple(map(sum, zip(votes, choice, strict=True))) for votes in found for choice in choices}
    return frozenset(found)


def smallest_under_one_list(seeds: Opened, keys: Opened) -> int | None:
    """Size of the smallest set of honest participants whose sum is open when all have the same list."""
    return smallest_opened((frozenset(range(len(seeds))),) * len(seeds), seeds, keys)


def settings(n: int) -> Iterator[tuple[int, int, int, int]]:
    """Every (participants, corrupt, corrupt participants, min_clients) with an honest participant."""
    for p, c in itertools.product(range(1, n + 1), range(n)):
        for inside in range(max(0, p - (n - c)), min(c, p - 1) + 1):
            for m in range(p + 1):
                yield p, c, inside, m


def outcomes(n: int, p: int, c: int, inside: int, m: int, t: int) -> Iterator[tuple[Opened, Opened]]:
    """Which self-masks and which mask keys are open, over all strategies."""
    voters = n - c
    for votes in reachable(voters, p - inside, p - m):
        yield tuple(c + voters - v >= t for v in votes), tuple(c + v >= min(t, n - 1) for v in votes)


def check_all(n: int) -> int:
    """Try every setting within the quorum; return how many settings meet the bound exactly."""
    tight = 0
    for p, c, inside, m in settings(n):
        for t in range(c + 1, n + 1):
            if not quorum_ok(n, c, t):
                continue
            least = n + 1
            for seeds, keys in set(outcomes(n, p, c, inside, m, t)):
                # A single honest client opens by itself, and has nobody to hide among.
                both = n - c > 1 and any(map(bool.__and__, seeds, keys))
                assert not both, "a peer opened both ways within the quorum"
                least = min(least, smallest_under_one_list(seeds, keys) or least)
            g = opened_honest(n, p, c, t, m)
            assert least >= g, (n, p, c, inside, t, m)
            tight += least == max(g, 1)
    return tight


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_no_strategy_beats_the_bound(n: int) -> None:
    assert check_all(n) > 0


@pytest.mark.slow
def test_no_strategy_beats_the_bound_at_six() -> None:
    assert check_all(6) > 0


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_at_the_quorum_edge_a_peer_opens_both_ways(n: int) -> None:
    """The checker can lose: with 2t = n + c it finds the attack that the quorum rule forbids."""
    tried = 0
    for c in range(n - 1):
        t, odd = divmod(n + c, 2)
        if odd:
            continue
        tried += 1
        m = n - 1  # one name missing from each set is enough
        both = [(s, k) for s, k in outcomes(n, n, c, c, m, t) if any(map(bool.__and__, s, k))]
        assert both
        assert min(smallest_under_one_list(s, k) or n for s, k in both) == 1
    assert tried


@pytest.mark.parametrize(
    ("n", "c", "t", "m", "g"), [(5, 1, 4, 4, 3), (5, 1, 5, 5, 4), (7, 1, 6, 6, 5), (7, 1, 5, 5, 3)]
)
def test_documented_small_cohorts_are_exact(n: int, c: int, t: int, m: int, g: int) -> None:
    """The figures of the spec are reached: the bound cannot be raised."""
    voters = n - c
    # The votes are handed out to as few victims as possible; that this is a strategy at all is what
    # `reachable` would say.
    victims = voters * (n - m) // (t - c)
    votes = tuple(t - c if j < victims else 0 for j in range(voters))
    if n <= 5:
        assert votes in reachable(voters, voters, n - m)
    seeds, keys = tuple(c + voters - v >= t for v in votes), tuple(c + v >= t for v in votes)
    assert opened_honest(n, n, c, t, m) == g == smallest_under_one_list(seeds, keys)


@pytest.mark.parametrize(("n", "p", "c"), [(3, 3, 0), (4, 4, 0), (4, 3, 0), (4, 4, 1), (5, 5, 2), (5, 4, 2)])
def test_counts_lose_no_strategy(n: int, p: int, c: int) -> None:
    """Literal survivor sets, corrupt names and all, shown to every honest client in every combination."""
    honest = n - c
    asked = p - min(c, p)  # names 0..asked-1 are honest participants, asked..p-1 corrupt ones
    for m in range(p + 1):
        menus = []
        for voter in range(honest):
            sets = (set(s) for size in range(m, p + 1) for s in itertools.combinations(range(p), size))
            menus.append([s for s in sets if voter >= asked or voter in s])
        plays = itertools.product(*menus)
        literal = {tuple(sum(j not in shown for shown in play) for j in range(asked)) for play in plays}
        assert literal == reachable(honest, asked, p - m)


@pytest.mark.parametrize("honest", [1, 2, 3, 4])
def test_opened_sets_agree_with_linear_algebra(honest: int) -> None:
    states = list(itertools.product((False, True), repeat=honest))
    for seeds, keys in itertools.product(states, states):
        lists = (frozenset(range(honest)),) * honest
        assert smallest_opened(lists, seeds, keys) == smallest_by_algebra(lists, seeds, keys)
