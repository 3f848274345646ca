"""The conformance suite passes good carriers, and says of each broken one what is wrong with it."""

from __future__ import annotations

import contextlib
import pickle
import re
import runpy
import sys
from pathlib import Path

import pytest

from secagg.errors import AbortError, InputError, PeerError
from secagg.testing import books
from secagg.testing.conformance import CASES, ConformanceError, Lost, check

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "tcp"


class Direct:
    """A carrier by function call, with places where a broken one can go wrong."""

    def __init__(self, sites):
        self.sites = sites
        self.rounds = 0

    def run(self, server):
        self.rounds += 1
        while server.phase != "idle":
            self.exchange(server)
            server.close_phase()

    def exchange(self, server):
        for name, frames in self.boxes(server.outbox()).items():
            try:
                replies = self.back(name, self.sites[name].answer(frames))
            except Lost:
                continue
            for sender, frame in replies:
                self.receive(server, frame, sender)

    def boxes(self, out):
        boxes = {}
        for to, frame in out:
            for name in self.sites if to is None else [to]:
                boxes.setdefault(name, []).append(frame)
        return boxes

    def back(self, name, frames):
        return [(name, frame) for frame in frames]

    def receive(self, server, frame, sender):
        with contextlib.suppress(PeerError):
            server.receive(frame, sender=sender)

    def close(self):
        pass


def test_a_good_carrier_passes_every_case():
    report = check(Direct)
    assert [each.name for each in report.cases] == list(CASES)
    by_name = {each.name: each for each in report.cases}
    assert by_name["plain"].exchanges == 4 + 2 + 2
    assert by_name["large"].largest > 4 << 20
    assert by_name["many"].up > 1000
    assert len(str(report).splitlines()) == 1 + len(CASES)


def test_a_good_carrier_passes_every_case_of_oneshot():
    report = check(Direct, protocol="oneshot")
    by_name = {each.name: each for each in report.cases}
    assert list(by_name) == list(CASES)
    assert by_name["plain"].exchanges == 3 + 2 + 2  # keys once, then one exchange with all and one with the committee
    assert by_name["large"].largest > 3 << 20
    with pytest.raises(InputError, match="unknown protocol 'ckks'"):
        check(Direct, protocol="ckks")


def test_a_carrier_that_names_no_sender_passes():
    class Anonymous(Direct):
        def back(self, name, frames):
            return [(None, frame) for frame in frames]

    assert check(Anonymous, cases=["plain", "noise"]).cases


def test_a_carrier_that_starts_a_process_for_each_message_passes():
    class Forgetful(Direct):
        def exchange(self, server):
            # What a process that is handed the site anew would see of it.
            self.sites = {name: pickle.loads(pickle.dumps(site)) for name, site in self.sites.items()}
            super().exchange(server)

    assert check(Forgetful, cases=["plain", "lost", "restart"]).cases


def test_the_tcp_example_passes(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    carrier = runpy.run_path(str(EXAMPLE / "conforms.py"))["Tcp"]
    try:
        report = check(carrier)
    finally:
        sys.modules.pop("carrier", None)
    assert [each.name for each in report.cases] == list(CASES)


# -- broken carriers ---------------------------------------------------------------------------------------------------


class LosesTheLastFrame(Direct):
    def back(self, name, frames):
        return super().back(name, frames[:-1] if len(frames) > 1 and name == "h2" else frames)


class LosesAnAnswer(Direct):
    def exchange(self, server):
        lose = server.phase == "unmask"
        self.lost = "h3" if lose else None
        super().exchange(server)

    def back(self, name, frames):
        return super().back(name, [] if name == self.lost else frames)


class LosesARequest(Direct):
    def boxes(self, out):
        boxes = super().boxes(out)
        boxes.pop("h4", None)
        return boxes


class AltersReplies(Direct):
    def back(self, name, frames):
        return super().back(name, [frame[:-1] + bytes([frame[-1] ^ 1]) for frame in frames])


class AltersRequests(Direct):
    def boxes(self, out):
        return {name: [frame + b"\n" for frame in frames] for name, frames in super().boxes(out).items()}


class MixesUpRecipients(Direct):
    def boxes(self, out):
        boxes = super().boxes(out)
        if {"h0", "h1"} <= boxes.keys():
            boxes["h0"], boxes["h1"] = boxes["h1"], boxes["h0"]
        return boxes


class MixesUpSenders(Direct):
    def back(self, name, frames):
        return super().back({"h0": "h1", "h1": "h0"}.get(name, name), frames)


class DeliversInTheNextRound(Direct):
    def __init__(self, sites):
        super().__init__(sites)
        self.kept = []

    def back(self, name, frames):
        if self.rounds == 2:
            if name != "h1":
                return super().back(name, frames)
            self.kept += super().back(name, frames)
            return []
        due, self.kept = self.kept, []
        return due + super().back(name, frames)


class DeliversAfterTheDeadline(Direct):
    def run(self, server):
        late = []
        while server.phase != "idle":
            self.late = late
            self.exchange(server)
            server.close_phase()
            for sender, frame in late:
                self.receive(server, frame, sender)
            late.clear()

    def exchange(self, server):
        self.hold = server.phase == "masked"
        super().exchange(server)

    def back(self, name, frames):
        if self.hold and name == "h2":
            self.late += super().back(name, frames)
            return []
        return super().back(name, frames)


class SwallowsTheAbort(Direct):
    def run(self, server):
        with contextlib.suppress(AbortError):
            super().run(server)


class LetsRefusalsOut(Direct):
    def receive(self, server, frame, sender):
        server.receive(frame, sender=sender)


class StopsWhenAClientDies(Direct):
    def exchange(self, server):
        for name, frames in self.boxes(server.outbox()).items():
            for frame in self.sites[name].answer(frames):
                self.receive(server, frame, name)


class StopsTooEarly(Direct):
    def run(self, server):
        while server.phase not in ("unmask", "idle"):
            self.exchange(server)
            server.close_phase()


class GivesUp(Direct):
    def run(self, server):
        super().run(server)
        raise AbortError("no connection")


class HidesItsOwnAbort(Direct):
    """Delivers everything when it is too late, and says nothing."""

    def run(self, server):
        out = server.outbox()
        with contextlib.suppress(AbortError):
            server.close_phase()
        for name, frames in self.boxes(out).items():
            for frame in self.sites[name].answer(frames):
                self.receive(server, frame, name)


BROKEN = {
    LosesTheLastFrame: ("plain", "frames that h2 handed over did not reach the server in time (a phase was closed without them)"),
    LosesAnAnswer: ("plain", "1 of 6 frames that h3 handed over did not reach the server in time"),
    LosesARequest: ("plain", "frames for h4 did not reach it in time; expected all"),
    AltersReplies: ("plain", "bytes that no client sent"),
    AltersRequests: ("plain", "h0 got bytes that the server never sent; expected the frames for it, byte for byte"),
    MixesUpRecipients: ("plain", "h0 got a frame that was for h1; expected the frames for it, byte for byte"),
    MixesUpSenders: ("plain", "a frame of h0's as one of h1's; expected the sender's own name, or none"),
    DeliversInTheNextRound: ("plain", "round 2: 3 of 3 frames that h1 handed over did not reach the server in time"),
    DeliversAfterTheDeadline: ("plain", "expected the updates of h0, h1, h2, h3, h4, got those of h0, h1, h3, h4"),
    SwallowsTheAbort: ("too-few", "run() returned although the round was aborted; expected the AbortError of close_phase"),
    LetsRefusalsOut: ("noise", "run() raised AuthenticationError (signature does not hold from 'h0')"),
    StopsWhenAClientDies: ("lost", "run() raised Lost"),
    StopsTooEarly: ("plain", "run() returned in phase 'unmask'; expected \"idle\""),
    GivesUp: ("plain", "expected a result, got AbortError: no connection"),
    HidesItsOwnAbort: ("plain", "run() hid an AbortError (clients that sent keys: needed 4, have 0)"),
}  # fmt: skip


@pytest.mark.parametrize("carrier", BROKEN, ids=lambda carrier: carrier.__name__)
def test_a_broken_carrier_is_caught(carrier):
    case, text = BROKEN[carrier]
    with pytest.raises(ConformanceError, match=re.escape(text)) as caught:
        check(carrier, cases=[case])
    assert f"case {case!r}, round " in str(caught.value)


def test_a_wrong_sum_is_noticed(monkeypatch):
    monkeypatch.setattr(books, "weight_of", lambda name, round_id: 1)
    with pytest.raises(ConformanceError, match="is not the sum of the updates that were handed in"):
        check(Direct, cases=["plain"])


def test_an_error_of_the_suite_passes_through_the_carrier():
    class Nested(Direct):
        def run(self, server):
            check(LosesARequest, cases=["plain"])

    with pytest.raises(ConformanceError, match="h4 did not reach it"):
        check(Nested, cases=["plain"])


def test_close_is_called_however_it_ends():
    closed = []

    class Closes(StopsTooEarly):
        def close(self):
            closed.append(self)

    with pytest.raises(ConformanceError):
        check(Closes, cases=["plain"])
    assert len(closed) == 1


def test_an_unknown_case_is_refused():
    with pytest.raises(InputError, match="unknown case 'weather'; the cases are plain, sample"):
        check(Direct, cases=["weather"])


def test_a_site_shows_no_secret():
    shown = []

    class Shows(Direct):
        def run(self, server):
            super().run(server)
            shown.extend(repr(site) for site in self.sites.values())

    check(Shows, cases=["plain"])
    assert all(re.fullmatch(r"Site\('[^']*/h\d'\)", text) for text in shown)
