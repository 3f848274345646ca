"""Faults 27 to 36 of the ckks protocol: a lying server, lying clients. What they could gain is in tests/attacks."""

import pytest

from secagg import Identity, Roster
from secagg.errors import AuthenticationError, EquivocationError, ParameterError, PeerError, ThresholdError
from secagg.protocols.ckks.messages import Kind
from secagg.wire import HOLDER
from support.encrypted import MODES, Encrypted, make_params
from support.federation import fields


@pytest.fixture(params=MODES, ids="-".join)
def fed(request):
    reveal, threat = request.param
    return Encrypted(7, reveal=reveal, threat=threat, min_clients=5)


def rest(f, *gone):
    return [name for name in f.ids if name not in gone]


def test_fault_27_and_36_clients_shown_other_participants_are_not_summed(fed):
    """Half are shown a list without c6, so that their headers do not fit the others': no request holds both."""
    f = fed
    f.server.open_round(1)
    f.until("encrypted")
    inbox = f.requests()
    headers = []
    for name in f.ids[:6]:
        body = f.body(inbox[name][0])
        shown = body.participants[:6] if name in f.ids[:3] else body.participants
        f.clients[name].receive(f.forge(Kind.ENCRYPTED_REQUEST, fields(body, participants=shown)))
        with pytest.raises(EquivocationError):
            f.clients[name].receive(f.forge(Kind.ENCRYPTED_REQUEST, fields(body, participants=[0, 1, 2, 3, 4])))
        f.clients[name].submit(f.updates[name])
        headers.append(f.clients[name].outbox()[-1])
    for participants in (list(range(6)), list(range(7))):
        with pytest.raises(AuthenticationError, match="another participants"):
            tag = b"" if f.params.recompute else bytes(32)
            f.holder.receive(f.ask(headers, {}, participants=participants, sum_tag=tag)[0])
    assert f.holder.outbox() == []


def test_fault_31_survivors_below_the_holders_own_minimum_are_refused(fed):
    f = fed
    f.server.open_round(1)
    f.until("decrypt")
    inbox = f.requests()
    body = f.body(inbox[HOLDER][0])
    with pytest.raises(PeerError, match="min_clients"):
        f.holder.receive(f.forge(Kind.DECRYPT_REQUEST, fields(body, headers=body.headers[:4])))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids)


@pytest.mark.parametrize(
    "change",
    [{"min_clients": 6}, {"threat": "semi-honest"}, {"reveal": "holder"}, {"ring": (2048, 40)}, {"max_weight": 2}],
)
def test_fault_32_other_params_are_refused_by_client_and_holder(change):
    f = Encrypted(7, min_clients=5)
    other = make_params(7, **{"min_clients": 5, **change})
    f.server.open_round(1)
    inbox = f.requests()
    holder = f.new_holder(params=other)
    with pytest.raises(AuthenticationError, match="Params"):
        holder.receive(inbox[HOLDER][0])
    f.bring(f.hand(inbox))
    f.server.close_phase()
    client = f.new_client("c0", params=other)
    with pytest.raises(AuthenticationError, match="Params"):
        client.receive(f.requests()["c0"][0])
    assert (holder.outbox(), client.outbox(), client.awaiting) == ([], [], None)


def test_fault_34_sybils_and_duplicate_identities_are_refused(fed):
    f = fed
    key, server = Identity.generate().verify_key, Identity.generate().verify_key
    with pytest.raises(ParameterError):
        Roster({"a": key, "b": key}, server, Identity.generate().verify_key)
    f.server.open_round(1)
    f.until("decrypt")
    inbox = f.requests()
    body = f.body(inbox[HOLDER][0])
    doubled = [body.headers[0], *body.headers[:4]]
    renamed = f.forge_client("c1", Kind.ENCRYPTED_HEADER, f.body(body.headers[0]))
    renamed = renamed.replace(b"\xa2c1", b"\xa2c9")
    for headers in (doubled, [body.headers[0], renamed, *body.headers[2:]]):
        with pytest.raises(PeerError, match="unknown, repeated"):
            f.holder.receive(f.forge(Kind.DECRYPT_REQUEST, fields(body, headers=headers)))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids)


def test_fault_35_minority_models_are_left_out_and_a_split_aborts(fed):
    f = fed
    for round_id, minority in ((1, {"c4"}), (2, {"c0", "c2", "c4"})):
        f.server.open_round(round_id)
        f.until("encrypted")
        for name, frames in f.requests().items():
            if name == HOLDER:
                continue
            f.clients[name].receive(frames[0])
            f.clients[name].submit(f.updates[name], context=b"B" if name in minority else b"A")
            for frame in f.clients[name].outbox():
                f.server.receive(frame)
        if len(minority) == 1:
            f.server.close_phase()
            inbox = f.requests()
            assert len(f.body(inbox[HOLDER][0]).headers) == 6
            f.bring(f.hand(inbox))
            f.server.close_phase()
            f.check(rest(f, "c4"))
        else:
            with pytest.raises(ThresholdError, match="different contexts"):
                f.server.close_phase()
    f.round(3)
    f.check(f.ids, 3)
