"""Ed25519: RFC 8032 on two libraries, plain-integer Edwards arithmetic, refusals."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa
from hypothesis import given
from hypothesis import strategies as st

from secagg import errors
from secagg.hazmat import signing
from secagg.hazmat.signing import SigningKey

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc8032_ed25519.json").read_text())
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def _add(a: Point, b: Point) -> Point:
    """Affine addition on -x^2 + y^2 = 1 + d x^2 y^2; complete, as d is no square."""
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, P) % P
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P) % P
    return x, y


def _times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _decode(y: int, sign: int) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return (P - x if x & 1 != sign else x) % P, y


def _encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def _torsion() -> list[Point]:
    """All points of order dividing 8: L times a point outside the prime-order subgroup generates them."""
    for y in range(2, 100):
        point = _decode(y, 0)
        if point is not None:
            generator = _times(L, point)
            if _times(4, generator) != (0, 1):
                return [_times(i, generator) for i in range(8)]
    raise AssertionError("no point of order 8 found")


def test_small_order_list_is_the_torsion_subgroup() -> None:
    points = _torsion()
    assert {_encode(point) for point in points} == set(signing.SMALL_ORDER)
    assert len(signing.SMALL_ORDER) == 8
    for point in points:
        assert _times(8, point) == (0, 1)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: f"{c['op']}-{c['note']}")
def test_vectors(case: dict) -> None:
    i = {name: bytes.fromhex(value) for name, value in case["input"].items()}

    def run() -> str:
        if case["op"] == "public":
            return SigningKey.from_private_bytes(i["private"]).public_bytes.hex()
        if case["op"] == "sign":
            return SigningKey.from_private_bytes(i["private"]).sign(i["message"]).hex()
        if case["op"] == "check":
            signing.check_public_key(i["public"])
        else:
            signing.verify(i["public"], i["message"], i["signature"])
        return ""

    if not case["success"]:
        with pytest.raises(getattr(errors, case["error"])):
            run()
        return
    assert run() == case["output"]
    if case["op"] == "sign":
        key = ECC.construct(curve="Ed25519", seed=i["private"])
        assert eddsa.new(key, "rfc8032").sign(i["message"]).hex() == case["output"]


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.data())
def test_round_trip_and_any_flipped_bit(seed: bytes, message: bytes, data: st.DataObject) -> None:
    key = SigningKey.from_private_bytes(seed)
    signature = key.sign(message)
    signing.check_public_key(key.public_bytes)
    signing.verify(key.public_bytes, message, signature)
    bit = data.draw(st.integers(0, 511))
    bad = bytearray(signature)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(errors.AuthenticationError):
        signing.verify(key.public_bytes, message, bytes(bad))
    with pytest.raises(errors.AuthenticationError):
        signing.verify(key.public_bytes, message + b"x", signature)


def test_fault_20_small_order_and_non_canonical_keys_are_refused() -> None:
    # R = the identity and S = 0 satisfy the equation for every message under the identity key.
    forged = (1).to_bytes(32, "little") + bytes(32)
    for y in [1, 0, P - 1, *range(P, 2**255)]:
        for sign in (0, 1):
            public = (y | sign << 255).to_bytes(32, "little")
            with pytest.raises(errors.AuthenticationError):
                signing.verify(public, b"any", forged)
            with pytest.raises(errors.AuthenticationError):
                signing.check_public_key(public)


def test_fault_21_s_of_the_group_order_or_more_is_refused() -> None:
    key = SigningKey.generate()
    signature = key.sign(b"m")
    s = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 15):
        with pytest.raises(errors.AuthenticationError, match="canonical"):
            signing.verify(key.public_bytes, b"m", signature[:32] + (s + multiple * L).to_bytes(32, "little"))


@given(st.integers(2, P - 2), st.integers(0, 1))
def test_check_accepts_exactly_the_points(y: int, sign: int) -> None:
    public = (y | sign << 255).to_bytes(32, "little")
    if _decode(y, sign) is None:
        with pytest.raises(errors.AuthenticationError, match="point"):
            signing.check_public_key(public)
    else:
        signing.check_public_key(public)


@pytest.mark.parametrize("bad", [None, "x" * 32, bytearray(32), b"", bytes(33)])
def test_other_types_and_lengths_are_refused(bad: object) -> None:
    key = SigningKey.generate()
    with pytest.raises(errors.AuthenticationError):
        signing.check_public_key(bad)  # type: ignore[arg-type]
    with pytest.raises(errors.AuthenticationError):
        signing.verify(bad, b"m", key.sign(b"m"))  # type: ignore[arg-type]
    with pytest.raises(errors.AuthenticationError):
        signing.verify(key.public_bytes, b"m", bad)  # type: ignore[arg-type]


def test_fault_59_signing_key_cannot_be_pickled_or_copied() -> None:
    key = SigningKey.generate()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(key, protocol)
    for duplicate in (copy.copy, copy.deepcopy, vars):
        with pytest.raises(TypeError):
            duplicate(key)


def test_fault_58_no_private_bytes_in_repr() -> None:
    seed = b"canary-canary-canary-canary-1234"
    key = SigningKey.from_private_bytes(seed)
    for text in (repr(key), str(key), repr((key,))):
        assert "canary" not in text and seed.hex() not in text and seed[:4].hex() not in text
    assert key.private_bytes() == seed
    with pytest.raises(errors.InputError) as caught:
        SigningKey.from_private_bytes(seed + b"x")
    assert "canary" not in repr(caught.value)
