"""Params: what could wrap, leak or never finish is refused before anything runs."""

import dataclasses

import pytest

from secagg import FixedPoint, Integer, Layout, Params
from secagg.errors import ParameterError


def test_defaults_of_a_small_hospital_network():
    params = Params(clients=7, length=10)
    assert (params.corrupt, params.threshold, params.min_clients, params.max_participants) == (1, 6, 6, 7)
    assert params.opened_honest == 5
    assert params.full


@pytest.mark.parametrize(
    ("n", "tm", "g"),
    [(5, 5, 4), (5, 4, 3), (7, 7, 6), (7, 6, 5), (7, 5, 3), (10, 9, 8), (10, 8, 7), (10, 7, 5)],
)
def test_bound_of_the_small_cohorts(n, tm, g):
    if (n, tm, g) == (10, 9, 8):
        assert Params(clients=n, length=1, corrupt=1, threshold=10, min_clients=10).opened_honest == 9
    assert Params(clients=n, length=1, corrupt=1, threshold=tm, min_clients=tm).opened_honest == g


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": 4, "min_clients": 4}, "both ways|open the sum"),
        ({"threshold": 1, "min_clients": 5}, "corrupt clients alone"),
        ({"min_clients": 2}, "honest updates"),
        ({"neighbours": 4}, "full graph"),
        ({"neighbours": 5, "threat": "semi-honest"}, "even"),
        ({"neighbours": 2, "threat": "semi-honest", "threshold": 2}, "exposed"),
        ({"threat": "friendly"}, "threat"),
        ({"protocol": "magic"}, "protocol"),
        ({"max_weight": 0}, "max_weight"),
        ({"max_participants": 8}, "max_participants"),
        ({"min_cohort": 5}, "min_cohort"),
        ({"corrupt": 7}, "corrupt"),
        ({"corrupt": 1.5}, "fraction"),
        ({"corrupt": True}, "corrupt"),
        ({"min_honest": 0}, "min_honest"),
        ({"min_honest": 6}, "min_honest"),
        ({"rounds_per_setup": 0}, "rounds_per_setup"),
        ({"frame_bytes": 63}, "frame_bytes"),
        ({"length": 0}, "length"),
        ({"length": None}, "length"),
        ({"layout": 3, "length": None}, "Layout"),
        ({"metrics": "loss"}, "metrics"),
        ({"metrics": ("loss", "loss")}, "distinct"),
        ({"metrics": ("loss",)}, "metrics"),
        ({"segments": {"x": 3}}, "segments"),
        ({"encoding": "fp16"}, "encoding"),
        ({"clients": 1}, "at least 2"),
        ({"clients": 0}, "clients"),
        ({"clients": 2.0}, "clients"),
    ],
)
def test_refusals_say_what_is_wrong(changes, words):
    with pytest.raises(ParameterError, match=words):
        Params(**{"clients": 7, "length": 10, **changes})


def test_corrupt_as_a_fraction_rounds_up_as_a_decimal():
    assert Params(clients=30, length=1, corrupt=0.1, threshold=27, min_clients=27).corrupt == 3


def test_hash_covers_every_field_and_replace_works():
    base = Params(clients=10, length=10)
    changed = [
        {"clients": 11}, {"encoding": FixedPoint(clip=2.0)}, {"encoding": Integer(0, 9)}, {"threshold": 10}, {"min_clients": 10},
        {"min_honest": 3}, {"corrupt": 2}, {"max_participants": 9}, {"max_weight": 2}, {"rounds_per_setup": 2},
        {"frame_bytes": 128}, {"threat": "semi-honest"}, {"metrics": ("m",), "segments": {"metrics": FixedPoint()}},
        {"length": 11}, {"min_cohort": 10},
    ]  # fmt: skip
    hashes = {Params(**{"clients": 10, "length": 10, **change}).hash for change in changed} | {base.hash}
    assert len(hashes) == len(changed) + 1
    assert dataclasses.replace(base).hash == base.hash
    assert {base: 1}[Params(clients=10, length=10)] == 1
    assert Params(clients=10, layout=Layout.flat(10)).hash == base.hash


def test_sparse_graph_is_accepted_when_its_bounds_hold():
    params = Params(
        clients=100,
        length=1,
        threat="semi-honest",
        neighbours=32,
        threshold=16,
        corrupt=0.05,
        min_clients=95,
        min_cohort=95,
    )
    assert not params.full


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"max_participants": 3, "min_clients": 3},
            "min_honest",
        ),  # p < c + min_honest: the corrupt alone nearly fill it
        ({"max_participants": 12, "min_clients": 7, "min_honest": 5}, "open the sum of 4 honest"),
        ({"max_participants": 12, "min_clients": 7, "min_honest": 3, "threshold": 13}, "open the sum of 2 honest"),
        ({"neighbours": 8, "threshold": 5, "max_participants": 12}, "full graph"),
    ],
)
def test_samples_that_hide_too_few_are_refused(changes, words):
    base = {"clients": 20, "length": 10, "corrupt": 2, "threshold": 16, **changes}
    with pytest.raises(ParameterError, match=words):
        Params(**base)


def test_sampled_rounds_are_judged_by_the_largest_sample():
    params = Params(clients=20, length=10, corrupt=2, threshold=16, max_participants=12, min_clients=9)
    # (12 - 2) - floor(18 * 3 / 14): a smaller sample, with the same min_clients, leaves the server less to play with
    assert params.opened_honest == 7
    for p in (9, 10, 11):
        smaller = dataclasses.replace(params, max_participants=p)
        assert smaller.opened_honest >= params.opened_honest
