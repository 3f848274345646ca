"""The server: an unmodified FedAvg, and one grid around Flower's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from secagg.cli.demo import model as net
from secagg.integrations.flower import Round, SecureGrid

from hospitals_app.task import SEED, from_arrays, patients, to_arrays

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train for some rounds."""
    config = context.run_config
    data = patients(int(config["hospitals"]))

    def test(_: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord({"test_accuracy": net.accuracy(from_arrays(arrays), data.test_x, data.test_y)})

    def keep(done: Round) -> None:
        if config["receipts"]:
            done.receipt.save(Path(str(config["receipts"])) / f"{done.kind}-{done.round_id}.json")

    protocol = {"protocol": str(config["protocol"])}
    if config["protocol"] == "ckks":
        protocol["reveal"] = "server"
    strategy = FedAvg(fraction_evaluate=float(config["fraction-evaluate"]))
    secure = SecureGrid(
        grid, strategy, context,
        max_weight=512,  # no hospital has more patients
        train_metrics=("train_loss",),
        evaluate_metrics=("eval_loss", "eval_accuracy"),
        on_round=keep,
        **protocol,
    )  # fmt: skip
    result = strategy.start(
        grid=secure,
        initial_arrays=to_arrays(net.initial(SEED)),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=test,
    )
    if config["model-path"]:
        np.savez(str(config["model-path"]), **{name: array.numpy() for name, array in result.arrays.items()})
