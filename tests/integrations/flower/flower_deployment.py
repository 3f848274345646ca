"""A SuperLink and its SuperNodes on the loopback, and `flwr run` on the example; every process ends with the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np

import secagg
from secagg.cli.demo import hospitals
from secagg.cli.demo import model as net

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "flower-hospitals"
BIN = Path(sys.executable).parent
SEED = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Deployment:
    """One SuperLink; `home` holds keys, ledgers, logs and Flower's own files."""

    def __init__(self, home: Path, hospitals: int, *, simulated: bool = False, holder: int | None = None) -> None:
        self.home, self.hospitals, self.simulated = home, hospitals, simulated
        self.holder = holder  # the node that holds the key of encrypted sums
        self.processes: dict[str, subprocess.Popen] = {}
        self.port = free_port()
        self.env = {
            **os.environ, "FLWR_HOME": str(home / "flwr"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }  # fmt: skip
        for name in ("flwr", "keys", "receipts"):
            (home / name).mkdir()
        shutil.copytree(EXAMPLE, home / "app", ignore=shutil.ignore_patterns("__pycache__", "*.fab"))
        options = f"options.num-supernodes = {hospitals}\n" if simulated else ""
        if simulated:
            options += "options.backend.client-resources.num-cpus = 1\n"
        (home / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n{options}'
        )

    def __enter__(self):
        mode = ["--simulation"] if self.simulated else []
        self.start(
            "superlink", "flower-superlink", "--insecure", "--disable-runtime-dependency-installation",
            "--port", str(self.port), *mode,
        )  # fmt: skip
        self.await_port()
        if not self.simulated:
            self.make_keys()
            for i in range(self.hospitals):
                self.start_node(i)
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            self.end(process, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                self.end(process, signal.SIGKILL)
                process.wait()

    @staticmethod
    def end(process, how) -> None:
        """Signal a process of ours and its children, which are in a group of their own."""
        if process.returncode is None:  # one that was waited for may have left its number to somebody else
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)

    def start(self, name: str, *command: str) -> None:
        log = (self.home / f"{name}.log").open("wb")
        self.processes[name] = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            stdout=log, stderr=subprocess.STDOUT, env=self.env, cwd=self.home, start_new_session=True,
        )  # fmt: skip

    def await_port(self, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise RuntimeError((self.home / "superlink.log").read_text())

    def make_keys(self) -> None:
        names = [f"h{i}" for i in range(self.hospitals)]
        secagg_cli = str(BIN / "secagg")
        for name in (*names, "server"):
            subprocess.run(
                [secagg_cli, "keygen", name, "--out", "keys"], cwd=self.home, check=True, capture_output=True
            )
        public = [f"keys/{name}.pub" for name in names]
        holder = [] if self.holder is None else ["--holder", f"keys/h{self.holder}.pub"]
        (self.home / "policy.toml").write_text('protocols = ["pairwise", "ckks", "oneshot"]\n')
        subprocess.run(
            [secagg_cli, "roster", "make", "study.roster", "--server", "keys/server.pub", *holder, *public],
            cwd=self.home, check=True, capture_output=True,
        )  # fmt: skip

    def start_node(self, i: int) -> None:
        files = {
            "secagg-identity": self.home / "keys" / f"h{i}.key",
            "secagg-roster": self.home / "study.roster",
            "secagg-ledger": self.ledger(i),
            "secagg-policy": self.home / "policy.toml",
        }
        if i == self.holder:
            files["secagg-holder-ledger"] = self.home / "holder.ledger"
        config = f"partition-id={i} num-partitions={self.hospitals} " + " ".join(f'{k}="{v}"' for k, v in files.items())
        self.start(
            f"node{i}", "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{self.port}",
            "--port", str(free_port()), "--node-config", config,
        )  # fmt: skip

    def ledger(self, i: int) -> Path:
        return self.home / f"h{i}.ledger"

    def kill_node(self, i: int) -> None:
        self.end(self.processes[f"node{i}"], signal.SIGKILL)

    def run(self, seconds: float, **config) -> subprocess.Popen:
        """Begin `flwr run` on the example."""
        settings = {
            "hospitals": self.hospitals, "model-path": str(self.home / "model.npz"), "receipts": str(self.home / "receipts"),
        } | config  # fmt: skip
        if not self.simulated:
            settings |= {
                "secagg-trust": "roster",
                "secagg-identity": str(self.home / "keys" / "server.key"),
                "secagg-roster": str(self.home / "study.roster"),
            }
        text = " ".join(f"{key}={value!r}" for key, value in settings.items())
        self.start("run", "flwr", "run", "app", "here", "--stream", "--run-config", text)
        self.deadline = time.monotonic() + seconds
        return self.processes["run"]

    def finish(self) -> str:
        """Return what the run logged, once it is over."""
        self.processes["run"].wait(max(1.0, self.deadline - time.monotonic()))
        return self.log("run")

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")

    def contributors(self, rounds: int) -> list[tuple[str, ...]]:
        folder = self.home / "receipts"
        return [secagg.Receipt.load(folder / f"train-{n}.json").survivors for n in range(1, rounds + 1)]


def plain_model(count: int, contributors: list[tuple[str, ...]], names: dict[str, int]) -> net.Weights:
    """What plain FedAvg makes of the same hospitals, float32 on the wire as in the example."""
    data = hospitals.load(count, SEED)
    model = rounded(net.initial(SEED))
    for here in contributors:
        sites = [data.hospitals[names[name]] for name in here]
        total = sum(site.patients for site in sites)
        mean = None
        for site in sites:
            trained = rounded(net.add(model, net.train(model, site.x, site.y)))
            share = {
                part: {k: v * (site.patients / total) for k, v in leaves.items()} for part, leaves in trained.items()
            }
            mean = share if mean is None else net.add(mean, share)
        model = rounded(mean)
    return model


def rounded(model: net.Weights) -> net.Weights:
    return {
        part: {name: leaf.astype(np.float32).astype(np.float64) for name, leaf in leaves.items()}
        for part, leaves in model.items()
    }


def gap(path: Path, model: net.Weights) -> float:
    """The largest difference between a saved model and another one."""
    with np.load(path) as saved:
        assert set(saved) == {f"{part}.{name}" for part, leaves in model.items() for name in leaves}
        return max(
            float(np.abs(saved[f"{part}.{name}"] - leaf).max())
            for part, leaves in model.items()
            for name, leaf in leaves.items()
        )
