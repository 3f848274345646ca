"""A hospital: plain Flower, and one mod."""

from __future__ import annotations

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from secagg.cli.demo import model as net
from secagg.integrations.flower import secagg_mod

from hospitals_app.task import from_arrays, loss, patients, to_arrays

app = ClientApp(mods=[secagg_mod()])


def here(context: Context):
    """Return the patients of this node."""
    return patients(int(context.run_config["hospitals"])).hospitals[int(context.node_config["partition-id"])]


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on this hospital's patients."""
    hospital, model = here(context), from_arrays(message.content["arrays"])
    trained = net.add(model, net.train(model, hospital.x, hospital.y))
    metrics = MetricRecord({"num-examples": hospital.patients, "train_loss": loss(trained, hospital.x, hospital.y)})
    return Message(RecordDict({"arrays": to_arrays(trained), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Say how well the model does on this hospital's patients."""
    hospital, model = here(context), from_arrays(message.content["arrays"])
    metrics = MetricRecord(
        {
            "num-examples": hospital.patients,
            "eval_loss": loss(model, hospital.x, hospital.y),
            "eval_accuracy": net.accuracy(model, hospital.x, hospital.y),
        }
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
