"""An honest client of the oneshot protocol, who may sit in the committee too (spec of oneshot)."""

from dataclasses import dataclass, field
from hashlib import sha256

from reference import frames, packed
from reference.errors import AuthenticationError, EquivocationError, PeerError, refuse
from reference.frames import SERVER
from reference.hashes import digest, hkdf, u64
from reference.oneshot_common import Setup, check_ranks, chunk, names, public_seed, root, share_key, tag
from reference.oneshot_member import REQUESTS, Member, write_share
from reference.stream import Source


@dataclass
class Round:
    """The client's view of the round in progress."""

    round_id: int
    participants: list
    setup: Setup
    seed: bytes = b""
    frames: list = field(default_factory=list)
    again: bool = False


class Client(Member):
    """One client of one session; it draws a 32-byte seed from `entropy` for each upload."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.setup, self.round = None, None

    @property
    def awaiting(self):
        """The round that an update is asked for, or None."""
        asked = self.round is not None and (not self.round.frames or self.round.again)
        return self.round.round_id if asked else None

    def forget(self):
        self.setup = self.round = None

    def receive(self, frame):
        kind, fields = frames.outer(frame, self.settings.limit)
        if kind in REQUESTS:
            super().receive(frame)
            return
        refuse(kind != frames.UPDATE_REQUEST or fields[1] != SERVER, PeerError, "no request of the server's")
        session = fields[0]
        refuse(self.session not in (None, session) and not self.learnt, AuthenticationError, "another session")
        self._update_requested(session, frames.opened(kind, fields, self.roster.server))

    def _update_requested(self, session, body):
        round_id, params_hash, setup_hash, participants, keys = body
        refuse(params_hash != self.settings.hash, AuthenticationError, "other Params")
        held, current, floor = (self.setup, self.round, self.floor) if session == self.session else (None, None, -1)
        setup = self._setup(held, session, setup_hash, keys)
        refuse(not setup.covers(round_id), PeerError, "a round that the keys do not cover")
        if current is not None and current.round_id == round_id:
            same = (current.participants, current.setup.hash) == (participants, setup_hash)
            refuse(not same, EquivocationError, "other participants or other keys")
            current.again = bool(current.frames)
            return
        refuse(not floor < round_id < 2**63, PeerError, "round id does not increase")
        check_ranks(self.settings, self.roster, participants)
        refuse(self.me not in names(self.roster, participants), PeerError, "we are no participant")
        self.session, self.setup, self.floor = session, setup, round_id
        self.round = Round(round_id, participants, setup)

    def _setup(self, held, session, setup_hash, keys):
        """Return the keys that a request names: those held, or those shown, all of it checked."""
        if held is not None and held.hash == setup_hash:
            return held
        refuse(keys is None, AuthenticationError, "keys that we were not shown")
        setup = Setup(self.settings, self.roster, session, keys)
        refuse(setup.hash != setup_hash, AuthenticationError, "other keys than those named")
        if held is not None:
            refuse(setup.first_round == held.first_round, EquivocationError, "other keys for the same rounds")
            refuse(setup.first_round < held.first_round, PeerError, "keys of earlier rounds")
        return setup

    # -- the upload ---------------------------------------------------------------------------------------------------

    def rounding_key(self, round_id):
        assert round_id == self.round.round_id
        return hkdf(self.round.seed, "rounding", length=16)

    def mask_seed(self):
        return hkdf(self.round.seed, "oneshot-mask", length=32)

    def channel(self):
        return hkdf(self.round.seed, "oneshot-channel", length=32)

    def submit(self, values, weight=1, metrics=(), context=b""):
        """Protect the awaited update: `values` in layout order."""
        if self.awaiting is None:
            raise ValueError("no update is awaited")
        if not self.round.frames:
            self.round.seed = self.entropy(32)
        vectors = self.settings.encode(values, weight, metrics, self.rounding_key(self.round.round_id))
        made = self.frame(self.mask(vectors), self.sealed(self.shares()), context)
        if self.round.frames not in ([], made):
            raise ValueError("another update was submitted already")
        self.round.frames, self.round.again, self.learnt = made, False, False
        self.out += made

    def mask(self, vectors):
        """Return the masked payload of each chunk by place."""
        public = public_seed(self.settings, self.roster, self.session, self.round.round_id)
        return {
            (number, index): part.ring.mask(vectors[number][start:stop], self.mask_seed(), public, first)
            for number, part in enumerate(self.settings.parts)
            for index, (start, stop, first) in enumerate(part.spans())
        }

    def shares(self):
        """Return the source of the randomness that sharing goes on from, and each member's share of the secret."""
        settings = self.settings
        secret = settings.parts[0].ring.secret(self.mask_seed())
        elements = packed.pack_digits(secret, settings.digit_bits)
        elements += [0] * (settings.rows * settings.rho - len(elements))
        rows = [elements[i : i + settings.rho] for i in range(0, len(elements), settings.rho)]
        source = Source(hkdf(self.round.seed, "oneshot-sharing", length=16))
        xs = range(1, len(self.round.setup.ids) + 1)
        return source, packed.split(rows, settings.T, xs, source)

    def sealed(self, made):
        """Return each member's share, sealed to it."""
        source, shares = made
        setup, round_id, boxes = self.round.setup, self.round.round_id, []
        for member, their, share in zip(setup.ids, setup.keys, shares, strict=True):
            key = share_key(frames.agree(self.channel(), their), setup, round_id, self.me, member)
            boxes.append(frames.seal(key, write_share(share), u64(round_id), source))
        return boxes

    def frame(self, payloads, boxes, context):
        """Return the chunks and the header of an upload."""
        current, setup, out = self.round, self.round.setup, []
        for index, (start, stop) in enumerate(self.settings.share_spans(len(boxes))):
            payloads[len(self.settings.parts), index] = b"".join(boxes[start:stop])
        for place, payload in payloads.items():
            at = current.round_id, *place
            out.append(chunk(self.identity, self.session, self.me, setup.hash, at, payload))
        asked = setup.participants_hash(current.round_id, names(self.roster, current.participants))
        contents = {place: sha256(payload).digest() for place, payload in payloads.items()}
        header = [
            current.round_id, self.settings.hash, setup.hash, asked, digest("context", context),
            frames.public(self.channel()), root(boxes), tag(contents),
        ]  # fmt: skip
        return [*out, frames.envelope(frames.UPDATE_HEADER, self.session, self.me, header, self.identity)]
