"""Faults 28, 35, 36 and 51 of the oneshot protocol against parties that were restored from old snapshots, copied, or killed."""

import numpy as np
import pytest

from secagg import Member
from secagg.errors import AbortError, EquivocationError, InputError, PeerError
from secagg.protocols.oneshot.messages import Kind
from support.committee import SESSION, Committee
from support.encrypted import tell

STEPS = ["new", "keys", "asked", "masked", "reveal"]


@pytest.fixture
def story(memory):
    """A client's snapshots at every step of round 1, what it was sent, and what it said."""
    f = Committee(5, min_clients=4, ledgers=memory)
    snapshots, asked, said = {"new": f.clients["c0"].snapshot()}, {}, {}
    f.server.open_round(1)
    while f.server.phase != "idle":
        phase, inbox = f.server.phase, f.requests()
        if phase == "masked":
            f.clients["c0"].receive(inbox["c0"][0])
            snapshots["asked"] = f.clients["c0"].snapshot()
        sent = f.hand(inbox)
        (asked[phase],) = inbox["c0"]
        said[phase] = [frame for name, frame in sent if name == "c0"]
        snapshots[phase] = f.clients["c0"].snapshot()
        f.bring(sent)
        f.server.close_phase()
    f.exact(f.server.result(1), f.ids)
    f.clients["c0"].close()
    return f, snapshots, asked, said


@pytest.mark.parametrize("step", STEPS)
def test_fault_51_an_old_client_repeats_its_update_or_sends_none(story, step):
    f, snapshots, asked, said = story
    client = f.restore("c0", snapshots[step])
    error = tell(client, [asked["masked"]])
    if step in ("masked", "reveal"):
        assert error is None
        with pytest.raises(InputError, match="another update"):
            client.submit(np.roll(f.updates["c0"], 1))
        with pytest.raises(InputError, match="another update"):
            client.submit(f.updates["c0"], context=b"another model")
        assert client.outbox() == []
        client.submit(f.updates["c0"])
        assert client.outbox() == said["masked"]
    else:  # the randomness of what has left is gone: nothing leaves
        assert isinstance(error, PeerError)
        assert client.awaiting is None
        assert client.outbox() == []


@pytest.mark.parametrize("step", STEPS)
def test_fault_28_and_51_an_old_member_answers_for_no_second_set(story, step):
    f, snapshots, asked, said = story
    client = f.restore("c0", snapshots[step])
    for lie in (f.fewer(asked["reveal"], 4), f.forged(asked["reveal"], participants=[0, 1, 2, 3])):
        assert isinstance(tell(client, [lie]), PeerError)
        assert client.outbox() == []
    error = tell(client, [asked["reveal"]])
    if step == "new":  # its key is gone
        assert isinstance(error, PeerError)
        assert client.outbox() == []
    else:
        assert error is None
        assert client.outbox() == said["reveal"]


@pytest.mark.parametrize("step", STEPS[1:])
def test_fault_28_and_51_an_old_member_answers_for_no_round_that_its_ledger_has_left_behind(story, step):
    """Of rounds before the last the ledger keeps no answers any more, only that they are over."""
    f, snapshots, asked, said = story
    f.clients["c0"] = f.restore("c0", snapshots["reveal"])
    f.exact(f.round(2), f.ids)
    f.clients["c0"].close()
    client = f.restore("c0", snapshots[step])
    for frame in (asked["reveal"], f.fewer(asked["reveal"], 4)):
        if step == "reveal" and frame == asked["reveal"]:
            client.receive(frame)  # which its own state still knows: the very same answer
            assert client.outbox() == said["reveal"]
            continue
        assert isinstance(tell(client, [frame]), PeerError)
        assert client.outbox() == []


@pytest.mark.parametrize("step", STEPS)
def test_fault_28_and_51_a_member_that_lost_its_key_makes_none_for_a_round_it_answered_in(story, step):
    """Shares that it opened once could be sealed to it again, and the round be opened for other survivors."""
    f, snapshots, asked, said = story
    client = f.restore("c0", snapshots[step])
    error = tell(client, [asked["keys"]])
    if step == "new":
        assert isinstance(error, PeerError)
        assert client.outbox() == []
    else:
        assert client.outbox() == said["keys"]
    later = f.forged(asked["keys"], first_round=2, server_key=bytes(31) + b"\x09")
    assert tell(client, [later]) is None
    assert len(client.outbox()) == 1
    assert isinstance(tell(client, [asked["reveal"]]), PeerError)
    assert client.outbox() == []


def test_fault_51_without_a_ledger_a_member_answers_twice_as_documented(story):
    f, snapshots, asked, said = story
    client = f.restore("c0", snapshots["masked"], ledger=None, ledger_lost=True)
    assert tell(client, [f.fewer(asked["reveal"], 4)]) is None
    (answer,) = client.outbox()  # a second set in round 1: such a member counts as corrupt
    assert answer != said["reveal"][0]


def test_fault_51_two_live_copies_of_a_member_answer_for_one_set(story):
    f, snapshots, _, _ = story
    one, two = (f.restore("c0", snapshots["reveal"]) for _ in range(2))
    f.clients["c0"] = one
    f.server.open_round(2)
    inbox = f.requests()
    two.receive(inbox["c0"][0])
    f.bring(f.hand(inbox))
    for update in (
        f.updates["c0"],
        np.roll(f.updates["c0"], 1),
    ):  # its randomness is its own, so even the same one differs
        with pytest.raises(InputError, match="another update"):
            two.submit(update)
        with pytest.raises(InputError, match="another update"):
            list(two.stream(update))
    assert two.outbox() == []
    f.server.close_phase()
    inbox = f.requests()
    (request,) = inbox["c0"]
    f.bring(f.hand(inbox))
    assert isinstance(tell(two, [f.fewer(request, 4)]), EquivocationError)
    assert two.outbox() == []
    two.receive(request)
    assert two.outbox() == [frame for name, frame in f.up if name == "c0"][-1:]
    f.server.close_phase()
    f.exact(f.server.result(2), f.ids)


def test_fault_51_a_client_that_was_rolled_back_draws_anew_even_without_a_ledger():
    """A refused update leaves randomness behind; two copies of a state that has it could use it for two updates."""
    f = Committee(5)
    f.until("masked")
    client = f.clients["c0"]
    client.receive(f.requests()["c0"][0])
    with pytest.raises(InputError):
        client.submit(np.full(f.params.length, 5000))
    snapshot, used = client.snapshot(), set()
    for update in (f.updates["c0"], f.updates["c1"]):
        again = f.restore("c0", snapshot)
        assert again.awaiting
        again.submit(update)
        used.add(again._core._state.round.seed)
    assert len(used) == 2
    assert again.outbox()[-1][3] == Kind.MASKED_HEADER
    restored = f.restore("c0", again.snapshot())
    assert restored._core._state.round.seed in used  # tied to its update, it is kept, for the same frames again


def test_fault_49_a_frame_that_was_recorded_and_never_sent_is_sent_after_the_restart(memory):
    """Killed between ledger and carrier, snapshot not stored: an answer is sent again, an update is lost with its randomness."""
    f = Committee(5, min_clients=4, ledgers=memory)
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox, phase = f.requests(), f.server.phase
        old = f.clients["c1"].snapshot()
        f.hand({"c1": inbox["c1"]})  # recorded, and lost with the process
        f.clients["c1"].close()
        f.clients["c1"] = f.restore("c1", old)
        f.bring(f.hand(inbox))
        assert set(f.errors) == ({"c1"} if phase != "keys" else set())
        f.server.close_phase()
    f.exact(f.server.result(1), ["c0", "c2", "c3", "c4"])
    assert "c1" in f.server.result(1).receipt.signatures


def test_fault_36_and_51_one_ledger_serves_a_client_and_a_member_of_one_id_and_says_one_thing(memory):
    """The same party, once as a client with its member in it and once as a member alone."""
    f = Committee(5, min_clients=4, ledgers=memory)
    f.until("reveal")
    snapshot = f.clients["c0"].snapshot()
    (request,) = f.requests()["c0"]
    f.clients["c0"].receive(request)
    (answer,) = f.clients["c0"].outbox()
    f.clients["c0"].close()
    alone = Member(f.params, me="c0", identity=f.keys["c0"], roster=f.roster, session=SESSION, ledger=f.ledger("c0"))
    for first in (0, 1):
        with pytest.raises((PeerError, AbortError)):
            alone.receive(f.forged(f.down[0][1], first_round=first))
    alone.close()
    again = f.restore("c0", snapshot)
    again.receive(request)
    assert again.outbox() == [answer]
