"""The rings of ckks: which is chosen, where values lie in it, and that its noise is what the bound says."""

import itertools
import math

import numpy as np
import pytest

from secagg import FixedPoint, Integer, Layout, Params
from secagg.encoding import Room
from secagg.errors import InputError, ParameterError
from secagg.hazmat.ring import Ring, modulus
from secagg.hazmat.rlwe import SecretKey, Sum, encrypt, payload_bytes
from secagg.lattice import (
    DEGREES,
    LEAN_DEGREES,
    MARGIN,
    MAX_BITS,
    MIN_BITS,
    VARIANCE,
    CipherSegment,
    choose,
    noise_radius,
)

SHAPES = [
    {"clients": 3, "length": 37, "encoding": Integer(-50, 1000)},
    {"clients": 10, "length": 100_000, "encoding": FixedPoint(clip=1.0, bits=16)},
    {"clients": 1000, "length": 1_000_000, "encoding": FixedPoint(clip=1.0, bits=8)},
    {"clients": 40, "length": 9000, "encoding": FixedPoint(clip=1.0, bits=24), "max_weight": 5000},
    {"clients": 5, "length": 2, "encoding": Integer(0, 1)},
    {"clients": 7, "length": 2048, "encoding": Integer(0, (1 << 40) - 1)},
]


def plan_of(shape, frame_bytes=4 << 20, **changes):
    return Params(
        **{"protocol": "ckks", "reveal": "server", "frame_bytes": frame_bytes, **shape, **changes}
    ).cipher_plan


def mixed(**changes):
    """Three segments of different encodings behind the head."""
    shape = {
        "clients": 6, "max_weight": 100, "layout": Layout.of({"w": np.zeros(7000, np.float32), "n": np.zeros(5)}),
        "encoding": FixedPoint(clip=1.0, bits=20), "metrics": ("loss",),
        "segments": {"n": Integer(0, 3), "metrics": FixedPoint(clip=4.0, bits=24)},
    }  # fmt: skip
    return plan_of(shape, **changes)


# -- the choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_no_ring_makes_smaller_uploads_than_the_one_that_is_chosen(shape):
    chosen, fitting = plan_of(shape), 0
    for degree in LEAN_DEGREES:
        for bits in range(MIN_BITS, MAX_BITS[degree] + 1):
            try:
                other = plan_of(shape, ring=(degree, bits))
            except ParameterError:
                continue
            fitting += 1
            assert (other.ring.degree, other.ring.bits) == (degree, bits)
            assert other.upload_bytes >= chosen.upload_bytes
    assert fitting > 1


@pytest.mark.parametrize("shape", SHAPES)
def test_the_chosen_ring_holds_every_sum_and_its_noise(shape):
    plan, clients = plan_of(shape), shape["clients"]
    top = max(segment.most for segment in plan.segments)
    assert plan.delta == plan.ring.modulus // (top + 1)
    assert plan.delta * (top + 1) <= plan.ring.modulus
    for room, cut in zip(plan.rooms, plan.segments, strict=True):
        if cut.limbs == 1:
            assert cut.most == room.total == clients * room.most
        else:
            assert cut.most == clients * ((1 << cut.limb_bits) - 1)
            assert 1 << (cut.limbs * cut.limb_bits) > room.most
    polynomials = sum(segment.polynomials for segment in plan.segments)
    assert plan.radius == noise_radius(plan.ring.degree, clients, plan.coefficients, polynomials)
    assert plan.radius <= plan.worst <= plan.delta / 2 * MARGIN[0] / MARGIN[1]


def test_a_thousand_clients_need_more_room_than_three():
    few, many = (plan_of({"clients": n, "length": 5000, "encoding": FixedPoint()}) for n in (3, 1000))
    assert few.upload_bytes < many.upload_bytes


def test_the_small_ring_is_there_for_those_who_ask_for_it():
    shape = {"clients": 3, "length": 500, "encoding": Integer(0, 1), "min_honest": 1}
    asked = plan_of(shape, ring=(1024, 26))
    assert (asked.ring.degree, asked.ring.modulus) == (1024, modulus(26))
    assert plan_of(shape).ring.degree in LEAN_DEGREES


@pytest.mark.parametrize(
    "ring", [(1024, 27), (2048, 54), (4096, 61), (8192, 61), (512, 20), (2048, 19), (16384, 60), (2048, 0), (-2048, 30)]
)
def test_rings_over_the_security_cap_are_refused(ring):
    with pytest.raises(ParameterError, match="128-bit security"):
        plan_of(SHAPES[0], ring=ring)


def test_the_caps_are_below_the_standards_table():
    standard = {1024: 27, 2048: 54, 4096: 109, 8192: 218}
    for degree in DEGREES:
        assert MAX_BITS[degree] < standard[degree]
        for bits in {MIN_BITS, MAX_BITS[degree]}:
            assert modulus(bits).bit_length() == bits
            assert modulus(bits) % (2 * degree) == 1


def test_fault_70_sums_over_the_modulus_are_refused_at_params():
    with pytest.raises(ParameterError, match=r"ring=\(1024, 20\) does not hold"):
        plan_of({"clients": 1000, "length": 5000}, ring=(1024, 20))
    with pytest.raises(ParameterError, match=r"does not hold|no ring"):
        plan_of({"clients": 1 << 20, "length": 1 << 20, "encoding": Integer(0, 1), "ring": (1024, 26), "corrupt": 1})
    with pytest.raises(ParameterError):
        plan_of({"clients": 4, "length": 5, "encoding": Integer(0, (1 << 63) - 1), "max_weight": 4})


def test_polynomials_longer_than_a_frame_are_refused():
    with pytest.raises(ParameterError, match="frame_bytes=1024 is less than"):
        plan_of(SHAPES[0], frame_bytes=1024)
    plan = plan_of(SHAPES[0])
    least = max(cut.limbs // math.gcd(cut.limbs, cut.degree) * 2 * cut.degree * cut.bits // 8 for cut in plan.segments)
    with pytest.raises(ParameterError, match=f"less than the {least} bytes"):
        plan_of(SHAPES[0], frame_bytes=least - 1)
    assert plan_of(SHAPES[0], frame_bytes=least).segments[1].chunks == 1


# -- where values lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame_bytes", [1 << 17, 200_000, 4 << 20])
def test_chunks_cover_all_values_and_polynomials_once(frame_bytes):
    plans = [plan_of(shape, frame_bytes) for shape in SHAPES] + [mixed(frame_bytes=frame_bytes)]
    for plan in plans:
        ring, at = plan.ring, 0
        for cut in plan.segments:
            assert cut.first == at
            at += cut.polynomials
            stop = 0
            for index, low, high in cut:
                assert low == stop < high
                stop = high
                assert cut.number(index) * ring.degree == cut.first * ring.degree + low * cut.limbs
                assert cut.coefficients(index) == (high - low) * cut.limbs
                assert cut.payload_bytes(index) == payload_bytes(ring, cut.coefficients(index)) <= frame_bytes
            assert stop == cut.count
            assert index + 1 == cut.chunks
        assert at == sum(-(-cut.count * cut.limbs // ring.degree) for cut in plan.segments)
        assert plan.upload_bytes == sum(cut.payload_bytes(i) for cut in plan.segments for i in range(cut.chunks))


@pytest.mark.parametrize("limbs", range(1, 9))
def test_limbs_join_to_the_sum_of_what_was_split(limbs):
    bits, clients, count = 7 if limbs > 1 else 60, 5, 300
    top = (1 << bits * limbs) - 1
    cut = CipherSegment(count, limbs, bits, 0, 2048, 30, 8, clients * ((1 << bits) - 1))
    rng = np.random.default_rng(limbs)
    given = [rng.integers(0, top, count, dtype=np.uint64, endpoint=True) for _ in range(clients)]
    given[0][:2], given[1][:2] = [0, top], [0, top]
    parts = [cut.split(values.copy()) for values in given]
    assert all(len(part) == count * limbs and int(part.max()) < 1 << bits for part in parts)
    np.testing.assert_array_equal(cut.join(parts[0]), given[0])
    total = np.sum(parts, axis=0, dtype=np.uint64)
    assert int(total.max()) <= cut.most
    np.testing.assert_array_equal(cut.join(total), np.sum(given, axis=0, dtype=np.uint64))


def test_rooms_take_the_fewest_limbs_that_hold_a_sum():
    for most, clients, capacity in itertools.product([1, 5, 255, 256, 65_535, 1 << 40], [2, 10, 1000], [3000, 1 << 20]):
        found = Room(9, most, most * clients).limbs(capacity, clients)
        fitting = [
            count
            for count in range(2, 9)
            if clients * ((1 << -(-most.bit_length() // count)) - 1) <= capacity
        ]  # fmt: skip
        if most * clients <= capacity:
            assert found == (1, (most * clients).bit_length())
        elif fitting:
            assert found == (fitting[0], -(-most.bit_length() // fitting[0]))
        else:
            assert found is None


def test_sums_that_no_honest_uploads_have_are_refused():
    params = Params(clients=3, length=5, encoding=Integer(0, 99), protocol="ckks", reveal="server", ring=(4096, 60))
    plan = params.cipher_plan
    assert plan.segments[1].limbs == 1
    np.testing.assert_array_equal(plan.values(1, np.full(5, 297, np.uint64)), [297] * 5)
    with pytest.raises(InputError, match="out of range"):
        plan.values(1, np.array([0, 0, 298, 0, 0], np.uint64))
    cut = plan_of(SHAPES[0])
    assert cut.segments[1].limbs > 1
    sums = np.zeros(37 * cut.segments[1].limbs, np.uint64)
    sums[3] = cut.segments[1].most + 1  # a limb that is too large
    with pytest.raises(InputError, match="out of range"):
        cut.values(1, sums)
    sums[:] = cut.segments[1].most  # limbs that honest clients may have, of a value that they may not
    with pytest.raises(InputError, match="out of range"):
        cut.values(1, sums)


# -- the noise --------------------------------------------------------------------------------------------------------


def test_the_proxies_are_those_of_the_distributions():
    """Moment generating functions, exactly, on a grid: an error of 42 fair bits, a ternary coefficient."""
    for t in np.linspace(0.01, 40, 4000):
        log_error = 42 * (np.logaddexp(t / 2, -t / 2) - np.log(2))  # log cosh(t/2), 42 times
        assert log_error <= VARIANCE * t * t / 2 + 1e-9
        assert np.logaddexp(np.logaddexp(t, -t), 0) - np.log(3) <= t * t / 3 + 1e-9
    # and tight for errors: with a proxy smaller by a hundredth it fails
    assert 42 * np.log(np.cosh(0.05)) > 0.99 * VARIANCE * 0.1**2 / 2


def measured(degree, bits, clients, rounds, polynomials=1):
    """The largest noise of each of several sums, under fresh keys."""
    ring, delta, count = Ring(degree, modulus(bits)), modulus(bits) // 8, degree * polynomials
    values = np.zeros(count, np.uint64)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(rounds):
        secret = SecretKey(ring, rng.bytes(32))
        public = secret.public_key()
        total = Sum(ring, count)
        for _ in range(clients):
            total.add(encrypt(public, values, delta, rng.bytes(16), 0))
        opened, worst = secret.decrypt(total, delta)
        assert not opened.any()
        found.append(worst)
    return np.array(found)


@pytest.mark.parametrize("degree, bits, clients", [(1024, 26, 1), (1024, 26, 3), (2048, 30, 2), (2048, 40, 20)])
def test_measured_noise_is_within_the_bound_and_near_its_gaussian_estimate(degree, bits, clients):
    worst = measured(degree, bits, clients, 25)
    sigma = math.sqrt(VARIANCE * clients * (4 * degree / 3 + 1))  # of e U + s E1 + E0
    assert worst.max() < noise_radius(degree, clients, degree, 1)
    assert 2.9 * sigma < np.median(worst) < 4.2 * sigma  # the largest of so many Gaussians lies between


def test_the_bound_holds_where_it_can_be_seen_to_fail():
    """With failure probability 1/16 in place of 2**-40, no more than that share of the sums may exceed it."""
    worst = measured(1024, 26, 2, 200)
    loose = noise_radius(1024, 2, 1024, 1, failure_log2=-4.0)
    assert np.mean(worst > loose) <= 1 / 16
    assert worst.max() > loose / 2  # and it is not so far away that this says nothing


def test_the_bound_grows_with_all_that_makes_noise():
    base = noise_radius(2048, 10, 10_000, 5)
    assert base < noise_radius(4096, 10, 10_000, 5)
    assert base < noise_radius(2048, 11, 10_000, 5)
    assert base < noise_radius(2048, 10, 20_000, 5)
    assert base < noise_radius(2048, 10, 10_000, 6)
    assert base < noise_radius(2048, 10, 10_000, 5, failure_log2=-60.0)


def test_choose_by_itself_says_which_ring():
    segments = Params(**SHAPES[0]).segment_plan.segments
    plan = choose(segments, max_weight=1, clients=3, frame_bytes=1 << 20)
    assert plan == choose(
        segments, max_weight=1, clients=3, frame_bytes=1 << 20, ring=(plan.ring.degree, plan.ring.bits)
    )
