"""What a client accepts, in a file of its own: others propose Params, the client has the last word."""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from secagg.encoding import FixedPoint, Integer
from secagg.errors import InputError, ParameterError
from secagg.params import Params

__all__ = ["Policy"]

MAX_FILE_BYTES = 1 << 16
WIDE = (1 << 31) - 1  # no counter of a model changes by more in a round


@dataclass(frozen=True)
class Policy:
    """The least that a client insists on.

    Parameters
    ----------
    protocols : tuple of str
    threat : {"malicious", "semi-honest"}
        ``"malicious"`` refuses Params that trust the server to follow the protocol.
    min_honest : int
        Honest updates that any opened sum must contain.
    min_clients : int
        Fewest survivors of a round.
    corrupt : float
        Fraction of the clients, rounded up, that Params must allow to collude with the server; at least one is.
    max_rounds_per_setup : int
        Most rounds whose secrets may wait in this client at once.
    ledger : bool
        Refuse to take part without a ledger.
    least_max_weight : int
        The largest weight that this client's updates may ever have. Params with a smaller `max_weight` are refused whatever the
        weight is, so that no choice of them finds it out.
    refusing_encodings : bool
        Take encodings that refuse an update for its values: ``FixedPoint(overflow="refuse")``, and an ``Integer`` of narrower
        range than 32 bits. That an update stays out tells the server something of its values.
    replanning : bool
        Take other Params than the first of a kind of message within one run.

    Raises
    ------
    InputError
        A value of another type, or out of range.
    """

    protocols: tuple[str, ...] = ("pairwise",)
    threat: str = "malicious"
    min_honest: int = 2
    min_clients: int = 2
    corrupt: float = 0.1
    max_rounds_per_setup: int = 64
    ledger: bool = True
    least_max_weight: int = 1
    refusing_encodings: bool = False
    replanning: bool = False

    def __post_init__(self) -> None:
        """Refuse what would not mean what it says."""
        listed = isinstance(self.protocols, tuple | list)  # the letters of a text are names too, but not the ones meant
        if not listed or not self.protocols or not all(isinstance(name, str) for name in self.protocols):
            raise InputError("policy: protocols must be a list of names")
        if self.threat not in ("malicious", "semi-honest"):
            raise InputError("policy: threat must be 'malicious' or 'semi-honest'")
        for name in ("min_honest", "min_clients", "max_rounds_per_setup", "least_max_weight"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise InputError(f"policy: {name} must be a whole number from 1")
        if type(self.corrupt) not in (int, float) or not 0 <= self.corrupt < 1:
            raise InputError("policy: corrupt must be a fraction in [0, 1)")
        for name in ("ledger", "refusing_encodings", "replanning"):
            if type(getattr(self, name)) is not bool:
                raise InputError(f"policy: {name} must be true or false")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Return the policy in a TOML file whose keys are this class's; what it does not name keeps its default.

        Raises
        ------
        InputError
            The file cannot be read, is no TOML, or has a key or value that no policy has.
        """
        name = os.fspath(path)
        try:
            with Path(path).open("rb") as file:
                text = file.read(MAX_FILE_BYTES + 1)
            values: dict[str, Any] = tomllib.loads(text.decode())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"the policy {name} cannot be read: {error}") from None
        if len(text) > MAX_FILE_BYTES:
            raise InputError(f"the policy {name} is too long")
        if strangers := sorted(set(values) - {field.name for field in fields(cls)}):
            raise InputError(f"the policy {name} has a key that no policy has: {strangers[0]!r}")
        if isinstance(values.get("protocols"), list):
            values["protocols"] = tuple(values["protocols"])
        return cls(**values)

    def check(self, params: Params) -> None:
        """Return if `params` are acceptable.

        Raises
        ------
        ParameterError
            They are not; the text says what this client insists on.
        """
        needed = max(1, math.ceil(round(self.corrupt * params.clients, 9)))
        wrong = {
            f"protocol {params.protocol!r}": params.protocol not in self.protocols,
            f"threat={params.threat!r}": self.threat == "malicious" and params.threat != "malicious",
            f"min_honest={params.min_honest}, below {self.min_honest}": params.min_honest < self.min_honest,
            f"min_clients={params.min_clients}, below {self.min_clients}": params.min_clients < self.min_clients,
            f"corrupt={params.corrupt} of {params.clients}, below {needed}": params.corrupt < needed,
            f"rounds_per_setup={params.rounds_per_setup}, over {self.max_rounds_per_setup}": (
                params.rounds_per_setup > self.max_rounds_per_setup
            ),
            f"max_weight={params.max_weight}, below {self.least_max_weight}": params.max_weight < self.least_max_weight,
            "an encoding that refuses values out of its range": not self.refusing_encodings and _refuses(params),
        }
        for what, refused in wrong.items():
            if refused:
                raise ParameterError(f"this client's policy refuses {what}")


def _refuses(params: Params) -> bool:
    """Whether an update can stay out because of its values."""
    encodings: list[FixedPoint | Integer] = [params.encoding, *dict(params.segments).values()]
    return any(
        each.low > -WIDE or each.high < WIDE if isinstance(each, Integer) else each.overflow == "refuse"
        for each in encodings
    )
