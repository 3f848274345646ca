"""Params as TOML: what is refused, and with which words."""

from __future__ import annotations

import numpy as np
import pytest

import secagg
from secagg.cli.toml import params_from_toml, read_params, write_params
from secagg.errors import InputError, ParameterError

PARAMS = secagg.Params(
    7,
    layout=secagg.Layout.of({"w": np.zeros((3, 2), np.float32), "more": [np.zeros(2), (np.float16(1), {})]}),
    segments={"w": secagg.FixedPoint(clip=0.5, bits=12), "metrics": secagg.Integer(0, 9)},
    metrics=("loss", 'a "quoted"\n\x7f name'),
)


def test_a_layout_reads_as_it_looks():
    text = write_params(PARAMS)
    assert '"w" = "float32[3,2]"' in text
    assert '"more" = { list = ["float64[2]", { tuple = ["float16[]", { dict = {} }] }] }' in text
    assert params_from_toml(text) == PARAMS


@pytest.mark.parametrize("example", [np.zeros((2, 2)), [np.zeros(3)], (np.zeros(1), [])])
def test_every_kind_of_root(example):
    made = secagg.Params(7, layout=secagg.Layout.of(example))
    assert params_from_toml(write_params(made)) == made


def test_length_stands_for_a_flat_update():
    text = write_params(secagg.Params(7, length=100))
    assert "length = 100" in text
    assert "layout" not in text


def test_a_file_may_hold_either_form(tmp_path):
    for name, content in {"a.toml": write_params(PARAMS).encode(), "a.params": PARAMS.to_bytes()}.items():
        (tmp_path / name).write_bytes(content)
        assert read_params(tmp_path / name) == PARAMS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("clients = 7\nlength = 9", "format = 1 is missing"),
        ("format = 2\nclients = 7\nlength = 9", "another version"),
        ("format = 1\nclient = 7\nlength = 9", "Params has no 'client'; it knows clients"),
        ("format = 1\nlength = 9", "clients is missing"),
        ("format = 1\nclients = 7\n[encoding]\nkind = 'fixed-point'\nbit = 8", "encoding has no 'bit'"),
        ("format = 1\nclients = 7\n[encoding]\nkind = 'float'", "kind must be one of 'fixed-point', 'integer'"),
        ("format = 1\nclients = 7\n[encoding]\nkind = 'integer'\nlow = 1", "encoding: a value is missing"),
        ("format = 1\nclients = 7\n[encoding]\nkind = 'fixed-point'\nclip = []", "encoding.clip must be a number"),
        ("format = 1\nclients = 7\n[encoding]\nkind = 'fixed-point'\nclip = inf", "encoding.clip must be a number"),
        ("format = 1\nclients = 7\nencoding = 3", "encoding must be a table"),
        ("format = 1\nclients = 7\nlength = 9\nsegments = 3", "segments must be a table"),
        ("format = 1\nclients = 7\nlength = 9\nmetrics = 'loss'", "metrics must be an array"),
        ("format = 1\nclients = 7\n[layout]\nleaf = 'float32[3'", "is no array"),
        ("format = 1\nclients = 7\n[layout]\nleaf = 'float32[99999999999999]'", "too large"),
        ("format = 1\nclients = 7\n[layout]\nset = []", "a nest is one of dict, list or tuple"),
        ("format = 1\nclients = 7\n[layout]\nlist = 3", "list must be an array"),
        ("format = 1\nclients = 7\n[layout]\nleaf = 'bool8[3]'", "not a canonical layout"),
        ("format = 1\nclients = 7\n[layout.dict]\na = 3", "layout must be a table"),
        ("format = " + "9" * 5000, "not TOML"),
        ("format = " + "[" * 5000, "not TOML"),
        ("format", "not TOML"),
    ],
)
def test_refusals_say_what_is_wrong(text, reason):
    with pytest.raises(InputError, match=reason.replace("(", "\\(").replace("[", "\\[")):
        params_from_toml(text)


def test_what_params_refuse_keeps_its_reason(tmp_path):
    text = write_params(secagg.Params(7, length=9)).replace("min_clients = 6", "min_clients = 2")
    with pytest.raises(ParameterError, match="honest updates"):
        params_from_toml(text)
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InputError, match=r"a\.toml: .*honest updates"):
        read_params(tmp_path / "a.toml")


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_params(tmp_path / "no.toml")
