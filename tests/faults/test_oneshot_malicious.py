"""Faults 27 to 36 and 51 of the oneshot protocol: a lying server, and clients and members that help it."""

import pytest

from secagg import Client, Identity, Roster
from secagg.errors import (
    AbortError,
    AuthenticationError,
    EquivocationError,
    InputError,
    ParameterError,
    PeerError,
    StateError,
)
from secagg.protocols.oneshot.messages import Kind
from secagg.wire import seal_envelope
from support.committee import SESSION, Committee, make_params, refused

MASKED, REVEAL = Kind.MASKED_REQUEST, Kind.REVEAL_REQUEST


def test_fault_27_and_36_a_member_answers_for_one_set_a_round():
    f = Committee(7, min_clients=5)
    f.until("reveal")
    frames = f.asked(REVEAL)
    for to, frame in frames.items():
        f.clients[to].receive(frame)
        refused(f.clients[to], f.fewer(frame, 6), "another set", EquivocationError)
        for out in f.clients[to].outbox():
            f.server.receive(out)
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)
    for to, frame in frames.items():  # nor in the next round, nor under new keys
        refused(f.clients[to], f.forged(frame, participants=list(range(6))))


def test_fault_28_and_51_nor_after_a_restart_from_an_old_state(tmp_path):
    f = Committee(5, min_clients=4, ledgers=tmp_path)
    f.until("reveal")
    old = {name: f.clients[name].snapshot() for name in f.ids}
    frames = f.asked(REVEAL)
    answers = {}
    for to, frame in frames.items():
        f.clients[to].receive(frame)
        answers[to] = f.clients[to].outbox()
        f.clients[to].close()
        again = f.restore(to, old[to])
        refused(again, f.fewer(frame, 4), "another set", EquivocationError)
        again.receive(frame)
        assert again.outbox() == answers[to]
        f.clients[to] = again


def test_fault_28_new_keys_do_not_reopen_a_round_that_was_answered():
    f = Committee(5)
    f.server.open_round(2)
    f.finish(2)
    keys = f.down[0][1]
    for first in (1, 2):
        refused(f.clients["c0"], f.forged(keys, first_round=first, server_key=bytes(31) + b"\x09"))


def test_fault_30_strangers_and_repeats_in_lists_are_refused():
    f = Committee(5, min_clients=4)
    f.until("masked")
    for to, frame in f.asked(MASKED).items():
        for ranks in ([0, 1, 2, 3, 9], [0, 0, 1, 2, 3], [3, 2, 1, 0, 4], [-1, 0, 1, 2, 3]):
            refused(f.clients[to], f.forged(frame, participants=ranks))
        others = [rank for rank in range(5) if f.ids[rank] != to]
        refused(f.clients[to], f.forged(frame, participants=others), "we are no participant")


def test_fault_31_fewer_survivors_than_agreed_are_refused_by_members():
    f = Committee(6, min_clients=5)
    f.until("reveal")
    for to, frame in f.asked(REVEAL).items():
        refused(f.clients[to], f.fewer(frame, 4), "fewer survivors")


def test_fault_32_other_params_are_refused():
    f, lax = Committee(6), make_params(6, min_clients=2, min_honest=1)
    f.server.open_round(1)
    requests = f.requests()
    refused(f.clients["c0"], f.forged(requests["c0"][0], params_hash=lax.hash), "other Params", AuthenticationError)
    f.bring(f.hand(requests))
    f.server.close_phase()
    for to, frame in f.asked(MASKED).items():
        refused(f.clients[to], f.forged(frame, params_hash=lax.hash), "other Params", AuthenticationError)


def test_fault_33_keys_that_were_exchanged_on_the_way_are_refused():
    f = Committee(5)
    f.until("masked")
    for to, frame in f.asked(MASKED).items():
        keys = f.body(frame).keys
        mine = f.forged(keys[0], signer="c4", channel_key=bytes(31) + b"\x09")
        refused(f.clients[to], f.forged(frame, keys=[mine, *keys[1:]]), error=AuthenticationError)
        refused(f.clients[to], f.forged(frame, keys=[keys[0], *keys]), error=PeerError)
        refused(f.clients[to], f.forged(frame, keys=keys[1:]), error=PeerError)


def test_fault_34_sybils_and_duplicate_identities_are_refused():
    """One key under two names is in no roster; one client's header is nobody else's, and counts once."""
    key, server = Identity.generate().verify_key, Identity.generate().verify_key
    with pytest.raises(ParameterError):
        Roster({"a": key, "b": key}, server)
    f = Committee(6, min_clients=5)
    f.until("reveal")
    for to, frame in f.asked(REVEAL).items():
        body = f.body(frame)
        twice = [body.headers[0], *body.headers[:5]]
        renamed = f.forged(body.headers[0]).replace(b"\xa2c0", b"\xa2c1")
        refused(f.clients[to], f.forged(frame, headers=twice), "unknown, repeated or out of order")
        refused(
            f.clients[to],
            f.forged(frame, headers=[body.headers[0], renamed, *body.headers[2:]]),
            error=AuthenticationError,
        )
        refused(f.clients[to], f.forged(frame, headers=body.headers[::-1]), "unknown, repeated or out of order")
        stranger = Committee(6, min_clients=5)
        theirs = seal_envelope(Kind.MASKED_HEADER, SESSION, "c5", f.body(body.headers[5]), stranger.keys["c5"].sign)
        refused(f.clients[to], f.forged(frame, headers=[*body.headers[:5], theirs]), error=AuthenticationError)
        f.clients[to].receive(frame)
        for out in f.clients[to].outbox():
            f.server.receive(out)
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_fault_35_updates_on_different_models_are_not_mixed():
    f = Committee(7, min_clients=4)
    f.until("masked")
    for to, frame in f.asked(MASKED).items():
        f.clients[to].receive(frame)
        f.clients[to].submit(f.updates[to], context=b"other" if to in {"c1", "c2"} else b"model")
        for out in f.clients[to].outbox():
            f.server.receive(out)
    f.server.close_phase()
    f.exact(f.finish(1), ["c0", "c3", "c4", "c5", "c6"])


def test_fault_51_the_same_secret_never_masks_two_updates(tmp_path):
    f = Committee(5, min_clients=4, ledgers=tmp_path)
    f.until("masked")
    old = f.clients["c0"].snapshot()
    request = f.requests()["c0"]
    for frame in request:
        f.clients["c0"].receive(frame)
    f.clients["c0"].submit(f.updates["c0"])
    f.clients["c0"].close()
    again = f.restore("c0", old)
    with pytest.raises((PeerError, InputError, AbortError)):
        for frame in request:
            again.receive(frame)
        again.submit(f.updates["c0"] + 1)
    assert again.outbox() == []


def test_another_update_for_one_round_is_refused():
    f = Committee(5)
    f.until("masked")
    for frame in f.requests()["c0"]:
        f.clients["c0"].receive(frame)
    f.clients["c0"].submit(f.updates["c0"])
    with pytest.raises(StateError):
        f.clients["c0"].submit(f.updates["c0"] + 1)


def test_a_drawn_committee_needs_the_session_from_elsewhere():
    params = make_params(12, committee=7, corrupt=1, threshold=5, packing=1)
    f = Committee(12, params=params)
    with pytest.raises(ParameterError, match="session id from elsewhere"):
        Client(params, me="c0", identity=f.keys["c0"], roster=f.roster)
    f.exact(f.round(1), f.ids)
    assert len(f.setup.ids) == 7
