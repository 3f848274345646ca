"""A flood of unauthenticated bytes: it costs the server no memory, and no honest client its place."""

from __future__ import annotations

import gc
import itertools
import random
import tracemalloc

import msgspec
import pytest

from secagg.errors import PeerError
from secagg.wire import HOLDER, SERVER, Chunk, Envelope, decode_frame, encode_chunk
from secagg.wire.frames import _encoder, _header
from support.committee import Committee
from support.encrypted import Encrypted
from support.federation import Federation

TABLES = {"pairwise": Federation, "ckks": Encrypted, "oneshot": Committee}
UPLOADS = {"pairwise": "masked", "ckks": "encrypted", "oneshot": "masked"}
LAST = {"pairwise": "unmask", "ckks": "decrypt", "oneshot": "reveal"}
KEPT = 64 << 10  # bytes that may be left of a whole flood: caches of the interpreter, nothing a frame
PASSING = 1 << 20  # bytes that looking at one frame may take beyond the frame itself


def again(frame, **changes):
    """The frame with other fields, under the signature or tag that it had."""
    kind, outer = decode_frame(frame, max_bytes=1 << 30)
    outer = msgspec.structs.replace(outer, **changes)
    return encode_chunk(outer) if isinstance(outer, Chunk) else _header(kind) + _encoder.encode(outer)


def noise(honest, rng):
    while True:
        yield rng.randbytes(rng.randrange(300))


def headed_noise(honest, rng):
    while True:
        yield b"SA\x01" + bytes([rng.randrange(40)]) + rng.randbytes(rng.randrange(300))


def huge_claims(honest, rng):
    """Lengths that nobody sent: arrays, strings and byte strings of up to 2**32 - 1."""
    claims = [
        b"\xdd",
        b"\xdb",
        b"\xc6",
        b"\x94\xc6",
        b"\x94\xc4\x10" + bytes(16) + b"\xdb",
        b"\x97\xc6",
        b"\xdf",
        b"\x94\xdd",
    ]
    while True:
        yield b"SA\x01" + bytes([rng.randrange(40)]) + rng.choice(claims) + rng.randbytes(4) + rng.randbytes(40)


def deep_nests(honest, rng):
    while True:
        yield b"SA\x01" + bytes([rng.randrange(40)]) + b"\x91" * rng.randrange(5000)


def strangers(honest, rng):
    """Each from another name."""
    for number in itertools.count():
        yield again(rng.choice(honest), sender=f"stranger {number}")


def forged_signatures(honest, rng):
    """Good frames of everybody, the headers among them, under a signature that is not theirs."""
    for _ in itertools.count():
        frame = rng.choice(honest)
        _, outer = decode_frame(frame, max_bytes=1 << 30)
        name = "tag" if isinstance(outer, Chunk) else "signature"
        yield again(frame, **{name: rng.randbytes(len(getattr(outer, name)))})


def other_payloads(honest, rng):
    """Under the right signature, of something else."""
    while True:
        frame = rng.choice(honest)
        _, outer = decode_frame(frame, max_bytes=1 << 30)
        payload = bytearray(outer.payload)
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        yield again(frame, payload=memoryview(payload) if isinstance(outer, Chunk) else bytes(payload))


def other_sessions(honest, rng):
    while True:
        yield again(rng.choice(honest), session=rng.randbytes(16))


def other_places(honest, rng):
    """Chunks for places far outside the vector, and of rounds to come."""
    chunks = [frame for frame in honest if isinstance(decode_frame(frame, max_bytes=1 << 30)[1], Chunk)]
    while True:
        place = rng.choice(["round_id", "segment", "index"])
        yield again(rng.choice(chunks), **{place: rng.randrange(1, 1 << 63)})


KINDS = [
    noise, headed_noise, huge_claims, deep_nests, strangers, forged_signatures, other_payloads, other_sessions, other_places,
]  # fmt: skip


COUNTS = [pytest.param(300, id="300"), pytest.param(100_000, id="100000", marks=pytest.mark.slow)]


def flood(party, frames, count, sender=None):
    """Hand over frames, all of which must be refused; return the bytes that are left of them, and the most one took."""
    for frame in itertools.islice(frames, 50):  # what is made once
        with pytest.raises(PeerError):
            party.receive(frame)
    gc.collect()
    tracemalloc.start()
    try:
        before, most = tracemalloc.get_traced_memory()[0], 0
        for number, frame in enumerate(itertools.islice(frames, count)):
            if number % 97 == 0:
                tracemalloc.reset_peak()
            now = tracemalloc.get_traced_memory()[0]
            try:
                party.receive(frame)
            except PeerError:
                pass
            else:
                raise AssertionError(f"a forged frame was taken: {frame[:80].hex()}")
            if number % 97 == 0:
                most = max(most, tracemalloc.get_traced_memory()[1] - now - 8 * len(frame))
        del frame
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, most
    finally:
        tracemalloc.stop()


def uploading(f, protocol):
    """Go on until updates are awaited."""
    while f.server.phase != UPLOADS[protocol]:
        f.phase()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("protocol", TABLES)
def test_a_flood_leaves_nothing_and_nobody_out(protocol, kind, count):
    f = TABLES[protocol](4)
    f.server.open_round(1)
    uploading(f, protocol)
    sent = f.hand(f.requests())
    half = len(sent) // 2
    f.bring(sent[:half])
    frames = kind([frame for _, frame in sent[half:]], random.Random(3))
    kept, most = flood(f.server, frames, count)
    assert kept < KEPT
    assert most < PASSING
    assert not f.server.equivocations
    f.bring(sent[half:])
    assert not f.server.missing
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


@pytest.mark.parametrize("protocol", TABLES)
def test_a_flood_leaves_nothing_at_clients_and_holder(protocol):
    f = TABLES[protocol](4)
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox = f.requests()
        for name in ("c1", HOLDER) if f.server.phase == LAST[protocol] and protocol == "ckks" else ("c1",):
            party = f.holder if name == HOLDER else f.clients[name]
            for kind in (
                noise,
                headed_noise,
                huge_claims,
                strangers,
                forged_signatures,
                other_payloads,
                other_sessions,
            ):
                if not inbox[name]:
                    continue
                kept, most = flood(party, kind(inbox[name], random.Random(4)), 60)
                assert kept < KEPT
                assert most < PASSING
        f.bring(f.hand(inbox))
        f.server.close_phase()
    assert not f.errors
    f.check(f.ids)


@pytest.mark.parametrize("protocol", TABLES)
def test_a_client_that_says_ever_new_things_is_remembered_once(protocol):
    """It has a key, so its frames are looked at; what is left of a thousand different ones is one word about it."""
    f = TABLES[protocol](4)
    f.server.open_round(1)
    uploading(f, protocol)
    sent = f.hand(f.requests())
    f.bring(sent)
    frame = next(frame for name, frame in reversed(sent) if name == "c0" and frame[3])
    kind, outer = decode_frame(frame, max_bytes=1 << 30)
    assert isinstance(outer, Envelope)
    body = f.body(frame)

    def lies():
        for number in itertools.count():
            changed = type(body)(*(getattr(body, name) for name in body.__struct_fields__))
            changed = msgspec.structs.replace(changed, context_hash=number.to_bytes(32, "big"))
            yield f.forge_client("c0", kind, changed)

    kept, _ = flood(f.server, lies(), 1000)
    assert kept < KEPT
    assert set(f.server.equivocations) == {"c0"}
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


def test_a_flood_needs_no_session_to_be_refused():
    """Before any round nothing is open, and nothing is kept."""
    f = Federation(4)
    other = Federation(4)
    other.round()
    frames = itertools.cycle([again(frame, session=f.server.session) for _, frame in other.up])
    kept, _ = flood(f.server, frames, 500)
    assert kept < KEPT
    assert f.server.phase == "idle"
    assert SERVER == ""
    f.round()
    f.check(f.ids)
