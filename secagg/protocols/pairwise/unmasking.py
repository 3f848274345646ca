"""What the masked and unmask phases of both roles share: derived keys, headers, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError, DecodeError, PeerError
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import u64
from secagg.protocols.pairwise.dealing import KEY_SHARE_BYTES, SEED_SHARE_BYTES, Holding, opening_bytes
from secagg.protocols.pairwise.messages import (
    HASH_BYTES,
    Answer,
    Kind,
    MaskedHeader,
    UnmaskRequest,
    account_digest,
    decoders,
    participants_digest,
    survivors_digest,
)
from secagg.protocols.pairwise.setup import Setup, open_signed
from secagg.protocols.rounds import listed
from secagg.protocols.secret import Secret
from secagg.wire import decode_body, encode_body

if TYPE_CHECKING:
    import msgspec

    from secagg.identity import Roster
    from secagg.params import Params

__all__ = [
    "Opened",
    "account",
    "answer_key",
    "check_header",
    "make_answer",
    "pair_seed",
    "read_answer",
    "read_headers",
    "sign",
    "split_neighbours",
    "upload_key",
]


def sign(me: int, other: int) -> int:
    """Return +1 when `me` adds the pair's mask, -1 when it subtracts: the lower rank adds."""
    return 1 if me < other else -1


def pair_seed(shared: bytes, setup: Setup, round_id: int, participants_hash: bytes, one: int, other: int) -> bytes:
    """Return s_ij, the 16-byte mask seed of a pair for one round."""
    low, high = sorted((one, other))
    return hkdf(
        shared, "mask", setup.session, u64(round_id), setup.setup_hash, participants_hash, setup.ids[low].encode(),
        setup.ids[high].encode(), length=16,
    )  # fmt: skip


def upload_key(server_secret: bytes, setup: Setup, client: str, round_id: int) -> bytes:
    """Return the GMAC key of one client's chunks in one round."""
    return hkdf(server_secret, "upload", setup.setup_hash, client.encode(), u64(round_id), length=32)


def answer_key(server_secret: bytes, setup: Setup, client: str, round_id: int) -> bytes:
    """Return the key under which one client's unmask answer is sealed to the server."""
    return hkdf(server_secret, "answer", setup.setup_hash, client.encode(), u64(round_id), length=32)


def account(
    setup: Setup,
    round_id: int,
    members_hash: bytes,
    participants_hash: bytes,
    uploads: Mapping[str, bytes],
    context: bytes,
) -> bytes:
    """Return the digest of who was asked, who survived with which upload, and on which model."""
    return account_digest(
        setup.session, round_id, setup.request.params_hash, setup.setup_hash, members_hash, participants_hash,
        survivors_digest(setup.setup_hash, round_id, uploads), context,
    )  # fmt: skip


def check_header(
    body: MaskedHeader,
    setup: Setup,
    members_hash: bytes,
    round_id: int,
    participants_hash: bytes,
    params: Params,
) -> None:
    """Refuse an upload header that is bound to anything else than this round as we know it."""
    if body.round_id != round_id:
        raise PeerError("header of another round", phase="masked")
    if body.params_hash != params.hash:
        raise AuthenticationError("header under other Params", phase="masked")
    if body.setup_hash != setup.setup_hash or body.members_hash != members_hash:
        raise AuthenticationError("header of another setup", phase="masked")
    if body.participants_hash != participants_hash:
        raise AuthenticationError("header for other participants", phase="masked")
    if len(body.context_hash) != HASH_BYTES or len(body.tag) != HASH_BYTES:
        raise DecodeError("header digest of another length", phase="masked")


def read_headers(
    setup: Setup, members: Sequence[int], request: UnmaskRequest, roster: Roster, params: Params
) -> tuple[list[int], dict[str, bytes], bytes]:
    """Return the survivors' ranks, the tags of their uploads and their common context hash from their signed headers.

    Raises
    ------
    PeerError
        A header is unsigned, repeated, unsorted, of a non-participant, or bound to another round, set or model.
    """
    participants = set(request.participants)
    members_hash = setup.members_hash(members)
    wanted = participants_digest(setup.setup_hash, request.round_id, setup.names(request.participants))
    survivors: list[int] = []
    uploads: dict[str, bytes] = {}
    context = b""
    for frame in request.headers:
        sender, payload = open_signed(frame, Kind.MASKED_HEADER, setup.session, roster, params.max_frame_bytes)
        rank = setup.ranks.get(sender)
        if rank is None or rank not in participants:
            raise AuthenticationError("survivor is no participant", peer=sender, phase="unmask")
        if survivors and rank <= survivors[-1]:
            raise AuthenticationError("survivors repeated or unsorted", peer="server", phase="unmask")
        decoder: msgspec.msgpack.Decoder[MaskedHeader] = decoders[Kind.MASKED_HEADER]
        body = decode_body(payload, decoder, sender)
        check_header(body, setup, members_hash, request.round_id, wanted, params)
        if survivors and body.context_hash != context:
            raise AuthenticationError("survivors trained on different models", peer="server", phase="unmask")
        context = body.context_hash
        uploads[sender] = body.tag
        survivors.append(rank)
    return survivors, uploads, context


def split_neighbours(
    held: Sequence[int], survivors: Sequence[int], participants: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return of whom a holder reveals a seed share (survivors) and of whom a key share (participating dropouts)."""
    alive = [r for r in held if listed(survivors, r)]
    return alive, [r for r in held if listed(participants, r) and r not in alive]


def make_answer(
    holdings: Mapping[int, Holding], offset: int, survivors: Sequence[int], participants: Sequence[int]
) -> bytes:
    """Return the plaintext answer: exactly one kind of share for each participant we hold shares of."""
    seeds, keys = split_neighbours(sorted(holdings), survivors, participants)
    return encode_body(
        Answer(
            b"".join(holdings[r].shares[2 * offset] or b"" for r in seeds),
            b"".join(holdings[r].shares[2 * offset + 1] or b"" for r in keys),
            b"".join(holdings[r].opening(2 * offset) for r in seeds),
            b"".join(holdings[r].opening(2 * offset + 1) for r in keys),
        )
    )


@dataclass(repr=False)
class Opened(Secret):
    """One holder's answer, cut up by target rank; secret until the round is done."""

    seeds: dict[int, bytes]
    keys: dict[int, bytes]
    seed_openings: dict[int, bytes]
    key_openings: dict[int, bytes]


def _cut(data: bytes, targets: Sequence[int], size: int, peer: str) -> dict[int, bytes]:
    if len(data) != size * len(targets):
        raise PeerError("answer of another length", peer=peer, phase="unmask")
    return {rank: data[i * size : (i + 1) * size] for i, rank in enumerate(targets)}


def read_answer(body: Answer, seeds: Sequence[int], keys: Sequence[int], rounds: int, peer: str) -> Opened:
    """Return an answer cut up by target, or raise PeerError when it is not exactly what was asked."""
    opening = opening_bytes(rounds)
    return Opened(
        _cut(body.seed_shares, seeds, SEED_SHARE_BYTES, peer),
        _cut(body.key_shares, keys, KEY_SHARE_BYTES, peer),
        _cut(body.seed_openings, seeds, opening, peer),
        _cut(body.key_openings, keys, opening, peer),
    )
