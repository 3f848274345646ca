"""Runs a federation of processes, kills them at random, starts them again, and says how it went.

    python crash_run.py HOME MODE KILLS SEED

MODE is pairwise, ckks, ckks-holder or oneshot. The processes are forks of this one, so that one is there again in
milliseconds. When KILLS have died, nobody is killed any more, and rounds go on until all clients are in a sum again. What was
sent and what came of the rounds is judged (`crash_judge`); a summary is printed as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from secagg.wire import HOLDER
from support.crash_judge import judge
from support.crash_parties import (
    MEMBER,
    PARTY_TRAPS,
    PATIENCE,
    SERVER_TRAPS,
    PartyProcess,
    ServerProcess,
    Setting,
    Trap,
    records,
)

SLOWEST = 300.0  # seconds for the whole of it: then it hangs
PAUSES = ((0.0, 0.05), (0.0, 0.05), (0.05, 0.3))  # seconds between two kills: mostly not enough for a round
SERVERS = 0.3  # of the kills, beside the server's own share
LONG = 0.15  # of the clients that die, stay away for longer than the server waits
CALM = 12  # rounds after the last kill in which all clients must be in a sum again


class Run:
    def __init__(self, home: Path, mode: str, seed: int) -> None:
        self.setting, self.rng = Setting(home, mode), random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.pids: dict[int, str] = {}
        self.killed: Counter[str] = Counter()  # by this process, and by traps
        self.away: list[tuple[float, str]] = []
        self.calm = False

    def start(self, name: str) -> None:
        seed = self.rng.getrandbits(64)
        pid = os.fork()
        if pid:
            self.pids[pid] = name
            return
        status = 1
        try:
            rng = random.Random(seed)
            trap = Trap(self.setting.home, rng, SERVER_TRAPS if name == "server" else PARTY_TRAPS)
            trap.place = "" if self.calm else trap.place
            trap.arm()
            if name == "server":
                ServerProcess(self.setting, self.listener, trap).run()
            else:
                port = self.listener.getsockname()[1]
                self.listener.close()
                PartyProcess(self.setting, name, port, trap).run()
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it was, the test must hear of it
            (self.setting.home / f"failure-{os.getpid()}").write_text(f"{name}\n{traceback.format_exc()}")
        finally:
            os._exit(status)

    def reap(self) -> None:
        """Start again whoever died, by this process's hand or its own; some clients only when a phase can be over."""
        for due, name in list(self.away):
            if self.calm or time.monotonic() > due:
                self.away.remove((due, name))
                self.start(name)
        while self.pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            name = self.pids.pop(pid)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                who = {"server": "server", HOLDER: "holder", MEMBER: "member"}.get(name, "client")
                self.killed[who] += 1
                if who == "client" and not self.calm and self.rng.random() < LONG:
                    self.away.append((time.monotonic() + 2 * PATIENCE, name))
                else:
                    self.start(name)
            elif name != "server" or status:
                raise SystemExit(f"{name} ended with {status}: " + "".join(self.failures()))
            else:
                return  # the server had enough

    def failures(self) -> list[str]:
        return [path.read_text() for path in self.setting.home.glob("failure-*")]

    def storm(self, kills: int, end: float) -> None:
        while self.killed.total() < kills:
            assert time.monotonic() < end, "it hangs"
            self.reap()
            time.sleep(self.rng.uniform(*self.rng.choice(PAUSES)))
            pid = self.rng.choice(list(self.pids))
            if self.rng.random() < SERVERS:
                pid = next(pid for pid, name in self.pids.items() if name == "server")
            os.kill(pid, signal.SIGKILL)
            while pid in self.pids:
                self.reap()
                time.sleep(0.001)

    def calm_down(self, end: float) -> None:
        """Nobody dies any more: those with traps are replaced once, and rounds go on until everybody is in one."""
        self.calm = True
        for pid in list(self.pids):
            if pid in self.pids:  # and not reaped with the one before it
                os.kill(pid, signal.SIGKILL)
            while pid in self.pids:
                self.reap()
                time.sleep(0.001)
        before = max((round_id for round_id, *_ in records(self.setting.home, "outcomes")), default=0)
        while True:
            self.reap()
            assert time.monotonic() < end, "it hangs"
            late = [record for record in records(self.setting.home, "outcomes") if record[0] > before + 1]
            if any(len(record[2]) == 5 for record in late if record[1] == "sum"):
                break
            assert not late or late[-1][0] < before + CALM, late
            time.sleep(0.02)
        (self.setting.home / "stop").touch()
        while "server" in self.pids.values():
            assert time.monotonic() < end, "it hangs"
            self.reap()
            time.sleep(0.005)

    def main(self, kills: int) -> dict[str, Any]:
        began = time.monotonic()
        try:
            for name in ("server", *self.setting.parties):
                self.start(name)
            self.storm(kills, began + SLOWEST)
            self.calm_down(began + SLOWEST)
        finally:
            for pid in self.pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        places = Counter(path.read_text() for path in (self.setting.home / "logs").glob("died-*"))
        return {"killed": dict(self.killed), "of these": dict(places), "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    run = Run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[4]))
    summary = run.main(int(sys.argv[3]))
    print(json.dumps({**summary, **judge(run.setting)}))  # noqa: T201 - for who started it
