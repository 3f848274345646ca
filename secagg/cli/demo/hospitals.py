"""The patients: Wisconsin diagnostic breast cancer (569 biopsies, 30 features), unevenly over hospitals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secagg.errors import InputError, ParameterError

__all__ = ["MAX_HOSPITALS", "MIN_HOSPITALS", "Hospital", "Patients", "load"]

MIN_HOSPITALS, MAX_HOSPITALS = 3, 40
TEST_PATIENTS = 143
TEST_SEED = 569  # the test patients never change, so that figures of different --seed compare
LARGEST_OVER_SMALLEST = 4.0


@dataclass(frozen=True, repr=False)
class Hospital:
    """Patients of one hospital: `x` float64 (patients, 30) standardised; `y` float64, 1 is malignant."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def patients(self) -> int:
        """How many patients train here; the weight of this hospital's updates."""
        return len(self.y)


@dataclass(frozen=True, repr=False)
class Patients:
    """All hospitals, the held-out test patients, and what turns a standardised record into its real units."""

    hospitals: tuple[Hospital, ...]
    test_x: NDArray[np.float64]
    test_y: NDArray[np.float64]
    features: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def real_units(self, record: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a standardised record (30,) in the units of the data set."""
        return record * self.scale + self.mean


def load(hospitals: int, seed: int) -> Patients:
    """Return the patients split over `hospitals`; the same arguments give the same split.

    Parameters
    ----------
    hospitals : int
        3 to 40. The largest has about four times as many patients as the smallest.
    seed : int
        Not negative; decides who goes where. The 143 test patients do not depend on it.

    Raises
    ------
    InputError
        An argument is out of range.
    ParameterError
        scikit-learn, which ships the data, is not installed.

    Notes
    -----
    The mean and scale come from all training patients, as constants that the hospitals agreed on beforehand.

    References
    ----------
    Street, Wolberg, Mangasarian, "Nuclear feature extraction for breast tumor diagnosis", 1993.
    """
    if not MIN_HOSPITALS <= hospitals <= MAX_HOSPITALS:
        raise InputError(f"--hospitals must be from {MIN_HOSPITALS} to {MAX_HOSPITALS}, not {hospitals}")
    if seed < 0:
        raise InputError("--seed must not be negative")
    try:
        from sklearn.datasets import load_breast_cancer
    except ModuleNotFoundError as missing:
        raise ParameterError("the demo's data comes with scikit-learn: pip install 'secagg[demo]'") from missing
    data = load_breast_cancer()
    x, y = np.asarray(data.data, np.float64), np.asarray(data.target == 0, np.float64)
    order = np.random.default_rng(TEST_SEED).permutation(len(y))
    test, train = order[:TEST_PATIENTS], order[TEST_PATIENTS:]
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    x = (x - mean) / scale
    rng = np.random.default_rng([seed, hospitals])
    share = rng.permutation(np.linspace(1.0, LARGEST_OVER_SMALLEST, hospitals))
    cuts = np.round(np.cumsum(share)[:-1] / share.sum() * len(train)).astype(int)
    groups = np.split(rng.permutation(train), cuts)
    digits = len(str(hospitals))
    return Patients(
        hospitals=tuple(Hospital(f"hospital-{i:0{digits}}", x[g], y[g]) for i, g in enumerate(groups, start=1)),
        test_x=x[test],
        test_y=y[test],
        features=tuple(str(name) for name in data.feature_names),
        mean=mean,
        scale=scale,
    )
