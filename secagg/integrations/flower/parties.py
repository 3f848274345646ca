"""The engine's parties on a node between two messages: sealed in ``Context.state``, and in a simulation also kept alive.

A simulation runs hundreds of clients in a few processes, and restoring one costs more than its answer. So these processes keep
the last ones as they are, beside the snapshot that each of them made: one is taken up again only where the Context holds that
very snapshot, which is to say that nothing has happened to it elsewhere.
"""

from __future__ import annotations

import contextlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from threading import Lock
from typing import Any, TypeVar

from flwr.app import ConfigRecord, Context

from secagg.client import Client
from secagg.errors import InputError, ParameterError
from secagg.holder import KeyHolder
from secagg.integrations.flower.node import Node
from secagg.params import Params

__all__ = ["opened", "opened_holder"]

SNAPSHOT, PARAMS = "snapshot", "params"
MOST_ALIVE = 128
Party = TypeVar("Party", Client, KeyHolder)
_alive: OrderedDict[tuple[int, str], tuple[bytes, Any]] = OrderedDict()
_lock = Lock()
# Checking Params again costs a millisecond; they are immutable, and the same bytes are the same Params.
_params = lru_cache(maxsize=8)(Params.from_bytes)


def opened(
    context: Context, kind: str, settings: dict[str, Any], node: Node
) -> contextlib.AbstractContextManager[Client]:
    """Give this node's client in the session of one message type: as it was, or new under Params that the node accepts.

    On leaving without an error its state is in the Context. Take the frames from its outbox before.
    """
    party: dict[str, Any] = {"identity": node.identity, "roster": node.roster, "ledger": node.ledger}

    def made(params: Params) -> Client:
        return Client(params, me=node.name, session=node.session_for(params, settings), **party)

    def restored(snapshot: bytes, *, params: Params) -> Client:
        return Client.restore(snapshot, params=params, session=node.session_for(params, settings), **party)

    return _opened(context, f"secagg.{kind}", settings, node, made, restored)


def opened_holder(
    context: Context, kind: str, settings: dict[str, Any], node: Node
) -> contextlib.AbstractContextManager[KeyHolder]:
    """Give the key holder of the session in the same way.

    Raises
    ------
    ParameterError
        It does not live on this node.
    """
    if not node.holds:
        raise ParameterError("a message for the key holder; this node's config names no secagg-holder-ledger")
    party: dict[str, Any] = {"identity": node.identity, "roster": node.roster, "ledger": node.holder_ledger}
    made, restored = partial(KeyHolder, **party), partial(KeyHolder.restore, **party)
    return _opened(context, f"secagg.holder.{kind}", settings, node, made, restored)


@contextlib.contextmanager
def _opened(
    context: Context,
    place: str,
    settings: dict[str, Any],
    node: Node,
    made: Callable[..., Party],
    restored: Callable[..., Party],
) -> Iterator[Party]:
    offered = settings.get("params")
    if not isinstance(offered, bytes) or node.roster is None:
        raise InputError("a message without Params")
    params = _params(offered)
    if node.policy is not None:
        node.policy.check(params)
    kept = dict(context.state[place]) if place in context.state else {}
    _pin(context, place, kept, params, node)
    party: Party | None = None
    if kept.get(PARAMS) == params.hash and SNAPSHOT in kept:
        alive: Party | None = _again((context.node_id, place), kept[SNAPSHOT])
        party = alive or restored(kept[SNAPSHOT], params=params)
    party = party or made(params)
    try:
        yield party
        snapshot = party.snapshot()
    except BaseException:
        party.close()
        raise
    context.state[place] = ConfigRecord({SNAPSHOT: snapshot, PARAMS: params.hash})
    if node.trust == "simulation":
        _keep((context.node_id, place), snapshot, party)
    else:
        party.close()


def _pin(context: Context, place: str, kept: dict[str, Any], params: Params, node: Node) -> None:
    """Hold the server to the first Params of a run: with many it could ask one update many questions."""
    if PARAMS not in kept:
        context.state[place] = ConfigRecord({PARAMS: params.hash})  # also if this message comes to nothing
    elif kept[PARAMS] != params.hash and node.policy is not None and not node.policy.replanning:
        raise ParameterError(
            "this client's policy refuses other Params than the first of this kind of message in a run"
        )


def _again(key: tuple[int, str], snapshot: bytes) -> Any:
    with _lock:
        made, party = _alive.pop(key, (b"", None))
    return party if hmac.compare_digest(made, snapshot) else None


def _keep(key: tuple[int, str], snapshot: bytes, party: Any) -> None:
    with _lock:
        _alive[key] = (snapshot, party)
        while len(_alive) > MOST_ALIVE:
            _alive.popitem(last=False)
