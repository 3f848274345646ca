"""What the operations of the shipped vectors mean: from a case's input to its output, through the public layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from secagg import _kernels
from secagg.cli.vectors import hint_cases, oneshot_cases
from secagg.encoding import FixedPoint
from secagg.hazmat import aead, kdf, prg, rlwe, shamir, signing
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.ring import Ring, modulus
from secagg.hazmat.transcript import digest

__all__ = ["OPERATIONS"]

Given: TypeAlias = Mapping[str, Any]
Operation: TypeAlias = Callable[[Given], Any]
DEGREE = 1024  # of the rings in ring.json


def _raw(text: str | None) -> bytes:
    return bytes.fromhex(text or "")


# -- aes_gcm_256, rfc5869_hkdf, rfc7748_x25519, rfc8032_ed25519, sp800_185_tuplehash, sp800_38a_ctr_aes128 ------------


def _seal(given: Given) -> str:
    nonce = _raw(given["nonce"])
    made = aead.seal(_raw(given["key"]), _raw(given["plaintext"]), _raw(given["aad"]), lambda _: nonce)
    return made[len(nonce) :].hex()


def _open(given: Given) -> str:
    return aead.open_(_raw(given["key"]), _raw(given["nonce"]) + _raw(given["sealed"]), _raw(given["aad"])).hex()


def _gmac_verify(given: Given) -> str:
    aead.gmac_verify(*(_raw(given[name]) for name in ("key", "nonce", "data", "tag")))
    return ""


def _hkdf(given: Given) -> str:
    ikm, salt, info = (_raw(given[name]) for name in ("ikm", "salt", "info"))
    return kdf.hkdf_sha256(ikm, salt=salt, info=info, length=given["length"]).hex()


def _agree(given: Given) -> str:
    return KeyPair.from_private_bytes(_raw(given["private"])).agree(_raw(given["peer"])).hex()


def _iterate(given: Given) -> str:
    private, peer = _raw(given["private"]), _raw(given["peer"])
    for _ in range(given["count"]):
        private, peer = KeyPair.from_private_bytes(private).agree(peer), private
        # The next u-coordinate is a scalar: its top bit is masked off as RFC 7748 decodes it.
        peer = peer[:-1] + bytes([peer[-1] & 0x7F])
    return private.hex()


def _check(given: Given) -> str:
    signing.check_public_key(_raw(given["public"]))
    return ""


def _verify(given: Given) -> str:
    signing.verify(*(_raw(given[name]) for name in ("public", "message", "signature")))
    return ""


def _tuplehash(given: Given) -> str:
    from Crypto.Hash import TupleHash256  # the digest of the package has a prefix and a length of its own

    made = TupleHash256.new(digest_bytes=given["length"], custom=given["custom"].encode())
    return str(made.update(*(_raw(field) for field in given["fields"])).hexdigest())


def _keystream(given: Given) -> str:
    place = _raw(given["key"]), int(given["stream_id"], 16), int(given["start_block"], 16)
    if "plaintext" not in given:
        return _kernels.keystream(*place, given["nbytes"]).hex()
    plaintext = _raw(given["plaintext"])
    stream = _kernels.keystream(*place, len(plaintext))
    return bytes(a ^ b for a, b in zip(plaintext, stream, strict=True)).hex()


# -- kernels ----------------------------------------------------------------------------------------------------------


def _encode(given: Given) -> list[int]:
    key = given["key"]
    encoding = FixedPoint(clip=given["clip"], bits=given["bits"], rounding="nearest" if key is None else "stochastic")
    values = np.array([float(value) for value in given["values"]])
    at = {"stream_id": given["stream_id"], "start": given["start"]}
    encoded, _ = encoding.encode(values, weight=1, w=given["bits"], key=None if key is None else _raw(key), **at)
    return [int(value) for value in encoded]


def _mean(given: Given) -> list[float]:
    encoding = FixedPoint(clip=given["clip"], bits=given["bits"])
    sums = encoding.decode_sum(np.array(given["sums"], dtype=np.uint64), given["total_weight"])
    return [float(value) for value in sums / float(given["total_weight"])]


def _masks(given: Given) -> str:
    lanes = np.zeros(given["count"], dtype=_kernels.lane_dtype(given["w"]))
    keys = [_raw(key) for key in given["keys"]]
    prg.apply_masks(lanes, keys, given["signs"], given["stream_id"], given["start"], given["w"])
    return _kernels.pack(lanes, given["w"]).hex()


def _unpack(given: Given) -> list[str]:
    return [str(value) for value in _kernels.unpack(_raw(given["data"]), given["w"], given["count"])]


def _split(given: Given) -> list[str]:
    key, used = _raw(given["entropy"]), 0

    def entropy(length: int) -> bytes:
        nonlocal used
        used += length
        return prg.expand(key, 0, length, start=used - length)

    return [share.hex() for share in shamir.split(_raw(given["secret"]), given["threshold"], given["xs"], entropy)]


def _combine(given: Given) -> str:
    shares = {int(x): _raw(share) for x, share in given["shares"].items()}
    return shamir.combine(shares, given["threshold"], given["nbytes"]).hex()


# -- ring -------------------------------------------------------------------------------------------------------------


def _message(given: Given) -> Any:
    if "values" in given:
        return np.array(given["values"], dtype=np.uint64)
    return np.array([i * i % 1009 for i in range(given["n"])], dtype=np.uint64)


def _residues(residues: Any, ring: Ring) -> dict[str, Any]:
    flat, bits = residues.reshape(-1), ring.modulus.bit_length()
    packed = _kernels.pack(flat.astype(_kernels.lane_dtype(bits)), bits)
    return {"sha256": hashlib.sha256(packed).hexdigest(), "first": [int(value) for value in flat[:4]]}


def _payload(made: bytes | bytearray) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(made).hexdigest(), "bytes": len(made)}


def _sample(distribution: str) -> Operation:
    def run(given: Given) -> Any:
        ring = Ring(DEGREE, given["modulus"])
        made = getattr(ring, distribution)(_raw(given["key"]), given["stream_id"], given["index"], 1)
        return _residues(made, ring)

    return run


def _product(given: Given) -> Any:
    ring = Ring(DEGREE, given["modulus"])
    a, b = (ring.uniform(_raw(given["key"]), stream, 0, 1) for stream in given["streams"])
    out = np.zeros_like(a)
    ring.forward(a)
    ring.forward(b)
    ring.multiply_add(out, a, b)
    ring.inverse(out)
    return _residues(out, ring)


def _transform(given: Given) -> Any:
    ring = Ring(DEGREE, given["modulus"])
    a = ring.uniform(_raw(given["key"]), given["stream_id"], 0, 1)
    ring.forward(a)
    return _residues(a, ring)


def _secret(given: Given) -> rlwe.SecretKey:
    return rlwe.SecretKey(Ring(DEGREE, given["modulus"]), _raw(given["seed"]))


def _encrypt(given: Given) -> Any:
    pad = _raw(given["pad"]) if "pad" in given else None
    return _payload(
        rlwe.encrypt(
            _secret(given).public_key(), _message(given), given["delta"], _raw(given["key"]), given["first"], pad=pad
        )
    )


def _encrypt_seeded(given: Given) -> Any:
    seed = _raw(given["seed_a"])
    return _payload(
        _secret(given).encrypt_seeded(_message(given), given["delta"], _raw(given["key"]), given["first"], seed)
    )


def _decrypt(given: Given) -> Any:
    secret, values = _secret(given), _message(given)
    total = rlwe.Sum(secret.ring, len(values))
    total.add(rlwe.encrypt(secret.public_key(), values, given["delta"], _raw(given["key"]), given["first"]))
    opened, worst = secret.decrypt(total, given["delta"])
    return _residues(opened, secret.ring) | {"worst": worst}


def _add(given: Given) -> Any:
    total = rlwe.Sum(Ring(DEGREE, given["modulus"]), given["n"])
    total.add(_raw(given["payload"]))
    return {"c0": [int(value) for value in total.c0]}


OPERATIONS: dict[str, dict[str, Operation]] = {
    "aes_gcm_256": {
        "seal": _seal, "open": _open, "gmac_verify": _gmac_verify,
        "gmac": lambda given: aead.gmac(*(_raw(given[name]) for name in ("key", "nonce", "data"))).hex(),
    },
    "hint": dict(hint_cases.OPERATIONS),
    "kernels": {
        "encode": _encode, "mean": _mean, "masks": _masks, "unpack": _unpack, "split": _split, "combine": _combine,
    },
    "oneshot": dict(oneshot_cases.OPERATIONS),
    "rfc5869_hkdf": {"hkdf_sha256": _hkdf},
    "rfc7748_x25519": {
        "agree": _agree, "iterate": _iterate,
        "public": lambda given: KeyPair.from_private_bytes(_raw(given["private"])).public_bytes.hex(),
    },
    "rfc8032_ed25519": {
        "public": lambda given: signing.SigningKey.from_private_bytes(_raw(given["private"])).public_bytes.hex(),
        "sign": lambda given: signing.SigningKey.from_private_bytes(_raw(given["private"])).sign(_raw(given["message"])).hex(),
        "verify": _verify, "check": _check,
    },
    "ring": {
        "uniform": _sample("uniform"), "ternary": _sample("ternary"), "binomial": _sample("binomial"), "product": _product,
        "transform": _transform, "encrypt": _encrypt, "encrypt_seeded": _encrypt_seeded, "decrypt": _decrypt, "add": _add,
        "root": lambda given: Ring(DEGREE, given["modulus"]).plan.root,
        "public_key": lambda given: _payload(_secret(given).public_key().to_bytes()),
        "public_key_bytes": lambda given: rlwe.PublicKey.from_bytes(Ring(DEGREE, given["modulus"]), _raw(given["data"])),
        "modulus": lambda given: modulus(given["bits"]),
        "ring": lambda given: Ring(given["degree"], given["modulus"]),
    },
    "sp800_185_tuplehash": {
        "tuplehash256": _tuplehash,
        "digest": lambda given: digest(given["label"], *(_raw(field) for field in given["fields"])).hex(),
    },
    "sp800_38a_ctr_aes128": {"keystream": _keystream, "encrypt": _keystream},
}  # fmt: skip
