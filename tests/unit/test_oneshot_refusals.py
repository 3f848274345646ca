"""Requests and replies of oneshot that are authenticated but malformed or misplaced change nothing; here the client's share."""

from __future__ import annotations

import msgspec
import pytest

from secagg import HOLDER
from secagg.errors import (
    AuthenticationError,
    EquivocationError,
    InputError,
    PeerError,
    StateError,
)
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.oneshot.messages import Kind, setup_digest
from secagg.wire import SERVER, decode_frame, seal_envelope
from support.committee import FOUR, SESSION, Committee, at, finish, five, refused, unknown
from support.refusals import mutations, raw_frame

PHASES = ("keys", "masked", "reveal")
NINE = bytes(31) + b"\x09"


# -- nonsense ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_malformed_but_signed_requests_change_nothing(phase):
    f, inbox = at(phase)
    (frame,), tried = inbox["c3"], 0
    keyless = msgspec.msgpack.encode(msgspec.structs.replace(f.body(frame), keys=None)) if phase == "masked" else b""
    for payload in mutations(frame):
        made = raw_frame(f, SERVER, frame[3], payload, f.server_key)
        if payload != keyless:
            refused(f.clients["c3"], made)
            tried += 1
    assert tried > 50
    finish(f, inbox)


@pytest.mark.parametrize("phase", PHASES)
def test_malformed_but_signed_replies_change_nothing(phase):
    f, inbox = at(phase)
    sent = f.hand(inbox)
    frame = next(frame for name, frame in reversed(sent) if name == "c1")
    for payload in mutations(frame):
        unknown(f, raw_frame(f, "c1", frame[3], payload, f.keys["c1"]))
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), FOUR)


@pytest.mark.parametrize("phase", PHASES)
def test_frames_of_other_parties_kinds_and_sessions_are_refused_everywhere(phase):
    f, inbox = at(phase)
    sent = f.hand(inbox)
    requests = [frame for frames in inbox.values() for frame in frames]
    for frame in requests:
        unknown(f, frame, "roster", AuthenticationError)
    for _, frame in sent:
        refused(f.clients["c0"], frame, "not a request of the server's")
    (request,) = inbox["c0"]
    body = f.body(request)
    kind, key = Kind(request[3]), f.server_key
    refused(f.clients["c0"], seal_envelope(kind, bytes(16), SERVER, body, key.sign), "another session")
    refused(f.clients["c0"], seal_envelope(kind, SESSION, "c1", body, f.keys["c1"].sign), "not a request")
    refused(f.clients["c0"], seal_envelope(99, SESSION, SERVER, body, key.sign), "not a request")
    refused(f.clients["c0"], seal_envelope(kind, SESSION, SERVER, body, f.keys["c1"].sign), error=AuthenticationError)
    name, frame = sent[-1]
    told = f.body(frame)
    own = f.keys[name].sign
    unknown(f, seal_envelope(frame[3], bytes(16), name, told, own), "another session", AuthenticationError)
    unknown(f, seal_envelope(99, SESSION, name, told, own), "not a client's frame")
    unknown(f, seal_envelope(request[3], SESSION, name, body, own), "not a client's frame")
    unknown(f, seal_envelope(frame[3], SESSION, HOLDER, told, own), "roster", AuthenticationError)
    unknown(f, seal_envelope(frame[3], SESSION, "nobody", told, own), "roster", AuthenticationError)
    unknown(f, frame, "carrier", AuthenticationError, sender="c9")
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), FOUR)


def test_frames_of_phases_that_are_not_open_are_refused():
    f = five()
    f.server.open_round(1, f.ids[:4])
    sent = {}
    while f.server.phase != "idle":
        phase = f.server.phase
        sent[phase] = f.hand(f.requests())
        for other, frames in sent.items():
            if other != phase:
                for _, frame in frames:
                    unknown(f, frame, "which is not open")
        f.bring(sent[phase])
        f.server.close_phase()
    for frames in sent.values():
        for _, frame in frames:
            with pytest.raises(PeerError, match="which is not open"):
                f.server.receive(frame)


# -- the client -------------------------------------------------------------------------------------------------------


def test_what_the_client_refuses_of_a_request():
    f, inbox = at("masked")
    (request,) = inbox["c0"]
    for change, words, error in (
        ({"params_hash": bytes(32)}, "other Params", AuthenticationError),
        ({"keys": None}, "not shown", AuthenticationError),
        ({"setup_hash": bytes(32)}, "not those that the request names", AuthenticationError),
        ({"round_id": 0}, "not one of this key's", PeerError),
        ({"round_id": 4}, "not one of this key's", PeerError),
        ({"round_id": -1}, "not one of this key's", PeerError),
        ({"round_id": 1 << 63}, "not one of this key's", PeerError),
        ({"participants": [0, 1]}, "number of participants", PeerError),
        ({"participants": [0, 1, 2, 3, 4]}, "number of participants", PeerError),
        ({"participants": [1, 2, 3, 4]}, "no participant", PeerError),
        ({"participants": [0, 2, 1, 3]}, "out of order", PeerError),
        ({"participants": [0, 1, 1, 3]}, "repeated", PeerError),
        ({"participants": [0, 1, 2, 9]}, "unknown", PeerError),
        ({"participants": [-1, 0, 1, 2]}, "unknown", PeerError),
    ):
        refused(f.clients["c0"], f.forged(request, **change), words, error)
    assert f.clients["c0"].awaiting is None
    finish(f, inbox)


def test_what_a_client_refuses_of_the_committees_keys():
    f, inbox = at("masked")
    (request,) = inbox["c0"]
    keys = f.body(request).keys
    stranger = Committee(5)

    def asked(frames, setup_hash=None):
        return f.forged(request, keys=frames, setup_hash=setup_hash or setup_digest(SESSION, frames))

    def of_all(**changes):
        return [f.forged(frame, **changes) for frame in keys]

    second = f.body(keys[1]).channel_key
    for frames, words in (
        (of_all(params_hash=bytes(32)), "under other Params"),
        (of_all(rounds=4), "under other Params"),
        (of_all(roster_hash=bytes(32)), "another roster"),
        ([f.forged(keys[0], first_round=2), *keys[1:]], "different requests"),
        ([f.forged(keys[0], server_key=NINE), *keys[1:]], "different requests"),
        ([f.forged(keys[0], params_hash=bytes(32)), *keys[1:]], "under other Params"),
        ([*keys[:4], f.forged(keys[4], roster_hash=bytes(32))], "different requests"),
        ([f.forged(keys[0], channel_key=b"x" * 31), *keys[1:]], "32 bytes"),
        (of_all(server_key=b"x"), "32 bytes"),
        ([f.forged(keys[0], channel_key=bytes(32)), *keys[1:]], "small order"),
        (of_all(server_key=bytes(32)), "small order"),
        ([f.forged(keys[0], channel_key=b"\xff" * 32), *keys[1:]], "not canonical"),
        ([f.forged(keys[0], channel_key=f.body(keys[0]).server_key), *keys[1:]], "reflected"),
        ([f.forged(keys[0], channel_key=second), *keys[1:]], "used twice"),
        (keys[:3], "too few or too many"),
        ([], "too few or too many"),
        ([keys[0], *keys], "too few or too many"),
        ([keys[0], *keys[:4]], "repeated or unsorted"),
        (keys[::-1], "repeated or unsorted"),
        ([seal_envelope(Kind.MEMBER_KEY, SESSION, "c0", f.body(keys[0]), stranger.keys["c0"].sign), *keys[1:]], ""),
        ([seal_envelope(Kind.MEMBER_KEY, bytes(16), "c0", f.body(keys[0]), f.keys["c0"].sign), *keys[1:]], "session"),
        ([seal_envelope(Kind.REVEAL, SESSION, "c0", f.body(keys[0]), f.keys["c0"].sign), *keys[1:]], "of this kind"),
        (
            [seal_envelope(Kind.MEMBER_KEY, SESSION, SERVER, f.body(keys[0]), f.server_key.sign), *keys[1:]],
            "of this kind",
        ),
        ([b"junk", *keys[1:]], ""),
    ):
        refused(f.clients["c0"], asked(frames), words)
    finish(f, inbox)


def test_a_key_of_the_roster_but_not_of_the_committee_is_refused():
    f = Committee(12, committee=5, corrupt=1, threshold=4, packing=1)
    f.until("masked")
    inbox = f.requests()
    outside = next(name for name in f.ids if name not in f.setup.ids)
    name, (request,) = next(iter(inbox.items()))
    keys = f.body(request).keys
    frame = seal_envelope(Kind.MEMBER_KEY, SESSION, outside, f.body(keys[0]), f.keys[outside].sign)
    frames = sorted([*keys[1:], frame], key=lambda each: decode_frame(each, max_bytes=1 << 20)[1].sender)
    refused(
        f.clients[name],
        f.forged(request, keys=frames, setup_hash=setup_digest(SESSION, frames)),
        "outside the committee",
    )
    server = Committee(12, committee=5, corrupt=1, threshold=4, packing=1)
    server.server.open_round(1)
    sent = server.hand(server.requests())
    stranger = next(name for name in server.ids if name not in dict(sent))
    unknown(server, seal_envelope(
        Kind.MEMBER_KEY, SESSION, stranger, server.body(sent[0][1]), server.keys[stranger].sign
    ), "no key was asked")  # fmt: skip


def test_the_same_round_with_other_keys_or_participants_is_equivocation():
    f, inbox = at("masked")
    (request,) = inbox["c0"]
    f.clients["c0"].receive(request)
    other = f.forged(request, participants=[0, 1, 2, 4])
    refused(f.clients["c0"], other, "other participants", EquivocationError)
    keys = f.body(request).keys
    pair = KeyPair.generate()
    frames = [f.forged(keys[0], channel_key=pair.public_bytes), *keys[1:]]
    forked = f.forged(request, keys=frames, setup_hash=setup_digest(SESSION, frames))
    refused(f.clients["c0"], forked, "second key for the same rounds", EquivocationError)
    again = f.forged(request, round_id=2, keys=frames, setup_hash=setup_digest(SESSION, frames))
    refused(f.clients["c0"], again, "second key for the same rounds", EquivocationError)
    finish(f, inbox)


def test_keys_of_earlier_rounds_and_rounds_gone_by_are_refused():
    f = five()
    f.round(1, f.ids[:4])
    early = f.down[5][1]
    assert early[3] == Kind.MASKED_REQUEST
    f.round(5, f.ids[:4])  # under other keys
    name = f.down[5][0]
    refused(f.clients[name], early, "a key of earlier rounds")
    f.server.open_round(6, f.ids[:4])
    (request,) = f.requests()[name]
    refused(
        f.clients[name], f.forged(request, round_id=5, participants=[0, 1, 2, 4]), "other participants|no participant"
    )
    f.clients[name].receive(request)
    refused(f.clients[name], f.forged(request, round_id=5), "does not increase")


def test_submit_out_of_turn_is_refused():
    f, inbox = at("masked")
    client = f.clients["c0"]
    with pytest.raises(StateError, match="no update is awaited"):
        client.submit(f.updates["c0"])
    client.receive(inbox["c0"][0])
    with pytest.raises(InputError, match="context"):
        client.submit(f.updates["c0"], context="text")
    stream = client.stream(f.updates["c0"])
    next(stream)
    client.submit(f.updates["c0"])
    with pytest.raises(StateError, match="moved on"):
        list(stream)
    assert client.awaiting is None
    with pytest.raises(StateError):
        client.submit(f.updates["c0"])


def test_a_stream_and_a_submit_give_the_same_frames_and_may_take_turns():
    f, inbox = at("masked")
    (request,), client = inbox["c0"], f.clients["c0"]
    client.receive(request)
    begun = client.stream(f.updates["c0"])
    first = [next(begun), next(begun)]
    with pytest.raises(InputError, match="another update"):
        client.submit(f.updates["c0"] * 0)
    assert client.awaiting
    whole = list(client.stream(f.updates["c0"]))
    assert whole[:2] == first
    client.receive(request)
    client.submit(f.updates["c0"])
    assert client.outbox() == whole
    finish(f, inbox)
