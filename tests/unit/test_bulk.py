"""Threads, streaming and the spool: the same bytes whatever the memory and the threads, and nothing of another update leaves."""

import os
import threading
import time
import tracemalloc

import numpy as np
import pytest

from secagg import FixedPoint, Integer, Layout, Params, Server
from secagg.errors import AbortError, InputError, ParameterError, PeerError, StateError
from secagg.spool import Spool
from secagg.workers import Workers, usable_cores
from support.federation import Federation
from support.watch import Watch

BIG = 3 * (1 << 16) + 77


def big(threads=1, **changes):
    params = Params(
        clients=3,
        layout=Layout.of({"w": np.zeros(BIG, np.float32), "h": np.zeros((5, 7), np.float16), "n": np.zeros(9, np.int32)}),
        encoding=FixedPoint(clip=1.0, bits=16), segments={"n": Integer(0, 9)}, frame_bytes=100_000, max_weight=4, **changes,
    )  # fmt: skip
    f = Federation(3, params=params)
    rng = np.random.default_rng(0)
    f.updates = {
        name: {
            "w": rng.normal(0, 0.5, BIG).astype(np.float32),
            "h": rng.normal(0, 0.5, (5, 7)).astype(np.float16),
            "n": rng.integers(0, 10, 9).astype(np.int32),
        }
        for name in f.ids
    }
    f.server = Server(params, identity=f.server_key, roster=f.roster, threads=threads, spool=150_000)
    return f


def awaited(f, name, frame):
    f.clients[name].receive(frame)
    return f.clients[name]


def test_frames_do_not_depend_on_threads_or_on_the_way_out():
    f = big()
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    whole = {}
    for name in f.ids:
        snapshot = awaited(f, name, inbox[name][0]).snapshot()
        made = set()
        for threads in (1, 2, 5):
            client = f.restore(name, snapshot, threads=threads)
            client.submit(f.updates[name], weight=3)
            whole[name] = client.outbox()
            made.add(tuple(whole[name]))
            client = f.restore(name, snapshot, threads=threads)
            made.add(tuple(client.stream(f.updates[name], weight=3)))
        assert len(made) == 1
    f.bring([(name, frame) for name in f.ids for frame in whole[name]])
    f.server.close_phase()
    f.clients = {name: f.restore(name, f.clients[name].snapshot()) for name in f.ids}
    for name in f.ids:  # these never sent anything, but hold the same secrets
        f.clients[name].submit(f.updates[name], weight=3)
        f.clients[name].outbox()
    f.phase()
    result = f.server.result(1)
    assert result.weight == 9
    mean = np.mean([np.clip(f.updates[name]["w"], -1, 1) for name in f.ids], axis=0)
    assert np.abs(result.mean["w"] - mean).max() < 1e-4
    assert np.array_equal(result.sum["n"], 3 * sum(f.updates[name]["n"].astype(int) for name in f.ids))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_sum_does_not_depend_on_threads_or_spool(threads):
    f = big(threads)
    f.server.open_round(1)
    f.until("masked")
    sent = f.hand(f.requests())
    rows = {name: [frame for sender, frame in sent if sender == name] for name in f.ids}
    while any(rows.values()):  # interleaved, so that no upload is complete before all nearly are
        for name in f.ids:
            if rows[name]:
                f.bring([(name, rows[name].pop(0))])
    spool = f.server._core.bulk._spool
    assert spool.in_memory == spool.in_file == 0
    f.server.close_phase()
    f.phase()
    plain = sum(
        f.params.segment_plan.encode(f.updates[name], 1, None, bytes(16)).vectors[2].astype(int) for name in f.ids
    )
    assert np.array_equal(f.server.result(1).sum["n"], plain)


def test_unfinished_uploads_wait_in_the_file_beyond_the_cap():
    f = big()
    f.server.open_round(1)
    f.until("masked")
    for name, frame in f.hand(f.requests()):
        if frame[3] == 0:
            f.bring([(name, frame)])
    spool = f.server._core.bulk._spool
    assert 0 < spool.in_memory <= 150_000
    assert spool.in_file > 1_000_000


def test_a_stream_is_kept_to_its_update(tmp_path):
    f = Federation(3, ledgers=tmp_path)
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    client = awaited(f, "c0", inbox["c0"][0])
    old, other = client.snapshot(), np.roll(f.updates["c0"], 1)
    frames = client.stream(f.updates["c0"])
    watch, first = Watch(), [next(frames), next(frames)]
    for frame in first:  # these have left; then the process ends
        watch.see("c0", frame)
    for again in (client, f.restore("c0", old)):
        assert again.awaiting
        for act in (again.stream, again.submit):
            with pytest.raises(InputError, match="another update"):
                act(other)
            with pytest.raises(InputError, match="another update"):
                act(f.updates["c0"], context=b"another model")
        assert again.outbox() == []
        for frame in again.stream(f.updates["c0"]):
            watch.see("c0", frame)
    again = f.restore("c0", old)
    again.submit(f.updates["c0"])
    for frame in again.outbox():
        watch.see("c0", frame)
    with pytest.raises(InputError, match="another update"):
        f.restore("c0", old).submit(other)
    f.clients["c0"] = again
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_a_stream_after_a_submission_compares_before_anything_leaves(tmp_path):
    f = Federation(3, ledgers=tmp_path)
    f.server.open_round(1)
    f.until("masked")
    request = f.requests()["c0"][0]
    client = awaited(f, "c0", request)
    client.submit(f.updates["c0"])
    sent = client.outbox()
    client.receive(request)
    with pytest.raises(InputError, match="another update"):
        client.stream(np.roll(f.updates["c0"], 1))
    assert list(client.stream(f.updates["c0"])) == sent


def test_a_stream_refuses_what_cannot_be_encoded_before_its_first_frame():
    f = big()
    f.server.open_round(1)
    f.until("masked")
    client = awaited(f, "c0", f.requests()["c0"][0])
    for leaf, at, value in (("w", BIG - 1, np.nan), ("n", 8, 10)):
        bad = {key: array.copy() for key, array in f.updates["c0"].items()}
        bad[leaf][at] = value
        with pytest.raises(InputError, match=leaf):
            client.stream(bad)
    assert len(list(client.stream(f.updates["c0"]))) > 4  # nothing was committed to


def test_a_stream_takes_the_memory_of_a_few_frames():
    length, frame_bytes = 1 << 21, 1 << 16
    f = Federation(3, length=length, encoding=FixedPoint(), frame_bytes=frame_bytes)
    f.clients["c0"] = f.new_client("c0", threads=1)
    f.server.open_round(1)
    f.updates = {name: np.zeros(length, np.float32) for name in f.ids}
    f.until("masked")
    client = awaited(f, "c0", f.requests()["c0"][0])
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        count = sum(1 for _ in client.stream(f.updates["c0"]))
        peak = tracemalloc.get_traced_memory()[1] - base
    finally:
        tracemalloc.stop()
    assert count > 50
    assert peak < 16 * frame_bytes + 8 * (1 << 16)


def test_a_spool_without_room_refuses_and_keeps_the_rest(monkeypatch):
    spool = Spool(10)
    spool.put("a", (0, 0), memoryview(b"12345678"))
    spool.put("a", (0, 1), memoryview(b"abcdefgh"))
    spool.put("b", (0, 1), memoryview(b"ABCDEFGH"))
    assert (spool.in_memory, spool.in_file) == (8, 16)
    spool.drop("a")
    spool.put("c", (0, 0), memoryview(b"12345678"))
    spool.put("c", (0, 1), memoryview(b"ijklmnop"))
    assert (spool.in_memory, spool.in_file, spool._end) == (8, 16, 16)  # the place of a's was used again
    assert [bytes(payload) for _, payload in spool.payloads("b")] == [b"ABCDEFGH"]
    assert dict(spool.last_bytes("c")) == {(0, 0): ord("8"), (0, 1): ord("p")}

    class Full:
        def seek(self, at):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    with monkeypatch.context() as patched:
        patched.setattr(spool, "_file", Full())
        with pytest.raises(InputError, match="No space left"):
            spool.put("d", (0, 0), memoryview(b"87654321"))
    assert spool.in_file == 16
    assert [bytes(payload) for _, payload in spool.payloads("b")] == [b"ABCDEFGH"]
    spool.clear()
    assert (spool.in_memory, spool.in_file) == (0, 0)
    for bad in (-1, 1.5, True, None):
        with pytest.raises(ParameterError):
            Spool(bad)


def test_a_chunk_without_room_is_a_peer_error_and_can_come_again(monkeypatch):
    f = big()
    f.server.open_round(1)
    f.until("masked")
    sent = f.hand(f.requests())
    chunk = next(frame for _, frame in sent if frame[3] == 0 and len(frame) > 50_000)

    def full(*_):
        raise InputError("no room for unfinished uploads: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "put", full)
        with pytest.raises(PeerError, match="no room"):
            f.server.receive(chunk)
    f.bring(sent)
    f.server.close_phase()
    f.phase()
    assert f.server.result(1).contributors == tuple(f.ids)


def test_workers_cut_ranges_on_bytes_and_hand_errors_on():
    assert usable_cores() >= 1
    for threads in (1, 2, 3, 7):
        for count in (0, 1, 7, 8, 1 << 16, (1 << 17) + 3, 1 << 20):
            ranges = Workers(threads).split(count)
            assert [stop for _, stop in ranges][:-1] == [start for start, _ in ranges][1:]
            assert all(start % 8 == 0 for start, _ in ranges)
            assert sum(stop - start for start, stop in ranges) == count
            assert len(ranges) <= threads

    def fail(start, stop):
        if start:
            raise InputError("here")

    with pytest.raises(InputError, match="here"):
        Workers(2).each(fail, [(0, 1), (1, 2)])
    seen = []
    forked = Workers(2)
    forked.each(lambda *_: seen.append(os.getpid()), [(0, 1), (1, 2)])
    if hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            forked.each(lambda *_: seen.append(os.getpid()), [(0, 1), (1, 2)])
            os._exit(0 if len(seen) == 4 else 1)
        assert os.waitpid(child, 0)[1] == 0
    for bad in (0, -1, 1.0, True, 5000):
        with pytest.raises(ParameterError, match="threads"):
            Workers(bad)


def test_results_are_kept_by_size(monkeypatch):
    import secagg.outcomes

    monkeypatch.setattr(secagg.outcomes, "KEPT_BYTES", 300)
    f = Federation(3)
    for round_id in range(1, 8):
        f.round(round_id)
    kept = sorted(f.server._outcomes.kept)
    assert kept[-1] == 7
    assert 1 < len(kept) < 7
    assert sum(f.server._outcomes.kept[round_id].nbytes for round_id in kept[:-1]) <= 300


def streaming(tmp_path, **changes):
    f = Federation(3, ledgers=tmp_path, rounds_per_setup=2, encoding=Integer(0, 1 << 20), length=500, **changes)
    f.updates = {name: np.arange(500) + i for i, name in enumerate(f.ids)}
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    return f, inbox, awaited(f, "c0", inbox["c0"][0])


@pytest.mark.parametrize(("change", "error"), [(0, StateError), (1, InputError)])
def test_a_stream_that_was_left_behind_gives_nothing_more(tmp_path, change, error):
    """Another stream was taken whole and the round went on; what the file holds now must not leave under its masks."""
    f, inbox, client = streaming(tmp_path)
    data = f.updates["c0"].copy()
    left_behind = client.stream(data)
    next(left_behind)
    f.bring([("c0", frame) for frame in client.stream(data)])
    f.bring(f.hand({name: frames for name, frames in inbox.items() if name != "c0"}))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)
    data += change
    with pytest.raises(error):
        next(left_behind)


@pytest.mark.parametrize("how", ["stream", "submit"])
def test_an_update_that_changes_between_its_two_readings_does_not_leave(tmp_path, monkeypatch, how):
    f, _, client = streaming(tmp_path)
    data, watch = f.updates["c0"].copy(), Watch()
    first = client.stream(data)
    for _ in range(4):
        watch.see("c0", next(first))
    real = type(client)._intend

    def then_change(self, *args):
        made = real(self, *args)
        data[10:] += 1
        return made

    monkeypatch.setattr(type(client), "_intend", then_change)
    with pytest.raises(InputError, match="changed while"):
        for frame in client.stream(data) if how == "stream" else [client.submit(data)]:
            watch.see("c0", frame)
    assert client.outbox() == []
    monkeypatch.undo()
    with pytest.raises(InputError, match="another update"):
        client.stream(data)
    data[10:] -= 1
    for frame in client.stream(data):
        watch.see("c0", frame)


def test_workers_wait_for_all_before_they_raise():
    done, both = [], threading.Barrier(2)

    def run(start, stop):
        both.wait(timeout=10)
        if start == 0:
            raise InputError("first")
        time.sleep(0.2)
        done.append(start)

    with pytest.raises(InputError, match="first"):
        Workers(2).each(run, [(0, 1), (1, 2)])
    assert done == [1]


def pending(f):
    """All frames are in but the headers."""
    f.server.open_round(1)
    f.until("masked")
    sent = f.hand(f.requests())
    f.bring([pair for pair in sent if pair[1][3] == 0])
    return [pair for pair in sent if pair[1][3] != 0]


@pytest.mark.parametrize("fault", ["error", "short"])
def test_a_spool_that_cannot_be_read_aborts_the_round_and_blames_nobody(monkeypatch, fault):
    f = big()
    headers = pending(f)
    bulk = f.server._core.bulk
    spool = bulk._spool
    real = spool._file

    class Failing:
        seek = staticmethod(real.seek)
        close = staticmethod(real.close)
        reads = 0

        def read(self, size):
            self.reads += size > 1  # single bytes are looked at before anything is added
            if self.reads < 2:
                return real.read(size)
            if fault == "short":
                return b""
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(spool, "_file", Failing())
    with pytest.raises(AbortError, match="unfinished uploads"):
        for name, frame in headers:
            f.server.receive(frame, sender=name)
    monkeypatch.undo()
    with pytest.raises(AbortError, match="in part"):
        bulk.finish(next(iter(bulk._sums)), [], [])
    assert f.server.phase == "idle"  # the round ended with the failure
    with pytest.raises(AbortError):
        f.server.result(1)
    f.round(2)
    assert f.server.result(2).contributors == tuple(f.ids)


def test_the_file_of_a_spool_fails_once_and_is_used_again(monkeypatch):
    spool = Spool(0)
    spool.put("a", (0, 0), memoryview(b"12345678"))
    real = spool._file

    class Halting:
        seek, read, close = staticmethod(real.seek), staticmethod(real.read), staticmethod(real.close)

        def write(self, data):
            if len(data) > 3:
                return real.write(data[:3])  # short writes are allowed
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(spool, "_file", Halting())
        with pytest.raises(InputError, match="No space"):
            spool.put("b", (0, 0), memoryview(b"abcdefgh"))
    spool.put("b", (0, 0), memoryview(b"ABCDEFGH"))
    assert [bytes(payload) for _, payload in spool.payloads("b")] == [b"ABCDEFGH"]
    assert [bytes(payload) for _, payload in spool.payloads("a")] == [b"12345678"]
    spool.clear()


def test_older_results_give_their_decoded_vectors_back():
    f = Federation(3)
    f.round(1)
    first = f.server.result(1)
    total = first.integer_sum
    f.round(2)
    assert "integer_sum" not in vars(first._decoded)
    np.testing.assert_array_equal(f.server.result(1).integer_sum, total)
