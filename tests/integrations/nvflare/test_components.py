"""Controller, executor and filters against each other, in one process: equality with FedAvg, losses, restarts, and refusals."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as NVFlare does with a job's own code

from federation import initial, loss, trained, weight
from inprocess import NAMES, Federation, plaintext
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_copy, make_reply
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

import secagg
from secagg.errors import AbortError, DecodeError, InputError, ParameterError, StateError
from secagg.integrations.nvflare import SecureFedAvg, SecureSite, plan_for
from secagg.integrations.nvflare import site as site_module
from secagg.integrations.nvflare.messages import load, take
from secagg.testing import conformance


@pytest.fixture
def federate(tmp_path):
    made = []

    def make(*args, **options):
        made.append(Federation(tmp_path / str(len(made)), *args, **options))
        return made[-1]

    yield make
    for federation in made:
        federation.close()


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


# -- what a site refuses -----------------------------------------------------------------------------------------------


def ready(federate):
    """Return a federation after a round, with the frames that ask site-1 for its next update."""
    federation = federate(num_rounds=1)
    federation.controller.run()
    server = federation.controller._server
    server.open_round(2, participants=NAMES)
    return federation, server.session, [frame for to, frame in server.outbox() if to == "site-1"]


def train_task(session, frames):
    return load(FLModelUtils.to_shareable(FLModel(params=initial(), current_round=1)), session, frames)


def test_a_training_task_without_frames_is_refused(federate):
    federation = federate(num_rounds=1)
    node = federation.nodes["site-1"]
    result = node.run("train", FLModelUtils.to_shareable(FLModel(params=initial(), current_round=0)))
    assert result.get_return_code() == ReturnCode.TASK_DATA_FILTER_ERROR
    assert isinstance(node.error, DecodeError)


def test_a_training_task_that_asks_for_no_update_is_refused(federate):
    federation, session, _ = ready(federate)
    node = federation.nodes["site-1"]
    result = node.run("train", train_task(session, [b"nonsense"]))
    assert result.get_return_code() == ReturnCode.TASK_DATA_FILTER_ERROR
    assert isinstance(node.error, StateError)


def test_a_request_for_an_update_without_a_model_is_refused(federate):
    federation, session, frames = ready(federate)
    node = federation.nodes["site-1"]
    result = node.run("secagg", load(Shareable(), session, frames))
    assert result.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert isinstance(node.error, StateError)


def test_a_model_of_another_kind_is_refused(federate):
    federation, session, frames = ready(federate)
    with pytest.raises(InputError, match="a model of kind WEIGHT_DIFF; expected WEIGHTS"):
        node = federation.nodes["site-1"]
        node.site.begin(load(DXO("WEIGHT_DIFF", initial()).to_shareable(), session, frames), node.engine.new_context())


def test_a_result_that_nobody_asked_for_is_refused(federate):
    federation, session, frames = ready(federate)
    node = federation.nodes["site-1"]
    result = DXO(DataKind.WEIGHTS, initial()).to_shareable()
    with pytest.raises(StateError, match="did not ask for"):
        site_module.SealResult().process(result, node.engine.new_context())
    assert node.run("train", train_task(session, frames)).get_return_code() == ReturnCode.OK
    with pytest.raises(StateError, match="did not ask for"):
        site_module.SealResult().process(result, node.engine.new_context())


def test_of_a_result_that_failed_only_the_code_leaves(federate):
    node = federate().nodes["site-1"]
    failed = DXO(DataKind.WEIGHTS, initial()).to_shareable()
    failed.set_return_code(ReturnCode.EXECUTION_EXCEPTION)
    result = site_module.SealResult().process(failed, node.engine.new_context())
    assert list(result) == ["__headers__"]
    assert result.get_return_code() == ReturnCode.EXECUTION_EXCEPTION


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"data_kind": DataKind.METRICS}, "kind METRICS cannot be aggregated"),
        ({"steps": 20_001}, "weight"),
        ({"steps": 1.5}, "must be one whole number"),
        ({"metrics": {}}, "no metric 'loss'"),
        ({"metrics": {"loss": 1e6}}, "metric 'loss'"),
        ({"drop": "bias"}, "not those that were sent: 'bias'"),
        ({"bias": np.zeros(4)}, "array 'bias': expected shape (3,), got (4,)"),
        ({"bias": np.full(3, np.nan)}, "bias"),
        ({"bias": ["a"]}, "'bias' is no numpy array"),
        ({"batches": np.asarray(1.5)}, "array 'batches' was of integers"),
        ({"processed": "encrypted"}, "was processed by a filter"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:24],
)
def test_a_result_that_does_not_fit_is_refused_and_nothing_leaves(federate, change, text):
    federation, session, frames = ready(federate)
    node = federation.nodes["site-1"]
    node.site.begin(train_task(session, frames), node.engine.new_context())
    meta = {MetaKey.NUM_STEPS_CURRENT_ROUND: change.pop("steps", 10)}
    meta[MetaKey.INITIAL_METRICS] = change.pop("metrics", {"loss": 1.0})
    if "processed" in change:
        meta[MetaKey.PROCESSED_ALGORITHM] = change.pop("processed")
    kind = change.pop("data_kind", DataKind.WEIGHTS)
    data = initial() | change
    data.pop(data.pop("drop", None), None)
    with pytest.raises(InputError, match=re.escape(text)):
        node.site.finish(DXO(kind, data, meta), node.engine.new_context())
    # The site can still hand in another result of the same round: nothing was committed to.
    node.site.begin(train_task(session, frames), node.engine.new_context())
    good = {MetaKey.NUM_STEPS_CURRENT_ROUND: 10.0, MetaKey.INITIAL_METRICS: {"loss": 1.0}}
    assert take(node.site.finish(DXO(DataKind.WEIGHTS, initial(), good), node.engine.new_context()))[1]


def test_a_site_takes_part_only_under_params_that_its_policy_allows(federate):
    federation = federate(num_rounds=1)
    (federation.home / "site-1" / "secagg" / "policy.toml").write_text("min_honest = 5\n")
    federation.controller.run()
    assert isinstance(federation.nodes["site-1"].error, ParameterError)
    assert federation.saved[0].meta["nr_aggregated"] == 4


def test_a_secagg_that_came_with_the_job_is_refused(federate, monkeypatch):
    federation, session, frames = ready(federate)
    node = federation.nodes["site-1"]
    node.site.close()
    node.start()
    monkeypatch.setattr(
        secagg, "__file__", str(federation.home / "site-1" / "job-1" / "custom" / "secagg" / "__init__.py")
    )
    with pytest.raises(ParameterError, match="came with the job"):
        node.site.answer(load(Shareable(), session, frames), node.engine.new_context())


def test_a_job_id_that_is_no_file_name(federate):
    federation, session, frames = ready(federate)
    node = federation.nodes["site-1"]
    node.site.close()
    node.start()
    node.engine.contexts.job_id = "../elsewhere"
    with pytest.raises(InputError, match="cannot be part of a file's name"):
        node.site.answer(load(Shareable(), session, frames), node.engine.new_context())


def test_filters_without_a_site(federate):
    node = federate().nodes["site-1"]
    node.engine.components.clear()
    with pytest.raises(ParameterError, match="no SecureSite under the id 'secagg'"):
        site_module.SealResult().process(DXO(DataKind.WEIGHTS, initial()).to_shareable(), node.engine.new_context())


@pytest.mark.parametrize(
    "shareable", [{}, {"secagg_session": b"short"}, {"secagg_session": b"0" * 16, "secagg_frames": [1]}]
)
def test_messages_without_frames(shareable):
    with pytest.raises(DecodeError):
        take(Shareable(shareable))


# -- configuration -----------------------------------------------------------------------------------------------------


def test_params_survive_a_job_and_nonsense_does_not(federate):
    params = federate().params
    site = SecureSite(params)
    assert SecureSite(site.params)._settled == params
    assert SecureFedAvg(site.params)._settled == params
    for nonsense in ("zz", 7, ["a"], None):
        with pytest.raises(ParameterError, match="params must be Params"):
            SecureSite(nonsense)
    assert repr(site) == "SecureSite(task='train')"


@pytest.mark.parametrize("option", ["num_rounds", "num_clients", "attempts", "timeout", "train_timeout"])
def test_numbers_of_a_controller(federate, option):
    with pytest.raises(ParameterError, match=f"{option} must be a whole number from 1"):
        SecureFedAvg(federate().params, **{option: 0})


def test_plan_for_reads_a_model():
    params = plan_for({"w": np.zeros(3, np.float64), "n": np.zeros(2, np.int32)}, 5)
    assert params.layout.top_keys == ("floats", "integers")
    assert params.metrics == ()
    assert [leaf.dtype for leaf in params.layout.leaves] == ["float64", "int64"]
    fixed = secagg.FixedPoint(clip=3.0)
    assert dict(plan_for({"w": np.zeros(3)}, 5, segments={"floats": fixed}).segments) == {"floats": fixed}
    assert plan_for({"w": 1.0, "v": np.float32(2)}, 5).layout.size == 2
    with pytest.raises(InputError, match="'c' is no numpy array of floats or integers"):
        plan_for({"c": np.zeros(2, np.complex64)}, 5)


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
