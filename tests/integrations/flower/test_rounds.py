"""Whole trainings in one process: the plaintext strategy's model, whoever vanishes, and nothing in clear."""

from __future__ import annotations

import numpy as np
import pytest
from flower_cohort import gap, in_clear, loss_of, update_of, weight_of
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp import strategy as flower

import secagg

STRATEGIES = {
    "FedAvg": {},
    "FedAvgM": {"server_momentum": 0.5},
    "FedAdagrad": {},
    "FedAdam": {},
    "FedYogi": {},
    "FedProx": {"proximal_mu": 0.1},
}
BITS = 24  # for strategies that divide by small numbers, which would blow the encoding's step up


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_strategy_ends_with_the_plaintext_model(federation, name):
    kind, options = getattr(flower, name), STRATEGIES[name]
    ours = federation(5)
    secure = ours.start(kind(**options), rounds=4, error=1e-7, clip=0.5)
    plain = federation(5, protected=False).start_plain(kind(**options), rounds=4)
    step = ours.wrapped.params().encoding.step
    # FedAvg adds one step a round. The adaptive ones divide by the root of squared differences, at least tau = 1e-3.
    bound = 4 * (step + 1e-6) * (1 if name in ("FedAvg", "FedProx", "FedAvgM") else 1e3)
    assert gap(secure.arrays, plain.arrays) <= bound
    for number in range(1, 5):
        for key, value in plain.train_metrics_clientapp[number].items():
            assert secure.train_metrics_clientapp[number][key] == pytest.approx(value, abs=1e-6)
        for key, value in plain.evaluate_metrics_clientapp[number].items():
            assert secure.evaluate_metrics_clientapp[number][key] == pytest.approx(value, abs=bound + 1e-6)
    assert [r.contributors for r in ours.rounds] == [tuple(f"node-{i}" for i in range(5))] * 8


def test_fedavg_is_the_fixed_point_mean_bit_for_bit(federation):
    """The same rounding in numpy: nearest, so that it is no secret, then the exact integer mean."""
    encoding = secagg.FixedPoint(clip=0.5, bits=20, rounding="nearest")
    ours = federation(5)
    start = ours.arrays()
    got = ours.start(flower.FedAvg(fraction_evaluate=0.0), rounds=1, encoding=encoding).arrays
    asked = [(i, reply) for i, message, reply in ours.world.seen if "arrays" in message.content.array_records]
    assert len(asked) == 5
    weights = np.array([weight_of(i) for i in range(5)])
    for name, before in start.items():
        old = before.numpy()
        changes = [(old + update_of(i, 1, name, old.shape).astype(old.dtype)).astype(old.dtype) - old for i in range(5)]
        codes = [np.rint((d.astype(np.float64) + 0.5) * (encoding.levels / 1.0)) for d in changes]
        total = sum(w * c for w, c in zip(weights, codes, strict=True))
        mean = total / weights.sum() * (1.0 / encoding.levels) - 0.5
        expected = (old + mean.astype(old.dtype)).astype(old.dtype)
        assert np.abs(got[name].numpy() - expected).max() <= np.finfo(old.dtype).eps * 4


def test_a_steady_round_costs_two_exchanges(federation):
    ours = federation(5)
    ours.start(rounds=4)
    assert [r.exchanges for r in ours.rounds] == [4, 4, 2, 2, 2, 2, 2, 2]
    assert [r.kind for r in ours.rounds] == ["train", "evaluate"] * 4
    to_first = [message for i, message, _ in ours.world.seen if i == 0]
    assert len(to_first) == 1 + 4 + 4 + 6 * 2  # enrolment, two setups, steady rounds
    assert sum("arrays" in message.content.array_records for message in to_first) == 8  # the model travels once a round


def test_a_new_setup_runs_when_the_batch_is_used_up(federation):
    ours = federation(5)
    ours.start(flower.FedAvg(fraction_evaluate=0.0), rounds=5, rounds_per_setup=2)
    assert [r.exchanges for r in ours.rounds] == [4, 2, 4, 2, 4]


def test_samples_of_the_nodes(federation):
    """Another subset each round; the others only help to unmask."""
    ours, plain = federation(8), federation(8, protected=False)
    strategy = flower.FedAvg(fraction_train=0.5, fraction_evaluate=0.5)
    ours.start(strategy, rounds=4, corrupt=1, min_honest=2)
    assert all(len(r.contributors) == 4 for r in ours.rounds)
    assert len({r.contributors for r in ours.rounds}) > 1
    assert ours.wrapped.params().max_participants == 4
    trained = {i for i, message, _ in ours.world.seen if "arrays" in message.content.array_records}
    assert len(trained) > 4
    assert plain.n == 8


PHASES = ["before the keys", "before the shares", "before its update", "before unmasking"]


@pytest.mark.parametrize("how", ["lost", "silent", "failing"])
@pytest.mark.parametrize("phase", range(4), ids=PHASES)
def test_a_node_that_vanishes_at_any_phase_is_survived(federation, phase, how):
    ours = federation(5)
    count = {"n": 0}

    def gone(i, message):
        if i != 2 or message.content.config_records["secagg"].get("step") != "train":
            return False
        count["n"] += 1
        return count["n"] > phase and not ours.rounds  # back for the second round

    setattr(ours.world, how, gone)
    result = ours.start(flower.FedAvg(fraction_evaluate=0.0), rounds=2)
    everybody = tuple(f"node-{i}" for i in range(5))
    without = tuple(name for name in everybody if name != "node-2")
    first, second = ours.rounds
    # Whoever has sent its update is in the sum, whatever happens to it afterwards.
    assert first.contributors == (everybody if phase == 3 else without)
    assert second.contributors == (without if phase < 2 else everybody)
    assert result.train_metrics_clientapp[2]["train_loss"] > 0


def test_too_few_survivors_leave_the_model_as_it_was(federation, about):
    ours = federation(5)
    ours.world.silent = lambda i, message: i < 2 and about(message) == "model" and len(ours.rounds) == 1
    result = ours.start(flower.FedAvg(fraction_evaluate=0.0), rounds=2)
    assert len(ours.rounds) == 1
    assert list(result.train_metrics_clientapp) == [1]


def test_too_few_nodes_are_no_round(federation, caplog):
    ours = federation(5)
    ours.world.away = {1 << 63, (1 << 63) + 1}
    with caplog.at_level("ERROR", logger="flwr"):
        ours.start(flower.FedAvg(fraction_evaluate=0.0), rounds=1)
    assert len(ours.rounds) == 1  # three of three: the roster of a simulation is who is there
    ours.world.away |= {(1 << 63) + 2}
    grid, strategy = ours.wrapped, ours.strategy
    messages = strategy.configure_train(2, ours.arrays(), ConfigRecord(), grid)
    assert list(grid.send_and_receive(messages, timeout=0.05)) == []


def test_nothing_leaves_a_node_in_clear(federation, about):
    ours = federation(5)
    ours.start(rounds=2)
    replies = [(i, message, reply) for i, message, reply in ours.world.seen if about(message) == "model"]
    assert len(replies) == 20
    for i, message, reply in ours.world.seen:
        assert set(reply.content) == {"secagg", "secagg-frames"}
        assert not reply.content.metric_records
        assert set(reply.content["secagg"]) <= {"notes", "name", "key", "holds", "signature"}
        assert list(reply.content["secagg"].get("notes", [])) == []
        if about(message) == "enrol":
            continue
        data = b"".join(array.data for array in reply.content["secagg-frames"].values())
        assert not [found for number in (1, 2) for found in in_clear(data, i, number)]


def test_the_same_search_finds_what_plain_flower_sends(federation):
    """That the test above can fail."""
    plain = federation(5, protected=False)
    plain.start_plain(rounds=1)
    i, _, reply = plain.world.seen[0]
    assert reply.content["metrics"]["train_loss"] == loss_of(i, 1)
    arrays = reply.content["arrays"]
    before = plain.arrays()["hidden.bias"].numpy()
    assert np.allclose(arrays["hidden.bias"].numpy() - before, update_of(i, 1, "hidden.bias", before.shape))
    sent = (
        b"".join(array.data for array in arrays.values()) + np.float64(reply.content["metrics"]["train_loss"]).tobytes()
    )
    assert set(in_clear(sent + b"num-examples", i, 1)) >= {"a loss", "a weight"}


def test_counters_need_an_encoding_of_their_own(federation):
    arrays = federation.arrays()
    arrays["batches"] = Array(np.asarray([40, 50], np.int64))
    with pytest.raises(secagg.errors.ParameterError, match="batches"):
        federation(4).start(arrays=arrays, rounds=1)

    ours = federation(4)
    encodings = {"batches": secagg.FixedPoint(clip=100.0, bits=32)}
    got = (
        ours.start(flower.FedAvg(fraction_evaluate=0.0), arrays=arrays, rounds=1, encodings=encodings)
        .arrays["batches"]
        .numpy()
    )
    assert got.dtype == np.float64  # as Flower's own mean of integers
    assert np.abs(got - [40, 50]).max() < 1e-5  # a change under 1 rounds to none in an integer array


def test_half_precision_keeps_its_dtype(federation):
    arrays = ArrayRecord({"half": Array(np.linspace(-1, 1, 50).astype(np.float16))})
    ours = federation(4)
    got = ours.start(flower.FedAvg(fraction_evaluate=0.0), arrays=arrays, rounds=1).arrays["half"].numpy()
    plain = (
        federation(4, protected=False)
        .start_plain(flower.FedAvg(fraction_evaluate=0.0), arrays=arrays, rounds=1)
        .arrays["half"]
        .numpy()
    )
    assert got.dtype == np.float16
    assert np.abs(got.astype(float) - plain.astype(float)).max() <= 2**-9
