"""The kernels of the ring Z_q[X]/(X^N + 1) and of RLWE on it, and their contract."""

from __future__ import annotations

import numpy as np

from secagg._kernels.backend import Backend
from secagg._kernels.checks import (
    KEY_BYTES,
    U64,
    U64_END,
    WORDS,
    Buffer,
    require_apart,
    require_array,
    require_bytes,
    require_integer,
    require_room,
    require_view,
    require_writable,
)
from secagg._kernels.plan import RingPlan, aligned_words
from secagg.errors import InputError

__all__ = ["Rings"]

UNIFORM, TERNARY, BINOMIAL = 0, 1, 2
DISTRIBUTIONS = {"uniform": UNIFORM, "ternary": TERNARY, "binomial": BINOMIAL}


def _require_polys(plan: RingPlan, name: str, polys: U64) -> None:
    require_array(name, polys, WORDS, 2)
    if polys.shape[1] != plan.degree:
        raise InputError(f"{name} must have {plan.degree} columns, one a coefficient, not {polys.shape[1]}")


def _require_residues(name: str, array: U64, like: U64 | None = None) -> None:
    if not isinstance(array, np.ndarray) or array.ndim not in {1, 2}:
        raise InputError(f"{name} must be an array of one or two dimensions")
    require_array(name, array, WORDS, array.ndim)
    if like is not None and array.shape != like.shape:
        raise InputError(f"{name} must have the shape {like.shape}, not {array.shape}")


def _require_canonical(plan: RingPlan, name: str, array: U64) -> None:
    if int(array.max()) >= plan.modulus:
        raise InputError(f"{name} holds a residue that is not below the modulus")


def _count(plan: RingPlan, n: int) -> int:
    return -(-n // plan.degree)


def _require_range(plan: RingPlan, stream_id: int, first: int, count: int) -> tuple[int, int]:
    stream_id = require_integer("stream_id", stream_id, 0, U64_END)
    first = require_integer("first", first, 0, U64_END)
    if (first + count) * plan.degree > U64_END >> 1:
        raise InputError("the coefficients' numbers must stay below 2^63: lower the first polynomial's number")
    return stream_id, first


def _require_delta(plan: RingPlan, delta: int) -> int:
    return require_integer("delta", delta, 1, plan.modulus)


def _require_payload(payload: Buffer, needed: int, *sums: U64) -> memoryview:
    view = require_view("a payload", payload)
    if view.nbytes != needed:
        raise InputError(f"a payload for this sum has {needed} bytes, not {view.nbytes}")
    for array in sums:
        require_writable("the sum", array)
        require_apart("a payload", array, view)
    return view


class Rings:
    """The part of `Kernels` for polynomials modulo X^N + 1 and q.

    Residues are uint64 and canonical, that is below q; polynomials are the rows of a 2-D C-contiguous array. What is not
    canonical is refused before anything is written, but for the sums c1 and c0 that others are added to: these are their owner's,
    and taken as they are. A plan comes from `ring_plan`. All of it is constant time in what is
    secret, in the C module; the fallback makes no such claim.
    """

    _backend: Backend

    def ring_forward(self, plan: RingPlan, polys: U64) -> None:
        """Replace each polynomial by its negacyclic transform; see `secagg.hazmat.ring.Ring.forward`."""
        _require_polys(plan, "polys", polys)
        require_writable("polys", polys)
        self._backend.ring_forward(plan, polys)

    def ring_inverse(self, plan: RingPlan, polys: U64) -> None:
        """Undo `ring_forward`."""
        _require_polys(plan, "polys", polys)
        require_writable("polys", polys)
        self._backend.ring_inverse(plan, polys)

    def ring_add(self, plan: RingPlan, acc: U64, other: U64, *, minus: bool = False) -> None:
        """Add `other` to `acc` in place, or with `minus` subtract it, modulo q; one shape of one or two dimensions."""
        _require_residues("acc", acc)
        _require_residues("other", other, acc)
        require_writable("acc", acc)
        require_apart("acc", acc, other)
        self._backend.ring_add(plan, acc, other, bool(minus))

    def ring_multiply_add(self, plan: RingPlan, acc: U64, a: U64, b: U64) -> None:
        """Add the products of the coefficients of `a` and `b`, not of the polynomials, to `acc` in place."""
        _require_residues("acc", acc)
        _require_residues("a", a, acc)
        _require_residues("b", b, acc)
        require_writable("acc", acc)
        require_apart("acc", acc, a)
        require_apart("acc", acc, b)
        self._backend.ring_multiply_add(plan, acc, a, b)

    def ring_sample(self, plan: RingPlan, distribution: str, key: bytes, stream_id: int, first: int, count: int) -> U64:
        """`count` polynomials of the stream, from number `first` on: "uniform", "ternary" or "binomial".

        See `secagg.hazmat.ring` for which bits make which residue.
        """
        if distribution not in DISTRIBUTIONS:
            raise InputError(f"a distribution is one of {', '.join(DISTRIBUTIONS)}")
        require_bytes("key", key, KEY_BYTES)
        count = require_integer("count", count, 0, 1 << 40)
        stream_id, first = _require_range(plan, stream_id, first, count)
        out = aligned_words(count, plan.degree)
        self._backend.ring_sample(plan, DISTRIBUTIONS[distribution], key, stream_id, first, out)
        return out

    def ring_add_uniform(
        self, plan: RingPlan, acc: U64, key: bytes, stream_id: int, first: int, *, minus: bool = False
    ) -> None:
        """Add the stream's uniform residues from polynomial `first` on to the vector `acc` in place, or subtract them."""
        require_array("acc", acc, WORDS)
        require_writable("acc", acc)
        require_bytes("key", key, KEY_BYTES)
        stream_id, first = _require_range(plan, stream_id, first, _count(plan, len(acc)))
        self._backend.ring_add_uniform(plan, acc, key, stream_id, first, minus)

    def rlwe_payload_bytes(self, plan: RingPlan, n: int, *, seeded: bool = False) -> int:
        """How long a payload of `n` values is."""
        n = require_integer("n", n, 0, 1 << 40)
        whole, rest = divmod(n, plan.degree)
        c0 = whole * plan.degree * plan.bits // 8 + (rest * plan.bits + 7) // 8
        return c0 if seeded else c0 + _count(plan, n) * plan.degree * plan.bits // 8

    def rlwe_encrypt(
        self,
        plan: RingPlan,
        public: U64,
        values: U64,
        delta: int,
        key: bytes,
        pad: bytes | None,
        first: int,
        out: bytearray | memoryview,
    ) -> None:
        """Write the payload of `values` into `out`; see `secagg.hazmat.rlwe.encrypt`.

        `public` holds the transforms of a and b. When a value is above (q - 1) // delta, `out` is zero or unchanged.
        """
        _require_polys(plan, "public", public)
        if len(public) != 2:
            raise InputError("public must be the transforms of a and b")
        _require_canonical(plan, "public", public)
        self._require_message(plan, values, delta, key, first)
        if pad is not None:
            require_bytes("pad", pad, KEY_BYTES)
        to = self._require_room(out, self.rlwe_payload_bytes(plan, len(values)), values, public)
        self._backend.rlwe_encrypt(plan, public, values, int(delta), key, pad, int(first), to)

    def rlwe_encrypt_seeded(
        self,
        plan: RingPlan,
        secret: U64,
        values: U64,
        delta: int,
        key: bytes,
        seed: bytes,
        first: int,
        out: bytearray | memoryview,
    ) -> None:
        """Write the payload of `values` without c1 into `out`; see `secagg.hazmat.rlwe.SecretKey.encrypt_seeded`."""
        self._require_secret(plan, secret)
        self._require_message(plan, values, delta, key, first)
        require_bytes("seed", seed, KEY_BYTES)
        to = self._require_room(out, self.rlwe_payload_bytes(plan, len(values), seeded=True), values, secret)
        self._backend.rlwe_encrypt_seeded(plan, secret, values, int(delta), key, seed, int(first), to)

    def rlwe_add(self, plan: RingPlan, c1: U64, c0: U64, payload: Buffer) -> None:
        """Add a payload to the sum in place; c1 and c0 stay when it is refused.

        Refused are another length, a residue that is not canonical, padding bits that are not zero, and a c1 of zero.
        """
        self._require_sum(plan, c1, c0)
        view = _require_payload(payload, self.rlwe_payload_bytes(plan, len(c0)), c1, c0)
        self._backend.rlwe_add(plan, c1, c0, view)

    def rlwe_add_seeded(self, plan: RingPlan, c1: U64, c0: U64, payload: Buffer, seed: bytes, first: int) -> None:
        """Add a payload without c1 and the expansion of its seed to the sum in place, which stays when it is refused."""
        self._require_sum(plan, c1, c0)
        require_bytes("seed", seed, KEY_BYTES)
        _, first = _require_range(plan, 0, first, len(c1))
        view = _require_payload(payload, self.rlwe_payload_bytes(plan, len(c0), seeded=True), c1, c0)
        self._backend.rlwe_add_seeded(plan, c1, c0, view, bytes(seed), first)  # public, and not in the sum

    def rlwe_store(self, plan: RingPlan, c1: U64, c0: U64) -> bytes:
        """The sum as a payload."""
        self._require_sum(plan, c1, c0)
        out = np.empty(self.rlwe_payload_bytes(plan, len(c0)), np.uint8)
        self._backend.rlwe_store(plan, c1, c0, out)
        return out.tobytes()

    def rlwe_decrypt(self, plan: RingPlan, secret: U64, c1: U64, c0: U64, delta: int) -> tuple[U64, int]:
        """The values, and the largest distance from the middle of a rounding step; see `secagg.hazmat.rlwe`."""
        self._require_secret(plan, secret)
        self._require_sum(plan, c1, c0)
        values = np.empty(len(c0), np.uint64)
        return values, self._backend.rlwe_decrypt(plan, secret, c1, c0, _require_delta(plan, delta), values)

    @staticmethod
    def _require_secret(plan: RingPlan, secret: U64) -> None:
        require_array("secret", secret, WORDS)
        if len(secret) != plan.degree:
            raise InputError("secret must be one polynomial")
        _require_canonical(plan, "secret", secret)

    @staticmethod
    def _require_message(plan: RingPlan, values: U64, delta: int, key: bytes, first: int) -> None:
        require_array("values", values, WORDS)
        if len(values) == 0:
            raise InputError("values must not be empty")
        _require_delta(plan, delta)
        require_bytes("key", key, KEY_BYTES)
        _require_range(plan, 0, first, _count(plan, len(values)))

    @staticmethod
    def _require_room(
        out: bytearray | memoryview, needed: int, *inputs: U64
    ) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        to = require_room("out", out, needed)
        for read in inputs:
            require_apart("out", to, read)
        return to

    @staticmethod
    def _require_sum(plan: RingPlan, c1: U64, c0: U64) -> None:
        _require_polys(plan, "c1", c1)
        require_array("c0", c0, WORDS)
        if len(c0) == 0 or len(c1) != _count(plan, len(c0)):
            raise InputError("c1 must have as many polynomials as the values of c0 need")
        require_apart("c0", c0, c1)
