"""From what a federation looks like to Params: who may be missing, who may be corrupt, how exact the mean must be."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal

from secagg import bounds
from secagg.costs import traffic
from secagg.encoding import FixedPoint, Layout
from secagg.errors import ParameterError
from secagg.oneshot_rules import plan_committee, sets_apart
from secagg.params import CORRECTNESS_LOG2, MAX_CLIENTS, SECURITY_LOG2, Params

__all__ = ["plan"]

MOST_ROUNDS = 64
MOST_DEALING_BYTES = 4 << 20
MOST_SERVER_BYTES = 256 << 20
DEFAULT_BITS = 16
MOST_BITS = 32
WALKED = 256  # up to here every degree is tried in turn
COUNTS = (
    "threshold", "min_clients", "min_honest", "max_participants", "min_cohort", "neighbours", "rounds_per_setup", "frame_bytes",
    "committee", "packing",
)  # fmt: skip


def plan(
    clients: int,
    length: int | None = None,
    *,
    layout: Layout | None = None,
    dropout: float | None = None,
    corrupt: float | None = None,
    sample: float | None = None,
    threat: Literal["malicious", "semi-honest"] = "malicious",
    max_weight: int = 1,
    error: float | None = None,
    clip: float = 1.0,
    **fixed: Any,
) -> Params:
    """Return the Params that serve a federation best; `print(params.explain())` says what they mean.

    Parameters
    ----------
    clients : int
        n, the most clients of a cohort.
    length, layout
        What an update looks like, as for `Params`.
    dropout : int or float, optional
        How many a round must survive losing, over all phases together: an int is a count, a float a fraction, rounded up. A
        fraction is taken of the cohort and of the participants; a count may all be participants, of a sample all but two.
        Default: a tenth (none of 3 clients or fewer), as far as what is fixed allows.
    corrupt : int or float, optional
        c, who may collude with the server. Default: a tenth, at least one.
    sample : int or float, optional
        Participants of a round: a count, or a fraction of n rounded up. Default: everybody.
    threat : {"malicious", "semi-honest"}
        Whether the server may lie. If it may, the graph is full; if not, it is sparse where that is enough.
    max_weight : int
        Largest weight of an update.
    error : float, optional
        Largest error of a value of the mean that encoding may cause, at worst; metrics are not meant. Default: whatever 16
        bits give.
    clip : float
        Largest magnitude of a value.
    **fixed
        Any field of `Params`, kept as it is; None leaves it to the plan. ``protocol="ckks"`` needs ``reveal=`` too; the ring is
        then the one of the smallest uploads. ``protocol="oneshot"``: committee, threshold and packing too are then those with the
        fewest bytes of shares that survive the dropouts; a fraction is taken of the committee as well.

    Raises
    ------
    ParameterError
        No Params serve this, and why: too many dropouts for the bound on a lying server, an error that no encoding meets, or
        something fixed that contradicts what is asked.

    Notes
    -----
    With a malicious server, ``threshold = n - dropout`` and ``min_clients = p - dropout``: the largest that survive the
    dropouts, since both only add to privacy. Otherwise the smallest degree, and its smallest threshold, whose bounds hold
    (docs/planning.md). A setup serves the largest power of two up to 64 rounds for which a client's shares stay within 4 MiB
    and all shares together, which the server keeps, within 256 MiB: more rounds save exchanges, but keep more secrets waiting.
    """
    names = {field.name for field in fields(Params)}
    if strangers := sorted(set(fixed) - names):
        raise ParameterError(f"{strangers[0]!r} is no field of Params")
    if isinstance(clients, bool) or not isinstance(clients, int) or not 2 <= clients <= MAX_CLIENTS:
        raise ParameterError(f"clients must be an integer from 2 to {MAX_CLIENTS}")
    fixed = {name: value for name, value in fixed.items() if value is not None}
    for name in COUNTS:
        if isinstance(fixed.get(name, 0), bool) or not isinstance(fixed.get(name, 0), int):
            raise ParameterError(f"{name} must be an integer")
    protocol = fixed.get("protocol", "pairwise")
    p = _participants(sample, clients, fixed)
    away, lost = _dropouts(dropout, clients, p)
    wanted = {
        "clients": clients, "length": length, "layout": layout, "threat": threat, "max_weight": max_weight,
        "max_participants": p, "min_clients": p - lost, "encoding": _encoding(error, clip, fixed.get("encoding")),
        "corrupt": max(1, math.ceil(clients / 10)) if corrupt is None else _share("corrupt", corrupt, clients),
        **fixed,
    }  # fmt: skip
    if protocol != "pairwise":
        wanted = {"rounds_per_setup": MOST_ROUNDS} | wanted  # a batch of one key each: nothing grows with it
        if wanted["min_clients"] - int(wanted["corrupt"]) < int(wanted.get("min_honest", 2)):
            raise ParameterError(
                f"losing {lost} of {p} participants leaves {p - lost}, of which {wanted['corrupt']} may be corrupt: fewer than "
                f"min_honest={wanted.get('min_honest', 2)} honest updates in a sum; lower dropout or corrupt"
            )
        if protocol == "oneshot":
            own = {name: fixed[name] for name in ("committee", "threshold", "packing") if name in fixed}
            apart = sets_apart(p, int(wanted["min_clients"]), int(wanted["corrupt"]))
            wanted |= plan_committee(clients, int(wanted["corrupt"]), away, threat, apart, own)
    elif threat == "semi-honest":
        wanted |= _sparse(wanted, away, lost)
    else:
        if wanted.get("neighbours", clients - 1) != clients - 1:
            raise ParameterError(
                f"neighbours={wanted['neighbours']}: a server that may lie needs the full graph; leave neighbours out, or "
                "ask for threat='semi-honest' if the server is trusted to follow the protocol"
            )
        wanted = {"threshold": clients - away} | wanted
        _check_dropouts(wanted, away, lost)
    params = Params(**wanted)
    if dropout is not None:
        _check_survives(params, away if protocol == "pairwise" else 0, lost)
    if error is not None:
        _check_error(params, error)
    if "rounds_per_setup" not in wanted:
        params = Params(**wanted, rounds_per_setup=_rounds(params))
    return params


def _participants(sample: float | None, n: int, fixed: dict[str, Any]) -> int:
    p = n if sample is None else _share("sample", sample, n)
    if sample is not None and fixed.get("max_participants", p) != p:
        raise ParameterError(
            f"sample={sample} asks for {p} participants, max_participants={fixed['max_participants']}; give only one"
        )
    p = int(fixed.get("max_participants", p))
    if not 2 <= p <= n:
        raise ParameterError(f"a round needs 2 to {n} participants")
    return p


def _dropouts(dropout: float | None, n: int, p: int) -> tuple[int, int]:
    """Return how many may be lost of n clients, and of p participants."""
    if dropout is None:
        return (0 if n <= 3 else math.ceil(n / 10)), (0 if p <= 3 else math.ceil(p / 10))
    away = _share("dropout", dropout, n)
    lost = _among(away, n, p) if isinstance(dropout, int) else _share("dropout", dropout, p)
    if p - lost < 2:
        raise ParameterError(f"losing {lost} of {p} participants leaves fewer than 2 to be summed; lower dropout")
    return away, lost


def _among(away: int, n: int, p: int) -> int:
    """Return how many of `away` clients may be participants: all; of a sample, all but the two without whom there is no sum."""
    return away if p == n else min(away, p - 2)


def _share(name: str, value: float, of: int) -> int:
    """Return a count as it is, and a fraction of `of` rounded up."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterError(f"{name} must be a count (int) or a fraction (float)")
    if isinstance(value, float):
        if not 0.0 <= value <= 1.0:
            raise ParameterError(f"{name} as a fraction must lie in [0, 1]")
        # A fraction like 0.1 is a decimal to its author: 0.1 * 30 must not become 4.
        return math.ceil(round(value * of, 9))
    if not 0 <= value <= of:
        raise ParameterError(f"{name}={value} must be from 0 to {of}")
    return value


def _encoding(error: float | None, clip: float, given: Any) -> Any:
    """Return the encoding that is fixed, or the FixedPoint of the fewest bits that meets `error`."""
    if error is not None and (
        isinstance(error, bool) or not isinstance(error, int | float) or not 0 < error < math.inf
    ):
        raise ParameterError("error must be a positive number")
    if given is not None:
        if clip != 1.0 and getattr(given, "clip", None) != clip:
            raise ParameterError(f"clip={clip} and the encoding that was given differ; give only one")
        return given
    if error is None:
        return FixedPoint(clip=clip, bits=DEFAULT_BITS)
    for bits in range(1, MOST_BITS + 1):
        if (found := FixedPoint(clip=clip, bits=bits)).error_bound() <= error:
            return found
    least = FixedPoint(clip=clip, bits=MOST_BITS).error_bound()
    raise ParameterError(f"error={error:g} is below {least:.2g}, the least that {MOST_BITS} bits give at clip={clip:g}")


def _check_error(params: Params, error: float) -> None:
    """Refuse a fixed encoding, of the whole update or of a part, that misses what is asked."""
    for segment in params.segment_plan.segments:
        if isinstance(segment.encoding, FixedPoint) and not (segment.name == "metrics" and params.metrics):
            worst = segment.encoding.error_bound()
            if worst > error:
                raise ParameterError(
                    f"the encoding that was given for {segment.name!r} is off by up to {worst:.2g}, more than error={error:g}"
                )


def _check_survives(params: Params, away: int, lost: int) -> None:
    """Refuse what is fixed if it contradicts the dropouts asked for; on a sparse graph the search saw to the threshold."""
    n, p, m, t = params.clients, params.max_participants, params.min_clients, params.threshold
    if m > p - lost:
        raise ParameterError(f"min_clients={m} survives losing {p - m} of {p} participants, not {lost} as asked")
    if params.full and t > n - away:
        raise ParameterError(f"threshold={t} survives losing {n - t} of {n} clients, not {away} as asked")
    if params.min_cohort > n - away:
        raise ParameterError(
            f"min_cohort={params.min_cohort} refuses a setup that lost {away} of {n} clients, and dropout asks to survive that"
        )


def _check_dropouts(wanted: dict[str, Any], away: int, lost: int) -> None:
    """Refuse dropouts beyond what the bound on a lying server allows, and say what it does allow."""
    n, p, least = int(wanted["clients"]), int(wanted["max_participants"]), int(wanted.get("min_honest", 2))

    def holds(away: int, lost: int) -> bool:
        c, t, m = int(wanted["corrupt"]), n - away, p - lost
        if not (c < t and m - c >= least and m >= 2 and bounds.quorum_ok(n, c, t)):
            return False
        return bounds.opened_honest(n, p, c, t, m) >= least

    planned = wanted["threshold"] == n - away and wanted["min_clients"] == p - lost
    if not planned or holds(away, lost):
        return  # what is fixed is judged by Params itself
    best = max((d for d in range(p - 1) if holds(d, d)), default=None)
    allowed = (
        "nor does any number do"
        if best is None
        else f"at most {best} may be lost in a round, each of them a participant"
    )
    raise ParameterError(
        f"with {n} clients, {p} participants and {wanted['corrupt']} corrupt, a round that survives losing {lost} participants "
        f"and {away} clients lets a lying server open fewer than min_honest={least} honest updates; {allowed}"
    )


def _sparse(wanted: dict[str, Any], away: int, lost: int) -> dict[str, Any]:
    """Return degree, thresholds and smallest cohort for a server that follows the protocol."""
    n, p, c, m = wanted["clients"], wanted["max_participants"], wanted["corrupt"], wanted["min_clients"]
    cohort = wanted.get("min_cohort", max(n - away, m))
    fixed_k, fixed_t = wanted.get("neighbours"), wanted.get("threshold")
    for name, value, low, high in (
        ("min_clients", m, 2, p),
        ("min_cohort", cohort, m, n),
        ("threshold", fixed_t, 1, n),
    ):
        if value is not None and not low <= value <= high:
            raise ParameterError(f"{name} must be an integer from {low} to {high}")

    def opens(k: int, t: int) -> bool:
        # Members that are not asked for an update may be missing too.
        failure = bounds.sparse_risk((cohort, n), p, m, c, k, t)[1]
        return max(failure, bounds.sparse_correctness_log2(n, k, t, away)) <= CORRECTNESS_LOG2

    def threshold(k: int) -> int | None:
        most = min(k, cohort - 1) + 1
        t = _smallest_threshold((cohort, n), p, m, c, k, most) if fixed_t is None else fixed_t
        if t is None or t > most or bounds.sparse_risk((cohort, n), p, m, c, k, t)[0] > SECURITY_LOG2:
            return None
        return t if opens(k, t) else None

    if fixed_k is not None and fixed_k < n - 1:
        if (t := threshold(fixed_k)) is None:
            which = "no threshold both" if fixed_t is None else f"threshold={fixed_t} does not both"
            verbs = ("keeps", "lets") if fixed_t is None else ("keep", "let")
            raise ParameterError(
                f"neighbours={fixed_k}: {which} {verbs[0]} {c} corrupt clients from exposing anything and {verbs[1]} a round "
                f"lose {lost} participants and {away} clients; raise neighbours, or leave it to plan()"
            )
        return {"min_cohort": cohort, "threshold": t}
    # In the smallest cohort a graph is left to choose: beyond, it is the full one there.
    degrees = range(2, cohort - 1, 2) if fixed_k is None else range(0)
    if fixed_t is None:
        k = _least(degrees, lambda k: threshold(k) is not None)
    else:
        # With the threshold, ever more neighbours open a round, and ever more of them are corrupt: few degrees are between.
        degrees = degrees[max(0, (fixed_t - 2) // 2) :]
        first = bisect_left(degrees, True, key=lambda k: opens(k, fixed_t))
        k = next((k for k in degrees[first : first + WALKED] if threshold(k) is not None), None)
    if k is not None:
        return {"min_cohort": cohort, "neighbours": k, "threshold": threshold(k)}
    t = n - away if fixed_t is None else fixed_t
    if fixed_t is not None and t <= c:
        raise ParameterError(
            f"threshold={t}: no number of neighbours both keeps {c} corrupt clients from exposing anything and lets a round "
            f"lose {lost} participants and {away} clients; leave threshold to plan()"
        )
    return {"threshold": t, "min_cohort": wanted.get("min_cohort", max(cohort, t))}


def _least(degrees: range, fits: Callable[[int], bool]) -> int | None:
    """Return the least degree that fits: exactly up to `WALKED`, beyond by bisection, since rounding lets few gaps remain."""
    near, far = degrees[: WALKED // 2], degrees[WALKED // 2 :]
    for k in near:
        if fits(k):
            return k
    low, high = 0, 1
    while high < len(far) and not fits(far[high - 1]):
        low, high = high, 2 * high
    high = min(high, len(far))
    if not high or not fits(far[high - 1]):
        return None
    return far[bisect_left(range(low, high - 1), True, key=lambda i: fits(far[i])) + low]


def _smallest_threshold(cohorts: tuple[int, int], p: int, m: int, c: int, k: int, most: int) -> int | None:
    """Return the least threshold, up to `most`, that keeps what is hidden hidden: security only improves with it."""
    thresholds = range(min(2, most), most + 1)
    found = bisect_left(thresholds, True, key=lambda t: bounds.sparse_risk(cohorts, p, m, c, k, t)[0] <= SECURITY_LOG2)
    return thresholds[found] if found < len(thresholds) else None


def _rounds(params: Params) -> int:
    rounds = MOST_ROUNDS
    while rounds > 1:
        size = traffic(
            cohort=params.clients, participants=params.max_participants, neighbours=params.neighbours, rounds=rounds, chunks=()
        ).setup_up  # fmt: skip
        if size <= MOST_DEALING_BYTES and size * params.clients <= MOST_SERVER_BYTES:
            break
        rounds //= 2
    return rounds
