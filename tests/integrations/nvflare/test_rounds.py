"""Controller, executor and filters against each other, in one process: equality with FedAvg, losses, restarts."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from federation import initial, loss, trained, weight
from inprocess import NAMES, Federation, plaintext
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_copy, make_reply
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from secagg.errors import AbortError, InputError
from secagg.integrations.nvflare.messages import load, take
from secagg.testing import conformance


def expected(rounds, contributors, model=None):
    """Return FedAvg's models after each round."""
    model = model or initial()
    models = []
    for number in range(rounds):
        results = {site: trained(model, site, number) for site in contributors(number)}
        exact = plaintext(model, results)
        model = {
            name: (np.rint(array) if model[name].dtype.kind == "i" else array).astype(model[name].dtype)
            for name, array in exact.items()
        }
        models.append(model)
    return models


def same(got, wanted, tolerance=3e-6):
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        spacing = 2 * float(np.spacing(np.abs(array)).max()) if array.dtype.kind == "f" else 0  # halves round apart
        assert np.abs(got[name].astype(float) - array.astype(float)).max() <= tolerance + spacing


@pytest.mark.parametrize("kind", ["WEIGHTS", "WEIGHT_DIFF"])
def test_rounds_equal_fedavg(federate, kind):
    federation = federate(trainers={"kind": kind}, num_rounds=5)
    federation.controller.run()
    for saved, model in zip(federation.saved, expected(5, lambda number: NAMES), strict=True):
        same(saved.params, model)
    total = sum(map(weight, NAMES))
    for number, saved in enumerate(federation.saved):
        mean = sum(weight(site) * loss(site, number) for site in NAMES) / total
        assert saved.metrics == {"loss": pytest.approx(mean, abs=1e-6)}
        assert saved.meta == {"nr_aggregated": 5, "current_round": number}
    # Two setups serve four rounds each, and every round costs two exchanges beside.
    assert federation.tasks.sent == {"train": 5 * 5, "secagg": 5 * 5 + 2 * 2 * 5}


def test_a_sample_of_sites_is_asked(federate):
    federation = federate(num_rounds=3, num_clients=4)
    federation.controller.run()
    assert federation.tasks.sent["train"] == 12
    assert [saved.meta["nr_aggregated"] for saved in federation.saved] == [4, 4, 4]


def test_what_comes_back_holds_nothing_in_clear(federate):
    federation = federate(num_rounds=2)
    federation.controller.run()
    model, secrets = initial(), []
    for site in NAMES:
        new = trained(model, site, 0)
        for name, array in new.items():
            if array.size >= 3:
                secrets += [array.tobytes(), np.asarray(array - model[name]).astype(np.float32).tobytes()]
        numbers = [
            ("d", loss(site, 0)),
            ("f", loss(site, 0)),
            ("d", 0.987654321),
            ("q", weight(site)),
            ("d", weight(site)),
        ]
        secrets += [struct.pack(order + form, value) for order in "<>" for form, value in numbers]
        secrets.append(str(weight(site)).encode())
    for _, _, result in federation.heard:
        assert set(result) <= {"secagg_session", "secagg_frames", "__headers__"}
        assert result.get_return_code() == ReturnCode.OK
        assert all(key.startswith("__") for key in result["__headers__"])
        content = b"".join(result["secagg_frames"]) + repr(result["__headers__"]).encode()
        assert not [secret for secret in secrets if secret in content]


@pytest.mark.parametrize(
    "how", [None, "silent", lambda name, data: make_reply(ReturnCode.EXECUTION_EXCEPTION)], ids=str
)
def test_a_lost_site_is_a_dropout_and_comes_back(federate, how):
    federation = federate(num_rounds=1)
    federation.controller.run()
    federation.lost["site-2"] = how
    federation.controller.run()
    del federation.lost["site-2"]
    federation.controller.run()
    assert [saved.meta["nr_aggregated"] for saved in federation.saved] == [5, 4, 5]


def test_a_site_lost_after_its_update_still_counts(federate):
    federation = federate(num_rounds=1)
    federation.controller.run()
    node = federation.nodes["site-3"]
    federation.lost["site-3"] = lambda task, data: node.run(task, data) if task == "train" else None
    federation.controller.run()
    assert [saved.meta["nr_aggregated"] for saved in federation.saved] == [5, 5]


def test_a_site_that_is_not_connected_is_not_waited_for(federate):
    federation = federate(num_rounds=1)
    federation.controller.engine.clients = [
        client for client in federation.controller.engine.clients if client.name != "site-5"
    ]
    federation.controller.run()
    assert federation.saved[0].meta["nr_aggregated"] == 4
    assert federation.tasks.cancelled == 0


def test_a_stranger_is_left_out(federate):
    federation = federate(num_rounds=1)
    federation.controller.engine.clients.append(type(federation.controller.engine.clients[0])("site-9", ""))
    federation.controller.run()
    assert federation.saved[0].meta["nr_aggregated"] == 5


def test_too_few_are_tried_again_and_then_end_the_job(federate):
    federation = federate(num_rounds=1, attempts=2)
    calls = []

    def fails(task, data):
        calls.append(task)

    federation.lost = {"site-1": fails, "site-2": fails}
    with pytest.raises(AbortError):
        federation.controller.run()
    assert calls == ["secagg"] * 4
    assert federation.saved == []
    federation.lost.clear()
    federation.controller.run()
    assert federation.saved[0].meta["nr_aggregated"] == 5


def test_too_few_connected(federate):
    federation = federate(num_rounds=1, attempts=1)
    federation.controller.engine.clients = federation.controller.engine.clients[:2]
    with pytest.raises(AbortError, match="2 sites on the roster are connected; 4 are needed"):
        federation.controller.run()


def test_an_aborted_job_ends_quietly(federate):
    federation = federate(num_rounds=1, timeout=60)
    federation.lost["site-1"] = "silent"
    federation.controller.abort_signal.trigger(True)
    federation.controller.run()
    assert federation.saved == []


def test_a_new_process_for_every_message(federate):
    federation = federate(num_rounds=3)

    def anew(name):
        def answer(task, data):
            node = federation.nodes[name]
            node.site.close()
            node.start()
            return node.run(task, data)

        return answer

    federation.lost = {name: anew(name) for name in NAMES}
    federation.controller.run()
    for saved, model in zip(federation.saved, expected(3, lambda number: NAMES), strict=True):
        same(saved.params, model)


def test_a_process_that_dies_while_it_trains_does_the_task_again(federate):
    federation = federate(num_rounds=1)
    node = federation.nodes["site-1"]

    def twice(task, data):
        if task == "train":
            node.site.begin(make_copy(data), node.engine.new_context())
            node.site.close()
            node.start()
        return node.run(task, data)

    federation.lost["site-1"] = twice
    federation.controller.run()
    assert federation.saved[0].meta["nr_aggregated"] == 5


def test_a_server_that_was_restarted_begins_a_new_session(federate):
    federation = federate(num_rounds=1)
    federation.controller.run()
    before = {path.name for path in federation.home.rglob("*.snapshot")}
    federation.controller = federation.controlled(num_rounds=1)
    federation.controller.run()
    after = {path.name for path in federation.home.rglob("*.snapshot")}
    assert len(before) == len(after) == 1
    assert before != after
    assert [saved.meta["nr_aggregated"] for saved in federation.saved] == [5, 5]


def test_sites_on_another_model_are_no_part_of_the_mean(federate):
    federation = federate(num_rounds=1)
    node = federation.nodes["site-4"]

    def other(task, data):
        if task == "train":
            model = FLModel(params={name: array + 1 for name, array in initial().items()}, current_round=0)
            data = load(FLModelUtils.to_shareable(model), *take(data))
        return node.run(task, data)

    federation.lost["site-4"] = other
    federation.controller.run()
    same(federation.saved[0].params, expected(1, lambda number: [name for name in NAMES if name != "site-4"])[0])


def test_what_is_no_answer_is_a_dropout(federate):
    federation = federate(num_rounds=1)
    federation.lost["site-5"] = lambda task, data: Shareable({"secagg_frames": "nonsense"})
    federation.controller.run()
    assert federation.saved[0].meta["nr_aggregated"] == 4


def test_late_and_garbled_answers_do_no_harm(federate):
    federation = federate(num_rounds=2)
    node, kept = federation.nodes["site-1"], []

    def garbles(task, data):
        result = node.run(task, data)
        result["secagg_frames"].insert(0, b"nonsense")
        return result

    federation.lost["site-1"] = garbles
    controller = federation.controller
    received = controller._received
    controller._received = lambda client_task, fl_ctx: (kept.append(client_task.task), received(client_task, fl_ctx))[1]
    controller.run()
    controller._replies.put(("site-2", kept[0], [b"late"]))
    controller.run()
    assert [saved.meta["nr_aggregated"] for saved in federation.saved] == [5] * 4
    controller.process_result_of_unknown_task(
        controller.engine.clients[0], "train", "id", Shareable(), controller.fl_ctx
    )


def test_another_model_than_the_params_are_for(federate):
    federation = federate()
    federation.controller.load_model = lambda: FLModel(params={"weight": np.zeros(3)})
    with pytest.raises(InputError, match="other arrays than the one that the Params were made for"):
        federation.controller.run()


# -- the carrier -------------------------------------------------------------------------------------------------------


class Carrier:
    """The controller's loop, with the suite's sites behind the tasks."""

    def __init__(self, sites, home):
        self.federation = Federation(home)
        self.sites, self.controller = sites, self.federation.controller
        self.controller._roster = tuple(sites)
        self.controller.engine.clients = [type(self.controller.engine.clients[0])(name, "") for name in sites]
        self.controller.communicator.answer = self.answer

    def answer(self, name, task, data):
        session, frames = take(data)
        try:
            return load(make_reply(ReturnCode.OK), session, self.sites[name].answer(frames))
        except conformance.Lost:
            return None

    def run(self, server):
        model = FLModel(params=initial(), current_round=0)
        while server.phase != "idle":
            self.controller._exchange(server, model)
            server.close_phase()

    def close(self):
        self.federation.close()


def test_the_loop_conforms(tmp_path):
    number = iter(range(100))
    report = conformance.check(lambda sites: Carrier(sites, tmp_path / str(next(number))))
    assert len(report.cases) == len(conformance.CASES)
