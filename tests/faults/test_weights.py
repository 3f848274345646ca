"""Hidden weights and metrics over a session: exact sums, stated errors, and what a weight of nothing does (faults 40, 45, 46)."""

import numpy as np
import pytest

from secagg import FixedPoint, Integer, Layout, Params
from secagg.errors import AbortError, InputError, ParameterError
from secagg.wire import Chunk, decode_frame
from support.federation import Federation

MODEL, LOSS = FixedPoint(clip=2.0, bits=20), FixedPoint(clip=8.0, bits=24, rounding="nearest")


def build(tmp_path, max_weight, **changes):
    params = Params(
        clients=7, layout=Layout.of({"w": np.zeros((3, 4), np.float32), "seen": np.zeros(5, np.int64)}),
        encoding=MODEL, metrics=("loss", "accuracy"), max_weight=max_weight, rounds_per_setup=4,
        segments={"metrics": LOSS, "seen": Integer(0, 100)}, corrupt=1, threshold=5, min_clients=4, max_participants=6,
        **changes,
    )  # fmt: skip
    f = Federation(7, params=params, ledgers=tmp_path)
    f.restarts = True
    rng = np.random.default_rng(3)
    f.updates = {
        name: {"w": rng.uniform(-2.2, 2.2, (3, 4)).astype(np.float32), "seen": rng.integers(0, 101, 5)}
        for name in f.ids
    }
    f.metrics = {name: {"loss": rng.uniform(0, 8), "accuracy": rng.uniform()} for name in f.ids}
    return f


def run(f, round_id, weights, silent=()):
    f.server.open_round(round_id, participants=list(weights))
    while f.server.phase != "idle":
        for name, frames in f.requests().items():
            for frame in frames:
                f.clients[name].receive(frame)
            if f.clients[name].awaiting and name not in silent:
                f.clients[name].submit(f.updates[name], weight=weights[name], metrics=f.metrics[name])
            for frame in f.clients[name].outbox():
                f.up.append((name, frame))
                f.server.receive(frame, sender=name)
            f.restart(name)
        f.server.close_phase()
    return f.server.result(round_id)


@pytest.mark.parametrize("max_weight", [1, 1000, 1 << 33])
def test_weighted_means_are_within_the_stated_error(tmp_path, max_weight):
    f = build(tmp_path, max_weight)
    rng = np.random.default_rng(max_weight % 1000)
    for round_id in (1, 2, 3):
        sample = rng.choice(f.ids, 6, replace=False).tolist()
        weights = {name: int(rng.integers(1, max_weight + 1)) for name in sample}
        weights[sample[0]] = max_weight
        out = run(f, round_id, weights, silent=set(sample[-1:]))
        here = sample[:-1]
        assert set(out.contributors) == set(here)
        total = sum(weights[name] for name in here)
        assert out.weight == total
        exact = sum(weights[n] * np.clip(f.updates[n]["w"].astype(float), -2, 2) for n in here) / total
        error = np.abs(out.mean["w"] - exact).max()
        assert error <= MODEL.error_bound() + 2.0**-24 * 2  # and one rounding to float32
        seen = sum(weights[n] * f.updates[n]["seen"] for n in here)
        assert np.array_equal(out.sum["seen"], seen)
        for metric in ("loss", "accuracy"):
            plain = sum(weights[n] * f.metrics[n][metric] for n in here) / total
            assert abs(out.metrics[metric] - plain) <= LOSS.error_bound()
        assert out.clipped == sum(int((np.abs(f.updates[n]["w"]) > 2).sum()) for n in here)


def test_fault_45_weight_zero_mid_batch_and_a_round_of_nothing(tmp_path):
    f = build(tmp_path, 10)
    sample = f.ids[:6]
    out = run(f, 1, dict.fromkeys(sample, 0) | {"c0": 4, "c1": 2})
    assert out.weight == 6
    exact = (4 * np.clip(f.updates["c0"]["w"], -2, 2) + 2 * np.clip(f.updates["c1"]["w"], -2, 2)) / 6
    assert np.abs(out.mean["w"] - exact).max() <= MODEL.error_bound() + 1e-6
    with pytest.raises(AbortError, match="weights sum to 0"):
        run(f, 2, dict.fromkeys(sample, 0))
    with pytest.raises(AbortError, match="weights sum to 0"):
        f.server.result(2)
    assert run(f, 3, dict.fromkeys(sample, 1)).weight == 6


def test_fault_40_weights_that_could_wrap_are_refused_at_params(tmp_path):
    with pytest.raises(ParameterError, match="64"):
        build(tmp_path, 1 << 44)  # 20 bits + 44 + 3
    with pytest.raises(ParameterError):
        build(tmp_path, 1 << 62)


def test_fault_46_a_weight_over_the_limit_is_refused_without_being_told(tmp_path):
    f = build(tmp_path, 10)
    f.server.open_round(1, participants=f.ids[:6])
    while f.server.phase != "masked":
        f.phase()
    client, frame = f.clients["c0"], f.requests()["c0"][0]
    client.receive(frame)
    for weight in (11, -1, 98765432123):
        with pytest.raises(InputError) as error:
            client.submit(f.updates["c0"], weight=weight, metrics=f.metrics["c0"])
        assert str(abs(weight)) not in str(error.value) or weight in (-1, 11)
        assert client.awaiting
    client.submit(f.updates["c0"], weight=10, metrics=f.metrics["c0"])


def test_weights_and_metrics_are_in_no_frame_in_clear(tmp_path):
    f = build(tmp_path, 1 << 33)
    marker = 0x1234567
    out = run(f, 1, dict.fromkeys(f.ids[:6], marker))
    assert out.weight == 6 * marker
    needles = [marker.to_bytes(8, "little"), marker.to_bytes(8, "big"), marker.to_bytes(4, "big")]
    for _, frame in f.up:
        _, outer = decode_frame(frame, max_bytes=1 << 30)
        data = bytes(outer.payload) if isinstance(outer, Chunk) else frame
        assert not any(needle in data for needle in needles)
        assert b"loss" not in data and b"accuracy" not in data
