"""The field p = 2^61 - 1 and limbs, against plain integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import InputError
from secagg.hazmat import field

EDGE = [
    0,
    1,
    field.P - 1,
    field.P,
    field.P + 1,
    2**61,
    2**64 - 1,
    2**64,
    2**64 + 1,
    2**128 - 1,
    2**128 - 2,
    field.P << 64,
]


def test_p_is_the_mersenne_prime() -> None:
    assert field.P == 2**61 - 1
    assert all(pow(base, field.P - 1, field.P) == 1 for base in (2, 3, 5, 7, 11, 13))


@given(st.binary(min_size=1, max_size=80))
def test_limbs_are_little_endian_and_come_back(secret: bytes) -> None:
    values = field.limbs(secret)
    assert values.dtype == np.uint64 and len(values) == -(-len(secret) // 7)
    assert [int(v) for v in values] == [int.from_bytes(secret[i : i + 7], "little") for i in range(0, len(secret), 7)]
    assert sum(int(v) << 56 * i for i, v in enumerate(values)) == int.from_bytes(secret, "little")
    assert field.from_limbs(values, len(secret)) == secret


@given(st.lists(st.one_of(st.sampled_from(EDGE), st.integers(0, 2**128 - 1)), max_size=20))
def test_reduction_of_128_bits(numbers: list[int]) -> None:
    reduced = field.reduce_128(b"".join(n.to_bytes(16, "little") for n in numbers))
    assert reduced.dtype == np.uint64
    assert [int(v) for v in reduced] == [n % field.P for n in numbers]


def test_reduction_needs_whole_elements() -> None:
    with pytest.raises(InputError):
        field.reduce_128(bytes(17))


@pytest.mark.parametrize(
    "values, nbytes",
    [
        ([2**56], 7),
        ([0, 2**56], 14),
        ([1, 2**16], 9),
        ([0, 0, 2**63], 16),
        ([0], 8),
        ([0, 0], 7),
        ([], 1),
        ([0], 0),
    ],
)
def test_limbs_of_no_secret_are_refused(values: list[int], nbytes: int) -> None:
    with pytest.raises(InputError):
        field.from_limbs(np.array(values, dtype=np.uint64), nbytes)


def test_other_dtypes_and_shapes_are_refused() -> None:
    for values in (np.zeros(3, np.int64), np.zeros((3, 1), np.uint64), np.zeros(3)):
        with pytest.raises(InputError):
            field.from_limbs(values, 16)


def test_strided_limbs_come_back() -> None:
    values = np.arange(6, dtype=np.uint64)[::2]
    assert field.from_limbs(values, 21) == b"".join(v.to_bytes(7, "little") for v in (0, 2, 4))


@pytest.mark.parametrize("secret", [b"", "text", bytearray(b"x"), None])
def test_secret_must_be_bytes(secret: object) -> None:
    with pytest.raises(InputError):
        field.limbs(secret)  # type: ignore[arg-type]


def test_fault_26_canonical_means_below_p() -> None:
    assert field.is_canonical(np.array([0, field.P - 1], dtype=np.uint64))
    assert not field.is_canonical(np.array([0, field.P], dtype=np.uint64))
    assert not field.is_canonical(np.array([2**64 - 1], dtype=np.uint64))
