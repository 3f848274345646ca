"""Model inconsistency: the server hands the victim one model and everybody else one under which they have nothing to say.

If the others' gradients are zero, the sum is the victim's gradient, and no mask was broken (Pasquini, Francati and Ateniese,
"Eluding Secure Aggregation in Federated Learning via Model Inconsistency", CCS 2022). Here the others' hidden units are dead.
What stands against it: each client signs the model it was given, as the `context` of its upload, and answers for no sum of
different ones.
"""

import hashlib

import numpy as np
import pytest

from secagg import FixedPoint, Params
from secagg.errors import AuthenticationError, PeerError
from secagg.protocols.ckks.messages import Kind as CkksKind
from secagg.protocols.pairwise.messages import Kind
from secagg.wire import HOLDER
from support.committee import Committee
from support.encrypted import Encrypted
from support.federation import Federation, fields

UNITS, INPUTS, CLIP = 3, 5, 8.0
VICTIM = "c2"
SETTINGS = {
    "length": UNITS * INPUTS,
    "encoding": FixedPoint(clip=CLIP, bits=20, rounding="nearest"),
    "corrupt": 1,
    "min_clients": 4,
}
PROTOCOLS = {Federation: {}, Encrypted: {"protocol": "ckks", "reveal": "server"}, Committee: {"protocol": "oneshot"}}
KINDS = pytest.mark.parametrize("kind", PROTOCOLS, ids=["pairwise", "ckks", "oneshot"])


def models():
    """The victim's model and everybody else's, whose units never fire."""
    rng = np.random.default_rng(5)
    weights, out = rng.normal(size=(UNITS, INPUTS)), rng.normal(size=UNITS)
    return {"victim": (weights, np.full(UNITS, 9.0), out), "others": (weights, np.full(UNITS, -1e4), out)}


def gradient(model, x, y):
    """Of the squared error, with respect to the first layer's weights."""
    weights, bias, out = model
    before = weights @ x + bias
    error = out @ np.maximum(before, 0) - y
    return np.clip((error * out * (before > 0))[:, None] * x / 10, -CLIP, CLIP).ravel()


def attacked(kind, *, binds):
    """A round up to the uploads; `binds` says whether clients sign which model they were given."""
    f = kind(5, params=Params(clients=5, **SETTINGS, **PROTOCOLS[kind]))
    rng, told = np.random.default_rng(6), models()
    data = {name: (rng.normal(size=INPUTS), rng.normal()) for name in f.ids}
    given = {name: told["victim" if name == VICTIM else "others"] for name in f.ids}
    f.updates = {name: gradient(given[name], *data[name]) for name in f.ids}
    f.server.open_round(1)
    while f.server.phase != ("encrypted" if kind is Encrypted else "masked"):
        f.phase()
    headers = []
    for name, frames in f.requests().items():
        if name == HOLDER:
            continue
        f.clients[name].receive(frames[0])
        context = hashlib.sha256(b"".join(part.tobytes() for part in given[name])).digest() if binds else b""
        f.clients[name].submit(f.updates[name], context=context)
        sent = f.clients[name].outbox()
        headers.append(sent[-1])
        f.bring([(name, frame) for frame in sent])
    return f, headers


@KINDS
def test_without_a_context_the_sum_is_the_victims_gradient(kind):
    f, _ = attacked(kind, binds=False)
    f.server.close_phase()
    f.phase()
    np.testing.assert_allclose(f.server.result(1).sum, f.updates[VICTIM], atol=1e-4)
    assert np.abs(f.updates[VICTIM]).max() > 0.1


@KINDS
def test_with_one_the_victim_is_in_no_sum(kind):
    f, _ = attacked(kind, binds=True)
    f.server.close_phase()
    f.phase()
    result = f.server.result(1)
    assert VICTIM not in result.contributors
    assert np.abs(result.sum).max() < 1e-4


def test_nor_will_clients_unmask_a_mixed_sum():
    """Every set of survivors with the victim in it, by an honest client's check: all refused, by all."""
    f, headers = attacked(Federation, binds=True)
    f.server.close_phase()
    body = f.body(f.requests()["c0"][0])
    tried = 0
    for mask in range(1, 32):
        shown = [headers[rank] for rank in range(5) if mask >> rank & 1]
        if not mask >> 2 & 1:
            continue
        for name in f.ids:
            with pytest.raises(PeerError) as error:
                f.clients[name].receive(f.forge(Kind.UNMASK_REQUEST, fields(body, headers=shown)))
            if len(shown) >= 4:
                assert isinstance(error.value, AuthenticationError)
                assert "different models" in str(error.value) or "left out" in str(error.value)
            tried += 1
        assert all(client.outbox() == [] for client in f.clients.values())
    assert tried == 16 * 5


def test_nor_will_the_holder_decrypt_one():
    f, headers = attacked(Encrypted, binds=True)
    f.server.close_phase()
    request = f.requests()[HOLDER][0]
    body = f.body(request)
    for mask in range(1, 32):
        if mask >> 2 & 1:
            shown = [headers[rank] for rank in range(5) if mask >> rank & 1]
            with pytest.raises(PeerError, match=r"min_clients|model"):
                f.holder.receive(f.forge(CkksKind.DECRYPT_REQUEST, fields(body, headers=shown)))
    assert f.holder.outbox() == []


@KINDS
def test_corrupt_clients_cannot_lend_the_victim_a_crowd(kind):
    """They may sign the victim's model as theirs; with c of them that makes c + 1, and the Params want m - c >= min_honest."""
    for c in range(4):
        for m in range(2, 6):
            try:
                params = Params(clients=5, **{**SETTINGS, "corrupt": c, "min_clients": m}, **PROTOCOLS[kind])
            except ValueError:
                continue
            assert 1 + c < params.min_clients, (c, m)
