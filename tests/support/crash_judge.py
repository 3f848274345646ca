"""Judges a run of processes that were killed: one outcome a round, exact sum or abort, and one frame wherever one is allowed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from secagg.protocols.ckks.messages import Kind as CkksKind
from secagg.protocols.ckks.messages import decoders as ckks_decoders
from secagg.protocols.oneshot.messages import Kind as OneshotKind
from secagg.protocols.oneshot.messages import decoders as oneshot_decoders
from secagg.protocols.pairwise.messages import Kind, decoders
from secagg.wire import Chunk, decode_frame
from support import committee_watch, encrypted_watch, watch
from support.crash_parties import Setting, records

WATCHES: dict[str, Any] = {"pairwise": watch.Watch, "oneshot": committee_watch.Watch}
BODIES: dict[str, Any] = {"pairwise": (Kind, decoders), "oneshot": (OneshotKind, oneshot_decoders)}


def judge(setting: Setting) -> dict[str, int]:
    """Return how many rounds ended how; AssertionError for anything that must not be."""
    sent = records(setting.home, "party")
    party: Any = WATCHES.get(setting.mode, encrypted_watch.Watch)()
    for name, frame in sent:
        party.see(name, frame)
    requests = one_request_each(setting)
    outcomes: dict[int, Any] = {}
    for round_id, *outcome in records(setting.home, "outcomes"):
        assert outcomes.setdefault(round_id, outcome) == outcome, f"two outcomes of round {round_id}"
    opened: dict[int, Any] = {}
    for round_id, *result in records(setting.home, "holder"):
        assert opened.setdefault(round_id, result) == result, f"two sums of round {round_id}"
    ends: Counter[str] = Counter()
    for round_id, outcome in outcomes.items():
        ends["aborted" if outcome[0] == "abort" else "exact"] += 1
        if outcome[0] == "sum":
            contributors, sums = outcome[1], outcome[2]
            if setting.mode == "ckks-holder":
                assert opened[round_id][0] == contributors
                sums = opened[round_id][1]
            check(setting, round_id, contributors, sums)
            ends["of all"] += len(contributors) == len(setting.ids)
    for round_id, (contributors, sums) in opened.items():  # also where the server never heard of it
        check(setting, round_id, contributors, sums)
    assert sorted(outcomes) == list(range(1, max(outcomes) + 1)), "a round without an outcome"
    return {**ends, "frames": len(sent), "requests": requests}


def check(setting: Setting, round_id: int, contributors: list[str], sums: list[int]) -> None:
    assert len(contributors) >= setting.params.min_clients
    expected = sum(setting.update(name, round_id) for name in contributors)
    assert sums == expected.tolist(), f"round {round_id} is not the sum over its contributors"


def one_request_each(setting: Setting) -> int:
    """Assert that nobody was ever sent two different requests of one kind for one round; return how many requests there were."""
    kinds, bodies = BODIES.get(setting.mode, (CkksKind, ckks_decoders))
    told: dict[Any, bytes] = {}
    count = 0
    for to, frame in records(setting.home, "server"):
        kind, outer = decode_frame(frame, max_bytes=1 << 30)
        if isinstance(outer, Chunk):
            place: tuple[Any, ...] = (outer.sender, outer.round_id, outer.segment, outer.index)
        else:
            body: Any = bodies[kinds(kind)].decode(outer.payload)
            place = (kind, body.round_id if hasattr(body, "round_id") else body.first_round)
        assert told.setdefault((to, place), frame) == frame, f"two different requests: {to}, {place}"
        count += 1
    return count
