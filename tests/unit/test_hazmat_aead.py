"""AES-256-GCM boxes and GMAC: NIST CAVP on two libraries, tampering, nonces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from secagg import errors
from secagg.hazmat import aead

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "aes_gcm_256.json").read_text())
KEY = bytes(range(32))


def _run(op: str, i: dict[str, bytes]) -> bytes:
    if op == "seal":
        sealed = aead.seal(i["key"], i["plaintext"], i["aad"], lambda _: i["nonce"])
        assert sealed[:12] == i["nonce"]
        return sealed[12:]
    if op == "open":
        return aead.open_(i["key"], i["nonce"] + i["sealed"], i["aad"])
    if op == "gmac":
        return aead.gmac(i["key"], i["nonce"], i["data"])
    assert op == "gmac_verify"
    aead.gmac_verify(i["key"], i["nonce"], i["data"], i["tag"])
    return b""


def _second_opinion(op: str, i: dict[str, bytes]) -> bytes:
    cipher = AES.new(i["key"], AES.MODE_GCM, nonce=i["nonce"])
    if op == "seal":
        cipher.update(i["aad"])
        return b"".join(cipher.encrypt_and_digest(i["plaintext"]))
    if op == "open":
        cipher.update(i["aad"])
        return cipher.decrypt_and_verify(i["sealed"][:-16], i["sealed"][-16:])
    cipher.update(i["data"])
    if op == "gmac":
        return cipher.digest()
    cipher.verify(i["tag"])
    return b""


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: f"{c['op']}-{c['note']}")
def test_vectors(case: dict) -> None:
    inputs = {name: bytes.fromhex(value) for name, value in case["input"].items()}
    if not case["success"]:
        with pytest.raises(getattr(errors, case["error"])):
            _run(case["op"], inputs)
        return
    assert _run(case["op"], inputs).hex() == case["output"]
    assert _second_opinion(case["op"], inputs).hex() == case["output"]


@given(st.binary(max_size=200), st.binary(max_size=50), st.data())
def test_round_trip_and_any_flipped_bit(plaintext: bytes, aad: bytes, data: st.DataObject) -> None:
    sealed = aead.seal(KEY, plaintext, aad)
    assert len(sealed) == len(plaintext) + aead.OVERHEAD_BYTES
    assert aead.open_(KEY, sealed, aad) == plaintext
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    bad = bytearray(sealed)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(errors.AuthenticationError):
        aead.open_(KEY, bytes(bad), aad)
    with pytest.raises(errors.AuthenticationError):
        aead.open_(KEY, sealed, aad + b"x")


def test_fault_23_a_nonce_cannot_be_chosen_and_does_not_repeat() -> None:
    nonces = {aead.seal(KEY, b"", b"")[: aead.NONCE_BYTES] for _ in range(2000)}
    assert len(nonces) == 2000


def test_a_short_entropy_source_is_refused() -> None:
    with pytest.raises(errors.InputError, match="entropy"):
        aead.seal(KEY, b"x", b"", lambda n: bytes(n - 1))


@pytest.mark.parametrize("size", range(aead.OVERHEAD_BYTES))
def test_too_short_to_be_sealed(size: int) -> None:
    with pytest.raises(errors.AuthenticationError):
        aead.open_(KEY, bytes(size), b"")


def test_gmac_takes_any_buffer_without_copy() -> None:
    nonce, data = bytes(12), b"0123456789abcdef" * 10
    tag = aead.gmac(KEY, nonce, data)
    for view in (bytearray(data), memoryview(data), memoryview(data).cast("Q")):
        assert aead.gmac(KEY, nonce, view) == tag
        aead.gmac_verify(KEY, nonce, view, tag)
    for bad in (memoryview(data)[::2], "text", 3):
        with pytest.raises(errors.InputError):
            aead.gmac(KEY, nonce, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["text", bytearray(40), None])
def test_boxes_take_bytes_only(bad: object) -> None:
    for call in (
        lambda: aead.seal(KEY, bad, b""),
        lambda: aead.seal(KEY, b"", bad),
        lambda: aead.open_(KEY, bad, b""),
    ):
        with pytest.raises(errors.InputError):
            call()


def test_size_limit_is_checked_before_the_cipher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aead, "_LIMIT", 100)
    for call in (
        lambda: aead.seal(KEY, bytes(101), b""),
        lambda: aead.open_(KEY, bytes(40), bytes(101)),
        lambda: aead.gmac(KEY, bytes(12), bytes(101)),
    ):
        with pytest.raises(errors.InputError, match="over the limit of 100"):
            call()


def test_errors_show_no_plaintext_or_key() -> None:
    secret = b"canary-plaintext"
    sealed = aead.seal(KEY, secret, b"aad")
    with pytest.raises(errors.AuthenticationError) as caught:
        aead.open_(KEY, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"aad")
    with pytest.raises(errors.InputError) as also:
        aead.seal(KEY[:31], secret, b"aad")
    for error in (caught.value, also.value):
        text = repr(error) + str(error)
        assert "canary" not in text and KEY[:8].hex() not in text and repr(KEY[:8])[2:-1] not in text
