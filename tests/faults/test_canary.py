"""Fault 58 over whole pairwise sessions, their errors included: planted secrets and values are in nothing that is let out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pytest

from secagg import Client, FixedPoint, Identity, Params
from secagg.errors import PeerError, SecAggError
from secagg.protocols.pairwise import PairwiseClient
from secagg.protocols.pairwise.messages import Kind
from support.canary import Canary, attempt, bad_updates, odd_values
from support.federation import Federation, fields
from support.hostile import bodies, no_room, signed
from support.liars import garble, lying_answer

LENGTH = 12
WEIGHT = 7_340_233  # a number to be found again


def federation():
    encoding = FixedPoint(clip=4.0, bits=20, overflow="refuse")
    return Params(
        clients=5, length=LENGTH, encoding=encoding, max_weight=1 << 24, metrics=("loss",), segments={"metrics": encoding},
        frame_bytes=64, corrupt=1, threshold=4, min_clients=4, rounds_per_setup=2,
    )  # fmt: skip


def planted(monkeypatch, home):
    """A federation whose every secret is known to a canary."""
    f, canary = Federation(5, params=federation(), ledgers=home), Canary()
    rng = np.random.default_rng()
    f.updates = {name: rng.uniform(-3.9, 3.9, LENGTH) for name in f.ids}
    f.losses = {name: float(rng.uniform(-3.9, 3.9)) for name in f.ids}
    for name in f.ids:
        canary.plant_values([*f.updates[name], f.losses[name]])
        canary.plant(f.keys[name].to_bytes())
    canary.plant(f.server_key.to_bytes())
    canary.values.add(str(WEIGHT))
    canary.watch(monkeypatch, [*(f.clients[name]._core._state for name in f.ids), f.server._core])
    begin = PairwiseClient.begin_upload

    def begin_upload(core, context):
        upload = begin(core, context)
        canary.plant(*upload.keys, upload.mac_key, upload.rounding_key, upload.intent_key)
        return upload

    monkeypatch.setattr(PairwiseClient, "begin_upload", begin_upload)
    return f, canary


def submit(f, name, update=None, **changes):
    settings = {"weight": WEIGHT, "metrics": {"loss": f.losses[name]}, "context": b"model", **changes}
    f.clients[name].submit(f.updates[name] if update is None else update, **settings)


def refused_requests(f, canary, name, request):
    """Whatever a server can send in place of a request: nothing that a refusal says may be secret."""
    client, session, body = f.clients[name], f.server.session, f.body(request)
    lies = [signed(request, payload, session, f.server_key) for payload in bodies(request)]
    lies += [request[:40], request + b"x", b"", b"junk", bytes(1 << 17)]
    lies += [request[:at] + bytes([request[at] ^ 1]) + request[at + 1 :] for at in range(4, len(request), 101)]
    for field in body.__struct_fields__:
        for odd in odd_values(getattr(body, field)):
            lies.append(f.forge(Kind(request[3]), fields(body, **{field: odd})))
    snapshot, refused = client.snapshot(), 0
    for lie in lies:
        victim = f.restore(name, snapshot, ledger=None, ledger_lost=True)
        refused += attempt(canary, victim.receive, lie) is not None
        canary.plant(*secrets_of(victim))
    assert refused > len(lies) // 2
    canary.things(victim)


def secrets_of(client):
    """What a client holds that no watch has seen come."""
    batch = client._core._state.batch
    if batch is None:
        return []
    holdings = [holding for holding in (batch.own, *batch.holdings.values()) if holding is not None]
    return [
        *(seed for seed in batch.seeds if seed), *(pair.private_bytes() for pair in batch.mask_pairs if pair is not None),
        *batch.pairwise.values(), batch.server_secret,
        *(share for holding in holdings for share in holding.shares if share), *(holding.salt for holding in holdings),
    ]  # fmt: skip


def refused_updates(f, canary, name):
    client = f.clients[name]
    for bad in bad_updates(f.updates[name]):
        attempt(canary, submit, f, name, bad)
        attempt(canary, lambda bad=bad: list(client.stream(bad, weight=WEIGHT, metrics={"loss": f.losses[name]})))
    for changes in (
        {"weight": WEIGHT + (1 << 24)},
        {"weight": -WEIGHT},
        {"weight": float(WEIGHT)},
        {"metrics": {"loss": f.losses[name] * 1e6}},
        {"metrics": {"accuracy": f.losses[name]}},
        {"metrics": None},
        {"context": "text"},
    ):
        assert isinstance(attempt(canary, submit, f, name, **changes), SecAggError)
    with no_room():
        assert attempt(canary, submit, f, name) is not None


def refused_replies(f, canary, sent):
    for name, frame in sent:
        for at in range(4, len(frame), 151):
            attempt(canary, f.server.receive, frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :])
        if frame[3] and name == "c1":
            for payload in bodies(frame):
                attempt(canary, f.server.receive, signed(frame, payload, f.server.session, f.keys[name]))


def round_with_errors(f, canary, round_id):
    f.server.open_round(round_id)
    while f.server.phase != "idle":
        inbox, sent = f.requests(), []
        refused_requests(f, canary, "c0", inbox["c0"][0])
        for name in f.ids:
            f.clients[name].receive(inbox[name][0])
            if f.clients[name].awaiting:
                if name == "c2":
                    refused_updates(f, canary, name)
                submit(f, name)
            sent += [(name, frame) for frame in f.clients[name].outbox()]
            canary.plant(*secrets_of(f.clients[name]))
        canary.plant(*f.server._core._state.batch.secrets.values())
        canary.things(f.server, *f.clients.values())
        refused_replies(f, canary, sent)
        f.bring(sent)
        for answer in f.server._core._state.round.answers.values():
            canary.plant(*answer.seeds.values(), *answer.keys.values())
        canary.things(f.server)
        canary.blobs += [frame for _, frame in sent] + [frames[0] for frames in inbox.values()]
        canary.blobs += [client.snapshot() for client in f.clients.values()]
        f.server.close_phase()
    canary.things(f.server.result(round_id).receipt, *f.clients.values())


def aborted_rounds(f, canary):
    """A liar whose answer does not fit, too few answers, and a client that is told that it is dead."""
    f.server.open_round(3)
    for _ in range(3):
        for name, frames in f.requests().items():
            f.clients[name].receive(frames[0])
            if f.clients[name].awaiting:
                submit(f, name)
            f.bring([(name, frame) for frame in f.clients[name].outbox()])
            canary.plant(*secrets_of(f.clients[name]))
        f.server.close_phase()
    inbox = f.requests()
    body = f.body(inbox["c4"][0])
    attempt(canary, f.clients["c4"].receive, f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[:4])))
    for name in ("c0", "c1"):
        lying_answer(f, name, garble)
    for name in f.ids[:4]:
        f.clients[name].receive(inbox[name][0])
        f.bring([(name, frame) for frame in f.clients[name].outbox()])
    for answer in f.server._core._state.round.answers.values():
        canary.plant(*answer.seeds.values(), *answer.keys.values())
    refused = attempt(canary, f.server.close_phase)
    assert "c0" in str(refused) or "shares" in str(refused)
    assert attempt(canary, f.server.result, 3) is not None
    canary.things(f.server, *f.clients.values())


def refused_restores(f, canary):
    snapshot = f.clients["c0"].snapshot()
    f.clients["c0"].close()
    for at in range(0, len(snapshot), 211):
        attempt(canary, f.restore, "c0", snapshot[:at] + bytes([snapshot[at] ^ 1]) + snapshot[at + 1 :])
    for changes in ({"identity": Identity.generate()}, {"session": bytes(16)}, {"ledger": None}):
        assert attempt(canary, f.restore, "c0", snapshot, **changes) is not None
    attempt(canary, Client, f.params, me="c0", identity=f.keys["c1"], roster=f.roster)


def test_fault_58_a_whole_session_with_all_its_errors_lets_nothing_out(monkeypatch, memory, caplog, capfd, recwarn):
    caplog.set_level(logging.DEBUG)
    f, canary = planted(monkeypatch, memory)
    round_with_errors(f, canary, 1)
    round_with_errors(f, canary, 2)
    aborted_rounds(f, canary)
    refused_restores(f, canary)
    out, err = capfd.readouterr()
    canary.texts.update((caplog.text, out, err, *(str(warning.message) for warning in recwarn)))
    assert len(canary.secrets) > 300
    assert len(canary.texts) > 100
    assert canary.found() == []


# -- the canary sings -------------------------------------------------------------------------------------------------


@dataclass
class Talkative:
    """What a dataclass shows unless it is told not to."""

    seed: bytes


def small(monkeypatch, memory):
    f, canary = planted(monkeypatch, memory)
    f.server.open_round(1)
    for _ in range(2):
        for name, frames in f.requests().items():
            f.clients[name].receive(frames[0])
            f.bring([(name, frame) for frame in f.clients[name].outbox()])
        f.server.close_phase()
    f.clients["c2"].receive(f.requests()["c2"][0])
    return f, canary


@pytest.mark.parametrize("how", ["repr", "hex", "text", "array", "log", "pickle", "value", "bytes of values", "frame"])
def test_fault_58_what_is_let_out_is_found(monkeypatch, memory, how, caplog):
    f, canary = small(monkeypatch, memory)
    seed = f.clients["c0"]._core._state.batch.seeds[0]
    canary.plant(seed)
    assert canary.found() == []
    match how:
        case "repr":
            canary.texts.add(repr(Talkative(b"before" + seed)))
        case "hex":
            canary.error(PeerError(f"wrong seed {seed.hex()}"))
        case "text":
            canary.error(ValueError("seed", seed))
        case "array":
            canary.texts.add(str(np.frombuffer(seed, np.uint8)))
        case "log":
            logging.getLogger("somebody").warning("seed %s", list(seed))
            canary.texts.add(caplog.text)
        case "pickle":
            canary.blobs.append(b"head" + seed)
        case "value":
            canary.texts.add(repr(f.updates["c1"]))
        case "bytes of values":
            canary.blobs.append(f.updates["c1"].tobytes())
        case "frame":
            canary.blobs += [frame for _, frame in f.up]
            assert canary.found() == []
            canary.blobs.append(f.up[0][1] + f.keys["c1"].to_bytes())
    assert canary.found()


@pytest.mark.parametrize("fresh", [False, True], ids=["as the facade raises it", "with the frames below"])
def test_fault_58_tracebacks_with_variables_tell_what_frames_hold(monkeypatch, memory, fresh):
    """The reason for `secagg.frameless`: the same refusal, raised through the undecorated method, has seeds and values in it."""
    f, canary = small(monkeypatch, memory)
    bad = next(bad_updates(f.updates["c2"]))
    verb = Client.submit.__wrapped__ if fresh else Client.submit
    error = attempt(canary, verb, f.clients["c2"], bad, weight=WEIGHT, metrics={"loss": f.losses["c2"]})
    assert "beyond clip" in str(error)
    found = canary.found()
    if fresh:
        assert any(hit.startswith("secret as") for hit in found) and any(hit.startswith("value") for hit in found)
    else:
        assert found == []
