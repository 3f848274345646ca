"""Faults 27 to 36 and 51 against clients that were restored from old snapshots, copied, or killed before the send.

Each client keeps a ledger. Snapshots are taken at every step of a round; whatever a lying server asks of whichever of them,
no second, different frame of a phase may leave.
"""

import numpy as np
import pytest

from secagg.errors import AbortError, EquivocationError, InputError, PeerError
from secagg.protocols.pairwise.messages import Kind
from support.federation import Federation, fields, make_params
from support.watch import Watch


@pytest.fixture
def story(tmp_path):
    """A client's snapshots at every step of setup and round 1, the requests it was sent, and all that left it."""
    f = Federation(7, corrupt=1, threshold=5, min_clients=5, rounds_per_setup=2, ledgers=tmp_path)
    snapshots, asked, left = [("new", f.clients["c0"].snapshot())], {}, []
    f.server.open_round(1)
    while f.server.phase != "idle":
        phase = f.server.phase
        inbox = f.requests()
        request = inbox.pop("c0")[0]
        client = f.clients["c0"]
        client.receive(request)
        if client.awaiting:
            snapshots.append(("asked for an update", client.snapshot()))
            client.submit(f.updates["c0"])
        sent = client.outbox()
        snapshots.append((f"after {phase}", client.snapshot()))
        asked[phase] = request
        left += [("c0", frame) for frame in sent]
        f.bring([("c0", frame) for frame in sent] + f.hand(inbox))
        f.server.close_phase()
    f.check(f.ids)
    f.clients["c0"].close()
    watch = Watch()
    for name, frame in left:
        watch.see(name, frame)
    return f, dict(snapshots), asked, watch


def drain(f, client, watch):
    if client.awaiting:
        client.submit(f.updates["c0"])
    frames = client.outbox()
    for frame in frames:
        watch.see("c0", frame)
    return frames


def tell(client, frame):
    try:
        client.receive(frame)
    except (PeerError, AbortError) as error:
        return error
    return None


STEPS = ["new", "after keys", "after shares", "asked for an update", "after masked", "after unmask"]


@pytest.mark.parametrize("step", STEPS)
def test_fault_51_an_old_state_repeats_its_frames_or_refuses(story, step):
    f, snapshots, asked, watch = story
    client = f.restore("c0", snapshots[step])
    seen = []
    for request in asked.values():
        tell(client, request)
        seen += drain(f, client, watch)
    if step == "new":
        assert seen == []  # its keys are gone, and fresh ones could never be used
    if step == "after shares":
        assert {frame[3] for frame in seen} == {Kind.ADVERTISEMENT, Kind.DEALING, Kind.UNMASK}  # byte for byte
    if step != "new":
        assert client._core._state.batch.seeds[0] is None  # the round is over: what it needed is forgotten
    f.clients["c0"] = client
    f.round(2)
    f.check(f.ids if step != "new" else f.ids[1:], 2)


@pytest.mark.parametrize("step", STEPS[1:])
def test_fault_28_and_36_other_sets_after_a_rollback_are_refused(story, step):
    f, snapshots, asked, watch = story
    client = f.restore("c0", snapshots[step])
    for phase in ("shares", "masked"):
        tell(client, asked[phase])
        drain(f, client, watch)
    masked, unmask = f.body(asked["masked"]), f.body(asked["unmask"])
    lies = [
        (Kind.MASKED_REQUEST, fields(masked, participants=masked.participants[:6])),
        (Kind.UNMASK_REQUEST, fields(unmask, headers=unmask.headers[:6])),
        (Kind.UNMASK_REQUEST, fields(unmask, headers=[unmask.headers[0], *unmask.headers[2:]])),
        (Kind.UNMASK_REQUEST, fields(unmask, participants=unmask.participants[:6], headers=unmask.headers[:6])),
    ]
    for kind, body in lies:
        assert isinstance(tell(client, f.forge(kind, body)), PeerError)
        assert client.outbox() == []
    assert tell(client, asked["unmask"]) is None
    assert len(drain(f, client, watch)) == 1


def test_fault_28_answering_first_the_lie_then_the_truth_is_refused_after_a_rollback(story):
    f, snapshots, _asked, watch = story
    # Round 2: c0 answers one set of survivors, is rolled back to before it, and is shown another.
    before = f.restore("c0", snapshots["after unmask"])
    f.clients["c0"] = before
    f.server.open_round(2)
    f.phase()
    early = before.snapshot()
    request = f.requests()["c0"][0]
    body = f.body(request)
    before.receive(f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[:6])))
    (answer,) = before.outbox()
    watch.see("c0", answer)
    before.close()
    for snapshot in (early, snapshots["after unmask"], snapshots["after shares"]):
        client = f.restore("c0", snapshot)
        assert isinstance(tell(client, request), PeerError)
        assert client.outbox() == []
        assert tell(client, f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[:6]))) is None
        assert client.outbox() == [answer]
        client.close()


@pytest.mark.parametrize("step", ["after shares", "asked for an update"])
def test_fault_35_another_update_after_a_rollback_never_leaves(story, step):
    f, snapshots, asked, watch = story
    client = f.restore("c0", snapshots[step])
    tell(client, asked["masked"])
    error = None
    if client.awaiting:
        with pytest.raises(InputError, match="already submitted") as error:
            client.submit(np.roll(f.updates["c0"], 1))
        with pytest.raises(InputError, match="already submitted"):
            client.submit(f.updates["c0"], context=b"another model")
        assert client.outbox() == []
    assert drain(f, client, watch) or error is None


def test_fault_33_other_advertisements_after_a_rollback_get_no_second_dealing(story):
    f, snapshots, asked, watch = story
    client = f.restore("c0", snapshots["after keys"])
    body = f.body(asked["shares"])
    fewer = fields(body, advertisements=body.advertisements[:6])
    assert isinstance(tell(client, f.forge(Kind.SHARES_REQUEST, fewer)), EquivocationError)
    assert client.outbox() == []
    assert tell(client, asked["shares"]) is None
    assert len(drain(f, client, watch)) == 1


def test_fault_51_without_a_ledger_the_rollback_answers_twice_as_documented(story, tmp_path):
    f, snapshots, asked, _ = story
    body = f.body(asked["unmask"])
    client = f.restore("c0", snapshots["after masked"], ledger=None, ledger_lost=True)
    assert tell(client, f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[:6]))) is None
    assert len(client.outbox()) == 1  # a second, different answer to round 1: such a client counts as corrupt


def test_fault_51_two_live_copies_on_one_ledger_send_one_frame(story):
    f, snapshots, _, _watch = story
    one, two = (f.restore("c0", snapshots["after unmask"]) for _ in range(2))
    f.clients["c0"] = one
    f.server.open_round(2)
    inbox = f.requests()
    request = inbox["c0"][0]
    two.receive(request)
    f.bring(f.hand(inbox))
    f.server.close_phase()
    with pytest.raises(InputError, match="already submitted"):
        two.submit(np.roll(f.updates["c0"], 1))
    two.submit(f.updates["c0"])
    for frame in two.outbox():
        assert frame in [sent for _, sent in f.up]
    unmask = f.requests()
    body = f.body(unmask["c0"][0])
    f.bring(f.hand(unmask))
    lie = f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[:6]))
    assert isinstance(tell(two, lie), PeerError)
    assert two.outbox() == []
    f.server.close_phase()
    f.check(f.ids, 2)


def test_a_client_without_state_but_with_its_ledger_takes_no_part_twice(story):
    f, _, asked, _watch = story
    client = f.new_client("c0")
    for request in asked.values():
        assert isinstance(tell(client, request), PeerError)
        assert client.outbox() == []


def test_a_frame_that_was_recorded_and_never_sent_is_sent_after_the_restart(tmp_path):
    """Killed between ledger and carrier, snapshot not stored: the state is older than its last frame."""
    f = Federation(5, ledgers=tmp_path)
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox = f.requests()
        old = f.clients["c1"].snapshot()
        f.hand({"c1": inbox["c1"]})  # recorded, and lost with the process
        f.clients["c1"].close()
        f.clients["c1"] = f.restore("c1", old)
        f.bring(f.hand(inbox))
        f.server.close_phase()
    f.check(f.ids)
    assert not f.errors


def test_fault_29_told_dead_then_alive_after_a_rollback_answers_once_at_most(tmp_path):
    f = Federation(7, corrupt=1, threshold=5, min_clients=5, ledgers=tmp_path)
    f.server.open_round(1)
    f.until("unmask")
    request = f.requests()["c0"][0]
    body = f.body(request)
    old = f.clients["c0"].snapshot()
    assert isinstance(
        tell(f.clients["c0"], f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[1:]))), AbortError
    )
    client = f.restore("c0", old)
    assert tell(client, request) is None
    assert len(client.outbox()) == 1
    assert isinstance(tell(client, f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[:6]))), PeerError)


def test_fault_51_a_ledger_rolled_back_alone_is_refused(story, tmp_path):
    f, snapshots, _asked, _ = story
    f.ledger("c0").unlink()
    for recreate in (False, True):
        if recreate:  # truncated to nothing, it would pass for a new one
            f.ledger("c0").write_bytes(b"")
        for step in ("after shares", "after masked", "after unmask"):
            with pytest.raises(InputError, match="not the one that belongs"):
                f.restore("c0", snapshots[step])
    with pytest.raises(InputError, match="kept a ledger"):
        f.restore("c0", snapshots["after masked"], ledger=None)


def test_fault_51_an_older_copy_of_the_ledger_is_refused(tmp_path):
    f = Federation(3, ledgers=tmp_path)
    f.round(1)
    client = f.clients["c0"]
    early = client.snapshot()
    client.close()
    old = f.ledger("c0").read_bytes()
    f.clients["c0"] = f.restore("c0", early)
    f.round(2)
    late = f.clients["c0"].snapshot()
    f.clients["c0"].close()
    f.ledger("c0").write_bytes(old)
    with pytest.raises(InputError, match="rolled back"):
        f.restore("c0", late)
    f.restore("c0", early)  # both rolled back together: nothing on that disk can notice


def test_both_rolled_back_together_is_the_documented_loss(tmp_path):
    f = Federation(7, corrupt=1, threshold=5, min_clients=5, ledgers=tmp_path)
    f.server.open_round(1)
    f.until("unmask")
    request = f.requests()["c0"][0]
    body, snapshot = f.body(request), f.clients["c0"].snapshot()
    f.clients["c0"].close()
    ledger = f.ledger("c0").read_bytes()
    sent = []
    for frame in (request, f.forge(Kind.UNMASK_REQUEST, fields(body, headers=body.headers[:6]))):
        f.ledger("c0").write_bytes(ledger)
        client = f.restore("c0", snapshot)
        client.receive(frame)
        sent += client.outbox()
        client.close()
    assert len(set(sent)) == 2


def test_a_snapshot_of_a_weaker_session_is_refused_where_params_are_given(tmp_path):
    """Somebody who can swap snapshots must not be able to choose what the client accepts."""
    weak = Federation(
        7, params=make_params(7, threat="semi-honest", corrupt=1, threshold=2, min_clients=3), ledgers=tmp_path
    )
    weak.round(1)
    snapshot = weak.clients["c0"].snapshot()
    weak.clients["c0"].close()
    strong = make_params(7, corrupt=1, threshold=5, min_clients=5)
    with pytest.raises(InputError, match="other Params"):
        weak.restore("c0", snapshot, params=strong)
    with pytest.raises(InputError, match="another session"):
        weak.restore("c0", snapshot, session=bytes(16))
    again = weak.restore("c0", snapshot, session=weak.server.session)
    assert (again.params, again.session) == (weak.params, weak.server.session)


def test_a_round_that_is_over_is_over_for_an_older_state(story):
    """A restored state in the middle of round 1 when the ledger has frames of round 2: nothing of round 1 leaves."""
    f, snapshots, asked, _watch = story
    f.clients["c0"] = f.restore("c0", snapshots["after unmask"])
    f.round(2)
    for step in STEPS[2:]:
        client = f.restore("c0", snapshots[step])
        for phase in ("masked", "unmask"):
            assert isinstance(tell(client, asked[phase]), PeerError)
            assert client.outbox() == []
        assert client.awaiting is None
        state = client._core._state
        assert state.batch.seeds == [None, None]
        client.close()


def test_fault_27_who_submitted_is_no_outsider_after_a_rollback(story):
    """Shown a list without itself, a client that submitted must not answer as if it had not been asked."""
    f, snapshots, asked, _watch = story
    for step in ("after shares", "asked for an update", "after masked"):
        client = f.restore("c0", snapshots[step])
        body = f.body(asked["unmask"])
        others = fields(body, participants=body.participants[1:], headers=body.headers[1:])
        assert isinstance(tell(client, f.forge(Kind.UNMASK_REQUEST, others)), PeerError)
        assert client.outbox() == []
        client.close()


def test_an_update_does_not_follow_an_answer(tmp_path):
    """Two live copies: one answers as not asked, the other was asked and must not send any more."""
    f = Federation(7, corrupt=1, threshold=5, min_clients=5, max_participants=6, rounds_per_setup=2, ledgers=tmp_path)
    f.round(1, participants=f.ids[:6])
    one, two = (f.restore("c6", f.clients["c6"].snapshot()) for _ in range(2))
    f.clients["c6"] = one
    f.server.open_round(2, participants=f.ids[:6])
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    two.receive(f.forge(Kind.MASKED_REQUEST, fields(body, participants=[1, 2, 3, 4, 5, 6])))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    for act in (two.submit, two.stream):
        with pytest.raises(AbortError, match="answered"):
            list(act(f.updates["c6"]) or ())
    assert two.outbox() == []
    f.check(f.ids[:6], 2)


def test_a_recorded_answer_is_adopted_when_the_request_comes_again(story, monkeypatch):
    """The ledger has the answer, but the process was interrupted before it knew: the same request gets it."""
    f, snapshots, _, _ = story
    client = f.clients["c0"] = f.restore("c0", snapshots["after unmask"])
    f.server.open_round(2)
    f.phase()
    inbox = f.requests()
    record = type(client._ledger).record

    def interrupted(self, *args):
        record(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(client._ledger), "record", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.receive(inbox["c0"][0])
    assert client.outbox() == []
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids, 2)
    assert "c0" in f.server.result(2).receipt.signatures
