"""Faults 1 to 8: clients that fall silent."""

import pytest

from secagg.errors import AbortError, StateError, ThresholdError
from support.federation import PHASES, Federation


def fed(**changes):
    return Federation(7, corrupt=1, threshold=5, min_clients=5, **changes)


def sparse():
    return Federation(40, threat="semi-honest", corrupt=1, neighbours=12, threshold=6, min_clients=37)


def rest(f, *gone):
    return [name for name in f.ids if name not in gone]


def test_fault_01_dropout_before_keys():
    f = fed()
    f.round(silent={"keys": {"c2"}})
    f.check(rest(f, "c2"))


def test_fault_02_dropout_before_shares():
    f = fed()
    f.round(silent={"shares": {"c0", "c6"}})
    f.check(rest(f, "c0", "c6"))


def test_fault_03_dropout_before_masked_input_releases_key_shares_only():
    f = fed()
    f.round(silent={"masked": {"c3"}})
    f.check(rest(f, "c3"))


def test_fault_04_dropout_after_input_is_counted():
    f = fed()
    f.round(silent={"unmask": {"c1", "c4"}})
    f.check(f.ids)


def test_fault_05_dropout_mid_message_counts_as_absent():
    f = fed()
    f.server.open_round(1)
    f.until("masked")
    sent = f.hand(f.requests())
    theirs = [pair for pair in sent if pair[0] == "c5"]
    assert len(theirs) > 2
    f.bring([pair for pair in sent if pair[0] != "c5"] + theirs[:-2])
    assert f.server.missing == ("c5",)
    f.server.close_phase()
    f.phase()
    f.check(rest(f, "c5"))


def test_fault_06_exactly_threshold_answers_and_min_clients_survivors():
    f = fed()
    f.round(silent={"masked": {"c0", "c1"}})
    f.check(rest(f, "c0", "c1"))
    g = fed()
    g.round(silent={"unmask": {"c5", "c6"}})
    g.check(g.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_07_one_fewer_at_each_phase_aborts(phase):
    f = fed()
    with pytest.raises(ThresholdError) as error:
        f.round(silent={phase: {"c0", "c1", "c2"}})
    assert (error.value.needed, error.value.have) == (5, 4)
    assert f.server.phase == "idle"
    with pytest.raises(AbortError):
        f.server.result(1)
    f.round(2)
    f.check(f.ids, 2)


def test_fault_07_spread_over_phases_aborts():
    f = fed()
    with pytest.raises(ThresholdError):
        f.round(silent={"keys": {"c0"}, "masked": {"c1"}, "unmask": {"c2"}})


def test_fault_08_neighbourhood_below_threshold_aborts():
    f = sparse()
    f.server.open_round(1)
    f.until("unmask")
    batch = f.server._core._state.batch
    neighbours = batch.setup.names(batch.setup.neighbours[0])
    f.phase(set(neighbours[:8]), close=False)
    with pytest.raises(ThresholdError, match="shares of"):
        f.server.close_phase()


def test_dropouts_spread_within_bounds_are_exact():
    f = fed()
    f.round(silent={"keys": {"c0"}, "masked": {"c1"}})
    f.check(rest(f, "c0", "c1"))


def test_result_before_the_end_is_refused():
    f = fed()
    f.server.open_round(1)
    with pytest.raises(StateError, match="no result"):
        f.server.result(1)
    with pytest.raises(StateError):
        f.server.open_round(2)


def test_sparse_graph_with_dropouts_is_exact():
    f = sparse()
    assert not f.params.full
    f.round(silent={"keys": {"c1"}, "shares": {"c2"}, "masked": {"c3"}, "unmask": {"c4"}})
    f.check(rest(f, "c1", "c2", "c3"))
