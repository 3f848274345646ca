"""The bytes of SEAL objects and of the protobuf messages that TenSEAL wraps them in, read strictly.

Learned from what TenSEAL 0.3.15 to 0.3.18 write (SEAL 4.1 and 4.3), not from a specification. Nothing here needs TenSEAL or
SEAL. Every length is checked before anything is made of it, one value has one encoding, and trailing bytes are refused.
"""

from __future__ import annotations

import functools
import struct
import threading
import zlib
from typing import Any, Literal

from secagg.errors import DecodeError, ParameterError

__all__ = [
    "VERSIONS",
    "Compression",
    "Reader",
    "compress",
    "field_bytes",
    "head",
    "open_object",
    "require_zstd",
    "varint",
]

Compression = Literal["none", "zlib", "zstd"]
MAGIC, HEADER_BYTES, MAJOR = 0xA15E, 16, 4
VERSIONS = (1, 3)
"""Minor versions of SEAL 4 whose bytes are known: TenSEAL 0.3.15 and 0.3.16 write 4.1, 0.3.17 and 0.3.18 write 4.3."""
_HEADER = struct.Struct("<HBBBBHQ")
_MODES: dict[Compression, int] = {"none": 0, "zlib": 1, "zstd": 2}
_VARINT, _FIXED64, _BYTES = 0, 1, 2


class Reader:
    """Fields of one protobuf message, which must come in ascending order, each in its shortest encoding.

    Parameters
    ----------
    data : memoryview
        The whole message, and nothing else.
    what : str
        Names it in errors.
    """

    def __init__(self, data: memoryview, what: str) -> None:
        self._data = data
        self._what = what
        self._at = 0

    @property
    def done(self) -> bool:
        """Whether all bytes have been read."""
        return self._at == len(self._data)

    def _refuse(self, reason: str) -> DecodeError:
        return DecodeError(f"{self._what}: {reason}")

    def varint(self) -> int:
        """Return the next base-128 number, below 2**63 and without leading zeros."""
        value, begin = 0, self._at
        for step, byte in enumerate(self._data[begin : begin + 9]):
            value |= (byte & 0x7F) << 7 * step
            if byte < 0x80:
                if step and not byte:
                    raise self._refuse("a number is not in its shortest form")
                self._at = begin + step + 1
                return value
        raise self._refuse("a number is cut short or too large")

    def _take(self, count: int) -> memoryview:
        if count > len(self._data) - self._at:
            raise self._refuse("cut short")
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def next_is(self, field: int, wire: int = _BYTES) -> bool:
        """Whether the next field is this one; reads its tag if so."""
        tag = field << 3 | wire  # fields below 16: one byte
        if self._at < len(self._data) and self._data[self._at] == tag:
            self._at += 1
            return True
        return False

    def bytes(self, field: int) -> memoryview | None:
        """Return the content of a bytes field, a view; None if the next field is another."""
        return self._take(self.varint()) if self.next_is(field, _BYTES) else None

    def number(self, field: int) -> int | None:
        """Return a varint field; None if the next field is another."""
        return self.varint() if self.next_is(field, _VARINT) else None

    def double(self, field: int) -> float | None:
        """Return a double field; None if the next field is another."""
        if not self.next_is(field, _FIXED64):
            return None
        value: float = struct.unpack("<d", self._take(8))[0]
        return value

    def require(self, value: Any) -> Any:
        """Return `value`, which is a field that must be there."""
        if value is None:
            raise self._refuse("a field is missing, unknown, repeated or out of order")
        return value

    def finish(self) -> None:
        """Refuse bytes that are left."""
        if not self.done:
            raise self._refuse("a field is unknown, repeated or out of order")


def varint(value: int) -> bytes:
    """Return `value`, not negative, as a base-128 number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_bytes(field: int, size: int) -> bytes:
    """Return the tag and length that come before `size` bytes of a field."""
    return varint(field << 3 | _BYTES) + varint(size)


@functools.cache
def _zstandard() -> Any:
    import zstandard

    return zstandard


def require_zstd() -> None:
    """Raise ParameterError unless the `zstandard` package is there, which SEAL's usual compression needs."""
    try:
        _zstandard()
    except ImportError:
        raise ParameterError(
            "TenSEAL's ciphertexts need the zstandard package: pip install 'secagg[tenseal]'"
        ) from None


def head(minor: int, mode: Compression, body_bytes: int) -> bytes:
    """Return SEAL's 16-byte header of a body of that size."""
    return _HEADER.pack(MAGIC, HEADER_BYTES, MAJOR, minor, _MODES[mode], 0, HEADER_BYTES + body_bytes)


def compress(body: bytes, mode: Compression) -> bytes:
    """Return the body as SEAL stores it in that mode."""
    if mode == "zlib":
        return zlib.compress(body)
    if mode == "zstd":
        packed: bytes = _zstandard().ZstdCompressor().compress(body)
        return packed
    return body


def open_object(data: memoryview, what: str, *, size: int | None = None, most: int = 0) -> tuple[memoryview, int]:
    """Return the body of a SEAL object, decompressed, and the minor version of its writer.

    Parameters
    ----------
    data : memoryview
        Header and body, and nothing else.
    what : str
        Names the object in errors.
    size : int, optional
        The exact size of the body; nothing larger is ever allocated.
    most : int
        Without `size`, its largest size.

    Raises
    ------
    DecodeError
        Another format or version, or a body that is not exactly what the header says.
    """
    if len(data) < HEADER_BYTES:
        raise DecodeError(f"{what} is empty or cut short")
    magic, header, major, minor, mode, reserved, total = _HEADER.unpack_from(data)
    if (magic, header, reserved) != (MAGIC, HEADER_BYTES, 0):
        raise DecodeError(f"{what} is no SEAL object")
    if major != MAJOR or minor not in VERSIONS:
        raise DecodeError(f"{what} was written by SEAL {major}.{minor}; known are 4.1 and 4.3")
    if total != len(data):
        raise DecodeError(f"{what} has another length than its header says")
    body, limit = data[HEADER_BYTES:], most if size is None else size
    if mode == _MODES["none"]:
        found = body
    elif mode == _MODES["zlib"]:
        found = _inflate(body, limit, what)
    elif mode == _MODES["zstd"]:
        found = _unzstd(body, limit, what)
    else:
        raise DecodeError(f"{what} is compressed in an unknown way")
    if len(found) > limit or size not in {None, len(found)}:
        raise DecodeError(f"{what} has another size than these parameters ask for")
    return found, minor


def _inflate(body: memoryview, limit: int, what: str) -> memoryview:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(body, limit + 1)
    except zlib.error:
        raise DecodeError(f"{what} is not well compressed") from None
    if not stream.eof or stream.unused_data:
        raise DecodeError(f"{what} is cut short, too long, or followed by more")
    return memoryview(found)


def _unzstd(body: memoryview, limit: int, what: str) -> memoryview:
    zstd = _zstandard()
    try:
        # The frame says how much it holds, and the library allocates what it says: looked at first.
        frame = zstd.get_frame_parameters(body)
        if not 0 < frame.content_size <= limit or frame.dict_id:
            raise DecodeError(f"{what} has another size than these parameters ask for")
        return memoryview(_decompressors().zstd.decompress(body, allow_extra_data=False))
    except zstd.ZstdError:
        raise DecodeError(f"{what} is not well compressed") from None


class _PerThread(threading.local):
    """A decompressor holds state while it works, so each thread has its own."""

    def __init__(self) -> None:
        self.zstd = _zstandard().ZstdDecompressor()


@functools.cache
def _decompressors() -> _PerThread:
    return _PerThread()
