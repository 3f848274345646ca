"""Clients and members of oneshot that are interrupted anywhere in a call, and then do something else.

Whatever had been drawn, masked or written by then: no secret comes to mask two updates, and no member to answer for two sets.
"""

from __future__ import annotations

import contextlib
import itertools

import pytest

from secagg.errors import SecAggError
from secagg.protocols.oneshot.messages import Kind
from support.committee import Committee
from support.committee_watch import Instruments, Watch
from support.interrupts import Interrupt, interrupted

# Functions of the engine between two places that are tried.
STEPS = [pytest.param(37, id="some"), pytest.param(3, id="many", marks=pytest.mark.slow)]
SETTINGS = {"min_clients": 4, "threshold": 5, "packing": 2, "corrupt": 1}


def frames_of(client, way, update):
    """What a client makes of an update."""
    if way == "stream":
        return list(client.stream(update))
    client.submit(update)
    return client.outbox()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "no ledger"])
@pytest.mark.parametrize("ways", list(itertools.product(("submit", "stream"), repeat=2)), ids="-".join)
@pytest.mark.parametrize("restored", [False, True], ids=["goes on", "is restored"])
def test_a_client_that_was_interrupted_masks_no_other_update_with_the_secret(
    memory, monkeypatch, ledger, ways, restored, step
):
    """After the interrupt another update, then the first one; in the same object, or in one that was restored from before."""
    watch, instruments = Watch(), Instruments(monkeypatch)
    f = Committee(6, ledgers=memory if ledger else None, rounds_per_setup=1000, **SETTINGS)
    f.until("masked")
    request, mine = f.asked(Kind.MASKED_REQUEST)["c0"], f.updates["c0"]
    other, done = mine[::-1].copy(), 0
    client = f.clients["c0"]
    for round_id, number in enumerate(itertools.count(1, step), 1):
        client.receive(f.forged(request, round_id=round_id))
        old = client.snapshot()
        left = []
        with contextlib.suppress(Interrupt), interrupted(number) as reached:
            if ways[0] == "submit":
                client.submit(mine)
            else:
                left.extend(client.stream(mine))  # what came before the interrupt is there
        left += client.outbox()  # it may have come when they were there already
        if restored:
            client.close()
            client = f.clients["c0"] = f.restore("c0", old)
            with contextlib.suppress(SecAggError):
                client.receive(f.forged(request, round_id=round_id))
        second = []
        with contextlib.suppress(SecAggError):
            second = frames_of(client, ways[1], other)
        if (left and ledger) or (left and not restored):
            assert second == [], number  # something of the first one is on its way
        for frame in left or second:
            watch.see("c0", frame)
        with contextlib.suppress(SecAggError):
            for frame in frames_of(client, ways[0], mine):
                if not (restored and not ledger):  # such a client may speak twice, under two secrets
                    watch.see("c0", frame)
        if not reached:
            break
        done += 1
    assert done > 10
    assert len(instruments.rounds) > done // 2


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "no ledger"])
@pytest.mark.parametrize("restored", [False, True], ids=["goes on", "is restored"])
def test_a_member_that_was_interrupted_answers_for_one_set(memory, ledger, restored, step):
    """After the interrupt the other set, then the first one: one of them has an answer that can leave, always the same."""
    f = Committee(6, ledgers=memory if ledger else None, rounds_per_setup=3, **SETTINGS)
    f.until("reveal")
    frame = f.asked(Kind.REVEAL_REQUEST)["c0"]
    fewer, old = f.fewer(frame, 4), f.clients["c0"].snapshot()
    f.clients["c0"].close()
    done, ledgers = 0, memory / "ledgers"
    ledgers.mkdir()
    kept = (memory / "c0.ledger").read_bytes() if ledger else b""
    for number in itertools.count(1, step):
        watch = Watch()  # of this try alone: each begins before the round was answered
        if ledger:
            f.ledgers = ledgers / str(number)
            f.ledgers.mkdir()
            (f.ledgers / "c0.ledger").write_bytes(kept)
        party = f.restore("c0", old)
        with contextlib.suppress(Interrupt), interrupted(number) as reached:
            party.receive(frame)
        answers = party.outbox()
        if restored and ledger:
            party.close()
            party = f.restore("c0", old)
        for request in (fewer, frame, fewer):
            with contextlib.suppress(SecAggError):
                party.receive(request)
            answers += party.outbox()
        party.close()
        assert answers
        assert len(set(answers)) == 1
        for answer in answers:
            watch.see("c0", answer)
        if not reached:
            break
        done += 1
    assert done > 5


def test_the_session_goes_on_after_interrupts_of_everybody():
    """Each client and member interrupted in each phase, at some place or other, and asked again: the sum is exact."""
    f = Committee(6, rounds_per_setup=2, **SETTINGS)
    for round_id in range(1, 9):
        f.server.open_round(round_id)
        while f.server.phase != "idle":
            requests = f.requests()
            for at, (name, frames) in enumerate(requests.items()):
                client = f.clients[name]
                with contextlib.suppress(Interrupt, SecAggError), interrupted(1 + (37 * round_id + 11 * at) % 120):
                    for frame in frames:
                        client.receive(frame)
                    if client.awaiting:
                        client.submit(f.updates[name])
                client.outbox()  # lost on the way
            f.bring(f.hand(requests))
            f.server.close_phase()
        f.exact(f.server.result(round_id), f.ids)
