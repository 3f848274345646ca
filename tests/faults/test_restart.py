"""Faults 10, 28 and 49 to 54 for a server that keeps a journal and dies."""

import subprocess
import sys
import threading

import msgspec
import pytest

from secagg.errors import AbortError, AuthenticationError, EquivocationError, InputError, PeerError, StateError
from secagg.protocols.pairwise.messages import Kind
from secagg.store import journal as journals
from support import journaled, small_memory
from support.federation import Federation, fields
from support.journaled import Story, concurrently, disk, fixed_randomness, outcome, put, reopened, restart

CHANGES = {"corrupt": 1, "threshold": 4, "min_clients": 4, "rounds_per_setup": 3}


@pytest.fixture
def fed(memory):
    return journaled.journaled(Federation(5, **CHANGES), memory / "journal")


@pytest.fixture
def story(memory, monkeypatch):
    """Round 1 runs a setup and loses a client, round 2 is aborted, round 4 runs another setup."""
    fixed_randomness(monkeypatch)
    fed = journaled.journaled(Federation(5, **CHANGES), memory / "journal")
    return Story(fed, {1: {"masked": {"c4"}}, 2: {}, 3: {"unmask": {"c1"}}, 4: {}}, {2: "masked"})


def test_fault_49_from_the_disk_of_every_moment_the_server_goes_on_to_the_same_frames_and_sums(story, memory):
    assert len(story.disks) > 80
    for number, (here, files) in enumerate(story.disks):
        server = reopened(story.fed, put(files, memory / f"at-{number}"))
        assert (server.round_id, server.phase) == here
        story.resume(server)
        server.close()


def test_fault_49_and_50_a_write_that_was_cut_short_is_one_that_was_not_made(story, memory):
    """Every prefix of the write-ahead log is what some power failure leaves, as long as the spool is the round's."""
    files = [files for here, files in story.disks if here == (1, "unmask")][-1]
    whole, seen = files["-wal"], set()
    for number, size in enumerate([*range(0, len(whole), 4096 + 24), len(whole) - 1]):
        server = reopened(story.fed, put({**files, "-wal": whole[:size]}, memory / f"torn-{number}"))
        seen.add(server.recorded)
        if server.session == story.fed.server.session:  # and not a file that was never one
            story.resume(server)
        server.close()
    assert len(seen) > 5
    later = {**files, "-spool": story.disks[-1][1]["-spool"]}  # a log from before a spool was used again is an old copy
    with pytest.raises(InputError, match="spool"):
        reopened(story.fed, put(later, memory / "later"))


def test_fault_49_with_fresh_randomness_each_time_and_a_restart_between_any_two_calls(fed):
    for round_id in (1, 2, 4):
        fed.server.open_round(round_id)
        while fed.server.phase != "idle":
            sent = fed.server.outbox()
            assert restart(fed).outbox() == sent
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
        before = fed.server.result(round_id)
        assert restart(fed).result(round_id).receipt == before.receipt


def test_fault_49_frames_that_were_not_yet_durable_are_asked_for_again(fed):
    fed.server.open_round(1)
    fed.until("masked")
    fed.bring(fed.hand(fed.requests()))
    assert fed.server.missing == ()
    restart(fed)
    assert fed.server.missing == tuple(fed.ids)
    fed.round_goes_on = fed.phase()
    fed.phase()
    fed.check(fed.ids)


@pytest.mark.parametrize("phase", ["keys", "shares", "masked", "unmask"])
def test_fault_07_and_49_an_aborted_round_stays_aborted_and_its_id_used(fed, phase):
    fed.server.open_round(1)
    fed.until(phase)
    with pytest.raises(AbortError) as first:
        fed.phase(fed.ids[:3])
    restart(fed)
    again = outcome(fed.server, 1)
    assert (type(again), again.args) == (type(first.value), first.value.args)
    with pytest.raises(InputError, match="increase"):
        fed.server.open_round(1)
    fed.round(2)
    fed.check(fed.ids, 2)


def test_fault_10_and_49_who_was_blamed_is_blamed_after_a_restart(fed):
    fed.server.open_round(1)
    fed.until("masked")
    sent = fed.hand(fed.requests())
    bodies = {name: frame for name, frame in sent if frame[3] == Kind.MASKED_HEADER}
    header = fed.body(bodies["c0"])
    liar = fed.forge_client("c0", Kind.MASKED_HEADER, fields(header, tag=bytes(len(header.tag))))
    fed.bring([pair for pair in sent if pair[0] != "c1" and pair[1] != bodies["c0"]])
    with pytest.raises(AuthenticationError, match="upload refused"):
        fed.server.receive(liar)
    other = fed.forge_client("c2", Kind.MASKED_HEADER, fields(fed.body(bodies["c2"]), context_hash=bytes(32)))
    for _ in range(3):
        with pytest.raises(PeerError):
            fed.server.receive(other)
    recorded = fed.server.recorded
    fed.server.sync()
    assert fed.server.recorded == recorded + len(sent) - sum(name == "c1" for name, _ in sent) + 1  # each blame once
    restart(fed)
    assert fed.server.equivocations == {"c2": "two different frames in phase masked"}
    assert fed.server.missing == ("c1",)
    with pytest.raises(PeerError, match="refused already"):
        fed.server.receive(bodies["c0"])
    fed.bring([pair for pair in sent if pair[0] == "c1"])
    fed.server.close_phase()
    fed.phase()
    fed.check(fed.ids[1:])
    fed.round(2)
    assert restart(fed).equivocations == {"c2": "two different frames in phase masked"}


def test_fault_51_two_servers_from_one_old_journal_open_one_sum_at_most(memory):
    """The disk of a moment before the sum was fixed is put back, and another set of survivors is shown: nobody answers twice."""
    fed = journaled.journaled(Federation(5, ledgers=memory, **CHANGES), memory / "journal")
    fed.server.open_round(1)
    fed.until("masked")
    sent = fed.hand(fed.requests())
    fed.bring(sent)
    fed.server.sync()
    old = disk(fed.journal)
    fed.server.close_phase()
    truth = fed.requests()
    answers = fed.hand(truth)
    fed.bring(answers)
    fed.server.close_phase()
    fed.check(fed.ids)
    # The copy has the uploads but not that they were summed: its owner drops one and asks again.
    seen = fed.server.recorded
    fed.server.close()
    put(old, fed.journal)
    with pytest.raises(InputError, match="rolled back"):
        reopened(fed, fed.journal, recorded=seen)
    server = fed.server = reopened(fed, fed.journal)
    assert server.phase == "masked"
    server.abort()
    other = put(old, memory / "other")
    fed.server = reopened(fed, other)
    del fed.server._core._state.round.complete["c4"]  # what a rolled back server may have instead: c4 came too late
    fed.server.close_phase()
    lies = fed.requests()
    assert lies["c0"] != truth["c0"]
    assert fed.hand(lies) == []
    assert all(isinstance(fed.errors[name], EquivocationError) for name in fed.ids[:4])
    with pytest.raises(AbortError):
        fed.server.close_phase()


def test_fault_51_the_same_set_again_gives_the_same_sum(memory):
    fed = journaled.journaled(Federation(5, ledgers=memory, **CHANGES), memory / "journal")
    fed.server.open_round(1)
    fed.until("unmask")
    old = disk(fed.journal)
    fed.phase()
    fed.check(fed.ids)
    receipt = fed.server.result(1).receipt
    fed.server.close()
    put(old, fed.journal)
    fed.server = reopened(fed, fed.journal)
    fed.phase()
    fed.check(fed.ids)
    assert fed.server.result(1).receipt == receipt


# -- the machine gives out --------------------------------------------------------------------------------------------


def full(fed):
    """Let the journal's file have no more pages."""
    db = fed.server._recorder._journal._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    return lambda: db.execute("PRAGMA max_page_count = 1000000")


@pytest.mark.parametrize("phase", ["keys", "shares", "masked", "unmask"])
def test_fault_52_a_full_disk_ends_the_round_and_the_session_goes_on(fed, phase):
    fed.server.open_round(1)
    fed.until(phase)
    old, sent = disk(fed.journal), fed.server.outbox()
    fed.server._out = list(sent)
    space = full(fed)
    with pytest.raises(AbortError, match="full"):
        while True:
            fed.phase(close=False)
            last = fed.server.phase
            fed.server.close_phase()
            if fed.server.phase == "idle":  # little is written when a round ends
                big = fed.forge_client("c0", Kind.UNMASK, fed.body(fed.up[-1][1]))
                fed.server._recorder._journal.append(1, big * 100)
                fed.server.sync()
    assert (fed.server.phase, fed.server.outbox()) == ("idle", [])
    image = disk(fed.journal)
    assert image[""] == old[""]
    space()
    fed.round(2)
    fed.check(fed.ids, 2)
    assert restart(fed).result(2).contributors == tuple(fed.ids)
    # And who is killed at once, instead of going on, finds the round as it was.
    other = reopened(fed, put(image, fed.journal.with_name("other")))
    assert other.phase == last


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
        assert fed.server.phase == "idle"
        with pytest.raises(AbortError):
            fed.server.result(2)
    if what == "_write":  # what the disk has is the round as it was opened
        assert reopened(fed, put(disk(fed.journal), fed.journal.with_name("copy"))).phase == "idle"
    fed.round(3)
    fed.check(fed.ids, 3)
    restart(fed)
    fed.round(4)
    fed.check(fed.ids, 4)


def test_fault_52_a_failed_disk_makes_no_abort_durable_and_says_so(fed, monkeypatch):
    fed.server.open_round(1)
    fed.until("masked")
    fed.bring(fed.hand(fed.requests())[:3])
    image = disk(fed.journal)

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(journals, "_flush", fail)
        with pytest.raises(AbortError, match="Input/output"):
            fed.server.abort()
    assert fed.server.phase == "idle"
    assert reopened(fed, put(image, fed.journal.with_name("copy"))).phase == "masked"
    fed.round(2)
    fed.check(fed.ids, 2)


@pytest.mark.parametrize("where", ["receive", "close", "open"])
@pytest.mark.parametrize("kept", [True, False])
def test_fault_53_no_memory_left_ends_the_round_not_the_session(fed, monkeypatch, where, kept):
    """Wherever the allocation fails: half of an upload, of a closing or of an opening is never taken for all of it."""
    if not kept:
        fed.server.close()
        fed.server = reopened(fed, None)
    fed.round(1)

    def exhausted(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patched:
        if where == "open":
            patched.setattr(type(fed.server._core), "_ask_masked", exhausted)
        with pytest.raises(AbortError, match="no memory"):
            fed.server.open_round(2)
            patched.setattr("secagg.accumulator._add_range", exhausted)
            fed.phase()
    if where == "close":
        fed.server.open_round(3)
        fed.until("unmask")
        with monkeypatch.context() as patched:
            patched.setattr("secagg.protocols.pairwise.server.Opener", exhausted)
            with pytest.raises(AbortError, match="no memory"):
                fed.phase()
    assert fed.server.phase == "idle"
    with pytest.raises(AbortError):
        fed.server.result(2)
    if kept:
        restart(fed)
    fed.round(4)
    fed.check(fed.ids, 4)
    if kept:
        restart(fed)
        fed.round(5)
        fed.check(fed.ids, 5)


def test_fault_53_a_limit_on_the_address_space_ends_the_round(memory):
    """RLIMIT_AS, in a process of its own: the vector of a new group cannot be allocated."""
    fed = journaled.journaled(Federation(3, length=20_000_000, frame_bytes=4 << 20), memory / "journal", threads=1)
    fed.server.open_round(1)
    fed.until("masked")
    frames = [frame for _, frame in fed.hand(fed.requests(), fed.ids[1:])]
    fed.server.close()
    (memory / "frames").write_bytes(msgspec.msgpack.encode(frames))
    (memory / "params").write_bytes(fed.params.to_bytes())
    fed.roster.save(memory / "roster")
    fed.server_key.save(memory / "identity")
    command = [sys.executable, small_memory.__file__, str(memory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "the machine has no memory left; the round is over and nothing was released idle\n", (
        done.stderr
    )
    fed.server = reopened(fed, fed.journal, threads=1)
    assert (fed.server.round_id, fed.server.phase) == (2, "keys")


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
        fed.check(fed.ids, round_id)
    if kept:
        receipt = fed.server.result(2).receipt
        assert restart(fed).result(2).receipt == receipt


def test_fault_54_clients_that_submit_in_threads_of_their_own(fed):
    fed.server.open_round(1)
    fed.until("masked")
    inbox, sent = fed.requests(), []

    def work(name):
        sent.extend(fed.hand({name: inbox[name]}))

    pool = [threading.Thread(target=work, args=(name,)) for name in fed.ids]
    for each in pool:
        each.start()
    for each in pool:
        each.join()
    concurrently(fed, sent)
    fed.server.close_phase()
    fed.phase()
    fed.check(fed.ids)


def test_a_closed_server_answers_nothing_but_what_it_knew(fed):
    fed.round(1)
    fed.server.close()
    fed.server.close()
    for call in (
        fed.server.outbox, fed.server.close_phase, fed.server.abort, fed.server.sync,
        lambda: fed.server.open_round(2), lambda: fed.server.receive(b""),
    ):  # fmt: skip
        with pytest.raises(StateError, match="closed"):
            call()
    fed.check(fed.ids)
