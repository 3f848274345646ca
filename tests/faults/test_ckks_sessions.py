"""Faults 15 and 48b to 51 and 72 of the ckks protocol: rounds of one key and the next, restarts, rollbacks, copies."""

import numpy as np
import pytest

from secagg.errors import AbortError, AuthenticationError, InputError, PeerError, ThresholdError
from secagg.protocols.ckks.messages import Kind
from secagg.store import Ledger
from secagg.wire import HOLDER, decode_frame
from support.encrypted import MODES, PHASES, Encrypted, tell
from support.federation import fields

SAMPLE = [f"c{i}" for i in range(7)]


@pytest.fixture(params=[(MODES[0], True), (MODES[1], False)], ids=str)
def fed(request, memory):
    """A session of nine whose first of four rounds of a key is over; seven are asked at most."""
    (reveal, threat), restarts = request.param
    f = Encrypted(
        9, min_clients=5, max_participants=7, rounds_per_setup=4, ledgers=memory, reveal=reveal, threat=threat
    )
    f.restarts = restarts
    f.round(1, participants=f.ids[2:])
    f.check(f.ids[2:])
    return f


def rest(*gone):
    return [name for name in SAMPLE if name not in gone]


# -- rounds -----------------------------------------------------------------------------------------------------------


def test_fault_48b_the_unsampled_are_neither_survivors_nor_dropouts_and_hear_nothing(fed):
    f = fed
    f.server.open_round(2, participants=SAMPLE)
    assert f.server.phase == "encrypted"  # no new key
    inbox = f.requests()
    assert {name for name, frames in inbox.items() if frames} == set(SAMPLE)
    f.bring(f.hand(inbox, {"c6"}))
    f.server.close_phase()
    f.phase()
    f.check(rest("c6"), 2)
    assert f.server.result(2).receipt.participants == tuple(SAMPLE)


def test_fault_48c_out_of_one_round_a_client_returns_with_or_without_its_state(fed):
    f = fed
    f.round(2, silent={"encrypted": {"c3", "c4"}}, participants=SAMPLE)
    f.check(rest("c3", "c4"), 2)
    for lost in ("c3", "c5"):  # they know nothing any more; their ledgers do
        f.clients[lost].close()
        f.clients[lost] = f.new_client(lost)
    f.round(3, participants=SAMPLE)
    # c3 was silent, and so is shown the key again; of c5 nobody knew that it had lost it.
    assert isinstance(f.errors["c5"], AuthenticationError)
    f.check(rest("c5"), 3)
    f.round(4, participants=SAMPLE)
    f.check(SAMPLE, 4)


def test_fault_48c_so_many_lost_the_key_that_a_round_failed_are_sent_it_again():
    f = Encrypted(5, rounds_per_setup=50)
    f.round(1)
    key = f.key_hash
    for name in f.ids[:3]:
        f.clients[name] = f.new_client(name)
    with pytest.raises(ThresholdError, match="survivors"):
        f.round(2)
    f.round(3)
    f.check(f.ids, 3)
    assert f.key_hash == key


def test_fault_48d_a_new_key_in_band_when_the_old_ones_rounds_are_used_up(fed):
    f = fed
    phases, hashes = [], set()
    for round_id in range(2, 10):
        f.server.open_round(round_id, participants=SAMPLE)
        while f.server.phase != "idle":
            phases.append(f.server.phase)
            f.phase()
        hashes.add(f.key_hash)
        f.check(SAMPLE, round_id)
    steady = ["encrypted", "decrypt"]
    assert phases == steady * 3 + ["keys"] + steady * 4 + ["keys"] + steady
    assert len(hashes) == 3


def test_fault_12_a_later_round_expires_an_earlier_one(fed):
    f = fed
    f.server.open_round(2, participants=SAMPLE)
    held = f.requests()
    f.server.abort()
    f.round(3, participants=SAMPLE)
    for name in SAMPLE:
        with pytest.raises(PeerError, match="increase"):
            f.clients[name].receive(held[name][0])
    f.check(SAMPLE, 3)


def test_fault_15_retries_are_identical_over_restarts(fed):
    f = fed
    for round_id in (2, 5):
        f.server.open_round(round_id, participants=SAMPLE)
        while f.server.phase != "idle":
            inbox = f.requests()
            first = f.hand(inbox)
            f.restart()
            f.restart_holder()
            assert f.hand(inbox) == first
            f.bring(first)
            f.server.close_phase()
        f.check(SAMPLE, round_id)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_49_restarted_at_every_boundary_of_a_round(memory, phase):
    for number, (reveal, threat) in enumerate(MODES):
        home = memory / str(number)
        home.mkdir()
        f = Encrypted(3, ledgers=home, reveal=reveal, threat=threat, rounds_per_setup=2)
        for round_id in (1, 2, 3):
            f.server.open_round(round_id)
            while f.server.phase != "idle":
                if f.server.phase == phase:
                    f.restart()
                    f.restart_holder()
                f.phase()
            f.check(f.ids, round_id)


# -- rolled back and copied -------------------------------------------------------------------------------------------


@pytest.fixture(params=MODES[:2], ids="-".join)
def story(request, memory):
    """A client's and the holder's snapshots at every step of round 1, what they were sent, and what they said."""
    reveal, threat = request.param
    f = Encrypted(5, rounds_per_setup=3, ledgers=memory, reveal=reveal, threat=threat)
    snapshots, asked, said = {"new": (f.clients["c0"].snapshot(), f.holder.snapshot())}, {}, {}
    f.server.open_round(1)
    while f.server.phase != "idle":
        phase, inbox = f.server.phase, f.requests()
        if phase == "encrypted":
            f.clients["c0"].receive(inbox["c0"][0])
            snapshots["asked"] = (f.clients["c0"].snapshot(), f.holder.snapshot())
        asked[phase], sent = inbox, f.hand(inbox)
        said[phase] = sent
        snapshots[phase] = (f.clients["c0"].snapshot(), f.holder.snapshot())
        f.bring(sent)
        f.server.close_phase()
    f.check(f.ids)
    f.clients["c0"].close()
    f.holder.close()
    return f, snapshots, asked, said


STEPS = ["new", "keys", "asked", "encrypted", "decrypt"]


@pytest.mark.parametrize("step", STEPS)
def test_fault_51_an_old_client_repeats_its_frames_or_sends_none(story, step):
    f, snapshots, asked, said = story
    client = f.restore("c0", snapshots[step][0])
    error = tell(client, asked["encrypted"]["c0"])
    mine = [frame for name, frame in said["encrypted"] if name == "c0"]
    if step in ("encrypted", "decrypt"):
        assert error is None
        with pytest.raises(InputError, match="another update"):
            client.submit(np.roll(f.updates["c0"], 1))
        assert client.outbox() == []
        client.submit(f.updates["c0"])
        assert client.outbox() == mine
    else:  # the randomness of what has left is gone: nothing leaves
        assert isinstance(error, PeerError)
        assert client.awaiting is None
        assert client.outbox() == []
    f.clients["c0"], f.holder = client, f.restore_holder(snapshots["decrypt"][1])
    f.round(2)
    f.check(f.ids[1:] if step in ("new", "keys") else f.ids, 2)  # who has lost the key is out until the next one


def lies_of(f, frames):
    """Other sums, as far as the signed headers allow any: to another recipient, or of fewer survivors."""
    request, *chunks = frames
    body = f.body(request)
    if f.params.reveal == "server":
        other = fields(body, server_key=f.body(body.headers[1]).channel_key)
        return [f.forge(Kind.DECRYPT_REQUEST, other), *chunks]
    fewer = f.forge(Kind.DECRYPT_REQUEST, fields(body, headers=body.headers[:4]))
    return [fewer, *(frame for frame in chunks if decode_frame(frame, max_bytes=1 << 20)[1].sender != "c4")]


@pytest.mark.parametrize("step", STEPS)
def test_fault_72_an_old_holder_decrypts_no_second_sum(story, step):
    """Another sum of round 1, after any rollback: refused, or an abort; the very same request: the very same bytes."""
    f, snapshots, asked, said = story
    frames = asked["decrypt"][HOLDER]
    holder = f.restore_holder(snapshots[step][1])
    assert isinstance(tell(holder, lies_of(f, frames)), PeerError | AbortError)
    assert holder.outbox() == []
    holder.close()
    holder = f.restore_holder(snapshots[step][1])
    error = tell(holder, frames)
    if step == "new":
        assert isinstance(error, PeerError)  # it has no key
        assert holder.outbox() == []
    else:
        assert error is None
        assert [(HOLDER, frame) for frame in holder.outbox()] == said["decrypt"]
    holder.close()


@pytest.mark.parametrize("ledger", [False, True], ids=["no ledger", "a ledger that was lost too"])
def test_fault_72_with_its_ledger_gone_a_holder_decrypts_two_sums_as_documented(story, memory, ledger):
    f, snapshots, asked, said = story
    path = memory / "another" if ledger else None
    holder = f.restore_holder(snapshots["encrypted"][1], ledger=path, ledger_lost=True)
    assert tell(holder, lies_of(f, asked["decrypt"][HOLDER])) is None
    again = [(HOLDER, frame) for frame in holder.outbox()]
    assert again[0][1][3] == Kind.DECRYPTED
    assert again != said["decrypt"]


def test_fault_51_two_live_copies_of_the_holder_decrypt_one_sum(story):
    f, snapshots, _, _ = story
    one, two = (f.restore_holder(snapshots["decrypt"][1]) for _ in range(2))
    f.clients["c0"] = f.restore("c0", snapshots["decrypt"][0])
    f.holder = one
    f.server.open_round(2)
    f.phase()
    inbox = f.requests()
    request, *chunks = inbox[HOLDER]
    lie, *_ = lies_of(f, inbox[HOLDER])
    assert tell(two, [lie]) is None  # nothing is decrypted yet, so nothing speaks against it yet
    f.bring(f.hand(inbox))
    assert isinstance(tell(two, chunks), AbortError)
    assert two.outbox() == []
    with pytest.raises(PeerError, match="does not increase"):
        two.receive(request)  # nor the right one any more, from a copy that was asked for another
    f.server.close_phase()
    f.check(f.ids, 2)


def test_fault_51_two_live_copies_of_a_client_send_one_upload(story):
    f, snapshots, _, _ = story
    one, two = (f.restore("c0", snapshots["decrypt"][0]) for _ in range(2))
    f.clients["c0"], f.holder = one, f.restore_holder(snapshots["decrypt"][1])
    f.server.open_round(2)
    inbox = f.requests()
    two.receive(inbox["c0"][0])
    f.bring(f.hand(inbox))
    for update in (
        f.updates["c0"],
        np.roll(f.updates["c0"], 1),
    ):  # its randomness is its own, so even the same one differs
        with pytest.raises(InputError, match="another update"):
            two.submit(update)
        with pytest.raises(InputError, match="another update"):
            list(two.stream(update))
    assert two.outbox() == []
    f.server.close_phase()
    f.phase()
    f.check(f.ids, 2)


def test_fault_51_a_client_that_was_rolled_back_draws_anew_even_without_a_ledger():
    """A refused update leaves randomness behind; two copies of a state that has it could use it for two updates."""
    f = Encrypted(3)
    f.server.open_round(1)
    f.phase()
    client = f.clients["c0"]
    client.receive(f.requests()["c0"][0])
    with pytest.raises(InputError):
        client.submit(np.full(f.params.length, 5000))
    snapshot = client.snapshot()
    used = set()
    for update in (f.updates["c0"], f.updates["c1"]):
        again = f.restore("c0", snapshot)
        assert again.awaiting
        again.submit(update)
        used.add(again._core._state.round.seed)
    assert len(used) == 2
    assert len(again.outbox()) == 3
    restored = f.restore("c0", again.snapshot())
    assert restored._core._state.round.seed in used  # tied to its update, it is kept, for the same frames again


def test_a_holder_with_its_ledger_but_without_state_makes_a_key_and_no_second_sum(story):
    f, _, asked, _ = story
    holder = f.new_holder()
    assert isinstance(tell(holder, asked["decrypt"][HOLDER]), PeerError)
    assert holder.outbox() == []
    f.holder, f.clients["c0"] = holder, f.new_client("c0")
    f.server.open_round(4)  # the first that needs a key
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids, 4)


def test_a_holder_that_lost_its_state_costs_one_round():
    f = Encrypted(5, rounds_per_setup=50)
    f.round(1)
    f.holder = f.new_holder()
    with pytest.raises(ThresholdError, match="answers of the key holder"):
        f.round(2)
    f.round(3)
    f.check(f.ids, 3)
    f.round(4)
    assert (
        sum(decode_frame(frame, max_bytes=1 << 30)[0] == Kind.KEY_REQUEST for to, frame in f.down if to == HOLDER) == 2
    )


def test_fault_52_without_room_for_its_ledger_the_holder_decrypts_nothing(memory, monkeypatch):
    f = Encrypted(3, ledgers=memory)
    f.server.open_round(1)
    f.until("decrypt")
    inbox = f.requests()

    def full(*_):
        raise AbortError("the ledger failed, so nothing may leave: disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "record", full)
        assert isinstance(tell(f.holder, inbox[HOLDER]), AbortError)
    assert f.holder.outbox() == []
    f.bring(f.hand(inbox))  # too late: what could not be opened is not opened in another way
    assert isinstance(f.errors[HOLDER], PeerError)
    with pytest.raises(AbortError):
        f.server.close_phase()
    f.round(2)
    f.check(f.ids, 2)
