"""Whole oneshot rounds under any Params: the exact sum of those who sent, or an abort where too few did, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import FixedPoint, Integer, Params
from secagg.errors import ParameterError, ThresholdError
from secagg.protocols.oneshot import committee
from support.committee import SESSION, Committee

ENCODINGS = [Integer(-50, 1000), Integer(0, 1), Integer(-(1 << 30), 1 << 30)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Params, dict[str, Any]]:
    """Params that are accepted, and who is silent when; parameters are drawn until they are."""
    clients = draw(st.integers(3, 9))
    own: dict[str, Any] = {
        "length": draw(st.sampled_from([1, 2, 37, 5000])), "encoding": draw(st.sampled_from(ENCODINGS)),
        "corrupt": draw(st.integers(0, 2)), "min_honest": draw(st.integers(1, 2)),
        "committee": draw(st.none() | st.integers(2, clients)), "threat": draw(st.sampled_from(["malicious", "semi-honest"])),
        "threshold": draw(st.none() | st.integers(2, clients)), "min_clients": draw(st.none() | st.integers(2, clients)),
        "max_weight": draw(st.sampled_from([1, 7])), "rounds_per_setup": draw(st.integers(1, 3)),
        "frame_bytes": draw(st.sampled_from([1 << 17, 4 << 20])),
    }  # fmt: skip
    try:
        params = Params(clients, protocol="oneshot", **own)
    except ParameterError:
        params = Params(clients, protocol="oneshot", length=own["length"], encoding=own["encoding"], corrupt=1)
    names = [f"c{i}" for i in range(clients)]
    silent = {phase: draw(st.sets(st.sampled_from(names), max_size=3)) for phase in ("keys", "masked", "reveal")}
    return params, silent


@settings(max_examples=25)
@given(cases(), st.integers(0, 2))
def test_a_round_is_exact_or_ends_where_too_few_are_left(case: tuple[Params, dict[str, Any]], before: int) -> None:
    params, silent = case
    f = Committee(params.clients, params=params)
    low, high = params.encoding.low, params.encoding.high
    rng = np.random.default_rng(before)
    f.updates = {name: rng.integers(low, high + 1, params.length) for name in f.ids}
    f.updates[f.ids[0]][:], f.updates[f.ids[1]][:] = low, high
    crew = committee(f.roster, SESSION, params.committee)
    for round_id in range(1, before + 1):
        f.exact(f.round(round_id), f.ids)
    current = before + 1
    f.server.open_round(current)
    fresh = f.server.phase == "keys"
    members = set(crew) - (silent["keys"] if fresh else set())
    enough = {
        "keys": len(members) >= params.threshold,
        "masked": params.clients - len(silent["masked"]) >= params.min_clients,
        "reveal": len(members - silent["reveal"]) >= params.threshold,
    }
    phases = ["keys", "masked", "reveal"] if fresh else ["masked", "reveal"]
    for phase in phases:
        assert f.server.phase == phase
        f.carry(silent[phase])
        if not enough[phase]:
            with pytest.raises(ThresholdError) as error:
                f.server.close_phase()
            assert error.value.have < error.value.needed
            with pytest.raises(ThresholdError):
                f.server.result(current)
            break
        f.server.close_phase()
    else:
        f.exact(f.server.result(current), set(f.ids) - silent["masked"])
    assert not f.errors
    f.exact(f.round(current + 1), f.ids)


@settings(max_examples=15)
@given(st.data())
def test_weights_metrics_and_clipping_of_a_fixed_point_update_are_within_the_stated_error(data: st.DataObject) -> None:
    clients, most = data.draw(st.integers(3, 6)), data.draw(st.sampled_from([1, 20, 1 << 20]))
    encoding = FixedPoint(clip=data.draw(st.sampled_from([0.5, 4.0])), bits=data.draw(st.integers(4, 24)))
    params = Params(
        clients, length=300, protocol="oneshot", encoding=encoding, max_weight=most, metrics=("loss",),
        segments={"metrics": FixedPoint(clip=8.0, bits=20)},
    )  # fmt: skip
    f = Committee(clients, params=params)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    updates = {name: rng.uniform(-5, 5, 300) for name in f.ids}
    weights = {name: int(rng.integers(1, most + 1)) for name in f.ids}
    losses = {name: float(rng.uniform(-8, 8)) for name in f.ids}
    f.server.open_round(1)
    while f.server.phase != "idle":
        for name, frames in f.requests().items():
            for frame in frames:
                f.clients[name].receive(frame)
            if f.clients[name].awaiting:
                f.clients[name].submit(updates[name], weight=weights[name], metrics={"loss": losses[name]})
            f.bring([(name, frame) for frame in f.clients[name].outbox()])
        f.server.close_phase()
    result, total = f.server.result(1), sum(weights.values())
    clipped = {name: np.clip(updates[name], -encoding.clip, encoding.clip) for name in f.ids}
    mean = sum(weights[name] * clipped[name] for name in f.ids) / total
    assert np.abs(result.mean - mean).max() <= encoding.error_bound() + 1e-9
    assert result.clipped == sum(int((np.abs(updates[name]) > encoding.clip).sum()) for name in f.ids)
    assert result.weight == total
    loss = sum(weights[name] * losses[name] for name in f.ids) / total
    assert abs(result.metrics["loss"] - loss) <= FixedPoint(clip=8.0, bits=20).error_bound() + 1e-9
