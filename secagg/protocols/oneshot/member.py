"""A member of the oneshot protocol's committee: a key out, one answer a round.

Theory of operation. A member makes one key for a batch of rounds, to which clients seal shares of their secrets. Of a round
it adds the shares of one set of survivors, and only one whose account it has checked: signed headers of at least min_clients
on the roster, all for this setup, these participants and one model, and each client's share the one that the client signed
for. Which set that is stands in its memory before the answer leaves; the same request again has the same answer, another one
none, for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from secagg.errors import AuthenticationError, DecodeError, EquivocationError, InputError, PeerError
from secagg.hazmat import aead
from secagg.hazmat.agreement import KeyPair, check_public_key
from secagg.hazmat.transcript import digest
from secagg.protocols.accounts import account_digest, participants_digest, survivors_digest
from secagg.protocols.machine import Machine
from secagg.protocols.oneshot import merkle, sharing
from secagg.protocols.oneshot.checks import check_header
from secagg.protocols.oneshot.messages import (
    KeysRequest,
    Kind,
    MaskedHeader,
    MemberKey,
    Reveal,
    RevealRequest,
    answer_key,
    decoders,
    request_mark,
)
from secagg.protocols.oneshot.setup import Setup, committee
from secagg.protocols.oneshot.transitions import MEMBER_BATCH, MemberEvent, MemberState
from secagg.protocols.party import Party
from secagg.protocols.secret import Secret, SecretStruct
from secagg.protocols.signed import check_ranks, open_relayed
from secagg.wire import SERVER, Chunk, Envelope, decode_body, open_envelope, seal_envelope

__all__ = ["KINDS", "REVEAL", "Member"]

REVEAL = "reveal"  # the phase under which the memory keeps a member's answer
KINDS = (Kind.KEYS_REQUEST, Kind.REVEAL_REQUEST)  # what a member takes


@dataclass(repr=False)
class Batch(Secret):
    """A batch of rounds as its member knows it."""

    session: bytes
    mark: bytes
    request: KeysRequest
    private: bytes
    frame: bytes = b""
    done: tuple[int, bytes, bytes] | None = None  # the last round answered: its id, what was asked, the answer
    machine: Machine[MemberState, MemberEvent] = field(default_factory=lambda: Machine(MEMBER_BATCH, MemberState.IDLE))

    @property
    def pair(self) -> KeyPair:
        """The batch's channel key."""
        return KeyPair.from_private_bytes(self.private)


class _Frozen(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    session: bytes
    mark: bytes
    request: bytes
    private: bytes
    frame: bytes
    done: tuple[int, bytes, bytes] | None
    phase: str


_decoder = msgspec.msgpack.Decoder(_Frozen)


class Member(Secret):
    """The member's half of a party's state; its names, memory and outbox are the party's."""

    def __init__(self, party: Party, moved: Callable[[], None]) -> None:
        self._party = party
        self._moved = moved  # called when another session takes the place of the one before
        self._batch: Batch | None = None

    def take(self, kind: int, outer: Envelope | Chunk) -> None:
        """Take one decoded frame of the server's; state changes only if all of it holds."""
        party = self._party
        if kind not in KINDS or not isinstance(outer, Envelope) or outer.sender != SERVER:
            raise PeerError("not a request of the server's", peer="server")
        if party.session not in (None, outer.session) and not (party.provisional and kind == Kind.KEYS_REQUEST):
            raise AuthenticationError("frame of another session", peer="server")
        payload = open_envelope(kind, outer, party.roster.server)
        body: Any = decode_body(payload, decoders[Kind(kind)], SERVER)
        if isinstance(body, KeysRequest):
            self._keys_requested(body, outer.session, payload)
        else:
            self._reveal_requested(body)

    # -- keys -----------------------------------------------------------------------------------------------------

    def _keys_requested(self, body: KeysRequest, session: bytes, payload: bytes) -> None:
        party, mark = self._party, digest("request", session, payload)
        batch = self._batch if self._batch is not None and self._batch.session == session else None
        if batch is not None and batch.mark == mark:
            party.out.append(batch.frame)
            return
        if batch is not None and body.first_round == batch.request.first_round:
            raise EquivocationError("a second, different keys request", peer="server", phase="keys")
        self._check_keys_request(body, session, batch)
        private = party.entropy(32)
        made = Batch(session, mark, body, private)
        told = MemberKey(
            body.first_round, body.rounds, body.params_hash, body.roster_hash, body.server_key, made.pair.public_bytes
        )
        made.frame = seal_envelope(Kind.MEMBER_KEY, session, party.me, told, party.identity.sign)
        made.machine.fire(MemberEvent.KEYS_REQUEST)
        if party.session != session:
            self._moved()
        party.own_floor = max(party.floor(session), body.first_round - 1)
        party.session, self._batch = session, made
        party.out.append(made.frame)

    def _check_keys_request(self, body: KeysRequest, session: bytes, batch: Batch | None) -> None:
        party = self._party
        if body.params_hash != party.params.hash or body.rounds != party.params.rounds_per_setup:
            raise AuthenticationError("the server asks under other Params than ours", peer="server", phase="keys")
        if body.roster_hash != party.roster.hash():
            raise AuthenticationError("the server has another roster than ours", peer="server", phase="keys")
        if party.me not in committee(party.roster, session, party.params.committee):
            raise PeerError("we are no member of this session's committee", peer="server", phase="keys")
        if not 0 <= body.first_round <= (1 << 63) - body.rounds or body.first_round <= party.floor(session):
            raise PeerError("round id does not increase", peer="server", phase="keys")
        if batch is not None and body.first_round < batch.request.first_round:
            raise PeerError("keys for earlier rounds than the present ones", peer="server", phase="keys")
        check_public_key(body.server_key)  # before anything is drawn
        if party.memory.recall(session, body.first_round, REVEAL) is not None:
            raise PeerError("this member answered in that round already", peer="server", phase="keys")

    # -- reveal ---------------------------------------------------------------------------------------------------

    def _reveal_requested(self, body: RevealRequest) -> None:
        party, batch = self._party, self._batch
        if batch is None or batch.session != party.session:
            raise PeerError("no key was asked for yet", peer="server", phase=REVEAL)
        mark, session = request_mark(body), batch.session
        if body.params_hash != party.params.hash:
            raise AuthenticationError("a request under other Params than ours", peer="server", phase=REVEAL)
        if batch.done is not None and batch.done[0] == body.round_id:
            if batch.done[1] != mark:
                raise EquivocationError("another set of this round was answered for", peer="server", phase=REVEAL)
            party.out.append(batch.done[2])
            return
        if (batch.done is not None and body.round_id < batch.done[0]) or body.round_id <= party.memory.floor(session):
            raise PeerError("round id does not increase", peer="server", phase=REVEAL)
        setup = Setup.read(body.keys, session, party.roster, party.params)
        if party.me not in setup.ids or setup.frames[setup.ids.index(party.me)] != batch.frame:
            raise AuthenticationError("our own key was left out or substituted", peer="server", phase=REVEAL)
        if setup.hash != body.setup_hash or not setup.covers(body.round_id):
            raise AuthenticationError("the request is not of this setup", peer="server", phase=REVEAL)
        account, headers = self._read_account(body, setup)
        stands = party.memory.recall(session, body.round_id, REVEAL)
        if stands is not None and stands.mark != mark:
            raise EquivocationError("another set of this round was answered for", peer="server", phase=REVEAL)
        if stands is not None and stands.frame:
            frame = stands.frame
        else:
            made = self._answer(body, setup, batch.pair, account, headers)
            record = party.record(session, body.round_id, REVEAL, made, mark=mark)
            if record.mark != mark or not record.frame:
                raise EquivocationError("another set of this round was answered for", peer="server", phase=REVEAL)
            frame = record.frame
        batch.done = (body.round_id, mark, frame)
        batch.machine.fire(MemberEvent.REVEAL_REQUEST)
        if body.round_id == setup.first_round + setup.rounds - 1:
            batch.private = b""  # nothing is sealed to it any more
        # No later batch may hold a round that was answered in this one.
        party.own_floor, party.provisional = max(party.own_floor, body.round_id), False
        party.out.append(frame)

    def _read_account(self, body: RevealRequest, setup: Setup) -> tuple[bytes, dict[str, MaskedHeader]]:
        """Return the round's account and the survivors' headers, every signature and binding checked."""
        params, roster = self._party.params, self._party.roster
        check_ranks(body.participants, range(len(roster)), "server")
        if not params.min_clients <= len(body.participants) <= params.max_participants:
            raise PeerError("number of participants is outside Params", peer="server", phase=REVEAL)
        if len(body.headers) < params.min_clients:
            raise PeerError("fewer survivors than min_clients", peer="server", phase=REVEAL)
        participants = tuple(roster.ids[rank] for rank in body.participants)
        view = participants_digest(setup.hash, body.round_id, participants)
        order = {name: rank for rank, name in enumerate(participants)}
        headers: dict[str, MaskedHeader] = {}
        last = -1
        for frame in body.headers:
            sender, payload = open_relayed(frame, Kind.MASKED_HEADER, setup.session, roster, params.max_frame_bytes)
            if order.get(sender, -1) <= last:
                raise PeerError("survivors are unknown, repeated or out of order", peer="server", phase=REVEAL)
            last = order[sender]
            header = decode_body(payload, decoders[Kind.MASKED_HEADER], sender)
            check_header(header, params, setup, body.round_id, view, sender)
            headers[sender] = header
        contexts = {header.context_hash for header in headers.values()}
        if len(contexts) != 1:
            raise AuthenticationError("survivors trained on different models", peer="server", phase=REVEAL)
        uploads = {name: header.tag for name, header in headers.items()}
        account = account_digest(
            setup.session, body.round_id, params.hash, setup.hash, setup.members_hash, view,
            survivors_digest(setup.hash, body.round_id, uploads), contexts.pop(),
        )  # fmt: skip
        return account, headers

    def _answer(
        self, body: RevealRequest, setup: Setup, pair: KeyPair, account: bytes, headers: dict[str, MaskedHeader]
    ) -> bytes:
        """Return the signed answer: the sum of our shares, or the clients whose shares do not open."""
        party = self._party
        box, place, count = sharing.box_bytes(party.params), setup.ids.index(party.me), len(setup.ids)
        path = merkle.depth(count) * merkle.HASH_BYTES
        if len(body.sealed) != box * len(headers) or len(body.paths) != path * len(headers):
            raise DecodeError("shares of another number or length", peer="server", phase=REVEAL)
        ranks = {name: rank for rank, name in enumerate(party.roster.ids)}
        shares, complaints = [], []
        for i, (name, header) in enumerate(headers.items()):
            sealed = body.sealed[i * box : (i + 1) * box]
            merkle.check(sealed, place, count, body.paths[i * path : (i + 1) * path], header.shares_root)
            where = (body.round_id, name, party.me)
            try:
                shares.append(sharing.open_share(sealed, party.params, setup, pair, header.channel_key, where))
            except (PeerError, InputError):  # the client's doing: it signed for these bytes
                complaints.append(ranks[name])
        sealed_sum = b""
        if not complaints:
            key = answer_key(pair.agree(setup.server_key), setup.session, setup.hash, body.round_id, party.me)
            sealed_sum = aead.seal(key, sharing.add_shares(shares), account, party.entropy)
        told = Reveal(body.round_id, account, party.identity.sign(account), sealed_sum, complaints)
        return seal_envelope(Kind.REVEAL, setup.session, party.me, told, party.identity.sign)

    # -- snapshots ------------------------------------------------------------------------------------------------

    def freeze(self) -> bytes | None:
        """Return the batch as bytes, None if there is none. Secret."""
        batch = self._batch
        if batch is None:
            return None
        request = msgspec.msgpack.encode(batch.request)
        return msgspec.msgpack.encode(_Frozen(
            batch.session, batch.mark, request, batch.private, batch.frame, batch.done, batch.machine.state.value
        ))  # fmt: skip

    def thaw(self, data: bytes | None) -> None:
        """Take the batch that `freeze` returned; DecodeError for other bytes."""
        if data is None:
            return
        try:
            kept = _decoder.decode(data)
            request = msgspec.msgpack.decode(kept.request, type=KeysRequest)
            machine = Machine(MEMBER_BATCH, MemberState(kept.phase))
        except (msgspec.DecodeError, ValueError):
            raise DecodeError("not a snapshot of this version") from None
        self._batch = Batch(kept.session, kept.mark, request, kept.private, kept.frame, kept.done, machine)
