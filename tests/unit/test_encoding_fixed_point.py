"""FixedPoint: options, rounding, clipping, refusals, and the formula against a slow one."""

import math
import pickle

import numpy as np
import pytest

from secagg import _kernels
from secagg.encoding import FixedPoint
from secagg.errors import InputError, ParameterError

KEY = bytes(range(16))
SECRET = 0.123456789


def slow_encode(values, encoding, weight, key, stream_id, start):
    """The formula of docs/encoding.md, one value at a time."""
    codes, scale = [], encoding.levels / (2.0 * encoding.clip)
    for i, value in enumerate(values):
        s = (min(max(float(value), -encoding.clip), encoding.clip) + encoding.clip) * scale
        s = min(s, float(encoding.levels))
        if encoding.rounding == "nearest":
            q = min(math.floor(s + 0.5), encoding.levels)
        else:
            at = 4 * (start + i)
            word = int.from_bytes(_kernels.keystream(key, stream_id, 0, at + 4)[at:], "little")
            q = math.floor(s) + (word < int((s - math.floor(s)) * 2**32))
        codes.append(q * weight)
    return codes


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.parametrize("bits", [1, 2, 8, 16, 31, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoding_is_the_documented_formula(rounding, bits, dtype):
    encoding = FixedPoint(clip=0.75, bits=bits, rounding=rounding)
    x = np.random.default_rng(bits).uniform(-1, 1, 37).astype(dtype)
    x[:6] = [-0.75, 0.75, 0.0, -0.0, 1e-40, -2]
    lanes, clipped = encoding.encode(x, weight=3, w=encoding.width(3), key=KEY, stream_id=5, start=7)
    assert lanes.tolist() == slow_encode(x, encoding, 3, KEY, 5, 7)
    assert clipped == int(np.count_nonzero(np.abs(x.astype(np.float64)) > 0.75))


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 0}, {"clip": -1.0}, {"clip": math.nan}, {"clip": math.inf}, {"clip": 1e-320}, {"clip": 1e200}, {"clip": True},
        {"clip": "1"}, {"clip": None}, {"bits": 0}, {"bits": 33}, {"bits": 8.0}, {"bits": True}, {"bits": None},
        {"rounding": "up"}, {"rounding": None}, {"overflow": "wrap"},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ParameterError):
        FixedPoint(**options)


def test_equal_encodings_are_equal_hash_equal_and_have_one_canonical_form():
    one, two = FixedPoint(clip=1, bits=np.int64(16)), FixedPoint(clip=1.0, bits=16)
    assert one == two and hash(one) == hash(two) and one.canonical() == two.canonical()
    assert [type(item) for item in one.canonical()] == [str, float, int, str, str]
    others = [FixedPoint(clip=2.0), FixedPoint(bits=15), FixedPoint(rounding="nearest"), FixedPoint(overflow="refuse")]
    assert len({each.canonical() for each in [one, *others]}) == 5
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        one.clip = 2.0


def test_the_width_holds_every_sum_and_no_more_than_64_bits():
    for bits, total in [(1, 1), (16, 1), (16, 2), (16, 3), (32, 1 << 32), (8, 255), (8, 257)]:
        encoding = FixedPoint(bits=bits)
        assert total * encoding.levels < 1 << encoding.width(total)
    assert FixedPoint(bits=16).width(100) == 23
    assert FixedPoint(bits=32).width(1 << 32) == 64
    with pytest.raises(ParameterError, match="need 65 bits"):
        FixedPoint(bits=32).width((1 << 32) + 1)
    for total in (0, -1, 1.0, True):
        with pytest.raises(ParameterError):
            FixedPoint().width(total)


def test_the_ends_and_the_middle_are_exact():
    encoding = FixedPoint(clip=2.0, bits=8)
    lanes, clipped = encoding.encode(np.array([-2.0, 2.0]), weight=1, w=8, key=KEY, stream_id=1)
    assert lanes.tolist() == [0, 255] and clipped == 0
    np.testing.assert_array_equal(encoding.decode_sum(lanes.astype(np.uint64), 1), [-2.0, 2.0])


def test_stochastic_rounding_has_the_right_mean_and_the_stated_rms():
    encoding, n = FixedPoint(clip=1.0, bits=4), 200_000
    for value in (0.01, -0.3, 0.77):
        lanes, _ = encoding.encode(np.full(n, value), weight=1, w=4, key=KEY, stream_id=1)
        errors = encoding.decode_sum(lanes.astype(np.uint64), 1) - value
        assert abs(errors.mean()) < 5 * encoding.step / math.sqrt(4 * n)
        assert np.sqrt(np.mean(errors**2)) <= encoding.step / 2 + 1e-12
    x = np.random.default_rng(0).uniform(-1, 1, n)
    for rounding in ("stochastic", "nearest"):
        each = FixedPoint(clip=1.0, bits=10, rounding=rounding)
        lanes, _ = each.encode(x, weight=1, w=10, key=KEY, stream_id=1)
        rms = np.sqrt(np.mean((each.decode_sum(lanes.astype(np.uint64), 1) - x) ** 2))
        assert rms == pytest.approx(each.rms_error(), rel=0.02)


def test_the_rms_of_a_mean_shrinks_with_the_root_of_the_contributors():
    encoding, n, length = FixedPoint(clip=1.0, bits=8), 16, 20_000
    x = np.random.default_rng(1).uniform(-1, 1, (n, length))
    keys = [bytes([i]) * 16 for i in range(n)]
    total = sum(
        encoding.encode(row, weight=1, w=12, key=key, stream_id=1)[0].astype(np.uint64)
        for row, key in zip(x, keys, strict=True)
    )
    errors = encoding.decode_sum(total, n) / n - x.mean(axis=0)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(encoding.rms_error(n), rel=0.03)
    assert encoding.rms_error(4) == pytest.approx(encoding.rms_error() / 2)
    for bad in (0, 0.5, math.nan, math.inf):
        with pytest.raises(ParameterError):
            encoding.rms_error(bad)


def test_the_bound_does_not_depend_on_the_contributors():
    encoding = FixedPoint(clip=1.0, bits=16)
    assert encoding.error_bound() == encoding.error_bound(100) == pytest.approx(encoding.step)
    assert FixedPoint(clip=1.0, bits=16, rounding="nearest").error_bound() == pytest.approx(encoding.step / 2)
    with pytest.raises(ParameterError):
        encoding.error_bound(0)


def test_clipping_counts_only_what_lies_beyond():
    encoding = FixedPoint(clip=1.0, bits=8)
    x = np.array([1.0, -1.0, np.nextafter(1.0, 2), -1.5, 0.0])
    lanes, clipped = encoding.encode(x, weight=1, w=8, key=KEY, stream_id=1)
    assert clipped == 2
    assert lanes[2] == 255 and lanes[3] == 0


def test_refuse_names_the_leaf_and_the_count_but_no_value():
    encoding = FixedPoint(clip=0.1, bits=8, overflow="refuse")
    with pytest.raises(InputError) as caught:
        encoding.encode(np.array([SECRET, 0.0]), weight=1, w=8, key=KEY, stream_id=1, name="layer/w")
    assert "layer/w: 1 of 2 values" in str(caught.value)
    assert "0.1234" not in str(caught.value)
    lanes, _ = encoding.encode(np.array([0.1, -0.1]), weight=1, w=8, key=KEY, stream_id=1)
    assert lanes.tolist() == [255, 0]


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_and_infinity_are_refused_by_name_and_count(bad, dtype, rounding):
    x = np.full(50, SECRET, dtype)
    x[[3, 49]] = bad
    with pytest.raises(InputError) as caught:
        FixedPoint(rounding=rounding).encode(x, weight=1, w=16, key=KEY, stream_id=1, name="bias")
    assert "bias: 2 of 50 values" in str(caught.value)
    assert "0.123" not in str(caught.value)


def test_float16_and_small_integers_are_widened_exactly():
    encoding = FixedPoint(clip=300.0, bits=20)
    halves = np.array([0.1, -7.25, 6e-8, -0.0, 299.5], np.float16)
    for x in (halves, np.array([-128, 0, 127], np.int8), np.array([0, 255], np.uint8), np.array([-300, 300], np.int32),
              np.array([-5, 5], np.int64), np.array([5], np.uint64)):  # fmt: skip
        narrow = encoding.encode(x, weight=1, w=20, key=KEY, stream_id=1)[0]
        wide = encoding.encode(x.astype(np.float64), weight=1, w=20, key=KEY, stream_id=1)[0]
        np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_float64_would_round_are_refused(dtype):
    x = np.array([0, 1 << 53, (1 << 53) + 1], dtype)
    with pytest.raises(InputError, match="1 of 3 integers are beyond"):
        FixedPoint(clip=1e18).encode(x, weight=1, w=16, key=KEY, stream_id=1)
    FixedPoint(clip=1e18).encode(x[:2], weight=1, w=16, key=KEY, stream_id=1)


@pytest.mark.parametrize("dtype", [np.complex64, bool, object, np.longdouble, "U1", "M8[s]"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError):
        FixedPoint().encode(np.zeros(3, dtype), weight=1, w=16, key=KEY, stream_id=1)


@pytest.mark.parametrize("key", [None, b"", bytes(15), bytes(17), "0" * 16])
def test_stochastic_rounding_needs_a_key_and_nearest_none(key):
    with pytest.raises(InputError, match="16 bytes"):
        FixedPoint().encode(np.zeros(3), weight=1, w=16, key=key, stream_id=1)
    FixedPoint(rounding="nearest").encode(np.zeros(3), weight=1, w=16, key=key, stream_id=1)


def test_weighted_values_that_do_not_fit_are_refused():
    for weight, w in [(2, 16), (-1, 16), (1, 15), (1, 65), (1, 0)]:
        with pytest.raises(ParameterError):
            FixedPoint(bits=16).encode(np.zeros(3), weight=weight, w=w, key=KEY, stream_id=1)


def test_denormals_and_negative_zero_are_deterministic():
    encoding = FixedPoint(clip=1.0, bits=16, rounding="nearest")
    x = np.array([0.0, -0.0, 5e-324, -5e-324, 1e-310])
    assert len(set(encoding.encode(x, weight=1, w=16, key=None, stream_id=1)[0].tolist())) == 1
    tiny = np.array([1e-45, -1e-45, 1e-40], np.float32)
    assert len(set(encoding.encode(tiny, weight=1, w=16, key=None, stream_id=1)[0].tolist())) == 1
    stochastic = FixedPoint(clip=1.0, bits=16)
    one, two = (stochastic.encode(x, weight=1, w=16, key=KEY, stream_id=1)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_pieces_with_a_start_equal_the_whole():
    encoding, x = FixedPoint(bits=8), np.random.default_rng(2).uniform(-1, 1, 5000)
    whole = encoding.encode(x, weight=1, w=8, key=KEY, stream_id=3)[0]
    for cut in (1, 7, 1024, 4999):
        parts = [
            encoding.encode(part, weight=1, w=8, key=KEY, stream_id=3, start=start)[0]
            for part, start in ((x[:cut], 0), (x[cut:], cut))
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_unaligned_and_strided_arrays_are_right():
    encoding = FixedPoint(bits=16, rounding="nearest")
    x = np.linspace(-1, 1, 20)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), dtype=np.float64, offset=1)
    expected = encoding.encode(x, weight=1, w=16, key=None, stream_id=1)[0]
    np.testing.assert_array_equal(encoding.encode(unaligned, weight=1, w=16, key=None, stream_id=1)[0], expected)
    np.testing.assert_array_equal(encoding.encode(x[::-2], weight=1, w=16, key=None, stream_id=1)[0], expected[::-2])


def test_zero_lies_between_two_codes_and_nearest_sends_it_half_a_step_up():
    encoding = FixedPoint(clip=1.0, bits=16, rounding="nearest")
    lanes, _ = encoding.encode(np.zeros(1), weight=1, w=16, key=None, stream_id=1)
    assert encoding.decode_sum(lanes.astype(np.uint64), 1)[0] == pytest.approx(encoding.step / 2)
