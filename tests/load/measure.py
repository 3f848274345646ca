"""Measure the server under load: ``python -P tests/load/measure.py [pairwise|ckks|oneshot] [CLIENTS] [LENGTH]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load.run import run  # the path comes first


def main() -> None:
    """Run and print."""
    protocol, clients, length = (sys.argv[1:] + ["pairwise", "10000", "10000"][len(sys.argv) - 1 :])[:3]
    begun = time.monotonic()
    figures = run(protocol, int(clients), int(length), say=lambda line: print("  ", line, flush=True))
    print("\n".join(figures.lines()))
    print(f"  {time.monotonic() - begun:.0f} s in all; the sum is exact")


if __name__ == "__main__":
    main()
