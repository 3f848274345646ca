"""Runs Flower's simulation once on the apps beside this file."""

from __future__ import annotations

from flower_round_app import asked, client_app, server_app
from flwr.simulation import run_simulation

if __name__ == "__main__":
    resources = {"num_cpus": 2, "num_gpus": 0.0}  # Flower's default
    run_simulation(server_app, client_app, asked()["clients"], backend_config={"client_resources": resources})
