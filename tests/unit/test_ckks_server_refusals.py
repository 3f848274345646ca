"""What the server of ckks refuses, whose state stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from secagg.errors import AuthenticationError, InputError, PeerError, StateError
from secagg.protocols.ckks.messages import Kind
from secagg.wire import HOLDER, SERVER, Chunk, decode_frame, encode_chunk
from support.encrypted import uploads
from support.federation import fields
from support.refusals import at, finish, five, refused


def test_keys_that_were_not_asked_for():
    f = five()
    inbox = at(f, "keys")
    (frame,) = [frame for name, frame in f.hand(inbox) if name == HOLDER]
    told = f.body(frame)
    for change, words in (
        ({"first_round": 2}, "not asked for"),
        ({"rounds": 4}, "not asked for"),
        ({"params_hash": bytes(32)}, "not asked for"),
        ({"roster_hash": bytes(32)}, "not asked for"),
        ({"channel_key": bytes(32)}, "low order"),
        ({"channel_key": b"x"}, "32 bytes"),
        ({"public_key": b""}, "public key"),
    ):
        refused(f, SERVER, f.forge_holder(Kind.KEY_ANNOUNCEMENT, fields(told, **change)), words)
    refused(f, SERVER, f.forge_client("c0", Kind.KEY_ANNOUNCEMENT, told), "not a frame of this sender's")
    refused(f, SERVER, f.forge(Kind.KEY_ANNOUNCEMENT, told), "not in the roster")
    finish(f, inbox)


CHANNELS = {
    "malicious": [
        ({"channel_key": bytes(32)}, "low order"),
        ({"channel_key": "own"}, "reflected"),
        ({"channel_key": b""}, "32 bytes"),
    ],
    "semi-honest": [({"channel_key": "own"}, "nothing is padded")],
}


@pytest.mark.parametrize("threat", list(CHANNELS))
def test_what_the_server_refuses_of_an_upload(threat):
    f = five(threat=threat)
    inbox = at(f, "encrypted")
    sent = f.hand({name: frames for name, frames in inbox.items() if name != "c0"})
    f.bring(sent)
    mine = [frame for _, frame in f.hand({"c0": inbox["c0"]})]
    header, payloads = f.body(mine[-1]), uploads([("c0", frame) for frame in mine])[1]["c0"]
    _, chunk = decode_frame(mine[1], max_bytes=1 << 20)
    values = {field: getattr(chunk, field) for field in chunk.__struct_fields__}
    for change, words in (
        ({"round_id": 2}, "another round"),
        ({"segment": 2}, "outside the vector"),
        ({"index": 1}, "outside the vector"),
        ({"segment": 0}, "another length"),
        ({"payload": chunk.payload[:-1]}, "another length"),
        ({"payload": memoryview(b"")}, "another length"),
        ({"tag": bytes(64)}, "signature does not hold"),
        ({"tag": bytes(16)}, "64 bytes"),
        ({"sender": "c1"}, "signature does not hold"),
        ({"sender": "c4"}, "no update was asked"),
        ({"sender": "nobody"}, "not in the roster"),
        ({"session": bytes(16)}, "another session"),
    ):
        refused(f, SERVER, encode_chunk(Chunk(**{**values, **change})), words)
    refused(f, SERVER, f.chunk("c0", (1, 1, 0), payloads[1, 0], key_hash=bytes(32)), "signature does not hold")
    broken = bytearray(mine[1])
    broken[-9] ^= 1
    refused(f, SERVER, bytes(broken), "signature does not hold")
    own = f.body(f.server._core._state.key.frame).channel_key
    for change, words in (
        ({"round_id": 2}, "another round"),
        ({"params_hash": bytes(32)}, "another Params"),
        ({"key_hash": bytes(32)}, "another key"),
        ({"participants_hash": bytes(32)}, "another participants"),
        ({"context_hash": b"x"}, "32 bytes"),
        ({"tag": b"x"}, "32 bytes"),
        *CHANNELS[threat],
    ):
        settled = {name: own if value == "own" else value for name, value in change.items()}
        refused(f, SERVER, f.forge_client("c0", Kind.ENCRYPTED_HEADER, fields(header, **settled)), words)
    refused(f, SERVER, f.forge_client("c4", Kind.ENCRYPTED_HEADER, header), "no update was asked")
    with pytest.raises(AuthenticationError, match="carrier"):
        f.server.receive(mine[-1], sender="c1")
    f.bring([("c0", frame) for frame in mine])
    f.server.close_phase()
    f.phase()
    f.check(f.ids[:4])


def test_an_upload_that_differs_from_its_header_is_out_of_the_round():
    f = five()
    inbox = at(f, "encrypted")
    sent = f.hand(inbox)
    mine = [frame for name, frame in sent if name == "c2"]
    f.bring([pair for pair in sent if pair[0] != "c2"])
    f.bring([("c2", frame) for frame in mine[:-1]])
    lying = f.forge_client("c2", Kind.ENCRYPTED_HEADER, fields(f.body(mine[-1]), tag=bytes(32)))
    with pytest.raises(AuthenticationError, match="does not match its signed header"):
        f.server.receive(lying)
    assert f.server.missing == ()
    for frame in mine:
        refused(f, SERVER, frame, "refused already")
    f.server.close_phase()
    f.phase()
    f.check(["c0", "c1", "c3"])


def test_frames_of_phases_that_are_not_open():
    f = five()
    inbox = at(f, "keys")
    key = [frame for name, frame in f.hand(inbox) if name == HOLDER]
    f.bring([(HOLDER, key[0])])
    f.server.close_phase()
    refused(f, SERVER, key[0], "phase keys, which is not open")
    sent = f.hand(f.requests())
    f.bring(sent)
    f.server.close_phase()
    for _, frame in sent:
        refused(f, SERVER, frame, "phase encrypted, which is not open")
    f.phase()
    f.check(f.ids[:4])
    with pytest.raises(PeerError, match="not open"):
        f.server.receive(sent[0][1])


def test_what_the_server_refuses_of_an_answer():
    f = five()
    inbox = at(f, "decrypt")
    sent = [frame for name, frame in f.hand(inbox) if name == HOLDER]
    body = f.body(sent[0])
    for change, words in (
        ({"round_id": 2}, "another account"),
        ({"account": bytes(32)}, "another account"),
        ({"signature": b"x"}, "64 bytes"),
        ({"signature": bytes(64)}, "signature"),
        ({"result_hash": b"x"}, "hash 32"),
        ({"result_hash": bytes(32)}, "signature"),
        ({"tag": b"x"}, "hash 32"),
        ({"sealed_salt": b""}, "sealed data"),
        ({"sealed_salt": bytes(60)}, "does not open"),
    ):
        refused(f, SERVER, f.forge_holder(Kind.DECRYPTED, fields(body, **change)), words)
    payloads = uploads([(HOLDER, frame) for frame in sent])[1][HOLDER]
    sealed = payloads[1, 0]
    for frame, words in (
        (f.chunk(HOLDER, (2, 1, 0), sealed), "another round"),
        (f.chunk(HOLDER, (1, 2, 0), sealed), "outside"),
        (f.chunk(HOLDER, (1, 0, 0), sealed), "another length"),
        (f.chunk(HOLDER, (1, 1, 0), sealed[:-1]), "another length"),
        (f.chunk(HOLDER, (1, 1, 0), bytes([sealed[0] ^ 1]) + sealed[1:]), "tag|authentic|open"),
        (f.chunk(HOLDER, (1, 1, 0), sealed, key_hash=bytes(32)), "signature"),
        (f.forge_client("c0", Kind.DECRYPTED, body), "not a frame of this sender's"),
        (f.forge_holder(Kind.ENCRYPTED_HEADER, body), "not a frame of this sender's"),
        (f.forge_holder(Kind.DECRYPTED, body, session=bytes(16)), "another session"),
    ):
        refused(f, SERVER, frame, words)
    f.bring([(HOLDER, frame) for frame in sent])
    f.server.close_phase()
    f.check(f.ids[:4])


def test_a_result_is_not_asked_for_where_the_holder_keeps_it():
    f = five(reveal="holder")
    inbox = at(f, "decrypt")
    refused(f, SERVER, f.chunk(HOLDER, (1, 0, 0), bytes(52)), "another round")
    finish(f, inbox)


def test_rounds_are_opened_with_sets_that_the_params_allow():
    f = five()
    for kwargs, words in (
        ({"cohort": f.ids}, "no cohort"),
        ({"participants": f.ids}, "allow 3 to 4"),
        ({"participants": f.ids[:2]}, "allow 3 to 4"),
        ({"participants": ["zz"] * 3}, "not in the roster"),
        ({"participants": "c0"}, "one string"),
    ):
        with pytest.raises(InputError, match=words):
            f.server.open_round(1, **kwargs)
    with pytest.raises(InputError, match="last round would be beyond"):
        f.server.open_round((1 << 63) - 1, participants=f.ids[:4])
    for close in (f.server.close_phase, f.server.abort):
        with pytest.raises(StateError):
            close()
    assert f.server.phase == "idle"
    inbox = at(f, "keys")
    with pytest.raises(StateError):
        f.server.open_round(2, participants=f.ids[:4])
    finish(f, inbox)
    assert np.array_equal(f.server.result(1).integer_sum, f.results[1].integer_sum)
