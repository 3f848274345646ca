"""Frames, and the box and tag of AES-256-GCM (spec, sections 1 and 2)."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reference import msgpack
from reference.hashes import digest

(CHUNK, KEYS_REQUEST, ADVERTISEMENT, SHARES_REQUEST, DEALING, MASKED_REQUEST, HEADER, UNMASK_REQUEST, UNMASK) = range(9)


def envelope(kind, session, sender, body, identity):
    payload = msgpack.pack(body)
    statement = digest("frame", bytes([kind]), session, sender.encode(), payload)
    return _frame(kind, [session, sender, sign(identity, statement), payload])


def chunk(session, sender, round_id, segment, index, tag, payload):
    return _frame(CHUNK, [session, sender, round_id, segment, index, tag, payload])


def _frame(kind, fields):
    return b"SA\x01" + bytes([kind]) + msgpack.pack(fields)


def outer(frame):
    """Return the kind and the fields of the outer array."""
    if frame[:3] != b"SA\x01":
        raise ValueError("no frame of version 1")
    return frame[3], msgpack.unpack(frame[4:])


def body(frame):
    """Return an envelope's body."""
    return msgpack.unpack(outer(frame)[1][3])


def sign(identity, message):
    return Ed25519PrivateKey.from_private_bytes(identity).sign(message)


def public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private, peer):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer))


def seal(key, text, aad, entropy):
    nonce = entropy(12)
    return nonce + AESGCM(key).encrypt(nonce, text, aad)


def unseal(key, box, aad):
    return AESGCM(key).decrypt(box[:12], box[12:], aad)


def gmac(key, nonce, data):
    return AESGCM(key).encrypt(nonce, b"", data)
