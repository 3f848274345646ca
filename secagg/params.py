"""Params: one frozen, validated, hashable description of a session; what could wrap, leak or fail later is refused here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from functools import cached_property
from typing import Literal

import msgspec

from secagg import bounds
from secagg.encoding import FixedPoint, Integer, Layout, SegmentPlan, encoding_from_canonical
from secagg.errors import ParameterError, SecAggError
from secagg.explain import Explanation, explain
from secagg.hazmat import transcript

__all__ = ["Params"]

MAX_CLIENTS = 1 << 20
MAX_ROUNDS_PER_SETUP = 1 << 12
MAX_DEALING_BYTES = 1 << 30
SECURITY_LOG2 = -40.0
CORRECTNESS_LOG2 = -20.0
FRAME_BYTES = 4 << 20
DEFAULT_ENCODING = FixedPoint(clip=1.0, bits=16)


def _count(name: str, value: float, of: int) -> int:
    """Return an int as it is and a float as that fraction of `of`, rounded up."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterError(f"{name} must be a count (int) or a fraction (float)")
    if isinstance(value, float):
        if not 0.0 <= value < 1.0:
            raise ParameterError(f"{name} as a fraction must lie in [0, 1)")
        # A fraction like 0.1 is a decimal to its author: 0.1 * 30 must not become 4.
        return math.ceil(round(value * of, 9))
    return value


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(f"{name} must be an integer from {low} to {high}")


@dataclass(frozen=True)
class Params:
    """What a session's parties agree on; two equal Params have equal hashes, and the hash is in every signature.

    Parameters
    ----------
    clients : int
        n, the most clients a cohort may have (2 to 2**20; 2 needs ``min_honest=1``).
    length : int, optional
        Length of a flat update. Give this or `layout`.
    layout : Layout, optional
        Structure of an update, ``Layout.of(example)``.
    encoding : FixedPoint or Integer
        Encoding of everything that `segments` does not name.
    segments : mapping, optional
        Encodings by part: ``"model"``, ``"metrics"`` or a top-level key of the layout.
    metrics : tuple of str
        Names of the scalars that travel beside an update; they need ``segments["metrics"]``.
    protocol : {"pairwise"}
    threat : {"malicious", "semi-honest"}
        What the server may do. ``"malicious"`` demands the full graph and ``g >= min_honest``.
    threshold : int, optional
        t, answers needed to open a round, an absolute count. Default n minus a tenth.
    min_clients : int, optional
        m, survivors needed in a round. Default p minus a tenth.
    min_honest : int
        Honest updates that any opened sum must contain.
    corrupt : int or float, optional
        c, clients that may collude with the server: a count, or a fraction of n rounded up. Default max(1, ceil(n / 10)).
    max_participants : int, optional
        p, the most participants in a round. Default n.
    min_cohort : int, optional
        Smallest cohort that a setup may end with. Default max(t, m).
    neighbours : int, optional
        k, degree of the graphs: n - 1 (default, full) or a smaller even number (semi-honest only).
    max_weight : int
        Largest weight of one update.
    rounds_per_setup : int
        R, rounds that one setup serves.
    frame_bytes : int
        Largest payload of one masked frame, in bytes.

    Raises
    ------
    ParameterError
        A value is out of range, or together they could wrap, leak or never finish; the message names the bound.

    Notes
    -----
    The bound on a lying server is in docs/spec/pairwise.md; `opened_honest` is its g.
    """

    clients: int
    _: KW_ONLY
    length: int | None = None
    layout: Layout | None = None
    encoding: FixedPoint | Integer = DEFAULT_ENCODING
    segments: Mapping[str, FixedPoint | Integer] | tuple[tuple[str, FixedPoint | Integer], ...] = ()
    metrics: tuple[str, ...] = ()
    protocol: Literal["pairwise"] = "pairwise"
    threat: Literal["malicious", "semi-honest"] = "malicious"
    threshold: int = None  # type: ignore[assignment]  # filled in __post_init__
    min_clients: int = None  # type: ignore[assignment]  # filled in __post_init__
    min_honest: int = 2
    corrupt: int | float = None  # type: ignore[assignment]  # filled in __post_init__
    max_participants: int = None  # type: ignore[assignment]  # filled in __post_init__
    min_cohort: int = None  # type: ignore[assignment]  # filled in __post_init__
    neighbours: int = None  # type: ignore[assignment]  # filled in __post_init__
    max_weight: int = 1
    rounds_per_setup: int = 1
    frame_bytes: int = FRAME_BYTES

    def __post_init__(self) -> None:
        """Fill the defaults that depend on n, then refuse what does not hold."""
        _whole("clients", self.clients, 1, MAX_CLIENTS)
        if self.clients == 1:
            raise ParameterError("clients=1: the sum of one update is that update; secure aggregation needs at least 2")
        _whole("max_weight", self.max_weight, 1, (1 << 62))
        self._settle_update()
        self._settle_counts()
        _whole("rounds_per_setup", self.rounds_per_setup, 1, MAX_ROUNDS_PER_SETUP)
        _whole("frame_bytes", self.frame_bytes, 64, 1 << 30)
        if self.clients * (16 + 64 * self.rounds_per_setup) > MAX_DEALING_BYTES:
            raise ParameterError(
                "clients * rounds_per_setup makes one client's shares exceed 1 GiB; lower rounds_per_setup"
            )
        self._check_counts()
        self._check_threat()
        _ = self.segment_plan  # refuses a width over 64 bits here, not in the first round

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _settle_update(self) -> None:
        if self.length is None and self.layout is None:
            raise ParameterError("give length= (a flat vector) or layout= (from an example update)")
        if self.layout is None:
            _whole("length", self.length, 1, 1 << 40)
            self._set(layout=Layout.flat(self.length or 0))
        elif not isinstance(self.layout, Layout):
            raise ParameterError("layout must be a Layout; build it with Layout.of(example)")
        if self.layout is not None and self.length not in (None, self.layout.size):
            raise ParameterError(
                f"length={self.length} differs from the layout's {self.layout.size} values; give only one"
            )
        self._set(length=None if self.layout is None else self.layout.size)
        pairs = tuple(sorted(dict(self.segments).items()))
        if not all(isinstance(name, str) and isinstance(e, FixedPoint | Integer) for name, e in pairs):
            raise ParameterError("segments maps names to FixedPoint or Integer encodings")
        if not isinstance(self.encoding, FixedPoint | Integer):
            raise ParameterError("encoding must be FixedPoint or Integer")
        if isinstance(self.metrics, str) or not all(isinstance(m, str) and m for m in self.metrics):
            raise ParameterError("metrics must be a tuple of names")
        if len(set(self.metrics)) != len(self.metrics):
            raise ParameterError("metrics must have distinct names")
        self._set(segments=pairs, metrics=tuple(self.metrics))

    def _settle_counts(self) -> None:
        n = self.clients
        for name in ("threshold", "min_clients", "max_participants", "min_cohort", "neighbours"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 0, MAX_CLIENTS)
        p = n if self.max_participants is None else self.max_participants
        spare = 0 if n <= 3 else math.ceil(n / 10)
        corrupt = max(1, math.ceil(n / 10)) if self.corrupt is None else _count("corrupt", self.corrupt, n)
        k = n - 1 if self.neighbours is None else self.neighbours
        full = k == n - 1
        t = (n - spare if full else k // 2 + 1) if self.threshold is None else self.threshold
        m = (p - (0 if p <= 3 else math.ceil(p / 10))) if self.min_clients is None else self.min_clients
        cohort = max(t, m) if self.min_cohort is None else self.min_cohort
        self._set(max_participants=p, corrupt=corrupt, neighbours=k, threshold=t, min_clients=m, min_cohort=cohort)

    def _check_counts(self) -> None:
        n = self.clients
        _whole("corrupt", self.corrupt, 0, n - 1)
        _whole("max_participants", self.max_participants, 2, n)
        _whole("neighbours", self.neighbours, 1, n - 1)
        holders = self.neighbours + 1
        _whole("threshold", self.threshold, 1, min(n, holders))
        _whole("min_clients", self.min_clients, 2, self.max_participants)
        _whole("min_honest", self.min_honest, 1, n)
        _whole("min_cohort", self.min_cohort, self.min_clients, n)
        if self.protocol != "pairwise":
            raise ParameterError(f"protocol {self.protocol!r} is unknown; known: 'pairwise'")
        if self.threat not in ("malicious", "semi-honest"):
            raise ParameterError("threat must be 'malicious' or 'semi-honest'")
        if not self.full and self.neighbours % 2:
            raise ParameterError("a sparse graph needs an even number of neighbours; round it up")
        if self.full and self.min_cohort < self.threshold:
            raise ParameterError("min_cohort below threshold: such a cohort could never open a round")

    def _check_threat(self) -> None:
        n, c, t, m = self.clients, int(self.corrupt), self.threshold, self.min_clients
        if self.full and t <= c:  # on a sparse graph it is a matter of chance how many of them are neighbours
            raise ParameterError(f"threshold={t} with corrupt={c}: the corrupt clients alone could rebuild every mask")
        if m - c < self.min_honest:
            raise ParameterError(
                f"min_clients={m} with corrupt={c} leaves {m - c} honest updates in a sum; min_honest={self.min_honest}"
            )
        if self.threat == "semi-honest":
            if not self.full:
                self._check_sparse()
            return
        if not self.full:
            raise ParameterError(
                "threat='malicious' needs the full graph (neighbours = clients - 1): on a sparse graph a lying server can "
                "isolate a few clients; use threat='semi-honest' only if the server is trusted to follow the protocol"
            )
        if not bounds.quorum_ok(n, c, t):
            raise ParameterError(
                f"threshold={t}: a lying server could have a client's masks opened both ways; "
                f"need threshold > (clients + corrupt) / 2 = {(n + c) / 2:g}"
            )
        if self.opened_honest < self.min_honest:
            raise ParameterError(
                f"a lying server could open the sum of {max(self.opened_honest, 0)} honest updates; "
                f"min_honest={self.min_honest}. "
                f"Raise threshold and min_clients (now {t} and {m}), which lowers the dropouts a round survives"
                + ("; with 2 clients ask for min_honest=1 in writing" if n == 2 else "")
            )

    def _check_sparse(self) -> None:
        k, t = self.neighbours, self.threshold
        risk, failure = self.sparse_risk
        if risk > SECURITY_LOG2:
            raise ParameterError(
                f"neighbours={k}, threshold={t}: less than the whole sum is exposed with probability 2^{risk:.1f}, over "
                f"2^{SECURITY_LOG2:.0f}; raise neighbours or min_clients, or use the full graph"
            )
        if failure > CORRECTNESS_LOG2:
            raise ParameterError(
                f"neighbours={k}, threshold={t}: a round that loses all it may fails with probability 2^{failure:.1f}, over "
                f"2^{CORRECTNESS_LOG2:.0f}; lower threshold or raise neighbours"
            )

    @cached_property
    def sparse_risk(self) -> tuple[float, float]:
        """Log2 of the chances that less than the whole sum is exposed, and that a round which loses all it may cannot be opened.

        For one setup and one round, at the worst cohort; meaningful on a sparse graph.
        """
        return bounds.sparse_risk(
            (self.min_cohort, self.clients), self.max_participants, self.min_clients, int(self.corrupt),
            self.neighbours, self.threshold,
        )  # fmt: skip

    def explain(self) -> Explanation:
        """Return what these Params mean: every bound, bytes, exchanges, and the error of the mean.

        Returns
        -------
        Explanation
            Print it, or take `to_dict` of it.

        Notes
        -----
        Bytes are those of a round of `max_participants` in a cohort of `clients`, in which everybody answers.
        """
        return explain(self)

    @property
    def full(self) -> bool:
        """Whether every pair of clients shares a mask."""
        return self.neighbours == self.clients - 1

    @cached_property
    def opened_honest(self) -> int:
        """The bound g: honest updates in the smallest sum that a lying server can open (full graph)."""
        return bounds.opened_honest(
            self.clients, self.max_participants, int(self.corrupt), self.threshold, self.min_clients
        )

    @cached_property
    def segment_plan(self) -> SegmentPlan:
        """How an update becomes masked segments, and sums become an update."""
        if self.layout is None:
            raise ParameterError("no layout")
        return SegmentPlan(
            layout=self.layout,
            encoding=self.encoding,
            segments=dict(self.segments),
            metrics=self.metrics,
            max_weight=self.max_weight,
            max_participants=self.max_participants,
        )

    @cached_property
    def hash(self) -> bytes:
        """32 bytes that stand for these Params in every signature (docs/spec/pairwise.md, Canonical Params)."""
        return transcript.digest("params", self.to_bytes())

    def canonical(self) -> tuple[object, ...]:
        """Return the nested tuple that `hash` covers: every field in order of declaration, encodings and layout likewise."""
        values: list[object] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "segments":
                value = tuple((name, encoding.canonical()) for name, encoding in value)
            elif isinstance(value, FixedPoint | Integer | Layout):
                value = value.canonical()
            values.append(value)
        return tuple(values)

    def to_bytes(self) -> bytes:
        """Return the canonical MessagePack bytes: what `hash` covers, and what `from_bytes` takes."""
        return msgspec.msgpack.encode(self.canonical())

    @classmethod
    def from_bytes(cls, data: bytes) -> Params:
        """Return the Params whose canonical bytes these are; every check is made again.

        Raises
        ------
        ParameterError
            Not the canonical bytes of valid Params of this version.
        """
        names = [field.name for field in fields(cls)]
        try:
            values = dict(zip(names, msgspec.msgpack.decode(data), strict=True))
            values["layout"] = Layout.from_canonical(values["layout"])
            values["encoding"] = encoding_from_canonical(values["encoding"])
            values["segments"] = {name: encoding_from_canonical(each) for name, each in values["segments"]}
            values["metrics"] = tuple(values["metrics"])
            made = cls(**values)
        except (msgspec.DecodeError, TypeError, ValueError, RecursionError) as error:
            reason = f": {error}" if isinstance(error, SecAggError) else ""
            raise ParameterError(f"not the canonical bytes of Params{reason}") from None
        if made.to_bytes() != data:
            raise ParameterError("not the canonical bytes of Params")
        return made

    @property
    def max_frame_bytes(self) -> int:
        """Longest frame that is looked at; longer ones are refused unread."""
        # An advertisement grows with the rounds, a header with the complaints it may carry.
        per_client = 1024 + 96 * self.rounds_per_setup + 5 * self.neighbours
        return max(self.frame_bytes, self.clients * per_client) + 4096
