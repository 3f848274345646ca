"""An honest key holder (spec of ckks, sections 4 and 7)."""

from dataclasses import dataclass, field
from hashlib import sha256

from reference import ckks_cipher, encoding, frames
from reference.ckks_common import (
    Key,
    box_name,
    check_chunk,
    check_ranks,
    chunk,
    commitment,
    mark,
    names,
    signer,
    sizes,
    statement,
    tag,
)
from reference.ckks_settings import result_places
from reference.errors import AbortError, AuthenticationError, DecodeError, EquivocationError, PeerError, refuse
from reference.frames import HOLDER, SERVER
from reference.hashes import hkdf
from reference.opening import check_sums


class OwnKey:
    """A key of the holder's; all of it follows from the seed."""

    def __init__(self, settings, roster, session, first_round, seed, identity):
        self.seed, self.private = seed, hkdf(seed, "ckks-holder-channel", length=32)
        self.secret, public = ckks_cipher.key_pair(settings, seed)
        body = [first_round, settings.rounds, settings.hash, roster.hash, frames.public(self.private), public]
        self.frame = frames.envelope(frames.KEY_ANNOUNCEMENT, session, HOLDER, body, identity)
        self.key = Key(settings, session, frames.outer(self.frame)[1][3])


@dataclass
class Gathered:
    """What has come of one round."""

    round_id: int
    payloads: dict = field(default_factory=dict)  # sender -> {place: (SHA-256, payload)}
    request: list | None = None
    headers: dict = field(default_factory=dict)  # id -> body
    account: bytes = b""
    mark: bytes = b""
    frames: list = field(default_factory=list)  # the answer
    sums: list | None = None


class Holder:
    """The key holder of one session; it draws the 32-byte seed of a key from `entropy`."""

    def __init__(self, settings, roster, identity, entropy, session=None):
        self.settings, self.roster, self.identity, self.entropy = settings, roster, identity, entropy
        self.session, self.learnt = session, session is None
        self.own, self.round, self.floor, self.done = None, None, -1, None
        self.waiting = {}  # sender -> (round, its chunks), of requests that are still to come
        self.out, self.results = [], {}

    def outbox(self):
        out, self.out = self.out, []
        return out

    def result(self, round_id):
        """Return the opened sums of a round."""
        return self.results[round_id]

    def receive(self, frame):
        kind, fields = frames.outer(frame, self.settings.limit)
        other = self.session not in (None, fields[0])
        refuse(other and not (self.learnt and kind == frames.KEY_REQUEST), AuthenticationError, "another session")
        if kind == frames.CHUNK:
            self._chunk(fields)
            return
        takers = {frames.KEY_REQUEST: self._key_requested, frames.DECRYPT_REQUEST: self._decrypt_requested}
        refuse(kind not in takers or fields[1] != SERVER, PeerError, "no request of the server's")
        takers[kind](fields[0], frames.opened(kind, fields, self.roster.server))

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _key_requested(self, session, body):
        first_round, rounds, params_hash, roster_hash = body
        same = session == self.session
        own, floor, done = (self.own, self.floor, self.done) if same else (None, -1, None)
        bound = (params_hash, roster_hash, rounds) == (self.settings.hash, self.roster.hash, self.settings.rounds)
        refuse(not bound, AuthenticationError, "other Params, roster or number of rounds")
        if own is None or own.key.first_round != first_round:
            refuse(not floor < first_round <= 2**63 - rounds, PeerError, "a key for rounds that are over")
            refuse(own is not None and first_round < own.key.first_round, PeerError, "a key for earlier rounds")
            own = OwnKey(self.settings, self.roster, session, first_round, self.entropy(32), self.identity)
            self.session, self.own, self.round, self.done = session, own, None, done
            self.waiting = {}
            self.floor = max(floor, first_round - 1)
        self.out.append(own.frame)

    # -- decrypt ------------------------------------------------------------------------------------------------------

    def _gathered(self, round_id):
        refuse(self.own is None, PeerError, "no key was asked for")
        refuse(not self.own.key.covers(round_id), PeerError, "a round that the key does not cover")
        if self.round is not None and self.round.round_id >= round_id:
            refuse(self.round.round_id > round_id, PeerError, "a later round is being gathered")
            return self.round
        again = self.done is not None and self.done[0] == round_id
        refuse(round_id <= self.floor and not again, PeerError, "a round that is over")
        return Gathered(round_id)

    def _decrypt_requested(self, session, body):
        round_id, params_hash, key_hash, participants, shown, sum_tag, server_key = body
        current, key = self._gathered(round_id), self.own.key
        bound = (params_hash, key_hash) == (self.settings.hash, key.hash)
        refuse(not bound, AuthenticationError, "other Params or another key")
        if current.request is not None:
            refuse(current.request != body, EquivocationError, "a second, different request")
            self.out += current.frames
            return
        frames.check_public(server_key)
        refuse(len(sum_tag) != (0 if self.settings.recompute else 32), DecodeError, "a tag of another length")
        check_ranks(self.settings, self.roster, participants)
        refuse(len(shown) < self.settings.m, PeerError, "fewer survivors than m")
        asked = names(self.roster, participants)
        headers = self._headers(round_id, asked, shown)
        contexts = {header[4] for header in headers.values()}
        refuse(len(contexts) != 1, AuthenticationError, "survivors of different contexts")
        uploads = {name: header[6] for name, header in headers.items()}
        account = key.account(self.settings, self.roster, session, round_id, asked, uploads, contexts.pop())
        made = mark(account, sum_tag, server_key, shown)
        other = self.done is not None and self.done[0] == round_id and self.done[1] != made
        refuse(other, EquivocationError, "another sum of this round was decrypted")
        current.request, current.headers, current.account, current.mark = body, headers, account, made
        waiting, self.waiting = self.waiting, {}
        for name in self._senders(current):
            if waiting.get(name, (None,))[0] == round_id:
                current.payloads[name] = waiting[name][1]
        self.round = current
        self._try_decrypt()

    def _headers(self, round_id, asked, shown):
        """Return the survivors' headers by id."""
        key, headers, last = self.own.key, {}, -1
        view = key.participants_hash(round_id, asked)
        for frame in shown:
            name, body = frames.relayed(frame, frames.ENCRYPTED_HEADER, self.session, self.roster, self.settings.limit)
            rank = asked.index(name) if name in asked else -1
            refuse(rank <= last, PeerError, "survivors unknown, repeated or out of order")
            key.check_header(self.settings, body, round_id, view)
            headers[name], last = body, rank
        return headers

    def _chunk(self, fields):
        _, sender, round_id, number, index, _, payload = fields
        allowed = sender in self.roster.clients if self.settings.recompute else sender == SERVER
        refuse(not allowed, PeerError, "no chunk of this sender's")
        refuse(self.own is None, PeerError, "no key was asked for")
        refuse(not self.own.key.covers(round_id), PeerError, "a round that the key does not cover")
        current, place = self.round, (number, index)
        asked = current is not None and current.round_id == round_id
        gathering = current is not None and not current.frames
        refuse(gathering and not asked, PeerError, "a chunk of another round than the one that is gathered")
        stranger = asked and sender not in self._senders(current)
        refuse(stranger, PeerError, "a chunk of a client that is not in the sum")
        refuse(not asked and round_id <= self.floor, PeerError, "a chunk of a round that is over")
        content = check_chunk(fields, sizes(self.settings), self.own.key.hash, signer(self.roster, sender))
        if asked:
            chunks = current.payloads.setdefault(sender, {})
        else:
            if self.waiting.get(sender, (None,))[0] != round_id:
                self.waiting[sender] = round_id, {}
            chunks = self.waiting[sender][1]
        if place in chunks:
            refuse(chunks[place][0] != content, EquivocationError, "a second, different chunk")
            return
        chunks[place] = content, payload
        if asked:
            self._try_decrypt()

    def _senders(self, current):
        return list(current.headers) if self.settings.recompute else [SERVER]

    def _try_decrypt(self):
        """Decrypt once everything is there; whatever comes of it, no other sum of this round."""
        current, places = self.round, self.settings.places()
        if any(len(current.payloads.get(sender, ())) != len(places) for sender in self._senders(current)):
            return
        self.floor, self.done = max(self.floor, current.round_id), (current.round_id, current.mark)
        try:
            current.sums = self._open(current)
        except AbortError:
            self.round = self.done = None
            raise
        current.frames, self.learnt = self._answer(current), False
        self.results[current.round_id] = current.sums
        self.out += current.frames

    def _open(self, current):
        settings, key, ciphertexts = self.settings, self.own.key, []
        for sender in self._senders(current):
            chunks = current.payloads[sender]
            signed = current.headers[sender][6] if settings.recompute else current.request[5]
            found = tag({place: content for place, (content, _) in chunks.items()})
            refuse(found != signed, AbortError, "not what was signed for")
            try:
                ciphertexts.append(
                    {place: ckks_cipher.from_bytes(settings, place, payload) for place, (_, payload) in chunks.items()}
                )
            except ValueError as error:
                raise AbortError("a malformed ciphertext") from error
        pads = []
        if settings.padded:
            for name, header in current.headers.items():
                shared = frames.agree(self.own.private, header[5])
                pads.append(key.pad(shared, self.session, current.round_id, name))
        sums = ckks_cipher.decrypt(settings, self.own.secret, ckks_cipher.total(settings, ciphertexts), pads)
        check_sums(settings, sums, len(current.headers))
        return sums

    def _answer(self, current):
        made, contents, key = [], {}, self.own.key
        shared = frames.agree(self.own.private, current.request[6])
        sealing = key.sealing_key(shared, self.session, current.mark)
        salt = hkdf(self.own.seed, "ckks-result-salt", current.mark, length=32)
        result_hash = commitment(salt, encoding.result_hash(self.settings, current.sums))
        sealed_salt = self._seal(sealing, current, salt, b"salt") if self.settings.reveal == "server" else b""
        boxes = result_places(self.settings) if self.settings.reveal == "server" else {}
        for place, (start, stop, w) in boxes.items():
            plain = encoding.pack(current.sums[place[0]][start:stop], w)
            box = self._seal(sealing, current, plain, box_name(place))
            at = current.round_id, *place
            made.append(chunk(self.identity, self.session, HOLDER, key.hash, at, box))
            contents[place] = sha256(box).digest()
        signature = frames.sign(self.identity, statement(current.account, result_hash))
        body = [current.round_id, current.account, result_hash, signature, sealed_salt, tag(contents)]
        return [frames.envelope(frames.DECRYPTED, self.session, HOLDER, body, self.identity), *made]

    def _seal(self, sealing, current, plain, name):
        nonce = hkdf(self.own.seed, "ckks-result-nonce", current.mark, name, length=12)
        return frames.seal(sealing, plain, name, lambda length: nonce)
