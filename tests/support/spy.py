"""What a lying server can compute of one client's update, from every frame that it was ever handed and what corrupt clients know.

It has the server's private keys and the plain algebra of the scheme, and no rule keeps it from using a share.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec

from reference import encoding, field, frames
from reference.opening import KEY, LENGTH, SEED
from reference.party import apply
from secagg import errors as engine_errors
from secagg.hazmat import aead
from secagg.protocols.pairwise import dealing, graph, unmasking
from secagg.protocols.pairwise.messages import Answer, Kind, participants_digest
from secagg.wire import Chunk, decode_frame

__all__ = ["KEY", "SEED", "Spy", "ask", "at_unmask"]

SIZES = {SEED: dealing.SEED_SHARE_BYTES, KEY: dealing.KEY_SHARE_BYTES}


class Spy:
    """Everything that was revealed of one round.

    Parameters
    ----------
    f : Federation
        Whose server it spies for; the round's setup is over.
    round_id : int
    """

    def __init__(self, f, round_id=1):
        self.f, self.round_id = f, round_id
        self.batch = f.server._core._state.batch
        self.setup = self.batch.setup
        self.shares = defaultdict(dict)  # (kind, target) -> holder -> share
        self.keys = {}  # mask private keys that corrupt clients give away
        self.segments = f.params.segment_plan.segments

    def answered(self, name, told, frame):
        """Take the answer of a client that was told `told`."""
        body = self.f.body(frame)
        key = unmasking.answer_key(self.batch.secrets[name], self.setup, name, self.round_id)
        answer = msgspec.msgpack.Decoder(Answer).decode(aead.open_(key, body.sealed, body.account))
        me = self.setup.ranks[name]
        survivors = [self.setup.ranks[decode_frame(h, max_bytes=1 << 20)[1].sender] for h in told.headers]
        held = sorted({me, *(r for r in self.setup.neighbours[me] if r in self.batch.members)})
        for kind, targets in enumerate(unmasking.split_neighbours(held, survivors, told.participants)):
            data = (answer.seed_shares, answer.key_shares)[kind]
            for at, rank in enumerate(targets):
                self.shares[kind, rank][me] = data[at * SIZES[kind] : (at + 1) * SIZES[kind]]

    def corrupt(self, name):
        """Take what a corrupt client of the engine's has: its mask key, and both shares of everybody."""
        batch, me, at = (
            self.f.clients[name]._core._state.batch,
            self.setup.ranks[name],
            self.round_id - self.setup.first_round,
        )
        self.keys[me] = batch.mask_pairs[at].private_bytes()
        for rank, holding in batch.holdings.items():
            for kind in (SEED, KEY):
                self.shares[kind, rank][me] = holding.shares[2 * at + kind]

    def secret(self, kind, rank):
        """A self-mask seed or a mask key, if there are shares enough."""
        if kind == KEY and rank in self.keys:
            return self.keys[rank]
        held, t = self.shares[kind, rank], self.f.params.threshold
        needed = t if kind == SEED else min(t, len(self.setup.neighbours[rank]))
        if len(held) < needed:
            return None
        return field.combine({me + 1: held[me] for me in sorted(held)[:needed]}, LENGTH[kind])

    def masks(self, rank, participants):
        """Every mask on a participant's upload, or None while one is hidden."""
        view = participants_digest(self.setup.setup_hash, self.round_id, self.setup.names(participants))
        edges = graph.mask_graph(self.setup.setup_hash, self.round_id, view, participants, self.f.params.neighbours)
        masks, own = [(self.secret(SEED, rank), 1)], self.secret(KEY, rank)
        for other in edges[rank]:
            private, peer = (own, other) if own is not None else (self.secret(KEY, other), rank)
            shared = private and frames.agree(private, self.setup.mask_key(peer, self.round_id))
            seed = shared and unmasking.pair_seed(shared, self.setup, self.round_id, view, rank, other)
            masks.append((seed, unmasking.sign(rank, other)))
        return None if any(key is None for key, _ in masks) else masks

    def upload(self, name):
        """The masked vectors of a client, as they were sent."""
        chunks = {}
        for sender, frame in self.f.up:
            outer = decode_frame(frame, max_bytes=1 << 30)[1]
            if sender == name and isinstance(outer, Chunk) and outer.round_id == self.round_id:
                chunks[outer.segment, outer.index] = bytes(outer.payload)
        vectors = []
        for number, segment in enumerate(self.segments):
            values = []
            for index, (start, stop) in enumerate(encoding.chunks(segment.count, segment.w, self.f.params.frame_bytes)):
                values += encoding.unpack(chunks[number, index], segment.w, stop - start)
            vectors.append(values)
        return vectors

    def update(self, name, participants=None):
        """The encoded update of one client, or None if something on it is hidden."""
        rank = self.setup.ranks[name]
        masks = self.masks(rank, participants or self.batch.members)
        if masks is None:
            return None
        return self.unmasked(name, masks)

    def unmasked(self, name, masks):
        """An upload's values with these masks off; None unless its check lane says that they were all."""
        taken = [(key, -sign) for key, sign in masks]
        head, *rest = (
            apply(row, taken, number, segment.w)
            for number, (row, segment) in enumerate(zip(self.upload(name), self.segments, strict=True))
        )
        return [value for row in rest for value in row] if head[2] == 1 else None


def at_unmask(f, round_id=1, silent=(), **kwargs):
    """Run a round to the unmask phase; return each client's request, its body, and a spy."""
    f.server.open_round(round_id, **kwargs)
    f.until("masked")
    f.phase(silent)
    inbox = {name: frames[0] for name, frames in f.requests().items() if frames}
    return inbox, {name: f.body(frame) for name, frame in inbox.items()}, Spy(f, round_id)


def ask(f, spy, name, told):
    """Send a client an unmask request of the server's own making, and let the spy have the answer; return the refusal."""
    try:
        f.clients[name].receive(f.forge(Kind.UNMASK_REQUEST, told))
    except (engine_errors.PeerError, engine_errors.AbortError) as error:
        return error
    for frame in f.clients[name].outbox():
        spy.answered(name, told, frame)
    return None
