"""Client, Server, simulate and Network of ckks, where callers go wrong and carriers lose frames."""

import msgspec
import numpy as np
import pytest

from secagg import Client, simulate
from secagg.errors import AbortError, InputError, PeerError, StateError, ThresholdError
from secagg.spool import Spool
from secagg.store import open_snapshot, seal_snapshot
from secagg.testing import FaultPlan, Network
from secagg.wire import HOLDER
from support.encrypted import MODES, Encrypted, make_params
from support.encrypted_watch import Watch


def updates(f):
    return {name: f.updates[name] for name in f.ids}


@pytest.mark.parametrize("reveal, threat", MODES)
def test_simulate_loses_whom_it_is_told_to_lose(reveal, threat):
    f = Encrypted(5, reveal=reveal, threat=threat)
    result = simulate(updates(f), f.params, dropouts={"encrypted": ["c1"]})
    assert result.contributors == ("c0", "c2", "c3", "c4")
    np.testing.assert_array_equal(result.sum, sum(f.updates[name] for name in result.contributors))
    assert len(result.receipt.server_signature) == 64
    with pytest.raises(ThresholdError):
        simulate(updates(f), f.params, dropouts={"encrypted": ["c1", "c2"]})
    with pytest.raises(InputError, match="phase"):
        simulate(updates(f), f.params, dropouts={"masked": ["c1"]})


@pytest.mark.parametrize("reveal, threat", MODES)
def test_a_network_that_doubles_flips_and_reorders_changes_nothing(reveal, threat):
    params = make_params(5, reveal=reveal, threat=threat, rounds_per_setup=2)
    plan = FaultPlan(duplicate=0.3, flip=0.3, reorder=True, seed=3)
    network = Network.fresh(params, [f"c{i}" for i in range(5)], faults=plan)
    rng = np.random.default_rng(0)
    given = {name: rng.integers(-50, 1001, params.length) for name in network.clients}
    for round_id in (1, 2, 3):
        network.server.open_round(round_id)
        while network.server.phase != "idle":
            network.exchange(lambda client: client.submit(given[client.me]))
            network.server.close_phase()
        told = network.server.result(round_id)
        opened = told if reveal == "server" else network.holder.result(round_id)
        assert told.contributors == opened.contributors == tuple(sorted(given))
        np.testing.assert_array_equal(opened.sum, sum(given.values()))
    assert network.refused
    assert not network.aborted
    assert network.sent_up[HOLDER] > 0


def test_a_network_that_drops_gives_the_exact_sum_of_the_rest_or_an_abort():
    params, exact = make_params(6, min_clients=3), 0
    network = Network.fresh(params, [f"c{i}" for i in range(6)], faults=FaultPlan(drop=0.08, seed=1))
    for round_id in range(1, 13):
        network.server.open_round(round_id)
        try:
            while network.server.phase != "idle":
                network.exchange(lambda client: client.submit(np.full(params.length, int(client.me[1]))))
                network.server.close_phase()
        except AbortError:
            assert network.server.phase == "idle"
            continue
        result = network.server.result(round_id)
        assert np.array_equal(result.sum, np.full(params.length, sum(int(name[1]) for name in result.contributors)))
        exact += 1
    assert 0 < exact < 12


def test_updates_out_of_turn_and_of_rounds_that_moved_on_are_refused():
    f = Encrypted(3, rounds_per_setup=2)
    client = f.clients["c0"]
    for act in (client.submit, client.stream):
        with pytest.raises(StateError, match="awaited"):
            act(f.updates["c0"])
    f.server.open_round(1)
    f.phase()
    client.receive(f.requests()["c0"][0])
    with pytest.raises(InputError, match="context"):
        client.submit(f.updates["c0"], context="model-7")
    frames = client.stream(f.updates["c0"])
    next(frames)
    f.server.abort()
    f.server.open_round(2)
    client.receive(f.requests()["c0"][0])
    with pytest.raises(StateError, match="moved on"):
        list(frames)
    assert client.awaiting.round_id == 2


@pytest.mark.parametrize("ledgers", [False, True])
def test_a_stream_is_kept_to_its_update(memory, ledgers):
    f = Encrypted(3, ledgers=memory if ledgers else None)
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    client, other = f.clients["c0"], np.roll(f.updates["c0"], 1)
    client.receive(inbox["c0"][0])
    frames, watch = client.stream(f.updates["c0"]), Watch()
    watch.see("c0", next(frames))  # this has left; then the process ends
    for again in (client, f.restore("c0", client.snapshot())):
        assert again.awaiting
        for act in (again.stream, again.submit):
            with pytest.raises(InputError, match="another update"):
                act(other)
            with pytest.raises(InputError, match="another update"):
                act(f.updates["c0"], context=b"another model")
        assert again.outbox() == []
        for frame in again.stream(f.updates["c0"]):
            watch.see("c0", frame)
        again.receive(inbox["c0"][0])
        again.submit(f.updates["c0"])
        for frame in again.outbox():
            watch.see("c0", frame)
        again.receive(inbox["c0"][0])
    f.clients["c0"] = again
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_a_stream_that_was_begun_by_a_state_that_is_gone_is_not_begun_again(memory):
    """The ledger knows that chunks have left, of an update whose randomness nobody has any more."""
    f = Encrypted(4, min_clients=3, ledgers=memory)
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    old = f.clients["c0"].snapshot()
    f.clients["c0"].receive(inbox["c0"][0])
    next(f.clients["c0"].stream(f.updates["c0"]))
    f.clients["c0"].close()
    again = f.restore("c0", old)
    again.receive(inbox["c0"][0])
    for act in (again.submit, again.stream):
        with pytest.raises(InputError, match="another update"):
            list(act(f.updates["c0"]) or ())
    assert again.outbox() == []
    f.bring(f.hand(inbox, {"c0"}))
    f.server.close_phase()
    f.phase({"c0"})
    f.check(f.ids[1:])


def test_fault_50_torn_and_foreign_client_states_are_refused():
    f = Encrypted(3)
    f.round(1)
    party = {"identity": f.keys["c0"], "roster": f.roster}
    snapshot = f.clients["c0"].snapshot()
    for at in range(0, len(snapshot), 97):
        for bad in (snapshot[:at], bytes([*snapshot[:at], snapshot[at] ^ 1, *snapshot[at + 1 :]])):
            with pytest.raises(InputError):
                f.restore("c0", bad)
    kept = msgspec.msgpack.decode(open_snapshot(snapshot, **party))
    core = msgspec.msgpack.decode(kept[-1])
    _, _, _, key, current = core
    odd = [
        [*core[:3], key[:-1], current], [*core[:3], b"", current], [b"x", *core[1:]], core[:-1], [*core, 1],
        [*core[:4], [*current[:2], "lunch", *current[3:]]], [*core[:4], [*current[:4], b"x", *current[5:]]],
        [*core[:4], [current[0], [0, 9], *current[2:]]],
        [*core[:4], [*current[:4], f.chunk("c0", (1, 0, 0), b"x"), *current[5:]]],
    ]  # fmt: skip
    for body in (b"", b"\xc0", *map(msgspec.msgpack.encode, odd)):
        blob = seal_snapshot(msgspec.msgpack.encode([*kept[:-1], body]), session=f.server.session, **party)
        with pytest.raises(InputError, match="another version"):
            Client.restore(blob, **party)
    assert Client.restore(snapshot, **party).session == f.server.session


def test_a_server_without_room_refuses_a_chunk_and_takes_it_later(monkeypatch):
    f = Encrypted(3)
    f.server.open_round(1)
    f.phase()
    sent = f.hand(f.requests())

    def full(*_):
        raise InputError("no room for unfinished uploads: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "put", full)
        with pytest.raises(PeerError, match="no room"):
            f.server.receive(sent[0][1])
    f.bring(sent)
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_the_server_says_whom_it_waits_for():
    f = Encrypted(3)
    assert f.server.missing == ()
    f.server.open_round(1)
    assert f.server.missing == (HOLDER,)
    f.until("encrypted")
    assert f.server.missing == tuple(f.ids)
    f.until("decrypt")
    assert f.server.missing == (HOLDER,)
    f.until("idle")
    assert f.server.missing == ()
    f.check(f.ids)
