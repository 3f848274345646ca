"""Integer: exact sums, and nothing but whole numbers of its range."""

import numpy as np
import pytest

from secagg.encoding import FixedPoint, Integer
from secagg.errors import InputError, ParameterError

INT64 = (1 << 63) - 1


def encode(encoding, x, weight=1, total=None):
    return encoding.encode(np.asarray(x), weight=weight, w=encoding.width(total or max(weight, 1)))[0]


@pytest.mark.parametrize(
    "low, high", [(0, 0), (3, 2), (0.0, 5), (0, 5.5), (True, 5), (None, 1), (0, 1 << 63), (-(1 << 63) - 1, 0)]
)
def test_ranges_that_are_none_are_refused(low, high):
    with pytest.raises(ParameterError):
        Integer(low, high)


def test_equal_encodings_hash_equal_and_have_one_canonical_form():
    assert Integer(np.int8(-3), 5) == Integer(-3, 5)
    assert hash(Integer(np.int8(-3), 5)) == hash(Integer(-3, 5))
    assert Integer(-3, 5).canonical() == ("integer", -3, 5)
    assert Integer(0, 8).canonical() != Integer(-3, 5).canonical() != FixedPoint().canonical()


def test_the_width_holds_every_sum_and_the_decoded_sum_fits_int64():
    for low, high, total in [(0, 1, 1), (-5, 1000, 100), (-(1 << 62), (1 << 62) - 1, 2), (0, INT64, 1)]:
        encoding = Integer(low, high)
        assert total * encoding.levels < 1 << encoding.width(total) <= 1 << 64
    for low, high, total in [
        (0, INT64, 2),
        (1 << 62, (1 << 62) + 1, 2),
        (-(1 << 63), -(1 << 62), 2),
        (0, 1 << 40, 1 << 30),
    ]:
        with pytest.raises(ParameterError):
            Integer(low, high).width(total)


@pytest.mark.parametrize(
    "dtype",
    [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float16, np.float32, float],
)
def test_every_dtype_gives_the_same_exact_sum(dtype):
    encoding = Integer(-100, 100) if np.dtype(dtype).kind != "u" else Integer(0, 100)
    values = [encoding.low, encoding.high, 0, 7, 99]
    lanes = encode(encoding, np.array(values, dtype), weight=3)
    assert lanes.tolist() == [3 * (value - encoding.low) for value in values]
    assert encoding.decode_sum(lanes.astype(np.uint64), 3).tolist() == [3 * value for value in values]


@pytest.mark.parametrize("low, high", [(-(1 << 63), INT64), (0, INT64), (-(1 << 63), -1), (INT64 - 5, INT64)])
def test_the_ends_of_int64_are_exact(low, high):
    encoding = Integer(low, high)
    values = np.array([low, high, high - 1, low + 1], np.int64)
    np.testing.assert_array_equal(encoding.decode_sum(encode(encoding, values).astype(np.uint64), 1), values)


@pytest.mark.parametrize("w, dtype", [(16, np.uint16), (32, np.uint32), (64, np.uint64)])
def test_every_lane_gives_the_same_codes(w, dtype):
    lanes, clipped = Integer(-500, 500).encode(np.array([-500, 0, 500]), weight=5, w=w)
    assert lanes.dtype == dtype and lanes.tolist() == [0, 2500, 5000] and clipped == 0


@pytest.mark.parametrize(
    "x",
    [
        np.array([5, 11, -1, 12345]), np.array([5, 11.0, -1.0, 12345.0]), np.array([3, 11, 200, 12], np.uint8),
        np.array([1, 2**64 - 1, 2**63, 11], np.uint64), np.array([-1, -2, -3, 0], np.int8),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name_and_count(x):
    with pytest.raises(InputError) as caught:
        Integer(0, 10).encode(x, weight=1, w=16, name="counts")
    assert str(caught.value) == "counts: 3 of 4 values are outside [0, 10]"


def test_a_dtype_that_cannot_reach_the_range_is_refused_and_counted():
    with pytest.raises(InputError, match="2 of 2"):
        Integer(1000, 2000).encode(np.array([1, 2], np.uint8), weight=1, w=16)


@pytest.mark.parametrize("bad", [0.5, -1e-300, 1e19, -1e19, float(1 << 63)])
def test_floats_that_are_no_integers_are_refused(bad):
    with pytest.raises(InputError, match="1 of 2 values are no integers"):
        encode(Integer(-5, 5), [1.0, bad])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(InputError, match="NaN or infinite"):
        encode(Integer(-5, 5), [1.0, bad])


@pytest.mark.parametrize("dtype", [np.complex64, bool, object, np.longdouble, "U1"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError):
        encode(Integer(-5, 5), np.zeros(3, dtype))


def test_big_floats_compare_exactly_with_the_range():
    # 2**53 + 1 is no float: as a float bound it would have let 2**53 + 2 pass
    encoding = Integer(0, (1 << 53) + 1)
    with pytest.raises(InputError):
        encode(encoding, [float((1 << 53) + 2)])
    assert encode(encoding, [float(1 << 53), -0.0]).tolist() == [1 << 53, 0]


def test_weighted_values_that_do_not_fit_are_refused():
    for weight, w in [(2, 3), (-1, 8), (1, 2), (1, 65)]:
        with pytest.raises(ParameterError):
            Integer(0, 7).encode(np.zeros(3), weight=weight, w=w)


def test_nothing_is_an_error_free_sum():
    assert Integer(0, 5).rms_error(7) == 0.0
    assert Integer(-8, 5).error_bound(7) == 8 * 2.0**-51
    assert len(encode(Integer(0, 5), np.zeros(0))) == 0
