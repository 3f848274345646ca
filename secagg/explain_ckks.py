"""What a choice of ckks Params means, as text and as data."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from secagg.costs import HolderTraffic, ckks_traffic
from secagg.explain import FLOAT32_BYTES, Explanation, errors, human
from secagg.lattice import FAILURE_LOG2, MAX_BITS, STANDARD_BITS
from secagg.wire import ChunkPlan

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["explain_ckks"]

SECURITY_BITS = 128


def explain_ckks(params: Params) -> Explanation:
    """Return what these Params mean; see `Params.explain`."""
    plan = params.cipher_plan
    packed = [ChunkPlan(s.count, s.w, params.frame_bytes) for s in params.segment_plan.segments]
    results = [[each.payload_bytes(i) for i in range(each.chunks)] for each in packed]
    cost = ckks_traffic(
        participants=params.max_participants, rounds=params.rounds_per_setup,
        public_key=16 + plan.ring.degree * plan.ring.bits // 8,
        uploads=[[cut.payload_bytes(i) for i, _, _ in cut] for cut in plan.segments],
        results=results if params.reveal == "server" else [], padded=params.padded, recompute=params.recompute,
    )  # fmt: skip
    error, error_data = errors(params)
    lost = params.max_participants - params.min_clients
    keys = 1 / params.rounds_per_setup
    size, size_data = _bytes(params, cost)
    data = {
        "protocol": params.protocol, "threat": params.threat, "reveal": params.reveal, "clients": params.clients,
        "max_participants": params.max_participants, "min_clients": params.min_clients, "min_honest": params.min_honest,
        "corrupt": params.corrupt, "rounds_per_setup": params.rounds_per_setup, "dropouts_among_participants": lost,
        "opened_honest": params.opened_honest, "exchanges_steady_round": 1, "exchanges_with_holder": 1 + keys,
        "degree": plan.ring.degree, "modulus_bits": plan.ring.bits, "modulus": plan.ring.modulus, "delta": plan.delta,
        "noise_bound": plan.radius, "correctness_log2": FAILURE_LOG2, "lattice_security_bits": SECURITY_BITS,
        "lattice_cap_bits": MAX_BITS[plan.ring.degree], **size_data, **error_data,
    }  # fmt: skip
    lines = (
        ("protocol", f"ckks: clients encrypt to a key holder, {_adds(params)}, the holder decrypts one sum a round"),
        (
            "participants",
            f"up to p={params.max_participants} of n={params.clients} clients asked for an update in a round",
        ),
        ("threat", _threat(params)),
        ("privacy", _privacy(params)),
        (
            "dropouts",
            (
                f"a round survives {lost} of {params.max_participants} participants lost (min_clients={params.min_clients}); "
                "one more and it aborts, with nothing released; so it does without the key holder"
            ),
        ),
        (
            "exchanges",
            (
                f"1 with the clients and 1 with the key holder in a round; one more with the holder every "
                f"{params.rounds_per_setup} rounds, for a key"
            ),
        ),
        *size,
        (
            "lattice",
            (
                f"N={plan.ring.degree}, q of {plan.ring.bits} bits (128-bit security up to "
                f"{STANDARD_BITS[plan.ring.degree]}), delta of {math.log2(plan.delta):.1f} bits; the sum is exact but with "
                f"probability 2^{FAILURE_LOG2:.0f} a round, proven"
            ),
        ),
        *error[:-1],
        ("who learns what", _learns(params)),
    )
    return Explanation(MappingProxyType(data), lines)


def _adds(params: Params) -> str:
    return "who also adds the uploads" if params.recompute else "the server adds"


def _threat(params: Params) -> str:
    if params.padded:
        return f"a server that lies, with up to c={params.corrupt} clients; the key holder works with neither"
    return (
        f"server and clients follow the protocol and look, up to c={params.corrupt} of them together with the server; a client "
        "that sends crafted ciphertexts could read the key out of the sums"
    )


def _privacy(params: Params) -> str:
    return (
        f"the holder decrypts no sum of fewer than {params.opened_honest} honest updates (min_honest={params.min_honest})"
        + (", and pads keep any other sum than that of the named clients unreadable" if params.padded else "")
    )


def _learns(params: Params) -> str:
    sums = "sum, total weight and count of clipped values"
    who = f"the key holder and the server: {sums}" if params.reveal == "server" else f"the key holder alone: {sums}"
    alone = "; it receives every upload and could decrypt each" if params.recompute else ""
    return f"{who}{alone}. The server: who took part. Clients: who was asked"


def _bytes(params: Params, cost: HolderTraffic) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    values = params.segment_plan.layout.size
    factor = cost.client_up / (FLOAT32_BYTES * values)
    down = cost.client_down + cost.key / params.rounds_per_setup
    server = params.max_participants * (cost.client_up + down) + cost.holder_up + cost.holder_down
    lines = (
        (
            "bytes",
            (
                f"a participant sends {human(cost.client_up)} a round and receives {human(cost.client_down)}, and a key of "
                f"{human(cost.key)} every {params.rounds_per_setup} rounds; the holder receives {human(cost.holder_down)} and "
                f"sends {human(cost.holder_up)} (ids of 16 bytes; the model itself not counted)"
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
        "bytes_up_round": cost.client_up, "bytes_down_round": cost.client_down, "bytes_down_average": down,
        "bytes_key": cost.key, "bytes_to_holder": cost.holder_down, "bytes_from_holder": cost.holder_up,
        "bytes_through_server": server, "expansion": factor,
    }  # fmt: skip
    return lines, data
