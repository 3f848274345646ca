"""One message from each node, and one from each member of the committee: all nodes, or some that are drawn."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from flower_cohort import Federation, gap, loss_of, node_id, notes, step, update_of
from flwr.app import ConfigRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg

import secagg
from secagg.errors import ParameterError
from secagg.integrations.sessions import session_of_kind
from secagg.protocols.oneshot import committee

ONESHOT = {"protocol": "oneshot"}
TRAIN = {"fraction_evaluate": 0.0}
NAMES = tuple(f"node-{i}" for i in range(5))
AGREED = "00112233445566778899aabbccddeeff"


def about(ours, which: str) -> list[int]:
    """To which nodes messages went that hold a model, or none."""
    return [i for i, message, _ in ours.world.seen if step(message) == which]


def forms_of(i: int, number: int) -> list[bytes]:
    """A node's values of a round as anything that carries them in clear would write them: none is so short that chance does."""
    loss = loss_of(i, number)
    forms = [form for value in (loss, loss / 2) for form in (np.float64(value).tobytes(), repr(value).encode())]
    for name, array in Federation.arrays().items():
        change = update_of(i, number, name, array.shape).ravel()[:4]
        forms += [change.astype(kind).tobytes() for kind in (np.float32, np.float64) if change.size >= 4]
    # A small whole number of 8 bytes is mostly zeros, which fill up the paths that members are sent.
    return [*(form for form in forms if len(form) >= 7), b"num-examples"]


# -- everybody is in the committee ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["FedAvg", "FedAdam"])
def test_the_plaintext_model_under_one_message_each(name):
    kind = getattr(flower, name)
    ours = Federation(5)
    secure = ours.start(kind(), rounds=4, error=1e-7, clip=0.5, **ONESHOT)
    plain = Federation(5, protected=False).start_plain(kind(), rounds=4)
    bound = 4 * (ours.wrapped.params().encoding.step + 1e-6) * (1 if name == "FedAvg" else 1e3)
    assert gap(secure.arrays, plain.arrays) <= bound
    for number in range(1, 5):
        for key, value in plain.train_metrics_clientapp[number].items():
            assert secure.train_metrics_clientapp[number][key] == pytest.approx(value, abs=1e-6)
        for key, value in plain.evaluate_metrics_clientapp[number].items():
            assert secure.evaluate_metrics_clientapp[number][key] == pytest.approx(value, abs=bound + 1e-6)
    assert [r.contributors for r in ours.rounds] == [NAMES] * 8
    # Keys for each kind of round, then one exchange with the clients and one with the committee.
    assert [r.exchanges for r in ours.rounds] == [3, 3, 2, 2, 2, 2, 2, 2]
    assert notes(ours.world) == ""
    for told in ours.rounds:
        told.receipt.verify(ours.wrapped.roster, ours.wrapped.params(told.kind))


def test_a_steady_round_is_one_message_with_the_model_and_one_to_the_committee():
    ours = Federation(5)
    ours.start(FedAvg(**TRAIN), rounds=1, **ONESHOT)
    ours.world.seen.clear()
    messages = ours.strategy.configure_train(2, ours.arrays(), ConfigRecord(), ours.wrapped)
    assert len(list(ours.wrapped.send_and_receive(messages, timeout=0.05))) == 1
    assert sorted(about(ours, "model")) == sorted(about(ours, "phase")) == [0, 1, 2, 3, 4]


def test_nothing_is_sent_in_clear():
    ours = Federation(5)
    ours.start(rounds=2, **ONESHOT)
    for i, message, reply in ours.world.seen:
        assert set(reply.content) == {"secagg", "secagg-frames"} or step(message) == "enrol"
        for content in (reply.content, message.content):
            data = b"".join(array.data for array in content.array_records.get("secagg-frames", {}).values())
            assert not [
                form for number in (1, 2) for each in range(5) for form in forms_of(each, number) if form in data
            ], i


def test_new_keys_when_the_batch_is_used_up():
    ours = Federation(5)
    ours.start(FedAvg(**TRAIN), rounds=5, rounds_per_setup=2, **ONESHOT)
    assert [r.exchanges for r in ours.rounds] == [3, 2, 3, 2, 3]


def test_members_answer_also_where_they_are_not_sampled():
    ours = Federation(8)
    ours.start(FedAvg(fraction_train=0.5, fraction_evaluate=0.5), rounds=4, corrupt=1, **ONESHOT)
    assert all(len(r.contributors) == 4 for r in ours.rounds) and len(ours.rounds) == 8
    assert any(set(r.receipt.signatures) - set(r.contributors) for r in ours.rounds)


@pytest.mark.parametrize("how", ["lost", "silent", "failing"])
@pytest.mark.parametrize("which", ["model", "phase"])
def test_a_node_that_vanishes(how, which):
    """Without its update it is no contributor; without its answer as a member it is one."""
    ours = Federation(5)
    setattr(ours.world, how, lambda i, message: i == 2 and step(message) == which and not ours.rounds)
    ours.start(FedAvg(**TRAIN), rounds=2, **ONESHOT)
    first = tuple(n for n in NAMES if n != "node-2") if which == "model" else NAMES
    assert [r.contributors for r in ours.rounds] == [first, NAMES]


def test_too_few_members_cost_one_round_and_release_nothing(caplog):
    ours = Federation(5)
    asked = []

    def gone(i, message):
        last = (
            step(message) == "phase" and len(about(ours, "model")) == 5 and i not in asked
        )  # the first round's answer
        asked.extend([i] if last else [])
        return last and i in (1, 2)

    ours.world.silent = gone
    ours.start(FedAvg(**TRAIN), rounds=2, **ONESHOT)
    assert [(r.round_id, r.exchanges) for r in ours.rounds] == [(2, 3)]  # with new keys: theirs may be lost
    assert "train round 1 failed, and nothing was released" in caplog.text
    assert set(asked) == set(range(5))


# -- under files of their own --------------------------------------------------------------------------------------


def deployed(folder, n: int = 5, *, session: str | None = None, run_config: dict | None = None):
    names = [f"hospital-{i}" for i in range(n)]
    made = {name: secagg.Identity.generate() for name in [*names, "server"]}
    for name, key in made.items():
        key.save(folder / f"{name}.key")
    secagg.Roster({name: made[name].verify_key for name in names}, made["server"].verify_key).save(folder / "roster")
    (folder / "policy.toml").write_text('protocols = ["oneshot"]\n')
    configs = [
        {
            "secagg-identity": str(folder / f"{name}.key"),
            "secagg-roster": str(folder / "roster"),
            "secagg-ledger": str(folder / f"{name}.ledger"),
            "secagg-policy": str(folder / "policy.toml"),
        }
        | ({} if session is None else {"secagg-session": session})
        for name in names
    ]
    options = {"trust": "roster", "identity": folder / "server.key", "roster": folder / "roster", **ONESHOT}
    return Federation(n, configs=configs, run_config=run_config or {}), options


def test_a_federation_of_the_roster(tmp_path):
    ours, options = deployed(tmp_path)
    ours.start(FedAvg(), rounds=3, **options)
    assert [r.contributors for r in ours.rounds] == [tuple(f"hospital-{i}" for i in range(5))] * 6
    assert [r.exchanges for r in ours.rounds] == [3, 3, 2, 2, 2, 2]
    assert notes(ours.world) == ""


def test_a_member_whose_state_is_rolled_back_answers_for_the_same_set_or_not_at_all(tmp_path):
    ours, options = deployed(tmp_path)
    kept = {}

    def keep(i, message):
        if i == 1 and step(message) == "phase" and len(ours.rounds) == 1:
            kept["state"] = pickle.dumps(ours.grid.contexts[node_id(1)].state)
        return message

    ours.world.meddle = keep
    ours.start(FedAvg(**TRAIN), rounds=2, **options)
    message, answer = next((m, r) for i, m, r in reversed(ours.world.seen) if i == 1 and step(m) == "phase")
    ours.grid.contexts[node_id(1)].state = pickle.loads(kept["state"])
    again = ours.grid.handle(node_id(1), message)
    frames = [[array.data for array in reply.content["secagg-frames"].values()] for reply in (answer, again)]
    assert frames[0] == frames[1] and frames[0]


def test_a_policy_without_the_protocol_is_the_default(tmp_path):
    ours, options = deployed(tmp_path)
    for context in ours.grid.contexts.values():
        del context.node_config["secagg-policy"]
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert ours.rounds == []
    assert "this client's policy refuses protocol 'oneshot'" in notes(ours.world)


# -- a committee that is drawn -------------------------------------------------------------------------------------

DRAWN = {"committee": 4, "dropout": 1, "corrupt": 1}


def test_a_simulation_draws_a_committee():
    ours = Federation(7)
    ours.start(FedAvg(), rounds=2, **(ONESHOT | DRAWN))
    assert len(ours.rounds) == 4
    members = [set(r.receipt.signatures) for r in ours.rounds]
    assert all(len(each) == 4 for each in members)
    for told in ours.rounds:
        told.receipt.verify(ours.wrapped.roster, ours.wrapped.params(told.kind))
    assert sorted({r.receipt.session for r in ours.rounds}) == sorted(
        session_of_kind(ours.wrapped._agreed, kind) for kind in ("train", "evaluate")
    )


def test_a_drawn_committee_follows_from_the_id_that_everybody_was_given(tmp_path):
    ours, options = deployed(tmp_path, 7, session=AGREED)
    ours.start(FedAvg(**TRAIN), rounds=3, session=AGREED, **(options | DRAWN))
    (told, *_) = ours.rounds
    roster = secagg.Roster.load(tmp_path / "roster")
    crew = committee(roster, session_of_kind(bytes.fromhex(AGREED), "train"), 4)
    assert set(told.receipt.signatures) == set(crew)
    assert [r.exchanges for r in ours.rounds] == [3, 2, 2]
    # The last exchange of a round is with the members alone.
    members = {i for i, message, _ in ours.world.seen if step(message) == "phase"}
    assert members == {int(name.rpartition("-")[2]) for name in crew}


def test_the_servers_session_may_stand_in_run_config(tmp_path):
    ours, options = deployed(tmp_path, 7, session=AGREED)
    context = next(iter(ours.grid.contexts.values()))
    served = pickle.loads(pickle.dumps(context))
    served.run_config = {"secagg-session": AGREED}
    ours.start(FedAvg(**TRAIN), rounds=1, context=served, **(options | DRAWN))
    assert len(ours.rounds) == 1


def test_without_an_agreed_id_the_server_refuses_to_draw(tmp_path):
    ours, options = deployed(tmp_path, 7, session=AGREED)
    with pytest.raises(ParameterError, match="agreed beforehand"):
        ours.start(FedAvg(**TRAIN), rounds=1, **(options | DRAWN))


@pytest.mark.parametrize("nodes", [None, "ff" * 16], ids=["no id", "another id"])
def test_nodes_take_no_id_from_the_server(tmp_path, nodes):
    """A server that chooses the session id could choose the committee."""
    ours, options = deployed(tmp_path, 7, session=nodes)
    ours.start(FedAvg(**TRAIN), rounds=1, session=AGREED, **(options | DRAWN))
    assert ours.rounds == []
    words = "must be agreed beforehand: put it into secagg-session" if nodes is None else "another session"
    assert words in notes(ours.world)


def test_a_server_cannot_call_itself_a_simulation_to_choose_the_id(tmp_path):
    ours, options = deployed(tmp_path, 7)

    def meddle(i, message):
        settings = dict(message.content["secagg"])
        if "params" in settings:
            message.content["secagg"] = ConfigRecord(settings | {"session": bytes(16)})
        return message

    ours.world.meddle = meddle
    ours.start(FedAvg(**TRAIN), rounds=1, session=AGREED, **(options | DRAWN))
    assert ours.rounds == []
    assert "must be agreed beforehand" in notes(ours.world)


@pytest.mark.parametrize("session", ["", "abc", "g" * 32, 5])
def test_what_is_no_session_id_is_refused(tmp_path, caplog, session):
    ours, options = deployed(tmp_path, 5, session=session)
    ours.start(FedAvg(**TRAIN), rounds=1, **options)
    assert ours.rounds == [] and "32 digits in hex" in caplog.text
    if session:
        with pytest.raises(ParameterError, match="32 digits in hex"):
            Federation(5).secure(FedAvg(**TRAIN), session=session, **ONESHOT)
