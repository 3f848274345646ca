"""An honest server of the oneshot protocol (spec of oneshot): phases move only when its caller closes them."""

import json
from dataclasses import dataclass, field
from itertools import chain, combinations

from reference import encoding, frames, packed
from reference.ckks_common import encoded, signer
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
from reference.oneshot_common import (
    Setup,
    answer_key,
    check_chunk,
    check_header,
    check_key,
    committee,
    leaf_path,
    public_seed,
    tag,
    tree,
)
from reference.oneshot_member import read_share
from reference.opening import check_sums
from reference.ring import pack, unpack


@dataclass
class Batch:
    """A batch of rounds under one committee's keys."""

    request: list
    private: bytes
    crew: list
    keys: dict = field(default_factory=dict)  # id -> (frame, key)
    setup: Setup | None = None
    shown: set = field(default_factory=set)  # who has shown that it knows the keys


@dataclass
class Round:
    """One round as the server knows it."""

    round_id: int
    participants: list = field(default_factory=list)  # ids, from here on
    chunks: dict = field(default_factory=dict)  # id -> {place: (SHA-256, payload)}
    headers: dict = field(default_factory=dict)  # id -> (frame, body)
    boxes: dict = field(default_factory=dict)  # id -> the sealed share of each member, once complete
    refused: set = field(default_factory=set)
    survivors: list = field(default_factory=list)
    account: bytes = b""
    answers: dict = field(default_factory=dict)  # id -> (frame, signature, share or None, complaints)


@dataclass
class Result:
    """An opened round."""

    sums: list
    survivors: list
    blamed: list
    secret_sum: list
    statement: bytes
    result_hash: bytes
    receipt: dict

    @property
    def json(self):
        return json.dumps(self.receipt)


def consistent(rows, threshold):
    """Whether rows by index are of polynomials of degree threshold - 1, column by column."""
    xs = list(rows)
    nodes, rest = xs[:threshold], xs[threshold:]
    for column in range(len(rows[xs[0]])):
        values = [rows[x][column] for x in nodes]
        if any(packed.value_at(x, nodes, values) != rows[x][column] for x in rest):
            return False
    return True


class Server:
    """One server of one session."""

    def __init__(self, settings, roster, identity, entropy, session=None):
        self.settings, self.roster, self.identity, self.entropy = settings, roster, identity, entropy
        self.session = entropy(16) if session is None else session
        self.phase, self.floor, self.wanted, self.round, self.batch = "idle", -1, [], None, None
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
        if self.batch is not None and self.batch.setup.covers(round_id):
            self._ask_update()
            return
        private = self.entropy(32)
        settings = self.settings
        request = [round_id, settings.rounds, settings.hash, self.roster.hash, frames.public(private)]
        self.batch = Batch(request, private, committee(settings, self.roster, self.session))
        frame = self._sign(frames.MEMBER_REQUEST, request)
        self.out += [(name, frame) for name in self.batch.crew]
        self.phase = "keys"

    def close_phase(self):
        try:
            getattr(self, f"_close_{self.phase}")()
        except (AbortError, PeerError):
            if self.phase in ("keys", "reveal"):  # members may have lost their keys
                self.batch = None
            self.abort()
            raise

    def abort(self):
        if self.phase == "keys":
            self.batch = None
        self.phase, self.round, self.out = "idle", None, []

    def receive(self, frame, sender=None):
        """Take a frame of a client or member; every check comes before any change."""
        kind, fields = frames.outer(frame, self.settings.limit)
        session, name = fields[:2]
        refuse(sender not in (None, name), AuthenticationError, "the carrier names another sender")
        refuse(name in (SERVER, HOLDER), AuthenticationError, "sender is not in the roster")
        key = signer(self.roster, name)
        refuse(session != self.session, AuthenticationError, "another session")
        if kind == frames.CHUNK:
            self._take_chunk(name, fields)
            return name
        takers = {
            frames.MEMBER_KEY: self._take_key, frames.UPDATE_HEADER: self._take_header, frames.REVEAL: self._take_answer,
        }  # fmt: skip
        refuse(kind not in takers, PeerError, "not a client's or member's frame")
        takers[kind](name, frame, frames.opened(kind, fields, key))
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
        batch = self.batch
        refuse(name not in batch.crew, PeerError, "no key was asked of this client")
        refuse(body[:5] != batch.request, AuthenticationError, "a key that was not asked for")
        if name in batch.keys:
            self._twice(name, batch.keys[name][0] == frame)
            return
        check_key(body)
        refuse(body[5] in [key for _, key in batch.keys.values()], AuthenticationError, "a key twice")
        batch.keys[name] = frame, body[5]

    def _close_keys(self):
        keys = self.batch.keys
        refuse(len(keys) < self.settings.T, ThresholdError, "keys of committee members")
        ordered = [keys[name][0] for name in sorted(keys, key=str.encode)]
        self.batch.setup = Setup(self.settings, self.roster, self.session, ordered)
        self._ask_update()

    # -- masked -------------------------------------------------------------------------------------------------------

    def _ranks(self):
        ids = list(self.roster.clients)
        return [ids.index(name) for name in self.round.participants]

    def _ask_update(self):
        current, setup = self.round, self.batch.setup
        current.participants = self.wanted
        for name in self.wanted:
            keys = None if name in self.batch.shown else setup.frames
            body = [current.round_id, self.settings.hash, setup.hash, self._ranks(), keys]
            self.out.append((name, self._sign(frames.UPDATE_REQUEST, body)))
        self.phase = "masked"

    def _need_uploader(self, name):
        self._need("masked")
        refuse(name not in self.round.participants, PeerError, "no update was asked of this client")
        refuse(name in self.round.refused, PeerError, "this client's upload was refused already")

    def _take_chunk(self, name, fields):
        self._need_uploader(name)
        current, setup, place = self.round, self.batch.setup, (fields[3], fields[4])
        refuse(fields[2] != current.round_id, PeerError, "chunk of another round")
        content = check_chunk(fields, self.settings.sizes(len(setup.ids)), setup.hash, self.roster.clients[name])
        chunks = current.chunks.setdefault(name, {})
        if place in chunks:
            self._twice(name, chunks[place][0] == content)
            return
        chunks[place] = content, fields[6]
        self._try_complete(name)

    def _take_header(self, name, frame, body):
        self._need_uploader(name)
        current, setup = self.round, self.batch.setup
        view = setup.participants_hash(current.round_id, current.participants)
        check_header(self.settings, setup, body, current.round_id, view)
        if name in current.headers:
            self._twice(name, current.headers[name][0] == frame)
            return
        self.batch.shown.add(name)
        current.headers[name] = frame, body
        self._try_complete(name)

    def _try_complete(self, name):
        current, members = self.round, len(self.batch.setup.ids)
        chunks = current.chunks.get(name, {})
        if name not in current.headers or len(chunks) != len(self.settings.sizes(members)):
            return
        body = current.headers[name][1]
        sealed = b"".join(chunks[place][1] for place in sorted(chunks) if place[0] == len(self.settings.parts))
        boxes = [sealed[i * self.settings.box : (i + 1) * self.settings.box] for i in range(members)]
        told = tag({place: content for place, (content, _) in chunks.items()})
        bad = told != body[7] or tree(boxes)[-1][0] != body[6] or not self._well_formed(chunks)
        if bad:
            current.refused.add(name)
        refuse(bad, AuthenticationError, "upload refused")
        current.boxes[name] = boxes

    def _well_formed(self, chunks):
        """Whether every residue is below its prime, and all padding zero."""
        for number, part in enumerate(self.settings.parts):
            for index, (start, stop, _) in enumerate(part.spans()):
                payload = chunks[number, index][1]
                for _, _, count in part.ring.shapes(stop - start):
                    for q in part.ring.primes:
                        size = (count * part.ring.bits + 7) // 8
                        residues = unpack(payload[:size], count, q)
                        if max(residues) >= q or pack(residues, q) != payload[:size]:
                            return False
                        payload = payload[size:]
        return True

    def _close_masked(self):
        current, setup, groups = self.round, self.batch.setup, {}
        self.batch.shown -= set(current.participants) - set(current.headers)
        for name in current.participants:
            if name in current.boxes:
                groups.setdefault(current.headers[name][1][4], []).append(name)
        counts = sorted(map(len, groups.values()), reverse=True)
        refuse(not counts or counts[0] < self.settings.m, ThresholdError, "survivors")
        refuse(len(counts) > 1 and counts[0] == counts[1], AbortError, "two largest groups of one size")
        context, current.survivors = max(groups.items(), key=lambda item: len(item[1]))
        uploads = {name: current.headers[name][1][7] for name in current.survivors}
        current.account = setup.account(self.settings, current.round_id, current.participants, uploads, context)
        headers = [current.headers[name][0] for name in current.survivors]
        trees = [tree(current.boxes[name]) for name in current.survivors]
        for place, member in enumerate(setup.ids):
            sealed = b"".join(current.boxes[name][place] for name in current.survivors)
            paths = b"".join(leaf_path(levels, place) for levels in trees)
            ranks = self._ranks()
            body = [current.round_id, self.settings.hash, setup.hash, ranks, headers, setup.frames, sealed, paths]
            self.out.append((member, self._sign(frames.REVEAL_REQUEST, body)))
        self.phase = "reveal"

    # -- reveal -------------------------------------------------------------------------------------------------------

    def _take_answer(self, name, frame, body):
        self._need("reveal")
        round_id, account, signature, boxed, complaints = body
        current, setup = self.round, self.batch.setup
        refuse(name not in setup.ids, PeerError, "no answer was asked of this client")
        asked = (round_id, account) == (current.round_id, current.account)
        refuse(not asked, AuthenticationError, "answer to another account")
        if name in current.answers:
            self._twice(name, current.answers[name][0] == frame)
            return
        refuse(len(signature) != 64, DecodeError, "a signature has 64 bytes")
        frames.verify(self.roster.clients[name], account, signature)
        ids, share = list(self.roster.clients), None
        ranks = [ids.index(each) for each in current.survivors]
        wrong = complaints != sorted(set(complaints)) or not set(complaints) <= set(ranks)
        refuse(wrong, PeerError, "complaints of nobody, repeated or out of order")
        if complaints:
            refuse(boxed != b"", DecodeError, "an answer beside complaints")
        else:
            share = read_share(self.settings, frames.unseal(self.sealing_key(name), boxed, account))
        current.answers[name] = frame, signature, share, [ids[rank] for rank in complaints]

    def sealing_key(self, name):
        setup = self.batch.setup
        their = setup.keys[setup.ids.index(name)]
        return answer_key(frames.agree(self.batch.private, their), setup, self.round.round_id, name)

    def _close_reveal(self):
        current, setup = self.round, self.batch.setup
        answers = {name: share for name, (_, _, share, _) in current.answers.items() if share is not None}
        rows = {setup.ids.index(name) + 1: share for name, share in answers.items()}
        if len(rows) < self.settings.T:
            error = AbortError if len(rows) < len(current.answers) else ThresholdError
            raise error("answers of the committee")
        right = self._right(dict(sorted(rows.items())))
        blamed = {setup.ids[x - 1] for x in rows if x not in right}
        for name, (_, _, _, names) in current.answers.items():
            blamed |= set(names) if len(names) <= self.settings.c else {name}
        blamed = sorted(blamed, key=str.encode)
        secret_sum = self._secret_sum(right)
        self.phase, self.round = "idle", None  # what does not open from here on is no fault of the keys
        sums = self._open(current, secret_sum)
        self.results[current.round_id] = self._result(current, sums, secret_sum, blamed)

    def _right(self, rows):
        """Return the rows that are right: all but as few as make the rest fit, half of those beyond T at most."""
        for wrong in range((len(rows) - self.settings.T) // 2 + 1):
            for left_out in combinations(rows, wrong):
                rest = {x: row for x, row in rows.items() if x not in left_out}
                if consistent(rest, self.settings.T):
                    return rest
        raise AbortError("members' answers contradict each other")

    def _secret_sum(self, rows):
        """Return the coefficients of the sum of the secrets."""
        settings, xs = self.settings, list(rows)
        elements = packed.combine(xs, list(rows.values()), settings.rho)
        try:
            return packed.unpack_digits(list(chain(*elements)), settings.digit_bits, settings.N)
        except ValueError as error:
            raise AbortError("not the sum of honest secrets") from error

    def _open(self, current, secret_sum):
        settings = self.settings
        public, sums = public_seed(settings, self.roster, self.session, current.round_id), []
        for number, (segment, part) in enumerate(zip(settings.segments, settings.parts, strict=True)):
            row = []
            for index, (start, stop, first) in enumerate(part.spans()):
                payloads = [current.chunks[name][number, index][1] for name in current.survivors]
                values, noise = part.ring.open(payloads, stop - start, secret_sum, public, first)
                inside = -settings.spread <= min(noise) and max(noise) < settings.spread
                refuse(not inside, AbortError, "noise that honest clients do not make")
                row += values
            refuse(max(row) >= 2**segment.w, AbortError, "a sum out of range")
            sums.append(row)
        check_sums(settings, sums, len(current.survivors))
        return sums

    def _result(self, current, sums, secret_sum, blamed):
        setup, result_hash = self.batch.setup, encoding.result_hash(self.settings, sums)
        signatures = {name: made[1] for name, made in current.answers.items()}
        signers = sorted(signatures, key=str.encode)
        signed = [part for name in signers for part in (*encoded([name]), signatures[name])]
        told = digest("receipt", u64(current.round_id), current.account, result_hash, *signed)
        receipt = {
            "format": "secagg receipt v1", "session": self.session.hex(), "round_id": current.round_id,
            "params_hash": self.settings.hash.hex(), "setup_hash": setup.hash.hex(),
            "members_hash": setup.members_hash.hex(),
            "context_hash": current.headers[current.survivors[0]][1][4].hex(), "result_hash": result_hash.hex(),
            "participants": current.participants,
            "uploads": {name: current.headers[name][1][7].hex() for name in current.survivors},
            "signatures": {name: signatures[name].hex() for name in signers},
            "server_signature": frames.sign(self.identity, told).hex(),
        }  # fmt: skip
        return Result(sums, current.survivors, blamed, secret_sum, told, result_hash, receipt)
