"""Apps for rounds of Flower in its simulation, plain and secure in turn, in one process with the same Ray workers.

A module of its own, since Ray pickles what is in `__main__` by value. What to measure comes in the environment, for Flower calls
the ServerApp itself.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from secagg.integrations.flower import SecureGrid, secagg_mod

PLAIN = "train.plain"
client_app = ClientApp(mods=[secagg_mod(simulation=True, plain=(PLAIN,))])
server_app = ServerApp()


def asked() -> dict[str, Any]:
    """Return what to measure: clients, length, pairs, protocol, seconds of training, where to write."""
    return dict(json.loads(os.environ["SECAGG_FLOWER_ROUND"]))


def train(message: Message, context: Context) -> Message:
    """Return the model a little changed, after as long as training would take."""
    begin, i = time.perf_counter(), int(context.node_config["partition-id"])
    model = message.content["arrays"]["weights"].numpy() + np.float32(0.001 * (i + 1))
    while time.perf_counter() - begin < asked()["training"]:
        np.tanh(model[:10_000])
    metrics = MetricRecord({"num-examples": 100 + i, "train_loss": float(i)})
    content = RecordDict({"arrays": ArrayRecord({"weights": Array(model)}), "metrics": metrics})
    return Message(content, reply_to=message)


client_app.train()(train)
client_app.train("plain")(train)


class Plain(FedAvg):
    """FedAvg whose messages go to the function that answers in clear."""

    def _construct_messages(self, record: Any, node_ids: Any, message_type: str) -> Any:
        del message_type
        return super()._construct_messages(record, node_ids, PLAIN)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Time pairs of whole rounds: configure, exchange, aggregate."""
    del context
    wanted = asked()
    ours, plain = FedAvg(fraction_evaluate=0.0), Plain(fraction_evaluate=0.0)
    exchanges: list[int] = []
    secure = SecureGrid(
        grid, ours, trust="simulation", max_weight=1000, train_metrics=("train_loss",), protocol=wanted["protocol"],
        on_round=lambda told: exchanges.append(told.exchanges),
    )  # fmt: skip
    model = np.random.default_rng(0).normal(size=wanted["length"]).astype(np.float32)
    arrays = ArrayRecord({"weights": Array(model)})

    def play(strategy: FedAvg, over: Grid, number: int) -> tuple[float, Any]:
        begin = time.perf_counter()
        messages = strategy.configure_train(number, arrays, ConfigRecord(), over)
        mean, _ = strategy.aggregate_train(number, over.send_and_receive(messages, timeout=600))
        return time.perf_counter() - begin, mean

    _, one = play(ours, secure, 1)  # with the setup, and where Ray starts its workers
    _, other = play(plain, grid, 1)
    found: dict[str, Any] = {"ours": [], "plain": []}
    found["error"] = float(np.abs(one["weights"].numpy() - other["weights"].numpy()).max())
    found["step"] = secure.params().encoding.step
    for number in range(2, 2 + wanted["pairs"]):
        sides = [("ours", ours, secure), ("plain", plain, grid)]
        for side, strategy, over in sides if number % 2 else reversed(sides):
            found[side].append(play(strategy, over, number)[0])
    found["exchanges"] = exchanges
    Path(wanted["out"]).write_text(json.dumps(found), encoding="utf-8")
