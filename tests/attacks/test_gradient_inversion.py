"""Gradient inversion on what a server sees: one client's update, bare and masked, and sums over n clients.

The gradient of one record gives the record (Phong et al., IEEE TIFS 13(5), 2018; Zhu et al., "Deep Leakage from Gradients",
NeurIPS 2019). Aggregation stops that for models that were made to learn, not for one that was made to leak (Fowl et al., "Robbing
the Fed", ICLR 2022), and not between sums over changing participants (So et al., "Securing Secure Aggregation", AAAI 2023).
docs/what-a-sum-tells.md shows both sides; the attacks are those of docs/tools/inversion.py, whose figures are plotted there.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from secagg import FixedPoint, Params, simulate
from secagg._kernels import unpack
from secagg.wire import Chunk, decode_frame
from support.encrypted import Encrypted
from support.federation import Federation

TOOL = Path(__file__).resolve().parents[2] / "docs" / "tools" / "inversion.py"
ENCODING = FixedPoint(clip=4.0, bits=20, rounding="nearest")
PROTOCOLS = {"pairwise": {}, "ckks": {"protocol": "ckks", "reveal": "server"}}
KINDS = pytest.mark.parametrize("protocol", PROTOCOLS)


def load():
    spec = importlib.util.spec_from_file_location("docs_tools_inversion", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inversion = load()


def patients(n, seed=3):
    rng = np.random.default_rng(seed)
    records = rng.normal(size=(n, inversion.FEATURES))
    return rng.normal(0, 0.2, inversion.FEATURES + 1), records, rng.integers(0, 2, n).astype(float)


def params(n, length, protocol, **changes):
    return Params(clients=n, length=length, encoding=ENCODING, **PROTOCOLS[protocol], **changes)


def error(guess, record):
    return float(inversion.distances(record[None, :], np.atleast_2d(guess))[0])


def test_one_update_in_clear_is_the_record():
    weights, records, answers = patients(20)
    for x, y in zip(records, answers, strict=True):
        assert error(inversion.invert(inversion.logistic(weights, x, y)), x) < 1e-9
        assert error(inversion.invert(inversion.encoded(inversion.logistic(weights, x, y))), x) < 1e-3


def seen(f, name):
    """One client's model vector as it passed, read as if nothing protected it: what a server can try."""
    payload = b""
    for sender, frame in f.up:
        outer = decode_frame(frame, max_bytes=1 << 30)[1]
        if sender == name and isinstance(outer, Chunk) and outer.segment == 1:
            payload += bytes(outer.payload)
    segment = f.params.segment_plan.segments[1]
    whole = payload[: (segment.count * segment.w + 7) // 8]
    used = segment.count * segment.w % 8
    bare = whole[:-1] + bytes([whole[-1] & (1 << used) - 1]) if used else whole
    return unpack(bare, segment.w, segment.count).astype(float) * ENCODING.step - ENCODING.clip


@KINDS
def test_one_update_as_it_passes_is_nothing(protocol):
    """The same formula, on every client's frames: as far off as a guess; the mean of many tries at one record is no better."""
    weights, records, answers = patients(5)
    kind, off = Encrypted if protocol == "ckks" else Federation, []
    f = kind(5, params=params(5, inversion.FEATURES + 1, protocol, frame_bytes=1 << 16))
    f.updates = {name: inversion.logistic(weights, x, y) for name, x, y in zip(f.ids, records, answers, strict=True)}
    guesses = {name: [] for name in f.ids}
    for round_id in range(1, 21):
        f.up = []
        f.round(round_id)
        for name, x in zip(f.ids, records, strict=True):
            guesses[name].append(inversion.invert(seen(f, name)))
            off.append(error(guesses[name][-1], x))
    assert np.median(off) > 0.9
    for name, x in zip(f.ids, records, strict=True):
        assert error(np.median(guesses[name], axis=0), x) > 0.7
    # the server's sum is right all the same, and the sum is what it may attack
    np.testing.assert_allclose(f.server.result(20).sum, sum(f.updates.values()), atol=5 * ENCODING.step)


@KINDS
def test_the_error_on_sums_grows_with_who_is_in_them(protocol):
    """Through the engine, sums of 2 to 16: from two clients on no record is nearer than chance has it."""
    medians = []
    for n in (2, 6, 16):
        off = []
        for seed in range(7):
            weights, records, answers = patients(n, seed)
            gradients = {
                f"c{i}": inversion.logistic(weights, x, y)
                for i, (x, y) in enumerate(zip(records, answers, strict=True))
            }
            settings = {"min_honest": 1, "corrupt": 0} if n == 2 else {}
            total = simulate(gradients, params(n, inversion.FEATURES + 1, protocol, **settings)).sum
            np.testing.assert_allclose(total, sum(gradients.values()), atol=n * ENCODING.step)
            off.append(np.median(inversion.distances(records, inversion.invert(total)[None, :])))
        medians.append(np.median(off))
    assert medians[0] > 0.3
    assert min(medians[1:]) > 0.9
    assert medians[0] < max(medians)


def test_a_model_made_to_leak_gets_records_out_of_an_exact_sum():
    """What aggregation does not buy, and docs say so: forty records in the sum, most of them read out to three digits."""
    _, records, answers = patients(40)
    thresholds = inversion.spread()
    made = {
        f"c{i:02}": inversion.crafted(thresholds, x, y).ravel()
        for i, (x, y) in enumerate(zip(records, answers, strict=True))
    }
    total = simulate(made, params(40, made["c00"].size, "pairwise")).sum
    found = inversion.distances(records, inversion.invert_crafted(total.reshape(inversion.UNITS, -1)))
    assert np.mean(found < 1e-2) > 0.6


@KINDS
def test_two_sums_that_differ_in_one_client_give_its_update(protocol):
    """Nor does min_honest: it bounds each sum, and their difference is another matter."""
    kind = Encrypted if protocol == "ckks" else Federation
    numbers = {"min_clients": 6, "frame_bytes": 1 << 16, "rounds_per_setup": 2}
    f = kind(7, params=params(7, inversion.FEATURES + 1, protocol, **numbers))
    weights, records, answers = patients(7)
    f.updates = {name: inversion.logistic(weights, x, y) for name, x, y in zip(f.ids, records, answers, strict=True)}
    f.round(1)
    f.round(2, participants=f.ids[:6])
    assert f.params.opened_honest >= f.params.min_honest
    gradient = f.server.result(1).sum - f.server.result(2).sum
    assert error(inversion.invert(gradient), records[6]) < 1e-3


def test_within_one_round_no_two_sums_open():
    """Fixed participants, one set of survivors a round: the rows are one, and solve for nobody."""
    rng = np.random.default_rng(0)
    everybody = np.ones((50, inversion.CLIENTS))
    assert inversion.solved(everybody) == 0
    halves = np.array([inversion.halves(rng, r) for r in range(50)], float)
    assert inversion.solved(halves) == 0
    drawn = np.array([inversion.drawn(rng, r) for r in range(50)], float)
    assert inversion.solved(drawn) == inversion.CLIENTS
    assert inversion.solved(np.vstack([everybody[:1], everybody[:1] - np.eye(inversion.CLIENTS)[:1]])) == 1
