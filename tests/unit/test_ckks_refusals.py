"""Requests and replies of ckks that are authenticated but malformed or misplaced change nothing; here the client's share."""

from __future__ import annotations

import msgspec
import pytest

from secagg.errors import AuthenticationError, DecodeError, EquivocationError, PeerError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.ckks.messages import KeyRequest, Kind, key_digest
from secagg.wire import HOLDER, SERVER, decode_frame, encode_body
from support.encrypted import PHASES, Encrypted
from support.federation import fields
from support.refusals import at, finish, five, mutations, raw_frame, refused, seen

# -- nonsense ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reveal", ["server", "holder"])
@pytest.mark.parametrize("phase", PHASES)
def test_malformed_but_signed_requests_change_nothing(phase, reveal):
    f = five(reveal=reveal)
    inbox = at(f, phase)
    who = "c3" if phase == "encrypted" else HOLDER
    frame = inbox[who][0]
    body, before, tried = f.body(frame), seen(f, who), 0
    for payload in mutations(frame):
        made = raw_frame(f, SERVER, frame[3], payload, f.server_key)
        if phase == "encrypted" and payload == msgspec.msgpack.encode(fields(body, key=None)):
            continue  # refused too, but not malformed
        with pytest.raises(PeerError):
            f.party(who).receive(made)
        assert seen(f, who) == before
        tried += 1
    assert tried > 50
    finish(f, inbox)


@pytest.mark.parametrize("reveal", ["server", "holder"])
@pytest.mark.parametrize("phase", PHASES)
def test_malformed_but_signed_replies_change_nothing(phase, reveal):
    f = five(reveal=reveal)
    inbox = at(f, phase)
    sent = f.hand(inbox)
    who, key = ("c1", f.keys["c1"]) if phase == "encrypted" else (HOLDER, f.holder_key)
    frame = next(frame for name, frame in sent if name == who and frame[3] != Kind.CHUNK)
    before, taken = seen(f, SERVER), []
    for payload in mutations(frame):
        try:
            f.server.receive(raw_frame(f, who, frame[3], payload, key))
        except PeerError:
            assert seen(f, SERVER) == before
            continue
        taken.append(msgspec.msgpack.decode(payload))  # an honest server cannot know what the sender meant
        break
    assert taken == []
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids[:4])


# -- the client -------------------------------------------------------------------------------------------------------


def test_what_the_client_refuses_of_a_request():
    f = five()
    inbox = at(f, "encrypted")
    body = f.body(inbox["c0"][0])
    for change, words, error in (
        ({"params_hash": bytes(32)}, "other Params", AuthenticationError),
        ({"key": None}, "not shown", AuthenticationError),
        ({"key_hash": bytes(32)}, "not the one the request names", AuthenticationError),
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
        refused(f, "c0", f.forge(Kind.ENCRYPTED_REQUEST, fields(body, **change)), words, error)
    assert f.clients["c0"].awaiting is None
    finish(f, inbox)


def test_what_the_client_refuses_of_a_key():
    f = five()
    inbox = at(f, "encrypted")
    body = f.body(inbox["c0"][0])
    told = f.body(body.key)
    stranger = Encrypted(5)

    def request(frame, changed=None):
        payload = encode_body(told if changed is None else changed)
        return f.forge(Kind.ENCRYPTED_REQUEST, fields(body, key=frame, key_hash=key_digest(f.server.session, payload)))

    b_of_zero = told.public_key[:16] + bytes(len(told.public_key) - 16)
    for change, words in (
        ({"params_hash": bytes(32)}, "other Params"),
        ({"rounds": 2}, "other Params"),
        ({"roster_hash": bytes(32)}, "another roster"),
        ({"first_round": 0, "rounds": 4}, "other Params"),
        ({"first_round": 2}, "not one of this key's"),
        ({"channel_key": b"x" * 31}, "32 bytes"),
        ({"channel_key": bytes(32)}, "low order"),
        ({"channel_key": b"\xff" * 32}, "canonical"),
        ({"public_key": told.public_key[:-1]}, "public key"),
        ({"public_key": told.public_key + b"\x00"}, "public key"),
        ({"public_key": b_of_zero}, "public key"),
        ({"public_key": told.public_key[:16] + b"\xff" * (len(told.public_key) - 16)}, "public key"),
    ):
        changed = fields(told, **change)
        refused(f, "c0", request(f.forge_holder(Kind.KEY_ANNOUNCEMENT, changed), changed), words)
    for frame, words in (
        (f.forge_holder(Kind.DECRYPTED, told), "no key of the holder's"),
        (f.forge_holder(Kind.KEY_ANNOUNCEMENT, told, session=bytes(16)), "another session"),
        (f.forge(Kind.KEY_ANNOUNCEMENT, told), "no key of the holder's"),
        (f.forge_client("c1", Kind.KEY_ANNOUNCEMENT, told), "no key of the holder's"),
        (stranger.forge_holder(Kind.KEY_ANNOUNCEMENT, told, session=f.server.session), "signature"),
        (b"junk", "not a secagg frame"),
        (b"", "not a secagg frame"),
        (f.chunk(HOLDER, (1, 0, 0), b"x"), "no key of the holder's"),
        (body.key[:-1], "malformed"),
    ):
        refused(f, "c0", request(frame), words)
    finish(f, inbox)


def test_what_the_client_refuses_after_a_request():
    f = five()
    inbox = at(f, "encrypted")
    body = f.body(inbox["c0"][0])
    told = f.body(body.key)
    f.clients["c0"].receive(inbox["c0"][0])
    second = f.forge_holder(Kind.KEY_ANNOUNCEMENT, fields(told, channel_key=KeyPair.generate().public_bytes))
    earlier = f.forge_holder(Kind.KEY_ANNOUNCEMENT, fields(told, first_round=0))

    def hash_of(frame):
        return key_digest(f.server.session, decode_frame(frame, max_bytes=1 << 20)[1].payload)

    for change, words, error in (
        ({"participants": [0, 1, 2, 4]}, "other participants", EquivocationError),
        ({"participants": [0, 1, 2]}, "other participants", EquivocationError),
        ({"key": second, "key_hash": hash_of(second)}, "second key", EquivocationError),
        ({"key": second, "key_hash": hash_of(second), "round_id": 2}, "second key", EquivocationError),
        ({"key": earlier, "key_hash": hash_of(earlier)}, "earlier rounds", PeerError),
        ({"key": None, "key_hash": bytes(32)}, "not shown", AuthenticationError),
    ):
        refused(f, "c0", f.forge(Kind.ENCRYPTED_REQUEST, fields(body, **change)), words, error)
    assert f.clients["c0"].awaiting
    finish(f, inbox)
    f.clients["c0"].receive(f.forge(Kind.ENCRYPTED_REQUEST, fields(body, round_id=3, key=None)))
    for round_id in (1, 2):
        frame = f.forge(Kind.ENCRYPTED_REQUEST, fields(body, round_id=round_id))
        refused(f, "c0", frame, "does not increase")


def test_frames_that_are_no_requests_of_the_servers():
    f = five()
    inbox = at(f, "encrypted")
    body = f.body(inbox["c0"][0])
    stranger = Encrypted(5)
    request = KeyRequest(1, 3, f.params.hash, f.roster.hash())
    for frame, words in (
        (f.forge(Kind.KEY_REQUEST, request), "not a request"),
        (f.forge_client("c1", Kind.ENCRYPTED_REQUEST, body), "not a request"),
        (f.forge_holder(Kind.ENCRYPTED_REQUEST, body), "not a request"),
        (f.chunk(SERVER, (1, 0, 0), b"x"), "not a request"),
        (stranger.forge(Kind.ENCRYPTED_REQUEST, body, session=f.server.session), "signature"),
        (b"", "not a secagg frame"),
    ):
        refused(f, "c0", frame, words)
    refused(f, "c0", bytes(f.params.max_frame_bytes + 1), "over the limit", DecodeError)
    other = f.new_client("c0", session=bytes(16))
    with pytest.raises(AuthenticationError, match="another session"):
        other.receive(inbox["c0"][0])
    finish(f, inbox)
