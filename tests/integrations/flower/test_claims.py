"""Nodes that claim what another one claims, or write into the server's log: the others go on, and the log stays the server's."""

from __future__ import annotations

import logging

import pytest
from flower_cohort import Federation, plain_app
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

import secagg
from secagg.integrations.flower.enrolment import answer

LOOSE = {"rounds": 1, "dropout": 2, "corrupt": 0, "threat": "semi-honest"}
FORGED = "fine\n2026-01-01 INFO secagg: train round 9: 2 exchanges, 5 contributors"


def train(ours, **options):
    ours.start(FedAvg(fraction_evaluate=0.0), **(LOOSE | options))


def with_two(reply):
    """Five nodes, of which the last two answer what `reply` makes of a node's number and a message; None: as they should."""

    def make(i, mods):
        def odd(message, context, call_next):
            return reply(i, message, context) or call_next(message, context)

        return plain_app(i, mods if i < 3 else [odd, *mods])

    return Federation(5, app=make)


def claim(name, key):
    """Who claims a name with a key, both by the node's number; one whose name is None says who it is."""

    def reply(i, message, context):
        settings = message.content.config_records["secagg"]
        if settings.get("step") != "enrol" or name(i) is None:
            return None
        told = answer(settings["challenge"], context.node_id, settings["server"], name(i), key(i), holds=True)
        return Message(RecordDict({"secagg": ConfigRecord(told)}), reply_to=message)

    return reply


ONE = secagg.Identity.generate()
CLAIMS = {
    "one key": (claim(lambda i: f"odd-{i}", lambda i: ONE), {"node-0", "node-1", "node-2"}),
    "one name": (claim(lambda i: "odd", lambda i: secagg.Identity.generate()), {"node-0", "node-1", "node-2"}),
    "another's name": (
        claim(lambda i: "node-0" if i == 3 else None, lambda i: secagg.Identity.generate()),
        {"node-1", "node-2", "node-4"},
    ),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_claims_that_share_a_name_or_a_key_are_dropped(case, caplog):
    reply, left = CLAIMS[case]
    ours = with_two(reply)
    train(ours, dropout=1)
    assert set(ours.rounds[0].contributors) == left
    assert set(ours.wrapped.roster) == left
    assert "for a name or a key that another has too" in caplog.text
    assert "is not on the roster" in caplog.text


def test_the_servers_key_is_no_clients(caplog):
    server = secagg.Identity.generate()
    ours = with_two(claim(lambda i: f"odd-{i}", lambda i: server if i == 4 else ONE))
    strategy = FedAvg(fraction_evaluate=0.0)
    options = {name: value for name, value in LOOSE.items() if name != "rounds"}
    grid = ours.secure(strategy, **(options | {"dropout": 1}))
    grid._identity = grid._directory._identity = server
    strategy.start(grid=grid, initial_arrays=ours.arrays(), num_rounds=1, timeout=0.05)
    assert set(grid.roster) == {"node-0", "node-1", "node-2", "odd-3"}
    assert "['odd-4']" in caplog.text


def test_notes_are_quoted_and_few(caplog):
    def reply(i, message, context):
        if message.content.config_records["secagg"].get("step") == "enrol":
            return None
        return Message(RecordDict({"secagg": ConfigRecord({"notes": [FORGED] * 50})}), reply_to=message)

    with caplog.at_level(logging.WARNING, logger="flwr"):
        train(with_two(reply))
    said = [record.getMessage() for record in caplog.records if "says" in record.getMessage()]
    assert any("2026-01-01" in line for line in said)
    assert any("says 46 more things" in line for line in said)
    assert not any("\n" in line for line in said)
    replies = sum("says 46 more" in line for line in said)
    assert len(said) == 5 * replies


@pytest.mark.parametrize("step", ["enrol", "later"])
def test_errors_are_quoted(step, caplog):
    def reply(i, message, context):
        enrols = message.content.config_records["secagg"].get("step") == "enrol"
        return Message(Error(6, FORGED), reply_to=message) if enrols == (step == "enrol") else None

    with caplog.at_level(logging.WARNING, logger="flwr"):
        train(with_two(reply), dropout=1 if step == "enrol" else 2)
    lines = [record.getMessage() for record in caplog.records if "2026-01-01" in record.getMessage()]
    assert lines
    assert not any("\n" in line for line in lines)
