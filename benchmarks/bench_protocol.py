"""The protocol without its vectors: what a setup costs a client, a rebuilt dropout the server, and what is kept on disk."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from harness.cohort import PHASES, Session, play_client, play_server, run_session
from harness.pairs import quartiles
from harness.stopwatch import Stopwatch
from pytest_benchmark.fixture import BenchmarkFixture

import secagg
from secagg.hazmat import aead, kdf, shamir, signing, transcript
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.memory import Record
from secagg.protocols.pairwise.dealing import Holding
from secagg.store import Ledger
from secagg.testing import Network

if TYPE_CHECKING:
    from harness.records import Records

    from conftest import Scale

VERIFY = "Ed25519 verify"
STEPS = {
    VERIFY: signing.verify,
    "HKDF": kdf.hkdf_sha256,
    "Shamir split": shamir.split,
    "seal": aead.seal,
    "open": aead.open_,
    "TupleHash": transcript.digest,
}
METHODS = {
    "X25519 agree": (KeyPair, "agree"),
    "X25519 key pair": (KeyPair, "__init__"),
    "Ed25519 sign": (signing.SigningKey, "sign"),
    "holders' hashes": (Holding, "root"),
}


@pytest.fixture(scope="module")
def tiny(request: pytest.FixtureRequest) -> dict[int, Session]:
    """Sessions of a full graph whose vectors cost nothing, by dropouts: k = 99."""
    n = 100 if request.config.getoption("benchmark_enable") else 7
    return {lost: run_session(secagg.Params(clients=n, length=8), {"masked": range(lost)}) for lost in (0, 1)}


@pytest.mark.measures("client_setup_k100", "client_setup_and_masks_k100")
def test_setup_of_a_client(
    tiny: dict[int, Session], scale: Scale, records: Records, note: Callable[[str], None]
) -> None:
    """What a client does beside Ed25519 checks: keys, agreements, shares dealt, sealed, opened and checked.

    With masks: and what a round adds before its vector, one agreement and one mask seed for each neighbour.
    """
    session = tiny[0]
    who = session.finished[len(session.finished) // 2]
    n = session.params.clients
    beside: list[float] = []
    masks: list[float] = []
    checks: list[float] = []
    for _ in range(1 if scale == "small" else 25):
        watch = Stopwatch()
        with watch.watching({VERIFY: signing.verify}, {}):
            seconds = play_client(session, who)
        # Each advertisement and the server's three requests; the rest are the survivors' headers, at unmask.
        checks.append(1e3 * watch.seconds[VERIFY] * (n + 3) / watch.calls[VERIFY])
        with_masks = 1e3 * sum(seconds[phase] for phase in PHASES[:3]) - checks[-1]
        masks.append(with_masks)
        beside.append(with_masks - 1e3 * seconds["update"])
    if scale == "small":
        return
    for name, values in (("client_setup_k100", beside), ("client_setup_and_masks_k100", masks)):
        low, middle, high = quartiles(values)
        records.add(name, middle, unit="ms", low=low, high=high, sense="ours", n=n, length=8)
    watch = Stopwatch()
    with watch.watching(STEPS, METHODS):
        seconds = play_client(session, who)
    total = sum(seconds[phase] for phase in PHASES)
    note(
        f"client_setup_k100: beside {statistics.median(checks):.1f} ms of Ed25519 checks; "
        f"a client's whole round without a vector, step by step, {1e3 * total:.1f} ms:"
    )
    for name, spent in watch.seconds.most_common():
        note(
            f"  {name:16} {watch.calls[name]:5} calls {1e3 * spent:7.2f} ms  {1e6 * spent / watch.calls[name]:7.1f} us each"
        )
    note(f"  {'the rest':16} {'':11} {1e3 * (total - sum(watch.seconds.values())):7.2f} ms  frames, checks, Python")


@pytest.mark.measures("server_rebuild_k100")
def test_rebuilding_one_dropout(tiny: dict[int, Session], scale: Scale, records: Records) -> None:
    """The mask key of one dropout from its shares, and the mask seeds that it shares with everybody: beside the masks."""
    extra = []
    for _ in range(1 if scale == "small" else 25):
        without = play_server(tiny[0])[0]["close unmask"]
        extra.append(1e3 * (play_server(tiny[1])[0]["close unmask"] - without))
    if scale == "small":
        return
    low, middle, high = quartiles(extra)
    records.add("server_rebuild_k100", middle, low=low, high=high, sense="ours", n=tiny[0].params.clients, length=8)


@pytest.fixture
def kept(scale: Scale) -> tuple[secagg.Client, secagg.Identity, secagg.Roster]:
    """A client of a full graph that holds everybody's shares."""
    n = 5 if scale == "small" else 100
    params = secagg.Params(clients=n, length=8)
    ids = [f"c{i:04d}" for i in range(n)]
    keys = {name: secagg.Identity.generate() for name in ids}
    server_key = secagg.Identity.generate()
    roster = secagg.Roster({name: key.verify_key for name, key in keys.items()}, server_key.verify_key)
    clients = {name: secagg.Client(params, me=name, identity=keys[name], roster=roster) for name in ids}
    network = Network(secagg.Server(params, identity=server_key, roster=roster), clients)
    network.server.open_round(1)
    for _ in ("keys", "shares"):
        network.exchange(lambda _: None)
        network.server.close_phase()
    network.exchange(lambda client: client.submit(np.zeros(8, np.float32)))
    return clients[ids[0]], keys[ids[0]], roster


def test_snapshot(kept: tuple[secagg.Client, secagg.Identity, secagg.Roster], benchmark: BenchmarkFixture) -> None:
    """A client's whole state, sealed."""
    client, _, _ = kept
    benchmark.extra_info["bytes"] = len(benchmark(client.snapshot))


def test_restore(kept: tuple[secagg.Client, secagg.Identity, secagg.Roster], benchmark: BenchmarkFixture) -> None:
    """The same state, opened again, and sealed to the same length."""
    client, identity, roster = kept
    blob = client.snapshot()
    again = benchmark(lambda: secagg.Client.restore(blob, identity=identity, roster=roster))
    assert len(again.snapshot()) == len(blob)


def test_ledger_write(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """One frame recorded and flushed to the disk, which takes most of it."""
    ledger = Ledger(tmp_path / "ledger.db", me="c0000", identity=secagg.Identity.generate())
    session, rounds = os.urandom(16), iter(range(1, 1 << 30))
    record = Record(os.urandom(32), os.urandom(32), os.urandom(300))
    benchmark.pedantic(lambda: ledger.record(session, next(rounds), "masked", record), rounds=50, iterations=1)
    ledger.close()
