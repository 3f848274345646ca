"""The side that has the key: a TenSEAL context, shared by all clients, that encrypts updates and decrypts sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import AbortError, DecodeError, InputError, ParameterError
from secagg.integrations.tenseal.ciphertexts import CiphertextSum
from secagg.integrations.tenseal.context import PublicContext, key_id_of
from secagg.integrations.tenseal.params import SumParams

__all__ = ["SharedContext"]

# How far from a multiple of the step a sum may decrypt, in steps: four fifths of what the step has room for.
NEAR = 0.4


class SharedContext:
    """A TenSEAL context with its secret key, which every client of the federation has; a corrupt one opens everybody's.

    Parameters
    ----------
    context : tenseal.Context
        CKKS, with its secret key and ``global_scale`` set, symmetric or public key.

    Raises
    ------
    ParameterError
        No secret key, no scale, or parameters that are not allowed.
    """

    __slots__ = ("_context", "_minor", "_public")

    def __init__(self, context: Any) -> None:
        if not context.has_secret_key():
            raise ParameterError("this TenSEAL context has no secret key: only those who decrypt have a SharedContext")
        saved = context.serialize(
            save_public_key=False, save_secret_key=True, save_galois_keys=False, save_relin_keys=False
        )
        self._public, self._minor = key_id_of(saved)
        self._context = context

    @classmethod
    def from_bytes(cls, data: bytes) -> SharedContext:
        """Return the context of ``context.serialize(save_secret_key=True)``.

        Parameters
        ----------
        data : bytes
            Secret, and from a place that only this client can write: TenSEAL reads it, and crafted bytes can crash it.

        Raises
        ------
        ParameterError, DecodeError
            No secret key, or bytes that are not such a context, as far as can be seen before TenSEAL reads them.
        """
        key_id_of(data)
        import tenseal

        try:
            return cls(tenseal.context_from(data))
        except (RuntimeError, ValueError):
            raise DecodeError("TenSEAL does not read this context; was it written by the same version?") from None

    def __repr__(self) -> str:
        return f"SharedContext(degree={self._public.degree}, key_id={self.key_id[:4].hex()}...)"

    def __reduce__(self) -> Any:
        raise TypeError("a SharedContext holds a secret key and cannot be pickled or copied")

    @property
    def key_id(self) -> bytes:
        """The 32-byte digest of the secret key: the same for everybody who has it, and it gives nothing away."""
        return self._public.key_id

    def public(self) -> PublicContext:
        """Return what the server needs: parameters and key id."""
        return self._public

    def encrypt(self, update: npt.ArrayLike, params: SumParams) -> list[bytes]:
        """Return an update as TenSEAL's bytes: few vectors of many ciphertexts, rounded to multiples of ``params.step``.

        Parameters
        ----------
        update : array_like of float, shape (params.length,)
            Secret.
        params : SumParams

        Raises
        ------
        InputError
            Another shape, NaN or infinity, or a value beyond the bound.
        ParameterError
            `params` are for another context.

        Notes
        -----
        TenSEAL takes half a microsecond a value (N = 8192, symmetric), twice that with the public key.
        """
        self._require_mine(params)
        given = np.asarray(update)
        if given.shape != (params.length,) or given.dtype.kind not in "fiu":
            raise InputError(f"an update must be {params.length} real numbers in one dimension")
        values = given.astype(np.float64)
        # NaN compares as false, and so is caught as well.
        if not bool(np.all(np.abs(values) <= params.bound)):
            raise InputError("the update holds NaN, infinity or a value beyond the bound: clean or clip it first")
        import tenseal

        vectors, start = [], 0
        for length in params.vector_lengths:
            part = np.rint(values[start : start + length] / params.step) * params.step
            vectors.append(bytes(tenseal.ckks_vector(self._context, part).serialize()))
            start += length
        return vectors

    def decrypt(self, vectors: Sequence[bytes | memoryview], params: SumParams) -> npt.NDArray[np.float64]:
        """Return the exact sum of the rounded updates.

        Parameters
        ----------
        vectors : sequence of bytes
            What `CiphertextSum.to_bytes` gave for each vector, from a source that was authenticated.
        params : SumParams

        Returns
        -------
        ndarray of float64, shape (params.length,)
            Multiples of ``params.step``. What leaves is rounded, because CKKS decrypts to the sum plus a noise that is linear
            in the secret key: enough unrounded results give the key away (Li and Micciancio). Updates are multiples of the
            step already, so what is left after rounding does not depend on the noise at all.

        Raises
        ------
        DecodeError
            Not exactly the ciphertexts that `params` ask for; TenSEAL has not seen them.
        AbortError
            It decrypts to something that is no sum of such updates: another key, or garbled ciphertexts. Nothing is returned.

        References
        ----------
        Li and Micciancio, On the security of homomorphic encryption on approximate numbers, EUROCRYPT 2021.
        """
        self._require_mine(params)
        if len(vectors) != len(params.vector_lengths):
            raise DecodeError(f"a sum has {len(params.vector_lengths)} vectors, not {len(vectors)}")
        parts = [self._open(data, n) for data, n in zip(vectors, params.vector_lengths, strict=True)]
        values = np.concatenate(parts)
        exact: npt.NDArray[np.float64] = np.rint(values / params.step) * params.step + 0.0  # no negative zeros
        near = np.abs(values - exact) <= NEAR * params.step
        if not bool(np.all(near & (np.abs(exact) <= params.clients * params.largest))):
            raise AbortError(
                "the ciphertexts decrypt to no sum of such updates: another key, or garbled; nothing was released"
            )
        return exact

    def _require_mine(self, params: SumParams) -> None:
        if params.context != self._public:
            raise ParameterError("these parameters are for another context or key")

    def _open(self, data: bytes | memoryview, length: int) -> npt.NDArray[np.float64]:
        import tenseal

        # TenSEAL never reads bytes from outside: it reads what is written here, from residues that were checked one by one,
        # and in the version that it knows.
        checked = CiphertextSum(self._public, length)
        checked.add(data)
        try:
            vector = tenseal.ckks_vector_from(self._context, checked.to_bytes(minor=self._minor))
            return np.array(vector.decrypt(), np.float64)
        except (RuntimeError, ValueError):
            raise DecodeError("TenSEAL does not read this sum") from None
