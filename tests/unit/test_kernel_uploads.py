"""The fused kernels against their parts, on every implementation; decoding and sums of several uploads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import encoding as reference
from secagg import _kernels
from secagg.errors import InputError

BACKENDS = _kernels.backends()
KEY = bytes(range(16))


@pytest.fixture(scope="module", params=list(BACKENDS))
def kernels(request):
    return BACKENDS[request.param]


def masks(k, seed=0):
    rng = np.random.default_rng([seed, k])
    return rng.integers(0, 256, (k, 16), dtype=np.uint8), rng.choice(np.array([-1, 1], np.int8), k)


def in_three_calls(kernels, x, clip, bits, weight, key, keys, signs, stream_id, start, w):
    lanes = np.empty(len(x), _kernels.lane_dtype(w))
    clipped = kernels.fixed_point_encode(x, clip, bits, lanes, key, stream_id, start, weight)
    kernels.mask_apply(lanes, keys, signs, stream_id, start, w)
    return kernels.pack(lanes, w), clipped


@pytest.mark.parametrize("key", [None, KEY], ids=["nearest", "stochastic"])
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(("w", "bits"), [(8, 8), (13, 13), (16, 9), (23, 16), (32, 32), (33, 16), (57, 20), (64, 32)])
def test_protect_is_encode_mask_and_pack(kernels, key, real, w, bits):
    keys, signs = masks(4, w)
    for n, start in ((0, 0), (1, 5), (1000, 0), (2055, 8), (3001, 3), (1025, 2**40 + 1)):
        x = np.random.default_rng(n).normal(size=n).astype(real)
        arguments = (x, 1.3, bits, 1 if w == bits else 3, key, keys, signs, w, start, w)
        expected = in_three_calls(kernels, *arguments)
        assert kernels.protect_fixed(*arguments) == expected
        out = bytearray(b"\xaa" * (len(expected[0]) + 2))
        clipped = kernels.protect_fixed_into(*arguments, memoryview(out)[1:-1])
        assert (bytes(out[1:-1]), clipped) == expected
        assert out[0] == out[-1] == 0xAA


def test_protect_against_the_reference(kernels):
    keys, signs = masks(0)
    x = np.random.default_rng(0).uniform(-1.1, 1.1, 1100)
    packed, clipped = kernels.protect_fixed(x, 1.0, 16, 5, KEY, keys, signs, 3, 7, 21)
    codes = reference.fixed_point(x, 1.0, 16, KEY, 3, 7)
    assert packed == reference.pack([5 * code % 2**21 for code in codes], 21)
    assert clipped == np.count_nonzero(np.abs(x) > 1.0)


def test_protect_longer_than_a_chunk(kernels):
    keys, signs = masks(2)
    x = np.random.default_rng(1).uniform(-1, 1, 70_003).astype(np.float32)
    arguments = (x, 1.0, 16, 7, KEY, keys, signs, 1, 0, 19)
    assert kernels.protect_fixed(*arguments) == in_three_calls(kernels, *arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fault_37_protect_refuses_nan_and_leaves_nothing_behind(kernels, bad):
    keys, signs = masks(2)
    x = np.zeros(3000)
    x[1500] = bad
    out = bytearray(b"\xaa" * 6000)
    with pytest.raises(InputError, match="NaN"):
        kernels.protect_fixed_into(x, 1.0, 16, 1, KEY, keys, signs, 0, 0, 16, out)
    assert out == bytes(6000)
    with pytest.raises(InputError, match="NaN"):
        kernels.protect_fixed(x, 1.0, 16, 1, KEY, keys, signs, 0, 0, 16)


@pytest.mark.parametrize("w", [5, 16, 23, 31, 32, 40, 64])
def test_mask_pack_is_mask_and_pack(kernels, w):
    keys, signs = masks(3, w)
    for n, start in ((0, 0), (7, 1), (1024, 16), (2500, 5), (66_000, 8)):
        dtype = _kernels.lane_dtype(w)
        values = np.random.default_rng(n).integers(0, np.iinfo(dtype).max, n, dtype=dtype, endpoint=True)
        before, masked = values.copy(), values.copy()
        kernels.mask_apply(masked, keys, signs, 9, start, w)
        expected = kernels.pack(masked, w)
        assert kernels.mask_pack(values, keys, signs, 9, start, w) == expected
        out = bytearray(len(expected))
        kernels.mask_pack_into(values, keys, signs, 9, start, w, out)
        assert out == expected
        assert np.array_equal(values, before)


@settings(max_examples=40, deadline=None)
@given(
    w=st.integers(1, 64),
    n=st.integers(0, 300),
    count=st.integers(0, 4),
    start=st.integers(0, (1 << 64) - 301),
    cut=st.integers(0, 37),
)
def test_uploads_are_the_same_everywhere_and_add_up(w, n, count, start, cut):
    """Uploads made in two pieces of one stream, on any implementation, fold into one sum on any other."""
    cut = min(8 * cut, n)
    lane = _kernels.lane_dtype(w)
    values = np.random.default_rng(n).integers(0, (1 << w) - 1, (count, n), dtype=lane, endpoint=True)
    keys, signs = masks(2, w)
    sums = set()
    for kernels in BACKENDS.values():
        acc = np.zeros(n, lane)
        whole = [kernels.mask_pack(v, keys, signs, 1, start, w) for v in values]
        for v, upload in zip(values, whole, strict=True):
            head = kernels.mask_pack(v[:cut], keys, signs, 1, start, w)
            assert head + kernels.mask_pack(v[cut:], keys, signs, 1, start + cut, w) == upload
        kernels.unpack_add_many(acc, whole, w)
        for _ in range(count):
            kernels.mask_apply(acc, keys, -signs, 1, start, w)
        assert acc.tolist() == [sum(map(int, column)) % (1 << w) for column in values.T]
        sums.add(b"".join(whole))
    assert len(sums) == 1


@pytest.mark.parametrize("w", [9, 16, 23, 32, 63])
def test_several_uploads_at_once(kernels, w):
    rng = np.random.default_rng(w)
    lane = _kernels.lane_dtype(w)
    for n, count in ((0, 2), (2049, 1), (5000, 3), (20_001, 7)):
        values = rng.integers(0, (1 << w) - 1, (count, n), dtype=lane, endpoint=True)
        acc = rng.integers(0, (1 << w) - 1, n, dtype=lane, endpoint=True)
        expected = (acc + values.sum(axis=0, dtype=lane)) & lane.type((1 << w) - 1)
        kernels.unpack_add_many(acc, [kernels.pack(v, w) for v in values], w)
        assert np.array_equal(acc, expected)


def test_one_bad_upload_of_several_changes_nothing(kernels):
    acc, good = np.arange(5, dtype=np.uint16), bytes(7)
    for bad in (bytes(8), b"\0" * 6 + b"\x80", "text", acc.data):
        with pytest.raises(InputError):
            kernels.unpack_add_many(acc, [good, bad], 11)
    kernels.unpack_add_many(acc, [], 11)
    assert acc.tolist() == [0, 1, 2, 3, 4]


def test_decode_rounds_as_python_does(kernels):
    sums = [0, 1, 2**32 - 1, 2**32, 2**53 + 1, 2**54 + 2, 2**63 + 1025, 2**64 - 1, 2**64 - 1025]
    sums += [int(v) for v in np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)]
    for weight, clip, bits in ((0, 1.0, 16), (2**53 + 1, 0.37, 1), (2**64 - 1, 1e30, 32)):
        step = 2 * clip / (2**bits - 1)
        expected = [float(s) * step - float(weight) * clip for s in sums]
        decoded = kernels.fixed_point_decode(np.array(sums, np.uint64), weight, clip, bits)
        assert decoded.dtype == np.float64
        assert decoded.tolist() == expected
    assert kernels.fixed_point_decode(np.empty(0, np.uint64), 1, 1.0, 8).shape == (0,)


X = np.zeros(10)
LANES = np.zeros(10, np.uint16)
KEYS, SIGNS = masks(2)
PROTECT = {
    "x": X,
    "clip": 1.0,
    "bits": 16,
    "weight": 1,
    "rounding_key": KEY,
    "keys": KEYS,
    "signs": SIGNS,
    "stream_id": 0,
    "start": 0,
    "w": 16,
    "out": bytearray(20),
}
MASK_PACK = {"values": LANES, "keys": KEYS, "signs": SIGNS, "stream_id": 0, "start": 0, "w": 16, "out": bytearray(20)}
BOTH = {
    "one key short": {"keys": KEYS[:1]},
    "keys of 15 bytes": {"keys": np.zeros((2, 15), np.uint8)},
    "sign 0": {"signs": np.array([1, 0], np.int8)},
    "stream beyond 64 bits": {"stream_id": 1 << 64},
    "start beyond the stream": {"start": (1 << 64) - 9},
    "width 0": {"w": 0},
    "width of text": {"w": "16"},
    "out too short": {"out": bytearray(19)},
    "out too long": {"out": bytearray(21)},
    "out read-only": {"out": bytes(20)},
    "out strided": {"out": memoryview(bytearray(40))[::2]},
    "out a number": {"out": 20},
}
PROTECT_ONLY = {
    "x of integers": {"x": LANES},
    "x a list": {"x": [0.0] * 10},
    "x a number": {"x": 1.0},
    "x read backwards": {"x": X[::-1]},
    "out is x": {"out": X[:5].view(np.uint8)[:20].data},
    "clip 0": {"clip": 0.0},
    "bits 33": {"bits": 33},
    "weight negative": {"weight": -1},
    "rounding key of 15 bytes": {"rounding_key": bytes(15)},
}
MASK_ONLY = {
    "lanes of another width": {"w": 17, "out": bytearray(22)},
    "a list": {"values": [1, 2]},
    "a number": {"values": 7},
    "out is values": {"out": LANES.data.cast("B")},
}


def without_out(arguments):
    return {name: value for name, value in arguments.items() if name != "out"}


@pytest.mark.parametrize("misuse", (BOTH | PROTECT_ONLY).values(), ids=BOTH | PROTECT_ONLY)
def test_protect_misuse_is_refused(kernels, misuse):
    with pytest.raises(InputError):
        kernels.protect_fixed_into(**PROTECT | misuse)
    if "out" not in misuse:
        with pytest.raises(InputError):
            kernels.protect_fixed(**without_out(PROTECT | misuse))


@pytest.mark.parametrize("misuse", (BOTH | MASK_ONLY).values(), ids=BOTH | MASK_ONLY)
def test_mask_pack_misuse_is_refused(kernels, misuse):
    with pytest.raises(InputError):
        kernels.mask_pack_into(**MASK_PACK | misuse)
    if "out" not in misuse:
        with pytest.raises(InputError):
            kernels.mask_pack(**without_out(MASK_PACK | misuse))
