"""What one measurement is: figures by phase and party, as they were measured or as a fit extends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BYTES", "PARTS", "SECONDS", "Phase", "Result", "Sample", "Size"]

SECONDS = ("client", "server", "holder")
BYTES = ("up", "down", "holder_up", "holder_down")
PARTS = SECONDS + BYTES
FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Size:
    """How much is summed: of how many clients, how many values each, of how many bits, and how many clients are lost."""

    clients: int
    length: int
    bits: int
    lost: int

    def lost_of(self, clients: int) -> int:
        """Return how many of a smaller cohort are lost, the share being no larger."""
        return self.lost * clients // self.clients


@dataclass(frozen=True)
class Phase:
    """One exchange, and what each party does for it.

    Attributes
    ----------
    client, server, holder : float
        Seconds: the median client's, and what the server and the key holder, or the median member of a committee, spend on all
        clients.
    up, down : float
        Bytes that the median client sends and receives.
    holder_up, holder_down : float
        The same of the key holder, or of the median member.
    """

    client: float = 0.0
    server: float = 0.0
    holder: float = 0.0
    up: float = 0.0
    down: float = 0.0
    holder_up: float = 0.0
    holder_down: float = 0.0


@dataclass(frozen=True)
class Sample:
    """One session that ran.

    Attributes
    ----------
    clients, length : int
    phases : mapping of str to Phase
        In order.
    wall : float
        Seconds it took in all.
    error : float
        Largest difference between its mean and the exact mean of its contributors.
    """

    clients: int
    length: int
    phases: Mapping[str, Phase]
    wall: float
    error: float


@dataclass
class Result:
    """What one protection costs at one size.

    Attributes
    ----------
    name, title : str
    size : Size
    phases : mapping of str to Phase
    setup : tuple of str
        Phases that one setup pays for many rounds.
    exchanges, holder_exchanges : int
        Of a first round with the clients, and with the key holder or the committee.
    error, error_bound : float
        Largest error of the mean that was seen, and what cannot be exceeded.
    security, learns : str
    client_peak, server_peak : int or None
        Bytes; None where they cannot be told.
    fitted : str
        How the figures were extended to this size; empty if this size ran.
    runs : int
        Sessions of this size whose median this is.
    facts : dict
        More, by name.
    """

    name: str
    title: str
    size: Size
    phases: Mapping[str, Phase]
    setup: tuple[str, ...]
    exchanges: int
    holder_exchanges: int
    error: float
    error_bound: float | None
    security: str
    learns: str
    client_peak: int | None = None
    server_peak: int | None = None
    fitted: str = ""
    runs: int = 1
    facts: dict[str, Any] = field(default_factory=dict)

    def total(self, part: str, *, setup: bool = True) -> float:
        """Return one part's figure over all phases, or over those of a steady round."""
        return float(
            sum(getattr(phase, part) for name, phase in self.phases.items() if setup or name not in self.setup)
        )

    @property
    def expansion(self) -> float:
        """Bytes that a client sends in a steady round for each byte of a float32 update."""
        return self.total("up", setup=False) / (FLOAT32_BYTES * self.size.length)

    def as_json(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "clients": self.size.clients,
            "length": self.size.length,
            "bits": self.size.bits,
            "dropouts": self.size.lost,
            **{f"{party}_ms": 1e3 * self.total(party) for party in SECONDS},
            **{f"{party}_ms_without_setup": 1e3 * self.total(party, setup=False) for party in SECONDS},
            **{f"bytes_{part}": round(self.total(part)) for part in BYTES},
            "bytes_up_without_setup": round(self.total("up", setup=False)),
            "expansion": self.expansion,
            "exchanges": self.exchanges,
            "holder_exchanges": self.holder_exchanges,
            "client_peak_bytes": self.client_peak,
            "server_peak_bytes": self.server_peak,
            "max_error": self.error,
            "error_bound": self.error_bound,
            "security": self.security,
            "learns": self.learns,
            "extrapolated": self.fitted or None,
            "runs": self.runs,
            "phases": {
                name: {
                    "setup": name in self.setup,
                    **{f"{party}_ms": 1e3 * getattr(phase, party) for party in SECONDS},
                    **{f"bytes_{part}": round(getattr(phase, part)) for part in BYTES},
                }
                for name, phase in self.phases.items()
            },
            **self.facts,
        }
