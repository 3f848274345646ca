"""Why protect updates: what one hospital's update tells bare, masked, and inside the released sum.

The attack is exact arithmetic. For a batch of one patient the gradient of the first layer's weights is the
record times the gradient of its bias (one factor a hidden unit): dividing one by the other gives the record.

References
----------
Phong, Aono, Hayashi, Wang, Moriai, "Privacy-preserving deep learning via additively homomorphic encryption",
IEEE Transactions on Information Forensics and Security, 2018.

"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from secagg._kernels import lane_dtype, unpack
from secagg.cli.demo import model as net
from secagg.cli.demo.federation import MODEL_SEGMENT
from secagg.cli.demo.model import Weights

if TYPE_CHECKING:
    from secagg.cli.demo.run import Demo

__all__ = ["Leak", "Uniformity", "error", "examine", "reconstruct", "uniformity"]

Record = NDArray[np.float64]


@dataclass(frozen=True)
class Uniformity:
    """A chi-square test that all 256 byte values are equally frequent."""

    count: int
    statistic: float
    p_value: float


@dataclass(frozen=True, repr=False)
class Leak:
    """One patient's record and what the same attack makes of it; records are standardised, float64 (30,)."""

    hospital: str
    hidden_among: int
    record: Record
    from_update: Record
    from_masked: Record
    from_aggregate: Record
    bare_bytes: Uniformity
    masked_bytes: Uniformity


def reconstruct(update: Weights) -> Record:
    """Return the attack's guess: the weight update of the strongest hidden unit over its bias update."""
    weight, bias = update["hidden"]["weight"], update["hidden"]["bias"]
    unit = int(np.argmax(np.abs(bias)))
    guess: Record = weight[:, unit] / bias[unit]
    return guess


def error(guess: Record, record: Record) -> float:
    """Return the root mean square error over the features, in standard deviations of the population."""
    return float(np.sqrt(np.mean((guess - record) ** 2)))


def uniformity(data: bytes) -> Uniformity:
    """Test bytes for uniformity.

    Notes
    -----
    A sanity check and not a proof: a counter would pass it. The p-value is by Wilson and Hilferty's
    approximation, good to three digits at 255 degrees of freedom.
    """
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    statistic = float(np.sum((counts - expected) ** 2) / expected)
    spread = 2.0 / (9.0 * 255)
    z = ((statistic / 255) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread)
    return Uniformity(len(data), statistic, 0.5 * math.erfc(z / math.sqrt(2.0)))


def _without_padding(vectors: list[bytes], bits: int) -> bytes:
    """Join packed vectors of `bits` bits, leaving out a last byte that holds padding."""
    return b"".join(vector[: bits // 8] for vector in vectors)


def _frame_bits(demo: Demo) -> int:
    """Return how many bits of a protected model update, or of a row of one, are not padding."""
    if demo.params.protocol == "oneshot":
        cut = demo.params.mask_plan.segments[MODEL_SEGMENT]
        return -(-cut.count // cut.ring.per) * cut.ring.bits
    if demo.params.protocol == "ckks":
        cut, ring = demo.params.cipher_plan.segments[MODEL_SEGMENT], demo.params.cipher_plan.ring
        return (cut.polynomials * ring.degree + cut.count * cut.limbs) * ring.bits
    segment = demo.params.segment_plan.segments[MODEL_SEGMENT]
    return segment.count * segment.w


def _rows(demo: Demo, frame: bytes) -> list[bytes]:
    """Cut a protected update where padding may be: in oneshot, after the residues modulo each prime (the model is short)."""
    if demo.params.protocol != "oneshot":
        return [frame]
    size = len(frame) // demo.params.mask_plan.segments[MODEL_SEGMENT].ring.primes
    return [frame[at : at + size] for at in range(0, len(frame), size)]


def _values(demo: Demo, frame: bytes) -> NDArray[np.unsignedinteger]:
    """Read a protected update as integers, as if there were no protection."""
    segment = demo.params.segment_plan.segments[MODEL_SEGMENT]
    if demo.params.protocol == "pairwise":
        return unpack(frame, segment.w, segment.count)
    if demo.params.protocol == "oneshot":
        return _digits(demo, frame).astype(lane_dtype(segment.w))
    plan = demo.params.cipher_plan
    cut, ring = plan.segments[MODEL_SEGMENT], plan.ring
    residues = ring.unpack(frame, cut.polynomials * ring.degree + cut.count * cut.limbs)
    body = residues[ring.degree :]  # one polynomial: c1, then as much of c0 as there are values
    return cut.join(body // np.uint64(plan.delta)).astype(lane_dtype(segment.w))


def _digits(demo: Demo, frame: bytes) -> NDArray[np.uint64]:
    """Put the residues of one short polynomial together and read their digits, as if nothing had been added to them."""
    cut = demo.params.mask_plan.segments[MODEL_SEGMENT]
    ring, each = cut.ring, -(-cut.count // cut.ring.per)
    rows = [unpack(row, ring.bits, each) for row in _rows(demo, frame)]
    found = np.empty((ring.per, each), np.uint64)
    for place in range(each):
        whole = sum(
            int(row[place]) * (ring.q // prime) * pow(ring.q // prime, -1, prime)
            for row, prime in zip(rows, ring.moduli, strict=True)
        ) % ring.q  # fmt: skip
        for digit in range(ring.per):
            found[digit, place] = whole >> ring.width * digit & (1 << ring.width) - 1
    return found.reshape(-1)[: cut.count]


def _read_as_values(demo: Demo, masked: bytes) -> Weights:
    """Decode masked bytes as a curious server might: as if they were an unprotected update of weight 1."""
    plan = demo.params.segment_plan
    head = np.zeros(plan.segments[0].count, np.uint64)
    head[:] = (1, 0, 1)  # weight, clipped, lane
    values: Weights = plan.decode([head, _values(demo, masked)]).mean
    return values


def examine(demo: Demo) -> Leak:
    """Run one more round in which one hospital trains on a single patient, and attack what leaves it."""
    hospital = demo.patients.hospitals[0]
    x, y = hospital.x[:1], hospital.y[:1]
    single = net.train(demo.secure, x, y, steps=1)
    others = {h.name: h for h in demo.patients.hospitals}

    def work(name: str) -> tuple[Weights, int]:
        if name == hospital.name:
            return single, 1
        return net.train(demo.secure, others[name].x, others[name].y), demo.weights[name]

    asked = demo.names[: demo.params.max_participants]  # the first of them is our hospital
    aggregate = demo.federation.round(len(demo.plans) + 1, demo.secure, work, asked, {})
    plain = demo.params.segment_plan.segments[MODEL_SEGMENT]
    return Leak(
        hospital=hospital.name,
        hidden_among=aggregate.weight,
        record=x[0],
        from_update=reconstruct(single),
        from_masked=reconstruct(_read_as_values(demo, demo.federation.uploads[hospital.name])),
        from_aggregate=reconstruct(aggregate.mean),
        bare_bytes=uniformity(_without_padding(demo.bare, plain.count * plain.w)),
        masked_bytes=uniformity(
            _without_padding([row for frame in demo.masked for row in _rows(demo, frame)], _frame_bits(demo))
        ),
    )
