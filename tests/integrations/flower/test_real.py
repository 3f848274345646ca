"""The example under Flower's own runtimes: simulated by Ray, and deployed on a SuperLink, every message in a new process."""

from __future__ import annotations

import re
import sqlite3
import time

import pytest
from flower_deployment import Deployment, gap, plain_model

STEP = 2.0 / 65535  # of the plan's 16 bits within a clip of 1; one step at most is lost in a round


def exchanges(log: str, kind: str = "train") -> list[tuple[int, int]]:
    """(exchanges, contributors) of each round, as the log has them."""
    found = re.findall(rf"secagg: {kind} round \d+: (\d+) exchanges, (\d+) contributors", log)
    return [(int(a), int(b)) for a, b in found]


def test_a_simulation(tmp_path):
    with Deployment(tmp_path, 5, simulated=True) as flower:
        flower.run(300, **{"num-server-rounds": 3})
        log = flower.finish()
    assert exchanges(log) == [(4, 5), (2, 5), (2, 5)], log
    assert exchanges(log, "evaluate") == [(4, 5), (2, 5), (2, 5)]
    names = {f"node-{i}": i for i in range(5)}
    assert gap(tmp_path / "model.npz", plain_model(5, flower.contributors(3), names)) <= 3 * STEP


def test_a_simulation_of_encrypted_sums(tmp_path):
    with Deployment(tmp_path, 4, simulated=True) as flower:
        flower.run(300, **{"num-server-rounds": 2, "protocol": "ckks", "fraction-evaluate": 0.0})
        log = flower.finish()
    assert exchanges(log) == [(3, 4), (2, 4)], log
    names = {f"node-{i}": i for i in range(4)}
    assert gap(tmp_path / "model.npz", plain_model(4, flower.contributors(2), names)) <= 2 * STEP


def test_a_deployment_of_one_message_each(tmp_path):
    """Keys once; then one exchange with everybody, and one with the committee, which is everybody too."""
    with Deployment(tmp_path, 3) as flower:
        flower.run(400, **{"num-server-rounds": 3, "protocol": "oneshot", "fraction-evaluate": 0.0})
        log = flower.finish()
    assert exchanges(log) == [(3, 3), (2, 3), (2, 3)], log
    names = {f"h{i}": i for i in range(3)}
    assert gap(tmp_path / "model.npz", plain_model(3, flower.contributors(3), names)) <= 3 * STEP
    for i in range(3):
        assert "ERROR" not in flower.log(f"node{i}")
        assert recorded(flower.ledger(i), "reveal") == recorded(flower.ledger(i), "upload") == 3


@pytest.mark.slow
def test_a_deployment_of_encrypted_sums_whose_holder_is_killed(tmp_path):
    """h1 trains and holds the key. Once it is gone rounds are skipped, and the run ends in order."""
    with Deployment(tmp_path, 4, holder=1) as flower:
        run = flower.run(900, **{"num-server-rounds": 4, "protocol": "ckks", "fraction-evaluate": 0.0})
        while not (tmp_path / "receipts" / "train-1.json").exists() and run.poll() is None:
            time.sleep(0.05)
        assert recorded(tmp_path / "holder.ledger", "decrypt") >= 1
        flower.kill_node(1)
        log = flower.finish()
    found = exchanges(log)
    assert 1 <= len(found) < 4, log
    assert found[0] == (3, 4)
    assert len(re.findall("train round .*failed, and nothing was released|train round skipped", log)) == 4 - len(found)
    told = flower.contributors(len(found))
    assert gap(tmp_path / "model.npz", plain_model(4, told, {f"h{i}": i for i in range(4)})) <= 4 * STEP


def test_a_deployment_of_three_nodes(tmp_path):
    with Deployment(tmp_path, 3) as flower:
        flower.run(400, **{"num-server-rounds": 2, "fraction-evaluate": 0.0})
        log = flower.finish()
    assert exchanges(log) == [(4, 3), (2, 3)], log
    names = {f"h{i}": i for i in range(3)}
    assert gap(tmp_path / "model.npz", plain_model(3, flower.contributors(2), names)) <= 2 * STEP
    assert all(flower.ledger(i).exists() for i in range(3))
    # What a node logs is what its operator sees: messages that were a setup, an update, an answer, and no error.
    for i in range(3):
        assert "ERROR" not in flower.log(f"node{i}")


def recorded(path, phase: str) -> int:
    """How many frames of a phase a node has recorded as about to leave."""
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as ledger:
        return int(ledger.execute("SELECT count(*) FROM frames WHERE phase = ?", (phase,)).fetchone()[0])


@pytest.mark.slow
def test_a_node_that_is_killed_in_the_middle_of_a_round(tmp_path):
    with Deployment(tmp_path, 4) as flower:
        run = flower.run(900, **{"num-server-rounds": 3, "fraction-evaluate": 0.0})
        while recorded(flower.ledger(3), "masked") < 2 and run.poll() is None:
            time.sleep(0.05)
        flower.kill_node(3)
        log = flower.finish()
    told = flower.contributors(3)
    everybody = tuple(f"h{i}" for i in range(4))
    assert told[0] == everybody
    assert told[1] in (everybody, everybody[:3])  # whether its update had left
    assert told[2] == everybody[:3]
    assert [found for found, _ in exchanges(log)] == [4, 2, 2], log
    assert gap(tmp_path / "model.npz", plain_model(4, told, {f"h{i}": i for i in range(4)})) <= 3 * STEP
