"""A server that shows different participant lists and survivor sets to different clients: all it can open, small n.

The model, the search and why the search leaves nothing out are in support/equivocation.py. Printed as a table by

    python -m pytest tests/attacks/test_participant_lists.py -m slow -s -k table
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from secagg import Params
from secagg.bounds import opened_honest, quorum_ok
from support.equivocation import Family, LiteralServer, Setting, attainable, families, least_opened, opens_both_ways
from support.openings import Lists, smallest_by_algebra, smallest_opened


def settings(n: int, fewest: int = 1) -> Iterator[Setting]:
    """Every setting of n clients within the quorum, with at least `fewest` survivors; sampled rounds included."""
    for c, p in itertools.product(range(n), range(1, n + 1)):
        for m, t in itertools.product(range(fewest, p + 1), range(c + 1, n + 1)):
            if quorum_ok(n, c, t):
                yield Setting(n - c, c, p, m, t)


def bound(s: Setting) -> int:
    return opened_honest(s.cohort, s.max_participants, s.corrupt, s.threshold, s.min_clients)


def check_all(n: int) -> tuple[int, int]:
    """Try every setting; return how many there are for which the bound promises anything, and how many meet it exactly."""
    promised = tight = 0
    for s in settings(n):
        least, g = least_opened(s), bound(s)
        assert least is None or least >= g, s
        # A single honest client opens by itself, and has nobody to hide among.
        assert s.honest == 1 or not opens_both_ways(s), s
        promised += g >= 1
        tight += g >= 1 and least == g
    return promised, tight


@pytest.mark.parametrize(
    ("n", "promised"), [(2, 4), (3, 15), (4, 34), (5, 74), pytest.param(6, 131, marks=pytest.mark.slow)]
)
def test_no_strategy_beats_the_bound(n: int, promised: int) -> None:
    """Nor can the bound be raised: some strategy reaches it wherever it promises anything."""
    assert check_all(n) == (promised, promised)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "promised"), [(7, 164), (8, 265)])
def test_no_strategy_beats_the_bound_in_larger_cohorts(n: int, promised: int) -> None:
    """Only where Params may go: two survivors or more, two honest updates or more."""
    worth = [s for s in settings(n, fewest=2) if bound(s) >= 2]
    assert len(worth) == promised
    for s in worth:
        assert least_opened(s) == bound(s), s
        assert not opens_both_ways(s), s


@pytest.mark.parametrize("n", [3, 4, 5, pytest.param(6, marks=pytest.mark.slow)])
def test_a_smaller_cohort_is_no_worse(n: int) -> None:
    """Someone has not advertised, or is shown another setup; in a cohort of `threshold` each mask key lacks a share."""
    tried = 0
    for s in settings(n, fewest=2):
        g = bound(s)
        for honest, corrupt in itertools.product(range(1, s.honest + 1), range(s.corrupt + 1)):
            if g >= 1 and max(s.threshold, s.min_clients) <= honest + corrupt < n:
                smaller = replace(s, honest=honest, corrupt=corrupt)
                least = least_opened(smaller)
                assert least is None or least >= g, (s, smaller)
                assert not opens_both_ways(smaller), (s, smaller)
                tried += 1
    assert tried


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_reduced_search_loses_no_strategy(n: int) -> None:
    """Literal lists and survivor sets, corrupt names and all, shown to all honest clients in every combination."""
    for s in settings(n):
        assert LiteralServer(s).least_opened() == (least_opened(s), opens_both_ways(s)), s


def mask(names: Iterable[int]) -> int:
    return sum(1 << i for i in names)


def asked_masks(asked: Lists) -> Family:
    """Who submitted under which list, as the reduced search writes it."""
    return {mask(p): mask(i for i, shown in enumerate(asked) if shown == p) for p in asked if p is not None}


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("t", [2, 3])
def test_the_reduced_search_opens_just_what_the_literal_server_opens(m: int, t: int) -> None:
    """Not only the minimum: under any lists, the same seeds and mask keys can be open together."""
    s = Setting(honest=3, corrupt=0, max_participants=3, min_clients=m, threshold=t)
    opened: dict[Lists, set[tuple[int, int]]] = {}
    for asked, seeds, keys in LiteralServer(s).outcomes():
        pair = (mask(i for i in range(3) if seeds[i]), mask(i for i in range(3) if keys[i]))
        opened.setdefault(asked, set()).add(pair)
    for asked, pairs in opened.items():
        for seeds, keys in itertools.product(range(8), repeat=2):
            literal = any(seeds & ~a == 0 and keys & ~b == 0 for a, b in pairs)
            assert literal == attainable(s, asked_masks(asked), seeds, keys)


@pytest.mark.parametrize(("m", "t"), [(1, 2), (1, 3), (1, 4), (2, 2)])
def test_the_reduced_search_asks_in_every_way(m: int, t: int) -> None:
    s = Setting(honest=4, corrupt=0, max_participants=4, min_clients=m, threshold=t)
    server = LiteralServer(s)
    menus = [[None, *(p for p in server.lists() if i in p)] for i in range(4)]
    literal = {frozenset(asked_masks(asked).items()) for asked in itertools.product(*menus)}
    for length, count in itertools.product(range(1, 5), repeat=2):
        shown, submitters = mask(range(length)), mask(range(count))
        if m <= count <= length:
            found = {frozenset(family.items()) for family in families(s, shown, submitters)}
            assert found == {
                family
                for family in literal
                if (shown, submitters) in family
                and all(block.bit_count() >= m for _, block in family)
                and sum(block.bit_count() for _, block in family) <= count + 4 - t
            }


def test_a_mask_key_opens_with_all_its_holders() -> None:
    """With t = n the owner has no share to give, and none is missed."""
    s = Setting(honest=3, corrupt=0, max_participants=3, min_clients=2, threshold=3)
    assert attainable(s, {0b111: 0b111}, seeds=0b011, keys=0b100)
    assert not attainable(s, {0b111: 0b111}, seeds=0b111, keys=0b100)


def test_corrupt_survivors_suffice_where_min_clients_is_no_more_than_they_are() -> None:
    """Clients 1 and 2, not asked for an update, are told that 0 is missing and a corrupt client survived."""
    s = Setting(honest=3, corrupt=1, max_participants=2, min_clients=1, threshold=3)
    assert bound(s) < 1
    assert attainable(s, {}, seeds=0, keys=0b001)
    assert any(keys[0] for _, keys in LiteralServer(s).ends((None,) * 3))


@pytest.mark.slow
def test_the_reduced_search_loses_no_strategy_at_five() -> None:
    """The least threshold, where the server can do most, and two survivors or more: minutes otherwise."""
    for s in settings(5, fewest=2):
        if s.threshold == (5 + s.corrupt) // 2 + 1 and bound(s) >= 1:
            assert LiteralServer(s).least_opened() == (least_opened(s), opens_both_ways(s)), s


@pytest.mark.parametrize(("honest", "names"), [(1, 3), (2, 2), (2, 4), (3, 3)])
def test_opened_sets_agree_with_linear_algebra(honest: int, names: int) -> None:
    every = [frozenset(p) for size in range(1, names + 1) for p in itertools.combinations(range(names), size)]
    menus = [[None, *(shown for shown in every if i in shown)] for i in range(honest)]
    states = list(itertools.product((False, True), repeat=honest))
    for lists, seeds, keys in itertools.product(itertools.product(*menus), states, states):
        assert smallest_opened(lists, seeds, keys) == smallest_by_algebra(lists, seeds, keys)


# -- the checker can lose: with a rule taken away it finds the attack -----------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_at_the_quorum_edge_a_peer_opens_both_ways(n: int) -> None:
    for c in range(n % 2, n - 1, 2):
        s = Setting(n - c, c, n, n - 1, (n + c) // 2)
        assert not quorum_ok(n, c, s.threshold)
        assert opens_both_ways(s)
        assert not opens_both_ways(replace(s, threshold=s.threshold + 1))


@pytest.mark.parametrize(("n", "c", "p", "m", "t"), [(5, 0, 3, 3, 3), (5, 0, 4, 3, 3), (6, 1, 4, 4, 4)])
def test_without_the_cap_on_a_list_less_opens(n: int, c: int, p: int, m: int, t: int) -> None:
    """Longer lists than `max_participants` have more names to declare missing."""
    s = Setting(n - c, c, p, m, t)
    assert least_opened(s) == bound(s)
    assert (least_opened(replace(s, max_participants=n)) or 0) < bound(s)


def test_without_the_list_in_headers_less_opens() -> None:
    """Client 0 submits under a short list; answers under a long one name it a survivor and 1 and 2 missing."""
    s = Setting(honest=5, corrupt=0, max_participants=5, min_clients=3, threshold=3)
    asked = (frozenset(range(3)), *[frozenset(range(5))] * 4)
    least = {
        rule: min(
            smallest_opened(asked, *end) or s.cohort for end in LiteralServer(s, headers_bind_list=rule).ends(asked)
        )
        for rule in (True, False)
    }
    assert least[False] == 1 < bound(s) == 2 <= least[True]


@pytest.mark.parametrize("t", [2, 3])
def test_with_two_answers_a_round_less_opens(t: int) -> None:
    s = Setting(honest=3, corrupt=0, max_participants=3, min_clients=2, threshold=t)
    assert bound(s) == 2
    assert LiteralServer(s).least_opened() == (2, False)
    assert LiteralServer(s, answers=2).least_opened() == (1, True)


# -- the table ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_table() -> None:
    """What Params accept with `min_honest=1` and a corrupt client; of the larger cohorts only where g is below m - c."""
    rows = ["| n | p | c | t | m | g | smallest opened |", "|---|---|---|---|---|---|---|"]
    for s in itertools.chain.from_iterable(settings(n, fewest=2) for n in range(2, 9)):
        n, p, c, t, m, g = s.cohort, s.max_participants, s.corrupt, s.threshold, s.min_clients, bound(s)
        if c and (g >= 1 if n <= 6 else 2 <= g < m - c):
            params = Params(
                clients=n, length=1, max_participants=p, corrupt=c, threshold=t, min_clients=m, min_honest=1
            )
            least = least_opened(s)
            assert params.opened_honest == g == least
            rows.append(f"| {n} | {p} | {c} | {t} | {m} | {g} | {least} |")
    assert len(rows) == 145
    sys.stdout.write("\n".join(["", *rows, ""]))
