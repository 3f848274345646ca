"""Params of ckks: who learns the sum is said, what has no place is refused, bytes are canonical."""

import dataclasses

import msgspec
import pytest

from secagg import FixedPoint, Integer, Layout, Params
from secagg.errors import ParameterError
from support.encrypted import MODES, make_params

PARAMS = [
    make_params(5),
    make_params(3, reveal="holder", threat="semi-honest", ring=(4096, 60), frame_bytes=1 << 17),
    Params(
        clients=30, max_weight=300, min_honest=3, metrics=("loss", "accuracy"), rounds_per_setup=7, max_participants=20,
        layout=Layout.of({"w": [1.0, (2, 3.0)], "n": 7, "e": {}}), encoding=FixedPoint(clip=2, bits=12),
        segments={"metrics": FixedPoint(clip=4.0, bits=20, rounding="nearest"), "n": Integer(-3, 400)},
        protocol="ckks", reveal="holder",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reveal": None}, "who learns the sum"),
        ({"reveal": "both"}, "who learns the sum"),
        ({"reveal": True}, "who learns the sum"),
        ({"threshold": 3}, "threshold belongs to pairwise"),
        ({"min_cohort": 5}, "min_cohort belongs to pairwise"),
        ({"neighbours": 4}, "neighbours belongs to pairwise"),
        ({"threat": "friendly"}, "threat"),
        ({"ring": 2048}, "pair of integers"),
        ({"ring": (2048,)}, "pair of integers"),
        ({"ring": [2048, 30]}, "pair of integers"),
        ({"ring": (2048, 30.0)}, "pair of integers"),
        ({"ring": (2048, True)}, "pair of integers"),
        ({"ring": (2048, 54)}, "128-bit"),
        ({"ring": (1000, 20)}, "128-bit"),
        ({"min_clients": 1}, "min_clients"),
        ({"min_clients": 6}, "min_clients"),
        ({"min_clients": 2}, "honest updates"),
        ({"corrupt": 5}, "corrupt"),
        ({"max_participants": 1}, "max_participants"),
        ({"min_honest": 0}, "min_honest"),
        ({"rounds_per_setup": 0}, "rounds_per_setup"),
        ({"max_weight": 1 << 61}, "hold the sums|64|wrap"),
        ({"frame_bytes": 4096}, "frame_bytes"),
        ({"clients": 1}, "at least 2"),
    ],
)
def test_refusals_say_what_is_wrong(changes, words):
    settings = {
        "clients": 5, "length": 37, "encoding": Integer(-50, 1000), "protocol": "ckks", "reveal": "server", "corrupt": 1,
        "min_clients": 4,
    }  # fmt: skip
    with pytest.raises(ParameterError, match=words):
        Params(**{**settings, **changes})
    assert Params(**settings).padded


@pytest.mark.parametrize("reveal, threat", MODES)
def test_pads_and_recomputation_follow_from_threat_and_reveal(reveal, threat):
    params = make_params(5, reveal=reveal, threat=threat)
    assert params.padded == (threat == "malicious")
    assert params.recompute == (threat == "malicious" and reveal == "holder")
    assert params.opened_honest == params.min_clients - params.corrupt == 3
    assert (params.threshold, params.neighbours, params.min_cohort) == (1, 0, 4)
    assert params.ring == (params.cipher_plan.ring.degree, params.cipher_plan.ring.bits)


def test_pairwise_params_have_no_pads_and_a_hash_that_ckks_does_not_change():
    params = Params(clients=5, length=9)
    assert not params.padded
    assert not params.recompute
    assert len(params.canonical()) == len(dataclasses.fields(Params)) - 4  # reveal, ring, committee, packing
    assert dataclasses.replace(params).hash == params.hash


def test_every_field_is_in_the_hash():
    base = make_params(5, min_clients=4)
    changes = [
        {"reveal": "holder"}, {"threat": "semi-honest"}, {"ring": (2048, 40)}, {"min_clients": 5},
        {"min_honest": 3}, {"corrupt": 2}, {"max_weight": 2}, {"rounds_per_setup": 2}, {"frame_bytes": 1 << 16},
        {"length": 38}, {"encoding": Integer(-50, 1001)},
    ]  # fmt: skip
    hashes = {make_params(5, **{"min_clients": 4, **change}).hash for change in changes} | {base.hash}
    assert len(hashes) == len(changes) + 1
    assert make_params(5, min_clients=4, ring=base.ring).hash == base.hash  # said or chosen, it is the same ring


@pytest.mark.parametrize("params", PARAMS)
def test_params_survive_the_trip_through_bytes(params):
    again = Params.from_bytes(params.to_bytes())
    assert again == params
    assert again.hash == params.hash
    assert again.cipher_plan == params.cipher_plan


@pytest.mark.parametrize("params", PARAMS[:1])
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


def test_what_is_settled_cannot_be_said_otherwise_in_bytes():
    """A threshold of 2, a graph, a ring that is missing: not the bytes of any ckks Params."""
    params = PARAMS[0]
    names = [field.name for field in dataclasses.fields(Params)]
    values = list(params.canonical())
    odd = {
        "threshold": [0, 2, None], "neighbours": [1, 4], "min_cohort": [3, 5], "reveal": [None, "both"],
        "ring": [None, [2048], []],        "protocol": ["pairwise", None],
    }  # fmt: skip
    for name, others in odd.items():
        for other in others:
            changed = [*values]
            changed[names.index(name)] = other
            with pytest.raises(ParameterError):
                Params.from_bytes(msgspec.msgpack.encode(changed))
    for cut in (values[:-1], values[:-2], [*values, 1], []):
        with pytest.raises(ParameterError):
            Params.from_bytes(msgspec.msgpack.encode(cut))


def test_frames_of_a_round_are_within_the_limit():
    params = make_params(5)
    poly = 2 * params.ring[0] * params.ring[1] // 8
    assert params.max_frame_bytes >= max(params.frame_bytes, poly) + 1024
