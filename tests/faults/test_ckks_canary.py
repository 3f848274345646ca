"""Fault 58 over whole ckks sessions, their errors included: planted secrets and values are in nothing that is let out."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from secagg import Client, FixedPoint, Identity, KeyHolder, Params
from secagg.errors import SecAggError
from secagg.protocols.ckks import CkksClient
from secagg.protocols.ckks.messages import Kind
from secagg.wire import HOLDER, SERVER, Chunk, decode_frame
from support.canary import Canary, attempt, bad_updates, odd_values
from support.encrypted import MODES, Encrypted
from support.federation import fields
from support.hostile import bodies, no_room, signed

LENGTH, WEIGHT = 12, 7_340_233


def planted(monkeypatch, home, reveal, threat):
    """A federation whose every secret is known to a canary."""
    encoding = FixedPoint(clip=4.0, bits=20, overflow="refuse")
    params = Params(
        clients=3, length=LENGTH, encoding=encoding, max_weight=1 << 24, metrics=("loss",), segments={"metrics": encoding},
        frame_bytes=1 << 17, corrupt=1, min_clients=3, rounds_per_setup=2, protocol="ckks", reveal=reveal, threat=threat,
    )  # fmt: skip
    f, canary = Encrypted(3, params=params, ledgers=home), Canary()
    rng = np.random.default_rng()
    f.updates = {name: rng.uniform(-3.9, 3.9, LENGTH) for name in f.ids}
    f.losses = {name: float(rng.uniform(-3.9, 3.9)) for name in f.ids}
    for name in f.ids:
        canary.plant_values([*f.updates[name], f.losses[name]])
    canary.plant(*(key.to_bytes() for key in (*f.keys.values(), f.server_key, f.holder_key)))
    canary.values.add(str(WEIGHT))
    states = [*(f.clients[name]._core._state for name in f.ids), f.holder._core._state, f.server._core]
    canary.watch(monkeypatch, states)
    begin = CkksClient.begin_upload

    def begin_upload(core, context):
        upload = begin(core, context)
        canary.plant(upload.key, upload.pad or b"", upload.rounding_key, upload.intent_key)
        return upload

    monkeypatch.setattr(CkksClient, "begin_upload", begin_upload)
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
        lies += [f.forge(Kind(request[3]), fields(body, **{field: odd})) for odd in odd_values(getattr(body, field))]
    party = f.party(name)
    snapshot, refused = party.snapshot(), 0
    restore = f.restore_holder if name == HOLDER else lambda blob, **changes: f.restore(name, blob, **changes)
    for lie in lies:
        victim = restore(snapshot, ledger=None, ledger_lost=True)
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


def plant_holder(f, canary):
    key = f.holder._core._state.key
    if key is not None:
        canary.plant(key.seed, key.channel.private_bytes(), key.secret.seed_bytes())


def round_with_errors(f, canary, round_id):
    f.server.open_round(round_id)
    while f.server.phase != "idle":
        inbox, sent = f.requests(), []
        for name, frames in inbox.items():
            if not frames:
                continue
            if name in ("c0", HOLDER):
                refused_requests(f, canary, name, frames[0])
            for frame in frames:
                f.party(name).receive(frame)
            if name != HOLDER and f.clients[name].awaiting:
                if name == "c2":
                    refused_updates(f, canary, name)
                submit(f, name)
            sent += [(name, frame) for frame in f.party(name).outbox()]
        plant_holder(f, canary)
        canary.things(f.server, f.holder, *f.clients.values())
        refused_replies(f, canary, sent)
        f.bring(sent)
        canary.blobs += [frame for _, frame in sent] + [frame for frames in inbox.values() for frame in frames]
        canary.blobs += [party.snapshot() for party in (*f.clients.values(), f.holder)]
        f.server.close_phase()
    canary.things(f.server.result(round_id).receipt, *f.clients.values())


def a_garbled_sum(f, canary, round_id):
    """A decryption that ends in noise, at the holder."""
    f.server.open_round(round_id)
    while f.server.phase != "decrypt":
        for name, frames in f.requests().items():
            for frame in frames:
                f.party(name).receive(frame)
            if name != HOLDER and f.clients[name].awaiting:
                submit(f, name)
            f.bring([(name, frame) for frame in f.party(name).outbox()])
        plant_holder(f, canary)
        f.server.close_phase()
    request, *chunks = f.requests()[HOLDER]
    body = f.body(request)
    attempt(canary, f.holder.receive, request)
    refused = None
    for frame in chunks:
        outer = decode_frame(frame, max_bytes=1 << 30)[1]
        if isinstance(outer, Chunk) and outer.segment == 1:
            payload = bytes([outer.payload[0] ^ 1]) + bytes(outer.payload[1:])
            frame = f.chunk(outer.sender or SERVER, (round_id, 1, 0), payload)  # noqa: PLW2901
        refused = attempt(canary, f.holder.receive, frame) or refused
    assert refused is not None
    attempt(canary, f.holder.receive, f.forge(Kind.DECRYPT_REQUEST, fields(body, headers=body.headers[:2])))
    assert attempt(canary, f.server.close_phase) is not None
    assert attempt(canary, f.server.result, round_id) is not None
    assert attempt(canary, f.holder.result, round_id) is not None
    canary.things(f.server, f.holder, *f.clients.values())


def refused_restores(f, canary):
    for name in ("c0", HOLDER):
        snapshot = f.party(name).snapshot()
        f.party(name).close()
        restore = f.restore_holder if name == HOLDER else lambda blob, **changes: f.restore("c0", blob, **changes)
        for at in range(0, len(snapshot), 211):
            attempt(canary, restore, snapshot[:at] + bytes([snapshot[at] ^ 1]) + snapshot[at + 1 :])
        for changes in ({"identity": Identity.generate()}, {"session": bytes(16)}, {"ledger": None}):
            assert attempt(canary, restore, snapshot, **changes) is not None
    attempt(canary, Client, f.params, me="c0", identity=f.keys["c1"], roster=f.roster)
    attempt(canary, KeyHolder, f.params, identity=f.keys["c1"], roster=f.roster)


@pytest.mark.parametrize("reveal, threat", MODES[::3], ids=["server-malicious", "holder-semi-honest"])
def test_fault_58_a_whole_session_with_all_its_errors_lets_nothing_out(
    monkeypatch, memory, caplog, capfd, recwarn, reveal, threat
):
    caplog.set_level(logging.DEBUG)
    f, canary = planted(monkeypatch, memory, reveal, threat)
    round_with_errors(f, canary, 1)
    round_with_errors(f, canary, 2)
    a_garbled_sum(f, canary, 3)
    refused_restores(f, canary)
    out, err = capfd.readouterr()
    canary.texts.update((caplog.text, out, err, *(str(warning.message) for warning in recwarn)))
    assert len(canary.secrets) > 60
    assert len(canary.texts) > 100
    assert canary.found() == []
    canary.blobs.append(b"and then " + f.holder._core._state.key.seed)
    assert canary.found() == ["secret in bytes"]


@pytest.mark.parametrize("below", [False, True], ids=["as the facade raises it", "with the frames below"])
def test_fault_58_tracebacks_with_variables_tell_what_frames_hold(monkeypatch, memory, below):
    f, canary = planted(monkeypatch, memory, "server", "malicious")
    f.server.open_round(1)
    f.phase()
    f.clients["c2"].receive(f.requests()["c2"][0])
    bad = next(bad_updates(f.updates["c2"]))
    verb = Client.submit.__wrapped__ if below else Client.submit
    error = attempt(canary, verb, f.clients["c2"], bad, weight=WEIGHT, metrics={"loss": f.losses["c2"]})
    assert "beyond clip" in str(error)
    assert bool(canary.found()) == below
