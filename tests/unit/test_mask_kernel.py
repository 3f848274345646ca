"""The mask kernel on every implementation, against NIST's vectors and OpenSSL."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import _kernels, errors

BACKENDS = _kernels.backends()
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sp800_38a_ctr_aes128.json").read_text("utf-8"))
WIDTHS = (1, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 63, 64)


@pytest.fixture(scope="module", params=list(BACKENDS))
def kernels(request):
    return BACKENDS[request.param]


def openssl(key: bytes, stream_id: int, block: int, nbytes: int) -> bytes:
    counter = stream_id.to_bytes(8, "big") + block.to_bytes(8, "big")
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(nbytes))


def reference(acc, keys, signs, stream_id, start, w):
    """The definition, in Python integers."""
    size = acc.dtype.itemsize
    block, skip = divmod(start * size, 16)
    sums = [int(v) for v in acc]
    for key, sign in zip(keys, signs, strict=True):
        raw = openssl(key.tobytes(), stream_id, block, skip + len(acc) * size)[skip:]
        for i in range(len(acc)):
            sums[i] += int(sign) * int.from_bytes(raw[i * size : (i + 1) * size], "little")
    return np.array([s % (1 << w) for s in sums], dtype=acc.dtype)


def inputs(n, k, w, seed=0):
    rng = np.random.default_rng([seed, n, k, w])
    dtype = _kernels.lane_dtype(w)
    acc = rng.integers(0, (1 << w) - 1, n, dtype=dtype, endpoint=True)
    return acc, rng.integers(0, 256, (k, 16), dtype=np.uint8), rng.choice(np.array([-1, 1], dtype=np.int8), k)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: f"{case['op']}-{case['success']}")
def test_sp800_38a(kernels, case):
    given_ = case["input"]
    key, stream_id, block = (
        bytes.fromhex(given_["key"]),
        int(given_["stream_id"], 16),
        int(given_["start_block"], 16),
    )
    plaintext = bytes.fromhex(given_["plaintext"]) if case["op"] == "encrypt" else bytes(given_["nbytes"])
    if not case["success"]:
        with pytest.raises(getattr(errors, case["error"])):
            kernels.keystream(key, stream_id, block, len(plaintext))
        return
    stream = kernels.keystream(key, stream_id, block, len(plaintext))
    assert bytes(a ^ b for a, b in zip(plaintext, stream, strict=True)).hex() == case["output"]


@pytest.mark.parametrize("block", [0, 1, (1 << 32) - 3, (1 << 63) + 7])
def test_keystream_equals_openssl(kernels, block):
    key, stream_id = bytes(range(16)), 0xDEADBEEF01234567
    for nbytes in (0, 1, 15, 16, 17, 127, 128, 511, 512, 513, 5000, (1 << 18) + 5):
        assert kernels.keystream(key, stream_id, block, nbytes) == openssl(key, stream_id, block, nbytes)


def test_keystream_up_to_the_last_block(kernels):
    key, last = b"\xff" * 16, (1 << 64) - 1
    for nbytes in (1, 16):
        assert kernels.keystream(key, last, last, nbytes) == openssl(key, last, last, nbytes)
    assert kernels.keystream(key, last, last - 40, 16 * 41) == openssl(key, last, last - 40, 16 * 41)


@pytest.mark.parametrize("w", WIDTHS)
def test_every_width_with_signs(kernels, w):
    acc, keys, signs = inputs(331, 5, w)
    expected = reference(acc, keys, signs, w, 0, w)
    kernels.mask_apply(acc, keys, signs, w, 0, w)
    assert np.array_equal(acc, expected)


@pytest.mark.parametrize("w", [16, 20, 64])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1025])
def test_every_length_and_start(kernels, w, n):
    for start in (0, 1, 3, 8, 31, 1000003, (1 << 32) - 2):
        acc, keys, signs = inputs(n, 3, w)
        expected = reference(acc, keys, signs, 7, start, w)
        kernels.mask_apply(acc, keys, signs, 7, start, w)
        assert np.array_equal(acc, expected), start


@pytest.mark.parametrize("w", [9, 32, 47])
@pytest.mark.parametrize("k", [0, 1, 2, 17, 100])
def test_any_number_of_keys(kernels, w, k):
    acc, keys, signs = inputs(67, k, w)
    expected = reference(acc, keys, signs, (1 << 64) - 1, 5, w)
    kernels.mask_apply(acc, keys, signs, (1 << 64) - 1, 5, w)
    assert np.array_equal(acc, expected)


def test_values_above_the_width_are_reduced(kernels):
    acc = np.full(37, 0xFFFF, dtype=np.uint16)
    kernels.mask_apply(acc, np.empty((0, 16), np.uint8), np.empty(0, np.int8), 0, 0, 5)
    assert (acc == 31).all()


def test_the_end_of_the_stream(kernels):
    for w in (16, 32, 64):
        acc, keys, signs = inputs(19, 2, w)
        start = (1 << 64) - 19
        expected = reference(acc, keys, signs, 1, start, w)
        kernels.mask_apply(acc, keys, signs, 1, start, w)
        assert np.array_equal(acc, expected)
        with pytest.raises(errors.InputError, match="start"):
            kernels.mask_apply(acc, keys, signs, 1, start + 1, w)


@pytest.mark.parametrize("w", [12, 30, 50])
def test_vector_longer_than_a_chunk(kernels, w):
    acc, keys, signs = inputs(300_001, 2, w)
    dtype = acc.dtype
    expected = acc.copy()
    for key, sign in zip(keys, signs, strict=True):
        raw = np.frombuffer(openssl(key.tobytes(), 3, 0, (len(acc) + 11) * dtype.itemsize), dtype=dtype)[11:]
        expected = expected + raw if sign > 0 else expected - raw
    expected &= dtype.type((1 << w) - 1)
    kernels.mask_apply(acc, keys, signs, 3, 11, w)
    assert np.array_equal(acc, expected)


@settings(max_examples=60, deadline=None)
@given(
    w=st.integers(1, 64),
    n=st.integers(0, 700),
    cuts=st.lists(st.integers(0, 700), max_size=4),
    start=st.integers(0, (1 << 64) - 701),
    k=st.integers(0, 4),
)
def test_ranges_add_up_to_the_whole_everywhere(w, n, cuts, start, k):
    """Any split into ranges, on any implementation, gives the bytes of one pass on any other."""
    acc, keys, signs = inputs(n, k, w)
    whole = {}
    bounds = [0, *sorted(min(cut, n) for cut in cuts), n]
    for name, backend in BACKENDS.items():
        whole[name] = acc.copy()
        backend.mask_apply(whole[name], keys, signs, 9, start, w)
        parts = acc.copy()
        for low, high in itertools.pairwise(bounds):
            backend.mask_apply(parts[low:high], keys, signs, 9, start + low, w)
        assert np.array_equal(parts, whole[name])
    first, *others = whole.values()
    assert all(np.array_equal(first, other) for other in others)
    for backend in BACKENDS.values():
        backend.mask_apply(first, keys, -signs, 9, start, w)
        assert np.array_equal(first, acc)
        backend.mask_apply(first, keys, signs, 9, start, w)


def test_neighbours_of_the_range_are_untouched(kernels):
    acc, keys, signs = inputs(400, 3, 16)
    before = acc.copy()
    kernels.mask_apply(acc[101:203], keys, signs, 1, 5, 16)
    assert np.array_equal(acc[:101], before[:101])
    assert np.array_equal(acc[203:], before[203:])
    assert not np.array_equal(acc, before)


ACC, KEYS, SIGNS = inputs(10, 2, 16)
READ_ONLY = ACC.copy()
READ_ONLY.flags.writeable = False
MISALIGNED = np.frombuffer(bytearray(21), dtype=np.uint8)[1:].view(np.uint16)
MISUSES = {
    "a list": {"acc": [1, 2, 3]},
    "signed lanes": {"acc": ACC.astype(np.int16)},
    "lanes of another width": {"acc": ACC.astype(np.uint32)},
    "big-endian lanes": {"acc": ACC.astype(">u2")},
    "two dimensions": {"acc": ACC.reshape(2, 5)},
    "a strided view": {"acc": ACC[::2]},
    "misaligned": {"acc": MISALIGNED},
    "read-only": {"acc": READ_ONLY},
    "one key short": {"keys": KEYS[:1]},
    "keys of 15 bytes": {"keys": np.zeros((2, 15), np.uint8)},
    "keys in one row": {"keys": KEYS.reshape(32)},
    "keys not bytes": {"keys": KEYS.astype(np.int16)},
    "keys transposed": {"keys": np.zeros((16, 2), np.uint8).T},
    "sign 0": {"signs": np.array([1, 0], np.int8)},
    "sign -128": {"signs": np.array([1, -128], np.int8)},
    "signs of another type": {"signs": SIGNS.astype(np.int64)},
    "negative stream": {"stream_id": -1},
    "stream beyond 64 bits": {"stream_id": 1 << 64},
    "negative start": {"start": -1},
    "start not an integer": {"start": 1.0},
    "width 0": {"w": 0},
    "width 65": {"w": 65},
    "width not an integer": {"w": "16"},
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_misuse_is_refused(kernels, misuse):
    arguments = {"acc": ACC, "keys": KEYS, "signs": SIGNS, "stream_id": 0, "start": 0, "w": 16} | misuse
    before = ACC.copy()
    with pytest.raises(errors.InputError):
        kernels.mask_apply(**arguments)
    assert np.array_equal(before, ACC)


@pytest.mark.parametrize(
    "arguments",
    [
        ("0" * 16, 0, 0, 1),
        (bytes(17), 0, 0, 1),
        (bytes(16), -1, 0, 1),
        (bytes(16), 0, 1 << 64, 0),
        (bytes(16), 0, 0, -1),
    ],
)
def test_keystream_misuse_is_refused(kernels, arguments):
    with pytest.raises(errors.InputError):
        kernels.keystream(*arguments)
