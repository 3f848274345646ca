"""Vectors of CKKS ciphertexts: read from TenSEAL's bytes, added, and written so that TenSEAL reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from secagg import _kernels
from secagg.errors import AbortError, DecodeError, InputError, ParameterError, StateError
from secagg.integrations.tenseal.context import PublicContext
from secagg.integrations.tenseal.seal_format import (
    HEADER_BYTES,
    VERSIONS,
    Compression,
    Reader,
    compress,
    field_bytes,
    head,
    open_object,
    require_zstd,
    varint,
)

__all__ = ["CiphertextSum", "VectorFormat"]

POLYNOMIALS = 2  # of a fresh ciphertext; more come from multiplications
BATCH = 16  # ciphertexts decompressed before they are added: few enough to stay in a cache
_PREFIX = struct.Struct("<32sBQQQdQ")


class VectorFormat:
    """TenSEAL's CKKSVector of `length` values under `context`: what its bytes must be.

    Parameters
    ----------
    context : PublicContext
    length : int
        Values in the vector, at least 1.
    """

    def __init__(self, context: PublicContext, length: int) -> None:
        require_zstd()
        if length < 1:
            raise ParameterError("a vector of ciphertexts has at least one value")
        slots, primes = context.slots, len(context.moduli)
        self.context = context
        self.length = length
        self.shape = (-(-length // slots), POLYNOMIALS, primes, context.degree)
        self.residue_bytes = 8 * POLYNOMIALS * primes * context.degree
        count = self.residue_bytes // 8
        # Everything before the residues is one constant for each writer: parameters' name, NTT form, polynomials, degree,
        # primes, scale, correction factor, then the header and length of an array.
        fields = (context.parms_id(), 1, POLYNOMIALS, context.degree, primes, context.scale, 1)
        self._prefixes = {
            minor: _PREFIX.pack(*fields) + head(minor, "none", 8 + self.residue_bytes) + struct.pack("<Q", count)
            for minor in VERSIONS
        }
        self.body_bytes = len(self._prefixes[VERSIONS[0]]) + self.residue_bytes
        sizes = b"".join([varint(slots)] * (self.shape[0] - 1) + [varint(length - (self.shape[0] - 1) * slots)])
        self._sizes = field_bytes(1, len(sizes)) + sizes
        self._tail = b"\x19" + struct.pack("<d", context.scale)
        self._zeros = bytes(8 * context.degree)

    @property
    def max_bytes(self) -> int:
        """The most bytes that a vector can have, however it is compressed."""
        each = HEADER_BYTES + self.body_bytes + self.body_bytes // 128 + 1024
        return len(self._sizes) + self.shape[0] * (each + 8) + len(self._tail)

    def split(self, data: memoryview) -> list[memoryview]:
        """Return the SEAL object of each ciphertext, still unread.

        Raises
        ------
        DecodeError
            Too long, or not one protobuf message of exactly these sizes, this scale and so many ciphertexts.
        """
        if len(data) > self.max_bytes:
            raise DecodeError(f"a vector of ciphertexts has {len(data)} bytes, over the limit of {self.max_bytes}")
        end = len(data) - len(self._tail)
        if end < len(self._sizes) or bytes(data[: len(self._sizes)]) != self._sizes:
            raise DecodeError("a vector of ciphertexts is empty, cut short, or of another length than agreed")
        if bytes(data[end:]) != self._tail:
            raise DecodeError("a vector of ciphertexts has another scale than the context, or more after it")
        reader = Reader(data[len(self._sizes) : end], "vector of ciphertexts")
        found = [reader.require(reader.bytes(2)) for _ in range(self.shape[0])]
        reader.finish()
        return found

    def residues(self, item: memoryview) -> memoryview:
        """Return the residues of one ciphertext, not yet compared with their primes.

        Raises
        ------
        DecodeError
            Not exactly a fresh ciphertext of this context (seeded ones, of three polynomials, other parameters, scale or
            form, empty and short ones included), or a transparent one, whose second polynomial is zero modulo some prime.
        """
        body, minor = open_object(item, "a ciphertext", size=self.body_bytes)
        prefix = self._prefixes[minor]
        if bytes(body[: len(prefix)]) != prefix:
            raise DecodeError(f"a ciphertext is not as this context makes it: {self._why(body, prefix)}")
        residues = body[len(prefix) :]
        for at in range(self.residue_bytes // POLYNOMIALS, self.residue_bytes, len(self._zeros)):
            # The comparison ends at the first byte that is not zero.
            if residues[at : at + len(self._zeros)] == self._zeros:
                raise DecodeError("a transparent ciphertext: its second polynomial is zero, and it hides nothing")
        return residues

    @staticmethod
    def _why(body: memoryview, prefix: bytes) -> str:
        names = ("other parameters", "not in NTT form", "not of two polynomials", "another degree", "other primes",
                 "another scale", "another correction factor")  # fmt: skip
        for name, found, wanted in zip(names, _PREFIX.unpack_from(body), _PREFIX.unpack_from(prefix), strict=True):
            if found != wanted:
                return name
        return "seeded, or malformed"

    def join(self, rows: Iterator[bytes], minor: int, mode: Compression) -> bytes:
        """Return the bytes that TenSEAL reads, of the residues of each ciphertext."""
        prefix = self._prefixes[minor]
        parts = [self._sizes]
        for row in rows:
            body = compress(prefix + row, mode)
            parts += [field_bytes(2, HEADER_BYTES + len(body)), head(minor, mode, len(body)), body]
        return b"".join((*parts, self._tail))


class CiphertextSum:
    """The sum of vectors of ciphertexts that TenSEAL made, bit-identical to TenSEAL's own; it takes no key.

    Parameters
    ----------
    context : PublicContext
    length : int
        Values in each vector.

    Notes
    -----
    Holds 16 bytes for each prime and value. Whoever gives it bytes has authenticated them; malformed ones are refused all the
    same. Not for several threads at once.
    """

    def __init__(self, context: PublicContext, length: int) -> None:
        self._format = VectorFormat(context, length)
        self._residues = np.zeros(self._format.shape, np.uint64)
        self._count = 0
        self._broken = False

    def __repr__(self) -> str:
        return f"CiphertextSum(count={self.count}, length={self._format.length})"

    @property
    def count(self) -> int:
        """How many vectors were added."""
        return self._count

    def add(self, data: bytes | memoryview) -> None:
        """Add a vector, ``CKKSVector.serialize()``.

        Raises
        ------
        DecodeError
            Not exactly a vector of fresh ciphertexts of this context and length; the sum is unchanged.

        Notes
        -----
        Uncompressed bytes are read where they are; of compressed ones 16 ciphertexts are held at a time.
        """
        self.add_many([data])

    def add_many(self, vectors: Sequence[bytes | memoryview]) -> None:
        """Add several vectors in one pass over the sum, which saves a fetch and a store of it for each when uncompressed.

        Raises
        ------
        DecodeError
            Some vector is refused (see `add`); none was added. `add` them one by one to see which.
        """
        self._check_whole()
        columns = [self._format.split(_view(data)) for data in vectors]
        step, done = max(1, BATCH // max(1, len(columns))), 0
        self._broken = True  # until all of it is added, or none: whatever else ends this leaves the sum useless
        try:
            for done in range(0, len(self._residues), step):
                self._batch(columns, done, done + step)
        except DecodeError:
            for items in columns:
                self._take_back(items[:done])
            self._broken = False
            raise
        self._count += len(columns)
        self._broken = False

    def _check_whole(self) -> None:
        if self._broken:
            raise AbortError("a vector was added in part when the machine failed; give the sum up")

    def _batch(self, columns: list[list[memoryview]], start: int, stop: int) -> None:
        rows = zip(*(items[start:stop] for items in columns), strict=True)
        bodies = [self._format.residues(item) for row in rows for item in row]
        try:
            _kernels.residues_add(self._residues[start:stop], bodies, self._format.context.moduli)
        except InputError:
            raise DecodeError("a ciphertext holds a residue that is not below its prime") from None

    def undo(self, data: bytes | memoryview) -> None:
        """Take a vector out again: bytes that were added before, or the sum is worth nothing.

        Raises
        ------
        DecodeError
            As `add`.
        StateError
            Nothing was added.
        """
        self._check_whole()
        if not self._count:
            raise StateError("nothing was added that could be undone")
        items = self._format.split(_view(data))
        self._broken = True
        self._take_back(items)
        self._count -= 1
        self._broken = False

    def _take_back(self, items: list[memoryview]) -> None:
        primes = np.array(self._format.context.moduli, np.uint64)[:, np.newaxis]
        for row, item in zip(self._residues, items, strict=False):
            less = row - np.frombuffer(self._format.residues(item), "<u8").reshape(row.shape)
            # Of the difference and the difference plus q, the one that did not wrap is the lesser.
            np.minimum(less, less + primes, out=row)

    def to_bytes(self, *, minor: int = VERSIONS[-1], compression: Compression = "none") -> bytes:
        """Return the sum as TenSEAL's bytes, for ``tenseal.ckks_vector_from``.

        Parameters
        ----------
        minor : int
            The minor version of SEAL 4 that will read them: 1 for TenSEAL 0.3.15 and 0.3.16, 3 for later ones.
        compression : str
            ``"none"``, ``"zlib"`` or ``"zstd"``; the last takes a tenth off and twenty times as long.

        Raises
        ------
        InputError
            An unknown version or compression.
        StateError
            Nothing was added.
        AbortError
            A ciphertext of the sum is transparent: clients chose theirs so that the keys cancel, and the sum hides nothing.
        """
        if minor not in VERSIONS or compression not in {"none", "zlib", "zstd"}:
            raise InputError("minor must be 1 or 3, compression none, zlib or zstd")
        self._check_whole()
        if not self._count:
            raise StateError("nothing was added")
        if not bool(self._residues[:, 1].any(axis=2).all()):
            raise AbortError("the sum holds a transparent ciphertext, which hides nothing; nothing was released")
        little = self._residues.astype("<u8", copy=False)
        return self._format.join((row.tobytes() for row in little), minor, compression)

    def residues(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Return a copy of the residues: (ciphertexts, 2, primes, N), in NTT form."""
        return self._residues.copy()


def _view(data: bytes | memoryview) -> memoryview:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(f"a vector of ciphertexts is bytes, not {type(data).__name__}")
    view = memoryview(data)
    if not view.c_contiguous:
        raise InputError("a vector of ciphertexts must be contiguous bytes")
    return view.cast("B")
