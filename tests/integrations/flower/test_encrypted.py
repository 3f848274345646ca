"""Encrypted sums: one node holds the key, in a simulation and under files of its own, and whoever vanishes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from flower_cohort import Federation, gap, in_clear, node_id, notes
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg

import secagg
from secagg.errors import ParameterError

CKKS = {"protocol": "ckks", "reveal": "server"}
TRAIN = {"fraction_evaluate": 0.0}
NAMES = tuple(f"node-{i}" for i in range(5))


def to_holder(message) -> bool:
    return message.content["secagg"].get("to") == secagg.HOLDER


def asked(ours) -> int:
    """How often nodes were asked to train."""
    return sum("arrays" in message.content.array_records for _, message, _ in ours.world.seen)


# -- simulated -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["FedAvg", "FedAdam"])
def test_the_plaintext_model_under_encryption(federation, name):
    kind = getattr(flower, name)
    ours = federation(5)
    secure = ours.start(kind(), rounds=4, error=1e-7, clip=0.5, **CKKS)
    plain = federation(5, protected=False).start_plain(kind(), rounds=4)
    step = ours.wrapped.params().encoding.step
    bound = 4 * (step + 1e-6) * (1 if name == "FedAvg" else 1e3)
    assert gap(secure.arrays, plain.arrays) <= bound
    for number in range(1, 5):
        for key, value in plain.train_metrics_clientapp[number].items():
            assert secure.train_metrics_clientapp[number][key] == pytest.approx(value, abs=1e-6)
        for key, value in plain.evaluate_metrics_clientapp[number].items():
            assert secure.evaluate_metrics_clientapp[number][key] == pytest.approx(value, abs=bound + 1e-6)
    assert [r.contributors for r in ours.rounds] == [NAMES] * 8
    # A key for each kind of round, then one exchange with the clients and one with the holder.
    assert [r.exchanges for r in ours.rounds] == [3, 3, 2, 2, 2, 2, 2, 2]
    assert notes(ours.world) == ""


def test_one_node_holds_the_key_and_only_it_is_asked(federation):
    ours = federation(5)
    ours.start(rounds=2, **CKKS)
    roster = ours.wrapped.roster
    assert roster.holder == roster.key("node-0")
    assert {i for i, message, _ in ours.world.seen if to_holder(message)} == {0}
    assert all("arrays" not in message.content for _, message, _ in ours.world.seen if to_holder(message))
    for told in ours.rounds:
        told.receipt.verify(roster, ours.wrapped.params(told.kind))
        assert set(told.receipt.signatures) >= {secagg.HOLDER}


def test_nothing_is_sent_in_clear(federation):
    ours = federation(5)
    ours.start(rounds=2, **CKKS)
    assert any(to_holder(message) for _, message, _ in ours.world.seen)
    for i, message, reply in ours.world.seen:
        assert set(reply.content) == {"secagg", "secagg-frames"}
        for content in (reply.content, message.content):
            data = b"".join(array.data for array in content["secagg-frames"].values())
            assert not [found for number in (1, 2) for each in range(5) for found in in_clear(data, each, number)], i


def test_a_new_key_when_the_batch_is_used_up(federation):
    ours = federation(5)
    ours.start(FedAvg(**TRAIN), rounds=5, rounds_per_setup=2, **CKKS)
    assert [r.exchanges for r in ours.rounds] == [3, 2, 3, 2, 3]


def test_the_holder_answers_also_where_it_is_not_sampled(federation):
    ours = federation(8)
    strategy = FedAvg(fraction_train=0.5, fraction_evaluate=0.5)
    ours.start(strategy, rounds=5, corrupt=1, **CKKS)
    assert len(ours.rounds) == 10
    assert all(len(r.contributors) == 4 for r in ours.rounds)
    assert any("node-0" not in r.contributors for r in ours.rounds)  # all ten: (1/2)^10


@pytest.mark.parametrize("how", ["lost", "silent", "failing"])
def test_a_client_that_vanishes(federation, about, how):
    ours = federation(5)
    setattr(ours.world, how, lambda i, message: i == 2 and about(message) == "model" and not ours.rounds)
    ours.start(FedAvg(**TRAIN), rounds=2, **CKKS)
    assert [r.contributors for r in ours.rounds] == [tuple(n for n in NAMES if n != "node-2"), NAMES]


@pytest.mark.parametrize("how", ["lost", "silent", "failing"])
@pytest.mark.parametrize("phase", [0, 1], ids=["before the key", "before decrypting"])
def test_a_holder_that_vanishes_costs_one_round(federation, caplog, phase, how):
    ours = federation(5)
    count = {"n": 0}

    def gone(i, message):
        count["n"] += to_holder(message)
        return to_holder(message) and count["n"] == phase + 1

    setattr(ours.world, how, gone)
    result = ours.start(FedAvg(**TRAIN), rounds=3, **CKKS)
    assert [(r.round_id, r.contributors) for r in ours.rounds] == [(2, NAMES), (3, NAMES)]
    # Whether it lost its key with the round nobody can know: the next round has a new one.
    assert [r.exchanges for r in ours.rounds] == [3, 2]
    assert "train round 1 failed, and nothing was released" in caplog.text
    assert "key holder" in caplog.text
    assert list(result.train_metrics_clientapp) == [2, 3]


def test_a_holder_that_lost_its_state_makes_a_new_key(federation):
    ours, lost = federation(5), []

    def forget(i, message):
        if to_holder(message) and len(ours.rounds) == 1 and not lost:
            lost.append(ours.grid.contexts[node_id(0)].state.pop("secagg.holder.train"))
        return message

    ours.world.meddle = forget
    ours.start(FedAvg(**TRAIN), rounds=4, **CKKS)
    assert [(r.round_id, r.exchanges) for r in ours.rounds] == [(1, 3), (3, 3), (4, 2)]
    assert "no key was asked for yet" in notes(ours.world)


def test_nobody_trains_where_nobody_could_decrypt(federation, caplog):
    ours = federation(5)
    ours.start(FedAvg(**TRAIN), rounds=1, **CKKS)
    ours.world.away = {node_id(0)}
    before = asked(ours)
    messages = ours.strategy.configure_train(2, ours.arrays(), ConfigRecord(), ours.wrapped)
    assert list(ours.wrapped.send_and_receive(messages, timeout=0.05)) == []
    assert asked(ours) == before
    assert "no connected node holds the key" in caplog.text
    ours.world.away = set()
    messages = ours.strategy.configure_train(3, ours.arrays(), ConfigRecord(), ours.wrapped)
    assert len(list(ours.wrapped.send_and_receive(messages, timeout=0.05))) == 1


def test_counters_and_halves_under_encryption(federation):
    rng = np.random.default_rng(3)
    arrays = ArrayRecord(
        {"half": Array(rng.uniform(-1, 1, 9).astype(np.float16)), "seen": Array(np.asarray([40, 50], np.int64))}
    )
    encodings = {"seen": secagg.FixedPoint(clip=100.0, bits=32)}
    got = federation(4).start(FedAvg(**TRAIN), arrays=arrays, rounds=1, encodings=encodings, **CKKS).arrays
    plain = federation(4, protected=False).start_plain(FedAvg(**TRAIN), arrays=arrays, rounds=1).arrays
    assert got["half"].numpy().dtype == np.float16
    assert gap(got, plain) <= 2**-9


# -- under files of its own ----------------------------------------------------------------------------------------


def keys(folder, n: int, *, apart: bool = False):
    """Identities, a roster with a holder and the node configs that name them; the holder is node 1, or a node beside."""
    names = [f"hospital-{i}" for i in range(n)]
    made = {name: secagg.Identity.generate() for name in [*names, "server", "registry"]}
    for name, key in made.items():
        key.save(folder / f"{name}.key")
    holder = made["registry" if apart else "hospital-1"].verify_key
    clients = {name: made[name].verify_key for name in names}
    secagg.Roster(clients, made["server"].verify_key, holder).save(folder / "roster")
    (folder / "policy.toml").write_text('protocols = ["pairwise", "ckks"]\n')
    configs = [
        {
            "secagg-identity": str(folder / f"{name}.key"),
            "secagg-roster": str(folder / "roster"),
            "secagg-ledger": str(folder / f"{name}.ledger"),
            "secagg-policy": str(folder / "policy.toml"),
        }
        for name in [*names, *(["registry"] if apart else [])]
    ]
    configs[-1 if apart else 1]["secagg-holder-ledger"] = str(folder / "holder.ledger")
    if apart:
        del configs[-1]["secagg-ledger"]
    return configs, {"trust": "roster", "identity": folder / "server.key", "roster": folder / "roster", **CKKS}


def deployed(folder, n: int = 5, *, apart: bool = False):
    configs, options = keys(folder, n, apart=apart)
    return Federation(n + apart, configs=configs, run_config={}), options


@pytest.mark.parametrize("apart", [False, True], ids=["a client", "a node of its own"])
def test_a_holder_of_the_roster(tmp_path, caplog, apart):
    ours, options = deployed(tmp_path, apart=apart)
    ours.start(FedAvg(), rounds=3, **options)
    everybody = tuple(f"hospital-{i}" for i in range(5))
    assert [r.contributors for r in ours.rounds] == [everybody] * 6
    assert [r.exchanges for r in ours.rounds] == [3, 3, 2, 2, 2, 2]
    assert {i for i, message, _ in ours.world.seen if to_holder(message)} == {5 if apart else 1}
    assert (tmp_path / "holder.ledger").exists()
    roster = secagg.Roster.load(tmp_path / "roster")
    for told in ours.rounds:
        told.receipt.verify(roster, ours.wrapped.params(told.kind))
    assert notes(ours.world) == ""
    assert "not on the roster" not in caplog.text
    # The strategy is told of clients only, once everybody has said who it is.
    assert len(ours.wrapped.get_node_ids()) == 5


def test_a_holder_whose_state_is_rolled_back_answers_as_its_ledger_has_it(tmp_path):
    ours, options = deployed(tmp_path)
    kept = {}

    def keep(i, message):
        if to_holder(message) and len(ours.rounds) == 1:
            kept["state"] = pickle.dumps(ours.grid.contexts[node_id(1)].state)
        return message

    ours.world.meddle = keep
    ours.start(FedAvg(**TRAIN), rounds=2, **options)
    assert len(ours.rounds) == 2
    message, answer = next((m, r) for _, m, r in reversed(ours.world.seen) if to_holder(m))

    def again():
        ours.grid.contexts[node_id(1)].state = pickle.loads(kept["state"])
        return ours.grid.handle(node_id(1), message)

    first = answer.content["secagg-frames"]
    second = again().content["secagg-frames"]
    assert len(first) > 0
    assert [array.data for array in second.values()] == [array.data for array in first.values()]
    # Without the ledger nobody knows what was decrypted: a holder that kept one refuses to go on.
    for path in tmp_path.glob("holder.ledger*"):
        path.unlink()
    assert "ledger is not the one that belongs to this snapshot" in again().error.reason


def test_a_roster_without_a_holder_is_refused(tmp_path):
    ours, options = deployed(tmp_path)
    roster = secagg.Roster.load(tmp_path / "roster")
    options["roster"] = secagg.Roster({name: roster.key(name) for name in roster}, roster.server)
    with pytest.raises(ParameterError, match="needs a key holder on the roster"):
        ours.secure(FedAvg(), **options)


@pytest.mark.parametrize("reveal", [None, "holder"])
def test_the_strategy_needs_the_sum(federation, reveal):
    with pytest.raises(ParameterError, match="a strategy makes the next model of the mean"):
        federation(5).secure(FedAvg(), protocol="ckks", **({} if reveal is None else {"reveal": reveal}))


def test_a_policy_without_encryption_is_the_default(tmp_path):
    ours, options = deployed(tmp_path)
    for context in ours.grid.contexts.values():
        del context.node_config["secagg-policy"]
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert ours.rounds == []
    assert "this client's policy refuses protocol 'ckks'" in notes(ours.world)


ELSEWHERE = "this node's keys and files are not in order; its own log says what is wrong"


def test_a_holders_ledger_at_another_node(tmp_path, caplog):
    ours, options = deployed(tmp_path)
    ours.grid.contexts[node_id(2)].node_config["secagg-holder-ledger"] = str(tmp_path / "another.ledger")
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert ours.rounds[0].contributors == tuple(f"hospital-{i}" for i in (0, 1, 3, 4))
    assert ELSEWHERE in notes(ours.world)
    assert "is not the holder's on" in caplog.text


def test_a_holder_without_a_ledger_trains_and_decrypts_nothing(tmp_path, caplog):
    ours, options = deployed(tmp_path)
    del ours.grid.contexts[node_id(1)].node_config["secagg-holder-ledger"]
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert ours.rounds == []
    assert "no connected node holds the key (secagg-holder-ledger)" in caplog.text
    # Under masking the same roster and the same node serve.
    again = Federation(5, configs=[c.node_config for c in ours.grid.contexts.values()], run_config={})
    pairwise = {key: value for key, value in options.items() if key not in CKKS}
    again.start(FedAvg(**TRAIN), rounds=1, **pairwise)
    assert len(again.rounds[0].contributors) == 5


def test_messages_for_a_party_that_lives_elsewhere(tmp_path):
    ours, options = deployed(tmp_path, apart=True)
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    request = next(m for _, m, _ in ours.world.seen if to_holder(m))
    reply = ours.grid.handle(node_id(0), request)
    assert "config names no secagg-holder-ledger" in reply.error.reason
    for name in ("", "hospital-0"):
        settings = dict(request.content["secagg"]) | {"to": name}
        request.content["secagg"] = ConfigRecord(settings)
        assert "a message for another client" in ours.grid.handle(node_id(5), request).error.reason


def test_a_simulated_node_that_is_not_the_holder_refuses(federation):
    ours = federation(5)
    ours.start(FedAvg(**TRAIN), rounds=1, **CKKS)
    request = next(m for _, m, _ in ours.world.seen if to_holder(m))
    assert "identity is not the roster's key holder" in ours.grid.handle(node_id(3), request).error.reason


# -- trust on first use --------------------------------------------------------------------------------------------


def first_use(folder, n: int, holders):
    secagg.Identity.generate().save(folder / "server.key")
    (folder / "policy.toml").write_text('protocols = ["ckks"]\n')
    configs = [
        {
            "secagg-trust": "first-use",
            "secagg-name": f"site-{i}",
            "secagg-identity": str(folder / f"{i}.key"),
            "secagg-roster": str(folder / f"{i}.roster"),
            "secagg-ledger": str(folder / f"{i}.ledger"),
            "secagg-policy": str(folder / "policy.toml"),
        }
        | ({"secagg-holder-ledger": str(folder / f"{i}.holder")} if i in holders else {})
        for i in range(n)
    ]
    options = {
        "trust": "first-use",
        "identity": folder / "server.key",
        "roster": folder / "server.roster",
        "clients": n,
    }
    return configs, options | CKKS


def test_first_use_takes_the_node_that_offers_to_hold(tmp_path):
    configs, options = first_use(tmp_path, 5, holders={3})
    ours = Federation(5, configs=configs, run_config={})
    ours.start(FedAvg(**TRAIN), rounds=2, **options)
    assert [len(r.contributors) for r in ours.rounds] == [5, 5]
    rosters = [secagg.Roster.load(tmp_path / f"{name}.roster") for name in (0, 1, 2, 3, 4, "server")]
    assert len({roster.fingerprint for roster in rosters}) == 1
    assert rosters[0].holder == rosters[0].key("site-3")


def test_first_use_with_a_holder_that_trains_nothing(tmp_path):
    configs, options = first_use(tmp_path, 6, holders={5})
    del configs[5]["secagg-name"], configs[5]["secagg-ledger"]
    ours = Federation(6, configs=configs, run_config={})
    ours.start(FedAvg(**TRAIN), rounds=2, **options)
    assert [r.contributors for r in ours.rounds] == [tuple(f"site-{i}" for i in range(5))] * 2


@pytest.mark.parametrize("holders", [set(), {1, 2}], ids=["nobody", "two"])
def test_first_use_needs_one_holder(tmp_path, holders):
    configs, options = first_use(tmp_path, 5, holders)
    with pytest.raises(ParameterError, match=f"{len(holders)} nodes would hold the key, and it has to be one"):
        Federation(5, configs=configs, run_config={}).start(FedAvg(**TRAIN), rounds=1, **options)


def test_a_roster_with_another_holder_is_not_taken(tmp_path):
    """The server names itself a holder of its own making to the node that offered."""
    configs, options = first_use(tmp_path, 5, holders={3})
    ours = Federation(5, configs=configs, run_config={})

    def forge(i, message):
        settings = dict(message.content["secagg"])
        if i == 3 and "holder" in settings:
            settings["holder"] = secagg.Identity.generate().verify_key
            message.content["secagg"] = ConfigRecord(settings)
        return message

    ours.world.meddle = forge
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert ours.rounds == []
    assert "does not have this node's key" in notes(ours.world)
