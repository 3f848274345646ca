"""Faults 7, 10 and 49 to 54 of the oneshot protocol for a server that keeps a journal and dies."""

import pytest

from secagg.errors import AbortError, AuthenticationError, EquivocationError, InputError, PeerError
from secagg.protocols.oneshot.messages import Kind
from secagg.store import journal as journals
from support.committee import Committee, lie
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

PHASES = ["keys", "masked", "reveal"]


@pytest.fixture
def fed(memory):
    return journaled(Committee(5), memory / "journal")


@pytest.fixture
def story(memory, monkeypatch):
    """Round 1 loses a client, round 2 is aborted, a member is silent in round 3, round 4 asks for other keys."""
    fixed_randomness(monkeypatch)
    fed = journaled(Committee(5), memory / "journal")
    silent = {1: {"masked": {"c4"}}, 2: {}, 3: {"reveal": {"c1"}}, 4: {}}
    return Story(fed, silent, {2: "masked"})


def test_fault_49_from_the_disk_of_every_moment_the_server_goes_on_to_the_same_frames_and_sums(story, memory):
    assert len(story.disks) > 80
    assert {here[1] for here, _ in story.disks} == {*PHASES, "idle"}
    for number, (here, files) in enumerate(story.disks):
        server = reopened(story.fed, put(files, memory / f"at-{number}"))
        assert (server.round_id, server.phase) == here
        story.resume(server)
        server.close()


def test_fault_49_and_50_a_write_that_was_cut_short_is_one_that_was_not_made(story, memory):
    files = [files for here, files in story.disks if here == (1, "reveal")][-1]
    whole, seen = files["-wal"], set()
    for number, size in enumerate([*range(0, len(whole), 4096 + 24), len(whole) - 1]):
        server = reopened(story.fed, put({**files, "-wal": whole[:size]}, memory / f"torn-{number}"))
        seen.add(server.recorded)
        story.resume(server)
        server.close()
    assert len(seen) > 3


@pytest.mark.parametrize("how", ["a flipped byte", "another session's spool", "no spool", "another server's"])
def test_fault_50_a_journal_that_is_not_what_was_written_is_refused(fed, memory, how):
    fed.until("reveal")
    files = disk(fed.journal)
    fed.server.close()
    spool = bytearray(files["-spool"])
    spool[len(spool) // 2] ^= 1
    bad = {
        "a flipped byte": {**files, "-spool": bytes(spool)},
        "another session's spool": {**files, "-spool": bytes(len(spool))},
        "no spool": {end: content for end, content in files.items() if end != "-spool"},
        "another server's": files,
    }[how]
    other = Committee(5) if how == "another server's" else fed
    with pytest.raises(InputError):
        reopened(other, put(bad, memory / "bad"))
    fed.server = reopened(fed, put(files, memory / "good"))
    fed.exact(fed.finish(1), fed.ids)


def test_fault_49_with_fresh_randomness_each_time_and_a_restart_between_any_two_calls(fed):
    """What a member seals for the server's key of a batch is read by the servers that come after it."""
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
        fed.exact(fed.server.result(round_id), fed.ids)
        assert restart(fed).result(round_id).receipt == fed.server.result(round_id).receipt


def test_fault_49_frames_that_were_not_yet_durable_are_asked_for_again(fed):
    fed.until("masked")
    fed.bring(fed.hand(fed.requests()))
    assert fed.server.missing == ()
    restart(fed)
    assert fed.server.missing == tuple(fed.ids)
    fed.exact(fed.finish(1), fed.ids)


def test_fault_49_who_was_lost_in_a_round_is_sent_the_keys_again_by_the_next_server(memory):
    """A sender that is no member: without its state it lacks the keys, and nothing else."""
    fed = journaled(Committee(12, committee=7, corrupt=1, threshold=5, packing=1), memory / "journal")
    fed.until("masked")
    lost = next(name for name in fed.ids if name not in fed.setup.ids)
    fed.exact(fed.finish(1, silent={lost}), [name for name in fed.ids if name != lost])
    restart(fed)
    fed.clients[lost] = fed.new_client(lost)
    for round_id in (2, 3):
        fed.exact(fed.round(round_id), fed.ids)
        restart(fed)
    assert not fed.errors


@pytest.mark.parametrize("phase", PHASES)
def test_fault_07_and_49_an_aborted_round_stays_aborted_and_its_id_used(fed, phase):
    fed.until(phase)
    with pytest.raises(AbortError) as first:
        fed.finish(1, silent=fed.ids[:3])
    restart(fed)
    again = outcome(fed.server, 1)
    assert (type(again), again.args) == (type(first.value), first.value.args)
    with pytest.raises(InputError, match="increase"):
        fed.server.open_round(1)
    fed.exact(fed.round(2), fed.ids)


def test_fault_10_and_49_who_was_blamed_is_blamed_after_a_restart(fed):
    fed.until("masked")
    sent = fed.hand(fed.requests())
    bodies = {name: frame for name, frame in sent if frame[3] == Kind.MASKED_HEADER}
    fed.bring([pair for pair in sent if pair[1] != bodies["c0"]])
    with pytest.raises(AuthenticationError, match="upload refused"):
        fed.server.receive(fed.forged(bodies["c0"], tag=bytes(32)))
    with pytest.raises(PeerError):
        fed.server.receive(fed.forged(bodies["c2"], context_hash=bytes(32)))
    fed.server.sync()
    restart(fed)
    assert fed.server.equivocations == {"c2": "two different frames in phase masked"}
    with pytest.raises(PeerError, match="refused already"):
        fed.server.receive(bodies["c0"])
    fed.server.close_phase()
    fed.exact(fed.finish(1), fed.ids[1:])
    assert restart(fed).equivocations == {"c2": "two different frames in phase masked"}


def test_fault_24_and_49_a_liar_that_was_named_is_named_after_a_restart(memory, monkeypatch):
    fed = journaled(Committee(20, corrupt=1, threshold=16, packing=2), memory / "journal")
    fed.until("reveal")
    lie(monkeypatch, 3)
    fed.carry()
    fed.server.sync()
    restart(fed)
    fed.server.close_phase()
    result = fed.server.result(1)
    fed.exact(result, fed.ids)
    assert dict(result.blamed) == dict(restart(fed).result(1).blamed) != {}


def test_fault_51_a_rolled_back_server_is_answered_for_no_second_set(memory):
    """The disk of a moment before the set was fixed is put back, and one client fewer asked for: no member answers twice."""
    fed = journaled(Committee(5, ledgers=memory), memory / "journal")
    fed.until("masked")
    fed.bring(fed.hand(fed.requests()))
    fed.server.sync()
    old = disk(fed.journal)
    fed.server.close_phase()
    fed.exact(fed.finish(1), fed.ids)
    seen = fed.server.recorded
    fed.server.close()
    put(old, fed.journal)
    with pytest.raises(InputError, match="rolled back"):
        reopened(fed, fed.journal, recorded=seen)
    fed.server = reopened(fed, fed.journal)
    del fed.server._core._state.round.complete["c4"]  # as if it had come too late
    fed.server.close_phase()
    assert fed.hand(fed.requests()) == []
    assert all(isinstance(fed.errors[name], EquivocationError) for name in fed.ids)
    with pytest.raises(AbortError):
        fed.server.close_phase()
    fed.errors.clear()
    fed.exact(fed.round(2), fed.ids)


def test_fault_51_the_same_set_again_gives_the_same_sum(memory):
    fed = journaled(Committee(5, ledgers=memory), memory / "journal")
    fed.until("reveal")
    old = disk(fed.journal)
    fed.exact(fed.finish(1), fed.ids)
    receipt = fed.server.result(1).receipt
    fed.server.close()
    put(old, fed.journal)
    fed.server = reopened(fed, fed.journal)
    fed.exact(fed.finish(1), fed.ids)
    assert fed.server.result(1).receipt == receipt


# -- the machine gives out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_fault_52_a_full_disk_ends_the_round_and_the_session_goes_on(fed, phase):
    fed.until(phase)
    db = fed.server._recorder._journal._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    old = disk(fed.journal)
    with pytest.raises(AbortError, match="full"):
        while True:
            fed.carry()
            fed.server.close_phase()
            if fed.server.phase == "idle":  # little is written when a round ends
                fed.server._recorder._journal.append(1, fed.up[-1][1] * 100)
                fed.server.sync()
    assert (fed.server.phase, fed.server.outbox()) == ("idle", [])
    assert disk(fed.journal)[""] == old[""]
    db.execute("PRAGMA max_page_count = 1000000")
    fed.exact(fed.round(2), fed.ids)
    assert restart(fed).result(2).contributors == tuple(fed.ids)


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
    fed.exact(fed.round(3), fed.ids)
    restart(fed)
    fed.exact(fed.round(4), fed.ids)


where_it_fails = {
    "fold": "hazmat.hintrlwe.MaskedSum.add",
    "tree": "protocols.oneshot.merkle.tree",
    "close": "protocols.oneshot.server.account_digest",
    "answer": "protocols.oneshot.intake.answer_key",
    "combine": "protocols.oneshot.sharing.combine",
    "open": "hazmat.hintrlwe.MaskedSum.open",
}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("where", where_it_fails)
def test_fault_53_no_memory_left_ends_the_round_not_the_session(fed, monkeypatch, where, kept):
    """Wherever the allocation fails: half of an upload, of a closing or of an answer is never taken for all of it."""
    if not kept:
        fed.server.close()
        fed.server = reopened(fed, None)
    fed.round(1)

    def exhausted(*_, **__):
        raise MemoryError

    fed.server.open_round(2)
    with monkeypatch.context() as patched:
        if where not in ("fold", "tree", "close"):
            fed.carry()
            fed.server.close_phase()
        frames = fed.hand(fed.requests())
        patched.setattr(f"secagg.{where_it_fails[where]}", exhausted)
        with pytest.raises(AbortError, match="no memory"):
            fed.bring(frames)
            fed.server.close_phase()
    assert fed.server.phase == "idle"
    with pytest.raises(AbortError):
        fed.server.result(2)
    if kept:
        restart(fed)
    fed.exact(fed.round(4), fed.ids)


def test_fault_53_contexts_cannot_multiply_the_servers_memory():
    fed = Committee(9, corrupt=1, min_clients=3)
    fed.until("masked")
    refused = []
    for i, (name, frames) in enumerate(fed.requests().items()):
        fed.clients[name].receive(frames[0])
        fed.clients[name].submit(fed.updates[name], context=b"model %d" % i)
        for frame in fed.clients[name].outbox():
            try:
                fed.server.receive(frame)
            except AuthenticationError as error:
                refused.append((name, "too many different contexts" in str(error)))
    assert refused == [(name, True) for name in fed.ids[5:]]
    # room for four models of honest clients and one of the corrupt one
    assert len(fed.server._core.bulk._sums) == 5


# -- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
def test_fault_54_frames_from_many_threads_give_the_same_sum(fed, kept):
    if not kept:
        fed.server.close()
        fed.server = reopened(fed, None, threads=2)
    for round_id in (1, 2):
        fed.server.open_round(round_id)
        while fed.server.phase != "idle":
            concurrently(fed, fed.hand(fed.requests()))
            fed.server.close_phase()
        fed.exact(fed.server.result(round_id), fed.ids)
    if kept:
        receipt = fed.server.result(2).receipt
        assert restart(fed).result(2).receipt == receipt
