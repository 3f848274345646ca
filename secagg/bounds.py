"""What a choice of degree, threshold and minimum sizes can give away, in exact or log-domain arithmetic.

Two kinds of statement live here. On the **full graph** they are certain: `quorum_ok` and `opened_honest`
count shares, and hold whatever the server does. On a **sparse graph** they are probabilities over the random
permutation of the circulant graph, for a server that follows the protocol and for corrupt and missing clients
chosen without sight of the permutation. Probabilities are returned as base-2 logarithms: 2^-40 does not fit
beside 1 in a float, its logarithm does.

References
----------
docs/spec/pairwise.md, "What a lying server can do" and "Choosing k and t". Bonawitz et al., CCS 2017, section
6. Bell, Bonawitz, Gascón, Lepoint and Raykova, CCS 2020, sections 3 and 4 (good graphs, semi-honest and
malicious server).
"""

from __future__ import annotations

import math
from bisect import bisect_left

from secagg.errors import ParameterError

__all__ = [
    "find_degree",
    "log2_hypergeom_lower_tail",
    "log2_hypergeom_tail",
    "opened_honest",
    "quorum_ok",
    "sparse_correctness_log2",
    "sparse_risk",
    "sparse_security_log2",
]

CORRECTNESS_LOG2 = -20.0
SECURITY_LOG2 = -40.0
_NEGLIGIBLE = 2.0**-60  # terms below this share of a sum no longer change a double


def quorum_ok(holders: int, corrupt: int, threshold: int) -> bool:
    """Tell whether no peer's two secrets can both be opened: ``2 * threshold > holders + corrupt``.

    Every honest holder answers with one kind of share, every corrupt one with both, so that the two kinds
    together have at most ``holders + corrupt`` shares, and opening both takes ``2 * threshold``.

    Parameters
    ----------
    holders : int
        Clients that hold shares of one peer, the peer itself included; at least 1 (on the full graph: the
        cohort).
    corrupt : int
        Holders under the server's control, 0 to `holders`.
    threshold : int
        Shares that open one secret; at least 1.

    Raises
    ------
    ParameterError
        A count is out of range.
    """
    _count("holders", holders, 1)
    _count("corrupt", corrupt, 0, holders)
    _count("threshold", threshold, 1)
    return 2 * threshold > holders + corrupt


def opened_honest(n: int, participants: int, corrupt: int, threshold: int, min_clients: int) -> int:
    """Return g, the fewest honest updates in any sum that a lying server can open on the full graph.

    To open less than all ``participants - corrupt`` honest updates, the server must have the mask key of
    every honest participant left out opened. That takes ``threshold - corrupt`` honest holders each, and each
    of the ``n - corrupt`` honest holders accepts at most ``participants - min_clients`` dropouts. The bound
    assumes `quorum_ok`: without it g is 1 at best.

    Parameters
    ----------
    n : int
        Clients in the cohort, all of them holders; at least 1.
    participants : int
        Clients asked for an update, 1 to `n`. The bound never rises with it: check the most allowed.
    corrupt : int
        Clients under the server's control, 0 to `n`; as many as possible are assumed to participate.
    threshold : int
        Shares that open one secret, 1 to `n`.
    min_clients : int
        Survivors below which a client refuses to answer, 0 to `participants`.

    Returns
    -------
    int
        g; zero or negative means that the argument promises nothing.

    Raises
    ------
    ParameterError
        A count is out of range, or ``threshold <= corrupt``: the corrupt clients then open everything by
        themselves.
    """
    _count("n", n, 1)
    _count("participants", participants, 1, n)
    _count("corrupt", corrupt, 0, n)
    _count("threshold", threshold, 1, n)
    _count("min_clients", min_clients, 0, participants)
    if threshold <= corrupt:
        raise ParameterError(
            f"threshold={threshold} with corrupt={corrupt}: "
            "the corrupt clients alone could open every mask; raise threshold"
        )
    votes = (n - corrupt) * (participants - min_clients)
    return (participants - corrupt) - votes // (threshold - corrupt)


def log2_hypergeom_tail(population: int, marked: int, draws: int, at_least: int) -> float:
    """Return log2 of the probability that a draw without replacement holds `at_least` marked items or more.

    Parameters
    ----------
    population : int
        Items in all, at least 0.
    marked, draws : int
        Marked items, and items drawn; 0 to `population`.
    at_least : int
        Any integer; beyond what can be drawn the probability is 0, and the result ``-inf``.

    Returns
    -------
    float
        In [-inf, 0]. The error is below 1e-8 in log2 for populations up to a million.

    Raises
    ------
    ParameterError
        A count is out of range.

    Notes
    -----
    The largest term comes from `math.lgamma`, the others from the ratio of neighbours, walked outwards from
    it: no cancellation, and no more terms than matter.
    """
    _check_draw(population, marked, draws)
    fewest, most = max(0, draws + marked - population), min(marked, draws)
    if at_least <= fewest:
        return 0.0
    if at_least > most:
        return -math.inf
    return _log2_sum(population, marked, draws, at_least, most)


def log2_hypergeom_lower_tail(population: int, marked: int, draws: int, at_most: int) -> float:
    """Return log2 of the probability that a draw without replacement holds `at_most` marked items or fewer.

    Parameters, errors and accuracy are those of `log2_hypergeom_tail`.
    """
    _check_draw(population, marked, draws)
    fewest, most = max(0, draws + marked - population), min(marked, draws)
    if at_most >= most:
        return 0.0
    if at_most < fewest:
        return -math.inf
    return _log2_sum(population, marked, draws, fewest, at_most)


def sparse_security_log2(
    n: int,
    k: int,
    t: int,
    corrupt: int,
    dropped: int = 0,
    participants: int | None = None,
    *,
    semi_malicious: bool = False,
) -> float:
    """Return log2 of a bound on the chance that more leaks than the sum over all honest survivors.

    The union of two events. (a) The corrupt clients hold enough shares of some honest client: `t` of them, so
    that they open what the protocol keeps shut. An honest client holds one share of itself, so only its `k`
    neighbours count, drawn from the n - 1 others. (b) The honest survivors fall apart once corrupt and
    missing clients are taken out of the mask graph, so that each part's sum is open. That takes two runs of
    ``k / 2`` neighbours on the ring that are all corrupt or missing.

    Parameters
    ----------
    n : int
        Cohort: the vertices of the share graph; at least 2. A smaller cohort is another graph: check both
        ends of the range.
    k : int
        Degree; even, or at least ``n - 1`` (the full graph).
    t : int
        Shares that open one secret, 1 to ``min(k, n - 1) + 1``.
    corrupt : int
        Clients who share what they see with the server, 0 to `n`.
    dropped : int
        Participants whose update may be missing from the sum, 0 to `participants`: ``participants -
        min_clients``, since clients refuse more. The default 0 speaks only of rounds that nobody leaves.
    participants : int or None
        Vertices of the mask graph, 1 to `n`, all the corrupt clients assumed among them; None means `n`.
    semi_malicious : bool
        Let the server lie about survivors after an honest setup, and let (a) be that some client's two
        secrets can both be opened (see `quorum_ok`). This does not bound how small an opened sum can be and
        justifies no sparse graph; it is for comparison.

    Returns
    -------
    float
        In [-inf, 0]; non-decreasing in `corrupt` and `dropped`. It speaks of one setup and one round's mask
        graph.

    Raises
    ------
    ParameterError
        A count is out of range, or `k` is odd on a sparse graph.
    """
    p = n if participants is None else participants
    degree = _degree(n, k, t)
    _count("corrupt", corrupt, 0, n)
    _count("participants", p, 1, n)
    _count("dropped", dropped, 0, p)
    enough = 2 * t - degree - 1 if semi_malicious else t
    # All n are counted, not the n - corrupt honest ones: the bound then cannot fall as `corrupt` rises.
    exposed = log2_hypergeom_tail(n - 1, min(corrupt, n - 1), degree, enough) + math.log2(n)
    return min(0.0, _log2_add(exposed, _disconnected_log2(p, degree, min(p, corrupt + dropped))))


def sparse_correctness_log2(n: int, k: int, t: int, dropped: int) -> float:
    """Return log2 of a bound on the chance that fewer than `t` holders answer for a secret the server needs.

    A client that answers holds a share of its own self-mask and needs ``t - 1`` of its `k` neighbours; one
    that is missing needs `t` of them, whether for its mask key or, gone after its update, for its self-mask.

    Parameters
    ----------
    n, k, t : int
        As for `sparse_security_log2`.
    dropped : int
        Clients missing by the end of the round, whenever they left, 0 to `n`; chosen without sight of the
        graph.

    Returns
    -------
    float
        In [-inf, 0]; non-decreasing in `dropped` and in `t`.

    Raises
    ------
    ParameterError
        A count is out of range, or `k` is odd on a sparse graph.
    """
    degree = _degree(n, k, t)
    _count("dropped", dropped, 0, n)
    if not dropped:
        return 0.0 if t > degree + 1 else -math.inf
    missing = log2_hypergeom_tail(n - 1, dropped - 1, degree, degree - t + 1) + math.log2(dropped)
    present = log2_hypergeom_tail(n - 1, min(dropped, n - 1), degree, degree - t + 2) + math.log2(n)
    return min(0.0, _log2_add(missing, present))


def sparse_risk(
    cohorts: tuple[int, int], participants: int, min_clients: int, corrupt: int, k: int, t: int
) -> tuple[float, float]:
    """Return the worst security and correctness bounds (log2) over a sparse session's cohorts.

    Parameters
    ----------
    cohorts : (int, int)
        Smallest and largest cohort that a setup may end with; a smaller one is another graph, so both ends are computed.
    participants, min_clients : int
        Most participants of a round, and fewest survivors.
    corrupt, k, t : int
        As for `sparse_security_log2`.

    Returns
    -------
    security, correctness : float
        `sparse_security_log2` for the largest round that loses as many as it may and for the smallest round, and
        `sparse_correctness_log2` for that loss.
    """
    security = correctness = -math.inf
    for cohort in cohorts:
        asked = min(participants, cohort)
        lost, inside = max(asked - min_clients, 0), min(corrupt, cohort)
        security = max(
            security,
            sparse_security_log2(cohort, k, t, inside, lost, asked),
            sparse_security_log2(cohort, k, t, inside, 0, min_clients),
        )
        correctness = max(correctness, sparse_correctness_log2(cohort, k, t, lost))
    return security, correctness


def find_degree(
    n: int,
    corrupt: int,
    dropped: int,
    security: float = SECURITY_LOG2,
    correctness: float = CORRECTNESS_LOG2,
    *,
    semi_malicious: bool = False,
) -> tuple[int, int]:
    """Return the smallest even degree, and its smallest threshold, that meet both bounds if all n take part.

    Parameters
    ----------
    n : int
        Cohort, at least 2.
    corrupt, dropped : int
        As for `sparse_security_log2` and `sparse_correctness_log2`, 0 to `n`; absolute counts.
    security, correctness : float
        Log2 of the probabilities allowed, at most -1.
    semi_malicious : bool
        As for `sparse_security_log2`; for comparison only.

    Returns
    -------
    k, t : int
        ``k = n - 1``, the full graph, if no sparse one will do; the threshold is at least 2.

    Raises
    ------
    ParameterError
        A value is out of range, or not even the full graph serves: too many corrupt and missing clients.

    Notes
    -----
    The published finder does not count a client's share of itself and halves the failure probability between
    the two events, so that it asks for up to two steps more. Degrees are tried in turn: milliseconds while
    ``corrupt + dropped`` stays well below n, seconds where the two nearly meet in a cohort of many thousands.
    """
    _count("n", n, 2)
    _count("corrupt", corrupt, 0, n)
    _count("dropped", dropped, 0, n)
    for name, bound in (("security", security), ("correctness", correctness)):
        if not bound <= -1:
            raise ParameterError(f"{name}={bound} must be the log2 of a small probability, at most -1")
    # On the full graph both bounds are certainties: where they clash, a sparse graph's averages clash too.
    full = max(2, (n + corrupt) // 2 + 1 if semi_malicious else corrupt + 1)
    if full > n - dropped:
        raise ParameterError(
            f"corrupt={corrupt} needs a threshold of {full}, "
            f"dropped={dropped} leaves {n - dropped} of {n} clients to answer; "
            "no graph meets both: lower one of them"
        )

    for k in range(2, n - 1, 2):
        if _disconnected_log2(n, k, min(n, corrupt + dropped)) > security:
            continue

        def secure(t: int, k: int = k) -> bool:
            return sparse_security_log2(n, k, t, corrupt, dropped, semi_malicious=semi_malicious) <= security

        t = bisect_left(range(k + 2), True, lo=2, key=secure)
        if t <= k + 1 and sparse_correctness_log2(n, k, t, dropped) <= correctness:
            return k, t
    return n - 1, full


def _disconnected_log2(n: int, k: int, removed: int) -> float:
    """Bound the chance that `removed` random vertices cut a circulant graph of degree k into parts (log2).

    The rest is connected unless two runs of k / 2 removed vertices lie apart on the ring: n * (n - k - 1) / 2
    places for the two, and for each the chance that these k vertices are all among the removed.
    """
    if k >= n - 1 or removed < k:
        return -math.inf
    places = math.log2(n) + math.log2(n - k - 1) - 1
    return min(0.0, places + (_ln_comb(removed, k) - _ln_comb(n, k)) / math.log(2))


def _degree(n: int, k: int, t: int) -> int:
    """Check n, k and t, and return the degree that the graph really has."""
    _count("n", n, 2)
    _count("k", k, 1)
    degree = min(k, n - 1)
    if degree < n - 1 and degree % 2:
        raise ParameterError(f"k={k}: a sparse graph needs an even number of neighbours")
    _count("t", t, 1, degree + 1)
    return degree


def _check_draw(population: int, marked: int, draws: int) -> None:
    _count("population", population, 0)
    _count("marked", marked, 0, population)
    _count("draws", draws, 0, population)


def _count(name: str, value: int, low: int, high: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ParameterError(f"{name} must be an int, not {type(value).__name__}")
    if value < low or (high is not None and value > high):
        above = "" if high is None else f" and at most {high}"
        raise ParameterError(f"{name}={value} must be at least {low}{above}")


def _ln_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log2_add(a: float, b: float) -> float:
    """Return log2(2^a + 2^b)."""
    high, low = max(a, b), min(a, b)
    if low == -math.inf:
        return high
    return high + math.log1p(2.0 ** (low - high)) / math.log(2)


def _log2_sum(population: int, marked: int, draws: int, low: int, high: int) -> float:
    """Sum the hypergeometric probabilities of low..high, all of them possible, as a log2."""
    mode = (draws + 1) * (marked + 1) // (population + 2)
    peak = min(max(mode, low), high)
    rest = population - marked - draws
    total = 1.0
    term = 1.0
    for i in range(peak, high):
        term *= (marked - i) * (draws - i) / ((i + 1) * (rest + i + 1))
        total += term
        if term < _NEGLIGIBLE * total:
            break
    term = 1.0
    for i in range(peak, low, -1):
        term *= i * (rest + i) / ((marked - i + 1) * (draws - i + 1))
        total += term
        if term < _NEGLIGIBLE * total:
            break
    largest = _ln_comb(marked, peak) + _ln_comb(population - marked, draws - peak)
    largest -= _ln_comb(population, draws)
    return min(0.0, (largest + math.log(total)) / math.log(2))
