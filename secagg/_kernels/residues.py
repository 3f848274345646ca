"""Sums of residue polynomials straight from ciphertexts' bytes, and the contract of that kernel."""

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
    require_view,
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

    def residues_add(self, acc: U64, bufs: Sequence[Buffer], moduli: Sequence[int]) -> None:
        """Add the residues of buffers to the rows of `acc`, each modulo its prime, in place.

        Parameters
        ----------
        acc : ndarray of uint64, shape (rows, polynomials, len(moduli), n)
            Residues below their moduli; written in place, C-contiguous.
        bufs : sequence of bytes-like
            As many for each row, those of the first row first; residues in the order of a row, little-endian, 8 bytes each, at
            any alignment; not overlapping `acc`.
        moduli : sequence of int
            2 to 2^61 each; public.

        Raises
        ------
        InputError
            On misuse, and when a residue in a buffer is not below its modulus; `acc` is unchanged.

        Notes
        -----
        One pass over `bufs` and `acc`; a residue too large is found in it, and then a second pass undoes it. Memory is what it
        waits for: with several buffers a row, the row is fetched and stored once for all. Residues are ciphertext and public;
        the one branch on them is that refusal.
        """
        require_array("acc", acc, WORDS, 4)
        require_writable("acc", acc)
        primes = np.array([require_integer("a modulus", q, 2, (1 << MODULUS_BITS) + 1) for q in moduli], np.uint64)
        if acc.shape[2] != len(primes):
            raise InputError("acc must have as many rows in a polynomial as there are moduli")
        bufs = list(bufs)
        if len(acc) == 0 or len(bufs) % len(acc):
            raise InputError("there must be as many buffers for each row of acc, which has at least one")
        if acc.size == 0 or not bufs:
            return
        self._backend.residues_add(acc, [_row(buf, acc) for buf in bufs], primes)


def _row(buf: Buffer, acc: U64) -> memoryview:
    view = require_view("a buffer", buf)
    if view.nbytes != acc.nbytes // len(acc):
        raise InputError(f"a buffer must be {acc.nbytes // len(acc)} bytes long, not {view.nbytes}")
    if type(view.obj) is not bytes:  # in which no writable array lies
        require_apart("acc", acc, view)
    return view
