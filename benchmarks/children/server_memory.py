"""A server takes whole uploads, one client after the other: its peak anonymous memory, as JSON.

Usage: server_memory.py CLIENTS LENGTH
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.memory import PeakMemory

import secagg
from secagg.testing import Network


def main(clients: int, length: int) -> None:
    """Run a whole round; beyond what stood before the first upload, memory is the server's and that of one upload."""
    params = secagg.Params(clients=clients, length=length)
    network = Network.fresh(params, [f"c{i:04d}" for i in range(clients)], threads=1)
    server = network.server
    server.open_round(1)
    for _ in ("keys", "shares"):
        network.exchange(lambda _: None)
        server.close_phase()
    for to, frame in server.outbox():
        for name in network.clients if to is None else (to,):
            network.clients[name].receive(frame)
    update = np.zeros(length, np.float32) + np.float32(0.5)
    with PeakMemory() as memory:
        for client in network.clients.values():
            for frame in client.stream(update):
                server.receive(frame)
            memory.look()
        server.close_phase()
        network.exchange(lambda _: None)
        server.close_phase()
    assert server.result(1).weight == clients
    print(json.dumps({"before": memory.before, "peak": memory.peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
