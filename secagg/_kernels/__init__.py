"""The vector kernels: AES-CTR masks, fixed-point encoding, bit packing, Shamir over p = 2^61 - 1, and RLWE in its ring.

The only importer of the C module. Which implementation runs is decided once, at import: the C module's best for
this machine, else the numba and pycryptodome fallback. The environment variable ``SECAGG_FORCE_ISA`` names another
one of ``build_info()["available"]``. All of them give the same bytes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from secagg._kernels.backend import Backend
from secagg._kernels.checked import Kernels
from secagg._kernels.checks import KEY_BYTES, lane_dtype
from secagg._kernels.gaussian import gaussian_bound
from secagg._kernels.hint_plan import HintPlan, HintShape, hint_moduli, hint_plan, hint_shape
from secagg._kernels.plan import RingPlan, aligned_words, ring_modulus, ring_plan
from secagg.errors import ParameterError

__all__ = [
    "KEY_BYTES",
    "HintPlan",
    "HintShape",
    "RingPlan",
    "add_mod",
    "aligned_words",
    "backends",
    "build_info",
    "ct_equal",
    "fixed_point_decode",
    "fixed_point_encode",
    "gaussian_bound",
    "hint_add",
    "hint_gaussian",
    "hint_mask",
    "hint_merge",
    "hint_moduli",
    "hint_open",
    "hint_plan",
    "hint_shape",
    "hint_store",
    "keystream",
    "lane_dtype",
    "mask_apply",
    "mask_pack",
    "mask_pack_into",
    "pack",
    "protect_fixed",
    "protect_fixed_into",
    "residues_add",
    "ring_add",
    "ring_add_uniform",
    "ring_forward",
    "ring_inverse",
    "ring_modulus",
    "ring_multiply_add",
    "ring_plan",
    "ring_sample",
    "rlwe_add",
    "rlwe_add_seeded",
    "rlwe_decrypt",
    "rlwe_encrypt",
    "rlwe_encrypt_seeded",
    "rlwe_payload_bytes",
    "rlwe_store",
    "shamir_combine",
    "shamir_split",
    "shamir_weights",
    "unpack",
    "unpack_add",
    "unpack_add_many",
]

FORCE_VARIABLE = "SECAGG_FORCE_ISA"
FALLBACK = "fallback"


def _load_native() -> ModuleType | None:
    try:
        return importlib.import_module("secagg._kernels.native")
    except (ImportError, AttributeError) as error:
        # Absent: built without a compiler. There but broken or stale is an error, not a reason to go slow unasked.
        if error.name == "secagg._native" and isinstance(error, ModuleNotFoundError):
            return None
        if os.environ.get(FORCE_VARIABLE) == FALLBACK:
            return None
        raise


_native = _load_native()


def _available() -> list[str]:
    return [*(_native.available() if _native is not None else ()), FALLBACK]


def _fallback() -> Backend:
    # Imported only where it runs: it needs pycryptodome now and numba at its first use.
    from secagg._kernels import fallback_all

    return cast("Backend", fallback_all)


def _choose(forced: str) -> tuple[str, Backend]:
    available = _available()
    if forced and forced not in available:
        raise ParameterError(f"{FORCE_VARIABLE}={forced!r} cannot run here: choose one of {', '.join(available)}")
    name = forced or available[0]
    if name == FALLBACK or _native is None:
        return name, _fallback()
    _native.select(name)
    return name, cast("Backend", _native)


class _Pinned:
    """The C module with one ISA selected during each call and the former put back; not for threads."""

    def __init__(self, native: ModuleType, isa: str) -> None:
        self._native = native
        self._isa = isa

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self._native, name)

        def call(*args: Any) -> Any:
            former = self._native.selected()
            self._native.select(self._isa)
            try:
                return function(*args)
            finally:
                self._native.select(former)

        return call


def backends() -> dict[str, Kernels]:
    """Every implementation that this machine can run, side by side, by the name ``SECAGG_FORCE_ISA`` takes.

    Returns
    -------
    dict of str to Kernels
        Each value has all the kernels of this module as methods. Meant for tests and benchmarks: calls must
        not overlap in time.
    """
    pinned: dict[str, Kernels] = {}
    if _native is not None:
        pinned = {isa: Kernels(cast("Backend", _Pinned(_native, isa))) for isa in _native.available()}
    return {**pinned, FALLBACK: Kernels(_fallback())}


def build_info() -> dict[str, Any]:
    """What was built and what runs.

    Returns
    -------
    dict
        ``backend`` ("native" or "fallback"), ``isa`` (name of the implementation in use), ``available`` (every
        name that can be forced, best first), ``compiler`` (str, None for the fallback), ``version`` (of the
        package, None when it runs uninstalled).
    """
    from importlib import metadata  # slow to import, and asked for only here

    native = _native if _isa != FALLBACK else None
    try:
        version: str | None = metadata.version("secagg")
    except metadata.PackageNotFoundError:
        version = None
    return {
        "backend": "native" if native is not None else "fallback",
        "isa": native.selected() if native is not None else FALLBACK,
        "available": _available(),
        "compiler": native.compiler() if native is not None else None,
        "version": version,
    }


_isa, _backend = _choose(os.environ.get(FORCE_VARIABLE, ""))
_kernels = Kernels(_backend)

mask_apply = _kernels.mask_apply
keystream = _kernels.keystream
fixed_point_encode = _kernels.fixed_point_encode
fixed_point_decode = _kernels.fixed_point_decode
protect_fixed = _kernels.protect_fixed
protect_fixed_into = _kernels.protect_fixed_into
mask_pack = _kernels.mask_pack
mask_pack_into = _kernels.mask_pack_into
pack = _kernels.pack
unpack = _kernels.unpack
unpack_add = _kernels.unpack_add
unpack_add_many = _kernels.unpack_add_many
add_mod = _kernels.add_mod
shamir_split = _kernels.shamir_split
shamir_weights = _kernels.shamir_weights
shamir_combine = _kernels.shamir_combine
residues_add = _kernels.residues_add
ct_equal = _kernels.ct_equal
ring_add = _kernels.ring_add
ring_add_uniform = _kernels.ring_add_uniform
ring_forward = _kernels.ring_forward
ring_inverse = _kernels.ring_inverse
ring_multiply_add = _kernels.ring_multiply_add
ring_sample = _kernels.ring_sample
rlwe_add = _kernels.rlwe_add
rlwe_add_seeded = _kernels.rlwe_add_seeded
rlwe_decrypt = _kernels.rlwe_decrypt
rlwe_encrypt = _kernels.rlwe_encrypt
rlwe_encrypt_seeded = _kernels.rlwe_encrypt_seeded
rlwe_payload_bytes = _kernels.rlwe_payload_bytes
rlwe_store = _kernels.rlwe_store
hint_add = _kernels.hint_add
hint_gaussian = _kernels.hint_gaussian
hint_mask = _kernels.hint_mask
hint_merge = _kernels.hint_merge
hint_open = _kernels.hint_open
hint_store = _kernels.hint_store
