"""What comes back from nodes that garble, lie or come late, and what the server makes of it."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from flower_cohort import FIRST_NODE, Federation, node_id
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

import secagg
from secagg.errors import AuthenticationError, DecodeError, InputError
from secagg.integrations.flower import arrays, carriage, enrolment, parties
from secagg.integrations.flower.directory import Directory

TRAIN = {"fraction_evaluate": 0.0}
FOUR = tuple(f"node-{i}" for i in (0, 2, 3, 4))


def garble(ours, change, who=1):
    """Let one node's replies that carry frames be changed on their way."""
    handle = ours.grid.handle

    def changed(node, message):
        reply = handle(node, message)
        if node == node_id(who) and reply is not None and not reply.has_error() and reply.content["secagg-frames"]:
            reply.content = change(reply.content)
        return reply

    ours.grid.handle = changed


def flipped(content):
    frames = [array.data for array in content["secagg-frames"].values()]
    frames = [frame[:-1] + bytes([frame[-1] ^ 1]) for frame in frames]
    return RecordDict(carriage.records({}, frames))


GARBLED = {
    "a bit": flipped,
    "other arrays": lambda c: RecordDict({"secagg-frames": ArrayRecord({"0": Array(np.zeros(3))})}),
    "a gap": lambda c: RecordDict({"secagg-frames": ArrayRecord({"7": Array("uint8", (1,), "secagg frame", b"x")})}),
    "nothing": lambda c: RecordDict({}),
    "notes that are none": lambda c: RecordDict({"secagg": ConfigRecord({"notes": "no list"})}),
}


@pytest.mark.parametrize("what", GARBLED)
def test_a_garbling_node_is_a_dropout(what):
    ours = Federation(5)
    garble(ours, GARBLED[what])
    ours.start(FedAvg(**TRAIN), rounds=2)
    assert [r.contributors for r in ours.rounds] == [FOUR, FOUR]


def test_a_node_hears_why_its_frames_are_of_no_use(caplog):
    """The engine tells a client that it was left out; the mod notes it and goes on."""
    ours = Federation(5)
    lost = {"yes": True}
    ours.world.silent = lambda i, m: i == 1 and "arrays" in m.content.array_records and lost.pop("yes", False)
    with caplog.at_level(logging.WARNING, logger="flwr"):
        ours.start(FedAvg(**TRAIN), rounds=2)
    assert [r.contributors for r in ours.rounds] == [FOUR, tuple(f"node-{i}" for i in range(5))]


def test_late_nodes_join_with_the_next_setup():
    ours = Federation(6)
    made = [secagg.Identity.generate() for _ in range(6)]
    server = secagg.Identity.generate()
    roster = secagg.Roster({f"node-{i}": key.verify_key for i, key in enumerate(made)}, server.verify_key)
    # Simulated nodes whose keys are on a roster beforehand, so that one that is away at first is known.
    for i, key in enumerate(made):
        kept = ConfigRecord({"identity": key.to_bytes()} | enrolment.roster_settings(roster))
        ours.grid.contexts[node_id(i)].state["secagg.node"] = kept
    ours.world.away = {node_id(5)}

    def back(told):
        ours.rounds.append(told)
        ours.world.away = set()

    grid = ours.secure(FedAvg(**TRAIN), rounds_per_setup=2, on_round=back)
    grid._identity = grid._directory._identity = server
    grid._directory.roster = roster
    FedAvg(**TRAIN).start(grid=grid, initial_arrays=ours.arrays(), num_rounds=3, timeout=0.05)
    assert [len(r.contributors) for r in ours.rounds] == [5, 5, 6]


def test_waiting_for_nodes():
    counts = iter([0, 1, 3, 3, 3])
    grid = SimpleNamespace(get_node_ids=lambda: range(next(counts)))
    directory = Directory(grid, carriage.Carrier(grid), "simulation", secagg.Identity.generate(), None, None)
    directory.wait(30.0)  # until no more are coming
    assert next(counts) == 3
    directory.wait(30.0)  # once only
    assert next(counts, None) is None
    counts = iter([1, 1, 2])
    Directory(grid, carriage.Carrier(grid), "first-use", secagg.Identity.generate(), None, 2).wait(30.0)
    assert next(counts, None) is None


@pytest.mark.parametrize(
    "change, error",
    [
        ({"name": None}, DecodeError),
        ({"name": "two words"}, DecodeError),
        ({"key": "text"}, DecodeError),
        ({"signature": b"\0" * 64}, AuthenticationError),
        ({"signature": b""}, AuthenticationError),
        ({"name": "another"}, AuthenticationError),
        ({"key": secagg.Identity.generate().verify_key}, AuthenticationError),
    ],
)
def test_claims_that_do_not_hold(change, error):
    key, challenge, server = secagg.Identity.generate(), bytes(32), secagg.Identity.generate().verify_key
    good = enrolment.answer(challenge, FIRST_NODE, server, "north", key, holds=False)
    assert enrolment.read_answer(good, challenge, FIRST_NODE, server).name == "north"
    with pytest.raises(error):
        enrolment.read_answer(good | change, challenge, FIRST_NODE, server)
    for other in (
        (bytes(31) + b"\1", FIRST_NODE, server),
        (challenge, 1, server),
        (challenge, FIRST_NODE, key.verify_key),
    ):
        with pytest.raises(AuthenticationError):
            enrolment.read_answer(good, *other)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ids": ["a"], "keys": [], "server": b""},
        {"ids": [1], "keys": [b"x"], "server": b"y"},
        {"ids": "a", "keys": "b", "server": b""},
    ],
)
def test_rosters_that_are_none(settings):
    with pytest.raises(AuthenticationError):
        enrolment.roster_from(settings)


def test_arrays_that_cannot_be_summed():
    with pytest.raises(InputError, match="bool"):
        arrays.model_layout(ArrayRecord({"mask": Array(np.zeros(3, bool))}))
    with pytest.raises(InputError, match="whole number"):
        arrays.whole_weight(True, "num-examples")


def test_a_model_hash_covers_everything():
    base = {"a": Array(np.zeros(4, np.float32)), "b": Array(np.zeros(2))}
    variants = [
        base,
        {"b": base["b"], "a": base["a"]},
        {"a": Array(np.ones(4, np.float32)), "b": base["b"]},
        {"a": Array(np.zeros((2, 2), np.float32)), "b": base["b"]},
        {"c": base["a"], "b": base["b"]},
    ]
    assert len({arrays.model_hash(ArrayRecord(each)) for each in variants}) == len(variants)


def test_few_clients_are_kept_alive(monkeypatch):
    monkeypatch.setattr(parties, "MOST_ALIVE", 2)
    parties._alive.clear()
    ours = Federation(5)
    ours.start(FedAvg(**TRAIN), rounds=2)
    assert len(parties._alive) == 2
    assert [len(r.contributors) for r in ours.rounds] == [5, 5]  # the others were restored


def test_a_client_kept_alive_does_not_outlive_its_snapshot():
    """Where the Context was rolled back, the snapshot in it stands and not what this process remembers."""
    ours = Federation(5)
    saved = {}

    def roll_back(i, message):
        place = "secagg.train"
        state = ours.grid.contexts[node_id(i)].state
        if i == 0 and len(ours.rounds) == 1 and "old" not in saved:
            saved["old"] = ConfigRecord(dict(state[place]))
        elif i == 0 and len(ours.rounds) == 2 and "done" not in saved:
            saved["done"] = True
            state[place] = saved["old"]
        return message

    ours.world.meddle = roll_back
    before = parties._alive.get((node_id(0), "secagg.train"))
    ours.start(FedAvg(**TRAIN), rounds=3)
    assert [len(r.contributors) for r in ours.rounds] == [5, 5, 5]
    assert parties._alive[(node_id(0), "secagg.train")] is not before
