"""A site's side of a job: one component with the client's state, an executor and two filters that lead to it.

Where nothing is trained, the server's frames come with the task "secagg", and the executor answers them. The request for an
update comes with the training task: a filter takes the frames out before the trainer sees the model, and another one puts frames
in the place of its result. The trainer knows of none of this.

NVFlare looks filters up by the exact name of a task, and the name is the server's choice. So the component also listens to what
happens to every task: one of another name finds neither data nor a way out, and in the end only frames leave.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.filter import Filter
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.job_config.defs import FilterType, JobTargetType

import secagg
from secagg.client import Client
from secagg.errors import AbortError, InputError, ParameterError, PeerError, StateError
from secagg.holder import KeyHolder
from secagg.integrations.nvflare.messages import HOLDER_TASK, TASK, only_frames, replace, reply, take
from secagg.integrations.nvflare.store import SiteFiles, site_home
from secagg.integrations.nvflare.updates import change, metrics_of, model_hash, weight_of
from secagg.params import Params

__all__ = ["COMPONENT", "OpenRequest", "SealResult", "SecureExecutor", "SecureSite", "keep_out_of_jobs", "params_of"]

COMPONENT = "secagg"
_BEFORE = (EventType.BEFORE_TASK_DATA_FILTER, EventType.BEFORE_TASK_EXECUTION)
_AFTER = (EventType.AFTER_TASK_EXECUTION, EventType.BEFORE_TASK_RESULT_FILTER)


def params_of(params: Params | Sequence[Any]) -> tuple[Params, list[Any]]:
    """Return Params and the nested lists that stand for them in a job's configuration, for people to read.

    Raises
    ------
    ParameterError
        Neither Params nor such lists.
    """
    try:
        plain = params.canonical() if isinstance(params, Params) else params
        settled = Params.from_bytes(msgspec.msgpack.encode(plain))
    except (TypeError, ValueError, OverflowError) as error:
        reason = f": {error}" if isinstance(error, ParameterError) else ""
        raise ParameterError(f"params must be Params, or what a job made of them{reason}") from None
    return settled, msgspec.json.decode(msgspec.json.encode(plain))


def keep_out_of_jobs(job: Any) -> None:
    """Tell a job that secagg is installed at the sites: its code is not for the server to hand out."""
    job.set_app_packages(sorted({*job.job.app_packages, "secagg"}))


class SecureSite(FLComponent):
    """The client of one job at one site, or its key holder, or both, as the roster has it.

    Add it to the job after all other filters: ``job.to_clients(SecureSite(params))``.

    Parameters
    ----------
    params : Params
        What this site takes part under; the site's own policy has to allow them.
    task : str
        The training task.
    plain : sequence of str
        Names of other tasks whose results may leave as they are, such as "validate". Nothing of these is protected. Default:
        none, and a task of any other name is refused.

    Raises
    ------
    ParameterError
        `params` are none, or `plain` names a task that has to be protected.

    Notes
    -----
    The site's key, roster, policy, ledger and snapshots are in ``local/secagg`` of its workspace, or where the variable
    SECAGG_NVFLARE_HOME of its own environment says. A job has no say in it.
    """

    def __init__(self, params: Params | Sequence[Any], task: str = "train", plain: Sequence[str] = ()) -> None:
        super().__init__()
        self._settled, self.params = params_of(params)
        self.task = task
        self.plain = _plain_tasks(plain, task)
        self._lock = threading.Lock()
        self._files: SiteFiles | None = None
        self._client: Client | None = None
        self._holder: KeyHolder | None = None
        self._base: dict[str, NDArray[Any]] | None = None
        self._told = False

    def __repr__(self) -> str:
        return f"SecureSite(task={self.task!r})"

    def get_job_target_type(self) -> Any:
        """Return where NVFlare may put it: at clients."""
        return JobTargetType.CLIENT

    def add_to_fed_job(self, job: Any, ctx: Any, **kwargs: Any) -> None:
        """Add itself, the executor and the filters to a job; NVFlare calls this.

        Raises
        ------
        ParameterError
            An executor of the job takes tasks that are not protected.
        """
        job.check_kwargs(args_to_check=kwargs, args_expected={})
        for each in job._get_app(ctx).app_config.executors:  # noqa: SLF001  # there is no public way
            if open_to := sorted(set(each.tasks) - {self.task, *self.plain}):
                raise ParameterError(
                    f"the job's {type(each.executor).__name__} takes the tasks {', '.join(open_to)}, "
                    f"whose results nothing protects: "
                    f"add it with tasks=[{self.task!r}]"
                )
        keep_out_of_jobs(job)
        job.add_component(comp_id=COMPONENT, obj=self, ctx=ctx)
        job.add_executor(obj=SecureExecutor(), tasks=[TASK, HOLDER_TASK], ctx=ctx)
        job.add_filter(obj=OpenRequest(), filter_type=FilterType.TASK_DATA, tasks=[self.task], ctx=ctx)
        job.add_filter(obj=SealResult(), filter_type=FilterType.TASK_RESULT, tasks=[self.task], ctx=ctx)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Empty tasks that are none of ours, and results that are no frames; NVFlare calls this.

        They are emptied in place: NVFlare goes on with a task whatever becomes of a handler.
        """
        name = fl_ctx.get_prop(FLContextKey.TASK_NAME)
        if name in self.plain:
            return
        foreign = name not in (self.task, TASK, HOLDER_TASK)
        if event_type in _BEFORE and foreign:
            data = fl_ctx.get_prop(FLContextKey.TASK_DATA)
            # The cookies are the server's: without them it takes the answer for nobody's and asks again and again.
            replace(
                data, make_reply(ReturnCode.TASK_UNSUPPORTED, {ReservedKey.COOKIE_JAR: data.get_cookie_jar() or {}})
            )
            self.log_error(fl_ctx, f"secagg: refused a task that is not protected: {name!r}")
        elif event_type in _AFTER and foreign:
            replace(fl_ctx.get_prop(FLContextKey.TASK_RESULT), make_reply(ReturnCode.TASK_UNSUPPORTED))
        elif event_type == EventType.AFTER_TASK_RESULT_FILTER:
            # Whatever the filters were, and whichever came after ours.
            result = fl_ctx.get_prop(FLContextKey.TASK_RESULT)
            replace(result, make_reply(ReturnCode.TASK_UNSUPPORTED) if foreign else only_frames(result))

    # -- what executor and filters call ---------------------------------------------------------------------------

    def answer(self, request: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return the frames that answer a request in which nothing is trained."""
        with self._lock:
            session, frames = take(request)
            client = self._open(session, fl_ctx)
            before = client.awaiting  # a site that could not train is still asked for its answer as a committee member
            self._hand(client, frames, fl_ctx)
            if client.awaiting not in (None, before):
                raise StateError("the server asks for an update without a model to train")
            return self._send(client, fl_ctx)

    def hold(self, request: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return the key holder's answer: its public key, or the sum of a round.

        Raises
        ------
        DecodeError, InputError, ParameterError
            No frames, or another party holds the key.
        """
        with self._lock:
            session, frames = take(request)
            holder = self._open_holder(session, fl_ctx)
            self._hand(holder, frames, fl_ctx)
            return self._send(holder, fl_ctx)

    def begin(self, request: Shareable, fl_ctx: FLContext) -> None:
        """Take the frames out of a training task, and remember the model that it starts from.

        Raises
        ------
        StateError
            The frames ask for no update: what would be trained could not be protected.
        DecodeError, InputError, ParameterError
            No frames, no model, or this site's files do not allow it.
        """
        with self._lock:
            self._base = None
            client = self._receive(request, fl_ctx)
            if not client.awaiting:
                raise StateError("a training task, but the server's frames ask this site for no update")
            model = from_shareable(request)
            if model.data_kind != DataKind.WEIGHTS:
                raise InputError(
                    f"a training task with a model of kind {str.__str__(model.data_kind)}; expected WEIGHTS"
                )
            # Copies: trainers may write into what they are given.
            self._base = {name: np.array(array) for name, array in model.data.items()}

    def finish(self, result: DXO, fl_ctx: FLContext) -> Shareable:
        """Return the frames that protect a trainer's result, with its weight and metrics.

        Raises
        ------
        StateError
            No training was begun.
        InputError
            The result does not fit the Params or the model.
        """
        with self._lock:
            client, base, self._base = self._client, self._base, None
            if client is None or base is None or not client.awaiting:
                raise StateError("a result of training that secagg's server did not ask for")
            self._tell_of_metrics(result, fl_ctx)
            client.submit(
                change(result, base), weight=weight_of(result), metrics=metrics_of(result, self._settled.metrics),
                context=model_hash(base),
            )  # fmt: skip
            return self._send(client, fl_ctx)

    # -- how -----------------------------------------------------------------------------------------------------

    def _open(self, session: bytes, fl_ctx: FLContext) -> Client:
        if self._client is None or self._client.session != session:
            if self._client is not None:
                self._client.close()
                self._client = None
            self._client = self._own_files(fl_ctx).client(fl_ctx.get_job_id(), session)
        return self._client

    def _open_holder(self, session: bytes, fl_ctx: FLContext) -> KeyHolder:
        if self._holder is None or self._holder.session != session:
            if self._holder is not None:
                self._holder.close()
                self._holder = None
            self._holder = self._own_files(fl_ctx).holder(fl_ctx.get_job_id(), session)
        return self._holder

    def _own_files(self, fl_ctx: FLContext) -> SiteFiles:
        name, workspace = fl_ctx.get_identity_name(), fl_ctx.get_workspace()
        _installed_here(workspace.get_app_dir(fl_ctx.get_job_id()))
        if self._files is None:
            home = site_home(name, workspace.get_site_config_dir(), workspace.get_run_dir(fl_ctx.get_job_id()))
            self._files = SiteFiles(home, name, self._settled)
        return self._files

    def _receive(self, request: Shareable, fl_ctx: FLContext) -> Client:
        session, frames = take(request)
        client = self._open(session, fl_ctx)
        self._hand(client, frames, fl_ctx)
        return client

    def _hand(self, party: Client | KeyHolder, frames: Sequence[bytes], fl_ctx: FLContext) -> None:
        for frame in frames:
            try:
                party.receive(frame)
            except PeerError as refused:
                self.log_warning(fl_ctx, f"secagg: refused a frame of the server's: {refused}")
            except AbortError as over:
                self.log_info(fl_ctx, f"secagg: the round is over for this site: {over}")

    def _send(self, party: Client | KeyHolder, fl_ctx: FLContext) -> Shareable:
        frames = party.outbox()
        if self._files is not None:
            self._files.keep(fl_ctx.get_job_id(), party)  # first kept, then sent
        return reply(party.session or b"", frames)

    def _tell_of_metrics(self, result: DXO, fl_ctx: FLContext) -> None:
        extra = sorted(set(result.get_meta_prop("initial_metrics") or {}) - set(self._settled.metrics))
        if extra and not self._told:
            self.log_info(
                fl_ctx, f"secagg: the Params do not name the metrics {', '.join(extra)}: they stay at this site"
            )
            self._told = True

    def close(self) -> None:
        """Forget the parties of this site; their files stay."""
        for party in (self._client, self._holder):
            if party is not None:
                party.close()
        self._client = self._holder = None


def _installed_here(app_dir: str) -> None:
    """Refuse a secagg that came with the job: the server could have changed it."""
    if Path(secagg.__file__).resolve().is_relative_to(Path(app_dir).resolve()):
        raise ParameterError("this secagg came with the job; sites install it themselves, and jobs leave it out")


def _plain_tasks(plain: Sequence[str], task: str) -> list[str]:
    if isinstance(plain, str) or not all(isinstance(name, str) for name in plain):
        raise ParameterError("plain must be names of tasks")
    for name in plain:
        if name in (task, TASK, HOLDER_TASK) or "*" in name:
            raise ParameterError(f"plain: the task {name!r} cannot go unprotected")
    return list(plain)


def _site(fl_ctx: FLContext) -> SecureSite:
    site = fl_ctx.get_engine().get_component(COMPONENT)
    if not isinstance(site, SecureSite):
        raise ParameterError(
            f"the job has no SecureSite under the id {COMPONENT!r} for its filters; add one to its clients"
        )
    return site


class SecureExecutor(Executor):
    """Answers the exchanges in which nothing is trained. `SecureSite` adds it."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:  # noqa: ARG002
        """Return the client's frames for the server's, or the key holder's."""
        site = _site(fl_ctx)
        return site.hold(shareable, fl_ctx) if task_name == HOLDER_TASK else site.answer(shareable, fl_ctx)


class OpenRequest(Filter):
    """Takes the frames out of a training task, before training. `SecureSite` adds it."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return the task as the trainer knows it; the task is refused if it asks for no protected update."""
        _site(fl_ctx).begin(shareable, fl_ctx)
        return shareable


class SealResult(Filter):
    """Puts frames in the place of a result of training. `SecureSite` adds it."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return a message of frames and nothing else; of a result that failed only the code."""
        code = shareable.get_return_code()
        if code != ReturnCode.OK:
            return make_reply(code)
        return _site(fl_ctx).finish(from_shareable(shareable), fl_ctx)
