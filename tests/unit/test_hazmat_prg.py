"""The mask generator against pycryptodome's AES-CTR, and the shuffle against its text."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from Crypto.Cipher import AES
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import InputError
from secagg.hazmat import prg

KEYS = st.binary(min_size=16, max_size=16)
# The fallback kernels compile when first called.
slow_first_call = settings(deadline=None)
LANES = {16: np.uint16, 32: np.uint32, 64: np.uint64}


def plain_keystream(key: bytes, stream_id: int, nbytes: int) -> bytes:
    cipher = AES.new(key, AES.MODE_CTR, nonce=stream_id.to_bytes(8, "big"), initial_value=0)
    return cipher.encrypt(bytes(nbytes))


def lane_bits(w: int) -> int:
    return 16 if w <= 16 else 32 if w <= 32 else 64


@slow_first_call
@given(KEYS, st.integers(0, 2**64 - 1), st.integers(0, 300))
def test_expand_is_aes_ctr(key: bytes, stream_id: int, nbytes: int) -> None:
    assert prg.expand(key, stream_id, nbytes) == plain_keystream(key, stream_id, nbytes)


@slow_first_call
@given(
    st.lists(st.tuples(KEYS, st.sampled_from([1, -1])), max_size=5),
    st.integers(1, 64),
    st.integers(0, 40),
    st.integers(1, 50),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32),
)
def test_apply_masks_against_plain_integers(
    pairs: list[tuple[bytes, int]], w: int, start: int, n: int, stream_id: int, seed: int
) -> None:
    bits = lane_bits(w)
    first = (
        np.random.default_rng(seed).integers(0, 2**w, n, dtype=np.uint64, endpoint=False)
        if w < 64
        else (np.random.default_rng(seed).integers(0, 2**64 - 1, n, dtype=np.uint64, endpoint=True))
    )
    acc = first.astype(LANES[bits])
    expected = [int(v) for v in acc]
    for key, sign in pairs:
        stream = plain_keystream(key, stream_id, (start + n) * bits // 8)
        for i in range(n):
            at = (start + i) * bits // 8
            expected[i] = (expected[i] + sign * int.from_bytes(stream[at : at + bits // 8], "little")) % 2**w
    prg.apply_masks(acc, [key for key, _ in pairs], [sign for _, sign in pairs], stream_id, start, w)
    assert [int(v) for v in acc] == expected


def test_a_mask_and_its_negative_cancel() -> None:
    acc = np.arange(1000, dtype=np.uint32)
    keys = [bytes([i]) * 16 for i in range(6)]
    prg.apply_masks(acc, keys, [1, -1, 1, -1, 1, -1], 3, 17, 24)
    assert not np.array_equal(acc, np.arange(1000))
    prg.apply_masks(acc, keys, [-1, 1, -1, 1, -1, 1], 3, 17, 24)
    assert np.array_equal(acc, np.arange(1000))


@pytest.mark.parametrize(
    "keys, signs",
    [
        ([bytes(16)], []),
        ([bytes(15)], [1]),
        ([bytes(15), bytes(17)], [1, 1]),
        ([bytearray(16)], [1]),
        ([bytes(16)], [0]),
        ([bytes(16)], [2]),
        ([bytes(16)], [257]),
    ],
)
def test_bad_keys_and_signs_leave_the_accumulator(keys: list[bytes], signs: list[int]) -> None:
    acc = np.arange(8, dtype=np.uint16)
    with pytest.raises(InputError):
        prg.apply_masks(acc, keys, signs, 1, 0, 16)
    assert np.array_equal(acc, np.arange(8))


@pytest.mark.parametrize("stream_id, nbytes", [(-1, 1), (2**64, 1), (0, -1)])
def test_expand_refuses_values_out_of_range(stream_id: int, nbytes: int) -> None:
    with pytest.raises(InputError):
        prg.expand(bytes(16), stream_id, nbytes)


def plain_permutation(key: bytes, n: int) -> list[int]:
    stream = plain_keystream(key, 0, 16 * n + 64)
    words = iter([int.from_bytes(stream[i : i + 8], "little") for i in range(0, len(stream), 8)])
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        word = next(w for w in words if w < 2**64 // (i + 1) * (i + 1))
        order[i], order[word % (i + 1)] = order[word % (i + 1)], order[i]
    return order


@slow_first_call
@given(KEYS, st.integers(0, 200))
def test_permutation_follows_its_text(key: bytes, n: int) -> None:
    order = prg.permutation(key, n)
    assert order == plain_permutation(key, n)
    assert sorted(order) == list(range(n))


def test_permutation_passes_over_high_words(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three rejections in a row for size 3 outrun the words read at first; sizes that divide 2^64 reject
    # nothing.
    top = 2**64 - 1
    words = [top, top, top, 4, 1, *[0] * 20]
    stream = b"".join(word.to_bytes(8, "little") for word in words)
    monkeypatch.setattr(prg, "expand", lambda key, stream_id, nbytes: stream[:nbytes])
    # i = 2: j = 4 mod 3 = 1 gives [0, 2, 1]; i = 1: j = 1 leaves it.
    assert prg.permutation(bytes(16), 3) == [0, 2, 1]


def test_permutation_is_near_uniform() -> None:
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for i in range(4800):
        counts[tuple(prg.permutation(i.to_bytes(16, "big"), 4))] += 1
    assert max(abs(count - 200) for count in counts.values()) < 80


@pytest.mark.parametrize("key, n", [(bytes(15), 3), (b"", 3), (bytes(16), -1)])
def test_permutation_refuses_bad_input(key: bytes, n: int) -> None:
    with pytest.raises(InputError):
        prg.permutation(key, n)
