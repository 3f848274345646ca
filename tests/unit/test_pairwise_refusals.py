"""Authenticated but malformed or misplaced frames are refused, state stays as it was, and the round still ends exactly."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from secagg.errors import AbortError, PeerError, StateError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.pairwise.messages import Delivery, KeysRequest, Kind, MaskedRequest, UnmaskRequest
from secagg.wire import SERVER, Chunk, decode_frame, encode_chunk
from secagg.wire.frames import Envelope, _encoder, _header, _statement
from support.federation import Federation, fields

ODD = [None, -1, 1 << 64, "x", b"", [], [0, 0], [5, 1], [-1], [1 << 63], b"x" * 31, 1.5, {}, [[]], [b"x"], True]


def seven():
    return Federation(7, corrupt=1, threshold=5, min_clients=5)


def raw_frame(f, name, kind, payload, key):
    signature = key.sign(_statement(kind, f.server.session, name, payload))
    return _header(kind) + _encoder.encode(Envelope(f.server.session, name, signature, payload))


def mutations(frame):
    """Every field of a body replaced by every odd value, one at a time, as payload bytes."""
    _, outer = decode_frame(frame, max_bytes=1 << 30)
    values = msgspec.msgpack.decode(outer.payload)
    for at, odd in itertools.product(range(len(values)), ODD):
        if values[at] != odd:
            yield msgspec.msgpack.encode([*values[:at], odd, *values[at + 1 :]]) if odd != 1 << 64 else b"\x91" * 50


@pytest.mark.parametrize("phase", ["keys", "shares", "masked", "unmask"])
def test_malformed_but_signed_requests_change_nothing(phase):
    f = seven()
    f.server.open_round(1)
    f.until(phase)
    inbox = f.requests()
    client, frame = f.clients["c3"], inbox["c3"][0]
    refused = 0
    for payload in mutations(frame):
        try:
            client.receive(raw_frame(f, SERVER, frame[3], payload, f.server_key))
        except PeerError:
            refused += 1
        assert client.outbox() == []
        assert client.awaiting is None
    assert refused > 10
    f.bring(f.hand(inbox))
    assert not f.errors
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


@pytest.mark.parametrize("phase", ["keys", "shares", "masked", "unmask"])
def test_malformed_but_signed_client_frames_change_nothing(phase):
    f = seven()
    f.server.open_round(1)
    f.until(phase)
    sent = f.hand(f.requests())
    frame = next(frame for name, frame in reversed(sent) if name == "c3")
    refused = 0
    for payload in mutations(frame):
        with pytest.raises(PeerError):
            f.server.receive(raw_frame(f, "c3", frame[3], payload, f.keys["c3"]))
        refused += 1
    assert refused > 10
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"round_id": 9}, "another round"),
        ({"segment": 7}, "outside"),
        ({"index": 99}, "outside"),
        ({"payload": memoryview(b"xx")}, "another length"),
        ({"tag": bytes(16)}, "tag does not hold"),
    ],
)
def test_chunks_are_checked_before_they_are_kept(change, words):
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    sent = f.hand(f.requests())
    frame = sent[0][1]
    _, chunk = decode_frame(frame, max_bytes=1 << 20)
    values = {field: getattr(chunk, field) for field in chunk.__struct_fields__}
    with pytest.raises(PeerError, match=words):
        f.server.receive(encode_chunk(Chunk(**{**values, **change})))
    f.bring(sent)
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_an_upload_that_differs_from_its_header_is_excluded():
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    sent = f.hand(f.requests())
    mine = [frame for name, frame in sent if name == "c2"]
    f.bring([pair for pair in sent if pair[0] != "c2"])
    f.bring([("c2", frame) for frame in mine[:-1]])
    lying = f.forge_client("c2", Kind.MASKED_HEADER, fields(f.body(mine[-1]), tag=bytes(32)))
    with pytest.raises(PeerError, match="does not match"):
        f.server.receive(lying)
    assert f.server.missing == ()
    with pytest.raises(PeerError, match="refused already"):
        f.server.receive(mine[-1])
    f.server.close_phase()
    f.phase()
    f.check([name for name in f.ids if name != "c2"])


@pytest.mark.parametrize(
    "change", ["round_id", "params_hash", "setup_hash", "members_hash", "participants_hash", "context_hash", "tag"]
)
def test_headers_bound_to_anything_else_are_refused(change):
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    sent = f.hand(f.requests())
    name, frame = sent[-1]
    wrong = {"round_id": 5, "context_hash": b"short", "tag": b"short"}.get(change, b"y" * 32)
    with pytest.raises(PeerError):
        f.server.receive(f.forge_client(name, Kind.MASKED_HEADER, fields(f.body(frame), **{change: wrong})))
    f.bring(sent)
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_deliveries_are_checked_and_a_client_left_out_ends_its_setup():
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    delivery = body.delivery
    for bad in (
        None,
        fields(delivery, members=delivery.members[:4]),
        fields(delivery, members=[*delivery.members, 7]),
        fields(delivery, sealed=delivery.sealed[1:]),
        fields(delivery, holder_hashes=b""),
    ):
        with pytest.raises(PeerError):
            f.clients["c0"].receive(f.forge(Kind.MASKED_REQUEST, fields(body, delivery=bad)))
    with pytest.raises(AbortError, match="did not share"):
        f.clients["c0"].receive(
            f.forge(Kind.MASKED_REQUEST, fields(body, delivery=Delivery(delivery.members[1:], b"", b"")))
        )
    assert f.clients["c0"].awaiting is None
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_a_second_different_delivery_is_equivocation():
    f = Federation(7, corrupt=1, threshold=5, min_clients=5, rounds_per_setup=2)
    f.round(1)
    f.server.open_round(2)
    body = f.body(f.requests()["c0"][0])
    assert body.delivery is None
    other = fields(body, delivery=Delivery([0, 1, 2, 3, 4], b"", b""))
    with pytest.raises(PeerError, match="different setup delivery"):
        f.clients["c0"].receive(f.forge(Kind.MASKED_REQUEST, other))


def test_requests_of_another_setup_or_round_are_refused():
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    client = f.clients["c0"]
    for bad in (
        fields(body, setup_hash=bytes(32)),
        fields(body, round_id=2),
        fields(body, participants=[1, 2, 3, 4, 5, 6]),
        fields(body, participants=[0, 1]),
    ):
        with pytest.raises(PeerError):
            client.receive(f.forge(Kind.MASKED_REQUEST, bad))
    early = UnmaskRequest(1, body.setup_hash, body.participants, [], body.delivery)
    with pytest.raises(PeerError, match="min_clients"):
        client.receive(f.forge(Kind.UNMASK_REQUEST, early))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    request = f.requests()["c0"][0]
    for bad in (fields(f.body(request), round_id=0), fields(f.body(request), participants=[0, 1, 2, 3, 4])):
        with pytest.raises(PeerError):
            client.receive(f.forge(Kind.UNMASK_REQUEST, bad))
    client.receive(request)
    with pytest.raises(PeerError, match="answered already"):
        client.receive(inbox["c0"][0])


def test_keys_requests_are_bound_to_roster_params_and_time():
    f = seven()
    f.round(3)
    request = KeysRequest(4, 1, f.params.hash, f.roster.hash(), KeyPair.generate().public_bytes)
    client = f.clients["c0"]
    for bad in (
        fields(request, first_round=3),
        fields(request, first_round=1 << 63),
        fields(request, rounds=2),
        fields(request, roster_hash=bytes(32)),
        fields(request, server_key=bytes(32)),
    ):
        with pytest.raises(PeerError):
            client.receive(f.forge(Kind.KEYS_REQUEST, bad))
    assert client.outbox() == []
    client.receive(f.forge(Kind.KEYS_REQUEST, request))
    assert len(client.outbox()) == 1


def test_shares_requests_are_checked():
    f = seven()
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    frames = body.advertisements
    for bad in (
        fields(body, first_round=2),
        fields(body, advertisements=frames[:4]),
        fields(body, advertisements=frames * 2),
        fields(body, advertisements=[b"junk", *frames[1:]]),
        fields(body, advertisements=[inbox["c0"][0], *frames[1:]]),
    ):
        with pytest.raises(PeerError):
            f.clients["c0"].receive(f.forge(Kind.SHARES_REQUEST, bad))
    f.bring(f.hand(inbox))
    with pytest.raises(PeerError, match="different shares request"):
        f.clients["c0"].receive(f.forge(Kind.SHARES_REQUEST, fields(body, advertisements=frames[:6])))


def test_client_frames_by_those_not_asked_are_refused():
    f = Federation(7, corrupt=1, threshold=6, min_clients=5, rounds_per_setup=2)
    f.server.open_round(1, cohort=f.ids, participants=f.ids[:6])
    f.until("masked")
    sent = f.hand(f.requests())
    header = fields(f.body(sent[-1][1]))
    with pytest.raises(PeerError, match="no update was asked"):
        f.server.receive(f.forge_client("c6", Kind.MASKED_HEADER, header))
    f.bring([pair for pair in sent if pair[0] != "c0"])
    f.server.close_phase()
    answers = f.hand(f.requests(), {"c0"})
    answer = f.body(answers[0][1])
    with pytest.raises(PeerError, match="no answer was asked"):
        f.server.receive(f.forge_client("c0", Kind.UNMASK, answer))
    for change in (
        {"round_id": 2},
        {"account": bytes(32)},
        {"account_signature": b"x"},
        {"account_signature": bytes(64)},
    ):
        with pytest.raises(PeerError):
            f.server.receive(f.forge_client("c1", Kind.UNMASK, fields(answer, **change)))
    f.bring(answers)
    f.server.close_phase()
    f.check([name for name in f.ids[:6] if name != "c0"])


def test_a_request_kind_at_the_server_and_a_reply_kind_at_a_client_are_refused():
    f = seven()
    f.server.open_round(1)
    inbox = f.requests()
    with pytest.raises(PeerError, match="not a client"):
        f.server.receive(f.forge_client("c0", Kind.MASKED_REQUEST, MaskedRequest(1, b"", [], None)))
    with pytest.raises(PeerError, match="request"):
        f.clients["c0"].receive(f.forge(Kind.ADVERTISEMENT, f.body(inbox["c0"][0])))
    with pytest.raises(StateError):
        f.server._core._state.setup()
    small = Federation(7, corrupt=1, threshold=5, min_clients=5)
    small.server.open_round(1, cohort=small.ids[:6])
    assert small.requests()["c6"] == []
    with pytest.raises(PeerError):
        small.server.receive(small.forge_client("c6", Kind.ADVERTISEMENT, f.body(f.hand(inbox)[6][1])))
