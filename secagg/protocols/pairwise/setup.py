"""What a finished keys phase fixes for everybody: ids, ranks, public keys, share graph, setup_hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from secagg.errors import AuthenticationError, PeerError
from secagg.hazmat import agreement
from secagg.protocols.pairwise import graph
from secagg.protocols.pairwise.messages import (
    KEY_BYTES,
    Advertisement,
    KeysRequest,
    Kind,
    SharesRequest,
    decoders,
    members_digest,
    setup_digest,
)
from secagg.wire import Envelope, decode_body, decode_frame, encode_body, open_envelope

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["Setup", "check_advertisement", "open_signed", "read_advertisements"]


@dataclass(frozen=True)
class Setup:
    """The public outcome of the keys phase; identical for all who saw the same advertisements."""

    session: bytes
    request: KeysRequest
    ids: tuple[str, ...]
    advertisements: tuple[Advertisement, ...]
    setup_hash: bytes
    neighbours: graph.Graph
    ranks: dict[str, int] = field(repr=False)

    @property
    def first_round(self) -> int:
        """First round of the batch."""
        return self.request.first_round

    @property
    def rounds(self) -> int:
        """Rounds in the batch."""
        return self.request.rounds

    def covers(self, round_id: int) -> bool:
        """Whether the batch has secrets for this round."""
        return self.first_round <= round_id < self.first_round + self.rounds

    def mask_key(self, rank: int, round_id: int) -> bytes:
        """Return a client's mask public key of one round."""
        at = (round_id - self.first_round) * KEY_BYTES
        return self.advertisements[rank].mask_keys[at : at + KEY_BYTES]

    def names(self, ranks: Sequence[int]) -> list[str]:
        """Return the ids of some ranks."""
        return [self.ids[rank] for rank in ranks]

    def members_hash(self, members: Sequence[int]) -> bytes:
        """Return H(U2)."""
        return members_digest(self.setup_hash, self.names(members))

    def check_ranks(self, ranks: Sequence[int], within: Sequence[int] | None, peer: str) -> None:
        """Refuse a list of ranks that is not strictly increasing or names somebody outside `within`."""
        allowed = set(range(len(self.ids)) if within is None else within)
        if any(b <= a for a, b in pairwise(ranks)) or not allowed.issuperset(ranks):
            raise PeerError("unknown, repeated or unsorted client in a list", peer=peer)


def open_signed(frame: bytes, kind: Kind, session: bytes, roster: Roster, max_bytes: int) -> tuple[str, bytes]:
    """Return the sender and payload of a relayed, signed client frame; every check before the payload is parsed."""
    got, outer = decode_frame(frame, max_bytes=max_bytes)
    if got != kind or not isinstance(outer, Envelope):
        raise PeerError(f"relayed frame is no {kind.name.lower()}", peer="server")
    if outer.session != session:
        raise AuthenticationError("relayed frame of another session", peer=outer.sender)
    if outer.sender not in roster:
        raise AuthenticationError("relayed frame of somebody outside the roster", peer=outer.sender)
    return outer.sender, open_envelope(kind, outer, roster.key(outer.sender))


def check_advertisement(body: Advertisement, request: KeysRequest, peer: str) -> None:
    """Refuse an advertisement that does not answer exactly this request."""
    if body.params_hash != request.params_hash:
        raise AuthenticationError("advertisement made under other Params", peer=peer, phase="keys")
    if (body.first_round, body.rounds, body.server_key) != (
        request.first_round,
        request.rounds,
        request.server_key,
    ):
        raise AuthenticationError("advertisement answers another request", peer=peer, phase="keys")
    if len(body.channel_key) != KEY_BYTES or len(body.mask_keys) != KEY_BYTES * request.rounds:
        raise PeerError("advertisement has keys of another length", peer=peer, phase="keys")
    try:
        for key in public_keys(body):
            agreement.check_public_key(key)
    except AuthenticationError:
        raise AuthenticationError("a public key has small order or is not canonical", peer=peer, phase="keys") from None


def public_keys(body: Advertisement) -> list[bytes]:
    """Return every public key of an advertisement."""
    keys = body.mask_keys
    return [body.channel_key, *(keys[i : i + KEY_BYTES] for i in range(0, len(keys), KEY_BYTES))]


def read_advertisements(
    shares: SharesRequest, request: KeysRequest, session: bytes, roster: Roster, params: Params
) -> Setup:
    """Return the Setup that a list of signed advertisements fixes.

    Raises
    ------
    PeerError
        One of them is unsigned, unknown, repeated, out of order, answers another request, or repeats a key.
    """
    frames = shares.advertisements
    if len(frames) > params.clients:
        raise PeerError("more advertisements than clients", peer="server", phase="shares")
    ids: list[str] = []
    bodies: list[Advertisement] = []
    seen = {request.server_key}
    for frame in frames:
        sender, payload = open_signed(frame, Kind.ADVERTISEMENT, session, roster, params.max_frame_bytes)
        if ids and ids[-1].encode() >= sender.encode():
            raise AuthenticationError("advertisements repeated or unsorted", peer="server", phase="shares")
        body = decode_body(payload, decoders[Kind.ADVERTISEMENT], sender)
        check_advertisement(body, request, sender)
        keys = public_keys(body)
        if len(set(keys)) != len(keys) or not seen.isdisjoint(keys):
            raise AuthenticationError("a public key is used twice", peer=sender, phase="shares")
        seen.update(keys)
        ids.append(sender)
        bodies.append(body)
    setup_hash = setup_digest(encode_body(request), session, frames)
    return Setup(
        session,
        request,
        tuple(ids),
        tuple(bodies),
        setup_hash,
        graph.share_graph(setup_hash, len(ids), params.neighbours),
        {name: rank for rank, name in enumerate(ids)},
    )
