"""ring.json on every implementation; and the file is what the reference makes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from reference import ring as reference
from secagg import _kernels, errors
from secagg.hazmat import rlwe
from secagg.hazmat.ring import Ring, modulus
from vectors.generate_ring import PATH, message, text

BACKENDS = _kernels.backends()
VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
DEGREE = VECTORS["params"]["degree"]


@pytest.fixture(scope="module", params=list(BACKENDS))
def kernels(request):
    return BACKENDS[request.param]


@pytest.fixture
def everywhere(kernels, monkeypatch):
    """The hazmat layer on this implementation: it calls the kernels by these names."""
    for name in dir(kernels):
        if name.startswith(("ring_", "rlwe_")) or name in {"pack", "unpack"}:
            monkeypatch.setattr(_kernels, name, getattr(kernels, name))
    return kernels


def digest(residues, q):
    flat = residues.reshape(-1).tolist()
    return {"sha256": hashlib.sha256(reference.pack(flat, q)).hexdigest(), "first": flat[:4]}


def payload(made):
    return {"sha256": hashlib.sha256(made).hexdigest(), "bytes": len(made)}


def sample(given, op):
    ring = Ring(DEGREE, given["modulus"])
    made = getattr(ring, op)(bytes.fromhex(given["key"]), given["stream_id"], given["index"], 1)
    return digest(made, ring.modulus)


def product(given):
    ring = Ring(DEGREE, given["modulus"])
    a, b = (ring.uniform(bytes.fromhex(given["key"]), stream, 0, 1) for stream in given["streams"])
    out = np.zeros_like(a)
    ring.forward(a)
    ring.forward(b)
    ring.multiply_add(out, a, b)
    ring.inverse(out)
    return digest(out, ring.modulus)


def transform(given):
    ring = Ring(DEGREE, given["modulus"])
    a = ring.uniform(bytes.fromhex(given["key"]), given["stream_id"], 0, 1)
    ring.forward(a)
    return digest(a, ring.modulus)


def encryption(given):
    secret = rlwe.SecretKey(Ring(DEGREE, given["modulus"]), bytes.fromhex(given["seed"]))
    values = np.array(given["values"] if "values" in given else message(given["n"]), np.uint64)
    common = values, given["delta"], bytes.fromhex(given["key"]), given["first"]
    if "seed_a" in given:
        return payload(secret.encrypt_seeded(*common, bytes.fromhex(given["seed_a"])))
    pad = bytes.fromhex(given["pad"]) if "pad" in given else None
    return payload(rlwe.encrypt(secret.public_key(), *common, pad=pad))


def decryption(given):
    ring = Ring(DEGREE, given["modulus"])
    secret = rlwe.SecretKey(ring, bytes.fromhex(given["seed"]))
    values = np.array(message(given["n"]), np.uint64)
    total = rlwe.Sum(ring, len(values))
    total.add(rlwe.encrypt(secret.public_key(), values, given["delta"], bytes.fromhex(given["key"]), given["first"]))
    opened, worst = secret.decrypt(total, given["delta"])
    return digest(opened, ring.modulus) | {"worst": worst}


def addition(given):
    total = rlwe.Sum(Ring(DEGREE, given["modulus"]), given["n"])
    try:
        total.add(bytes.fromhex(given["payload"]))
    finally:
        added = {"c0": total.c0.tolist()}
        if not added["c0"][0]:
            assert not total.c1.any()
            assert not total.c0.any()
    return added


def public_key(given):
    secret = rlwe.SecretKey(Ring(DEGREE, given["modulus"]), bytes.fromhex(given["seed"]))
    return payload(secret.public_key().to_bytes())


OPERATIONS = {
    "uniform": lambda given: sample(given, "uniform"),
    "ternary": lambda given: sample(given, "ternary"),
    "binomial": lambda given: sample(given, "binomial"),
    "product": product,
    "root": lambda given: Ring(DEGREE, given["modulus"]).plan.root,
    "transform": transform,
    "public_key": public_key,
    "public_key_bytes": lambda given: rlwe.PublicKey.from_bytes(
        Ring(DEGREE, given["modulus"]), bytes.fromhex(given["data"])
    ),
    "encrypt": encryption,
    "encrypt_seeded": encryption,
    "decrypt": decryption,
    "add": addition,
    "modulus": lambda given: modulus(given["bits"]),
    "ring": lambda given: Ring(given["degree"], given["modulus"]),
}


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: f"{c['op']}-{c['success']}")
def test_vectors(everywhere, case):
    run = OPERATIONS[case["op"]]
    if case["success"]:
        assert run(case["input"]) == case["output"]
    else:
        with pytest.raises(getattr(errors, case["error"])):
            run(case["input"])


def test_the_file_is_what_the_reference_makes():
    assert PATH.read_text(encoding="utf-8") == text()
