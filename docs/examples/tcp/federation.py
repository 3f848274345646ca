"""How old are the patients? Five hospitals count them together over TCP: `python federation.py`.

The server learns the sum of the five histograms and none of them. One hospital's process dies in the second round, and another
one goes on from its files in the third.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from carrier import Hub

import secagg

NAMES = [f"hospital-{i}" for i in range(1, 6)]
DECADES = 10
PATIENCE = 30.0  # seconds to wait for a hospital that is connected and says nothing


def found(home: Path) -> tuple[secagg.Params, secagg.Identity, secagg.Roster]:
    """Make everybody's files, as `secagg keygen` and `secagg roster` would on as many machines."""
    params = secagg.Params(
        clients=5, length=DECADES, encoding=secagg.Integer(0, 100_000), corrupt=1, threshold=4, min_clients=4,
        rounds_per_setup=16,
    )  # fmt: skip
    keys = {name: secagg.Identity.generate() for name in NAMES}
    server_key = secagg.Identity.generate()
    roster = secagg.Roster({name: key.verify_key for name, key in keys.items()}, server_key.verify_key)
    for number, name in enumerate(NAMES):
        (home / name).mkdir()
        keys[name].save(home / name / "identity")
        roster.save(home / name / "roster")
        (home / name / "params").write_bytes(params.to_bytes())
        ages = np.random.default_rng(number).binomial(DECADES - 1, 0.6, size=400 + 100 * number)
        (home / name / "ages.json").write_text(json.dumps(np.bincount(ages, minlength=DECADES).tolist()))
    return params, server_key, roster


def start(home: Path, name: str, port: int, *last_round: str) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("hospital.py")
    return subprocess.Popen([sys.executable, str(script), str(home / name), str(port), *last_round])


async def connected(hub: Hub) -> None:
    while hub.links.keys() != set(NAMES):
        await asyncio.sleep(0.05)


async def main(home: Path) -> None:
    params, server_key, roster = found(home)
    counts = {name: np.array(json.loads((home / name / "ages.json").read_text())) for name in NAMES}
    server = secagg.Server(params, identity=server_key, roster=roster)
    hub = Hub(NAMES, params.max_frame_bytes)
    listener = await asyncio.start_server(hub.accept, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    processes = {name: start(home, name, port, *(["2"] if name == "hospital-3" else [])) for name in NAMES}
    try:
        for round_id in (1, 2, 3):
            await asyncio.wait_for(connected(hub), PATIENCE)
            server.open_round(round_id)
            await hub.run(server, PATIENCE)
            result = server.result(round_id)
            print(
                f"round {round_id}: {len(result.contributors)} hospitals, patients by decade {result.sum.astype(int)}"
            )
            if not np.array_equal(result.sum, sum(counts[name] for name in result.contributors)):
                raise SystemExit("not the sum of the hospitals' counts")
            if round_id == 2:
                processes["hospital-3"].wait()
                processes["hospital-3"] = start(home, "hospital-3", port)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()
        while hub.links:  # until the last connection is seen to have ended
            await asyncio.sleep(0.05)
        listener.close()
    print("each time the exact sum; no hospital's own counts ever left it")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))
