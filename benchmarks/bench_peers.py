"""The marks against peers: kernels, a client's round, a server's round, bytes on the wire.

Each test gives named entries of ``.bench/ratios.json``. Length 10^6 float32, 16 bits, weight 1 and one thread unless said.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harness.cohort import PHASES, Session, play_client, play_server, run_session
from harness.pairs import clocked
from harness.worker import PeerMissing
from peers import cryptography_ctr, numpy_generators, plaintext, pycryptodome_shamir
from peers.declearn import Declearn
from peers.flower import Flower

import secagg
from secagg import _kernels
from secagg.hazmat import shamir

if TYPE_CHECKING:
    from harness.records import Records

    from conftest import Scale, Versus

LENGTH = 1_000_000
KEYS = 100
WIDTH = 23  # 16 bits and the sum of 100 clients
STREAM = 1
THRESHOLD = {10: 9, 100: 90}  # for Flower: what ours is by default, so that both share alike


def _named(pattern: str, values: Iterable[Any]) -> list[Any]:
    """Return a parameter for each value, marked with the name of the result that it gives."""
    return [pytest.param(value, marks=pytest.mark.measures(pattern.format(value))) for value in values]


class Masks:
    """One vector and the keys of all masks of one client."""

    def __init__(self, length: int, keys: int) -> None:
        rng = np.random.default_rng(7)
        self.ours = np.zeros(length, dtype=_kernels.lane_dtype(WIDTH))
        self.theirs = self.ours.copy()
        self.keys = rng.integers(0, 256, (keys, 16), dtype=np.uint8)
        self.signs = rng.choice(np.array([-1, 1], dtype=np.int8), keys)
        self.about = {"n": keys, "length": length, "threads": 1}

    def apply(self) -> None:
        """Apply all masks, as one call of our kernel."""
        _kernels.mask_apply(self.ours, self.keys, self.signs, STREAM, 0, WIDTH)


@pytest.fixture
def masks(scale: Scale) -> Masks:
    """A hundred keys, a million values; few of both in a test run."""
    return Masks(1000, 4) if scale == "small" else Masks(LENGTH, KEYS)


@pytest.mark.measures("mask_vs_bound")
def test_masks_against_the_aes_rounds_alone(masks: Masks, versus: Versus, records: Records) -> None:
    """The bound: the AES rounds of as many blocks in registers of the same width, nothing loaded or stored."""
    rounds: Callable[[int], None] | None = getattr(getattr(_kernels, "native", None), "aes_rounds", None)
    if rounds is None or secagg.build_info()["backend"] != "native":
        records.add("mask_vs_bound", None, missing="this build has no loop of AES rounds alone", **masks.about)
        return
    nbytes = masks.ours.nbytes * len(masks.keys)

    def right() -> bool:
        masks.apply()
        peer = cryptography_ctr.CtrMasks(masks.theirs.nbytes, STREAM)
        peer.apply(masks.theirs, masks.keys, masks.signs, WIDTH)
        return np.array_equal(masks.ours, masks.theirs)

    versus(
        "mask_vs_bound", clocked(masks.apply), clocked(lambda: rounds(nbytes)), equal=right, peer="AES rounds alone",
        bytes=nbytes, **masks.about,
    )  # fmt: skip


@pytest.mark.measures("mask_vs_cryptography")
def test_masks_against_cryptography(masks: Masks, versus: Versus) -> None:
    """One pass over the vector for all keys, against one pass for each."""
    peer = cryptography_ctr.CtrMasks(masks.theirs.nbytes, STREAM)

    def theirs() -> None:
        peer.apply(masks.theirs, masks.keys, masks.signs, WIDTH)

    def right() -> bool:
        masks.apply()
        theirs()
        return np.array_equal(masks.ours, masks.theirs)

    versus(
        "mask_vs_cryptography", clocked(masks.apply), clocked(theirs), equal=right, peer=peer_name(cryptography_ctr),
        peer_version=cryptography_ctr.VERSION, bytes=masks.ours.nbytes * len(masks.keys), **masks.about,
    )  # fmt: skip


@pytest.mark.parametrize("generator", _named("mask_vs_numpy_{}", numpy_generators.GENERATORS))
def test_masks_against_numpy(generator: str, masks: Masks, versus: Versus) -> None:
    """Against generators that are fast and predictable: not secure, so there is no output to compare but its length."""
    seeds, signs = [int.from_bytes(key, "little") for key in masks.keys], masks.signs.tolist()
    versus(
        f"mask_vs_numpy_{generator}", clocked(masks.apply),
        clocked(lambda: numpy_generators.apply_masks(masks.theirs, seeds, signs, generator)),
        equal=lambda: masks.ours.nbytes == masks.theirs.nbytes, pairs=5, peer=f"numpy {generator}",
        peer_version=numpy_generators.VERSION, **masks.about,
    )  # fmt: skip


@pytest.mark.measures("shamir_vs_pycryptodome")
def test_shamir_against_pycryptodome(scale: Scale, versus: Versus) -> None:
    """Split a 32-byte secret 67 of 100 and rebuild it, Lagrange weights included: the cache of weights is emptied."""
    threshold, holders = (3, 5) if scale == "small" else (67, 100)
    secret, xs = os.urandom(32), range(1, holders + 1)

    def ours() -> bytes:
        shamir._weights.cache_clear()  # noqa: SLF001  # a server needs them once a round, for many secrets
        shares = dict(zip(xs, shamir.split(secret, threshold, xs), strict=True))
        return shamir.combine(shares, threshold, len(secret))

    def theirs() -> bytes:
        return pycryptodome_shamir.split_and_combine(secret, threshold, holders)

    versus(
        "shamir_vs_pycryptodome", clocked(ours), clocked(theirs), equal=lambda: ours() == secret == theirs(),
        peer=pycryptodome_shamir.NAME, peer_version=pycryptodome_shamir.VERSION, n=holders, length=32,
    )  # fmt: skip


# -- whole parties ----------------------------------------------------------------------------------------------------


def full_graph(clients: int, length: int, **more: Any) -> secagg.Params:
    """Return Params with everything at its default: the full graph, a lying server withstood."""
    return secagg.Params(clients=clients, length=length, **more)


@pytest.fixture(scope="module")
def flower(request: pytest.FixtureRequest) -> Iterator[Flower | None]:
    """The worker, or None where Flower is not installed or nothing is measured."""
    if not request.config.getoption("benchmark_enable"):
        yield None
        return
    try:
        worker = Flower()
    except PeerMissing:
        yield None
        return
    yield worker
    worker.close()


def missing(records: Records, scale: Scale, peer: str, *names: str) -> None:
    """Report what cannot be measured without this peer."""
    if scale != "small":
        for name in names:
            records.add(name, None, peer=peer, missing=f"{peer} cannot be installed here")


@pytest.mark.parametrize("clients", _named("client_vs_flower_k{}", THRESHOLD))
def test_client_against_flower(
    clients: int, flower: Flower | None, scale: Scale, versus: Versus, records: Records, note: Callable[[str], None]
) -> None:
    """A client's whole work of a round in a full graph: keys, shares, masked update, answer."""
    name = f"client_vs_flower_k{clients}"
    n, length = (5, 1000) if scale == "small" else (clients, LENGTH)
    session = run_session(full_graph(n, length))
    who = session.finished[n // 2]
    play_client(session, who)
    if flower is None:
        missing(records, scale, Flower.name, name)
        return
    mine: list[dict[str, float]] = []
    answers: list[dict[str, Any]] = []

    def ours() -> float:
        seconds = play_client(session, who)
        mine.append({phase: seconds[phase] for phase in PHASES})
        return sum(mine[-1].values())

    def theirs() -> float:
        answers.append(flower.client(n, length, THRESHOLD[n]))
        return float(answers[-1]["seconds"])

    def right() -> (
        bool
    ):  # ours was checked by run_session: the mean is right, and the client sends the same bytes again
        theirs()
        return answers[0]["error"] <= 2 / 2**16

    versus(
        name, warm(ours), warm(theirs), equal=right, pairs=15 if clients == 10 else 5, peer=Flower.name,
        peer_version=flower.version, n=n, length=length, threshold=THRESHOLD[n], bytes=session.bytes_up[who],
    )  # fmt: skip
    peer = [answer["phases"] for answer in answers]
    note(f"{name}: ours {_shares(_medians(mine))}; Flower {_shares(_medians(peer))}")


def warm(run: Callable[[], float]) -> Callable[[], float]:
    """Return what runs twice and gives the seconds of the second time.

    A process that slept while the other side worked finds its caches cold and its core's clock low, and pays for both in the
    first milliseconds: as much as a whole update takes. Both sides get the same.
    """

    def second() -> float:
        run()
        return run()

    return second


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {phase: float(np.median([run[phase] for run in runs])) for phase in runs[0]}


def _shares(phases: dict[str, float]) -> str:
    return ", ".join(f"{phase} {1e3 * seconds:.1f} ms" for phase, seconds in phases.items())


@pytest.mark.measures("client_vs_declearn_k10")
def test_client_against_declearn(scale: Scale, versus: Versus, records: Records) -> None:
    """The protection of an update alone: declearn has no keys phase of this kind and no dropouts."""
    n, length = (5, 1000) if scale == "small" else (10, LENGTH)
    session = run_session(full_graph(n, length))
    who = session.finished[0]
    if scale == "small":
        return
    try:
        declearn = Declearn()
    except PeerMissing:
        missing(records, scale, Declearn.name, "client_vs_declearn_k10")
        return
    versus(
        "client_vs_declearn_k10", warm(lambda: play_client(session, who)["masked"]),
        warm(lambda: float(declearn.mask(n, length)["seconds"])), equal=lambda: declearn.mask(n, length)["error"] < 1e-6,
        pairs=7, peer=Declearn.name, peer_version=declearn.version, n=n, length=length,
    )  # fmt: skip
    declearn.close()


@pytest.mark.measures("server_vs_flower_n100")
def test_server_against_flower(
    flower: Flower | None, scale: Scale, versus: Versus, records: Records, tmp_path: Path
) -> None:
    """Unmask a full graph with 5 dropouts: from the answers on the wire to the mean."""
    n, length = {"small": (7, 1000), "bench": (100, 100_000), "full": (100, LENGTH)}[scale]
    lost = 1 if scale == "small" else 5
    session = run_session(full_graph(n, length), {"masked": range(lost)})
    means: list[np.ndarray] = []

    def ours() -> float:
        seconds, result = play_server(session)
        means[:] = [result.mean]
        return seconds["close masked"] + seconds["unmask"] + seconds["decode"]

    ours()
    if flower is None:
        missing(records, scale, Flower.name, "server_vs_flower_n100")
        return
    out = tmp_path / "mean.npy"

    def agree() -> bool:
        """Compare on a small round: Flower takes minutes for the large one."""
        small = run_session(full_graph(10, 1000), {"masked": range(1)})
        flower.prepare_server(10, 1000, THRESHOLD[10], 1)
        gap = np.abs(flower.server(out)[1] - play_server(small)[1].mean).max()
        flower.prepare_server(n, length, THRESHOLD[n], lost)
        return bool(gap <= 4 / 2**16)

    def theirs() -> float:
        seconds, mean = flower.server(out)
        assert np.abs(mean - means[0]).max() <= 4 / 2**16, "the means differ"
        return seconds

    versus(
        "server_vs_flower_n100", warm(ours), theirs, equal=agree, pairs=2, peer=Flower.name, peer_version=flower.version,
        n=n, length=length, dropouts=lost,
    )  # fmt: skip


CASES = [
    pytest.param("server_vs_plaintext", marks=pytest.mark.measures("server_vs_plaintext", "bytes_vs_plaintext")),
    pytest.param("server_vs_plaintext_drop10", marks=pytest.mark.measures("server_vs_plaintext_drop10")),
]
SPARSE = {"neighbours": 22, "threat": "semi-honest"}


@pytest.mark.parametrize("name", CASES)
def test_server_against_plaintext(
    name: str, scale: Scale, versus: Versus, records: Records, note: Callable[[str], None]
) -> None:
    """A server's round, from the first masked frame to the mean, every frame authenticated; and with the setup before it."""
    n, length = (30, 1000) if scale == "small" else (100, LENGTH)
    lost, more = (0, {}) if name == "server_vs_plaintext" else (n // 10, SPARSE)
    session = run_session(full_graph(n, length, **more), {"masked": range(lost)})
    vectors = [np.array(session.update(who)) for who in session.result.contributors]
    total = np.zeros(length, np.float32)
    whole: dict[str, float] = {}

    def ours() -> float:
        seconds, result = play_server(session)
        assert result.weight == n - lost
        whole.update(seconds)
        return seconds["masked"] + seconds["unmask"] + seconds["decode"]

    def right() -> bool:
        plaintext.add_all(vectors, total)
        error = np.abs(play_server(session)[1].mean - total / len(vectors)).max()
        return bool(error <= 2 / (2**16 - 1) + 1e-6)

    timed = versus(
        name, ours, clocked(lambda: plaintext.add_all(vectors, total)), equal=right, inverse=True,
        peer=plaintext.NAME, peer_version=plaintext.VERSION, n=n, length=length, dropouts=lost,
        neighbours=session.params.neighbours,
    )  # fmt: skip
    if timed is None:
        return
    peer = float(np.median(timed.theirs))
    setup = whole["keys"] + whole["shares"]
    about = {"peer": plaintext.NAME, "peer_version": plaintext.VERSION, "n": n, "length": length, "sense": "ours/peer"}
    records.add(f"{name}_setup", (float(np.median(timed.ours)) + setup) / peer, **about)
    note(f"{name}: ours {_shares({k: v for k, v in whole.items() if ' ' not in k})}; numpy sum {1e3 * peer:.1f} ms")
    key = "bytes_vs_plaintext" if name == "server_vs_plaintext" else "bytes_vs_plaintext_sparse"
    up = session.median_up()
    records.add(key, up / length / 4, bytes=int(up), peer="float32", n=n, length=length, sense="ours/peer")


@pytest.mark.measures("bytes_vs_plaintext_weight8", "bytes_flower_vs_plaintext")
def test_bytes_with_weights(scale: Scale, flower: Flower | None, records: Records) -> None:
    """What a client sends in a whole round, per value, when weights have 8 bits; and what Flower's sends."""
    n, length = (5, 1000) if scale == "small" else (100, LENGTH)
    session = run_session(full_graph(n, length, max_weight=255), keep=False)
    up = session.median_up()
    if scale == "small":
        return
    about = {"peer": "float32", "n": n, "length": length, "sense": "ours/peer"}
    records.add("bytes_vs_plaintext_weight8", up / length / 4, bytes=int(up), **about)
    if flower is not None:
        sent = flower.client(10, length, THRESHOLD[10])["bytes_up"]
        about["sense"] = "Flower/peer"
        records.add("bytes_flower_vs_plaintext", sent / length / 4, bytes=sent, **about)


def peer_name(module: Any) -> str:
    """Return what the table calls a peer."""
    return str(module.NAME)


@pytest.mark.full
@pytest.mark.measures("cohort_n1000")
def test_whole_cohort(scale: Scale, records: Records, note: Callable[[str], None]) -> None:
    """A thousand clients and the server in one process, a twentieth lost: who spends how much in which phase."""
    n, length = (20, 1000) if scale == "small" else (1000, 100_000)
    params = secagg.plan(n, length, dropout=0.05, corrupt=0.05, threat="semi-honest")
    lost = n // 20
    begin = time.perf_counter()
    session = run_session(params, {"masked": range(0, lost, 2), "unmask": range(1, lost, 2)}, keep=False)
    whole = time.perf_counter() - begin
    if scale == "small":
        return
    records.add(
        "cohort_n1000", whole, unit="s", n=n, length=length, neighbours=params.neighbours, threshold=params.threshold,
        bytes=int(session.median_up()),
    )  # fmt: skip
    for line in phase_lines(session, whole):
        note(line)


def phase_lines(session: Session, whole: float) -> list[str]:
    """Return where the time of a whole cohort goes, phase by phase."""
    params = session.params
    lines = [f"cohort of {params.clients}, k={params.neighbours} t={params.threshold}, {whole:.0f} s in one process:"]
    for phase, spent in session.server_seconds.items():
        of = session.client_seconds.get(phase, {})
        every, each = sum(of.values()), 1e3 * float(np.median(list(of.values()) or [0]))
        lines.append(
            f"  {phase:7} clients {every:7.1f} s ({100 * every / whole:4.1f}%), {each:7.1f} ms each; "
            f"server {spent:6.2f} s ({100 * spent / whole:4.1f}%)"
        )
    return lines
