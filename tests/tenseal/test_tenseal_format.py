"""The parser of SEAL's bytes: what it refuses, before anything is allocated or handed to TenSEAL."""

from __future__ import annotations

import functools
import struct
import zlib

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import DecodeError, InputError, ParameterError
from secagg.integrations.tenseal import CiphertextSum, PublicContext
from secagg.integrations.tenseal.ciphertexts import VectorFormat
from secagg.integrations.tenseal.context import read_context
from support import tenseal_bytes as tb

Q = tb.shared().public().moduli[0]
LENGTH = 2100  # two ciphertexts of 2048 slots


@pytest.fixture(scope="module")
def public():
    return tb.shared().public()


@pytest.fixture(scope="module")
def data():
    return tb.encrypted(np.linspace(-1, 1, LENGTH))


def refused(public, data, match=None, length=LENGTH):
    total = CiphertextSum(public, length)
    with pytest.raises(DecodeError, match=match):
        total.add(data)
    assert total.count == 0
    assert not total.residues().any()


def changed(at, new):
    def change(body):
        body[at : at + len(new)] = new
        return body

    return change


U64 = struct.Struct("<Q").pack
BODIES = {
    "other parameters": (changed(0, bytes(32)), "other parameters"),
    "not in NTT form": (changed(32, b"\0"), "not in NTT form"),
    "three polynomials": (changed(33, U64(3)), "not of two polynomials"),
    "another degree": (changed(41, U64(8192)), "another degree"),
    "two primes": (changed(49, U64(2)), "other primes"),
    "another scale": (changed(57, struct.pack("<d", 2.0)), "another scale"),
    "scale NaN": (changed(57, struct.pack("<d", float("nan"))), "another scale"),
    "another correction factor": (changed(65, U64(2)), "another correction factor"),
    "an inner header of another kind": (changed(73, b"\x5f"), "seeded, or malformed"),
    "an inner header of another version": (changed(77, b"\1"), "seeded, or malformed"),
    "compressed inside": (changed(78, b"\2"), "seeded, or malformed"),
    "seeded": (changed(89, U64(4096)), "seeded, or malformed"),
    "a count of 2^63": (changed(89, U64(1 << 63)), "seeded, or malformed"),
    "residue q": (changed(97, U64(Q)), "not below its prime"),
    "residue 2^64 - 1": (changed(97 + 8 * 8191, U64((1 << 64) - 1)), "not below its prime"),
    "one byte less": (lambda body: body[:-1], "another size"),
    "one byte more": (lambda body: body + b"\0", "another size"),
    "one polynomial": (lambda body: body[: 97 + 8 * 4096], "another size"),
    "nothing": (lambda body: b"", "another size"),
    "transparent": (changed(97 + 8 * 4096, bytes(8 * 4096)), "transparent"),
}


@pytest.mark.parametrize("mode", tb.MODES)
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("change, match", BODIES.values(), ids=BODIES)
def test_ciphertexts_that_are_refused(public, data, change, match, index, mode):
    refused(public, tb.with_body(data, change, index, mode), match)


def test_a_seeded_ciphertext_is_refused(public, data):
    """As SEAL saves one: the first polynomial, then an indicator and the generator's seed."""

    def seed(body):
        info = tb.pack(b"\1" + bytes(64))
        array = U64(4096) + bytes(body[97 : 97 + 8 * 4096])
        return body[:73] + tb.pack(array) + info

    refused(public, tb.with_body(data, seed))


def items(data):
    return [part for part in tb.fields(data) if part[0] == 2]


def with_item(data, item):
    first, _, second, last = tb.fields(data)
    return tb.message([first, (2, 2, item), second, last])


HEADERS = {
    "another magic": {"magic": 0xA15F},
    "another header size": {"head": 17},
    "SEAL 3": {"major": 3},
    "SEAL 5": {"major": 5},
    "SEAL 4.2, which nobody knows": {"minor": 2},
    "reserved bits": {"zero": 1},
    "an unknown compression": {"compression": 3},
    "said to be compressed": {"compression": 2},
    "said to be zlib": {"compression": 1},
    "size too small": {"size": 16},
    "size too large": {"size": 1 << 40},
    "size 0": {"size": 0},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_refused(public, data, header):
    body = tb.bodies(data)[0]
    refused(public, with_item(data, tb.pack(body, **header)))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 112])
@pytest.mark.parametrize("mode", tb.MODES)
def test_short_ciphertexts_are_refused(public, data, size, mode):
    item = tb.pack(tb.bodies(data)[0], mode=mode)[:size]
    if size >= 16:
        item = item[:8] + U64(size) + item[16:]
    refused(public, with_item(data, item))


def frame(content, **options):
    return zstandard.ZstdCompressor(**options).compress(content)


def test_compressed_bodies_that_are_refused(public, data):
    body = tb.bodies(data)[0]
    size = len(body)
    bombs = [bytes(1 << 26), bytes(size + 1), bytes(size - 1)]
    packed = {
        "no content size": frame(body, write_content_size=False),
        "two frames": frame(body[:100]) + frame(body[100:]),
        "a frame and more": frame(body) + b"\0",
        "an empty frame first": frame(b"") + frame(body),
        "cut short": frame(body)[:-1],
        "skippable": b"\x50\x2a\x4d\x18" + struct.pack("<I", size) + body,
        "broken": frame(body)[:200] + bytes(200) + frame(body)[400:],
        **{f"bomb {len(bomb)}": frame(bomb) for bomb in bombs},
    }
    for content in packed.values():
        head = struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 2, 0, 16 + len(content))
        refused(public, with_item(data, head + content))
    deflated = zlib.compress(body)
    for content in (
        deflated[:-1], deflated + b"\0", zlib.compress(bytes(1 << 26)), zlib.compress(bytes(size - 1)), b"", deflated[2:],
        deflated[:-4] + bytes(4),
    ):  # fmt: skip
        head = struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 1, 0, 16 + len(content))
        refused(public, with_item(data, head + content))


def test_a_lying_content_size_allocates_nothing(public, data):
    """A zstd frame that claims 2^60 bytes is refused by its header."""
    huge = b"\x28\xb5\x2f\xfd\xe0" + U64(1 << 60) + b"\x01\x00\x00"
    head = struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 2, 0, 16 + len(huge))
    refused(public, with_item(data, head + huge), "another size")


def test_vectors_that_are_refused(public, data):
    sizes, first, second, scale = tb.fields(data)
    wrong = {
        "empty": [],
        "no ciphertexts": [sizes, scale],
        "one ciphertext": [sizes, first, scale],
        "three ciphertexts": [sizes, first, second, second, scale],
        "no scale": [sizes, first, second],
        "no sizes": [first, second, scale],
        "scale first": [scale, sizes, first, second],
        "scale twice": [sizes, first, second, scale, scale],
        "sizes twice": [sizes, sizes, first, second, scale],
        "another scale": [sizes, first, second, (3, 1, struct.pack("<d", 2.0))],
        "an unknown field": [sizes, first, (4, 0, 1), second, scale],
        "an unknown field at the end": [sizes, first, second, scale, (4, 0, 1)],
        "a number for a ciphertext": [sizes, (2, 0, 5), second, scale],
        "other sizes": [(1, 2, b"\x80\x10\x35"), first, second, scale],
        "sizes of zero": [(1, 2, b"\0\0"), first, second, scale],
        "sizes not in shortest form": [(1, 2, b"\x80\x90\0\x34"), first, second, scale],
        "an empty ciphertext": [sizes, (2, 2, b""), second, scale],
    }
    for parts in wrong.values():
        refused(public, tb.message(parts))
    for cut in (0, 1, 5, 100, len(data) // 2, len(data) - 1):
        refused(public, data[:cut])
    refused(public, data + b"\0")
    refused(public, data, length=LENGTH - 1)
    refused(public, data, length=4096)
    refused(public, bytes(VectorFormat(public, LENGTH).max_bytes + 1), "over the limit")


def test_lengths_beyond_the_message_are_refused(public, data):
    sizes, first, _, _ = tb.fields(data)
    head, tail = tb.message([sizes]), data[-9:]
    content = first[2]
    for claimed in (
        tb.varint(len(content) + 1),
        tb.varint(1 << 40),
        b"\xff" * 9,
        b"\xff" * 9 + b"\1",
        tb.varint(len(content))[:-1] + bytes([tb.varint(len(content))[-1] | 0x80]) + b"\0",
    ):
        refused(public, head + b"\x12" + claimed + content + tail)
    refused(public, head + b"\x12" + tail)
    refused(public, head + b"\x12\x80" + tail)


def test_what_is_not_bytes_is_the_callers_mistake(public, data):
    total = CiphertextSum(public, LENGTH)
    for wrong in ("text", None, [1], memoryview(data)[::2]):
        with pytest.raises(InputError):
            total.add(wrong)
    total.add(bytearray(data))
    total.add(memoryview(data))
    assert total.count == 2


def test_a_bad_ciphertext_late_in_a_vector_changes_nothing(public):
    length = 40 * public.slots
    data = tb.encrypted(np.zeros(length))
    total = CiphertextSum(public, length)
    total.add(data)
    before = total.residues()
    for index in (0, 17, 39):
        with pytest.raises(DecodeError, match="not below its prime"):
            total.add(tb.with_body(data, BODIES["residue q"][0], index))
        assert np.array_equal(total.residues(), before)
    assert total.count == 1


@functools.cache
def one_vector():
    return tb.encrypted(np.linspace(-1, 1, LENGTH))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutations_are_refused_or_harmless(draw):
    """Whatever is done to the bytes of a vector: DecodeError and an unchanged sum, or residues below their primes."""
    public = tb.shared().public()
    mode = draw.draw(st.sampled_from(list(tb.MODES)))
    data = bytearray(tb.rewrap(one_vector(), mode))
    places = st.integers(0, 200) | st.integers(-200, -1) | st.floats(0, 1)
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(places)
        at = int(place * len(data)) if isinstance(place, float) else place % len(data)
        at = min(at, len(data) - 1)
        what = draw.draw(st.sampled_from(["flip", "cut", "insert", "repeat", "zero"]))
        if what == "flip":
            data[at] ^= 1 << draw.draw(st.integers(0, 7))
        elif what == "cut":
            del data[at : at + draw.draw(st.integers(1, 50))]
        elif what == "insert":
            data[at:at] = draw.draw(st.binary(min_size=1, max_size=20))
        elif what == "repeat":
            data[at:at] = data[at : at + draw.draw(st.integers(1, 3000))]
        else:
            data[at : at + 8] = bytes(8)
    total = CiphertextSum(public, LENGTH)
    try:
        total.add(data)
    except DecodeError:
        assert not total.residues().any()
    else:
        assert total.residues().max() < public.moduli[0]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data):
    public = tb.shared().public()
    refused(public, data)
    for read in (PublicContext.from_bytes, lambda raw: PublicContext.from_tenseal(raw, bytes(32))):
        with pytest.raises((DecodeError, ParameterError)):
            read(data)


def test_parms_id_is_what_seal_computes():
    for name in tb.SETS:
        assert tb.bodies(tb.encrypted([1.0], name))[0][:32] == tb.shared(name).public().parms_id()


# --- contexts ---


def test_a_scale_is_a_float_however_it_is_given():
    one, other = (PublicContext(4096, (PRIME,), scale, bytes(32)) for scale in (2**20, 2.0**20))
    assert one.hash() == other.hash()
    assert PublicContext.from_bytes(one.to_bytes()) == other


def test_a_public_context_round_trips(public):
    again = PublicContext.from_bytes(public.to_bytes())
    assert again == public
    assert again.hash() == public.hash()
    for cut in (*range(len(public.to_bytes())),):
        with pytest.raises((DecodeError, ParameterError)):
            PublicContext.from_bytes(public.to_bytes()[:cut])
    with pytest.raises(DecodeError):
        PublicContext.from_bytes(public.to_bytes() + b"\0")
    with pytest.raises(DecodeError, match="too long"):
        PublicContext.from_bytes(public.to_bytes() + bytes(5000))
    with pytest.raises(InputError):
        PublicContext.from_bytes("text")
    degree = public.to_bytes().index(b"\xcd\x10\x00")
    loose = public.to_bytes()[:degree] + b"\xce\0\0\x10\0" + public.to_bytes()[degree + 3 :]
    with pytest.raises(DecodeError, match="canonically"):
        PublicContext.from_bytes(loose)


@pytest.mark.parametrize("public_key", [False, True])
def test_a_servers_tenseal_context_gives_the_same(public_key):
    for name in tb.SETS:
        shared = tb.shared(name, public_key)
        saved = tb.context(name, public_key).serialize()
        assert PublicContext.from_tenseal(saved, shared.key_id) == shared.public()
        with pytest.raises(ParameterError, match="use from_tenseal"):
            PublicContext.from_bytes(saved)


PRIME = 1099510890497
WRONG = {
    "degree 3": {"degree": 3},
    "a degree that is no integer": {"degree": 4096.0},
    "a list of primes": {"primes": [PRIME]},
    "a prime that is no integer": {"primes": (float(PRIME),)},
    "a scale of text": {"scale": "2"},
    "scale 2^2000": {"scale": 2**2000},
    "degree 512": {"degree": 512},
    "no primes": {"primes": ()},
    "a prime twice": {"primes": (PRIME, PRIME)},
    "not 1 modulo 2N": {"primes": (PRIME + 2,)},
    "too large a prime": {"primes": ((1 << 61) + 8192 + 1,)},
    "1": {"primes": (1,)},
    "over the security cap": {"primes": tuple(tb.shared("8192-60-40-40").public().primes)},
    "scale 0": {"scale": 0.0},
    "scale infinite": {"scale": float("inf")},
    "scale NaN": {"scale": float("nan")},
    "a short key id": {"key_id": bytes(31)},
    "a key id of text": {"key_id": "0" * 32},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_contexts_that_are_refused(public, change):
    good = {"degree": 4096, "primes": (PRIME,), "scale": 2.0**20, "key_id": bytes(32)}
    PublicContext(**good)
    with pytest.raises(ParameterError):
        PublicContext(**good | change)


def rebuilt(saved, change):
    first, *rest = tb.fields(saved)
    minor, body = tb.unpack(first[2])
    return tb.message([(1, 2, tb.pack(bytes(change(bytearray(body))), minor)), *rest])


PARAMETERS = {
    "of BFV": changed(0, b"\1"),
    "64 primes more": changed(9, U64(66)),
    "one prime less": changed(9, U64(1)),
    "2^63 primes": changed(9, U64(1 << 63)),
    "a modulus that is none": changed(17, b"\0"),
    "a modulus of another version": changed(21, b"\1"),
    "a plaintext modulus": changed(17 + 2 * 24 + 16, U64(2)),
    "cut short": lambda body: body[:-1],
    "cut to the start": lambda body: body[:10],
    "followed by more": lambda body: body + b"\0",
    "very long": lambda body: bytes(1 << 20),
}


@pytest.mark.parametrize("change", PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_that_are_refused(change):
    saved = tb.context().serialize()
    assert read_context(rebuilt(saved, bytes), public=True)
    with pytest.raises(DecodeError):
        read_context(rebuilt(saved, change), public=True)


def test_contexts_of_another_form_are_refused():
    saved = tb.context().serialize()
    parts = tb.fields(saved)
    for wrong in (parts[1:], parts[:1], [*parts, (5, 0, 1)], [parts[0], *parts], parts[::-1], []):
        with pytest.raises(DecodeError):
            read_context(tb.message(wrong), public=True)
    inner = tb.fields(parts[1][2])
    for wrong in ([*inner, (6, 0, 1)], inner[::-1], [*inner, *inner]):
        with pytest.raises(DecodeError):
            read_context(tb.message([parts[0], (2, 2, tb.message(wrong)), *parts[2:]]), public=True)
    assert read_context(tb.message([parts[0], (2, 2, b"")]), public=True)[1] == -1.0


def test_a_context_that_claims_a_huge_degree_allocates_nothing():
    from secagg.integrations.tenseal.context import key_id_of

    saved = tb.context().serialize(save_secret_key=True, save_relin_keys=False)
    with pytest.raises(ParameterError, match="the degree must be one of"):
        key_id_of(rebuilt(saved, changed(1, U64(1 << 60))))


def test_a_secret_key_that_does_not_fit_is_refused():
    from secagg.integrations.tenseal.context import key_id_of

    saved = tb.context().serialize(save_secret_key=True, save_relin_keys=False)
    parts = tb.fields(saved)
    minor, body = tb.unpack(tb.fields(parts[2][2])[0][2])
    for wrong in (body[:-8], body + bytes(8), body[:64] + U64(5) + body[72:], b""):
        secret = tb.message([(1, 2, tb.pack(wrong, minor))])
        with pytest.raises(DecodeError):
            key_id_of(tb.message([*parts[:2], (3, 2, secret), *parts[3:]]))
    for wrong in (b"", tb.message([(1, 2, tb.pack(body, minor)), (4, 0, 1)]), tb.message([(2, 0, 1)])):
        with pytest.raises(DecodeError):
            key_id_of(tb.message([*parts[:2], (3, 2, wrong), *parts[3:]]))
