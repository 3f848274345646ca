"""plan() and explain(): the published table, the bound, the bytes, and every refusal."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from secagg import FixedPoint, Integer, Layout, Params, bounds, costs, plan, planner, simulate
from secagg.errors import ParameterError
from secagg.protocols.pairwise import dealing
from secagg.protocols.pairwise.messages import SEALED_OVERHEAD
from secagg.testing import Network

TABLE = {
    (100, 0.05): (12, 6), (100, 0.1): (22, 11), (1000, 0.05): (30, 17), (1000, 0.1): (48, 27),
    (100_000, 0.05): (36, 21), (100_000, 0.1): (58, 33),
}  # fmt: skip


@pytest.mark.parametrize(("case", "published"), TABLE.items())
def test_degrees_are_within_one_step_of_the_published_table(case, published):
    n, share = case
    params = plan(n, 10, threat="semi-honest", dropout=share, corrupt=share)
    assert abs(params.neighbours - published[0]) <= 2
    assert abs(params.threshold - published[1]) <= 2
    security, failure = params.sparse_risk
    assert security <= -40
    assert failure <= -20
    if params.neighbours > 2:  # the least degree: two less does not do, whatever the threshold
        for t in range(2, params.neighbours):
            with pytest.raises(ParameterError):
                plan(
                    n,
                    10,
                    threat="semi-honest",
                    dropout=share,
                    corrupt=share,
                    neighbours=params.neighbours - 2,
                    threshold=t,
                )


@pytest.mark.parametrize(("n", "by_dropouts"), [(5, [4, 3, None]), (7, [6, 5, 3, None]), (10, [9, 8, 7, 5])])
def test_small_cohorts_under_a_lying_server(n, by_dropouts):
    for lost, g in enumerate(by_dropouts):
        if g is None:
            with pytest.raises(ParameterError, match=f"at most {lost - 1} may be lost"):
                plan(n, 10, dropout=lost, corrupt=1)
            continue
        params = plan(n, 10, dropout=lost, corrupt=1)
        assert (params.threshold, params.min_clients, params.opened_honest) == (n - lost, n - lost, g)
        assert params.full


def test_defaults_and_fractions():
    assert plan(3, 10).threshold == 3
    params = plan(30, 10)
    assert (params.corrupt, params.threshold, params.min_clients, params.max_participants) == (3, 27, 27, 30)
    params = plan(30, 10, dropout=0.1, corrupt=0.1, sample=0.5)
    assert (params.corrupt, params.threshold, params.max_participants, params.min_clients) == (3, 27, 15, 13)
    params = plan(30, 10, dropout=2, corrupt=1, sample=10)
    assert (params.threshold, params.max_participants, params.min_clients) == (28, 10, 8)
    assert plan(30, 10, sample=1.0).max_participants == 30
    assert plan(30, 10) == plan(30, 10)
    assert plan(30, layout=Layout.of({"a": 1.0})).layout == Layout.of({"a": 1.0})


def test_what_the_caller_fixes_is_kept():
    metrics = FixedPoint(clip=9.0, bits=20)
    params = plan(
        12, 10, threshold=11, min_clients=11, encoding=Integer(0, 7), rounds_per_setup=5, metrics=("loss",), min_honest=4,
        segments={"metrics": metrics}, frame_bytes=4096, max_weight=3, protocol="pairwise",
    )  # fmt: skip
    assert (params.threshold, params.min_clients, params.encoding, params.rounds_per_setup) == (
        11,
        11,
        Integer(0, 7),
        5,
    )
    assert (params.metrics, params.min_honest, params.frame_bytes, params.max_weight) == (("loss",), 4, 4096, 3)
    sparse = plan(100, 10, threat="semi-honest", dropout=0.05, corrupt=0.05, neighbours=20)
    assert sparse.neighbours == 20


def test_bits_are_the_fewest_that_meet_the_error():
    for error in (0.3, 1e-2, 1e-4, 3e-8):
        encoding = plan(10, 5, error=error, clip=2.0).encoding
        assert encoding.error_bound() <= error
        if encoding.bits > 1:
            assert FixedPoint(clip=2.0, bits=encoding.bits - 1).error_bound() > error
    assert plan(10, 5).encoding == FixedPoint(clip=1.0, bits=16)


def test_rounds_of_a_batch_stop_where_shares_get_large():
    assert plan(12, 10).rounds_per_setup == 64
    for n in (100, 300, 1000, 3000):
        params = plan(n, 10)
        sizes = {
            r: costs.traffic(cohort=n, participants=n, neighbours=n - 1, rounds=r, chunks=()).setup_up
            for r in (params.rounds_per_setup, 2 * params.rounds_per_setup)
        }
        fits = [size <= 4 << 20 and size * n <= 256 << 20 for size in sizes.values()]
        assert fits[0] or params.rounds_per_setup == 1
        assert params.rounds_per_setup == 64 or not fits[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"treshold": 3}, "'treshold' is no field"),
        ({"dropout": 3}, "at most 2 may be lost"),
        ({"dropout": 1, "corrupt": 6}, "nor does any"),
        ({"dropout": -1}, "dropout"),
        ({"dropout": 1.5}, "fraction"),
        ({"dropout": True}, "count"),
        ({"corrupt": 11}, "corrupt"),
        ({"sample": 1}, "participants"),
        ({"sample": 0.01}, "participants"),
        ({"max_participants": 2.5}, "participants"),
        ({"error": 1e-12}, "below"),
        ({"error": 1e-9, "encoding": FixedPoint()}, "more than error"),
        ({"error": 1e-9, "clip": 1.0, "max_weight": 1 << 40}, "64"),
        ({"length": None}, "length"),
        ({"clients": 1}, "clients"),
        ({"clients": 7.0}, "clients"),
        ({"threshold": 2}, "threshold"),
        ({"threat": "semi-honest", "neighbours": 2, "dropout": 2, "corrupt": 2, "clients": 40}, "neighbours=2"),
    ],
)
def test_refusals_say_why(arguments, words):
    with pytest.raises(ParameterError, match=words):
        plan(**{"clients": 7, "length": 10, **arguments})


@given(
    st.integers(2, 60),
    st.floats(0, 0.4),
    st.floats(0, 0.3),
    st.floats(0.3, 1.0),
    st.sampled_from(["malicious", "semi-honest"]),
)
@settings(max_examples=150, deadline=None)
def test_what_is_planned_survives_what_was_asked(n, dropout, corrupt, sample, threat):
    try:
        params = plan(n, 4, dropout=dropout, corrupt=corrupt, sample=sample, threat=threat)
    except ParameterError:
        return
    away, lost = np.ceil(round(dropout * n, 9)), np.ceil(round(dropout * params.max_participants, 9))
    assert params.min_clients <= params.max_participants - lost
    assert params.min_cohort <= n - away
    if params.full:
        assert params.threshold <= n - away
    else:
        assert bounds.sparse_correctness_log2(n, params.neighbours, params.threshold, int(away)) <= -20
    if threat == "malicious":
        assert params.opened_honest >= params.min_honest
    assert Params.from_bytes(params.to_bytes()) == params
    assert str(params.explain())


@pytest.mark.parametrize(
    ("n", "threat"), [(3, "malicious"), (5, "malicious"), (7, "malicious"), (12, "malicious"), (40, "semi-honest")]
)
def test_a_planned_round_survives_its_dropouts(n, threat):
    params = plan(n, 4, threat=threat, encoding=Integer(0, 100))
    ids = [f"c{i}" for i in range(n)]
    updates = {name: np.arange(4) + i for i, name in enumerate(ids)}
    gone = ids[: n - params.min_clients]
    half = len(gone) // 2
    out = simulate(updates, params, dropouts={"masked": gone[:half], "unmask": gone[half:]})
    here = [name for name in ids if name not in gone[:half]]
    assert out.contributors == tuple(sorted(here))
    assert np.array_equal(out.sum, np.sum([updates[name] for name in here], axis=0))


# -- bytes --------------------------------------------------------------------------------------------------------------


def test_the_sizes_are_those_of_the_protocol():
    assert costs.BOX == SEALED_OVERHEAD
    assert (costs.SALT, costs.SEED_SHARE, costs.KEY_SHARE) == (
        dealing.SALT_BYTES, dealing.SEED_SHARE_BYTES, dealing.KEY_SHARE_BYTES,
    )  # fmt: skip
    for rounds in (1, 2, 3, 8, 9):
        box = costs.BOX + costs.SALT + rounds * (costs.SEED_SHARE + costs.KEY_SHARE)
        assert box == dealing.sealed_bytes(rounds)
        assert costs.SALT + costs.HASH * (2 * rounds - 1).bit_length() == dealing.opening_bytes(rounds)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"clients": 9},
        {"clients": 20, "sample": 12},
        {"clients": 60, "threat": "semi-honest", "dropout": 0.05, "corrupt": 0.05},
    ],
)
def test_predicted_bytes_are_the_measured_ones(changes, rounds):
    params = plan(length=3000, rounds_per_setup=rounds, frame_bytes=2048, **changes)
    n, p = params.clients, params.max_participants
    ids = [f"client-{i:09d}" for i in range(n)]  # 16 bytes
    network = Network.fresh(params, ids)
    data = params.explain().to_dict()
    first, steady = {}, {}
    for round_id in (1, 2) if rounds > 1 else (1,):
        network.sent_up, network.sent_down = dict.fromkeys(ids, 0), dict.fromkeys(ids, 0)
        network.server.open_round(round_id, participants=ids[:p])
        while network.server.phase != "idle":
            network.exchange(lambda client: client.submit(np.zeros(3000)))
            network.server.close_phase()
        assert not network.refused
        (steady if round_id == 2 else first).update(up=network.sent_up, down=network.sent_down)
    name = ids[p // 2]
    for way in ("up", "down"):
        setup, plain = data[f"bytes_{way}_setup"], data[f"bytes_{way}_round"]
        assert first[way][name] == pytest.approx(setup + plain, rel=0.01)
        if steady:
            assert steady[way][name] == pytest.approx(plain, rel=0.01)
            if p < n:
                assert steady[way][ids[-1]] == pytest.approx(data[f"bytes_{way}_unsampled"], rel=0.01)


# -- words --------------------------------------------------------------------------------------------------------------


def test_the_explanation_names_every_figure():
    params = plan(
        20, 1000, sample=15, max_weight=500, metrics=("loss",), segments={"metrics": FixedPoint(clip=9.0, bits=20)}
    )
    told = params.explain()
    text, data = str(told), told.to_dict()
    assert max(map(len, text.splitlines())) <= 96
    words = " ".join(text.split())
    for figure in (
        f"n={params.clients}", f"p={params.max_participants}", f"c={params.corrupt}", f"g={params.opened_honest}",
        f"threshold={params.threshold}", f"min_clients={params.min_clients}", f"min_honest={params.min_honest}",
        f"one for {params.rounds_per_setup} rounds", "[model]", "[metrics]", "w=29", "at worst", "RMS", "2^w",
    ):  # fmt: skip
        assert figure in words
    assert json.loads(json.dumps(data)) == data
    assert data["exchanges_steady_round"] == 2
    assert data["exchanges_per_round"] == 2 + 2 / params.rounds_per_setup
    assert data["segments"][0]["worst_error"] == params.encoding.error_bound()
    assert plan(20, 10**6, max_weight=500).explain().to_dict()["expansion"] == pytest.approx(30 / 32, rel=0.02)
    sparse = plan(1000, 1000, threat="semi-honest", dropout=0.05, corrupt=0.05).explain()
    assert f"2^{sparse.data['security_log2']:.1f}" in str(sparse)
    assert f"2^{sparse.data['correctness_log2']:.1f}" in str(sparse)
    assert "exact" in str(plan(5, 5, encoding=Integer(0, 3)).explain())
    assert "the bound would be" in str(plan(5, 5, threat="semi-honest").explain())
    assert secagg.plan is plan


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_the_stated_errors_hold(bits):
    params = plan(10, 20_000, encoding=FixedPoint(clip=1.0, bits=bits), dropout=1, corrupt=1)
    stated = params.explain().to_dict()["segments"][0]
    rng = np.random.default_rng(bits)
    updates = {f"c{i}": rng.uniform(-1, 1, 20_000) for i in range(10)}
    off = simulate(updates, params, seed=3).mean - np.mean(list(updates.values()), axis=0)
    assert np.abs(off).max() <= stated["worst_error"]
    assert np.sqrt(np.mean(off**2)) == pytest.approx(stated["rms_error_most"], rel=0.05)


@pytest.mark.parametrize("sample", [None, 0.3])
def test_the_dropouts_stated_are_those_of_the_bound(sample):
    params = plan(1000, 10, threat="semi-honest", dropout=0.1, corrupt=0.05, sample=sample)
    told = params.explain().to_dict()
    most, n, k, t = told["dropouts_in_cohort"], 1000, params.neighbours, params.threshold
    assert most >= 100
    assert bounds.sparse_correctness_log2(n, k, t, most) <= -20 < bounds.sparse_correctness_log2(n, k, t, most + 1)
    assert told["correctness_log2"] == bounds.sparse_correctness_log2(n, k, t, most)
    assert f"{most} of 1000 clients missing at its end" in " ".join(str(params.explain()).split())


def test_a_small_round_of_a_large_cohort_claims_no_more_than_holds():
    """The smallest cohort says what a setup may end with, not what a round survives."""
    params = Params(
        clients=1000, length=10, threat="semi-honest", max_participants=300, min_clients=270, corrupt=10, neighbours=60,
        threshold=30,
    )  # fmt: skip
    assert params.min_cohort == 270
    told = params.explain().to_dict()
    assert told["dropouts_in_cohort"] < 200
    assert told["correctness_log2"] <= -20


def test_an_explanation_does_not_change():
    told = plan(12, 10).explain()
    told.to_dict()["segments"][0]["w"] = 99
    assert told.data["segments"][0]["w"] == 20
    with pytest.raises(TypeError):
        told.data["threshold"] = 1
    with pytest.raises(TypeError):
        told.data["segments"][0]["w"] = 1
    assert hash(told) == hash(plan(12, 10).explain())
    assert told == plan(12, 10).explain()


def test_certainty_on_a_sparse_graph_is_strict_json():
    params = Params(
        clients=10, length=10, threat="semi-honest", neighbours=6, threshold=3, min_clients=8, min_cohort=9, corrupt=2
    )
    assert params.sparse_risk[0] == -np.inf
    data = params.explain().to_dict()
    assert json.loads(json.dumps(data, allow_nan=False))["security_log2"] is None
    assert "probability 0 at most" in " ".join(str(params.explain()).split())


# -- what is fixed, and what is asked -----------------------------------------------------------------------------------

SPARSE = {"clients": 1000, "threat": "semi-honest", "dropout": 0.05, "corrupt": 0.05}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dropout": 3, "threshold": 12}, "threshold=12 survives losing 0 of 12 clients, not 3"),
        ({"dropout": 3, "min_clients": 12}, "min_clients=12 survives losing 0 of 12 participants, not 3"),
        ({"dropout": 3, "min_cohort": 12}, "min_cohort=12 refuses a setup that lost 3 of 12"),
        ({"sample": 0.5, "max_participants": 8}, "asks for 6 participants, max_participants=8"),
        ({"error": 1e-6, "segments": {"model": FixedPoint(bits=4)}}, "for 'model' is off by"),
        ({"clip": 2.0, "encoding": FixedPoint(clip=1.0)}, "clip=2.0"),
        ({"clip": 2.0, "encoding": Integer(0, 7)}, "clip=2.0"),
        ({"neighbours": 4}, "needs the full graph"),
        ({**SPARSE, "min_clients": 999}, "not 50 as asked"),
        ({**SPARSE, "min_cohort": 999}, "refuses a setup"),
        ({**SPARSE, "threshold": 16}, "threshold=16: no number of neighbours"),
        ({**SPARSE, "threshold": 0}, "threshold must be an integer from 1"),
        ({**SPARSE, "neighbours": 41}, "even"),
        ({**SPARSE, "neighbours": 28, "threshold": 28}, "threshold=28 does not"),
        ({**SPARSE, "clients": 40, "dropout": 39}, "leaves fewer than 2"),
    ],
)
def test_contradictions_are_refused(arguments, words):
    with pytest.raises(ParameterError, match=words):
        plan(**{"clients": 12, "length": 10, **arguments})


@pytest.mark.parametrize("threat", ["malicious", "semi-honest"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"threshold": "a"}, {"min_clients": "a"}, {"min_honest": "a"}, {"min_cohort": 30.5}, {"neighbours": "4"},
        {"neighbours": True}, {"max_participants": "a"}, {"rounds_per_setup": 2.5}, {"frame_bytes": "a"}, {"error": "a"},
        {"error": True}, {"error": 0}, {"error": -1.0}, {"error": float("nan")}, {"error": float("inf")}, {"clip": "a"},
        {"clients": 1 << 21}, {"clients": 1 << 40, "corrupt": 0.45, "dropout": 0.5}, {"threshold": 41}, {"min_cohort": 41},
        {"protocol": "ckks"}, {"threat": "none"}, {"clients": True}, {"corrupt": "a"}, {"sample": "a"},
    ],
)  # fmt: skip
def test_what_is_no_parameter_is_a_parameter_error(arguments, threat):
    with pytest.raises(ParameterError):
        plan(**{"clients": 40, "length": 10, "threat": threat, **arguments})


def test_none_leaves_a_field_to_the_plan():
    nothing = dict.fromkeys(
        ("protocol", "threshold", "min_clients", "min_honest", "max_participants", "min_cohort", "neighbours",
         "rounds_per_setup", "encoding", "segments", "metrics", "frame_bytes")
    )  # fmt: skip
    for threat in ("malicious", "semi-honest"):
        params = plan(100, 10, threat=threat, **nothing)
        assert params == plan(100, 10, threat=threat)
        assert params.hash == plan(100, 10, threat=threat, sample=1.0, protocol="pairwise").hash


@pytest.mark.parametrize("t", [17, 18, 20, 60, 200])
def test_a_fixed_threshold_gets_the_least_degree_that_serves_it(t):
    params = plan(length=10, **SPARSE, threshold=t)
    assert (params.threshold, params.full) == (t, False)
    assert max(params.sparse_risk[1], bounds.sparse_correctness_log2(1000, params.neighbours, t, 50)) <= -20
    for k in range(2 * (t // 2), params.neighbours, 2):
        with pytest.raises(ParameterError):
            plan(length=10, **SPARSE, threshold=t, neighbours=k)


def test_a_fixed_threshold_that_no_sparse_graph_serves_gets_the_full_one():
    assert plan(40, 10, threat="semi-honest", dropout=4, corrupt=1, threshold=36).full


def test_fixed_neighbours_may_reach_the_smallest_cohort():
    params = plan(40, 10, threat="semi-honest", dropout=4, corrupt=1, neighbours=38)
    assert (params.neighbours, params.min_cohort) == (38, 36)


def test_a_count_of_a_sample_leaves_two_and_a_fixed_encoding_its_clip():
    params = plan(100, 10, sample=10, dropout=20, corrupt=0, threat="semi-honest")
    assert (params.min_clients, params.min_cohort) == (2, 80)
    assert plan(12, 10, encoding=FixedPoint(clip=9.0)).encoding.clip == 9.0
    metrics = {"metrics": ("loss",), "segments": {"metrics": FixedPoint(bits=4)}}
    assert plan(12, 10, error=1e-6, **metrics).segments == (("metrics", FixedPoint(bits=4)),)


@pytest.mark.parametrize(("corrupt", "dropout"), [(0.3, 0.3), (0.3, 0.4), (0.2, 0.3)])
def test_a_large_cohort_with_thousands_of_neighbours_gets_the_least(corrupt, dropout):
    """They are not tried one by one."""
    shares = {"threat": "semi-honest", "corrupt": corrupt, "dropout": dropout}
    params = plan(100_000, 10, **shares)
    assert 256 < params.neighbours < 99_999
    with pytest.raises(ParameterError, match="no threshold"):
        plan(100_000, 10, **shares, neighbours=params.neighbours - 2)


def test_where_corrupt_and_missing_nearly_meet_the_graph_is_full():
    params = plan(100_000, 10, threat="semi-honest", corrupt=0.2, dropout=0.7)
    assert (params.full, params.threshold, params.min_cohort) == (True, 30_000, 30_000)


def test_bisection_finds_what_a_walk_finds():
    degrees = range(2, 5000, 2)
    for least in (2, 254, 256, 258, 260, 514, 770, 1026, 3000, 4998):
        assert planner._least(degrees, lambda k, least=least: k >= least) == least
    assert planner._least(degrees, lambda _: False) is None
    assert planner._least(range(0), lambda _: True) is None
    for stop in range(2, 1200, 2):
        assert planner._least(range(2, stop + 1, 2), lambda k, stop=stop: k >= stop) == stop
