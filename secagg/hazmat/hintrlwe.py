"""Masks whose sum one key removes: c = a s + t e + m, with a public and s revealed only as a sum.

Every client masks its vector with a secret s of its own, polynomial by polynomial of a public a. Sums of what comes out open
with the sum of the secrets: t e goes away modulo t, and what is left is the sum of the vectors, exactly. That the sums of s
and of e hide everyone's share of them is the Hint-RLWE assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secagg import _kernels
from secagg._kernels import aligned_words
from secagg.errors import InputError, ParameterError
from secagg.hazmat.guard import KeyObject, exactly
from secagg.hazmat.kdf import hkdf

__all__ = ["PUBLIC_BYTES", "SECRET_BOUND", "SEED_BYTES", "MaskRing", "MaskSecret", "MaskedSum", "gaussian", "moduli"]

SEED_BYTES = 32
PUBLIC_BYTES = 16
SECRET_BOUND = _kernels.gaussian_bound()
_SUM_END = 1 << 62  # sums of secrets stay below it in size

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Buffer = bytes | bytearray | memoryview


def moduli(bits: int, count: int) -> tuple[int, ...]:
    """Return the `count` largest primes below 2^bits that are 1 modulo 16384, largest first.

    Parameters
    ----------
    bits : int
        20 to 60. Below 51 the fast kernels run.
    count : int
        1 to 8.

    Raises
    ------
    ParameterError
        A value out of range, or fewer such primes with `bits` bits.
    """
    return _kernels.hint_moduli(bits, count)


@dataclass(frozen=True)
class MaskRing:
    """Z_q[X]/(X^N + 1) for a product q of primes, and how values lie in its coefficients; public and hashable.

    A chunk of values takes fresh polynomials. Each but the last holds N * per values; the last has the fewest coefficients n that
    hold the rest. Value number k * n + c of a polynomial with n coefficients is digit k, in base 2^width, of coefficient c.

    Parameters
    ----------
    degree : int
        N: 2048, 4096 or 8192.
    bits, primes : int
        q is the product of ``moduli(bits, primes)``, below 2^256.
    width : int
        Bits of a digit, 1 to 62: every sum of values stays below 2^width.
    per : int
        Digits a coefficient, 1 to 64; t = 2^(width * per).
    spread : int
        B: coefficients open while the sum of the errors, and of what digits carry beyond t, is in [-B, B).

    Raises
    ------
    ParameterError
        A value out of range, or 2 t B above q.

    Notes
    -----
    The security of (N, q) is that of Hint-RLWE with the Gaussians of `MaskSecret`; nothing here checks it.
    """

    degree: int
    bits: int
    primes: int
    width: int
    per: int
    spread: int

    def __post_init__(self) -> None:
        for name in ("degree", "bits", "primes", "width", "per", "spread"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ParameterError(f"{name} must be an integer, not {type(value).__name__}")
        _ = self._shape  # which refuses what does not fit

    @property
    def _shape(self) -> _kernels.HintShape:
        return _kernels.hint_shape(self.degree, self.bits, self.primes, self.width, self.per, self.spread)

    @property
    def plan(self) -> _kernels.HintPlan:
        """What the kernels are given; its tables are made when it is first asked for, and kept."""
        return _kernels.hint_plan(self.degree, self.bits, self.primes, self.width, self.per, self.spread)

    @property
    def moduli(self) -> tuple[int, ...]:
        """The primes, largest first."""
        return self._shape.moduli

    @property
    def q(self) -> int:
        """The product of the primes."""
        return self._shape.product

    def polynomials(self, count: int) -> int:
        """Return how many polynomials a chunk of `count` values takes."""
        return len(self._shape.coefficients(_count(count)))

    def payload_bytes(self, count: int) -> int:
        """Return how many bytes a masked chunk of `count` values takes."""
        return self._shape.payload_bytes(_count(count))

    def _fields(self) -> tuple[bytes, ...]:
        numbers = (self.degree, self.bits, self.primes)
        return tuple(number.to_bytes(4, "big") for number in numbers)


def _count(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise InputError("a number of values is an integer of 0 or more")
    return int(count)


def gaussian(key: bytes, stream_id: int, start: int, count: int) -> I64:
    """Return samples of the discrete Gaussian, sigma = 6.36, from a keystream.

    Parameters
    ----------
    key : bytes
        16 bytes, secret.
    stream_id : int
        In [0, 2^64).
    start, count : int
        The number of the first sample, and how many; all numbers stay below 2^63.

    Returns
    -------
    ndarray of int64, shape (count,)
        In [-`SECRET_BOUND`, `SECRET_BOUND`]; secret.

    Raises
    ------
    InputError
        A value out of range.

    Notes
    -----
    Sample i is read from the 16 bytes at 16 i of the keystream that `prg.expand` returns, two little-endian words w0, w1. Its
    size is the number of k >= 1 with u < floor(2^126 P(|x| >= k)), where u = (w1 mod 2^63) 2^63 + (w0 mod 2^63) and P(x) is
    proportional to exp(-x^2 / (2 * 6.36^2)) on the integers; it is negative where w1 >= 2^63. Each size has its probability
    within 2^-126, so that a sample is within 2^-119 of the Gaussian. Every threshold is compared with: the C module is constant
    time.

    References
    ----------
    Peikert, An efficient and parallel Gaussian sampler for lattices (CRYPTO 2010), on inversion sampling.
    """
    return _kernels.hint_gaussian(exactly(key, PUBLIC_BYTES, "key"), stream_id, start, count)


def _transforms(ring: MaskRing, coefficients: I64, *, small: bool) -> U64:
    """The transforms of a polynomial modulo every prime; of small coefficients without a division, for they are secret."""
    plan = ring.plan
    polys = aligned_words(plan.primes, plan.degree)
    for row, prime in zip(polys, plan.rings, strict=True):
        if small:  # in place: a temporary would stay in memory
            signed = row.view(np.int64)
            np.right_shift(coefficients, 63, out=signed)
            signed &= prime.modulus
            signed += coefficients
        else:
            row[:] = (coefficients % prime.modulus).astype(np.uint64)
        _kernels.ring_forward(prime, row[np.newaxis])
    return polys


class MaskSecret(KeyObject):
    """One client's secret s for one round, and the errors that go with it, all fixed by a seed.

    Parameters
    ----------
    ring : MaskRing
        Where it lives.
    seed : bytes
        32 bytes, secret and uniform. **Never used for a second round**: two messages under one s and one polynomial number of one
        a give away their difference.

    Raises
    ------
    InputError
        Another seed.

    Notes
    -----
    The keys of s and of e are HKDF-SHA256 of the seed with labels "hint/s" and "hint/e" and the fields N, bits and primes,
    4 bytes big-endian each; 16 bytes. Rings that differ in their digits alone share s. The coefficients of s are samples 0 to
    N - 1 of `gaussian` with the former key, stream 0; coefficient c of e_j is sample j N + c with the latter, stream 0.

    References
    ----------
    Kim, Lee, Seo and Song, Toward practical lattice-based proof of knowledge from Hint-MLWE (CRYPTO 2023).
    """

    __slots__ = ("_error_key", "_seed", "_transformed", "ring")

    def __init__(self, ring: MaskRing, seed: bytes) -> None:
        self.ring = ring
        self._seed = exactly(seed, SEED_BYTES, "seed of a mask secret")
        self._error_key = hkdf(self._seed, "hint/e", *ring._fields(), length=PUBLIC_BYTES)
        secret = self.coefficients()
        self._transformed = _transforms(ring, secret, small=True)
        secret.fill(0)

    def __repr__(self) -> str:
        return f"<MaskSecret in {self.ring}>"

    def coefficients(self) -> I64:
        """Return s, int64 of shape (N,). Secret: for sharing, never for storing in clear."""
        key = hkdf(self._seed, "hint/s", *self.ring._fields(), length=PUBLIC_BYTES)
        return _kernels.hint_gaussian(key, 0, 0, self.ring.degree)

    def mask(
        self,
        values: npt.NDArray[np.unsignedinteger],
        public: bytes,
        first: int,
        out: bytearray | memoryview | None = None,
    ) -> bytes:
        """Return a chunk of values, masked.

        Parameters
        ----------
        values : ndarray of uint16, uint32 or uint64, shape (count,)
            Below 2^width each; secret.
        public : bytes
            16 bytes, the same for all clients of a round: a_j modulo prime i is uniform polynomial j of stream i of this key,
            taken as a transform.
        first : int
            The number j of the first polynomial. **No number is used twice under one secret**, whatever the chunk: the caller
            sees to it.
        out : bytearray or memoryview, optional
            Where the bytes go, exactly ``ring.payload_bytes(count)``; nothing is returned then but empty bytes.

        Returns
        -------
        bytes
            For each polynomial, for each prime: its residues, packed to `bits` bits, lowest bit first, zero bits at the end.

        Raises
        ------
        InputError
            A value out of range; `out` is zero or unchanged.
        """
        ring = self.ring
        if not isinstance(values, np.ndarray) or values.ndim != 1:
            raise InputError("values must be a vector of unsigned integers")
        own = out is None
        to = bytearray(ring.payload_bytes(len(values))) if out is None else out
        _kernels.hint_mask(ring.plan, self._transformed, values, self._error_key, public, first, to)
        return bytes(to) if own else b""


class MaskedSum:
    """A sum of masked chunks of one length: the server's accumulator.

    Parameters
    ----------
    ring : MaskRing
        Where it lives.
    count : int
        Values in a chunk, at least 1.

    Raises
    ------
    InputError
        Another count.
    """

    __slots__ = ("_count", "_residues", "ring")

    def __init__(self, ring: MaskRing, count: int) -> None:
        if _count(count) < 1:
            raise InputError("a sum holds at least one value")
        self.ring = ring
        self._count = int(count)
        self._residues = aligned_words(ring.plan.residues(self._count))

    def __repr__(self) -> str:
        return f"<MaskedSum of {len(self)} values in {self.ring}>"

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the residues take."""
        return self._residues.nbytes

    def add(self, payload: Buffer) -> None:
        """Add a masked chunk; the sum stays as it was when it is refused.

        Raises
        ------
        InputError
            Another length, a residue that is not below its prime, or padding bits that are not zero.

        Notes
        -----
        One pass: what is bad is found while adding, and taken back. Nobody may write to `payload` meanwhile.
        """
        _kernels.hint_add(self.ring.plan, self._residues, self._count, payload)

    def subtract(self, payload: Buffer) -> None:
        """Take a masked chunk back that `add` took; InputError, and no change, for what it would refuse."""
        other = MaskedSum.from_bytes(self.ring, len(self), payload)
        _kernels.hint_merge(self.ring.plan, self._residues, other._residues, self._count, minus=True)  # noqa: SLF001  # its own

    def merge(self, other: MaskedSum) -> None:
        """Add another sum of the same ring and length; InputError, and no change, for any other."""
        if not isinstance(other, MaskedSum) or other.ring != self.ring or len(other) != len(self) or other is self:
            raise InputError("only another sum of the same ring and length can be merged")
        _kernels.hint_merge(self.ring.plan, self._residues, other._residues, self._count)

    def to_bytes(self) -> bytes:
        """Return the sum in the format of a masked chunk."""
        return _kernels.hint_store(self.ring.plan, self._residues, self._count)

    @classmethod
    def from_bytes(cls, ring: MaskRing, count: int, data: Buffer) -> MaskedSum:
        """Return the sum that `to_bytes` wrote; what `add` refuses is refused."""
        made = cls(ring, count)
        made.add(data)
        return made

    def open(self, secret_sum: I64, public: bytes, first: int) -> U64:
        """Return the sums of the values; the sum stays as it is.

        Parameters
        ----------
        secret_sum : ndarray of int64, shape (N,)
            The sum of the secrets of exactly those whose chunks were added; each below 2^62 in size.
        public, first
            As everyone gave them to `MaskSecret.mask`.

        Returns
        -------
        ndarray of uint64, shape (count,)
            Right for certain while every sum of values stays below 2^width and every sum of errors in [-B, B).

        Raises
        ------
        InputError
            A wrong shape, type or size, or a coefficient whose noise is not in [-B, B): somebody's chunk or secret is spoilt. The
            opposite does not hold: noise within bounds proves nothing about the values.

        Notes
        -----
        x = c - a s + t B mod q, put together from its residues (Garner), is t (e + B) + m without any wrap: refused unless below
        2 t B, and its lowest bits are the digits.
        """
        ring = self.ring
        if not isinstance(secret_sum, np.ndarray) or secret_sum.dtype != np.int64 or secret_sum.shape != (ring.degree,):
            raise InputError(f"the sum of the secrets must be {ring.degree} coefficients of int64")
        if bool(((secret_sum <= -_SUM_END) | (secret_sum >= _SUM_END)).any()):
            raise InputError("a coefficient of the sum of the secrets is too large")
        transformed = _transforms(ring, secret_sum, small=False)
        return _kernels.hint_open(ring.plan, self._residues, self._count, transformed, public, first)
