"""The server's side of a job: FedAvg whose rounds go through the engine, and the loop that carries frames as tasks."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, SendOrder, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.model_controller import ModelController

from secagg.aggregate import Aggregate
from secagg.errors import AbortError, InputError, ParameterError, PeerError
from secagg.identity import Identity, Roster
from secagg.integrations.nvflare.messages import HOLDER_TASK, TASK, load, take
from secagg.integrations.nvflare.site import keep_out_of_jobs, params_of
from secagg.integrations.nvflare.store import ROSTER_FILE, agreed_session, site_home
from secagg.integrations.nvflare.updates import flat_mean, update_layout
from secagg.params import Params
from secagg.server import Server
from secagg.wire import HOLDER

__all__ = ["SecureFedAvg"]

UPDATES = ("masked", "encrypted")  # phases in which the server asks for updates; the model goes along with its frames
POLL = 0.05  # seconds between two looks at what can only be seen by looking


class SecureFedAvg(ModelController):
    """FedAvg over protected updates; in a job it takes the place of NVFlare's FedAvg.

    Parameters
    ----------
    params : Params
        Those of the sites; `plan_for` makes them.
    num_rounds : int
    num_clients : int, optional
        How many sites are asked for an update in a round, drawn anew each time. Default: all that are there.
    server_name : str
        What the server's key is called: ``NAME.key``. It and the roster are in ``local/secagg`` of the server's workspace, or
        where the variable SECAGG_NVFLARE_HOME of its environment says.
    task_name : str
        The training task.
    train_timeout : int
        Seconds that a site has to train and answer.
    timeout : int
        Seconds for every other exchange.
    attempts : int
        How often a round is tried that too few answered.
    start_round : int
    holder : str
        Name of the site that holds the key, for ``protocol="ckks"``. Default: the one of whose key the roster says so.
    persistor_id : str
        As in every ModelController.

    Raises
    ------
    ParameterError
        `params` are none or keep the sum from the server, or a number is none.

    Notes
    -----
    The server learns the weighted mean, the sum of the weights, the means of the metrics that the Params name, and who took
    part. Sites that answer too late or are lost are dropouts of the round; they are asked again in the next.
    """

    def __init__(
        self,
        params: Params | Sequence[Any],
        num_rounds: int = 5,
        num_clients: int | None = None,
        server_name: str = "server",
        task_name: str = "train",
        train_timeout: int = 3600,
        timeout: int = 300,
        attempts: int = 3,
        start_round: int = 0,
        holder: str = "",
        persistor_id: str = AppConstants.DEFAULT_PERSISTOR_ID,
    ) -> None:
        super().__init__(persistor_id=persistor_id)
        counts = {
            "num_rounds": num_rounds, "num_clients": 1 if num_clients is None else num_clients, "attempts": attempts,
            "train_timeout": train_timeout, "timeout": timeout,
        }  # fmt: skip
        for what, count in counts.items():
            if type(count) is not int or count < 1:
                raise ParameterError(f"{what} must be a whole number from 1")
        self._settled, self.params = params_of(params)
        if self._settled.protocol == "ckks" and self._settled.reveal != "server":
            raise ParameterError(
                "FedAvg needs reveal='server': it makes the next model of the mean, at the server; under reveal='holder' the "
                "server never has it"
            )
        self.num_rounds, self.num_clients, self.start_round = num_rounds, num_clients, start_round
        self.server_name, self.task_name = server_name, task_name
        self.train_timeout, self.timeout, self.attempts = train_timeout, timeout, attempts
        self.holder, self.persistor_id = holder, persistor_id
        self.current_round = start_round
        self._replies: queue.Queue[tuple[str, Task, list[bytes]]] = queue.Queue()
        self._server: Server | None = None
        self._roster: Roster | None = None
        self._last_id = 0

    def add_to_fed_job(self, job: Any, ctx: Any, **kwargs: Any) -> None:
        """Add itself to a job; NVFlare calls this."""
        keep_out_of_jobs(job)
        super().add_to_fed_job(job, ctx, **kwargs)

    # -- FedAvg --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run all rounds; NVFlare calls this."""
        self.fl_ctx.set_prop(AppConstants.NUM_ROUNDS, self.num_rounds, private=True, sticky=False)
        model = self.load_model()
        if update_layout(model.params) != self._settled.layout:
            raise InputError("the model to start from has other arrays than the one that the Params were made for")
        model.start_round, model.total_rounds = self.start_round, self.num_rounds
        for number in range(self.start_round, self.start_round + self.num_rounds):
            self.current_round = model.current_round = number
            self.fl_ctx.set_prop(AppConstants.CURRENT_ROUND, self.current_round, private=True, sticky=False)
            self.event(AppEventType.ROUND_STARTED)
            outcome = self._attempt(model)
            if outcome is None:  # the job was aborted
                return
            self.event(AppEventType.BEFORE_AGGREGATION)
            aggregate = self._model_of(outcome, model)
            self.fire_event_with_data(
                AppEventType.AFTER_AGGREGATION, self.fl_ctx, AppConstants.AGGREGATION_RESULT, aggregate
            )
            model = FLModelUtils.update_model(model, aggregate)
            self.save_model(model)

    def _attempt(self, model: FLModel) -> Aggregate | None:
        for attempt in range(1, self.attempts):
            try:
                return self._round(model)
            except AbortError as error:
                self.warning(f"secagg: round {self.current_round}, attempt {attempt} of {self.attempts}: {error}")
        return self._round(model)

    def _model_of(self, outcome: Aggregate, model: FLModel) -> FLModel:
        """Return the new model: each array plus its mean difference, in the array's own dtype."""
        params = {}
        for name, delta in flat_mean(outcome.mean).items():
            old = np.asarray(model.params[name])
            params[name] = np.asarray(old + delta).astype(old.dtype)
        meta = {"nr_aggregated": len(outcome.contributors), "current_round": self.current_round}
        return FLModel(
            params=params, params_type=ParamsType.FULL, metrics=dict(outcome.metrics) or None,
            current_round=self.current_round, meta=meta,
        )  # fmt: skip

    # -- one round -------------------------------------------------------------------------------------------------

    def _open_server(self) -> Server:
        if self._server is None:
            workspace = self.engine.get_workspace()
            run_dir = workspace.get_run_dir(self.fl_ctx.get_job_id())
            home = site_home(self.server_name, workspace.get_site_config_dir(), run_dir)
            identity = Identity.load(home / f"{self.server_name}.key")
            self._roster = Roster.load(home / ROSTER_FILE)
            session = agreed_session(home, self._settled)
            self._server = Server(self._settled, identity=identity, roster=self._roster, session=session)
        return self._server

    def _home_of(self, party: str) -> str:
        """Return the name of the site at which a party lives.

        Raises
        ------
        ParameterError
            The key holder is none of the roster's clients, and nobody said where it lives.
        """
        roster = self._roster
        if party != HOLDER or roster is None:
            return party
        home = self.holder or next((name for name in roster if roster.key(name) == roster.holder), "")
        if not home:
            raise ParameterError(
                "the key holder is none of the roster's clients: say at which site it lives, SecureFedAvg(holder='NAME')"
            )
        return home

    def _participants(self) -> list[str]:
        there = {client.name for client in self.engine.get_clients()}
        known = there.intersection(self._roster or ())
        at_home = {self._home_of(HOLDER)} if self._settled.protocol == "ckks" else set()
        if strangers := sorted(there - known - at_home):
            self.warning(f"secagg: not on the roster, and left out: {', '.join(strangers)}")
        wanted = min(len(known), self.num_clients or len(known), self._settled.max_participants)
        return sorted(secrets.SystemRandom().sample(sorted(known), wanted))

    def _round(self, model: FLModel) -> Aggregate | None:
        """Carry one round through all its phases; None if the job was aborted meanwhile.

        Raises
        ------
        AbortError
            Too few answered, or too few are there, or the key holder is not.
        """
        server = self._open_server()
        participants = self._participants()
        if len(participants) < self._settled.min_clients:
            raise AbortError(
                f"{len(participants)} sites on the roster are connected; {self._settled.min_clients} are needed"
            )
        if self._settled.protocol == "ckks":
            home = self._home_of(HOLDER)
            if home not in {client.name for client in self.engine.get_clients()}:
                raise AbortError(f"{home}, the site that holds the key, is not connected")
        self._last_id += 1
        server.open_round(self._last_id, participants=participants)
        while server.phase != "idle":
            if not self._exchange(server, model):
                server.abort()
                return None
            server.close_phase()
        outcome: Aggregate = server.result(self._last_id)
        means = "".join(f", {name} {value:.6g}" for name, value in outcome.metrics.items())
        self.info(
            f"secagg: round {self.current_round}: {len(outcome.contributors)} of {len(participants)} sites, weight "
            f"{outcome.weight}, {outcome.clipped} values clipped{means}"
        )
        return outcome

    def _exchange(self, server: Server, model: FLModel) -> bool:
        """Send what the server has to send, and hand it the answers, until nobody is missing or time is up."""
        trains = server.phase in UPDATES
        seconds = self.train_timeout if trains else self.timeout
        boxes = self._boxes(server)
        tasks = {
            party: self._task(server, party, frames, model if trains else None, seconds)
            for party, frames in boxes.items()
        }
        for party, task in tasks.items():
            self.send(task=task, fl_ctx=self.fl_ctx, targets=[self._home_of(party)], send_order=SendOrder.ANY)
        waiting, end = set(tasks), time.monotonic() + seconds
        while waiting.intersection(server.missing) and time.monotonic() < end:
            if self.abort_signal.triggered:
                return False
            try:
                name, task, frames = self._replies.get(timeout=POLL)
            except queue.Empty:
                # NVFlare gives tasks up whose site is gone. An answer is queued before its task is over.
                over = {name for name, task in tasks.items() if task.completion_status is not None}
                waiting -= over if self._replies.empty() else set()
                continue
            if task is tasks.get(name):  # and not of a phase before
                self._hand_in(server, name, frames)
                waiting.discard(name)
        for task in tasks.values():
            if task.completion_status is None:
                self.cancel_task(task)
        return True

    def _boxes(self, server: Server) -> Mapping[str, list[bytes]]:
        there = {client.name for client in self.engine.get_clients()}
        boxes: dict[str, list[bytes]] = {}
        for to, frame in server.outbox():
            for name in self._roster or () if to is None else (to,):
                if self._home_of(name) in there:  # whoever is not there is missing when the phase is closed
                    boxes.setdefault(name, []).append(frame)
        return boxes

    def _task(self, server: Server, party: str, frames: list[bytes], model: FLModel | None, seconds: int) -> Task:
        data = Shareable() if model is None else FLModelUtils.to_shareable(model)
        if model is not None:
            data.add_cookie(AppConstants.CONTRIBUTION_ROUND, self.current_round)
        load(data, server.session, frames)
        # `send` hands the arrays on as they are; `broadcast` would copy the model for each site.
        return Task(
            name=HOLDER_TASK if party == HOLDER else TASK if model is None else self.task_name,
            data=data,
            timeout=seconds,
            result_received_cb=self._received,
        )

    def _received(self, client_task: ClientTask, fl_ctx: FLContext) -> None:  # noqa: ARG002
        """Queue an answer, in NVFlare's thread, for the thread that runs the rounds."""
        result, name = client_task.result, client_task.client.name
        if client_task.task.name == HOLDER_TASK:
            name = HOLDER
        client_task.result = None
        frames: list[bytes] = []
        if (code := result.get_return_code()) != ReturnCode.OK:
            self.warning(f"secagg: {name} answers {code}")
        else:
            try:
                _, frames = take(result)
            except PeerError as refused:
                self.warning(f"secagg: {name}: {refused}")
        self._replies.put((name, client_task.task, frames))

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Leave an answer that came after its phase: the engine would refuse it."""
        self.info(f"secagg: {client.name} answered {task_name} too late")

    def _hand_in(self, server: Server, name: str, frames: list[bytes]) -> None:
        for frame in frames:
            try:
                server.receive(frame, sender=name)
            except PeerError as refused:
                self.warning(f"secagg: refused a frame: {refused}")
