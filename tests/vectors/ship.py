"""Write what ships in the wheel, secagg/vectors: the files of this directory about single operations, long cases left out.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.ship`
"""

import json
from pathlib import Path

from vectors.generate_kernels import text

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "secagg" / "vectors"
NAMES = (
    "aes_gcm_256", "hint", "kernels", "oneshot", "rfc5869_hkdf", "rfc7748_x25519", "rfc8032_ed25519", "ring",
    "sp800_185_tuplehash", "sp800_38a_ctr_aes128",
)  # fmt: skip
LONGEST = 6000  # characters of a case


def selection(name):
    """Return what ships of one file."""
    made = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    kept = [case for case in made["cases"] if len(json.dumps(case)) <= LONGEST]
    left = len(made["cases"]) - len(kept)
    return text({**made, "selection": f"{left} longer cases are left out" if left else "all cases", "cases": kept})


if __name__ == "__main__":
    SHIPPED.mkdir(exist_ok=True)
    for name in NAMES:
        (SHIPPED / f"{name}.json").write_text(selection(name), encoding="utf-8")
