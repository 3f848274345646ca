"""What answers for several sets of one oneshot round can be mixed into, where only 2 (T - rho + 1) > M + c' holds.

The words of docs/spec/oneshot.md, section 8: for each honest client the weights of those members' answers that its share is in.
Take independent ones, up to four. What a member was shown of their clients is its *type*, a nonzero vector of zeros and ones;
every other client's word is a function of the type that is zero or one everywhere. A word that is not zero vanishes at no more
than N - d of the N honest members, so that no hyperplane holds the types of more than that.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from secagg.hazmat import field, packed

P = field.P


def det(rows):
    if len(rows) == 1:
        return rows[0][0]
    minors = ([row[:i] + row[i + 1 :] for row in rows[1:]] for i in range(len(rows)))
    return sum((-1) ** i * rows[0][i] * det(minor) for i, minor in enumerate(minors) if rows[0][i])


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def where(types, holds):
    """A set of types as the bits of a number."""
    return sum(1 << i for i, v in enumerate(types) if holds(v))


def normal(rows, rank):
    """What is orthogonal to rank - 1 vectors; zero if they are dependent."""
    return [(-1) ** i * det([list(row[:i] + row[i + 1 :]) for row in rows]) for i in range(rank)]


def hyperplanes(types, rank):
    normals = (normal(rows, rank) for rows in itertools.combinations(types, rank - 1))
    return {where(types, lambda v, a=a: dot(a, v) == 0) for a in normals if any(a)}


def words(types, rank):
    """Every function that can be a client's word: the types at which it is one, and those at which it is zero."""
    found = set()
    for rows in itertools.combinations(types, rank):
        scale = det([list(row) for row in rows])
        if not scale:
            continue
        ends = [normal(rows[:i] + rows[i + 1 :], rank) for i in range(rank)]
        ends = [
            [x * scale // dot(a, row) for x in a] for a, row in zip(ends, rows, strict=True)
        ]  # scale at its own row, 0 at others
        for chosen in itertools.product((0, 1), repeat=rank):
            a = [sum(c * end[k] for c, end in zip(chosen, ends, strict=True)) for k in range(rank)]
            if any(chosen):
                found.add((
                    where(types, lambda v, a=a, scale=scale: dot(a, v) == scale), where(types, lambda v, a=a: dot(a, v) == 0)
                ))  # fmt: skip
    return found


def families(rank):
    """Yield the sets of types that no hyperplane holds, and whose every two have a client in common; and all hyperplanes."""
    types = [v for v in itertools.product((0, 1), repeat=rank) if any(v)]
    planes, able = hyperplanes(types, rank), words(types, rank)
    for family in range(1, 1 << len(types)):
        if any(family & ~plane == 0 for plane in planes):
            continue
        clients = [ones & family for ones, zeros in able if family & ~(ones | zeros) == 0]
        met = [0] * len(types)
        for ones in clients:
            for i in range(len(types)):
                met[i] |= ones if ones >> i & 1 else 0
        if all(met[i] == family for i in range(len(types)) if family >> i & 1):
            yield family, planes


@pytest.mark.parametrize(("rank", "count"), [(2, 3), (3, 36), (4, 2666)])
def test_up_to_four_words_need_more_answers_than_there_are_where_any_two_sets_share_a_client(rank, count):
    """Two hyperplanes hold all types, so that N <= 2 (N - d), against 2 d > N."""
    found, unions = 0, None
    for family, planes in families(rank):
        unions = unions or {one | other for one in planes for other in planes}
        assert any(family & ~union == 0 for union in unions)
        found += 1
    assert found == count


def test_two_sets_that_share_no_client_are_not_held_by_two_hyperplanes():
    """The mixture that the stronger rule is for: X, Y, and both."""
    types = [v for v in itertools.product((0, 1), repeat=2) if any(v)]
    planes = hyperplanes(types, 2)
    assert not any((one | other) == 0b111 for one in planes for other in planes)


# -- what a mixture is worth --------------------------------------------------------------------------------------------


def reduced(basis):
    """A basis of the same lattice of short vectors (LLL), and its orthogonalization."""
    basis, k = [row[:] for row in basis], 1

    def orthogonal():
        stars = []
        for row in basis:
            star = [Fraction(x) for x in row]
            for other in stars:
                part = dot(row, other) / dot(other, other)
                star = [x - part * y for x, y in zip(star, other, strict=True)]
            stars.append(star)
        return stars

    stars = orthogonal()
    while k < len(basis):
        for j in reversed(range(k)):
            times = round(dot(basis[k], stars[j]) / dot(stars[j], stars[j]))
            basis[k] = [x - times * y for x, y in zip(basis[k], basis[j], strict=True)]
        mu = dot(basis[k], stars[k - 1]) / dot(stars[k - 1], stars[k - 1])
        if dot(stars[k], stars[k]) >= (Fraction(9, 10) - mu**2) * dot(stars[k - 1], stars[k - 1]):
            k += 1
        else:
            basis[k - 1], basis[k] = basis[k], basis[k - 1]
            stars, k = orthogonal(), max(k - 1, 1)
    return basis, stars


def at(point, nodes):
    """Lagrange's weights of the values at the nodes."""
    made = []
    for node in nodes:
        weight = 1
        for other in nodes:
            if other != node:
                weight = weight * (point - other) * pow(node - other, -1, P) % P
        made.append(weight)
    return made


def test_a_mixture_of_small_secrets_is_both_sums():
    """M = 9, T = 5, rho = 1: four members answer for X, four for Y, one for both, which is one equation of small digits."""
    rng, width, count = np.random.default_rng(1), 11, 25
    per = packed.digits_per_element(width)
    sums = [np.rint(rng.normal(0, 9, count)).astype(np.int64) for _ in range(2)]  # of two secrets each
    shares = [packed.split(packed.pack_digits(s, width).reshape(-1, 1), 5, range(1, 10)) for s in sums]
    in_x, in_y = shares[0][:4], shares[1][4:8]
    both = (shares[0][8] + shares[1][8]) % np.uint64(P)

    # Of each polynomial four values are known, the fifth is its secret: what is known of both at 9 is linear in two secrets.
    of_x, of_y = at(9, (1, 2, 3, 4, -1)), at(9, (5, 6, 7, 8, -1))
    weights = [secret << width * k for secret in (of_x[-1], of_y[-1]) for k in range(per)]
    first = pow(weights[0], -1, P)
    free = [[-weight * first % P, *(int(i == j) for j in range(1, 2 * per))] for i, weight in enumerate(weights) if i]
    basis, stars = reduced([[P] + [0] * (2 * per - 1), *free])
    got = ([], [])
    for column in range(len(both)):
        known = [*(int(row[column]) for row in in_x)], [*(int(row[column]) for row in in_y)]
        value = (int(both[column]) - dot(of_x[:-1], known[0]) - dot(of_y[:-1], known[1])) % P
        small = [value * first % P] + [0] * (2 * per - 1)
        for row, star in zip(reversed(basis), reversed(stars), strict=True):
            times = round(dot(small, star) / dot(star, star))
            small = [x - times * y for x, y in zip(small, row, strict=True)]
        got[0].extend(small[:per])
        got[1].extend(small[per:])
    for found, right in zip(got, sums, strict=True):
        assert np.mean(np.array(found[:count]) == right) > 0.9
