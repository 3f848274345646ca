"""What the command line says, as values; mistakes are named by their option."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from secagg.cli.bench.figures import Size
from secagg.errors import InputError
from secagg.params import MAX_CLIENTS

__all__ = ["Network", "Options", "Sweep", "parse_network", "parse_peers", "parse_size", "parse_sweep"]

PEERS = ("flower", "tenseal")
AXES = ("clients", "length")
MOST_LENGTH = 10**9
RATES = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
LINK = re.compile(r"(?P<rate>[0-9.]+)(?P<rates>[kmg]bit)(?:/(?P<time>[0-9.]+)(?P<times>us|ms|s))?", re.IGNORECASE)


@dataclass(frozen=True)
class Network:
    """Every client's own link, and the key holder's; the server's is not the bottleneck.

    Attributes
    ----------
    text : str
        As it was given.
    bits_a_second : float
        Each way.
    round_trip : float
        Seconds from a question to the first bit of its answer.
    """

    text: str
    bits_a_second: float
    round_trip: float

    def seconds(self, up: float, down: float) -> float:
        """Return what one exchange of so many bytes takes on the way."""
        return self.round_trip + 8 * (up + down) / self.bits_a_second


@dataclass(frozen=True)
class Sweep:
    """One axis, and the sizes on it."""

    axis: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Options:
    """Everything that was asked for."""

    size: Size
    peers: tuple[str, ...]
    only: tuple[str, ...]
    sweeps: tuple[Sweep, ...]
    network: Network | None
    budget: float
    threads: int


def _whole(name: str, text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{name} must be a number such as 1000 or 1e6, not {text!r}") from None
    if not math.isfinite(value) or value != int(value):
        raise InputError(f"{name} must be a whole number, not {text!r}")
    return int(value)


def parse_size(clients: int, length: str, bits: int, dropout: float) -> Size:
    """Return the size that four options say.

    Raises
    ------
    InputError
        One is out of range.
    """
    if not 3 <= clients <= MAX_CLIENTS:
        raise InputError(f"--clients must be from 3 to {MAX_CLIENTS}, not {clients}")
    values = _whole("--length", length)
    if not 1 <= values <= MOST_LENGTH:
        raise InputError(f"--length must be from 1 to {MOST_LENGTH:.0e}, not {length}")
    if not 1 <= bits <= 32:
        raise InputError(f"--bits must be from 1 to 32, not {bits}")
    if not 0 <= dropout < clients - 1 or (dropout >= 1 and dropout != int(dropout)):
        raise InputError(
            f"--dropout must be a fraction below 1 or a number of clients that leaves two, not {dropout:g}"
        )
    lost = math.ceil(round(dropout * clients, 9)) if dropout < 1 else int(dropout)
    if clients - lost < 2:
        raise InputError(f"--dropout {dropout:g} of {clients} clients leaves fewer than two")
    return Size(clients, values, bits, lost)


def parse_sweep(text: str) -> Sweep:
    """Return the sizes of ``axis=from:to``, three in a decade and both ends.

    Raises
    ------
    InputError
        Not of that form, or out of range.
    """
    axis, equals, span = text.partition("=")
    low, colon, high = span.partition(":")
    if axis not in AXES or not equals or not colon:
        raise InputError(f"--sweep must be length=FROM:TO or clients=FROM:TO, such as length=1e4:1e7, not {text!r}")
    first, last = _whole(f"--sweep {axis}", low), _whole(f"--sweep {axis}", high)
    least, most = (3, MAX_CLIENTS) if axis == "clients" else (1, MOST_LENGTH)
    if not least <= first < last <= most:
        raise InputError(f"--sweep {axis} must go up, within {least} to {most}, not {span!r}")
    steps = max(2, math.ceil(3 * math.log10(last / first)))
    values = {round(first * (last / first) ** (i / steps)) for i in range(steps + 1)}
    return Sweep(axis, tuple(sorted(values)))


def parse_network(text: str) -> Network:
    """Return the link that ``20Mbit/40ms`` means: so many bits a second each way, and so long a round trip.

    Raises
    ------
    InputError
        Not of that form.
    """
    found = LINK.fullmatch(text)
    refused = InputError(f"--network must be RATE/ROUND-TRIP such as 20Mbit/40ms, with a rate above 0, not {text!r}")
    if found is None:
        raise refused
    try:
        rate = float(found["rate"]) * RATES[found["rates"].lower()]
        time = float(found["time"]) * TIMES[found["times"].lower()] if found["time"] else 0.0
    except ValueError:
        raise refused from None
    if rate <= 0:
        raise refused
    return Network(text, rate, time)


def parse_names(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return a comma-separated list of known names.

    Raises
    ------
    InputError
        A name is not known.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if name not in known:
            raise InputError(f"{option}: {name!r} is unknown; known are {', '.join(known)}")
    return names


def parse_peers(text: str) -> tuple[str, ...]:
    """Return the peers that are named."""
    return parse_names("--peers", text, PEERS)
