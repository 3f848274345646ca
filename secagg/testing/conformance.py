"""What every carrier of secagg's frames must do: a suite for the author of an integration.

    from secagg.testing import conformance

    print(conformance.check(make_my_carrier))

A *carrier* takes frames from a `Server` to its clients and back. It may lose a client, but what it delivers is what was sent, to
whom it was sent, in the round in which it was sent; frames that a party refuses do not stop it; and an `AbortError` reaches the
caller. The suite runs whole federations over the carrier under test, makes clients die, restart and talk rubbish, compares
what was handed over at each end with what arrived at the other, and the result with the sum in plain integers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from secagg.encoding import Integer
from secagg.errors import AbortError, InputError
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.server import Server
from secagg.testing import books
from secagg.testing.books import ConformanceError
from secagg.testing.site import LARGEST_WEIGHT, Lost, Orders, Site
from secagg.testing.watched import WatchedServer

__all__ = ["CASES", "Carrier", "CaseReport", "ConformanceError", "Factory", "Lost", "Report", "Site", "check"]

NAMES = ("h0", "h1", "h2", "h3", "h4")
LENGTH = 1000


class Carrier(Protocol):
    """What the suite asks of a carrier under test."""

    def run(self, server: Server) -> None:
        """Carry the round that is open until ``server.phase`` is ``"idle"``.

        Give each client its frames through `Site.answer`, wherever clients run; hand what comes back to ``server.receive``,
        naming the sender if the carrier knows it; call ``server.close_phase()`` when ``server.missing`` is empty, or when the
        carrier gives up waiting. `AbortError` comes out of here.
        """

    def close(self) -> None:
        """Let go of everything; the federation is over."""


Factory: TypeAlias = Callable[[Mapping[str, Site]], Carrier]


@dataclass(frozen=True)
class Round:
    """One round of a case: who is asked, what goes wrong, and whether it can end well."""

    orders: Mapping[str, Orders] | None = None  # by client; the others do as they should
    participants: tuple[str, ...] | None = None
    dropouts: frozenset[str] = frozenset()
    aborts: bool = False
    noise: bool = False


@dataclass(frozen=True)
class Case:
    """One federation: its rounds, and how large its frames are."""

    what: str
    rounds: tuple[Round, ...]
    length: int = LENGTH
    frame_bytes: int = 4 << 20


@dataclass(frozen=True)
class CaseReport:
    """What one case moved: rounds and exchanges, frames handed to the carrier either way, and the largest in bytes."""

    name: str
    rounds: int
    exchanges: int
    down: int
    up: int
    largest: int


@dataclass(frozen=True)
class Report:
    """The cases that held, in the order in which they ran."""

    cases: tuple[CaseReport, ...]

    def __str__(self) -> str:
        head = f"{'case':<12}{'rounds':>8}{'exchanges':>11}{'down':>7}{'up':>7}{'largest':>10}"
        lines = [
            f"{each.name:<12}{each.rounds:>8}{each.exchanges:>11}{each.down:>7}{each.up:>7}{each.largest:>10}"
            for each in self.cases
        ]
        return "\n".join([head, *lines])


def _all(orders: Orders) -> Round:
    return Round(orders=dict.fromkeys(NAMES, orders))


def _lost(where: str, *names: str, aborts: bool = False) -> Round:
    gone = frozenset(names) if where != "answer" else frozenset[str]()
    return Round(orders={name: Orders(0, lost=where) for name in names}, dropouts=gone, aborts=aborts)


_CASES: dict[str, Case] = {
    "plain": Case("nothing goes wrong; a setup, then two rounds without one", (Round(), Round(), Round())),
    "sample": Case(
        "some clients are asked for no update, and still answer the last request",
        (Round(participants=NAMES[:4]), Round(participants=NAMES[1:]), Round()),
    ),
    "lost": Case(
        "one client dies before its update, another one after it; both are back in the next round",
        (_lost("update", "h1"), Round(), _lost("answer", "h2"), Round()),
    ),
    "lost-early": Case("a client dies before the setup, and is out until the next", (_lost("setup", "h3"),)),
    "too-few": Case(
        "so many die that the round cannot be opened: it ends in an AbortError, and the next round goes well",
        (_lost("update", "h0", "h1", aborts=True), Round()),
    ),
    "twice": Case(
        "frames come twice and in reverse, both ways",
        (_all(Orders(0, duplicate=True, reorder=True)), Round(noise=True)),
    ),
    "noise": Case("altered copies of frames come first, both ways", (_all(Orders(0, garble=True)), Round(noise=True))),
    "late": Case(
        "an update comes when its phase is over: it does not count, and does no harm",
        (Round(orders={"h4": Orders(0, hold=True)}, dropouts=frozenset({"h4"})), Round()),
    ),
    "cut": Case(
        "the last frame of an update never comes: the client counts as a dropout",
        (Round(orders={"h0": Orders(0, cut=True)}, dropouts=frozenset({"h0"})), Round()),
    ),
    "restart": Case(
        "each client's process ends after each message; the next goes on from snapshot and ledger",
        (_all(Orders(0, restart=True)), _all(Orders(0, restart=True))),
    ),
    "many": Case("an update is hundreds of small frames", (Round(), Round()), length=20_000, frame_bytes=256),
    "large": Case("an update is a frame of four MiB and more", (Round(),), length=2_100_000),
}

# What Params of a protocol have of their own, and the smallest frames that it can do with: a polynomial is one at least.
_PROTOCOLS: Mapping[str, tuple[dict[str, Any], int]] = {
    "pairwise": ({}, 0),
    "oneshot": ({"protocol": "oneshot", "packing": 1}, 1 << 16),
}

CASES: Mapping[str, str] = {name: case.what for name, case in _CASES.items()}
"""The cases by name, and what each is about."""


def check(factory: Factory, *, cases: Collection[str] | None = None, protocol: str = "pairwise") -> Report:
    """Return a Report if the carrier passes; the first thing that it does wrong is raised.

    Parameters
    ----------
    factory : callable
        Given the sites by client id, returns a `Carrier` that serves them. Called once for each case. Let its deadline be
        short: it is waited for whenever a client dies.
    cases : collection of str, optional
        Names from `CASES`. Default: all of them.
    protocol : {"pairwise", "oneshot"}
        What is carried. With ``"oneshot"`` every client is in the committee too.

    Raises
    ------
    ConformanceError
        Which case and round, what was expected, and what happened.
    InputError
        An unknown case or protocol.

    Notes
    -----
    Five clients, keys from the operating system, files in a temporary directory. A carrier that waits for ever hangs the suite.
    """
    if protocol not in _PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}; the suite has {', '.join(_PROTOCOLS)}")
    wanted = list(_CASES) if cases is None else list(cases)
    for name in wanted:
        if name not in _CASES:
            raise InputError(f"unknown case {name!r}; the cases are {', '.join(_CASES)}")
    return Report(tuple(_run(name, _CASES[name], factory, protocol) for name in wanted))


def _run(name: str, case: Case, factory: Factory, protocol: str) -> CaseReport:
    own, least_frame = _PROTOCOLS[protocol]
    params = Params(
        clients=len(NAMES), length=case.length, corrupt=1, threshold=4, min_clients=4, max_weight=LARGEST_WEIGHT,
        encoding=Integer(-1000, 1000), rounds_per_setup=8,
        frame_bytes=max(case.frame_bytes, least_frame), **own,
    )  # fmt: skip
    keys = {client: Identity.generate() for client in NAMES}
    server_key = Identity.generate()
    roster = Roster({client: key.verify_key for client, key in keys.items()}, server_key.verify_key)
    with tempfile.TemporaryDirectory(prefix="secagg-conformance-") as home:
        sites = {client: Site.settle(Path(home) / client, client, key, roster, params) for client, key in keys.items()}
        server = WatchedServer(params, identity=server_key, roster=roster, threads=1)
        audit = books.Audit(name, server, sites)
        carrier = factory(sites)
        try:
            for round_id, each in enumerate(case.rounds, start=1):
                _round(round_id, each, server, sites, audit, carrier)
        finally:
            carrier.close()
            for site in sites.values():
                site.close()
    return CaseReport(name, len(case.rounds), audit.exchanges, audit.down, audit.up, server.largest)


def _round(
    round_id: int, each: Round, server: WatchedServer, sites: Mapping[str, Site], audit: books.Audit, carrier: Carrier
) -> None:
    orders = {name: replace((each.orders or {}).get(name, Orders(0)), round_id=round_id) for name in NAMES}
    for name, site in sites.items():
        site.order(orders[name])
    audit.begin(round_id, orders)
    server.noise = each.noise
    server.open_round(round_id, participants=each.participants)
    aborted: AbortError | None = None
    try:
        carrier.run(server)
    except AbortError as error:
        aborted = error
    except ConformanceError:
        raise
    except Exception as error:
        raise ConformanceError(
            audit.where
            + f"run() raised {type(error).__name__} ({error}); a frame that is refused, and a client that is lost, "
            "do not end a round"
        ) from error
    # What was carried wrongly explains whatever came of it, so that is looked at first.
    audit.frames()
    asked = set(NAMES if each.participants is None else each.participants)
    audit.outcome(aborted, asked - each.dropouts, aborts=each.aborts)
