"""What a keys phase fixes for everybody, and the hashes that name a round (spec, sections 4 to 7)."""

from itertools import pairwise

from reference import frames, msgpack, stream
from reference.errors import AuthenticationError, PeerError, refuse
from reference.hashes import digest, hkdf, u64


def check_ranks(ranks, within):
    wrong = any(b <= a for a, b in pairwise(ranks)) or not set(ranks) <= set(within)
    refuse(wrong, PeerError, "ranks unsorted, repeated or unknown")


def advertised(body, request):
    """Return the public keys of an advertisement that answers exactly this request."""
    first, rounds, params_hash, server_key, channel_key, mask_keys = body
    same = [first, rounds, params_hash, server_key] == [request[0], request[1], request[2], request[4]]
    refuse(not same, AuthenticationError, "advertisement answers another request")
    refuse(len(mask_keys) != 32 * rounds, PeerError, "keys of another length")
    keys = [channel_key, *(mask_keys[i : i + 32] for i in range(0, len(mask_keys), 32))]
    for key in keys:
        frames.check_public(key)
    return keys


def fresh(keys, seen):
    refuse(len(set(keys)) != len(keys) or not seen.isdisjoint(keys), AuthenticationError, "a key occurs twice")
    seen.update(keys)


class Setup:
    """The outcome of the keys phase; `request` is the keys request's payload."""

    def __init__(self, settings, roster, session, request, advertisements):
        self.settings, self.session = settings, session
        asked = msgpack.unpack(request)
        self.first_round, self.rounds, _, _, self.server_key = asked
        refuse(len(advertisements) > settings.n, PeerError, "more advertisements than clients")
        refuse(len(advertisements) < settings.min_cohort, PeerError, "cohort below min_cohort")
        self.ids, self.channel_keys, self.mask_keys, seen = [], [], [], {self.server_key}
        for frame in advertisements:
            sender, body = frames.relayed(frame, frames.ADVERTISEMENT, session, roster, settings.limit)
            refuse(
                self.ids and self.ids[-1].encode() >= sender.encode(), AuthenticationError,
                "advertisements unsorted or repeated",
            )  # fmt: skip
            keys = advertised(body, asked)
            fresh(keys, seen)
            self.ids.append(sender)
            self.channel_keys.append(keys[0])
            self.mask_keys.append(keys[1:])
        self.hash = digest("setup", session, request, *advertisements)
        self.graph = [sorted(row) for row in stream.share_graph(self.hash, len(self.ids), settings.k)]

    def covers(self, round_id):
        return self.first_round <= round_id < self.first_round + self.rounds

    def names(self, ranks):
        return [self.ids[rank].encode() for rank in ranks]

    def members_hash(self, members):
        return digest("members", self.hash, *self.names(members))

    def participants_hash(self, round_id, ranks):
        return digest("participants", self.hash, u64(round_id), *self.names(ranks))

    def bindings(self, round_id, members, participants):
        """Return the first five fields of every honest header of a round."""
        return [
            round_id, self.settings.hash, self.hash, self.members_hash(members),
            self.participants_hash(round_id, participants),
        ]  # fmt: skip

    def account(self, round_id, members, participants, uploads, context_hash):
        """`uploads` maps a survivor's rank to the tag in its header."""
        alive = [part for rank in sorted(uploads) for part in (self.ids[rank].encode(), uploads[rank])]
        alive = digest("survivors", self.hash, u64(round_id), *alive)
        _, params_hash, setup_hash, members_hash, participants_hash = self.bindings(round_id, members, participants)
        return digest(
            "account", self.session, u64(round_id), params_hash, setup_hash, members_hash, participants_hash, alive,
            context_hash,
        )  # fmt: skip

    def edges(self, round_id, participants):
        view = self.participants_hash(round_id, participants)
        return stream.mask_graph(self.hash, round_id, view, participants, self.settings.k)

    def pair_seed(self, private, round_id, participants, one, other):
        """Return s_ij from the mask private key of rank `one`."""
        shared = frames.agree(private, self.mask_keys[other][round_id - self.first_round])
        low, high = self.names(sorted((one, other)))
        view = self.participants_hash(round_id, participants)
        return hkdf(shared, "mask", self.session, u64(round_id), self.hash, view, low, high, length=16)

    def box_key(self, shared, dealer, holder):
        return hkdf(shared, "share", self.hash, *self.names((dealer, holder)), length=32)

    def server_box_key(self, shared, label, rank, round_id):
        """Return the key of a client and the server for one round: `upload` or `answer`."""
        return hkdf(shared, label, self.hash, *self.names((rank,)), u64(round_id), length=32)

    def read_header(self, body, round_id, members, participants):
        """Refuse a header that is bound to anything else than this round."""
        refuse(body[0] != round_id, PeerError, "header of another round")
        bound = self.bindings(round_id, members, participants)
        refuse(body[:5] != bound, AuthenticationError, "header bound to something else")
        return body[5], body[6]

    def check_participants(self, members, participants):
        check_ranks(participants, members)
        few, many = self.settings.m, self.settings.p
        refuse(not few <= len(participants) <= many, PeerError, "number of participants outside Params")

    def check_delivery(self, delivery, dealers):
        """Refuse a first delivery whose parts have other lengths; return (root, box) by dealer."""
        _, roots, boxes = delivery
        size = 28 + 16 + 64 * self.rounds
        wrong = (len(roots), len(boxes)) != (32 * len(dealers), size * len(dealers))
        refuse(wrong, PeerError, "delivery of another length")
        return {
            rank: (roots[32 * i : 32 * i + 32], boxes[size * i : size * i + size]) for i, rank in enumerate(dealers)
        }
