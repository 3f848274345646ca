"""Faults 1 to 15 and 48b to 48d of the oneshot protocol: who is lost, who repeats, who comes late."""

import numpy as np
import pytest

from secagg import Member
from secagg.errors import (
    AuthenticationError,
    EquivocationError,
    PeerError,
    ThresholdError,
)
from secagg.protocols.oneshot.messages import Kind
from support.committee import SESSION, Committee, refused

MASKED, REVEAL = Kind.MASKED_REQUEST, Kind.REVEAL_REQUEST


def test_a_whole_session_is_exact():
    f = Committee(7)
    for number in range(1, 6):  # over the end of a batch
        f.exact(f.round(number), f.ids)
    assert not f.errors


def test_fault_01_members_lost_before_keys_are_no_members():
    f = Committee(10, min_clients=8)
    f.server.open_round(1)
    f.carry(silent={"c3"})
    f.server.close_phase()
    assert "c3" not in f.setup.ids
    f.exact(f.finish(1), f.ids)


def test_fault_03_clients_lost_before_their_update_are_absent():
    f = Committee(7, min_clients=4)
    f.until("masked")
    f.carry(silent={"c1", "c2", "c5"})
    f.server.close_phase()
    f.exact(f.finish(1), ["c0", "c3", "c4", "c6"])


def test_fault_04_lost_after_the_update_it_counts():
    f = Committee(7)
    f.until("reveal")
    f.exact(f.finish(1, silent={"c6"}), f.ids)


def test_fault_05_half_an_update_is_none():
    f = Committee(5, min_clients=4)
    f.until("masked")
    sent = f.hand(f.requests())
    mine = [frame for name, frame in sent if name == "c2"]
    assert len(mine) > 2
    f.bring([(name, frame) for name, frame in sent if name != "c2" or frame in mine[:-1]])
    f.server.close_phase()
    f.exact(f.finish(1), ["c0", "c1", "c3", "c4"])


@pytest.mark.parametrize("lost", [1, 2])
def test_fault_06_and_07_as_many_answers_as_needed_and_one_fewer(lost):
    f = Committee(10)
    assert f.params.threshold == 9
    f.until("reveal")
    f.carry(silent=set(f.ids[:lost]))
    if lost == 1:
        f.server.close_phase()
        f.exact(f.server.result(1), f.ids)
        return
    with pytest.raises(ThresholdError) as error:
        f.server.close_phase()
    assert (error.value.needed, error.value.have) == (9, 8)
    with pytest.raises(ThresholdError):
        f.server.result(1)


def test_fault_07_too_few_updates_or_keys_end_the_round():
    f = Committee(5)
    f.server.open_round(1)
    f.carry(silent={"c0", "c1"})
    with pytest.raises(ThresholdError, match="members that sent keys"):
        f.server.close_phase()
    f.until("masked", 2)
    f.carry(silent={"c0", "c1"})
    with pytest.raises(ThresholdError, match="survivors"):
        f.server.close_phase()
    f.exact(f.round(3), f.ids)


def test_fault_09_the_same_frame_twice_changes_nothing():
    f = Committee(5)
    f.server.open_round(1)
    while f.server.phase != "idle":
        for name, frame in f.hand(f.requests()):
            for _ in range(2):
                assert f.server.receive(frame, sender=name) == name
        f.server.close_phase()
    f.exact(f.server.result(1), f.ids)
    assert not f.server.equivocations


def test_fault_10_a_second_different_frame_is_refused_and_recorded():
    f = Committee(5)
    f.server.open_round(1)
    for phase, other in (
        ("keys", {"channel_key": bytes(31) + b"\x09"}),
        ("masked", {"tag": bytes(32)}),
        ("reveal", {}),
    ):
        assert f.server.phase == phase
        sent = f.hand(f.requests())
        mine = [frame for name, frame in sent if name == "c1"]
        # The last chunk of an upload waits, so that its second header is no late one.
        f.bring([("c1", frame) for frame in (mine[1:] if phase == "masked" else mine)])
        change = other or {"sealed": bytes(f.body(mine[-1]).sealed)[::-1]}
        mine = mine[-1]
        with pytest.raises(EquivocationError):
            f.server.receive(f.forged(mine, **change))
        assert "c1" in f.server.equivocations
        f.bring(sent)
        f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_11_and_14_frames_of_another_round_or_session_are_refused():
    f = Committee(5)
    f.until("masked")
    old = f.hand(f.requests())
    f.bring(old)
    f.server.close_phase()
    f.finish(1)
    f.server.open_round(2)
    for name, frame in old:
        with pytest.raises(PeerError):
            f.server.receive(frame, sender=name)
    other = Committee(5)
    other.server.open_round(2)
    for to, frame in other.server.outbox():
        refused(f.clients[to], frame, error=AuthenticationError)
    f.exact(f.finish(2), f.ids)


def test_fault_12_frames_in_any_order_give_the_same_sum():
    f = Committee(6)
    f.server.open_round(1)
    rng = np.random.default_rng(3)
    while f.server.phase != "idle":
        sent = f.hand(f.requests())
        f.bring([sent[i] for i in rng.permutation(len(sent))])
        f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_13_late_frames_are_never_added():
    f = Committee(5, min_clients=4)
    f.until("masked")
    sent = f.hand(f.requests())
    f.bring([each for each in sent if each[0] != "c4"])
    f.server.close_phase()
    for name, frame in sent:
        if name == "c4":
            with pytest.raises(PeerError):
                f.server.receive(frame)
    f.exact(f.finish(1), f.ids[:4])


def test_fault_15_a_lost_answer_comes_again_byte_for_byte():
    f = Committee(5)
    f.until("masked")
    requests = f.requests()
    first = f.hand(requests)
    assert f.hand(requests) == first
    f.bring(first)
    f.server.close_phase()
    requests = f.requests()
    first = f.hand(requests)
    assert f.hand(requests) == first
    f.restart()
    assert f.hand(requests) == first
    f.bring(first)
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_48b_members_that_are_not_asked_for_an_update_answer():
    f = Committee(8, max_participants=6, min_clients=5)
    asked = f.ids[:6]
    f.exact(f.round(1, asked), asked)
    f.exact(f.round(2, f.ids[2:]), f.ids[2:])


def test_fault_48c_back_after_a_missed_round():
    f = Committee(10, min_clients=8)
    f.exact(f.round(1, silent={"c4"}), [name for name in f.ids if name != "c4"])
    f.exact(f.round(2), f.ids)


def test_fault_48c_so_many_lost_the_keys_that_a_round_failed_are_sent_them_again():
    """Of a committee that kept its state, and senders without theirs: not for the rest of the batch, but for one round."""
    f = Committee(12, committee=5, corrupt=1, threshold=4, packing=1, min_clients=9, rounds_per_setup=50)
    f.exact(f.round(1), f.ids)
    keys = f.setup.hash
    for name in f.ids:
        if name not in f.setup.ids:
            f.clients[name] = f.new_client(name)
    with pytest.raises(ThresholdError, match="survivors"):
        f.round(2)
    f.exact(f.round(3), f.ids)
    assert f.setup.hash == keys


def test_fault_48d_a_batch_that_is_over_is_followed_by_another():
    f = Committee(5, rounds_per_setup=1)
    f.exact(f.round(1), f.ids)
    first = f.setup.hash
    f.exact(f.round(2), f.ids)
    assert f.setup.hash != first


def test_a_member_alone_answers_and_sends_no_update(tmp_path):
    f = Committee(6, min_clients=5)
    f.clients["c5"].close()
    member = Member(
        f.params, me="c5", identity=f.keys["c5"], roster=f.roster, session=SESSION, ledger=tmp_path / "m.ledger"
    )
    f.server.open_round(1)
    while f.server.phase != "idle":
        for to, frame in f.server.outbox():
            if to == "c5":
                try:
                    member.receive(frame)
                except PeerError:
                    assert frame[3] == MASKED
                for out in member.outbox():
                    f.server.receive(out, sender="c5")
                blob = member.snapshot()
                member.close()
                member = Member.restore(
                    blob, identity=f.keys["c5"], roster=f.roster, ledger=tmp_path / "m.ledger", params=f.params
                )
                continue
            f.clients[to].receive(frame)
            if f.clients[to].awaiting:
                f.clients[to].submit(f.updates[to])
            for out in f.clients[to].outbox():
                f.server.receive(out, sender=to)
        f.server.close_phase()
    result = f.server.result(1)
    f.exact(result, f.ids[:5])
    assert "c5" in result.receipt.signatures
