"""From what a federation looks like to Params: who may be missing, who may be corrupt, how exact the mean must be."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, Literal

from secagg import bounds
from secagg.costs import traffic
from secagg.encoding import FixedPoint, Layout
from secagg.errors import ParameterError
from secagg.params import CORRECTNESS_LOG2, SECURITY_LOG2, Params

__all__ = ["plan"]

MOST_ROUNDS = 64
MOST_DEALING_BYTES = 4 << 20
MOST_SERVER_BYTES = 256 << 20
DEFAULT_BITS = 16
MOST_BITS = 32
TENTH = 0.1


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
        fraction is taken of the cohort and of the participants; a count may all be participants. Default: a tenth (none of 3
        clients or fewer).
    corrupt : int or float, optional
        c, who may collude with the server. Default: a tenth, at least one.
    sample : int or float, optional
        Participants of a round: a count, or a fraction of n rounded up. Default: everybody.
    threat : {"malicious", "semi-honest"}
        Whether the server may lie. If it may, the graph is full; if not, it is sparse where that is enough.
    max_weight : int
        Largest weight of an update.
    error : float, optional
        Largest error of a value of the mean that encoding may cause, at worst. Default: whatever 16 bits give.
    clip : float
        Largest magnitude of a value.
    **fixed
        Any field of `Params`, kept as it is.

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
    if isinstance(clients, bool) or not isinstance(clients, int) or clients < 2:
        raise ParameterError("clients must be an integer of 2 or more")
    wanted = {
        "clients": clients, "length": length, "layout": layout, "threat": threat, "max_weight": max_weight,
        "max_participants": clients if sample is None else _share("sample", sample, clients),
        "corrupt": max(1, math.ceil(clients / 10)) if corrupt is None else _share("corrupt", corrupt, clients),
        **fixed,
    }  # fmt: skip
    p = wanted["max_participants"]
    if isinstance(p, bool) or not isinstance(p, int) or not 2 <= p <= clients:
        raise ParameterError(f"a round needs 2 to {clients} participants")
    if dropout is None:
        away, lost = (0 if clients <= 3 else math.ceil(clients / 10)), (0 if p <= 3 else math.ceil(p / 10))
    else:
        away = _share("dropout", dropout, clients)
        lost = away if isinstance(dropout, int) else _share("dropout", dropout, p)
    wanted.setdefault("encoding", _encoding(error, clip))
    _check_error(wanted["encoding"], error)
    if threat == "semi-honest":
        wanted |= _sparse(wanted, away, lost)
    else:
        wanted = {"threshold": clients - away, "min_clients": p - lost} | wanted
        _check_dropouts(wanted, away, lost)
    params = Params(**wanted)
    if "rounds_per_setup" not in fixed:
        params = Params(**wanted, rounds_per_setup=_rounds(params))
    return params


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


def _encoding(error: float | None, clip: float) -> FixedPoint:
    if error is None:
        return FixedPoint(clip=clip, bits=DEFAULT_BITS)
    for bits in range(1, MOST_BITS + 1):
        if (found := FixedPoint(clip=clip, bits=bits)).error_bound() <= error:
            return found
    least = FixedPoint(clip=clip, bits=MOST_BITS).error_bound()
    raise ParameterError(f"error={error:g} is below {least:.2g}, the least that {MOST_BITS} bits give at clip={clip:g}")


def _check_error(encoding: Any, error: float | None) -> None:
    if error is not None and isinstance(encoding, FixedPoint) and encoding.error_bound() > error:
        raise ParameterError(
            f"the encoding that was given is off by up to {encoding.error_bound():.2g}, more than error={error:g}"
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
    best = max((d for d in range(min(n, p)) if holds(d, min(d, p))), default=None)
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
    n, p, c = wanted["clients"], wanted["max_participants"], wanted["corrupt"]
    m = wanted.get("min_clients", p - lost)
    cohort = wanted.get("min_cohort", max(n - away, m))
    settled = {"min_clients": m, "min_cohort": cohort}
    degrees = [wanted["neighbours"]] if "neighbours" in wanted else range(2, n - 1, 2)
    for k in degrees:
        if k >= n - 1 or m < 2 or cohort - 1 <= k:
            break
        t = wanted.get("threshold") or _smallest_threshold((cohort, n), p, m, c, k)
        if t is None:
            continue
        security, failure = bounds.sparse_risk((cohort, n), p, m, c, k, t)
        # Members that are not asked for an update may be missing too.
        failure = max(failure, bounds.sparse_correctness_log2(n, k, t, away))
        if security <= SECURITY_LOG2 and failure <= CORRECTNESS_LOG2:
            return settled | {"neighbours": k, "threshold": t}
    if wanted.get("neighbours", n - 1) < n - 1:
        raise ParameterError(
            f"neighbours={wanted['neighbours']}: no threshold both keeps {c} corrupt clients from exposing anything and lets a "
            f"round lose {lost} participants and {away} clients; raise neighbours, or leave it to plan()"
        )
    t = wanted.get("threshold", n - away)
    return settled | {"threshold": t, "min_cohort": max(cohort, t)}


def _smallest_threshold(cohorts: tuple[int, int], p: int, m: int, c: int, k: int) -> int | None:
    low, high = 2, k + 1
    if bounds.sparse_risk(cohorts, p, m, c, k, high)[0] > SECURITY_LOG2:
        return None
    while low < high:  # security only improves with the threshold
        middle = (low + high) // 2
        if bounds.sparse_risk(cohorts, p, m, c, k, middle)[0] <= SECURITY_LOG2:
            high = middle
        else:
            low = middle + 1
    return low


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
