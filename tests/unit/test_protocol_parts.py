"""The table machine, the graphs, dealing with its hash tree, and typed errors."""

import os
import pickle
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import AuthenticationError, PeerError, StateError, ThresholdError
from secagg.protocols.machine import Machine, diagram
from secagg.protocols.pairwise import dealing, graph, transitions
from secagg.protocols.rounds import listed
from support.committee import Committee


class S(Enum):
    A = "a"
    B = "b"


class E(Enum):
    GO = "go"
    BACK = "back"


TABLE = {(S.A, E.GO): S.B}


@given(st.sets(st.integers(0, 50)), st.integers(-2, 52))
def test_ranks_are_looked_up_in_increasing_sequences(ranks, rank):
    assert listed(sorted(ranks), rank) == (rank in ranks)


def test_machine_tells_local_from_remote_misuse():
    machine = Machine(TABLE, S.A)
    assert machine.allows(E.GO)
    with pytest.raises(StateError):
        machine.local(E.BACK)
    with pytest.raises(PeerError):
        machine.remote(E.BACK, "peer")
    with pytest.raises(StateError):
        machine.fire(E.BACK)
    assert machine.state is S.A
    machine.fire(E.GO)
    assert machine.state is S.B
    assert "a --> b: go" in diagram(TABLE)


@pytest.mark.parametrize("table", [transitions.SERVER, transitions.CLIENT_ROUND, transitions.CLIENT_SETUP])
def test_every_state_of_a_table_can_be_reached(table):
    states = type(next(iter(table))[0])
    reached = {next(iter(states))} | set(table.values())
    assert reached == set(states)


@given(st.integers(2, 60), st.integers(1, 30), st.binary(min_size=16, max_size=16))
def test_graphs_are_symmetric_and_regular(size, half, seed):
    degree = 2 * half
    edges = graph.Graph(seed, range(size), degree)
    for vertex, row in edges.items():
        assert [edges.place(vertex, other) for other in row] == list(range(len(row)))
    assert len(edges) == size
    for i, row in edges.items():
        assert row == sorted(set(row))
        assert i not in row
        assert len(row) == min(degree, size - 1)
        assert all(i in edges[j] for j in row)


def test_mask_graph_changes_with_round_and_participants():
    ranks = list(range(0, 80, 2))
    graphs = [graph.mask_graph(b"s" * 32, r, p, ranks, 6) for r in (1, 2) for p in (b"x", b"y")]
    assert all(set(g) == set(ranks) for g in graphs)
    assert len({str(sorted(g.items())) for g in graphs}) == 4


@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_openings_prove_exactly_the_dealt_share(rounds):
    seeds = [os.urandom(16) for _ in range(rounds)]
    keys = [os.urandom(32) for _ in range(rounds)]
    plain = dealing.deal(seeds, keys, 3, 1, [0, 2, 3], os.urandom)
    holding = dealing.Holding.of(plain[2], rounds)
    root = holding.root()
    for index in range(2 * rounds):
        share, opening = holding.shares[index], holding.opening(index)
        assert len(opening) == dealing.opening_bytes(rounds)
        assert dealing.check_opening(root, index, share, opening)
        assert not dealing.check_opening(root, index, bytes(len(share)), opening)
        assert not dealing.check_opening(root, index ^ 1, share, opening)
        assert not dealing.check_opening(dealing.Holding.of(plain[3], rounds).root(), index, share, opening)
    holding.erase(0)
    assert holding.shares[:2] == [None, None]
    assert holding.root() == root
    # the dealer holds a share of its own seeds and none of its own keys
    own = dealing.Holding.of(plain[1], rounds)
    assert all(share == bytes(40) for share in own.shares[1::2])


def test_sealed_holdings_open_only_in_their_direction():
    plain = dealing.deal([os.urandom(16)], [os.urandom(32)], 2, 0, [1, 2], os.urandom)[1]
    sealed = dealing.seal_holding(b"k" * 32, b"h" * 32, "a", "b", plain, os.urandom)
    assert len(sealed) == dealing.sealed_bytes(1)
    assert dealing.open_holding(b"k" * 32, b"h" * 32, "a", "b", sealed, 1).salt == plain[:16]
    for args in (
        ("b", "a", sealed, 1),
        ("a", "b", sealed, 2),
        ("a", "b", sealed[:-1], 1),
        ("a", "c", sealed, 1),
    ):
        with pytest.raises(AuthenticationError):
            dealing.open_holding(b"k" * 32, b"h" * 32, *args)


def test_errors_pickle_and_say_where():
    error = pickle.loads(pickle.dumps(PeerError("bad", peer="a", phase="keys")))
    assert str(error) == "bad from 'a' in phase keys"
    error = pickle.loads(pickle.dumps(ThresholdError("answers", 3, 2)))
    assert (error.needed, error.have, str(error)) == (3, 2, "answers: needed 3, have 2")


def test_what_an_upload_is_made_with_shows_no_secret():
    f = Committee(3)
    f.until("masked")
    client = f.clients["c0"]
    client.receive(f.requests()["c0"][0])
    assert repr(client._core._begin()) == "<Begun round 1>"
