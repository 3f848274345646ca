"""A server in a process with hardly any memory: `python small_memory.py HOME`, with its journal, files and frames in HOME."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import msgspec

import secagg


def main(home: Path) -> None:
    server = secagg.Server(
        secagg.Params.from_bytes((home / "params").read_bytes()), identity=secagg.Identity.load(home / "identity"),
        roster=secagg.Roster.load(home / "roster"), journal=home / "journal", threads=1,
    )  # fmt: skip
    frames = msgspec.msgpack.decode((home / "frames").read_bytes())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 20), resource.RLIM_INFINITY))
    try:
        for frame in frames:
            server.receive(frame)
    except secagg.errors.AbortError as error:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(error, server.phase)  # noqa: T201 - for the test
    server.open_round(2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
