"""Small files: made once, never overwritten, read within a bound, and JSON objects that can be read in one way only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from secagg.errors import InputError

__all__ = [
    "PUBLIC_KEY",
    "RECEIPT",
    "ROSTER",
    "SECRET_KEY",
    "Tagged",
    "decode_object",
    "encode_object",
    "read_bounded",
    "unhex",
    "write_new",
]

SECRET_KEY = b"secagg identity v1: keep secret\n"
PIECE = 1 << 20
ROSTER = "secagg roster v1"
PUBLIC_KEY = "secagg public key v1"
RECEIPT = "secagg receipt v1"
_NAMES = {ROSTER: "a roster", PUBLIC_KEY: "a public key", RECEIPT: "a receipt"}


class Tagged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all JSON files: an object of exactly its fields, the first of which says what it is."""

    format: str


class _Kind(msgspec.Struct):
    format: str


Form = TypeVar("Form", bound=Tagged)


def write_new(path: str | os.PathLike[str], content: bytes, *, mode: int) -> None:
    """Write a new file with these permission bits at most, and flush it to disk.

    Raises
    ------
    InputError
        The file exists; it is left as it was.
    OSError
        The file cannot be written; no part of it is left.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise InputError(f"{os.fspath(path)} exists; move it away first, it is never overwritten") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        Path(path).unlink()
        raise


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return a file's content.

    Raises
    ------
    InputError
        It has more than `limit` bytes; no more than these were read.
    OSError
        The file cannot be read.
    """
    content = bytearray()
    with Path(path).open("rb") as file:
        # Piece by piece: a read of so many bytes takes that much memory first, however short the file.
        while piece := file.read(min(PIECE, limit + 1 - len(content))):
            content += piece
    if len(content) > limit:
        raise InputError(f"{os.fspath(path)} has more than {limit} bytes")
    return bytes(content)


def encode_object(value: Tagged) -> bytes:
    """Return a struct as one indented JSON object with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _one_by_one(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError


def _kind(content: str | bytes) -> str:
    if isinstance(content, bytes) and content.startswith(SECRET_KEY):
        return "a secret key: give the .pub file, and this one to nobody"
    try:
        return _NAMES.get(msgspec.json.decode(content, type=_Kind).format, "")
    except (ValueError, RecursionError):
        return ""


def decode_object(content: str | bytes, form: type[Form], tag: str) -> Form:
    """Return a struct from exactly one JSON object of its fields.

    Parameters
    ----------
    content : str or bytes
    form : type
        A subclass of `Tagged`.
    tag : str
        What `format` must say.

    Raises
    ------
    InputError
        Malformed, another format, a field too many, too few or of another type, or a key twice: readers differ in which of
        the two they take.
    """
    what = _NAMES[tag]
    try:
        read = msgspec.json.decode(content, type=form)
        json.loads(content, object_pairs_hook=_one_by_one)
    except (ValueError, RecursionError):
        kind = _kind(content)
        raise InputError(f"not {what}" + (f" but {kind}" if kind not in ("", what) else "")) from None
    if read.format != tag:
        raise InputError(f"not {what} of this version")
    return read


def unhex(text: str, length: int, what: str) -> bytes:
    """Return the bytes of `length` pairs of lower-case hex digits; InputError, without the text, for anything else."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != length or value.hex() != text:
        raise InputError(f"{what} must have {2 * length} hex digits in lower case")
    return value
