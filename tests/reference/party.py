"""An honest client (spec, sections 4 to 7 and 11). It refuses what the spec refuses, and forgets nothing: for tests only."""

from dataclasses import dataclass, field

from reference import dealing, encoding, frames, msgpack, stream
from reference.errors import AbortError, AuthenticationError, EquivocationError, PeerError, refuse
from reference.hashes import digest, hkdf, u32, u64
from reference.setup import Setup, check_ranks


@dataclass
class Batch:
    """One setup as the client knows it; secrets in the order in which they are drawn."""

    request: bytes
    first_round: int
    channel: bytes
    keys: list
    seeds: list
    rounding: bytes
    sharing: bytes
    advertisement: bytes = b""
    setup: Setup | None = None
    shares_request: bytes = b""
    dealing: bytes = b""
    plain: dict = field(default_factory=dict)  # what we dealt, by holder
    members: list | None = None  # None until a delivery was accepted
    held: dict = field(default_factory=dict)  # what was dealt to us, by dealer
    complaints: list = field(default_factory=list)


@dataclass
class Round:
    """The client's view of the round in progress."""

    round_id: int
    participants: list
    state: str = "idle"  # awaiting, submitted, answered
    header: bytes = b""
    frames: list = field(default_factory=list)
    again: bool = False
    request: bytes = b""
    answer: bytes = b""


class Client:
    """One client of one session; its secrets come from `entropy` in the order of the spec."""

    def __init__(self, settings, roster, me, identity, entropy, session=None):
        self.settings, self.roster, self.me, self.identity, self.entropy = settings, roster, me, identity, entropy
        self.session, self.learnt = session, session is None
        self.batch, self.round, self.floor, self.out = None, None, -1, []

    @property
    def awaiting(self):
        """The round that an update is asked for, or None."""
        asked = self.round is not None and (self.round.state == "awaiting" or self.round.again)
        return self.round.round_id if asked else None

    def outbox(self):
        out, self.out = self.out, []
        return out

    def _envelope(self, kind, body, session=None):
        return frames.envelope(kind, session or self.session, self.me, body, self.identity)

    def receive(self, frame):
        kind, fields = frames.outer(frame, self.settings.limit)
        refuse(kind not in frames.REQUESTS or fields[1] != frames.SERVER, PeerError, "no request of the server's")
        session, payload = fields[0], fields[3]
        other = self.session not in (None, session)
        refuse(other and not (self.learnt and kind == frames.KEYS_REQUEST), AuthenticationError, "another session")
        body = frames.opened(kind, fields, self.roster.server)
        match kind:
            case frames.KEYS_REQUEST:
                self._keys(session, payload, body)
            case frames.SHARES_REQUEST:
                self._shares(payload, body)
            case frames.MASKED_REQUEST:
                self._masked(body)
            case frames.UNMASK_REQUEST:
                self._unmask(payload, body)

    # -- setup --------------------------------------------------------------------------------------------------------

    def _keys(self, session, payload, body):
        first, rounds, params_hash, roster_hash, server_key = body
        batch, floor = (self.batch, self.floor) if session == self.session else (None, -1)
        if batch is not None and batch.request == payload:
            self.out.append(batch.advertisement)
            return
        if batch is not None and batch.first_round == first:
            raise EquivocationError("a second, different keys request")
        bound = (params_hash, roster_hash, rounds) == (self.settings.hash, self.roster.hash, self.settings.rounds)
        refuse(not bound, AuthenticationError, "other Params or roster")
        refuse(not floor < first < 2**63, PeerError, "first_round does not increase")
        frames.check_public(server_key)
        batch = Batch(
            payload, first, self.entropy(32), [self.entropy(32) for _ in range(rounds)],
            [self.entropy(16) for _ in range(rounds)], self.entropy(32), self.entropy(32),
        )  # fmt: skip
        publics = b"".join(map(frames.public, batch.keys))
        advertised = [first, rounds, params_hash, server_key, frames.public(batch.channel), publics]
        batch.advertisement = self._envelope(frames.ADVERTISEMENT, advertised, session)
        self.session, self.batch, self.round, self.floor = session, batch, None, max(floor, first - 1)
        self.out.append(batch.advertisement)

    def _shares(self, payload, body):
        batch = self.batch
        refuse(batch is None or body[0] != batch.first_round, PeerError, "shares request of another setup")
        if batch.setup is not None:
            refuse(batch.shares_request != payload, EquivocationError, "a second, different shares request")
            refuse(batch.members is not None, PeerError, "the setup is complete")
            self.out.append(batch.dealing)
            return
        setup = Setup(self.settings, self.roster, self.session, batch.request, body[1])
        own = [frame for name, frame in zip(setup.ids, body[1], strict=True) if name == self.me]
        refuse(own != [batch.advertisement], AuthenticationError, "our own keys were left out or substituted")
        batch.setup, batch.shares_request = setup, payload
        self.rank, self.learnt = setup.ids.index(self.me), False
        batch.dealing = self._deal(batch, setup)
        self.out.append(batch.dealing)

    def _deal(self, batch, setup):
        neighbours = setup.graph[self.rank]
        derived = stream.Source(hkdf(batch.sharing, "dealing", setup.hash, length=16))
        plain = dealing.plaintexts(batch.seeds, batch.keys, self.settings.t, self.rank, neighbours, derived)
        boxes = [
            frames.seal(self._box_key(rank, self.rank, rank), plain[rank], setup.hash, derived) for rank in neighbours
        ]
        roots = [dealing.root(plain[rank]) for rank in sorted(plain)]
        commitments = [
            dealing.commitment(setup.hash, self.me, setup.first_round + i, seed) for i, seed in enumerate(batch.seeds)
        ]
        batch.plain = plain
        joined = map(b"".join, (commitments, roots, boxes))
        return self._envelope(frames.DEALING, [setup.first_round, setup.hash, *joined])

    def _box_key(self, peer, dealer, holder):
        shared = frames.agree(self.batch.channel, self.batch.setup.channel_keys[peer])
        return self.batch.setup.box_key(shared, dealer, holder)

    def _check_delivery(self, delivery):
        """Return (members, held, complaints), of a first delivery or as they are known; nothing changes yet."""
        batch = self.batch
        if batch.members is not None:
            refuse(delivery is not None and delivery[0] != batch.members, EquivocationError, "other members")
            return batch.members, batch.held, batch.complaints
        refuse(delivery is None, PeerError, "request without the delivery")
        setup, members = batch.setup, delivery[0]
        check_ranks(members, range(len(setup.ids)))
        refuse(self.rank not in members, AbortError, "this setup goes on without us")
        refuse(len(members) < self.settings.min_cohort, PeerError, "fewer members than min_cohort")
        dealers = [rank for rank in setup.graph[self.rank] if rank in members]
        held, complaints = {self.rank: batch.plain[self.rank]}, []
        for rank, (root, box) in setup.check_delivery(delivery, dealers).items():
            try:
                plain = frames.unseal(self._box_key(rank, rank, self.rank), box, setup.hash)
            except AuthenticationError:
                complaints.append(rank)
                continue
            if dealing.root(plain) == root:
                held[rank] = plain
            else:
                complaints.append(rank)
        return members, held, complaints

    def _accept(self, delivered):
        self.batch.members, self.batch.held, self.batch.complaints = delivered

    # -- rounds -------------------------------------------------------------------------------------------------------

    def _need_setup(self, round_id, setup_hash):
        refuse(self.batch is None or self.batch.setup is None, PeerError, "no shares were dealt yet")
        setup = self.batch.setup
        refuse(setup.hash != setup_hash, AuthenticationError, "request of another setup")
        refuse(not setup.covers(round_id), PeerError, "round outside the setup")
        return setup

    def _enter(self, current):
        self.round, self.floor = current, current.round_id

    def _masked(self, body):
        round_id, setup_hash, participants, delivery = body
        setup, current = self._need_setup(round_id, setup_hash), self.round
        if current is not None and current.round_id == round_id:
            refuse(current.participants != participants, EquivocationError, "other participants")
            self._check_delivery(delivery)
            refuse(current.state == "answered", PeerError, "the round was answered")
            current.again = current.state == "submitted"
            return
        refuse(round_id <= self.floor, PeerError, "round id does not increase")
        delivered = self._check_delivery(delivery)
        setup.check_participants(delivered[0], participants)
        refuse(self.rank not in participants, PeerError, "we are no participant")
        self._accept(delivered)
        self._enter(Round(round_id, participants, "awaiting"))

    def server_key(self, label, round_id):
        setup = self.batch.setup
        shared = frames.agree(self.batch.channel, setup.server_key)
        return setup.server_box_key(shared, label, self.rank, round_id)

    def rounding_key(self, round_id):
        return hkdf(self.batch.rounding, "rounding", u64(round_id), length=16)

    def masks(self, round_id, participants):
        """Return (key, sign) of every mask on this client's vector, the self-mask first, then by rank."""
        setup, at = self.batch.setup, round_id - self.batch.setup.first_round
        masks = [(self.batch.seeds[at], 1)]
        for rank in sorted(setup.edges(round_id, participants)[self.rank]):
            seed = setup.pair_seed(self.batch.keys[at], round_id, participants, self.rank, rank)
            masks.append((seed, 1 if self.rank < rank else -1))
        return masks

    def submit(self, values, weight=1, metrics=(), context=b""):
        """Protect the awaited update: `values` in layout order."""
        if self.awaiting is None:
            raise ValueError("no update is awaited")
        made = self.protect(self.settings.encode(values, weight, metrics, self.rounding_key(self.awaiting)), context)
        if self.round.frames not in ([], made):
            raise ValueError("another update was submitted already")
        self.round.frames, self.round.header, self.round.again = made, made[-1], False
        self.round.state = "submitted"
        self.out += made

    def protect(self, vectors, context):
        """Return the chunks and the header for encoded vectors."""
        batch, round_id, participants = self.batch, self.round.round_id, self.round.participants
        masks, mac = self.masks(round_id, participants), self.server_key("upload", round_id)
        out, tags = [], []
        for number, (part, vector) in enumerate(zip(self.settings.segments, vectors, strict=True)):
            masked = apply(vector, masks, number, part.w)
            for index, (start, stop) in enumerate(self.settings.chunks(number)):
                payload = encoding.pack(masked[start:stop], part.w)
                tags.append(frames.gmac(mac, u32(number) + u64(index), payload))
                out.append(frames.chunk(self.session, self.me, round_id, number, index, tags[-1], payload))
        header = [
            *batch.setup.bindings(round_id, batch.members, participants),
            digest("context", context), digest("upload", b"".join(tags)), batch.complaints,
        ]  # fmt: skip
        return [*out, self._envelope(frames.HEADER, header)]

    def _unmask(self, payload, body):
        round_id, setup_hash, participants, shown, delivery = body
        setup, current = self._need_setup(round_id, setup_hash), self.round
        if current is not None and current.round_id == round_id:
            refuse(current.participants != participants, EquivocationError, "other participants")
        else:
            refuse(round_id <= self.floor, PeerError, "request of an earlier round")
            current = Round(round_id, participants)
        if current.state == "answered":
            refuse(current.request != payload, EquivocationError, "a second, different unmask request")
            self.out.append(current.answer)
            return
        delivered = self._check_delivery(delivery)
        members, held, complaints = delivered
        setup.check_participants(members, participants)
        uploads, context_hash = self._survivors(setup, current, members, shown)
        if self.rank in participants and self.rank not in uploads:
            self._accept(delivered)
            self._enter(current)
            self.round = None
            raise AbortError("told that we dropped out; nothing was released")
        account = setup.account(round_id, members, participants, uploads, context_hash)
        plain = msgpack.pack(reveal(held, round_id - setup.first_round, uploads, participants))
        sealed = frames.seal(self.server_key("answer", round_id), plain, account, self.entropy)
        made = [round_id, account, frames.sign(self.identity, account), sealed, complaints]
        self._accept(delivered)
        self._enter(current)
        current.state, current.request, current.again = "answered", payload, False
        current.answer = self._envelope(frames.UNMASK, made)
        self.out.append(current.answer)

    def _survivors(self, setup, current, members, shown):
        """Return each survivor's tag by rank, and their one context hash."""
        refuse(len(shown) < self.settings.m, PeerError, "fewer survivors than m")
        uploads, contexts = {}, set()
        for frame in shown:
            name, body = frames.relayed(frame, frames.HEADER, self.session, self.roster, self.settings.limit)
            rank = setup.ids.index(name) if name in setup.ids else None
            refuse(rank not in current.participants, AuthenticationError, "survivor is no participant")
            refuse(uploads and rank <= max(uploads), AuthenticationError, "survivors unsorted or repeated")
            context_hash, uploads[rank] = setup.read_header(body, current.round_id, members, current.participants)
            contexts.add(context_hash)
            refuse(len(contexts) > 1, AuthenticationError, "survivors of different contexts")
            refuse(rank == self.rank and frame != current.header, AuthenticationError, "our header was substituted")
        return uploads, contexts.pop()


def reveal(held, at, survivors, participants):
    """Return the four fields of an answer: one kind of share for each participant."""
    parts = [b"", b"", b"", b""]
    for rank in sorted(set(held) & set(participants)):
        kind = 0 if rank in survivors else 1
        parts[kind] += dealing.shares_of(held[rank])[1][2 * at + kind]
        parts[2 + kind] += dealing.opening(held[rank], 2 * at + kind)
    return parts


def apply(vector, masks, number, w):
    """Return the vector plus the signed masks, modulo 2^w."""
    total = list(vector)
    for key, sign in masks:
        total = [(a + sign * b) % 2**w for a, b in zip(total, stream.mask(key, number, w, len(total)), strict=True)]
    return total
