"""A client streams an update from a memory-mapped float32 file: its peak anonymous memory, as JSON.

Usage: client_memory.py FILE LENGTH CLIENTS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.memory import PeakMemory, anonymous_bytes

import secagg
from secagg.testing import Network


def main(path: str, length: int, clients: int) -> None:
    """Set up among `clients`, then stream; every frame is dropped as soon as it is made, as if it were sent."""
    start = anonymous_bytes()
    params = secagg.Params(clients=clients, length=length)
    network = Network.fresh(params, [f"c{i}" for i in range(clients)], threads=1)
    network.server.open_round(1)
    for _ in ("keys", "shares"):
        network.exchange(lambda _: None)
        network.server.close_phase()
    client = network.clients["c0"]
    for to, frame in network.server.outbox():
        if to in (None, "c0"):
            client.receive(frame)
    update = np.memmap(path, dtype=np.float32, mode="r", shape=(length,))
    sent = frames = 0
    begin = time.perf_counter()
    with PeakMemory() as memory:
        for frame in client.stream(update):
            sent += len(frame)
            frames += 1
            memory.look()
    print(
        json.dumps({
            "seconds": time.perf_counter() - begin, "frames": frames, "bytes_up": sent, "start": start,
            "before": memory.before, "peak": memory.peak,
        })
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
