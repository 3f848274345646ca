"""Who sits in the committee, and what a finished keys phase fixes for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import msgspec

from secagg.errors import AuthenticationError, DecodeError, PeerError
from secagg.hazmat.agreement import check_public_key
from secagg.hazmat.transcript import digest
from secagg.protocols.accounts import members_digest
from secagg.protocols.oneshot.messages import KEY_BYTES, Kind, MemberKey, decoders, setup_digest
from secagg.protocols.signed import open_relayed
from secagg.wire import decode_body

if TYPE_CHECKING:
    from secagg.identity import Roster
    from secagg.params import Params

__all__ = ["Setup", "check_member_key", "committee"]

_frames = msgspec.msgpack.Decoder(list[bytes])


def committee(roster: Roster, session: bytes, size: int) -> tuple[str, ...]:
    """Return the ids of a session's committee, sorted.

    Parameters
    ----------
    roster : Roster
    session : bytes
        16 bytes. Where `size` is less than the roster, everybody must have it from somewhere else than the server, which
        could try ids until the committee suits it.
    size : int
        M. All of a roster that has no more.

    Notes
    -----
    The `size` ids with the least TupleHash of (label, session, roster hash, id): a fixed public function of both.
    """
    if size >= len(roster):
        return tuple(roster.ids)
    return _drawn(roster.ids, roster.hash(), session, size)


@lru_cache(maxsize=8)
def _drawn(ids: tuple[str, ...], about: bytes, session: bytes, size: int) -> tuple[str, ...]:
    """Draw once what every key, request and receipt of a session is held against: a digest for each client takes its time."""
    drawn = sorted(ids, key=lambda name: digest("oneshot-committee", session, about, name.encode()))
    return tuple(sorted(drawn[:size], key=str.encode))


def check_member_key(body: MemberKey, peer: str) -> None:
    """Refuse a member's key of another length, small order or second encoding, or one that is the server's."""
    if len(body.channel_key) != KEY_BYTES or len(body.server_key) != KEY_BYTES:
        raise DecodeError("a channel key has 32 bytes", peer=peer, phase="keys")
    for key in (body.channel_key, body.server_key):
        try:
            check_public_key(key)
        except AuthenticationError:
            raise AuthenticationError(
                "a public key has small order or is not canonical", peer=peer, phase="keys"
            ) from None
    if body.channel_key == body.server_key:
        raise AuthenticationError("the server's channel key, reflected", peer=peer, phase="keys")


@dataclass(frozen=True)
class Setup:
    """A batch of rounds under one committee's keys; the same for all who saw the same signed keys."""

    session: bytes
    ids: tuple[str, ...]
    bodies: tuple[MemberKey, ...]
    frames: tuple[bytes, ...]
    hash: bytes

    @property
    def first_round(self) -> int:
        """First round of the batch."""
        return self.bodies[0].first_round

    @property
    def rounds(self) -> int:
        """Rounds in the batch."""
        return self.bodies[0].rounds

    @property
    def server_key(self) -> bytes:
        """The key that answers are sealed to."""
        return self.bodies[0].server_key

    @cached_property
    def channel_keys(self) -> frozenset[bytes]:
        """Every member's key: no client may send one of these back."""
        return frozenset(body.channel_key for body in self.bodies)

    @property
    def members_hash(self) -> bytes:
        """H(committee)."""
        return members_digest(self.hash, self.ids)

    def covers(self, round_id: int) -> bool:
        """Whether a round is one of this batch's."""
        return self.first_round <= round_id < self.first_round + self.rounds

    def frozen(self) -> bytes:
        """Return the signed keys as bytes."""
        return msgspec.msgpack.encode(self.frames)

    @classmethod
    def thaw(cls, data: bytes, session: bytes, roster: Roster, params: Params) -> Setup:
        """Return the Setup whose `frozen` these bytes are; DecodeError or another PeerError if there is none."""
        try:
            frames = _frames.decode(data)
        except msgspec.DecodeError:
            raise DecodeError("no list of keys") from None
        return cls.read(frames, session, roster, params)

    @classmethod
    def read(cls, frames: list[bytes], session: bytes, roster: Roster, params: Params) -> Setup:
        """Return the Setup that members' signed keys make.

        Raises
        ------
        PeerError
            One of them is unsigned, of nobody in the committee, repeated, out of order, under other Params or another roster, or
            answers another request than the rest; a key stands twice; or there are too few to open any round.
        """
        crew = set(committee(roster, session, params.committee))
        if not params.threshold <= len(frames) <= len(crew):
            raise PeerError("keys of too few or too many members", peer="server", phase="keys")
        ids: list[str] = []
        bodies: list[MemberKey] = []
        for frame in frames:
            sender, payload = open_relayed(frame, Kind.MEMBER_KEY, session, roster, params.max_frame_bytes)
            if sender not in crew:
                raise AuthenticationError("a key of somebody outside the committee", peer=sender, phase="keys")
            if ids and ids[-1].encode() >= sender.encode():
                raise AuthenticationError("members repeated or unsorted", peer="server", phase="keys")
            body = decode_body(payload, decoders[Kind.MEMBER_KEY], sender)
            check_member_key(body, sender)
            ids.append(sender)
            bodies.append(body)
        first = bodies[0]
        if first.params_hash != params.hash or first.rounds != params.rounds_per_setup:
            raise AuthenticationError("the keys were made under other Params than ours", peer="server", phase="keys")
        if first.roster_hash != roster.hash():
            raise AuthenticationError("the keys were made for another roster than ours", peer="server", phase="keys")
        if any(_request(body) != _request(first) for body in bodies):
            raise AuthenticationError("members' keys answer different requests", peer="server", phase="keys")
        if len({body.channel_key for body in bodies}) != len(bodies):
            raise AuthenticationError("a public key is used twice", peer="server", phase="keys")
        return cls(session, tuple(ids), tuple(bodies), tuple(frames), setup_digest(session, frames))


def _request(body: MemberKey) -> tuple[object, ...]:
    return body.first_round, body.rounds, body.params_hash, body.roster_hash, body.server_key
