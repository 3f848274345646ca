"""A peer in a process of its own, for dependencies that cannot share ours: asked in turn with ours, it times itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["PeerMissing", "Worker", "peer_python"]

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ROOT / "benchmarks" / "peers" / "workers"


class PeerMissing(Exception):  # noqa: N818  # not an error: a peer that cannot be installed here is reported as missing
    """The peer is not installed; its text says what to do."""


def peer_python(peer: str) -> Path:
    """Return the interpreter of a peer's environment.

    Raises
    ------
    PeerMissing
        There is none.
    """
    python = ROOT / ".bench" / "venvs" / peer / "bin" / "python"
    if not (python.parent.parent / "installed").exists():
        raise PeerMissing(f"{peer} is not installed: make .bench/venvs/{peer}/installed")
    return python


class Worker:
    """One process, started once; requests and answers are JSON lines.

    Parameters
    ----------
    peer : str
        Names the environment ``.bench/venvs/<peer>`` and the script ``peers/workers/<peer>_worker.py``.
    """

    def __init__(self, peer: str) -> None:
        self._peer = peer
        script = WORKERS / f"{peer}_worker.py"
        quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0"}
        self._log = (ROOT / ".bench" / f"{peer}.log").open("w", encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603  # our own script, under the peer's interpreter
            [str(peer_python(peer)), str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **quiet},
        )
        self.versions: dict[str, str] = self.ask("versions")

    def ask(self, do: str, **request: Any) -> Any:
        """Return the worker's answer to one request; RuntimeError if it failed."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self._peer} worker ended with {self._process.wait()}: see {self._log.name}")
        return json.loads(line)["result"]

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
