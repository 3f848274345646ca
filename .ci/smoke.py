"""What an installed wheel has to do in a bare environment: `python -I smoke.py native|fallback`."""

import subprocess
import sys
from pathlib import Path

import numpy as np

import secagg

BACKEND = sys.argv[1]
HERE = Path(sys.executable).parent


def main() -> None:
    """Import, one round of each protocol, and the commands that check the rest."""
    home = Path(secagg.__file__).resolve()
    if HERE.parent.resolve() not in home.parents:
        sys.exit(f"secagg comes from {home}, not from this environment")
    info = secagg.build_info()
    if info["backend"] != BACKEND:
        sys.exit(f"this wheel should run {BACKEND} kernels: {info}")
    updates = {f"client-{i}": np.random.default_rng(i).uniform(-1, 1, 1000) for i in range(5)}
    mean = np.mean(list(updates.values()), axis=0)
    for own in ({}, {"protocol": "ckks", "reveal": "server"}):
        params = secagg.plan(5, 1000, **own)
        found = secagg.simulate(updates, params).mean
        if np.abs(found - mean).max() > params.encoding.error_bound():
            sys.exit(f"{params.protocol}: the mean is wrong")
    for arguments in (["--help"], ["doctor"], ["vectors"]):
        done = subprocess.run([HERE / "secagg", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"secagg {arguments[0]}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"  {info['isa']}: imported, pairwise and ckks summed, doctor and vectors content")


main()
