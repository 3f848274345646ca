"""What goes wrong in a oneshot round, by the numbers of the table: who is lost, who repeats, who lies."""

import numpy as np
import pytest

from secagg import Client, Member
from secagg.errors import (
    AbortError,
    AuthenticationError,
    EquivocationError,
    InputError,
    ParameterError,
    PeerError,
    StateError,
    ThresholdError,
)
from secagg.hazmat import field
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import Kind
from support.committee import SESSION, Committee, make_params

MASKED, REVEAL = Kind.MASKED_REQUEST, Kind.REVEAL_REQUEST


def refused(party, frame, words=None, error=PeerError):
    """The frame is refused, and the party is as it was."""
    before = party._core.freeze(), list(party._core._state.out)
    with pytest.raises(error, match=words):
        party.receive(frame)
    assert (party._core.freeze(), party._core._state.out) == before


def lie(monkeypatch, *liars):
    """Let members of this process answer with another sum than that of their shares."""
    honest, answered = sharing.add_shares, []

    def add(shares):
        answered.append(1)
        total = honest(shares)
        if len(answered) - 1 in liars:
            wrong = (int.from_bytes(total[:8], "little") + 1) % field.P
            return wrong.to_bytes(8, "little") + total[8:]
        return total

    monkeypatch.setattr(sharing, "add_shares", add)


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


def test_fault_17_a_share_that_the_server_changed_is_refused():
    f = Committee(5)
    f.until("reveal")
    for to, frame in f.asked(REVEAL).items():
        body = f.body(frame)
        broken = bytes([body.sealed[0] ^ 1]) + body.sealed[1:]
        refused(f.clients[to], f.forged(frame, sealed=broken), "not the one its client signed for")
        refused(f.clients[to], f.forged(frame, sealed=body.sealed[:-1]))
        f.clients[to].receive(frame)
        for out in f.clients[to].outbox():
            f.server.receive(out)
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_17_a_client_that_sealed_rubbish_is_complained_of_and_the_round_ends(monkeypatch):
    f = Committee(5)
    f.until("masked")
    requests = f.requests()
    honest = sharing.seal_shares

    def rubbish(*args):
        boxes = honest(*args)
        return [bytes(len(box)) for box in boxes] if args[5] == "c3" else boxes

    monkeypatch.setattr("secagg.protocols.oneshot.client.seal_shares", rubbish)
    f.bring(f.hand(requests))
    f.server.close_phase()
    f.carry()
    with pytest.raises(AbortError, match="could not open shares of c3"):
        f.server.close_phase()


def test_fault_18_a_frame_under_another_name_is_refused():
    f = Committee(5)
    f.until("masked")
    sent = f.hand(f.requests())
    name, frame = sent[-1]
    with pytest.raises(AuthenticationError):
        f.server.receive(f.forged(frame, signer="c0"))
    with pytest.raises(AuthenticationError):
        f.server.receive(frame, sender="c0")
    assert name != "c0"


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_fault_19_weak_keys_are_refused(key):
    f = Committee(5)
    f.server.open_round(1)
    requests = f.requests()
    refused(f.clients["c0"], f.forged(requests["c0"][0], server_key=key), error=AuthenticationError)
    sent = f.hand(requests)
    with pytest.raises(AuthenticationError):
        f.server.receive(f.forged(sent[0][1], channel_key=key))


def test_fault_22_equal_and_reflected_keys_are_refused():
    f = Committee(5)
    f.server.open_round(1)
    sent = dict(f.hand(f.requests()))
    f.bring([("c0", sent["c0"])])
    with pytest.raises(AuthenticationError, match="twice"):
        f.server.receive(f.forged(sent["c1"], channel_key=f.body(sent["c0"]).channel_key))
    with pytest.raises(AuthenticationError, match=r"reflected|twice"):
        f.server.receive(f.forged(sent["c1"], channel_key=f.body(sent["c1"]).server_key))


def test_fault_24_a_lying_member_is_named_and_the_sum_is_right(monkeypatch):
    f = Committee(20, corrupt=1, threshold=16, packing=2)
    f.until("reveal")
    lie(monkeypatch, 3, 11)
    result = f.finish(1)
    f.exact(result, f.ids)
    assert sorted(result.blamed) == sorted([f.ids[3], f.ids[11]])


def test_fault_24_with_no_answers_to_spare_a_lie_ends_the_round(monkeypatch):
    f = Committee(5)
    f.until("reveal")
    f.carry(silent={"c4"})
    lie(monkeypatch)
    f2 = Committee(5)
    f2.until("reveal")
    lie(monkeypatch, 2)
    f2.carry(silent={"c4"})
    with pytest.raises(AbortError):
        f2.server.close_phase()
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_27_and_36_a_member_answers_for_one_set_a_round():
    f = Committee(7, min_clients=5)
    f.until("reveal")
    frames = f.asked(REVEAL)
    for to, frame in frames.items():
        body = f.body(frame)
        box, path = len(body.sealed) // 7, len(body.paths) // 7
        fewer = f.forged(frame, headers=body.headers[1:], sealed=body.sealed[box:], paths=body.paths[path:])
        f.clients[to].receive(frame)
        refused(f.clients[to], fewer, "another set", EquivocationError)
        for out in f.clients[to].outbox():
            f.server.receive(out)
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)
    for to, frame in frames.items():  # nor in the next round, nor under new keys
        refused(f.clients[to], f.forged(frame, participants=list(range(6))))


def test_fault_28_and_51_nor_after_a_restart_from_an_old_state(tmp_path):
    f = Committee(5, min_clients=4, ledgers=tmp_path)
    f.until("reveal")
    old = {name: f.clients[name].snapshot() for name in f.ids}
    frames = f.asked(REVEAL)
    answers = {}
    for to, frame in frames.items():
        f.clients[to].receive(frame)
        answers[to] = f.clients[to].outbox()
        f.clients[to].close()
        again = f.restore(to, old[to])
        body = f.body(frame)
        box, path = len(body.sealed) // 5, len(body.paths) // 5
        fewer = f.forged(frame, headers=body.headers[1:], sealed=body.sealed[box:], paths=body.paths[path:])
        refused(again, fewer, "another set", EquivocationError)
        again.receive(frame)
        assert again.outbox() == answers[to]
        f.clients[to] = again


def test_fault_28_new_keys_do_not_reopen_a_round_that_was_answered():
    f = Committee(5)
    f.server.open_round(2)
    f.finish(2)
    keys = f.down[0][1]
    for first in (1, 2):
        refused(f.clients["c0"], f.forged(keys, first_round=first, server_key=bytes(31) + b"\x09"))


def test_fault_30_strangers_and_repeats_in_lists_are_refused():
    f = Committee(5, min_clients=4)
    f.until("masked")
    for to, frame in f.asked(MASKED).items():
        for ranks in ([0, 1, 2, 3, 9], [0, 0, 1, 2, 3], [3, 2, 1, 0, 4], [-1, 0, 1, 2, 3]):
            refused(f.clients[to], f.forged(frame, participants=ranks))
        others = [rank for rank in range(5) if f.ids[rank] != to]
        refused(f.clients[to], f.forged(frame, participants=others), "we are no participant")


def test_fault_31_fewer_survivors_than_agreed_are_refused_by_members():
    f = Committee(6, min_clients=5)
    f.until("reveal")
    for to, frame in f.asked(REVEAL).items():
        body = f.body(frame)
        box, path = len(body.sealed) // 6, len(body.paths) // 6
        few = f.forged(frame, headers=body.headers[:4], sealed=body.sealed[: 4 * box], paths=body.paths[: 4 * path])
        refused(f.clients[to], few, "fewer survivors")


def test_fault_32_other_params_are_refused():
    f, lax = Committee(6), make_params(6, min_clients=2, min_honest=1)
    f.server.open_round(1)
    requests = f.requests()
    refused(f.clients["c0"], f.forged(requests["c0"][0], params_hash=lax.hash), "other Params", AuthenticationError)
    f.bring(f.hand(requests))
    f.server.close_phase()
    for to, frame in f.asked(MASKED).items():
        refused(f.clients[to], f.forged(frame, params_hash=lax.hash), "other Params", AuthenticationError)


def test_fault_33_keys_that_were_exchanged_on_the_way_are_refused():
    f = Committee(5)
    f.until("masked")
    for to, frame in f.asked(MASKED).items():
        keys = f.body(frame).keys
        mine = f.forged(keys[0], signer="c4", channel_key=bytes(31) + b"\x09")
        refused(f.clients[to], f.forged(frame, keys=[mine, *keys[1:]]), error=AuthenticationError)
        refused(f.clients[to], f.forged(frame, keys=[keys[0], *keys]), error=PeerError)
        refused(f.clients[to], f.forged(frame, keys=keys[1:]), error=PeerError)


def test_fault_35_updates_on_different_models_are_not_mixed():
    f = Committee(7, min_clients=4)
    f.until("masked")
    for to, frame in f.asked(MASKED).items():
        f.clients[to].receive(frame)
        f.clients[to].submit(f.updates[to], context=b"other" if to in {"c1", "c2"} else b"model")
        for out in f.clients[to].outbox():
            f.server.receive(out)
    f.server.close_phase()
    f.exact(f.finish(1), ["c0", "c3", "c4", "c5", "c6"])


def test_fault_48b_members_that_are_not_asked_for_an_update_answer():
    f = Committee(8, max_participants=6, min_clients=5)
    asked = f.ids[:6]
    f.exact(f.round(1, asked), asked)
    f.exact(f.round(2, f.ids[2:]), f.ids[2:])


def test_fault_48c_back_after_a_missed_round():
    f = Committee(10, min_clients=8)
    f.exact(f.round(1, silent={"c4"}), [name for name in f.ids if name != "c4"])
    f.exact(f.round(2), f.ids)


def test_fault_48d_a_batch_that_is_over_is_followed_by_another():
    f = Committee(5, rounds_per_setup=1)
    f.exact(f.round(1), f.ids)
    first = f.setup.hash
    f.exact(f.round(2), f.ids)
    assert f.setup.hash != first


def test_fault_51_the_same_secret_never_masks_two_updates(tmp_path):
    f = Committee(5, min_clients=4, ledgers=tmp_path)
    f.until("masked")
    old = f.clients["c0"].snapshot()
    request = f.requests()["c0"]
    for frame in request:
        f.clients["c0"].receive(frame)
    f.clients["c0"].submit(f.updates["c0"])
    f.clients["c0"].close()
    again = f.restore("c0", old)
    with pytest.raises((PeerError, InputError, AbortError)):
        for frame in request:
            again.receive(frame)
        again.submit(f.updates["c0"] + 1)
    assert again.outbox() == []


def test_another_update_for_one_round_is_refused():
    f = Committee(5)
    f.until("masked")
    for frame in f.requests()["c0"]:
        f.clients["c0"].receive(frame)
    f.clients["c0"].submit(f.updates["c0"])
    with pytest.raises(StateError):
        f.clients["c0"].submit(f.updates["c0"] + 1)


def test_a_drawn_committee_needs_the_session_from_elsewhere():
    params = make_params(12, committee=7, corrupt=1, threshold=5, packing=1)
    f = Committee(12, params=params)
    with pytest.raises(ParameterError, match="session id from elsewhere"):
        Client(params, me="c0", identity=f.keys["c0"], roster=f.roster)
    f.exact(f.round(1), f.ids)
    assert len(f.setup.ids) == 7


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
