"""HKDF-SHA256: RFC 5869, HMAC of the standard library, and the injective context."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

import pytest
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from hypothesis import given
from hypothesis import strategies as st

from secagg import errors
from secagg.hazmat import kdf

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc5869_hkdf.json").read_text())


def plain_hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 section 2, from the standard library's HMAC."""
    key = hmac.digest(salt or bytes(32), ikm, "sha256")
    out = block = b""
    counter = 1
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
        counter += 1
    return out[:length]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: c["note"])
def test_vectors(case: dict) -> None:
    given_ = case["input"]
    ikm, salt, info = (bytes.fromhex(given_[name]) for name in ("ikm", "salt", "info"))
    if not case["success"]:
        with pytest.raises(getattr(errors, case["error"])):
            kdf.hkdf_sha256(ikm, salt=salt, info=info, length=given_["length"])
        return
    assert kdf.hkdf_sha256(ikm, salt=salt, info=info, length=given_["length"]).hex() == case["output"]
    assert plain_hkdf(ikm, salt, info, given_["length"]).hex() == case["output"]
    assert HKDF(ikm, given_["length"], salt, SHA256, context=info).hex() == case["output"]


@given(st.binary(min_size=1, max_size=64), st.lists(st.binary(max_size=40), max_size=4), st.integers(1, 200))
def test_hkdf_binds_the_fields(ikm: bytes, fields: list[bytes], length: int) -> None:
    info = b"".join(len(part).to_bytes(4, "big") + part for part in (b"secagg/v1/label", *fields))
    assert kdf.hkdf(ikm, "label", *fields, length=length, salt=b"s") == plain_hkdf(ikm, b"s", info, length)


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_info_is_injective(a: list[bytes], b: list[bytes]) -> None:
    assert (kdf.encode_info("x", *a) == kdf.encode_info("x", *b)) == (a == b)


def test_label_and_field_cannot_trade_places() -> None:
    assert kdf.encode_info("ab", b"c") != kdf.encode_info("a", b"bc")
    assert kdf.encode_info("a") != kdf.encode_info("a", b"")


def test_longest_output_is_allowed() -> None:
    assert len(kdf.hkdf(b"k", "label", length=kdf.MAX_BYTES)) == kdf.MAX_BYTES


@pytest.mark.parametrize("label, field", [("", b""), ("x", "text"), ("x", bytearray(b"y")), ("x", 3)])
def test_bad_context_is_refused(label: str, field: object) -> None:
    with pytest.raises(errors.InputError):
        kdf.hkdf(b"k", label, field, length=16)  # type: ignore[arg-type]
