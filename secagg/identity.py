"""Who takes part: a participant's signing key, and the roster of everybody's verify keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from secagg.errors import AuthenticationError, InputError, ParameterError
from secagg.files import (
    PUBLIC_KEY,
    ROSTER,
    SECRET_KEY,
    Tagged,
    decode_object,
    encode_object,
    read_bounded,
    unhex,
    write_new,
)
from secagg.hazmat.guard import KeyObject
from secagg.hazmat.signing import SigningKey, check_public_key
from secagg.hazmat.transcript import digest

__all__ = ["FINGERPRINT_BITS", "MAX_ID_BYTES", "Identity", "PublicKey", "Roster", "check_id", "key_fingerprint"]

MAX_ID_BYTES = 64
# Whoever puts a roster together may try many keys of its own to give two hospitals two rosters of one fingerprint. That
# is a collision: half the bits count, so 80 would be open to a few machines and 160 are not.
FINGERPRINT_BITS = 160
MAX_KEY_FILE_BYTES = 4096
MAX_ROSTER_FILE_BYTES = 1 << 28


class Identity(KeyObject):
    """A participant's long-term Ed25519 key; make one with `generate`, `from_bytes` or `load`.

    Pickling and copying it raise; its repr shows a fingerprint of the verify key only.
    """

    __slots__ = ("_key",)

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Identity:
        """Return a fresh identity from the operating system's randomness."""
        return cls(SigningKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> Identity:
        """Return the identity of a 32-byte private key; InputError for another length."""
        return cls(SigningKey.from_private_bytes(private))

    def to_bytes(self) -> bytes:
        """Return the 32-byte private key. Secret: whoever has it is this participant."""
        return self._key.private_bytes()

    def _public(self) -> bytes:
        return self._key.public_bytes

    @property
    def verify_key(self) -> bytes:
        """The 32-byte public key that goes into the roster."""
        return self._key.public_bytes

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        return self._key.sign(message)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the private key to a new file that only its owner can read (mode 0600), and flush it to disk.

        Raises
        ------
        InputError
            The file exists: an identity is never overwritten.
        OSError
            The file cannot be written; no part of it is left.
        """
        write_new(path, SECRET_KEY + self.to_bytes().hex().encode() + b"\n", mode=0o600)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Identity:
        """Return the identity in a file that `save` wrote.

        Raises
        ------
        InputError
            The file is torn or of another kind, or others than its owner may read or write it (POSIX).
        OSError
            The file cannot be read.
        """
        name = os.fspath(path)
        if os.name == "posix" and Path(path).stat().st_mode & 0o077:
            raise InputError(f"{name} can be read by others than its owner; run chmod 600 on it")
        content = read_bounded(path, MAX_KEY_FILE_BYTES)
        body = content.removeprefix(SECRET_KEY)
        if not content.startswith(SECRET_KEY) or len(body) != 65 or body[-1:] != b"\n":
            raise InputError(f"{name} holds no secagg identity")
        try:
            private = bytes.fromhex(body[:64].decode("ascii"))
        except ValueError:
            raise InputError(f"{name} holds no secagg identity") from None
        return cls.from_bytes(private)


def check_id(name: str) -> None:
    """Return if `name` can be a participant's id: 1 to 64 bytes of UTF-8, printable, without white space.

    Raises
    ------
    ParameterError
        Any other value.
    """
    if not isinstance(name, str):
        raise ParameterError(f"an id must be str, got {type(name).__name__}")
    if len(name) > MAX_ID_BYTES:  # and so too long to be quoted
        raise ParameterError(f"an id has at most {MAX_ID_BYTES} bytes of UTF-8, got {len(name)} characters")
    if not name.isprintable() or " " in name:
        raise ParameterError(f"id {name!r} holds white space or unprintable characters")
    if not 1 <= len(name.encode()) <= MAX_ID_BYTES:
        raise ParameterError(f"id {name!r} must have 1 to {MAX_ID_BYTES} bytes of UTF-8")


def _checked_key(owner: str, key: bytes) -> bytes:
    try:
        check_public_key(key)
    except AuthenticationError as refused:
        raise ParameterError(f"verify key of {owner}: {refused.reason}") from None
    return key


def _fingerprint(value: bytes) -> str:
    digits = value[: FINGERPRINT_BITS // 8].hex()
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


def key_fingerprint(key: bytes) -> str:
    """Return the first 160 bits of the SHA-256 of a verify key: ten groups of four hex digits, to be read out."""
    return _fingerprint(hashlib.sha256(key).digest())


class _KeyFile(Tagged, frozen=True):
    name: str
    key: str


@dataclass(frozen=True)
class PublicKey:
    """A participant's verify key under its name: what it hands to whoever puts the roster together.

    Parameters
    ----------
    name : str
        The id that it will have in the roster (see `check_id`).
    key : bytes
        Its 32-byte Ed25519 verify key.

    Raises
    ------
    ParameterError
        A bad name, or a key that is malformed, not canonical or of small order.
    """

    name: str
    key: bytes

    def __post_init__(self) -> None:
        """Refuse what no roster takes."""
        check_id(self.name)
        _checked_key(repr(self.name), self.key)

    @property
    def fingerprint(self) -> str:
        """160 bits of the key as ten groups of four hex digits."""
        return key_fingerprint(self.key)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a new JSON file, and flush it to disk; InputError if it exists, OSError if it cannot be written."""
        write_new(path, encode_object(_KeyFile(PUBLIC_KEY, self.name, self.key.hex())), mode=0o644)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PublicKey:
        """Return the key in a file that `save` wrote.

        Raises
        ------
        InputError
            The file is of another kind, or too long.
        ParameterError
            The name or the key is none that a roster takes.
        OSError
            The file cannot be read.
        """
        content = read_bounded(path, MAX_KEY_FILE_BYTES)
        try:
            file = decode_object(content, _KeyFile, PUBLIC_KEY)
            return cls(file.name, unhex(file.key, 32, "the key"))
        except (InputError, ParameterError) as refused:
            raise type(refused)(f"{os.fspath(path)}: {refused}") from None


class _RosterFile(Tagged, frozen=True, omit_defaults=True):
    server: str
    clients: dict[str, str]
    holder: str | None = None


class Roster:
    """The verify keys of all clients and of the server; immutable, equal and hashable by content.

    Parameters
    ----------
    clients : mapping of str to bytes
        Client id to 32-byte Ed25519 verify key; at least one.
    server : bytes
        The server's verify key.
    holder : bytes, optional
        The verify key of the ckks protocol's key holder, who may be one of the clients, and never the server.

    Raises
    ------
    ParameterError
        No clients, a bad id (see `check_id`), a key that is malformed, not canonical or of small order, or
        one key used twice (one participant under two ids would count double in every bound).

    Notes
    -----
    Ids are ordered by their UTF-8 bytes, here and everywhere in the protocols. The keys must reach everybody
    by a channel the server cannot change: the roster is what all signatures rest on.
    """

    __slots__ = ("_clients", "_hash", "_holder", "_ids", "_server")

    _clients: Mapping[str, bytes]
    _hash: bytes
    _holder: bytes | None
    _ids: tuple[str, ...]
    _server: bytes

    def __init__(self, clients: Mapping[str, bytes], server: bytes, holder: bytes | None = None) -> None:
        if not isinstance(clients, Mapping) or not clients:
            raise ParameterError("a roster needs a mapping of at least one client id to its verify key")
        owners = {_checked_key("the server", server): "the server"}
        for name, key in clients.items():
            check_id(name)
            other = owners.setdefault(_checked_key(repr(name), key), repr(name))
            if other != repr(name):
                raise ParameterError(f"{other} and {name!r} have the same verify key")
        if holder is not None and _checked_key("the key holder", holder) == server:
            raise ParameterError(
                "the key holder has the server's verify key: a server that can decrypt protects nothing"
            )
        ids = tuple(sorted(clients, key=str.encode))
        table = {name: clients[name] for name in ids}
        fields = [part for name in ids for part in (name.encode(), table[name])]
        told = digest("roster", server, *fields) if holder is None else digest("roster-holder", server, holder, *fields)
        for slot, value in (
            ("_clients", MappingProxyType(table)),
            ("_ids", ids),
            ("_server", server),
            ("_holder", holder),
            ("_hash", told),
        ):
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Roster is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Roster is immutable")

    def __reduce__(self) -> tuple[type[Roster], tuple[dict[str, bytes], bytes, bytes | None]]:
        return Roster, (dict(self._clients), self._server, self._holder)

    @property
    def ids(self) -> tuple[str, ...]:
        """The client ids, ordered by their UTF-8 bytes."""
        return self._ids

    @property
    def server(self) -> bytes:
        """The server's 32-byte verify key."""
        return self._server

    @property
    def holder(self) -> bytes | None:
        """The key holder's 32-byte verify key, or None."""
        return self._holder

    def key(self, name: str) -> bytes:
        """Return the 32-byte verify key of a client; InputError if it is not on the roster."""
        try:
            return self._clients[name]
        except KeyError:
            raise InputError(f"{name!r} is not on the roster") from None

    def hash(self) -> bytes:
        """Return the 32-byte digest of ids and keys, the same for everybody who holds the same roster."""
        return self._hash

    @property
    def fingerprint(self) -> str:
        """The first 160 bits of `hash` as ten groups of four hex digits, to be compared by telephone.

        Notes
        -----
        Two rosters of one fingerprint take about 2**80 tries to find, for those who choose some of the keys in both.
        """
        return _fingerprint(self._hash)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a new JSON file, sorted by id, and flush it to disk.

        Raises
        ------
        InputError
            The file exists: a roster is never overwritten.
        OSError
            The file cannot be written; no part of it is left.
        """
        clients = {name: key.hex() for name, key in self._clients.items()}
        holder = None if self._holder is None else self._holder.hex()
        write_new(path, encode_object(_RosterFile(ROSTER, self._server.hex(), clients, holder)), mode=0o644)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Roster:
        """Return the roster in a file that `save` wrote.

        Raises
        ------
        InputError
            The file is of another kind or version, torn, or names an id twice.
        ParameterError
            It is a roster file, but an id or a key in it is none that a roster takes.
        OSError
            The file cannot be read.
        """
        content = read_bounded(path, MAX_ROSTER_FILE_BYTES)
        try:
            file = decode_object(content, _RosterFile, ROSTER)
            for name in file.clients:
                check_id(name)
            clients = {name: unhex(key, 32, f"the key of {name!r}") for name, key in file.clients.items()}
            holder = None if file.holder is None else unhex(file.holder, 32, "the key holder's key")
            return cls(clients, unhex(file.server, 32, "the server's key"), holder)
        except (InputError, ParameterError) as refused:
            raise type(refused)(f"{os.fspath(path)}: {refused}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._clients

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __eq__(self, other: object) -> bool:
        return self._hash == other._hash if isinstance(other, Roster) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._hash)

    def __repr__(self) -> str:
        return f"<Roster of {len(self)} clients, {self._hash.hex()[:16]}>"
