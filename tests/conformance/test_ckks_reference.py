"""The engine's ckks against tests/reference, piece by piece; test_ckks_live.py does the same with whole sessions."""

import ast
import math
import random
from pathlib import Path

import numpy as np
import pytest

from reference import ckks_cipher, ckks_ring, ckks_settings, encoding, hashes, msgpack
from reference.ckks_settings import CkksSettings
from reference.settings import Roster as RefRoster
from reference.settings import Settings
from secagg import FixedPoint, Identity, Integer, Layout, Params, Roster, lattice
from secagg.errors import ParameterError
from secagg.hazmat.ring import Ring, modulus
from secagg.hazmat.rlwe import PublicKey, SecretKey, encrypt
from secagg.wire import ChunkPlan
from support.live import ENCODINGS

RINGS = [(1024, 26), (2048, 49), (2048, 50), (2048, 51), (4096, 60)]


@pytest.fixture
def rng():
    return random.Random(20262)


def test_the_reference_imports_nothing_of_the_engine():
    for path in (Path(__file__).parents[1] / "reference").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in found if name.split(".")[0] == "secagg"], path.name


# -- the ring -----------------------------------------------------------------------------------------------------------


def test_moduli():
    assert [ckks_ring.modulus(bits) for bits in range(20, 61)] == [modulus(bits) for bits in range(20, 61)]
    assert [number for number in range(100) if ckks_ring.is_prime(number)] == [
        number for number in range(2, 100) if all(number % other for other in range(2, number))
    ]
    assert ckks_ring.is_prime(2**61 - 1) and ckks_ring.is_prime(2**31 - 1)
    # A square, and the least numbers that pass for prime to the bases up to 7, 17 and 31.
    for composite in ((2**31 - 1) ** 2, 3215031751, 341550071728321, 3825123056546413051):
        assert not ckks_ring.is_prime(composite)


@pytest.mark.parametrize("bits", [20, 26, 53, 60])
@pytest.mark.parametrize("count", [1, 7, 8, 100])
def test_packed_residues(rng, bits, count):
    q = ckks_ring.modulus(bits)
    residues = [rng.randrange(q) for _ in range(count - 1)] + [q - 1]
    packed = ckks_ring.pack(residues, bits)
    assert packed == encoding.pack(residues, bits)
    assert packed == Ring(1024, q).pack(np.array(residues, np.uint64))
    assert ckks_ring.unpack(packed, bits, count, q) == residues
    with pytest.raises(ValueError):
        ckks_ring.unpack(ckks_ring.pack([*residues[:-1], q], bits), bits, count, q)
    if count * bits % 8:
        with pytest.raises(ValueError):
            ckks_ring.unpack(packed[:-1] + bytes([packed[-1] | 0x80]), bits, count, q)


# -- Params -------------------------------------------------------------------------------------------------------------


def made_params(rng):
    """Return Params of some session, most of them sound."""
    clients = rng.choice([3, 5, 40, 1000, 100_000])
    chosen = rng.choice(
        [FixedPoint(clip=1.5, bits=rng.choice([1, 8, 16, 24, 32])), Integer(-5, rng.choice([4, 10**6]))]
    )
    return Params(
        clients=clients, protocol="ckks", reveal=rng.choice(["server", "holder"]),
        threat=rng.choice(["malicious", "semi-honest"]), encoding=chosen, length=rng.choice([1, 2000, 10**5, 10**7]),
        metrics=("loss",), segments={"metrics": FixedPoint(clip=4.0, bits=20)},
        max_weight=rng.choice([1, 30, 1000, 2**20]), max_participants=rng.choice([None, max(3, clients // 2)]),
        ring=rng.choice([None, None, None, (4096, 60), (2048, 45)]),
    )  # fmt: skip


def test_ring_cuts_and_frames(rng):
    seen, asked = set(), 0
    while len(seen) < 12 or asked < 60:
        try:
            params = made_params(rng)
        except ValueError:
            continue
        asked += 1
        settings, plan = CkksSettings(params.to_bytes()), params.cipher_plan
        assert (settings.N, settings.B, settings.q) == (plan.ring.degree, plan.ring.bits, plan.ring.modulus)
        if params.ring in ((4096, 60), (2048, 45)):
            asked_for = ckks_settings.cuts_in(settings.N, settings.q, settings.rooms, settings.p)
            assert asked_for == [each[1:3] for each in settings.cuts]
        else:
            assert ckks_settings.choose(settings.rooms, settings.p) == params.ring
        seen.add((params.ring, max(each.limbs for each in settings.cuts)))
        assert settings.delta == plan.delta and settings.worst == plan.worst and settings.tops == [
            cut.most for cut in plan.segments
        ]  # fmt: skip
        assert settings.totals == [room.total for room in plan.rooms]
        assert settings.limit == params.max_frame_bytes and settings.hash == params.hash
        for number, (each, cut) in enumerate(zip(settings.cuts, plan.segments, strict=True)):
            assert each == (cut.count, cut.limbs, cut.limb_bits, cut.first, cut.step)
            if cut.polynomials < 1000:
                found = [
                    (pieces[0][0], settings.size((number, index)))
                    for index, pieces in enumerate(settings.pieces(number))
                ]
                assert found == [(cut.number(index), cut.payload_bytes(index)) for index, _, _ in cut]
        sizes = [each.count * each.limbs for each in settings.cuts]
        K = sum(cut.polynomials for cut in plan.segments)
        radius = ckks_settings.noise_radius(settings.N, settings.p, sum(sizes), K)
        assert math.isclose(radius, plan.radius, rel_tol=1e-12)
        assert radius <= settings.worst  # what the spec promises of every session
        assert max(settings.tops) * settings.delta + settings.delta // 2 < settings.q
    assert {limbs for _, limbs in seen} > {1, 2}


def test_canonical_params_and_roster_hash():
    params = Params(
        clients=30, layout=Layout.of({"w": np.zeros((3, 5), np.float32), "counts": np.zeros(70, np.int64)}),
        encoding=FixedPoint(clip=2, bits=12), segments={"counts": Integer(-3, 400)}, max_weight=300,
        protocol="ckks", reveal="holder", rounds_per_setup=4, ring=(4096, 60),
    )  # fmt: skip
    tree = ["dict", [["w", ["leaf", "float32", [3, 5]]], ["counts", ["leaf", "int64", [70]]]]]
    canonical = [
        30, 85, ["layout", tree], ["fixed-point", 2.0, 12, "stochastic", "clip"], [["counts", ["integer", -3, 400]]],
        [], "ckks", "malicious", 1, 27, 2, 3, 30, 27, 0, 300, 4, 4 << 20, "holder",
        # The largest sums are 30 times 300, 300 4095 and 300 403.
        [4096, 60, ckks_ring.modulus(60) // 36855001, [[1, 14], [1, 26], [1, 22]]],
    ]  # fmt: skip
    assert msgpack.pack(canonical) == params.to_bytes()
    assert hashes.digest("params", params.to_bytes()) == params.hash == CkksSettings(params.to_bytes()).hash
    with pytest.raises(ValueError):
        Settings(params.to_bytes())
    for wrong in ([4096, 60, canonical[-1][2], [[1, 14], [1, 26], [1, 23]]], [4096, 60, 2**20, canonical[-1][3]]):
        with pytest.raises(ValueError):
            CkksSettings(msgpack.pack([*canonical[:-1], wrong]))
        with pytest.raises(ParameterError):
            Params.from_bytes(msgpack.pack([*canonical[:-1], wrong]))
    keys = {name: Identity.generate().verify_key for name in ("b", "é", "a")}
    server, holder = (Identity.generate().verify_key for _ in range(2))
    fields = [part for name in ("a", "b", "é") for part in (name.encode(), keys[name])]
    assert hashes.digest("roster-holder", server, holder, *fields) == Roster(keys, server, holder).hash()
    assert RefRoster(server, keys, holder).hash == Roster(keys, server, holder).hash()
    assert RefRoster(server, keys, keys["a"]).hash == Roster(keys, server, keys["a"]).hash()
    with pytest.raises(ValueError):
        RefRoster(server, keys, server)


@pytest.mark.parametrize("N, n, C, K", [(1024, 2, 1, 1), (2048, 1000, 2049, 3), (8192, 10**5, 10**8, 12210)])
def test_noise(N, n, C, K):
    assert math.isclose(ckks_settings.noise_radius(N, n, C, K), lattice.noise_radius(N, n, C, K), rel_tol=1e-12)


# -- keys and ciphertexts -----------------------------------------------------------------------------------------------


def small(**changes):
    base = {"clients": 5, "corrupt": 1, "min_clients": 3, "protocol": "ckks", "reveal": "server", "ring": (1024, 26)}
    return Params(**(base | ENCODINGS | {"max_weight": 3, "frame_bytes": 1 << 14} | changes))


@pytest.mark.parametrize("N, B", RINGS)
def test_keys_ciphertexts_and_what_they_open_to(rng, N, B):
    params = small(ring=(N, B), frame_bytes=1 << 18)
    settings, ring, seed = CkksSettings(params.to_bytes()), params.cipher_plan.ring, rng.randbytes(32)
    s, public = ckks_cipher.key_pair(settings, seed)
    secret = SecretKey(ring, hashes.hkdf(seed, "ckks-secret", length=32))
    assert secret.public_key().to_bytes() == public
    key = ckks_cipher.read_public(settings, public)
    vectors = [[rng.randrange(most + 1) for _ in range(count)] for count, most in settings.rooms]
    vectors[0] = [3, 2, 1]
    for pad in (None, rng.randbytes(16)):
        made = ckks_cipher.encrypt(settings, key, vectors, b"k" * 16, pad)
        for (number, index), polynomials in made.items():
            coefficients = np.array(settings.cuts[number].split(vectors[number]), np.uint64)
            first = settings.pieces(number)[index][0][0]
            engine = encrypt(
                PublicKey.from_bytes(ring, public), coefficients, settings.delta, b"k" * 16, first, pad=pad
            )
            assert engine == ckks_cipher.to_bytes(settings, polynomials)
            assert ckks_cipher.from_bytes(settings, (number, index), engine) == polynomials
        twice = ckks_cipher.total(settings, [made, made])
        assert ckks_cipher.decrypt(settings, s, twice, [pad, pad] if pad else []) == [
            [2 * value for value in vector] for vector in vectors
        ]


def test_malformed_keys_and_ciphertexts_are_refused(rng):
    settings = CkksSettings(small().to_bytes())
    _, public = ckks_cipher.key_pair(settings, bytes(32))
    half = settings.N * settings.B // 8
    for bad in (public[:-1], public[:16] + bytes(half), public[:16] + b"\xff" * half):
        with pytest.raises(ValueError):
            ckks_cipher.read_public(settings, bad)
    payload = b"\1" + bytes(settings.size((0, 0)) - 1)  # c1 = 1, and padding, for three values have 78 bits
    assert ckks_cipher.from_bytes(settings, (0, 0), payload)[0][0][:2] == [1, 0]
    for bad in (bytes(len(payload)), payload[:-1] + b"\x80", b"\xff" * half + payload[half:]):
        with pytest.raises(ValueError):
            ckks_cipher.from_bytes(settings, (0, 0), bad)


@pytest.mark.parametrize("w", [15, 33, 64])
def test_places_of_an_opened_sum(w):
    assert encoding.chunks(3000, w, 1000) == [(a, b) for _, a, b in ChunkPlan(3000, w, 1000)]
