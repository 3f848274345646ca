"""Which node is which client: each says so once in a run, signed.

Flower knows nodes by numbers that it gave them; the engine knows clients by the names on the roster. The server sends a fresh
challenge, a node answers with its name and a signature over challenge, node and server. Where no roster was agreed beforehand,
the server makes one of the answers, and every node keeps the first that it is shown: that trusts the server once.

A node has one key. The roster says what it is for: a client's updates, the key holder's decryptions, or both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

from secagg.errors import AuthenticationError, DecodeError, InputError, ParameterError
from secagg.hazmat import signing
from secagg.hazmat.transcript import digest, u64
from secagg.identity import Identity, Roster, check_id

__all__ = [
    "CHALLENGE_BYTES",
    "Claim",
    "Trust",
    "answer",
    "check_trust",
    "read_answer",
    "roster_from",
    "roster_settings",
]

Trust: TypeAlias = Literal["roster", "first-use", "simulation"]
CHALLENGE_BYTES = 32


def check_trust(value: Any) -> Trust:
    """Return a mode of trust; ParameterError for anything else."""
    if value not in get_args(Trust):
        raise ParameterError(f"trust must be one of {', '.join(map(repr, get_args(Trust)))}")
    mode: Trust = value
    return mode


@dataclass(frozen=True)
class Claim:
    """Who a node says it is, with a key that signed it; `name` is empty where no client lives."""

    name: str
    key: bytes
    holds: bool  # whether it takes the part of the key holder


def _statement(challenge: bytes, node: int, server: bytes, name: str, holds: bool) -> bytes:
    return digest("flower/enrolment", challenge, u64(node % (1 << 64)), server, name.encode(), u64(holds))


def answer(challenge: Any, node: int, server: Any, name: str, identity: Identity, *, holds: bool) -> dict[str, Any]:
    """Return a node's signed answer to a server's challenge; InputError if it is none."""
    if not isinstance(challenge, bytes) or len(challenge) != CHALLENGE_BYTES or not isinstance(server, bytes):
        raise InputError("malformed enrolment")
    statement = _statement(challenge, node, server, name, holds)
    return {"name": name, "key": identity.verify_key, "holds": holds, "signature": identity.sign(statement)}


def read_answer(settings: Mapping[str, Any], challenge: bytes, node: int, server: bytes) -> Claim:
    """Return what a node claims, once its signature holds.

    Raises
    ------
    DecodeError, AuthenticationError
        Malformed, or not signed with the key that it names.
    """
    name, key, holds, signature = (settings.get(each) for each in ("name", "key", "holds", "signature"))
    if not isinstance(name, str) or not isinstance(key, bytes) or not isinstance(signature, bytes):
        raise DecodeError("malformed enrolment")
    if not isinstance(holds, bool):
        raise DecodeError("malformed enrolment")
    if name or not holds:
        try:
            check_id(name)
        except ParameterError:
            raise DecodeError("malformed enrolment") from None
    signing.verify(key, _statement(challenge, node, server, name, holds), signature)
    return Claim(name, key, holds)


def roster_settings(roster: Roster) -> dict[str, Any]:
    """Return a roster as settings of a message."""
    told = {"ids": list(roster.ids), "keys": [roster.key(name) for name in roster.ids], "server": roster.server}
    return told if roster.holder is None else told | {"holder": roster.holder}


@lru_cache(maxsize=4)
def _roster(ids: tuple[str, ...], keys: tuple[bytes, ...], server: bytes, holder: bytes | None) -> Roster:
    # It checks every key, and a simulation asks again for each message.
    return Roster(dict(zip(ids, keys, strict=True)), server, holder)


def roster_from(settings: Mapping[str, Any]) -> Roster:
    """Return the roster in a message's settings.

    Raises
    ------
    AuthenticationError
        There is none, or none that holds together.
    """
    ids, keys, server, holder = (settings.get(each) for each in ("ids", "keys", "server", "holder"))
    if isinstance(ids, list) and isinstance(keys, list) and isinstance(server, bytes):
        with contextlib.suppress(ValueError, TypeError):  # a ParameterError is a ValueError
            return _roster(tuple(ids), tuple(keys), server, holder)
    raise AuthenticationError("the server's message holds no roster")
