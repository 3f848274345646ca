"""Faults 27 to 36: a lying server, lying clients."""

import pytest

from secagg import Client, Identity, Roster
from secagg.errors import (
    AbortError,
    AuthenticationError,
    EquivocationError,
    InputError,
    ParameterError,
    PeerError,
    ThresholdError,
)
from secagg.protocols.pairwise.messages import Kind
from support.federation import Federation, fields, make_params


def seven():
    return Federation(7, corrupt=1, threshold=5, min_clients=5)


def at_unmask(f, silent=()):
    """Run to the unmask phase and return each client's request body."""
    f.server.open_round(1)
    f.until("masked")
    f.phase(silent)
    inbox = f.requests()
    return {name: f.body(frames[0]) for name, frames in inbox.items() if frames}, inbox


def answers(f, name, body):
    """Whether a client answers this unmask request."""
    f.clients[name].receive(f.forge(Kind.UNMASK_REQUEST, body))
    return f.clients[name].outbox()


def test_fault_27_other_survivor_sets_to_other_clients_never_open_a_peer_both_ways():
    f = seven()
    bodies, _ = at_unmask(f)
    both = {"seed": set(), "key": set()}
    # half of the clients are told that c6 dropped out, the others that it survived
    for name in f.ids[:6]:
        body = bodies[name]
        headers = body.headers[:-1] if name in f.ids[:3] else body.headers
        assert answers(f, name, fields(body, headers=headers))
        both["key" if len(headers) == 6 else "seed"].add(name)
    assert len(both["seed"]) < 5
    assert len(both["key"]) < 5
    # the honest server could not use them either
    assert f.params.opened_honest >= f.params.min_honest


def test_fault_28_both_share_kinds_in_two_requests_are_refused():
    f = seven()
    bodies, _ = at_unmask(f)
    body = bodies["c0"]
    assert answers(f, "c0", body)
    for headers in (body.headers[:-1], body.headers[:1] + body.headers[2:]):
        with pytest.raises(EquivocationError):
            answers(f, "c0", fields(body, headers=headers))
    assert len(answers(f, "c0", body)) == 1  # the identical request gets the identical answer


def test_fault_29_a_client_told_it_is_dead_answers_nothing():
    f = seven()
    bodies, inbox = at_unmask(f)
    body = bodies["c0"]
    with pytest.raises(AbortError):
        answers(f, "c0", fields(body, headers=body.headers[1:]))
    with pytest.raises(PeerError):
        answers(f, "c0", body)
    assert f.clients["c0"].outbox() == []
    f.bring(f.hand({name: frames for name, frames in inbox.items() if name != "c0"}))
    f.server.close_phase()
    f.check(f.ids)


def test_fault_30_unknown_duplicate_and_dead_ids_are_refused():
    f = seven()
    bodies, inbox = at_unmask(f, silent={"c6"})
    body = bodies["c0"]
    for headers in (
        [*body.headers, body.headers[-1]],
        [body.headers[0], *body.headers],
        list(reversed(body.headers)),
    ):
        with pytest.raises(PeerError):
            answers(f, "c0", fields(body, headers=headers))
    stranger = Federation(7, corrupt=1, threshold=5, min_clients=5)
    foreign, _ = at_unmask(stranger)
    with pytest.raises(PeerError):
        answers(f, "c0", fields(body, headers=[*body.headers, foreign["c0"].headers[-1]]))
    for participants in ([*body.participants, 9], [0, 0, *body.participants[1:]], body.participants[::-1]):
        with pytest.raises(PeerError):
            answers(f, "c0", fields(body, participants=participants))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids[:6])


def test_fault_31_survivors_below_the_clients_own_minimum_are_refused():
    f = seven()
    bodies, _ = at_unmask(f)
    body = bodies["c0"]
    with pytest.raises(PeerError, match="min_clients"):
        answers(f, "c0", fields(body, headers=body.headers[:4]))


@pytest.mark.parametrize("change", [{"threshold": 6}, {"min_clients": 6}, {"encoding": None}])
def test_fault_32_other_params_are_refused_at_setup(change):
    f = seven()
    if "encoding" in change:
        from secagg import Integer

        change = {"encoding": Integer(0, 3)}
    settings = {"corrupt": 1, "threshold": 5, "min_clients": 5, **change}
    other = f.new_client("c0", params=make_params(7, **settings))
    f.server.open_round(1)
    with pytest.raises(AuthenticationError, match="Params"):
        other.receive(f.requests()["c0"][0])
    assert other.outbox() == []


def test_fault_33_substituted_keys_are_refused():
    f = seven()
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    mallory = Identity.generate()
    frames = list(body.advertisements)
    # c1's keys replaced by ones that c1 did not sign
    f.keys["c1"], real = mallory, f.keys["c1"]
    fake = f.forge_client("c1", Kind.ADVERTISEMENT, f.body(frames[1]))
    f.keys["c1"] = real
    with pytest.raises(AuthenticationError):
        f.clients["c0"].receive(
            f.forge(Kind.SHARES_REQUEST, fields(body, advertisements=[frames[0], fake, *frames[2:]]))
        )
    # c0's own keys replaced by older ones of c0
    with pytest.raises(AuthenticationError, match=r"substituted|left out"):
        f.clients["c0"].receive(f.forge(Kind.SHARES_REQUEST, fields(body, advertisements=frames[1:])))
    assert f.clients["c0"].outbox() == []
    f.bring(f.hand(inbox))
    f.server.close_phase()
    assert f.server.phase == "masked"


def test_fault_34_sybils_and_duplicate_identities_are_refused():
    key, server = Identity.generate(), Identity.generate()
    with pytest.raises((ParameterError, InputError)):
        Roster({"a": key.verify_key, "b": key.verify_key}, server.verify_key)
    with pytest.raises((ParameterError, InputError)):
        Roster({"a": server.verify_key, "b": key.verify_key}, server.verify_key)
    f = seven()
    f.server.open_round(1)
    f.phase()
    body = f.body(f.requests()["c0"][0])
    frames = body.advertisements
    for bad in ([frames[0], frames[0], *frames[1:]], [*frames, frames[-1]]):
        with pytest.raises(PeerError):
            f.clients["c0"].receive(f.forge(Kind.SHARES_REQUEST, fields(body, advertisements=bad)))


def test_fault_35_minority_models_are_left_out_and_a_split_aborts():
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    for name, frames in inbox.items():
        f.clients[name].receive(frames[0])
        f.clients[name].submit(f.updates[name], context=b"B" if name == "c4" else b"A")
        for frame in f.clients[name].outbox():
            f.server.receive(frame)
    f.server.close_phase()
    f.phase({"c4"})
    f.check([name for name in f.ids if name != "c4"])

    g = seven()
    g.server.open_round(1)
    g.until("masked")
    for i, (name, frames) in enumerate(g.requests().items()):
        g.clients[name].receive(frames[0])
        g.clients[name].submit(g.updates[name], context=b"AB"[i % 2 : i % 2 + 1])
        for frame in g.clients[name].outbox():
            g.server.receive(frame)
    with pytest.raises(ThresholdError, match="different contexts"):
        g.server.close_phase()


def test_fault_35_clients_refuse_survivors_of_another_model():
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    headers = []
    for name, frames in f.requests().items():
        f.clients[name].receive(frames[0])
        f.clients[name].submit(f.updates[name], context=b"B" if name == "c4" else b"A")
        headers.append(f.clients[name].outbox()[-1])
        participants = f.body(frames[0]).participants
        setup_hash = f.body(frames[0]).setup_hash
    from secagg.protocols.pairwise.messages import UnmaskRequest

    mixed = UnmaskRequest(1, setup_hash, participants, headers, None)
    with pytest.raises(AuthenticationError, match="different models"):
        f.clients["c0"].receive(f.forge(Kind.UNMASK_REQUEST, mixed))


def test_fault_36_the_same_round_with_other_sets_is_refused():
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    f.hand({"c0": inbox["c0"]})
    with pytest.raises(EquivocationError):
        f.clients["c0"].receive(f.forge(Kind.MASKED_REQUEST, fields(body, participants=body.participants[:6])))
    with pytest.raises(PeerError):
        f.clients["c1"].receive(f.forge(Kind.MASKED_REQUEST, fields(body, participants=body.participants[:4])))


def test_a_different_second_update_is_refused():
    f = seven()
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    client = f.clients["c0"]
    client.receive(inbox["c0"][0])
    client.submit(f.updates["c0"])
    first = client.outbox()
    client.receive(inbox["c0"][0])
    with pytest.raises(InputError, match="already submitted"):
        client.submit(f.updates["c1"])
    client.submit(f.updates["c0"])
    assert client.outbox() == first


def test_frames_of_strangers_and_forged_senders_are_refused():
    f = seven()
    f.server.open_round(1)
    sent = dict(f.hand(f.requests()))
    stranger = Federation(7, corrupt=1, threshold=5, min_clients=5)
    body = f.body(sent["c0"])
    with pytest.raises(AuthenticationError):
        f.server.receive(stranger.forge_client("c0", Kind.ADVERTISEMENT, body, session=f.server.session))
    with pytest.raises(AuthenticationError, match="carrier"):
        f.server.receive(sent["c0"], sender="c1")
    with pytest.raises(AuthenticationError):
        f.clients["c0"].receive(stranger.forge(Kind.KEYS_REQUEST, f.body(f.down[0][1]), session=f.server.session))
    with pytest.raises(PeerError):
        f.clients["c0"].receive(sent["c1"])


def test_identity_must_be_the_rosters():
    f = seven()
    with pytest.raises(ParameterError, match="not the roster's key"):
        Client(f.params, me="c0", identity=f.keys["c1"], roster=f.roster)
    with pytest.raises(ParameterError, match="not in the roster"):
        Client(f.params, me="zz", identity=f.keys["c1"], roster=f.roster)
