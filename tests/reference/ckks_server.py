"""An honest server of the ckks protocol (spec of ckks, sections 4, 6 and 7): phases move only when its caller closes them."""

import json
from dataclasses import dataclass, field
from hashlib import sha256

from reference import ckks_cipher, encoding, frames
from reference.ckks_common import (
    Key,
    box_name,
    check_chunk,
    chunk,
    commitment,
    encoded,
    mark,
    signer,
    sizes,
    statement,
    tag,
)
from reference.ckks_settings import result_places
from reference.errors import (
    AbortError,
    AuthenticationError,
    DecodeError,
    EquivocationError,
    PeerError,
    ThresholdError,
    refuse,
)
from reference.frames import HOLDER, SERVER
from reference.hashes import digest, u64
from reference.opening import check_sums


@dataclass
class Round:
    """One round as the server knows it."""

    round_id: int
    participants: list = field(default_factory=list)  # ids, from here on
    chunks: dict = field(default_factory=dict)  # id -> {place: (SHA-256, frame, payload)}
    headers: dict = field(default_factory=dict)  # id -> (frame, body)
    ciphertexts: dict = field(default_factory=dict)  # id -> ciphertext, once complete
    refused: set = field(default_factory=set)
    survivors: list = field(default_factory=list)
    total: dict = field(default_factory=dict)
    account: bytes = b""
    mark: bytes = b""
    private: bytes = b""
    answer: tuple = ()
    salt: bytes = b""
    opened: dict = field(default_factory=dict)  # place -> (SHA-256, plaintext)


@dataclass
class Result:
    """A finished round; `sums` is None where the key holder alone has them."""

    sums: list | None
    ciphertext: bytes
    survivors: list
    statement: bytes
    result_hash: bytes
    receipt: dict

    @property
    def json(self):
        return json.dumps(self.receipt)


class Server:
    """One server of one session."""

    def __init__(self, settings, roster, identity, entropy, session=None):
        self.settings, self.roster, self.identity, self.entropy = settings, roster, identity, entropy
        self.session = entropy(16) if session is None else session
        self.phase, self.floor, self.wanted, self.round = "idle", -1, [], None
        self.request, self.key, self.announcement, self.shown = None, None, None, set()
        self.out, self.equivocations, self.results = [], set(), {}

    def outbox(self):
        """Return (recipient, frame) pairs."""
        out, self.out = self.out, []
        return out

    def result(self, round_id):
        return self.results[round_id]

    def _sign(self, kind, body):
        return frames.envelope(kind, self.session, SERVER, body, self.identity)

    # -- the caller's side --------------------------------------------------------------------------------------------

    def open_round(self, round_id, participants=None):
        wanted = sorted(self.roster.clients if participants is None else participants, key=str.encode)
        fits = self.settings.m <= len(wanted) <= self.settings.p and set(wanted) <= set(self.roster.clients)
        if self.phase != "idle" or not self.floor < round_id < 2**63 or not fits:
            raise ValueError("this round cannot be opened")
        self.floor, self.wanted, self.round = round_id, wanted, Round(round_id)
        if self.key is not None and self.key.covers(round_id):
            self._ask_encrypted()
            return
        self.key, self.announcement, self.shown = None, None, set()
        self.request = [round_id, self.settings.rounds, self.settings.hash, self.roster.hash]
        self.out.append((HOLDER, self._sign(frames.KEY_REQUEST, self.request)))
        self.phase = "keys"

    def close_phase(self):
        try:
            getattr(self, f"_close_{self.phase}")()
        except (AbortError, PeerError):
            if self.phase == "decrypt":  # the key holder may have lost its key
                self.key, self.announcement, self.shown = None, None, set()
            self.abort()
            raise

    def abort(self):
        self.phase, self.round, self.out = "idle", None, []

    def receive(self, frame, sender=None):
        """Take a frame of a client or the holder; every check comes before any change."""
        kind, fields = frames.outer(frame, self.settings.limit)
        session, name = fields[:2]
        refuse(sender not in (None, name), AuthenticationError, "the carrier names another sender")
        refuse(name == SERVER, AuthenticationError, "sender is not in the roster")
        key = signer(self.roster, name)
        refuse(session != self.session, AuthenticationError, "another session")
        if kind == frames.CHUNK:
            (self._take_result if name == HOLDER else self._take_chunk)(name, frame, fields)
            return name
        takers = {
            (True, frames.KEY_ANNOUNCEMENT): self._take_key, (True, frames.DECRYPTED): self._take_answer,
            (False, frames.ENCRYPTED_HEADER): self._take_header,
        }  # fmt: skip
        refuse((name == HOLDER, kind) not in takers, PeerError, "not a frame of this sender's")
        body = frames.opened(kind, fields, key)
        takers[name == HOLDER, kind](name, frame, body)
        return name

    def _twice(self, name, same):
        if not same:
            self.equivocations.add(name)
            raise EquivocationError("a second, different frame")

    def _need(self, phase):
        refuse(self.phase != phase, PeerError, "frame of a phase that is not open")

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _take_key(self, name, frame, body):
        self._need("keys")
        refuse(body[:4] != self.request, AuthenticationError, "a key that was not asked for")
        if self.announcement is not None:
            self._twice(name, self.announcement == frame)
            return
        self.key = Key(self.settings, self.session, frames.outer(frame)[1][3])
        self.announcement = frame

    def _close_keys(self):
        refuse(self.key is None, ThresholdError, "keys of the key holder")
        self._ask_encrypted()

    # -- encrypted ----------------------------------------------------------------------------------------------------

    def _ask_encrypted(self):
        current, ids = self.round, list(self.roster.clients)
        current.participants = self.wanted
        ranks = [ids.index(name) for name in self.wanted]
        for name in self.wanted:
            shown = None if name in self.shown else self.announcement
            body = [current.round_id, self.settings.hash, self.key.hash, ranks, shown]
            self.out.append((name, self._sign(frames.ENCRYPTED_REQUEST, body)))
        self.phase = "encrypted"

    def _need_uploader(self, name):
        self._need("encrypted")
        refuse(name not in self.round.participants, PeerError, "no update was asked of this client")
        refuse(name in self.round.refused, PeerError, "this client's upload was refused already")

    def _take_chunk(self, name, frame, fields):
        self._need_uploader(name)
        current, place = self.round, (fields[3], fields[4])
        refuse(fields[2] != current.round_id, PeerError, "chunk of another round")
        content = check_chunk(fields, sizes(self.settings), self.key.hash, self.roster.clients[name])
        chunks = current.chunks.setdefault(name, {})
        if place in chunks:
            self._twice(name, chunks[place][0] == content)
            return
        chunks[place] = content, frame, fields[6]
        self._try_complete(name)

    def _take_header(self, name, frame, body):
        self._need_uploader(name)
        current = self.round
        asked = self.key.participants_hash(current.round_id, current.participants)
        self.key.check_header(self.settings, body, current.round_id, asked)
        if name in current.headers:
            self._twice(name, current.headers[name][0] == frame)
            return
        self.shown.add(name)
        current.headers[name] = frame, body
        self._try_complete(name)

    def _try_complete(self, name):
        current, chunks = self.round, self.round.chunks.get(name, {})
        if name not in current.headers or len(chunks) != len(self.settings.places()):
            return
        try:
            contents = {place: content for place, (content, _, _) in chunks.items()}
            refuse(tag(contents) != current.headers[name][1][6], AuthenticationError, "upload is not its header's")
            made = {
                place: ckks_cipher.from_bytes(self.settings, place, chunks[place][2])
                for place in self.settings.places()
            }
        except (AuthenticationError, ValueError) as error:
            current.refused.add(name)
            raise AuthenticationError("upload refused") from error
        current.ciphertexts[name] = made

    def _close_encrypted(self):
        current, groups = self.round, {}
        self.shown -= set(current.participants) - set(current.headers)
        for name in current.participants:
            if name in current.ciphertexts:
                groups.setdefault(current.headers[name][1][4], []).append(name)
        counts = sorted(map(len, groups.values()), reverse=True)
        refuse(not counts or counts[0] < self.settings.m, ThresholdError, "survivors")
        refuse(len(counts) > 1 and counts[0] == counts[1], AbortError, "two largest groups of one size")
        context, current.survivors = max(groups.items(), key=lambda item: len(item[1]))
        uploads = {name: current.headers[name][1][6] for name in current.survivors}
        current.account = self.key.account(
            self.settings, self.roster, self.session, current.round_id, current.participants, uploads, context
        )
        current.total = ckks_cipher.total(self.settings, [current.ciphertexts[name] for name in current.survivors])
        current.private = self.entropy(32)
        if self.settings.recompute:
            sum_tag = b""
            forwarded = [frame for name in current.survivors for _, frame, _ in current.chunks[name].values()]
        else:
            forwarded, contents = [], {}
            for place in self.settings.places():
                payload = ckks_cipher.to_bytes(self.settings, current.total[place])
                at = current.round_id, *place
                forwarded.append(chunk(self.identity, self.session, SERVER, self.key.hash, at, payload))
                contents[place] = sha256(payload).digest()
            sum_tag = tag(contents)
        ids, server_key = list(self.roster.clients), frames.public(current.private)
        headers = [current.headers[name][0] for name in current.survivors]
        current.mark = mark(current.account, sum_tag, server_key, headers)
        ranks = [ids.index(name) for name in current.participants]
        body = [current.round_id, self.settings.hash, self.key.hash, ranks, headers, sum_tag, server_key]
        self.out += [(HOLDER, frame) for frame in (self._sign(frames.DECRYPT_REQUEST, body), *forwarded)]
        self.phase = "decrypt"

    # -- decrypt ------------------------------------------------------------------------------------------------------

    def _take_answer(self, name, frame, body):
        self._need("decrypt")
        round_id, account, result_hash, signature, box, _ = body
        asked = (round_id, account) == (self.round.round_id, self.round.account)
        refuse(not asked, AuthenticationError, "answer to another account")
        if self.round.answer:
            self._twice(name, self.round.answer[0] == frame)
            return
        refuse(len(signature) != 64, DecodeError, "a signature has 64 bytes")
        frames.verify(self.roster.holder, statement(account, result_hash), signature)
        salt = frames.unseal(self.sealing_key(), box, b"salt") if self.settings.reveal == "server" else box
        expected = 32 if self.settings.reveal == "server" else 0
        refuse(len(salt) != expected, DecodeError, "a salt of another length")
        self.round.answer, self.round.salt = (frame, body), salt

    def _boxes(self):
        """Return the (start, stop, w) of each chunk of an opened sum by place."""
        if self.settings.reveal != "server":
            return {}
        return result_places(self.settings)

    def sealing_key(self):
        return self.key.sealing_key(frames.agree(self.round.private, self.key.channel), self.session, self.round.mark)

    def _take_result(self, name, frame, fields):
        self._need("decrypt")
        boxes, place = self._boxes(), (fields[3], fields[4])
        refuse(fields[2] != self.round.round_id or not boxes, PeerError, "a chunk that was not asked for")
        expected = {at: 28 + -(-(stop - start) * w // 8) for at, (start, stop, w) in boxes.items()}
        content = check_chunk(fields, expected, self.key.hash, self.roster.holder)
        if place in self.round.opened:
            self._twice(name, self.round.opened[place][0] == content)
            return
        plain = frames.unseal(self.sealing_key(), fields[6], box_name(place))
        start, stop, w = boxes[place]
        try:
            self.round.opened[place] = content, encoding.unpack(plain, w, stop - start)
        except ValueError as error:
            raise PeerError("padding is not zero") from error

    def _close_decrypt(self):
        current, boxes = self.round, self._boxes()
        refuse(not current.answer or len(current.opened) != len(boxes), ThresholdError, "answers of the key holder")
        _, _, result_hash, signature, _, told = current.answer[1]
        contents = {place: content for place, (content, _) in current.opened.items()}
        refuse(tag(contents) != told, AbortError, "the chunks are not those of the answer")
        sums = None
        if self.settings.reveal == "server":
            sums = [[] for _ in self.settings.segments]
            for place in sorted(boxes):
                sums[place[0]] += current.opened[place][1]
            found = commitment(self.settings, current.salt, sums)
            refuse(found != result_hash, AbortError, "another result")
            check_sums(self.settings, sums, len(current.survivors))
        self.results[current.round_id] = self._result(sums, signature, result_hash)
        self.phase, self.round = "idle", None

    def _result(self, sums, signature, result_hash):
        current = self.round
        told = digest("receipt", u64(current.round_id), current.account, result_hash, *encoded([HOLDER]), signature)
        receipt = {
            "format": "secagg receipt v1", "session": self.session.hex(), "round_id": current.round_id,
            "params_hash": self.settings.hash.hex(), "setup_hash": self.key.hash.hex(),
            "members_hash": self.roster.hash.hex(),
            "context_hash": current.headers[current.survivors[0]][1][4].hex(), "result_hash": result_hash.hex(),
            "participants": current.participants,
            "uploads": {name: current.headers[name][1][6].hex() for name in current.survivors},
            "signatures": {HOLDER: signature.hex()}, "server_signature": frames.sign(self.identity, told).hex(),
        }  # fmt: skip
        whole = b"".join(ckks_cipher.to_bytes(self.settings, current.total[place]) for place in self.settings.places())
        return Result(sums, whole, current.survivors, told, result_hash, receipt)
