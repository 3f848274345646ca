"""X25519: RFC 7748 and a plain-integer ladder, refusals, and key objects that stay put."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import errors
from secagg.hazmat import agreement
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.guard import KeyObject

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc7748_x25519.json").read_text())
P = 2**255 - 19


def _iterate(private: bytes, peer: bytes, count: int) -> bytes:
    for _ in range(count):
        private, peer = KeyPair.from_private_bytes(private).agree(peer), private
        # The next u-coordinate is a scalar, so its top bit is masked off as RFC 7748 decodes it.
        peer = (int.from_bytes(peer, "little") & (2**255 - 1)).to_bytes(32, "little")
    return private


def _run(op: str, i: dict) -> bytes:
    private = bytes.fromhex(i["private"])
    if op == "public":
        return KeyPair.from_private_bytes(private).public_bytes
    if op == "iterate":
        return _iterate(private, bytes.fromhex(i["peer"]), i["count"])
    return KeyPair.from_private_bytes(private).agree(bytes.fromhex(i["peer"]))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: f"{c['op']}-{c['note']}")
def test_vectors(case: dict) -> None:
    if not case["success"]:
        with pytest.raises(getattr(errors, case["error"])):
            _run(case["op"], case["input"])
        return
    assert _run(case["op"], case["input"]).hex() == case["output"]
    if case["op"] == "agree":
        private, u = (int.from_bytes(bytes.fromhex(case["input"][name]), "little") for name in ("private", "peer"))
        clamped = (private & ~7 & (2**254 - 1)) | 1 << 254
        assert _ladder(clamped, u).to_bytes(32, "little").hex() == case["output"]


def _ladder(scalar: int, u: int) -> int:
    """The Montgomery ladder of RFC 7748 section 5, in plain integers and without clamping."""
    x2, z2, x3, z3 = 1, 0, u, 1
    for bit in reversed(range(scalar.bit_length())):
        swap = scalar >> bit & 1
        if swap:
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if swap:
            x2, x3, z2, z3 = x3, x2, z3, z2
    return x2 * pow(z2, -1, P) % P if z2 else 0


def _roots(b: int, c: int) -> set[int]:
    """The roots of x^2 + b x + c in the field of 2^255 - 19."""
    square = (b * b - 4 * c) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    if root * root % P != square:
        return set()
    half = pow(2, -1, P)
    return {(-b + root) * half % P, (-b - root) * half % P}


def test_low_order_list_is_all_there_is() -> None:
    # Doubling is u -> (u^2 - 1)^2 / (4u (u^2 + A u + 1)). Order 2: the denominator is zero. Order 4: the
    # double is 0, so u is 1 or -1. Order 8: the double is s = 1 or -1, which in v = u + 1/u reads v^2 - 4 s v
    # - 4 - 4 s A = 0.
    a = 486662
    found = {0, *_roots(a, 1), 1, P - 1}
    for s in (1, -1):
        for v in _roots(-4 * s, -4 - 4 * s * a):
            found |= _roots(-v, 1)
    assert found == set(agreement.LOW_ORDER) and len(agreement.LOW_ORDER) == 5
    assert all(_ladder(8, u) == 0 for u in found)
    assert _ladder(8, 9) != 0


def test_fault_19_small_order_point_is_refused() -> None:
    pair = KeyPair.generate()
    for u in agreement.LOW_ORDER:
        with pytest.raises(errors.AuthenticationError, match="low order"):
            pair.agree(u.to_bytes(32, "little"))


def test_zero_output_is_refused_even_if_the_list_were_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "LOW_ORDER", ())
    pair = KeyPair.generate()
    for u in (0, 1, P - 1):
        with pytest.raises(errors.AuthenticationError, match="zero"):
            pair.agree(u.to_bytes(32, "little"))


def test_fault_22_own_key_reflected_is_refused_in_every_encoding() -> None:
    pair = KeyPair.generate()
    u = int.from_bytes(pair.public_bytes, "little")
    for value in (u, u | 1 << 255):
        with pytest.raises(errors.AuthenticationError):
            pair.agree(value.to_bytes(32, "little"))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_both_sides_agree(a: bytes, b: bytes) -> None:
    one, two = KeyPair.from_private_bytes(a), KeyPair.from_private_bytes(b)
    if one.public_bytes == two.public_bytes:
        with pytest.raises(errors.AuthenticationError):
            one.agree(two.public_bytes)
        return
    assert one.agree(two.public_bytes) == two.agree(one.public_bytes)
    assert one.private_bytes() == a


def test_entropy_is_what_makes_the_key() -> None:
    assert KeyPair.generate(lambda n: b"\7" * n).private_bytes() == b"\7" * 32
    assert KeyPair.generate().public_bytes != KeyPair.generate().public_bytes
    for source in (lambda n: b"", lambda n: bytes(n + 1), bytearray):
        with pytest.raises(errors.InputError, match="entropy"):
            KeyPair.generate(source)


@pytest.mark.parametrize("peer", [None, "x" * 32, bytearray(32), 9])
def test_peer_of_another_type_is_refused(peer: object) -> None:
    with pytest.raises(errors.AuthenticationError):
        KeyPair.generate().agree(peer)  # type: ignore[arg-type]


def test_fault_59_key_pair_cannot_be_pickled_or_copied() -> None:
    pair = KeyPair.generate()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(pair, protocol)
    for duplicate in (copy.copy, copy.deepcopy, lambda x: x.__reduce__(), vars):
        with pytest.raises(TypeError):
            duplicate(pair)


def test_fault_58_no_private_bytes_in_repr() -> None:
    private = b"canary-canary-canary-canary-1234"
    pair = KeyPair.from_private_bytes(private)
    for text in (repr(pair), str(pair), f"{pair}", repr([pair])):
        assert "canary" not in text and private.hex() not in text and private[:4].hex() not in text
    assert repr(pair).startswith("<KeyPair ")
    with pytest.raises(errors.InputError) as caught:
        KeyPair.from_private_bytes(private[:-1])
    assert "canary" not in repr(caught.value)


def test_key_object_without_a_public_part_shows_nothing() -> None:
    with pytest.raises(TypeError, match="public part"):
        repr(KeyObject())
