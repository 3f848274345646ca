"""An honest server (spec, sections 4 to 8 and 11): phases move only when its caller closes them."""

import json
from dataclasses import dataclass, field

from reference import encoding, frames
from reference.errors import (
    AbortError,
    AuthenticationError,
    DecodeError,
    EquivocationError,
    PeerError,
    ThresholdError,
    refuse,
)
from reference.hashes import digest, u32, u64
from reference.opening import Opener, check_answer, holder_root, open_sums, read_answer
from reference.setup import Setup, advertised, check_ranks, fresh


@dataclass
class Batch:
    """One setup as the server knows it; frames by id until the setup stands, by rank from then on."""

    cohort: list
    request: list
    payload: bytes
    private: bytes
    seen: set
    advertisements: dict = field(default_factory=dict)
    channel_keys: dict = field(default_factory=dict)
    setup: Setup | None = None
    dealings: dict = field(default_factory=dict)
    bodies: dict = field(default_factory=dict)
    members: list | None = None
    complaints: dict = field(default_factory=dict)  # by rank of those whose delivery has arrived


@dataclass
class Round:
    """One round as the server knows it, by rank."""

    round_id: int
    participants: list = field(default_factory=list)
    chunks: dict = field(default_factory=dict)  # rank -> {(segment, index): (tag, payload)}
    headers: dict = field(default_factory=dict)  # rank -> (frame, body)
    vectors: dict = field(default_factory=dict)  # rank -> masked values of each segment, once complete
    refused: set = field(default_factory=set)
    survivors: list = field(default_factory=list)
    account: bytes = b""
    answers: dict = field(default_factory=dict)  # rank -> (frame, signature, shares)


@dataclass
class Result:
    """An opened round."""

    sums: list
    survivors: list
    participants: list
    blamed: dict
    statement: bytes
    result_hash: bytes
    masks: list
    receipt: dict

    @property
    def json(self):
        return json.dumps(self.receipt)


class Server:
    """One server of one session."""

    def __init__(self, settings, roster, identity, entropy, session=None):
        self.settings, self.roster, self.identity, self.entropy = settings, roster, identity, entropy
        self.session = entropy(16) if session is None else session
        self.cohort, self.wanted, self.floor = list(roster.clients), [], -1
        self.phase, self.batch, self.round = "idle", None, None
        self.out, self.equivocations, self.results = [], set(), {}

    def outbox(self):
        """Return (recipient, frame) pairs; a recipient of None means everybody."""
        out, self.out = self.out, []
        return out

    def result(self, round_id):
        return self.results[round_id]

    def _sign(self, kind, body):
        return frames.envelope(kind, self.session, frames.SERVER, body, self.identity)

    # -- the caller's side --------------------------------------------------------------------------------------------

    def open_round(self, round_id, participants=None, cohort=None):
        crew = self.cohort if cohort is None else sorted(cohort, key=str.encode)
        wanted = crew if participants is None else sorted(participants, key=str.encode)
        settings, batch = self.settings, self.batch
        fits = settings.m <= len(wanted) <= settings.p and settings.min_cohort <= len(crew) <= settings.n
        if self.phase != "idle" or not self.floor < round_id < 2**63 or not fits or not set(wanted) <= set(crew):
            raise ValueError("this round cannot be opened")
        again = batch is None or not batch.setup.covers(round_id) or batch.cohort != crew
        if not again:
            again = len(self._ready(wanted)) < settings.m
        self.floor, self.cohort, self.wanted, self.round = round_id, crew, wanted, Round(round_id)
        if again:
            self._ask_keys(round_id)
        else:
            self._ask_masked()

    def close_phase(self):
        try:
            getattr(self, f"_close_{self.phase}")()
        except (AbortError, PeerError):
            self.abort()
            raise

    def abort(self):
        """End the round; its id is burned, a complete setup stays."""
        if self.batch is not None and self.batch.members is None:
            self.batch = None
        self.phase, self.round, self.out = "idle", None, []

    def receive(self, frame, sender=None):
        """Take a client's frame; every check comes before any change."""
        kind, fields = frames.outer(frame, self.settings.limit)
        session, name = fields[:2]
        refuse(sender not in (None, name), AuthenticationError, "the carrier names another sender")
        refuse(name not in self.roster.clients, AuthenticationError, "sender is not in the roster")
        refuse(session != self.session, AuthenticationError, "another session")
        if kind == frames.CHUNK:
            self._take_chunk(name, fields)
            return name
        takers = {
            frames.ADVERTISEMENT: ("keys", self._take_advertisement), frames.DEALING: ("shares", self._take_dealing),
            frames.HEADER: ("masked", self._take_header), frames.UNMASK: ("unmask", self._take_answer),
        }  # fmt: skip
        refuse(kind not in takers, PeerError, "not a client's frame")
        body = frames.opened(kind, fields, self.roster.clients[name])
        phase, take = takers[kind]
        refuse(self.phase != phase, PeerError, "frame of a phase that is not open")
        take(name, frame, body)
        return name

    def _twice(self, name, same):
        if not same:
            self.equivocations.add(name)
            raise EquivocationError("a second, different frame")

    # -- setup --------------------------------------------------------------------------------------------------------

    def _ask_keys(self, round_id):
        private = self.entropy(32)
        body = [round_id, self.settings.rounds, self.settings.hash, self.roster.hash, frames.public(private)]
        frame = self._sign(frames.KEYS_REQUEST, body)
        self.batch = Batch(self.cohort, body, frames.outer(frame)[1][3], private, {body[4]})
        everybody = self.cohort == list(self.roster.clients)
        self.out += [(None, frame)] if everybody else [(name, frame) for name in self.cohort]
        self.phase = "keys"

    def _take_advertisement(self, name, frame, body):
        batch = self.batch
        refuse(name not in batch.cohort, PeerError, "not asked for keys")
        keys = advertised(body, batch.request)
        if name in batch.advertisements:
            self._twice(name, batch.advertisements[name] == frame)
            return
        fresh(keys, batch.seen)
        batch.advertisements[name], batch.channel_keys[name] = frame, keys[0]

    def _close_keys(self):
        batch = self.batch
        refuse(len(batch.advertisements) < self.settings.min_cohort, ThresholdError, "clients that sent keys")
        listed = [batch.advertisements[name] for name in sorted(batch.advertisements, key=str.encode)]
        batch.setup = Setup(self.settings, self.roster, self.session, batch.payload, listed)
        frame = self._sign(frames.SHARES_REQUEST, [batch.request[0], listed])
        self.out += [(name, frame) for name in batch.setup.ids]
        self.phase = "shares"

    def _take_dealing(self, name, frame, body):
        batch, setup = self.batch, self.batch.setup
        refuse(name not in setup.ids, PeerError, "shares without keys")
        first, setup_hash, commitments, roots, boxes = body
        refuse((first, setup_hash) != (setup.first_round, setup.hash), AuthenticationError, "another setup")
        rank = setup.ids.index(name)
        if rank in batch.dealings:
            self._twice(name, batch.dealings[rank] == frame)
            return
        others = len(setup.graph[rank])
        wanted = (32 * setup.rounds, 32 * (others + 1), (44 + 64 * setup.rounds) * others)
        refuse((len(commitments), len(roots), len(boxes)) != wanted, DecodeError, "shares of another length")
        batch.dealings[rank], batch.bodies[rank] = frame, body

    def _close_shares(self):
        members = sorted(self.batch.dealings)
        refuse(len(members) < self.settings.min_cohort, ThresholdError, "clients that dealt shares")
        self.batch.members = members
        self._ask_masked()

    def delivery(self, rank):
        """Return what the others dealt to one client, or None once a frame of its has shown that it arrived."""
        batch, setup = self.batch, self.batch.setup
        if rank in batch.complaints:
            return None
        size, roots, boxes = 44 + 64 * setup.rounds, b"", b""
        for dealer in [other for other in setup.graph[rank] if other in batch.members]:
            body, at = batch.bodies[dealer], setup.graph[dealer].index(rank)
            roots += holder_root(setup, dealer, rank, body[3])
            boxes += body[4][size * at : size * at + size]
        return [batch.members, roots, boxes]

    # -- masked -------------------------------------------------------------------------------------------------------

    def _openable(self, rank):
        """Whether enough members could hold good shares of this one."""
        batch = self.batch
        holders = [other for other in batch.setup.graph[rank] if other in batch.members]
        return 1 + len([h for h in holders if rank not in batch.complaints.get(h, ())]) >= self.settings.t

    def _ready(self, wanted):
        setup = self.batch.setup
        return [rank for rank in self.batch.members if setup.ids[rank] in wanted and self._openable(rank)]

    def _ask_masked(self):
        current, setup = self.round, self.batch.setup
        current.participants = self._ready(self.wanted)
        refuse(len(current.participants) < self.settings.m, ThresholdError, "participants with shares")
        self.phase = "masked"
        for rank in current.participants:
            body = [current.round_id, setup.hash, current.participants, self.delivery(rank)]
            self.out.append((setup.ids[rank], self._sign(frames.MASKED_REQUEST, body)))

    def _uploader(self, name):
        refuse(self.phase != "masked", PeerError, "frame of a phase that is not open")
        setup = self.batch.setup
        rank = setup.ids.index(name) if name in setup.ids else None
        refuse(rank not in self.round.participants, PeerError, "no update was asked of this client")
        refuse(rank in self.round.refused, PeerError, "this client's upload was refused already")
        return rank

    def _server_key(self, label, rank):
        setup = self.batch.setup
        shared = frames.agree(self.batch.private, setup.channel_keys[rank])
        return setup.server_box_key(shared, label, rank, self.round.round_id)

    def _take_chunk(self, name, fields):
        rank, current, settings = self._uploader(name), self.round, self.settings
        _, _, round_id, number, index, tag, payload = fields
        refuse(round_id != current.round_id, PeerError, "chunk of another round")
        inside = number < len(settings.segments) and index < len(settings.chunks(number))
        refuse(not inside, DecodeError, "chunk outside the vector")
        start, stop = settings.chunks(number)[index]
        size = -(-(stop - start) * settings.segments[number].w // 8)
        refuse(len(payload) != size, DecodeError, "chunk of another length")
        made = frames.gmac(self._server_key("upload", rank), u32(number) + u64(index), payload)
        refuse(made != tag, AuthenticationError, "chunk tag does not hold")
        chunks = current.chunks.setdefault(rank, {})
        if (number, index) in chunks:
            self._twice(name, chunks[number, index][0] == tag)
            return
        chunks[number, index] = tag, payload
        self._try_complete(rank)

    def _take_header(self, name, frame, body):
        rank, current, batch = self._uploader(name), self.round, self.batch
        batch.setup.read_header(body, current.round_id, batch.members, current.participants)
        if rank in current.headers:
            self._twice(name, current.headers[rank][0] == frame)
            return
        self._note(name, rank, body[7])
        current.headers[rank] = frame, body
        self._try_complete(rank)

    def _note(self, name, rank, complaints):
        """Take the first frame's complaints as final, and the delivery as arrived."""
        if rank in self.batch.complaints:
            self._twice(name, complaints == self.batch.complaints[rank])
            return
        check_ranks(complaints, self.batch.setup.graph[rank])
        self.batch.complaints[rank] = complaints

    def _try_complete(self, rank):
        current, settings = self.round, self.settings
        chunks, places = current.chunks.get(rank, {}), []
        for number in range(len(settings.segments)):
            places += [(number, index) for index in range(len(settings.chunks(number)))]
        if rank not in current.headers or len(chunks) != len(places):
            return
        try:
            tag = digest("upload", b"".join(chunks[place][0] for place in places))
            refuse(tag != current.headers[rank][1][6], AuthenticationError, "upload is not its header's")
            vectors = [[] for _ in settings.segments]
            for number, index in places:
                start, stop = settings.chunks(number)[index]
                part = settings.segments[number]
                vectors[number] += encoding.unpack(chunks[number, index][1], part.w, stop - start)
        except (AuthenticationError, ValueError) as error:
            current.refused.add(rank)
            raise AuthenticationError("upload refused") from error
        current.vectors[rank] = vectors

    def _close_masked(self):
        current, setup, groups = self.round, self.batch.setup, {}
        for rank in sorted(current.vectors):
            groups.setdefault(current.headers[rank][1][5], []).append(rank)
        sizes = sorted(map(len, groups.values()), reverse=True)
        refuse(not sizes or sizes[0] < self.settings.m, ThresholdError, "survivors")
        refuse(len(sizes) > 1 and sizes[0] == sizes[1], AbortError, "two largest groups of one size")
        context, current.survivors = max(groups.items(), key=lambda item: len(item[1]))
        refuse(not all(map(self._openable, current.survivors)), AbortError, "a survivor that nobody could open")
        current.account = setup.account(
            current.round_id, self.batch.members, current.participants, self._uploads(), context
        )
        headers = [current.headers[rank][0] for rank in current.survivors]
        self.phase = "unmask"
        for rank in self._asked():
            body = [current.round_id, setup.hash, current.participants, headers, self.delivery(rank)]
            self.out.append((setup.ids[rank], self._sign(frames.UNMASK_REQUEST, body)))

    def _uploads(self):
        return {rank: self.round.headers[rank][1][6] for rank in self.round.survivors}

    def _asked(self):
        current = self.round
        return [r for r in self.batch.members if r not in current.participants or r in current.survivors]

    # -- unmask -------------------------------------------------------------------------------------------------------

    def _take_answer(self, name, frame, body):
        batch, setup, current = self.batch, self.batch.setup, self.round
        rank = setup.ids.index(name) if name in setup.ids else None
        refuse(rank not in self._asked(), PeerError, "no answer was asked of this client")
        refuse(body[0] != current.round_id, PeerError, "answer of another round")
        refuse(body[1] != current.account, AuthenticationError, "answer to another account")
        if rank in current.answers:
            self._twice(name, current.answers[rank][0] == frame)
            return
        keys = self.roster.clients[name], self._server_key("answer", rank)
        answer = check_answer(setup, keys, current.account, body)
        complaints = batch.complaints.get(rank, body[4])
        shares = read_answer(answer, setup, rank, complaints, batch.members, current.participants, current.survivors)
        self._note(name, rank, body[4])
        current.answers[rank] = frame, body[2], shares

    def _close_unmask(self):
        batch, setup, current = self.batch, self.batch.setup, self.round
        refuse(len(current.answers) < self.settings.t, ThresholdError, "answers at unmask")
        answers = {rank: shares for rank, (_, _, shares) in sorted(current.answers.items())}
        opener = Opener(setup, current.round_id, batch.bodies, answers)
        masks = opener.masks(current.participants, current.survivors)
        sums = open_sums(self.settings, [current.vectors[rank] for rank in current.survivors], masks)
        self.results[current.round_id] = self._result(sums, masks, opener.blamed)
        self.phase, self.round = "idle", None

    def _result(self, sums, masks, blamed):
        current, setup = self.round, self.batch.setup
        result_hash = encoding.result_hash(self.settings, sums)
        signed = {setup.ids[rank]: signature for rank, (_, signature, _) in sorted(current.answers.items())}
        parts = [part for name, signature in signed.items() for part in (name.encode(), signature)]
        statement = digest("receipt", u64(current.round_id), current.account, result_hash, *parts)
        bound = setup.bindings(current.round_id, self.batch.members, current.participants)
        names = [setup.ids[rank] for rank in current.participants]
        uploads = {setup.ids[rank]: tag.hex() for rank, tag in sorted(self._uploads().items())}
        receipt = {
            "format": "secagg receipt v1", "session": self.session.hex(), "round_id": current.round_id,
            "params_hash": bound[1].hex(), "setup_hash": bound[2].hex(), "members_hash": bound[3].hex(),
            "context_hash": current.headers[current.survivors[0]][1][5].hex(), "result_hash": result_hash.hex(),
            "participants": names, "uploads": uploads,
            "signatures": {name: signature.hex() for name, signature in signed.items()},
            "server_signature": frames.sign(self.identity, statement).hex(),
        }  # fmt: skip
        return Result(sums, list(uploads), names, blamed, statement, result_hash, masks, receipt)
