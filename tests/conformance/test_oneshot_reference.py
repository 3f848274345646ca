"""The engine's oneshot against tests/reference, piece by piece; test_oneshot_live.py does the same with whole sessions."""

import hashlib
import random

import numpy as np
import pytest

from reference import hashes, hint, msgpack, oneshot_common, oneshot_settings, packed
from reference.errors import AuthenticationError
from reference.frames import verify_key
from reference.oneshot_settings import OneshotSettings
from reference.ring import multiply
from reference.settings import Roster as ReferenceRoster
from reference.settings import Settings
from secagg import FixedPoint, Integer, Layout, Params, Roster, errors
from secagg.cli.vectors.oneshot_cases import OPERATIONS
from secagg.errors import ParameterError
from secagg.hazmat import packed as engine_packed
from secagg.protocols.oneshot import committee, merkle
from secagg.protocols.oneshot.messages import public_seed
from secagg.protocols.oneshot.server import share_chunks
from vectors import generate_oneshot
from vectors.generate_kernels import text


@pytest.fixture
def rng():
    return random.Random(20263)


# -- Params -------------------------------------------------------------------------------------------------------------


def made_params(rng):
    """Return Params of some session, most of them sound."""
    clients = rng.choice([3, 5, 40, 1000, 100_000])
    chosen = rng.choice(
        [FixedPoint(clip=1.5, bits=rng.choice([1, 8, 16, 24, 32])), Integer(-5, rng.choice([4, 10**6]))]
    )
    return Params(
        clients=clients, protocol="oneshot", threat=rng.choice(["malicious", "semi-honest"]), encoding=chosen,
        length=rng.choice([1, 2000, 10**5, 10**7]), metrics=("loss",), corrupt=rng.choice([0, 1, clients // 20]),
        segments={"metrics": FixedPoint(clip=4.0, bits=20)}, max_weight=rng.choice([1, 30, 1000]),
        max_participants=rng.choice([None, min(2000, clients)]), committee=rng.choice([None, min(30, clients)]),
        packing=rng.choice([None, 1]), ring=rng.choice([None, None, (8192, 51, 4), (4096, 50, 2)]),
    )  # fmt: skip


def test_ring_digits_and_frames(rng):
    seen, asked = set(), 0
    while len(seen) < 6 or asked < 30:
        try:
            params = made_params(rng)
        except ValueError:
            continue
        asked += 1
        settings, plan = OneshotSettings(params.to_bytes()), params.mask_plan
        ring = plan.segments[0].ring
        assert (settings.N, settings.bits, settings.primes) == (ring.degree, ring.bits, ring.primes)
        assert tuple(settings.parts[0].ring.primes) == ring.moduli and settings.parts[0].ring.q == ring.q
        if params.ring not in ((8192, 51, 4), (4096, 50, 2)):
            assert oneshot_settings.choose(settings.widths, settings.p, settings.M, settings.rho) == params.ring
        seen.add(params.ring)
        assert (settings.M, settings.T, settings.rho) == (params.committee, params.threshold, params.packing)
        assert settings.digit_bits == plan.digit_bits and settings.rows == plan.share_rows(params.packing)
        assert settings.limit == params.max_frame_bytes and settings.hash == params.hash
        for number, (part, cut) in enumerate(zip(settings.parts, plan.segments, strict=True)):
            assert (part.count, part.first, part.step) == (cut.count, cut.first, cut.step)
            told = part.ring.width, part.ring.per, part.ring.spread
            assert told == (cut.ring.width, cut.ring.per, cut.ring.spread)
            if cut.polynomials > 1000:
                continue
            assert part.spans() == [(start, stop, cut.number(index)) for index, start, stop in cut]
            assert [part.size(start, stop) for _, start, stop in cut] == [
                cut.payload_bytes(index) for index, _, _ in cut
            ]
            # What opens, by construction: errors within the spread, and no sum of values as large as its digit.
            assert 2 * part.ring.t * part.ring.spread <= part.ring.q
            segment = settings.segments[number]
            most = params.max_weight if number == 0 else params.max_weight * segment.levels
            assert settings.p * most < 2**part.ring.width
        spans = settings.share_spans(settings.M)
        assert [(stop - start) * settings.box for start, stop in spans] == share_chunks(params, settings.M)
        # The spec's bounds on secrecy and on one set a round.
        assert settings.rho < settings.T


def test_canonical_params():
    params = Params(
        clients=30, layout=Layout.of({"w": np.zeros((3, 5), np.float32), "counts": np.zeros(70, np.int64)}),
        encoding=FixedPoint(clip=2, bits=12), segments={"counts": Integer(-3, 400)}, max_weight=300, corrupt=3,
        protocol="oneshot", rounds_per_setup=4, ring=(4096, 50, 2), committee=20, threshold=19, packing=4,
    )  # fmt: skip
    tree = ["dict", [["w", ["leaf", "float32", [3, 5]]], ["counts", ["leaf", "int64", [70]]]]]
    # Largest sums: 30 times 300 4095 has 26 bits, 30 times 300 403 has 22. 6.36 sqrt(60 ln(2 88 2^41)) = 285.5.
    digits = [[62, 1, 286], [26, 3, 286], [22, 4, 286]]
    canonical = [
        30, 85, ["layout", tree], ["fixed-point", 2.0, 12, "stochastic", "clip"], [["counts", ["integer", -3, 400]]],
        [], "oneshot", "malicious", 19, 27, 2, 3, 30, 27, 0, 300, 4, 4 << 20, [4096, 50, 2, digits, 10], 20, 4,
    ]  # fmt: skip
    assert msgpack.pack(canonical) == params.to_bytes()
    assert hashes.digest("params", params.to_bytes()) == params.hash == OneshotSettings(params.to_bytes()).hash
    with pytest.raises(ValueError):
        Settings(params.to_bytes())
    for wrong in (
        [4096, 50, 2, [*digits[:2], [22, 3, 286]], 10], [4096, 50, 2, [[62, 1, 287], *digits[1:]], 10],
        [4096, 50, 2, digits, 11], [4096, 54, 2, digits, 10], [2048, 50, 1, digits, 10],
    ):  # fmt: skip
        data = msgpack.pack([*canonical[:18], wrong, *canonical[19:]])
        with pytest.raises(ValueError):
            OneshotSettings(data)
        with pytest.raises(ParameterError):
            Params.from_bytes(data)


# -- who, and under which names -----------------------------------------------------------------------------------------


def parties(count):
    return {f"c{i}": verify_key(hashlib.sha256(b"key %d" % i).digest()) for i in range(count)}


@pytest.mark.parametrize("size", [2, 3, 11, 12])
def test_committees(size):
    keys = parties(13)
    server = keys.pop("c12")
    roster, second = Roster(keys, server), ReferenceRoster(server, keys)
    params = Params(clients=12, length=1, protocol="oneshot", threat="semi-honest", corrupt=0, committee=size)
    settings, drawn = OneshotSettings(params.to_bytes()), set()
    for number in range(20):
        session = hashlib.sha256(b"session %d" % number).digest()[:16]
        made = committee(roster, session, size)
        assert list(made) == oneshot_common.committee(settings, second, session)
        assert len(made) == size
        drawn.add(made)
        public = public_seed(session, params.hash, roster.hash(), number)
        assert public == oneshot_common.public_seed(settings, second, session, number)
    assert len(drawn) > (10 if size < 11 else 0) and (size < 12 or len(drawn) == 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 16, 31])
def test_trees(rng, count):
    leaves = [rng.randbytes(rng.randrange(1, 40)) for _ in range(count)]
    levels = oneshot_common.tree(leaves)
    assert oneshot_common.root(leaves) == merkle.root(leaves) == levels[-1][0]
    paths = [oneshot_common.leaf_path(levels, place) for place in range(count)]
    assert paths == merkle.paths(leaves)
    for place, (leaf, path) in enumerate(zip(leaves, paths, strict=True)):
        for check, refused in (
            (merkle.check, errors.AuthenticationError), (oneshot_common.check_path, AuthenticationError),
        ):  # fmt: skip
            check(leaf, place, count, path, levels[-1][0])
            wrong = [(leaf + b"x", place, path), (leaf, place, bytes(len(path)))] if count > 1 else [(b"", 0, b"")]
            if count > 1:
                wrong += [(leaf, place ^ 1 if place ^ 1 < count else place - 1, path), (leaf, place, path[:-1] + b"x")]
            for bad_leaf, bad_place, bad_path in wrong:
                if bad_path != path or (bad_leaf, bad_place) != (leaf, place):
                    with pytest.raises(refused):
                        check(bad_leaf, bad_place, count, bad_path, levels[-1][0])


def test_an_empty_tree_hash_is_that_of_rfc_6962():
    """The leaf hash of the empty string, section 2.1: SHA-256 of one zero byte."""
    assert oneshot_common.root([b""]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


# -- secrets and their digits -------------------------------------------------------------------------------------------


def test_products_with_small_polynomials(rng):
    q, n = hint.moduli(40, 1)[0], 64
    a, s = [rng.randrange(q) for _ in range(n)], [rng.randrange(-500, 501) for _ in range(n)]
    expected = multiply(a, [x % q for x in s], q)
    for count in (1, 7, hint.FEW, hint.FEW + 1, n):
        assert hint.times_small(a, s, q, count) == expected[:count]
    extremes = [q - 1] * n, [(-1) ** (i > 30) * 2**20 for i in range(n)]
    assert hint.times_small(*extremes, q, n) == multiply(extremes[0], [x % q for x in extremes[1]], q)


@pytest.mark.parametrize("width", [8, 11, 16, 21])
def test_digits(rng, width):
    top = 2 ** (width - 1) - 1
    values = [rng.randrange(-top, top + 1) for _ in range(50)] + [top, -top, 0]
    elements = packed.pack_digits(values, width)
    assert elements == engine_packed.pack_digits(np.array(values), width).tolist()
    assert packed.unpack_digits(elements, width, len(values)) == values
    for bad in ([*elements[:-1], packed.P // 2], [*elements, 1]):
        with pytest.raises(ValueError):
            packed.unpack_digits(bad, width, len(values))
        with pytest.raises(errors.InputError):
            engine_packed.unpack_digits(np.array(bad, np.uint64), width, len(values))


# -- shipped vectors ----------------------------------------------------------------------------------------------------


def test_the_shipped_file_is_what_the_reference_makes():
    assert generate_oneshot.PATH.read_text("utf-8") == text(generate_oneshot.build())


@pytest.mark.parametrize("case", generate_oneshot.build()["cases"], ids=lambda case: f"{case['op']}-{case['success']}")
def test_shipped_vectors(case):
    run = OPERATIONS[case["op"]]
    if case["success"]:
        assert run(case["input"]) == case["output"]
    else:
        with pytest.raises(errors.SecAggError) as refused:
            run(case["input"])
        assert type(refused.value).__name__ == case["error"]
