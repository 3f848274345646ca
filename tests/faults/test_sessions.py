"""Faults 1 to 15, 36 and 48b to 48d again: in the middle of a batch, in sampled rounds, with and without restarts.

Nine clients, one of them corrupt; a setup serves four rounds; up to seven are asked for an update. Two may be lost in a round.
"""

import contextlib
import random

import pytest

from secagg.errors import AbortError, EquivocationError, InputError, PeerError, ThresholdError
from secagg.protocols.pairwise.messages import Kind
from support.federation import Federation, fields

SAMPLE = [f"c{i}" for i in range(7)]  # c7 and c8 are members who are not asked in round 2


@pytest.fixture(params=["same process", "restarted after each phase"])
def fed(request, tmp_path):
    """A session whose first round is over: what follows happens in the second of four rounds of the batch."""
    f = Federation(
        9, corrupt=1, threshold=7, min_clients=5, max_participants=7, rounds_per_setup=4, ledgers=tmp_path,
    )  # fmt: skip
    f.restarts = request.param != "same process"
    f.round(1, participants=["c2", "c3", "c4", "c5", "c6", "c7", "c8"])
    f.check(["c2", "c3", "c4", "c5", "c6", "c7", "c8"])
    return f


def open_second(f, **changes):
    f.server.open_round(2, **{"participants": SAMPLE, **changes})
    assert f.server.phase == "masked"  # two exchanges: no setup


def rest(*gone):
    return [name for name in SAMPLE if name not in gone]


# -- dropouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["keys", "shares"])
def test_fault_01_and_02_lost_in_setup_is_out_of_the_batch_and_in_the_next(fed, phase):
    f = fed
    f.round(5, silent={phase: {"c0"}}, participants=SAMPLE)
    f.check(rest("c0"), 5)
    f.round(6, participants=SAMPLE)  # c0 is back, without keys of this batch
    f.check(rest("c0"), 6)
    f.round(9, participants=SAMPLE)
    f.check(SAMPLE, 9)


def test_fault_03_and_04_lost_around_the_input_mid_batch(fed):
    f = fed
    f.round(2, silent={"masked": {"c1"}, "unmask": {"c4"}}, participants=SAMPLE)
    f.check(rest("c1"), 2)
    f.round(3, silent={"masked": {"c4"}}, participants=SAMPLE)
    f.check(rest("c4"), 3)


def test_fault_05_mid_message_mid_batch(fed):
    f = fed
    open_second(f)
    sent = f.hand(f.requests())
    theirs = [pair for pair in sent if pair[0] == "c5"]
    f.bring([pair for pair in sent if pair[0] != "c5"] + theirs[:-2])
    f.server.close_phase()
    f.phase()
    f.check(rest("c5"), 2)


def test_fault_06_exactly_enough_in_a_sampled_round(fed):
    f = fed
    f.round(2, silent={"masked": {"c0", "c1"}}, participants=SAMPLE)  # survivors = min_clients, answers = threshold
    f.check(rest("c0", "c1"), 2)
    f.round(3, silent={"unmask": {"c7", "c8"}}, participants=SAMPLE)  # the unsampled are the ones who do not answer
    f.check(SAMPLE, 3)


@pytest.mark.parametrize(
    ("silent", "have"),
    [
        ({"masked": {"c0", "c1", "c2"}}, 4),
        ({"unmask": {"c0", "c7", "c8"}}, 6),
        ({"masked": {"c0"}, "unmask": {"c7", "c8"}}, 6),
    ],
)
def test_fault_07_one_fewer_aborts_and_the_batch_goes_on(fed, silent, have):
    f = fed
    with pytest.raises(ThresholdError) as error:
        f.round(2, silent=silent, participants=SAMPLE)
    assert error.value.have == have
    with pytest.raises(AbortError):
        f.server.result(2)
    f.server.open_round(3, participants=SAMPLE)
    assert f.server.phase == "masked"
    f.server.abort()
    f.round(4, participants=SAMPLE)
    f.check(SAMPLE, 4)


def test_fault_07_one_fewer_at_setup_burns_the_id_not_the_session(fed):
    f = fed
    for round_id, phase in ((5, "keys"), (6, "shares")):
        with pytest.raises(ThresholdError):
            f.round(round_id, silent={phase: {"c0", "c1", "c2"}}, participants=SAMPLE)
        with pytest.raises(InputError, match="increase"):
            f.server.open_round(round_id)
    f.round(7, participants=SAMPLE)
    f.check(SAMPLE, 7)


def test_fault_08_neighbourhood_below_threshold_mid_batch(tmp_path):
    f = Federation(
        40, threat="semi-honest", corrupt=1, neighbours=12, threshold=6, min_clients=37, rounds_per_setup=3,
        ledgers=tmp_path,
    )  # fmt: skip
    f.round(1)
    f.check(f.ids)
    f.server.open_round(2)
    f.until("unmask")
    batch = f.server._core._state.batch
    f.phase(set(batch.setup.names(batch.setup.neighbours[0])[:8]), close=False)
    with pytest.raises(ThresholdError, match="shares of"):
        f.server.close_phase()
    f.round(3)
    f.check(f.ids, 3)


# -- network ----------------------------------------------------------------------------------------------------------


def test_fault_09_duplicates_mid_batch(fed):
    f = fed
    open_second(f)
    while f.server.phase != "idle":
        f.bring(f.hand({name: frames * 2 for name, frames in f.requests().items()}) * 2)
        f.server.close_phase()
    assert not f.errors
    f.check(SAMPLE, 2)


@pytest.mark.parametrize("phase", ["masked", "unmask"])
def test_fault_10_other_content_mid_batch_is_refused_and_recorded(fed, phase):
    f = fed
    open_second(f)
    f.until(phase)
    sent = f.hand(f.requests())
    body = f.body([frame for name, frame in sent if name == "c1"][-1])
    kind, change = (Kind.MASKED_HEADER, {"tag": bytes(32)}) if phase == "masked" else (Kind.UNMASK, {"sealed": b"x"})
    f.bring(sent)
    with pytest.raises(EquivocationError):
        f.server.receive(f.forge_client("c1", kind, fields(body, **change)))
    assert "c1" in f.server.equivocations
    f.server.close_phase()
    if phase == "masked":
        f.phase()
    f.check(SAMPLE, 2)


def test_fault_11_replays_between_rounds_of_a_batch_are_refused(fed):
    f = fed
    old_up, old_down = list(f.up), list(f.down)
    open_second(f)
    while f.server.phase != "idle":
        for name, frame in old_up:
            with pytest.raises(PeerError):
                f.server.receive(frame, sender=name)
        f.phase()
    f.check(SAMPLE, 2)
    for name, frame in old_down:
        with contextlib.suppress(PeerError):
            f.clients[name].receive(frame)  # the setup's requests get the setup's answers again, or are refused
        assert f.clients[name].awaiting is None
        assert all(reply in [sent for _, sent in f.up] for reply in f.clients[name].outbox())
    f.round(3, participants=SAMPLE)
    f.check(SAMPLE, 3)


def test_fault_12_reordered_mid_batch(fed):
    f = fed
    open_second(f)
    rng = random.Random(5)
    while f.server.phase != "idle":
        sent = f.hand(f.requests())
        rng.shuffle(sent)
        f.bring(sent)
        f.server.close_phase()
    f.check(SAMPLE, 2)


def test_fault_12_a_later_round_expires_an_earlier_one(fed):
    f = fed
    open_second(f)
    held_back = f.requests()
    f.server.abort()
    f.round(3, participants=SAMPLE)
    for name in SAMPLE:
        with pytest.raises(PeerError, match="increase"):
            f.clients[name].receive(held_back[name][0])
    f.check(SAMPLE, 3)


def test_fault_13_late_mid_batch_is_never_added(fed):
    f = fed
    open_second(f)
    sent = f.hand(f.requests())
    f.bring([pair for pair in sent if pair[0] != "c3"])
    f.server.close_phase()
    for name, frame in sent:
        if name == "c3":
            with pytest.raises(PeerError):
                f.server.receive(frame)
    f.phase({"c3"})
    f.check(rest("c3"), 2)
    f.server.open_round(3, participants=SAMPLE)
    for name, frame in sent:  # nor to the next round
        with pytest.raises(PeerError):
            f.server.receive(frame, sender=name)
    while f.server.phase != "idle":
        f.phase()
    f.check(SAMPLE, 3)


def test_fault_14_rounds_outside_the_batch_are_refused(fed):
    f = fed
    open_second(f)
    inbox = f.requests()
    body = f.body(inbox["c0"][0])
    for round_id in (0, 1, 5, 1 << 40):
        with pytest.raises(PeerError):
            f.clients["c0"].receive(f.forge(Kind.MASKED_REQUEST, fields(body, round_id=round_id)))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    f.check(SAMPLE, 2)


def test_fault_15_retries_are_identical_over_restarts(fed):
    f = fed
    for round_id in (2, 3, 5):  # 5 needs a setup: dealings and answers must come back byte for byte too
        f.server.open_round(round_id, participants=SAMPLE)
        while f.server.phase != "idle":
            inbox = f.requests()
            first = f.hand(inbox)
            f.restart()
            assert f.hand(inbox) == first
            f.bring(first)
            f.server.close_phase()
        f.check(SAMPLE, round_id)


# -- rounds -----------------------------------------------------------------------------------------------------------


def test_fault_36_the_same_round_with_other_sets_after_a_restart_is_refused(fed):
    f = fed
    open_second(f)
    inbox = f.requests()
    f.hand({name: inbox[name] for name in SAMPLE})
    f.restart()
    body = f.body(inbox["c0"][0])
    with pytest.raises(EquivocationError):
        f.clients["c0"].receive(f.forge(Kind.MASKED_REQUEST, fields(body, participants=[0, 1, 2, 3, 4, 5, 7])))
    with pytest.raises(PeerError):
        f.clients["c7"].receive(f.forge(Kind.MASKED_REQUEST, body))  # c7 is no participant


def test_fault_48b_the_unsampled_are_neither_survivors_nor_dropouts_and_answer(fed):
    f = fed
    f.round(2, silent={"masked": {"c6"}}, participants=SAMPLE)
    f.check(rest("c6"), 2)
    receipt = f.server.result(2).receipt
    assert receipt.participants == tuple(SAMPLE)
    assert set(receipt.signatures) == {*rest("c6"), "c7", "c8"}


def test_fault_48c_fell_out_of_one_round_returns_with_its_state(fed):
    f = fed
    f.round(2, silent={"masked": {"c3"}, "unmask": {"c8"}}, participants=SAMPLE)
    f.check(rest("c3"), 2)
    f.round(3, participants=["c3", *SAMPLE[4:], "c7", "c8"])
    f.check(["c3", "c4", "c5", "c6", "c7", "c8"], 3)


def test_fault_48c_without_its_state_it_is_refused_until_the_next_setup(fed):
    f = fed
    f.clients["c3"].close()
    f.clients["c3"] = f.new_client("c3")
    f.round(2, participants=SAMPLE)
    assert isinstance(f.errors["c3"], PeerError)
    f.check(rest("c3"), 2)
    f.round(5, participants=SAMPLE)
    f.check(SAMPLE, 5)


def test_fault_48d_another_cohort_means_a_setup_in_band(fed):
    f = fed
    cohort = f.ids[:8]
    f.server.open_round(2, participants=SAMPLE, cohort=cohort)
    assert f.server.phase == "keys"
    while f.server.phase != "idle":
        f.phase({"c8"})
    f.check(SAMPLE, 2)
    assert set(f.server.result(2).receipt.signatures) <= set(cohort)
    f.server.open_round(3, participants=SAMPLE)  # the cohort stays until another one is named
    assert f.server.phase == "masked"
    while f.server.phase != "idle":
        f.phase()
    f.check(SAMPLE, 3)


def test_a_batch_is_left_when_too_few_wanted_members_remain(fed):
    f = fed
    f.round(5, silent={"keys": {"c0", "c1"}}, participants=SAMPLE)
    f.check(rest("c0", "c1"), 5)
    f.server.open_round(6, participants=["c0", "c1", "c2", "c3", "c4", "c5"])
    assert f.server.phase == "keys"  # only four of the six have keys, and five are needed
    while f.server.phase != "idle":
        f.phase()
    f.check(["c0", "c1", "c2", "c3", "c4", "c5"], 6)


def test_steady_rounds_cost_two_exchanges_and_a_batch_four_once(fed):
    f = fed
    phases = []
    for round_id in range(2, 9):
        f.server.open_round(round_id, participants=SAMPLE)
        while f.server.phase != "idle":
            phases.append(f.server.phase)
            f.phase()
        f.check(SAMPLE, round_id)
    setup, round_ = ["keys", "shares"], ["masked", "unmask"]
    assert phases == round_ * 3 + setup + round_ * 4
