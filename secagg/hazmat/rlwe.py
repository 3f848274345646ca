"""Sums under encryption: RLWE with one value a coefficient, additions only.

b = -(a s) + e is public beside a; a vector m becomes c1 = a u + e1 and c0 = b u + e0 + delta m, polynomial by polynomial. Sums of
ciphertexts decrypt to sums of vectors, exactly, while the sum stays below q / delta and its noise below delta / 2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Self

import numpy as np
import numpy.typing as npt

from secagg import _kernels
from secagg._kernels import aligned_words
from secagg.errors import DecodeError, InputError
from secagg.hazmat.guard import KeyObject, draw, exactly
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.ring import KEY_BYTES, Ring

__all__ = [
    "SEED_BYTES",
    "PublicKey",
    "SecretKey",
    "SeededSum",
    "Sum",
    "encrypt",
    "payload_bytes",
    "seeded_payload_bytes",
]

SEED_BYTES = 32

U64 = npt.NDArray[np.uint64]
Buffer = bytes | bytearray | memoryview


def payload_bytes(ring: Ring, n: int) -> int:
    """Return how many bytes the ciphertext of `n` values takes."""
    return _kernels.rlwe_payload_bytes(ring.plan, n)


def seeded_payload_bytes(ring: Ring, n: int) -> int:
    """Return how many bytes the seeded ciphertext of `n` values takes."""
    return _kernels.rlwe_payload_bytes(ring.plan, n, seeded=True)


def _polynomials(ring: Ring, n: int) -> int:
    return -(-n // ring.degree)


class PublicKey:
    """What encrypts: a, expanded from a public seed, and b. Make one with `SecretKey.public_key` or `from_bytes`.

    Parameters
    ----------
    ring : Ring
        Where it lives.
    seed : bytes
        16 bytes: a is polynomial 0 of its stream 0, uniform.
    b : ndarray of uint64, shape (N,)
        Canonical, not all zero; copied.

    Raises
    ------
    InputError
        A value that is none of these.
    """

    __slots__ = ("_b", "_transformed", "ring", "seed")

    def __init__(self, ring: Ring, seed: bytes, b: U64) -> None:
        self.ring = ring
        self.seed = exactly(seed, KEY_BYTES, "seed of a")
        if not isinstance(b, np.ndarray) or b.dtype != np.uint64 or b.shape != (ring.degree,) or not b.any():
            raise InputError("b must be a polynomial of the ring that is not zero")
        self._b = b.copy()
        self._b.flags.writeable = False
        self._transformed = aligned_words(2, ring.degree)
        self._transformed[0] = ring.uniform(seed, 0, 0, 1)[0]
        self._transformed[1] = b
        ring.forward(self._transformed)
        self._transformed.flags.writeable = False

    def __repr__(self) -> str:
        return f"<PublicKey in {self.ring}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.ring == other.ring and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash((self.ring, self.seed, self._b.tobytes()))

    @property
    def b(self) -> U64:
        """The polynomial b, read-only."""
        return self._b

    @property
    def transformed(self) -> U64:
        """The transforms of a and b, shape (2, N), read-only."""
        return self._transformed

    def to_bytes(self) -> bytes:
        """Return the seed of a, then b packed to the bits of q."""
        return self.seed + self.ring.pack(self._b)

    @classmethod
    def from_bytes(cls, ring: Ring, data: bytes) -> PublicKey:
        """Return the key that `to_bytes` wrote.

        Raises
        ------
        DecodeError
            Another length, a residue that is not below q, padding bits that are not zero, or a b of zero.
        """
        length = KEY_BYTES + ring.degree * ring.bits // 8
        if not isinstance(data, bytes) or len(data) != length:
            raise DecodeError(f"a public key in this ring has {length} bytes")
        try:
            return cls(ring, data[:KEY_BYTES], ring.unpack(data[KEY_BYTES:], ring.degree))
        except InputError as error:
            raise DecodeError(f"not a public key: {error}") from None


def _into(out: bytearray | memoryview | None, nbytes: int) -> tuple[bytearray | memoryview, bool]:
    return (bytearray(nbytes), True) if out is None else (out, False)


def encrypt(
    public: PublicKey,
    values: U64,
    delta: int,
    key: bytes,
    first: int,
    *,
    pad: bytes | None = None,
    out: bytearray | memoryview | None = None,
) -> bytes:
    """Return the ciphertext of a vector.

    Parameters
    ----------
    public : PublicKey
        Whose secret key opens it.
    values : ndarray of uint64, shape (n,)
        At most (q - 1) // delta each; secret. N go into a polynomial, the first into number `first`.
    delta : int
        What a value is multiplied by, 1 to q - 1; public.
    key : bytes
        16 bytes, secret and uniform. No polynomial number is used twice under one key.
    first : int
        Number of the first polynomial: u, e0 and e1 are polynomials of that number in streams 0, 1, 2 of the key.
    pad : bytes or None
        16 secret bytes: uniform residues of its stream 0, at the same numbers, are added to c0. Who decrypts needs it too.
    out : bytearray or memoryview, optional
        Where the ciphertext goes, exactly `payload_bytes` bytes; nothing is returned then but empty bytes.

    Returns
    -------
    bytes
        For each polynomial c1, then as many coefficients of c0 as there are values, each packed to the bits of q.

    Raises
    ------
    InputError
        A value out of range; `out` is zero or unchanged.

    Notes
    -----
    About 8 ns a value with AVX-512 IFMA at N = 2048; extra memory is a few polynomials. Constant time in what is secret, in the
    C module.

    References
    ----------
    Lyubashevsky, Peikert and Regev, On ideal lattices and learning with errors over rings (EUROCRYPT 2010).
    """
    ring = public.ring
    to, own = _into(out, payload_bytes(ring, _length(values)))
    _kernels.rlwe_encrypt(ring.plan, public.transformed, values, delta, key, pad, first, to)
    return bytes(to) if own else b""


def _length(values: U64) -> int:
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise InputError("values must be a vector of uint64")
    return len(values)


class Sum:
    """A sum of ciphertexts, under one public key: the server's accumulator.

    Parameters
    ----------
    ring : Ring
        Where it lives.
    n : int
        How many values each ciphertext has, 1 or more.

    Notes
    -----
    16 bytes a value, and of the last polynomial 8 bytes for each unused coefficient.
    """

    __slots__ = ("c0", "c1", "ring")

    def __init__(self, ring: Ring, n: int) -> None:
        if n < 1:
            raise InputError(f"a sum has at least one value, not {n}")
        self.ring = ring
        words = _polynomials(ring, n) * ring.degree
        both = aligned_words(words + n)  # in one piece, which large pages hold sooner
        self.c1 = both[:words].reshape(-1, ring.degree)
        self.c0 = both[words:]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} values in {self.ring}>"

    def __len__(self) -> int:
        return len(self.c0)

    def add(self, payload: Buffer) -> None:
        """Add a ciphertext; the sum stays as it was when it is refused.

        Raises
        ------
        InputError
            Another length, a residue that is not below q, padding bits that are not zero, or a polynomial whose c1 is zero:
            such a ciphertext is readable by everyone.

        Notes
        -----
        One pass: what is bad is found while adding, and taken back. Nobody may write to `payload` meanwhile.
        """
        _kernels.rlwe_add(self.ring.plan, self.c1, self.c0, payload)

    def merge(self, other: Sum) -> None:
        """Add another sum of the same ring and length; InputError, and no change, for any other."""
        if type(other) is not type(self) or other.ring != self.ring or len(other) != len(self):
            raise InputError("only a sum of the same kind, ring and length can be merged")
        self.ring.add(self.c1, other.c1)
        self.ring.add(self.c0, other.c0)

    def to_bytes(self) -> bytes:
        """Return the sum in the format of a ciphertext."""
        return _kernels.rlwe_store(self.ring.plan, self.c1, self.c0)

    @classmethod
    def from_bytes(cls, ring: Ring, n: int, data: Buffer) -> Self:
        """Return the sum that `to_bytes` wrote; what `add` refuses is refused, an empty sum therefore too."""
        made = cls(ring, n)
        _kernels.rlwe_add(ring.plan, made.c1, made.c0, data)
        return made


class SeededSum(Sum):
    """A sum of seeded ciphertexts, all of one secret key: c1 is expanded from the seeds."""

    __slots__ = ()

    def add(self, payload: Buffer, seed_a: bytes = b"", first: int = 0) -> None:
        """Add a seeded ciphertext with its public seed; the sum stays as it was when it is refused.

        Parameters
        ----------
        payload : bytes-like
            Of `SecretKey.encrypt_seeded`.
        seed_a : bytes
            The 16-byte seed it was made with.
        first : int
            The number of its first polynomial.

        Raises
        ------
        InputError
            Another length, a residue that is not below q, or padding bits that are not zero.
        """
        seed = exactly(seed_a, KEY_BYTES, "seed of a")
        _kernels.rlwe_add_seeded(self.ring.plan, self.c1, self.c0, payload, seed, first)


class SecretKey(KeyObject):
    """What decrypts: s ternary, with b's error e binomial, both fixed by a seed.

    Parameters
    ----------
    ring : Ring
        Where it lives.
    seed : bytes
        32 bytes, secret and uniform.

    Raises
    ------
    InputError
        Another seed.

    Notes
    -----
    The seeds of a, s and e are HKDF-SHA256 of the seed with labels "rlwe/a", "rlwe/s", "rlwe/e" and the fields N (4 bytes) and q
    (8 bytes, big-endian), 16 bytes each; s and e are polynomial 0 of stream 0 of theirs. repr shows a fingerprint of the
    public key.
    """

    __slots__ = ("_public_key", "_seed", "_transformed", "ring")

    def __init__(self, ring: Ring, seed: bytes) -> None:
        self.ring = ring
        self._seed = exactly(seed, SEED_BYTES, "seed of an RLWE key")
        self._public_key: PublicKey | None = None
        self._transformed = aligned_words(1, ring.degree)
        self._transformed[:] = ring.ternary(self._derive("rlwe/s"), 0, 0, 1)
        ring.forward(self._transformed)

    @classmethod
    def generate(cls, ring: Ring, entropy: Callable[[int], bytes] = os.urandom) -> SecretKey:
        """Return a fresh key from 32 bytes of `entropy`."""
        return cls(ring, draw(entropy, SEED_BYTES))

    def _derive(self, label: str) -> bytes:
        fields = self.ring.degree.to_bytes(4, "big"), self.ring.modulus.to_bytes(8, "big")
        return hkdf(self._seed, label, *fields, length=KEY_BYTES)

    def _public(self) -> bytes:
        return self.public_key().to_bytes()

    def seed_bytes(self) -> bytes:
        """Return the 32-byte seed. Secret: for sealing, never for storing in clear."""
        return self._seed

    def public_key(self) -> PublicKey:
        """Return the public key, always the same one."""
        if self._public_key is None:
            ring, seed = self.ring, self._derive("rlwe/a")
            a = ring.uniform(seed, 0, 0, 1)
            ring.forward(a)
            product = aligned_words(1, ring.degree)
            ring.multiply_add(product, a, self._transformed)
            ring.inverse(product)
            b = ring.binomial(self._derive("rlwe/e"), 0, 0, 1)
            ring.subtract(b, product)
            product.fill(0)
            self._public_key = PublicKey(ring, seed, b[0])
        return self._public_key

    def encrypt_seeded(self, values: U64, delta: int, key: bytes, first: int, seed_a: bytes) -> bytes:
        """Return the ciphertext of a vector under the secret key itself, without c1: half the bytes, half the time.

        Parameters
        ----------
        values, delta, first
            As in `encrypt`.
        key : bytes
            16 bytes, secret: e is polynomial `first`, and on, of its stream 1. No number is used twice under one key.
        seed_a : bytes
            16 bytes, public and fresh: c1 is uniform, polynomial `first`, and on, of its stream 1. Two ciphertexts with one c1
            give away the difference of their vectors.

        Returns
        -------
        bytes
            Of c0 = -(c1 s) + e + delta m as many coefficients as there are values, packed.

        Raises
        ------
        InputError
            A value out of range.
        """
        out = bytearray(seeded_payload_bytes(self.ring, _length(values)))
        _kernels.rlwe_encrypt_seeded(self.ring.plan, self._transformed[0], values, delta, key, seed_a, first, out)
        return bytes(out)

    def decrypt(
        self, ciphertext: Sum | tuple[U64, U64], delta: int, *, pads: Iterable[tuple[bytes, int]] = ()
    ) -> tuple[U64, int]:
        """Return the sum of the vectors, and how near the noise came to spoiling it.

        Parameters
        ----------
        ciphertext : Sum, or (c1, c0)
            c1 of shape (k, N), c0 of shape (n,), canonical; unchanged.
        delta : int
            As in `encrypt`.
        pads : iterable of (bytes, int)
            Every pad that went in: its 16 bytes and its first polynomial's number.

        Returns
        -------
        values : ndarray of uint64, shape (n,)
            floor(v / delta) for v = c0 + c1 s + floor(delta / 2) mod q.
        worst : int
            The largest ``|v - delta * values - floor(delta / 2)|``: the values are right for certain only while the noise is
            provably below delta / 2, which this shows afterwards and in part. Both are secret, and worst is never to be published
            beside values: together with c1 exact noise gives the key away.

        Raises
        ------
        InputError
            Another ring, shapes that do not match, a residue that is not below q, or a value out of range.
        """
        if isinstance(ciphertext, Sum):
            if ciphertext.ring != self.ring:
                raise InputError("the sum belongs to another ring")
            c1, c0 = ciphertext.c1, ciphertext.c0
        else:
            c1, c0 = ciphertext
        if not isinstance(c0, np.ndarray):
            raise InputError("a ciphertext is a sum, or the arrays c1 and c0")
        lifted = list(pads)
        opened = c0.copy() if lifted else c0
        for pad, first in lifted:
            self.ring.add_uniform(opened, pad, 0, first, subtract=True)
        values, worst = _kernels.rlwe_decrypt(self.ring.plan, self._transformed[0], c1, opened, delta)
        if lifted:
            opened.fill(0)
        return values, worst
