"""What a choice of oneshot Params means, as text and as data."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from secagg.costs import CommitteeTraffic, oneshot_traffic
from secagg.explain import FLOAT32_BYTES, Explanation, errors, human
from secagg.hints import CAPS, FAILURE_LOG2
from secagg.oneshot_rules import committee_corrupt, sets_apart

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["explain_oneshot"]

SECURITY_BITS = 128


def explain_oneshot(params: Params) -> Explanation:
    """Return what these Params mean; see `Params.explain`."""
    plan, size, rho = params.mask_plan, params.committee, params.packing
    ring = plan.segments[0].ring
    cost = oneshot_traffic(
        participants=params.max_participants, committee=size, rounds=params.rounds_per_setup,
        uploads=[[cut.payload_bytes(i) for i, _, _ in cut] for cut in plan.segments], share=8 * plan.share_rows(rho),
        frame_bytes=params.frame_bytes,
    )  # fmt: skip
    error, error_data = errors(params)
    corrupt = committee_corrupt(params.clients, size, int(params.corrupt))
    lost, silent = params.max_participants - params.min_clients, size - params.threshold
    found, found_data = _bytes(params, cost)
    data = {
        "protocol": params.protocol, "threat": params.threat, "clients": params.clients, "committee": size, "packing": rho,
        "threshold": params.threshold, "corrupt_members": corrupt, "max_participants": params.max_participants,
        "min_clients": params.min_clients, "min_honest": params.min_honest, "corrupt": params.corrupt,
        "rounds_per_setup": params.rounds_per_setup, "dropouts_among_participants": lost, "silent_members": silent,
        "wrong_members": silent // 2, "opened_honest": params.opened_honest, "exchanges_steady_round": 1,
        "exchanges_with_committee": 1 + 1 / params.rounds_per_setup, "degree": plan.degree, "modulus_bits": plan.bits,
        "primes": ring.primes, "prime_bits": ring.bits, "spread": ring.spread, "digit_bits": plan.digit_bits,
        "correctness_log2": FAILURE_LOG2, "lattice_security_bits": SECURITY_BITS, "lattice_cap_bits": CAPS[plan.degree],
        **found_data, **error_data,
    }  # fmt: skip
    lines = (
        (
            "protocol",
            "oneshot: clients mask with a lattice secret each, the server adds, a committee opens the secrets' sum",
        ),
        (
            "participants",
            f"up to p={params.max_participants} of n={params.clients} clients asked for an update in a round",
        ),
        (
            "committee",
            (
                f"M={size} of the clients, {_drawn(params)}; T={params.threshold} answers open a round, of which each polynomial "
                f"shares rho={rho} secrets; at most {corrupt} members corrupt"
            ),
        ),
        ("threat", _threat(params)),
        (
            "privacy",
            (
                f"no sum of fewer than {params.opened_honest} honest updates opens (min_honest={params.min_honest}): "
                f"{_privacy(params, corrupt)}"
            ),
        ),
        (
            "dropouts",
            (
                f"a round survives {lost} of {params.max_participants} participants lost (min_clients={params.min_clients}), "
                f"and {silent} of {size} members silent, or {silent // 2} of them wrong; one more and it aborts, with nothing "
                "released"
            ),
        ),
        (
            "exchanges",
            (
                f"1 with the clients and 1 with the committee in a round; one more with the committee every "
                f"{params.rounds_per_setup} rounds, for keys"
            ),
        ),
        *found,
        (
            "lattice",
            (
                f"N={plan.degree}, q of {plan.bits} bits (128-bit security up to {CAPS[plan.degree]}), Hint-RLWE with width "
                f"3.18; a round of honest clients opens exactly but with probability 2^{FAILURE_LOG2:.0f}, when it aborts"
            ),
        ),
        *error[:-1],
        (
            "who learns what",
            (
                "the server: sum, total weight, count of clipped values, who took part, and the sum of the clients' secrets, "
                "which hides each under Hint-RLWE. Members: who took part"
            ),
        ),
    )
    return Explanation(MappingProxyType(data), lines)


def _drawn(params: Params) -> str:
    return "all of them" if params.committee >= params.clients else "drawn from the roster and the session id"


def _threat(params: Params) -> str:
    if params.threat == "malicious":
        return f"a server that lies, with up to c={params.corrupt} clients"
    return f"a server that follows the protocol and looks, with up to c={params.corrupt} clients"


def _privacy(params: Params, corrupt: int) -> str:
    rest = params.threshold - params.packing
    secret = f"{rest} shares of a secret tell nothing, and the corrupt have {corrupt}"
    if params.threat != "malicious":
        return secret
    needed, most = 2 * (rest + 1), params.committee + corrupt
    said = f"{secret}; two sets in one round would need {needed} answers, and there are at most {most}"
    if not sets_apart(params.max_participants, params.min_clients, int(params.corrupt)):
        return f"{said}; any two sets have an honest client in common"
    return f"{said}; a mixture of three would need {3 * (rest + 1)}, and there are at most {2 * params.committee + corrupt}"


def _bytes(params: Params, cost: CommitteeTraffic) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    values, rounds = params.segment_plan.layout.size, params.rounds_per_setup
    factor = cost.client_up / (FLOAT32_BYTES * values)
    down = cost.client_down + cost.keys / rounds
    server = params.max_participants * (cost.client_up + down) + params.committee * (
        cost.member_up + cost.member_down + (cost.key_up + cost.key_down) / rounds
    )
    lines = (
        (
            "bytes",
            (
                f"a participant sends {human(cost.client_up)} a round, {human(cost.shares)} of it shares, and receives "
                f"{human(cost.client_down)}, and {human(cost.keys)} of keys every {rounds} rounds; a member receives "
                f"{human(cost.member_down)} and sends {human(cost.member_up)} (ids of 16 bytes; the model itself not counted)"
            ),
        ),
        (
            "",
            (
                f"{8 * cost.client_up / values:.1f} bits a value up, {factor:.3f} of a float32 update; through the server "
                f"{human(server)} a round"
            ),
        ),
    )
    data = {
        "bytes_up_round": cost.client_up, "bytes_shares": cost.shares, "bytes_down_round": cost.client_down,
        "bytes_down_average": down, "bytes_keys": cost.keys, "bytes_to_member": cost.member_down,
        "bytes_from_member": cost.member_up, "bytes_through_server": server, "expansion": factor,
    }  # fmt: skip
    return lines, data
