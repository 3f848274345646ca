"""The audit of a carrier: what was handed over at one end against what arrived at the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from secagg.errors import AbortError
from secagg.testing.site import Orders, Site, update_of, weight_of
from secagg.testing.watched import WatchedServer

__all__ = ["Audit", "ConformanceError"]


class ConformanceError(AssertionError):
    """A carrier did what no carrier may; the text says in which case, what was expected and what happened."""


class Audit:
    """The books of one case.

    Attributes
    ----------
    exchanges, down, up : int
        Phases, frames to clients and frames to the server so far.
    """

    def __init__(self, case: str, server: WatchedServer, sites: Mapping[str, Site]) -> None:
        self._case = case
        self._server = server
        self._sites = sites
        self._round_id = 0
        self._orders: Mapping[str, Orders] = {}
        self._earlier_down: set[tuple[str, str]] = set()
        self._earlier_up: set[tuple[str, str]] = set()
        self.exchanges = self.down = self.up = 0

    @property
    def where(self) -> str:
        """The beginning of every message."""
        return f"case {self._case!r}, round {self._round_id}: "

    def begin(self, round_id: int, orders: Mapping[str, Orders]) -> None:
        """Begin a round."""
        self._round_id, self._orders = round_id, orders
        self._server.begin()

    def frames(self) -> None:
        """Compare the books of both ends.

        Raises
        ------
        ConformanceError
            A frame was lost, altered or misdirected.
        """
        handed = set(self._server.handed)
        audits = {name: site.audit() for name, site in self._sites.items()}
        for name, found in audits.items():
            self._check_down(name, handed, found["got"])
        sent = {(name, which) for name, found in audits.items() for which in found["sent"]}
        self._check_back(sent)
        for name, found in audits.items():
            self._check_up(name, found["made"])
        self._earlier_down |= handed
        self._earlier_up |= sent
        self.exchanges += len(self._server.closed)
        self.down += len(self._server.handed)
        self.up += len(self._server.back)

    def _check_down(self, name: str, handed: set[tuple[str, str]], got: list[str]) -> None:
        for which in got:
            # Repeats are refused by who gets them, and so are frames that come rounds too late: networks do both.
            if (name, which) in handed or (name, which) in self._earlier_down:
                continue
            if others := sorted(to for to, other in handed if other == which):
                what = f"a frame that was for {', '.join(others)}"
            else:
                what = "bytes that the server never sent"
            raise ConformanceError(self.where + f"{name} got {what}; expected the frames for it, byte for byte")
        due = {which for to, which in handed if to == name}
        lost = len(due - set(got))
        # A client that has died gets nothing, and whom the carrier missed in one phase is not spoken to in the next.
        if lost and not self._orders[name].lost:
            raise ConformanceError(
                self.where + f"{lost} of {len(due)} frames for {name} did not reach it in time; expected all"
            )

    def _check_back(self, sent: set[tuple[str, str]]) -> None:
        for sender, which in self._server.back:
            makers = sorted(name for name, other in sent | self._earlier_up if other == which)
            if sender in makers or (sender is None and makers):
                continue
            if makers:
                what = f"a frame of {makers[0]}'s as one of {sender}'s; expected the sender's own name, or none"
            else:
                what = f"bytes that no client sent, as a frame of {sender}'s"
            raise ConformanceError(self.where + f"the server was given {what}")

    def _check_up(self, name: str, made: list[str]) -> None:
        due = set(made)
        lost = len(due - {which for _, which in self._server.back})
        if lost:
            waited = any(name in missing for missing in self._server.closed)
            text = "a phase was closed without them" if waited else "no phase was waiting for them"
            raise ConformanceError(
                self.where
                + f"{lost} of {len(due)} frames that {name} handed over did not reach the server in time ({text}); "
                "expected all"
            )

    def outcome(self, aborted: AbortError | None, contributors: Collection[str], *, aborts: bool) -> None:
        """Compare what came of the round with the sum in plain integers.

        Raises
        ------
        ConformanceError
            Another result, another end than it had to have, or a round that is still open.
        """
        server = self._server
        if server.phase != "idle":
            ended = "returned" if aborted is None else "raised AbortError"
            raise ConformanceError(
                self.where + f'run() {ended} in phase {server.phase!r}; expected "idle": close_phase until then'
            )
        if aborts:
            if aborted is None:
                raise ConformanceError(
                    self.where + "run() returned although the round was aborted; expected the AbortError of close_phase"
                )
            return
        if aborted is not None:
            raise ConformanceError(
                self.where + f"expected a result, got {type(aborted).__name__}: {aborted}"
            ) from aborted
        try:
            result = server.result(self._round_id)
        except AbortError as error:
            raise ConformanceError(self.where + f"run() hid an AbortError ({error}); expected a result") from error
        if set(result.contributors) != set(contributors):
            raise ConformanceError(
                self.where + f"expected the updates of {', '.join(sorted(contributors))}, got those of "
                f"{', '.join(result.contributors)}"
            )
        weights = {name: weight_of(name, self._round_id) for name in contributors}
        total = np.zeros(len(result.integer_sum), dtype=np.int64)
        for name, weight in weights.items():
            total += weight * update_of(name, self._round_id, len(total))
        if result.weight != sum(weights.values()) or not np.array_equal(result.sum, total):
            raise ConformanceError(self.where + "the result is not the sum of the updates that were handed in")
