"""NVFlare's two runners, as far as components see them, in one process: tasks go to sites by function call."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from federation import Trainer, initial, weight
from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, TaskCompletionStatus
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContextManager
from nvflare.apis.shareable import Shareable, make_copy, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel

import secagg
from secagg.integrations.nvflare import OpenRequest, SealResult, SecureExecutor, SecureFedAvg, SecureSite, plan_for

NAMES = tuple(f"site-{i}" for i in range(1, 6))


class Workspace:
    def __init__(self, home: Path) -> None:
        self.home = home

    def get_site_config_dir(self) -> str:
        return str(self.home)

    def get_run_dir(self, job_id: str) -> str:
        return str(self.home / job_id)

    def get_app_dir(self, job_id: str) -> str:
        return str(self.home / job_id)


class Engine:
    """What components ask an engine for."""

    def __init__(self, home: Path, name: str) -> None:
        self.workspace, self.components, self.clients = Workspace(home), {}, []
        self.events: list[str] = []
        self.contexts = FLContextManager(engine=self, identity_name=name, job_id="job-1")

    def new_context(self):
        return self.contexts.new_context()

    def get_workspace(self):
        return self.workspace

    def get_component(self, name):
        return self.components.get(name)

    def get_clients(self):
        return self.clients

    def fire_event(self, event, fl_ctx):
        self.events.append(event)


class Node:
    """A site: what NVFlare's ClientRunner does with a task."""

    def __init__(self, home: Path, name: str, params: Any, **trainer: Any) -> None:
        self.home, self.name, self.params = home, name, params
        self.trainer = Trainer(**trainer)
        self.start()

    def start(self) -> None:
        """Begin a new process."""
        self.engine = Engine(self.home, self.name)
        self.engine.components["secagg"] = self.site = SecureSite(self.params)

    def run(self, task_name: str, data: Shareable) -> Shareable:
        fl_ctx = self.engine.new_context()
        if task_name in ("secagg", "secagg_holder"):
            try:
                return SecureExecutor().execute(task_name, data, fl_ctx, Signal())
            except Exception as error:  # noqa: BLE001  # as NVFlare does
                self.error = error
                return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        try:
            data = OpenRequest().process(data, fl_ctx)
        except Exception as error:  # noqa: BLE001  # as NVFlare does
            self.error = error
            return make_reply(ReturnCode.TASK_DATA_FILTER_ERROR)
        result = self.trainer.execute(task_name, data, fl_ctx, Signal())
        try:
            return SealResult().process(result, fl_ctx)
        except Exception as error:  # noqa: BLE001  # as NVFlare does
            self.error = error
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)


class Tasks:
    """The communicator of a controller: hands tasks to `answer`, and answers to the task."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.sent, self.cancelled = answer, Counter(), 0

    def send(self, task, fl_ctx, targets, send_order, task_assignment_timeout):
        (name,) = targets
        self.sent[task.name] += 1
        result = self.answer(name, task.name, make_copy(task.data))
        if result is None:  # the site is dead, as NVFlare finds out in the end
            task.completion_status = TaskCompletionStatus.CLIENT_DEAD
        elif result != "silent":
            client_task = ClientTask(Client(name, ""), task)
            client_task.result = result
            task.result_received_cb(client_task=client_task, fl_ctx=fl_ctx)
            task.completion_status = TaskCompletionStatus.OK

    def cancel_task(self, task, completion_status=None, fl_ctx=None):
        self.cancelled += 1
        task.completion_status = TaskCompletionStatus.CANCELLED


class Federation:
    """A controller and its sites."""

    def __init__(
        self, home: Path, names=NAMES, *, plan: dict | None = None, trainers: dict | None = None, holder: str = "",
        **controller: Any,
    ):  # fmt: skip
        options = {"dropout": 1, "max_weight": 20_000, "error": 1e-6, "rounds_per_setup": 4, "metrics": ("loss",)} | (
            plan or {}
        )
        self.params = plan_for(initial(), len(names), **options)
        sites = tuple(dict.fromkeys([*names, *([holder] if holder else [])]))
        identities = {name: secagg.Identity.generate() for name in (*sites, "server")}
        self.roster = secagg.Roster(
            {name: identities[name].verify_key for name in names}, identities["server"].verify_key,
            identities[holder].verify_key if holder else None,
        )  # fmt: skip
        for name, identity in identities.items():
            (home / name / "secagg").mkdir(parents=True)
            identity.save(home / name / "secagg" / f"{name}.key")
            self.roster.save(home / name / "secagg" / "roster")
            if holder:
                (home / name / "secagg" / "policy.toml").write_text('protocols = ["ckks"]\n')
        self.home = home
        self.nodes = {name: Node(home / name, name, self.params, **(trainers or {})) for name in sites}
        self.heard: list[tuple[str, str, Shareable]] = []
        self.saved: list[FLModel] = []
        self.lost: dict[str, Any] = {}  # site -> None (dead), "silent", or a function of (task name, data)
        self.controller = self.controlled(**controller)

    def controlled(self, **options: Any) -> SecureFedAvg:
        """Return a controller, as a new server process would make it."""
        controller = SecureFedAvg(self.params, **({"timeout": 1, "train_timeout": 1} | options))
        engine = Engine(self.home / "server", "server")
        engine.clients = [Client(name, "") for name in self.nodes]
        controller.engine, controller.fl_ctx, controller.abort_signal = engine, engine.new_context(), Signal()
        controller.communicator = self.tasks = Tasks(self.answer)
        controller.load_model = lambda: FLModel(params=initial())
        controller.save_model = self.save
        return controller

    def save(self, model: FLModel) -> None:
        self.saved.append(FLModel(params=dict(model.params), metrics=model.metrics, meta=dict(model.meta)))

    def answer(self, name: str, task_name: str, data: Shareable) -> Any:
        if name in self.lost:
            what = self.lost[name]
            return what(task_name, data) if callable(what) else what
        result = self.nodes[name].run(task_name, data)
        self.heard.append((name, task_name, make_copy(result)))
        return result

    def close(self) -> None:
        for node in self.nodes.values():
            node.site.close()


def plaintext(model: dict[str, np.ndarray], results: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what FedAvg makes of sites' weights, in float64."""
    total = sum(weight(site) for site in results)
    return {
        name: sum(weight(site) * result[name].astype(np.float64) for site, result in results.items()) / total
        for name in model
    }
