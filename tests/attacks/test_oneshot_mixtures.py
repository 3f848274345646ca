"""A lying server shows members of one oneshot round more than two sets of survivors, and mixes what they answer.

Two sets are never both opened under ``2 (T - rho + 1) > M + c'``. That alone does not rule out that several sets' answers open
a sum which no member agreed to: docs/spec/oneshot.md, section 8, says when they do, and here each small case is searched.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import secagg
from secagg import Params
from secagg.errors import ParameterError
from secagg.hazmat import field, packed
from secagg.oneshot_rules import most_packing, sets_apart

P = field.P


def solutions(rows: list[list[int]], count: int) -> list[list[int]]:
    """Return a basis of the vectors that every row is orthogonal to, modulo p."""
    rows, pivots = [row[:] for row in rows], []
    for column in range(count):
        at = len(pivots)
        found = next((i for i in range(at, len(rows)) if rows[i][column]), None)
        if found is None:
            continue
        rows[at], rows[found] = rows[found], rows[at]
        inverse = pow(rows[at][column], -1, P)
        rows[at] = [value * inverse % P for value in rows[at]]
        for i, row in enumerate(rows):
            if i != at and row[column]:
                rows[i] = [(a - row[column] * b) % P for a, b in zip(row, rows[at], strict=True)]
        pivots.append(column)
    basis = []
    for free in set(range(count)) - set(pivots):
        vector = [int(column == free) for column in range(count)]
        for i, column in enumerate(pivots):
            vector[column] = -rows[i][free] % P
        basis.append(vector)
    return basis


def mixes(points: list[int], least: int, sets: tuple[int, ...], classes: int) -> bool:
    """Tell whether weights of the honest members' answers open something that is not a function of one set's sum.

    Member i, at points[i], was shown the classes of honest clients that are bits of sets[i]. The randomness of each class must
    vanish: ``least - 1`` equations, once what the corrupt members know is taken off.
    """
    rows = [
        [pow(x, power, P) * (shown >> each & 1) for x, shown in zip(points, sets, strict=True)]
        for each in range(classes)
        for power in range(least - 1)
    ]
    basis = solutions(rows, len(points))

    def weighs(bit: int) -> int:
        return any(vector[i] for vector in basis for i, shown in enumerate(sets) if shown.bit_count() and bit & shown)

    def differ(one: int, other: int) -> bool:
        return any(
            vector[i]
            for vector in basis
            for i, shown in enumerate(sets)
            if bool(shown & 1 << one) != bool(shown & 1 << other)
        )

    return any(
        weighs(1 << one) and weighs(1 << other) and differ(one, other)
        for one, other in itertools.combinations(range(classes), 2)
    )


def settings(most: int):
    """Yield M, c' and the points of up to six honest members, wherever the corrupt ones sit."""
    for size in range(2, most + 1):
        for corrupt in range(max(0, size - 6), size):
            for bad in itertools.combinations(range(1, size + 1), corrupt):
                yield size, corrupt, [x for x in range(1, size + 1) if x not in bad]


def test_three_sets_open_a_sum_that_no_member_agreed_to_where_only_two_are_ruled_out():
    """M = 4 with one corrupt, T = 3, rho = 1: members 1 and 3 answer for X and for Y, member 2 for both together."""
    x, y = 123_456, 987_654
    shares = [packed.split(np.array([[secret]], np.uint64), 3, range(1, 5))[:, 0].tolist() for secret in (x, y)]
    answers = [shares[0][0], (shares[0][1] + shares[1][1]) % P, shares[1][2]]
    known = shares[0][3], shares[1][3]  # the corrupt member's

    def at_two(first: int, value: int, corrupt: int) -> tuple[int, int]:
        """Return P(2) from P(first) and P(4), as a constant and the weight of the secret P(-1)."""
        nodes = (first, 4, -1)
        weights = []
        for node in nodes:
            weight = 1
            for other in nodes:
                if other != node:
                    weight = weight * (2 - other) * pow(node - other, -1, P) % P
            weights.append(weight)
        return (weights[0] * value + weights[1] * corrupt) % P, weights[2]

    (in_x, of_x), (in_y, of_y) = at_two(1, answers[0], known[0]), at_two(3, answers[2], known[1])
    assert of_x == -2 * of_y % P
    assert (answers[1] - in_x - in_y) * pow(of_y, -1, P) % P == (y - 2 * x) % P


def test_params_and_plans_refuse_what_lets_three_sets_mix():
    own = {"length": 3, "protocol": "oneshot", "corrupt": 1}
    with pytest.raises(ParameterError, match="mix three sets"):
        Params(4, threshold=3, packing=1, min_clients=2, min_honest=1, **own)
    assert Params(4, threshold=4, packing=1, min_clients=2, min_honest=1, **own).packing == 1
    assert Params(4, threshold=3, packing=1, min_clients=3, **own).packing == 1  # any two sets share an honest client
    assert Params(4, threshold=3, packing=1, min_clients=2, min_honest=1, threat="semi-honest", **own).packing == 1
    many = Params(9, threshold=8, min_clients=6, **own).packing
    few = Params(9, threshold=8, min_clients=5, **own).packing
    assert (many, few) == (3, 2)
    planned = secagg.plan(20, 3, dropout=0.5, corrupt=1, protocol="oneshot", threshold=18)
    assert planned.min_clients == 10 and 3 * (18 - planned.packing + 1) > 2 * 20 + 1
    with pytest.raises(ParameterError, match="no committee"):
        secagg.plan(4, 3, dropout=2, corrupt=1, min_honest=1, protocol="oneshot", threshold=3)


def test_under_the_rule_for_sets_apart_no_answers_mix():
    tried = mixed = 0
    for size, corrupt, points in settings(7):  # with T = M: what counts is T - rho
        loose, tight = (most_packing(size, corrupt, size, "malicious", apart) for apart in (False, True))
        assert tight <= loose
        for rho in {loose, tight} - {0}:
            least = size - rho + 1 - corrupt
            found = any(mixes(points, least, sets, 2) for sets in itertools.product((1, 2, 3), repeat=len(points)))
            assert not (found and rho <= tight)
            tried, mixed = tried + 1, mixed + found
    assert tried > 150
    assert mixed > 20  # the looser rule alone lets some through


@pytest.mark.parametrize("classes, families", [
    (3, [(0b011, 0b101, 0b110, 0b111)]),
    (4, [
        (0b0011, 0b0101, 0b0110, 0b0111, 0b1011, 0b1101, 0b1110, 0b1111),
        (0b0011, 0b0101, 0b1001, 0b0111, 0b1011, 0b1101, 0b1110, 0b1111),
    ]),
])  # fmt: skip
def test_sets_with_a_client_in_common_do_not_mix_up_to_six_members(classes, families):
    """Every family of sets that meet pairwise lies in one of these, classes renamed, or has a class in all its sets."""
    most = 6 if classes == 3 else 4
    for size in range(2, most + 1):
        points = list(range(1, size + 1))
        least = size - most_packing(size, 0, size, "malicious", apart=False) + 1
        for family in families:
            assert all(one & other for one, other in itertools.combinations(family, 2))
            assert not any(mixes(points, least, sets, classes) for sets in itertools.product(family, repeat=size))


def test_sets_are_apart_just_where_two_can_have_only_corrupt_clients_in_common():
    for p, m, c in itertools.product(range(2, 9), range(2, 9), range(4)):
        if m > p or c >= p:
            continue
        corrupt, honest = set(range(c)), range(c, p)
        first = {*corrupt, *honest[: max(0, m - c)]}  # the corrupt are in both, the honest taken from either end
        second = {*corrupt, *honest[len(honest) - max(0, m - c) :]} if m > c else corrupt
        assert sets_apart(p, m, c) == (not (first & second) - corrupt), (p, m, c)
