"""Fault 58 over whole oneshot sessions, their errors included: planted secrets and values are in nothing that is let out."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from secagg import Client, FixedPoint, Identity, Member, Params
from secagg.errors import SecAggError
from secagg.hazmat import packed
from secagg.protocols.oneshot import OneshotClient, sharing
from secagg.wire import Chunk, decode_frame
from support.canary import Canary, attempt, bad_updates, odd_values
from support.committee import SESSION, Committee
from support.hostile import bodies, no_room, signed

LENGTH, WEIGHT = 12, 7_340_233


def planted(monkeypatch, home):
    """A federation whose every secret is known to a canary."""
    encoding = FixedPoint(clip=4.0, bits=20, overflow="refuse")
    params = Params(
        5, length=LENGTH, encoding=encoding, max_weight=1 << 24, metrics=("loss",), segments={"metrics": encoding},
        frame_bytes=1 << 17, rounds_per_setup=2, protocol="oneshot",
    )  # fmt: skip
    f, canary = Committee(5, params=params, ledgers=home), Canary()
    rng = np.random.default_rng()
    f.updates = {name: rng.uniform(-3.9, 3.9, LENGTH) for name in f.ids}
    f.losses = {name: float(rng.uniform(-3.9, 3.9)) for name in f.ids}
    for name in f.ids:
        canary.plant_values([*f.updates[name], f.losses[name]])
    canary.plant(*(key.to_bytes() for key in (*f.keys.values(), f.server_key)))
    canary.values.add(str(WEIGHT))
    canary.watch(monkeypatch, [*(f.clients[name]._core._state for name in f.ids), f.server._core])
    begin, split, opened = OneshotClient.begin_upload, packed.split, sharing.open_share

    def begin_upload(core, context):
        upload = begin(core, context)
        canary.plant(upload.seed, upload.rounding_key, upload.intent_key)
        return upload

    def watched_split(secrets, *rest):
        shares = split(secrets, *rest)
        canary.plant(secrets.reshape(-1)[:2].tobytes(), *(row[:2].tobytes() for row in shares))
        return shares

    def watched_open(*args):
        share = opened(*args)
        canary.plant(share[-2:].tobytes())
        return share

    monkeypatch.setattr(OneshotClient, "begin_upload", begin_upload)
    monkeypatch.setattr(packed, "split", watched_split)
    monkeypatch.setattr(sharing, "open_share", watched_open)
    return f, canary


def submit(f, name, update=None, **changes):
    settings = {"weight": WEIGHT, "metrics": {"loss": f.losses[name]}, "context": b"model", **changes}
    f.clients[name].submit(f.updates[name] if update is None else update, **settings)


def refused_requests(f, canary, name, request):
    """Whatever a server can send in place of a request: nothing that a refusal says may be secret."""
    session, body = f.server.session, f.body(request)
    lies = [signed(request, payload, session, f.server_key) for payload in bodies(request)]
    lies += [request[:40], request + b"x", b"junk", bytes(f.params.max_frame_bytes + 1)]
    lies += [
        request[:at] + bytes([request[at] ^ 1]) + request[at + 1 :] for at in range(4, len(request), len(request) // 20)
    ]
    for field in body.__struct_fields__:
        lies += [f.forged(request, **{field: odd}) for odd in odd_values(getattr(body, field))]
    snapshot, refused = f.clients[name].snapshot(), 0
    for lie in lies:
        victim = f.restore(name, snapshot, ledger=None, ledger_lost=True)
        refused += attempt(canary, victim.receive, lie) is not None
    assert refused > len(lies) // 2
    canary.things(victim)


def refused_updates(f, canary, name):
    client = f.clients[name]
    for bad in bad_updates(f.updates[name]):
        attempt(canary, submit, f, name, bad)
        attempt(canary, lambda bad=bad: list(client.stream(bad, weight=WEIGHT, metrics={"loss": f.losses[name]})))
    for changes in ({"weight": WEIGHT + (1 << 24)}, {"weight": -WEIGHT}, {"metrics": {"loss": f.losses[name] * 1e6}}):
        assert isinstance(attempt(canary, submit, f, name, **changes), SecAggError)
    with no_room():
        assert attempt(canary, submit, f, name) is not None


def refused_replies(f, canary, sent):
    for _, frame in sent:
        for at in range(4, len(frame), len(frame) // 7):
            attempt(canary, f.server.receive, frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :])


def step(f, canary, name, frames, *, spoil=False):
    """Hand a client its frames; return what it sends."""
    for frame in frames:
        f.clients[name].receive(frame)
    if f.clients[name].awaiting:
        if spoil:
            refused_updates(f, canary, name)
        submit(f, name)
    return [(name, frame) for frame in f.clients[name].outbox()]


def round_with_errors(f, canary, round_id):
    f.server.open_round(round_id)
    while f.server.phase != "idle":
        inbox, sent = f.requests(), []
        refused_requests(f, canary, "c0", inbox["c0"][0])
        for name, frames in inbox.items():
            sent += step(f, canary, name, frames, spoil=name == "c2")
        canary.plant(f.server._core._state.batch.pair.private_bytes())
        canary.things(f.server, *f.clients.values())
        refused_replies(f, canary, sent)
        f.bring(sent)
        canary.things(f.server)
        canary.blobs += [frame for _, frame in sent] + [frame for frames in inbox.values() for frame in frames]
        canary.blobs += [client.snapshot() for client in f.clients.values()]
        f.server.close_phase()
    canary.things(f.server.result(round_id).receipt, *f.clients.values())


def aborted_rounds(f, canary, monkeypatch):
    """Shares that do not open, and members who answer for another sum."""
    for round_id, liar in ((3, "client"), (4, "members")):
        f.server.open_round(round_id)
        with monkeypatch.context() as patched:
            if liar == "client":
                patched.setattr(
                    "secagg.protocols.oneshot.client.seal_shares",
                    lambda *args: [bytes(len(box)) for box in sharing.seal_shares(*args)],
                )
            else:
                patched.setattr(sharing, "add_shares", lambda shares: shares[0].astype("<u8").tobytes())
            refused = None
            while f.server.phase != "idle":
                inbox = f.requests()
                f.bring([pair for name, frames in inbox.items() for pair in step(f, canary, name, frames)])
                canary.things(f.server, *f.clients.values())
                refused = attempt(canary, f.server.close_phase)
        assert refused is not None
        assert attempt(canary, f.server.result, round_id) is not None


def a_garbled_upload(f, canary):
    """Rightly signed chunks under which the sum does not open."""
    f.server.open_round(5)
    refused = None
    while f.server.phase != "idle":
        for name, frames in f.requests().items():
            sent = step(f, canary, name, frames)
            if f.server.phase == "masked" and name == "c1":
                for _, frame in sent:
                    outer = decode_frame(frame, max_bytes=1 << 30)[1]
                    if isinstance(outer, Chunk):
                        attempt(canary, f.server.receive, frame[:-1] + bytes([frame[-1] ^ 1]))
                header = sent[-1][1]
                f.bring(sent[:-1])
                attempt(canary, f.server.receive, f.forged(header, tag=bytes(32)))
                continue
            f.bring(sent)
        refused = attempt(canary, f.server.close_phase)
    assert refused is None
    assert f.server.result(5).contributors == ("c0", "c2", "c3", "c4")


def refused_restores(f, canary):
    snapshot = f.clients["c0"].snapshot()
    f.clients["c0"].close()
    for at in range(0, len(snapshot), 211):
        attempt(canary, f.restore, "c0", snapshot[:at] + bytes([snapshot[at] ^ 1]) + snapshot[at + 1 :])
    for changes in ({"identity": Identity.generate()}, {"session": bytes(16)}, {"ledger": None}):
        assert attempt(canary, f.restore, "c0", snapshot, **changes) is not None
    attempt(canary, Client, f.params, me="c0", identity=f.keys["c1"], roster=f.roster)
    attempt(canary, Member, f.params, me="c0", identity=f.keys["c1"], roster=f.roster)
    alone = Member(f.params, me="c1", identity=f.keys["c1"], roster=f.roster, session=SESSION)
    attempt(canary, alone.receive, f.down[0][1] if f.down else b"")
    attempt(canary, Member.restore, snapshot, identity=f.keys["c0"], roster=f.roster)
    canary.things(alone)


def test_fault_58_a_whole_session_with_all_its_errors_lets_nothing_out(monkeypatch, memory, caplog, capfd, recwarn):
    caplog.set_level(logging.DEBUG)
    f, canary = planted(monkeypatch, memory)
    round_with_errors(f, canary, 1)
    round_with_errors(f, canary, 2)
    aborted_rounds(f, canary, monkeypatch)
    a_garbled_upload(f, canary)
    refused_restores(f, canary)
    out, err = capfd.readouterr()
    canary.texts.update((caplog.text, out, err, *(str(warning.message) for warning in recwarn)))
    assert len(canary.secrets) > 300
    assert len(canary.texts) > 100
    assert canary.found() == []
    canary.blobs.append(b"and then " + f.clients["c1"]._core._state.round.seed)
    assert canary.found() == ["secret in bytes"]


@pytest.mark.parametrize("below", [False, True], ids=["as the facade raises it", "with the frames below"])
def test_fault_58_tracebacks_with_variables_tell_what_frames_hold(monkeypatch, memory, below):
    f, canary = planted(monkeypatch, memory)
    f.until("masked")
    f.clients["c2"].receive(f.requests()["c2"][0])
    bad = next(bad_updates(f.updates["c2"]))
    verb = Client.submit.__wrapped__ if below else Client.submit
    error = attempt(canary, verb, f.clients["c2"], bad, weight=WEIGHT, metrics={"loss": f.losses["c2"]})
    assert "beyond clip" in str(error)
    assert bool(canary.found()) == below


@pytest.mark.parametrize("below", [False, True], ids=["as the facade raises it", "with the frames below"])
def test_fault_58_a_member_that_refuses_a_request_tells_nothing(monkeypatch, memory, below):
    f, canary = planted(monkeypatch, memory)
    f.server.open_round(1)
    while f.server.phase != "reveal":
        f.bring([pair for name, frames in f.requests().items() for pair in step(f, canary, name, frames)])
        f.server.close_phase()
    (request,) = f.requests()["c0"]
    body = f.body(request)
    lie = f.forged(request, sealed=bytes([body.sealed[0] ^ 1]) + body.sealed[1:])
    verb = Client.receive.__wrapped__ if below else Client.receive
    error = attempt(canary, verb, f.clients["c0"], lie)
    assert "its client signed for" in str(error)
    canary.plant(f.clients["c0"]._core._member._batch.private)
    assert canary.found() == []
