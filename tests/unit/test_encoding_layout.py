"""Layout: what an update may look like, and that it comes back the same."""

import collections

import msgspec
import numpy as np
import pytest

from secagg.encoding import Layout
from secagg.errors import InputError, ParameterError

EXAMPLE = {
    "w": np.zeros((2, 3), np.float32),
    "b": [np.zeros(3, np.float16), (np.zeros((), np.float64), 1.5)],
    "n": 7,
    "none": {},
    "u": np.zeros((1, 2), np.uint8),
}


def filled():
    return {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": [np.array([0.1, 6e-8, -0.0], np.float16), (np.array(2.5), -3.5)],
        "n": 2**53 + 1,
        "none": {},
        "u": np.array([[255, 1]], np.uint8),
    }


def assert_same(one, two):
    assert type(one) is type(two) or np.ndim(two) == 0
    if isinstance(one, dict):
        assert list(one) == list(two)
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert np.asarray(one).dtype == np.asarray(two).dtype and np.shape(one) == np.shape(two)
        np.testing.assert_array_equal(one, two)


def test_a_nest_comes_back_as_it_was():
    layout, update = Layout.of(EXAMPLE), filled()
    flat = layout.flatten(update)
    assert [array.ndim for array in flat] == [1] * 6
    assert flat[1].dtype == np.float16
    assert_same(layout.unflatten(flat), update)


def test_leaves_have_names_dtypes_shapes_and_top_keys():
    layout = Layout.of(EXAMPLE)
    assert [leaf.name for leaf in layout.leaves] == ["w", "b/0", "b/1/0", "b/1/1", "n", "u"]
    assert [leaf.dtype for leaf in layout.leaves] == ["float32", "float16", "float64", "float64", "int64", "uint8"]
    assert [leaf.top for leaf in layout.leaves] == ["w", "b", "b", "b", "n", "u"]
    assert layout.size == 6 + 3 + 1 + 1 + 1 + 2
    assert layout.top_keys == ("w", "b", "n", "none", "u")
    assert Layout.of([{"a": 1.0}]).leaves[0].top is None


def test_flat_takes_any_real_dtype_and_gives_float64():
    layout = Layout.flat(3)
    assert layout.is_flat and layout.size == 3 and layout.leaves[0].name == "update"
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.uint64, ">f4", ">i8"):
        (values,) = layout.flatten(np.array([1, 2, 3], dtype))
        assert values.dtype.isnative and values.tolist() == [1, 2, 3]
        result = layout.unflatten([values])
        assert result.dtype == np.float64 and result.shape == (3,)


def test_equal_structures_are_equal_and_hash_equal():
    assert Layout.of(EXAMPLE) == Layout.of(filled())
    assert hash(Layout.of(EXAMPLE)) == hash(Layout.of(filled()))
    different = [
        Layout.flat(3), Layout.flat(4), Layout.of(np.zeros(3)), Layout.of(np.zeros(3, np.float32)), Layout.of(np.zeros((3, 1))),
        Layout.of({"a": 1.0, "b": 1.0}), Layout.of({"b": 1.0, "a": 1.0}), Layout.of([1.0, 1.0]), Layout.of((1.0, 1.0)),
        Layout.of([[1.0], 1.0]), Layout.of([[1.0, 1.0]]), Layout.of([1.0, 1]),
    ]  # fmt: skip
    assert len({layout.canonical() for layout in different}) == len(set(different)) == len(different)
    assert len({msgspec.msgpack.encode(layout.canonical()) for layout in different}) == len(different)


@pytest.mark.parametrize("length", [0, -1, 2.0, True, None, 1 << 41])
def test_flat_lengths_out_of_range_are_refused(length):
    with pytest.raises(ParameterError):
        Layout.flat(length)


@pytest.mark.parametrize("empty", [{}, [], (), np.zeros(0), np.zeros((3, 0), np.float32), {"a": [], "b": np.zeros(0)}])
def test_fault_41_empty_examples_are_refused(empty):
    with pytest.raises(InputError, match="empty"):
        Layout.of(empty)


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024


@pytest.mark.parametrize(
    "bad",
    [
        None, "text", b"bytes", True, np.True_, 1j, np.zeros(3, complex), np.zeros(3, bool), np.array([None]), np.array(["a"]),
        np.zeros(3, np.longdouble), np.zeros(3, "M8[s]"), np.zeros(3, "f4,f4"), {1: 1.0}, {"\ud800": 1.0}, {1.0, 2.0},
        Point(1.0, 2.0), range(3), 1 << 63, np.ma.masked_array([1.0], [True]), object(),
    ],
)  # fmt: skip
def test_other_types_and_dtypes_are_refused_by_path(bad):
    for example in (bad, {"a": [0.0, bad]}):
        with pytest.raises(InputError) as caught:
            Layout.of(example)
    assert "a/1" in str(caught.value)


def test_endless_nests_are_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(InputError, match="nested"):
        Layout.of(loop)


def change(path, value):
    update = filled()
    inner = update
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return update


@pytest.mark.parametrize(
    "update, where",
    [
        (change(["w"], np.zeros((3, 2), np.float32)), "w: expected shape"),
        (change(["w"], np.zeros(6, np.float32)), "w: expected shape"),
        (change(["w"], np.zeros((2, 3))), "w: expected dtype float32"),
        (change(["w"], [[0.0] * 3] * 2), "w: expected a numpy array"),
        (change(["u"], np.zeros((1, 2), np.int8)), "u: expected dtype uint8"),
        (change(["n"], 7.0), "n: expected dtype int64"),
        (change(["n"], 1 << 63), "n: a Python int must fit int64"),
        (change(["n"], True), "n: bool"),
        (change(["b"], (np.zeros(3, np.float16), (np.array(2.5), 1.0))), "b: expected a list"),
        (change(["b", 1], [np.array(2.5), 1.0]), "b/1: expected a tuple"),
        (change(["b", 1], (1.0,)), "b/1: expected 2 items"),
        (change(["b", 1], (1.0, (1 << 53) + 1)), "b/1/1: expected dtype float64"),
        (change(["b"], None), "b: expected a list"),
        (change(["none"], {"x": 1.0}), "none: the keys differ"),
        (change(["new"], 1.0), "update: the keys differ"),
        ({key: value for key, value in filled().items() if key != "w"}, "missing 'w'"),
        ([1.0], "update: expected a dict"),
        (None, "update: expected a dict"),
    ],
)
def test_fault_43_mismatches_are_refused_by_path(update, where):
    with pytest.raises(InputError) as caught:
        Layout.of(EXAMPLE).flatten(update)
    assert where in str(caught.value)


@pytest.mark.parametrize(
    "update", [np.zeros(2), np.zeros((3, 1)), np.zeros(()), [0.0] * 3, 1.0, None, {"a": 1.0}, np.zeros(3, bool)]
)
def test_fault_43_flat_mismatches_are_refused(update):
    with pytest.raises(InputError):
        Layout.flat(3).flatten(update)


def test_keys_in_another_order_are_accepted():
    update = filled()
    turned = dict(reversed(update.items()))
    for a, b in zip(Layout.of(EXAMPLE).flatten(update), Layout.of(EXAMPLE).flatten(turned), strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(Layout.of(EXAMPLE).unflatten(Layout.of(EXAMPLE).flatten(turned))) == list(EXAMPLE)


def test_a_python_zero_stands_for_zero_point_zero():
    (value,) = Layout.of(0.0).flatten(0)
    assert value.dtype == np.float64 and value.tolist() == [0.0]


def test_fault_44_non_contiguous_unaligned_and_big_endian_arrays_are_copied_and_right():
    base = np.arange(12, dtype=np.float64).reshape(3, 4)
    layout = Layout.of(base)
    unaligned = np.frombuffer(b"\0" + base.tobytes(), dtype=np.float64, offset=1).reshape(3, 4)
    for way in (
        base,
        np.asfortranarray(base),
        base.astype(">f8"),
        np.repeat(base, 2, axis=1)[:, ::2],
        base[::-1][::-1],
        unaligned,
    ):
        (values,) = layout.flatten(way)
        assert values.flags.c_contiguous and values.flags.aligned and values.dtype.isnative
        assert values.tolist() == list(range(12))


def test_a_plain_array_is_viewed_and_not_copied():
    x = np.zeros(1000, np.float32)
    assert np.shares_memory(Layout.flat(1000).flatten(x)[0], x)
    square = x.reshape(10, 100)
    assert np.shares_memory(Layout.of(square).flatten(square)[0], x)
    x.flags.writeable = False
    Layout.flat(1000).flatten(x)


def test_results_are_rounded_and_kept_in_range_of_the_leaf():
    for dtype in (np.int8, np.uint8, np.int32, np.int64, np.uint64):
        info = np.iinfo(dtype)
        result = Layout.of(np.zeros(6, dtype)).unflatten([np.array([0.5, 1.5, 2.4, 99.6, 1e30, -1e30])])
        assert result.dtype == dtype
        assert result[:4].tolist() == [0, 2, 2, 100]
        assert abs(int(result[4]) - info.max) <= info.max >> 52
        assert result[5] == info.min
    halves = Layout.of(np.zeros(2, np.float16)).unflatten([np.array([1e6, -1e6])])
    assert halves.tolist() == [65504.0, -65504.0]
    assert Layout.of(np.zeros(2, np.uint8)).unflatten([np.array([300, -1])]).tolist() == [255, 0]
    assert Layout.of(np.zeros(1, np.uint64)).unflatten([np.array([-1])]).tolist() == [0]


def test_unflatten_can_keep_dtypes_and_refuses_other_sizes():
    layout = Layout.of({"a": np.zeros((2, 2), np.int8), "b": 1.0})
    kept = layout.unflatten([np.arange(4.0), np.array([0.5])], cast=False)
    assert kept["a"].dtype == np.float64 and kept["a"].shape == (2, 2) and kept["b"].shape == ()
    for values in ([np.arange(4.0)], [np.arange(4.0), np.zeros(2)], []):
        with pytest.raises(InputError):
            layout.unflatten(values)
