"""The server: an unmodified FedAvg, and one grid around Flower's."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from secagg.cli.demo import model as net
from secagg.integrations.flower import SecureGrid

from hospitals_app.task import SEED, from_arrays, patients, to_arrays

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train for some rounds."""
    data = patients(int(context.run_config["hospitals"]))

    def test(_: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord({"test_accuracy": net.accuracy(from_arrays(arrays), data.test_x, data.test_y)})

    strategy = FedAvg()
    secure = SecureGrid(
        grid, strategy, context,
        max_weight=512,  # no hospital has more patients
        train_metrics=("train_loss",),
        evaluate_metrics=("eval_loss", "eval_accuracy"),
    )  # fmt: skip
    strategy.start(
        grid=secure,
        initial_arrays=to_arrays(net.initial(SEED)),
        num_rounds=int(context.run_config["num-server-rounds"]),
        evaluate_fn=test,
    )
