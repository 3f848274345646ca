"""One whole round in one process: exact first, then what each side spends and sends.

Part of ``make bench``. Not paired with a peer yet; it prints where the time of our own round goes.
"""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import pytest

import secagg
from secagg.client import rounding_key


@pytest.mark.parametrize(("clients", "length", "lost"), [(10, 10_000, 1), (100, 1_000_000, 5)])
def test_full_graph_round(clients: int, length: int, lost: int, benchmark: pytest.FixtureRequest) -> None:
    """Full graph, t = m = n - 2 * lost, 16 bits; `lost` clients vanish after shares, as many again before unmask."""
    if clients > 10 and benchmark.disabled:
        clients, length = 12, 1000  # an ordinary test run checks the same code on a small size
        lost = 1
    benchmark.pedantic(lambda: _round(clients, length, lost), rounds=1, iterations=1)


def _round(n: int, length: int, lost: int) -> None:  # noqa: PLR0915  # one scenario, top to bottom
    quorum = n - 2 * lost
    params = secagg.Params(
        clients=n, length=length, threshold=quorum, min_clients=quorum,
        encoding=secagg.FixedPoint(clip=1.0, bits=16),
    )  # fmt: skip
    ids = [f"c{i:04d}" for i in range(n)]
    keys = {name: secagg.Identity.generate() for name in ids}
    server_key = secagg.Identity.generate()
    roster = secagg.Roster({name: key.verify_key for name, key in keys.items()}, server_key.verify_key)
    seed = bytes(32)  # rounding only, so that the plaintext sum can be computed beside
    clients = {
        name: secagg.Client(params, me=name, identity=keys[name], roster=roster, rounding_seed=seed) for name in ids
    }
    server = secagg.Server(params, identity=server_key, roster=roster)
    base = np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)
    updates = {name: np.roll(base, 7919 * i) for i, name in enumerate(ids)}
    spent: dict[str, float] = defaultdict(float)
    sent: dict[str, int] = defaultdict(int)
    phases: dict[str, dict[str, float]] = {}
    gone: set[str] = set()

    def clock(who: str) -> None:
        spent[who] += time.perf_counter() - clock.start
        clock.start = time.perf_counter()

    clock.start = time.perf_counter()
    server.open_round(1)
    while server.phase != "idle":
        phase, before = server.phase, dict(spent)
        gone |= {"masked": set(ids[:lost]), "unmask": set(ids[lost : 2 * lost])}.get(phase, set())
        clock("server")
        for to, frame in server.outbox():
            for name in ids if to is None else [to]:
                if name not in gone:
                    clients[name].receive(frame)
                    clock(name)
        for name in ids:
            if name in gone:
                continue
            if clients[name].awaiting:
                clients[name].submit(updates[name])
            frames = clients[name].outbox()
            clock(name)
            sent[name] += sum(map(len, frames))
            for frame in frames:
                server.receive(frame, sender=name)
            clock("server")
        server.close_phase()
        clock("server")
        phases[phase] = {who: spent[who] - before.get(who, 0.0) for who in spent}
    result = server.result(1)
    plan = params.segment_plan
    plain = np.zeros(length, np.uint64)
    for name in result.contributors:
        plain += plan.encode(updates[name], 1, None, rounding_key(seed, name, 1)).vectors[1]
    assert np.array_equal(plain, result.integer_sum), "the sum is not the plaintext sum"
    alive = [name for name in ids if name not in gone]
    print(
        f"\nn={n} length={length} t=m={quorum} g={params.opened_honest}: exact sum of {len(result.contributors)} contributors"
    )
    for phase, parts in phases.items():
        client = 1e3 * float(np.median([parts[name] for name in alive]))
        print(f"  {phase:7} client {client:8.1f} ms   server {1e3 * parts['server']:8.1f} ms")
    up = float(np.median([sent[name] for name in alive]))
    total = 1e3 * float(np.median([spent[name] for name in alive]))
    print(f"  whole   client {total:8.1f} ms   server {1e3 * spent['server']:8.1f} ms")
    print(f"  sent by a client: {up:.0f} bytes = {up / 4 / length:.3f} of the float32 update")
