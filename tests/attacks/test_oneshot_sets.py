"""Two sets of survivors in one round: whoever opens both has the difference, and with it a single client's update.

Model. Of M members c are corrupt and answer whatever they are asked; each other one answers for one set a round. A server shows
each of them the set it likes. From how many answers on a set tells anything at all is found by linear algebra modulo p, with the
points of `packed`; a set that tells anything counts as opened. All splits of the members over sets are tried for small M, and
what Params accept, any two sets overlapping, must be exactly what no split beats. The engine's members are then asked in each of
these ways. Answers for one set that serve another are in test_oneshot_mixtures.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from secagg import oneshot_rules
from secagg.errors import EquivocationError, ParameterError, PeerError
from secagg.hazmat import field, packed
from secagg.protocols.oneshot.messages import Kind
from secagg.protocols.oneshot.setup import Setup
from support.committee import Committee, make_params
from support.openers import Opener

SMALL = range(2, 8)


# -- from how many shares on a polynomial tells something -------------------------------------------------------------


def rank(rows: list[list[int]]) -> int:
    rows, found = [row[:] for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(found, len(rows)) if rows[i][column] % field.P), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        inverse = pow(rows[found][column], -1, field.P)
        for i in range(found + 1, len(rows)):
            factor = rows[i][column] * inverse % field.P
            rows[i] = [(a - factor * b) % field.P for a, b in zip(rows[i], rows[found], strict=True)]
        found += 1
    return found


def row(point: int, threshold: int) -> list[int]:
    """A polynomial's value at a point, by its coefficients."""
    return [pow(point % field.P, k, field.P) for k in range(threshold)]


@cache
def tells(threshold: int, rho: int, count: int, members: int) -> bool:
    """Whether some `count` of the shares fix anything about the rho secrets together; the same for all, or this fails."""
    secrets = [row(-j, threshold) for j in range(1, rho + 1)]
    verdicts = set()
    for places in itertools.combinations(range(1, members + 1), count):
        shares = [row(x, threshold) for x in places]
        verdicts.add(rank(shares) + rank(secrets) > rank(shares + secrets))
    (verdict,) = verdicts
    return verdict


@pytest.mark.parametrize("members", [4, 6])
def test_shares_tell_nothing_up_to_threshold_less_packing(members):
    for threshold, rho in itertools.product(range(2, members + 1), range(1, members)):
        if rho < threshold:
            for count in range(members + 1):
                assert tells(threshold, rho, count, members) == (count > threshold - rho)


def test_the_algebra_is_that_of_the_shares():
    """The rows are what `split` computes: with the coefficients at hand, every share is its row's product."""
    rng = np.random.default_rng(2)
    secrets = rng.integers(0, field.P, (1, 2), dtype=np.uint64)
    shares = packed.split(secrets, 4, range(1, 7))
    system = [row(x, 4) for x in range(1, 7)] + [row(-j, 4) for j in (1, 2)]
    values = [int(v) for v in shares[:, 0]] + [int(v) for v in secrets[0]]
    joined = [[*one, value] for one, value in zip(system, values, strict=True)]
    assert rank(joined) == rank(system) == 4
    joined[3][-1] += 1
    assert rank(joined) == 5


# -- all splits -------------------------------------------------------------------------------------------------------


def splits(honest: int, sets: int) -> Iterator[list[int]]:
    """How many honest members answer for each set; a member more or less silent never opens more."""
    for chosen in itertools.combinations_with_replacement(range(sets), honest):
        yield [chosen.count(one) for one in range(sets)]


def most_opened(members: int, corrupt: int, threshold: int, rho: int) -> int:
    """The most sets, of up to three, of which one strategy learns anything."""
    return max(
        sum(tells(threshold, rho, count + corrupt, members) for count in split)
        for split in splits(members - corrupt, 3)
    )


def accepted(members: int, corrupt: int, threshold: int, rho: int, least: int | None = None) -> bool:
    try:
        make_params(
            members, corrupt=corrupt, threshold=threshold, packing=rho, min_honest=1, min_clients=least or members
        )
    except ParameterError as error:
        if not any(words in str(error) for words in ("two sets", "three sets", "would learn")):
            raise
        return False
    return True


@pytest.mark.parametrize("members", SMALL)
def test_params_accept_what_no_split_of_the_members_beats_and_nothing_else(members):
    seen = set()
    for corrupt in range(1, members):
        for threshold in range(2, members + 1):
            for rho in range(1, threshold):
                alone = tells(threshold, rho, corrupt, members)
                safe = not alone and most_opened(members, corrupt, threshold, rho) <= 1
                assert accepted(members, corrupt, threshold, rho) == safe, (corrupt, threshold, rho)
                seen.add(safe)
    assert True in seen
    assert (False in seen) == (members > 2)


def smallest(opened: list[frozenset[int]], honest: frozenset[int]) -> int | None:
    """Fewest honest updates in any combination of opened sums with weights -1, 0 and 1."""
    found = None
    for weights in itertools.product([-1, 0, 1], repeat=len(opened)):
        total = {name: sum(w for w, one in zip(weights, opened, strict=True) if name in one) for name in honest}
        size = sum(bool(v) for v in total.values())
        if size and (found is None or size < found):
            found = size
    return found


def smallest_sum(members: int, corrupt: int, threshold: int, rho: int, least: int) -> int | None:
    """Fewest honest updates that any two sets and any split open: every client is a member, c of them corrupt in both roles."""
    honest = frozenset(range(corrupt, members))
    sets = [frozenset(s) for size in range(least, members + 1) for s in itertools.combinations(range(members), size)]
    found = [smallest([one], honest) for one in sets if tells(threshold, rho, members, members)]
    for pair in itertools.combinations(sets, 2):
        for split in splits(len(honest), 2):
            opened = [
                one for one, count in zip(pair, split, strict=True) if tells(threshold, rho, count + corrupt, members)
            ]
            found += [smallest(opened, honest)] if opened else []
    return min((size for size in found if size is not None), default=None)


@pytest.mark.parametrize("members", [3, 4, 5])
def test_the_smallest_opened_sum_has_min_clients_less_corrupt_honest_updates(members):
    tried = 0
    for corrupt, threshold in itertools.product(range(1, members), range(2, members + 1)):
        for rho, least in itertools.product(range(1, threshold), range(corrupt + 1, members + 1)):
            if not accepted(members, corrupt, threshold, rho, least):
                continue
            params = make_params(
                members, corrupt=corrupt, threshold=threshold, packing=rho, min_honest=1, min_clients=least
            )  # fmt: skip
            assert smallest_sum(members, corrupt, threshold, rho, least) == params.opened_honest
            tried += 1
    assert tried


@pytest.mark.parametrize("members, corrupt", [(4, 2), (5, 1), (6, 2), (7, 1)])
def test_at_the_edge_of_the_rule_one_update_opens(members, corrupt):
    """The checker can lose: with 2 (T - rho + 1) = M + c it finds two sets, and their difference is one client."""
    for rho in (1, 2):
        threshold = (members + corrupt) // 2 + rho - 1
        if threshold > members or rho >= threshold:
            continue
        assert not accepted(members, corrupt, threshold, rho)
        assert most_opened(members, corrupt, threshold, rho) >= 2
        assert smallest_sum(members, corrupt, threshold, rho, members - 1) == 1


# -- the engine's members ---------------------------------------------------------------------------------------------


class Lax(Committee):
    """Under Params that the rule on two sets would refuse."""

    def __init__(self, monkeypatch, clients, **changes):
        monkeypatch.setattr(oneshot_rules, "check", lambda params: None)
        super().__init__(clients, **changes)


def every_split(f, sets):
    """For each split of the honest members over the sets: what opens. c0 is corrupt and answers for all sets."""
    opener = Opener(f)
    given = {names: opener.answers(names, f.ids) for names in sets}
    for chosen in itertools.product(range(len(sets)), repeat=len(f.ids) - 1):
        found = {}
        for number, names in enumerate(sets):
            asked = {0, *(place for place, one in enumerate(chosen, 1) if one == number)}
            total = opener.opened(names, {place: given[names][place] for place in asked})
            if isinstance(total, np.ndarray):
                np.testing.assert_array_equal(total, opener.plain(*names))
                found[names] = total
        yield found


SETS = [("c0", "c1", "c2", "c3", "c4"), ("c0", "c1", "c2", "c4"), ("c0", "c2", "c3", "c4")]


@pytest.mark.parametrize("count", [2, 3])
def test_of_all_splits_of_the_engines_members_none_opens_two_sets(count):
    f = Committee(5, corrupt=1, min_clients=4, threshold=4, packing=1)
    opened = [len(found) for found in every_split(f, SETS[:count])]
    assert len(opened) == count**4
    assert max(opened) == 1
    assert opened.count(1) > count  # every set opens where enough members see it


def test_without_the_rule_the_difference_of_two_sets_is_one_update(monkeypatch):
    f = Lax(monkeypatch, 5, corrupt=1, min_clients=4, threshold=3, packing=1)
    won = [found for found in every_split(f, SETS[:2]) if len(found) == 2]
    assert len(won) == 6  # two of the four honest members for each set
    for found in won:
        np.testing.assert_array_equal(found[SETS[0]] - found[SETS[1]], f.updates["c3"])


def test_one_member_is_never_in_two_answers():
    """Every ordered pair of sets, to one living member: the first is answered, the second refused, the first again the same."""
    f = Committee(6, corrupt=1, min_clients=4)
    opener = Opener(f)
    sets = [names for size in (4, 5, 6) for names in itertools.combinations(f.ids, size)]
    frames = {names: opener.ask("c2", names) for names in sets}
    for first in sets[::5]:
        member = opener.member("c2")
        (share,) = opener.tell(member, [frames[first]])
        assert isinstance(share, np.ndarray)
        for second in sets:
            (found,) = opener.tell(member, [frames[second]])
            if second == first:
                np.testing.assert_array_equal(found, share)
            else:
                assert isinstance(found, EquivocationError)


def test_one_set_under_other_words_is_another_request():
    """The same survivors for other participants, in another order, with other keys, twice: refused, whatever came before."""
    f = Committee(6, corrupt=1, min_clients=4)
    opener, names = Opener(f), ("c0", "c1", "c2", "c3", "c4")
    good = opener.ask("c1", names)
    lies = [
        opener.ask("c1", names, participants=[0, 1, 2, 3, 4]),
        opener.ask("c1", names[::-1]),
        opener.ask("c1", (*names, "c4")),
        opener.ask("c1", (*names[:4], "c0")),
        opener.ask("c1", names, keys=list(opener.setup.frames[:5])),
        opener.ask("c1", names, round_id=2),
        opener.ask("c1", names, setup_hash=bytes(32)),
    ]
    for frame in lies:
        (found,) = opener.told("c1", [frame])
        assert isinstance(found, PeerError)
    (share, *found) = opener.told("c1", [good, *lies])
    assert isinstance(share, np.ndarray)
    assert all(isinstance(each, PeerError) for each in found)


# -- two setups for one round -----------------------------------------------------------------------------------------


def test_two_setups_of_one_batch_share_no_clients_and_no_members():
    """Seven keys for some, six of them for others: a client uploads under one of the two, a member answers for one."""
    f = Committee(7, corrupt=1, min_clients=4, threshold=6, packing=1)
    f.until("masked")
    asked, state = f.asked(Kind.MASKED_REQUEST), {name: f.clients[name].snapshot() for name in f.ids}
    fewer = list(f.setup.frames[:6])
    other = Setup.read(fewer, f.server.session, f.roster, f.params)
    for name in f.ids:  # whichever comes first, the other one is refused
        second = f.forged(asked[name], keys=fewer, setup_hash=other.hash)
        for one, two in ((asked[name], second), (second, asked[name])):
            client = f.restore(name, state[name])
            client.receive(one)
            with pytest.raises(EquivocationError):
                client.receive(two)
            client.submit(f.updates[name])
            with pytest.raises(EquivocationError):
                client.receive(two)
    opener = Opener.of(f, asked)
    for name in f.ids:  # uploads under the one are no uploads under the other, for any member
        (found,) = opener.told(name, [opener.ask(name, f.ids, keys=fewer, setup_hash=other.hash)])
        assert isinstance(found, PeerError)
        (share,) = opener.told(name, [opener.ask(name, f.ids)])
        assert isinstance(share, np.ndarray)


def test_two_lists_of_participants_share_no_set():
    """The bound on sets that overlap counts the participants of a round: a client signs for one list, and no set mixes two."""
    f = Committee(8, corrupt=1, min_clients=4, max_participants=5)
    f.until("masked", participants=f.ids[:5])
    lists = {name: [0, 1, 2, 3, 7] if name in {"c0", "c1", "c2", "c3"} else [3, 4, 5, 6, 7] for name in f.ids}
    request = f.asked(Kind.MASKED_REQUEST)["c0"]
    asked = {name: f.forged(request, participants=ranks) for name, ranks in lists.items()}
    opener = Opener.of(f, asked)
    opened = []
    for names, ranks in itertools.product(itertools.combinations(f.ids, 4), ([0, 1, 2, 3, 7], [3, 4, 5, 6, 7])):
        (found,) = opener.told("c7", [opener.ask("c7", names, participants=ranks)])
        if isinstance(found, np.ndarray):
            opened.append(set(names))
        else:
            assert isinstance(found, PeerError)
    assert opened == [{"c0", "c1", "c2", "c3"}, {"c4", "c5", "c6", "c7"}]
    first, second = (
        opener.ask("c7", sorted(names), participants=lists[min(names)]) for names in opened
    )  # fmt: skip
    (share, refusal) = opener.told("c7", [first, second])
    assert isinstance(share, np.ndarray)
    assert isinstance(refusal, EquivocationError)
