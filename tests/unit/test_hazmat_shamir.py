"""Shamir over p = 2^61 - 1: any t of n open, fewer fit every secret, malformed input is refused."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import DecodeError, InputError
from secagg.hazmat import field, shamir

P = field.P
# The fallback kernels compile when first called.
slow_first_call = settings(deadline=None)


def _value(share: bytes, limb: int) -> int:
    return int.from_bytes(share[8 * limb : 8 * limb + 8], "little")


def interpolate(points: dict[int, int], at: int) -> int:
    """Lagrange in plain integers."""
    total = 0
    for x, y in points.items():
        top = bottom = 1
        for other in points:
            if other != x:
                top, bottom = top * (at - other) % P, bottom * (x - other) % P
        total += y * top * pow(bottom, -1, P)
    return total % P


def fixed(data: bytes) -> Callable[[int], bytes]:
    def source(n: int) -> bytes:
        assert n == len(data)
        return data

    return source


@slow_first_call
@given(st.binary(min_size=1, max_size=40), st.data())
def test_any_t_of_n_give_the_secret_back(secret: bytes, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    t = data.draw(st.integers(1, n))
    xs = data.draw(st.lists(st.integers(1, P - 1) | st.integers(1, 20), min_size=n, max_size=n, unique=True))
    shares = dict(zip(xs, shamir.split(secret, t, xs), strict=True))
    chosen = data.draw(st.permutations(xs))[: data.draw(st.integers(t, n))]
    assert shamir.combine({x: shares[x] for x in chosen}, t, len(secret)) == secret


@slow_first_call
@given(st.binary(min_size=16, max_size=16), st.integers(2, 6), st.data())
def test_shares_are_the_polynomial_of_the_entropy(secret: bytes, t: int, data: st.DataObject) -> None:
    xs = [1, 2, 5, P - 1, 7, 9]
    count = 3
    drawn = data.draw(st.binary(min_size=16 * (t - 1) * count, max_size=16 * (t - 1) * count))
    shares = shamir.split(secret, t, xs, fixed(drawn))
    numbers = [int.from_bytes(drawn[i : i + 16], "little") % P for i in range(0, len(drawn), 16)]
    for x, share in zip(xs, shares, strict=True):
        assert len(share) == 24
        for limb in range(count):
            coefficients = [int.from_bytes(secret[7 * limb : 7 * limb + 7], "little")]
            coefficients += [numbers[power * count + limb] for power in range(t - 1)]
            assert _value(share, limb) == sum(c * pow(x, k, P) for k, c in enumerate(coefficients)) % P


@pytest.mark.parametrize("n, t", [(2, 2), (3, 2), (4, 3), (5, 5)])
def test_fewer_than_t_shares_fit_every_secret(n: int, t: int) -> None:
    secret = os.urandom(16)
    shares = dict(enumerate(shamir.split(secret, t, range(1, n + 1)), start=1))
    for held in itertools.combinations(shares, t - 1):
        for limb in range(3):
            for candidate in (0, 1, 2**56 - 1, P - 1, 12345678901234567):
                # One polynomial of degree t-1 passes through the candidate and all shares held: it is no less
                # likely than ours.
                points = {0: candidate} | {x: _value(shares[x], limb) for x in held}
                rest = {x: interpolate(points, x) for x in shares}
                assert all(rest[x] == points[x] for x in held)
                sample = list(shares)[:t]
                assert interpolate({x: rest[x] for x in sample}, 0) == candidate


def test_one_share_is_uniform_whatever_the_secret() -> None:
    # With t = 2 the share at x is s + a*x: every value comes from exactly one a, for s = 0 and for s = all
    # ones.
    for secret in (bytes(7), b"\xff" * 7):
        tops = [_value(shamir.split(secret, 2, [1, 2])[0], 0) >> 58 for _ in range(2000)]
        assert max(abs(tops.count(i) - 250) for i in range(8)) < 110


def test_threshold_one_is_the_secret_itself() -> None:
    assert shamir.split(b"\1" * 7, 1, [3, 4]) == [(b"\1" * 7) + b"\0"] * 2


def test_sizes() -> None:
    assert [len(shamir.split(bytes(n), 2, [1, 2])[0]) for n in (16, 32)] == [24, 40]
    assert [shamir.share_bytes(n) for n in (1, 7, 8, 16, 32)] == [8, 8, 16, 24, 40]


def test_many_holders() -> None:
    secret = os.urandom(32)
    xs = list(range(1, 501))
    shares = dict(zip(xs, shamir.split(secret, 400, xs), strict=True))
    assert shamir.combine(shares, 400, 32) == secret
    assert shamir.combine({x: shares[x] for x in xs[100:]}, 400, 32) == secret


@slow_first_call
@given(st.data())
def test_combine_many_against_plain_integers(data: st.DataObject) -> None:
    t, m = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    xs = data.draw(st.lists(st.integers(1, P - 1), min_size=t, max_size=t, unique=True))
    element = st.integers(0, P - 1) | st.sampled_from([0, 1, P - 1])
    rows = [data.draw(st.lists(element, min_size=m, max_size=m)) for _ in xs]
    opened = shamir.combine_many(xs, np.array(rows, dtype=np.uint64))
    for column in range(m):
        assert int(opened[column]) == interpolate({x: row[column] for x, row in zip(xs, rows, strict=True)}, 0)


@pytest.mark.parametrize("xs", [[0, 1], [1, 1], [1, P], [1, -1], [1, 2**64], [1, True], [1, 1.5], [1, "2"], [1, P + 1]])
def test_fault_25_bad_indices_are_refused(xs: list[int]) -> None:
    with pytest.raises(InputError, match="ind"):
        shamir.split(bytes(16), 2, xs)
    with pytest.raises(InputError, match="ind"):
        shamir.combine_many(xs, np.zeros((2, 3), dtype=np.uint64))
    if len(set(xs)) == 2:
        with pytest.raises(InputError, match="ind"):
            shamir.combine(dict.fromkeys(xs, bytes(24)), 2, 16)


@pytest.mark.parametrize("threshold", [0, -1, 4, True, 1.0, None])
def test_fault_48_bad_thresholds_are_refused(threshold: int) -> None:
    with pytest.raises(InputError, match="threshold"):
        shamir.split(bytes(16), threshold, [1, 2, 3])


def test_fault_26_non_canonical_limbs_are_refused() -> None:
    good = shamir.split(bytes(range(16)), 2, [1, 2])
    for value in (P, P + 1, 2**64 - 1):
        bad = value.to_bytes(8, "little") + good[1][8:]
        with pytest.raises(DecodeError, match="canonical"):
            shamir.check_share(bad, 16)
        with pytest.raises(InputError, match="canonical"):
            shamir.combine({1: good[0], 2: bad}, 2, 16)
        with pytest.raises(InputError, match="canonical"):
            shamir.combine_many([1], np.array([[value]], dtype=np.uint64))
    shamir.check_share(good[0], 16)


@pytest.mark.parametrize("share", [b"", bytes(23), bytes(25), bytes(40), bytearray(24), None])
def test_malformed_share_is_refused(share: bytes) -> None:
    with pytest.raises(DecodeError):
        shamir.check_share(share, 16)
    with pytest.raises(InputError):
        shamir.combine({1: share, 2: bytes(24)}, 2, 16)


def test_too_few_shares_are_refused() -> None:
    shares = dict(enumerate(shamir.split(bytes(16), 3, [1, 2, 3]), start=1))
    with pytest.raises(InputError, match="3 shares are needed, got 2"):
        shamir.combine({x: shares[x] for x in (1, 3)}, 3, 16)
    with pytest.raises(InputError):
        shamir.combine({}, 1, 16)
    with pytest.raises(InputError):
        shamir.combine(shares, 0, 16)


def test_wrong_share_gives_another_secret_or_a_refusal() -> None:
    # The weight of share 2 among 1, 2, 3 is -3: one more there is three less in the first limb.
    for first in (10, 0):
        secret = first.to_bytes(16, "little")
        shares = dict(enumerate(shamir.split(secret, 3, range(1, 6)), start=1))
        shares[2] = ((_value(shares[2], 0) + 1) % P).to_bytes(8, "little") + shares[2][8:]
        opened = {x: shares[x] for x in (1, 2, 3)}
        if first:
            assert shamir.combine(opened, 3, 16) == (first - 3).to_bytes(16, "little")
        else:
            with pytest.raises(InputError, match="limbs"):
                shamir.combine(opened, 3, 16)
        assert shamir.combine({x: shares[x] for x in (1, 3, 5)}, 3, 16) == secret


@pytest.mark.parametrize(
    "shares",
    [
        np.zeros((2, 3), np.int64),
        np.zeros((3, 3), np.uint64),
        np.zeros(2, np.uint64),
        np.zeros((2, 3, 1), np.uint64),
    ],
)
def test_combine_many_refuses_other_shapes(shares: np.ndarray) -> None:
    with pytest.raises(InputError, match="shape"):
        shamir.combine_many([1, 2], shares)
    with pytest.raises(InputError):
        shamir.combine_many([], np.zeros((0, 3), np.uint64))


def test_combine_many_takes_strided_rows() -> None:
    rows = np.arange(12, dtype=np.uint64).reshape(2, 6)[:, ::2]
    assert (shamir.combine_many([1, 2], rows) == shamir.combine_many([1, 2], rows.copy())).all()


def test_short_entropy_is_refused_and_errors_show_no_secret() -> None:
    secret = b"canary-canary-16"
    for source in (lambda n: bytes(n - 1), lambda n: b""):
        with pytest.raises(InputError) as caught:
            shamir.split(secret, 2, [1, 2], source)
        assert "canary" not in repr(caught.value)


def test_fresh_randomness_each_time() -> None:
    assert shamir.split(bytes(16), 2, [1, 2]) != shamir.split(bytes(16), 2, [1, 2])
