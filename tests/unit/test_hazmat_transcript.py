"""Transcripts: the NIST samples and our digests, against pycryptodome and a plain-integer Keccak."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from Crypto.Hash import TupleHash256
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import errors
from secagg.hazmat import transcript

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sp800_185_tuplehash.json").read_text())
MASK = 2**64 - 1


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & MASK if by else word


def _permute(lanes: list[list[int]]) -> list[list[int]]:
    """Keccak-f[1600] of FIPS 202, lanes[x][y]."""
    register = 1
    for _ in range(24):
        parity = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        lanes = [
            [lanes[x][y] ^ parity[(x - 1) % 5] ^ _rotate(parity[(x + 1) % 5], 1) for y in range(5)] for x in range(5)
        ]
        x, y, moved = 1, 0, lanes[1][0]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            moved, lanes[x][y] = lanes[x][y], _rotate(moved, (t + 1) * (t + 2) // 2 % 64)
        lanes = [
            [lanes[x][y] ^ (~lanes[(x + 1) % 5][y] & lanes[(x + 2) % 5][y] & MASK) for y in range(5)] for x in range(5)
        ]
        for j in range(7):
            register = (register << 1 ^ (register >> 7) * 0x171) & 0xFF
            if register & 2:
                lanes[0][0] ^= 1 << (2**j - 1)
    return lanes


def _cshake256_padded(data: bytes, length: int) -> bytes:
    rate = 136
    data += b"\x04"
    data += bytes(-len(data) % rate)
    data = data[:-1] + bytes([data[-1] | 0x80])
    lanes = [[0] * 5 for _ in range(5)]
    for at in range(0, len(data), rate):
        for i in range(rate // 8):
            lanes[i % 5][i // 5] ^= int.from_bytes(data[at + 8 * i : at + 8 * i + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(rate // 8))[:length]


def _encode(value: int) -> bytes:
    return value.to_bytes(max(1, -(-value.bit_length() // 8)), "big")


def _left(value: int) -> bytes:
    return bytes([len(_encode(value))]) + _encode(value)


def _string(value: bytes) -> bytes:
    return _left(8 * len(value)) + value


def plain_tuplehash256(fields: list[bytes], custom: bytes, length: int) -> bytes:
    """TupleHash256 of SP 800-185 section 5, written from the text."""
    head = _left(136) + _string(b"TupleHash") + _string(custom)
    head += bytes(-len(head) % 136)
    tail = _encode(8 * length)
    return _cshake256_padded(head + b"".join(map(_string, fields)) + tail + bytes([len(tail)]), length)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: c["op"])
def test_vectors(case: dict) -> None:
    fields = [bytes.fromhex(field) for field in case["input"]["fields"]]
    if case["op"] == "tuplehash256":
        custom, length = case["input"]["custom"].encode(), case["input"]["length"]
        assert TupleHash256.new(digest_bytes=length, custom=custom).update(*fields).hexdigest() == case["output"]
        assert plain_tuplehash256(fields, custom, length).hex() == case["output"]
    elif case["success"]:
        label = case["input"]["label"]
        assert transcript.digest(label, *fields).hex() == case["output"]
        assert plain_tuplehash256(fields, b"secagg/v1/" + label.encode(), 32).hex() == case["output"]
    else:
        with pytest.raises(getattr(errors, case["error"])):
            transcript.digest(case["input"]["label"], *fields)


@settings(max_examples=30)  # the plain Keccak takes milliseconds
@given(st.lists(st.binary(max_size=300), max_size=5), st.text(min_size=1, max_size=20))
def test_digest_is_tuplehash(fields: list[bytes], label: str) -> None:
    expected = plain_tuplehash256(fields, b"secagg/v1/" + label.encode(), 32)
    assert transcript.digest(label, *fields) == expected


def test_splits_of_one_string_all_differ() -> None:
    data = b"abcdef"
    seen = set()
    for cuts in itertools.chain.from_iterable(itertools.combinations(range(len(data) + 1), r) for r in range(4)):
        edges = [0, *cuts, len(data)]
        seen.add(transcript.digest("split", *(data[a:b] for a, b in itertools.pairwise(edges))))
    assert len(seen) == sum(1 for r in range(4) for _ in itertools.combinations(range(len(data) + 1), r))
    assert transcript.digest("split", data) != transcript.digest("other", data)


@pytest.mark.parametrize("field", ["text", bytearray(b"x"), memoryview(b"x"), 1, None])
def test_fields_must_be_bytes(field: object) -> None:
    with pytest.raises(errors.InputError, match="bytes"):
        transcript.digest("label", field)  # type: ignore[arg-type]


def test_integers() -> None:
    assert transcript.u32(1) == b"\0\0\0\1"
    assert transcript.u64(2**64 - 1) == b"\xff" * 8
    for bad in (-1, 2**32):
        with pytest.raises(errors.InputError):
            transcript.u32(bad)
    for bad in (-1, 2**64):
        with pytest.raises(errors.InputError):
            transcript.u64(bad)
