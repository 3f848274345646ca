"""MessagePack in its shortest form: the subset that frames and Params use (spec, section 1)."""

import struct


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        raise TypeError("no body has a bool")
    if isinstance(value, int):
        return _pack_int(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        if len(data) < 32:
            return bytes([0xA0 | len(data)]) + data
        return _sized(len(data), (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, bytes):
        return _sized(len(value), (0xC4, 0xC5, 0xC6)) + value
    items = b"".join(map(pack, value))
    if len(value) < 16:
        return bytes([0x90 | len(value)]) + items
    return _sized(len(value), (None, 0xDC, 0xDD)) + items


def _pack_int(value):
    if -32 <= value < 128:
        return struct.pack("b" if value < 0 else "B", value)
    for size, (unsigned, signed) in enumerate(((0xCC, 0xD0), (0xCD, 0xD1), (0xCE, 0xD2), (0xCF, 0xD3))):
        bits = 8 << size
        if 0 <= value < 1 << bits:
            return bytes([unsigned]) + value.to_bytes(1 << size, "big")
        if -(1 << (bits - 1)) <= value < 0:
            return bytes([signed]) + value.to_bytes(1 << size, "big", signed=True)
    raise OverflowError(value)


def _sized(length, codes):
    for size, code in enumerate(codes):
        if code is not None and length < 1 << (8 << size):
            return bytes([code]) + length.to_bytes(1 << size, "big")
    raise OverflowError(length)


def unpack(data):
    """Return the one value in `data`; whatever is not in its shortest form is refused."""
    value, at = _unpack(data, 0)
    if at != len(data) or pack(value) != bytes(data):
        raise ValueError("not one value in its shortest form")
    return value


def _unpack(data, at):
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 256, at
    if code & 0xE0 == 0xA0:
        return _text(data, at, code & 31)
    if code & 0xF0 == 0x90:
        return _array(data, at, code & 15)
    if code == 0xC0:
        return None, at
    if code == 0xCB:
        return struct.unpack_from(">d", data, at)[0], at + 8
    if 0xCC <= code <= 0xD3:
        size = 1 << ((code - 0xCC) & 3)
        return int.from_bytes(data[at : at + size], "big", signed=code >= 0xD0), at + size
    for codes, read in (((0xC4, 0xC5, 0xC6), _raw), ((0xD9, 0xDA, 0xDB), _text), ((None, 0xDC, 0xDD), _array)):
        if code in codes:
            size = 1 << codes.index(code)
            return read(data, at + size, int.from_bytes(data[at : at + size], "big"))
    raise ValueError(f"code {code:#x} is in no frame")


def _raw(data, at, length):
    return bytes(data[at : at + length]), at + length


def _text(data, at, length):
    return bytes(data[at : at + length]).decode(), at + length


def _array(data, at, length):
    items = []
    for _ in range(length):
        item, at = _unpack(data, at)
        items.append(item)
    return items, at
