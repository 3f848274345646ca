"""Faults 27 to 36 again: in the second round of a batch, with a sample, over restarts; and at the setup of the next batch."""

import contextlib

import pytest

from secagg import Params
from secagg.errors import AbortError, AuthenticationError, EquivocationError, PeerError, ThresholdError
from secagg.protocols.pairwise.messages import Kind
from support.federation import Federation, fields

SAMPLE = [f"c{i}" for i in range(7)]
SETTINGS = {"corrupt": 1, "threshold": 7, "min_clients": 5, "max_participants": 7, "rounds_per_setup": 4}


@pytest.fixture(params=["same process", "restarted after each phase"])
def fed(request, tmp_path):
    f = Federation(9, ledgers=tmp_path, **SETTINGS)
    f.restarts = request.param != "same process"
    f.round(1, participants=["c2", "c3", "c4", "c5", "c6", "c7", "c8"])
    return f


def at_unmask(f, silent=(), round_id=2):
    """Run to the unmask phase of a sampled round; return each client's request body, and the inbox."""
    f.server.open_round(round_id, participants=SAMPLE)
    f.until("masked")
    f.phase(silent)
    inbox = f.requests()
    return {name: f.body(frames[0]) for name, frames in inbox.items() if frames}, inbox


def answers(f, name, body):
    f.clients[name].receive(f.forge(Kind.UNMASK_REQUEST, body))
    return f.clients[name].outbox()


def test_fault_27_other_survivors_to_other_clients_mid_batch(fed):
    f = fed
    bodies, _ = at_unmask(f)
    kinds = {"seed": set(), "key": set()}
    for name, body in bodies.items():  # unsampled members are lied to as well
        if name == "c6":
            continue  # told that it is dead, it answers nothing
        dead = name in f.ids[:4]
        assert answers(f, name, fields(body, headers=body.headers[:-1] if dead else body.headers))
        kinds["key" if dead else "seed"].add(name)
    assert {len(found) < f.params.threshold for found in kinds.values()} == {True}
    assert f.params.opened_honest >= f.params.min_honest


def test_fault_27_other_participants_to_the_unsampled_mid_batch(fed):
    """The unsampled have seen no list: whatever they are shown must fit the survivors' signed headers."""
    f = fed
    bodies, inbox = at_unmask(f)
    body = bodies["c7"]
    for participants in ([0, 1, 2, 3, 4, 5, 8], [0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]):
        ranks = [p for p in participants if p < 7]
        lie = fields(body, participants=participants, headers=[body.headers[rank] for rank in ranks])
        with pytest.raises(PeerError):
            answers(f, "c7", lie)
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(SAMPLE, 2)


def test_fault_28_the_unsampled_answer_once(fed):
    f = fed
    bodies, inbox = at_unmask(f)
    (first,) = answers(f, "c8", fields(bodies["c8"], headers=bodies["c8"].headers[:6]))
    f.restart("c8")
    with pytest.raises(EquivocationError):
        answers(f, "c8", bodies["c8"])
    assert answers(f, "c8", fields(bodies["c8"], headers=bodies["c8"].headers[:6])) == [first]
    f.bring(f.hand({name: frames for name, frames in inbox.items() if name != "c8"}))
    f.server.close_phase()
    f.check(SAMPLE, 2)


def test_fault_29_told_dead_mid_batch_it_aborts_and_takes_part_in_the_next(fed):
    f = fed
    bodies, inbox = at_unmask(f)
    with pytest.raises(AbortError):
        answers(f, "c0", fields(bodies["c0"], headers=bodies["c0"].headers[1:]))
    f.restart("c0")
    with pytest.raises(PeerError):
        answers(f, "c0", bodies["c0"])
    f.bring(f.hand({name: frames for name, frames in inbox.items() if name != "c0"}))
    f.server.close_phase()
    f.check(SAMPLE, 2)
    f.round(3, participants=SAMPLE)
    f.check(SAMPLE, 3)


def test_fault_30_and_31_bad_lists_mid_batch(fed):
    f = fed
    bodies, inbox = at_unmask(f, silent={"c6"})
    for name in ("c0", "c8"):
        body = bodies[name]
        for headers in (
            [*body.headers, body.headers[-1]],
            [body.headers[0], *body.headers],
            body.headers[::-1],
            body.headers[:4],
        ):
            with pytest.raises(PeerError):
                answers(f, name, fields(body, headers=headers))
        for participants in ([*body.participants, 9], body.participants[::-1], [0, *body.participants]):
            with pytest.raises(PeerError):
                answers(f, name, fields(body, participants=participants))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(SAMPLE[:6], 2)


def test_fault_30_headers_of_another_round_of_the_batch_are_refused(fed):
    f = fed
    old = {
        name: [frame for sender, frame in f.up if sender == name and frame[3] == Kind.MASKED_HEADER] for name in f.ids
    }
    bodies, inbox = at_unmask(f)
    body = bodies["c0"]
    for i, name in enumerate(SAMPLE[2:], start=2):
        headers = [*body.headers[:i], old[name][0], *body.headers[i + 1 :]]
        with pytest.raises(PeerError):
            answers(f, "c0", fields(body, headers=headers))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(SAMPLE, 2)


@pytest.mark.parametrize(
    "change", [{"threshold": 8}, {"min_clients": 6}, {"max_participants": 8}, {"rounds_per_setup": 2}]
)
def test_fault_32_other_params_at_the_next_setup_are_refused(fed, change):
    f = fed
    f.server.open_round(5, participants=SAMPLE)
    request = f.requests()["c0"][0]
    other = Params(clients=9, length=37, encoding=f.params.encoding, frame_bytes=64, **{**SETTINGS, **change})
    body = f.body(request)
    with pytest.raises(AuthenticationError, match="Params"):
        f.clients["c0"].receive(f.forge(Kind.KEYS_REQUEST, fields(body, params_hash=other.hash)))
    with pytest.raises(AuthenticationError):
        f.clients["c0"].receive(f.forge(Kind.KEYS_REQUEST, fields(body, rounds=5)))
    assert f.clients["c0"].outbox() == []


def test_fault_33_and_34_at_the_next_setup(fed):
    f = fed
    old = {name: frame for name, frame in f.up if frame[3] == Kind.ADVERTISEMENT}
    f.server.open_round(5, participants=SAMPLE)
    f.phase()
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    frames = body.advertisements
    for bad in (
        [frames[0], old["c1"], *frames[2:]],  # keys of the batch before
        [frames[0], frames[0], *frames[1:]],
        [*frames, frames[-1]],
        frames[1:],
        [old["c0"], *frames[1:]],
        frames[:6],
    ):
        with pytest.raises(PeerError):
            f.clients["c0"].receive(f.forge(Kind.SHARES_REQUEST, fields(body, advertisements=bad)))
    assert f.clients["c0"].outbox() == []
    f.bring(f.hand(inbox))
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(SAMPLE, 5)


def test_fault_35_minority_models_mid_batch_and_a_split(fed):
    f = fed
    for round_id, minority in ((2, {"c4"}), (3, {"c0", "c2", "c4"})):
        f.server.open_round(round_id, participants=SAMPLE)
        for name, frames in f.requests().items():
            if not frames:
                continue
            f.clients[name].receive(frames[0])
            f.clients[name].submit(f.updates[name], context=b"B" if name in minority else b"A")
            for frame in f.clients[name].outbox():
                f.server.receive(frame)
        if len(minority) == 1:
            f.server.close_phase()
            f.phase(minority)
            f.check([name for name in SAMPLE if name not in minority], round_id)
        else:
            with pytest.raises(ThresholdError, match="different contexts"):
                f.server.close_phase()
    f.round(4, participants=SAMPLE)
    f.check(SAMPLE, 4)


ODD = {
    int: [-1, 0, 3, 1 << 31, (1 << 63) - 1, (1 << 64) - 1, -(1 << 63)],
    bytes: [b"", b"\x00", bytes(32), bytes(33), b"\xff" * 5000],
    list: [[], [-1], [0], [99], [1 << 62], [-(1 << 63), 5], [0, 0], [2, 1], list(range(9)), list(range(300))],
}


def nonsense(value):
    """What a signer may put in a field's place and still have it decoded."""
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [[], value[:1], value[::-1], value * 2, [b""], [b"\x00" * 400], [*value[:-1], value[-1][:-1]]]
    if isinstance(value, int):
        return ODD[int]
    if isinstance(value, bytes):
        return ODD[bytes]
    if isinstance(value, list):
        return ODD[list]
    if value is None:
        return []
    return [fields(value, **{name: odd}) for name in value.__struct_fields__ for odd in nonsense(getattr(value, name))]


@pytest.mark.parametrize("first", [True, False], ids=["setup", "mid-batch"])
def test_signed_nonsense_is_only_ever_refused(tmp_path, first):
    """Every field of every request, for every client that gets it, in every phase: PeerError or AbortError, nothing else."""
    f = Federation(9, ledgers=tmp_path, **SETTINGS)
    if not first:
        f.round(1, participants=SAMPLE)
    f.server.open_round(2, participants=SAMPLE)
    tried = 0
    while f.server.phase != "idle":
        inbox = f.requests()
        for name in ("c0", "c8"):
            if not inbox[name]:
                continue
            kind, body = inbox[name][0][3], f.body(inbox[name][0])
            snapshot = f.clients[name].snapshot()
            for odd in nonsense(body):
                victim = f.restore(name, snapshot, ledger=None, ledger_lost=True)
                with contextlib.suppress(PeerError, AbortError):
                    victim.receive(f.forge(Kind(kind), odd))
                tried += 1
        f.bring(f.hand(inbox))
        f.server.close_phase()
    f.check(SAMPLE, 2)
    assert tried > 60


@pytest.mark.parametrize("phase", ["keys", "shares", "masked", "unmask"])
def test_signed_nonsense_of_clients_is_only_ever_refused(phase):
    f = Federation(9, **SETTINGS)
    f.server.open_round(1, participants=SAMPLE)
    f.until(phase)
    sent = f.hand(f.requests())
    frame = [frame for name, frame in sent if name == "c1"][-1]
    body = f.body(frame)
    for odd in nonsense(body):
        with contextlib.suppress(PeerError, AbortError):
            f.server.receive(f.forge_client("c1", Kind(frame[3]), odd))
    f.bring([pair for pair in sent if pair[0] != "c1"])
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase({"c1"})
    assert "c1" not in f.server.result(1).contributors or phase == "unmask"
