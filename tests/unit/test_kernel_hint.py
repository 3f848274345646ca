"""The masking kernels on every implementation: one set of bytes, and that of the reference."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from reference import hint as reference
from reference.ring import transform
from secagg import _kernels
from secagg.errors import InputError, ParameterError

BACKENDS = _kernels.backends()
KEY, PUBLIC, SEED = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 64))
# Below and above 2^50, below and above 2^32, lazy and not; digits joined two, three and more at a time, and not at all.
RINGS = [
    (2048, 50, 1, 17, 2, 8000),
    (4096, 52, 2, 23, 4, 900),
    (8192, 50, 3, 23, 6, 1024),
    (2048, 60, 3, 26, 6, 1 << 20),
    (2048, 21, 4, 1, 50, 1 << 20),
    (2048, 27, 3, 33, 2, 1000),
    (2048, 60, 4, 60, 3, 1 << 50),
    (2048, 47, 5, 55, 3, 1 << 50),
    (4096, 32, 8, 4, 60, 2000),
    (2048, 60, 1, 40, 1, 1 << 18),
]
SMALL = [0, 5, 8]  # what the reference is asked for


@pytest.fixture(scope="module", params=list(BACKENDS))
def kernels(request):
    return BACKENDS[request.param]


@functools.cache
def secret_of(plan):
    """Any residues: transforms of a secret modulo the primes."""
    rng = np.random.default_rng(plan.bits)
    made = _kernels.aligned_words(plan.primes, plan.degree)
    for row, q in zip(made, plan.moduli, strict=True):
        row[:] = rng.integers(0, q, plan.degree, dtype=np.uint64)
        row[:3] = [q - 1, 0, q - 1]
    return made


def counts(plan):
    """Lengths at which a polynomial, a tile or a digit begins or ends."""
    per, whole = plan.per, plan.per * plan.degree
    return [1, 3, per * 513 + 2, whole - 1, whole, whole + 1, 2 * whole + 9]


def vector(plan, count, dtype):
    top = min(1 << plan.width, 1 << 8 * np.dtype(dtype).itemsize)
    made = np.random.default_rng(count).integers(0, top - 1, count, dtype=dtype, endpoint=True)
    made[::5] = top - 1
    return made


def masked(kernels, plan, values, first=2):
    out = bytearray(plan.payload_bytes(len(values)))
    kernels.hint_mask(plan, secret_of(plan), values, KEY, PUBLIC, first, out)
    return bytes(out)


@functools.cache
def expected(settings, count, dtype):
    """The bytes of the plain implementation, made once."""
    plan = _kernels.hint_plan(*settings)
    plain = BACKENDS.get("portable", BACKENDS["fallback"])
    return masked(plain, plan, vector(plan, count, dtype))


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 511, 512, 513, 2500])
def test_the_gaussian_is_the_references(kernels, n):
    for stream, start in ((0, 0), (2**64 - 1, 2**40 + 3)):
        assert kernels.hint_gaussian(KEY, stream, start, n).tolist() == reference.gaussian(KEY, stream, start, n)


@pytest.mark.parametrize("settings", RINGS, ids=str)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_masks_are_the_same_bytes_and_open(kernels, settings, dtype):
    plan = _kernels.hint_plan(*settings)
    for count in counts(plan):
        values = vector(plan, count, dtype)
        payload = masked(kernels, plan, values)
        assert payload == expected(settings, count, dtype)
        acc = _kernels.aligned_words(plan.residues(count))
        kernels.hint_add(plan, acc, count, payload)
        assert kernels.hint_store(plan, acc, count) == payload
        assert np.array_equal(kernels.hint_open(plan, acc, count, secret_of(plan), PUBLIC, 2), values)


@pytest.mark.parametrize("which", SMALL)
def test_masks_and_sums_are_the_references(kernels, which):
    plan, ref, first = _kernels.hint_plan(*RINGS[which]), referenced(which), 5
    keys = ref["error_keys"]
    count = len(ref["values"][0])
    acc = _kernels.aligned_words(plan.residues(count))
    total = np.zeros((plan.primes, plan.degree), np.uint64)
    for values, secret, key, payload in zip(ref["values"], ref["secrets"], keys, ref["payloads"], strict=True):
        rows = _kernels.aligned_words(plan.primes, plan.degree)
        for row, ring in zip(rows, plan.rings, strict=True):
            row[:] = [x % ring.modulus for x in secret]
            kernels.ring_forward(ring, row[np.newaxis])
        out = bytearray(plan.payload_bytes(count))
        kernels.hint_mask(plan, rows, np.array(values, np.uint64), key, PUBLIC, first, out)
        assert bytes(out) == payload
        kernels.hint_add(plan, acc, count, out)
        for i, ring in enumerate(plan.rings):
            kernels.ring_add(ring, total[i], rows[i])
    assert kernels.hint_open(plan, acc, count, total, PUBLIC, first).tolist() == ref["opened"]


@functools.cache
def referenced(which):
    """Three clients of the reference, and what opens."""
    masking = reference.Masking(*RINGS[which])
    count = masking.per * 40 + 1
    rng = np.random.default_rng(which)
    values = [[int(x) for x in rng.integers(0, (1 << masking.width) // 3, count)] for _ in range(3)]
    seeds = [bytes([i]) * 32 for i in range(3)]
    secrets = [masking.secret(seed) for seed in seeds]
    payloads = [masking.mask(v, seed, PUBLIC, 5) for v, seed in zip(values, seeds, strict=True)]
    total = [sum(column) for column in zip(*secrets, strict=True)]
    opened, noise = masking.open(payloads, count, total, PUBLIC, 5)
    assert opened == [sum(column) for column in zip(*values, strict=True)]
    assert 0 < max(map(abs, noise)) < 100
    keys = [reference.hkdf(seed, "hint/e", *masking.fields, length=16) for seed in seeds]
    return {"values": values, "secrets": secrets, "payloads": payloads, "opened": opened, "error_keys": keys}


def test_the_references_interpolation_is_the_transforms_inverse():
    q = reference.moduli(21, 1)[0]
    a = [pow(3, i, q) for i in range(256)]
    assert reference.interpolate(transform(a, reference.root(256, q), q), q) == a


def refused(kernels, plan, acc, count, payload):
    before = acc.copy()
    with pytest.raises(InputError):
        kernels.hint_add(plan, acc, count, payload)
    assert np.array_equal(acc, before)


@pytest.mark.parametrize("settings", [RINGS[1], RINGS[2], RINGS[5]], ids=str)
def test_sums_refuse_and_stay(kernels, settings):
    plan = _kernels.hint_plan(*settings)
    count = plan.per * (plan.degree + 5)  # five residues in the last polynomial, of each prime
    payload = masked(kernels, plan, vector(plan, count, np.uint64))
    acc = _kernels.aligned_words(plan.residues(count))
    kernels.hint_add(plan, acc, count, payload)
    small, start = (5 * plan.bits + 7) // 8, plan.primes * plan.degree * plan.bits // 8
    places = [0, start, *(start + i * small for i in range(plan.primes))]
    for at in places:  # a residue of all ones is above every modulus
        refused(kernels, plan, acc, count, payload[:at] + b"\xff" * 8 + payload[at + 8 :])
    for i, q in enumerate(plan.moduli):
        at = start + i * small
        last = int.from_bytes(payload[at : at + small], "little") % (1 << 4 * plan.bits)
        for residue, bad in ((q, True), (q - 1, False)):
            joined = (last | residue << 4 * plan.bits).to_bytes(small, "little")
            data = payload[:at] + joined + payload[at + small :]
            if bad:
                refused(kernels, plan, acc, count, data)
            else:
                kernels.hint_add(plan, acc.copy(), count, data)
        if 5 * plan.bits % 8:
            end = at + small - 1
            refused(kernels, plan, acc, count, payload[:end] + bytes([payload[end] | 0x80]) + payload[end + 1 :])
    refused(kernels, plan, acc, count, payload[:-1])
    refused(kernels, plan, acc, count, payload + b"\0")
    refused(kernels, plan, acc, count, 5)


@pytest.mark.parametrize("settings", RINGS, ids=str)
def test_a_value_of_more_than_its_width_is_refused_and_leaves_nothing(kernels, settings):
    plan = _kernels.hint_plan(*settings)
    values = vector(plan, plan.per * 7 + 1, np.uint64)
    for place in (0, len(values) - 1):
        bad = values.copy()
        bad[place] = 1 << plan.width
        out = bytearray(plan.payload_bytes(len(bad)))
        with pytest.raises(InputError):
            kernels.hint_mask(plan, secret_of(plan), bad, KEY, PUBLIC, 0, out)
        assert not any(out)


def plain_sum(plan, numbers):
    """A sum whose coefficients are the given numbers modulo q, for a secret of 0: one coefficient a number."""
    rows = [[number % q for number in numbers] for q in plan.moduli]
    acc = _kernels.aligned_words(plan.primes * len(numbers))
    acc[:] = np.concatenate([np.array(row, np.uint64) for row in rows])
    return acc


@pytest.mark.parametrize("settings", RINGS, ids=str)
def test_noise_opens_up_to_its_bounds_exactly(kernels, settings):
    plan = _kernels.hint_plan(*settings)
    t, spread = 1 << plan.width * plan.per, plan.spread
    zero = np.zeros((plan.primes, plan.degree), np.uint64)
    kept = [0, t - 1, -t * spread, t * spread - 1, t * (spread - 1), -1]
    count = plan.per * len(kept)
    values = kernels.hint_open(plan, plain_sum(plan, kept), count, zero, PUBLIC, 0).reshape(plan.per, len(kept))
    low = (1 << plan.width) - 1
    for c, number in enumerate(kept):
        assert values[:, c].tolist() == [(number % t) >> plan.width * k & low for k in range(plan.per)]
    spoilt = [-t * spread - 1, t * spread, plan.product // 2 + t * spread // 2]
    if 2 * t * spread < plan.product - 2:
        for number in spoilt[: 2 + (plan.product > 4 * t * spread)]:
            with pytest.raises(InputError, match="noise"):
                kernels.hint_open(plan, plain_sum(plan, [0, 0, number]), 3 * plan.per, zero, PUBLIC, 0)


def test_misuse_of_the_contract(kernels):
    plan = _kernels.hint_plan(*RINGS[0])
    values, secret = vector(plan, 9, np.uint64), secret_of(plan)
    room = plan.payload_bytes(9)

    def mask(**changes):
        given = {"secret": secret, "values": values, "key": KEY, "public": PUBLIC, "first": 0, "out": bytearray(room)}
        given |= changes
        kernels.hint_mask(plan, *(given[name] for name in ("secret", "values", "key", "public", "first", "out")))

    mask()
    too_large = secret.copy()
    too_large[0, 5] = plan.moduli[0]
    for bad in (
        {"secret": secret[0]},
        {"secret": secret[:, ::2].copy()},
        {"secret": too_large},
        {"values": values.astype(np.int64)},
        {"values": values[:0]},
        {"values": values[::2]},
        {"key": KEY[1:]},
        {"public": "0123456789abcdef"},
        {"first": -1},
        {"first": 2**52},
        {"out": bytearray(room - 1)},
        {"out": bytes(room)},
        {"out": 5},
    ):
        with pytest.raises(InputError):
            mask(**bad)
    acc = _kernels.aligned_words(plan.residues(9))
    for count, array in ((0, acc), (8, acc), (9, acc[:-1]), (20, acc), (9, acc.astype(np.int64))):
        with pytest.raises(InputError):
            kernels.hint_store(plan, array, count)
    acc.flags.writeable = False
    with pytest.raises(InputError):
        kernels.hint_add(plan, acc, 9, bytes(room))
    for start, count in ((-1, 1), (2**63 - 1, 2), (0, -1)):
        with pytest.raises(InputError):
            kernels.hint_gaussian(KEY, 0, start, count)


def test_a_merge_that_is_refused_changes_nothing(kernels):
    plan = _kernels.hint_plan(2048, 50, 3, 8, 3, 1 << 20)
    count = 3 * 2048 + 7
    for at in (0, 2048, -1):
        acc, other = (np.ones(plan.residues(count), np.uint64) for _ in range(2))
        other[at] = plan.moduli[0]
        for minus in (False, True):
            with pytest.raises(InputError, match="below the modulus"):
                kernels.hint_merge(plan, acc, other, count, minus=minus)
            assert (acc == 1).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint64, np.int16])
def test_counts_and_shapes_in_numpys_integers_have_the_sizes_of_others(kernels, kind):
    plan = _kernels.hint_plan(2048, 50, 3, 8, 3, 1 << 20)
    zeros = np.zeros((plan.primes, plan.degree), np.uint64)
    for count in (4, 100):
        acc = np.zeros(plan.residues(count), np.uint64)
        payload = kernels.hint_store(plan, acc, kind(count))
        assert len(payload) == plan.payload_bytes(count)
        kernels.hint_add(plan, acc, kind(count), payload)
        kernels.hint_merge(plan, acc, acc.copy(), kind(count))
        assert len(kernels.hint_open(plan, acc, kind(count), zeros, PUBLIC, 0)) == count
        with pytest.raises(InputError, match="residues"):
            kernels.hint_open(plan, acc[:-1], kind(count), zeros, PUBLIC, 0)
    made = _kernels.hint_plan(*(np.uint16(v) for v in (8192, 51, 3, 8, 16)), np.int64(1 << 10))
    assert all(type(getattr(made, name)) is int for name in ("degree", "bits", "width", "per", "spread"))
    assert made.residues(60000) == 3 * 3750


def altered(table, place, value):
    made = table.copy()
    made.reshape(-1)[place] = value
    made.flags.writeable = False
    return made


def test_plans_that_are_made_by_hand_do_not_reach_the_kernels():
    plan, other = (_kernels.hint_plan(2048, 50, 3, 8, per, 1 << 20) for per in (3, 4))
    ring = plan.rings[0]
    dataclasses.replace(ring, table=ring.table)
    dataclasses.replace(plan, table=plan.table)
    for place, value in [(0, 3), (1, 1 << 40), (2, 200), (6, 14)]:
        with pytest.raises(ParameterError):
            dataclasses.replace(ring, table=altered(ring.table, place, value))
    for changes in [
        {"table": ring.table[:4]},
        {"table": ring.table.copy()},
        {"table": None},
        {"degree": 1000},
        {"bits": 70},
    ]:
        with pytest.raises(ParameterError):
            dataclasses.replace(ring, **changes)
    for place, value in [(0, 2), (1, 0), (2, 64), (3, 95)]:
        with pytest.raises(ParameterError):
            dataclasses.replace(plan, table=altered(plan.table, place, value))
    for changes in [
        {"table": other.table},
        {"tables": altered(plan.tables, 1, 4096)},
        {"tables": plan.tables[:2]},
        {"per": 4},
        {"width": 0},
        {"rings": plan.rings[:2]},
        {"moduli": plan.moduli[::-1]},
    ]:
        with pytest.raises(ParameterError):
            dataclasses.replace(plan, **changes)
