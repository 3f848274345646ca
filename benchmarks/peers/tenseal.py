"""TenSEAL, in this process: its own functions for each step of a homomorphic sum, with contexts as its users make them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import tenseal

__all__ = [
    "CONTEXTS",
    "NAME",
    "VERSION",
    "add",
    "context",
    "decrypt",
    "encrypt",
    "load",
    "public",
    "quiet",
    "serialize",
]

NAME, VERSION = "TenSEAL", metadata.version("tenseal")
# Degree, bits of the primes, log2 of the scale.
CONTEXTS = {
    "8192-60-40-40": (8192, (60, 40, 40), 40),
    "4096-40-41": (4096, (40, 41), 20),
    "4096-54-55": (4096, (54, 55), 40),
}
NVFLARE = "8192-60-40-40"


def context(name: str = NVFLARE, *, public_key: bool = False) -> Any:
    """Return a fresh context; NVFlare's default unless named."""
    degree, bits, scale = CONTEXTS[name]
    kinds = tenseal.ENCRYPTION_TYPE
    made = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        degree,
        -1,
        list(bits),
        encryption_type=kinds.ASYMMETRIC if public_key else kinds.SYMMETRIC,
    )
    made.global_scale = 2**scale
    return made


def encrypt(made: Any, values: np.ndarray) -> Any:
    """Return the whole update as one CKKSVector of as many ciphertexts as it takes."""
    with quiet():
        return tenseal.ckks_vector(made, values)


def serialize(vector: Any) -> bytes:
    """Return the bytes that a client sends, compressed with zstd, as TenSEAL does it."""
    return bytes(vector.serialize())


def load(made: Any, data: bytes) -> Any:
    """Return the vector in such bytes."""
    return tenseal.ckks_vector_from(made, data)


def add(total: Any, vector: Any) -> Any:
    """Return the sum, which is `total`, changed in place: no ciphertext is copied."""
    total += vector
    return total


def decrypt(vector: Any) -> Sequence[float]:
    """Return the values, of whoever has the context's secret key."""
    return list(vector.decrypt())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep TenSEAL's warning that an update takes more than one ciphertext, written by C++ at each call, off the output."""
    kept = os.dup(1)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a descriptor is needed
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def public(made: Any) -> Any:
    """Return a context's public part, which encrypts and adds."""
    copy = made.copy()
    copy.make_context_public()
    return copy
