"""What the parties of ckks have in common: keys and hashes, signed chunks, the checks of a header (spec of ckks, 3 to 7)."""

from functools import partial
from itertools import pairwise

from reference import chunks, ckks_cipher, encoding, frames
from reference.chunks import tag
from reference.errors import AuthenticationError, DecodeError, PeerError, refuse
from reference.frames import HOLDER, SERVER
from reference.hashes import digest, hkdf, u64

__all__ = [
    "Key", "box_name", "check_chunk", "check_ranks", "chunk", "commitment", "encoded", "mark", "names", "signer", "sizes",
    "statement", "tag",
]  # fmt: skip


def signer(roster, sender):
    """Return the verify key of a frame's sender."""
    if sender == SERVER:
        return roster.server
    key = roster.holder if sender == HOLDER else roster.clients.get(sender)
    refuse(key is None, AuthenticationError, "sender is not in the roster")
    return key


def check_ranks(settings, roster, ranks):
    wrong = any(b <= a for a, b in pairwise(ranks)) or not set(ranks) <= set(range(len(roster.clients)))
    refuse(wrong, PeerError, "ranks unsorted, repeated or unknown")
    refuse(not settings.m <= len(ranks) <= settings.p, PeerError, "number of participants outside Params")


def names(roster, ranks):
    return [list(roster.clients)[rank] for rank in ranks]


def encoded(ids):
    return [name.encode() for name in ids]


class Key:
    """The holder's key of a batch of rounds, as everybody knows it; `payload` is that of its announcement."""

    def __init__(self, settings, session, payload):
        body = frames.read(payload, frames.BODIES[frames.KEY_ANNOUNCEMENT])
        self.first_round, self.rounds, self.params_hash, self.roster_hash, self.channel, public = body
        frames.check_public(self.channel)
        try:
            self.public = ckks_cipher.read_public(settings, public)
        except ValueError as error:
            raise DecodeError("no public key") from error
        self.hash = digest("ckks-key", session, payload)

    def covers(self, round_id):
        return self.first_round <= round_id < self.first_round + self.rounds

    def participants_hash(self, round_id, ids):
        return digest("participants", self.hash, u64(round_id), *encoded(ids))

    def account(self, settings, roster, session, round_id, participants, uploads, context_hash):
        """`uploads` maps a survivor's id to the tag in its header."""
        parts = [part for name in sorted(uploads, key=str.encode) for part in (name.encode(), uploads[name])]
        survivors = digest("survivors", self.hash, u64(round_id), *parts)
        return digest(
            "account", session, u64(round_id), settings.hash, self.hash, roster.hash,
            self.participants_hash(round_id, participants), survivors, context_hash,
        )  # fmt: skip

    def pad(self, shared, session, round_id, client):
        return hkdf(shared, "ckks-pad", session, self.hash, u64(round_id), client.encode(), length=16)

    def sealing_key(self, shared, session, mark):
        return hkdf(shared, "ckks-result", session, self.hash, mark, length=32)

    def check_header(self, settings, body, round_id, participants_hash):
        bound = [round_id, settings.hash, self.hash, participants_hash]
        refuse(body[:4] != bound, AuthenticationError, "header bound to something else")
        channel = body[5]
        if settings.padded:
            frames.check_public(channel)
            refuse(channel == self.channel, AuthenticationError, "the holder's channel key, reflected")
        else:
            refuse(channel != b"", DecodeError, "a channel key where nothing is padded")


def mark(account, sum_tag, server_key, headers):
    return digest("ckks-decrypt", account, sum_tag, server_key, *headers)


def commitment(settings, salt, sums):
    """Return the result_hash of opened sums."""
    return digest("ckks-result", salt, encoding.result_hash(settings, sums))


def statement(account, result_hash):
    """Return what the holder signs for the receipt."""
    return digest("ckks-statement", account, result_hash)


def box_name(place):
    return b"%d/%d" % place


# -- chunks -----------------------------------------------------------------------------------------------------------

chunk, check_chunk = (partial(each, "ckks-chunk") for each in (chunks.chunk, chunks.check_chunk))


def sizes(settings):
    return {place: settings.size(place) for place in settings.places()}
