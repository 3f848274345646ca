"""From sessions that fit the budget to the size that was asked for: costs are sums of few terms, fitted by least squares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from secagg.cli.bench.figures import BYTES, PARTS, SECONDS, Phase, Sample, Size
from secagg.errors import ParameterError

__all__ = ["Terms", "estimate", "fit", "measure"]

REPEATS = 5
STEP = 8  # the factor between the first two lengths that are tried
WIDE = 8  # how much larger the largest cohort has to be, than the smallest, to tell a square from a line
MOST_STEP = 4  # the largest factor between cohorts
SHORT = (1000, 1 << 15)  # where lengths begin: within these, a sixty-fourth of the whole
# What a figure can consist of, by name, as a function of clients n and values L.
TERMS: Mapping[str, Callable[[float, float], float]] = {
    "1": lambda _n, _l: 1.0,
    "n": lambda n, _l: n,
    "L": lambda _n, length: length,
    "nL": lambda n, length: n * length,
    "nn": lambda n, _l: n * n,
    "nnn": lambda n, _l: n**3,
}


@dataclass(frozen=True)
class Terms:
    """What a party's time grows with, most telling term first."""

    client: tuple[str, ...] = ("L", "1", "n")
    server: tuple[str, ...] = ("nL", "n", "1")
    holder: tuple[str, ...] = ("L", "1", "n", "nL")
    first: int = 3  # the smallest cohort to try
    power: int = 1  # of n, in the time of a whole session
    real: int = 1 << 62  # the most clients that a session runs; the server's time for them is scaled to all


def fit(points: Sequence[tuple[float, float]], values: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    """Return the coefficients, none negative, that miss the values least, relative to each.

    Parameters
    ----------
    points : sequence of (float, float)
        Clients and length of each measurement.
    values : sequence of float
    names : sequence of str
        Terms to use, most telling first. Of those that grow with clients alone, no more are used than the points tell apart.
    """
    y = np.array(values, dtype=float)
    if not y.any():
        return {}
    clients, lengths = (len({point[axis] for point in points}) for axis in (0, 1))
    cohorts = [point[0] for point in points]
    if max(cohorts) < WIDE * min(cohorts):  # noise of similar cohorts, taken for a square, would be magnified by it
        names = [name for name in names if name not in {"nn", "nnn"}]
    names = _told_apart(names, clients, lengths)
    scale = np.maximum(y, y.max() * 1e-6)
    columns = {name: np.array([TERMS[name](n, length) for n, length in points]) / scale for name in names}
    best: tuple[float, dict[str, float]] | None = None
    # Few terms: trying every subset is the exact solution of least squares without negative coefficients.
    for count in range(1, len(names) + 1):
        for subset in combinations(names, count):
            matrix = np.stack([columns[name] for name in subset], axis=1)
            units = np.linalg.norm(matrix, axis=0)
            found = np.linalg.lstsq(matrix / units, y / scale, rcond=None)[0] / units
            if (found < 0).any():
                continue
            miss = float(np.sum((matrix @ found - y / scale) ** 2))
            if best is None or miss < best[0] * (1 - 1e-9) - 1e-18:
                best = miss, dict(zip(subset, map(float, found), strict=True))
    if best is None:
        raise ParameterError("measurements that no sum of costs fits")
    return best[1]


def _told_apart(names: Sequence[str], clients: int, lengths: int) -> list[str]:
    kept: list[str] = []
    for name in names:
        alone = [each for each in kept if "L" not in each]
        long = [each for each in kept if "L" in each]
        if (len(long) if "L" in name else len(alone)) < clients and (lengths > 1 or "L" not in name or not kept):
            kept.append(name)
    return kept


def estimate(samples: Sequence[Sample], clients: int, length: int, terms: Terms) -> dict[str, Phase]:
    """Return what the phases would take at another size.

    Bytes are fitted like times; they are sums of the same terms exactly, up to a few bytes of lengths.
    """
    points = [(float(sample.clients), float(sample.length)) for sample in samples]
    found: dict[str, Phase] = {}
    for name in samples[-1].phases:
        phases = [sample.phases[name] for sample in samples]
        parts: dict[str, float] = {}
        for part in PARTS:
            names = getattr(terms, part) if part in SECONDS else ("L", "n", "1") if part in BYTES[:2] else terms.holder
            coefficients = fit(points, [getattr(phase, part) for phase in phases], names)
            parts[part] = sum(value * TERMS[term](clients, length) for term, value in coefficients.items())
        found[name] = Phase(**parts)
    return found


def measure(
    run: Callable[[int, int], Sample],
    size: Size,
    terms: Terms,
    seconds: float,
    fits: Callable[[int, int], bool],
    spare: float = 0.0,
) -> tuple[Mapping[str, Phase], Sample, str, int]:
    """Return the phases at a size, measured there if the seconds allow it, extended to it otherwise.

    Parameters
    ----------
    run : callable
        Runs a session of so many clients and values.
    size : Size
    terms : Terms
    seconds : float
        What all sessions together should take.
    fits : callable
        Whether a session of so many clients and values fits into memory.
    spare : float
        Seconds that one session of the size itself may take beyond that.

    Returns
    -------
    phases : mapping of str to Phase
    sample : Sample
        The largest session that ran.
    fitted : str
        From what the figures were extended; empty if they were measured.
    runs : int
        Sessions of the size itself.
    """
    begin = time.perf_counter()

    def left() -> float:
        return seconds - (time.perf_counter() - begin)

    n, length = size.clients, size.length
    first, short = min(terms.first, n), min(length, max(SHORT[0], min(length // STEP**2, SHORT[1])))
    samples = [_first(run, first, n, short)]
    first = samples[0].clients
    if samples[0].wall < left() / 4:  # what is imported, compiled or found for the first time is no protection's cost
        samples = [run(first, short)]

    def near() -> bool:
        """Whether the size itself is in reach, at the worst that its cost can be by what has run."""
        worst = (each.wall * (length / each.length) * (n / each.clients) ** terms.power for each in samples)
        return fits(n, length) and min(worst) < max(left(), spare)

    # Longer and longer at few clients, then more and more clients at few values.
    while not near() and (longer := _longer(samples, length, left() / 4)) and fits(first, longer):
        samples.append(run(first, longer))
    now = samples[0]
    while not near() and (more := _more(now, n, left() / 2, terms.power, only=now.clients == first)):
        now = run(more, short)
        samples.append(now)
    if near() or (fits(n, length) and _predicted(samples, n, length, terms) < max(left(), spare)):
        return _directly(run, samples, n, length, left)
    # A corner, without which what grows with clients and what grows with clients times values cannot be told apart.
    wide = sorted({each.clients for each in samples if each.clients > first})
    long = [each for each in samples if each.clients == first and each.length > short]
    corners = [
        (cohort * each.length, cohort, each.length)
        for cohort in wide
        for each in long
        if each.wall * (cohort / first) ** terms.power < left() or (cohort, each) == (wide[0], long[0])
    ]
    if corners and fits(*max(corners)[1:]):
        samples.append(run(*max(corners)[1:]))
    largest = max(samples, key=lambda each: (each.length, each.clients))
    count = "one session" if len(samples) == 1 else f"{len(samples)} sessions"
    words = f"fitted to {count} of {_range([s.clients for s in samples], 'clients')}, " + _range(
        [s.length for s in samples], "values"
    )
    return estimate(samples, n, length, terms), largest, words, 0


def _longer(samples: Sequence[Sample], length: int, seconds: float) -> int:
    """Return the next length to try, of which a session should take so many seconds; 0 if there is none worth it."""
    last = samples[-1]
    if last.length >= length:
        return 0
    if len(samples) == 1:
        return min(STEP * last.length, length)  # whatever it takes: one length tells nothing of another
    slope = max((last.wall - samples[-2].wall) / (last.length - samples[-2].length), 0.1 * last.wall / last.length)
    most = int(last.length + (seconds - last.wall) / slope)
    longer = min(most, length, STEP * STEP * last.length)
    return longer if longer >= min(2 * last.length, length) else 0


def _more(last: Sample, clients: int, seconds: float, power: int, *, only: bool) -> int:
    """Return the next cohort to try, of which a session should take so many seconds; 0 if there is none worth it."""
    if last.clients >= clients:
        return 0
    if only:
        return min(2 * last.clients, clients)  # whatever it takes: one cohort tells nothing of another
    if last.wall > seconds:
        return 0
    more = min(int(last.clients * (seconds / last.wall) ** (1 / power)), MOST_STEP * last.clients, clients)
    return more if more >= min(1.5 * last.clients, clients) else 0


def _first(run: Callable[[int, int], Sample], first: int, clients: int, length: int) -> Sample:
    """Run the smallest cohort that the Params allow."""
    while True:
        try:
            return run(first, length)
        except ParameterError:
            if first >= clients:
                raise
            first = min(2 * first, clients)


def _predicted(samples: Sequence[Sample], clients: int, length: int, terms: Terms) -> float:
    """Return the seconds of a whole session, with a fifth for what no party does."""
    phases, real = estimate(samples, clients, length, terms).values(), min(clients, terms.real)
    return 1.2 * sum(phase.client * real + phase.server * real / clients + phase.holder for phase in phases)


def _directly(
    run: Callable[[int, int], Sample], samples: Sequence[Sample], clients: int, length: int, left: Callable[[], float]
) -> tuple[Mapping[str, Phase], Sample, str, int]:
    """Measure the size itself, several times if that is quick."""
    here = [each for each in samples if (each.clients, each.length) == (clients, length)]
    while not here or (len(here) < REPEATS and here[-1].wall < left()):
        here.append(run(clients, length))
    middle = {
        name: Phase(**{part: float(np.median([getattr(each.phases[name], part) for each in here])) for part in PARTS})
        for name in here[0].phases
    }
    return middle, max(here, key=lambda each: each.error), "", len(here)


def _range(values: Sequence[int], unit: str) -> str:
    low, high = min(values), max(values)
    return f"{low:,} {unit}" if low == high else f"{low:,} to {high:,} {unit}"
