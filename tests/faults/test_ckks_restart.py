"""Faults 10 and 49 to 54 for a ckks server that keeps a journal and dies, whoever learns the sum."""

import threading

import pytest

from secagg.errors import AbortError, AuthenticationError, EquivocationError, InputError, PeerError
from secagg.protocols.ckks.messages import Kind
from secagg.store import journal as journals
from secagg.wire import HOLDER
from support.encrypted import MODES, Encrypted
from support.federation import fields
from support.journaled import (
    Story,
    concurrently,
    disk,
    fixed_randomness,
    journaled,
    outcome,
    put,
    reopened,
    restart,
)


@pytest.fixture(params=MODES, ids="-".join)
def fed(request, memory):
    reveal, threat = request.param
    return journaled(Encrypted(5, reveal=reveal, threat=threat, rounds_per_setup=3), memory / "journal")


def test_fault_49_from_the_disk_of_every_moment_the_server_goes_on_to_the_same_frames_and_sums(
    fed, memory, monkeypatch
):
    """Round 1 loses a client, round 2 is aborted, round 4 asks for another key."""
    fixed_randomness(monkeypatch)
    restart(fed)
    story = Story(fed, {1: {"encrypted": {"c4"}}, 2: {}, 3: {}, 4: {}}, {2: "encrypted"})
    assert len(story.disks) > 40
    for number, (here, files) in enumerate(story.disks):
        server = reopened(fed, put(files, memory / f"at-{number}"))
        assert (server.round_id, server.phase) == here
        story.resume(server)
        server.close()


def test_fault_49_with_fresh_randomness_each_time_and_a_restart_between_any_two_calls(fed):
    """What the holder seals for the server's key of a round is read by the server that comes after it."""
    for round_id in (1, 2, 4):
        fed.server.open_round(round_id)
        while fed.server.phase != "idle":
            sent = fed.server.outbox()
            assert restart(fed).outbox() == sent
            fed.server._out = list(sent)
            for name, frame in fed.hand(fed.requests()):
                fed.server.receive(frame, sender=name)
                fed.server.sync()
                restart(fed).outbox()
            assert fed.server.missing == ()
            fed.server.close_phase()
            restart(fed)
        fed.check(fed.ids, round_id)
        assert restart(fed).result(round_id).receipt == fed.server.result(round_id).receipt
        fed.check(fed.ids, round_id)


def test_fault_49_who_was_lost_in_a_round_is_sent_the_key_again_by_the_next_server(fed):
    fed.round(1, {"encrypted": {"c0"}})
    restart(fed)
    fed.clients["c0"].close()
    fed.clients["c0"] = fed.new_client("c0")  # without a state
    fed.round(2)
    fed.check(fed.ids, 2)
    restart(fed)
    fed.round(3)
    fed.check(fed.ids, 3)


@pytest.mark.parametrize("phase", ["keys", "encrypted", "decrypt"])
def test_fault_07_and_49_an_aborted_round_stays_aborted_and_its_id_used(fed, phase):
    fed.server.open_round(1)
    fed.until(phase)
    with pytest.raises(AbortError) as first:
        fed.phase([*fed.ids[:3], HOLDER])
    restart(fed)
    again = outcome(fed.server, 1)
    assert (type(again), again.args) == (type(first.value), first.value.args)
    with pytest.raises(InputError, match="increase"):
        fed.server.open_round(1)
    fed.round(2)
    fed.check(fed.ids, 2)


def test_fault_10_and_49_who_was_blamed_is_blamed_after_a_restart(fed):
    fed.server.open_round(1)
    fed.until("encrypted")
    sent = fed.hand(fed.requests())
    bodies = {name: frame for name, frame in sent if frame[3] == Kind.ENCRYPTED_HEADER}
    header = fed.body(bodies["c0"])
    liar = fed.forge_client("c0", Kind.ENCRYPTED_HEADER, fields(header, tag=bytes(len(header.tag))))
    fed.bring([pair for pair in sent if pair[1] != bodies["c0"]])
    with pytest.raises(AuthenticationError, match="upload refused"):
        fed.server.receive(liar)
    other = fed.forge_client("c2", Kind.ENCRYPTED_HEADER, fields(fed.body(bodies["c2"]), context_hash=bytes(32)))
    with pytest.raises(PeerError):
        fed.server.receive(other)
    fed.server.sync()
    restart(fed)
    assert fed.server.equivocations == {"c2": "two different frames in phase encrypted"}
    with pytest.raises(PeerError, match="refused already"):
        fed.server.receive(bodies["c0"])
    fed.server.close_phase()
    fed.phase()
    fed.check(fed.ids[1:])


def test_fault_51_and_72_a_rolled_back_server_has_no_second_sum_decrypted(memory):
    fed = journaled(Encrypted(5, rounds_per_setup=3, ledgers=memory), memory / "journal")
    fed.server.open_round(1)
    fed.until("encrypted")
    fed.bring(fed.hand(fed.requests()))
    fed.server.sync()
    old = disk(fed.journal)
    fed.server.close_phase()
    fed.phase()
    fed.check(fed.ids)
    fed.server.close()
    put(old, fed.journal)
    fed.server = reopened(fed, fed.journal)
    del fed.server._core._state.round.complete["c4"]
    fed.server.close_phase()
    assert fed.hand(fed.requests()) == []
    assert isinstance(fed.errors[HOLDER], EquivocationError | AbortError)
    with pytest.raises(AbortError):
        fed.server.close_phase()
    fed.errors.clear()
    fed.round(2)
    fed.check(fed.ids, 2)


@pytest.mark.parametrize("what", ["_write", "_flush"])
def test_fault_52_a_spool_that_cannot_be_written_ends_the_round(fed, monkeypatch, what):
    fed.round(1)
    fed.server.open_round(2)
    frames = fed.hand(fed.requests())

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journals, what, fail)
        with pytest.raises(AbortError, match="No space left"):
            fed.bring(frames)
            fed.server.close_phase()
    assert (fed.server.phase, fed.server.outbox()) == ("idle", [])
    fed.round(3)
    fed.check(fed.ids, 3)
    restart(fed)
    fed.round(4)
    fed.check(fed.ids, 4)


where_it_fails = {
    "fold": "hazmat.rlwe.Sum.add",
    "total": "protocols.ckks.server.account_digest",
    "take": "protocols.ckks.intake.holder_statement",
}


@pytest.mark.parametrize("where", where_it_fails)
def test_fault_53_no_memory_left_ends_the_round_not_the_session(fed, monkeypatch, where):
    fed.round(1)

    def exhausted(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patched:
        fed.server.open_round(2)
        if where == "take":
            fed.phase()
        frames = fed.hand(fed.requests())
        patched.setattr(f"secagg.{where_it_fails[where]}", exhausted)
        with pytest.raises(AbortError, match="no memory"):
            fed.bring(frames)
            fed.server.close_phase()
    assert fed.server.phase == "idle"
    with pytest.raises(AbortError):
        fed.server.result(2)
    restart(fed)
    fed.round(4)
    fed.check(fed.ids, 4)


def test_fault_54_frames_from_many_threads_give_the_same_sum(fed):
    for round_id in (1, 2):
        fed.server.open_round(round_id)
        while fed.server.phase != "idle":
            concurrently(fed, fed.hand(fed.requests()))
            fed.server.close_phase()
        fed.check(fed.ids, round_id)
    receipt = fed.server.result(2).receipt
    assert restart(fed).result(2).receipt == receipt


def test_fault_54_what_a_holder_is_sent_may_come_from_many_threads(fed):
    fed.server.open_round(1)
    fed.until("decrypt")
    request, *chunks = fed.requests()[HOLDER]
    fed.holder.receive(request)
    pool = [threading.Thread(target=fed.holder.receive, args=(frame,)) for frame in chunks]
    for each in pool:
        each.start()
    for each in pool:
        each.join()
    fed.results.update(fed.holder._results)
    fed.bring([(HOLDER, frame) for frame in fed.holder.outbox()])
    fed.server.close_phase()
    fed.check(fed.ids)
