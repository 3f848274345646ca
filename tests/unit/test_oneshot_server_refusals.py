"""Requests and replies of oneshot that are authenticated but malformed or misplaced change nothing; here the server's share."""

from __future__ import annotations

import pytest

from secagg import HOLDER, Client, Identity, Roster, Server
from secagg.errors import (
    AuthenticationError,
    DecodeError,
    InputError,
    PeerError,
    StateError,
)
from secagg.protocols.oneshot.messages import Kind, make_chunk
from secagg.wire import decode_frame, seal_envelope
from support.committee import FOUR, SESSION, Committee, at, five, unknown

PHASES = ("keys", "masked", "reveal")
NINE = bytes(31) + b"\x09"


def test_what_the_server_refuses_of_a_key():
    f, inbox = at("keys")
    sent = f.hand(inbox)
    (name, frame) = sent[0]
    for change, words, error in (
        ({"params_hash": bytes(32)}, "not asked for", AuthenticationError),
        ({"roster_hash": bytes(32)}, "not asked for", AuthenticationError),
        ({"rounds": 4}, "not asked for", AuthenticationError),
        ({"first_round": 2}, "not asked for", AuthenticationError),
        ({"server_key": NINE}, "not asked for", AuthenticationError),
        ({"channel_key": b"x" * 31}, "32 bytes", DecodeError),
        ({"channel_key": bytes(32)}, "small order", AuthenticationError),
        ({"channel_key": b"\xff" * 32}, "not canonical", AuthenticationError),
        ({"channel_key": f.body(frame).server_key}, "reflected|twice", AuthenticationError),
    ):
        unknown(f, f.forged(frame, **change), words, error)
    assert name == "c0"
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), FOUR)


def test_what_the_server_refuses_of_a_header():
    f, inbox = at("masked")
    sent = f.hand(inbox)
    header = next(frame for name, frame in sent if frame[3] == Kind.MASKED_HEADER and name == "c0")
    member = f.setup.bodies[2].channel_key
    for change, words in (
        ({"round_id": 2}, "another round"),
        ({"params_hash": bytes(32)}, "another Params"),
        ({"setup_hash": bytes(32)}, "another setup"),
        ({"participants_hash": bytes(32)}, "another participants"),
        ({"context_hash": b"x"}, "a hash has 32 bytes"),
        ({"shares_root": bytes(31)}, "a hash has 32 bytes"),
        ({"tag": bytes(33)}, "a hash has 32 bytes"),
        ({"channel_key": bytes(32)}, "small order"),
        ({"channel_key": b"\xff" * 32}, "not canonical"),
        ({"channel_key": f.setup.server_key}, "reflected"),
        ({"channel_key": member}, "reflected"),
    ):
        unknown(f, f.forged(header, **change), words)
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), FOUR)


def test_what_the_server_refuses_of_a_chunk():
    f, inbox = at("masked")
    sent = f.hand(inbox)
    chunk = decode_frame(next(frame for name, frame in sent if name == "c0"), max_bytes=1 << 30)[1]

    def chunk_of(name="c0", place=(1, 0, 0), payload=None, key=None, session=SESSION, setup_hash=None):
        return make_chunk(
            session, name, place, setup_hash or f.setup.hash, chunk.payload if payload is None else memoryview(payload),
            (key or f.keys[name]).sign,
        )[0]  # fmt: skip

    for frame, words, error in (
        (chunk_of(place=(2, 0, 0)), "another round", PeerError),
        (chunk_of(place=(1, 9, 0)), "outside the vector", DecodeError),
        (chunk_of(place=(1, 0, 1)), "outside the vector", DecodeError),
        (chunk_of(payload=bytes(3)), "another length", DecodeError),
        (chunk_of(payload=b""), "another length", DecodeError),
        (chunk_of(session=bytes(16)), "another session", AuthenticationError),
        (chunk_of(setup_hash=bytes(32)), "signature", AuthenticationError),
        (chunk_of(key=f.keys["c1"]), "signature", AuthenticationError),
        (chunk_of(name="c4"), "no update was asked", PeerError),
    ):
        unknown(f, frame, words, error)
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), FOUR)


def test_an_upload_that_does_not_fit_its_header_is_left_out_whole():
    """Its tag, or the root over its shares: whatever comes of that client later in the round is refused."""
    f = Committee(7, min_clients=5)
    f.until("masked")
    sent = f.hand(f.requests())
    for name, change, words in (
        ("c0", {"tag": bytes(32)}, "does not match its signed header"),
        ("c1", {"shares_root": bytes(32)}, "its shares are not those"),
    ):
        mine = [frame for who, frame in sent if who == name]
        f.bring([(name, frame) for frame in mine[:-1]])
        with pytest.raises(AuthenticationError, match=words):
            f.server.receive(f.forged(mine[-1], **change))
        for frame in mine:
            unknown(f, frame, "refused already")
        assert name not in f.server.missing
    f.bring([pair for pair in sent if pair[0] not in ("c0", "c1")])
    f.server.close_phase()
    f.exact(f.finish(1), f.ids[2:])


def test_what_the_server_refuses_of_an_answer():
    f, inbox = at("reveal")
    sent = f.hand(inbox)
    name, frame = sent[0]
    body, key = f.body(frame), f.keys[name]
    for change, words, error in (
        ({"round_id": 2}, "another account", AuthenticationError),
        ({"account": bytes(32)}, "another account", AuthenticationError),
        ({"account_signature": bytes(63)}, "64 bytes", DecodeError),
        ({"account_signature": bytes(64)}, "", AuthenticationError),
        ({"account_signature": key.sign(b"else")}, "", AuthenticationError),
        ({"complaints": [9]}, "unknown", PeerError),
        ({"complaints": [4]}, "unknown", PeerError),  # who is no survivor
        ({"complaints": [1, 0]}, "out of order", PeerError),
        ({"complaints": [0]}, "beside complaints", DecodeError),
        ({"sealed": b""}, "", AuthenticationError),
        ({"sealed": body.sealed[:-1]}, "", AuthenticationError),
        ({"sealed": bytes(len(body.sealed))}, "", AuthenticationError),
    ):
        unknown(f, f.forged(frame, **change), words, error)
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.server.result(1), FOUR)


def test_a_client_without_a_key_in_the_setup_is_asked_for_no_answer():
    f = Committee(10, min_clients=8)
    f.server.open_round(1)
    f.carry(silent={"c9"})
    f.server.close_phase()
    f.carry()
    f.server.close_phase()
    sent = f.hand(f.requests())
    assert "c9" not in dict(sent)
    unknown(f, seal_envelope(Kind.REVEAL, SESSION, "c9", f.body(sent[0][1]), f.keys["c9"].sign), "no answer was asked")
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_what_the_server_refuses_of_its_caller():
    f = five()
    for bad in (-1, 1.0, True, 1 << 63, "1"):
        with pytest.raises(InputError, match="round_id"):
            f.server.open_round(bad)
    for given, words in (
        ({"participants": f.ids[:2]}, "allow 3 to 4"),
        ({"participants": f.ids}, "allow 3 to 4"),
        ({"participants": None}, "allow 3 to 4"),
        ({"participants": "c0"}, "one string"),
        ({"participants": ["c0", "c1", "zz"]}, "not in the roster"),
        ({"participants": f.ids[:4], "cohort": f.ids}, "no cohort"),
    ):
        with pytest.raises(InputError, match=words):
            f.server.open_round(1, **given)
        assert (f.server.phase, f.server.round_id, f.server.outbox()) == ("idle", None, [])
    with pytest.raises(InputError, match="beyond 2"):
        f.server.open_round((1 << 63) - 2, f.ids[:4])
    for call in (f.server.close_phase, f.server.abort):
        with pytest.raises(StateError):
            call()
    assert f.server.missing == ()
    f.server.open_round(7, f.ids[:4])
    with pytest.raises(StateError):
        f.server.open_round(8, f.ids[:4])
    f.server.abort()
    with pytest.raises(InputError, match="increase"):
        f.server.open_round(7, f.ids[:4])
    f.exact(f.round(8, f.ids[:4]), f.ids[:4])


def test_a_server_with_no_setup_says_so():
    f = five()
    with pytest.raises(StateError, match="no setup"):
        f.server._core._state.setup()
    for memo in (b"", b"\xc1", b"\x91\x01"):
        with pytest.raises(InputError, match="memo"):
            f.server._core.recall(memo)


def test_a_key_holder_of_the_roster_has_no_say_here():
    """A roster may serve sessions of several protocols; its holder is nobody in this one, whatever it signs."""
    f, holder = Committee(5), Identity.generate()
    roster = Roster({name: key.verify_key for name, key in f.keys.items()}, f.server_key.verify_key, holder.verify_key)
    server = Server(f.params, identity=f.server_key, roster=roster, session=SESSION)
    server.open_round(1)
    for name, frame in server.outbox():
        client = Client(f.params, me=name, identity=f.keys[name], roster=roster, session=SESSION)
        client.receive(frame)
        (answer,) = client.outbox()
        forged = seal_envelope(Kind.MEMBER_KEY, SESSION, HOLDER, f.body(answer), holder.sign)
        for carrier in (None, HOLDER):
            with pytest.raises(AuthenticationError, match="not in the roster"):
                server.receive(forged, carrier)
        assert server.receive(answer, name) == name
    assert server.missing == ()
