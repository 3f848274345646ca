"""bounds: exact against fractions and enumeration, and beside the published analysis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import bounds
from secagg.errors import ParameterError

# (n, corrupt, dropped, security, correctness, semi-malicious) -> (k, t): the figures the spec quotes for 5%
# and 10%.
PUBLISHED = {
    (100, 5, 5, -40, -20, False): (12, 6),
    (100, 10, 10, -40, -20, False): (22, 11),
    (100, 5, 5, -40, -20, True): (16, 11),
    (100, 10, 10, -40, -20, True): (32, 22),
    (1_000, 50, 50, -40, -20, False): (30, 17),
    (1_000, 100, 100, -40, -20, False): (48, 27),
    (1_000, 50, 50, -40, -20, True): (52, 37),
    (1_000, 100, 100, -40, -20, True): (96, 67),
    (1_000, 100, 100, -80, -20, True): (120, 87),
    (100_000, 5_000, 5_000, -40, -20, False): (36, 21),
    (100_000, 10_000, 10_000, -40, -20, False): (58, 33),
    (100_000, 5_000, 5_000, -40, -20, True): (68, 48),
    (100_000, 10_000, 10_000, -40, -20, True): (134, 93),
}
# Rougher settings that the published finder's own tests list (google/federated-compute,
# graph_parameter_finder_test.cc).
PUBLISHED_ROUGH = {
    (100, 33, 33, -40, -20, False): (68, 34),
    (1_000, 330, 330, -40, -20, False): (286, 150),
    (1_000, 450, 450, -40, -20, False): (822, 417),
    (1_000, 50, 330, -40, -20, False): (72, 24),
    (1_000, 330, 50, -40, -20, False): (78, 60),
    (1_000, 50, 330, -40, -20, True): (398, 223),
    (1_000_000, 50_000, 50_000, -40, -20, False): (38, 22),
    (1_000_000, 50_000, 50_000, -40, -20, True): (74, 52),
    # The spec quotes this one with 2^-40 for each of the two events, not for both together.
    (1_000, 50, 100, -39, -20, True): (74, 49),
}


def exact_tail(population: int, marked: int, draws: int, values: Iterable[int]) -> Fraction:
    """Sum exact hypergeometric probabilities."""
    ways = sum(math.comb(marked, i) * math.comb(population - marked, draws - i) for i in values if 0 <= i <= draws)
    return Fraction(ways, math.comb(population, draws))


def log2(value: Fraction) -> float:
    return math.log2(value.numerator) - math.log2(value.denominator) if value else -math.inf


def published_find(n: int, corrupt: int, dropped: int, security: int, correctness: int, semi: bool) -> tuple[int, int]:
    """The published accounting: n in place of n - 1, no self-share, half of the probability to each event."""
    per_event = security - 1
    for k in range(2, n - 1, 2):
        if bounds.sparse_security_log2(n, k, k + 1, 0, corrupt + dropped) >= per_event:
            continue
        most = next(
            x for x in range(k + 1) if bounds.log2_hypergeom_tail(n, corrupt, k, x + 1) + math.log2(n) <= per_event
        )
        if semi:
            most = math.ceil((most + k - 1.25) / 2)
        if bounds.log2_hypergeom_lower_tail(n, n - dropped, k, most) + math.log2(n) < correctness:
            return k, max(most + 1, 2)
    return n - 1, 0


# -- full graph
@pytest.mark.parametrize(
    ("n", "p", "c", "t", "m", "g"),
    [
        (100, 100, 10, 56, 56, 4),
        (100, 100, 10, 67, 67, 38),
        (100, 100, 10, 90, 90, 79),
        (1000, 1000, 50, 900, 900, 839),
        (7, 7, 1, 5, 5, 3),
    ],
)
def test_opened_honest_gives_the_figures_of_the_spec(n: int, p: int, c: int, t: int, m: int, g: int) -> None:
    assert bounds.opened_honest(n, p, c, t, m) == g


@pytest.mark.parametrize(("n", "by_dropouts"), [(5, [4, 3, None]), (7, [6, 5, 3, None]), (10, [9, 8, 7, 5])])
def test_small_cohorts_by_dropouts(n: int, by_dropouts: list[int | None]) -> None:
    for lost, g in enumerate(by_dropouts):
        t = n - lost
        assert bounds.quorum_ok(n, 1, t) is (g is not None)
        if g is not None:
            assert bounds.opened_honest(n, n, 1, t, t) == g


def test_opened_honest_may_promise_nothing() -> None:
    assert bounds.opened_honest(10, 10, 4, 5, 5) <= 0
    assert bounds.opened_honest(10, 3, 4, 8, 3) == -1


def test_quorum_edge() -> None:
    assert bounds.quorum_ok(10, 2, 7)
    assert not bounds.quorum_ok(10, 2, 6)
    assert not bounds.quorum_ok(9, 2, 5)


@pytest.mark.parametrize("t", [1, 3])
def test_threshold_within_reach_of_the_corrupt_is_refused(t: int) -> None:
    with pytest.raises(ParameterError, match="corrupt clients alone"):
        bounds.opened_honest(10, 10, 3, t, 5)


@pytest.mark.parametrize(
    "args",
    [
        (0, 1, 0, 1, 0),
        (5, 6, 0, 3, 3),
        (5, 5, 6, 3, 3),
        (5, 5, -1, 3, 3),
        (5, 5, 1, 6, 3),
        (5, 4, 1, 3, 5),
        (5, 5, 1, True, 3),
    ],
)
def test_opened_honest_refuses_impossible_counts(args: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError):
        bounds.opened_honest(*args)


def test_quorum_refuses_impossible_counts() -> None:
    for args in ((0, 0, 1), (5, 6, 3), (5, -1, 3), (5, 1, 0)):
        with pytest.raises(ParameterError):
            bounds.quorum_ok(*args)
    with pytest.raises(ParameterError, match="must be an int"):
        bounds.quorum_ok(5.0, 1, 4)  # type: ignore[arg-type]


# -- tails
@given(st.data())
def test_tails_match_exact_fractions(data: st.DataObject) -> None:
    population = data.draw(st.integers(0, 300))
    marked = data.draw(st.integers(0, population))
    draws = data.draw(st.integers(0, population))
    at = data.draw(st.integers(-2, draws + 2))
    for got, values in (
        (bounds.log2_hypergeom_tail(population, marked, draws, at), range(at, draws + 1)),
        (bounds.log2_hypergeom_lower_tail(population, marked, draws, at), range(at + 1)),
    ):
        want = log2(exact_tail(population, marked, draws, values))
        assert got == want or math.isclose(got, want, rel_tol=1e-9, abs_tol=1e-9)
        assert got <= 0


@pytest.mark.parametrize(("marked", "draws", "at"), [(5_000, 36, 21), (10_000, 134, 60), (50_000, 400, 399), (1, 1, 1)])
def test_far_tails_keep_their_digits(marked: int, draws: int, at: int) -> None:
    upper = log2(exact_tail(100_000, marked, draws, range(at, draws + 1)))
    lower = log2(exact_tail(100_000, 100_000 - marked, draws, range(draws - at + 1)))
    assert bounds.log2_hypergeom_tail(100_000, marked, draws, at) == pytest.approx(upper, abs=1e-8)
    below = bounds.log2_hypergeom_lower_tail(100_000, 100_000 - marked, draws, draws - at)
    assert below == pytest.approx(lower, abs=1e-8)


def test_tails_refuse_impossible_draws() -> None:
    for args in ((-1, 0, 0, 0), (5, 6, 1, 0), (5, 1, 6, 0)):
        with pytest.raises(ParameterError):
            bounds.log2_hypergeom_tail(*args)
        with pytest.raises(ParameterError):
            bounds.log2_hypergeom_lower_tail(*args)


# -- sparse graph
def connected(n: int, k: int, left: set[int]) -> bool:
    """Whether the circulant graph of degree k on n vertices stays in one piece on `left`."""
    unseen = set(left)
    todo = [unseen.pop()] if unseen else []
    while todo:
        at = todo.pop()
        near = {v for v in unseen if min((v - at) % n, (at - v) % n) <= k // 2}
        unseen -= near
        todo += near
    return not unseen


@pytest.mark.parametrize(("n", "k"), [(6, 2), (9, 2), (9, 4), (8, 6), (10, 4)])
def test_security_bounds_every_placement(n: int, k: int) -> None:
    """Over all placements of corrupt and missing clients, the share of bad ones stays below the bound."""
    for corrupt, dropped in itertools.product(range(4), range(3)):
        places = list(itertools.combinations(range(n), corrupt + dropped))
        for t in range(1, k + 2):
            bad = total = 0
            for removed in places:
                apart = not connected(n, k, set(range(n)) - set(removed))
                for held in itertools.combinations(removed, corrupt):
                    honest = set(range(n)) - set(held)
                    most = max(sum(min((v - h) % n, (h - v) % n) <= k // 2 for h in held) for v in honest)
                    bad += apart or most >= t
                    total += 1
            bound = bounds.sparse_security_log2(n, k, t, corrupt, dropped)
            assert log2(Fraction(bad, total)) <= bound + 1e-9


@pytest.mark.parametrize(("n", "k"), [(6, 2), (9, 4), (8, 6), (7, 6), (6, 5)])
def test_correctness_bounds_every_placement(n: int, k: int) -> None:
    for dropped in range(5):
        places = list(itertools.combinations(range(n), dropped))
        for t in range(1, k + 2):
            bad = 0
            for lost in places:
                up = set(range(n)) - set(lost)
                # A client that is up counts itself among its holders; one that is not does not.
                fewest = min(sum(min((v - u) % n, (u - v) % n) <= (k + 1) // 2 for u in up) for v in range(n))
                bad += fewest < t
            assert log2(Fraction(bad, len(places))) <= bounds.sparse_correctness_log2(n, k, t, dropped) + 1e-9


def test_full_graph_bounds_are_certainties() -> None:
    for n, c, d in ((10, 3, 2), (7, 1, 2), (2, 0, 0)):
        for t in range(1, n + 1):
            assert bounds.sparse_security_log2(n, n - 1, t, c, d) == (-math.inf if t > c else 0)
            lying = bounds.sparse_security_log2(n, n - 1, t, c, d, semi_malicious=True)
            assert lying == (-math.inf if bounds.quorum_ok(n, c, t) else 0)
            assert bounds.sparse_correctness_log2(n, n - 1, t, d) == (-math.inf if t <= n - d else 0)


def test_bounds_rise_with_corrupt_missing_and_fewer_participants() -> None:
    def risk(c: int, d: int, p: int | None = None) -> float:
        return bounds.sparse_security_log2(200, 20, 12, c, d, p)

    by_corrupt = [risk(c, 10) for c in range(0, 201, 10)]
    by_missing = [risk(10, d) for d in range(0, 201, 10)]
    assert by_corrupt == sorted(by_corrupt)
    assert by_missing == sorted(by_missing)
    assert risk(10, 30, 200) < risk(10, 30, 100) < risk(10, 30, 50)
    assert risk(10, 0, 20) == bounds.sparse_security_log2(200, 20, 12, 10)  # complete mask graph
    answers = [bounds.sparse_correctness_log2(200, 20, 12, d) for d in range(0, 201, 10)]
    assert answers == sorted(answers)


@pytest.mark.parametrize(("case", "want"), (PUBLISHED | PUBLISHED_ROUGH).items())
def test_published_accounting_gives_the_published_table(
    case: tuple[int, int, int, int, int, bool], want: tuple[int, int]
) -> None:
    assert published_find(*case) == want


@pytest.mark.parametrize(("case", "want"), PUBLISHED.items())
def test_find_degree_is_near_the_published_table_and_minimal(
    case: tuple[int, int, int, int, int, bool], want: tuple[int, int]
) -> None:
    n, c, d, security, correctness, semi = case
    k, t = bounds.find_degree(n, c, d, security, correctness, semi_malicious=semi)
    assert want[0] - 4 <= k <= want[0]
    assert abs(t - want[1]) <= 1
    assert bounds.sparse_security_log2(n, k, t, c, d, semi_malicious=semi) <= security
    assert bounds.sparse_correctness_log2(n, k, t, d) <= correctness
    assert bounds.sparse_security_log2(n, k, t - 1, c, d, semi_malicious=semi) > security
    for other in range(1, k):
        assert (
            bounds.sparse_security_log2(n, k - 2, other, c, d, semi_malicious=semi) > security
            or bounds.sparse_correctness_log2(n, k - 2, other, d) > correctness
        )


def test_find_degree_falls_back_to_the_full_graph() -> None:
    assert bounds.find_degree(5, 1, 2) == (4, 2)
    assert bounds.find_degree(2, 0, 0) == (1, 2)
    assert bounds.find_degree(7, 1, 2, semi_malicious=True) == (6, 5)


def test_find_degree_takes_a_sparse_graph_that_is_certain() -> None:
    """Four removed cannot cut degree 6, and three of six neighbours always answer."""
    assert bounds.find_degree(10, 2, 2) == (6, 3)
    assert bounds.sparse_security_log2(10, 6, 3, 2, 2) == -math.inf
    assert bounds.sparse_correctness_log2(10, 6, 3, 2) == -math.inf


def test_find_degree_refuses_what_no_graph_serves() -> None:
    with pytest.raises(ParameterError, match="no graph meets both"):
        bounds.find_degree(100, 50, 50)
    with pytest.raises(ParameterError, match="no graph meets both"):
        bounds.find_degree(10, 2, 4, semi_malicious=True)
    for security, correctness in ((0.0, -20.0), (-40.0, 3.0), (math.nan, -20.0)):
        with pytest.raises(ParameterError, match="log2"):
            bounds.find_degree(100, 5, 5, security, correctness)


@pytest.mark.parametrize(
    ("n", "k", "t", "corrupt", "dropped", "participants"),
    [
        (1, 1, 1, 0, 0, None),
        (9, 0, 1, 0, 0, None),
        (9, 3, 1, 0, 0, None),
        (9, 4, 6, 0, 0, None),
        (9, 4, 0, 0, 0, None),
        (9, 4, 3, 10, 0, None),
        (9, 4, 3, 0, 10, None),
        (9, 4, 3, 0, 6, 5),
        (9, 4, 3, 0, 0, 10),
        (9, 4, 3, -1, 0, None),
    ],
)
def test_sparse_bounds_refuse_impossible_counts(
    n: int, k: int, t: int, corrupt: int, dropped: int, participants: int | None
) -> None:
    with pytest.raises(ParameterError):
        bounds.sparse_security_log2(n, k, t, corrupt, dropped, participants)
