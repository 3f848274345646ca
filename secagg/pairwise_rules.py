"""What Params of the pairwise protocol are held to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from secagg import bounds
from secagg.errors import ParameterError
from secagg.rules import CORRECTNESS_LOG2, SECURITY_LOG2, check_counts, settle_counts, whole

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["check", "settle"]

MAX_DEALING_BYTES = 1 << 30


def settle(params: Params) -> dict[str, int]:
    """Return the fields whose defaults depend on others."""
    n = params.clients
    counts = settle_counts(params)
    spare = 0 if n <= 3 else math.ceil(n / 10)
    k = n - 1 if params.neighbours is None else params.neighbours
    t = (n - spare if k == n - 1 else k // 2 + 1) if params.threshold is None else params.threshold
    cohort = max(t, counts["min_clients"]) if params.min_cohort is None else params.min_cohort
    return counts | {"neighbours": k, "threshold": t, "min_cohort": cohort}


def check(params: Params) -> None:
    """Refuse what could leak, or never finish."""
    n = params.clients
    if n * (16 + 64 * params.rounds_per_setup) > MAX_DEALING_BYTES:
        raise ParameterError(
            "clients * rounds_per_setup makes one client's shares exceed 1 GiB; lower rounds_per_setup"
        )
    whole("neighbours", params.neighbours, 1, n - 1)
    whole("threshold", params.threshold, 1, min(n, params.neighbours + 1))
    check_counts(params)
    whole("min_cohort", params.min_cohort, params.min_clients, n)
    if not params.full and params.neighbours % 2:
        raise ParameterError("a sparse graph needs an even number of neighbours; round it up")
    if params.full and params.min_cohort < params.threshold:
        raise ParameterError("min_cohort below threshold: such a cohort could never open a round")
    _check_threat(params)


def _check_threat(params: Params) -> None:
    n, c, t, m = params.clients, int(params.corrupt), params.threshold, params.min_clients
    if params.full and t <= c:  # on a sparse graph it is a matter of chance how many of them are neighbours
        raise ParameterError(f"threshold={t} with corrupt={c}: the corrupt clients alone could rebuild every mask")
    if params.threat == "semi-honest":
        if not params.full:
            _check_sparse(params)
        return
    if not params.full:
        raise ParameterError(
            "threat='malicious' needs the full graph (neighbours = clients - 1): on a sparse graph a lying server can "
            "isolate a few clients; use threat='semi-honest' only if the server is trusted to follow the protocol"
        )
    if not bounds.quorum_ok(n, c, t):
        raise ParameterError(
            f"threshold={t}: a lying server could have a client's masks opened both ways; "
            f"need threshold > (clients + corrupt) / 2 = {(n + c) / 2:g}"
        )
    if params.opened_honest < params.min_honest:
        raise ParameterError(
            f"a lying server could open the sum of {max(params.opened_honest, 0)} honest updates; "
            f"min_honest={params.min_honest}. "
            f"Raise threshold and min_clients (now {t} and {m}), which lowers the dropouts a round survives"
            + ("; with 2 clients ask for min_honest=1 in writing" if n == 2 else "")
        )


def _check_sparse(params: Params) -> None:
    k, t = params.neighbours, params.threshold
    risk, failure = params.sparse_risk
    if risk > SECURITY_LOG2:
        raise ParameterError(
            f"neighbours={k}, threshold={t}: less than the whole sum is exposed with probability 2^{risk:.1f}, over "
            f"2^{SECURITY_LOG2:.0f}; raise neighbours or min_clients, or use the full graph"
        )
    if failure > CORRECTNESS_LOG2:
        raise ParameterError(
            f"neighbours={k}, threshold={t}: a round that loses all it may fails with probability 2^{failure:.1f}, over "
            f"2^{CORRECTNESS_LOG2:.0f}; lower threshold or raise neighbours"
        )
