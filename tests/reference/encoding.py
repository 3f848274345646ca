"""Encodings, widths, packing and chunk geometry (spec, section 6)."""

import math
from hashlib import sha256

from reference.hashes import digest
from reference.stream import lane_bytes, words


def fixed_point(values, clip, bits, key, stream, start):
    """Return the encoded values; `key` None rounds to nearest."""
    levels = 2**bits - 1
    scale = levels / (2 * clip)
    drawn = [] if key is None else words(key, stream, 4, start + len(values))[start:]
    encoded = []
    for i, x in enumerate(values):
        s = min((min(max(float(x), -clip), clip) + clip) * scale, float(levels))
        if key is None:
            encoded.append(min(math.floor(s + 0.5), levels))
        else:
            whole = math.floor(s)
            encoded.append(whole + (drawn[i] < int((s - whole) * 2.0**32)))
    return encoded


def fixed_point_mean(total, weight, clip, bits):
    return [(s * (2 * clip / (2**bits - 1)) - weight * clip) / weight for s in total]


def integer(values, low):
    return [int(x) - low for x in values]


def width(value_bits, total_weight):
    """Return value_bits + ceil(log2(total_weight)), in integers."""
    extra = 0
    while 2**extra < total_weight:
        extra += 1
    return value_bits + extra


def pack(values, w):
    number = sum(value << (i * w) for i, value in enumerate(values))
    return number.to_bytes(-(-len(values) * w // 8), "little")


def unpack(data, w, count):
    number = int.from_bytes(data, "little")
    if number >> (w * count):
        raise ValueError("padding is not zero")
    return [(number >> (i * w)) % 2**w for i in range(count)]


def chunks(count, w, frame_bytes):
    """Return the (start, stop) of each chunk."""
    step = frame_bytes * 8 // w // 8 * 8
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def result_hash(settings, sums):
    """Return the hash of opened sums (spec, section 8)."""
    raw = b"".join(
        value.to_bytes(lane_bytes(part.w), "little")
        for part, row in zip(settings.segments, sums, strict=True)
        for value in row
    )
    return digest("result", sha256(raw).digest())
