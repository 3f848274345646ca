"""Faults 17 to 26 of the oneshot protocol: broken or hostile cryptographic values."""

import numpy as np
import pytest

from secagg import Identity, Roster
from secagg.errors import (
    AbortError,
    AuthenticationError,
    DecodeError,
    InputError,
    ParameterError,
    PeerError,
)
from secagg.hazmat import field, packed
from secagg.protocols.accounts import upload_tag
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import Kind, make_chunk
from secagg.wire import decode_frame
from support.committee import Committee, lie, refused
from support.hostile import beyond_the_order, second_form

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


@pytest.mark.parametrize("by", [1, -1, 12345, 1 << 60])
def test_fault_24_with_no_answers_to_spare_a_lie_ends_the_round(monkeypatch, by):
    """However little it is: what the digits of the secrets do not show, the opened sum does."""
    f = Committee(5)
    f.until("reveal")
    lie(monkeypatch, 2, by=by)
    f.carry(silent={"c4"})
    with pytest.raises(AbortError):
        f.server.close_phase()
    with pytest.raises(AbortError):
        f.server.result(1)
    monkeypatch.undo()
    f.exact(f.round(2), f.ids)


@pytest.mark.parametrize("place", ["a member", "the server"])
def test_fault_20_ed25519_keys_of_small_order_or_in_a_second_encoding_are_in_no_roster(place):
    good = [Identity.generate().verify_key for _ in range(3)]
    order = (1 << 255) - 19
    for bad in (b"\x01" + bytes(31), bytes(32), order.to_bytes(32, "little"), (order + 1).to_bytes(32, "little"), b"x"):
        clients = {"a": good[0], "b": bad if place == "a member" else good[1]}
        with pytest.raises(ParameterError):
            Roster(clients, bad if place == "the server" else good[2])


def test_fault_21_signatures_in_a_second_form_are_refused_wherever_one_stands():
    """Of requests, keys, chunks, headers and answers, those within another frame, and that of the receipt."""
    f = Committee(5)
    f.server.open_round(1)
    while f.server.phase != "idle":
        requests = f.requests()
        refused(f.clients["c0"], second_form(requests["c0"][0]), error=AuthenticationError)
        body = f.body(requests["c0"][0])
        for name in ("keys", "headers"):
            if getattr(body, name, None):
                inner = [second_form(getattr(body, name)[0]), *getattr(body, name)[1:]]
                refused(f.clients["c0"], f.forged(requests["c0"][0], **{name: inner}), error=AuthenticationError)
        sent = f.hand(requests)
        for _, frame in sent:
            with pytest.raises(AuthenticationError):
                f.server.receive(second_form(frame))
        if f.server.phase == "reveal":
            signature = f.body(sent[0][1]).account_signature
            for other in (beyond_the_order(signature), bytes(64), signature[:-1]):
                with pytest.raises(PeerError):
                    f.server.receive(f.forged(sent[0][1], account_signature=other))
        f.bring(sent)
        f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_23_nonces_and_keys_never_repeat():
    """Of sealed shares and answers, over rounds, retries, restarts and batches; a retry seals nothing again."""
    f, nonces, channels = Committee(5, rounds_per_setup=2), set(), set()
    for round_id in range(1, 6):
        f.server.open_round(round_id)
        while f.server.phase != "idle":
            inbox = f.requests()
            sent = f.hand(inbox)
            f.restart()
            assert f.hand(inbox) == sent
            if f.server.phase == "reveal":
                size = sharing.box_bytes(f.params)
                for (frame,) in inbox.values():
                    sealed = f.body(frame).sealed
                    nonces.update(sealed[at : at + 12] for at in range(0, len(sealed), size))
            if f.server.phase == "masked":
                channels.update(f.body(frame).channel_key for _, frame in sent if frame[3] == Kind.MASKED_HEADER)
            f.bring(sent)
            f.server.close_phase()
        f.exact(f.server.result(round_id), f.ids)
    nonces.update(f.body(frame).sealed[:12] for _, frame in f.up if frame[3] == Kind.REVEAL)
    assert len(nonces) == 5 * 5 * 5 + 5 * 5
    assert len(channels) == 5 * 5


@pytest.mark.parametrize("xs", [[0, 1, 2], [1, 1, 2], [1, 2, field.P], [-1, 1, 2], [field.P - 1, 1, 2], [1, 2, 1.5]])
def test_fault_25_impossible_share_indices_are_refused(xs):
    """The index 0 and those of the secrets themselves (-1, -2, ..) among them."""
    secrets = np.arange(6, dtype=np.uint64).reshape(3, 2)
    shares = packed.split(secrets, 3, [1, 2, 3])
    with pytest.raises(InputError):
        packed.split(secrets, 3, xs)
    with pytest.raises(InputError):
        packed.combine(xs, shares, 3, 2)


def test_fault_25_a_members_place_is_the_setups_and_not_its_own_to_say():
    """An answer says no index: sealed by a member for another's place it does not open."""
    f = Committee(5)
    f.until("reveal")
    sent = dict(f.hand(f.requests()))
    with pytest.raises(AuthenticationError):
        f.server.receive(f.forged(sent["c1"], sealed=f.body(sent["c2"]).sealed))
    f.bring(list(sent.items()))
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_26_an_answer_with_numbers_outside_the_field_is_refused(monkeypatch):
    f = Committee(10)
    f.until("reveal")
    honest, told = sharing.add_shares, []

    def beyond(shares):
        total = honest(shares)
        told.append(total)
        return field.P.to_bytes(8, "little") + total[8:] if len(told) == 3 else total

    monkeypatch.setattr(sharing, "add_shares", beyond)
    sent = f.hand(f.requests())
    with pytest.raises(DecodeError, match="not canonical"):
        f.server.receive(sent[2][1])
    assert f.server.missing == tuple(f.ids)
    f.bring([pair for pair in sent if pair != sent[2]])
    assert f.server.missing == (sent[2][0],)
    f.server.close_phase()
    result = f.server.result(1)
    f.exact(result, f.ids)
    assert sent[2][0] not in result.receipt.signatures


@pytest.mark.parametrize("what", ["beyond the field", "too short", "too long"])
def test_fault_26_shares_outside_the_field_or_of_another_length_are_complained_of(monkeypatch, what):
    """Its client signed for them, so each member can say whose they are."""
    f = Committee(5)
    f.until("masked")
    requests = f.requests()
    split, change = packed.split, {
        "beyond the field": lambda shares: np.full_like(shares, field.P),
        "too short": lambda shares: shares[:, :-1],
        "too long": lambda shares: np.concatenate([shares, shares[:, :1]], axis=1),
    }  # fmt: skip
    f.bring(f.hand({name: frames for name, frames in requests.items() if name != "c3"}))
    monkeypatch.setattr(packed, "split", lambda *args: change[what](split(*args)))
    mine = f.hand({"c3": requests["c3"]})
    if what != "beyond the field":  # the server knows how long shares are
        with pytest.raises(DecodeError, match="another length"):
            f.bring(mine)
        f.server.close_phase()
        monkeypatch.undo()
        f.exact(f.finish(1), ["c0", "c1", "c2", "c4"])
        return
    f.bring(mine)
    f.server.close_phase()
    f.carry()
    with pytest.raises(AbortError, match="could not open shares of c3"):
        f.server.close_phase()


def test_fault_26_residues_and_padding_out_of_range_are_refused():
    """An upload whose chunks are rightly signed, and hold what no honest client sends."""
    f = Committee(10, min_clients=9)
    f.until("masked")
    sent = f.hand(f.requests())
    mine = [frame for name, frame in sent if name == "c0"]
    chunks = {frame: decode_frame(frame, max_bytes=1 << 30)[1] for frame in mine if frame[3] == Kind.CHUNK}
    bad = {
        frame: b"\xff" * 8 + bytes(chunk.payload[8:]) if chunk.segment == 1 else bytes(chunk.payload)
        for frame, chunk in chunks.items()
    }
    f.bring([pair for pair in sent if pair[0] != "c0"])
    tags = []
    for frame, payload in bad.items():
        chunk = chunks[frame]
        place = (chunk.round_id, chunk.segment, chunk.index)
        again, tag = make_chunk(chunk.session, "c0", place, f.setup.hash, memoryview(payload), f.keys["c0"].sign)
        tags.append(((chunk.segment, chunk.index), tag))
        f.server.receive(again)
    header = f.forged(mine[-1], tag=upload_tag(tag for _, tag in sorted(tags)))
    with pytest.raises(AuthenticationError, match="upload refused"):
        f.server.receive(header)
    with pytest.raises(PeerError, match="refused already"):
        f.server.receive(mine[-1])
    f.server.close_phase()
    f.exact(f.finish(1), f.ids[1:])
