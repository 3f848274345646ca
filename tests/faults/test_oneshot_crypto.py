"""Faults 17 to 26 of the oneshot protocol: broken or hostile cryptographic values."""

import pytest

from secagg.errors import (
    AbortError,
    AuthenticationError,
)
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import Kind
from support.committee import Committee, lie, refused

MASKED, REVEAL = Kind.MASKED_REQUEST, Kind.REVEAL_REQUEST


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
