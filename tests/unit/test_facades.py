"""Client, Server, Receipt, simulate, Network and Accumulator, where callers go wrong."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from secagg import FixedPoint, Layout, Params, Server, simulate
from secagg.accumulator import Accumulator, protect, protect_head
from secagg.encoding import Source
from secagg.errors import AbortError, AuthenticationError, InputError, ParameterError, StateError, ThresholdError
from secagg.testing import FaultPlan, Network
from secagg.workers import Workers
from support.federation import Federation, make_params


def test_a_nest_of_arrays_comes_back_in_its_structure_and_dtypes():
    rng = np.random.default_rng(0)
    shapes = {"w": (4, 3), "b": (3,), "scale": ()}
    updates = {
        f"c{i}": {
            "layer": {name: np.asarray(rng.uniform(-1, 1, shape), np.float32) for name, shape in shapes.items()},
            "counts": [np.array([i, 2 * i], np.float64)],
        }
        for i in range(4)
    }
    params = Params(
        clients=4, layout=Layout.of(updates["c0"]), encoding=FixedPoint(clip=8.0, bits=20), max_weight=10,
        metrics=("loss",), segments={"metrics": FixedPoint(clip=4.0, bits=20)},
    )  # fmt: skip
    weights = {f"c{i}": i + 1 for i in range(4)}
    losses = {f"c{i}": {"loss": 0.5 * i} for i in range(4)}
    result = simulate(updates, params, weights=weights, metrics=losses)
    assert result.weight == 10
    expected = sum(weights[c] * updates[c]["layer"]["w"].astype(float) for c in updates) / 10
    assert result.mean["layer"]["w"].dtype == np.float32
    np.testing.assert_allclose(result.mean["layer"]["w"], expected, atol=16 / (2**20 - 1) + 1e-6)
    np.testing.assert_allclose(result.mean["counts"][0], [2.0, 4.0], atol=1e-4)
    assert result.metrics["loss"] == pytest.approx(
        sum(w * losses[c]["loss"] for c, w in weights.items()) / 10, abs=1e-4
    )


def test_simulate_with_a_seed_repeats_its_rounding_and_refuses_nonsense():
    updates = {f"c{i}": np.full(9, 0.1234567, np.float32) for i in range(3)}
    params = Params(clients=3, length=9)
    one, two = (simulate(updates, params, seed=5).integer_sum for _ in range(2))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(InputError, match="phase"):
        simulate(updates, params, dropouts={"lunch": ["c0"]})
    with pytest.raises(InputError, match="ids"):
        simulate(updates, params, dropouts={"masked": ["nobody"]})
    with pytest.raises(ThresholdError):
        simulate(updates, params, dropouts={"masked": ["c0"]})


def test_facades_refuse_what_does_not_belong_together():
    f = Federation(3)
    with pytest.raises(ParameterError, match="server key"):
        Server(f.params, identity=f.keys["c0"], roster=f.roster)
    with pytest.raises(ParameterError, match="16 bytes"):
        Server(f.params, identity=f.server_key, roster=f.roster, session=b"x")
    with pytest.raises(ParameterError, match="16 bytes"):
        f.new_client("c0", session=b"x")
    with pytest.raises(ParameterError, match="must be a Params"):
        Server({"clients": 3}, identity=f.server_key, roster=f.roster)
    big = Federation(5)
    with pytest.raises(ParameterError, match="roster has 5"):
        Server(make_params(3), identity=big.server_key, roster=big.roster)


def test_fault_58_and_59_no_secret_in_repr_and_no_pickle():
    f = Federation(3)
    f.server.open_round(1)
    f.until("masked")
    f.hand(f.requests())
    for thing in (f.server, f.clients["c0"]):
        assert len(repr(thing)) < 80
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                act(thing)
    batch = f.clients["c0"]._core._state.batch
    secrets = [*batch.seeds, batch.rounding, batch.server_secret]
    shown = repr(batch) + repr(f.clients["c0"]._core._state.round) + repr(f.server._core._state) + repr(batch.own)
    assert all(secret.hex() not in shown and repr(secret)[2:-1] not in shown for secret in secrets)


def test_submit_out_of_turn_and_with_a_wrong_context_is_refused():
    f = Federation(3)
    client = f.clients["c0"]
    assert client.awaiting is None
    with pytest.raises(StateError, match="awaited"):
        client.submit(f.updates["c0"])
    f.server.open_round(1)
    f.until("masked")
    client.receive(f.requests()["c0"][0])
    assert client.awaiting.round_id == 1
    with pytest.raises(InputError, match="context"):
        client.submit(f.updates["c0"], context="model-7")
    assert client.awaiting


@pytest.mark.parametrize("bad", [-1, 1.0, True, 1 << 63])
def test_round_ids_are_checked(bad):
    with pytest.raises(InputError, match="round_id"):
        Federation(3).server.open_round(bad)


def test_open_round_checks_its_sets_and_leaves_state():
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    for kwargs, words in (
        ({"participants": ["c0", "c1"]}, "participants"),
        ({"participants": "c0"}, "one string"),
        ({"participants": ["zz"] * 7}, "not in the roster"),
        ({"cohort": f.ids[:3]}, "participants|cohort"),
        ({"cohort": f.ids[:5], "participants": f.ids[1:6]}, "belong"),
    ):
        with pytest.raises(InputError, match=words):
            f.server.open_round(1, **kwargs)
    assert f.server.phase == "idle"
    assert f.server.missing == ()
    f.round(1, cohort=f.ids[:6], participants=f.ids[:5])
    f.check(f.ids[:5])
    with pytest.raises(InputError, match="strictly increase"):
        f.server.open_round(1)


def test_missing_names_who_is_awaited_in_every_phase():
    f = Federation(3)
    f.server.open_round(1)
    while f.server.phase != "idle":
        assert f.server.missing == ("c0", "c1", "c2")
        f.phase(close=False)
        assert f.server.missing == ()
        f.server.close_phase()


def test_abort_burns_the_id_and_the_session_goes_on():
    f = Federation(3)
    f.server.open_round(1)
    f.until("masked")
    f.server.abort()
    with pytest.raises(AbortError, match="caller"):
        f.server.result(1)
    with pytest.raises(InputError):
        f.server.open_round(1)
    f.round(2)
    f.check(f.ids, 2)


def test_one_setup_serves_many_rounds_with_samples():
    f = Federation(7, corrupt=1, threshold=6, min_clients=5, rounds_per_setup=4)
    asked = [f.ids, f.ids[1:], f.ids[:6], f.ids[2:]]
    phases = []
    for round_id, participants in enumerate(asked, start=3):
        f.server.open_round(round_id, participants=participants)
        phases.append(f.server.phase)
        while f.server.phase != "idle":
            f.phase()
        f.check(participants, round_id)
    assert phases == ["keys", "masked", "masked", "masked"]
    batch = f.clients["c0"]._core._state.batch
    assert batch.seeds == [None] * 4
    assert all(share is None for holding in batch.holdings.values() for share in holding.shares)


def test_receipts_verify_and_show_tampering():
    f = Federation(5)
    f.round()
    receipt = f.server.result(1).receipt
    receipt.verify(f.roster, threshold=f.params.threshold)
    with pytest.raises(AuthenticationError, match="are needed"):
        receipt.verify(f.roster, threshold=6)
    name = next(iter(receipt.signatures))
    stranger = {"nobody": receipt.signatures[name]}
    for change in (
        {"uploads": {name: receipt.uploads[name] for name in receipt.survivors[1:]}},
        {"uploads": {**receipt.uploads, receipt.survivors[0]: bytes(32)}},
        {"params_hash": bytes(32)},
        {"participants": receipt.participants[1:]},
        {"participants": (*receipt.participants[1:], receipt.participants[0])},
        {"context_hash": bytes(32)},
        {"result_hash": bytes(32)},
        {"round_id": 2},
        {"server_signature": bytes(64)},
        {"signatures": stranger},
        {"signatures": {**receipt.signatures, name: bytes(64)}},
    ):
        with pytest.raises(AuthenticationError):
            dataclasses.replace(receipt, **change).verify(f.roster)


def test_garbled_uploads_are_caught_by_the_lane():
    f = Federation(5)
    f.server.open_round(1)
    f.until("masked")
    core = f.clients["c2"]._core
    honest = core.begin_upload

    def wrong_masks(context):
        upload = honest(context)
        upload.keys[0] = bytes(16)
        return upload

    core.begin_upload = wrong_masks
    f.phase()
    with pytest.raises(AbortError, match="lane"):
        f.phase()


def test_a_client_that_cheats_on_its_weight_is_caught(monkeypatch):
    f = Federation(3, max_weight=4)
    f.server.open_round(1)
    f.until("masked")
    inbox = f.requests()
    real = Source.head

    def cheat(self, clipped):
        lanes = real(self, clipped)
        lanes[0] += np.uint64(1000)
        return lanes

    for name in f.ids:
        monkeypatch.setattr(Source, "head", cheat if name == "c1" else real)
        f.bring(f.hand({name: inbox[name]}))
    f.server.close_phase()
    with pytest.raises(AbortError, match="weight"):
        f.phase()


def fill(accumulator, plan, update, name, keys=(), signs=()):
    """Put one whole upload into an accumulator."""
    source = plan.open(update, 1, None, bytes(16))

    def keep(segment, index, payload):
        accumulator.add(name, segment, index, memoryview(bytes(payload)))
        return bytes(payload)

    clipped = 0
    for number in range(1, len(plan.segments)):
        clipped += sum(count for _, count in protect(source, number, keys, signs, 64, keep, Workers(1)))
    protect_head(source, clipped, keys, signs, keep)


def test_accumulators_merge_and_refuse_strangers():
    plan = make_params(3).segment_plan
    one, two, empty = (Accumulator(plan.segments, 64) for _ in range(3))
    update = np.arange(37)
    for accumulator, name in ((one, "a"), (two, "b")):
        fill(accumulator, plan, update, name)
        accumulator.fold(name, b"g")
    empty.merge(one)
    empty.merge(two)
    sums = empty.finish(b"g", [], [])
    np.testing.assert_array_equal(plan.decode(sums).sum, 2 * update)
    with pytest.raises(StateError):
        empty.finish(b"g", [], [])
    with pytest.raises(InputError):
        one.merge(Accumulator(make_params(3, length=5).segment_plan.segments, 64))


def test_badly_padded_uploads_are_refused_whole():
    plan = make_params(3).segment_plan
    accumulator = Accumulator(plan.segments, 64)
    for segment, sizes in enumerate(accumulator.chunks()):
        for index, size in enumerate(sizes):
            accumulator.add("a", segment, index, memoryview(b"\xff" * size))
    with pytest.raises(InputError, match="padding"):
        accumulator.fold("a", b"g")
    accumulator.discard("a")
    with pytest.raises(StateError):
        accumulator.finish(b"g", [], [])


@pytest.mark.parametrize("seed", range(4))
def test_a_faulty_carrier_still_gives_the_exact_sum(seed):
    params = make_params(5)
    faults = FaultPlan(duplicate=0.3, flip=0.3, reorder=True, seed=seed)
    network = Network.fresh(params, ["a", "b", "c", "d", "e"], faults=faults)
    updates = {name: np.full(37, i) for i, name in enumerate(network.clients)}
    network.server.open_round(1)
    while network.server.phase != "idle":
        network.exchange(lambda client: client.submit(updates[client.me]))
        network.server.close_phase()
    np.testing.assert_array_equal(network.server.result(1).sum, np.full(37, 10))
    assert network.refused
    assert not network.aborted
    assert min(network.sent_up.values()) > 0


def test_a_lossy_carrier_gives_the_sum_of_the_rest_or_an_abort():
    outcomes = set()
    for seed in range(12):
        network = Network.fresh(make_params(5), ["a", "b", "c", "d", "e"], faults=FaultPlan(drop=0.02, seed=seed))
        network.server.open_round(1)
        try:
            while network.server.phase != "idle":
                network.exchange(lambda client: client.submit(np.full(37, 7)))
                network.server.close_phase()
        except AbortError:
            outcomes.add("abort")
            continue
        result = network.server.result(1)
        np.testing.assert_array_equal(result.sum, np.full(37, 7 * len(result.contributors)))
        outcomes.add("sum")
    assert "sum" in outcomes


def test_a_replayed_keys_request_of_another_session_does_not_pin_a_fresh_client():
    old = Federation(5)
    old.server.open_round(9)
    replay = old.requests()["c0"][0]
    client = old.new_client("c0")
    client.receive(replay)
    client.outbox()
    new = Server(old.params, identity=old.server_key, roster=old.roster)
    old.server = new
    old.clients["c0"] = client
    old.round(1)
    old.check(old.ids)
    with pytest.raises(AuthenticationError, match="another session"):
        client.receive(replay)
    pinned = old.new_client("c1", session=new.session)
    with pytest.raises(AuthenticationError, match="another session"):
        pinned.receive(replay)


def test_fault_53_contexts_cannot_multiply_the_servers_memory():
    f = Federation(8, corrupt=1, threshold=6, min_clients=6)
    f.server.open_round(1)
    f.until("masked")
    refused = 0
    for i, (name, frames) in enumerate(f.requests().items()):
        f.clients[name].receive(frames[0])
        f.clients[name].submit(f.updates[name], context=b"%d" % i)
        for frame in f.clients[name].outbox():
            try:
                f.server.receive(frame)
            except AuthenticationError:
                refused += 1
    assert refused == 3
    with pytest.raises(ThresholdError):
        f.server.close_phase()


def test_fault_59_internal_state_is_never_pickled_or_copied():
    f = Federation(3)
    f.server.open_round(1)
    f.until("masked")
    f.hand(f.requests())
    core, state = f.clients["c0"]._core, f.clients["c0"]._core._state
    for thing in (core, state, state.batch, state.round, state.batch.own, f.server._core, f.server._core._state):
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="secret"):
                act(thing)


def test_old_results_are_let_go():
    f = Federation(3)
    for round_id in range(1, 11):
        f.round(round_id)
    f.check(f.ids, 10)
    with pytest.raises(StateError):
        f.server.result(2)


def test_a_refused_request_of_another_session_leaves_a_provisional_client_as_it_was():
    f = Federation(5)
    f.server.open_round(1)
    inbox = f.requests()
    f.clients["c0"].receive(inbox["c0"][0])
    first = f.clients["c0"].outbox()
    other = Server(make_params(5, threshold=5, min_clients=5), identity=f.server_key, roster=f.roster)
    other.open_round(1)
    with pytest.raises(AuthenticationError, match="Params"):
        f.clients["c0"].receive(other.outbox()[0][1])
    sent = f.hand(inbox)
    assert [frame for name, frame in sent if name == "c0"] == first
    f.bring(sent)
    f.server.close_phase()
    f.until("idle")
    f.check(f.ids)


def test_the_cohort_is_remembered_across_an_aborted_setup():
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    with pytest.raises(ThresholdError):
        f.round(1, silent={"keys": set(f.ids[:3])}, cohort=f.ids[:6])
    f.round(2)
    f.check(f.ids[:6], 2)
