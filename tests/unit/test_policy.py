"""What a client accepts of the Params that others propose."""

from __future__ import annotations

import pytest

from secagg import FixedPoint, Integer, Params
from secagg.errors import InputError, ParameterError
from secagg.integrations.policy import Policy


def params(**changes):
    return Params(**({"clients": 10, "length": 5, "corrupt": 1, "threshold": 8, "min_clients": 8} | changes))


def test_the_defaults_accept_the_defaults():
    Policy().check(params())
    Policy().check(params(rounds_per_setup=64))


@pytest.mark.parametrize(
    ("policy", "changes", "text"),
    [
        ({"protocols": ("ckks",)}, {}, "protocol 'pairwise'"),
        ({}, {"threat": "semi-honest"}, "threat='semi-honest'"),
        ({"min_honest": 3}, {}, "min_honest=2, below 3"),
        ({"min_clients": 9}, {}, "min_clients=8, below 9"),
        ({"corrupt": 0.2}, {}, "corrupt=1 of 10, below 2"),
        ({}, {"corrupt": 0}, "corrupt=0 of 10, below 1"),
        ({}, {"rounds_per_setup": 65}, "rounds_per_setup=65, over 64"),
        ({"least_max_weight": 1000}, {"max_weight": 999}, "max_weight=999, below 1000"),
        ({}, {"encoding": Integer(0, 9)}, "an encoding that refuses values"),
        ({}, {"encoding": Integer(-(1 << 31), 9)}, "an encoding that refuses values"),
        ({}, {"encoding": Integer(0, 1 << 31)}, "an encoding that refuses values"),
        ({}, {"encoding": FixedPoint(clip=1.0, bits=16, overflow="refuse")}, "an encoding that refuses values"),
        (
            {},
            {"metrics": ("age",), "segments": {"metrics": FixedPoint(clip=1.0, bits=16, overflow="refuse")}},
            "an encoding that refuses values",
        ),
    ],
)
def test_what_is_below_the_policy_is_refused(policy, changes, text):
    with pytest.raises(ParameterError, match=text):
        Policy(**policy).check(params(**changes))


def test_a_policy_may_trust_the_server():
    Policy(threat="semi-honest").check(params(threat="semi-honest"))
    Policy(threat="semi-honest").check(params())


def test_a_policy_may_take_encodings_that_refuse_values():
    Policy(refusing_encodings=True).check(params(encoding=Integer(0, 9)))
    Policy(refusing_encodings=True).check(params(encoding=FixedPoint(clip=1.0, bits=16, overflow="refuse")))


def test_counters_of_32_bits_are_no_narrow_range():
    Policy().check(params(encoding=Integer(-(1 << 31), (1 << 31) - 1)))


def test_a_max_weight_that_is_large_enough():
    Policy(least_max_weight=1000).check(params(max_weight=1000))


def test_a_file(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('protocols = ["pairwise", "ckks"]\nmin_honest = 3\ncorrupt = 0.25\nledger = false\n')
    assert Policy.load(path) == Policy(protocols=("pairwise", "ckks"), min_honest=3, corrupt=0.25, ledger=False)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("protocols = []", "protocols must be"),
        ("protocols = [1]", "protocols must be"),
        ("protocols = 1", "protocols must be"),
        ('protocols = "pairwise or ckks"', "protocols must be"),
        ('threat = "nice"', "threat must be"),
        ("min_honest = 0", "min_honest must be"),
        ("min_clients = true", "min_clients must be"),
        ("max_rounds_per_setup = 1.5", "max_rounds_per_setup must be"),
        ("corrupt = 1.0", "corrupt must be"),
        ('corrupt = "half"', "corrupt must be"),
        ("ledger = 1", "ledger must be"),
        ("least_max_weight = 0", "least_max_weight must be"),
        ('refusing_encodings = "no"', "refusing_encodings must be"),
        ("replanning = 0", "replanning must be"),
        ("other = 1", "a key that no policy has: 'other'"),
        ("no toml", "cannot be read"),
        ("# " + "x" * (1 << 16), "too long"),
    ],
)
def test_files_that_mean_nothing(tmp_path, text, error):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=error):
        Policy.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Policy.load(tmp_path / "policy.toml")
