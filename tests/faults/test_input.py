"""Faults 37 to 48: what callers hand in."""

import numpy as np
import pytest

from secagg import FixedPoint, Integer, Layout, Params, simulate
from secagg.errors import AbortError, InputError, ParameterError
from support.federation import Federation

EXAMPLE = np.zeros(5, np.float32)


def updates(n=3, value=0.25, length=5):
    return {f"c{i}": np.full(length, value, np.float32) for i in range(n)}


def params(n=3, **changes):
    return Params(clients=n, **{"length": 5, "encoding": FixedPoint(clip=1.0, bits=16), **changes})


def awaiting_client():
    f = Federation(3, params=params())
    f.server.open_round(1)
    f.until("masked")
    f.clients["c0"].receive(f.requests()["c0"][0])
    return f.clients["c0"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fault_37_nan_and_inf_are_refused_and_state_is_unchanged(bad):
    client = awaiting_client()
    update = np.zeros(5, np.float32)
    update[3] = bad
    with pytest.raises(InputError):
        client.submit(update)
    assert client.awaiting is not None
    assert client.outbox() == []
    client.submit(np.zeros(5, np.float32))
    assert client.awaiting is None


def test_fault_38_values_above_the_clip_are_clipped_and_counted_or_refused():
    result = simulate(updates(value=3.0), params())
    assert result.clipped == 15
    np.testing.assert_allclose(result.mean, 1.0, atol=1e-4)
    with pytest.raises(InputError):
        simulate(updates(value=3.0), params(encoding=FixedPoint(clip=1.0, bits=16, overflow="refuse")))


def test_fault_39_denormals_and_negative_zero_are_deterministic():
    tiny = {f"c{i}": np.array([1e-45, -1e-45, -0.0, 0.0, 1e-40], np.float32) for i in range(3)}
    one, two = simulate(tiny, params(), seed=4), simulate(tiny, params(), seed=4)
    np.testing.assert_array_equal(one.integer_sum, two.integer_sum)


def test_fault_40_sums_over_the_modulus_are_refused_at_params():
    with pytest.raises(ParameterError):
        params(max_weight=1 << 61)
    with pytest.raises(ParameterError):
        params(encoding=Integer(0, (1 << 63) - 1), max_weight=4)


def test_fault_41_empty_updates_are_refused():
    with pytest.raises(ParameterError):
        params(length=0)
    with pytest.raises((ParameterError, InputError)):
        Layout.of({})
    with pytest.raises((ParameterError, InputError)):
        Layout.of(np.zeros(0, np.float32))
    with pytest.raises(InputError):
        awaiting_client().submit(np.zeros(0, np.float32))


def test_fault_42_long_vectors_travel_as_many_frames():
    f = Federation(3, params=params(length=5000, frame_bytes=64))
    rng = np.random.default_rng(1)
    f.updates = {name: rng.uniform(-1, 1, 5000).astype(np.float32) for name in f.ids}
    f.round()
    assert sum(frame[3] == 0 for _, frame in f.up) > 3 * 150
    mean = np.mean([f.updates[name] for name in f.ids], axis=0)
    assert np.abs(f.server.result(1).mean - mean).max() <= 2 / 65535 + 1e-9
    # more than 2**31 values: the geometry alone, nothing is allocated
    assert params(length=(1 << 33) + 5).segment_plan.segments[1].count == (1 << 33) + 5


@pytest.mark.parametrize(
    "bad", [np.zeros(4, np.float32), np.zeros((5, 1), np.float32), np.array(["x"] * 5), None, {"a": 1.0}]
)
def test_fault_43_shape_and_dtype_mismatches_are_refused(bad):
    client = awaiting_client()
    with pytest.raises(InputError):
        client.submit(bad)
    assert client.awaiting is not None


def test_fault_44_non_contiguous_and_big_endian_arrays_are_right():
    base = np.linspace(-0.5, 0.5, 10, dtype=np.float64)
    ways = [base[::2], base[::2].astype(">f8"), np.ascontiguousarray(base[::2])]
    sums = [
        simulate(
            dict.fromkeys(("c0", "c1", "c2"), way),
            params(encoding=FixedPoint(clip=1.0, bits=16, rounding="nearest")),
        )
        for way in ways
    ]
    for result in sums:
        np.testing.assert_array_equal(result.integer_sum, sums[0].integer_sum)


def test_fault_45_weight_zero_contributes_nothing_and_total_zero_is_an_error():
    given = {
        "c0": np.full(5, 0.5, np.float32),
        "c1": np.full(5, -0.5, np.float32),
        "c2": np.full(5, -1, np.float32),
    }
    result = simulate(given, params(max_weight=8), weights={"c0": 3, "c1": 1, "c2": 0})
    assert result.weight == 4
    np.testing.assert_allclose(result.mean, 0.25, atol=1e-4)
    with pytest.raises(AbortError, match="weights sum to 0"):
        simulate(given, params(max_weight=8), weights=dict.fromkeys(given, 0))


@pytest.mark.parametrize("weight", [-1, float("nan"), 0.5, True, 9, None])
def test_fault_46_bad_weights_are_refused(weight):
    f = Federation(3, params=params(max_weight=8))
    f.server.open_round(1)
    f.until("masked")
    client = f.clients["c0"]
    client.receive(f.requests()["c0"][0])
    with pytest.raises(InputError):
        client.submit(EXAMPLE, weight=weight)
    assert client.awaiting is not None


def test_fault_47_one_client_never_and_two_only_when_asked_for():
    with pytest.raises(ParameterError, match="at least 2"):
        params(1)
    with pytest.raises(ParameterError, match="min_honest"):
        params(2)
    result = simulate(updates(2), params(2, min_honest=1))
    np.testing.assert_allclose(result.mean, 0.25, atol=1e-4)


@pytest.mark.parametrize("threshold", [0, -1, 4, 2.0, True])
def test_fault_48_thresholds_out_of_range_are_refused(threshold):
    with pytest.raises(ParameterError):
        params(threshold=threshold)
