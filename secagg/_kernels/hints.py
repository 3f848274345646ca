"""The kernels of hint-RLWE masks, and their contract."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from secagg._kernels.backend import Backend
from secagg._kernels.checks import (
    KEY_BYTES,
    LANES,
    U64,
    U64_END,
    WORDS,
    Buffer,
    Lanes,
    require_apart,
    require_array,
    require_bytes,
    require_integer,
    require_writable,
)
from secagg._kernels.hint_plan import HintPlan
from secagg.errors import InputError

__all__ = ["Hints"]

_MOST = 1 << 40


def _require_first(plan: HintPlan, first: int, count: int) -> int:
    first = require_integer("first", first, 0, U64_END)
    if (first + len(plan.coefficients(count))) * plan.degree > U64_END >> 1:
        raise InputError("the coefficients' numbers must stay below 2^63: lower the first polynomial's number")
    return first


def _require_secret(plan: HintPlan, secret: U64) -> None:
    require_array("secret", secret, WORDS, 2)
    if secret.shape != (plan.primes, plan.degree):
        raise InputError(f"secret must have the shape ({plan.primes}, {plan.degree})")
    for row, ring in zip(secret, plan.rings, strict=True):
        if int(row.max()) >= ring.modulus:
            raise InputError("secret holds a residue that is not below the modulus")


class Hints:
    """The part of `Kernels` for masks in Z_q[X]/(X^N + 1), q a product of primes.

    A chunk of values takes as many polynomials as it needs; a polynomial carries its residues modulo the first prime, then modulo
    the next. A plan comes from `hint_plan`. All of it is constant time in what is secret, in the C module; the fallback makes
    no such claim.
    """

    _backend: Backend

    def hint_gaussian(self, key: bytes, stream_id: int, start: int, count: int) -> npt.NDArray[np.int64]:
        """Samples `start` to start + count - 1 of the stream; see `secagg.hazmat.hintrlwe` for which bits make them."""
        require_bytes("key", key, KEY_BYTES)
        stream_id = require_integer("stream_id", stream_id, 0, U64_END)
        count = require_integer("count", count, 0, _MOST)
        start = require_integer("start", start, 0, (U64_END >> 1) - count + 1)
        out = np.empty(count, np.int64)
        self._backend.hint_gaussian(key, stream_id, start, out)
        return out

    def hint_mask(
        self,
        plan: HintPlan,
        secret: U64,
        values: Lanes,
        error_key: bytes,
        public: bytes,
        first: int,
        out: bytearray | memoryview,
    ) -> None:
        """Write the payload of `values` into `out`; see `secagg.hazmat.hintrlwe.MaskSecret.mask`.

        `secret` holds the transforms of s, one prime a row. When a value is 2^width or more, `out` is zero or unchanged.
        """
        _require_secret(plan, secret)
        require_array("values", values, LANES)
        if len(values) == 0:
            raise InputError("values must not be empty")
        require_bytes("error_key", error_key, KEY_BYTES)
        require_bytes("public", public, KEY_BYTES)
        first = _require_first(plan, first, len(values))
        to = self._hint_room(out, plan.payload_bytes(len(values)))
        require_apart("out", to, values)
        self._backend.hint_mask(plan, secret, values, error_key, public, first, to)

    def hint_add(self, plan: HintPlan, acc: U64, count: int, payload: Buffer) -> None:
        """Add a payload of `count` values to the sum in place, which stays when it is refused.

        Refused are another length, a residue that is not canonical, and padding bits that are not zero.
        """
        count = self._require_hint_sum(plan, acc, count)
        require_writable("the sum", acc)
        try:
            view = memoryview(payload)
        except TypeError:
            raise InputError(f"a payload must be bytes-like, not {type(payload).__name__}") from None
        needed = plan.payload_bytes(count)
        if not view.c_contiguous or view.nbytes != needed:
            raise InputError(f"a payload for this sum has {needed} contiguous bytes, not {view.nbytes}")
        require_apart("a payload", acc, view)
        self._backend.hint_add(plan, acc, count, view.cast("B"))

    def hint_merge(self, plan: HintPlan, acc: U64, other: U64, count: int, *, minus: bool = False) -> None:
        """Add another sum of `count` values to the sum in place, or subtract it."""
        count = self._require_hint_sum(plan, acc, count)
        self._require_hint_sum(plan, other, count)
        require_writable("the sum", acc)
        require_apart("the sum", acc, other)
        parts = [(ring, n) for n in plan.coefficients(count) for ring in plan.rings]
        at = 0
        try:
            for ring, n in parts:
                self._backend.ring_add(ring, acc[at : at + n], other[at : at + n], minus)
                at += n
        except InputError:
            done, at = at, 0
            for ring, n in parts:
                if at == done:
                    break
                self._backend.ring_add(ring, acc[at : at + n], other[at : at + n], not minus)
                at += n
            raise

    def hint_store(self, plan: HintPlan, acc: U64, count: int) -> bytes:
        """The sum as a payload."""
        count = self._require_hint_sum(plan, acc, count)
        out = np.empty(plan.payload_bytes(count), np.uint8)
        self._backend.hint_store(plan, acc, count, out)
        return out.tobytes()

    def hint_open(self, plan: HintPlan, acc: U64, count: int, secret: U64, public: bytes, first: int) -> U64:
        """The `count` sums of values, given the transforms of the sum of the secrets; InputError where the noise is too large."""
        count = self._require_hint_sum(plan, acc, count)
        _require_secret(plan, secret)
        require_bytes("public", public, KEY_BYTES)
        first = _require_first(plan, first, count)
        values = np.empty(count, np.uint64)
        self._backend.hint_open(plan, acc, secret, public, first, values)
        return values

    @staticmethod
    def _require_hint_sum(plan: HintPlan, acc: U64, count: int) -> int:
        # An int from here on: in numpy's small integers the sizes below would wrap.
        count = require_integer("count", count, 1, _MOST)
        require_array("the sum", acc, WORDS)
        if len(acc) != plan.residues(count):
            raise InputError(f"a sum of {count} values has {plan.residues(count)} residues, not {len(acc)}")
        return count

    @staticmethod
    def _hint_room(out: bytearray | memoryview, needed: int) -> npt.NDArray[np.uint8]:
        try:
            view = memoryview(out)
        except TypeError:
            raise InputError(f"out must be a writable buffer, not {type(out).__name__}") from None
        if view.readonly or not view.c_contiguous or view.nbytes != needed:
            raise InputError(f"out must be writable, contiguous and {needed} bytes long, not {view.nbytes}")
        return np.frombuffer(view.cast("B"), np.uint8)
