"""The binding on every implementation of the C module, against pycryptodome, numpy and plain integers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from Crypto.Cipher import AES

from secagg.errors import InputError, ParameterError

native = pytest.importorskip("secagg._kernels.native", reason="no C module was built", exc_type=ImportError)

P = 2**61 - 1
WIDTHS = (1, 7, 8, 15, 16, 17, 23, 32, 33, 48, 63, 64)


@pytest.fixture(params=native.available())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    former = native.selected()
    native.select(request.param)
    yield request.param
    native.select(former)


def _stream(key: bytes, stream_id: int, block: int, nbytes: int) -> bytes:
    cipher = AES.new(key, AES.MODE_CTR, nonce=stream_id.to_bytes(8, "big"), initial_value=block)
    return cipher.encrypt(bytes(nbytes))


def _lane(w: int) -> np.dtype[Any]:
    return np.dtype(np.uint16 if w <= 16 else np.uint32 if w <= 32 else np.uint64)


def _random_lanes(rng: np.random.Generator, w: int, count: int) -> np.ndarray[Any, Any]:
    return rng.integers(0, 2**w - 1, count, dtype=np.uint64, endpoint=True).astype(_lane(w))


def test_select_refuses_unknown_names() -> None:
    before = native.selected()
    with pytest.raises(ParameterError, match="no native implementation"):
        native.select("nonesuch")
    assert native.selected() == before
    assert native.available()[-1] == "portable"
    assert native.compiler()


def test_aes_rounds_run_on_every_implementation(isa: str) -> None:
    native.aes_rounds(1 << 16)
    native.aes_rounds(0)


def test_sp800_38a_ctr(isa: str) -> None:
    """NIST SP 800-38A, F.5.1: plaintext xor keystream is the ciphertext."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    plaintext = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    ciphertext = bytes.fromhex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff")
    stream = native.keystream(key, 0xF0F1F2F3F4F5F6F7, 0xF8F9FAFBFCFDFEFF, 32)
    assert bytes(a ^ b for a, b in zip(plaintext, stream, strict=True)) == ciphertext


@pytest.mark.parametrize("w", WIDTHS)
def test_mask_any_start_and_length(isa: str, w: int) -> None:
    rng = np.random.default_rng(w)
    dtype = _lane(w)
    per_block = 16 // dtype.itemsize
    for count in (0, 1, 3, 31, 33, 255, 256, 300, 1037):
        for start in (0, 1, 7, 100_001, 2**33 + 1):
            keys = rng.integers(0, 256, (int(rng.integers(0, 5)), 16), dtype=np.uint8)
            signs = rng.choice(np.array([-1, 1], np.int8), len(keys))
            acc = _random_lanes(rng, w, count)
            expected = acc.copy()
            block, skip = divmod(start, per_block)
            for key, sign in zip(keys, signs, strict=True):
                stream = _stream(key.tobytes(), 77, block, (skip + count) * dtype.itemsize)
                words = np.frombuffer(stream, dtype)[skip:]
                expected = expected + words if sign > 0 else expected - words
            native.mask_apply(acc, keys, signs, 77, start, w)
            np.testing.assert_array_equal(acc, expected & dtype.type(2**w - 1))


@pytest.mark.parametrize("bits", [1, 8, 16, 24, 32])
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_encode_is_the_float64_formula(isa: str, bits: int, real: type) -> None:
    rng = np.random.default_rng(bits)
    clip, start, weight, levels = 0.37, 5, 1001, 2.0**bits - 1
    for count in (1, 7, 8, 9, 1024, 3001):
        x = rng.normal(0, clip, count).astype(real)
        edges = x[:: max(1, count // 3)]
        edges[:] = np.resize(np.array([clip, -0.0, -clip], real), len(edges))
        wide = x.astype(np.float64)
        v = np.clip(wide, -clip, clip)
        s = np.clip((v + clip) * (levels / (2 * clip)), 0, levels)
        f = np.floor(s)
        key = rng.bytes(16)
        words = np.frombuffer(_stream(key, 3, 0, 4 * (start + count)), np.uint32)[start:]
        nearest = np.minimum(np.floor(s + 0.5), levels).astype(np.uint64)
        stochastic = f.astype(np.uint64) + (words < ((s - f) * 2.0**32).astype(np.uint64))
        for used, q in ((None, nearest), (key, stochastic)):
            out = np.empty(count, _lane(bits))
            assert native.fixed_point_encode(x, clip, bits, out, used, 3, start, weight) == np.sum(v != wide)
            np.testing.assert_array_equal(out, (q * np.uint64(weight)).astype(out.dtype))
            for bad in (np.nan, np.inf, -np.inf):
                spoilt = x.copy()
                spoilt[-1] = bad
                with pytest.raises(InputError, match="NaN"):
                    native.fixed_point_encode(spoilt, clip, bits, out, used, 3, start, weight)


@pytest.mark.parametrize("w", range(1, 65))
def test_packing_is_one_long_integer(w: int) -> None:
    rng = np.random.default_rng(w)
    for count in (0, 1, 2, 5, 8, 17, 64, 1001):
        values, acc = _random_lanes(rng, w, count), _random_lanes(rng, w, count)
        packed = sum(int(v) << (i * w) for i, v in enumerate(values)).to_bytes((count * w + 7) // 8, "little")
        assert native.pack(values, w) == packed
        np.testing.assert_array_equal(native.unpack(packed, w, count), values)
        total, added = (acc + values) & values.dtype.type(2**w - 1), acc.copy()
        native.unpack_add(added, memoryview(packed), w)
        np.testing.assert_array_equal(added, total)
        native.add_mod(acc, values, w)
        np.testing.assert_array_equal(acc, total)
        if count and w < 8 * values.itemsize:
            values[count // 2] = 1 << w
            with pytest.raises(InputError, match="does not fit"):
                native.pack(values, w)
        if count * w % 8:
            spoilt = packed[:-1] + bytes([packed[-1] | 0x80])
            with pytest.raises(InputError, match="padding"):
                native.unpack_add(added, spoilt, w)
            np.testing.assert_array_equal(added, total)


@pytest.mark.parametrize("largest", [P - 1, 2**31 - 1, 2**31])
@pytest.mark.parametrize(("n", "t", "m"), [(1, 1, 1), (3, 2, 1), (7, 5, 5), (33, 20, 3), (100, 9, 2)])
def test_shamir_against_integers(isa: str, n: int, t: int, m: int, largest: int) -> None:
    rng = np.random.default_rng(n)
    secrets, coeffs = rng.integers(0, P, m, dtype=np.uint64), rng.integers(0, P, (t - 1, m), dtype=np.uint64)
    xs = rng.integers(1, largest, n, dtype=np.uint64)
    secrets[0], xs[0], coeffs[:1] = P - 1, largest, P - 1
    shares = native.shamir_split(secrets, coeffs, xs)
    for i, j in np.ndindex(n, m):
        polynomial = [int(secrets[j]), *(int(c[j]) for c in coeffs)]
        assert int(shares[i, j]) == sum(c * pow(int(xs[i]), d, P) for d, c in enumerate(polynomial)) % P
    weights = native.shamir_weights(xs[:t].copy())
    np.testing.assert_array_equal(native.shamir_combine(weights, shares[:t].copy()), secrets)
    shares[0, 0] = P
    with pytest.raises(InputError, match="canonical"):
        native.shamir_combine(weights, shares[:t].copy())
    for bad in ([0], [5, 5], [P]):
        with pytest.raises(InputError, match="canonical"):
            native.shamir_weights(np.array(bad, np.uint64))
