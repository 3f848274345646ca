"""A state_dict goes in and comes out: dtypes, devices, ties, empty tensors, and every refusal."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch

import secagg
from secagg.errors import InputError
from secagg.integrations.torch import StateLayout

EVERYTHING = {
    "weight": torch.arange(6.0).reshape(2, 3) / 10,
    "double": torch.tensor([0.1, -0.2], dtype=torch.float64),
    "half": torch.tensor([0.1, -0.5], dtype=torch.float16),
    "brain": torch.tensor([0.3, -0.7, 1.0], dtype=torch.bfloat16),
    "scale": torch.tensor(0.25),
    "empty": torch.empty(0, 4),
    "none": torch.empty(0, dtype=torch.int32),
    "batches": torch.tensor(7),
    "bytes": torch.tensor([[250, 3]], dtype=torch.uint8),
    "short": torch.tensor([-128, 127], dtype=torch.int8),
}


def test_what_goes_in_comes_out():
    form = StateLayout(EVERYTHING)
    back = form.unpack(form.pack(EVERYTHING), EVERYTHING)
    assert list(back) == list(EVERYTHING)
    for name, tensor in EVERYTHING.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].shape == tensor.shape
        assert torch.equal(back[name], tensor)
        assert back[name] is not tensor


def test_an_update_has_two_groups_and_wide_dtypes():
    update = StateLayout(EVERYTHING).pack(EVERYTHING)
    assert list(update) == ["floats", "integers"]
    assert {leaf.dtype.name for leaf in update["integers"].values()} == {"int64"}
    assert {name: leaf.dtype.name for name, leaf in update["floats"].items() if leaf.dtype != np.float32} == {
        "double": "float64"
    }
    assert update["floats"]["scale"].shape == ()


def test_every_16_bit_float_survives():
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.bfloat16, torch.float16):
        values = bits.view(dtype)
        state = {"x": values[values.isfinite()]}
        form = StateLayout(state)
        assert torch.equal(form.unpack(form.pack(state), state)["x"].view(torch.int16), state["x"].view(torch.int16))


def test_differences_are_exact_for_16_bit_floats_and_small_integers():
    since = {"b": torch.tensor([1.0, -3.0], dtype=torch.bfloat16), "n": torch.tensor([200], dtype=torch.uint8)}
    state = {"b": torch.tensor([1.0078125, 3.0], dtype=torch.bfloat16), "n": torch.tensor([3], dtype=torch.uint8)}
    form = StateLayout(since)
    update = form.pack(state, since=since)
    assert update["floats"]["b"].tolist() == [0.0078125, 6.0]
    assert update["integers"]["n"].tolist() == [-197]
    back = form.unpack(update, since, add=True)
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert back["n"].dtype == torch.uint8


def test_what_a_dtype_cannot_hold_becomes_its_nearest_value():
    like = {"h": torch.zeros(2, dtype=torch.float16), "n": torch.zeros(2, dtype=torch.int8)}
    form = StateLayout(like)
    mean = {"floats": {"h": np.array([1e6, -1e6], np.float32)}, "integers": {"n": np.array([300, -300])}}
    back = form.unpack(mean, like)
    assert back["h"].tolist() == [65504.0, -65504.0]
    assert back["n"].tolist() == [127, -128]


def test_a_bfloat16_mean_is_within_the_stated_error():
    rng = np.random.default_rng(5)
    states = {f"h{i}": {"w": torch.from_numpy(rng.uniform(-1, 1, 1000)).to(torch.bfloat16)} for i in range(5)}
    form = StateLayout(states["h0"])
    params = secagg.Params(clients=5, layout=form.layout, corrupt=1, threshold=4, min_clients=4)
    out = secagg.simulate({name: form.pack(state) for name, state in states.items()}, params)
    got = form.unpack(out.mean, states["h0"])["w"]
    exact = torch.stack([state["w"].double() for state in states.values()]).mean(0)
    assert got.dtype == torch.bfloat16
    error = (got.double() - exact).abs()
    encoded = params.encoding.error_bound()
    assert bool((error <= encoded + (exact.abs() + encoded) * 2**-8).all())


class Tied(torch.nn.Module):
    def __init__(self, bias: float = 0.0):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.out = torch.nn.Linear(3, 5, bias=False)
        self.out.weight = self.embed.weight
        torch.nn.init.constant_(self.norm.bias, bias)


def test_tied_weights_travel_once_and_stay_tied():
    model = Tied()
    state = model.state_dict()
    form = StateLayout(state)
    assert form.layout.size == 15 + 4 * 3 + 1
    update = form.pack(state)
    assert "out.weight" not in update["floats"]
    back = form.unpack(update, state)
    assert back["out.weight"] is back["embed.weight"]
    model.load_state_dict(back)
    assert model.out.weight is model.embed.weight


def test_ties_that_broke_are_noticed():
    state = Tied().state_dict()
    form = StateLayout(state)
    copied = OrderedDict((name, tensor.clone()) for name, tensor in state.items())
    assert form.pack(copied)["floats"].keys() == form.pack(state)["floats"].keys()
    copied["out.weight"][0, 0] += 1
    with pytest.raises(
        InputError, match=re.escape("'out.weight' and 'embed.weight' were tied in the example, and differ now")
    ):
        form.pack(copied)
    square = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    form = StateLayout({"a": square, "b": square})
    with pytest.raises(InputError, match="were tied"):
        form.pack({"a": square, "b": square.T})


def test_a_whole_federation_of_modules():
    torch.manual_seed(1)
    models = {f"h{i}": Tied(bias=i / 10) for i in range(4)}
    start = Tied().state_dict()
    for number, model in enumerate(models.values()):
        model.load_state_dict(start)
        model.train()
        for _ in range(number + 1):
            loss = model.out(model.norm(model.embed(torch.arange(5)))).square().mean()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(0.1 * parameter.grad)
    form = StateLayout(start)
    params = secagg.Params(
        clients=4, layout=form.layout, corrupt=1, threshold=3, min_clients=3, max_weight=10,
        segments=form.segments(floats=secagg.FixedPoint(clip=4.0, bits=24), integers=secagg.Integer(0, 1000)),
    )  # fmt: skip
    weights = {name: number + 1 for number, name in enumerate(models)}
    updates = {name: form.pack(model.state_dict(), since=start) for name, model in models.items()}
    out = secagg.simulate(updates, params, weights=weights)
    assert out.clipped == 0
    after = form.unpack(out.mean, start, add=True)
    Tied().load_state_dict(after)
    assert after._metadata == start._metadata
    total = sum(weights.values())
    for name in start:
        plain = sum(weights[who] * model.state_dict()[name].double() for who, model in models.items()) / total
        if start[name].dtype == torch.int64:
            assert after[name].item() == round(plain.item())
        else:
            assert torch.allclose(
                after[name].double(), plain, atol=params.segment_plan.places[0].encoding.error_bound() + 1e-6
            )


def test_results_are_where_the_state_is():
    state = {"w": torch.ones(2)}
    form = StateLayout(state)
    out = form.unpack(form.pack(state), state)
    assert out["w"].device == state["w"].device


def test_views_and_parameters_that_need_gradients():
    base = torch.arange(12.0).reshape(3, 4)
    state = {"columns": base[:, ::2], "transposed": base.T, "parameter": torch.nn.Parameter(torch.ones(2))}
    form = StateLayout(state)
    update = form.pack(state)
    assert update["floats"]["columns"].tolist() == base[:, ::2].tolist()
    assert update["floats"]["transposed"].tolist() == base.T.tolist()
    assert not form.unpack(update, state)["parameter"].requires_grad


def test_what_is_left_out_stays_as_it_was():
    state = {"w": torch.ones(2), "mask": torch.tensor([True, False])}
    form = StateLayout(state, leave_out=["mask"])
    update = form.pack(state)
    assert list(update) == ["floats"]
    back = form.unpack(update, state)
    assert torch.equal(back["mask"], state["mask"])
    assert back["mask"] is not state["mask"]


def test_segments_name_only_the_groups_that_are_there():
    form = StateLayout({"w": torch.ones(2)})
    encoding = secagg.FixedPoint(clip=2.0)
    assert form.segments(floats=encoding, integers=secagg.Integer(0, 5)) == {"floats": encoding}
    assert form.segments() == {}


def test_nothing_of_a_state_is_shown():
    form = StateLayout({"w": torch.full((3,), 0.123456)})
    assert repr(form) == "<StateLayout of 1 tensors, 3 values>"
    assert "0.123" not in repr(vars(form))


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"m": torch.tensor([True])}, "'m' is bool, which cannot be averaged"),
        ({"c": torch.zeros(2, dtype=torch.complex64)}, "'c' is complex64"),
        ({"f": torch.zeros(2).to(torch.float8_e4m3fn)}, "'f' is float8_e4m3fn"),
        ({"s": torch.eye(2).to_sparse()}, "'s' is a sparse, quantised or meta tensor"),
        ({"q": torch.empty(2, device="meta")}, "'q' is a sparse, quantised or meta tensor"),
        ({"_extra_state": {"any": 1}}, "'_extra_state' is a dict, not a plain tensor"),
        ({"a": np.zeros(2)}, "'a' is a ndarray, not a plain tensor"),
        ({}, "the update is empty"),
        ({"e": torch.empty(0)}, "the update is empty"),
        ([torch.ones(1)], "the example must be a state_dict, not list"),
    ],
)  # fmt: skip
def test_what_cannot_be_averaged_is_refused(state, text):
    with pytest.raises(InputError, match=re.escape(text)):
        StateLayout(state)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"w": torch.ones(3)}, "'w' has shape (3,), and had (2,) in the example"),
        ({"w": torch.ones(2, dtype=torch.float64)}, "'w' is float64, and was float32 in the example"),
        ({"v": torch.ones(2)}, "other names than the example: 'v', 'w'"),
        ({}, "other names than the example: 'w'"),
        (7, "must be a state_dict, not int"),
    ],
)  # fmt: skip
def test_another_structure_is_refused(state, text):
    like = {"w": torch.ones(2)}
    form = StateLayout(like)
    with pytest.raises(InputError, match=re.escape(text)):
        form.pack(state)
    with pytest.raises(InputError, match=re.escape(text)):
        form.pack(like, since=state)
    with pytest.raises(InputError, match=re.escape(text)):
        form.unpack(form.pack(like), state)


def test_a_mean_of_another_structure_is_refused():
    like = {"w": torch.ones(2)}
    with pytest.raises(InputError, match="floats/w: expected shape"):
        StateLayout(like).unpack({"floats": {"w": np.ones(3, np.float32)}}, like)


@pytest.mark.parametrize("names", ["mask", ["nobody"]])
def test_leave_out_must_name_tensors(names):
    with pytest.raises(InputError, match="leave_out must be a collection of names of the state"):
        StateLayout({"mask": torch.ones(1)}, leave_out=names)


def test_torch_is_imported_when_it_is_used():
    code = "import sys, secagg.integrations.torch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
