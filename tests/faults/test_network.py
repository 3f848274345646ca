"""Faults 9 to 15: what a network does to frames."""

import random

import pytest

from secagg.errors import AuthenticationError, EquivocationError, PeerError
from secagg.protocols.pairwise.messages import Kind
from support.federation import PHASES, Federation


@pytest.mark.parametrize("phase", PHASES)
def test_fault_09_identical_duplicates_change_nothing(phase):
    f = Federation()
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox = f.requests()
        twice = f.server.phase == phase
        sent = f.hand({name: frames * (2 if twice and phase != "masked" else 1) for name, frames in inbox.items()})
        f.bring(sent * 2 if twice else sent)
        f.server.close_phase()
    assert not f.errors
    f.check(f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_10_other_content_is_refused_and_recorded(phase):
    f, twin = Federation(), None
    f.server.open_round(1)
    f.until(phase)
    inbox = f.requests()
    if phase == "keys":
        twin = f.new_client("c1")
        twin.receive(inbox["c1"][0])
        second = twin.outbox()
    sent = f.hand(inbox)
    first = [frame for name, frame in sent if name == "c1"]
    if phase != "keys":
        body = f.body(first[-1])
        change = {
            "shares": {"commitments": bytes(32)},
            "masked": {"tag": bytes(32)},
            "unmask": {"sealed": b"x"},
        }[phase]
        kind = {"shares": Kind.DEALING, "masked": Kind.MASKED_HEADER, "unmask": Kind.UNMASK}[phase]
        fields = {name: getattr(body, name) for name in body.__struct_fields__} | change
        second = [f.forge_client("c1", kind, type(body)(**fields))]
    f.bring(sent)
    with pytest.raises(EquivocationError):
        f.server.receive(second[0])
    assert "c1" in f.server.equivocations
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


def test_fault_11_replay_from_another_round_is_refused():
    f = Federation()
    f.round(1)
    old, heard = list(f.up), list(f.down)
    f.server.open_round(2)
    while f.server.phase != "idle":
        for name, frame in old:
            with pytest.raises(PeerError):
                f.server.receive(frame, sender=name)
        f.phase()
    f.check(f.ids, 2)
    for name, frame in heard:
        with pytest.raises(PeerError):
            f.clients[name].receive(frame)


def test_fault_12_reordered_frames_give_the_same_sum():
    f = Federation()
    f.server.open_round(1)
    rng = random.Random(3)
    while f.server.phase != "idle":
        sent = f.hand(f.requests())
        rng.shuffle(sent)
        f.bring(sent)
        f.server.close_phase()
    f.check(f.ids)


def test_fault_12_requests_out_of_order_are_refused():
    f = Federation()
    f.server.open_round(1)
    keys = f.requests()
    f.bring(f.hand(keys))
    f.server.close_phase()
    shares = f.requests()
    fresh = f.new_client("c0")
    with pytest.raises(PeerError, match="no setup"):
        fresh.receive(shares["c0"][0])
    f.bring(f.hand(shares))
    f.server.close_phase()
    masked = f.requests()
    with pytest.raises(PeerError, match="no setup"):
        fresh.receive(masked["c0"][0])
    f.bring(f.hand(masked))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


@pytest.mark.parametrize("phase", ["shares", "masked", "unmask"])
def test_fault_13_late_frames_are_never_added(phase):
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    f.server.open_round(1)
    f.until(phase)
    sent = f.hand(f.requests())
    f.bring([pair for pair in sent if pair[0] != "c3"])
    f.server.close_phase()
    for name, frame in sent:
        if name == "c3":
            with pytest.raises(PeerError):
                f.server.receive(frame)
    while f.server.phase != "idle":
        f.phase({"c3"})
    f.check(f.ids if phase == "unmask" else [name for name in f.ids if name != "c3"])


def test_fault_14_wrong_session_round_and_version_are_refused():
    f, other = Federation(), None
    f.server.open_round(1)
    frames = f.requests()
    f.bring(f.hand(frames))
    other = f.new_client("c0", session=bytes(16))
    with pytest.raises(AuthenticationError, match="session"):
        other.receive(frames["c0"][0])
    old = bytearray(frames["c0"][0])
    old[2] = 2
    with pytest.raises(PeerError, match="version"):
        f.clients["c0"].receive(bytes(old))
    f.server.close_phase()
    f.until("masked")
    request = f.requests()
    body = f.body(request["c0"][0])
    for round_id in (0, 2, 1 << 40):
        changed = type(body)(round_id, body.setup_hash, body.participants, body.delivery)
        with pytest.raises(PeerError):
            f.clients["c0"].receive(f.forge(Kind.MASKED_REQUEST, changed))
    f.bring(f.hand(request))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_fault_15_lost_replies_are_resent_byte_for_byte():
    f = Federation()
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox = f.requests()
        first = f.hand(inbox)
        again = f.hand(inbox)
        assert again == first
        f.bring(again)
        f.server.close_phase()
    f.check(f.ids)


def test_fault_10_stale_frames_of_an_honest_client_are_no_equivocation():
    f = Federation()
    f.round(1)
    old = list(f.up)
    f.server.open_round(2)
    while f.server.phase != "idle":
        f.phase(close=False)
        for name, frame in old:
            with pytest.raises(PeerError) as error:
                f.server.receive(frame, sender=name)
            assert not isinstance(error.value, EquivocationError)
        f.server.close_phase()
    assert f.server.equivocations == {}
    f.check(f.ids, 2)


def test_a_second_encoding_of_an_honest_frame_is_refused():
    f = Federation()
    f.server.open_round(1)
    name, frame = f.hand(f.requests())[0]
    at = frame.index(b"\xc4\x40")  # the 64-byte signature's header: bin8
    with pytest.raises(PeerError, match="canonical"):
        f.server.receive(frame[:at] + b"\xc5\x00\x40" + frame[at + 2 :])
    assert f.server.receive(frame) == name
    assert f.server.equivocations == {}
