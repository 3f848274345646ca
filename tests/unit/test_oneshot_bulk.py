"""The bulk side of oneshot: sums by group, all of an upload or nothing of it, the same bytes whatever memory and threads."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Client, Server
from secagg.errors import AbortError, InputError, PeerError, StateError
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.hintmasks import HintAccumulator
from secagg.spool import Spool
from secagg.workers import Workers
from support.committee import SESSION, Committee, make_params

LONG = 60_000  # several chunks of the model
PUBLIC = bytes(range(16))


@pytest.fixture(scope="module")
def params():
    made = make_params(5, length=LONG, frame_bytes=1 << 16)
    assert made.mask_plan.segments[1].chunks > 2
    return made


def lanes_of(params, seed=0, clipped=0):
    """One client's head and model, as unsigned lanes."""
    rng = np.random.default_rng(seed)
    return [np.array([1, clipped, 1], np.uint64), rng.integers(0, 1051, params.length).astype(np.uint64)]


def masked(params, lanes, seed, boxes=(b"s" * 40, b"t" * 30)):
    """The payloads of an upload, and its secret."""
    payloads, plan = {}, params.mask_plan
    for number, cut in enumerate(plan.segments):
        secret = MaskSecret(cut.ring, seed)
        for index, start, stop in cut:
            payloads[number, index] = secret.mask(lanes[number][start:stop], PUBLIC, cut.number(index))
    payloads |= {(len(plan.segments), index): box for index, box in enumerate(boxes)}
    return payloads, secret.coefficients()


def put(bulk, client, payloads):
    for place, payload in payloads.items():
        bulk.add(client, *place, memoryview(payload))


@pytest.mark.parametrize("memory", [0, 100_000, 1 << 30])
def test_a_sum_opens_to_the_sum_and_the_shares_are_kept(params, memory):
    bulk = HintAccumulator(params, 1, Workers(2), Spool(memory))
    bulk.expect([40, 30])
    assert bulk.chunks()[-1] == [40, 30] and len(bulk.chunks()) == 3
    total = 0
    for i in range(3):
        payloads, secret = masked(params, lanes_of(params, i), bytes([i + 1]) * 32, (bytes([i]) * 40, bytes([i]) * 30))
        put(bulk, f"c{i}", payloads)
        assert {place for place, _ in bulk.uploaded(f"c{i}")} == set(payloads)
        bulk.fold(f"c{i}", b"A")
        assert dict(bulk.uploaded(f"c{i}")) == {}
        total = total + secret
    for i in range(3):
        assert bulk.shares(f"c{i}") == bytes([i]) * 70
    assert bulk.shares("c9") == b""
    opened = bulk.finish(b"A", total, PUBLIC)
    for number, lanes in enumerate(opened):
        np.testing.assert_array_equal(lanes, sum(lanes_of(params, i)[number] for i in range(3)))
    assert bulk.shares("c0") == b"" and bulk._spool.in_memory == bulk._spool.in_file == 0
    with pytest.raises(StateError, match="no upload"):
        bulk.finish(b"A", total, PUBLIC)


@pytest.mark.parametrize("place", [(0, 0), (1, 0), (1, 2)])
@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_malformed_chunk_takes_back_the_ones_before_it(params, place, memory):
    bulk = HintAccumulator(params, 1, spool=Spool(memory))
    good, secret = masked(params, lanes_of(params), b"a" * 32)
    put(bulk, "c0", good)
    bulk.fold("c0", b"A")
    bad, _ = masked(params, lanes_of(params, 7), b"b" * 32)
    put(bulk, "c1", {**bad, place: b"\xff" * 8 + bad[place][8:]})
    with pytest.raises(InputError):
        bulk.fold("c1", b"A")
    bulk.discard("c1")
    assert bulk.shares("c1") == b""
    opened = bulk.finish(b"A", secret, PUBLIC)
    np.testing.assert_array_equal(opened[1], lanes_of(params)[1])


def test_padding_bits_are_zero(params):
    good, _ = masked(params, lanes_of(params), b"a" * 32)
    tried = 0
    for number, cut in enumerate(params.mask_plan.segments):
        start, stop = cut.span(cut.chunks - 1)
        left = -(-((stop - start) % cut.unit) // cut.ring.per) * cut.ring.bits % 8
        if left:  # the last residue ends within a byte
            place, bulk = (number, cut.chunks - 1), HintAccumulator(params, 1)
            put(bulk, "c0", {**good, place: good[place][:-1] + bytes([good[place][-1] | 0x80])})
            with pytest.raises(InputError):
                bulk.fold("c0", b"A")
            tried += 1
    assert tried


def test_groups_are_summed_apart_and_not_without_end(params):
    bulk = HintAccumulator(params, 2)
    kept = [masked(params, lanes_of(params, i), bytes([i + 1]) * 32) for i in range(4)]
    for i, group in ((0, b"A"), (1, b"B"), (2, b"A")):
        put(bulk, f"c{i}", kept[i][0])
        bulk.fold(f"c{i}", group)
    put(bulk, "c3", kept[3][0])
    with pytest.raises(InputError, match="too many different contexts"):
        bulk.fold("c3", b"C")
    with pytest.raises(StateError):
        bulk.finish(b"C", kept[3][1], PUBLIC)
    opened = bulk.finish(b"A", kept[0][1] + kept[2][1], PUBLIC)
    np.testing.assert_array_equal(opened[1], lanes_of(params, 0)[1] + lanes_of(params, 2)[1])


def test_a_refused_first_upload_leaves_no_group_behind(params):
    bulk = HintAccumulator(params, 1)
    bad, _ = masked(params, lanes_of(params), b"b" * 32)
    put(bulk, "c0", {**bad, (1, 1): b"\xff" * len(bad[1, 1])})
    with pytest.raises(InputError):
        bulk.fold("c0", b"A")
    good, secret = masked(params, lanes_of(params), b"a" * 32)
    put(bulk, "c1", good)
    bulk.fold("c1", b"B")
    assert list(bulk._sums) == [b"B"]
    np.testing.assert_array_equal(bulk.finish(b"B", secret, PUBLIC)[1], lanes_of(params)[1])


@pytest.mark.parametrize("wrong", ["secret", "public", "one missing"])
def test_what_does_not_unmask_the_sum_opens_nothing(params, wrong):
    bulk = HintAccumulator(params, 1)
    uploads = [masked(params, lanes_of(params, i), bytes([i + 1]) * 32) for i in range(2)]
    for i, (payloads, _) in enumerate(uploads):
        put(bulk, f"c{i}", payloads)
        bulk.fold(f"c{i}", b"A")
    total, public = uploads[0][1] + uploads[1][1], PUBLIC
    if wrong == "secret":
        total = total.copy()
        total[17] += 1
    elif wrong == "public":
        public = bytes(16)
    else:
        total = uploads[0][1]
    with pytest.raises(AbortError, match="nothing was released"):
        bulk.finish(b"A", total, public)


def test_after_a_machine_failure_nothing_is_summed_any_more(params, monkeypatch):
    bulk = HintAccumulator(params)
    payloads, secret = masked(params, lanes_of(params), b"a" * 32)
    put(bulk, "c0", payloads)

    def fails(self, client):
        yield next(iter(self._kept[client].items()))
        raise AbortError("the file of unfinished uploads cannot be read: here")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "payloads", fails)
        with pytest.raises(AbortError, match="cannot be read"):
            bulk.fold("c0", b"A")
    with pytest.raises(StateError):
        bulk.finish(b"A", secret, PUBLIC)
    put(bulk, "c1", payloads)
    with pytest.raises(AbortError, match="added in part"):
        bulk.fold("c1", b"A")


def test_without_room_for_an_upload_its_chunks_are_refused_and_the_round_goes_on(monkeypatch):
    """The disk is full while one client sends: what it sends later, with room again, counts."""
    f = Committee(5)
    f.until("masked")
    sent = f.hand(f.requests())

    def full(*_):
        raise InputError("no room for unfinished uploads: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "put", full)
        with pytest.raises(PeerError, match="no room for unfinished uploads"):
            f.server.receive(sent[0][1])
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)


def test_without_room_for_its_shares_an_upload_is_left_out_and_taken_out_of_the_sum(monkeypatch):
    f = Committee(5)
    f.until("masked")
    sent = f.hand(f.requests())
    mine = [frame for name, frame in sent if name == "c0"]
    honest = Spool.put

    def full(spool, client, place, payload):
        if client.endswith(" shares"):
            raise InputError("no room for unfinished uploads: No space left on device")
        honest(spool, client, place, payload)

    f.bring([pair for pair in sent if pair[0] != "c0"])
    f.bring([("c0", frame) for frame in mine[:-1]])
    with monkeypatch.context() as patched:
        patched.setattr(Spool, "put", full)
        with pytest.raises(PeerError, match="upload refused"):
            f.server.receive(mine[-1])
    f.server.close_phase()
    f.exact(f.finish(1), f.ids[1:])


@pytest.mark.parametrize("spool", [0, 1 << 17, 1 << 30])
@pytest.mark.parametrize("threads", [1, 3])
def test_neither_memory_nor_threads_change_a_byte_or_a_sum(params, spool, threads):
    f = Committee(5, params=params)
    f.server.close()
    f.server = Server(params, identity=f.server_key, roster=f.roster, session=SESSION, spool=spool, threads=threads)
    f.until("masked")
    inbox = f.requests()
    blob = f.clients["c0"].snapshot()
    f.clients["c0"].receive(inbox["c0"][0])
    f.clients["c0"].submit(f.updates["c0"])
    whole, after = f.clients["c0"].outbox(), f.clients["c0"].snapshot()
    for count in (1, 2, 5):
        again = Client.restore(after, identity=f.keys["c0"], roster=f.roster, threads=count)
        again.receive(inbox["c0"][0])
        again.submit(f.updates["c0"])
        assert again.outbox() == whole
    assert blob != after
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)
