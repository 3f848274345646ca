"""The error bounds as bounds, and exactness where it is promised, over generated updates."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secagg.encoding import FixedPoint, Integer, Layout, SegmentPlan

CLIPS = st.one_of(st.sampled_from([1e-100, 1e-3, 1.0, 3.0, 1e100]), st.floats(1e-30, 1e30))
ENCODINGS = st.builds(
    FixedPoint, clip=CLIPS, bits=st.integers(1, 32), rounding=st.sampled_from(["stochastic", "nearest"])
)
DTYPES = [
    np.float16,
    np.float32,
    np.float64,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
]


def encode_and_sum(plan, rows, weights):
    sums = [np.zeros(s.count, np.uint64) for s in plan.segments]
    for i, (row, weight) in enumerate(zip(rows, weights, strict=True)):
        encoded = plan.encode(row, weight, None, bytes([i]) * 16)
        for at, segment in enumerate(plan.segments):
            sums[at] += encoded.vectors[at]
            assert segment.w == 64 or int(sums[at].max()) < 1 << segment.w
    return plan.decode(sums)


@st.composite
def weighted_reals(draw):
    encoding = draw(ENCODINGS)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n, length = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    max_weight = draw(st.sampled_from([1, 7, 1000, 1 << 20, 1 << 29]))
    weights = [draw(st.integers(0, max_weight)) for _ in range(n)]
    weights[0] = max(weights[0], 1)
    limit = float(min(encoding.clip * 1.25, float(np.finfo(dtype).max)))
    limit = float(dtype(limit)) if dtype(limit) <= limit else float(np.nextafter(dtype(limit), dtype(0)))
    bits = 32 if dtype is np.float32 else 64
    values = st.one_of(
        st.floats(-limit, limit, width=bits),
        st.sampled_from([0.0, -0.0, limit, -limit]),
        st.integers(0, encoding.levels).map(
            lambda q: float(dtype(max(-limit, min(limit, (q + 0.5) * encoding.step - encoding.clip))))
        ),
    )
    rows = [np.array([draw(values) for _ in range(length)], dtype) for _ in range(n)]
    return encoding, rows, weights, max_weight


@settings(max_examples=400, deadline=None)
@given(weighted_reals())
def test_the_weighted_mean_is_within_the_stated_bound(case):
    encoding, rows, weights, max_weight = case
    plan = SegmentPlan(Layout.flat(len(rows[0])), encoding, max_weight=max_weight, max_participants=len(rows))
    decoded = encode_and_sum(plan, rows, weights)
    clip, total = Fraction(encoding.clip), sum(weights)
    share = Fraction(1 if encoding.rounding == "stochastic" else Fraction(1, 2))
    bound = share * 2 * clip / encoding.levels + Fraction(1, 1 << 48) * clip
    for i, got in enumerate(decoded.mean):
        clipped = [max(-clip, min(clip, Fraction(float(row[i])))) for row in rows]
        true = sum((w * v for w, v in zip(weights, clipped, strict=True)), Fraction(0)) / total
        assert abs(Fraction(float(got)) - true) <= bound
    assert math.isclose(float(bound), encoding.error_bound(len(rows)), rel_tol=1e-12)
    counted = sum(abs(Fraction(float(v))) > clip for row, w in zip(rows, weights, strict=True) if w for v in row)
    assert (decoded.weight, decoded.lanes, decoded.clipped, decoded.out_of_range) == (total, len(rows), counted, 0)


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
    .filter(lambda r: r[0] != r[1])
    .map(sorted),
    st.integers(1, 5),
    st.sampled_from([1, 2, 3, 1000, 1 << 20]),
    st.data(),
)
def test_integers_decode_exactly(ends, n, max_weight, data):
    # scaled down until sums fit, so that the largest ranges that are allowed come up often
    low, high = ends
    while (
        max(abs(low), abs(high)) * n * max_weight >= 2**63
        or (high - low).bit_length() + (n * max_weight - 1).bit_length() > 64
    ):
        low, high = low // 2, high // 2
    encoding = Integer(low, high if high > low else low + 1)
    rows = [
        np.array([data.draw(st.integers(encoding.low, encoding.high)) for _ in range(4)], np.int64) for _ in range(n)
    ]
    weights = [data.draw(st.integers(1, max_weight)) for _ in range(n)]
    decoded = encode_and_sum(
        SegmentPlan(Layout.flat(4), encoding, max_weight=max_weight, max_participants=n), rows, weights
    )
    exact = [sum(w * int(row[i]) for w, row in zip(weights, rows, strict=True)) for i in range(4)]
    assert decoded.sum.tolist() == exact
    for got, true in zip(decoded.mean.tolist(), exact, strict=True):
        assert abs(Fraction(got) - Fraction(true, sum(weights))) <= encoding.error_bound()
    nest = SegmentPlan(Layout.of(rows[0]), encoding, max_weight=max_weight, max_participants=n)
    assert encode_and_sum(nest, rows, weights).mean.tolist() == [round(Fraction(true, sum(weights))) for true in exact]


def leaves():
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    return st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes, elements=st.integers(0, 100)))


NESTS = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=3),
    ),
    max_leaves=8,
)


def same(one, two):
    if isinstance(one, dict):
        return type(two) is dict and list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return (
        isinstance(two, np.ndarray) and one.dtype == two.dtype and one.shape == two.shape and np.array_equal(one, two)
    )


@settings(max_examples=200, deadline=None)
@given(NESTS.map(lambda nest: {"nest": nest, "one": np.ones(1)}))
def test_every_nest_comes_back_as_it_was(update):
    layout = Layout.of(update)
    assert same(update, layout.unflatten(layout.flatten(update)))
    assert layout == Layout.of(layout.unflatten(layout.flatten(update)))
    plan = SegmentPlan(layout, Integer(0, 100), max_participants=3)
    decoded = encode_and_sum(plan, [update] * 3, [1, 1, 1])
    assert same(update, decoded.mean)
    np.testing.assert_array_equal(
        decoded.integer_sum, 3 * np.concatenate([flat.astype(np.uint64) for flat in layout.flatten(update)])
    )


@settings(max_examples=100, deadline=None)
@given(ENCODINGS, st.integers(1, 1 << 64))
def test_a_width_is_refused_or_holds_the_largest_sum(encoding, total):
    if encoding.bits + (total - 1).bit_length() <= 64:
        assert total * encoding.levels < 1 << encoding.width(total)
