"""Faults 37 to 48 of the oneshot protocol: what callers hand in."""

import numpy as np
import pytest

from secagg import FixedPoint, Integer, Layout, Params, simulate
from secagg.errors import AbortError, InputError, ParameterError
from support import inputs
from support.committee import Committee, make_params

OWN = {"protocol": "oneshot"}


def awaiting_client(**changes):
    f = Committee(3, params=inputs.params(**OWN, **changes))
    f.until("masked")
    f.clients["c0"].receive(f.requests()["c0"][0])
    return f.clients["c0"]


@pytest.mark.parametrize("bad", inputs.BAD_NUMBERS)
def test_fault_37_nan_and_inf_are_refused_and_the_client_goes_on(bad):
    inputs.check_number(awaiting_client(), bad)


def test_fault_38_values_above_the_clip_are_clipped_and_counted_or_refused():
    inputs.check_clip(**OWN)


def test_fault_39_the_same_seed_rounds_alike_as_in_pairwise():
    tiny = {f"c{i}": np.array([1e-45, -1e-45, -0.0, 0.0, 0.1], np.float32) for i in range(3)}
    here = simulate(tiny, inputs.params(**OWN), seed=4)
    there = simulate(tiny, inputs.params(), seed=4)
    np.testing.assert_array_equal(here.integer_sum, there.integer_sum)
    assert here.receipt.result_hash == there.receipt.result_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"max_weight": 1 << 61},
        {"encoding": Integer(0, (1 << 61) - 1), "min_clients": 3},  # 63 bits with three clients
        {"encoding": FixedPoint(bits=32), "max_weight": 1 << 30},
        {"encoding": FixedPoint(bits=30), "ring": (2048, 52, 1), "max_weight": 1 << 10},  # more than this q holds
        {"ring": (2048, 54, 1)},
        {"ring": (4096, 36, 3)},
    ],
)
def test_fault_40_sums_or_errors_beyond_the_modulus_are_refused_at_params(changes):
    with pytest.raises(ParameterError):
        inputs.params(**OWN, **changes)


@pytest.mark.parametrize("encoding", [Integer(0, (1 << 60) - 1), Integer(-(1 << 59), 1 << 59)])
def test_fault_40_the_largest_sums_that_fit_are_exact(encoding):
    f = Committee(3, params=make_params(3, encoding=encoding))
    for round_id, value in enumerate((encoding.high, encoding.low), 1):
        f.updates = {name: np.full(f.params.length, value) for name in f.ids}
        f.exact(f.round(round_id), f.ids)


def test_fault_41_empty_updates_are_refused():
    inputs.check_empty(awaiting_client(), **OWN)


def test_fault_42_long_vectors_travel_as_many_frames():
    f = Committee(3, params=inputs.params(length=60_000, frame_bytes=1 << 16, **OWN))
    rng = np.random.default_rng(1)
    f.updates = {name: rng.uniform(-1, 1, 60_000).astype(np.float32) for name in f.ids}
    result = f.round()
    assert sum(frame[3] == 0 for _, frame in f.up) >= 3 * 4
    mean = np.mean([f.updates[name] for name in f.ids], axis=0)
    assert np.abs(result.mean - mean).max() <= 2 / 65535 + 1e-9
    # more than 2**31 values: the geometry alone, nothing is allocated
    big = inputs.params(length=(1 << 33) + 5, **OWN).mask_plan
    last = big.segments[1]
    assert last.count == (1 << 33) + 5
    assert last.number(last.chunks - 1) + last.step > last.first + last.count // last.unit > 1 << 16
    assert last.span(last.chunks - 1)[1] == last.count


@pytest.mark.parametrize("bad", inputs.BAD_SHAPES)
def test_fault_43_shape_and_dtype_mismatches_are_refused(bad):
    inputs.check_shape(awaiting_client(), bad)


def test_fault_44_non_contiguous_and_big_endian_arrays_are_right():
    inputs.check_arrays(**OWN)


def test_fault_45_weight_zero_contributes_nothing_and_total_zero_is_an_error():
    inputs.check_weight_zero(**OWN)
    with pytest.raises(AbortError, match="weights sum to 0"):
        simulate(inputs.SIGNS, inputs.params(max_weight=8, **OWN), weights=dict.fromkeys(inputs.SIGNS, 0))


@pytest.mark.parametrize("weight", inputs.BAD_WEIGHTS)
def test_fault_46_bad_weights_are_refused(weight):
    inputs.check_weight(awaiting_client(max_weight=8), weight)


def test_fault_47_one_client_never_and_two_only_when_asked_for():
    inputs.check_two_clients(**OWN)


@pytest.mark.parametrize("threshold", [0, -1, 1, 4, 2.0, True])
def test_fault_48_thresholds_out_of_range_are_refused(threshold):
    with pytest.raises(ParameterError):
        inputs.params(3, threshold=threshold, **OWN)


def test_metrics_layouts_and_several_segments_come_back_in_their_structure():
    rng = np.random.default_rng(0)
    given = {
        f"c{i}": {"w": rng.uniform(-1, 1, (90, 70)).astype(np.float32), "n": np.arange(5) + i, "s": np.float64(i)}
        for i in range(4)
    }
    made = Params(
        4, layout=Layout.of(given["c0"]), encoding=FixedPoint(clip=1.0, bits=16), max_weight=10, metrics=("loss",),
        frame_bytes=1 << 16, protocol="oneshot",
        segments={"metrics": FixedPoint(clip=4.0, bits=20), "n": Integer(0, 9), "s": FixedPoint(clip=8.0, bits=30)},
    )  # fmt: skip
    assert len({cut.ring.width for cut in made.mask_plan.segments}) > 2
    weights = {f"c{i}": i + 1 for i in range(4)}
    result = simulate(given, made, weights=weights, metrics={name: {"loss": 0.5} for name in given})
    expected = sum(weights[c] * given[c]["w"].astype(float) for c in given) / 10
    np.testing.assert_allclose(result.mean["w"], expected, atol=1e-4)
    np.testing.assert_array_equal(result.sum["n"], sum(weights[c] * given[c]["n"] for c in given))
    assert result.metrics["loss"] == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(InputError):
        simulate(given, made, weights=weights, metrics={name: {"loss": np.nan} for name in given})
