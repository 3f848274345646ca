"""What a site refuses to train, to send, and to take part in; and what no job can be configured with."""

from __future__ import annotations

import re

import numpy as np
import pytest
from federation import initial
from inprocess import NAMES
from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

import secagg
from secagg.errors import DecodeError, InputError, ParameterError, StateError
from secagg.integrations.nvflare import SecureFedAvg, SecureSite, plan_for
from secagg.integrations.nvflare import site as site_module
from secagg.integrations.nvflare.messages import load, take

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
        ({"metrics": {"loss": float("nan")}}, "metric 'loss'"),
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


@pytest.mark.parametrize(
    ("place", "text"),
    [("{own}/job-1/{site}", "come with the job"), ("{own}/link", "come with the job"), ("parties", "absolute")],
)
def test_files_that_came_with_the_job_are_refused(federate, monkeypatch, place, text):
    federation, session, frames = ready(federate)
    node = federation.nodes["site-1"]
    node.site.close()
    node.start()
    (node.home / "job-1").mkdir()
    (node.home / "link").symlink_to(node.home / "job-1")
    monkeypatch.setenv("SECAGG_NVFLARE_HOME", place.replace("{own}", str(node.home)))
    with pytest.raises(ParameterError, match=text):
        node.site.answer(load(Shareable(), session, frames), node.engine.new_context())


def test_files_are_where_the_sites_environment_says(federate, monkeypatch):
    federation, session, frames = ready(federate)
    node = federation.nodes["site-1"]
    node.site.close()
    node.start()
    elsewhere = federation.home / "elsewhere"
    elsewhere.mkdir()
    (node.home / "secagg").rename(elsewhere / "site-1")
    monkeypatch.setenv("SECAGG_NVFLARE_HOME", str(elsewhere / "{site}"))
    assert node.run("train", train_task(session, frames)).get_return_code() == ReturnCode.OK
    assert not (node.home / "secagg").exists()


@pytest.mark.parametrize("part", [SecureSite, SecureFedAvg])
def test_a_job_cannot_say_where_files_are(federate, part):
    with pytest.raises(TypeError, match="home"):
        part(federate().params, home="elsewhere")


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
