"""plan(protocol="oneshot") over a grid, and what Params.explain says of what it found."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

import secagg
from secagg import FixedPoint, Params
from secagg.bounds import log2_hypergeom_tail
from secagg.errors import ParameterError
from secagg.oneshot_rules import committee_corrupt
from support.committee import make_params

OWN = {"protocol": "oneshot"}


def plan(clients: int, length: int = 1000, **asked: Any) -> Params:
    return secagg.plan(clients, length, **OWN, **asked)


def holds(params: Params) -> None:
    """Every bound of the spec's section 2, written out."""
    size, threshold, rho = params.committee, params.threshold, params.packing
    bad = committee_corrupt(params.clients, size, int(params.corrupt))
    assert 1 <= rho < threshold <= size <= min(params.clients, 1024)
    assert threshold - rho >= bad
    if params.threat == "malicious":
        assert 2 * (threshold - rho + 1) > size + bad
        if 2 * params.min_clients <= params.max_participants + params.corrupt:
            assert 3 * (threshold - rho + 1) > 2 * size + bad
    assert params.min_clients - params.corrupt >= params.min_honest
    if size < params.clients:
        assert log2_hypergeom_tail(params.clients, int(params.corrupt), size, bad + 1) <= -40


GRID = [
    *itertools.product(
        (5, 12, 60, 150), (0.0, 0.05, 0.1, 0.2), (0.05, 0.1, 0.2), (None, 0.5), ("malicious", "semi-honest")
    ),
    *itertools.product((2000,), (0.05, 0.1), (0.05, 0.1), (None,), ("malicious", "semi-honest")),
]


@pytest.mark.parametrize("clients", sorted({case[0] for case in GRID}))
def test_what_is_planned_holds_its_bounds_and_survives_what_was_asked(clients: int) -> None:
    """Or is refused, and then a larger or smaller threshold, or less packing, would not have done."""
    planned = refused = 0
    for number, dropout, corrupt, sample, threat in GRID:
        if number != clients:
            continue
        try:
            params = plan(clients, dropout=dropout, corrupt=corrupt, sample=sample, threat=threat)
        except ParameterError as error:
            refused += any(words in str(error) for words in ("lower dropout or corrupt", "min_honest", "fewer than 2"))
            continue
        planned += 1
        holds(params)
        p = clients if sample is None else math.ceil(clients * sample)
        assert params.max_participants == p
        assert params.min_clients <= p - math.ceil(round(dropout * p, 9))
        assert params.corrupt == math.ceil(round(corrupt * clients, 9))
        away = math.ceil(round(dropout * clients, 9))
        silent = params.committee - params.threshold
        if params.committee == clients:
            assert silent >= away
        else:
            assert log2_hypergeom_tail(clients, away, params.committee, silent + 1) <= -20
        assert params.threat == threat
    assert planned >= 8 and planned + refused == sum(case[0] == clients for case in GRID)


@pytest.mark.parametrize(("clients", "dropout", "corrupt"), [(8, 1, 1), (20, 2, 2), (40, 4, 3), (130, 5, 6)])
def test_no_other_committee_costs_fewer_bytes_of_shares(clients: int, dropout: int, corrupt: int) -> None:
    """Every committee that plan() may choose, by brute force over sizes and packings."""
    chosen = plan(clients, dropout=dropout, corrupt=corrupt)
    best = math.inf
    sizes = [clients] if clients <= 100 else [*range(30, clients, 10), clients]
    for size in sizes:
        bad = committee_corrupt(clients, size, corrupt)
        away = dropout if size == clients else next(
            count for count in range(dropout + 1)
            if count == dropout or log2_hypergeom_tail(clients, dropout, size, count + 1) <= -20
        )  # fmt: skip
        for rho in range(1, 17):
            threshold = size - away
            if threshold - rho >= max(1, bad) and 2 * (threshold - rho + 1) > size + bad:
                best = min(best, size / rho)
    assert chosen.committee / chosen.packing == best


def test_what_is_fixed_is_kept_and_the_rest_fits_it() -> None:
    for fixed in (
        {"committee": 40, "clients": 150}, {"threshold": 18}, {"packing": 2}, {"committee": 15, "threshold": 13},
        {"rounds_per_setup": 7}, {"frame_bytes": 1 << 18}, {"ring": (8192, 48, 4)}, {"min_honest": 5},
        {"encoding": FixedPoint(bits=24)}, {"max_participants": 10},
    ):  # fmt: skip
        given = {"clients": 20, "corrupt": 1, **fixed}
        params = plan(given.pop("clients"), **given)
        for name, value in given.items():
            assert getattr(params, name) == value
        holds(params)
    assert plan(20).rounds_per_setup == 64  # a batch needs one key of each member, whatever its rounds


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"clients": 5, "dropout": 2, "corrupt": 2}, "honest updates|no committee"),
        ({"clients": 20, "dropout": 10, "corrupt": 1}, "no committee both survives losing 10 of 20"),
        ({"clients": 20, "corrupt": 1, "packing": 12}, "leave committee, threshold and packing to plan"),
        ({"clients": 20, "corrupt": 1, "threshold": 10}, "leave committee, threshold and packing to plan"),
        ({"clients": 20, "corrupt": 1, "committee": 40}, "no committee|committee must be"),
        ({"clients": 20, "corrupt": 0.9}, "honest updates"),
        ({"clients": 20, "dropout": 19}, "fewer than 2"),
        ({"clients": 20, "neighbours": 4}, "neighbours belongs to pairwise"),
        ({"clients": 20, "threshold": 2.5}, "threshold must be an integer"),
        ({"clients": 20, "committee": "all"}, "committee must be an integer"),
        ({"clients": 1}, "clients must be"),
        ({"clients": 20, "max_weight": 1 << 50}, "bits"),
        ({"clients": 20, "reveal": "server"}, "reveal belongs"),
        ({"clients": 20, "colour": "red"}, "no field of Params"),
    ],
)
def test_refusals_say_why(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        plan(**asked)


@pytest.mark.parametrize(
    ("clients", "dropout", "threat"), [(6, 1, "malicious"), (12, 2, "malicious"), (9, 2, "semi-honest")]
)
def test_a_planned_round_survives_its_dropouts_among_clients_and_members(
    clients: int, dropout: int, threat: str
) -> None:
    params = plan(clients, 20, dropout=dropout, corrupt=1, threat=threat)
    updates = {f"c{i:02}": np.full(20, 0.5) for i in range(clients)}
    gone = sorted(updates)[:dropout]
    for phase in ("masked", "reveal"):
        result = secagg.simulate(updates, params, dropouts={phase: gone})
        assert len(result.contributors) == clients - (dropout if phase == "masked" else 0)
        np.testing.assert_allclose(result.mean, 0.5, atol=1e-4)


# -- what it means ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "own",
    [
        {"clients": 12}, {"clients": 12, "threat": "semi-honest"}, {"clients": 400, "committee": 60, "corrupt": 0.05},
        {"clients": 3}, {"clients": 40, "max_participants": 20, "rounds_per_setup": 10, "metrics": ("loss",),
                         "segments": {"metrics": FixedPoint(bits=20)}},
    ],
)  # fmt: skip
def test_the_explanation_names_every_figure(own: dict[str, Any]) -> None:
    params = Params(**{"length": 1000, **OWN, **own})
    told, text = params.explain(), " ".join(str(params.explain()).split())
    data = told.to_dict()
    for name in (
        "clients", "committee", "packing", "threshold", "max_participants", "min_clients", "min_honest", "corrupt", "threat",
        "rounds_per_setup", "opened_honest",
    ):  # fmt: skip
        assert data[name] == getattr(params, name)
    plan_ = params.mask_plan
    assert (data["degree"], data["modulus_bits"], data["primes"]) == (plan_.degree, plan_.bits, params.ring[2])
    assert data["digit_bits"] == plan_.digit_bits and data["modulus_bits"] <= data["lattice_cap_bits"]
    assert data["silent_members"] == params.committee - params.threshold
    assert data["wrong_members"] == data["silent_members"] // 2
    assert data["dropouts_among_participants"] == params.max_participants - params.min_clients
    assert data["exchanges_steady_round"] == 1
    assert data["exchanges_with_committee"] == 1 + 1 / params.rounds_per_setup
    for words in (
        f"M={params.committee}", f"T={params.threshold}", f"rho={params.packing}", f"N={plan_.degree}",
        f"q of {plan_.bits} bits", "Hint-RLWE", "who learns what",
        "all of them" if params.committee == params.clients else "drawn from the roster",
        "a server that lies" if params.threat == "malicious" else "follows the protocol and looks",
    ):  # fmt: skip
        assert words in text, words
    assert ("two sets in one round" in text) == (params.threat == "malicious")
    json.dumps(data)
    with pytest.raises(TypeError):
        told.data["clients"] = 3  # type: ignore[index]


def test_bytes_of_shares_fall_with_packing_and_grow_with_the_committee() -> None:
    few = Params(100, length=1000, **OWN, corrupt=5, threshold=90, packing=4).explain().data
    many = Params(100, length=1000, **OWN, corrupt=5, threshold=90, packing=16).explain().data
    assert 3 * many["bytes_shares"] < few["bytes_shares"] < 4.2 * many["bytes_shares"]
    half = Params(100, length=1000, **OWN, corrupt=1, committee=50, threshold=45, packing=16).explain().data
    assert 1.7 * half["bytes_shares"] < many["bytes_shares"] < 2.3 * half["bytes_shares"]


def test_explain_says_what_keeps_sets_from_being_mixed():
    shared = make_params(6, corrupt=1, min_clients=4, threshold=5)
    assert "any two sets have an honest client in common" in " ".join(str(shared.explain()).split())
    apart = make_params(6, corrupt=1, min_clients=3, threshold=6, packing=1)
    assert "a mixture of three would need 18, and there are at most 13" in " ".join(str(apart.explain()).split())
