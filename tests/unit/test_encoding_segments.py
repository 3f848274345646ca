"""SegmentPlan: which value goes where, what is checked, and that sums decode to the mean."""

import msgspec
import numpy as np
import pytest

from secagg.encoding import FixedPoint, Integer, Layout, SegmentPlan
from secagg.errors import InputError, ParameterError

KEY = bytes(range(16))
FIXED = FixedPoint(clip=4.0, bits=16, rounding="nearest")
EXAMPLE = {"net": {"w": np.zeros((2, 2), np.float32)}, "hist": np.zeros(3, np.int64), "bias": np.zeros(2, np.float16)}


def flat_plan(length=4, encoding=FIXED, **changes):
    return SegmentPlan(Layout.flat(length), encoding, **{"max_weight": 8, "max_participants": 4, **changes})


def full_plan(**changes):
    settings = {
        "layout": Layout.of(EXAMPLE),
        "encoding": FIXED,
        "segments": {"metrics": FixedPoint(clip=10.0, bits=20), "hist": Integer(-5, 100)},
        "metrics": ("loss", "auc"),
        "max_weight": 50,
        "max_participants": 6,
    }
    return SegmentPlan(**{**settings, **changes})


def sums_of(encoded):
    return [sum(each.vectors[i].astype(np.uint64) for each in encoded) for i in range(len(encoded[0].vectors))]


def test_segments_are_head_model_named_keys_and_metrics_by_position():
    plan = full_plan()
    assert [(s.name, s.stream_id, s.w, s.count) for s in plan.segments] == [
        ("head", 0, 64, 3),
        ("model", 1, 16 + 9, 6),
        ("hist", 2, 7 + 9, 3),
        ("metrics", 3, 20 + 9, 2),
    ]
    assert plan.segments[0].encoding is None and plan.segments[1].encoding is FIXED
    coarse = FixedPoint(bits=4)
    other = full_plan(segments={"model": coarse, "bias": FIXED, "hist": Integer(0, 9)}, metrics=())
    assert [s.name for s in other.segments] == [
        "head",
        "model",
        "hist",
        "bias",
    ]  # layout order, not that of the mapping
    assert other.segments[1].encoding is coarse
    everything = full_plan(segments=dict.fromkeys(EXAMPLE, FIXED), metrics=())
    assert [s.name for s in everything.segments] == ["head", "net", "hist", "bias"]


def test_values_of_all_segments_go_there_and_back():
    plan = full_plan()
    rng = np.random.default_rng(5)
    updates, weights, metrics = [], [7, 50, 1], []
    for _ in weights:
        updates.append({
            "bias": rng.uniform(-3, 3, 2).astype(np.float16),
            "net": {"w": rng.uniform(-3, 3, (2, 2)).astype(np.float32)},
            "hist": rng.integers(-5, 101, 3),
        })  # fmt: skip
        metrics.append({"auc": rng.uniform(0, 1), "loss": rng.uniform(0, 9)})
    encoded = [plan.encode(u, w, m, KEY) for u, w, m in zip(updates, weights, metrics, strict=True)]
    decoded = plan.decode(sums_of(encoded))
    assert (decoded.weight, decoded.clipped, decoded.lanes, decoded.out_of_range) == (58, 0, 3, 0)
    assert list(decoded.mean) == ["net", "hist", "bias"]
    exact = sum(w * u["hist"] for w, u in zip(weights, updates, strict=True))
    np.testing.assert_array_equal(decoded.sum["hist"], exact)
    assert decoded.sum["hist"].dtype == np.int64 and decoded.mean["hist"].dtype == np.int64
    np.testing.assert_array_equal(decoded.mean["hist"], np.rint(exact / 58))
    mean_w = sum(w * u["net"]["w"].astype(float) for w, u in zip(weights, updates, strict=True)) / 58
    np.testing.assert_allclose(decoded.mean["net"]["w"], mean_w, rtol=2**-23, atol=FIXED.error_bound())
    assert decoded.mean["net"]["w"].dtype == np.float32 and decoded.sum["net"]["w"].dtype == np.float64
    mean_b = sum(w * u["bias"].astype(float) for w, u in zip(weights, updates, strict=True)) / 58
    assert decoded.mean["bias"].dtype == np.float16
    np.testing.assert_allclose(decoded.mean["bias"], mean_b, rtol=2**-10, atol=FIXED.error_bound())
    assert list(decoded.metrics) == ["loss", "auc"]
    for name in decoded.metrics:
        true = sum(w * m[name] for w, m in zip(weights, metrics, strict=True)) / 58
        assert type(decoded.metrics[name]) is float
        assert abs(decoded.metrics[name] - true) <= FixedPoint(clip=10.0, bits=20).error_bound()


def test_integer_sum_is_in_layout_order_whatever_the_segments():
    plan = full_plan(
        segments={"hist": Integer(0, 9), "net": FixedPoint(clip=1.0, bits=1, rounding="nearest")}, metrics=()
    )
    update = {"net": {"w": np.ones((2, 2), np.float32)}, "hist": np.array([1, 2, 3]), "bias": np.full(2, 4, np.float16)}
    decoded = plan.decode(plan.encode(update, 2, None, KEY).vectors)
    assert decoded.integer_sum.dtype == np.uint64
    assert decoded.integer_sum.tolist() == [2] * 4 + [2, 4, 6] + [2 * 65535] * 2


def test_integer_metrics_are_exact():
    plan = flat_plan(metrics=("hits",), segments={"metrics": Integer(0, 1000)})
    encoded = [plan.encode(np.zeros(4), w, {"hits": h}, KEY) for w, h in ((1, 3), (3, np.float64(7)))]
    assert plan.decode(sums_of(encoded)).metrics == {"hits": 6.0}
    with pytest.raises(InputError, match="metric 'hits'"):
        plan.encode(np.zeros(4), 1, {"hits": 0.5}, KEY)


def test_integer_leaves_round_their_mean_exactly_and_halves_to_even():
    high = 1 << 60
    plan = SegmentPlan(Layout.of(np.zeros(5, np.int64)), Integer(-high, high), max_participants=4)
    rows = [[high - 1, 1, 2, -1, 3], [high, 2, 3, -2, 4]]
    decoded = plan.decode(sums_of([plan.encode(np.array(row), 1, None, KEY) for row in rows]))
    assert decoded.mean.tolist() == [high, 2, 2, -2, 4]
    assert decoded.sum.tolist() == [2 * high - 1, 3, 5, -3, 7]


def test_the_rounding_stream_continues_over_the_leaves_of_a_segment():
    encoding = FixedPoint(clip=1.0, bits=8)
    x = np.random.default_rng(0).uniform(-1, 1, 10)
    nest = SegmentPlan(Layout.of([x[:3], x[3:]]), encoding, max_participants=2)
    flat = SegmentPlan(Layout.flat(10), encoding, max_participants=2)
    one, two = nest.encode([x[:3], x[3:]], 1, None, KEY), flat.encode(x, 1, None, KEY)
    np.testing.assert_array_equal(one.vectors[1], two.vectors[1])


def test_fault_45_weight_zero_is_checked_and_contributes_zeros():
    plan = full_plan()
    update = {
        "net": {"w": np.full((2, 2), 9, np.float32)},
        "hist": np.array([1, 2, 3]),
        "bias": np.zeros(2, np.float16),
    }
    encoded = plan.encode(update, 0, {"loss": 1.0, "auc": 0.5}, KEY)
    assert encoded.vectors[0].tolist() == [0, 0, 1] and encoded.clipped == 0
    assert not any(vector.any() for vector in encoded.vectors[1:])
    with pytest.raises(InputError):
        plan.encode({**update, "hist": np.array([1, 2, 300])}, 0, {"loss": 1.0, "auc": 0.5}, KEY)
    decoded = plan.decode(encoded.vectors)
    assert (decoded.weight, decoded.lanes, decoded.mean, decoded.sum, decoded.metrics) == (0, 1, None, None, {})


@pytest.mark.parametrize("weight", [-1, 9, 0.5, 1.0, float("nan"), True, np.True_, np.float64(2), None, "1", 1 << 70])
def test_fault_46_bad_weights_are_refused_without_being_quoted(weight):
    with pytest.raises(InputError, match="weight") as caught:
        flat_plan().encode(np.zeros(4), weight, None, KEY)
    assert str(1 << 70) not in str(caught.value)


@pytest.mark.parametrize("weight", [0, 8, np.int8(3), np.uint64(8)])
def test_whole_weights_are_accepted(weight):
    assert flat_plan().encode(np.zeros(4), weight, None, KEY).vectors[0][0] == weight


@pytest.mark.parametrize(
    "metrics", [None, {}, {"loss": 1.0}, {"loss": 1.0, "auc": 1.0, "x": 1.0}, [("loss", 1.0), ("auc", 1.0)], "loss"]
)
def test_metrics_must_be_exactly_the_plan_s(metrics):
    update = {"net": {"w": np.zeros((2, 2), np.float32)}, "hist": np.zeros(3, int), "bias": np.zeros(2, np.float16)}
    with pytest.raises(InputError, match="loss, auc"):
        full_plan().encode(update, 1, metrics, KEY)
    with pytest.raises(InputError, match="none"):
        flat_plan().encode(np.zeros(4), 1, {"loss": 1.0}, KEY)
    flat_plan().encode(np.zeros(4), 1, {}, KEY)


@pytest.mark.parametrize("value", [np.nan, np.inf, None, "1", True, [1.0], np.zeros(2), 1j])
def test_bad_metric_values_are_refused_by_name(value):
    update = {"net": {"w": np.zeros((2, 2), np.float32)}, "hist": np.zeros(3, int), "bias": np.zeros(2, np.float16)}
    with pytest.raises(InputError, match="metric 'auc'"):
        full_plan().encode(update, 1, {"loss": 1.0, "auc": value}, KEY)


def test_errors_name_the_leaf_and_no_value():
    update = {
        "net": {"w": np.full((2, 2), 0.987654, np.float32)},
        "hist": np.zeros(3, int),
        "bias": np.zeros(2, np.float16),
    }
    update["net"]["w"][1, 1] = np.nan
    with pytest.raises(InputError) as caught:
        full_plan().encode(update, 1, {"loss": 1.0, "auc": 1.0}, KEY)
    assert "net/w: 1 of 4 values are NaN" in str(caught.value)
    update["net"]["w"][1, 1] = 0.987654
    update["hist"][2] = 98765
    with pytest.raises(InputError) as caught:
        full_plan().encode(update, 1, {"loss": 1.0, "auc": 1.0}, KEY)
    assert "hist: 1 of 3 values" in str(caught.value)
    assert "9876" not in str(caught.value)


def test_reprs_show_no_values():
    plan = flat_plan(2)
    encoded = plan.encode(np.array([1.25, -3.5]), 5, None, KEY)
    assert repr(encoded) == "Encoded()"
    assert "integer_sum" not in repr(plan.decode(encoded.vectors)) and "mean" not in repr(plan.decode(encoded.vectors))


def test_clipped_values_are_counted_over_leaves_and_metrics():
    plan = full_plan()
    update = {
        "net": {"w": np.full((2, 2), 9, np.float32)},
        "hist": np.zeros(3, int),
        "bias": np.array([1, -9], np.float16),
    }
    encoded = plan.encode(update, 3, {"loss": 11.0, "auc": 0.5}, KEY)
    assert encoded.clipped == 6 and encoded.vectors[0].tolist() == [3, 6, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"max_weight": 1 << 60},
        {"max_weight": 0},
        {"max_weight": True},
        {"max_participants": 0},
        {"max_participants": 2.0},
        {"layout": {"a": 1}},
        {"encoding": None},
        {"encoding": Integer(0, 1 << 62)},
        {"segments": {"metrics": FIXED, "hist": "integer"}},
        {"segments": {"metrics": FIXED, "his": FIXED}},
        {"segments": {"metrics": FIXED, "net/w": FIXED}},
        {"segments": {"metrics": FIXED, "head": FIXED}},
        {"segments": {"hist": FIXED}},
        {"segments": None},
        {"metrics": ()},
        {"metrics": "loss"},
        {"metrics": ("loss", "loss")},
        {"metrics": ("", "loss")},
        {"metrics": (1, 2)},
        {"segments": {"metrics": FIXED, "model": FIXED, "net": FIXED, "hist": FIXED, "bias": FIXED}},
        {"layout": Layout.of({"metrics": 1.0, "hist": 1.0})},
        {"layout": Layout.of({"hist": np.zeros(0), "x": 1.0})},
    ],
)
def test_plans_that_could_wrap_or_name_nothing_are_refused(changes):
    with pytest.raises(ParameterError):
        full_plan(**changes)


def test_a_key_called_metrics_is_a_plain_segment_without_metrics():
    plan = SegmentPlan(Layout.of({"metrics": 1.0, "x": 2.0}), FIXED, {"metrics": FIXED}, max_participants=2)
    assert [s.name for s in plan.segments] == ["head", "model", "metrics"]
    decoded = plan.decode(plan.encode({"x": 2.0, "metrics": 1.0}, 1, None, KEY).vectors)
    assert decoded.mean["metrics"] == pytest.approx(1.0, abs=1e-3) and decoded.metrics == {}


@pytest.mark.parametrize("segments", [None, {"x": FIXED, "y": FIXED}])
def test_leaves_without_values_are_carried_along(segments):
    example = {"x": np.ones(2), "y": [np.zeros((0, 3), np.float32), 2.0], "z": np.zeros(0, np.int8)}
    plan = SegmentPlan(Layout.of(example), FIXED, segments, max_participants=2)
    mean = plan.decode(plan.encode(example, 1, None, KEY).vectors).mean
    assert mean["y"][0].shape == (0, 3) and mean["y"][0].dtype == np.float32 and mean["z"].dtype == np.int8
    np.testing.assert_allclose(mean["x"], 1, atol=FIXED.error_bound())


def test_plans_are_values():
    one, two = full_plan(), full_plan(segments=dict(reversed(full_plan().overrides)))
    assert one == two and hash(one) == hash(two)
    packed = {msgspec.msgpack.encode(plan.canonical()) for plan in (one, two, full_plan(max_weight=49), flat_plan())}
    assert len(packed) == 3
    with pytest.raises(AttributeError):
        one.max_weight = 3


def test_decode_refuses_other_shapes_and_dtypes():
    plan = flat_plan()
    good = plan.encode(np.zeros(4), 1, None, KEY).vectors
    for bad in (
        [],
        good[:1],
        [*good, good[1]],
        [good[0], good[1][:3]],
        [good[0], good[1].astype(np.int64)],
        [good[0], [0] * 4],
    ):
        with pytest.raises(InputError):
            plan.decode(bad)


def test_decode_reports_what_no_honest_client_can_cause_and_does_not_raise():
    plan = flat_plan()
    vectors = plan.encode(np.zeros(4), 2, None, KEY).vectors
    vectors[1][:2] = 2 * 65535 + 1, 2 * 65535
    assert plan.decode(vectors).out_of_range == 1
    for weight in (0, 33, (1 << 64) - 1):
        vectors[0][0] = weight
        decoded = plan.decode(vectors)
        assert decoded.weight == weight and decoded.mean is None and decoded.metrics == {}


def test_encode_leaves_the_update_alone_and_returns_fresh_lanes():
    plan, x = flat_plan(5), np.linspace(-1, 1, 5).astype(np.float32)
    before = x.copy()
    x.flags.writeable = False
    one, two = plan.encode(x, 1, None, KEY), plan.encode(x, 1, None, KEY)
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(one.vectors[1], two.vectors[1])
    one.vectors[1][:] = 0
    assert two.vectors[1].any()


def test_fault_42_more_than_2_31_values_are_planned_without_allocating():
    assert flat_plan((1 << 33) + 5).segments[1].count == (1 << 33) + 5
