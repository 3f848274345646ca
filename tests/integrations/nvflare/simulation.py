"""A job of protected rounds, and a run of it in NVFlare's simulator, whose server and sites are processes of their own."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from federation import Listener, Persistor, Prober, Trainer, initial
from nvflare.job_config.api import FedJob
from nvflare.job_config.defs import FilterType

import secagg
from secagg.integrations.nvflare import SecureFedAvg, SecureSite, plan_for
from secagg.integrations.nvflare.store import HOME_VARIABLE

SITES = tuple(f"site-{i}" for i in range(1, 5))


def keys(home: Path, names: tuple[str, ...] = SITES) -> None:
    """Make everybody's key, and the roster of all; the first site holds the key of encrypted sums."""
    identities = {name: secagg.Identity.generate() for name in (*names, "server")}
    clients = {name: identities[name].verify_key for name in names}
    roster = secagg.Roster(clients, identities["server"].verify_key, clients[names[0]])
    for name, identity in identities.items():
        (home / name).mkdir(parents=True)
        identity.save(home / name / f"{name}.key")
        roster.save(home / name / "roster")
        (home / name / "policy.toml").write_text('protocols = ["pairwise", "ckks"]\n')


def job(
    home: Path, *, rounds: int = 3, trainer: dict[str, Any] | None = None, seconds: int = 120,
    plan: dict[str, Any] | None = None, probe: tuple[str, ...] = (),
) -> FedJob:  # fmt: skip
    """Return a job whose results and messages end up in `home`; with `probe` the server then asks for tasks of these names."""
    for name in ("models", "heard"):
        (home / name).mkdir()
    params = plan_for(
        initial(), len(SITES), dropout=1, max_weight=20_000, error=1e-6, rounds_per_setup=8, metrics=("loss",),
        **(plan or {}),
    )  # fmt: skip
    made = FedJob("secure", min_clients=len(SITES) - 1)
    made.to_server(Persistor(str(home / "models")), id="persistor")
    made.to_server(SecureFedAvg(params, num_rounds=rounds, timeout=seconds, train_timeout=seconds))
    if probe:
        made.to_server(Prober(list(probe)))
    heard = ["train", "secagg", "secagg_holder", *probe]
    made.to_server(Listener(str(home / "heard")), filter_type=FilterType.TASK_RESULT, tasks=heard)
    made.to_server({"server": {"task_request_interval": 0.2}})
    if not probe:
        made.to_clients(Trainer(**(trainer or {})), tasks=["train"])
    made.to_clients(SecureSite(params))
    if probe:  # a job whose trainer takes any task is refused, unless the trainer comes last
        made.to_clients(Trainer(**(trainer or {})), tasks=["*"])
    return made


@dataclass
class Outcome:
    """What a job left behind."""

    home: Path
    models: list[dict[str, np.ndarray]] = field(init=False)
    contributors: list[int] = field(init=False)
    heard: list[tuple[str, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        paths = sorted((self.home / "models").glob("model-*.npz"))
        self.models = [dict(np.load(path)) for path in paths]
        metas = [json.loads(path.read_text()) for path in sorted((self.home / "models").glob("meta-*.json"))]
        self.contributors = [meta["nr_aggregated"] for meta in metas]
        self.heard = [(path.suffix[1:], path.read_bytes()) for path in sorted((self.home / "heard").iterdir())]


ATTEMPTS = 3
# NVFlare 2.9's simulator lets two of its threads pick the same free port at times, and then one site never comes up.
NEVER_CAME_UP = "Communication error with client"


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Send what this process and its children print to a file."""
    kept = [os.dup(number) for number in (1, 2)]
    with path.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for number, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def simulate(home: Path, *, threads: int | None = None, **options: Any) -> Outcome:
    """Run a job in the simulator."""
    for attempt in range(ATTEMPTS):
        here = Path(tempfile.mkdtemp(dir=home))
        keys(here / "parties")
        made = job(here, **options)
        own = {HOME_VARIABLE: str(here / "parties" / "{site}")}
        with written_to(here / "log"), patch.dict(os.environ, own):
            code = made.simulator_run(str(here / "workspace"), n_clients=len(SITES), threads=threads or len(SITES))
        log = (here / "log").read_text()
        if NEVER_CAME_UP not in log or options.get("trainer", {}).get("dies") or attempt == ATTEMPTS - 1:
            break
    assert code == 0, log
    return Outcome(here)
