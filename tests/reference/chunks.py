"""Chunks that carry their sender's signature (spec of ckks, section 3; of oneshot)."""

from hashlib import sha256

from reference import frames
from reference.errors import DecodeError, refuse
from reference.hashes import digest, u64


def _statement(label, session, sender, key_hash, at, content):
    return digest(label, session, sender.encode(), key_hash, *map(u64, at), content)


def chunk(label, identity, session, sender, key_hash, at, payload):
    """Return the signed frame of a chunk at (round, segment, index)."""
    signature = frames.sign(identity, _statement(label, session, sender, key_hash, at, sha256(payload).digest()))
    return frames.chunk(session, sender, *at, signature, payload)


def check_chunk(label, fields, sizes, key_hash, verify_key):
    """Return the SHA-256 of a chunk's payload; `sizes` gives the bytes of a payload by place."""
    session, sender, round_id, number, index, signature, payload = fields
    refuse((number, index) not in sizes, DecodeError, "chunk outside the vector")
    refuse(len(payload) != sizes[number, index], DecodeError, "chunk of another length")
    content = sha256(payload).digest()
    statement = _statement(label, session, sender, key_hash, (round_id, number, index), content)
    frames.verify(verify_key, statement, signature)
    return content


def tag(contents):
    """Return the tag of all chunks from the SHA-256 of each by place."""
    return digest("upload", b"".join(contents[place] for place in sorted(contents)))
