"""A polynomial has fewer secrets than its threshold, even where nobody is corrupt: packed sharing asks for it in every upload."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import secagg
from secagg import Params
from secagg.errors import ParameterError

NOBODY = {"protocol": "oneshot", "threat": "semi-honest", "corrupt": 0}


@pytest.mark.parametrize("own", [{"clients": 4}, {"clients": 4, "threshold": 4}, {"clients": 2, "min_honest": 1}])
def test_defaults_and_plans_where_nobody_is_corrupt_leave_room_for_randomness(own: dict[str, Any]) -> None:
    params = Params(**own, length=3, **NOBODY)
    assert 1 <= params.packing < params.threshold
    total = secagg.simulate({f"c{i}": np.array([-1.0, 1.0, 1.0]) for i in range(params.clients)}, params)
    assert total.integer_sum.tolist() == [0, 65535 * params.clients, 65535 * params.clients]


def test_a_polynomial_of_nothing_but_secrets_is_refused() -> None:
    with pytest.raises(ParameterError, match="threshold > packing"):
        Params(4, length=3, threshold=4, packing=4, **NOBODY)
    planned = secagg.plan(4, 3, dropout=0, **NOBODY)
    assert planned.packing < planned.threshold
