"""What the operations of oneshot.json mean: committees and their keys, trees over shares, the keys that seal them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from secagg.hazmat import aead
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.transcript import u64
from secagg.identity import Roster
from secagg.params import Params
from secagg.protocols.oneshot import committee, merkle, sharing
from secagg.protocols.oneshot.messages import answer_key, public_seed, share_key
from secagg.protocols.oneshot.server import share_chunks
from secagg.protocols.oneshot.setup import Setup

__all__ = ["OPERATIONS"]

Given: TypeAlias = Mapping[str, Any]


def _raw(text: str) -> bytes:
    return bytes.fromhex(text)


def _roster(given: Given) -> Roster:
    return Roster({name: _raw(key) for name, key in given["clients"].items()}, _raw(given["server"]))


def _params(given: Given) -> dict[str, Any]:
    params = Params.from_bytes(_raw(given["canonical"]))
    cuts = params.mask_plan.segments
    chunks = [[cut.payload_bytes(index) for index, _, _ in cut] for cut in cuts]
    return {
        "hash": params.hash.hex(), "max_frame_bytes": params.max_frame_bytes, "box": sharing.box_bytes(params),
        "primes": list(cuts[0].ring.moduli), "chunks": [*chunks, share_chunks(params, params.committee)],
    }  # fmt: skip


def _tree(given: Given) -> dict[str, Any]:
    leaves = [_raw(leaf) for leaf in given["leaves"]]
    return {"root": merkle.root(leaves).hex(), "paths": [path.hex() for path in merkle.paths(leaves)]}


def _path(given: Given) -> None:
    merkle.check(_raw(given["leaf"]), given["place"], given["count"], _raw(given["path"]), _raw(given["root"]))


def _setup(given: Given) -> dict[str, Any]:
    params, frames = Params.from_bytes(_raw(given["canonical"])), [_raw(frame) for frame in given["frames"]]
    made = Setup.read(frames, _raw(given["session"]), _roster(given), params)
    return {"setup_hash": made.hash.hex(), "members_hash": made.members_hash.hex(), "members": list(made.ids)}


def _public(given: Given) -> str:
    session, params_hash, roster_hash = (_raw(given[name]) for name in ("session", "params_hash", "roster_hash"))
    return public_seed(session, params_hash, roster_hash, given["round_id"]).hex()


def _boxed(given: Given, key: bytes, aad: bytes) -> dict[str, str]:
    nonce, plain = _raw(given["nonce"]), np.array(given["share"], dtype="<u8").tobytes()
    return {"key": key.hex(), "box": aead.seal(key, plain, aad, lambda _: nonce).hex()}


def _agreed(given: Given) -> tuple[bytes, bytes, bytes, int]:
    shared = KeyPair.from_private_bytes(_raw(given["private"])).agree(_raw(given["public"]))
    return shared, _raw(given["session"]), _raw(given["setup_hash"]), given["round_id"]


def _share(given: Given) -> dict[str, str]:
    return _boxed(given, share_key(*_agreed(given), given["client"], given["member"]), u64(given["round_id"]))


def _answer(given: Given) -> dict[str, str]:
    return _boxed(given, answer_key(*_agreed(given), given["member"]), _raw(given["account"]))


OPERATIONS = {
    "params": _params, "tree": _tree, "path": _path, "setup": _setup, "public": _public, "share": _share, "answer": _answer,
    "committee": lambda given: list(committee(_roster(given), _raw(given["session"]), given["size"])),
}  # fmt: skip
