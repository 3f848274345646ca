"""A server that shows different survivor sets of one oneshot round to different members: all it can open, small committees.

Model. An answer of a member adds its shares of one set; `threshold - packing + 1` or more of one set say something of that
set's sum of secrets, so that set counts as open. Corrupt members answer for every set, and for nobody in particular:
a client's own shares they have anyway. Honest members answer once a round, for a set that holds `min_clients` participants.
Sums that several sets' answers give together are in test_oneshot_mixtures.py.

The engine's members are asked as well, in every way there is, and with Params that the rules forbid the attack is carried out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from secagg import Params, oneshot_rules
from secagg.errors import AbortError, EquivocationError, ParameterError, PeerError
from support.committee import Committee
from support.openers import Opener


class Setting(NamedTuple):
    """M members, c of them (and of p participants) corrupt, T answers, rho secrets a polynomial, m survivors."""

    committee: int
    corrupt: int
    threshold: int
    packing: int
    participants: int
    fewest: int

    @property
    def tells(self) -> int:
        """The least number of shares of one set that say anything."""
        return self.threshold - self.packing + 1

    @property
    def one_set(self) -> bool:
        return 2 * self.tells > self.committee + self.corrupt


def settings(committee: int) -> Iterator[Setting]:
    """Every setting in which secrets are secret from the corrupt members; everybody is a member and a participant."""
    for corrupt, threshold in itertools.product(range(committee), range(2, committee + 1)):
        for packing in range(1, min(threshold - 1, threshold - corrupt) + 1):
            for fewest in range(2, committee + 1):
                yield Setting(committee, corrupt, threshold, packing, committee, fewest)


def opened(s: Setting) -> set[frozenset[frozenset[int]]]:
    """What sets of survivors a round ends with open, over every way to show honest members sets (or none).

    Which set is shown to whom makes no difference but in numbers, so that as many of each as there are members to ask is all.
    Participants 0 to c - 1 are corrupt. The literal server below shows that nothing is lost.
    """
    sets = [
        frozenset(chosen)
        for size in range(s.fewest, s.participants + 1)
        for chosen in itertools.combinations(range(s.participants), size)
    ]
    honest, needed = s.committee - s.corrupt, s.tells - s.corrupt
    most = honest if needed <= 0 else honest // needed
    return {
        frozenset(chosen) for count in range(min(most, len(sets)) + 1) for chosen in itertools.combinations(sets, count)
    }


def literal(s: Setting) -> set[frozenset[frozenset[int]]]:
    """The same, with every honest member shown each set in turn."""
    sets = [
        frozenset(chosen)
        for size in range(s.fewest, s.participants + 1)
        for chosen in itertools.combinations(range(s.participants), size)
    ]
    found = set()
    for shown in itertools.product([None, *sets], repeat=s.committee - s.corrupt):
        counts = {each: shown.count(each) + s.corrupt for each in shown if each is not None}
        found.add(frozenset(each for each, count in counts.items() if count >= s.tells))
    return found


def least_honest(s: Setting, families: set[frozenset[frozenset[int]]]) -> int | None:
    """The fewest honest updates in an opened sum, or in the difference of two of one round."""
    corrupt, sizes = set(range(s.corrupt)), []
    for family in families:
        sizes += [len(each - corrupt) for each in family]
        sizes += [len((one ^ other) - corrupt) for one, other in itertools.combinations(family, 2)]
    return min((size for size in sizes if size), default=None)


@pytest.mark.parametrize("committee", [2, 3, 4])
def test_the_count_of_members_loses_no_strategy(committee):
    """Every set shown to every honest member, in every combination: as many sets open as the numbers say."""
    for s in settings(committee):
        assert literal(s) == opened(s), s


@pytest.mark.parametrize("committee", [2, 3, 4, 5])
def test_under_the_rule_no_two_sets_open_and_no_sum_is_smaller_than_promised(committee):
    """Nor can the bound be raised: the smallest opened sum has just the honest survivors of the smallest set."""
    within = tight = 0
    for s in settings(committee):
        families = opened(s) if s.one_set else ()
        for family in families:
            assert len(family) <= 1, s
        if s.one_set and s.fewest > s.corrupt:
            within, least = within + 1, least_honest(s, families)
            assert least is not None and least >= s.fewest - s.corrupt, s
            tight += least == s.fewest - s.corrupt
    assert within == tight > 0


@pytest.mark.parametrize("committee", [3, 4, 5])
def test_without_the_rule_two_sets_open_and_their_difference_is_one_update(committee):
    """The search can lose: it finds the pair wherever the rule does not hold and a set can lack somebody honest."""
    broken = 0
    for s in settings(committee):
        if s.one_set or s.fewest == s.participants:
            continue
        families = opened(s)
        assert any(len(family) == 2 for family in families), s
        assert least_honest(s, families) == 1, s
        broken += 1
    assert broken > 0


@pytest.mark.parametrize("clients", range(2, 13))
def test_params_hold_the_rules_of_the_model(clients):
    """Whatever Params can be made keeps to them, with the corrupt clients all in the committee; and some can be made."""
    made = 0
    for corrupt, threshold in itertools.product(range(clients - 1), range(2, clients + 1)):
        for packing in range(1, threshold):
            try:
                params = Params(
                    clients, length=1, protocol="oneshot", corrupt=corrupt, threshold=threshold, packing=packing,
                    min_clients=clients, min_honest=1,
                )  # fmt: skip
            except ParameterError:
                continue
            made += 1
            s = Setting(clients, corrupt, threshold, packing, clients, params.min_clients)
            assert s.one_set and params.threshold - params.packing >= max(1, corrupt), s
            assert params.min_clients - corrupt >= 1
    assert made


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 3},
        {"threshold": 4, "packing": 2},
        {"threshold": 5, "packing": 5},
        {"threshold": 6, "packing": 4},
        {"min_clients": 2},
        {"min_clients": 3, "corrupt": 2},
        {"corrupt": 5},
        {"committee": 7},
    ],
)
def test_weaker_params_cannot_be_made_and_not_be_read(changes):
    """What would open two sets, or show corrupt members a secret, or open a sum of one: neither made nor taken from others."""
    settings = {"length": 1, "protocol": "oneshot", "corrupt": 1, "threshold": 6, "packing": 1, "min_clients": 5}
    good = Params(6, **settings)
    with pytest.raises(ParameterError):
        Params(6, **{**settings, **changes})
    name, value = next(iter(changes.items()))
    if len(changes) == 1 and name in ("threshold", "min_clients"):
        data = bytearray(good.to_bytes())
        plain = {"threshold": 6, "min_clients": 5}[name]
        places = [at for at, byte in enumerate(data) if byte == plain]
        refusals = 0
        for at in places:
            data[at] = value
            try:
                other = Params.from_bytes(bytes(data))
            except ParameterError:
                refusals += 1
            else:
                assert getattr(other, name) == plain and other.hash != good.hash
            data[at] = plain
        assert refusals


# -- the engine ---------------------------------------------------------------------------------------------------------------


def split(attack: Opener, sets: tuple[list[str], list[str]], first: tuple[str, ...], corrupt: tuple[str, ...] = ()):
    """Show one set to `first`, the other to the rest, and both to corrupt members; return what each set opens to."""
    rest = tuple(name for name in attack.f.ids if name not in first and name not in corrupt)
    return [
        attack.opened(names, attack.answers(names, (*members, *corrupt)))
        for names, members in zip(sets, (first, rest), strict=True)
    ]


def test_every_split_of_the_members_opens_one_set_at_most():
    """M = 5, one of them corrupt, T = 4, rho = 1: both sets shown in all ways, the corrupt member answering for both."""
    f = Committee(5, min_clients=4, corrupt=1, threshold=4, packing=1)
    attack = Opener(f)
    everybody, fewer = f.ids, f.ids[:4]
    both = one = 0
    for count in range(5):
        for first in itertools.combinations(f.ids[:4], count):
            found = split(attack, (everybody, fewer), first, (f.ids[4],))
            for names, sums in zip((everybody, fewer), found, strict=True):
                if sums is not None:
                    np.testing.assert_array_equal(sums, attack.plain(*names))
            both += all(sums is not None for sums in found)
            one += any(sums is not None for sums in found)
    assert both == 0
    assert one == 2 * (1 + 4)  # four answers of one set: the corrupt one, and three or all of the others


@pytest.mark.parametrize("corrupt", [0, 1])
def test_where_the_rule_is_broken_the_same_server_opens_two_sets_and_so_one_update(monkeypatch, corrupt):
    """The positive control: the engine's own code, with Params made past the rule."""
    settings = {
        "clients": 6, "length": 37, "encoding": Committee(2, corrupt=0).params.encoding, "protocol": "oneshot",
        "threshold": 3, "packing": 1, "min_clients": 5, "corrupt": corrupt, "rounds_per_setup": 3,
    }  # fmt: skip
    with pytest.raises(ParameterError, match="two sets"):
        Params(**settings)
    monkeypatch.setattr(oneshot_rules, "check", lambda params: None)
    f = Committee(6, params=Params(**settings))
    sums = split(Opener(f), (f.ids, f.ids[1:]), tuple(f.ids[:3]), tuple(f.ids[6 - corrupt :]))
    assert all(isinstance(each, np.ndarray) for each in sums)
    np.testing.assert_array_equal(sums[0] - sums[1], f.updates[f.ids[0]])


def test_answers_for_two_sets_make_no_third_sum():
    """Answers of two sets mixed, in any number: no sum comes of them, for no polynomial goes through."""
    f = Committee(6, min_clients=4, threshold=5, packing=2)
    attack = Opener(f)
    sets = (f.ids, f.ids[:4])
    given = [attack.answers(names, f.ids) for names in sets]
    for count in range(1, 6):
        mixed = {place: given[place < count][place] for place in range(6)}
        for names in sets:
            assert isinstance(attack.opened(names, mixed), AbortError)
    for names, answers in zip(sets, given, strict=True):
        np.testing.assert_array_equal(attack.opened(names, answers), attack.plain(*names))


def test_one_member_answers_for_one_of_all_sets():
    """Every set of four or more of six, in every order of two, asked of one living member: the first has the answer."""
    f = Committee(6, min_clients=4, threshold=5, packing=2)
    attack = Opener(f)
    sets = [list(names) for size in (4, 5, 6) for names in itertools.combinations(f.ids, size)]
    frames = [attack.ask("c2", names) for names in sets]
    for first, frame in enumerate(frames):
        found = attack.told("c2", [frame, *frames])
        assert isinstance(found[0], np.ndarray)
        for at, told in enumerate(found[1:]):
            if at == first:
                np.testing.assert_array_equal(told, found[0])
            else:
                assert isinstance(told, EquivocationError)


def test_no_set_below_min_clients_is_answered_for():
    f = Committee(6, min_clients=5, threshold=5, packing=2)
    attack = Opener(f)
    for size in range(5):
        for names in itertools.combinations(f.ids, size):
            (found,) = attack.told("c1", [attack.ask("c1", names)])
            assert isinstance(found, PeerError) and "fewer survivors" in str(found)
    for names in itertools.combinations(f.ids, 5):
        np.testing.assert_array_equal(attack.opened(names, attack.answers(names, f.ids)), attack.plain(*names))
