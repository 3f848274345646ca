"""Weights and metrics as side channels: what differs between two sessions that differ in nothing else.

A framework that sends the number of examples beside the update tells how large each hospital is, and by its changes what was
added; losses tell who has what (Yeom et al., "Privacy Risk in Machine Learning", IEEE CSF 2018, on membership from losses).
Here both are values like the others: in every frame the same clear fields and the same lengths.

Every key of a session is fixed here, so that two runs could be compared byte for byte: what differs are masked vectors, and what
authenticates them. That the masks are good is measured apart, on keys from the operating system.
"""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Params
from secagg.protocols.ckks.messages import decoders as ckks_decoders
from secagg.protocols.oneshot.messages import decoders as oneshot_decoders
from secagg.protocols.pairwise.messages import decoders
from secagg.wire import Chunk, decode_frame
from support.ckks_live import CkksLive
from support.federation import Federation
from support.live import ENCODINGS, Live, Step
from support.measure import deviation
from support.oneshot_live import OneshotLive
from support.spy import Spy
from support.weak import TellsItsWeight

IDS = ["c0", "c1", "c2", "c3", "c4"]
PAIRWISE = {"corrupt": 1, "threshold": 4, "min_clients": 4, "rounds_per_setup": 2}
SECRET_FIELDS = {
    "Chunk": {"tag", "payload"},
    "MaskedHeader": {"tag"},
    "UnmaskRequest": {"headers"},
    "Unmask": {"account", "account_signature", "sealed"},
    "EncryptedHeader": {"tag"},
    "DecryptRequest": {"headers", "sum_tag"},
    "RevealRequest": {"headers"},
    "Reveal": {"account", "account_signature", "sealed"},
    "Decrypted": {"account", "result_hash", "signature", "sealed_salt", "tag"},
}


def session(kind, params, weights, losses, client=None):
    """Two rounds with a dropout; return every frame on the wire, by sender or addressee."""

    class Run(kind):
        def update(self, name, round_id):
            values, _, _ = super().update(name, round_id)
            return values, weights[name], [losses[name]]

    run, wire = Run(params, IDS, clients=lambda name: "reference" if client else "engine"), []
    if client:
        for name, seat in run.clients.items():
            run.clients[name] = client(seat.settings, seat.roster, name, seat.identity, seat.entropy)
    receive, outbox = run.server.receive, run.server.outbox

    def watched_receive(frame, sender=None):
        wire.append((sender, frame))
        return receive(frame, sender=sender)

    def watched_outbox():
        out = outbox()
        wire.extend((f"to {to}", frame) for to, frame in out)
        return out

    run.server.receive, run.server.outbox = watched_receive, watched_outbox
    late = "encrypted" if kind is CkksLive else "masked"
    for round_id in (1, 2):
        run.run_to_the_end(Step(round_id, {late: ["c4"]} if round_id == 2 else {}))
    assert run.refused == []
    return wire


def clear(frame):
    """What of a frame is in clear and fixed by no secret: its kind, its outer fields, and its body but for what may differ."""
    kind, outer = decode_frame(frame, max_bytes=1 << 30)
    if isinstance(outer, Chunk):
        hidden = SECRET_FIELDS["Chunk"]
        return kind, [getattr(outer, name) for name in outer.__struct_fields__ if name not in hidden]
    known = oneshot_decoders if kind >= 32 else ckks_decoders if kind >= 16 else decoders
    body = known[kind].decode(outer.payload)
    hidden = SECRET_FIELDS.get(type(body).__name__, set())
    told = [getattr(body, name) for name in body.__struct_fields__ if name not in hidden]
    return kind, outer.session, outer.sender, told, hidden and sorted(hidden)


def differences(one, two):
    """Where two sessions differ in what an onlooker can compare."""
    found = []
    if [who for who, _ in one] != [who for who, _ in two]:
        found.append("who speaks")
    for place, ((who, a), (_, b)) in enumerate(zip(one, two, strict=False)):
        if len(a) != len(b):
            found.append(f"frame {place} of {who}: length")
        if clear(a) != clear(b):
            found.append(f"frame {place} of {who}: clear fields")
    return found


def small(value, names=IDS):
    return dict.fromkeys(names, value)


def build(kind, **changes):
    if kind is Live:
        return Params(clients=5, **ENCODINGS, **PAIRWISE)
    if kind is OneshotLive:
        return Params(clients=5, **{**ENCODINGS, "frame_bytes": 1 << 17}, **PAIRWISE, protocol="oneshot")
    ckks = {"protocol": "ckks", "corrupt": 1, "min_clients": 4, "rounds_per_setup": 2, "reveal": "server", **changes}
    return Params(clients=5, **{**ENCODINGS, "frame_bytes": 1 << 17}, **ckks)


KINDS = [
    pytest.param(Live, {}, id="pairwise"),
    pytest.param(CkksLive, {}, id="ckks"),
    pytest.param(CkksLive, {"reveal": "holder"}, id="ckks-holder"),
    pytest.param(CkksLive, {"threat": "semi-honest"}, id="ckks-semi-honest"),
    pytest.param(OneshotLive, {}, id="oneshot"),
]


@pytest.mark.parametrize("kind, changes", KINDS)
@pytest.mark.parametrize(
    "weights, losses",
    [(small(30), small(0.5)), (small(1), small(3.9)), ({**small(1), "c2": 30}, {**small(0.5), "c2": -4.0})],
    ids=["weights", "losses", "one client's"],
)
def test_sessions_that_differ_in_weights_or_metrics_look_alike(kind, changes, weights, losses):
    params = build(kind, **changes)
    base, other = session(kind, params, small(1), small(0.5)), session(kind, params, weights, losses)
    assert differences(base, other) == []
    assert base != other  # they did differ, where it does not show
    again = session(kind, params, small(1), small(0.5))
    assert again == base  # and in nothing but that
    first = next(i for i, (_, frame) in enumerate(base) if decode_frame(frame, max_bytes=1 << 30)[0] == 0)
    assert base[:first] == other[:first]  # keys and shares are the very same bytes


def test_a_weight_beside_the_update_shows():
    params = build(Live)
    base = session(Live, params, small(1), small(0.5), TellsItsWeight)
    found = differences(base, session(Live, params, small(30), small(0.5), TellsItsWeight))
    assert {words.split(": ")[1] for words in found} == {"clear fields"}
    assert len(found) >= 5
    assert differences(base, session(Live, params, small(1), small(0.5), TellsItsWeight)) == []


# -- the values themselves --------------------------------------------------------------------------------------------


def heads(weight, rounds=80):
    """The masked head vectors (weight, clipped count, check lane: 24 bytes) of five clients in many rounds, with one weight."""
    numbers = {**PAIRWISE, "rounds_per_setup": rounds}
    f = Federation(5, params=Params(clients=5, length=3, max_weight=1 << 33, **numbers))
    found, plain = [], []
    for round_id in range(1, rounds + 1):
        f.server.open_round(round_id)
        f.until("masked")
        f.up = []
        for name, frames in f.requests().items():
            f.clients[name].receive(frames[0])
            f.clients[name].submit(np.zeros(3, np.float32), weight=weight)
            f.bring([(name, frame) for frame in f.clients[name].outbox()])
            found.append(b"".join(word.to_bytes(8, "little") for word in Spy(f, round_id).upload(name)[0]))
            plain.append(weight.to_bytes(8, "little") + bytes(8) + (1).to_bytes(8, "little"))
        f.server.abort()
    return found, plain


def test_masked_weights_are_even_whatever_they_are():
    """400 uploads of weight 1 and of weight 2^33: no bit, byte or word tells either from chance, or from the other."""
    light, bare = heads(1)
    heavy, _ = heads(1 << 33)
    assert deviation(light) < 6
    assert deviation(heavy) < 6
    assert deviation(bare) > 100  # what the measure says of unmasked ones
    words = [np.frombuffer(b"".join(each), "<u8").reshape(-1, 3).astype(float) for each in (light, heavy)]
    for column in range(3):
        a, b = words[0][:, column], words[1][:, column]
        apart = abs(a.mean() - b.mean()) / (2.0**64 * np.sqrt(1 / 12 * (1 / len(a) + 1 / len(b))))
        assert apart < 6
