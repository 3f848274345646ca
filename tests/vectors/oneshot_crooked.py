"""What malicious parties of oneshot make for the script: uploads, shares and answers that must not count, or cannot be told."""

from reference import frames
from reference.field import P
from reference.oneshot_common import answer_key, leaf_path, root, tree
from reference.oneshot_member import read_share, write_share
from vectors.pairwise_refusals import ABORT, AUTH, OTHER, PEER, identity, remade

__all__ = [
    "ABORT", "garbled_lane", "garbled_share", "is_refused", "malformed_upload", "note_trees", "other_root", "other_tag",
    "wrong_answer",
]  # fmt: skip


def note_trees(session):
    """Note trees over few leaves, and their paths."""
    for count in (1, 2, 3, 5, 8):
        leaves = [b"leaf %d" % i for i in range(count)]
        levels = tree(leaves)
        paths = [leaf_path(levels, place) for place in range(count)]
        session.note("tree", {"leaves": leaves}, {"root": root(leaves), "paths": paths})


def malformed_upload(session, sent):
    """Return the frames of an upload with a residue that is its prime; its header fits."""
    client = session.clients[frames.outer(sent[0])[1][1]]
    payloads = client.mask(session.vectors)
    part = session.settings.parts[1]
    # The lowest residue of the first polynomial, modulo the first prime.
    low = int.from_bytes(payloads[1, 0][:8], "little")
    low += part.ring.primes[0] - low % 2**part.ring.bits
    payloads[1, 0] = low.to_bytes(8, "little") + payloads[1, 0][8:]
    return client.frame(payloads, client.sealed(client.shares()), b"the model")


def garbled_share(session, sent):
    """Return the frames of an upload whose box for the first member does not open; its header fits."""
    client = session.clients[frames.outer(sent[0])[1][1]]
    boxes = client.sealed(client.shares())
    boxes[0] = bytes(len(boxes[0]))
    return client.frame(client.mask(session.vectors), boxes, b"the model")


def garbled_lane(session, sent):
    """Return the frames of an upload whose check lane is 2; it cannot be told from others'."""
    client = session.clients[frames.outer(sent[0])[1][1]]
    vectors = [list(vector) for vector in session.vectors]
    vectors[0][2] = 2
    return client.frame(client.mask(vectors), client.sealed(client.shares()), b"the model")


def wrong_answer(session, sent):
    """Return an answer with another sum in it, sealed and signed all the same."""
    name, body = frames.outer(sent[0])[1][1], frames.body(sent[0])
    batch, setup = session.clients[name].batch, session.server.batch.setup
    key = answer_key(frames.agree(batch.private, setup.server_key), setup, body[0], name)
    share = read_share(session.settings, frames.unseal(key, body[3], body[1]))
    share[0] = (share[0] + int.from_bytes(identity(name), "big")) % P
    body[3] = frames.seal(key, write_share(share), body[1], bytes)
    return [frames.envelope(frames.REVEAL, session.server.session, name, body, identity(name))]


def other_root(session, sent):
    """Return the frames of an upload whose header has a root over other shares."""
    return [*sent[:-1], remade(sent[-1], {6: OTHER})]


def other_tag(session, sent):
    """Return the frames of an upload whose header has another tag."""
    return [*sent[:-1], remade(sent[-1], {7: OTHER})]


REFUSED = {
    ("malicious", 2, "cy"): "an upload with a residue that is its prime",
    ("semi-honest", 3, "bo"): "an upload with a root over other shares",
    ("drawn", 7, "bo"): "an upload with another tag than its chunks'",
}


def is_refused(session, name, frame):
    """Let the server refuse an upload when its last frame is there, and anything after that."""
    why = REFUSED.get((session.name, session.round_id, name))
    if why is None or frame[3] != frames.UPDATE_HEADER:
        return False
    session.server_refuses(name, frame, AUTH, why)
    session.server_refuses(name, frame, PEER, "a frame of an upload that was refused")
    return True
