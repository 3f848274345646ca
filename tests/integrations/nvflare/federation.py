"""What runs inside the simulator in these tests: a persistor, trainers that misbehave on request, and a filter that listens.

NVFlare copies this file into the job and imports it in the processes of server and sites. Everything it needs of the test comes
in as arguments.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
from nvflare.apis.controller_spec import Task
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.executor import Executor
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import make_reply
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.abstract.model import ModelLearnableKey, make_model_learnable
from nvflare.app_common.abstract.model_persistor import ModelPersistor
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.fuel.utils import fobs


def initial() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {
        "weight": rng.normal(0, 0.1, (4, 3)).astype(np.float32),
        "bias": np.zeros(3),
        "half": np.linspace(-1, 1, 5).astype(np.float16),
        "scale": np.asarray(0.5, dtype=np.float32),
        "batches": np.asarray(3, dtype=np.int64),
    }


def weight(site: str) -> int:
    return 7919 + 1000 * int(site.rpartition("-")[2])


def loss(site: str, number: int) -> float:
    return 0.123456789 * int(site.rpartition("-")[2]) + number


def trained(model: dict[str, np.ndarray], site: str, number: int) -> dict[str, np.ndarray]:
    """What a site makes of a model in a round: anybody can compute it again."""
    rng = np.random.default_rng([int(site.rpartition("-")[2]), number])
    new = {}
    for name, array in sorted(model.items()):
        if array.dtype.kind == "i":
            new[name] = np.asarray(array + number + 1)
        else:
            new[name] = np.asarray(array + rng.uniform(-0.2, 0.2, array.shape) - 0.1 * array).astype(array.dtype)
    return new


class Persistor(ModelPersistor):
    """Keeps the model of every round in a directory."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.directory = directory

    def load_model(self, fl_ctx):
        return make_model_learnable(initial(), {})

    def save_model(self, model, fl_ctx):
        number = fl_ctx.get_prop(AppConstants.CURRENT_ROUND)
        np.savez(Path(self.directory) / f"model-{number}.npz", **model[ModelLearnableKey.WEIGHTS])
        meta = {key: value for key, value in model[ModelLearnableKey.META].items() if isinstance(value, int)}
        (Path(self.directory) / f"meta-{number}.json").write_text(json.dumps(meta))


class Trainer(Executor):
    """Trains as `trained` says.

    Parameters
    ----------
    fails : dict of str to list of int
        Rounds in which a site fails instead.
    dies : dict of str to int
        Round in which a site's process is killed while it trains.
    vanishes : dict of str to int
        Round in which all of a deployed site is: the process of the job, and the one that started it.
    greedy : bool
        Trains on what it has where a task comes without a model.
    """

    def __init__(
        self,
        kind: str = "WEIGHTS",
        fails: dict | None = None,
        dies: dict | None = None,
        vanishes: dict | None = None,
        greedy: bool = False,
    ) -> None:
        super().__init__()
        self.greedy = greedy
        self.kind, self.fails, self.dies, self.vanishes = kind, fails or {}, dies or {}, vanishes or {}

    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        site, number = fl_ctx.get_identity_name(), shareable.get_header(AppConstants.CURRENT_ROUND)
        if number in self.fails.get(site, []):
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        # -1: a task without a round kills nobody.
        if self.vanishes.get(site, -1) == number:
            os.kill(os.getppid(), signal.SIGKILL)
        if number in (self.dies.get(site, -1), self.vanishes.get(site, -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.greedy and "DXO" not in shareable:
            model, number = initial(), 0
        else:
            model = from_shareable(shareable).data
        new = trained(model, site, number)
        if self.kind == DataKind.WEIGHT_DIFF:
            new = {name: np.asarray(new[name] - model[name]) for name in new}
        meta = {
            MetaKey.NUM_STEPS_CURRENT_ROUND: weight(site),
            MetaKey.INITIAL_METRICS: {"loss": loss(site, number), "private": 0.987654321},
        }
        return DXO(self.kind, new, meta).to_shareable()


class Prober(Controller):
    """A server that asks all sites for tasks of other names than the job's."""

    def __init__(self, names: list) -> None:
        super().__init__()
        self.names = names

    def start_controller(self, fl_ctx):
        pass

    def stop_controller(self, fl_ctx):
        pass

    def control_flow(self, abort_signal, fl_ctx):
        for name in self.names:
            task = Task(name, FLModelUtils.to_shareable(FLModel(params=initial(), current_round=0)), timeout=60)
            self.broadcast_and_wait(task, fl_ctx, min_responses=len(self._engine.get_clients()))

    def process_result_of_unknown_task(self, client, task_name, client_task_id, result, fl_ctx):
        pass


class Listener(Filter):
    """Writes down, at the server, all that comes from a site."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.directory = directory

    def process(self, shareable, fl_ctx):
        path = Path(self.directory)
        number = len(list(path.iterdir()))
        heard = {key: value for key, value in shareable.items() if key != "__headers__"}
        task = shareable.get_header("__task_name__") or "?"
        (path / f"{number:04}.{task}").write_bytes(fobs.dumps(heard) + fobs.dumps(shareable))
        return shareable
