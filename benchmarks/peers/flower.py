"""Flower's SecAgg+, in an environment and a process of its own (its pins cap ours)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from harness.worker import Worker

__all__ = ["Flower"]


class Flower:
    """Asks the worker for whole pieces of Flower's work; the seconds are taken inside it, around Flower's functions alone."""

    name = "flwr SecAgg+"

    def __init__(self) -> None:
        self._worker = Worker("flower")
        self.version = self._worker.versions["flwr"]

    def client(self, clients: int, length: int, threshold: int) -> dict[str, Any]:
        """Run one client through a round among `clients`: keys, shares, masked, unmask.

        Returns
        -------
        dict
            ``seconds`` (all), ``phases`` (each), ``bytes_up`` (of the masked vector), ``error`` (largest difference between
            the update and what is left once the masks are taken off).
        """
        return dict(self._worker.ask("client", clients=clients, length=length, threshold=threshold))

    def prepare_server(self, clients: int, length: int, threshold: int, dropouts: int) -> None:
        """Make a round's masked sum and everybody's shares, untimed."""
        self._worker.ask("prepare_server", clients=clients, length=length, threshold=threshold, dropouts=dropouts)

    def server(self, out: Path) -> tuple[float, np.ndarray]:
        """Run the prepared round's unmask stage; return its seconds and the mean."""
        seconds = float(self._worker.ask("server", out=str(out)))
        return seconds, np.load(out)

    def close(self) -> None:
        """End the process."""
        self._worker.close()
