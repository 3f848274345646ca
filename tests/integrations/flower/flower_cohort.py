"""A federation in one process: Flower's own messages, contexts and apps, and a carrier that can fail.

Each message is pickled on its way and each context before and after, as between processes: what a node does not put into its
Context is gone when the next message comes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from secagg.integrations.flower import SecureGrid, secagg_mod

FIRST_NODE = 1 << 63  # Flower's ids use all 64 bits


def node_id(i: int) -> int:
    return FIRST_NODE + i


def step(message: Message) -> str:
    """What a message is about, as the tests name it."""
    settings = message.content.config_records.get("secagg", {})
    if settings.get("step") == "enrol":
        return "enrol"
    return "model" if "arrays" in message.content.array_records else "phase"


@dataclass
class World:
    """What the carrier does, and what it saw."""

    lost: Callable[[int, Message], bool] = lambda node, message: False  # messages that never arrive
    silent: Callable[[int, Message], bool] = lambda node, message: False  # replies that never arrive
    failing: Callable[[int, Message], bool] = lambda node, message: False  # Flower answers for the node
    meddle: Callable[[int, Message], Message] = lambda node, message: (
        message
    )  # the server's messages, changed on the way
    seen: list[tuple[int, Message, Message | None]] = field(default_factory=list)  # node, message, reply
    away: set[int] = field(default_factory=set)


class MemoryGrid(Grid):
    """Runs the apps of its nodes when replies are pulled."""

    def __init__(self, apps: dict[int, ClientApp], contexts: dict[int, Context], world: World) -> None:
        self.apps, self.contexts, self.world = apps, contexts, world
        self.pending: dict[str, tuple[int, Message]] = {}
        self._run = None

    def set_run(self, run):
        self._run = run

    @property
    def run(self):
        return self._run

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self):
        return [node for node in self.contexts if node not in self.world.away]

    def push_messages(self, messages):
        ids = []
        for message in messages:
            copy = pickle.loads(pickle.dumps(message))
            copy.metadata.__dict__["_message_id"] = str(uuid4())
            self.pending[copy.metadata.message_id] = (copy.metadata.dst_node_id, copy)
            ids.append(copy.metadata.message_id)
        return ids

    def pull_messages(self, message_ids):
        replies = []
        for identifier in [each for each in message_ids if each in self.pending]:
            node, message = self.pending.pop(identifier)
            reply = self.handle(node, message)
            if reply is not None:
                replies.append(reply)
        return replies

    def handle(self, node: int, message: Message) -> Message | None:
        world, index = self.world, node - FIRST_NODE
        message = world.meddle(index, message)
        if world.failing(index, message):
            return Message(Error(5, "node unavailable"), reply_to=message)
        if node in world.away or world.lost(index, message):
            return None
        context = pickle.loads(pickle.dumps(self.contexts[node]))
        try:
            reply = self.apps[node](pickle.loads(pickle.dumps(message)), context)
            self.contexts[node] = pickle.loads(pickle.dumps(context))
        except Exception as error:  # noqa: BLE001  # as Flower does: the context is as it was
            reply = Message(Error(2, repr(error)), reply_to=message)
        world.seen.append((index, message, reply))
        return None if world.silent(index, message) else pickle.loads(pickle.dumps(reply))

    def send_and_receive(self, messages, *, timeout=None):
        ids = self.push_messages(messages)
        return self.pull_messages(ids)


def update_of(i: int, number: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What node i changes in a round, never at rest and within the clip."""
    seed = [i, number, *name.encode()]
    return np.random.default_rng(seed).uniform(-0.3, 0.3, shape).astype(np.float32)


def loss_of(i: int, number: int) -> float:
    return 0.125 + i + number / 7


def weight_of(i: int) -> int:
    return 11 + 7 * i


def plain_app(i: int, mods) -> ClientApp:
    app = ClientApp(mods=mods)

    @app.train()
    def train(message, context):
        number = int(message.content["config"]["server-round"])
        arrays = {
            name: Array(np.asarray(array.numpy() + update_of(i, number, name, array.shape).astype(array.numpy().dtype)))
            for name, array in message.content["arrays"].items()
        }
        metrics = {"num-examples": weight_of(i), "train_loss": loss_of(i, number)}
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)}), reply_to=message)

    @app.evaluate()
    def evaluate(message, context):
        number = int(message.content["config"]["server-round"])
        first = next(iter(message.content["arrays"].values())).numpy()
        metrics = {
            "num-examples": weight_of(i),
            "eval_loss": loss_of(i, number) / 2,
            "eval_at": float(np.tanh(first.mean())),
        }
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)

    return app


class Federation:
    """n nodes, their apps and contexts, and a strategy to run over them."""

    def __init__(self, n: int = 5, *, protected: bool = True, app=plain_app, configs=None, run_config=None) -> None:
        self.n, self.world = n, World()
        run_config = {"secagg-trust": "simulation"} if run_config is None else run_config
        mods = [secagg_mod()] if protected else []
        apps = {node_id(i): app(i, mods) for i in range(n)}
        configs = configs or [{"partition-id": i, "num-partitions": n} for i in range(n)]
        contexts = {
            node_id(i): Context(1, node_id(i), dict(configs[i]), RecordDict(), dict(run_config)) for i in range(n)
        }
        self.grid = MemoryGrid(apps, contexts, self.world)
        self.rounds = []

    @staticmethod
    def arrays() -> ArrayRecord:
        rng = np.random.default_rng(5)
        return ArrayRecord(
            {
                "hidden.weight": Array(rng.normal(size=(20, 7)).astype(np.float32)),
                "hidden.bias": Array(np.zeros(7, np.float32)),
                "out": Array(rng.normal(size=31)),
                "scale": Array(np.asarray(1.5, np.float32)),
            }
        )

    def secure(self, strategy, **options) -> SecureGrid:
        settings = {
            "trust": "simulation", "max_weight": 100, "poll": 0.001, "join_timeout": 0.0, "phase_timeout": 0.05,
            "train_metrics": ("train_loss",), "evaluate_metrics": ("eval_loss", "eval_at"),
            "on_round": self.rounds.append,
        }  # fmt: skip
        return SecureGrid(self.grid, strategy, **(settings | options))

    def start(self, strategy=None, *, rounds: int = 3, arrays=None, timeout: float = 0.05, **options):
        strategy = strategy or FedAvg()
        self.strategy = strategy
        self.wrapped = self.secure(strategy, **options)
        return strategy.start(
            grid=self.wrapped, initial_arrays=arrays or self.arrays(), num_rounds=rounds, timeout=timeout
        )

    def start_plain(self, strategy=None, *, rounds: int = 3, arrays=None):
        strategy = strategy or FedAvg()
        return strategy.start(grid=self.grid, initial_arrays=arrays or self.arrays(), num_rounds=rounds)


def clear_forms(value: float) -> list[bytes]:
    """A number as anything that carries it in clear would write it."""
    forms = [np.float64(value).tobytes(), np.float32(value).tobytes(), repr(float(value)).encode()]
    return [form for form in forms if len(form) >= 4]


def in_clear(data: bytes, i: int, number: int) -> list[str]:
    """What of node i's values of a round can be read in what was sent."""
    found = []
    for value in (loss_of(i, number), loss_of(i, number) / 2):
        found += ["a loss" for form in clear_forms(value) if form in data]
    for name, array in Federation.arrays().items():
        change = update_of(i, number, name, array.shape)
        forms = (change.tobytes(), change.ravel()[:4].tobytes(), change.astype(np.float64).tobytes())
        found += [name for form in forms if form in data]
    weights = (np.int64(weight_of(i)).tobytes(), np.float64(weight_of(i)).tobytes(), b"num-examples")
    return found + ["a weight" for form in weights if form in data]


def gap(one: ArrayRecord, other: ArrayRecord) -> float:
    """The largest difference between two models of the same arrays."""
    assert list(one) == list(other)
    for name in one:
        assert one[name].numpy().shape == other[name].numpy().shape
    return max(float(np.abs(one[name].numpy() - other[name].numpy()).max()) for name in one)


def notes(world: World) -> str:
    """Everything that nodes said was wrong."""
    said = []
    for _, _, reply in world.seen:
        said += [reply.error.reason] if reply.has_error() else list(reply.content["secagg"].get("notes", []))
    return "\n".join(said)
