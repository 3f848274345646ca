"""Digests and derived keys (spec, section 1)."""

import hashlib
import hmac

from Crypto.Hash import TupleHash256


def u32(value):
    return value.to_bytes(4, "big")


def u64(value):
    return value.to_bytes(8, "big")


def digest(label, *fields):
    made = TupleHash256.new(digest_bytes=32, custom=b"secagg/v1/" + label.encode())
    for field in fields:
        made.update(field)
    return made.digest()


def hkdf(ikm, label, *fields, length):
    info = b"".join(u32(len(part)) + part for part in (b"secagg/v1/" + label.encode(), *fields))
    key = hmac.new(bytes(32), ikm, hashlib.sha256).digest()
    out, block, number = b"", b"", 0
    while len(out) < length:
        number += 1
        block = hmac.new(key, block + info + bytes([number]), hashlib.sha256).digest()
        out += block
    return out[:length]
