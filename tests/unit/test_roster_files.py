"""Roster and public-key files: written once, read strictly, refused with a typed error."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import Identity, PublicKey, Receipt, Roster
from secagg.errors import DecodeError, InputError, ParameterError
from secagg.files import read_bounded, unhex
from secagg.identity import FINGERPRINT_BITS, key_fingerprint


def _key(i: int) -> bytes:
    return Identity.from_bytes(i.to_bytes(32, "big")).verify_key


ROSTER = Roster({"h2": _key(2), "h1": _key(1), "hôpital-[b]": _key(3)}, _key(9))
FORM: dict[str, Any] = {
    "format": "secagg roster v1",
    "server": _key(9).hex(),
    "clients": {"h1": _key(1).hex(), "h2": _key(2).hex(), "hôpital-[b]": _key(3).hex()},
}


def test_a_roster_comes_back_equal_sorted_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "study.roster"
    ROSTER.save(path)
    assert Roster.load(path) == ROSTER == Roster.load(str(path))
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == FORM
    assert list(json.loads(text)["clients"]) == list(ROSTER.ids)
    assert text.count("\n") == 9 and text.endswith("}\n")
    assert stat.S_IMODE(path.stat().st_mode) & 0o133 == 0


def test_a_public_key_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "h1.pub"
    PublicKey("h1", _key(1)).save(path)
    assert PublicKey.load(path) == PublicKey("h1", _key(1))
    assert json.loads(path.read_text()) == {"format": "secagg public key v1", "name": "h1", "key": _key(1).hex()}
    for name, key in (("h 1", _key(1)), ("", _key(1)), ("h1", bytes(32)), ("h1", _key(1)[1:])):
        with pytest.raises(ParameterError):
            PublicKey(name, key)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("dear")
    for save in (ROSTER.save, PublicKey("h1", _key(1)).save):
        with pytest.raises(InputError, match="exists"):
            save(path)
    assert path.read_text() == "dear"


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        ROSTER.save(tmp_path / "study.roster")
    assert list(tmp_path.iterdir()) == []


def test_fingerprints_have_160_bits_of_the_digest() -> None:
    assert FINGERPRINT_BITS == 160
    for told, digits in (
        (ROSTER.fingerprint, ROSTER.hash().hex()),
        (PublicKey("h1", _key(1)).fingerprint, None),
    ):
        groups = told.split(" ")
        assert [len(group) for group in groups] == [4] * 10
        assert digits is None or "".join(groups) == digits[:40]
    # Anybody can make it with sha256sum; the repr of an identity begins with the same digits.
    plain = key_fingerprint(_key(1)).replace(" ", "")
    assert plain[:16] in repr(Identity.from_bytes((1).to_bytes(32, "big")))
    other = Roster({"h1": _key(1), "h2": _key(2)}, _key(9))
    assert other.fingerprint != ROSTER.fingerprint


def _changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(FORM), **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a roster"),
        (b"\xff\xfe", "not a roster"),
        (b"[]", "not a roster"),
        (b'"roster"', "not a roster"),
        (b"[" * 100_000, "not a roster"),
        (json.dumps(FORM).encode()[:-1], "not a roster"),
        (json.dumps(FORM).encode() + b"{}", "not a roster"),
        (json.dumps(FORM).encode("utf-16"), "not a roster"),
        (json.dumps(_changed(extra=1)).encode(), "not a roster"),
        (json.dumps({key: FORM[key] for key in ("format", "clients")}).encode(), "not a roster"),
        (json.dumps(_changed(server=None)).encode(), "not a roster"),
        (json.dumps(_changed(clients=[])).encode(), "not a roster"),
        (json.dumps(_changed(format="secagg roster v2")).encode(), "not a roster of this version"),
        (json.dumps(FORM).replace('"h2"', '"h1"').encode(), "not a roster"),
        (json.dumps(FORM).replace("{", '{"server": "00", ', 1).encode(), "not a roster"),
        (json.dumps(_changed(server=_key(9).hex().upper())).encode(), "the server's key"),
        (json.dumps(_changed(server=_key(9).hex() + "00")).encode(), "the server's key"),
        (json.dumps(_changed(server=" " + _key(9).hex())).encode(), "the server's key"),
        (json.dumps(_changed(clients={"h1": "zz" * 32})).encode(), "the key of 'h1'"),
        (b"secagg identity v1: keep secret\n" + b"0" * 64 + b"\n", "secret key"),
        (b'{"format": "secagg public key v1", "name": "h1", "key": ""}', "but a public key"),
        (b'{"format": "secagg receipt v1"}', "but a receipt"),
    ],
)
def test_what_is_no_roster_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "study.roster"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        Roster.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clients": {}}, "at least one"),
        ({"clients": {"a b": _key(1).hex()}}, "white space"),
        ({"clients": {"x" * 100_000: _key(1).hex()}}, "at most 64 bytes"),
        ({"clients": {"é" * 40: _key(1).hex()}}, "64 bytes"),
        ({"clients": {"h1": _key(1).hex(), "h2": _key(1).hex()}}, "same verify key"),
        ({"clients": {"h1": _key(9).hex()}}, "same verify key"),
        ({"clients": {"h1": "00" * 32}}, "small order"),
        ({"server": "ff" * 32}, "not canonical"),
    ],
)
def test_a_roster_file_with_bad_content_is_a_parameter_error(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "study.roster"
    path.write_text(json.dumps(_changed(**change)), encoding="utf-8")
    with pytest.raises(ParameterError, match=words) as caught:
        Roster.load(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 400


def test_order_and_layout_of_the_file_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "study.roster"
    path.write_text(json.dumps(dict(reversed(FORM.items())), indent=7))
    assert Roster.load(path) == ROSTER


def test_bad_public_key_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "h1.pub"
    good = {"format": "secagg public key v1", "name": "h1", "key": _key(1).hex()}
    for change, kind in (
        ({"format": "secagg public key v2"}, InputError),
        ({"format": "secagg roster v1"}, InputError),
        ({"key": _key(1).hex()[:-1]}, InputError),
        ({"name": 3}, InputError),
        ({"note": "x" * 5000}, InputError),
        ({"name": "h/ 1"}, ParameterError),
        ({"key": "00" * 32}, ParameterError),
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(kind, match=r"h1\.pub"):
            PublicKey.load(path)
    with pytest.raises(FileNotFoundError):
        PublicKey.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        Roster.load(tmp_path / "absent")


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    assert read_bounded(path, 10) == bytes(10)
    with pytest.raises(InputError, match="more than 9 bytes"):
        read_bounded(path, 9)


def test_hex_has_one_form() -> None:
    assert unhex("00ff", 2, "it") == b"\0\xff"
    for text in ("00FF", "00 ff", "00f", "00ff00", "", "0x00", "\u0660\u0660ff"):
        with pytest.raises(InputError, match="it must have 4 hex digits"):
            unhex(text, 2, "it")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=70), inner, max_size=4),
    max_leaves=12,
)
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex) | st.sampled_from([_key(i).hex() for i in range(1, 4)])
FORMS = st.sampled_from(["secagg roster v1", "secagg public key v1", "secagg receipt v1"])
NEAR_ROSTER = st.fixed_dictionaries(
    {"format": FORMS, "server": HEX | JSON, "clients": st.dictionaries(st.text(max_size=6), HEX, max_size=4) | JSON}
)
NEAR_KEY = st.fixed_dictionaries({"format": FORMS, "name": st.text(max_size=70) | JSON, "key": HEX | JSON})
CONTENT = (
    st.binary(max_size=400)
    | (JSON | NEAR_ROSTER | NEAR_KEY).map(lambda value: json.dumps(value).encode())
    | st.tuples(st.integers(0, 400), st.binary(max_size=3)).map(
        lambda cut: json.dumps(FORM).encode()[: cut[0]] + cut[1] + json.dumps(FORM).encode()[cut[0] :]
    )
)


@given(CONTENT)
def test_arbitrary_files_raise_only_typed_errors(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        path.write_bytes(content)
        for load in (Roster.load, PublicKey.load, Receipt.load):
            with contextlib.suppress(InputError, ParameterError, DecodeError):
                load(path)


@given(NEAR_ROSTER, NEAR_KEY)
def test_near_misses_raise_only_typed_errors(roster: object, key: object) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        for load, value in ((Roster.load, roster), (PublicKey.load, key)):
            path.write_text(json.dumps(value))
            with contextlib.suppress(InputError, ParameterError):
                load(path)
