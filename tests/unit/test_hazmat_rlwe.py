"""RLWE sums: bit for bit what the reference computes, what is refused, what stays secret, and the size of the noise."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from reference import ring as reference
from secagg.errors import DecodeError, InputError
from secagg.hazmat import rlwe
from secagg.hazmat.ring import Ring, modulus

N = 1024
RING = Ring(N, modulus(43))
SEED = bytes(range(32))
KEY, OTHER, PAD, SEED_A = (bytes([i]) * 16 for i in range(4))
DELTA = 1 << 20
SECRET = rlwe.SecretKey(RING, SEED)
PUBLIC = SECRET.public_key()


def vector(n, top=1000, seed=0):
    return np.random.default_rng([seed, n]).integers(0, top, n, dtype=np.uint64, endpoint=True)


def ciphertext(n=5, key=KEY, first=0, **options):
    return rlwe.encrypt(PUBLIC, vector(n), DELTA, key, first, **options)


@pytest.mark.parametrize("bits", [33, 43, 60])
def test_a_sum_is_the_references_bit_for_bit(bits):
    q, n = modulus(bits), N + 37
    ring = Ring(N, q)
    secret, ref = rlwe.SecretKey(ring, SEED), reference.Key(N, q, SEED)
    public = secret.public_key()
    assert public.to_bytes() == ref.public()
    delta = q >> 12
    total = rlwe.Sum(ring, n)
    ref_c1, ref_c0 = [[0] * N] * 2, [0] * n
    for index, (key, pad) in enumerate(((KEY, None), (OTHER, PAD))):
        values = vector(n, seed=index)
        made = rlwe.encrypt(public, values, delta, key, 6, pad=pad)
        assert made == ref.encrypt(values.tolist(), delta, key, 6, pad)
        assert len(made) == rlwe.payload_bytes(ring, n)
        c1, c0 = reference.split(made, n, N, q)
        ref_c1 = [reference.add(x, y, q) for x, y in zip(ref_c1, c1, strict=True)]
        ref_c0 = reference.add(ref_c0, c0, q)
        total.add(made)
    assert total.c1.tolist() == ref_c1
    assert total.c0.tolist() == ref_c0
    pads = [(PAD, 6)]
    ref_c0 = [
        (c - x) % q
        for c, x in zip(
            ref_c0, [*reference.uniform(PAD, 0, 6, N, q), *reference.uniform(PAD, 0, 7, N, q)], strict=False
        )
    ]
    expected, worst = ref.decrypt(ref_c1, ref_c0, delta)
    before = total.to_bytes()
    opened, found = secret.decrypt(total, delta, pads=pads)
    assert (opened.tolist(), found) == (expected, worst)
    assert opened.tolist() == (vector(n) + vector(n, seed=1)).tolist()
    assert total.to_bytes() == before


def test_a_seeded_sum_is_the_references_bit_for_bit():
    n, ref = N + 3, reference.Key(N, RING.modulus, SEED)
    total = rlwe.SeededSum(RING, n)
    for index, key in enumerate((KEY, OTHER)):
        made = SECRET.encrypt_seeded(vector(n), DELTA, key, 2, SEED_A[:15] + bytes([index]))
        assert made == ref.encrypt_seeded(vector(n).tolist(), DELTA, key, 2, SEED_A[:15] + bytes([index]))
        assert len(made) == rlwe.seeded_payload_bytes(RING, n)
        total.add(made, SEED_A[:15] + bytes([index]), 2)
    values, worst = SECRET.decrypt(total, DELTA)
    assert values.tolist() == (2 * vector(n)).tolist()
    assert (values.tolist(), worst) == ref.decrypt(total.c1.tolist(), total.c0.tolist(), DELTA)
    assert worst <= 2 * 21


def test_a_polynomial_at_a_time_or_all_at_once():
    n = 2 * N + 5
    whole = ciphertext(n, first=3)
    assert whole == b"".join(
        rlwe.encrypt(PUBLIC, vector(n)[low : low + N], DELTA, KEY, 3 + i) for i, low in enumerate(range(0, n, N))
    )
    out = bytearray(len(whole) + 2)
    assert rlwe.encrypt(PUBLIC, vector(n), DELTA, KEY, 3, out=memoryview(out)[1:-1]) == b""
    assert bytes(out) == b"\0" + whole + b"\0"


@pytest.mark.parametrize("delta", [1, 2, 3, DELTA, RING.modulus - 1])
def test_values_up_to_the_limit_and_none_beyond(delta):
    top = (RING.modulus - 1) // delta
    values = np.array([0, top, top], np.uint64)
    assert len(rlwe.encrypt(PUBLIC, values, delta, KEY, 0)) == rlwe.payload_bytes(RING, 3)
    for beyond in (top + 1, 2**63, 2**64 - 1):
        values[1] = beyond
        out = bytearray(rlwe.payload_bytes(RING, 3))
        with pytest.raises(InputError) as refused:
            rlwe.encrypt(PUBLIC, values, delta, KEY, 0, out=out)
        assert str(beyond) not in str(refused.value)
        assert not any(out)
        with pytest.raises(InputError):
            SECRET.encrypt_seeded(values, delta, KEY, 0, SEED_A)


MISUSES = {
    "a list": {"values": [1, 2]},
    "no values": {"values": np.zeros(0, np.uint64)},
    "two dimensions": {"values": np.zeros((1, 2), np.uint64)},
    "another type": {"values": np.zeros(2, np.int64)},
    "delta 0": {"delta": 0},
    "delta q": {"delta": RING.modulus},
    "delta no integer": {"delta": 1.5},
    "a short key": {"key": bytes(15)},
    "a text": {"key": "0" * 16},
    "a negative number": {"first": -1},
    "a number beyond the stream": {"first": 2**53},
    "a short pad": {"pad": bytes(15)},
    "no room": {"out": bytearray(3)},
    "too much room": {"out": bytearray(rlwe.payload_bytes(RING, 2) + 1)},
    "read-only room": {"out": bytes(rlwe.payload_bytes(RING, 2))},
    "room of another kind": {"out": [0]},
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_misuse_of_encrypt_is_refused(misuse):
    arguments = {
        "values": np.zeros(2, np.uint64),
        "delta": 1,
        "key": KEY,
        "first": 0,
        "pad": None,
        "out": None,
    } | misuse
    with pytest.raises(InputError):
        rlwe.encrypt(PUBLIC, **arguments)
    if misuse.keys() <= {"values", "delta", "key", "first"}:
        del arguments["pad"], arguments["out"]
        with pytest.raises(InputError):
            SECRET.encrypt_seeded(**arguments, seed_a=SEED_A)


def spoilt(n=5, seeded=False):
    """What no sum may take, by what is wrong with it."""
    good = SECRET.encrypt_seeded(vector(n), DELTA, KEY, 0, SEED_A) if seeded else ciphertext(n)
    q, bits = RING.modulus, RING.bits
    size = (n * bits + 7) // 8
    c0 = reference.unpack(good[-size:], n, q)
    big = reference.pack([*c0[:-1], q], q)
    made = {
        "short": good[:-1],
        "long": good + b"\0",
        "empty": b"",
        "padding": good[:-1] + bytes([good[-1] | 0x80]),
        "a residue of q at the end": good[:-size] + big,
        "every bit but padding": good[:-size] + reference.pack([2**bits - 1] * n, q),
        "no bytes": "text",
        "strided": memoryview(good * 2)[::2],
    }
    if not seeded:
        c1 = reference.unpack(good[:-size], N, q)
        made["c1 zero"] = bytes(len(good) - size) + good[-size:]
        made["a residue of q in c1"] = reference.pack([q, *c1[1:]], q) + good[-size:]
        made["a large residue in c1"] = reference.pack([*c1[:-1], 2**bits - 1], q) + good[-size:]
    return made


@pytest.mark.parametrize("what", spoilt())
def test_a_refused_ciphertext_leaves_the_sum(what):
    total = rlwe.Sum(RING, 5)
    total.add(ciphertext())
    before = total.to_bytes()
    with pytest.raises(InputError):
        total.add(spoilt()[what])
    assert total.to_bytes() == before
    with pytest.raises(InputError):
        rlwe.Sum.from_bytes(RING, 5, spoilt()[what])


@pytest.mark.parametrize("what", spoilt(seeded=True))
def test_a_refused_seeded_ciphertext_leaves_the_sum(what):
    total = rlwe.SeededSum(RING, 5)
    total.add(SECRET.encrypt_seeded(vector(5), DELTA, KEY, 0, SEED_A), SEED_A)
    before = total.to_bytes()
    with pytest.raises(InputError):
        total.add(spoilt(seeded=True)[what], SEED_A)
    for seed, first in ((b"", 0), (bytes(15), 0), (SEED_A, -1), (SEED_A, 2**53)):
        with pytest.raises(InputError):
            total.add(SECRET.encrypt_seeded(vector(5), DELTA, KEY, 0, SEED_A), seed, first)
    assert total.to_bytes() == before


def test_one_bad_polynomial_of_many_leaves_the_sum():
    """The first polynomials are good, and their addition has to be taken back."""
    n = 3 * N
    total = rlwe.Sum(RING, n)
    total.add(ciphertext(n))
    before = total.to_bytes()
    good = ciphertext(n, OTHER)
    half = N * RING.bits // 8
    for at in range(6):
        bad = bytearray(good)
        bad[at * half : at * half + 16] = b"\xff" * 16
        with pytest.raises(InputError, match="modulus"):
            total.add(bad)
        assert total.to_bytes() == before
        if at % 2 == 0:
            bad[at * half : (at + 1) * half] = bytes(half)
            with pytest.raises(InputError, match="hides nothing"):
                total.add(bad)
            assert total.to_bytes() == before
    total.add(good)
    assert SECRET.decrypt(total, DELTA)[0].tolist() == (2 * vector(n)).tolist()


def test_sums_merge_and_travel():
    parts = [rlwe.Sum(RING, 9) for _ in range(2)]
    for part, key in zip(parts, (KEY, OTHER), strict=True):
        part.add(ciphertext(9, key))
    whole = rlwe.Sum(RING, 9)
    whole.add(ciphertext(9))
    whole.add(ciphertext(9, OTHER))
    parts[0].merge(rlwe.Sum.from_bytes(RING, 9, parts[1].to_bytes()))
    assert parts[0].to_bytes() == whole.to_bytes()
    assert len(whole) == 9
    assert "Sum of 9 values" in repr(whole)
    for other in (rlwe.Sum(RING, 8), rlwe.Sum(Ring(N, modulus(44)), 9), rlwe.SeededSum(RING, 9), None):
        with pytest.raises(InputError):
            parts[0].merge(other)
    with pytest.raises(InputError):
        rlwe.Sum(RING, 0)
    with pytest.raises(InputError, match="hides nothing"):
        rlwe.Sum.from_bytes(RING, 9, rlwe.Sum(RING, 9).to_bytes())


def test_public_keys_travel_and_others_are_refused():
    data = PUBLIC.to_bytes()
    again = rlwe.PublicKey.from_bytes(RING, data)
    assert again == PUBLIC
    assert again != data
    assert hash(again) == hash(PUBLIC)
    assert rlwe.encrypt(again, vector(3), DELTA, KEY, 0) == ciphertext(3)
    bad = [b"", data[:-1], data + b"\0", data[:16] + bytes(len(data) - 16), data[:16] + b"\xff" * 6 + data[22:]]
    for wrong in (*bad, bytearray(data), "text"):
        with pytest.raises(DecodeError):
            rlwe.PublicKey.from_bytes(RING, wrong)
    with pytest.raises(DecodeError):
        rlwe.PublicKey.from_bytes(Ring(2 * N, RING.modulus), data)
    for b in (PUBLIC.b[:-1], PUBLIC.b.astype(np.int64), np.full(N, RING.modulus, np.uint64), [1] * N):
        with pytest.raises(InputError):
            rlwe.PublicKey(RING, SEED_A, b)
    with pytest.raises(ValueError, match="read-only"):
        PUBLIC.b[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        PUBLIC.transformed[0, 0] = 0


def test_keys_are_functions_of_seed_and_ring():
    assert rlwe.SecretKey(RING, SEED).public_key() == PUBLIC
    assert SECRET.seed_bytes() == SEED
    assert rlwe.SecretKey(RING, bytes(32)).public_key() != PUBLIC
    other = rlwe.SecretKey(Ring(N, modulus(44)), SEED)
    assert other.public_key().seed != PUBLIC.seed
    drawn = []
    made = rlwe.SecretKey.generate(RING, lambda count: drawn.append(count) or SEED)
    assert drawn == [32]
    assert made.public_key() == PUBLIC
    assert rlwe.SecretKey.generate(RING).public_key() != rlwe.SecretKey.generate(RING).public_key()
    for bad in (bytes(31), bytes(33), "0" * 32, None):
        with pytest.raises(InputError):
            rlwe.SecretKey(RING, bad)
    with pytest.raises(InputError):
        rlwe.SecretKey.generate(RING, lambda count: bytes(count - 1))


def test_a_secret_key_shows_and_leaves_nothing():
    text = repr(SECRET) + str(SECRET) + repr(PUBLIC)
    assert SEED.hex() not in text
    assert "SecretKey" in text
    assert not hasattr(SECRET, "__dict__")
    for leave in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="private key"):
            leave(SECRET)


def test_decrypt_refuses_what_it_cannot_open():
    total = rlwe.Sum(RING, 5)
    total.add(ciphertext())
    c1, c0 = total.c1, total.c0
    wrong = [
        rlwe.Sum(Ring(N, modulus(44)), 5),
        (c1[:, :-1], c0),
        (c1, np.zeros(N + 1, np.uint64)),
        (c1, c0[:0]),
        (c1, c0.tolist()),
        (c1.astype(np.int64), c0),
        (np.full_like(c1, RING.modulus), c0),
        (c1, np.full_like(c0, RING.modulus)),
    ]
    for bad in wrong:
        with pytest.raises(InputError):
            SECRET.decrypt(bad, DELTA)
    for delta in (0, RING.modulus, -1):
        with pytest.raises(InputError):
            SECRET.decrypt(total, delta)
    for pads in ([(PAD[:-1], 0)], [(PAD, -1)]):
        with pytest.raises(InputError):
            SECRET.decrypt(total, DELTA, pads=pads)
    assert SECRET.decrypt((c1, c0), DELTA)[0].tolist() == vector(5).tolist()


def test_without_its_pad_or_key_nothing_opens():
    n = N
    total = rlwe.Sum(RING, n)
    total.add(ciphertext(n, pad=PAD))
    right = vector(n)
    assert np.array_equal(SECRET.decrypt(total, DELTA, pads=[(PAD, 0)])[0], right)
    other = rlwe.SecretKey(RING, bytes(32))
    for values in (
        SECRET.decrypt(total, DELTA)[0],
        SECRET.decrypt(total, DELTA, pads=[(KEY, 0)])[0],
        SECRET.decrypt(total, DELTA, pads=[(PAD, 1)])[0],
        other.decrypt(total, DELTA, pads=[(PAD, 0)])[0],
    ):
        # Uniform below q / delta = 2^23, so that values of at most 1000 hardly occur.
        assert np.count_nonzero(values > 1000) > 0.99 * n


@pytest.mark.parametrize("clients", [1, 4])
def test_noise_has_the_predicted_variance(clients):
    """sigma^2 (4N/3 + 1) for each client: e u, e1 s and e0, with sigma^2 = 10.5 and ternary variance 2/3."""
    n = 4 * N
    total = rlwe.Sum(RING, n)
    zeros = np.zeros(n, np.uint64)
    for client in range(clients):
        total.add(rlwe.encrypt(PUBLIC, zeros, 1, bytes([99 + client]) * 16, 0))
    raw = SECRET.decrypt(total, 1)[0].astype(np.int64)
    noise = np.where(raw > RING.modulus // 2, raw - RING.modulus, raw)
    predicted = 10.5 * (4 * N / 3 + 1) * clients
    # s and e are one draw for the whole test: their own squared lengths spread by some percent.
    assert abs(noise.var() / predicted - 1) < 0.1
    assert abs(noise.mean()) < 5 * math.sqrt(predicted / n)
    values, worst = SECRET.decrypt(total, RING.modulus - 1)
    assert not values.any()
    assert worst == int(np.abs(noise).max())
