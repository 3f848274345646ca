"""What the key holder of ckks refuses, whose state stays as it was."""

from __future__ import annotations

import pytest

from secagg.errors import AbortError, AuthenticationError, DecodeError, EquivocationError, InputError, PeerError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.ckks.messages import Kind
from secagg.spool import Spool
from secagg.wire import HOLDER, SERVER, Chunk, decode_frame, encode_chunk
from support.encrypted import Encrypted, tag_of, tell, uploads
from support.federation import fields
from support.refusals import at, finish, five, refused


def test_keys_are_made_for_the_sessions_params_roster_and_coming_rounds():
    f = five()
    f.round(1, participants=f.ids[:4])
    inbox = at(f, "keys", 5)
    body = f.body(inbox[HOLDER][0])
    for change, words, error in (
        ({"params_hash": bytes(32)}, "other Params", AuthenticationError),
        ({"rounds": 4}, "other Params", AuthenticationError),
        ({"roster_hash": bytes(32)}, "another roster", AuthenticationError),
        ({"first_round": 0}, "rounds that are over", PeerError),
        ({"first_round": -1}, "rounds that are over", PeerError),
        ({"first_round": (1 << 63) - 1}, "rounds that are over", PeerError),
    ):
        refused(f, HOLDER, f.forge(Kind.KEY_REQUEST, fields(body, **change)), words, error)
    refused(f, HOLDER, f.forge(Kind.KEY_REQUEST, body, session=bytes(16)), "another session")
    f.holder.receive(inbox[HOLDER][0])
    refused(f, HOLDER, f.forge(Kind.KEY_REQUEST, fields(body, first_round=3)), "rounds that are over|earlier rounds")
    (first,) = f.holder.outbox()
    f.bring([(HOLDER, first)])
    f.server.close_phase()
    f.phase()
    f.phase()
    f.check(f.ids[:4], 5)


def test_frames_that_are_no_requests_of_the_servers():
    f = five()
    inbox = at(f, "decrypt")
    body = f.body(inbox[HOLDER][0])
    stranger = Encrypted(5)
    for frame, words in (
        (f.forge(Kind.ENCRYPTED_REQUEST, body), "not a request"),
        (f.forge_client("c0", Kind.DECRYPT_REQUEST, body), "not a request"),
        (f.forge_holder(Kind.DECRYPT_REQUEST, body), "not a request"),
        (stranger.forge(Kind.DECRYPT_REQUEST, body, session=f.server.session), "signature"),
        (f.forge(Kind.DECRYPT_REQUEST, body, session=bytes(16)), "another session"),
        (b"", "not a secagg frame"),
    ):
        refused(f, HOLDER, frame, words)
    refused(f, HOLDER, bytes(f.params.max_frame_bytes + 1), "over the limit", DecodeError)
    finish(f, inbox)


def test_a_holder_without_a_key_or_with_another_sessions():
    f = five()
    inbox = at(f, "decrypt")
    empty = f.new_holder()
    for frame in inbox[HOLDER]:
        with pytest.raises(PeerError, match="no key was asked for"):
            empty.receive(frame)
    pinned = f.new_holder(session=bytes(16))
    with pytest.raises(AuthenticationError, match="another session"):
        pinned.receive(inbox[HOLDER][0])
    assert (empty.outbox(), pinned.outbox(), empty.session) == ([], [], None)


@pytest.mark.parametrize(
    "reveal, threat", [("server", "malicious"), ("holder", "malicious"), ("server", "semi-honest")]
)
def test_what_the_holder_refuses_of_a_request(reveal, threat):
    f = five(reveal=reveal, threat=threat)
    inbox = at(f, "decrypt")
    body = f.body(inbox[HOLDER][0])
    padded, heads = threat == "malicious", body.headers
    own = f.holder._core._state.key.channel.public_bytes

    def header(name="c0", signer=None, kind=Kind.ENCRYPTED_HEADER, session=None, **change):
        made = fields(f.body(heads[0]), **change)
        keys, f.keys = f.keys, {**f.keys, name: f.keys[signer or name]}
        try:
            return f.forge_client(name, kind, made, session=session)
        finally:
            f.keys = keys

    for change, words, error in (
        ({"params_hash": bytes(32)}, "other Params or another key", AuthenticationError),
        ({"key_hash": bytes(32)}, "other Params or another key", AuthenticationError),
        ({"round_id": 0}, "not one of this key's", PeerError),
        ({"round_id": 4}, "not one of this key's", PeerError),
        ({"round_id": 2}, "another round", AuthenticationError),
        ({"participants": [0, 1]}, "number of participants", PeerError),
        ({"participants": [0, 1, 2, 3, 4]}, "number of participants", PeerError),
        ({"participants": [1, 0, 2, 3]}, "out of order", PeerError),
        ({"participants": [0, 0, 2, 3]}, "repeated", PeerError),
        ({"participants": [0, 1, 2, 7]}, "unknown", PeerError),
        ({"participants": [0, 1, 2, 4]}, "another participants", AuthenticationError),
        ({"headers": heads[:2]}, "fewer survivors than min_clients", PeerError),
        ({"headers": []}, "fewer survivors than min_clients", PeerError),
        ({"headers": heads[::-1]}, "out of order", PeerError),
        ({"headers": [heads[0], *heads]}, "repeated", PeerError),
        ({"headers": [*heads, heads[3]]}, "repeated", PeerError),
        ({"headers": [header("c4"), *heads[1:]]}, "unknown", PeerError),
        ({"headers": [b"junk", *heads[1:]]}, "not a secagg frame", DecodeError),
        ({"headers": [inbox[HOLDER][0], *heads[1:]]}, "not a header", AuthenticationError),
        ({"headers": [f.chunk("c0", (1, 0, 0), b"x"), *heads[1:]]}, "not a header", AuthenticationError),
        ({"headers": [header(session=bytes(16)), *heads[1:]]}, "not a header of this session", AuthenticationError),
        ({"headers": [header(kind=Kind.DECRYPTED), *heads[1:]]}, "not a header", AuthenticationError),
        ({"headers": [header(signer="c1"), *heads[1:]]}, "signature", AuthenticationError),
        ({"headers": [header(round_id=2), *heads[1:]]}, "another round", AuthenticationError),
        ({"headers": [header(params_hash=bytes(32)), *heads[1:]]}, "another Params", AuthenticationError),
        ({"headers": [header(key_hash=bytes(32)), *heads[1:]]}, "another key", AuthenticationError),
        ({"headers": [header(participants_hash=bytes(32)), *heads[1:]]}, "another participants", AuthenticationError),
        ({"headers": [header(context_hash=bytes(32)), *heads[1:]]}, "different models", AuthenticationError),
        ({"headers": [header(tag=b"x"), *heads[1:]]}, "32 bytes", DecodeError),
        (
            {"headers": [header(channel_key=bytes(32) if padded else own), *heads[1:]]},
            "low order|nothing is padded",
            PeerError,
        ),
        ({"headers": [header(channel_key=own), *heads[1:]]}, "reflected|nothing is padded", PeerError),
        ({"server_key": bytes(32)}, "low order", AuthenticationError),
        ({"server_key": b"x"}, "32 bytes", AuthenticationError),
        ({"sum_tag": b"x" * 31}, "sum's tag", DecodeError),
        ({"sum_tag": bytes(32) if reveal == "holder" else b""}, "sum's tag", DecodeError),
    ):
        refused(f, HOLDER, f.forge(Kind.DECRYPT_REQUEST, fields(body, **change)), words, error)
    f.holder.receive(inbox[HOLDER][0])
    for change in (
        {"headers": heads[:3]}, {"server_key": KeyPair.generate().public_bytes},
        {"sum_tag": b"y" * 32 if reveal == "server" else b"", "headers": heads[1:]},
    ):  # fmt: skip
        lie = f.forge(Kind.DECRYPT_REQUEST, fields(body, **change))
        refused(f, HOLDER, lie, "second, different request", EquivocationError)
    finish(f, inbox)
    refused(f, HOLDER, lie, "second, different request", EquivocationError)


@pytest.mark.parametrize("reveal", ["server", "holder"])
def test_what_the_holder_refuses_of_a_chunk(reveal):
    f = five(reveal=reveal)
    inbox = at(f, "decrypt")
    _, chunk = decode_frame(inbox[HOLDER][2], max_bytes=1 << 20)
    values = {field: getattr(chunk, field) for field in chunk.__struct_fields__}
    sender, other = (SERVER, "c0") if reveal == "server" else ("c0", SERVER)
    assert (chunk.sender, chunk.segment, chunk.index) == (sender, 1, 0)
    payload = bytes(chunk.payload)
    made = [
        (f.chunk(other, (1, 1, 0), payload), "not a chunk that this protocol has"),
        (f.chunk(HOLDER, (1, 1, 0), payload), "not a chunk that this protocol has"),
        (f.chunk(sender, (4, 1, 0), payload), "not one of this key's"),
        (f.chunk(sender, (0, 1, 0), payload), "not one of this key's"),
        (f.chunk(sender, (1, 2, 0), payload), "outside"),
        (f.chunk(sender, (1, 1, 1), payload), "outside"),
        (f.chunk(sender, (1, 1, 0), payload[1:]), "another length"),
        (f.chunk(sender, (1, 1, 0), b""), "another length"),
        (f.chunk(sender, (1, 1, 0), payload, key_hash=bytes(32)), "signature"),
        (encode_chunk(Chunk(**{**values, "tag": bytes(64)})), "signature"),
        (encode_chunk(Chunk(**{**values, "tag": bytes(16)})), "64 bytes"),
        (encode_chunk(Chunk(**{**values, "session": bytes(16)})), "another session"),
    ]
    if reveal == "holder":
        made.append((encode_chunk(Chunk(**{**values, "sender": "nobody"})), "not in the roster"))
        made.append((encode_chunk(Chunk(**{**values, "sender": "c1"})), "signature"))
    for frame, words in made:
        refused(f, HOLDER, frame, words)
    f.holder.receive(f.chunk(sender, (2, 1, 0), payload))  # before any request: kept, until one of another round comes
    f.holder.receive(inbox[HOLDER][2])
    refused(
        f,
        HOLDER,
        f.chunk(sender, (1, 1, 0), bytes([payload[0] ^ 1]) + payload[1:]),
        "second, different",
        EquivocationError,
    )
    if reveal == "holder":
        f.holder.receive(inbox[HOLDER][0])
        refused(f, HOLDER, f.chunk("c4", (1, 1, 0), payload), "not in the sum")
        refused(f, HOLDER, f.chunk(sender, (2, 1, 0), payload), "another round than the one that is gathered")
    finish(f, inbox)
    assert tell(f.holder, inbox[HOLDER][1:]) is None  # repeated chunks of what was answered
    assert f.holder.outbox() == []


def test_without_room_a_chunk_can_come_again(monkeypatch):
    f = five()
    inbox = at(f, "decrypt")

    def full(*_):
        raise InputError("no room for unfinished uploads: No space left on device")

    f.holder.receive(inbox[HOLDER][0])
    with monkeypatch.context() as patched:
        patched.setattr(Spool, "put", full)
        refused(f, HOLDER, inbox[HOLDER][1], "no room")
    finish(f, inbox)


def test_late_frames_of_an_earlier_round_do_not_end_the_one_that_is_gathered():
    f = five()
    held = at(f, "decrypt", 1)[HOLDER]
    f.server.abort()
    inbox = at(f, "decrypt", 2)
    for frame in inbox[HOLDER][:-1]:
        f.holder.receive(frame)
    for frame in held:
        refused(f, HOLDER, frame, "later round|another round")
    f.holder.receive(inbox[HOLDER][-1])
    f.bring([(HOLDER, frame) for frame in f.holder.outbox()])
    f.results.update(f.holder._results)
    f.server.close_phase()
    f.check(f.ids[:4], 2)
    for frame in held:
        refused(f, HOLDER, frame, "later round|is over")


@pytest.mark.parametrize("reveal", ["server", "holder"])
def test_what_was_signed_for_and_what_came_must_agree(reveal):
    """All frames hold by themselves; together they are not the sum, or not the upload, of the headers: an abort, for ever."""
    f = five(reveal=reveal)
    inbox = at(f, "decrypt")
    request, *chunks = inbox[HOLDER]
    payloads = uploads([(decode_frame(frame, max_bytes=1 << 20)[1].sender, frame) for frame in chunks])[1]
    sender = "c2" if reveal == "holder" else SERVER
    other = payloads["c1" if reveal == "holder" else SERVER][0, 0]
    other = other[:-1] + bytes([other[-1] ^ 1]) if reveal == "server" else other
    assert tag_of({**payloads[sender], (0, 0): other}) != tag_of(payloads[sender])
    kept = [frame for frame in chunks if decode_frame(frame, max_bytes=1 << 20)[1].sender != sender]
    wrong = [f.chunk(sender, (1, 0, 0), other), f.chunk(sender, (1, 1, 0), payloads[sender][1, 0])]
    error = tell(f.holder, [request, *kept, *wrong])
    assert isinstance(error, AbortError)
    assert "not what was signed for" in str(error)
    assert f.holder.outbox() == []
    assert f.holder._core._state.round is None
    lie = f.forge(Kind.DECRYPT_REQUEST, fields(f.body(request), server_key=KeyPair.generate().public_bytes))
    for frame in (lie, request):  # the very same request included
        refused(f, HOLDER, frame, "does not increase")


def test_chunks_that_came_early_from_others_than_the_survivors_are_forgotten():
    """A client that is not in the sum, and one whose early chunks were of another round: neither is in anybody's way."""
    f = five(reveal="holder")
    inbox = at(f, "decrypt")
    request, *chunks = inbox[HOLDER]
    _, theirs = uploads([(decode_frame(frame, max_bytes=1 << 20)[1].sender, frame) for frame in chunks])
    f.holder.receive(f.chunk("c4", (1, 0, 0), theirs["c0"][0, 0]))
    f.holder.receive(f.chunk("c1", (2, 0, 0), theirs["c0"][0, 0]))
    f.holder.receive(chunks[0])
    f.holder.receive(request)
    current = f.holder._core._state.round
    assert {name for name, held in current.contents.items() if held} == {
        decode_frame(chunks[0], max_bytes=1 << 20)[1].sender
    }
    finish(f, inbox)


def test_an_interrupted_decryption_is_over():
    """Whatever ends it: no second try, which could be a second question."""
    f = five()
    inbox = at(f, "decrypt")
    state = f.holder._core._state
    identity, state.identity = state.identity, None
    with pytest.raises(AttributeError):
        tell(f.holder, inbox[HOLDER])
    state.identity = identity
    assert f.holder.outbox() == []
    for frame in inbox[HOLDER]:
        refused(f, HOLDER, frame, r"does not increase|round that is over")
    f.server.abort()
    f.round(2, participants=f.ids[:4])
    f.check(f.ids[:4], 2)
