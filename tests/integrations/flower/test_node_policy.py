"""What a node's policy refuses, and what it holds the server to."""

from __future__ import annotations

import pytest
from flower_cohort import node_id, notes
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from test_nodes import TRAIN, app_that, deployed

import secagg
from secagg.encoding import FixedPoint, Integer
from secagg.integrations.flower import Policy

REFUSED = {
    'threat = "semi-honest"\nmin_honest = 4': "min_honest=2, below 4",
    "min_clients = 5": "min_clients=4, below 5",
    "corrupt = 0.4": "corrupt=1 of 5, below 2",
    "max_rounds_per_setup = 8": "rounds_per_setup=64, over 8",
    'protocols = ["oneshot"]': "protocol 'pairwise'",
    "least_max_weight = 101": "max_weight=100, below 101",
}


@pytest.mark.parametrize("text", REFUSED)
def test_the_policy_has_the_last_word(tmp_path, text):
    ours, options = deployed(tmp_path)
    (tmp_path / "policy.toml").write_text(text)
    ours.grid.contexts[node_id(0)].node_config["secagg-policy"] = str(tmp_path / "policy.toml")
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert "hospital-0" not in ours.rounds[0].contributors
    assert f"this client's policy refuses {REFUSED[text]}" in notes(ours.world)


def test_a_server_that_asks_to_be_trusted_is_refused(tmp_path):
    ours, options = deployed(tmp_path)
    ours.start(FedAvg(**TRAIN), rounds=1, threat="semi-honest", **options)
    assert ours.rounds == []
    assert "threat='semi-honest'" in notes(ours.world)


def _never(content):
    raise AssertionError("the app was asked")


@pytest.mark.parametrize("encoding", [FixedPoint(clip=0.15, bits=16, overflow="refuse"), Integer(-9, 9)])
def test_encodings_that_refuse_values_are_refused_before_there_are_any(tmp_path, encoding):
    ours, options = deployed(tmp_path, app=app_that(_never))
    ours.start(FedAvg(**TRAIN), rounds=1, encoding=encoding, **options)
    assert ours.rounds == []
    assert set(notes(ours.world).splitlines()) == {
        "ParameterError: this client's policy refuses an encoding that refuses values out of its range"
    }


@pytest.mark.parametrize("again", [False, True])
def test_a_run_keeps_the_params_that_it_began_with(tmp_path, again):
    ours, options = deployed(tmp_path)
    (tmp_path / "policy.toml").write_text(f"replanning = {str(again).lower()}")
    for context in ours.grid.contexts.values():
        context.node_config["secagg-policy"] = str(tmp_path / "policy.toml")
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    ours.start(FedAvg(**TRAIN), rounds=1, max_weight=50, **options)
    assert len(ours.rounds) == 1 + again
    assert ("refuses other Params than the first" in notes(ours.world)) != again
    # Another run begins anew.
    for context in ours.grid.contexts.values():
        context.state = RecordDict()
    ours.start(FedAvg(**TRAIN), rounds=1, max_weight=60, **options)
    assert len(ours.rounds) == 2 + again


def test_params_are_kept_even_if_their_first_message_comes_to_nothing(tmp_path):
    ours, options = deployed(tmp_path)
    spoilt = {"yes": True}

    def spoil(i, message):
        settings = dict(message.content["secagg"])
        if "params" in settings and spoilt["yes"]:
            message.content["secagg-frames"] = ArrayRecord({"0": Array("uint8", (3,), "secagg frame", b"abc")})
        return message

    ours.world.meddle = spoil
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    spoilt["yes"] = False
    ours.start(FedAvg(**TRAIN), rounds=1, max_weight=50, **options)
    assert ours.rounds == []
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert len(ours.rounds) == 1


def test_a_policy_without_a_ledger(tmp_path):
    (tmp_path / "policy.toml").write_text("ledger = false")
    ours, options = deployed(tmp_path)
    config = ours.grid.contexts[node_id(0)].node_config
    config["secagg-policy"] = str(tmp_path / "policy.toml")
    del config["secagg-ledger"]
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert len(ours.rounds[0].contributors) == 5


@pytest.mark.parametrize(
    "text, reason",
    [
        ("min_honest = 0", "min_honest"),
        ("min_honest = true", "min_honest"),
        ("corrupt = 1.5", "corrupt"),
        ("corrupt = 'all'", "corrupt"),
        ("threat = 'none'", "threat"),
        ("protocols = []", "protocols"),
        ("ledger = 1", "ledger"),
        ("honest = 3", "'honest'"),
        ("min_honest = ", "cannot be read"),
        ("#" * 70000, "too long"),
    ],
)
def test_policies_that_are_none(tmp_path, text, reason):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(secagg.errors.InputError, match=reason):
        Policy.load(path)
