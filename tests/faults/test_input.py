"""Faults 37 to 48: what callers hand in."""

import numpy as np
import pytest

from secagg import Integer, Layout, simulate
from secagg.errors import AbortError, InputError, ParameterError
from support import inputs
from support.federation import Federation
from support.inputs import params


def awaiting_client(**changes):
    f = Federation(3, params=params(**changes))
    f.server.open_round(1)
    f.until("masked")
    f.clients["c0"].receive(f.requests()["c0"][0])
    return f.clients["c0"]


@pytest.mark.parametrize("bad", inputs.BAD_NUMBERS)
def test_fault_37_nan_and_inf_are_refused_and_state_is_unchanged(bad):
    inputs.check_number(awaiting_client(), bad)


def test_fault_38_values_above_the_clip_are_clipped_and_counted_or_refused():
    inputs.check_clip()


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
    inputs.check_empty(awaiting_client())
    for empty in ({}, np.zeros(0, np.float32)):
        with pytest.raises((ParameterError, InputError)):
            Layout.of(empty)


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


@pytest.mark.parametrize("bad", inputs.BAD_SHAPES)
def test_fault_43_shape_and_dtype_mismatches_are_refused(bad):
    inputs.check_shape(awaiting_client(), bad)


def test_fault_44_non_contiguous_and_big_endian_arrays_are_right():
    inputs.check_arrays()


def test_fault_45_weight_zero_contributes_nothing_and_total_zero_is_an_error():
    inputs.check_weight_zero()
    with pytest.raises(AbortError, match="weights sum to 0"):
        simulate(inputs.SIGNS, params(max_weight=8), weights=dict.fromkeys(inputs.SIGNS, 0))


@pytest.mark.parametrize("weight", inputs.BAD_WEIGHTS)
def test_fault_46_bad_weights_are_refused(weight):
    inputs.check_weight(awaiting_client(max_weight=8), weight)


def test_fault_47_one_client_never_and_two_only_when_asked_for():
    inputs.check_two_clients()


@pytest.mark.parametrize("threshold", [0, -1, 4, 2.0, True])
def test_fault_48_thresholds_out_of_range_are_refused(threshold):
    with pytest.raises(ParameterError):
        params(threshold=threshold)
