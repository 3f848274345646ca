"""An honest client and what a server computes from frames (spec, sections 4 to 7)."""

from dataclasses import dataclass

from reference import dealing, encoding, field, frames, msgpack, stream
from reference.hashes import digest, hkdf, u32, u64


@dataclass
class Settings:
    """What of Params the arithmetic needs; segments are (w, count), the head first."""

    threshold: int
    neighbours: int
    frame_bytes: int
    params_hash: bytes
    segments: list


class Setup:
    """What the keys phase fixes, read from the two requests."""

    def __init__(self, settings, keys_request, shares_request):
        self.settings = settings
        _, (self.session, _, _, payload) = frames.outer(keys_request)
        self.first_round, self.rounds, _, _, self.server_key = frames.body(keys_request)
        _, advertisements = frames.body(shares_request)
        self.ids = [frames.outer(frame)[1][1] for frame in advertisements]
        bodies = [frames.body(frame) for frame in advertisements]
        self.channel_keys = [body[4] for body in bodies]
        self.mask_keys = [[body[5][i : i + 32] for i in range(0, 32 * self.rounds, 32)] for body in bodies]
        self.hash = digest("setup", self.session, payload, *advertisements)
        self.graph = stream.share_graph(self.hash, len(self.ids), settings.neighbours)

    def names(self, ranks):
        return [self.ids[rank].encode() for rank in ranks]

    def members_hash(self, members):
        return digest("members", self.hash, *self.names(members))

    def participants_hash(self, round_id, ranks):
        return digest("participants", self.hash, u64(round_id), *self.names(ranks))

    def account(self, round_id, members, participants, uploads, context_hash):
        """`uploads` maps a survivor's rank to the tag in its header."""
        alive = [part for rank in sorted(uploads) for part in (self.ids[rank].encode(), uploads[rank])]
        alive = digest("survivors", self.hash, u64(round_id), *alive)
        return digest(
            "account", self.session, u64(round_id), self.settings.params_hash, self.hash, self.members_hash(members),
            self.participants_hash(round_id, participants), alive, context_hash,
        )  # fmt: skip

    def pair_seed(self, shared, round_id, participants, one, other):
        low, high = self.names(sorted((one, other)))
        view = self.participants_hash(round_id, participants)
        return hkdf(shared, "mask", self.session, u64(round_id), self.hash, view, low, high, length=16)

    def edges(self, round_id, participants):
        view = self.participants_hash(round_id, participants)
        return stream.mask_graph(self.hash, round_id, view, participants, self.settings.neighbours)


class Client:
    """An honest client; its secrets come from `entropy` in the order of the spec."""

    def __init__(self, settings, me, identity, entropy):
        self.settings, self.me, self.identity, self.entropy = settings, me, identity, entropy

    def _envelope(self, kind, body):
        return frames.envelope(kind, self.session, self.me, body, self.identity)

    def advertise(self, request):
        self.keys_request = request
        self.session = frames.outer(request)[1][0]
        first, rounds, params_hash, _, server_key = frames.body(request)
        self.channel = self.entropy(32)
        self.keys = [self.entropy(32) for _ in range(rounds)]
        self.seeds = [self.entropy(16) for _ in range(rounds)]
        self.rounding = self.entropy(32)
        self.sharing = self.entropy(32)
        publics = b"".join(map(frames.public, self.keys))
        return self._envelope(
            frames.ADVERTISEMENT, [first, rounds, params_hash, server_key, frames.public(self.channel), publics]
        )

    def deal(self, request):
        self.setup = setup = Setup(self.settings, self.keys_request, request)
        self.rank = setup.ids.index(self.me)
        neighbours = sorted(setup.graph[self.rank])
        derived = stream.Source(hkdf(self.sharing, "dealing", setup.hash, length=16))
        plain = dealing.plaintexts(self.seeds, self.keys, self.settings.threshold, self.rank, neighbours, derived)
        self.own = plain[self.rank]
        boxes = b"".join(
            frames.seal(self._box_key(rank, self.me, setup.ids[rank]), plain[rank], setup.hash, derived)
            for rank in neighbours
        )
        roots = b"".join(dealing.root(plain[rank]) for rank in sorted(plain))
        commitments = b"".join(
            dealing.commitment(setup.hash, self.me, setup.first_round + i, seed) for i, seed in enumerate(self.seeds)
        )
        return self._envelope(frames.DEALING, [setup.first_round, setup.hash, commitments, roots, boxes])

    def _box_key(self, peer, sender, holder):
        shared = frames.agree(self.channel, self.setup.channel_keys[peer])
        return hkdf(shared, "share", self.setup.hash, sender.encode(), holder.encode(), length=32)

    def take(self, delivery):
        """Open what the others dealt; a box that does not open is left to the engine's own tests."""
        if delivery is None:
            return
        self.members, _, boxes = delivery
        size = 28 + 16 + 64 * self.setup.rounds
        self.held = {self.rank: self.own}
        dealers = [rank for rank in sorted(self.setup.graph[self.rank]) if rank in self.members]
        for i, rank in enumerate(dealers):
            key = self._box_key(rank, self.setup.ids[rank], self.me)
            self.held[rank] = frames.unseal(key, boxes[i * size : (i + 1) * size], self.setup.hash)

    def server_key(self, label, round_id):
        shared = frames.agree(self.channel, self.setup.server_key)
        return hkdf(shared, label, self.setup.hash, self.me.encode(), u64(round_id), length=32)

    def rounding_key(self, round_id):
        return hkdf(self.rounding, "rounding", u64(round_id), length=16)

    def masks(self, round_id, participants):
        """Return (key, sign) of every mask on this client's vector."""
        setup, at = self.setup, round_id - self.setup.first_round
        masks = [(self.seeds[at], 1)]
        for rank in sorted(setup.edges(round_id, participants)[self.rank]):
            shared = frames.agree(self.keys[at], setup.mask_keys[rank][at])
            seed = setup.pair_seed(shared, round_id, participants, self.rank, rank)
            masks.append((seed, 1 if self.rank < rank else -1))
        return masks

    def upload(self, request, vectors, context):
        """Return the chunks and the header for encoded vectors."""
        round_id, _, participants, delivery = frames.body(request)
        self.take(delivery)
        masks, mac = self.masks(round_id, participants), self.server_key("upload", round_id)
        out, tags = [], []
        for number, ((w, count), vector) in enumerate(zip(self.settings.segments, vectors, strict=True)):
            masked = apply(vector, masks, number, w)
            for index, (start, stop) in enumerate(encoding.chunks(count, w, self.settings.frame_bytes)):
                payload = encoding.pack(masked[start:stop], w)
                tags.append(frames.gmac(mac, u32(number) + u64(index), payload))
                out.append(frames.chunk(self.session, self.me, round_id, number, index, tags[-1], payload))
        header = [
            round_id, self.settings.params_hash, self.setup.hash, self.setup.members_hash(self.members),
            self.setup.participants_hash(round_id, participants), digest("context", context),
            digest("upload", b"".join(tags)), [],
        ]  # fmt: skip
        return [*out, self._envelope(frames.HEADER, header)]

    def answer(self, request):
        round_id, _, participants, headers, delivery = frames.body(request)
        self.take(delivery)
        uploads = {self.setup.ids.index(frames.outer(frame)[1][1]): frames.body(frame)[6] for frame in headers}
        survivors, context_hash = sorted(uploads), frames.body(headers[0])[5]
        account = self.setup.account(round_id, self.members, participants, uploads, context_hash)
        parts = [b"", b"", b"", b""]
        for rank in sorted(set(self.held) & set(participants)):
            kind = 0 if rank in survivors else 1
            leaf = 2 * (round_id - self.setup.first_round) + kind
            parts[kind] += dealing.shares_of(self.held[rank])[1][leaf]
            parts[2 + kind] += dealing.opening(self.held[rank], leaf)
        sealed = frames.seal(self.server_key("answer", round_id), msgpack.pack(parts), account, self.entropy)
        return self._envelope(frames.UNMASK, [round_id, account, frames.sign(self.identity, account), sealed, []])


def apply(vector, masks, number, w):
    """Return the vector plus the signed masks, modulo 2^w."""
    total = list(vector)
    for key, sign in masks:
        total = [(a + sign * b) % 2**w for a, b in zip(total, stream.mask(key, number, w, len(total)), strict=True)]
    return total


def open_sum(setup, round_id, participants, survivors, payloads, answers):
    """Return the opened sum of each segment.

    `payloads` maps a survivor to its packed segments (chunks joined), `answers` a holder's rank to its four answer fields.
    """
    settings, at = setup.settings, round_id - setup.first_round
    shares = {rank: {} for rank in participants}
    for holder, (seed_shares, key_shares, _, _) in answers.items():
        known = [rank for rank in participants if rank == holder or rank in setup.graph[holder]]
        for data, size, targets in (
            (seed_shares, 24, [r for r in known if r in survivors]),
            (key_shares, 40, [r for r in known if r not in survivors]),
        ):
            for i, rank in enumerate(targets):
                shares[rank][holder + 1] = data[i * size : (i + 1) * size]
    masks = []
    edges = setup.edges(round_id, participants)
    for rank in participants:
        length = 16 if rank in survivors else 32
        needed = settings.threshold if rank in survivors else min(settings.threshold, len(setup.graph[rank]))
        secret = field.combine(dict(sorted(shares[rank].items())[:needed]), length)
        if rank in survivors:
            masks.append((secret, -1))
            continue
        for other in edges[rank] & set(survivors):
            shared = frames.agree(secret, setup.mask_keys[other][at])
            seed = setup.pair_seed(shared, round_id, participants, rank, other)
            masks.append((seed, -1 if other < rank else 1))
    sums = []
    for number, (w, count) in enumerate(settings.segments):
        total = [0] * count
        for rank in survivors:
            values = payloads[rank][number]
            total = [(a + b) % 2**w for a, b in zip(total, values, strict=True)]
        sums.append(apply(total, masks, number, w))
    return sums
