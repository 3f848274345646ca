"""What a SecureGrid refuses before anything is sent, and what it shows of Flower's Grid."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from flower_cohort import Federation, plain_app
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

import secagg
from secagg.integrations import flower as plugin
from secagg.integrations.flower.strategies import REFUSED, SUPPORTED, check_strategy


def made(name):
    """A strategy of this name, with the least that its class wants."""
    kind, base = getattr(flower, name), flower.FedAvg()
    if name.startswith("DifferentialPrivacy"):
        fixed = {"noise_multiplier": 1.0, "clipping_norm": 1.0, "num_sampled_clients": 5}
        adaptive = {"noise_multiplier": 1.0, "num_sampled_clients": 100, "clipped_count_stddev": 5.0}
        return kind(base, **(fixed if "Fixed" in name else adaptive))
    if name in ("Krum", "MultiKrum", "Bulyan"):
        return kind(num_malicious_nodes=1)
    if name == "QFedAvg":
        return kind(client_learning_rate=0.1)
    return kind()


def test_every_strategy_of_flower_is_on_a_list():
    known = set(SUPPORTED) | set(REFUSED) | {"Result", "Strategy"}
    assert set(flower.__all__) <= known


@pytest.mark.parametrize("name", SUPPORTED)
def test_strategies_of_the_mean_are_taken(name):
    check_strategy(made(name))


@pytest.mark.parametrize("name", REFUSED)
def test_other_strategies_are_refused_with_a_reason(name):
    with pytest.raises(secagg.errors.ParameterError, match=name) as caught:
        check_strategy(made(name))
    assert REFUSED[name] in str(caught.value)


class Picky(flower.FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        return super().configure_train(server_round, arrays, config, grid)


class Saving(flower.FedAvg):
    def aggregate_train(self, server_round, replies):
        return super().aggregate_train(server_round, replies)


def test_subclasses():
    check_strategy(Picky())
    with pytest.raises(secagg.errors.ParameterError, match=r"Saving.aggregate_train .* accept=\(Saving,\)"):
        check_strategy(Saving())
    check_strategy(Saving(), accept=(Saving,))
    with pytest.raises(secagg.errors.ParameterError, match="train_metrics_aggr_fn"):
        check_strategy(flower.FedAvg(train_metrics_aggr_fn=lambda records, key: records[0]))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"evaluate_metrics": ()}, "evaluate_metrics="),
        ({"train_metrics": "loss"}, "collection of names"),
        ({"trust": "blind"}, "trust must be one of"),
        ({"segments": {}}, "segments follows from the model"),
        ({"trust": "roster"}, "needs identity= and roster="),
    ],
)
def test_options_that_do_not_go_together(change, reason):
    with pytest.raises(secagg.errors.ParameterError, match=reason):
        Federation(5).secure(flower.FedAvg(), **change)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(secagg.errors.InputError, match="No such file"):
        Federation(5).secure(flower.FedAvg(), trust="roster", identity=tmp_path / "a", roster=tmp_path / "b")


def test_run_config_names_the_keys(tmp_path):
    key = secagg.Identity.generate()
    key.save(tmp_path / "server.key")
    secagg.Roster({"a": secagg.Identity.generate().verify_key}, key.verify_key).save(tmp_path / "roster")
    config = {"secagg-identity": str(tmp_path / "server.key"), "secagg-roster": str(tmp_path / "roster")}
    context = Context(1, 1, {}, RecordDict(), config)
    grid = plugin.SecureGrid(Federation(3).grid, flower.FedAvg(fraction_evaluate=0.0), context, max_weight=1)
    assert grid.roster == secagg.Roster.load(tmp_path / "roster")


def test_what_is_no_round():
    ours = Federation(5)
    grid, strategy = ours.secure(flower.FedAvg()), flower.FedAvg()
    with pytest.raises(secagg.errors.StateError, match="no train round yet"):
        grid.params()
    assert grid.send_and_receive([]) == []
    messages = list(strategy.configure_train(1, ours.arrays(), ConfigRecord(), grid))
    other = Message(RecordDict({"arrays": ArrayRecord({"x": Array("float32", (1,), "a", b"")})}), 1, "train")
    with pytest.raises(secagg.errors.InputError, match="different models"):
        grid.send_and_receive([*messages, other])
    with pytest.raises(secagg.errors.InputError, match="exactly one ArrayRecord"):
        grid.send_and_receive([Message(RecordDict({}), 1, "train")])
    for types in (("train", "evaluate"), ("query", "query")):
        mixed = [Message(RecordDict({"arrays": ours.arrays()}), 1, kind) for kind in types]
        with pytest.raises(secagg.errors.InputError, match="train or evaluate"):
            grid.send_and_receive(mixed)


def test_nothing_is_pushed_beside_rounds():
    grid = Federation(5).secure(flower.FedAvg())
    for call in (grid.push_messages, grid.pull_messages):
        with pytest.raises(secagg.errors.StateError, match="only runs rounds"):
            call([])


def test_the_rest_is_flowers_grid():
    ours = Federation(3)
    grid = ours.secure(flower.FedAvg())
    grid.set_run("the run")
    assert grid.run == ours.grid.run == "the run"
    assert list(grid.get_node_ids()) == list(ours.grid.get_node_ids())
    assert [node.node_id for node in grid.get_nodes()] == list(ours.grid.get_node_ids())
    assert grid.create_message(RecordDict({}), "train", 5, "1").metadata.dst_node_id == 5


def test_actions_with_a_name_have_sessions_of_their_own():
    """A strategy may send train.fine to one function and train to another."""

    class Fine(flower.FedAvg):
        def _construct_messages(self, record, node_ids, message_type):
            return super()._construct_messages(record, node_ids, "train.fine")

    def app(i, mods):
        made = plain_app(i, mods)
        made.train("fine")(_trainer(i))
        return made

    ours = Federation(4, app=app)
    ours.start(Fine(fraction_evaluate=0.0), rounds=2)
    assert [(r.kind, r.exchanges) for r in ours.rounds] == [("train.fine", 4), ("train.fine", 2)]


def _trainer(i):
    def train(message, context):
        metrics = MetricRecord({"num-examples": 1 + i, "train_loss": 1.0})
        arrays = ArrayRecord(dict(message.content["arrays"]))
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return train


def test_no_secret_in_a_repr_or_pickle(tmp_path):
    key = secagg.Identity.generate()
    grid = Federation(3).secure(
        flower.FedAvg(),
        trust="roster",
        identity=key,
        roster=secagg.Roster({"a": secagg.Identity.generate().verify_key}, key.verify_key),
    )
    assert key.to_bytes().hex() not in repr(vars(grid))
    with pytest.raises(TypeError):
        pickle.dumps(grid._identity)


def test_names_come_when_they_are_asked_for():
    code = (
        "import sys, secagg.integrations.flower as f; assert 'flwr' not in sys.modules; f.secagg_mod; "
        "assert 'secagg.integrations.flower.grid' not in sys.modules; f.SecureGrid; print(sorted(f.__all__))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "SecureGrid" in done.stdout
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = plugin.nothing
