"""A server that asks for both kinds of share of one client: its update alone then opens.

SecAgg's round of unmasking is safe only while no client reveals, for one peer, a share of the self mask and one of the mask key
(Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017, section 6, on active servers).
Implementations have let a server name one client in the list of survivors and in that of dropouts at once. On our wire there is
one list of participants and one of survivors' signed headers, and the dropouts are what remains, so that an overlap cannot be
said in one request; it is tried all the same, and then said in two.
"""

import itertools

import pytest

from secagg.errors import EquivocationError
from support.federation import Federation, fields
from support.spy import KEY, SEED, ask, at_unmask
from support.weak import AnswersTwice, weaken

SETTINGS = {"corrupt": 1, "threshold": 5, "min_clients": 5}
VICTIM = "c6"


def seven():
    return Federation(7, **SETTINGS)


def encoded(f, name):
    return (f.updates[name] - f.params.encoding.low).tolist()


def without(body, rank):
    return fields(body, headers=[*body.headers[:rank], *body.headers[rank + 1 :]])


def both_ways(f):
    """Ask everybody first with the victim as a survivor, then as a dropout."""
    _, bodies, spy = at_unmask(f)
    spy.corrupt("c0")
    refused = []
    for name in f.ids[1:]:
        assert ask(f, spy, name, bodies[name]) is None
        refused.append(ask(f, spy, name, without(bodies[name], 6)))
    return spy, refused  # by the victim too, which is told that it is dead itself


def test_clients_that_answer_twice_lose_one_update():
    f = weaken(seven(), AnswersTwice, [f"c{i}" for i in range(1, 6)])
    spy, refused = both_ways(f)
    assert refused[:5] == [None] * 5
    assert spy.update(VICTIM) == encoded(f, VICTIM)


def test_clients_that_answer_once_do_not():
    f = seven()
    spy, refused = both_ways(f)
    assert [type(error) for error in refused] == [EquivocationError] * 6
    assert spy.secret(SEED, 6) is not None  # as in an honest round
    assert len(spy.shares[KEY, 6]) == 1  # the corrupt client's
    assert all(spy.update(name) is None for name in f.ids[1:])


@pytest.mark.parametrize("told_dead", range(6))
def test_any_split_of_the_clients_opens_nobody_both_ways(told_dead):
    """`told_dead` clients are told that the victim dropped out, the rest that it survived; the corrupt one gives both."""
    f = seven()
    _, bodies, spy = at_unmask(f)
    spy.corrupt("c0")
    for i, name in enumerate(f.ids[1:6]):
        assert ask(f, spy, name, without(bodies[name], 6) if i < told_dead else bodies[name]) is None
    ask(f, spy, VICTIM, bodies[VICTIM])
    kinds = spy.secret(SEED, 6), spy.secret(KEY, 6)
    assert None in kinds
    assert all(spy.update(name) is None for name in f.ids[1:])


def test_below_the_quorum_a_split_does_it():
    """The rule that Params has and this has not: threshold > (n + c) / 2. The clients are the engine's, honest and intact."""
    f = Federation(7, threat="semi-honest", corrupt=1, threshold=4, min_clients=5)
    _, bodies, spy = at_unmask(f)
    spy.corrupt("c0")
    for name in f.ids[1:6]:
        assert ask(f, spy, name, without(bodies[name], 6) if name < "c4" else bodies[name]) is None
    ask(f, spy, VICTIM, bodies[VICTIM])
    assert spy.update(VICTIM) == encoded(f, VICTIM)


def overlaps(body):
    """Every way to name rank 6 once too often, or out of its place."""
    victim = body.headers[6]
    for headers in (
        [*body.headers, victim],
        [victim, *body.headers[:6]],
        [victim] * 7,
        [*body.headers[:6], victim, victim],
    ):
        yield fields(body, headers=headers)
    for participants in (
        [*body.participants, 6],
        [6, *body.participants],
        [*body.participants[:6], 6, 6],
        body.participants[:6],
    ):
        yield fields(body, participants=participants)
        yield fields(body, participants=participants, headers=body.headers[:6])
    for low, high in itertools.combinations(range(5), 2):
        swapped = list(body.participants)
        swapped[low], swapped[high] = swapped[high], swapped[low]
        yield fields(body, participants=swapped)


def test_lists_that_overlap_in_one_request_are_refused():
    f = seven()
    _, bodies, spy = at_unmask(f)
    tried = 0
    for lie in overlaps(bodies["c1"]):
        for name in f.ids[1:]:
            assert ask(f, spy, name, lie) is not None
        tried += 1
    assert tried > 15
    assert not spy.shares
    # nothing of it stays behind: the honest request gets its answer
    assert all(ask(f, spy, name, bodies[name]) is None for name in f.ids)


@pytest.mark.parametrize("ledger", [True, False], ids=["with a ledger", "without one"])
def test_both_ways_over_a_rollback_is_what_ledgers_are_for(memory, ledger):
    """All clients are set back to before their answers, then asked for the other kind."""
    f = Federation(7, ledgers=memory if ledger else None, **SETTINGS)
    _, bodies, spy = at_unmask(f)
    snapshots = {name: f.clients[name].snapshot() for name in f.ids}
    for name in f.ids:
        assert ask(f, spy, name, bodies[name]) is None
        f.clients[name].close()
        f.clients[name] = f.restore(name, snapshots[name])
    refused = [ask(f, spy, name, without(bodies[name], 6)) for name in f.ids[:6]]
    if ledger:
        assert [type(error) for error in refused] == [EquivocationError] * 6
        assert spy.update(VICTIM) is None
    else:
        assert refused == [None] * 6
        assert spy.update(VICTIM) == encoded(f, VICTIM)
