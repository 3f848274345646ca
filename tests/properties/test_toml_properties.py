"""Params survive their TOML, and what no TOML of Params is gets refused with a message, never a traceback."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import FixedPoint, Integer, Layout, Params
from secagg.cli.toml import params_from_toml, read_params, write_params
from secagg.encoding.layout import DTYPES
from secagg.errors import InputError, ParameterError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.tuples(st.just("leaf"), st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=3).map(tuple))


def nests(inner):
    return st.one_of(
        st.dictionaries(NAMES, inner, max_size=3).map(lambda d: ("dict", tuple(d.items()))),
        st.lists(inner, max_size=3).map(lambda items: ("list", tuple(items))),
        st.lists(inner, max_size=3).map(lambda items: ("tuple", tuple(items))),
    )


LAYOUTS = (
    st.one_of(LEAVES, st.recursive(LEAVES, nests, max_leaves=6))
    .map(Layout)
    .filter(lambda layout: layout.size and len(layout.leaves))
)
ENCODINGS = st.one_of(
    st.builds(
        FixedPoint,
        clip=st.one_of(st.floats(1e-100, 1e100), st.integers(1, 100)),
        bits=st.integers(1, 20),
        rounding=st.sampled_from(["stochastic", "nearest"]),
        overflow=st.sampled_from(["clip", "refuse"]),
    ),
    st.tuples(st.integers(-1000, 1000), st.integers(1, 1000)).map(lambda p: Integer(p[0], p[0] + p[1])),
)


@st.composite
def params(draw):
    layout = draw(st.one_of(st.integers(1, 1000).map(Layout.flat), LAYOUTS))
    parts = ["model", *layout.top_keys]
    metrics = tuple(draw(st.lists(NAMES.filter(bool), unique=True, max_size=2)))
    named = draw(st.dictionaries(st.sampled_from(parts), ENCODINGS, max_size=2))
    if metrics:
        named["metrics"] = draw(ENCODINGS)
    made = {
        "clients": draw(st.integers(5, 30)), "layout": layout, "metrics": metrics, "segments": named,
        "encoding": draw(ENCODINGS), "max_weight": draw(st.integers(1, 1000)),
        "rounds_per_setup": draw(st.integers(1, 8)), "frame_bytes": draw(st.sampled_from([1 << 16, 4 << 20])),
        "threat": draw(st.sampled_from(["malicious", "semi-honest"])), "min_honest": draw(st.integers(1, 3)),
        **draw(st.sampled_from([{}, {"protocol": "ckks", "reveal": "server"}, {"protocol": "ckks", "reveal": "holder"}])),
    }  # fmt: skip
    try:
        return Params(**made)
    except (ParameterError, InputError):
        return Params(draw(st.integers(5, 30)), layout=layout)


@given(params())
@settings(max_examples=200)
def test_params_survive_their_toml(made):
    text = write_params(made)
    back = params_from_toml(text)
    assert back == made
    assert back.to_bytes() == made.to_bytes()
    assert write_params(back) == text


ANYTHING = st.recursive(
    st.one_of(st.integers(), st.floats(), st.booleans(), NAMES),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "clients", "length", "layout", "encoding", "segments", "metrics", "protocol", "threat", "threshold", "min_clients",
    "min_honest", "corrupt", "max_participants", "min_cohort", "neighbours", "max_weight", "rounds_per_setup", "frame_bytes",
    "reveal", "ring",
]  # fmt: skip
BASE = {"format": "1", "clients": "7", "length": "100"}


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else repr(value)


@given(st.sampled_from(FIELDS), ANYTHING)
@settings(max_examples=400)
def test_any_value_of_any_key_gives_params_or_a_reason(name, value):
    text = "\n".join(f"{key} = {what}" for key, what in {**BASE, name: toml(value)}.items())
    tomllib.loads(text)
    try:
        made = params_from_toml(text)
    except (InputError, ParameterError):
        return
    assert params_from_toml(write_params(made)) == made


@given(st.text(max_size=60))
def test_any_text_is_refused(text):
    with pytest.raises((InputError, ParameterError)):
        params_from_toml(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("toml") / "study.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"study\.toml"):
        read_params(path)
