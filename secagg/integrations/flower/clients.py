"""The engine's client between two messages: sealed in ``Context.state``, and in a simulation also kept alive.

A simulation runs hundreds of clients in a few processes, and restoring one costs more than its answer. So these processes keep
the last clients as they are, beside the snapshot that each of them made: one is taken up again only where the Context holds that
very snapshot, which is to say that nothing has happened to the client elsewhere.
"""

from __future__ import annotations

import contextlib
import hmac
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import Any

from flwr.app import ConfigRecord, Context

from secagg.client import Client
from secagg.errors import InputError
from secagg.integrations.flower.node import Node
from secagg.params import Params

__all__ = ["opened"]

SNAPSHOT, PARAMS = "snapshot", "params"
MOST_ALIVE = 128
_alive: OrderedDict[tuple[int, str], tuple[bytes, Client]] = OrderedDict()
_lock = Lock()
# Checking Params again costs a millisecond; they are immutable, and the same bytes are the same Params.
_params = lru_cache(maxsize=8)(Params.from_bytes)


@contextlib.contextmanager
def opened(context: Context, place: str, settings: dict[str, Any], node: Node) -> Iterator[Client]:
    """Give this node's client in the session of one message type: as it was, or new under Params that the node accepts.

    On leaving without an error its state is in the Context. Take the frames from its outbox before.
    """
    offered = settings.get("params")
    if not isinstance(offered, bytes) or node.roster is None:
        raise InputError("a message without Params")
    params = _params(offered)
    if node.policy is not None:
        node.policy.check(params)
    kept = dict(context.state[place]) if place in context.state else {}
    client = None
    if kept.get(PARAMS) == params.hash:
        client = _again((context.node_id, place), kept[SNAPSHOT]) or Client.restore(
            kept[SNAPSHOT], identity=node.identity, roster=node.roster, ledger=node.ledger, params=params
        )
    client = client or Client(params, me=node.name, identity=node.identity, roster=node.roster, ledger=node.ledger)
    try:
        yield client
        snapshot = client.snapshot()
    except BaseException:
        client.close()
        raise
    context.state[place] = ConfigRecord({SNAPSHOT: snapshot, PARAMS: params.hash})
    if node.trust == "simulation":
        _keep((context.node_id, place), snapshot, client)
    else:
        client.close()


def _again(key: tuple[int, str], snapshot: bytes) -> Client | None:
    with _lock:
        made, client = _alive.pop(key, (b"", None))
    return client if hmac.compare_digest(made, snapshot) else None


def _keep(key: tuple[int, str], snapshot: bytes, client: Client) -> None:
    with _lock:
        _alive[key] = (snapshot, client)
        while len(_alive) > MOST_ALIVE:
            _alive.popitem(last=False)
