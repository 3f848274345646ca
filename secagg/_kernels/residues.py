"""Sums of residue polynomials straight from a ciphertext's bytes, and the contract of that kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secagg._kernels.backend import Backend
from secagg._kernels.checks import (
    U64,
    WORDS,
    Buffer,
    require_apart,
    require_array,
    require_integer,
    require_writable,
)
from secagg.errors import InputError

__all__ = ["MODULUS_BITS", "Residues"]

MODULUS_BITS = 61  # SEAL's own limit, and room for a sum of two in a signed word


class Residues:
    """The part of `Kernels` that adds ciphertexts of residue number systems.

    Parameters
    ----------
    backend : Backend
        The implementation.
    """

    _backend: Backend

    def residues_add(self, acc: U64, buf: Buffer, moduli: Sequence[int]) -> None:
        """Add every residue of `buf` to `acc`, each modulo its prime, in place.

        Parameters
        ----------
        acc : ndarray of uint64, shape (polynomials, len(moduli), n)
            Residues below their moduli; written in place, C-contiguous.
        buf : bytes-like
            As many residues in the same order, little-endian, 8 bytes each, at any alignment; must not overlap `acc`.
        moduli : sequence of int
            2 to 2^61 each; public.

        Raises
        ------
        InputError
            On misuse, and when a residue in `buf` is not below its modulus; `acc` is unchanged.

        Notes
        -----
        Two passes over `buf`, one over `acc`; no extra memory in C. Residues are ciphertext and public; no branch depends
        on them but the one that refuses.
        """
        require_array("acc", acc, WORDS, 3)
        require_writable("acc", acc)
        primes = np.array([require_integer("a modulus", q, 2, (1 << MODULUS_BITS) + 1) for q in moduli], np.uint64)
        if acc.shape[1] != len(primes):
            raise InputError(f"acc must have one row for each of {len(primes)} moduli, not {acc.shape[1]}")
        try:
            view = memoryview(buf)
        except TypeError:
            raise InputError(f"buf must be bytes-like, not {type(buf).__name__}") from None
        if not view.c_contiguous:
            raise InputError("buf must be contiguous: pass a copy")
        if view.nbytes != acc.nbytes:
            raise InputError(f"buf must be {acc.nbytes} bytes long, not {view.nbytes}")
        if acc.size == 0:
            return
        view = view.cast("B")
        require_apart("acc", acc, view)
        self._backend.residues_add(acc, view, primes)
