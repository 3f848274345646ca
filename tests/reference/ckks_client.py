"""An honest client of the ckks protocol (spec of ckks, section 6)."""

from dataclasses import dataclass, field
from hashlib import sha256

from reference import ckks_cipher, frames
from reference.ckks_common import Key, check_ranks, chunk, names, tag
from reference.errors import AuthenticationError, EquivocationError, PeerError, refuse
from reference.frames import HOLDER, SERVER
from reference.hashes import digest, hkdf


@dataclass
class Round:
    """The client's view of the round in progress."""

    round_id: int
    participants: list
    seed: bytes = b""
    frames: list = field(default_factory=list)
    again: bool = False


class Client:
    """One client of one session; it draws the 32-byte seed of an upload from `entropy`."""

    def __init__(self, settings, roster, me, identity, entropy, session=None):
        self.settings, self.roster, self.me, self.identity, self.entropy = settings, roster, me, identity, entropy
        self.session, self.learnt = session, session is None
        self.key, self.round, self.floor, self.out = None, None, -1, []

    @property
    def awaiting(self):
        """The round that an update is asked for, or None."""
        asked = self.round is not None and (not self.round.frames or self.round.again)
        return self.round.round_id if asked else None

    def outbox(self):
        out, self.out = self.out, []
        return out

    def receive(self, frame):
        kind, fields = frames.outer(frame, self.settings.limit)
        asked = kind == frames.ENCRYPTED_REQUEST and fields[1] == SERVER
        refuse(not asked, PeerError, "no request of the server's")
        session = fields[0]
        refuse(self.session not in (None, session) and not self.learnt, AuthenticationError, "another session")
        round_id, params_hash, key_hash, participants, shown = frames.opened(kind, fields, self.roster.server)
        refuse(params_hash != self.settings.hash, AuthenticationError, "other Params")
        key, current, floor = (self.key, self.round, self.floor) if session == self.session else (None, None, -1)
        key = self._key(key, session, key_hash, shown)
        refuse(not key.covers(round_id), PeerError, "a round that the key does not cover")
        if current is not None and current.round_id == round_id:
            same = (current.participants, self.key.hash) == (participants, key_hash)
            refuse(not same, EquivocationError, "other participants or another key")
            current.again = bool(current.frames)
            return
        refuse(not floor < round_id < 2**63, PeerError, "round id does not increase")
        check_ranks(self.settings, self.roster, participants)
        refuse(self.me not in names(self.roster, participants), PeerError, "we are no participant")
        self.session, self.key, self.round, self.floor = session, key, Round(round_id, participants), round_id

    def _key(self, held, session, key_hash, shown):
        """Return the key that a request names: the one held, or the one shown, all of it checked."""
        if held is not None and held.hash == key_hash:
            return held
        refuse(shown is None, AuthenticationError, "a key that we were not shown")
        kind, fields = frames.outer(shown, self.settings.limit)
        refuse(kind != frames.KEY_ANNOUNCEMENT or fields[1] != HOLDER, PeerError, "no announcement of the holder's")
        refuse(fields[0] != session, AuthenticationError, "a key of another session")
        frames.opened(kind, fields, self.roster.holder)
        key = Key(self.settings, session, fields[3])
        bound = (key.hash, key.params_hash, key.roster_hash, key.rounds)
        wanted = (key_hash, self.settings.hash, self.roster.hash, self.settings.rounds)
        refuse(bound != wanted, AuthenticationError, "not the key that is named, or made for something else")
        if held is not None:
            refuse(key.first_round == held.first_round, EquivocationError, "a second key for the same rounds")
            refuse(key.first_round < held.first_round, PeerError, "a key of earlier rounds")
        return key

    # -- the upload ---------------------------------------------------------------------------------------------------

    def seed(self):
        """Return the seed of the upload in progress, drawn when it is first asked for."""
        if not self.round.seed:
            self.round.seed = self.entropy(32)
        return self.round.seed

    def rounding_key(self, round_id):
        assert round_id == self.round.round_id
        return hkdf(self.seed(), "rounding", length=16)

    def pad(self):
        """Return (key of the pad or None, the public key that the header shows)."""
        if not self.settings.padded:
            return None, b""
        private = hkdf(self.seed(), "ckks-channel", length=32)
        shared = frames.agree(private, self.key.channel)
        return self.key.pad(shared, self.session, self.round.round_id, self.me), frames.public(private)

    def submit(self, values, weight=1, metrics=(), context=b""):
        """Protect the awaited update: `values` in layout order."""
        if self.awaiting is None:
            raise ValueError("no update is awaited")
        vectors = self.settings.encode(values, weight, metrics, self.rounding_key(self.round.round_id))
        made = self.protect(self.encrypt(vectors), context)
        if self.round.frames not in ([], made):
            raise ValueError("another update was submitted already")
        self.round.frames, self.round.again, self.learnt = made, False, False
        self.out += made

    def encrypt(self, vectors):
        key = hkdf(self.seed(), "ckks-encrypt", length=16)
        return ckks_cipher.encrypt(self.settings, self.key.public, vectors, key, self.pad()[0])

    def protect(self, ciphertext, context):
        """Return the chunks and the header of a ciphertext."""
        payloads = {place: ckks_cipher.to_bytes(self.settings, part) for place, part in ciphertext.items()}
        return self.frame(payloads, context)

    def frame(self, payloads, context):
        current, out = self.round, []
        for place, payload in payloads.items():
            at = current.round_id, *place
            out.append(chunk(self.identity, self.session, self.me, self.key.hash, at, payload))
        asked = self.key.participants_hash(current.round_id, names(self.roster, current.participants))
        contents = {place: sha256(payload).digest() for place, payload in payloads.items()}
        header = [
            current.round_id, self.settings.hash, self.key.hash, asked, digest("context", context), self.pad()[1],
            tag(contents),
        ]  # fmt: skip
        return [*out, frames.envelope(frames.ENCRYPTED_HEADER, self.session, self.me, header, self.identity)]
