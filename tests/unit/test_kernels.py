"""Encoding, packing, addition and Shamir on every implementation, against numpy formulas and Python integers."""

from __future__ import annotations

import itertools
import sys
from fractions import Fraction

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import _kernels
from secagg.errors import InputError

BACKENDS = _kernels.backends()
P = (1 << 61) - 1
KEY = bytes(range(16))
LANES = (np.uint16, np.uint32, np.uint64)


@pytest.fixture(scope="module", params=list(BACKENDS))
def kernels(request):
    return BACKENDS[request.param]


def rounding_words(stream_id, start, n):
    counter = stream_id.to_bytes(8, "big") + (start // 4).to_bytes(8, "big")
    raw = Cipher(algorithms.AES(KEY), modes.CTR(counter)).encryptor().update(bytes(4 * (start % 4 + n)))
    return np.frombuffer(raw, dtype="<u4")[start % 4 :].astype(np.uint64)


def encoded(x, clip, bits, dtype, words, weight):
    """The formula, one rounded numpy operation at a time."""
    levels = float(2**bits - 1)
    scale = levels / (2 * clip)
    v = np.minimum(np.maximum(x.astype(np.float64), -clip), clip)
    s = np.minimum((v + clip) * scale, levels)
    if words is None:
        q = np.minimum(np.floor(s + 0.5), levels).astype(np.uint64)
    else:
        low = np.floor(s)
        q = low.astype(np.uint64) + (words < ((s - low) * 2.0**32).astype(np.uint64))
    return (q * np.uint64(weight)).astype(dtype), int(np.count_nonzero(np.abs(x.astype(np.float64)) > clip))


def check_encode(kernels, x, clip, bits, lane, stochastic, weight=1, stream_id=5, start=0):
    out = np.full(len(x), 0xAB, dtype=lane)
    words = rounding_words(stream_id, start, len(x)) if stochastic else None
    expected, clipped = encoded(x, clip, bits, lane, words, weight)
    assert (
        kernels.fixed_point_encode(x, clip, bits, out, KEY if stochastic else None, stream_id, start, weight) == clipped
    )
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("stochastic", [True, False])
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(("clip", "bits"), [(1.0, 16), (0.1, 1), (3.7, 8), (1e-3, 20), (100.0, 32), (1e30, 31)])
def test_encode_equals_the_formula(kernels, stochastic, lane, real, clip, bits):
    x = (np.random.default_rng(bits).normal(size=1003) * clip * 0.7).astype(real)
    x[:8] = [0.0, -0.0, clip, -clip, 5e-45, -5e-45, clip * 1.01, -clip * 1.01]
    for weight, start, n in (
        (1, 0, 1003),
        (3, 1, 1002),
        (2**16 - 1, 4, 17),
        (2**40 + 7, 2**40 + 3, 5),
        (0, 0, 64),
    ):
        check_encode(kernels, x[:n], clip, bits, lane, stochastic, weight, start=start)


@pytest.mark.parametrize("stochastic", [True, False])
def test_encode_longer_than_a_chunk_and_at_the_end_of_the_stream(kernels, stochastic):
    x = np.random.default_rng(0).uniform(-1.2, 1.2, 50_003).astype(np.float32)
    check_encode(kernels, x, 1.0, 16, np.uint32, stochastic, 9, start=2)
    check_encode(kernels, x[:7], 1.0, 16, np.uint32, stochastic, 9, stream_id=2**64 - 1, start=2**64 - 7)


def test_encode_in_ranges_equals_the_whole(kernels):
    x = np.random.default_rng(1).normal(size=3001)
    whole, parts = np.empty(3001, np.uint64), np.empty(3001, np.uint64)
    total = kernels.fixed_point_encode(x, 1.0, 24, whole, KEY, 1, 10, 2**33)
    bounds = (0, 1, 6, 1500, 1501, 3001)
    found = [
        kernels.fixed_point_encode(x[a:b], 1.0, 24, parts[a:b], KEY, 1, 10 + a, 2**33)
        for a, b in itertools.pairwise(bounds)
    ]
    assert sum(found) == total > 0
    assert np.array_equal(whole, parts)


def fused(a, b, c):
    """a * b + c rounded once, as a fused multiply-add would."""
    return float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))


def test_stochastic_rounding_rounds_every_operation(kernels):
    """Fusing (v + clip) * scale with the subtraction of its floor would give other codes for some of these."""
    clip, bits, n = 0.3, 32, 2000
    scale = float(2**bits - 1) / (2 * clip)
    words = rounding_words(5, 0, n)
    codes = np.random.default_rng(2).integers(2**30, 2**32 - 2, n)
    x = (codes + words / 2.0**32) / scale - clip
    s = (x + clip) * scale
    low = np.floor(s)
    up = words < ((s - low) * 2.0**32).astype(np.uint64)
    up_fused = [int(words[i]) < int(fused(x[i] + clip, scale, -low[i]) * 2**32) for i in range(n)]
    assert np.count_nonzero(up != up_fused) > 10
    check_encode(kernels, x, clip, bits, np.uint64, stochastic=True)


def test_nearest_rounding_rounds_every_operation(kernels):
    """Fusing (v + clip) * scale with the addition of one half would give other codes for some of these."""
    differ = 0
    for clip in np.random.default_rng(0).uniform(0.1, 10.0, 100).tolist():
        scale = 1.0 / (2 * clip)
        x = np.arange(-8, 9) * np.spacing(clip) / 2
        s = (x + clip) * scale
        differ += sum(int(s[i] + 0.5) != int(fused(x[i] + clip, scale, 0.5)) for i in range(len(x)))
        check_encode(kernels, x, clip, 1, np.uint16, stochastic=False)
    assert differ > 10


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("at", [0, 5, 98])
def test_fault_37_nan_and_infinity_are_refused(kernels, bad, real, at):
    x = np.zeros(99, dtype=real)
    x[at] = bad
    for key in (None, KEY):
        with pytest.raises(InputError, match="NaN"):
            kernels.fixed_point_encode(x, 1.0, 16, np.empty(99, np.uint32), key, 0, 0, 1)


def test_decode_inverts_encode_within_a_step(kernels):
    x = np.random.default_rng(3).uniform(-2, 2, 500)
    out = np.empty(500, np.uint64)
    kernels.fixed_point_encode(x, 2.0, 20, out, None, 0, 0, 7)
    decoded = kernels.fixed_point_decode(out, 7, 2.0, 20)
    assert decoded.dtype == np.float64
    assert np.abs(decoded / 7 - x).max() <= 0.5 * 4.0 / (2**20 - 1) * (1 + 1e-9)
    exact = out.astype(np.float64) * (2 * 2.0 / (2**20 - 1)) - 7 * 2.0
    assert np.array_equal(decoded, exact)


def packed_reference(values, w):
    number = sum(int(v) << (i * w) for i, v in enumerate(values))
    return number.to_bytes((len(values) * w + 7) // 8, "little")


@pytest.mark.parametrize("w", range(1, 65))
def test_pack_and_unpack_every_width(kernels, w):
    rng = np.random.default_rng(w)
    for n in (0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 200):
        values = rng.integers(0, (1 << w) - 1, n, dtype=_kernels.lane_dtype(w), endpoint=True)
        values[-1:] = (1 << w) - 1
        packed = kernels.pack(values, w)
        assert isinstance(packed, bytes)
        assert packed == packed_reference(values, w)
        unpacked = kernels.unpack(packed, w, n)
        assert unpacked.dtype == values.dtype
        assert np.array_equal(unpacked, values)
        assert unpacked.flags.writeable
        acc = rng.integers(0, (1 << w) - 1, n, dtype=values.dtype, endpoint=True)
        expected = [(int(a) + int(b)) % (1 << w) for a, b in zip(acc, values, strict=True)]
        other = acc.copy()
        kernels.unpack_add(acc, memoryview(bytearray(packed)), w)
        kernels.add_mod(other, values, w)
        assert acc.tolist() == other.tolist() == expected


@pytest.mark.parametrize("w", [3, 16, 21, 33, 63])
def test_pack_longer_than_a_chunk(kernels, w):
    values = np.random.default_rng(w).integers(0, 1 << w, 40_001, dtype=_kernels.lane_dtype(w))
    packed = kernels.pack(values, w)
    bits = np.unpackbits(values.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")[:, :w]
    assert packed == np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    acc = values.copy()
    kernels.unpack_add(acc, packed, w)
    assert np.array_equal(acc, (values + values) & values.dtype.type((1 << w) - 1))
    assert np.array_equal(kernels.unpack(packed, w, len(values)), values)


@pytest.mark.parametrize("w", [1, 5, 8, 15, 17, 31, 40, 63])
def test_pack_refuses_values_beyond_the_width(kernels, w):
    for n, at in ((1, 0), (70, 69), (70, 3)):
        values = np.zeros(n, dtype=_kernels.lane_dtype(w))
        values[at] = 1 << w
        with pytest.raises(InputError):
            kernels.pack(values, w)


@settings(max_examples=80, deadline=None)
@given(w=st.integers(1, 64), n=st.integers(1, 90), data=st.data())
def test_only_canonical_bytes_unpack(w, n, data):
    """What unpacks packs to the same bytes again; padding and wrong lengths are refused and change nothing."""
    nbytes, used = (n * w + 7) // 8, n * w % 8
    buf = data.draw(st.binary(min_size=nbytes, max_size=nbytes))
    clean = buf if used == 0 else buf[:-1] + bytes([buf[-1] & ((1 << used) - 1)])
    for kernels in BACKENDS.values():
        assert kernels.pack(kernels.unpack(clean, w, n), w) == clean
        acc = kernels.unpack(clean, w, n)
        for wrong in (clean[:-1], clean + b"\0", *((buf,) if buf != clean else ())):
            with pytest.raises(InputError):
                kernels.unpack(wrong, w, n)
            with pytest.raises(InputError):
                kernels.unpack_add(acc, wrong, w)
        assert np.array_equal(acc, kernels.unpack(clean, w, n))


def u64(values):
    return np.array(values, dtype=np.uint64)


FIELD = st.one_of(st.integers(0, P - 1), st.sampled_from([0, 1, 2, P - 1, P - 2, 1 << 60, (1 << 32) - 1, 1 << 32]))


@settings(max_examples=60, deadline=None)
@given(t=st.integers(1, 6), m=st.integers(0, 4), n=st.integers(0, 9), data=st.data())
def test_shamir_equals_integers_and_any_subset_recovers(t, m, n, data):
    secrets = data.draw(st.lists(FIELD, min_size=m, max_size=m))
    coeffs = [data.draw(st.lists(FIELD, min_size=m, max_size=m)) for _ in range(t - 1)]
    xs = data.draw(st.lists(st.integers(1, P - 1), min_size=n + t, max_size=n + t, unique=True))
    chosen = data.draw(st.permutations(range(n + t)))[:t]
    columns = list(zip(secrets, *coeffs, strict=True))
    expected = [[sum(c * pow(x, d, P) for d, c in enumerate(column)) % P for column in columns] for x in xs]
    for kernels in BACKENDS.values():
        shares = kernels.shamir_split(u64(secrets), u64(coeffs).reshape(t - 1, m), u64(xs))
        assert shares.shape == (n + t, m)
        assert shares.tolist() == (expected if m else [[]] * (n + t))
        points = [xs[i] for i in chosen]
        weights = kernels.shamir_weights(u64(points))
        for j, x in enumerate(points):
            others = [y for y in points if y != x]
            basis = 1
            for y in others:
                basis = basis * y * pow(y - x, -1, P) % P
            assert int(weights[j]) == basis
        assert kernels.shamir_combine(weights, shares[chosen]).tolist() == secrets


def test_shamir_of_a_hundred_holders(kernels):
    rng = np.random.default_rng(4)
    secrets, coeffs = rng.integers(0, P, 5, dtype=np.uint64), rng.integers(0, P, (66, 5), dtype=np.uint64)
    xs = np.arange(1, 101, dtype=np.uint64)
    shares = kernels.shamir_split(secrets, coeffs, xs)
    weights = kernels.shamir_weights(np.ascontiguousarray(xs[33:]))
    assert np.array_equal(kernels.shamir_combine(weights, shares[33:]), secrets)
    assert not np.array_equal(kernels.shamir_combine(kernels.shamir_weights(xs[34:]), shares[34:]), secrets)


def test_ct_equal(kernels):
    for n in (0, 1, 16, 33):
        a = bytes(range(n))
        assert kernels.ct_equal(a, bytearray(a)) is True
        assert kernels.ct_equal(a, a + b"\0") is False
        for i in range(n):
            assert kernels.ct_equal(a, a[:i] + bytes([a[i] ^ 0x80]) + a[i + 1 :]) is False
    with pytest.raises(InputError):
        kernels.ct_equal("text", b"text")


def test_lane_dtype():
    assert [_kernels.lane_dtype(w).itemsize for w in (1, 16, 17, 32, 33, 64)] == [2, 2, 4, 4, 8, 8]
    for w in (0, 65, -1, 2.0, None):
        with pytest.raises(InputError):
            _kernels.lane_dtype(w)


X, OUT, V = np.zeros(4), np.zeros(4, np.uint32), np.arange(4, dtype=np.uint32)
FROZEN = OUT.copy()
FROZEN.flags.writeable = False
WIDE = np.arange(9, dtype=np.uint32)
CODES, SHARE_3X2, POINTS = np.zeros(4, np.uint64), np.ones((3, 2), np.uint64), u64([1, 2, 3])
ENCODE = (X, 1.0, 16, OUT, None, 0, 0, 1)


def encode_with(position, value):
    return "fixed_point_encode", (*ENCODE[:position], value, *ENCODE[position + 1 :])


MISUSES = {
    "x of integers": encode_with(0, np.zeros(4, np.int64)),
    "x half precision": encode_with(0, np.zeros(4, np.float16)),
    "x big-endian": encode_with(0, np.zeros(4, ">f8")),
    "x strided": encode_with(0, np.zeros(8)[::2]),
    "x of another length": encode_with(0, np.zeros(3)),
    "x and out overlap": encode_with(0, OUT.view(np.float32)),
    **{f"clip {clip}": encode_with(1, clip) for clip in (0.0, -1.0, np.inf, np.nan, 1e300, 1e-300, "1", None, 1j)},
    **{f"bits {bits}": encode_with(2, bits) for bits in (0, 33, 1.5)},
    "out signed": encode_with(3, OUT.astype(np.int32)),
    "out read-only": encode_with(3, FROZEN),
    "key of 15 bytes": encode_with(4, bytes(15)),
    "key of text": encode_with(4, "0" * 16),
    "stream beyond 64 bits": encode_with(5, 1 << 64),
    "start beyond the stream": encode_with(6, (1 << 64) - 3),
    "weight negative": encode_with(7, -1),
    "weight beyond 64 bits": encode_with(7, 1 << 64),
    "weight a fraction": encode_with(7, 1.5),
    "decode of another type": ("fixed_point_decode", (CODES.astype(np.uint32), 1, 1.0, 16)),
    "decode with a bad clip": ("fixed_point_decode", (CODES, 1, 0.0, 16)),
    "decode with a bad weight": ("fixed_point_decode", (CODES, -1, 1.0, 16)),
    "pack other lanes": ("pack", (V, 16)),
    "pack width 0": ("pack", (V, 0)),
    "pack a list": ("pack", ([1, 2], 16)),
    "unpack text": ("unpack", ("abcd", 8, 4)),
    "unpack strided": ("unpack", (memoryview(bytes(8))[::2], 8, 4)),
    "unpack negative count": ("unpack", (b"", 8, -1)),
    "unpack enormous count": ("unpack", (b"", 64, sys.maxsize - 1)),
    "unpack_add read-only": ("unpack_add", (FROZEN, bytes(16), 32)),
    "unpack_add own memory": ("unpack_add", (OUT, memoryview(OUT), 32)),
    "add other lanes": ("add_mod", (OUT, CODES, 32)),
    "add other length": ("add_mod", (OUT, WIDE, 32)),
    "add overlapping": ("add_mod", (WIDE[1:], WIDE[:-1], 32)),
    "add read-only": ("add_mod", (FROZEN, V, 32)),
    "split secrets beyond p": ("shamir_split", (u64([P, 1]), SHARE_3X2, POINTS)),
    "split coefficients beyond p": ("shamir_split", (u64([1, 1]), u64([[1, 1 << 63]]), POINTS)),
    "split points beyond p": ("shamir_split", (u64([1, 1]), SHARE_3X2, u64([1, P]))),
    "split at 0": ("shamir_split", (u64([1, 1]), SHARE_3X2, u64([1, 0]))),
    "split shapes": ("shamir_split", (u64([1]), SHARE_3X2, POINTS)),
    "split signed": ("shamir_split", (np.array([1, 1]), SHARE_3X2, POINTS)),
    "weights of nothing": ("shamir_weights", (u64([]),)),
    "weights at 0": ("shamir_weights", (u64([0, 1]),)),
    "weights twice": ("shamir_weights", (u64([5, 1, 5]),)),
    "weights beyond p": ("shamir_weights", (u64([1, P + 1]),)),
    "combine lengths": ("shamir_combine", (u64([1, 1]), SHARE_3X2)),
    "combine nothing": ("shamir_combine", (u64([]), SHARE_3X2[:0])),
    "combine weights beyond p": ("shamir_combine", (u64([1, 1, P]), SHARE_3X2)),
    "combine shares beyond p": ("shamir_combine", (POINTS, SHARE_3X2 * np.uint64(P))),
    "combine transposed": ("shamir_combine", (POINTS, np.ones((2, 3), np.uint64).T)),
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_misuse_is_refused(kernels, misuse):
    name, arguments = misuse
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    with pytest.raises(InputError):
        getattr(kernels, name)(*arguments)
    for old, new in zip(before, arguments, strict=True):
        if isinstance(old, np.ndarray):
            assert np.array_equal(old, new)
