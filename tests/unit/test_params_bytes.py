"""Params as bytes: what a snapshot carries and an auditor is given; every check is made again."""

import pytest

from secagg import FixedPoint, Integer, Layout, Params
from secagg.errors import ParameterError
from support.federation import make_params

PARAMS = [
    make_params(5),
    Params(clients=3, length=1),
    Params(
        clients=30, max_weight=300, min_honest=3, metrics=("loss", "accuracy"), rounds_per_setup=7, max_participants=20,
        layout=Layout.of({"w": [1.0, (2, 3.0)], "n": 7, "e": {}}), encoding=FixedPoint(clip=2, bits=12),
        segments={"metrics": FixedPoint(clip=4.0, bits=20, rounding="nearest"), "n": Integer(-3, 400)},
    ),
    Params(clients=40, length=9, threat="semi-honest", corrupt=1, neighbours=12, threshold=6, min_clients=37),
]  # fmt: skip


@pytest.mark.parametrize("params", PARAMS)
def test_params_survive_the_trip_through_bytes(params):
    again = Params.from_bytes(params.to_bytes())
    assert again == params
    assert again.hash == params.hash
    assert again.segment_plan.segments == params.segment_plan.segments


@pytest.mark.parametrize("params", PARAMS)
def test_damaged_params_are_refused(params):
    data = params.to_bytes()
    for cut in range(len(data)):
        with pytest.raises(ParameterError):
            Params.from_bytes(data[:cut])
    for at in range(len(data)):
        for bit in (1, 128):
            changed = bytes([*data[:at], data[at] ^ bit, *data[at + 1 :]])
            try:
                read = Params.from_bytes(changed)
            except ParameterError:
                continue
            assert read.to_bytes() == changed != data
    with pytest.raises(ParameterError):
        Params.from_bytes(data + b"\x00")
