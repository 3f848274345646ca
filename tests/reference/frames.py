"""Frames of all protocols, strictly read (spec, section 2; of ckks and oneshot, section 3), and what of section 1 takes keys."""

import struct

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reference import msgpack
from reference.errors import AuthenticationError, DecodeError, PeerError, refuse
from reference.hashes import digest

(CHUNK, KEYS_REQUEST, ADVERTISEMENT, SHARES_REQUEST, DEALING, MASKED_REQUEST, HEADER, UNMASK_REQUEST, UNMASK) = range(9)
MEMBER_REQUEST, MEMBER_KEY, UPDATE_REQUEST, UPDATE_HEADER, REVEAL_REQUEST, REVEAL = range(32, 38)
KEY_REQUEST, KEY_ANNOUNCEMENT, ENCRYPTED_REQUEST, ENCRYPTED_HEADER, DECRYPT_REQUEST, DECRYPTED = range(16, 22)
REQUESTS = (KEYS_REQUEST, SHARES_REQUEST, MASKED_REQUEST, UNMASK_REQUEST)
SERVER, HOLDER = "", "(key holder)"

# Fields of a body: i an integer, b bytes, h a hash or key of 32 bytes, r ranks, f frames, d a delivery or nil, n bytes or nil,
# k frames or nil.
BODIES = {
    KEYS_REQUEST: "iihhh", ADVERTISEMENT: "iihhhb", SHARES_REQUEST: "if", DEALING: "ihbbb", MASKED_REQUEST: "ihrd",
    HEADER: "ihhhhhhr", UNMASK_REQUEST: "ihrfd", UNMASK: "ihbbr",
    KEY_REQUEST: "iihh", KEY_ANNOUNCEMENT: "iihhhb", ENCRYPTED_REQUEST: "ihhrn", ENCRYPTED_HEADER: "ihhhhbh",
    DECRYPT_REQUEST: "ihhrfbh", DECRYPTED: "ihhbbh",
    MEMBER_REQUEST: "iihhh", MEMBER_KEY: "iihhhh", UPDATE_REQUEST: "ihhrk", UPDATE_HEADER: "ihhhhhhh",
    REVEAL_REQUEST: "ihhrffbb", REVEAL: "ihbbr",
}  # fmt: skip
ANSWER = "bbbb"
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


# -- writing --------------------------------------------------------------------------------------------------------


def _statement(kind, session, sender, payload):
    return digest("frame", bytes([kind]), session, sender.encode(), payload)


def envelope(kind, session, sender, body, identity):
    payload = msgpack.pack(body)
    return frame(kind, [session, sender, sign(identity, _statement(kind, session, sender, payload)), payload])


def chunk(session, sender, round_id, segment, index, tag, payload):
    return frame(CHUNK, [session, sender, round_id, segment, index, tag, payload])


def frame(kind, fields):
    return b"SA\x01" + bytes([kind]) + msgpack.pack(fields)


# -- reading --------------------------------------------------------------------------------------------------------


def _unpack(data, what):
    try:
        return msgpack.unpack(data)
    except (ValueError, IndexError, struct.error, RecursionError, OverflowError, TypeError):
        raise DecodeError(f"{what} is malformed or not in its shortest form") from None


def _fits(value, kind):
    integer = type(value) is int and 0 <= value < 2**64
    match kind:
        case "i":
            return integer
        case "b" | "h":
            return isinstance(value, bytes) and (kind == "b" or len(value) == 32)
        case "s":
            return isinstance(value, str) and len(value.encode()) <= 64
        case "r" | "f":
            return isinstance(value, list) and all(_fits(item, "i" if kind == "r" else "b") for item in value)
        case "d":
            return value is None or _all_fit(value, "rbb")
        case "k":
            return value is None or _fits(value, "f")
        case "n":
            return value is None or isinstance(value, bytes)
    raise KeyError(kind)


def _all_fit(values, kinds):
    return isinstance(values, list) and len(values) == len(kinds) and all(map(_fits, values, kinds))


def outer(data, limit=2**40):
    """Return the kind and the fields of the outer array; nothing in them is trusted yet."""
    refuse(len(data) > limit, DecodeError, "frame over the limit")
    refuse(data[:3] != b"SA\x01" or len(data) < 5, DecodeError, "no frame of version 1")
    kind, fields = data[3], _unpack(data[4:], "frame")
    refuse(kind != CHUNK and kind not in BODIES, PeerError, "frame of an unknown kind")
    refuse(not _all_fit(fields, "bsiiibb" if kind == CHUNK else "bsbb"), DecodeError, "fields of another type")
    refuse(len(fields[0]) != 16, DecodeError, "a session has 16 bytes")
    refuse(kind == CHUNK and len(fields[5]) not in (16, 64), DecodeError, "a tag has 16 bytes, a signature 64")
    return kind, fields


def opened(kind, fields, key):
    """Return the body of an envelope whose signature holds under `key`."""
    session, sender, signature, payload = fields
    verify(key, _statement(kind, session, sender, payload), signature)
    return read(payload, BODIES[kind])


def read(payload, kinds):
    body = _unpack(payload, "body")
    refuse(not _all_fit(body, kinds), DecodeError, "body of other fields")
    return body


def relayed(data, kind, session, roster, limit):
    """Return the sender and the body of a client's frame that the server shows."""
    got, fields = outer(data, limit)
    refuse(got != kind, PeerError, "relayed frame of another kind")
    refuse(fields[0] != session, AuthenticationError, "relayed frame of another session")
    refuse(fields[1] not in roster.clients, AuthenticationError, "relayed frame of a stranger")
    return fields[1], opened(kind, fields, roster.clients[fields[1]])


def body(data):
    """Return an envelope's body without any check."""
    return msgpack.unpack(outer(data)[1][3])


# -- keys -----------------------------------------------------------------------------------------------------------


def sign(identity, message):
    return Ed25519PrivateKey.from_private_bytes(identity).sign(message)


def verify_key(identity):
    return Ed25519PrivateKey.from_private_bytes(identity).public_key().public_bytes_raw()


def verify(key, message, signature):
    refuse(len(signature) != 64, AuthenticationError, "a signature has 64 bytes")
    refuse(int.from_bytes(signature[32:], "little") >= GROUP_ORDER, AuthenticationError, "S is not reduced")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        raise AuthenticationError("signature does not hold") from None


def public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def check_public(key):
    refuse(len(key) != 32 or int.from_bytes(key, "little") >= 2**255 - 19, AuthenticationError, "no canonical key")
    agree(bytes(32), key)  # every private key is a multiple of 8: of a low-order key the result is zero


def agree(private, peer):
    refuse(peer == public(private), AuthenticationError, "one's own key")
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError:
        raise AuthenticationError("key of low order") from None


def seal(key, text, aad, entropy):
    nonce = entropy(12)
    return nonce + AESGCM(key).encrypt(nonce, text, aad)


def unseal(key, box, aad):
    try:
        return AESGCM(key).decrypt(box[:12], box[12:], aad)
    except (InvalidTag, ValueError):
        raise AuthenticationError("a box does not open") from None


def gmac(key, nonce, data):
    return AESGCM(key).encrypt(nonce, b"", data)
