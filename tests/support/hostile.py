"""Bytes that ask for memory, hide structure, or are another format; full disks; forks. For every party of every protocol."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from secagg.errors import PeerError
from secagg.wire import Chunk, decode_frame, encode_chunk
from secagg.wire.frames import Envelope, _encoder, _header, _statement

__all__ = [
    "beyond_the_order",
    "bodies",
    "foreign",
    "huge",
    "in_child",
    "no_room",
    "peak",
    "refuses",
    "second_form",
    "signed",
]

NEST = 3000
GROUP_ORDER = (1 << 252) + 27742317777372353535851937790883648493  # of Ed25519


def refuses(party: Any, frame: Any, error: type[Exception] = PeerError) -> None:
    """The party refuses a frame, and sends nothing for it."""
    with pytest.raises(error):
        party.receive(frame)
    assert list(party.outbox()) == []


def signed(frame: bytes, payload: bytes, session: bytes, key: Any) -> bytes:
    """A frame of the same kind and sender with any payload, rightly signed."""
    kind, outer = decode_frame(frame, max_bytes=1 << 30)
    signature = key.sign(_statement(kind, session, outer.sender, payload))
    return _header(kind) + _encoder.encode(Envelope(session, outer.sender, signature, payload))


def beyond_the_order(signature: bytes) -> bytes:
    """The same signature with S + L in place of S, which careless verifiers take for the same."""
    return signature[:32] + (int.from_bytes(signature[32:], "little") + GROUP_ORDER).to_bytes(32, "little")


def second_form(frame: bytes) -> bytes:
    """The same frame with its signature in another form."""
    kind, outer = decode_frame(frame, max_bytes=1 << 30)
    if isinstance(outer, Chunk):
        values = {field: getattr(outer, field) for field in outer.__struct_fields__}
        return encode_chunk(Chunk(**{**values, "tag": beyond_the_order(outer.tag)}))
    again = Envelope(outer.session, outer.sender, beyond_the_order(outer.signature), outer.payload)
    return _header(kind) + _encoder.encode(again)


def bodies(frame: bytes) -> Iterator[bytes]:
    """Payloads of an authenticated sender that are no body of that kind: nested, with fields unknown, missing, or trailing."""
    _, outer = decode_frame(frame, max_bytes=1 << 30)
    fields = msgspec.msgpack.decode(outer.payload)
    pack = msgspec.msgpack.encode
    yield from (outer.payload + b"\x00", outer.payload[:-1], b"", b"\xc1")
    yield from map(pack, (fields[:-1], [*fields, None], [fields], {str(i): v for i, v in enumerate(fields)}, None))
    for at in range(len(fields)):
        yield pack([*fields[:at], [fields[at]], *fields[at + 1 :]])
        yield pack([*fields[:at], {"x": fields[at]}, *fields[at + 1 :]])
        deep = b"\x91" * NEST + b"\xc0" + b"".join(map(pack, fields[at + 1 :]))
        yield bytes([0x90 + len(fields)]) + b"".join(map(pack, fields[:at])) + deep
        yield bytes([0x90 + len(fields)]) + b"".join(map(pack, fields[:at])) + b"\xc7\x01\x05\x00"  # an extension type


def huge(frame: bytes, limit: int) -> Iterator[Any]:
    """Frames over the limit, and small ones that claim to hold gigabytes."""
    yield memoryview(bytearray(limit + 1))
    yield frame[:4] + bytes(limit)
    yield frame + bytes(limit)
    for bomb in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\x94\xc6", b"\x97\xc4\x10" + bytes(16) + b"\xdb", b"\xc9"):
        yield frame[:4] + bomb + b"\xff\xff\xff\xff"
        yield frame[:4] + bomb + b"\x7f\xff\xff\xff" + bytes(100)


class Trap:
    """Whoever unpickles it makes a directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def foreign(path: str) -> Iterator[bytes]:
    """Pickles of every protocol that would make a directory at `path`, and numpy's files with and without objects in them."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(Trap(path), protocol)
    for array in (np.zeros(3), np.array([Trap(path)], dtype=object)):
        for save in (np.save, np.savez):
            file = io.BytesIO()
            save(file, array)
            yield file.getvalue()


def peak(call: Callable[[], Any]) -> int:
    """The most bytes that Python allocated during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """No file may grow by a byte, as on a full disk: the operating system itself refuses to write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def in_child(make: Callable[[], bytes]) -> bytes:
    """What a call returns in a forked copy of this process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(write, make())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as end:
        told = end.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return told
