"""What the operations of hint.json mean: masks, sums of them, packed sharing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from secagg._kernels.gaussian import gaussian_table
from secagg.hazmat import packed, prg
from secagg.hazmat.hintrlwe import MaskedSum, MaskRing, MaskSecret, gaussian, moduli

__all__ = ["OPERATIONS"]

Given: TypeAlias = Mapping[str, Any]


def _raw(text: str) -> bytes:
    return bytes.fromhex(text)


def _ring(given: Given) -> MaskRing:
    return MaskRing(**given["ring"])


def _message(n: int, client: int) -> Any:
    return np.array([i * i % 1009 + client for i in range(n)], dtype=np.uint64)


def _numbers(made: Any) -> dict[str, Any]:
    data = made.astype("<i8").tobytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "first": [int(x) for x in made[:8]]}


def _thresholds(_: Given) -> list[str]:
    high, low = gaussian_table()
    return [str(int(h) << 63 | int(x)) for h, x in zip(high, low, strict=True)]


def _gaussian(given: Given) -> Any:
    return _numbers(gaussian(_raw(given["key"]), given["stream_id"], given["start"], given["count"]))


def _masked(given: Given, values: Any) -> bytes:
    return MaskSecret(_ring(given), _raw(given["seed"])).mask(values, _raw(given["public"]), given["first"])


def _mask(given: Given) -> Any:
    return {"payload": _masked(given, np.array(given["values"], dtype=np.uint64)).hex()}


def _mask_long(given: Given) -> Any:
    made = _masked(given, _message(given["n"], 0))
    return {"sha256": hashlib.sha256(made).hexdigest(), "bytes": len(made)}


def _sum(given: Given) -> list[int]:
    ring, n, public, first = _ring(given), given["n"], _raw(given["public"]), given["first"]
    total, secrets = MaskedSum(ring, n), np.zeros(ring.degree, np.int64)
    for client in range(given["clients"]):
        secret = MaskSecret(ring, bytes([client]) * 32)
        secrets += secret.coefficients()
        if client != given.get("absent"):
            total.add(secret.mask(_message(n, client), public, first))
    return [int(value) for value in total.open(secrets, public, first)]


def _add(given: Given) -> str:
    total = MaskedSum(_ring(given), given["n"])
    total.add(_raw(given["payload"]))
    return total.to_bytes().hex()


def _rows(values: Any) -> Any:
    return np.array(values, dtype=np.uint64)


def _lists(values: Any) -> list[list[int]]:
    return [[int(v) for v in row] for row in values]


def _packed_split(given: Given) -> list[list[int]]:
    key = _raw(given["entropy"])
    shares = packed.split(
        _rows(given["secrets"]), given["threshold"], given["xs"], lambda length: prg.expand(key, 0, length)
    )
    return _lists(shares)


def _packed_combine(given: Given) -> Any:
    secrets, wrong = packed.combine(given["xs"], _rows(given["shares"]), given["threshold"], given["rho"])
    return {"secrets": _lists(secrets), "wrong": list(wrong)}


def _pack_digits(given: Given) -> list[int]:
    return [int(e) for e in packed.pack_digits(np.array(given["values"], dtype=np.int64), given["width"])]


def _unpack_digits(given: Given) -> list[int]:
    return [int(v) for v in packed.unpack_digits(_rows(given["elements"]), given["width"], given["count"])]


OPERATIONS = {
    "thresholds": _thresholds,
    "gaussian": _gaussian,
    "moduli": lambda given: list(moduli(given["bits"], given["count"])),
    "ring": _ring,
    "secret": lambda given: _numbers(MaskSecret(_ring(given), _raw(given["seed"])).coefficients()),
    "mask": _mask,
    "mask_long": _mask_long,
    "sum": _sum,
    "add": _add,
    "packed_split": _packed_split,
    "packed_combine": _packed_combine,
    "pack_digits": _pack_digits,
    "unpack_digits": _unpack_digits,
}
