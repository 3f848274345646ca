"""The ServerApp's side: a Grid that hands a strategy one reply, the weighted mean, and no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from secagg.aggregate import Aggregate
from secagg.encoding import FixedPoint, Integer, Layout
from secagg.errors import AbortError, InputError, ParameterError, StateError
from secagg.identity import Identity, Roster
from secagg.integrations.flower.arrays import add_mean, model_hash, model_layout, one_record
from secagg.integrations.flower.carriage import Carrier
from secagg.integrations.flower.directory import Directory
from secagg.integrations.flower.enrolment import check_trust, roster_settings
from secagg.integrations.flower.session import Session
from secagg.integrations.flower.strategies import check_strategy
from secagg.integrations.sessions import drawn, needed, session_of, session_of_kind
from secagg.params import Params
from secagg.planner import plan
from secagg.receipt import Receipt

__all__ = ["Round", "SecureGrid"]

TRAIN, EVALUATE = "train", "evaluate"
METRICS = FixedPoint(clip=1000.0, bits=32)
log = getLogger("flwr")


@dataclass(frozen=True)
class Round:
    """What is known of a finished round.

    Attributes
    ----------
    kind : str
        The message type, ``"train"`` or ``"evaluate"``.
    round_id : int
        Counts the rounds of this kind.
    exchanges : int
        Messages to a node and back.
    contributors : tuple of str
    weight : int
        Sum of their weights.
    clipped : int
        Values that were clipped, over all of them.
    receipt : Receipt
    """

    kind: str
    round_id: int
    exchanges: int
    contributors: tuple[str, ...]
    weight: int
    clipped: int
    receipt: Receipt


class SecureGrid(Grid):
    """A Grid around Flower's, through which a strategy only ever sees weighted means.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The one that the ServerApp was given.
    strategy : flwr.serverapp.strategy.Strategy
        The one that will be started with this grid; see `check_strategy`.
    context : flwr.app.Context, optional
        The ServerApp's. Its run_config gives what is not given here: ``secagg-trust``, ``secagg-identity``, ``secagg-roster``,
        ``secagg-session``.
    max_weight : int
        Largest weight, num-examples, of one client.
    train_metrics, evaluate_metrics : collection of str
        Names of the metrics that train and evaluate functions return, without the weight.
    trust : {"roster", "first-use", "simulation"}, optional
        ``"roster"`` (default): everybody holds the same roster, compared beforehand. ``"first-use"``: nodes keep the first roster
        that this server shows them, which trusts the server once. ``"simulation"``: keys and roster of one run.
    identity : Identity or str or os.PathLike, optional
        The server's key; a simulation makes its own.
    roster : Roster or str or os.PathLike, optional
        For ``"roster"``. For ``"first-use"`` a path is where it is kept.
    clients : int, optional
        How many nodes to wait for before the first round, up to `join_timeout`. Default: as many as the roster has.
    encodings : mapping of str to FixedPoint or Integer
        By name of an array, where the model's own does not suit it; integer arrays must be here.
    metrics_encoding : FixedPoint
    phase_timeout, join_timeout : float
        Seconds for an exchange in which no app function runs, and for nodes to connect at the beginning. The exchange in which
        they run has the strategy's ``timeout``.
    session : str, optional
        32 digits in hex, agreed with all nodes beforehand, and new for each run: what a oneshot committee that is smaller than
        the roster is drawn by. In a simulation it is made.
    poll : float, optional
        Seconds between two looks for replies; 0.005 in a simulation and 0.5 elsewhere.
    on_round : callable, optional
        Called with the `Round` after each round, say to keep receipts.
    accept : collection of type
        Strategies of your own that need no more than the mean; see `check_strategy`.
    **planned
        For `secagg.plan`: dropout, corrupt, clip, error, rounds_per_setup, any field of `Params`. Encrypted sums are
        ``protocol="ckks", reveal="server"``, with a node that holds the key; ``protocol="oneshot"`` has a committee, of all nodes
        up to a hundred.

    Raises
    ------
    ParameterError
        The strategy needs more than a mean, or what is given does not go together.
    InputError
        A file cannot be used.

    Notes
    -----
    A round that too few survive is logged, and the strategy gets no replies: its model stays as it was. A round costs two
    exchanges, and two more when keys are exchanged (one with ``protocol="ckks"`` or ``"oneshot"``); in the first, nodes say who
    they are. With ``protocol="oneshot"`` the second is with the committee alone.
    """

    def __init__(
        self,
        grid: Any,
        strategy: Any,
        context: Context | None = None,
        *,
        max_weight: int,
        train_metrics: Collection[str] = (),
        evaluate_metrics: Collection[str] = (),
        trust: str | None = None,
        identity: Identity | str | os.PathLike[str] | None = None,
        roster: Roster | str | os.PathLike[str] | None = None,
        clients: int | None = None,
        encodings: Mapping[str, FixedPoint | Integer] | None = None,
        metrics_encoding: FixedPoint = METRICS,
        phase_timeout: float = 120.0,
        join_timeout: float = 60.0,
        session: str | None = None,
        poll: float | None = None,
        on_round: Callable[[Round], None] | None = None,
        accept: Collection[type] = (),
        **planned: Any,
    ) -> None:
        check_strategy(strategy, accept)
        config = {} if context is None else context.run_config
        self._trust = check_trust(trust or config.get("secagg-trust", "roster"))
        self._metrics = {TRAIN: _names(train_metrics), EVALUATE: _names(evaluate_metrics)}
        if not self._metrics[EVALUATE] and getattr(strategy, "fraction_evaluate", 0) > 0:
            raise ParameterError(
                "the strategy evaluates on clients, but no metrics were named: give evaluate_metrics=(...), or the strategy "
                "fraction_evaluate=0.0"
            )
        _check_protocol(planned)
        if taken := sorted({"layout", "length", "segments", "metrics", "clients"} & set(planned)):
            raise ParameterError(f"{taken[0]} follows from the model, encodings, the metrics' names and the roster")
        self._grid, self._strategy, self._planned = grid, strategy, planned
        self._max_weight, self._encodings, self._metrics_encoding = max_weight, dict(encodings or {}), metrics_encoding
        self._phase_timeout, self._join_timeout, self._on_round = phase_timeout, join_timeout, on_round
        self._carrier = Carrier(grid, poll)
        # An empty text in run_config is a key that is there to be overridden.
        self._identity, held = self._keys(
            identity or config.get("secagg-identity") or None, roster or config.get("secagg-roster") or None
        )
        holding = planned.get("protocol") == "ckks"
        if holding and held is not None and held.holder is None:
            raise ParameterError(
                "protocol='ckks' needs a key holder on the roster: secagg roster make --holder KEY.pub"
            )
        self._directory = Directory(grid, self._carrier, self._trust, self._identity, held, clients, holding=holding)
        if self._trust == "first-use" and held is None and clients is None:
            raise ParameterError(
                "trust='first-use' needs clients=, how many nodes to wait for before the roster is made"
            )
        agreed = session or config.get("secagg-session") or None
        self._agreed = None if agreed is None else session_of(agreed, "secagg-session")
        self._sessions: dict[str, Session] = {}

    def _keys(self, identity: Any, roster: Any) -> tuple[Identity, Roster | None]:
        self._roster_path: Path | None = None
        if self._trust == "simulation":
            return Identity.generate(), None
        if identity is None or roster is None:
            raise ParameterError(
                f"trust={self._trust!r} needs identity= and roster=, or secagg-identity and secagg-roster in run_config; in a "
                "simulation say secagg-trust='simulation'"
            )
        try:
            key = identity if isinstance(identity, Identity) else Identity.load(identity)
            if isinstance(roster, Roster):
                return key, roster
            if self._trust == "first-use" and not Path(roster).exists():
                self._roster_path = Path(roster)
                return key, None
            return key, Roster.load(roster)
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}") from None

    # -- what a strategy calls ------------------------------------------------------------------------------------

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Run one round for the strategy's messages and return one reply with the weighted mean, or none if it failed.

        Raises
        ------
        InputError
            The messages are no round: different types or models, or no model.
        """
        tasks = list(messages)
        if not tasks:
            return []
        kind = _kind(tasks)
        base = _model(tasks)
        message_type = tasks[0].metadata.message_type
        self._directory.wait(self._join_timeout)
        roster = self._directory.enrol(message_type, self._phase_timeout)
        session = self._sessions.get(message_type)
        if session is None:
            session = self._sessions[message_type] = self._open(kind, base, roster)
        asked = {name: task for task in tasks if (name := self._directory.name(task.metadata.dst_node_id)) is not None}
        if len(asked) < session.params.min_clients:
            needed = session.params.min_clients
            log.error("secagg: %s round skipped: %d of its clients are there, %d are needed", kind, len(asked), needed)
            return []
        if self._directory.lacks_holder:
            log.error("secagg: %s round skipped: no connected node holds the key (secagg-holder-ledger)", kind)
            return []
        try:
            found = session.run(asked, self._directory.homes, timeout, self._phase_timeout)
        except AbortError as error:
            text = "secagg: %s round %d failed, and nothing was released: %s"
            log.error(text, kind, session.round_id, error)  # noqa: TRY400  # the reason says it all
            return []
        self._report(message_type, session, found)
        return [self._reply(kind, tasks[0], base, found)]

    def get_node_ids(self) -> Iterable[int]:
        """Return the connected nodes, without those that have shown to be nobody on the roster.

        The first time, after waiting for nodes: a strategy that samples as soon as two are there would leave out the others.
        """
        self._directory.wait(self._join_timeout)
        return [node for node in self._grid.get_node_ids() if not self._directory.is_stranger(node)]

    def get_nodes(self) -> Iterable[Any]:
        """Return the same nodes with what Flower knows of them."""
        return [node for node in self._grid.get_nodes() if not self._directory.is_stranger(node.node_id)]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:  # noqa: ARG002  # Flower's signature
        """Refuse: what is pushed beside a round would be answered in clear, or not at all.

        Raises
        ------
        StateError
            Always. Use the ServerApp's own grid for types that the nodes' ``secagg_mod(plain=...)`` names.
        """
        raise StateError(
            "a SecureGrid only runs rounds, by send_and_receive; use the ServerApp's own grid for anything else"
        )

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:  # noqa: ARG002  # the same
        """Refuse, as `push_messages` does."""
        return self.push_messages([])

    def create_message(self, *args: Any, **named: Any) -> Message:
        """Return a message, as Flower's own Grid makes it."""
        return self._grid.create_message(*args, **named)

    def set_run(self, run: Any) -> None:
        """Tell Flower's Grid the run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """The run, as Flower's Grid has it."""
        return self._grid.run

    # -- rounds ---------------------------------------------------------------------------------------------------

    @property
    def roster(self) -> Roster | None:
        """The roster, or None before one was made."""
        return self._directory.roster

    def params(self, message_type: str = TRAIN) -> Params:
        """Return the Params of a kind of round; StateError before its first."""
        if message_type not in self._sessions:
            raise StateError(f"there was no {message_type} round yet")
        return self._sessions[message_type].params

    def _open(self, kind: str, base: ArrayRecord, roster: Roster) -> Session:
        if self._roster_path is not None:
            roster.save(self._roster_path)
            self._roster_path = None
        settings = {
            "step": kind, "trust": self._trust, "weight": str(getattr(self._strategy, "weighted_by_key", "num-examples")),
            "metrics": list(self._metrics[kind]), **({} if self._trust == "roster" else roster_settings(roster)),
        }  # fmt: skip
        params = self._plan(kind, base, len(roster))
        if self._agreed is None and drawn(params):
            if self._trust != "simulation":
                needed(params, "secagg-session of run_config, and of each node's config")
            self._agreed = os.urandom(16)
        if self._trust == "simulation" and self._agreed is not None:
            settings["session"] = self._agreed
        agreed = None if self._agreed is None else session_of_kind(self._agreed, kind)
        return Session(params, self._identity, roster, self._carrier, settings, agreed)

    def _plan(self, kind: str, base: ArrayRecord, clients: int) -> Params:
        """Return the Params of one kind of round for this roster and model."""
        names, options = self._metrics[kind], dict(self._planned)
        fraction = getattr(self._strategy, f"fraction_{kind}", 1.0)
        sample = min(clients, max(int(clients * fraction), getattr(self._strategy, f"min_{kind}_nodes", 2)))
        options = {"sample": sample, "max_weight": self._max_weight} | options
        if kind == EVALUATE:
            for name in ("clip", "error", "encoding", "ring"):
                options.pop(name, None)
            layout = Layout.of(dict.fromkeys(names, 0.0))
            return plan(clients, layout=layout, encoding=self._metrics_encoding, **options)
        layout, own = model_layout(base), dict(self._encodings)
        for name, array in base.items():
            if np.dtype(array.dtype).kind in "iu" and name not in own:
                raise ParameterError(
                    f"array {name!r} holds integers; give encodings={{{name!r}: FixedPoint(clip=largest change, bits=32)}}, or "
                    "keep it out of the model"
                )
        if names:
            own["metrics"] = self._metrics_encoding
        return plan(clients, layout=layout, segments=own, metrics=names, **options)

    def _report(self, message_type: str, session: Session, found: Aggregate) -> None:
        told = Round(
            message_type,
            session.round_id,
            session.exchanges,
            found.contributors,
            found.weight,
            found.clipped,
            found.receipt,
        )
        log.info(
            "secagg: %s round %d: %d exchanges, %d contributors, %d values clipped",
            told.kind, told.round_id, told.exchanges, len(told.contributors), told.clipped,
        )  # fmt: skip
        if self._on_round is not None:
            self._on_round(told)

    def _reply(self, kind: str, task: Message, base: ArrayRecord, found: Aggregate) -> Message:
        """Return the reply that a strategy takes for a client's: weight and mean are those of all."""
        key = str(getattr(self._strategy, "weighted_by_key", "num-examples"))
        if kind == EVALUATE:
            values: Mapping[str, Any] = found.mean
            content = RecordDict()
        else:
            values = found.metrics
            content = RecordDict({getattr(self._strategy, "arrayrecord_key", "arrays"): add_mean(base, found.mean)})
        content["metrics"] = MetricRecord({key: found.weight, **{name: float(value) for name, value in values.items()}})
        return Message(content, reply_to=task)


def _names(metrics: Collection[str]) -> tuple[str, ...]:
    if isinstance(metrics, str) or not all(isinstance(name, str) and name for name in metrics):
        raise ParameterError("metrics are a collection of names")
    return tuple(metrics)


def _check_protocol(planned: Mapping[str, Any]) -> None:
    if planned.get("protocol") == "ckks" and planned.get("reveal") != "server":
        raise ParameterError(
            "protocol='ckks' needs reveal='server' here: a strategy makes the next model of the mean, at the server; under "
            "reveal='holder' the server never has it"
        )


def _kind(tasks: Iterable[Message]) -> str:
    """Return whether messages train or evaluate; InputError if they do not all do the same."""
    types = {task.metadata.message_type for task in tasks}
    kind = str(next(iter(types))).partition(".")[0]
    if len(types) != 1 or kind not in (TRAIN, EVALUATE):
        raise InputError(f"a round is train or evaluate for everybody, not {', '.join(sorted(types))}")
    return kind


def _model(tasks: Collection[Message]) -> ArrayRecord:
    """Return the model that all messages carry."""
    found = [one_record(task.content.array_records, "ArrayRecord in the strategy's message") for task in tasks]
    first = found[0]
    if any(other is not first for other in found) and len({model_hash(other) for other in found}) != 1:
        raise InputError("the strategy sends different models to different clients; their mean would mean nothing")
    return first
