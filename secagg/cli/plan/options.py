"""What could serve a federation: each protocol and graph put to `secagg.plan`, refusals with their reason, the rest ranked."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from secagg.cli.plan.bulk import measure_ciphers, measure_masks
from secagg.cli.plan.committee import Oneshot
from secagg.cli.plan.hintbulk import measure_hints
from secagg.cli.plan.units import Units
from secagg.cli.plan.work import Ckks, Pairwise, Prediction
from secagg.errors import InputError, ParameterError
from secagg.explain import Explanation
from secagg.params import Params
from secagg.planner import plan

__all__ = ["Link", "Option", "Question", "Refusal", "as_python", "consider", "share"]

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}
NAMES = (
    "pairwise, full graph",
    "pairwise, sparse graph",
    "ckks, server sees the sum",
    "ckks, only the holder does",
    "oneshot",
)
UNUSED = {"ckks": ("threshold", "min_cohort", "neighbours"), "oneshot": ("min_cohort", "neighbours")}
MEASURES = {"pairwise": measure_masks, "ckks": measure_ciphers, "oneshot": measure_hints}


@dataclass(frozen=True)
class Link:
    """How one client, or the key holder, is connected.

    Attributes
    ----------
    bits : float
        A second, in either direction.
    delay : float
        Seconds from a request to the first bit of its answer.
    """

    bits: float
    delay: float

    @classmethod
    def parse(cls, text: str) -> Link:
        """Return the link that ``20Mbit/40ms`` describes; InputError for any other form."""
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kMG])bit/([0-9]+(?:\.[0-9]+)?)ms", text)
        if found is None or not float(found[1]):
            raise InputError(f"--link {text!r}: write a rate and a delay, such as 20Mbit/40ms or 1Gbit/2ms")
        return cls(float(found[1]) * UNITS[found[2]], float(found[3]) / 1000)

    def seconds(self, size: float) -> float:
        """Return how long so many bytes take, the delay not counted."""
        return 8 * size / self.bits


@dataclass(frozen=True)
class Question:
    """What the user said of the federation."""

    clients: int
    length: int
    dropout: float | None
    corrupt: float | None
    sample: float | None
    threat: str
    server_sees_sum: bool
    max_weight: int
    error: float | None
    clip: float
    link: Link


@dataclass(frozen=True)
class Refusal:
    """What does not serve, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Option:
    """What serves, and what a round of it costs.

    Attributes
    ----------
    exchanges : float
        A round, with clients and holder or committee, the setup's share included.
    transfer : float
        Seconds that a round's bytes, and its exchanges' delays, take over the link.
    """

    name: str
    params: Params
    told: Explanation
    cost: Prediction
    exchanges: float
    transfer: float

    @property
    def compute(self) -> float:
        """Seconds of all that is done one after the other: a client's part, the server's, and the holder's or a member's."""
        parties = (self.cost.client, self.cost.server, self.cost.opener)
        return sum(party.average for party in parties if party is not None)

    @property
    def total(self) -> float:
        """Seconds of a round from request to result."""
        return self.compute + self.transfer


def share(name: str, text: str | None) -> float | None:
    """Return a count (``2``) or a fraction (``0.1``, ``10%``), as `secagg.plan` tells them apart.

    Raises
    ------
    InputError
        Neither.
    """
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,9}", text):
        return int(text)
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?%", text):
        return float(text[:-1]) / 100
    if re.fullmatch(r"0?\.[0-9]{1,12}", text):
        return float(text)
    raise InputError(f"--{name} {text!r}: write a count such as 2, or a fraction such as 0.1 or 10%")


def consider(question: Question, units: Units) -> tuple[list[Option], list[Refusal]]:
    """Return what serves, the round that is over first in front, and what does not.

    Raises
    ------
    ParameterError
        What was asked makes no sense for any protocol, say more corrupt clients than there are.
    """
    options: list[Option] = []
    bulk: dict[tuple[str, object], Any] = {}  # both who may see an encrypted sum work on the same ciphertexts
    refusals: list[Refusal] = []
    fixed: list[dict[str, Any]] = [
        {"neighbours": question.clients - 1},
        {},
        {"protocol": "ckks", "reveal": "server"},
        {"protocol": "ckks", "reveal": "holder"},
        {"protocol": "oneshot"},
    ]
    for name, own in zip(NAMES, fixed, strict=True):
        try:
            params = _plan(question, name, own)
        except ParameterError as refused:
            refusals.append(Refusal(name, str(refused)))
        else:
            options.append(_option(question, name, params, units, bulk))
    return sorted(options, key=lambda option: option.total), refusals


def _plan(question: Question, name: str, own: dict[str, Any]) -> Params:
    if not question.server_sees_sum and own.get("reveal") != "holder":
        raise ParameterError("the server would see the sum")
    sparse = name == NAMES[1]
    if sparse and question.threat == "malicious":
        own = {"neighbours": 2}  # any: it is refused with the reason
    params = plan(
        question.clients, question.length, dropout=question.dropout, corrupt=question.corrupt, sample=question.sample,
        threat=cast("Literal['malicious', 'semi-honest']", question.threat), max_weight=question.max_weight, error=question.error,
        clip=question.clip, **own,
    )  # fmt: skip
    if sparse and params.full:
        raise ParameterError("no sparser graph is safe for so few clients, so many corrupt or so many dropouts")
    return params


def _option(question: Question, name: str, params: Params, units: Units, bulk: dict[tuple[str, object], Any]) -> Option:
    told = params.explain()
    data, link = told.data, question.link
    key = (params.protocol, params.ring)
    carried = link.seconds(data["bytes_up_round"] + data["bytes_down_average"])
    if key not in bulk:
        bulk[key] = MEASURES[params.protocol](params)
    if params.protocol == "pairwise":
        cost = Pairwise(params, units, bulk[key]).predict()
        carried += link.seconds(data["bytes_up_average"] - data["bytes_up_round"])
        exchanges = data["exchanges_per_round"]
    elif params.protocol == "oneshot":
        cost = Oneshot(params, units, bulk[key]).predict()
        carried += link.seconds(data["bytes_to_member"] + data["bytes_from_member"])
        exchanges = data["exchanges_steady_round"] + data["exchanges_with_committee"]
    else:
        cost = Ckks(params, units, bulk[key]).predict()
        carried += link.seconds(data["bytes_to_holder"] + data["bytes_from_holder"])
        exchanges = data["exchanges_steady_round"] + data["exchanges_with_holder"]
    return Option(name, params, told, cost, exchanges, carried + exchanges * link.delay)


def as_python(params: Params) -> str:
    """Return a Python expression that makes these Params; `secagg` must be imported."""
    lines = []
    for field in fields(Params):
        value = getattr(params, field.name)
        unused = field.name in ("layout", *UNUSED.get(params.protocol, ()))
        if unused or value is None or value == ():
            continue
        lines.append(f"    {field.name}={'secagg.' if field.name == 'encoding' else ''}{value!r},\n")
    return f"secagg.Params(\n{''.join(lines)})"
