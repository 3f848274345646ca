"""The ClientApp's side: a mod that answers the engine's phases, and calls the app only when an update is asked for.

Every message may come to another process. So each one loads the node's files, restores the client from the snapshot in
``Context.state``, takes the frames, and stores the new snapshot beside the reply. What the app's function returns goes no further
than this mod: deltas, weight and metrics leave inside masked frames, and an exception leaves as its type's name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from logging import getLogger
from typing import Any, TypeAlias

from flwr.app import ArrayRecord, Context, Message, RecordDict

from secagg.client import Client
from secagg.errors import InputError, ParameterError, SecAggError
from secagg.holder import KeyHolder
from secagg.integrations.flower.arrays import delta, model_hash, one_record, whole_weight
from secagg.integrations.flower.carriage import error_reply, frames_of, records, settings_of, strip
from secagg.integrations.flower.enrolment import answer
from secagg.integrations.flower.node import Node, load_node
from secagg.integrations.flower.parties import opened, opened_holder
from secagg.wire import HOLDER

__all__ = ["secagg_mod"]

Next: TypeAlias = Callable[[Message, Context], Message]
log = getLogger("flwr")


class _AppError(Exception):
    """The app's function failed; the text is safe to send."""


def secagg_mod(*, simulation: bool = False, plain: Collection[str] = ()) -> Callable[[Message, Context, Next], Message]:
    """Return a mod that lets updates, weights and metrics leave a node only under secure aggregation.

    Parameters
    ----------
    simulation : bool
        Nodes make a key for one run, and take the roster that the server shows them: for simulations, where all nodes are one
        machine. The same as ``secagg-trust = "simulation"`` in run_config. A node that has an identity, or any other entry of
        this package's in its config, refuses.
    plain : collection of str
        Message types, say ``"query"``, that the app answers in clear. Whatever else comes without the engine's frames is
        refused.

    Returns
    -------
    callable
        For ``ClientApp(mods=[secagg_mod()])``. Put it first: mods after it see the update before it is protected.

    Notes
    -----
    A ``train`` function returns one ArrayRecord with the names and shapes it was given, and one MetricRecord; an ``evaluate``
    function one MetricRecord. The metric named by the strategy's ``weighted_by_key`` is the weight, a whole number, and counts as
    ``max_weight`` if it is larger; the others are those that `SecureGrid` was told of.
    """
    open_types = frozenset(plain)

    def mod(message: Message, context: Context, call_next: Next) -> Message:
        if message.metadata.message_type in open_types:
            return call_next(message, context)
        try:
            settings = settings_of(message.content)
            if settings is None:
                raise ParameterError(
                    "this node answers under secure aggregation only; give the strategy a SecureGrid, or name the message type "
                    "in secagg_mod(plain=...)"
                )
            return _answer(message, context, call_next, settings, _here(context, simulation=simulation))
        except SecAggError as error:
            # Types of this package name what was wrong and never a value; anything else is a bug and ends the message.
            log.error("secagg: %s", error)  # noqa: TRY400  # the text is written for the operator
            return error_reply(f"{type(error).__name__}: {error}", message)

    return mod


def _here(context: Context, *, simulation: bool) -> Node:
    try:
        return load_node(context, simulation=simulation)
    except SecAggError as error:  # it names paths, which are the operator's to know
        log.error("secagg: %s", error)  # noqa: TRY400  # the text is written for the operator
        raise ParameterError("this node's keys and files are not in order; its own log says what is wrong") from None


def _answer(message: Message, context: Context, call_next: Next, settings: dict[str, Any], node: Node) -> Message:
    if settings.get("trust") != node.trust:
        raise ParameterError(f"the server runs with another trust than this node's {node.trust!r}")
    if settings.get("step") == "enrol":
        claim = answer(
            settings.get("challenge"),
            context.node_id,
            settings.get("server"),
            node.name,
            node.identity,
            holds=node.holds,
        )
        return Message(RecordDict(records(claim)), reply_to=message)
    if settings.get("to") == HOLDER:
        return _hold(message, context, settings, node.trusting(settings, context))
    if not node.name or settings.get("to") != node.name:
        raise ParameterError(f"a message for another client than {node.name!r}, who lives on this node")
    return _round(message, context, call_next, settings, node.trusting(settings, context))


def _hold(message: Message, context: Context, settings: dict[str, Any], node: Node) -> Message:
    """Answer as the key holder: the app has no part in it."""
    with opened_holder(context, message.metadata.message_type, settings, node) as holder:
        notes = _receive(holder, message)
        frames = holder.outbox()
    return _reply(message, notes, frames)


def _receive(party: Client | KeyHolder, message: Message) -> list[str]:
    """Hand a message's frames to a party, and return what was wrong with them."""
    notes = []
    for frame in frames_of(message.content):
        try:
            party.receive(frame)
        except SecAggError as error:  # refused, nothing of it was kept; the others may be good
            notes.append(f"{type(error).__name__}: {error}")
    return notes


def _reply(message: Message, notes: list[str], frames: list[bytes]) -> Message:
    for note in notes:
        log.warning("secagg: %s", note)
    return Message(RecordDict(records({"notes": notes}, frames)), reply_to=message)


def _round(message: Message, context: Context, call_next: Next, settings: dict[str, Any], node: Node) -> Message:
    with opened(context, message.metadata.message_type, settings, node) as client:
        notes = _receive(client, message)
        content = strip(message.content)
        if client.awaiting is not None and content.array_records:
            try:
                _submit(client, message, context, call_next, settings)
            except _AppError as error:
                notes.append(f"no update: {error}")
            except SecAggError as error:
                # The server chose what the update was held against, so the text would answer its question about the data.
                log.error("secagg: no update: %.500r", str(error))  # noqa: TRY400  # the text is written for the operator
                notes.append(f"no update: {type(error).__name__}; the node's own log says what was wrong")
        frames = client.outbox()
    return _reply(message, notes, frames)


def _submit(client: Client, message: Message, context: Context, call_next: Next, settings: dict[str, Any]) -> None:
    """Ask the app for its update, and hand it in."""
    content = strip(message.content)
    base = one_record(content.array_records, "ArrayRecord in the server's message")
    model = model_hash(base)  # before the app can touch the arrays
    before = ArrayRecord(dict(base))  # shares the bytes, which nobody can change
    message.content = content
    try:
        reply = call_next(message, context)
    except Exception as error:
        # Its text may quote data: it stays in this node's log.
        log.exception("secagg: the app's function failed")
        raise _AppError(f"the app's function raised {type(error).__name__}") from None
    if reply.has_error():
        raise _AppError("the app's function answered with an error")
    if reply.content.config_records:
        raise InputError("the app's reply holds a ConfigRecord, which would leave in clear or be lost; leave it out")
    values = dict(one_record(reply.content.metric_records, "MetricRecord in the app's reply"))
    key = settings.get("weight")
    if not isinstance(key, str) or key not in values:
        raise InputError(f"the app's reply lacks the metric {key!r}, the update's weight")
    weight = _capped(whole_weight(values.pop(key), key), client.params.max_weight)
    metrics = _metrics(values, settings)
    if settings.get("step") == "train":
        update: Any = delta(
            one_record(reply.content.array_records, "ArrayRecord in the app's reply"),
            before,
            client.params.segment_plan.layout,
        )
        client.submit(update, weight=weight, metrics=metrics, context=model)
    else:
        client.submit({name: float(value) for name, value in metrics.items()}, weight=weight, context=model)


def _capped(weight: int, most: int) -> int:
    """Return the weight, or the largest that the Params have room for.

    An update that stayed out would tell the server, who chose the number, that the weight is over it.
    """
    if weight > most:
        log.warning("secagg: this update counts with the server's max_weight, which is below its weight")
        return most
    return weight


def _metrics(values: dict[str, Any], settings: dict[str, Any]) -> dict[str, float]:
    """Return the metrics in the server's order; InputError, without any value, if they are others."""
    wanted = settings.get("metrics", [])
    if not isinstance(wanted, list) or set(values) != set(wanted):
        got = ", ".join(sorted(values)) or "none"
        raise InputError(f"the app's metrics are {got}; SecureGrid was told of {', '.join(map(str, wanted)) or 'none'}")
    for name, value in values.items():
        if isinstance(value, list):
            raise InputError(f"the metric {name!r} is a list; hand in numbers under names of their own")
    return {name: float(values[name]) for name in wanted}
