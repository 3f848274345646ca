"""All that a lying server can tell honest clients in one round on the full graph, literally and reduced.

Model. The cohort holds `honest` clients and `corrupt` ones under the server's control; each holds a share of every secret, only
a mask key's owner holds none of that. The server shows each honest client i either no masked request, or one participant list P
with i in it and min_clients to max_participants names, under which i submits. Then it shows i at most one view: a list P of
such a size (the one i submitted under, or one without i if i was not asked), and survivors S within P, at least min_clients of
them, i among them if it submitted. The honest names in S need a header, so they must have submitted under just this P; corrupt
names sign anything. The client reveals its share of the seed for each peer in S, of the mask key for each other peer in P.
Corrupt clients reveal both. A seed opens with `threshold` shares, a mask key with that many or all of its holders.

`LiteralServer` plays every strategy in these words, names and all. `least_opened` finds the same minimum over fewer strategies:

- Lists with the same honest part count as one, with as many corrupt names as fit. Putting a strategy's lists together that way
  keeps all its answers: survivors stay within those who submitted, and the honest ones needed, min_clients less the corrupt
  names, do not rise. It opens no less, since only masks among the honest count, and a set whose sum opens shares one list.
- All corrupt names of a list survive: that fills S for nothing, as their secrets are known anyway.
- Whoever can answer does: more shares never open less. A client who submitted and can be shown no view, because too few
  submitted with it, might as well not have been asked: nobody can name it a survivor, so its update stays shut.
- Only one list A needs an opened sum, up to the names of clients: A, its submitters X and the opened set O are the first few
  names of each other. Other lists matter for the mask keys that answers under them reveal.
- The self-masks of O open only by `threshold - corrupt` honest answers under A, as headers bind the list. Whoever submitted under
  another list answers under that, so at most the remaining honest clients did. (Where a rule is missing, that may not hold:
  `LiteralServer` is for that.)
- Shares are counted, not named, and counts beyond what opens a secret are not told apart; a state of counts that another one
  matches or exceeds everywhere is dropped.

What the model leaves out adds nothing. Views that differ in context or members only split the survivors further: headers bind
both, and the masks of one list are the same in all contexts. Clients in another setup hold no shares of this one; there they are
names whose masks stay shut, so that a setup is a smaller cohort. Two setups cannot both have the `threshold - corrupt` honest
clients without whom nothing opens: the quorum says that twice as many are more than there are. Complaints withhold shares.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from support.openings import Lists, Opened, smallest_opened

Votes = tuple[int, ...]
Family = dict[int, int]  # list -> who submitted under it; sets of honest clients are bit masks


@dataclass(frozen=True)
class Setting:
    """A cohort and the Params that its clients check."""

    honest: int
    corrupt: int
    max_participants: int
    min_clients: int
    threshold: int

    @property
    def cohort(self) -> int:
        return self.honest + self.corrupt

    @property
    def seed_votes(self) -> int:
        """Honest shares that open a self-mask."""
        return self.threshold - self.corrupt

    @property
    def key_votes(self) -> int:
        """Honest shares that open a mask key, of which the owner holds none."""
        return min(self.threshold, self.cohort - 1) - self.corrupt

    def corrupt_names(self, shown: int) -> int:
        """Corrupt names in the list whose honest part is `shown`: as many as fit."""
        return min(self.corrupt, self.max_participants - shown.bit_count())

    def needed(self, shown: int) -> int:
        """Honest survivors without whom nobody answers."""
        return max(0, self.min_clients - self.corrupt_names(shown))

    def lists(self) -> list[int]:
        """Every honest part of a list that clients accept."""
        sizes = range(1, self.max_participants + 1)
        every = (shown for shown in range(1 << self.honest) if shown.bit_count() in sizes)
        return [shown for shown in every if shown.bit_count() + self.corrupt_names(shown) >= self.min_clients]


# -- literally ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LiteralServer:
    """Every strategy, unreduced; the flags take a rule away from the honest clients."""

    setting: Setting
    headers_bind_list: bool = True
    list_is_capped: bool = True
    answers: int = 1

    def lists(self) -> list[frozenset[int]]:
        """Every list of names, the honest ones first, that is long enough and short enough."""
        s = self.setting
        longest = s.max_participants if self.list_is_capped else s.cohort
        sizes = range(s.min_clients, longest + 1)
        return [frozenset(p) for size in sizes for p in itertools.combinations(range(s.cohort), size)]

    def views(self, me: int, asked: Lists) -> set[tuple[Votes, Votes]]:
        """What `me` may reveal, as 0/1 vectors of seed and key shares over the honest clients."""
        s, found = self.setting, set()
        silent = ((0,) * s.honest, (0,) * s.honest)
        for shown in self.lists():
            if (asked[me] != shown) if asked[me] is not None else (me in shown):
                continue
            submitted = [j for j in shown if j < s.honest and asked[j] is not None]
            signed = [j for j in submitted if asked[j] == shown or not self.headers_bind_list]
            names = signed + [j for j in shown if j >= s.honest]
            for size in range(s.min_clients, len(names) + 1):
                for survivors in itertools.combinations(names, size):
                    if me in survivors or me not in shown:
                        seeds = tuple(int(j in survivors) for j in range(s.honest))
                        keys = tuple(int(j in shown and j not in survivors) for j in range(s.honest))
                        found.add((seeds, keys))
        return found | {silent}

    def ends(self, asked: Lists) -> set[tuple[Opened, Opened]]:
        """Which seeds and which mask keys may be open after clients were asked for updates under these lists."""
        s = self.setting
        nothing = ((0,) * s.honest, (0,) * s.honest)
        counts = {nothing}
        for me in range(s.honest):
            choices = self.views(me, asked)
            for _ in range(self.answers):
                counts = {(added(seeds, a), added(keys, b)) for seeds, keys in counts for a, b in choices}
        return {
            (tuple(v >= s.seed_votes for v in seeds), tuple(v >= s.key_votes for v in keys)) for seeds, keys in counts
        }

    def outcomes(self) -> Iterator[tuple[Lists, Opened, Opened]]:
        """Every way to ask for updates, with every end that it may come to."""
        menus = [[None, *(shown for shown in self.lists() if i in shown)] for i in range(self.setting.honest)]
        for asked in itertools.product(*menus):
            for seeds, keys in self.ends(asked):
                yield asked, seeds, keys

    def least_opened(self) -> tuple[int | None, bool]:
        """Honest updates in the smallest sum that opens, and whether some peer opens both ways."""
        sizes, both = set(), False
        for asked, seeds, keys in self.outcomes():
            both |= any(map(bool.__and__, seeds, keys))
            sizes.add(smallest_opened(asked, seeds, keys))
        return min(sizes - {None}, default=None), both


def added(a: Votes, b: Votes) -> Votes:
    return tuple(map(int.__add__, a, b))


# -- reduced --------------------------------------------------------------------------------------------------------------


def bits(mask: int) -> list[int]:
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def subsets(mask: int) -> Iterator[int]:
    """Every subset of a mask, the empty one last."""
    part = mask
    while part:
        yield part
        part = (part - 1) & mask
    yield 0


def partitions(mask: int) -> Iterator[list[int]]:
    """Every way to cut a set into non-empty blocks."""
    if not mask:
        yield []
        return
    low = mask & -mask
    for rest in subsets(mask ^ low):
        for blocks in partitions(mask ^ low ^ rest):
            yield [low | rest, *blocks]


def families(s: Setting, shown: int, submitters: int) -> Iterator[Family]:
    """Every way to ask the clients outside `submitters`, so that enough are left to open a self-mask under `shown`."""
    everyone, spare = (1 << s.honest) - 1, s.honest - s.seed_votes
    lists = s.lists()
    for elsewhere in subsets(everyone ^ submitters):
        if elsewhere.bit_count() > spare:
            continue
        for blocks in partitions(elsewhere):
            menus = [
                [b for b in lists if block & ~b == 0 and block.bit_count() >= s.needed(b) and b != shown]
                for block in blocks
            ]
            for chosen in itertools.product(*menus):
                if len(set(chosen)) == len(chosen):
                    yield {shown: submitters, **dict(zip(chosen, blocks, strict=True))}


def answers(s: Setting, family: Family, me: int, seeds: int, keys: int) -> set[Votes]:
    """The choices of `me`: for each peer wanted open, in `seeds` and then in `keys`, whether it reveals a share of that."""
    own = next((shown for shown, block in family.items() if block >> me & 1), None)
    views = family.items() if own is None else [(own, family[own])]
    if own is None:
        # A list that needs no honest survivor takes no submitter either.
        views = [*views, *((shown, 0) for shown in s.lists() if s.needed(shown) == 0 and shown not in family)]
    found = set()
    for shown, block in views:
        if own is None and shown >> me & 1:
            continue
        for survivors in subsets(block):
            if survivors.bit_count() >= s.needed(shown) and (own is None or survivors >> me & 1):
                gone = shown & ~survivors
                found.add((*(survivors >> j & 1 for j in bits(seeds)), *(gone >> j & 1 for j in bits(keys))))
    return found


def undominated(states: set[Votes]) -> set[Votes]:
    """The states that no other one matches or exceeds everywhere."""
    kept: list[Votes] = []
    for state in sorted(states, key=sum, reverse=True):
        if not any(all(map(int.__le__, state, other)) for other in kept):
            kept.append(state)
    return set(kept)


def attainable(s: Setting, family: Family, seeds: int, keys: int) -> bool:
    """Whether some choice of survivors opens the self-masks of `seeds` and the mask keys of `keys`."""
    goal = (s.seed_votes,) * seeds.bit_count() + (s.key_votes,) * keys.bit_count()
    states = {(0,) * len(goal)}
    for me in range(s.honest):
        choices = undominated(answers(s, family, me, seeds, keys))
        if choices:
            left = s.honest - me - 1
            ends = {tuple(map(min, added(state, choice), goal)) for state in states for choice in choices}
            states = undominated({e for e in ends if all(v + left >= g for v, g in zip(e, goal, strict=True))})
    return goal in states


def targets(s: Setting, size: int) -> Iterator[tuple[int, Family]]:
    """Every honest part of a list, with at least `size` submitters, and all else that may be asked."""
    lists = set(s.lists())
    for length in range(size, s.honest + 1):
        shown = (1 << length) - 1
        for count in range(max(size, s.needed(shown)), length + 1):
            if shown in lists:
                for family in families(s, shown, (1 << count) - 1):
                    yield shown, family


def least_opened(s: Setting) -> int | None:
    """Honest updates in the smallest sum that opens within the quorum, None if none does."""
    for size in range(1, s.honest + 1):
        opened = (1 << size) - 1
        if any(attainable(s, family, opened, shown & ~opened) for shown, family in targets(s, size)):
            return size
    return None


def opens_both_ways(s: Setting) -> bool:
    """Whether one honest peer's seed and mask key can both be opened."""
    return any(attainable(s, family, 1, 1) for _, family in targets(s, 1))
