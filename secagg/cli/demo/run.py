"""The training: through the engine, and beside it in plain numpy with the same contributors and rounding."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from secagg import FixedPoint, Params
from secagg._kernels import pack
from secagg.cli.demo import model as net
from secagg.cli.demo.committee import committee_params, committee_schedule
from secagg.cli.demo.federation import LOST, MODEL_SEGMENT, Federation, lost_in, rounding_seed
from secagg.cli.demo.hospitals import Patients, load
from secagg.cli.demo.model import Weights
from secagg.client import rounding_key
from secagg.encoding import Layout
from secagg.errors import InputError, ParameterError

__all__ = ["PROTOCOLS", "Demo", "Plan", "Round", "make_params", "schedule"]

MAX_ROUNDS = 1000
PROTOCOLS = {"pairwise": 7, "ckks": 7, "oneshot": 10}  # with so many hospitals unless the caller says otherwise
DEFAULT_DROPOUT = 2
COMMITTEE_DROPOUT = 0.3  # of the hospitals, in oneshot
SAMPLED = 0.8  # of the hospitals, in each round
SMALLEST_SAMPLED = 5  # fewer hospitals than this are all asked in every round
ENCODING = FixedPoint(clip=0.5, bits=16)


@dataclass(frozen=True)
class Round:
    """What one round showed.

    `lost` says who fell silent before which phase, `restarted` whose process ended in its middle, `lied` who answered wrongly in
    a committee, and `blamed` whom the engine names for that.
    """

    number: int
    asked: tuple[str, ...]
    lost: Mapping[str, str]
    restarted: str | None
    exchanges: int
    contributors: tuple[str, ...]
    patients: int
    clipped: int
    sums_equal: bool
    accuracy: float
    lied: str | None = None
    blamed: tuple[str, ...] = ()


def _params(patients: Patients, example: Weights, dropout: int, rounds: int = 1, protocol: str = "pairwise") -> Params:
    """Return Params of rounds that ask about four in five hospitals, or all where that would hide too few."""
    n = len(patients.hospitals)
    largest = max(hospital.patients for hospital in patients.hospitals)

    def build(asked: int) -> Params:
        # In ckks the server is not to see the sum: one hospital holds the key, and the result is for it to hand on.
        own: dict[str, Any] = {"threshold": n - dropout}
        if protocol == "ckks":
            own = {"protocol": "ckks", "reveal": "holder"}
        if protocol == "oneshot":
            own = committee_params(n, dropout)
        return Params(
            clients=n,
            layout=Layout.of(example),
            encoding=ENCODING,
            min_clients=asked - dropout,
            max_participants=asked,
            max_weight=1 << (largest - 1).bit_length(),
            rounds_per_setup=rounds,
            **own,
        )

    sample = math.ceil(SAMPLED * n)
    if n >= SMALLEST_SAMPLED and sample - dropout > 1 and protocol != "oneshot":
        try:
            return build(sample)
        except ParameterError:
            return build(n)
    return build(n)


def _bearable(patients: Patients, example: Weights, protocol: str = "pairwise") -> int:
    """Return the most dropouts a round for which Params still holds."""
    most = 0
    for dropout in range(1, len(patients.hospitals) - 1):
        try:
            _params(patients, example, dropout, protocol=protocol)
        except ParameterError:
            break
        most = dropout
    return most


def make_params(
    patients: Patients, example: Weights, dropout: int | None, rounds: int, protocol: str = "pairwise"
) -> Params:
    """Return Params whose one setup serves all rounds, and lets just `dropout` hospitals be lost in each.

    Raises
    ------
    InputError
        `dropout` is negative.
    ParameterError
        `dropout` is beyond what the bound on a lying server allows; the message gives the bound's reason.
    """
    if dropout is None:
        wanted = DEFAULT_DROPOUT
        if protocol == "oneshot":
            wanted = round(COMMITTEE_DROPOUT * len(patients.hospitals))
        dropout = min(wanted, _bearable(patients, example, protocol))
    if dropout < 0:
        raise InputError("--dropout must not be negative")
    count = len(patients.hospitals)
    if dropout >= count - 1:
        most = _bearable(patients, example, protocol)
        raise ParameterError(f"--dropout {dropout} of {count} hospitals leaves no sum of two; at most {most}")
    try:
        return _params(patients, example, dropout, rounds, protocol)
    except ParameterError as reason:
        most = _bearable(patients, example, protocol)
        raise ParameterError(
            f"--dropout {dropout} with {count} hospitals is refused (at most {most}): {reason}"
        ) from None


@dataclass(frozen=True)
class Plan:
    """Who is asked in a round, who is lost before which phase, and who lies in the committee."""

    asked: tuple[str, ...]
    lost: Mapping[str, str]
    liar: str | None = None


def schedule(
    names: tuple[str, ...],
    asked: int,
    rounds: int,
    dropout: int,
    seed: int,
    places: Mapping[str, str] = LOST,
) -> list[Plan]:
    """Return a sample for each round, and who is lost; phases rotate through every combination."""
    rng = np.random.default_rng([seed, rounds, dropout, len(names)])
    phases = tuple(places)
    plans = []
    for i in range(rounds):
        sample = sorted(rng.choice(names, size=asked, replace=False).tolist())
        chosen = sorted(rng.choice(names, size=dropout, replace=False).tolist())
        # Who is not asked for an update can only be missed at unmasking.
        lost = {
            name: phases[(i + j * (1 + i // len(phases))) % len(phases)] if name in sample else phases[-1]
            for j, name in enumerate(chosen)
        }
        plans.append(Plan(tuple(sample), lost))
    return plans


class Demo:
    """One run: `train` goes through the rounds; afterwards the attributes hold everything that is reported.

    A context: on leaving it, the hospitals' ledgers and snapshots are deleted.

    Parameters
    ----------
    rounds, seed : int
    hospitals : int or None
        None takes 7, or 10 in oneshot.
    protocol : {"pairwise", "ckks", "oneshot"}
    dropout : int or None
        Hospitals lost in every round, over all phases together; None takes 2 (in oneshot 30%), or as many as the bound allows.

    Raises
    ------
    InputError, ParameterError
        See `hospitals.load` and `make_params`.
    """

    def __init__(
        self, *, hospitals: int | None, rounds: int, dropout: int | None, seed: int, protocol: str = "pairwise"
    ) -> None:
        if protocol not in PROTOCOLS:
            raise InputError(f"--protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
        if not 1 <= rounds <= MAX_ROUNDS:
            raise InputError(f"--rounds must be from 1 to {MAX_ROUNDS}, not {rounds}")
        self.patients: Patients = load(PROTOCOLS[protocol] if hospitals is None else hospitals, seed)
        self.seed = seed
        start = net.initial(seed)
        # One round more, for the attack at the end.
        self.params = make_params(self.patients, start, dropout, rounds + 1, protocol)
        self.dropout = self.params.max_participants - self.params.min_clients
        self.names = tuple(hospital.name for hospital in self.patients.hospitals)
        self.weights = {hospital.name: hospital.patients for hospital in self.patients.hospitals}
        if protocol == "oneshot":
            drawn = committee_schedule(self.names, self.params, rounds, self.dropout, seed)
            self.plans = [Plan(self.names, lost, liar) for lost, liar in drawn]
        else:
            places = lost_in(self.params)
            self.plans = schedule(self.names, self.params.max_participants, rounds, self.dropout, seed, places)
        self._disk = tempfile.TemporaryDirectory(prefix="secagg-demo-")
        lies: dict[str, set[int]] = {}
        for number, plan in enumerate(self.plans, start=1):
            if plan.liar is not None:
                lies.setdefault(plan.liar, set()).add(number)
        self.federation = Federation(self.params, self.names, seed, Path(self._disk.name), lies)
        self.rounds: list[Round] = []
        self.secure = self.plain = self.exact = self.complete = start
        self.masked: list[bytes] = []  # every masked model upload of the run
        self.bare: list[bytes] = []  # the same updates, encoded and packed but not masked
        self._rounding = rounding_seed(seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.federation.close()
        self._disk.cleanup()

    def _restarted(self, number: int) -> str | None:
        """Return who is restarted in the middle round: somebody who sent an update and has to answer for it."""
        if number != len(self.plans) // 2 + 1:
            return None
        plan = self.plans[number - 1]
        honest = (name for name in plan.asked if name not in self.federation.lies)
        return next((name for name in honest if name not in plan.lost), None)

    def train(self) -> Iterator[Round]:
        """Yield each round once it is done."""
        for i, plan in enumerate(self.plans, start=1):
            updates, restarted = self._updates(self.secure), self._restarted(i)
            aggregate = self.federation.round(i, self.secure, self._work(updates), plan.asked, plan.lost, restarted)
            self.masked += [self.federation.uploads[name] for name in sorted(self.federation.uploads)]
            here = aggregate.contributors
            mean, sums = self._rounded(i, self._updates(self.plain), here, keep=True)
            self.plain = net.add(self.plain, mean)
            self.exact = net.add(self.exact, self._average(self._updates(self.exact), here))
            self.complete = net.add(self.complete, self._rounded(i, self._updates(self.complete), self.names)[0])
            self.secure = net.add(self.secure, aggregate.mean)
            done = Round(
                number=i,
                asked=plan.asked,
                lost=plan.lost,
                restarted=restarted,
                exchanges=self.federation.exchanges,
                contributors=here,
                patients=aggregate.weight,
                clipped=aggregate.clipped,
                sums_equal=bool(np.array_equal(sums, aggregate.integer_sum)),
                accuracy=net.accuracy(self.secure, self.patients.test_x, self.patients.test_y),
                lied=plan.liar,
                blamed=tuple(sorted(aggregate.blamed)),
            )
            self.rounds.append(done)
            yield done

    def _work(self, updates: Mapping[str, Weights]) -> Callable[[str], tuple[Weights, int]]:
        return lambda name: (updates[name], self.weights[name])

    def _updates(self, model: Weights) -> dict[str, Weights]:
        return {hospital.name: net.train(model, hospital.x, hospital.y) for hospital in self.patients.hospitals}

    def _average(self, updates: Mapping[str, Weights], names: tuple[str, ...]) -> Weights:
        """Plain FedAvg in float64: what everybody's update would weigh without encoding or engine."""
        total = sum(self.weights[name] for name in names)
        mean = net.add(updates[names[0]], updates[names[0]], -1.0)
        for name in names:
            mean = net.add(mean, updates[name], self.weights[name] / total)
        return mean

    def _rounded(
        self, round_id: int, updates: Mapping[str, Weights], names: tuple[str, ...], *, keep: bool = False
    ) -> tuple[Weights, NDArray[np.uint64]]:
        """Plain FedAvg with the engine's rounding: encode, add in numpy, decode. No key, mask or frame."""
        plan = self.params.segment_plan
        sums = [np.zeros(segment.count, np.uint64) for segment in plan.segments]
        for name in names:
            key = rounding_key(self._rounding, name, round_id)
            encoded = plan.encode(updates[name], self.weights[name], None, key)
            for total, vector in zip(sums, encoded.vectors, strict=True):
                np.add(total, vector, out=total)
            if keep:
                self.bare.append(pack(encoded.vectors[MODEL_SEGMENT], plan.segments[MODEL_SEGMENT].w))
        decoded = plan.decode(sums)
        return decoded.mean, decoded.integer_sum
