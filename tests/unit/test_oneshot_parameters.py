"""The tables of docs/spec/oneshot.md: recomputed by their script, found on the page, and what the engine does."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest

from secagg import FixedPoint, Params
from secagg.bounds import log2_hypergeom_tail
from secagg.errors import ParameterError
from secagg.hazmat.hintrlwe import moduli
from secagg.hints import CAPS, sum_radius
from secagg.oneshot_rules import committee_corrupt

SPEC = Path(__file__).parents[2] / "docs" / "spec"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("oneshot_parameters", SPEC / "oneshot_parameters.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_tables_that_the_script_prints(script):
    page = (SPEC / "oneshot.md").read_text(encoding="utf-8")
    assert script.table() in page
    assert script.caps() in page


def test_the_engine_takes_the_committees_and_rings_of_the_table(script):
    for bits, clients in script.CASES:
        row = script.choose(bits, clients)
        params = Params(clients, length=script.VALUES, encoding=FixedPoint(bits=bits), protocol="oneshot")
        size, bad, threshold, rho = row.committee
        assert (params.committee, params.threshold, params.packing) == (size, threshold, rho)
        assert committee_corrupt(clients, size, int(params.corrupt)) == bad
        plan = params.mask_plan
        ring = plan.segments[1].ring
        assert (ring.degree, ring.bits, ring.primes) == (row.degree, *row.primes)
        assert (ring.width, ring.per, ring.spread) == (row.width, row.per, row.spread)
        assert (plan.segments[0].ring.width, plan.segments[0].count) == script.HEAD[::-1]
        assert plan.digit_bits == row.digit_bits
        assert math.log2(ring.q) == pytest.approx(row.modulus, abs=1e-9)
        assert 2 * (1 << ring.width * ring.per) * ring.spread <= ring.q
        assert plan.upload_bytes == row.upload
        assert size * (8 * plan.share_rows(rho) + 28) == row.shares


def test_every_prime_bound_and_tail_is_the_engines(script):
    for bits in range(30, 61):
        assert script.moduli(bits, 4) == moduli(bits, 4)
    for clients, coefficients in ((1, 1), (3, 10), (1000, 1_000_003), (1 << 20, 1 << 40)):
        assert script.radius(clients, coefficients) == sum_radius(clients, coefficients, -41.0)
    for clients, size, corrupt in ((101, 100, 10), (1000, 50, 50), (10_000, 130, 1000), (30, 8, 1), (30, 8, 0)):
        found = script.corrupt_members(clients, size, corrupt)
        assert found == committee_corrupt(clients, size, corrupt)
        assert log2_hypergeom_tail(clients, corrupt, size, found + 1) <= -40
        assert found == 0 or log2_hypergeom_tail(clients, corrupt, size, found) > -40


def test_the_estimate_is_above_128_bits_at_the_caps_and_rings_beyond_them_are_refused(script):
    assert script.CAPS == CAPS
    for degree, limit in script.CAPS.items():
        assert 128 <= script.secure(degree, limit) <= 140
        assert script.secure(degree, 1.2 * limit) < 128
        primes = -(-limit // 60)
        with pytest.raises(ParameterError, match="128-bit security"):
            Params(2, length=10, protocol="oneshot", min_honest=1, ring=(degree, limit // primes + 1, primes))


def test_hint_rlwe_leaves_half_the_deviation_and_the_condition_on_it_holds(script):
    hard = 1 / math.sqrt(2 * (1 / script.SIGMA**2 + 1 / script.SIGMA**2))
    assert hard == pytest.approx(script.HARD_SIGMA, abs=1e-12)
    for bits, clients in script.CASES:
        epsilon = 2.0 ** script.choose(bits, clients).epsilon
        values = script.VALUES // script.choose(bits, clients).per + 2 * script.choose(bits, clients).degree
        eta = math.sqrt(math.log(2 * values * (1 + 1 / epsilon)) / 2) / math.pi
        assert math.sqrt(2) * eta <= script.HARD_SIGMA * 1.001
        assert epsilon <= 2.0**-124


def test_a_million_clients_are_sampled_for_a_members_request_has_something_of_everybody(script):
    own = {"length": script.VALUES, "protocol": "oneshot"}
    assert Params(470_000, **own).max_frame_bytes <= 1 << 30
    with pytest.raises(ParameterError, match="member's request"):
        Params(480_000, **own)
    sampled = Params(1_000_000, max_participants=400_000, corrupt=0.05, **own)
    assert sampled.opened_honest == 310_000
    assert sampled.ring == (8192, 48, 4)
