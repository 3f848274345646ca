"""The ring Z_q[X]/(X^N + 1): transforms, sums, products and samples of polynomials; RLWE lives on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg import _kernels
from secagg._kernels import lane_dtype, ring_modulus, ring_plan
from secagg.errors import InputError
from secagg.hazmat.guard import exactly

__all__ = ["KEY_BYTES", "Ring", "modulus"]

KEY_BYTES = 16

U64 = npt.NDArray[np.uint64]


def modulus(bits: int) -> int:
    """Return the largest prime below 2^bits that is 1 modulo 16384, which every degree of a `Ring` can use.

    Parameters
    ----------
    bits : int
        20 to 61.

    Raises
    ------
    ParameterError
        `bits` is out of range.
    """
    return ring_modulus(bits)


class Ring:
    """Z_q[X]/(X^N + 1) for a prime q; immutable, and cheap to make again, since tables are kept.

    Residues are uint64 and canonical, that is below q, wherever they come in or go out; others are refused. Polynomials are
    rows, coefficient of X^0 first, of C-contiguous arrays of shape (k, N).

    Parameters
    ----------
    degree : int
        N: 1024, 2048, 4096 or 8192.
    modulus : int
        q: a prime, 1 modulo 2N, above 2^18 and below 2^61. Below 2^50 the fast kernels run.

    Raises
    ------
    ParameterError
        Any other degree or modulus.

    Notes
    -----
    Samples are read from the AES-128-CTR keystream of (key, stream id) that `prg.expand` returns. Coefficient c of polynomial
    number j has index i = j * N + c in its stream, so that any range can be made alone:

    - uniform: the 16 bytes from byte 16 i on are two little-endian words w0, w1. For q < 2^50, with x0 = w0 mod 2^52 and
      x1 = w1 mod 2^52, the residue is floor((x1 * 2^52 + x0) * q / 2^104); for larger q it is
      floor((w1 * 2^64 + w0) * q / 2^128). Its distance from uniform is below q / 2^104, or q / 2^128.
    - ternary: the 4 bytes from byte 4 i on are a little-endian word r; the coefficient is floor(3 r / 2^32) - 1.
    - binomial: the 8 bytes from byte 8 i on are a little-endian word; the coefficient is the count of ones among its lowest 21
      bits, less the count among the next 21: variance 10.5, no value beyond 21.

    Negative coefficients are stored as q less their size. The C module is constant time in keys and residues.

    References
    ----------
    Harvey, Faster arithmetic for number-theoretic transforms, J. Symbolic Computation 60 (2014).
    """

    __slots__ = ("_plan",)

    def __init__(self, degree: int, modulus: int) -> None:
        object.__setattr__(self, "_plan", ring_plan(degree, modulus))

    _plan: _kernels.RingPlan

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Ring is immutable: {name} cannot be set")

    def __repr__(self) -> str:
        return f"Ring(degree={self.degree}, modulus={self.modulus})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ring) and (self.degree, self.modulus) == (other.degree, other.modulus)

    def __hash__(self) -> int:
        return hash((self.degree, self.modulus))

    def __reduce__(self) -> tuple[type[Ring], tuple[int, int]]:
        return Ring, (self.degree, self.modulus)

    @property
    def degree(self) -> int:
        """N."""
        return self._plan.degree

    @property
    def modulus(self) -> int:
        """The prime q."""
        return self._plan.modulus

    @property
    def bits(self) -> int:
        """Bits of q, and of a packed residue."""
        return self._plan.bits

    @property
    def plan(self) -> _kernels.RingPlan:
        """What the kernels are given."""
        return self._plan

    def forward(self, polys: U64) -> None:
        """Replace each polynomial by its values at the odd powers of psi, in place.

        Parameters
        ----------
        polys : ndarray of uint64, shape (k, N)
            Canonical; may be secret.

        Raises
        ------
        InputError
            A wrong shape or type, or a residue that is not canonical; `polys` is unchanged.

        Notes
        -----
        psi is the smallest primitive 2N-th root of unity modulo q. Place i receives the value at psi^(2 r(i) + 1), r(i) being i
        with its log2 N bits reversed. Products of such values are values of the product of the polynomials.
        """
        _kernels.ring_forward(self._plan, polys)

    def inverse(self, polys: U64) -> None:
        """Undo `forward`, in place; the same parameters and errors."""
        _kernels.ring_inverse(self._plan, polys)

    def add(self, acc: U64, other: U64) -> None:
        """Add `other` to `acc` modulo q, in place: arrays of one shape, of one or two dimensions; InputError as in `forward`."""
        _kernels.ring_add(self._plan, acc, other)

    def subtract(self, acc: U64, other: U64) -> None:
        """Subtract `other` from `acc` modulo q, in place, as `add` adds."""
        _kernels.ring_add(self._plan, acc, other, minus=True)

    def multiply_add(self, acc: U64, a: U64, b: U64) -> None:
        """Add a * b to `acc` modulo q, place by place, in place: after `forward`, products of polynomials."""
        _kernels.ring_multiply_add(self._plan, acc, a, b)

    def uniform(self, key: bytes, stream_id: int, first: int, count: int) -> U64:
        """Return polynomials `first` to `first + count - 1` of the stream, uniform modulo q.

        Parameters
        ----------
        key : bytes
            16 bytes; public or secret, and so is the result.
        stream_id : int
            In [0, 2^64).
        first, count : int
            The last polynomial's number times N stays below 2^63.

        Returns
        -------
        ndarray of uint64, shape (count, N)

        Raises
        ------
        InputError
            A value out of range.
        """
        return _kernels.ring_sample(self._plan, "uniform", exactly(key, KEY_BYTES, "key"), stream_id, first, count)

    def ternary(self, key: bytes, stream_id: int, first: int, count: int) -> U64:
        """Return polynomials of the stream with coefficients uniform on -1, 0, 1; parameters as in `uniform`."""
        return _kernels.ring_sample(self._plan, "ternary", exactly(key, KEY_BYTES, "key"), stream_id, first, count)

    def binomial(self, key: bytes, stream_id: int, first: int, count: int) -> U64:
        """Return polynomials of the stream with centred binomial coefficients, eta = 21; parameters as in `uniform`."""
        return _kernels.ring_sample(self._plan, "binomial", exactly(key, KEY_BYTES, "key"), stream_id, first, count)

    def add_uniform(self, acc: U64, key: bytes, stream_id: int, first: int, *, subtract: bool = False) -> None:
        """Add the stream's uniform residues, from polynomial `first` on, to `acc` in place, or subtract them.

        Parameters
        ----------
        acc : ndarray of uint64, shape (n,)
            Canonical. The first n coefficients of the stream from there on are used.
        key, stream_id, first
            As in `uniform`.
        subtract : bool
            Take away what an earlier call added.

        Raises
        ------
        InputError
            A value out of range; `acc` is unchanged.
        """
        key = exactly(key, KEY_BYTES, "key")
        _kernels.ring_add_uniform(self._plan, acc, key, stream_id, first, minus=subtract)

    def pack(self, residues: U64) -> bytes:
        """Return `residues`, of any shape, in `bits` bits each, lowest bit first, with zero bits at the end.

        Raises
        ------
        InputError
            Another type, or a residue that is not canonical.
        """
        if not isinstance(residues, np.ndarray) or residues.dtype != np.uint64:
            raise InputError("residues must be an array of uint64")
        if residues.size and int(residues.max()) >= self.modulus:
            raise InputError("a residue is not below the modulus")
        return _kernels.pack(residues.reshape(-1).astype(lane_dtype(self.bits), copy=False), self.bits)

    def unpack(self, data: bytes | bytearray | memoryview, count: int) -> U64:
        """Return the `count` residues that `pack` wrote.

        Raises
        ------
        InputError
            Another length, padding bits that are not zero, or a residue that is not canonical.
        """
        residues = _kernels.unpack(data, self.bits, count).astype(np.uint64, copy=False)
        if residues.size and int(residues.max()) >= self.modulus:
            raise InputError("a residue is not below the modulus")
        return residues
