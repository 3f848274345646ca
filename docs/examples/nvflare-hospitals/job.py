"""Seven hospitals train together with NVFlare, in its simulator: `python job.py`, and `python job.py --plain` to compare."""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from model import from_vector, to_vector
from nvflare.app_common.np.constants import NPConstants
from nvflare.app_common.np.np_model_persistor import NPModelPersistor
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.fuel.utils.constants import FrameworkType
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import ScriptRunner

import secagg
from secagg.cli.demo import hospitals
from secagg.cli.demo import model as net
from secagg.integrations.nvflare import SecureFedAvg, SecureSite, plan_for

HOSPITALS, SEED, ROUNDS = 7, 1, 5


def make_keys(home, names):
    """What `secagg keygen` does at each site, and `secagg roster make` for all: here for a simulation, on one machine."""
    identities = {name: secagg.Identity.generate() for name in (*names, "server")}
    keys = {name: identity.verify_key for name, identity in identities.items()}
    roster = secagg.Roster(keys, keys.pop("server"))
    for name, identity in identities.items():
        (home / name).mkdir()
        identity.save(home / name / f"{name}.key")
        roster.save(home / name / "roster")


def build(home, names, start, *, plain):
    job = FedJob("hospitals", min_clients=4)
    job.to_server(NPModelPersistor(model=start.tolist()), id="persistor")
    job.to_server({"server": {"task_request_interval": 0.2}})  # sites ask for tasks five times a second
    script = str(Path(__file__).with_name("train.py"))
    job.to_clients(ScriptRunner(script, f"{HOSPITALS} {SEED}", framework=FrameworkType.NUMPY), tasks=["train"])
    if plain:
        job.to_server(FedAvg(num_clients=len(names), num_rounds=ROUNDS))
        return job
    model = {NPConstants.NUMPY_KEY: start}
    params = plan_for(model, len(names), dropout=1, max_weight=1000, clip=2.0, error=1e-6, metrics=["accuracy"])
    print(params.explain())
    make_keys(home, names)
    os.environ["SECAGG_NVFLARE_HOME"] = str(home / "{site}")  # each party's own, which the job has no say in
    job.to_server(SecureFedAvg(params, num_rounds=ROUNDS, timeout=30))  # in place of FedAvg
    job.to_clients(SecureSite(params))
    return job


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--plain", action="store_true", help="NVFlare's own FedAvg, which sees every hospital's weights"
    )
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    options = parser.parse_args()
    patients = hospitals.load(HOSPITALS, SEED)
    names = [each.name for each in patients.hospitals]
    start = to_vector(net.initial(SEED)).astype(np.float32)  # as the persistor keeps it
    with tempfile.TemporaryDirectory() as keys:
        job = build(Path(keys), names, start, plain=options.plain)
        if job.simulator_run(str(options.workspace), clients=names):
            raise SystemExit("the simulator failed")
    (saved,) = options.workspace.rglob("models/server.npy")
    model = from_vector(np.load(saved))
    print(f"accuracy {net.accuracy(model, patients.test_x, patients.test_y):.4f}", end=", ")
    print(f"AUC {net.auc(model, patients.test_x, patients.test_y):.4f} on {len(patients.test_y)} test patients")


if __name__ == "__main__":
    main()
