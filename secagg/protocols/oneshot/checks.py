"""What server and committee both ask of a client's signed header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError, DecodeError
from secagg.hazmat.agreement import check_public_key
from secagg.protocols.oneshot.messages import MaskedHeader
from secagg.protocols.oneshot.setup import Setup
from secagg.protocols.signed import HASH_BYTES

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["check_header"]


def check_header(
    body: MaskedHeader, params: Params, setup: Setup, round_id: int, participants_hash: bytes, sender: str
) -> None:
    """Refuse a header of another round, Params, setup or participants, or one that is malformed."""
    for what, found, wanted in (
        ("round", body.round_id, round_id),
        ("Params", body.params_hash, params.hash),
        ("setup", body.setup_hash, setup.hash),
        ("participants", body.participants_hash, participants_hash),
    ):
        if found != wanted:
            raise AuthenticationError(f"header of another {what}", peer=sender, phase="masked")
    if {len(body.context_hash), len(body.shares_root), len(body.tag)} != {HASH_BYTES}:
        raise DecodeError("a hash has 32 bytes", peer=sender, phase="masked")
    try:
        check_public_key(body.channel_key)
    except AuthenticationError:
        raise AuthenticationError(
            "a public key has small order or is not canonical", peer=sender, phase="masked"
        ) from None
    if body.channel_key == setup.server_key or body.channel_key in setup.channel_keys:
        raise AuthenticationError("somebody else's channel key, reflected", peer=sender, phase="masked")
