"""The oneshot protocol: a client against one of pairwise, a server against a plain sum and against dropouts, a member, bytes.

One thread, 16 bits. Whole parties, played again on the frames of a real session (see `harness.cohort`). Where the cohort is of a
thousand, the parties that are not measured take each other's signatures unchecked, which changes no byte of what is measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from harness.cohort import Session, play_client, play_server, run_session, trusting
from harness.pairs import clocked, quartiles
from peers import plaintext

import secagg
from secagg.protocols.oneshot.messages import Kind, decoders
from secagg.protocols.oneshot.setup import Setup
from secagg.wire import Envelope, decode_body, decode_frame

if TYPE_CHECKING:
    from harness.records import Records

    from conftest import Scale, Versus

LENGTH = 1_000_000
DROPOUT = 0.3
BATCH = 64  # rounds of a setup, as plan() has it
MEMBERS = 50
SETS = {4: 38, 16: 50}  # packing: threshold


# -- the server: a plain sum beside it, and dropouts ---------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest) -> dict[int, Session]:
    """Two sessions of a hundred under the same Params, everybody in the committee: none lost, and 30."""
    big = request.config.getoption("benchmark_enable")
    n, length = (100, LENGTH) if big else (10, 3000)
    params = secagg.plan(n, length, protocol="oneshot", dropout=DROPOUT)
    lost = round(DROPOUT * n)
    return {gone: run_session(params, {"masked": range(gone)}) for gone in (0, lost)}


def _finish(session: Session) -> float:
    """From the last upload to the mean: the committee asked, its answers checked and put together, the sum opened."""
    seconds, result = play_server(session)
    assert result.weight == len(session.result.contributors)
    return seconds["close masked"] + seconds["reveal"] + seconds["decode"]


@pytest.mark.measures("oneshot_server_dropout", "oneshot_server_dropout_ms")
def test_dropouts_at_the_server(whole: dict[int, Session], versus: Versus, records: Records, scale: Scale) -> None:
    """The end of a round that lost 30 of 100, members among them, against one that lost nobody."""
    none, lost = whole
    session = whole[none]
    about = {"n": session.params.clients, "length": session.params.length, "dropouts": lost}
    timed = versus(
        "oneshot_server_dropout", lambda: _finish(whole[lost]), lambda: _finish(session),
        equal=lambda: whole[lost].result.weight + lost == session.result.weight, inverse=True, peer="nobody lost", **about,
    )  # fmt: skip
    if timed is None or scale == "small":
        return
    low, middle, high = quartiles([1e3 * each for each in timed.ours])
    records.add("oneshot_server_dropout_ms", middle, unit="ms", low=low, high=high, sense="ours", **about)


@pytest.mark.measures("oneshot_server_vs_plaintext")
def test_server_against_plaintext(
    whole: dict[int, Session], versus: Versus, scale: Scale, note: Callable[[str], None]
) -> None:
    """A server's round, from the first masked frame to the mean, every frame authenticated."""
    session = whole[0]
    n, length = session.params.clients, session.params.length or 0
    vectors = [np.array(session.update(who)) for who in session.result.contributors]
    total = np.zeros(length, np.float32)
    spent: dict[str, float] = {}

    def ours() -> float:
        seconds, result = play_server(session)
        assert result.weight == n
        spent.update(seconds)
        return seconds["masked"] + seconds["reveal"] + seconds["decode"]

    def right() -> bool:
        plaintext.add_all(vectors, total)
        error = np.abs(play_server(session)[1].mean - total / n).max()
        return bool(error <= 2 / (2**16 - 1) + 1e-6)

    timed = versus(
        "oneshot_server_vs_plaintext", ours, clocked(lambda: plaintext.add_all(vectors, total)), equal=right, inverse=True,
        peer=plaintext.NAME, peer_version=plaintext.VERSION, n=n, length=length,
    )  # fmt: skip
    if timed is None or scale == "small":
        return
    parts = ", ".join(f"{phase} {1e3 * seconds:.1f} ms" for phase, seconds in spent.items())
    note(f"oneshot_server_vs_plaintext: {parts}; numpy sum {1e3 * statistics.median(timed.theirs):.1f} ms")


# -- a client and a member among a thousand ------------------------------------------------------------------------


def _thousand(scale: Scale) -> tuple[int, int]:
    return (20, 1000) if scale == "small" else (1000, LENGTH)


def _reading(session: Session, who: str) -> Callable[[], float]:
    """Return what clocks the reading of the committee's keys, which a client does once a batch."""
    kind, outer = decode_frame(session.down[who]["masked"][0], max_bytes=session.params.max_frame_bytes)
    assert isinstance(outer, Envelope)
    keys = decode_body(outer.payload, decoders[Kind(kind)], "").keys
    return clocked(lambda: Setup.read(keys, session.id, session.roster, session.params))


@pytest.mark.measures(
    "oneshot_client_vs_pairwise", "oneshot_client_ms", "oneshot_client_and_member_vs_pairwise", "oneshot_member_n1000"
)
def test_client_against_pairwise(scale: Scale, versus: Versus, records: Records, note: Callable[[str], None]) -> None:
    """All that a client does in a round, a sixty-fourth of its setup included, under the Params that plan() has for either."""
    n, length = _thousand(scale)
    mine = secagg.plan(n, length, protocol="oneshot", **({"committee": 12} if n < 1000 else {}))
    other = secagg.plan(n, length, threat="semi-honest", rounds_per_setup=1)
    # The committee is a matter of chance: whoever is measured need not sit in it, and one who does is measured apart.
    with trusting():
        ours, theirs = run_session(mine, keep=set(_names(n))), run_session(other, keep={_names(n)[0]})
    crew = _members(ours)
    who = next(name for name in _names(n) if name not in crew)
    reading, mine_ms = _reading(ours, who), []

    def client() -> float:
        seconds = play_client(ours, who)
        spent = sum(seconds[phase] for phase in ours.phases) - reading() * (1 - 1 / BATCH)
        mine_ms.append(1e3 * spent)
        return spent

    def pairwise() -> float:
        seconds = play_client(theirs, _names(n)[0])
        return (seconds["keys"] + seconds["shares"]) / BATCH + seconds["masked"] + seconds["unmask"]

    about = {
        "n": n, "length": length, "neighbours": other.neighbours, "committee": mine.committee, "packing": mine.packing,
        "peer": f"pairwise, k={other.neighbours}", "bytes": ours.bytes_up[who], "peer_bytes": theirs.bytes_up[_names(n)[0]],
    }  # fmt: skip
    timed = versus("oneshot_client_vs_pairwise", client, pairwise, equal=lambda: _same(ours, theirs), pairs=9, **about)
    apart = [play_client(ours, crew[0])["reveal"] for _ in range(1 if scale == "small" else 5)]
    if timed is None:
        return
    low, middle, high = quartiles(mine_ms)
    records.add("oneshot_client_ms", middle, unit="ms", low=low, high=high, sense="ours", n=n, length=length)
    share = statistics.median(apart) * mine.committee / n
    both = [theirs / (ours + share) for ours, theirs in zip(timed.ours, timed.theirs, strict=True)]
    low, middle, high = quartiles(both)
    records.add(
        "oneshot_client_and_member_vs_pairwise", middle, low=low, high=high, sense="peer/ours", pairs=len(both), **about
    )
    parts = play_client(theirs, _names(n)[0])
    note(
        f"oneshot_client_vs_pairwise: ours {1e3 * statistics.median(timed.ours):.1f} ms, pairwise "
        f"{1e3 * statistics.median(timed.theirs):.1f} ms, of which unmask {1e3 * parts['unmask']:.1f}, masked "
        f"{1e3 * parts['masked']:.1f}; a setup of one round {1e3 * (parts['keys'] + parts['shares']):.0f} ms; "
        f"a member of {mine.committee} answers in {1e3 * statistics.median(apart):.1f} ms"
    )


def _names(count: int) -> list[str]:
    return [f"c{i:04d}" for i in range(count)]


def _members(session: Session) -> list[str]:
    """Return the committee: those of whose frames those of the last phase were kept."""
    return [name for name, frames in session.down.items() if frames["reveal"]]


def _same(ours: Session, theirs: Session) -> bool:
    """Whether both sessions gave the mean of the same updates, each within the steps of its encoding."""
    step = 2 / (2**16 - 1)
    everybody = ours.result.contributors == theirs.result.contributors
    return everybody and bool(np.abs(ours.result.mean - theirs.result.mean).max() <= 2 * step)


@pytest.mark.measures("oneshot_member_ms", "oneshot_member_download", "oneshot_member_upload")
def test_member_of_fifty(scale: Scale, records: Records, note: Callable[[str], None]) -> None:
    """One answer of a member of 50 for a thousand clients, at two lengths of the update: it does not grow with them."""
    n, lengths = (20, (100, 1000)) if scale == "small" else (1000, (1000, 30_000))
    size, rho = (12, 2) if scale == "small" else (MEMBERS, 16)
    threshold = 10 if scale == "small" else SETS[rho]
    for length in lengths:
        params = secagg.Params(
            n, length=length, protocol="oneshot", committee=size, threshold=threshold, packing=rho, corrupt=n // 20,
            ring=(8192, 42, 4), rounds_per_setup=BATCH,
        )  # fmt: skip
        with trusting():
            session = run_session(params, keep=set(_names(n)))
        member = _members(session)[0]
        spent = [1e3 * play_client(session, member)["reveal"] for _ in range(1 if scale == "small" else 5)]
        down = sum(map(len, session.down[member]["reveal"]))
        told = params.explain().data
        assert abs(down - told["bytes_to_member"]) < 20 * n, "the request is not what explain() says"
        if scale == "small":
            continue
        note(
            f"oneshot member of {size}, rho={rho}, n={n}, length {length}: {statistics.median(spent):.1f} ms, {down} bytes"
        )
        low, middle, high = quartiles(spent)
        about = {"n": n, "length": length, "committee": size, "packing": rho}
        records.add("oneshot_member_ms", middle, unit="ms", low=low, high=high, sense="ours", **about)
        records.add("oneshot_member_download", down / 1000, unit="kB", **about)
        records.add("oneshot_member_upload", told["bytes_from_member"] / 1000, unit="kB", **about)


# -- bytes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clients", [pytest.param(n, marks=pytest.mark.measures(f"oneshot_bits_n{n}")) for n in (100, 1000)]
)
def test_bits_of_a_value(clients: int, scale: Scale, records: Records) -> None:
    """All that one client sends in a round, frames, signatures and sealed shares included; as sent, where that is quick."""
    params = secagg.plan(clients, LENGTH, protocol="oneshot")
    told = params.explain().data
    if clients == 100 and scale != "small":
        session = run_session(params, keep=False)
        who = session.finished[0]
        spoken = session.bytes_up[who] - told["bytes_from_member"]
        assert abs(spoken - told["bytes_up_round"]) < 300, "what was sent is not what explain() says"
    records.add(
        f"oneshot_bits_n{clients}", 8 * told["bytes_up_round"] / LENGTH, unit="bits", peer="as sent", n=clients,
        length=LENGTH, committee=params.committee, packing=params.packing, ring=list(params.ring or ()),
    )  # fmt: skip


@pytest.mark.parametrize("rho", [pytest.param(n, marks=pytest.mark.measures(f"oneshot_shares_rho{n}")) for n in SETS])
def test_bytes_of_shares(rho: int, records: Records) -> None:
    """What the sealed shares of one client take: 50 members drawn from a thousand clients, of whom a twentieth are corrupt."""
    params = secagg.Params(
        1000, length=LENGTH, protocol="oneshot", committee=MEMBERS, threshold=SETS[rho], packing=rho, corrupt=50
    )  # fmt: skip
    told = params.explain().data
    records.add(
        f"oneshot_shares_rho{rho}", told["bytes_shares"] / 1000, unit="kB", peer="as sent", n=1000, length=LENGTH,
        committee=MEMBERS, packing=rho,
    )  # fmt: skip
