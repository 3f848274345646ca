"""What an implementation of the kernels provides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from secagg._kernels.checks import U64, Lanes
from secagg._kernels.hint_plan import HintPlan
from secagg._kernels.plan import RingPlan

__all__ = ["Backend"]


class Backend(Protocol):
    """The kernels of one implementation; arguments arrive checked by `Kernels`."""

    def mask_apply(
        self,
        acc: Lanes,
        keys: npt.NDArray[np.uint8],
        signs: npt.NDArray[np.int8],
        stream_id: int,
        start: int,
        w: int,
    ) -> None: ...
    def keystream(self, key: bytes, stream_id: int, start_block: int, nbytes: int) -> bytes: ...
    def fixed_point_encode(
        self,
        x: npt.NDArray[Any],
        clip: float,
        bits: int,
        out: Lanes,
        key: bytes | None,
        stream_id: int,
        start: int,
        weight: int,
    ) -> int: ...
    def fixed_point_decode(self, sums: U64, total_weight: int, clip: float, bits: int) -> npt.NDArray[np.float64]: ...
    def protect_fixed_into(
        self,
        x: npt.NDArray[Any],
        clip: float,
        bits: int,
        weight: int,
        rounding_key: bytes | None,
        keys: npt.NDArray[np.uint8],
        signs: npt.NDArray[np.int8],
        stream_id: int,
        start: int,
        w: int,
        out: npt.NDArray[np.uint8],
    ) -> int: ...
    def mask_pack_into(
        self,
        values: Lanes,
        keys: npt.NDArray[np.uint8],
        signs: npt.NDArray[np.int8],
        stream_id: int,
        start: int,
        w: int,
        out: npt.NDArray[np.uint8],
    ) -> None: ...
    def pack(self, values: Lanes, w: int) -> bytes: ...
    def unpack(self, buf: memoryview, w: int, count: int) -> Lanes: ...
    def unpack_add(self, acc: Lanes, buf: memoryview, w: int) -> None: ...
    def unpack_add_many(self, acc: Lanes, bufs: Sequence[memoryview], w: int) -> None: ...
    def add_mod(self, acc: Lanes, other: Lanes, w: int) -> None: ...
    def shamir_split(self, secrets: U64, coeffs: U64, xs: U64) -> U64: ...
    def shamir_weights(self, xs: U64) -> U64: ...
    def shamir_combine(self, weights: U64, shares: U64) -> U64: ...
    def residues_add(self, acc: U64, bufs: Sequence[memoryview], moduli: U64) -> None: ...
    def ct_equal(self, a: bytes, b: bytes) -> bool: ...
    def ring_forward(self, plan: RingPlan, polys: U64) -> None: ...
    def ring_inverse(self, plan: RingPlan, polys: U64) -> None: ...
    def ring_add(self, plan: RingPlan, acc: U64, other: U64, minus: bool) -> None: ...
    def ring_multiply_add(self, plan: RingPlan, acc: U64, a: U64, b: U64) -> None: ...
    def ring_sample(
        self, plan: RingPlan, distribution: int, key: bytes, stream_id: int, first: int, out: U64
    ) -> None: ...
    def ring_add_uniform(
        self, plan: RingPlan, acc: U64, key: bytes, stream_id: int, first: int, minus: bool
    ) -> None: ...
    def rlwe_encrypt(
        self,
        plan: RingPlan,
        public: U64,
        values: U64,
        delta: int,
        key: bytes,
        pad: bytes | None,
        first: int,
        out: npt.NDArray[np.uint8],
    ) -> None: ...
    def rlwe_encrypt_seeded(
        self,
        plan: RingPlan,
        secret: U64,
        values: U64,
        delta: int,
        key: bytes,
        seed: bytes,
        first: int,
        out: npt.NDArray[np.uint8],
    ) -> None: ...
    def rlwe_add(self, plan: RingPlan, c1: U64, c0: U64, payload: memoryview) -> None: ...
    def rlwe_add_seeded(
        self, plan: RingPlan, c1: U64, c0: U64, payload: memoryview, seed: bytes, first: int
    ) -> None: ...
    def rlwe_store(self, plan: RingPlan, c1: U64, c0: U64, out: npt.NDArray[np.uint8]) -> None: ...
    def rlwe_decrypt(self, plan: RingPlan, secret: U64, c1: U64, c0: U64, delta: int, values: U64) -> int: ...
    def hint_gaussian(self, key: bytes, stream_id: int, start: int, out: npt.NDArray[np.int64]) -> None: ...
    def hint_mask(
        self,
        plan: HintPlan,
        secret: U64,
        values: Lanes,
        error_key: bytes,
        public: bytes,
        first: int,
        out: npt.NDArray[np.uint8],
    ) -> None: ...
    def hint_add(self, plan: HintPlan, acc: U64, count: int, payload: memoryview) -> None: ...
    def hint_store(self, plan: HintPlan, acc: U64, count: int, out: npt.NDArray[np.uint8]) -> None: ...
    def hint_open(self, plan: HintPlan, acc: U64, secret: U64, public: bytes, first: int, values: U64) -> None: ...
