"""What a choice of Params means: bounds, bytes, exchanges and errors, as text and as data."""

from __future__ import annotations

import math
import textwrap
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from secagg import bounds
from secagg.costs import Traffic, traffic
from secagg.encoding import FixedPoint, Segment
from secagg.wire import ChunkPlan

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["Explanation", "errors", "explain", "human"]

FLOAT32_BYTES = 4
ROUND_EXCHANGES = SETUP_EXCHANGES = 2
MASK_SECURITY_BITS = 128
WIDTH = 96
INDENT = 16


@dataclass(frozen=True)
class Explanation:
    """Bounds, bytes, exchanges and errors of a session; `str()` of it reads well in a terminal.

    Attributes
    ----------
    data : mapping
        Every figure by name, read-only; `to_dict` is for JSON. A probability is None where there is none: what it speaks of
        cannot happen.
    lines : tuple of (str, str)
        The same in words: a heading and what it says.
    """

    data: Mapping[str, Any] = field(hash=False)
    lines: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return every figure by name, ready for JSON; the caller owns it."""
        return {**self.data, "segments": [dict(segment) for segment in self.data["segments"]]}

    def __str__(self) -> str:
        hang = " " * INDENT
        return "\n".join(
            textwrap.fill(f"{title:<{INDENT}}{text}", WIDTH, subsequent_indent=hang) for title, text in self.lines
        )


def explain(params: Params) -> Explanation:
    """Return what these Params mean; see `Params.explain`."""
    if params.protocol == "ckks":
        from secagg.explain_ckks import explain_ckks  # it builds on this module

        return explain_ckks(params)
    if params.protocol == "oneshot":
        from secagg.explain_oneshot import explain_oneshot  # likewise

        return explain_oneshot(params)
    plans = [ChunkPlan(s.count, s.w, params.frame_bytes) for s in params.segment_plan.segments]
    sizes = [(plan.chunks, plan.payload_bytes(0), plan.payload_bytes(plan.chunks - 1)) for plan in plans]
    cost = traffic(
        cohort=params.clients, participants=params.max_participants, neighbours=params.neighbours,
        rounds=params.rounds_per_setup, chunks=sizes,
    )  # fmt: skip
    size, size_data = _bytes(params, cost)
    error, error_data = errors(params)
    away = params.clients - params.threshold if params.full else _most_missing(params)
    lost = params.max_participants - params.min_clients
    bound, bound_data = _bound(params, away)
    average = ROUND_EXCHANGES + SETUP_EXCHANGES / params.rounds_per_setup
    data = {
        "protocol": params.protocol, "threat": params.threat, "graph": "full" if params.full else "sparse",
        "clients": params.clients, "max_participants": params.max_participants, "min_cohort": params.min_cohort,
        "neighbours": params.neighbours, "threshold": params.threshold, "min_clients": params.min_clients,
        "min_honest": params.min_honest, "corrupt": params.corrupt, "rounds_per_setup": params.rounds_per_setup,
        "dropouts_in_cohort": away, "dropouts_among_participants": lost,
        "exchanges_steady_round": ROUND_EXCHANGES, "exchanges_per_round": average, "mask_security_bits": MASK_SECURITY_BITS,
        **bound_data, **size_data, **error_data,
    }  # fmt: skip
    beyond = "one more and it aborts" if params.full else "the more beyond, the likelier it aborts"
    graph = (
        "full graph: every two clients share a mask"
        if params.full
        else f"sparse graph: each client shares masks with k={params.neighbours} others"
    )
    lines = (
        ("protocol", f"{params.protocol}, {graph}"),
        (
            "cohort",
            (
                f"up to n={params.clients} clients in a setup, at least {params.min_cohort}; up to "
                f"p={params.max_participants} of them asked for an update in a round"
            ),
        ),
        (
            "threat",
            (
                f"a server that lies, with up to c={params.corrupt} clients"
                if params.threat == "malicious"
                else f"a server that follows the protocol and looks, with up to c={params.corrupt} clients"
            ),
        ),
        *bound,
        (
            "dropouts",
            (
                f"a round survives {lost} of {params.max_participants} participants lost before their update "
                f"(min_clients={params.min_clients}), and {away} of {params.clients} clients missing at its end "
                f"(threshold={params.threshold}{'' if params.full else ' of each neighbourhood'}), over all phases together; "
                f"{beyond}, with nothing released"
            ),
        ),
        (
            "exchanges",
            (
                f"{ROUND_EXCHANGES} in a round, {SETUP_EXCHANGES} more in a setup, one for {params.rounds_per_setup} rounds: "
                f"{average:.2f} a round on average"
            ),
        ),
        *size,
        *error,
        (
            "who learns what",
            (
                "the server: sum, total weight, count of clipped values, who took part. Clients: who took part, and nothing of "
                f"each other's updates. Masks are AES-128 keystreams ({MASK_SECURITY_BITS}-bit security)"
            ),
        ),
    )
    return Explanation(MappingProxyType(data), lines)


def _most_missing(params: Params) -> int:
    """Return how many of n may be missing by the end of a round on a sparse graph: the bound never falls as more are."""
    n, k, t = params.clients, params.neighbours, params.threshold

    def fails(missing: int) -> bool:
        return bounds.sparse_correctness_log2(n, k, t, missing) > bounds.CORRECTNESS_LOG2

    return bisect_left(range(n + 1), True, key=fails) - 1


def _chance(log2: float) -> str:
    return "0" if log2 == -math.inf else f"2^{log2:.1f}"


def _finite(log2: float) -> float | None:
    return None if log2 == -math.inf else log2


def _bound(params: Params, away: int) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    if params.full:
        g = params.opened_honest
        words = (
            f"no sum of fewer than g={g} honest updates can be opened, whatever the server shows to whom (min_honest="
            f"{params.min_honest}); certain, not probable"
            if params.threat == "malicious"
            else f"the sum of all honest survivors, at least {params.min_clients - int(params.corrupt)} of them; certain, not "
            f"probable (against a server that lies the bound would be g={g})"
        )
        return (("privacy", words),), {"opened_honest": g, "security_log2": None, "correctness_log2": None}
    security, likely = params.sparse_risk
    failure = max(likely, bounds.sparse_correctness_log2(params.clients, params.neighbours, params.threshold, away))
    words = (
        f"less than the sum of all honest survivors is exposed with probability {_chance(security)} at most, for one setup and "
        "one round; over many, the chances add up"
    )
    fails = (
        f"a round that loses {params.max_participants - params.min_clients} clients cannot be opened with probability "
        f"{_chance(likely)} at most, one that loses {away} with {_chance(failure)}"
    )
    return (("privacy", words), ("failure", fails)), {
        "opened_honest": None,
        "security_log2": _finite(security),
        "correctness_log2": _finite(failure),
    }


def _bytes(params: Params, cost: Traffic) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    rounds, values = params.rounds_per_setup, params.segment_plan.layout.size
    idle = params.clients - params.max_participants
    up, down = cost.round_up + cost.setup_up / rounds, cost.round_down + cost.setup_down / rounds
    server = (
        params.max_participants * (cost.round_up + cost.round_down)
        + idle * (cost.answer_up + cost.answer_down)
        + params.clients * (cost.setup_up + cost.setup_down) / rounds
    )
    factor = cost.round_up / (FLOAT32_BYTES * values)
    lines = (
        (
            "bytes",
            (
                f"a participant sends {human(cost.round_up)} a round and receives {human(cost.round_down)}; the setup adds "
                f"{human(cost.setup_up)} up and {human(cost.setup_down)} down: {human(up)} up and {human(down)} down a round "
                f"on average (ids of 16 bytes; the model itself not counted)"
            ),
        ),
        (
            "",
            (
                f"{8 * cost.round_up / values:.1f} bits a value up, {factor:.3f} of a float32 update; through the server "
                f"{human(server)} a round"
            ),
        ),
    )
    data = {
        "bytes_up_round": cost.round_up, "bytes_down_round": cost.round_down, "bytes_up_setup": cost.setup_up,
        "bytes_down_setup": cost.setup_down, "bytes_up_average": up, "bytes_down_average": down,
        "bytes_up_unsampled": cost.answer_up, "bytes_down_unsampled": cost.answer_down, "bytes_through_server": server,
        "expansion": factor,
    }  # fmt: skip
    return lines, data


def human(count: float) -> str:
    """Return a number of bytes as a person would say it."""
    if count < 1000:
        return f"{count:.0f} B"
    units = ["kB", "MB", "GB", "TB"]
    while count >= 999_500 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count / 1000:.3g} {units[0]}"


def errors(params: Params) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    """Return what encoding does to every segment, in words and as data."""
    found = [_segment(params, segment) for segment in params.segment_plan.segments[1:]]
    weights = params.segment_plan.total_weight
    modulus = (
        f"sums are modulo 2^w; w holds the largest sum, of weights up to {params.max_weight} from {params.max_participants} "
        f"participants ({weights} in all): none can wrap"
    )
    return (*((f"[{data['name']}]", words) for words, data in found), ("modulus", modulus)), {
        "segments": tuple(MappingProxyType(data) for _, data in found)
    }


def _segment(params: Params, segment: Segment) -> tuple[str, dict[str, Any]]:
    encoding = segment.encoding
    data: dict[str, Any] = {"name": segment.name, "values": segment.count, "w": segment.w}
    if not isinstance(encoding, FixedPoint):
        words = f"{segment.count} integers, w={segment.w} bits: sums exact"
        return words, data | {"worst_error": 0.0, "rms_error_least": 0.0, "rms_error_most": 0.0}
    worst = encoding.error_bound()
    few, many = encoding.rms_error(params.min_clients), encoding.rms_error(params.max_participants)
    words = (
        f"{segment.count} values in [-{encoding.clip:g}, {encoding.clip:g}] of {encoding.bits} bits, w={segment.w}: the mean is "
        f"off by {worst:.2g} at worst, {few:.2g} RMS with {params.min_clients} equal weights, {many:.2g} with "
        f"{params.max_participants}"
    )
    return words, data | {
        "bits": encoding.bits,
        "clip": encoding.clip,
        "worst_error": worst,
        "rms_error_least": few,
        "rms_error_most": many,
    }
