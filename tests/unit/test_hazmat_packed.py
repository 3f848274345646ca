"""Packed sharing: what the reference computes, secrecy by counting, sums, wrong shares named, and digits."""

from __future__ import annotations

import os

import numpy as np
import pytest

from reference import packed as reference
from reference.entropy import Entropy
from secagg.errors import InputError
from secagg.hazmat import correction, packed
from secagg.hazmat.field import P

XS = [3, 1, 7, 20, 5, 9, 2**31 - 1, 11, 2, 40]


def secrets(m=4, rho=3, seed=0):
    made = np.random.default_rng([seed, m, rho]).integers(0, P, (m, rho), dtype=np.uint64)
    made.reshape(-1)[:3] = [0, P - 1, 1][: made.size]
    return made


def test_the_field():
    assert reference.P == P


@pytest.mark.parametrize(("threshold", "rho", "m"), [(2, 1, 1), (4, 3, 4), (6, 2, 3), (10, 9, 2), (10, 1, 5)])
def test_shares_are_the_references(threshold, rho, m):
    values = secrets(m, rho)
    made = packed.split(values, threshold, XS, Entropy("packed"))
    assert made.dtype == np.uint64
    assert made.tolist() == reference.split(values.tolist(), threshold, XS, Entropy("packed"))
    opened, wrong = packed.combine(XS, made, threshold, rho)
    assert np.array_equal(opened, values)
    assert wrong == ()
    chosen = [8, 0, 9, 2, 4, 1, 3, 7, 6, 5][:threshold]
    opened, wrong = packed.combine([XS[i] for i in chosen], made[chosen], threshold, rho)
    assert np.array_equal(opened, values)
    assert opened.tolist() == reference.combine([XS[i] for i in chosen], made[chosen].tolist(), rho)
    assert wrong == ()


def test_shares_are_fresh():
    values = secrets()
    one, two = (packed.split(values, 5, XS) for _ in range(2))
    assert not (one == two).any()


def test_few_shares_say_nothing():
    """For T - rho shares, each pair of secrets has a drawn part that gives these very shares: uniform, so nothing is told."""
    threshold, rho, holders = 5, 2, [9, 5, 2]
    values = secrets(1, rho)
    shares = packed.split(values, threshold, XS)
    seen = [int(shares[XS.index(x), 0]) for x in holders]
    for other in ([0, 0], [1, P - 1], [12345, 678]):
        nodes, through = [-1, -2, *holders], [*other, *seen]
        drawn = [reference.value_at(x, nodes, through) for x in XS[: threshold - rho]]
        made = packed.split(
            np.array([other], np.uint64),
            threshold,
            XS,
            lambda n, drawn=drawn: b"".join(d.to_bytes(16, "little") for d in drawn),
        )
        assert [int(made[XS.index(x), 0]) for x in holders] == seen


def test_sums_of_shares_are_shares_of_sums():
    total = np.zeros((len(XS), 4), np.uint64)
    expected = np.zeros((4, 3), object)
    for client in range(5):
        values = secrets(seed=client)
        packed.add(total, packed.split(values, 6, XS))
        expected = (expected + values.astype(object)) % P
    opened, wrong = packed.combine(XS, total, 6, 3)
    assert opened.tolist() == expected.tolist()
    assert wrong == ()


@pytest.mark.parametrize("extra", [1, 2, 3, 4, 5, 6])
def test_wrong_rows_are_named_up_to_half_of_what_is_beyond(extra):
    threshold, rho, rng = 4, 2, np.random.default_rng(extra)
    xs = XS[: threshold + extra]
    values = secrets(6, rho)
    good = packed.split(values, threshold, xs)
    for count in range(extra + 1):
        bad = good.copy()
        rows = sorted(rng.choice(len(xs), count, replace=False).tolist())
        for turn, row in enumerate(rows):  # one element, a random row, zeros
            if turn % 3 == 0:
                bad[row, turn % 6] = (int(bad[row, turn % 6]) + 1) % P
            else:
                bad[row] = rng.integers(0, P, 6) if turn % 3 == 1 else 0
        if 2 * count <= extra:
            opened, wrong = packed.combine(xs, bad, threshold, rho)
            assert np.array_equal(opened, values)
            assert wrong == tuple(xs[row] for row in rows)
        else:
            with pytest.raises(InputError, match="contradict"):
                packed.combine(xs, bad, threshold, rho)


def test_liars_who_agree_on_another_polynomial_are_named_while_they_are_few():
    threshold, rho, xs = 4, 2, XS[:8]
    values = secrets(5, rho)
    shares = packed.split(values, threshold, xs)
    other = packed.split(secrets(5, rho, seed=1), threshold, xs)
    shares[2:4] = other[2:4]
    opened, wrong = packed.combine(xs, shares, threshold, rho)
    assert np.array_equal(opened, values)
    assert wrong == (xs[2], xs[3])


def test_errors_at_different_columns_of_different_rows_are_all_found():
    threshold, xs = 4, XS[:10]
    shares = packed.split(secrets(6, 3), threshold, xs)
    bad = shares.copy()
    for row, column in ((1, 0), (4, 5), (9, 2)):
        bad[row, column] ^= np.uint64(1)
    opened, wrong = packed.combine(xs, bad, threshold, 3)
    assert np.array_equal(opened, secrets(6, 3))
    assert wrong == (xs[1], xs[4], xs[9])


def test_a_combination_that_hides_errors_is_not_believed(monkeypatch):
    """Were the random combination blind to a wrong row, the columns would still show it."""
    shares = packed.split(secrets(2, 2), 3, XS[:6])
    shares[0, 1] ^= np.uint64(1)
    monkeypatch.setattr(packed.os, "urandom", lambda n: bytes([1, *bytes(15)]) + bytes(n - 16))
    with pytest.raises(InputError, match="contradict"):
        packed.combine(XS[:6], shares, 3, 2)


def test_with_threshold_rows_nothing_can_be_told():
    shares = packed.split(secrets(), 5, XS)[:5]
    shares[0, 0] ^= np.uint64(1)
    opened, wrong = packed.combine(XS[:5], shares, 5, 3)
    assert wrong == ()
    assert not np.array_equal(opened, secrets())


@pytest.mark.parametrize(
    ("threshold", "xs"),
    [
        (3, XS),  # not above rho
        (11, XS),
        (5, []),
        (5, [1, 2, 3, 4, 4]),
        (5, [0, 1, 2, 3, 4]),
        (5, [1, 2, 3, 4, 2**31]),
        (5, [1, 2, 3, 4, True]),
        (5, list(range(1, 1026))),
        (True, XS),
        (4.0, XS),
    ],
)
def test_splits_that_do_not_exist(threshold, xs):
    with pytest.raises(InputError):
        packed.split(secrets(), threshold, xs)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [[1]],
        secrets().astype(np.int64),
        secrets()[0],
        np.zeros((0, 3), np.uint64),
        np.zeros((3, 0), np.uint64),
        np.full((2, 2), P, np.uint64),
    ],
    ids=str,
)
def test_elements_that_are_none(values):
    with pytest.raises(InputError):
        packed.split(values, 5, XS)
    with pytest.raises(InputError):
        packed.combine(XS, values, 5, 2)


def test_combining_with_too_few_rows_or_odd_sizes():
    shares = packed.split(secrets(), 5, XS)
    for xs, rows, threshold, rho in (
        (XS[:4], shares[:4], 5, 3),
        (XS[:5], shares[:6], 5, 3),
        (XS[:6], shares[:5], 5, 3),
        (XS, shares, 5, 5),
        (XS, shares, 5, 0),
        ([XS[0], *XS[:9]], shares, 5, 3),
    ):
        with pytest.raises(InputError):
            packed.combine(xs, rows, threshold, rho)


def test_an_entropy_source_that_is_short():
    with pytest.raises(InputError):
        packed.split(secrets(), 5, XS, lambda n: os.urandom(n - 1))


def test_add_refuses_and_leaves():
    acc, one = np.zeros((2, 2), np.uint64), np.full((2, 2), P - 1, np.uint64)
    packed.add(acc, one)
    packed.add(acc, one)
    assert (acc == P - 2).all()
    for bad in (one[0], np.full((2, 2), P, np.uint64), one.astype(np.int64), None):
        with pytest.raises(InputError):
            packed.add(acc, bad)
    assert (acc == P - 2).all()


# The decoder alone.


def test_the_decoder_knows_a_polynomial_of_zero():
    assert correction.wrong_rows([1, 2, 3, 4], [0, 0, 0, 0], 2) == set()
    assert correction.wrong_rows([1, 2, 3, 4], [0, 5, 0, 0], 2) == {1}
    with pytest.raises(InputError):
        correction.wrong_rows([1, 2, 3, 4], [0, 5, 0, 1], 2)


def test_the_decoder_finds_every_pair_of_wrong_points():
    xs = list(range(1, 9))
    ys = [(7 + 3 * x + x * x * x) % P for x in xs]
    for i in range(8):
        for j in range(i + 1, 8):
            bad = list(ys)
            bad[i], bad[j] = (bad[i] + 5) % P, (bad[j] - 1) % P
            assert correction.wrong_rows(xs, bad, 4) == {i, j}


# Digits.


@pytest.mark.parametrize("width", [2, 7, 16, 20, 29, 30, 31, 60])
def test_digits_are_the_references_and_add_up(width):
    half = 1 << width - 1
    rng = np.random.default_rng(width)
    rows = [rng.integers(-((half - 1) // 3), (half - 1) // 3, 50, endpoint=True) for _ in range(3)]
    rows[0][:2] = [(half - 1) // 3, -((half - 1) // 3)]
    total = np.zeros(-(-50 // packed.digits_per_element(width)), np.uint64)
    for row in rows:
        made = packed.pack_digits(row, width)
        assert made.tolist() == reference.pack_digits(row.tolist(), width)
        packed.add(total, made)
    assert np.array_equal(packed.unpack_digits(total, width, 50), sum(rows))
    extremes = np.array([half - 1, 1 - half, half - 1, 0, 1 - half, 1 - half, -(half > 1), 1 - half], np.int64)
    assert np.array_equal(packed.unpack_digits(packed.pack_digits(extremes, width), width, 8), extremes)


def test_elements_are_filled_up_to_whole_polynomials():
    made = packed.pack_digits(np.arange(10, dtype=np.int64), 16, rho=4)
    assert made.shape == (4,)
    assert made[3] == 9 | 0
    assert packed.pack_digits(np.arange(13, dtype=np.int64), 16, rho=4).shape == (8,)
    assert packed.unpack_digits(made, 16, 10).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("values", "width", "rho"),
    [
        (np.zeros(0, np.int64), 16, 1),
        (np.zeros(3, np.int32), 16, 1),
        (np.zeros((2, 2), np.int64), 16, 1),
        ([1], 16, 1),
        (np.array([1 << 15]), 16, 1),
        (np.array([-(1 << 15)]), 16, 1),
        (np.array([-(1 << 63)]), 60, 1),
        (np.zeros(3, np.int64), 1, 1),
        (np.zeros(3, np.int64), 61, 1),
        (np.zeros(3, np.int64), 16, 0),
    ],
    ids=str,
)
def test_digits_that_are_none(values, width, rho):
    with pytest.raises(InputError):
        packed.pack_digits(values, width, rho)


def test_elements_that_are_no_sum_of_digits():
    made = packed.pack_digits(np.array([1, -2, 3, 4], np.int64), 20)
    assert made.shape == (2,)
    for bad, count in (
        (made, 7),  # too few elements
        (made, 3),  # the fourth value is not 0
        (made, 0),
        (made.astype(np.int64), 4),
        (np.full(2, P, np.uint64), 4),
        (np.array([1 << 59, 0], np.uint64), 4),  # above every sum
        (np.array([P - (1 << 59) - (1 << 58), 0], np.uint64), 4),
        (np.array([P // 2, 0], np.uint64), 4),
        (np.array([P // 2 + 1, 0], np.uint64), 4),
        (np.array([P - (1 << 19), 0], np.uint64), 4),  # a digit of -2^19
    ):
        with pytest.raises(InputError):
            packed.unpack_digits(bad, 20, count)
