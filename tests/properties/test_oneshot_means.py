"""Weighted means of oneshot, metrics and counts of clipped values: within the errors that the encodings state."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import FixedPoint, Params
from support.committee import Committee


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
