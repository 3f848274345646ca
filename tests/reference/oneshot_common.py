"""What the parties of oneshot have in common: the committee and its keys, headers, the tree over shares (spec of oneshot)."""

from functools import partial
from hashlib import sha256

from reference import chunks, frames
from reference.chunks import tag
from reference.ckks_common import check_ranks, encoded, names
from reference.errors import AuthenticationError, PeerError, refuse
from reference.hashes import digest, hkdf, u64

__all__ = [
    "Setup", "answer_key", "check_chunk", "check_header", "check_ranks", "chunk", "committee", "leaf_path", "names",
    "public_seed", "root", "share_key", "shown", "tag", "tree",
]  # fmt: skip

chunk, check_chunk = (partial(each, "oneshot-chunk") for each in (chunks.chunk, chunks.check_chunk))


def shown(data, kind, session, settings, roster):
    """Return the sender and the body of a client's frame that the server passes on."""
    got, fields = frames.outer(data, settings.limit)
    bound = (got, fields[0]) == (kind, session) and fields[1] in roster.clients
    refuse(not bound, AuthenticationError, "no such frame of a client's in this session")
    return fields[1], frames.opened(kind, fields, roster.clients[fields[1]])


def committee(settings, roster, session):
    """Return the ids of the committee, sorted."""
    ids = list(roster.clients)
    if len(ids) > settings.M:
        ids.sort(key=lambda name: digest("oneshot-committee", session, roster.hash, name.encode()))
    return sorted(ids[: settings.M], key=str.encode)


class Setup:
    """The committee's keys of a batch of rounds, from the members' signed frames in order of id."""

    def __init__(self, settings, roster, session, shown_frames):
        crew = committee(settings, roster, session)
        refuse(not settings.T <= len(shown_frames) <= len(crew), PeerError, "keys of too few or too many members")
        self.frames, self.ids, self.keys, asked = list(shown_frames), [], [], []
        for frame in shown_frames:
            name, body = shown(frame, frames.MEMBER_KEY, session, settings, roster)
            refuse(name not in crew, AuthenticationError, "a key of somebody outside the committee")
            last = self.ids[-1].encode() if self.ids else b""
            refuse(name.encode() <= last, AuthenticationError, "members repeated or unsorted")
            check_key(body)
            self.ids.append(name)
            self.keys.append(body[5])
            asked.append(body[:5])
        self.first_round, self.rounds, params_hash, roster_hash, self.server_key = asked[0]
        bound = (self.rounds, params_hash, roster_hash) == (settings.rounds, settings.hash, roster.hash)
        refuse(not bound, AuthenticationError, "keys for other Params, roster or number of rounds")
        refuse(any(each != asked[0] for each in asked), AuthenticationError, "keys that answer different requests")
        refuse(len(set(self.keys)) != len(self.keys), AuthenticationError, "a key twice")
        self.session = session
        self.hash = digest("oneshot-setup", session, *self.frames)
        self.members_hash = digest("members", self.hash, *encoded(self.ids))

    def covers(self, round_id):
        return self.first_round <= round_id < self.first_round + self.rounds

    def participants_hash(self, round_id, ids):
        return digest("participants", self.hash, u64(round_id), *encoded(ids))

    def account(self, settings, round_id, participants, uploads, context_hash):
        """`uploads` maps a survivor's id to the tag in its header."""
        parts = [part for name in sorted(uploads, key=str.encode) for part in (name.encode(), uploads[name])]
        survivors = digest("survivors", self.hash, u64(round_id), *parts)
        return digest(
            "account", self.session, u64(round_id), settings.hash, self.hash, self.members_hash,
            self.participants_hash(round_id, participants), survivors, context_hash,
        )  # fmt: skip


def check_key(body):
    """Refuse a member's key that is none, or the server's."""
    frames.check_public(body[5])
    frames.check_public(body[4])
    refuse(body[4] == body[5], AuthenticationError, "the server's key, reflected")


def check_header(settings, setup, body, round_id, participants_hash):
    bound = [round_id, settings.hash, setup.hash, participants_hash]
    refuse(body[:4] != bound, AuthenticationError, "header bound to something else")
    frames.check_public(body[5])
    refuse(body[5] in (setup.server_key, *setup.keys), AuthenticationError, "somebody else's key, reflected")


# -- keys ---------------------------------------------------------------------------------------------------------------


def public_seed(settings, roster, session, round_id):
    """Return the 16 bytes that fix the public polynomials of a round."""
    return digest("oneshot-public", session, settings.hash, roster.hash, u64(round_id))[:16]


def share_key(shared, setup, round_id, client, member):
    fields = setup.session, setup.hash, u64(round_id), client.encode(), member.encode()
    return hkdf(shared, "oneshot-share", *fields, length=32)


def answer_key(shared, setup, round_id, member):
    return hkdf(shared, "oneshot-answer", setup.session, setup.hash, u64(round_id), member.encode(), length=32)


# -- the tree over an upload's sealed shares (RFC 6962, section 2.1) ------------------------------------------------------


def tree(leaves):
    """Return the levels of the tree: a last node without a neighbour goes up as it is."""
    levels = [[sha256(b"\0" + leaf).digest() for leaf in leaves]]
    while len(levels[-1]) > 1:
        pairs = [levels[-1][i : i + 2] for i in range(0, len(levels[-1]), 2)]
        levels.append([pair[0] if len(pair) == 1 else sha256(b"\1" + b"".join(pair)).digest() for pair in pairs])
    return levels


def root(leaves):
    return tree(leaves)[-1][0]


def path_bytes(count):
    return 32 * (count - 1).bit_length()


def leaf_path(levels, place):
    """Return a leaf's path: its neighbours from below, filled up with zeros to the length that every leaf's has."""
    made = b""
    for level in levels[:-1]:
        if place ^ 1 < len(level):
            made += level[place ^ 1]
        place //= 2
    return made.ljust(path_bytes(len(levels[0])), b"\0")


def check_path(leaf, place, count, path, expected):
    """Refuse a leaf that is not at this place under a root of `count` leaves."""
    node = sha256(b"\0" + leaf).digest()
    while count > 1:
        if place ^ 1 < count:
            beside, path = path[:32], path[32:]
            node = sha256(b"\1" + (beside + node if place % 2 else node + beside)).digest()
        place, count = place // 2, (count + 1) // 2
    refuse(any(path) or node != expected, AuthenticationError, "not the share that the client signed for")
