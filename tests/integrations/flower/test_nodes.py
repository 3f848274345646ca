"""What a node insists on: its files, its policy, its Params; and what leaves it when something is wrong."""

from __future__ import annotations

import pytest
from flower_cohort import Federation, node_id, notes, plain_app, weight_of
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

import secagg
from secagg.integrations.flower import secagg_mod
from secagg.integrations.flower.node import load_node

TRAIN = {"fraction_evaluate": 0.0}


def keys(folder, n: int):
    """Identities, ledgers' places and a roster as files, and the node configs that name them."""
    names = [f"hospital-{i}" for i in range(n)]
    made = {name: secagg.Identity.generate() for name in names}
    server = secagg.Identity.generate()
    for name, key in made.items():
        key.save(folder / f"{name}.key")
    server.save(folder / "server.key")
    secagg.Roster({name: key.verify_key for name, key in made.items()}, server.verify_key).save(folder / "roster")
    configs = [
        {
            "partition-id": i,
            "secagg-identity": str(folder / f"{name}.key"),
            "secagg-roster": str(folder / "roster"),
            "secagg-ledger": str(folder / f"{name}.ledger"),
        }
        for i, name in enumerate(names)
    ]
    return configs, {"trust": "roster", "identity": folder / "server.key", "roster": folder / "roster"}


def deployed(folder, n: int = 5, **changes):
    configs, options = keys(folder, n)
    return Federation(n, configs=configs, run_config={}, **changes), options


def test_a_roster_of_files(tmp_path):
    ours, options = deployed(tmp_path)
    ours.start(FedAvg(), rounds=3, **options)
    assert len(ours.rounds) == 6
    assert ours.rounds[0].contributors == tuple(f"hospital-{i}" for i in range(5))
    for i in range(5):
        assert (tmp_path / f"hospital-{i}.ledger").exists()
    roster = secagg.Roster.load(tmp_path / "roster")
    for told in ours.rounds:
        told.receipt.verify(roster, ours.wrapped.params(told.kind))
    assert notes(ours.world) == ""


def test_a_node_that_loses_its_state_is_back_at_the_next_setup(tmp_path):
    ours, options = deployed(tmp_path)

    def forget(i, message):
        if i == 1 and len(ours.rounds) == 1:
            ours.grid.contexts[node_id(1)].state = RecordDict()
        return message

    ours.world.meddle = forget
    ours.start(FedAvg(**TRAIN), rounds=3, rounds_per_setup=2, **options)
    assert [len(r.contributors) for r in ours.rounds] == [5, 4, 5]


def test_a_client_that_moves_to_another_node_is_found_there(tmp_path):
    ours, options = deployed(tmp_path)
    grid = ours.grid

    def move(told):
        ours.rounds.append(told)
        if len(ours.rounds) == 1:
            old = grid.contexts.pop(node_id(3))
            grid.contexts[node_id(9)] = Context(1, node_id(9), old.node_config, old.state, old.run_config)
            grid.apps[node_id(9)] = grid.apps.pop(node_id(3))

    ours.start(FedAvg(**TRAIN), rounds=3, on_round=move, **options)
    assert [len(r.contributors) for r in ours.rounds] == [5, 5, 5]


ELSEWHERE = "this node's keys and files are not in order; its own log says what is wrong"


def test_a_stranger_is_left_out(tmp_path, caplog):
    ours, options = deployed(tmp_path)
    stranger = secagg.Identity.generate()
    stranger.save(tmp_path / "stranger.key")
    ours.grid.contexts[node_id(2)].node_config["secagg-identity"] = str(tmp_path / "stranger.key")
    ours.start(FedAvg(**TRAIN), rounds=2, **options)
    assert all("hospital-2" not in r.contributors and len(r.contributors) == 4 for r in ours.rounds)
    assert ELSEWHERE in notes(ours.world)
    assert "is not on the roster" in caplog.text


def test_somebody_elses_answer_enrols_nobody(tmp_path):
    """A node hands on another node's signed answer: challenge, node and server are in the signature."""
    ours, options = deployed(tmp_path)
    grid, handle = ours.grid, ours.grid.handle
    caught = []

    def replay(node, message):
        reply = handle(node, message)
        if message.content.config_records["secagg"].get("step") == "enrol":
            caught.append((reply.content, reply.content["secagg"]["name"]))
            if len(caught) == 2:
                reply.content = caught[0][0]
        return reply

    grid.handle = replay
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert ours.rounds[0].contributors == tuple(sorted(name for _, name in caught if name != caught[1][1]))


@pytest.mark.parametrize("what", ["plain", "no params", "bad params", "frames", "roster", "to", "challenge"])
def test_messages_that_a_node_refuses(what, tmp_path):
    ours = Federation(5)
    ours.start(FedAvg(**TRAIN), rounds=1)
    message = next(m for i, m, _ in ours.world.seen if i == 0 and "arrays" in m.content.array_records)
    content = RecordDict(dict(message.content))
    settings = dict(content["secagg"])
    match what:
        case "plain":
            del content["secagg"]
            del content["secagg-frames"]
        case "no params":
            settings.pop("params")
        case "bad params":
            settings["params"] = settings["params"][:-1]
        case "frames":
            content["secagg-frames"] = ArrayRecord({"1": Array("uint8", (3,), "secagg frame", b"abc")})
        case "roster":
            settings["trust"] = "roster"
        case "to":
            settings["to"] = "node-1"
        case "challenge":
            settings |= {"step": "enrol", "challenge": b"short"}
    if what != "plain":
        content["secagg"] = ConfigRecord(settings)
    message.content = content
    context = ours.grid.contexts[node_id(0)]
    reply = ours.grid.apps[node_id(0)](message, context)
    assert reply.has_error()
    assert reply.error.code == 6
    assert "Error" in reply.error.reason


def test_a_named_message_type_is_answered_in_clear():
    app = ClientApp(mods=[secagg_mod(plain=("query",))])

    @app.query()
    def query(message, context):
        return Message(RecordDict({"answer": ConfigRecord({"cpus": 2})}), reply_to=message)

    reply = app(Message(RecordDict({}), 1, "query"), Context(1, 1, {}, RecordDict(), {}))
    assert reply.content["answer"]["cpus"] == 2


def test_another_model_on_the_way_is_no_survivor():
    ours = Federation(5)

    def poison(i, message):
        if i == 4 and "arrays" in message.content.array_records:
            arrays = {k: Array(v.numpy() + 1) for k, v in message.content["arrays"].items() if v.shape}
            arrays = {k: arrays.get(k, v) for k, v in message.content["arrays"].items()}
            message.content["arrays"] = ArrayRecord(arrays)
        return message

    ours.world.meddle = poison
    ours.start(FedAvg(**TRAIN), rounds=1)
    assert ours.rounds[0].contributors == tuple(f"node-{i}" for i in range(4))


# -- what an app may return ---------------------------------------------------------------------------------------


def app_that(change):
    """Nodes of which the first returns something else."""

    def make(i, mods):
        if i:
            return plain_app(i, mods)
        app = ClientApp(mods=mods)

        @app.train()
        def train(message, context):
            content = RecordDict(
                {
                    "arrays": ArrayRecord(dict(message.content["arrays"])),
                    "metrics": MetricRecord({"num-examples": weight_of(0), "train_loss": 0.5}),
                }
            )
            change(content)
            return Message(content, reply_to=message)

        return app

    return make


def _raise(content):
    raise ValueError("patient 4711 has a fever")


BAD = {
    "raises": (_raise, "the app's function raised ValueError"),
    "no weight": (lambda c: c["metrics"].pop("num-examples"), "lacks the metric 'num-examples'"),
    "half a weight": (lambda c: c["metrics"].update({"num-examples": 3.5}), "whole number"),
    "a negative weight": (lambda c: c["metrics"].update({"num-examples": -4711}), "weight"),
    "another metric": (lambda c: c["metrics"].update({"age": 4711.0}), "SecureGrid was told of train_loss"),
    "a list": (lambda c: c["metrics"].update({"train_loss": [4711.0]}), "is a list"),
    "no metric": (lambda c: c["metrics"].pop("train_loss"), "the app's metrics are none"),
    "another array": (lambda c: c["arrays"].update({"extra": c["arrays"]["out"]}), "'extra'"),
    "a missing array": (lambda c: c["arrays"].pop("out"), "'out'"),
    "another shape": (lambda c: c["arrays"].update({"out": c["arrays"]["hidden.bias"]}), "expected shape (31,)"),
    "two records": (lambda c: c.update({"more": ArrayRecord()}), "exactly one ArrayRecord"),
    "a config": (lambda c: c.update({"more": ConfigRecord({"age": 4711})}), "ConfigRecord"),
}


def test_an_app_that_answers_with_an_error():
    def make(i, mods):
        app = plain_app(i, mods)
        if i == 0:
            app = ClientApp(mods=mods)
            app.train()(lambda message, context: Message(Error(0, "patient 4711"), reply_to=message))
        return app

    ours = Federation(5, app=make)
    ours.start(FedAvg(**TRAIN), rounds=1)
    assert "node-0" not in ours.rounds[0].contributors
    assert "the app's function answered with an error" in notes(ours.world)
    assert "4711" not in notes(ours.world)


@pytest.mark.parametrize("case", BAD)
def test_an_app_that_errs_drops_out_and_says_no_value(case, caplog):
    change, reason = BAD[case]
    ours = Federation(5, app=app_that(change))
    ours.start(FedAvg(**TRAIN), rounds=2)
    assert [r.contributors for r in ours.rounds] == [tuple(f"node-{i}" for i in range(1, 5))] * 2
    said = notes(ours.world)
    assert reason in (said if case == "raises" else caplog.text)
    expected = reason if case == "raises" else "InputError; the node's own log says what was wrong"
    assert set(said.splitlines()) == {f"no update: {expected}"}


@pytest.mark.parametrize("most", [3, 20, 100])
def test_a_server_cannot_ask_whose_weight_is_over_a_number(most, caplog):
    """Whatever max_weight it chooses, everybody takes part, and nobody says anything."""
    ours = Federation(5)
    ours.start(FedAvg(**TRAIN), rounds=1, max_weight=most)
    assert len(ours.rounds[0].contributors) == 5
    assert ours.rounds[0].weight == sum(min(weight_of(i), most) for i in range(5))
    assert notes(ours.world) == ""
    assert ("counts with the server's max_weight" in caplog.text) == (most < 100)


def test_weights_may_be_whole_floats():
    ours = Federation(5, app=app_that(lambda c: c["metrics"].update({"num-examples": 7.0})))
    ours.start(FedAvg(**TRAIN), rounds=1)
    assert ours.rounds[0].weight == 7 + sum(weight_of(i) for i in range(1, 5))


# -- trust ---------------------------------------------------------------------------------------------------------


def test_first_use_keeps_the_first_roster(tmp_path):
    secagg.Identity.generate().save(tmp_path / "server.key")
    configs = [
        {
            "secagg-trust": "first-use",
            "secagg-name": f"site-{i}",
            "secagg-identity": str(tmp_path / f"{i}.key"),
            "secagg-roster": str(tmp_path / f"{i}.roster"),
            "secagg-ledger": str(tmp_path / f"{i}.ledger"),
        }
        for i in range(5)
    ]
    options = {"trust": "first-use", "identity": tmp_path / "server.key", "roster": tmp_path / "server.roster"}
    with pytest.raises(secagg.errors.ParameterError, match="clients="):
        Federation(5).secure(FedAvg(), **options)
    ours = Federation(5, configs=configs, run_config={})
    ours.start(FedAvg(**TRAIN), rounds=2, clients=5, **options)
    assert [len(r.contributors) for r in ours.rounds] == [5, 5]
    pinned = {secagg.Roster.load(tmp_path / f"{name}.roster").fingerprint for name in (0, 1, 2, 3, 4, "server")}
    assert len(pinned) == 1
    # Another run, the same server: nothing is trusted anew.
    again = Federation(5, configs=configs, run_config={})
    again.start(FedAvg(**TRAIN), rounds=1, **options)
    assert len(again.rounds) == 1
    # A server with another key is not the one that was trusted.
    secagg.Identity.generate().save(tmp_path / "other.key")
    other = {"trust": "first-use", "identity": tmp_path / "other.key", "roster": tmp_path / "other.roster"}
    third = Federation(5, configs=configs, run_config={})
    third.start(FedAvg(**TRAIN), rounds=1, clients=5, **other)
    assert third.rounds == []


def test_a_roster_without_this_node_is_not_taken():
    ours = Federation(5)

    def forge(i, message):
        settings = dict(message.content["secagg"])
        if i == 0 and "ids" in settings:
            settings["keys"] = [secagg.Identity.generate().verify_key, *settings["keys"][1:]]
            message.content["secagg"] = ConfigRecord(settings)
        return message

    ours.world.meddle = forge
    ours.start(FedAvg(**TRAIN), rounds=1)
    assert "node-0" not in ours.rounds[0].contributors
    assert "does not have this node's key" in notes(ours.world)


def test_a_node_with_an_identity_refuses_to_simulate(tmp_path, caplog):
    ours, options = deployed(tmp_path)
    for context in ours.grid.contexts.values():
        context.run_config["secagg-trust"] = "simulation"
    with pytest.raises(secagg.errors.ParameterError, match="no node answered"):
        ours.start(FedAvg(**TRAIN), rounds=1)
    assert ELSEWHERE in notes(ours.world)
    assert "a simulation needs a run that asks for it and a node of no other kind" in caplog.text
    assert options["trust"] == "roster"


@pytest.mark.parametrize(
    "config",
    [
        {"secagg-roster": "study.roster"},
        {"secagg-ledger": "north.ledger"},
        {"secagg-policy": "policy.toml"},
        {"secagg-holder-ledger": "north.holder"},
        {"secagg-name": "north"},
        {"secagg-trust": "roster"},
        {"secagg-trust": "first-use"},
        {"secagg-trust": "simulation", "secagg-polcy": "policy.toml"},
    ],
)
def test_a_node_with_any_entry_of_its_own_refuses_to_simulate(config):
    context = Context(1, node_id(0), {"partition-id": 0} | config, RecordDict(), {"secagg-trust": "simulation"})
    with pytest.raises(secagg.errors.ParameterError, match="a simulation needs"):
        load_node(context)
    with pytest.raises(secagg.errors.ParameterError, match="a simulation needs"):
        load_node(context, simulation=True)


def test_a_simulation_needs_a_run_that_asks_for_it():
    context = Context(1, node_id(0), {"secagg-trust": "simulation"}, RecordDict(), {})
    with pytest.raises(secagg.errors.ParameterError, match="a simulation needs"):
        load_node(context)
    context.run_config["secagg-trust"] = "simulation"
    assert load_node(context).trust == "simulation"


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"secagg-identity": "/nowhere"}, "No such file"),
        ({"secagg-roster": ""}, "secagg-roster"),
        ({"secagg-ledger": None}, "secagg-ledger"),
        ({"secagg-policy": "/nowhere"}, "policy /nowhere cannot be read"),
        ({"secagg-trust": "blind"}, "trust must be one of"),
    ],
)
def test_files_that_a_node_lacks(tmp_path, caplog, change, reason):
    ours, options = deployed(tmp_path)
    config = ours.grid.contexts[node_id(0)].node_config
    config.update(change)
    for key in [key for key, value in config.items() if value is None]:
        del config[key]
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert "hospital-0" not in ours.rounds[0].contributors
    assert ELSEWHERE in notes(ours.world)
    assert reason not in notes(ours.world)
    assert reason in caplog.text
