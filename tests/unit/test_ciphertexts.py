"""The bulk side of ckks: sums by group, all of an upload or nothing of it, the same bytes whatever the memory and the threads."""

import numpy as np
import pytest

from secagg import Client, FixedPoint, KeyHolder, Server
from secagg.ciphertexts import CipherAccumulator
from secagg.errors import AbortError, InputError, StateError
from secagg.hazmat.rlwe import SecretKey, encrypt
from secagg.spool import Spool
from secagg.workers import Workers
from support.encrypted import Encrypted, make_params, tag_of, uploads

SEED = bytes(range(32))
LONG = 6000  # two chunks of the model


@pytest.fixture(scope="module")
def params():
    made = make_params(5, length=LONG)
    assert [cut.chunks for cut in made.cipher_plan.segments] == [1, 2]
    return made


def lanes_of(params, seed=0, clipped=0):
    """One client's head and model, as unsigned lanes."""
    rng = np.random.default_rng(seed)
    return [np.array([1, clipped, 1], np.uint64), rng.integers(0, 1051, params.length).astype(np.uint64)]


def encrypted(params, lanes, key, pad=None):
    """The payloads of an upload."""
    plan, public = params.cipher_plan, SecretKey(params.cipher_plan.ring, SEED).public_key()
    return {
        (number, index): encrypt(
            public, cut.split(lanes[number][start:stop]), plan.delta, key, cut.number(index), pad=pad
        )
        for number, cut in enumerate(plan.segments)
        for index, start, stop in cut
    }


def put(bulk, client, payloads):
    for place, payload in payloads.items():
        bulk.add(client, *place, memoryview(payload))


def names(count):
    return [f"c{i}" for i in range(count)]


@pytest.mark.parametrize("memory", [0, 30_000, 1 << 30])
@pytest.mark.parametrize("padded", [False, True])
def test_a_sum_opens_to_the_sum(params, memory, padded):
    bulk = CipherAccumulator(params, 1, Workers(2), Spool(memory))
    pads = [bytes([i]) * 16 for i in range(3)] if padded else []
    for i, name in enumerate(names(3)):
        put(bulk, name, encrypted(params, lanes_of(params, i), bytes([i + 9]) * 16, pads[i] if padded else None))
        assert (bulk._spool.in_file > 0) == (memory < 1 << 30)
        bulk.fold(name, b"A")
        assert bulk._spool.in_memory == bulk._spool.in_file == 0  # an upload that was added is let go
    digest = bulk.open(SecretKey(params.cipher_plan.ring, SEED), pads, 3)
    assert len(digest) == 32
    expected = [sum(lanes_of(params, i)[number] for i in range(3)) for number in range(2)]
    for found, wanted in zip(bulk.lanes(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    taken = CipherAccumulator(params)
    assert [[len(plain) for (at, _), plain in bulk.opened() if at == number] for number in (0, 1)] == taken.results()
    for place, plain in bulk.opened():
        taken.take(*place, plain)
    for found, wanted in zip(taken.lanes(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def last_residue_too_large(payload, ring):
    broken = bytearray(payload)
    broken[: ring.bits // 8 + 1] = b"\xff" * (ring.bits // 8 + 1)  # c1's first residue is all ones: not below q
    return bytes(broken)


def transparent(payload, ring):
    return bytes(ring.degree * ring.bits // 8) + payload[ring.degree * ring.bits // 8 :]


@pytest.mark.parametrize("spoil", [last_residue_too_large, transparent])
@pytest.mark.parametrize("place", [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_malformed_chunk_takes_back_the_ones_before_it(params, spoil, place, memory):
    bulk, ring = CipherAccumulator(params, 1, spool=Spool(memory)), params.cipher_plan.ring
    good = [encrypted(params, lanes_of(params, i), bytes([i + 1]) * 16) for i in range(2)]
    put(bulk, "c0", good[0])
    bulk.fold("c0", b"A")
    before = dict(bulk.total(b"A"))
    bad = encrypted(params, lanes_of(params, 7), b"k" * 16)
    put(bulk, "c1", {**bad, place: spoil(bad[place], ring)})
    with pytest.raises(InputError):
        bulk.fold("c1", b"A")
    assert dict(bulk.total(b"A")) == before == good[0]
    bulk.discard("c1")
    assert bulk._spool.in_memory == bulk._spool.in_file == 0
    put(bulk, "c2", good[1])
    bulk.fold("c2", b"A")
    secret = SecretKey(ring, SEED)
    bulk.open(secret, [], 2)
    np.testing.assert_array_equal(bulk.lanes()[1], lanes_of(params, 0)[1] + lanes_of(params, 1)[1])


def test_padding_bits_are_zero():
    params = make_params(3)
    cut = params.cipher_plan.segments[1]
    assert cut.coefficients(0) * params.ring[1] % 8  # so that there are some
    good = encrypted(params, [np.array([1, 0, 1], np.uint64), np.arange(37, dtype=np.uint64)], b"k" * 16)
    broken = bytearray(good[1, 0])
    broken[-1] |= 0x80
    bulk = CipherAccumulator(params)
    put(bulk, "c0", {**good, (1, 0): bytes(broken)})
    with pytest.raises(InputError):
        bulk.fold("c0", b"A")


def test_groups_are_summed_apart_and_not_without_end(params):
    bulk = CipherAccumulator(params, 2)
    kept = {name: encrypted(params, lanes_of(params, i), bytes([i + 1]) * 16) for i, name in enumerate(names(4))}
    for name, group in (("c0", b"A"), ("c1", b"B"), ("c2", b"A")):
        put(bulk, name, kept[name])
        bulk.fold(name, group)
    put(bulk, "c3", kept["c3"])
    with pytest.raises(InputError, match="too many different contexts"):
        bulk.fold("c3", b"C")
    assert dict(bulk.total(b"B")) == kept["c1"]
    f = Encrypted(5, params=params)
    assert dict(bulk.total(b"A")) == f.sums([kept["c0"], kept["c2"]])
    with pytest.raises(StateError):
        dict(bulk.total(b"C"))
    with pytest.raises(StateError, match="no sum was opened"):
        bulk.lanes()


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_kept_uploads_can_be_passed_on(params, memory):
    bulk = CipherAccumulator(params, 1, spool=Spool(memory), keep=True)
    payloads = encrypted(params, lanes_of(params), b"k" * 16)
    put(bulk, "c0", payloads)
    bulk.fold("c0", b"A")
    assert {place: bytes(payload) for place, payload in bulk.uploads("c0")} == payloads
    assert dict(CipherAccumulator(params).uploads("c0")) == {}


def test_a_sum_that_no_honest_clients_have_is_not_opened(params):
    secret = SecretKey(params.cipher_plan.ring, SEED)
    one = lanes_of(params)
    assert params.cipher_plan.segments[0].limbs == 2
    for lanes, uploads_, words in (
        ([one[0] * 0 + 1, one[1]], 2, "check lane"),
        ([np.array([2, 0, 1], np.uint64), one[1]], 1, "weights"),
        ([np.array([0, 0, 1], np.uint64), one[1]], 1, "sum to 0"),
        ([np.array([1, LONG + 1, 1], np.uint64), one[1]], 1, "clipped"),
    ):
        bulk = CipherAccumulator(params)
        put(bulk, "c0", encrypted(params, lanes, b"k" * 16))
        bulk.fold("c0", b"A")
        with pytest.raises(AbortError, match=words):
            bulk.open(secret, [], uploads_)
        with pytest.raises(StateError):
            bulk.lanes()
    plan, upload = params.cipher_plan, encrypted(params, one, b"k" * 16)
    limbs = plan.segments[0].split(one[0])
    limbs[1] = plan.segments[0].most + 1  # more than all clients' limbs together
    upload[0, 0] = encrypt(secret.public_key(), limbs, plan.delta, b"k" * 16, 0)
    bulk = CipherAccumulator(params)
    put(bulk, "c0", upload)
    bulk.fold("c0", b"A")
    with pytest.raises(AbortError, match="out of range"):
        bulk.open(secret, [], 1)


def test_another_key_or_pad_opens_to_noise(params):
    for seed, pads in ((bytes(32), []), (SEED, [b"p" * 16])):
        bulk = CipherAccumulator(params)
        put(bulk, "c0", encrypted(params, lanes_of(params), b"k" * 16))
        bulk.fold("c0", b"A")
        with pytest.raises(AbortError, match=r"noise|out of range"):  # noise, or the integers that noise rounds to
            bulk.open(SecretKey(params.cipher_plan.ring, seed), pads, 1)


def test_after_a_machine_failure_nothing_is_summed_any_more(params, monkeypatch):
    bulk = CipherAccumulator(params)
    put(bulk, "c0", encrypted(params, lanes_of(params), b"k" * 16))

    def fails(self, client):
        yield next(iter(self._kept[client].items()))
        raise AbortError("the file of unfinished uploads cannot be read: here")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "payloads", fails)
        with pytest.raises(AbortError, match="cannot be read"):
            bulk.fold("c0", b"A")
    with pytest.raises(StateError):
        dict(bulk.total(b"A"))
    with pytest.raises(AbortError, match="added in part"):
        bulk.fold("c0", b"A")


def test_frames_and_sums_do_not_depend_on_threads_spool_or_the_way_out():
    """Above the number of values that are worth a thread."""
    big = make_params(3, length=3 * (1 << 16) + 77, encoding=FixedPoint(clip=1.0, bits=16), frame_bytes=4 << 20)
    f = Encrypted(3, params=big)
    rng = np.random.default_rng(3)
    f.updates = {name: rng.normal(0, 0.5, big.length).astype(np.float32) for name in f.ids}
    f.server = Server(big, identity=f.server_key, roster=f.roster, threads=2, spool=100_000)
    f.server.open_round(1)
    f.phase()
    inbox, sent = f.requests(), []
    for name in f.ids:
        f.clients[name].receive(inbox[name][0])
        blank = f.clients[name]._core.begin_upload(b"")  # its randomness is drawn here, and the same from now on
        assert blank.key != blank.pad
        made = []
        for threads in (1, 2, 5):
            client = Client(big, me=name, identity=f.keys[name], roster=f.roster, threads=threads)
            client._core = f.clients[name]._core
            client.submit(f.updates[name]) if threads == 1 else client._core.send(list(client.stream(f.updates[name])))
            made.append(client.outbox())
            client.receive(inbox[name][0])
        assert made[0] == made[1] == made[2]
        sent += [(name, frame) for frame in made[0]]
    f.bring(sent)
    spool = f.server._core.bulk._spool
    assert spool.in_memory == spool.in_file == 0
    f.server.close_phase()
    inbox, snapshot, answers = f.requests(), f.holder.snapshot(), set()
    for threads, cap in ((1, 0), (2, 50_000), (3, 1 << 30)):
        holder = f.restore_holder(snapshot, threads=threads)
        holder._core._new_bulk = lambda threads=threads, cap=cap: CipherAccumulator(
            big, 1, Workers(threads), Spool(cap)
        )
        for frame in inbox["(key holder)"]:
            holder.receive(frame)
        answers.add(tuple(holder.outbox()))
    (answer,) = answers
    f.bring([("(key holder)", frame) for frame in answer])
    f.server.close_phase()
    mean = np.mean([np.clip(f.updates[name], -1, 1) for name in f.ids], axis=0)
    assert np.abs(f.server.result(1).mean - mean).max() < 1e-4
    assert isinstance(holder, KeyHolder)


def test_the_tag_is_of_the_payloads_in_order():
    f = Encrypted(3, length=LONG)
    f.server.open_round(1)
    f.phase()
    headers, payloads = uploads(f.hand(f.requests()))
    for name in f.ids:
        assert len(payloads[name]) == 3
        assert f.body(headers[name]).tag == tag_of(payloads[name])
