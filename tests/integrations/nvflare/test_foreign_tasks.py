"""A server that asks for a task of another name, where the trainer takes any: in NVFlare's runner and simulator."""

from __future__ import annotations

import pytest
from federation import Trainer, initial
from inprocess import Engine
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.executor import Executor
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_copy
from nvflare.apis.utils.event import fire_event_to_components
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.job_config.api import FedJob
from nvflare.private.fed.client.client_engine_executor_spec import TaskAssignment
from nvflare.private.fed.client.client_runner import ClientRunner, ClientRunnerConfig, TaskRouter
from simulation import simulate
from test_simulator import in_clear, says

from secagg.errors import ParameterError
from secagg.integrations.nvflare import OpenRequest, SealResult, SecureExecutor, SecureSite
from secagg.integrations.nvflare.messages import load


class Greedy(Executor):
    """Answers with what it has, whatever the task's data is."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        self.seen.append(make_copy(shareable))
        return DXO(DataKind.WEIGHTS, initial()).to_shareable()


class Leaky(Filter):
    """A filter after secagg's that puts something in beside the frames, or in their place."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def process(self, shareable, fl_ctx):
        return self.change(shareable)


class RunningEngine(Engine):
    """An engine that hands events to components, and the runner that it runs."""

    def __init__(self, node, trainer, *, last=None, site=None):
        super().__init__(node.home, node.name)
        self.components["secagg"] = self.site = site or SecureSite(node.params)
        self.handlers = [self.site]
        router = TaskRouter()
        router.add_executor(["secagg", "secagg_holder"], SecureExecutor())
        router.add_executor(["*"], trainer)
        results = {"train/out": [SealResult(), *([last] if last else [])]}
        config = ClientRunnerConfig(router, {"train/in": [OpenRequest()]}, results)
        self.runner = ClientRunner({}, config, "job-1", self)

    def register_aux_message_handler(self, topic, message_handle_func):
        pass

    def fire_event(self, event, fl_ctx):
        super().fire_event(event, fl_ctx)
        fire_event_to_components(event, self.handlers, fl_ctx)

    def run(self, name, data):
        fl_ctx, peer = self.new_context(), FLContext()
        peer.set_prop(ReservedKey.RUN_NUM, "job-1", private=False, sticky=False)
        fl_ctx.set_peer_context(peer)
        return self.runner._process_task(TaskAssignment(name, "id", data), fl_ctx)


def model():
    return FLModelUtils.to_shareable(FLModel(params=initial(), current_round=0))


def content(result):
    return set(result) - {"__headers__"}


@pytest.fixture
def node(federate):
    """A site, and what asks it for an update."""
    federation = federate(num_rounds=1)
    federation.controller.run()
    server = federation.controller._server
    server.open_round(2, participants=list(federation.nodes))
    node = federation.nodes["site-1"]
    node.site.close()
    node.request = load(model(), server.session, [frame for to, frame in server.outbox() if to == "site-1"])
    return node


@pytest.mark.parametrize("name", ["sneak", "validate", "Train", "train ", "train/in", "secagg*", ""])
def test_a_task_of_another_name_gets_no_data_and_gives_none(node, name):
    trainer = Greedy()
    engine = RunningEngine(node, trainer)
    result = engine.run(name, model())
    assert not content(result)
    assert result.get_return_code() == ReturnCode.TASK_UNSUPPORTED
    assert [content(seen) for seen in trainer.seen] == [set()]


def test_the_training_task_goes_through_the_same_runner(node):
    engine = RunningEngine(node, Trainer())
    result = engine.run("train", node.request)
    assert result.get_return_code() == ReturnCode.OK
    assert content(result) == {"secagg_session", "secagg_frames"}


def test_the_runner_hands_out_what_secagg_does_not_hear_of(node):
    """What the other tests find empty is there without the component's ear."""
    engine = RunningEngine(node, Greedy())
    engine.handlers.clear()
    assert "DXO" in content(engine.run("sneak", model()))


def test_a_trainer_that_needs_data_fails_with_a_task_of_another_name(node):
    result = RunningEngine(node, Trainer()).run("sneak", model())
    assert not content(result)
    assert result.get_return_code() == ReturnCode.EXECUTION_EXCEPTION


def test_tasks_that_a_job_leaves_unprotected(node):
    site = SecureSite(node.params, plain=["validate"])
    assert "DXO" in content(RunningEngine(node, Greedy(), site=site).run("validate", model()))
    assert not content(RunningEngine(node, Greedy(), site=site).run("validate2", model()))


@pytest.mark.parametrize("plain", ["validate", [1], ["train"], ["secagg"], ["secagg_holder"], ["*"], ["val*"]])
def test_plain_is_a_list_of_other_tasks(node, plain):
    with pytest.raises(ParameterError, match="plain"):
        SecureSite(node.params, plain=plain)


def put(**more):
    def change(shareable):
        shareable.update(more)
        return shareable

    return change


def headed(**headers):
    def change(shareable):
        for key, value in headers.items():
            shareable.set_header(key, value)
        return shareable

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (put(DXO=initial()), ReturnCode.TASK_RESULT_FILTER_ERROR),
        (put(secagg_frames=[initial()]), ReturnCode.TASK_RESULT_FILTER_ERROR),
        (put(__headers__=initial()), ReturnCode.OK),
        (put(__headers__=[initial()]), ReturnCode.ERROR),
        (lambda _: DXO(DataKind.WEIGHTS, initial()).to_shareable(), ReturnCode.TASK_RESULT_FILTER_ERROR),
        (lambda _: Shareable(), ReturnCode.TASK_RESULT_FILTER_ERROR),
        (headed(**{ReservedKey.RC: initial()}), ReturnCode.ERROR),
        (headed(**{ReservedKey.RC: "FAILED", "weights": initial()}), "FAILED"),
        (headed(weights=initial()), ReturnCode.OK),
    ],
    ids=["beside", "in-frames", "headers", "no-headers", "instead", "empty", "code", "failed", "header"],
)
def test_a_filter_after_secaggs_adds_nothing(node, change, code):
    result = RunningEngine(node, Trainer(), last=Leaky(change)).run("train", node.request)
    assert result.get_return_code() == code
    assert content(result) == ({"secagg_session", "secagg_frames"} if code == ReturnCode.OK else set())
    assert set(result["__headers__"]) <= {
        ReservedKey.RC,
        ReservedKey.TASK_NAME,
        ReservedKey.TASK_ID,
        ReservedKey.AUDIT_EVENT_ID,
    }


# -- a job ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [["*"], ["train", "validate"], ["t*"], ["secagg_x"]])
def test_a_job_whose_trainer_takes_other_tasks_is_refused(node, tasks):
    made = FedJob("study")
    made.to_clients(Trainer(), tasks=tasks)
    with pytest.raises(ParameterError, match=r"Trainer takes the tasks .*tasks=\['train'\]"):
        made.to_clients(SecureSite(node.params))


def test_a_job_with_tasks_that_it_leaves_unprotected(node):
    made = FedJob("study")
    made.to_clients(Trainer(), tasks=["fit", "validate"])
    made.to_clients(SecureSite(node.params, task="fit", plain=["validate"]))


def test_a_server_that_probes_a_job_in_the_simulator(tmp_path):
    outcome = simulate(tmp_path, rounds=1, seconds=30, trainer={"greedy": True}, probe=("sneak", "validate"))
    assert outcome.contributors == [4]
    tasks = [task for task, _ in outcome.heard]
    assert (tasks.count("train"), tasks.count("sneak"), tasks.count("validate")) == (4, 4, 4)
    for secret in in_clear(1):
        assert not [task for task, message in outcome.heard if says(secret, message)]
