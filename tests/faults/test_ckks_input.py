"""Faults 37 to 64 of the ckks protocol: what callers hand in, what processes and the wire may do."""

import contextlib
import logging
import os
import traceback

import numpy as np
import pytest

from secagg import FixedPoint, Integer, Layout, Params, simulate
from secagg.errors import AbortError, AuthenticationError, DecodeError, ParameterError
from secagg.protocols.ckks.messages import result_commitment
from secagg.wire import HOLDER, SERVER
from support import inputs
from support.encrypted import MODES, Encrypted, uploads

CKKS = {"protocol": "ckks", "reveal": "server"}


def params(n=3, **changes):
    return inputs.params(n, **{**CKKS, **changes})


def awaiting_client(**changes):
    f = Encrypted(3, params=params(**changes))
    f.server.open_round(1)
    f.phase()
    f.clients["c0"].receive(f.requests()["c0"][0])
    return f.clients["c0"]


@pytest.mark.parametrize("bad", inputs.BAD_NUMBERS)
def test_fault_37_nan_and_inf_are_refused_and_the_client_goes_on(bad):
    inputs.check_number(awaiting_client(), bad)


def test_fault_38_values_above_the_clip_are_clipped_and_counted_or_refused():
    inputs.check_clip(**CKKS)


@pytest.mark.parametrize("reveal, threat", MODES)
def test_fault_39_the_same_seed_rounds_alike_in_every_mode_and_protocol(reveal, threat):
    tiny = {f"c{i}": np.array([1e-45, -1e-45, -0.0, 0.0, 0.1], np.float32) for i in range(3)}
    here = simulate(tiny, params(reveal=reveal, threat=threat), seed=4)
    there = simulate(tiny, Params(clients=3, length=5, encoding=FixedPoint(clip=1.0, bits=16)), seed=4)
    np.testing.assert_array_equal(here.integer_sum, there.integer_sum)
    assert here.receipt.result_hash == result_commitment(here.salt, there.receipt.result_hash)


def test_fault_41_empty_updates_are_refused():
    inputs.check_empty(awaiting_client(), **CKKS)


def test_fault_42_long_vectors_travel_as_many_frames():
    f = Encrypted(3, params=params(length=50_000, frame_bytes=1 << 15))
    rng = np.random.default_rng(1)
    f.updates = {name: rng.uniform(-1, 1, 50_000).astype(np.float32) for name in f.ids}
    f.round()
    assert sum(frame[3] == 0 for _, frame in f.up) > 3 * 10
    mean = np.mean([f.updates[name] for name in f.ids], axis=0)
    assert np.abs(f.server.result(1).mean - mean).max() <= 2 / 65535 + 1e-9
    # more than 2**31 values: the geometry alone, nothing is allocated
    big = params(length=(1 << 33) + 5).cipher_plan
    assert big.segments[1].count == (1 << 33) + 5
    assert big.segments[1].number(big.segments[1].chunks - 1) > 1 << 21


@pytest.mark.parametrize("bad", inputs.BAD_SHAPES)
def test_fault_43_shape_and_dtype_mismatches_are_refused(bad):
    inputs.check_shape(awaiting_client(), bad)


def test_fault_44_non_contiguous_and_big_endian_arrays_are_right():
    inputs.check_arrays(**CKKS)


@pytest.mark.parametrize("reveal, threat", MODES)
def test_fault_45_weight_zero_contributes_nothing_and_total_zero_is_an_error(reveal, threat):
    inputs.check_weight_zero(protocol="ckks", reveal=reveal, threat=threat)
    weighted = params(max_weight=8, reveal=reveal, threat=threat)
    f = Encrypted(3, params=weighted)
    f.server.open_round(1)
    f.phase()
    sent = []
    for name, frames in f.requests().items():
        if name != HOLDER:
            f.clients[name].receive(frames[0])
            f.clients[name].submit(inputs.SIGNS[name], weight=0)
            sent += [(name, frame) for frame in f.clients[name].outbox()]
    f.bring(sent)
    f.server.close_phase()
    with pytest.raises(AbortError):
        f.phase()
    assert "weights sum to 0" in str(f.errors[HOLDER])  # the holder knows, and releases nothing


@pytest.mark.parametrize("weight", inputs.BAD_WEIGHTS)
def test_fault_46_bad_weights_are_refused(weight):
    inputs.check_weight(awaiting_client(max_weight=8), weight)


def test_fault_47_and_48_counts():
    inputs.check_two_clients(**CKKS)
    for threshold in (0, 2, 4):  # there are no shares
        with pytest.raises(ParameterError, match="pairwise"):
            params(threshold=threshold)


def test_metrics_layouts_and_several_segments_come_back_in_their_structure():
    rng = np.random.default_rng(0)
    given = {
        f"c{i}": {"w": rng.uniform(-1, 1, (40, 70)).astype(np.float32), "n": np.arange(5) + i, "s": np.float64(i)}
        for i in range(4)
    }
    made = params(
        4, length=None, layout=Layout.of(given["c0"]), max_weight=10, metrics=("loss",), frame_bytes=1 << 17,
        segments={"metrics": FixedPoint(clip=4.0, bits=20), "n": Integer(0, 9), "s": FixedPoint(clip=8.0, bits=30)},
    )  # fmt: skip
    assert len({cut.limbs for cut in made.cipher_plan.segments}) > 1
    weights = {f"c{i}": i + 1 for i in range(4)}
    result = simulate(given, made, weights=weights, metrics={name: {"loss": 0.5} for name in given})
    expected = sum(weights[c] * given[c]["w"].astype(float) for c in given) / 10
    np.testing.assert_allclose(result.mean["w"], expected, atol=1e-4)
    np.testing.assert_array_equal(result.sum["n"], sum(weights[c] * given[c]["n"] for c in given))
    assert result.metrics["loss"] == pytest.approx(0.5, abs=1e-4)


# -- process and wire -------------------------------------------------------------------------------------------------


def test_fault_53_contexts_cannot_multiply_the_servers_memory():
    f = Encrypted(9, corrupt=1, min_clients=3)
    f.server.open_round(1)
    f.phase()
    for i, (name, frames) in enumerate(f.requests().items()):
        if name == HOLDER:
            continue
        f.clients[name].receive(frames[0])
        f.clients[name].submit(f.updates[name], context=b"model %d" % i)
        for frame in f.clients[name].outbox():
            with contextlib.suppress(AuthenticationError):
                f.server.receive(frame)
    excluded = f.server._core._state.round.excluded
    assert excluded == set(f.ids[5:])  # room for four models of honest clients and one of the corrupt one
    assert len(f.server._core.bulk._sums) == 5


def test_fault_55_a_forked_childs_randomness_differs():
    f = Encrypted(3)
    f.server.open_round(1)
    f.phase()
    client = f.clients["c0"]
    client.receive(f.requests()["c0"][0])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, client._core.begin_upload(b"").key)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert len(theirs := os.read(read, 16)) == 16
    assert theirs != client._core.begin_upload(b"").key
    os.close(read)
    os.close(write)


def test_fault_58_secrets_are_in_no_error_log_or_traceback(caplog):
    caplog.set_level(logging.DEBUG)
    f = Encrypted(3)
    f.server.open_round(1)
    f.until("decrypt")
    request, *chunks = f.requests()[HOLDER]
    payloads = uploads([(SERVER, frame) for frame in chunks])[1][SERVER]
    (f.holder.receive(request), f.holder.receive(chunks[0]))
    bad = bytes([payloads[1, 0][0] ^ 1]) + payloads[1, 0][1:]
    with pytest.raises(AbortError) as error:
        f.holder.receive(f.chunk(SERVER, (1, 1, 0), bad))
    key = f.holder._core._state.key
    secrets = [key.seed, key.channel.private_bytes(), key.secret.seed_bytes()]
    secrets += [client._core._state.round.seed for client in f.clients.values()]
    shown = "".join(traceback.format_exception(error.value)) + caplog.text + repr(error.value) + str(error.value.args)
    for secret in secrets:
        assert secret.hex() not in shown and repr(secret)[2:-1] not in shown


def test_fault_62_and_64_length_nesting_and_other_formats_are_refused_unread():
    f = Encrypted(3)
    f.server.open_round(1)
    f.phase()
    limit = f.params.max_frame_bytes
    for party in (f.server, f.holder, f.clients["c0"]):
        with pytest.raises(DecodeError, match="over the limit"):
            party.receive(memoryview(bytearray(limit + 1)))
        deep = b"SA\x01\x00" + b"\x91" * 2000
        for junk in (
            deep,
            b"\x80\x04pickle",
            b"\x93NUMPY\x01\x00",
            b"SA\x01\x00" + b"\x91" * 2000,
            b"SA\x01\x12" + b"\xdd\xff\xff\xff\xff",
        ):
            with pytest.raises(DecodeError):
                party.receive(junk)
    f.until("idle")
    f.check(f.ids)
