"""Params: one frozen, validated, hashable description of a session; what could wrap, leak or fail later is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from functools import cached_property
from typing import Any, Literal

import msgspec

from secagg import bounds, ckks_rules, hints, lattice, oneshot_rules, pairwise_rules, rules
from secagg.encoding import FixedPoint, Integer, Layout, SegmentPlan, encoding_from_canonical
from secagg.errors import ParameterError, SecAggError
from secagg.explain import Explanation, explain
from secagg.hazmat import transcript
from secagg.rules import CORRECTNESS_LOG2, MAX_CLIENTS, SECURITY_LOG2

__all__ = ["CORRECTNESS_LOG2", "MAX_CLIENTS", "SECURITY_LOG2", "Params"]

RULES: dict[str, Any] = {"pairwise": pairwise_rules, "ckks": ckks_rules, "oneshot": oneshot_rules}
PROTOCOLS = tuple(RULES)
# Fields that are part of the canonical form of some protocols alone.
OWN_FIELDS = {"reveal": ("ckks",), "ring": ("ckks", "oneshot"), "committee": ("oneshot",), "packing": ("oneshot",)}
MAX_ROUNDS_PER_SETUP = 1 << 12
FRAME_BYTES = 4 << 20
MAX_FRAME_BYTES = 1 << 30
DEFAULT_ENCODING = FixedPoint(clip=1.0, bits=16)


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
    protocol : {"pairwise", "ckks", "oneshot"}
        ``"pairwise"`` masks in pairs; ``"ckks"`` encrypts to a key holder; ``"oneshot"`` masks with secrets that a committee
        opens the sum of. What is said of one protocol below has no place in another.
    threat : {"malicious", "semi-honest"}
        What the server may do. ``"malicious"`` demands the full graph and ``g >= min_honest`` (pairwise), pads what is
        encrypted (ckks), or lets a committee open one set a round (oneshot).
    threshold : int, optional
        Answers needed to open a round, an absolute count: t of the cohort (pairwise), T of the committee (oneshot). Default: all
        minus a tenth.
    min_clients : int, optional
        m, survivors needed in a round. Default p minus a tenth.
    min_honest : int
        Honest updates that any opened sum must contain.
    corrupt : int or float, optional
        c, clients that may collude with the server: a count, or a fraction of n rounded up. Default max(1, ceil(n / 10)).
    max_participants : int, optional
        p, the most participants in a round. Default n.
    min_cohort : int, optional
        Pairwise: smallest cohort that a setup may end with. Default max(t, m).
    neighbours : int, optional
        Pairwise: k, degree of the graphs: n - 1 (default, full) or a smaller even number (semi-honest only).
    max_weight : int
        Largest weight of one update.
    rounds_per_setup : int
        R, rounds that one setup, or one key of the holder's, serves.
    frame_bytes : int
        Largest payload of one bulk frame, in bytes.
    reveal : {"holder", "server"}
        Ckks: who learns the sum: the key holder alone, or the server too. It has no default.
    ring : tuple of int, optional
        Ckks: degree and bits of the modulus. Oneshot: degree, bits of a prime, and number of primes. Default: the ring of the
        smallest uploads that holds every sum and its noise.
    committee : int, optional
        Oneshot: M, who opens the sums of secrets, 2 to 1024. Default: everybody of up to 100 clients, or 100. A committee smaller
        than the roster is drawn from a roster of exactly `clients`, and every party must have the session id from elsewhere than
        the server.
    packing : int, optional
        Oneshot: rho, secrets that one polynomial shares. Default: as many as the bounds allow, at most 16.

    Raises
    ------
    ParameterError
        A value is out of range, or together they could wrap, leak or never finish; the message names the bound.

    Notes
    -----
    The bound on a lying server is in docs/spec/pairwise.md; `opened_honest` is its g. Rings, their noise and their security
    are in docs/spec/ckks.md and docs/spec/oneshot.md.
    """

    clients: int
    _: KW_ONLY
    length: int | None = None
    layout: Layout | None = None
    encoding: FixedPoint | Integer = DEFAULT_ENCODING
    segments: Mapping[str, FixedPoint | Integer] | tuple[tuple[str, FixedPoint | Integer], ...] = ()
    metrics: tuple[str, ...] = ()
    protocol: Literal["pairwise", "ckks", "oneshot"] = "pairwise"
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
    reveal: Literal["holder", "server"] | None = None
    ring: tuple[int, ...] | None = None
    committee: int = None  # type: ignore[assignment]  # filled in __post_init__
    packing: int = None  # type: ignore[assignment]  # filled in __post_init__

    def __post_init__(self) -> None:
        """Fill the defaults that depend on n, then refuse what does not hold."""
        rules.whole("clients", self.clients, 1, MAX_CLIENTS)
        if self.clients == 1:
            raise ParameterError("clients=1: the sum of one update is that update; secure aggregation needs at least 2")
        rules.whole("max_weight", self.max_weight, 1, (1 << 62))
        self._settle_update()
        rules.whole("rounds_per_setup", self.rounds_per_setup, 1, MAX_ROUNDS_PER_SETUP)
        rules.whole("frame_bytes", self.frame_bytes, 64, 1 << 30)
        if self.protocol not in PROTOCOLS:
            raise ParameterError(f"protocol {self.protocol!r} is unknown; known: {', '.join(map(repr, PROTOCOLS))}")
        if self.threat not in ("malicious", "semi-honest"):
            raise ParameterError("threat must be 'malicious' or 'semi-honest'")
        protocol = RULES[self.protocol]
        for name, owners in OWN_FIELDS.items():
            if getattr(self, name) is not None and self.protocol not in owners:
                raise ParameterError(f"{name} belongs to protocol={' or '.join(map(repr, owners))}")
        self._set(**protocol.settle(self))
        protocol.check(self)
        _ = self.segment_plan  # refuses a width over 64 bits here, not in the first round
        if self.protocol == "ckks":
            self._set(ring=(self.cipher_plan.ring.degree, self.cipher_plan.ring.bits))
        if self.protocol == "oneshot":
            ring = self.mask_plan.segments[0].ring
            self._set(ring=(ring.degree, ring.bits, ring.primes))
            self._check_frames()

    def _check_frames(self) -> None:
        if self.max_frame_bytes > MAX_FRAME_BYTES:
            raise ParameterError(
                f"a committee member's request would have {self.max_frame_bytes} bytes; lower max_participants, or raise packing"
            )

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _settle_update(self) -> None:
        if self.length is None and self.layout is None:
            raise ParameterError("give length= (a flat vector) or layout= (from an example update)")
        if self.layout is None:
            rules.whole("length", self.length, 1, 1 << 40)
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

    @property
    def padded(self) -> bool:
        """Whether clients lay a pad, agreed with the key holder, over their ciphertexts (ckks)."""
        return self.protocol == "ckks" and self.threat == "malicious"

    @property
    def recompute(self) -> bool:
        """Whether the key holder adds the uploads itself: it has no other reason to trust a sum that it alone will see (ckks)."""
        return self.padded and self.reveal == "holder"

    @cached_property
    def opened_honest(self) -> int:
        """The bound g: honest updates in the smallest sum that a lying server can open (full graph; ckks; oneshot)."""
        if self.protocol != "pairwise":
            return self.min_clients - int(self.corrupt)
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
    def cipher_plan(self) -> lattice.CipherPlan:
        """Ring, scale and the place of every value in the ciphertexts of a ckks session."""
        ring: Any = self.ring
        return lattice.choose(
            self.segment_plan.segments, max_weight=self.max_weight, clients=self.max_participants,
            frame_bytes=self.frame_bytes, ring=ring,
        )  # fmt: skip

    @cached_property
    def mask_plan(self) -> hints.MaskPlan:
        """Ring and the place of every value in the masked vectors of a oneshot session."""
        ring: Any = self.ring
        return hints.choose(
            self.segment_plan.segments, max_weight=self.max_weight, clients=self.max_participants,
            frame_bytes=self.frame_bytes, committee=self.committee, packing=self.packing, ring=ring,
        )  # fmt: skip

    @cached_property
    def hash(self) -> bytes:
        """32 bytes that stand for these Params in every signature (docs/spec/pairwise.md, Canonical Params)."""
        return transcript.digest("params", self.to_bytes())

    def canonical(self) -> tuple[object, ...]:
        """Return the nested tuple that `hash` covers: every field in order of declaration, encodings and layout likewise."""
        values: list[object] = []
        for field in fields(self):
            if self.protocol not in OWN_FIELDS.get(field.name, PROTOCOLS):
                continue
            value = getattr(self, field.name)
            if field.name == "ring":
                value = (self.cipher_plan if self.protocol == "ckks" else self.mask_plan).canonical()
            elif field.name == "segments":
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
            given = msgspec.msgpack.decode(data)
            protocol = given[names.index("protocol")]
            own = [name for name in names if protocol in OWN_FIELDS.get(name, PROTOCOLS)]
            values = dict(zip(own, given, strict=True))
            if "ring" in values:
                values["ring"] = tuple(values["ring"][: 2 if protocol == "ckks" else 3])
            values["layout"] = Layout.from_canonical(values["layout"])
            values["encoding"] = encoding_from_canonical(values["encoding"])
            values["segments"] = {name: encoding_from_canonical(each) for name, each in values["segments"]}
            values["metrics"] = tuple(values["metrics"])
            made = cls(**values)
        except (msgspec.DecodeError, TypeError, ValueError, LookupError, RecursionError) as error:
            reason = f": {error}" if isinstance(error, SecAggError) else ""
            raise ParameterError(f"not the canonical bytes of Params{reason}") from None
        if made.to_bytes() != data:
            raise ParameterError("not the canonical bytes of Params")
        return made

    @cached_property
    def max_frame_bytes(self) -> int:
        """Longest frame that is looked at; longer ones are refused unread."""
        if self.protocol == "ckks":
            poly = 2 * self.cipher_plan.ring.degree * self.cipher_plan.ring.bits // 8
            return max(self.frame_bytes, self.clients * 1024 + poly) + 4096
        if self.protocol == "oneshot":
            # A member's request: of each participant a header, a sealed share and its path; and everybody's keys.
            share = 8 * self.mask_plan.share_rows(self.packing) + 28
            each = share + 32 * self.committee.bit_length() + 640
            return max(self.frame_bytes, self.max_participants * each) + 512 * self.committee + 5 * self.clients + 4096
        # An advertisement grows with the rounds, a header with the complaints it may carry.
        per_client = 1024 + 96 * self.rounds_per_setup + 5 * self.neighbours
        return max(self.frame_bytes, self.clients * per_client) + 4096
