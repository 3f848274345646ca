"""The kernels, each against its peer or its bound; three are marks: mask_vs_bound, mask_vs_cryptography, shamir_vs_pycryptodome.

A ratio is the peer's time over ours. For `mask_vs_bound` the peer is the AES rounds alone, so that the ratio is the share of the
hardware's bound that is reached, at most about 1.
"""

from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from Crypto.Protocol.SecretSharing import Shamir as PyShamir
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg import _kernels
from secagg._kernels import lane_dtype
from secagg.hazmat import shamir

if TYPE_CHECKING:
    from conftest import Paired

KEYS = 100
STREAM = 1
KEY = bytes(range(16))
WIDTHS = [16, 23, 32, 64]
NATIVE = _kernels.build_info()["backend"] == "native"


@pytest.fixture
def length(benchmark: Any) -> int:
    """Values in a vector; few in an ordinary test run, which checks the same code untimed."""
    return 5000 if benchmark.disabled else 1_000_000


def masks(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and signs."""
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 16), dtype=np.uint8), rng.choice(np.array([-1, 1], dtype=np.int8), count)


def lanes(w: int, count: int) -> np.ndarray:
    """Return random values of w bits."""
    return np.random.default_rng(w).integers(0, (1 << w) - 1, count, dtype=lane_dtype(w), endpoint=True)


def updates(count: int) -> np.ndarray:
    """Return an update, a few of whose values are beyond a clip of 1."""
    return np.random.default_rng(0).normal(0, 0.4, count).astype(np.float32)


def with_cryptography(
    acc: np.ndarray, keys: np.ndarray, signs: np.ndarray, w: int, zeros: bytes, buffer: bytearray
) -> None:
    """Do what `mask_apply` does from value 0 on, with a buffer of the caller's so that only the work is timed."""
    stream = np.frombuffer(buffer, dtype=acc.dtype, count=len(acc))
    for key, sign in zip(keys, signs, strict=True):
        counter = STREAM.to_bytes(8, "big") + bytes(8)
        Cipher(algorithms.AES(key.tobytes()), modes.CTR(counter)).encryptor().update_into(zeros, buffer)
        if sign > 0:
            np.add(acc, stream, out=acc)
        else:
            np.subtract(acc, stream, out=acc)
    if w < 8 * acc.itemsize:
        np.bitwise_and(acc, (1 << w) - 1, out=acc)


@pytest.mark.parametrize("w", WIDTHS)
def test_mask_vs_cryptography(w: int, length: int, paired: Paired) -> None:
    """One pass over the vector for all keys, against the keystream and an addition for each."""
    keys, signs = masks(KEYS)
    ours, theirs = np.zeros(length, lane_dtype(w)), np.zeros(length, lane_dtype(w))
    zeros, buffer = bytes(ours.nbytes), bytearray(ours.nbytes + 15)
    paired(
        lambda: _kernels.mask_apply(ours, keys, signs, STREAM, 0, w),
        lambda: with_cryptography(theirs, keys, signs, w, zeros, buffer),
        # Each has run once; from here on they part, which changes no time.
        equal=lambda: np.array_equal(ours, theirs),
        nbytes=KEYS * ours.nbytes,
        about=f"mask_vs_cryptography: {KEYS} keys, {length} x {w} bits, cryptography {metadata.version('cryptography')}",
    )


@pytest.mark.skipif(not NATIVE, reason="the bound is a loop of the C module")
@pytest.mark.parametrize("w", WIDTHS)
def test_mask_vs_bound(w: int, length: int, paired: Paired) -> None:
    """Masks, against the AES rounds they consist of, in registers of the same width."""
    from secagg._kernels import native

    keys, signs = masks(KEYS)
    acc = np.zeros(length, lane_dtype(w))
    paired(
        lambda: _kernels.mask_apply(acc, keys, signs, STREAM, 0, w),
        lambda: native.aes_rounds(KEYS * acc.nbytes),
        equal=lambda: True,  # a bound has no output
        nbytes=KEYS * acc.nbytes,
        about=f"mask_vs_bound: {KEYS} keys, {length} x {w} bits",
    )


def encoded_by_numpy(x: np.ndarray, out: np.ndarray, bits: int, words: np.ndarray | None) -> None:
    """Write the formula of docs/encoding.md for clip 1."""
    levels = float((1 << bits) - 1)
    s = np.clip(x.astype(np.float64), -1.0, 1.0)
    s += 1.0
    s *= levels / 2.0
    np.minimum(s, levels, out=s)
    if words is None:
        out[:] = np.minimum(np.floor(s + 0.5), levels)
        return
    low = np.floor(s)
    s -= low
    s *= 2.0**32
    out[:] = low
    out += words < s.astype(np.uint64)


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_encode(rounding: str, length: int, paired: Paired) -> None:
    """Encoding, against numpy; both draw the rounding words."""
    x, bits = updates(length), 16
    key = KEY if rounding == "stochastic" else None
    ours, theirs = np.empty(length, np.uint32), np.empty(length, np.uint32)

    def peer() -> None:
        words = None if key is None else np.frombuffer(_kernels.keystream(key, STREAM, 0, 4 * length), np.uint32)
        encoded_by_numpy(x, theirs, bits, words)

    paired(
        lambda: _kernels.fixed_point_encode(x, 1.0, bits, ours, key, STREAM, 0, 1),
        peer,
        equal=lambda: np.array_equal(ours, theirs),
        nbytes=x.nbytes,
        about=f"encode, {rounding}: {length} float32, {bits} bits, against numpy",
    )


def test_decode(length: int, paired: Paired) -> None:
    """Decoding, against numpy."""
    sums = lanes(40, length)
    results: dict[str, np.ndarray] = {}

    def ours() -> None:
        results["ours"] = _kernels.fixed_point_decode(sums, 100, 1.0, 16)

    def peer() -> None:
        values = sums.astype(np.float64)
        values *= 2.0 / 65535
        values -= 100.0
        results["theirs"] = values

    paired(
        ours,
        peer,
        equal=lambda: np.array_equal(results["ours"], results["theirs"]),
        nbytes=sums.nbytes,
        about=f"decode: {length} sums, against numpy",
    )


PORTABLE = _kernels.backends()["portable" if NATIVE else "fallback"]


@pytest.mark.parametrize("w", [12, 23, 31, 40])
def test_pack(w: int, length: int, paired: Paired) -> None:
    """Packing, against plain C."""
    values = lanes(w, length)
    paired(
        lambda: _kernels.pack(values, w),
        lambda: PORTABLE.pack(values, w),
        equal=lambda: _kernels.pack(values, w) == PORTABLE.pack(values, w),
        nbytes=values.nbytes,
        about=f"pack: {length} x {w} bits, against plain C",
    )


@pytest.mark.parametrize("w", [12, 23, 31, 40])
def test_unpack_add(w: int, length: int, paired: Paired) -> None:
    """Unpacking onto a sum, against plain C."""
    packed = _kernels.pack(lanes(w, length), w)
    ours, theirs = np.zeros(length, lane_dtype(w)), np.zeros(length, lane_dtype(w))
    paired(
        lambda: _kernels.unpack_add(ours, packed, w),
        lambda: PORTABLE.unpack_add(theirs, packed, w),
        equal=lambda: np.array_equal(ours, theirs),
        nbytes=ours.nbytes,
        about=f"unpack_add: {length} x {w} bits, against plain C",
    )


@pytest.mark.parametrize("w", [16, 23, 40])
def test_unpack_add_many(w: int, length: int, paired: Paired) -> None:
    """Eight uploads in one pass over the sum, against eight passes."""
    bufs = [_kernels.pack(np.roll(lanes(w, length), i), w) for i in range(8)]
    ours, theirs = np.zeros(length, lane_dtype(w)), np.zeros(length, lane_dtype(w))

    def peer() -> None:
        for buf in bufs:
            _kernels.unpack_add(theirs, buf, w)

    paired(
        lambda: _kernels.unpack_add_many(ours, bufs, w),
        peer,
        equal=lambda: np.array_equal(ours, theirs),
        nbytes=8 * ours.nbytes,
        about=f"unpack_add_many: 8 uploads, {length} x {w} bits, against 8 calls",
    )


@pytest.mark.parametrize("count", [1, KEYS])
@pytest.mark.parametrize("w", [16, 23])
def test_protect_fixed(w: int, count: int, length: int, paired: Paired) -> None:
    """A whole upload into a buffer in one call, against encoding, masking and packing one after the other."""
    x, bits = updates(length), 16
    keys, signs = masks(count)
    out, vector, packed = bytearray((length * w + 7) // 8), np.empty(length, lane_dtype(w)), [b""]

    def peer() -> None:
        _kernels.fixed_point_encode(x, 1.0, bits, vector, KEY, STREAM, 0, 1)
        _kernels.mask_apply(vector, keys, signs, STREAM, 0, w)
        packed[0] = _kernels.pack(vector, w)

    paired(
        lambda: _kernels.protect_fixed_into(x, 1.0, bits, 1, KEY, keys, signs, STREAM, 0, w, out),
        peer,
        equal=lambda: out == packed[0],
        nbytes=count * vector.nbytes,
        about=f"protect_fixed: {count} keys, {length} x {w} bits, against three calls",
    )


def test_shamir_vs_pycryptodome(paired: Paired) -> None:
    """67 of 100, a secret of 32 bytes, split and rebuilt; pycryptodome shares 16 bytes at a time, so twice."""
    secret, xs, t = os.urandom(32), range(1, 101), 67
    got: dict[str, bytes] = {}

    def ours() -> None:
        shamir._weights.cache_clear()  # noqa: SLF001  # a rebuild from holders not seen before
        shares = shamir.split(secret, t, xs)
        got["ours"] = shamir.combine(dict(zip(xs[:t], shares, strict=False)), t, 32)

    def peer() -> None:
        halves = [PyShamir.split(t, 100, secret[at : at + 16]) for at in (0, 16)]
        got["theirs"] = b"".join(PyShamir.combine(half[:t]) for half in halves)

    paired(
        ours,
        peer,
        equal=lambda: got["ours"] == got["theirs"] == secret,
        nbytes=len(secret),
        about=f"shamir_vs_pycryptodome: {t} of 100, 32 bytes, pycryptodome {metadata.version('pycryptodome')}",
    )
