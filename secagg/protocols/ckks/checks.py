"""What server and holder both ask of a client's signed header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError, DecodeError
from secagg.hazmat.agreement import check_public_key
from secagg.protocols.ckks.messages import EncryptedHeader
from secagg.protocols.signed import HASH_BYTES

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["check_header"]


def check_header(
    body: EncryptedHeader,
    params: Params,
    key: tuple[bytes, bytes],
    round_id: int,
    participants_hash: bytes,
    sender: str,
) -> None:
    """Refuse a header of another round, Params, key or participants, or one that is malformed.

    Parameters
    ----------
    body : EncryptedHeader
    params : Params
    key : (bytes, bytes)
        The key's hash, and the holder's channel key.
    round_id, participants_hash, sender
    """
    for what, found, wanted in (
        ("round", body.round_id, round_id),
        ("Params", body.params_hash, params.hash),
        ("key", body.key_hash, key[0]),
        ("participants", body.participants_hash, participants_hash),
    ):
        if found != wanted:
            raise AuthenticationError(f"header of another {what}", peer=sender, phase="encrypted")
    if len(body.context_hash) != HASH_BYTES or len(body.tag) != HASH_BYTES:
        raise DecodeError("a hash has 32 bytes", peer=sender, phase="encrypted")
    if params.padded:
        check_public_key(body.channel_key)
        if body.channel_key == key[1]:
            raise AuthenticationError("the holder's channel key, reflected", peer=sender, phase="encrypted")
    elif body.channel_key:
        raise DecodeError("a channel key where nothing is padded", peer=sender, phase="encrypted")
