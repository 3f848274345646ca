"""declearn's masking, in an environment and a process of its own. Masks by numpy's default generator; no dropouts."""

from __future__ import annotations

from typing import Any

from harness.worker import Worker

__all__ = ["Declearn"]


class Declearn:
    """Asks the worker to quantise and mask one update."""

    name = "declearn masking"

    def __init__(self) -> None:
        self._worker = Worker("declearn")
        self.version = self._worker.versions["declearn"]

    def mask(self, clients: int, length: int) -> dict[str, Any]:
        """Protect one update among `clients`; return ``seconds`` and ``error`` (of the sum with its counterpart)."""
        return dict(self._worker.ask("mask", clients=clients, length=length))

    def close(self) -> None:
        """End the process."""
        self._worker.close()
