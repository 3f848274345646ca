"""The training: through the engine, and beside it in plain numpy with the same contributors and rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secagg import FixedPoint, Params
from secagg._kernels import pack
from secagg.cli.demo import model as net
from secagg.cli.demo.federation import LOST, MODEL_SEGMENT, Federation, rounding_seed
from secagg.cli.demo.hospitals import Patients, load
from secagg.cli.demo.model import Weights
from secagg.client import rounding_key
from secagg.encoding import Layout
from secagg.errors import InputError, ParameterError

__all__ = ["Demo", "Round", "make_params", "schedule"]

MAX_ROUNDS = 1000
DEFAULT_DROPOUT = 2
ENCODING = FixedPoint(clip=0.5, bits=16)


@dataclass(frozen=True)
class Round:
    """What one round showed; `lost` says who fell silent before which phase."""

    number: int
    lost: Mapping[str, str]
    contributors: tuple[str, ...]
    patients: int
    clipped: int
    sums_equal: bool
    accuracy: float


def _params(patients: Patients, example: Weights, dropout: int) -> Params:
    needed = len(patients.hospitals) - dropout
    largest = max(hospital.patients for hospital in patients.hospitals)
    return Params(
        clients=len(patients.hospitals),
        layout=Layout.of(example),
        encoding=ENCODING,
        threshold=needed,
        min_clients=needed,
        max_weight=1 << (largest - 1).bit_length(),
    )


def _bearable(patients: Patients, example: Weights) -> int:
    """Return the most dropouts a round for which Params still holds."""
    most = 0
    for dropout in range(1, len(patients.hospitals) - 1):
        try:
            _params(patients, example, dropout)
        except ParameterError:
            break
        most = dropout
    return most


def make_params(patients: Patients, example: Weights, dropout: int | None) -> Params:
    """Return Params whose threshold and min_clients let just `dropout` hospitals be lost in a round.

    Raises
    ------
    InputError
        `dropout` is negative.
    ParameterError
        `dropout` is beyond what the bound on a lying server allows; the message gives the bound's reason.
    """
    if dropout is None:
        dropout = min(DEFAULT_DROPOUT, _bearable(patients, example))
    if dropout < 0:
        raise InputError("--dropout must not be negative")
    count = len(patients.hospitals)
    if dropout >= count - 1:
        most = _bearable(patients, example)
        raise ParameterError(f"--dropout {dropout} of {count} hospitals leaves no sum of two; at most {most}")
    try:
        return _params(patients, example, dropout)
    except ParameterError as reason:
        most = _bearable(patients, example)
        raise ParameterError(
            f"--dropout {dropout} with {count} hospitals is refused (at most {most}): {reason}"
        ) from None


def schedule(names: tuple[str, ...], rounds: int, dropout: int, seed: int) -> list[dict[str, str]]:
    """Return who is lost in each round before which phase; phases rotate through every combination."""
    rng = np.random.default_rng([seed, rounds, dropout, len(names)])
    phases = tuple(LOST)
    plan = []
    for i in range(rounds):
        chosen = sorted(rng.choice(names, size=dropout, replace=False).tolist())
        plan.append({name: phases[(i + j * (1 + i // len(phases))) % len(phases)] for j, name in enumerate(chosen)})
    return plan


class Demo:
    """One run: `train` goes through the rounds; afterwards the attributes hold everything that is reported.

    Parameters
    ----------
    hospitals, rounds, seed : int
    dropout : int or None
        Hospitals lost in every round, over all phases together; None takes 2, or as many as the bound allows.

    Raises
    ------
    InputError, ParameterError
        See `hospitals.load` and `make_params`.
    """

    def __init__(self, *, hospitals: int, rounds: int, dropout: int | None, seed: int) -> None:
        if not 1 <= rounds <= MAX_ROUNDS:
            raise InputError(f"--rounds must be from 1 to {MAX_ROUNDS}, not {rounds}")
        self.patients: Patients = load(hospitals, seed)
        self.seed = seed
        start = net.initial(seed)
        self.params = make_params(self.patients, start, dropout)
        self.dropout = hospitals - self.params.min_clients
        self.names = tuple(hospital.name for hospital in self.patients.hospitals)
        self.weights = {hospital.name: hospital.patients for hospital in self.patients.hospitals}
        self.lost = schedule(self.names, rounds, self.dropout, seed)
        self.federation = Federation(self.params, self.names, seed)
        self.rounds: list[Round] = []
        self.secure = self.plain = self.exact = self.complete = start
        self.masked: list[bytes] = []  # every masked model upload of the run
        self.bare: list[bytes] = []  # the same updates, encoded and packed but not masked
        self._rounding = rounding_seed(seed)

    def train(self) -> Iterator[Round]:
        """Yield each round once it is done."""
        for i, lost in enumerate(self.lost, start=1):
            updates = self._updates(self.secure)
            aggregate = self.federation.round(i, self.secure, self._work(updates), lost)
            self.masked += [self.federation.uploads[name] for name in sorted(self.federation.uploads)]
            here = aggregate.contributors
            mean, sums = self._rounded(i, self._updates(self.plain), here, keep=True)
            self.plain = net.add(self.plain, mean)
            self.exact = net.add(self.exact, self._average(self._updates(self.exact), here))
            self.complete = net.add(self.complete, self._rounded(i, self._updates(self.complete), self.names)[0])
            self.secure = net.add(self.secure, aggregate.mean)
            done = Round(
                number=i,
                lost=lost,
                contributors=here,
                patients=aggregate.weight,
                clipped=aggregate.clipped,
                sums_equal=bool(np.array_equal(sums, aggregate.integer_sum)),
                accuracy=net.accuracy(self.secure, self.patients.test_x, self.patients.test_y),
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
