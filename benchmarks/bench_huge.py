"""A round of three clients over a memory-mapped float32 file of 1e9 values: exact, in the memory of one vector.

    python -m pytest benchmarks/bench_huge.py --benchmark-enable -m slow -s

Needs about 8 GB of disk. Anonymous memory (what is not the file itself) is read from the system while it runs.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import secagg

BLOCK = 1 << 24


def anonymous_bytes() -> int:
    """Return this process's memory that belongs to no file."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


class Peak:
    """The most anonymous memory seen while in the block, polled."""

    def __enter__(self) -> Peak:  # noqa: PYI034  # a helper of this file
        self.least = self.most = anonymous_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def grown(self) -> float:
        """GB above the beginning."""
        return (self.most - self.least) / 1e9


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("length", [100_000, pytest.param(1_000_000_000, marks=pytest.mark.slow)])
def test_huge_round(length: int, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Stream, spool, fold, unmask and compare block by block with the plaintext sum."""
    if benchmark.disabled:
        length = min(length, 100_000)
    benchmark.pedantic(lambda: _round(length, tmp_path), rounds=1, iterations=1)


def _round(length: int, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        path = Path(home) / "update.f32"
        block = np.random.default_rng(0).uniform(-1.1, 1.1, min(BLOCK, length)).astype(np.float32)
        with path.open("wb") as file:
            for at in range(0, length, BLOCK):
                file.write(block[: length - at].tobytes())
        update = np.memmap(path, dtype=np.float32, mode="r")
        params = secagg.Params(clients=3, length=length, encoding=secagg.FixedPoint(rounding="nearest"))
        keys = {name: secagg.Identity.generate() for name in ("a", "b", "c")}
        server_key = secagg.Identity.generate()
        roster = secagg.Roster({name: key.verify_key for name, key in keys.items()}, server_key.verify_key)
        clients = {
            name: secagg.Client(params, me=name, identity=key, roster=roster, ledger=Path(home) / name)
            for name, key in keys.items()
        }
        server = secagg.Server(params, identity=server_key, roster=roster)
        print(f"\nlength {length:.0e}, {length * 4 / 1e9:.2f} GB of float32 on disk, three clients")
        server.open_round(1)
        with Peak() as whole:
            while (phase := server.phase) != "idle":
                for to, frame in server.outbox():
                    for name in clients if to is None else [to]:
                        clients[name].receive(frame)
                for name, client in clients.items():
                    if client.awaiting:
                        _stream(server, client, update)
                    for frame in client.outbox():
                        server.receive(frame, sender=name)
                begin = time.perf_counter()
                server.close_phase()
                if phase == "unmask":
                    print(f"  server: masks removed in {time.perf_counter() - begin:.1f} s")
        print(
            f"  whole round: peak {whole.grown:.2f} GB of memory beyond the file (the sum itself: {length * 4 / 1e9:.2f})"
        )
        _compare(server.result(1), params, update)
        for client in clients.values():
            client.close()


def _stream(server: secagg.Server, client: secagg.Client, update: np.ndarray) -> None:
    mine = theirs = 0.0
    sent = 0
    with Peak() as peak:
        begin = time.perf_counter()
        for frame in client.stream(update):
            got = time.perf_counter()
            mine += got - begin
            sent += len(frame)
            server.receive(frame)
            begin = time.perf_counter()
            theirs += begin - got
    print(
        f"  client {client.me}: {mine:.1f} s, {sent / 1e9:.2f} GB sent; server took it in {theirs:.1f} s; "
        f"memory of both grew by {peak.grown:.2f} GB"
    )


def _compare(result: secagg.Aggregate, params: secagg.Params, update: np.ndarray) -> None:
    """All three sent the same values, rounded to nearest: the sum is three times the code, block by block."""
    encoding = params.encoding
    sums = result._decoded._sums[1]  # noqa: SLF001  # integer_sum would be a copy in 64 bits
    for at in range(0, len(update), BLOCK):
        code, _ = encoding.encode(update[at : at + BLOCK], weight=3, w=32, key=None, stream_id=1, start=at)
        assert np.array_equal(code, sums[at : at + BLOCK]), "the sum is not exact"
    print(f"  exact: {len(update):.0e} sums equal to the plaintext sums; {result.clipped:.2e} values clipped")
