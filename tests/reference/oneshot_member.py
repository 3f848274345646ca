"""An honest member of oneshot's committee: a key out, one answer a round (spec of oneshot)."""

from dataclasses import dataclass

from reference import frames
from reference.errors import AuthenticationError, DecodeError, EquivocationError, PeerError, refuse
from reference.field import P
from reference.frames import SERVER
from reference.hashes import u64
from reference.oneshot_common import (
    Setup,
    answer_key,
    check_header,
    check_path,
    check_ranks,
    committee,
    names,
    path_bytes,
    share_key,
    shown,
)

REQUESTS = (frames.MEMBER_REQUEST, frames.REVEAL_REQUEST)


@dataclass
class Batch:
    """A member's key of a batch of rounds."""

    session: bytes
    request: list
    private: bytes
    frame: bytes
    done: tuple = (-1, None, b"")  # the last round that was answered, its request and the answer


def read_share(settings, plain):
    """Return a share, or a sum of shares."""
    refuse(len(plain) != 8 * settings.rows, DecodeError, "a share of another length")
    elements = [int.from_bytes(plain[i : i + 8], "little") for i in range(0, len(plain), 8)]
    refuse(max(elements) >= P, DecodeError, "an element outside the field")
    return elements


def write_share(elements):
    return b"".join(element.to_bytes(8, "little") for element in elements)


class Member:
    """One member of one session; it draws a key from `entropy` for a batch, and a nonce for an answer."""

    def __init__(self, settings, roster, me, identity, entropy, session=None):
        self.settings, self.roster, self.me, self.identity, self.entropy = settings, roster, me, identity, entropy
        self.session, self.learnt = session, session is None
        self.batch, self.floor, self.out = None, -1, []

    def outbox(self):
        out, self.out = self.out, []
        return out

    def forget(self):
        """Forget what belongs to a session that another one takes the place of."""

    def receive(self, frame):
        kind, fields = frames.outer(frame, self.settings.limit)
        refuse(kind not in REQUESTS or fields[1] != SERVER, PeerError, "no request of the server's")
        session, free = fields[0], self.learnt and kind == frames.MEMBER_REQUEST
        refuse(self.session not in (None, session) and not free, AuthenticationError, "another session")
        body = frames.opened(kind, fields, self.roster.server)
        if kind == frames.MEMBER_REQUEST:
            self._key_requested(session, body)
        else:
            self._reveal_requested(body)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _key_requested(self, session, body):
        first_round, rounds, params_hash, roster_hash, server_key = body
        batch = self.batch if self.batch is not None and self.batch.session == session else None
        if batch is not None and batch.request == body:
            self.out.append(batch.frame)
            return
        earlier = -1 if batch is None else batch.request[0]
        refuse(first_round == earlier, EquivocationError, "a second, different request for the same rounds")
        bound = (params_hash, rounds) == (self.settings.hash, self.settings.rounds)
        refuse(not bound, AuthenticationError, "other Params or another number of rounds")
        refuse(roster_hash != self.roster.hash, AuthenticationError, "another roster")
        crew = committee(self.settings, self.roster, session)
        refuse(self.me not in crew, PeerError, "we are no member of this session's committee")
        floor = self.floor if session == self.session else -1
        refuse(not floor < first_round <= 2**63 - rounds, PeerError, "a key for rounds that are over")
        refuse(first_round < earlier, PeerError, "a key for earlier rounds")
        frames.check_public(server_key)
        private = self.entropy(32)
        told = [*body, frames.public(private)]
        frame = frames.envelope(frames.MEMBER_KEY, session, self.me, told, self.identity)
        if session != self.session:
            self.forget()
        self.session, self.batch = session, Batch(session, body, private, frame)
        self.floor = max(floor, first_round - 1)
        self.out.append(frame)

    # -- reveal -------------------------------------------------------------------------------------------------------

    def _reveal_requested(self, body):
        round_id, params_hash, setup_hash, _, _, keys, _, _ = body
        batch = self.batch
        refuse(batch is None or batch.session != self.session, PeerError, "no key was asked for")
        refuse(params_hash != self.settings.hash, AuthenticationError, "other Params")
        last, request, answer = batch.done
        if round_id == last:
            refuse(request != body, EquivocationError, "a second, different request")
            self.out.append(answer)
            return
        refuse(round_id < last, PeerError, "a round before the last one that was answered")
        setup = Setup(self.settings, self.roster, self.session, keys)
        refuse(batch.frame not in setup.frames, AuthenticationError, "our own key left out or substituted")
        named = setup.hash == setup_hash and setup.covers(round_id)
        refuse(not named, AuthenticationError, "other keys than named, or a round that they do not cover")
        headers, account = self._account(setup, body)
        answer = self._answer(setup, body, headers, account)
        batch.done = round_id, body, answer
        self.floor, self.learnt = max(self.floor, round_id), False
        self.out.append(answer)

    def _account(self, setup, body):
        """Return the survivors' headers by id, and the account of the round."""
        round_id, _, _, participants, frames_shown, _, _, _ = body
        check_ranks(self.settings, self.roster, participants)
        refuse(len(frames_shown) < self.settings.m, PeerError, "fewer survivors than m")
        asked = names(self.roster, participants)
        view, headers, last = setup.participants_hash(round_id, asked), {}, -1
        for frame in frames_shown:
            name, header = shown(frame, frames.UPDATE_HEADER, self.session, self.settings, self.roster)
            rank = asked.index(name) if name in asked else -1
            refuse(rank <= last, PeerError, "survivors unknown, repeated or out of order")
            check_header(self.settings, setup, header, round_id, view)
            headers[name], last = header, rank
        contexts = {header[4] for header in headers.values()}
        refuse(len(contexts) != 1, AuthenticationError, "survivors of different contexts")
        uploads = {name: header[7] for name, header in headers.items()}
        return headers, setup.account(self.settings, round_id, asked, uploads, contexts.pop())

    def _answer(self, setup, body, headers, account):
        round_id, sealed, paths = body[0], body[6], body[7]
        box, path, place = self.settings.box, path_bytes(len(setup.ids)), setup.ids.index(self.me)
        lengths = (len(sealed), len(paths)) == (box * len(headers), path * len(headers))
        refuse(not lengths, DecodeError, "shares or paths of another length")
        shares, complaints, ids = [], [], list(self.roster.clients)
        for i, (name, header) in enumerate(headers.items()):
            one, beside = sealed[i * box : (i + 1) * box], paths[i * path : (i + 1) * path]
            check_path(one, place, len(setup.ids), beside, header[6])
            try:
                shares.append(self.open_share(setup, round_id, name, header[5], one))
            except PeerError:
                complaints.append(ids.index(name))
        boxed = b""
        if not complaints:
            total = [sum(column) % P for column in zip(*shares, strict=True)]
            key = answer_key(frames.agree(self.batch.private, setup.server_key), setup, round_id, self.me)
            boxed = frames.seal(key, write_share(total), account, self.entropy)
        told = [round_id, account, frames.sign(self.identity, account), boxed, complaints]
        return frames.envelope(frames.REVEAL, self.session, self.me, told, self.identity)

    def open_share(self, setup, round_id, client, client_key, sealed):
        """Return the share that a client sealed to us."""
        key = share_key(frames.agree(self.batch.private, client_key), setup, round_id, client, self.me)
        return read_share(self.settings, frames.unseal(key, sealed, u64(round_id)))
