"""A whole planned session of a thousand clients: exact, with its parameters, bytes and seconds.

    python -m pytest benchmarks/bench_planned.py --benchmark-enable -m slow -s

Every client and the server run in one process, so the seconds are those of all of them together; per-client figures are medians.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import secagg

LENGTH, CORRUPT, DROPPED = 10_000, 0.05, 0.1


@pytest.mark.parametrize("threat", ["malicious", "semi-honest"])
@pytest.mark.parametrize("clients", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_planned_session(clients: int, threat: str, benchmark: BenchmarkFixture) -> None:
    """Two rounds of one setup; half of the dropouts vanish before their update, half before unmasking."""
    if benchmark.disabled:
        clients = min(clients, 40)
    benchmark.pedantic(lambda: _session(clients, threat), rounds=1, iterations=1)


def _session(n: int, threat: str) -> None:
    params = secagg.plan(n, LENGTH, dropout=DROPPED, corrupt=CORRUPT, threat=threat, encoding=secagg.Integer(0, 65535))
    ids = [f"client-{i:09d}" for i in range(n)]
    keys = {name: secagg.Identity.generate() for name in ids}
    server_key = secagg.Identity.generate()
    roster = secagg.Roster({name: key.verify_key for name, key in keys.items()}, server_key.verify_key)
    clients = {name: secagg.Client(params, me=name, identity=keys[name], roster=roster, threads=1) for name in ids}
    server = secagg.Server(params, identity=server_key, roster=roster, threads=1)
    base = np.random.default_rng(0).integers(0, 65536, LENGTH)
    updates = {name: np.roll(base, 7919 * i) for i, name in enumerate(ids)}
    print(
        f"\nn={n} length={LENGTH} {threat}: {'full graph' if params.full else f'k={params.neighbours}'} t={params.threshold} "
        f"m={params.min_clients} c={params.corrupt} R={params.rounds_per_setup} "
        + (
            f"g={params.opened_honest}"
            if params.full
            else f"2^{params.sparse_risk[0]:.1f}, 2^{params.sparse_risk[1]:.1f}"
        )
    )
    for round_id in (1, 2)[: params.rounds_per_setup]:
        lost = ids[round_id::20]  # a twentieth before the update, another before unmasking
        gone = {"masked": set(lost), "unmask": set(ids[round_id + 5 :: 20])}
        _round(server, clients, round_id, updates, gone)
        result = server.result(round_id)
        here = [name for name in ids if name not in gone["masked"]]
        assert list(result.contributors) == here
        assert np.array_equal(result.sum, np.sum([updates[name] for name in here], axis=0)), "the sum is not exact"
        print(f"  round {round_id}: exact sum of {len(here)}, {n - len(here)} lost before, {len(gone['unmask'])} after")


def _round(
    server: secagg.Server,
    clients: dict[str, secagg.Client],
    round_id: int,
    updates: dict[str, np.ndarray],
    gone: dict[str, set[str]],
) -> None:
    spent: dict[str, float] = defaultdict(float)
    up: dict[str, int] = defaultdict(int)
    down: dict[str, int] = defaultdict(int)
    silent: set[str] = set()
    begin = time.perf_counter()
    server.open_round(round_id)
    while (phase := server.phase) != "idle":
        silent |= gone.get(phase, set())
        for to, frame in server.outbox():
            for name in clients if to is None else [to]:
                if name not in silent:
                    start = time.perf_counter()
                    clients[name].receive(frame)
                    spent[name] += time.perf_counter() - start
                    down[name] += len(frame)
        for name, client in clients.items():
            if name in silent:
                continue
            start = time.perf_counter()
            if client.awaiting:
                client.submit(updates[name])
            frames = client.outbox()
            spent[name] += time.perf_counter() - start
            up[name] += sum(map(len, frames))
            for frame in frames:
                server.receive(frame, sender=name)
        server.close_phase()
    whole = time.perf_counter() - begin
    alive = [name for name in clients if name not in silent]
    print(
        f"  a client: {1e3 * statistics.median(spent[name] for name in alive):.1f} ms, "
        f"{statistics.median(up[name] for name in alive):,.0f} bytes up, "
        f"{statistics.median(down[name] for name in alive):,.0f} down; server {whole - sum(spent.values()):.1f} s; "
        f"all in one process {whole:.0f} s"
    )
