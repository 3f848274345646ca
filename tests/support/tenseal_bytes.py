"""TenSEAL contexts for tests, and its bytes taken apart and put together again, without the parser under test."""

from __future__ import annotations

import functools
import struct
import zlib

import numpy as np
import tenseal as ts
import zstandard

from secagg.integrations.tenseal import SharedContext

SETS = {
    "8192-60-40-40": (8192, [60, 40, 40], 2**40),  # NVFlare's default
    "4096-40-41": (4096, [40, 41], 2**30),
    "4096-54-55": (4096, [54, 55], 2**40),
}
# The least there is; its scale is too small for sums, but its bytes parse like any other's.
SMALLEST = {"2048-27-27": (2048, [27, 27], 2**12)}
MODES = {"none": 0, "zlib": 1, "zstd": 2}


@functools.cache
def _made(name, public_key, again):
    degree, bits, scale = {**SETS, **SMALLEST}[name]
    kind = ts.ENCRYPTION_TYPE.ASYMMETRIC if public_key else ts.ENCRYPTION_TYPE.SYMMETRIC
    made = ts.context(ts.SCHEME_TYPE.CKKS, degree, -1, bits, encryption_type=kind)
    made.global_scale = scale
    return made, SharedContext(made)


def context(name="4096-40-41", public_key=False, again=0):
    """A TenSEAL context; another key for each `again`."""
    return _made(name, public_key, again)[0]


def shared(name="4096-40-41", public_key=False, again=0):
    return _made(name, public_key, again)[1]


def encrypted(values, name="4096-40-41", public_key=False, again=0):
    return ts.ckks_vector(context(name, public_key, again), list(values)).serialize()


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """[(field, wire type, content)] of a protobuf message."""
    found, at = [], 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == 2:
            size, at = read_varint(data, at)
            found.append((tag >> 3, 2, data[at : at + size]))
            at += size
        elif tag & 7 == 1:
            found.append((tag >> 3, 1, data[at : at + 8]))
            at += 8
        else:
            value, at = read_varint(data, at)
            found.append((tag >> 3, 0, value))
    return found


def message(parts):
    out = b""
    for field, wire, content in parts:
        out += varint(field << 3 | wire)
        out += varint(len(content)) + content if wire == 2 else varint(content) if wire == 0 else content
    return out


def unpack(item):
    """(minor version, body) of a SEAL object."""
    mode, body = item[5], item[16:]
    if mode == 2:
        return item[4], zstandard.ZstdDecompressor().decompress(body)
    return item[4], zlib.decompress(body) if mode == 1 else body


def pack(body, minor=3, mode="none", **header):
    packed = {"none": bytes, "zlib": zlib.compress, "zstd": zstandard.ZstdCompressor().compress}[mode](body)
    values = {"magic": 0xA15E, "head": 16, "major": 4, "minor": minor, "compression": MODES[mode], "zero": 0} | header
    size = values.pop("size", 16 + len(packed))
    return struct.pack("<HBBBBHQ", *values.values(), size) + packed


def rewrap(data, mode):
    """A vector's bytes in another compression."""
    parts = [(f, w, pack(unpack(c)[1], unpack(c)[0], mode) if f == 2 else c) for f, w, c in fields(data)]
    return message(parts)


def bodies(data):
    """The decompressed ciphertexts of a vector."""
    return [unpack(content)[1] for field, _, content in fields(data) if field == 2]


def residues(data):
    return np.stack([np.frombuffer(body[97:], "<u8") for body in bodies(data)])


def with_body(data, change, index=0, mode="none"):
    """A vector with one ciphertext's body changed by `change`."""
    parts = fields(data)
    at = [i for i, part in enumerate(parts) if part[0] == 2][index]
    minor, body = unpack(parts[at][2])
    parts[at] = (2, 2, pack(bytes(change(bytearray(body))), minor, mode))
    return message(parts)
