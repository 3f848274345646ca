"""Params of oneshot: every rule at its bound and one beyond it, what is filled in, and the bytes they travel as."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import FixedPoint, Integer, Layout, Params
from secagg.bounds import log2_hypergeom_tail
from secagg.errors import ParameterError
from secagg.oneshot_rules import committee_corrupt
from secagg.testing import Network


def params(clients: int = 20, **own: Any) -> Params:
    return Params(clients, **{"length": 10, "protocol": "oneshot", **own})


# -- what is filled in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [2, 3, 4, 10, 11, 99, 100, 101, 1000, 50_000])
def test_defaults_are_a_tenth_less_and_as_much_packing_as_the_bounds_allow(clients: int) -> None:
    made = params(clients, **({"min_honest": 1} if clients == 2 else {}))
    size = min(clients, 100)
    bad = committee_corrupt(clients, size, int(made.corrupt))
    assert made.committee == size
    assert made.corrupt == max(1, math.ceil(clients / 10))
    assert made.threshold == size - (0 if size <= 3 else math.ceil(size / 10))
    assert made.min_clients == clients - (0 if clients <= 3 else math.ceil(clients / 10))
    assert made.max_participants == clients
    assert (made.min_cohort, made.neighbours) == (made.min_clients, 0)
    assert made.ring is not None and made.ring == tuple(made.mask_plan.canonical()[:3])

    def holds(rho: int) -> bool:
        return made.threshold >= bad + rho and made.threshold > rho and 2 * (made.threshold - rho + 1) > size + bad

    assert holds(made.packing) and made.packing <= 16
    assert made.packing == 16 or not holds(made.packing + 1)


def test_a_fraction_of_corrupt_clients_is_rounded_up() -> None:
    assert params(30, corrupt=0.1).corrupt == 3
    assert params(31, corrupt=0.1).corrupt == 4


# -- every rule, at the bound and beyond ------------------------------------------------------------------------------

SEMI = {"threat": "semi-honest"}
RULES = [
    # secrecy: T is at least c and rho together
    ({"corrupt": 4, "threshold": 10, "packing": 6, **SEMI}, {"packing": 7}, "would learn of the secrets"),
    ({"corrupt": 4, "threshold": 10, "packing": 6, **SEMI}, {"corrupt": 5}, "would learn of the secrets"),
    ({"corrupt": 4, "threshold": 10, "packing": 6, **SEMI}, {"threshold": 9}, "would learn of the secrets"),
    # something besides the secrets in every polynomial
    ({"corrupt": 0, "threshold": 10, "packing": 9, **SEMI}, {"packing": 10}, "single member's share"),
    # one set: twice T - rho + 1 is above M and c together; any two sets share somebody honest here
    ({"corrupt": 3, "threshold": 14, "packing": 3}, {"packing": 4}, "two sets"),
    ({"corrupt": 3, "threshold": 14, "packing": 3}, {"threshold": 13}, "two sets"),
    ({"corrupt": 3, "threshold": 14, "packing": 3}, {"corrupt": 4}, "two sets"),
    ({"corrupt": 4, "threshold": 15, "packing": 3}, {"packing": 4}, "two sets"),
    # no mixture of three sets, where two sets may have nobody honest in common
    ({"corrupt": 2, "threshold": 18, "packing": 4, "min_clients": 11}, {"packing": 5}, "mix three sets"),
    ({"corrupt": 2, "threshold": 18, "packing": 4, "min_clients": 11}, {"threshold": 17}, "mix three sets"),
    ({"corrupt": 2, "threshold": 18, "packing": 5, "min_clients": 12}, {"min_clients": 11}, "mix three sets"),
    ({"corrupt": 2, "threshold": 18, "packing": 5, "min_clients": 12}, {"packing": 8}, "two sets"),
    ({"corrupt": 2, "threshold": 10, "packing": 8, "min_clients": 5, **SEMI}, {"threat": "malicious"}, "two sets"),
    (
        {"corrupt": 2, "threshold": 18, "packing": 5, "min_clients": 11, **SEMI},
        {"threat": "malicious"},
        "mix three sets",
    ),
    # counts
    ({"corrupt": 2, "min_clients": 4}, {"min_clients": 3}, "min_honest"),
    ({"corrupt": 2, "min_clients": 18, "min_honest": 16}, {"min_honest": 17}, "min_honest"),
    ({"threshold": 20, "packing": 1}, {"threshold": 21}, "threshold must be an integer from 2 to 20"),
    ({"committee": 20}, {"committee": 21}, "committee must be an integer from 2 to 20"),
    ({"max_participants": 20}, {"max_participants": 21}, "max_participants"),
    ({"packing": 1}, {"packing": 0}, "packing must be an integer from 1"),
    ({"rounds_per_setup": 4096}, {"rounds_per_setup": 4097}, "rounds_per_setup"),
    ({"max_weight": 1 << 38}, {"max_weight": 1 << 42}, "bits"),
    # rings
    ({"ring": (8192, 53, 4)}, {"ring": (8192, 54, 4)}, "128-bit security"),
    ({"ring": (4096, 53, 2)}, {"ring": (4096, 54, 2)}, "128-bit security"),
    ({"ring": (8192, 42, 4)}, {"ring": (8192, 42, 5)}, "128-bit security"),
    ({"ring": (8192, 30, 4)}, {"ring": (8192, 29, 4)}, "128-bit security"),
    ({"ring": (8192, 60, 3)}, {"ring": (8192, 61, 3)}, "128-bit security"),
    ({"ring": (8192, 42, 4)}, {"ring": (16384, 42, 4)}, "128-bit security"),
    ({"ring": (4096, 36, 2)}, {"ring": (4096, 35, 2)}, "does not hold the sums"),
]


@pytest.mark.parametrize(("within", "beyond", "words"), RULES)
def test_each_rule_holds_at_its_bound_and_refuses_one_more(
    within: dict[str, Any], beyond: dict[str, Any], words: str
) -> None:
    made = params(**within)
    for name, value in within.items():
        assert getattr(made, name) == value
    with pytest.raises(ParameterError, match=words):
        params(**{**within, **beyond})


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"neighbours": 4}, "neighbours belongs to pairwise"),
        ({"min_cohort": 20}, "min_cohort belongs to pairwise"),
        ({"reveal": "server"}, "reveal belongs to protocol='ckks'"),
        ({"ring": (8192, 50)}, "three integers"),
        ({"ring": [8192, 42, 4]}, "three integers"),
        ({"ring": (8192, 42, 4.0)}, "three integers"),
        ({"ring": (8192, True, 4)}, "three integers"),
        ({"ring": "8192"}, "three integers"),
        ({"committee": 1}, "committee"),
        ({"committee": 2.0}, "committee"),
        ({"committee": True}, "committee"),
        ({"packing": 1.0}, "packing"),
        ({"threshold": 1}, "threshold must be"),
        ({"threshold": "9"}, "threshold must be"),
        ({"corrupt": 20}, "corrupt"),
        ({"corrupt": 1.0}, "fraction"),
        ({"clients": 1}, "at least 2"),
        ({"clients": 1 << 21}, "clients"),
        ({"threat": "friendly"}, "threat"),
        ({"frame_bytes": 64}, "polynomial"),
    ],
)
def test_what_has_no_place_or_form_here_is_refused(own: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        params(**{"clients": 20, **own})


@pytest.mark.parametrize("name", ["committee", "packing"])
def test_a_committee_is_for_no_other_protocol(name: str) -> None:
    for protocol in ("pairwise", "ckks"):
        with pytest.raises(ParameterError, match=f"{name} belongs to protocol='oneshot'"):
            params(protocol=protocol, **{name: 5})


def test_a_committee_of_more_than_1024_is_refused() -> None:
    with pytest.raises(ParameterError, match="from 2 to 1024"):
        params(5000, committee=1025)
    assert params(5000, committee=1024, max_participants=50, min_clients=45, corrupt=5).committee == 1024


def test_a_members_request_must_fit_a_frame_that_may_be_sent() -> None:
    with pytest.raises(ParameterError, match="lower max_participants, or raise packing"):
        params(1 << 20, packing=1)
    most = params(1 << 20, max_participants=2000, min_clients=1500, corrupt=500)
    assert most.max_frame_bytes < 1 << 30


def test_a_frame_holds_at_least_one_polynomial() -> None:
    made = params()
    poly = max(cut.ring.payload_bytes(cut.unit) for cut in made.mask_plan.segments)
    assert params(frame_bytes=poly).frame_bytes == poly
    with pytest.raises(ParameterError, match=f"less than the {poly} bytes"):
        params(frame_bytes=poly - 1)


# -- corrupt members of a drawn committee -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clients", "size", "corrupt"), [(1000, 100, 100), (200, 20, 3), (10_000, 50, 500), (50, 7, 40)]
)
def test_a_drawn_committee_has_more_corrupt_members_than_said_once_in_2_40(
    clients: int, size: int, corrupt: int
) -> None:
    """Against the sum of the hypergeometric terms, in integers."""
    found = committee_corrupt(clients, size, corrupt)

    def more_than(count: int) -> float:
        ways = sum(
            math.comb(corrupt, bad) * math.comb(clients - corrupt, size - bad)
            for bad in range(count + 1, min(size, corrupt) + 1)
        )
        return math.inf * -1 if not ways else math.log2(ways) - math.log2(math.comb(clients, size))

    assert more_than(found) <= -40
    assert found == 0 or more_than(found - 1) > -40
    assert log2_hypergeom_tail(clients, corrupt, size, found + 1) == pytest.approx(more_than(found), rel=1e-6)


@pytest.mark.parametrize(
    ("clients", "size", "corrupt", "found"), [(10, 10, 3, 3), (10, 12, 3, 3), (100, 5, 0, 0), (9, 4, 8, 4)]
)
def test_a_whole_or_a_tiny_committee_may_hold_them_all(clients: int, size: int, corrupt: int, found: int) -> None:
    assert committee_corrupt(clients, size, corrupt) == found


# -- bytes ------------------------------------------------------------------------------------------------------------

SHAPES = [
    {},
    {"clients": 3, "length": 1},
    {"clients": 1000, "corrupt": 0.05, "max_participants": 300, "rounds_per_setup": 64},
    {"ring": (4096, 48, 2), "threat": "semi-honest"},
    {
        "length": None, "layout": Layout.of({"w": [1.0, (2, 3.0)], "n": 7}), "encoding": FixedPoint(clip=2, bits=12),
        "metrics": ("loss",), "segments": {"metrics": FixedPoint(bits=20), "n": Integer(-3, 400)}, "max_weight": 300,
    },
]  # fmt: skip


@pytest.mark.parametrize("own", SHAPES)
def test_params_survive_the_trip_through_bytes_and_no_other_bytes_are_taken(own: dict[str, Any]) -> None:
    made = params(**{"clients": 20, **own})
    data = made.to_bytes()
    again = Params.from_bytes(data)
    assert again == made and again.hash == made.hash and again.mask_plan == made.mask_plan
    assert again.ring == made.ring
    for cut in range(len(data)):
        with pytest.raises(ParameterError):
            Params.from_bytes(data[:cut])
    for at in range(len(data)):
        changed = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
        try:
            read = Params.from_bytes(changed)
        except ParameterError:
            continue
        assert read.to_bytes() == changed


@given(data=st.data())
def test_any_params_that_are_accepted_are_read_back(data: st.DataObject) -> None:
    clients = data.draw(st.integers(2, 300))
    size = data.draw(st.none() | st.integers(2, min(clients, 40)))
    own = {
        "clients": clients, "committee": size, "length": data.draw(st.integers(1, 100_000)),
        "corrupt": data.draw(st.none() | st.integers(0, clients) | st.floats(0, 0.4)),
        "min_honest": data.draw(st.integers(1, 3)), "threat": data.draw(st.sampled_from(["malicious", "semi-honest"])),
        "min_clients": data.draw(st.none() | st.integers(2, clients)),
        "max_weight": data.draw(st.integers(1, 1000)), "rounds_per_setup": data.draw(st.integers(1, 64)),
        "encoding": data.draw(st.sampled_from([FixedPoint(bits=8), FixedPoint(bits=24), Integer(-5, 9)])),
    }  # fmt: skip
    try:
        made = params(**own)
    except ParameterError:
        return
    assert Params.from_bytes(made.to_bytes()) == made
    bad = committee_corrupt(clients, made.committee, int(made.corrupt))
    assert made.packing < made.threshold >= bad + made.packing
    if made.threat == "malicious":
        assert 2 * (made.threshold - made.packing + 1) > made.committee + bad
        if 2 * made.min_clients <= made.max_participants + made.corrupt:
            assert 3 * (made.threshold - made.packing + 1) > 2 * made.committee + bad
    assert made.opened_honest == made.min_clients - made.corrupt >= made.min_honest


def test_the_hash_covers_what_is_oneshots_own() -> None:
    base = params()
    changed = [
        {"committee": 19}, {"threshold": 19}, {"packing": 1}, {"ring": (8192, 50, 4)}, {"min_clients": 19}, {"corrupt": 1},
        {"threat": "semi-honest"}, {"rounds_per_setup": 2}, {"protocol": "pairwise"},
    ]  # fmt: skip
    assert len({params(**change).hash for change in changed} | {base.hash}) == len(changed) + 1
    assert params(ring=base.ring, packing=base.packing).hash == base.hash


def test_the_longest_frames_that_an_honest_session_sends_are_looked_at() -> None:
    """Names of 64 bytes, the largest numbers, many participants and few bytes of update."""
    ids = [f"{'x' * 61}{i:03}" for i in range(40)]
    made = Params(
        40,
        length=10,
        protocol="oneshot",
        corrupt=1,
        threshold=36,
        packing=16,
        frame_bytes=40_000,
        rounds_per_setup=4096,
    )
    network, longest = Network.fresh(made, ids), 0
    network.server.open_round((1 << 63) - 4096)
    while network.server.phase != "idle":
        frames = network.server.outbox()
        longest = max(longest, *(len(frame) for _, frame in frames))
        network.server._out = frames
        network.exchange(lambda client: client.submit(np.zeros(10)))
        network.server.close_phase()
    assert not network.refused
    assert made.frame_bytes < longest < made.max_frame_bytes
