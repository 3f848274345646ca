"""The rings of oneshot: which is chosen, where values lie in it, and that its noise is what the bound says."""

from __future__ import annotations

import itertools
import math
import os
from typing import Any

import numpy as np
import pytest

from secagg import FixedPoint, Integer, Layout, Params
from secagg.encoding import find_rooms
from secagg.errors import InputError, ParameterError
from secagg.hazmat.hintrlwe import SECRET_BOUND, MaskedSum, MaskRing, MaskSecret, gaussian, moduli
from secagg.hints import CAPS, FAILURE_LOG2, HEAD_BITS, SIGMA, MaskPlan, sum_radius

SHAPES: list[dict[str, Any]] = [
    {"clients": 3, "length": 37, "encoding": Integer(-50, 1000)},
    {"clients": 10, "length": 100_000, "encoding": FixedPoint(bits=16)},
    {"clients": 1000, "length": 1_000_000, "encoding": FixedPoint(bits=8)},
    {"clients": 40, "length": 9000, "encoding": FixedPoint(bits=24), "max_weight": 5000},
    {"clients": 5, "length": 2, "encoding": Integer(0, 1)},
    {"clients": 7, "length": 8193, "encoding": Integer(0, (1 << 40) - 1)},
    {"clients": 20_000, "length": 300_000, "corrupt": 500, "max_participants": 5000, "committee": 60},
    {
        "clients": 6, "max_weight": 100, "layout": Layout.of({"w": np.zeros(7000, np.float32), "n": np.zeros(5)}),
        "encoding": FixedPoint(clip=1.0, bits=20), "metrics": ("loss",),
        "segments": {"n": Integer(0, 3), "metrics": FixedPoint(clip=4.0, bits=24)},
    },
]  # fmt: skip


def params(shape: dict[str, Any], **own: Any) -> Params:
    return Params(**{"protocol": "oneshot", **shape, **own})


def weighed(made: Params) -> float:
    """What the choice is made by: bytes of an upload with its shares, a tenth more where the kernels are slower."""
    plan = made.mask_plan
    size = plan.upload_bytes + 8 * made.committee * plan.share_rows(made.packing)
    return size * (1 if plan.segments[0].ring.bits <= 50 else 1.1)


def allowed() -> list[tuple[int, int, int]]:
    return [
        (degree, bits, primes)
        for degree, cap in {2048: 53, 4096: 106, 8192: 214}.items()
        for primes in range(1, 5)
        for bits in range(30, 61)
        if bits * primes <= cap
    ]


# -- the choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_no_ring_makes_smaller_uploads_than_the_one_that_is_chosen(shape: dict[str, Any]) -> None:
    made, fitting = params(shape), 0
    for ring in allowed():
        try:
            other = params(shape, ring=ring)
        except ParameterError:
            continue
        fitting += 1
        assert other.ring == ring
        assert weighed(other) >= weighed(made), ring
    assert fitting > 20


@pytest.mark.parametrize("shape", SHAPES)
def test_every_q_is_within_the_cap_and_of_distinct_primes_that_suit_the_degree(shape: dict[str, Any]) -> None:
    plan = params(shape).mask_plan
    assert len({(cut.ring.degree, cut.ring.moduli) for cut in plan.segments}) == 1
    ring = plan.segments[0].ring
    assert plan.bits == ring.q.bit_length() <= CAPS[ring.degree]
    assert len(set(ring.moduli)) == ring.primes
    assert all(prime % (2 * ring.degree) == 1 and prime < 1 << ring.bits for prime in ring.moduli)
    assert ring.moduli == moduli(ring.bits, ring.primes)


@pytest.mark.parametrize("degree", CAPS)
def test_rings_over_the_cap_are_refused_and_at_it_taken(degree: int) -> None:
    shape = {"clients": 3, "length": 5, "encoding": Integer(0, 1)}
    for primes in range(1, 5):
        most = min(60, CAPS[degree] // primes)
        if most < 30:
            continue
        if most * primes >= 72:  # smaller ones do not hold the head
            assert params(shape, ring=(degree, most, primes)).mask_plan.bits <= CAPS[degree]
        with pytest.raises(ParameterError, match="128-bit security"):
            params(shape, ring=(degree, most + 1, primes))


# -- capacity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_every_sum_and_its_error_fit_and_one_more_digit_would_not(shape: dict[str, Any]) -> None:
    made = params(shape)
    plan = made.mask_plan
    rooms = find_rooms(made.segment_plan.segments, made.max_weight, made.max_participants)
    for number, (cut, room) in enumerate(zip(plan.segments, rooms, strict=True)):
        ring = cut.ring
        assert cut.count == room.count
        assert ring.width == (HEAD_BITS if number == 0 else room.total.bit_length())
        assert room.total < 1 << ring.width
        assert 2 * ring.spread << ring.width * ring.per <= ring.q
        assert ring.per == 64 or 2 * ring.spread << ring.width * (ring.per + 1) > ring.q


@pytest.mark.parametrize("shape", SHAPES)
def test_errors_pass_the_spread_and_secrets_their_digits_once_in_2_40_rounds(shape: dict[str, Any]) -> None:
    """By the tail of a subgaussian sum, a union over all coefficients, and half of the failures for each of the two."""
    made = params(shape)
    plan, most = made.mask_plan, made.max_participants

    def log2_fails(bound: int, count: int) -> float:
        return math.log2(2 * count) - bound**2 / (2 * most * SIGMA**2) * math.log2(math.e)

    coefficients = sum(cut.count for cut in plan.segments)
    spread = {cut.ring.spread for cut in plan.segments}
    assert len(spread) == 1
    (bound,) = spread
    assert log2_fails(bound, coefficients) <= FAILURE_LOG2 - 1 < log2_fails(bound - 1, coefficients)
    largest = (1 << plan.digit_bits - 1) - 1
    assert largest >= SECRET_BOUND
    assert log2_fails(largest, plan.degree) <= FAILURE_LOG2 - 1
    assert plan.digit_bits == 2 or (1 << plan.digit_bits - 2) - 1 < max(
        SECRET_BOUND, sum_radius(most, plan.degree, FAILURE_LOG2 - 1)
    )


def test_the_measured_noise_is_that_of_the_bound() -> None:
    """Sums of the sampler's own output: their deviation, and how far the largest is from the bound for this chance."""
    clients, count = 50, 1 << 15
    total = sum(gaussian(os.urandom(16), 0, 0, count) for _ in range(clients))
    expected = SIGMA * math.sqrt(clients)
    assert abs(total.std() / expected - 1) < 0.03  # eight of its deviations
    assert abs(total.mean()) < 8 * expected / math.sqrt(count)
    assert np.abs(total).max() <= sum_radius(clients, count, -40.0)
    assert np.abs(total).max() > sum_radius(clients, count, 0.0) / 2  # no bound of another order of magnitude
    beyond = np.mean(np.abs(total) > sum_radius(clients, 1, -6.0))  # subgaussian: at most 2^-6, in truth less
    assert 0 < beyond < 2.0**-6


@pytest.mark.parametrize(("clients", "coefficients"), [(1, 1), (10, 4096), (1000, 1_000_003), (1 << 20, 1 << 40)])
def test_the_radius_grows_as_it_must(clients: int, coefficients: int) -> None:
    here = sum_radius(clients, coefficients)
    assert sum_radius(4 * clients, coefficients) in (2 * here, 2 * here - 1)
    assert sum_radius(clients, 2 * coefficients) > here or here < 60
    assert sum_radius(clients, coefficients, -80.0) > here


def test_sums_open_while_the_errors_fit_and_are_refused_when_they_do_not() -> None:
    """The same sum in a ring whose spread the errors pass: noise is never taken for a value."""
    ring = params(SHAPES[0]).mask_plan.segments[1].ring
    tight = MaskRing(ring.degree, ring.bits, ring.primes, ring.width, ring.per, 1)
    public, values = os.urandom(16), np.arange(37, dtype=np.uint16)
    for own, fits in ((ring, True), (tight, False)):
        secrets = [MaskSecret(own, os.urandom(32)) for _ in range(3)]
        total = MaskedSum(own, 37)
        for secret in secrets:
            total.add(secret.mask(values, public, 5))
        s = sum(secret.coefficients() for secret in secrets)
        if fits:
            assert total.open(s, public, 5).tolist() == (3 * values).tolist()
            off = s.copy()
            off[0] += 1
            with pytest.raises(InputError):
                total.open(off, public, 5)
            with pytest.raises(InputError):
                total.open(s, public, 6)
        else:
            with pytest.raises(InputError):
                total.open(s, public, 5)


# -- the place of every value -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame_bytes", [1 << 18, 4 << 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_tile_the_values_and_no_polynomial_has_the_number_of_another(
    shape: dict[str, Any], frame_bytes: int
) -> None:
    """Two polynomials of one number would be masked by the same a_j and s: their difference would show."""
    plan: MaskPlan = params(shape, frame_bytes=frame_bytes).mask_plan
    used = 0
    for cut in plan.segments:
        spans = list(cut)
        assert [index for index, _, _ in spans] == list(range(cut.chunks))
        assert spans[0][1] == 0 and spans[-1][2] == cut.count
        assert all(one[2] == two[1] for one, two in itertools.pairwise(spans))
        for index, start, stop in spans:
            assert cut.number(index) == used
            used += cut.ring.polynomials(stop - start)
            assert 0 < cut.payload_bytes(index) <= frame_bytes
    assert used == sum(cut.polynomials for cut in plan.segments)
    assert plan.upload_bytes == sum(cut.payload_bytes(index) for cut in plan.segments for index, _, _ in cut)


def test_the_shares_of_a_secret_take_as_few_elements_as_its_digits_do() -> None:
    for shape in SHAPES:
        plan = params(shape).mask_plan
        for packing in (1, 3, 16):
            rows = plan.share_rows(packing)
            assert rows * packing * (60 // plan.digit_bits) >= plan.degree
            assert (rows - 1) * packing * (60 // plan.digit_bits) < plan.degree


def test_what_no_ring_holds_is_refused() -> None:
    with pytest.raises(ParameterError, match="more than 62 bits"):
        params(SHAPES[0], encoding=Integer(0, (1 << 61) - 1), min_clients=3)
    with pytest.raises(ParameterError, match="more than 62 bits"):
        params(SHAPES[0], max_weight=1 << 51)
    with pytest.raises(ParameterError, match=r"ring=\(2048, 53, 1\) does not hold the sums"):
        params(SHAPES[0], ring=(2048, 53, 1))
    assert params(SHAPES[0], encoding=Integer(0, (1 << 60) - 1), min_clients=3).mask_plan.segments[1].ring.width == 62


def test_equal_params_choose_equal_rings_and_say_so_in_their_bytes() -> None:
    one, two = (params(SHAPES[7]).mask_plan for _ in range(2))
    assert one == two and one.canonical() == two.canonical()
    assert params(SHAPES[7], max_weight=1000).mask_plan.canonical() != one.canonical()
