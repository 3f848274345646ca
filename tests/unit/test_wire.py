"""Frames: strict decoding, limits first, authentication before parsing."""

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import Identity
from secagg.errors import AuthenticationError, DecodeError, PeerError
from secagg.protocols.pairwise.messages import Kind, SharesRequest, decoders
from secagg.wire import (
    MAGIC,
    VERSION,
    Chunk,
    ChunkPlan,
    decode_body,
    decode_frame,
    encode_chunk,
    open_envelope,
    seal_envelope,
)
from support.federation import Federation

SESSION = bytes(range(16))


def frame_of(key, sender="a"):
    return seal_envelope(Kind.SHARES_REQUEST, SESSION, sender, SharesRequest(1, [b"x", b"y"]), key.sign)


def test_envelope_round_trip():
    key = Identity.generate()
    kind, outer = decode_frame(frame_of(key), max_bytes=1 << 20)
    payload = open_envelope(kind, outer, key.verify_key)
    assert decode_body(payload, decoders[Kind.SHARES_REQUEST], "a") == SharesRequest(1, [b"x", b"y"])


def test_every_flipped_bit_is_refused():
    key = Identity.generate()
    frame = frame_of(key)
    for bit in range(len(frame) * 8):
        broken = bytearray(frame)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PeerError):
            kind, outer = decode_frame(bytes(broken), max_bytes=1 << 20)
            if isinstance(outer, Chunk) or outer.sender != "a" or outer.session != SESSION:
                raise AuthenticationError("would be refused by its receiver")
            open_envelope(kind, outer, key.verify_key)


def test_fault_62_length_over_the_limit_is_refused_unread():
    with pytest.raises(DecodeError, match="limit"):
        decode_frame(b"\x00" * 101, max_bytes=100)
    for bomb in (
        b"\xdd\xff\xff\xff\xff",
        b"\x94\xc6\xff\xff\xff\xff",
        b"\x94\xc4\x10" + bytes(16) + b"\xdb\xff\xff\xff\xff",
    ):
        with pytest.raises(DecodeError):
            decode_frame(b"SA\x01\x02" + bomb, max_bytes=1 << 20)


def test_fault_64_nesting_unknown_and_trailing_fields_are_refused():
    key = Identity.generate()
    frame = frame_of(key)
    with pytest.raises(DecodeError):
        decode_frame(frame + b"\x00", max_bytes=1 << 20)
    with pytest.raises(DecodeError):
        decode_frame(b"SA\x01\x02" + b"\x91" * 100_000 + b"\x90", max_bytes=1 << 20)
    for body in ([1, [b"x"], 3], [1], {"first_round": 1, "advertisements": []}, [1, [[b"x"]]], ["1", []]):
        with pytest.raises(DecodeError):
            decode_body(msgspec.msgpack.encode(body), decoders[Kind.SHARES_REQUEST], "a")
    with pytest.raises(DecodeError):
        decode_body(b"\x92" + b"\x01" + b"\x91" * 100_000, decoders[Kind.SHARES_REQUEST], "a")


def test_fault_66_pickle_and_npy_are_never_frames():
    fed = Federation(3)
    for blob in (pickle.dumps([1, 2, 3]), b"\x93NUMPY\x01\x00" + bytes(100)):
        with pytest.raises(DecodeError):
            fed.server.receive(blob)
        with pytest.raises(DecodeError):
            fed.clients["c0"].receive(blob)


@pytest.mark.parametrize("junk", [None, "SA", 7, [], b"", b"SA", b"SA\x01", b"XX\x01\x02\x90", b"SA\x02\x02\x90"])
def test_junk_is_a_decode_error(junk):
    fed = Federation(3)
    for side in (fed.server, fed.clients["c0"]):
        with pytest.raises(DecodeError):
            side.receive(junk)


@given(st.binary(max_size=300), st.integers(0, 255))
def test_arbitrary_bytes_raise_only_decode_errors(data, kind):
    for blob in (data, b"SA\x01" + bytes((kind,)) + data):
        try:
            decode_frame(blob, max_bytes=1 << 20)
        except DecodeError:
            continue


@pytest.mark.parametrize(
    "change",
    [
        {"tag": b"x"},
        {"round_id": -1},
        {"segment": -1},
        {"index": -1},
        {"session": b"s"},
        {"sender": "x" * 65},
    ],
)
def test_chunk_headers_out_of_range_are_refused(change):
    fields = {
        "session": SESSION,
        "sender": "a",
        "round_id": 1,
        "segment": 0,
        "index": 0,
        "tag": bytes(16),
    } | change
    with pytest.raises(DecodeError):
        decode_frame(encode_chunk(Chunk(**fields, payload=memoryview(b"abc"))), max_bytes=1000)


def test_chunk_payload_is_a_view():
    chunk = Chunk(SESSION, "a", 1, 0, 0, bytes(16), memoryview(b"abc"))
    _, outer = decode_frame(encode_chunk(chunk), max_bytes=1000)
    assert bytes(outer.payload) == b"abc"


@given(st.integers(1, 10_000), st.integers(1, 64), st.integers(64, 5000))
def test_chunks_cover_the_vector_once_and_start_on_bytes(count, w, frame_bytes):
    plan = ChunkPlan(count, w, frame_bytes)
    at = 0
    for index, start, stop in plan:
        assert start == at
        assert start * w % 8 == 0
        assert 0 < plan.payload_bytes(index) <= frame_bytes
        at = stop
    assert at == count
    assert plan.chunks == sum(1 for _ in plan)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65535, 65536, 70000])
def test_chunks_are_encoded_as_the_codec_would(size):
    payload = memoryview(bytes(i % 251 for i in range(size)))
    chunk = Chunk(bytes(16), "é" * 5, 1 << 40, 3, 70000, bytes(range(16)), payload)
    frame = encode_chunk(chunk)
    assert frame == MAGIC + bytes((VERSION, 0)) + msgspec.msgpack.encode(chunk)
    kind, again = decode_frame(frame, max_bytes=1 << 20)
    assert (kind, bytes(again.payload), again.index) == (0, bytes(payload), 70000)
