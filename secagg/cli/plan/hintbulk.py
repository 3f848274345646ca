"""What a value, and a share, cost on this machine under oneshot: measured like those of `secagg.cli.plan.bulk`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from secagg.cli.plan.bulk import ME, SLICE, decode_seconds, scaled_update, shortened
from secagg.cli.plan.units import least, middle
from secagg.hazmat import field, packed
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.hintmasks import HintAccumulator, HintMasking
from secagg.params import Params
from secagg.protocols.oneshot import HintUpload
from secagg.protocols.oneshot.sharing import add_shares
from secagg.workers import Workers

__all__ = ["HintBulk", "measure_hints"]

MOST_MASKED = 1_000_000
MOST_MASKED_SUM = 8_000_000
SUMMED = 8  # shares that are added in one go


@dataclass(frozen=True)
class HintBulk:
    """Seconds under oneshot.

    Attributes
    ----------
    protect : float
        A value at the client: encoded, masked, packed. Hashing is counted apart.
    secret : float
        One upload's secret drawn, transformed for the head and once more for the vector.
    split : float
        Its shares for all members, before they are sealed.
    add, open, decode : float
        A value at the server: one client's checked and added; the sum opened; from the sum to the mean.
    share : float
        One client's share checked and added by a member.
    combine : float
        The answers of as many members as are needed and one more put together.
    """

    protect: float
    secret: float
    split: float
    add: float
    open: float
    decode: float
    share: float
    combine: float


def _nothing(*_: object) -> None:
    return None


def measure_hints(params: Params) -> HintBulk:
    """Return what values and shares cost under these oneshot Params."""
    short = shortened(params, MOST_MASKED)
    count, plan = short.segment_plan.layout.size, params.mask_plan
    source = short.segment_plan.open(scaled_update(short, count), 1, None, os.urandom(16))
    masking, seed, public = HintMasking(short, Workers(1)), os.urandom(32), os.urandom(16)
    sent: list[tuple[int, int, bytes]] = []

    def frame(segment: int, index: int, payload: memoryview) -> tuple[bytes, bytes]:
        sent.append((segment, index, bytes(payload)))
        return b"", b""

    def protect() -> None:
        sent.clear()
        secrets = (os.urandom(16), os.urandom(32))
        upload = HintUpload(
            seed, public, secrets, (b"", False), frame, _nothing, _nothing, lambda _: b"", list
        )  # fmt: skip
        masking.head(source, 0, upload)
        for _ in masking.segment(source, 1, upload):
            pass

    ring = plan.segments[0].ring
    secret = least(lambda: [MaskSecret(ring, seed).coefficients() for _ in range(3)])
    protected = max(middle(protect, SLICE) - secret * 2 / 3, 0.0)
    bulk = HintAccumulator(short)

    def add() -> None:
        for segment, index, payload in sent:
            bulk.add(ME, segment, index, memoryview(payload))
        bulk.fold(ME, b"")

    add()  # one upload, which opens
    (sums,) = bulk._sums.values()  # noqa: SLF001  # opened again and again, which the protocol forbids and a clock needs
    coefficients = MaskSecret(ring, seed).coefficients()

    def open_() -> None:
        for number, row in enumerate(sums):
            bulk._open(number, row, coefficients, public)  # noqa: SLF001  # likewise

    opened = middle(open_, SLICE)
    added = _add(short, sent, params.segment_plan.layout.size)
    split, share, combine = _shares(params, coefficients)
    return HintBulk(
        protect=protected / count, secret=secret, split=split, add=added, open=opened / count,
        decode=decode_seconds(short) / count, share=share, combine=combine,
    )  # fmt: skip


def _add(params: Params, sent: list[tuple[int, int, bytes]], count: int) -> float:
    """Return the seconds a value of adding uploads to a sum of `count` values, or as many as leave every cache."""
    have = params.segment_plan.layout.size
    copies = max(1, min(count, MOST_MASKED_SUM) // have)
    bulks = [HintAccumulator(params) for _ in range(copies)]
    payloads = [[(number, at, bytes(bytearray(payload))) for number, at, payload in sent] for _ in bulks]

    def add() -> None:
        for bulk, chunks in zip(bulks, payloads, strict=True):
            for segment, index, payload in chunks:
                bulk.add(ME, segment, index, memoryview(payload))
            bulk.fold(ME, b"")

    add()  # memory for the sum is counted apart
    return middle(add, SLICE) / (copies * have)


def _shares(params: Params, secret: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[float, float, float]:
    """Return the seconds of one splitting, of adding one share, and of putting the answers together."""
    plan, rho, threshold = params.mask_plan, params.packing, params.threshold
    indices = range(1, params.committee + 1)

    def split() -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
        rows = packed.pack_digits(secret, plan.digit_bits, rho).reshape(-1, rho)
        return packed.split(rows, threshold, indices)

    shares = split()  # from here on the weights are remembered
    answers = min(threshold + 1, params.committee)
    summed = [shares[0]] * SUMMED

    def add() -> None:
        for each in summed:
            field.is_canonical(each)
        add_shares(summed)

    xs = list(indices[:answers])
    return (
        least(split),
        least(add) / SUMMED,
        least(lambda: packed.combine(xs, np.ascontiguousarray(shares[:answers]), threshold, rho)),
    )
