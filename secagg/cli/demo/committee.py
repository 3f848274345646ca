"""The committee's part in the demo: its Params, and who is lost, silent or lying in which round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from secagg.cli.demo.federation import LATE
from secagg.oneshot_rules import sets_apart
from secagg.params import Params

__all__ = ["committee_params", "committee_schedule"]

LIES_EVERY = 3  # rounds
MOST_PACKING = 16
TWO = 2  # answers more than the threshold, for each wrong one that is to be corrected


def committee_params(hospitals: int, dropout: int) -> dict[str, Any]:
    """Return the fields of a committee of all hospitals that can do without the lost ones and one more, or with a liar.

    The threshold is the largest for that, if the bounds on several sets in one round leave so much room.
    """
    corrupt = max(1, math.ceil(hospitals / 10))
    least = (hospitals + corrupt) // 2 + 1
    if sets_apart(hospitals, hospitals - dropout, corrupt):
        least = (2 * hospitals + corrupt) // 3 + 1
    threshold = min(hospitals, max(least, hospitals - max(dropout + 1, TWO + 1)))
    packing = max(1, min(threshold - least + 1, MOST_PACKING))
    return {
        "protocol": "oneshot", "committee": hospitals, "threshold": threshold, "packing": packing, "corrupt": corrupt,
    }  # fmt: skip


def committee_schedule(
    names: tuple[str, ...], params: Params, rounds: int, dropout: int, seed: int
) -> list[tuple[Mapping[str, str], str | None]]:
    """Return for each round who is lost before what, and who lies.

    As many are gone for the whole round as the committee can do without; whoever is lost beyond that misses the update alone.
    """
    rng = np.random.default_rng([seed, rounds, dropout, len(names), 1])
    spare = params.committee - params.threshold
    liar = str(rng.choice(names))
    made: list[tuple[Mapping[str, str], str | None]] = []
    for number in range(rounds):
        lies = spare >= TWO and number % LIES_EVERY == 1
        left = spare - TWO if lies else spare
        others = rng.permutation([name for name in names if not lies or name != liar]).tolist()
        chosen, others = others[:dropout], others[dropout:]
        silent = others[:1] if left > 0 else []
        gone = max(left - len(silent), 0)
        lost = {name: "masked" if place < gone else LATE for place, name in enumerate(chosen)}
        made.append((lost | dict.fromkeys(silent, "reveal"), liar if lies else None))
    return made
