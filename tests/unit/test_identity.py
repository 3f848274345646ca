"""Identities that stay put, and rosters that refuse impostors."""

from __future__ import annotations

import copy
import os
import pickle
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import InputError, ParameterError
from secagg.hazmat import signing
from secagg.hazmat.transcript import digest
from secagg.identity import Identity, Roster, check_id


def _key(i: int) -> bytes:
    return Identity.from_bytes(i.to_bytes(32, "big")).verify_key


SERVER = _key(1000)


def test_signature_verifies_under_the_verify_key() -> None:
    identity = Identity.generate()
    signing.verify(identity.verify_key, b"m", identity.sign(b"m"))
    again = Identity.from_bytes(identity.to_bytes())
    assert again.verify_key == identity.verify_key
    assert Identity.generate().verify_key != identity.verify_key


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "h1.key"
    identity = Identity.generate()
    before = os.umask(0)
    try:
        identity.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load(path).to_bytes() == identity.to_bytes()
    assert Identity.load(str(path)).verify_key == identity.verify_key


def test_save_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "h1.key"
    first = Identity.generate()
    first.save(path)
    with pytest.raises(InputError, match="exists"):
        Identity.generate().save(path)
    assert Identity.load(path).verify_key == first.verify_key


def test_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        Identity.generate().save(tmp_path / "h1.key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_load_refuses_a_readable_file(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "h1.key"
    Identity.generate().save(path)
    path.chmod(mode)
    with pytest.raises(InputError, match="chmod 600"):
        Identity.load(path)


def test_fault_50_torn_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h1.key"
    secret = Identity.generate()
    secret.save(path)
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:20],
        whole[:-1],
        whole[:-2] + b"\n",
        whole + b"x",
        b"x" + whole[1:],
        whole[:-4] + b"zz \n",
        whole[:-4] + b"\xff\xff\xff\n",
        bytes(len(whole)),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no secagg identity") as caught:
            Identity.load(path)
        assert secret.to_bytes().hex()[:16] not in repr(caught.value)
    with pytest.raises(FileNotFoundError):
        Identity.load(tmp_path / "absent")


def test_fault_59_identity_cannot_be_pickled_or_copied() -> None:
    identity = Identity.generate()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(identity, protocol)
    for duplicate in (copy.copy, copy.deepcopy, vars):
        with pytest.raises(TypeError):
            duplicate(identity)


def test_fault_58_identity_shows_no_secret() -> None:
    private = b"canary-canary-canary-canary-1234"
    identity = Identity.from_bytes(private)
    for text in (repr(identity), str(identity), repr({"me": identity})):
        assert "canary" not in text and private.hex()[:16] not in text
    for bad in (private[:-1], b"", "x" * 32):
        with pytest.raises(InputError) as caught:
            Identity.from_bytes(bad)  # type: ignore[arg-type]
        assert "canary" not in repr(caught.value)


def test_roster_is_sorted_by_utf8() -> None:
    names = ["h10", "h2", "H2", "é", "z", "\U0001f3e5", "\uff41"]
    roster = Roster({name: _key(i + 1) for i, name in enumerate(names)}, SERVER)
    assert list(roster.ids) == sorted(names, key=lambda name: name.encode())
    assert list(roster) == list(roster.ids) and len(roster) == 7
    assert "h2" in roster and "h3" not in roster and b"h2" not in roster
    assert roster.key("h2") == _key(2) and roster.server == SERVER
    with pytest.raises(InputError, match="h3"):
        roster.key("h3")


def test_roster_hash_binds_everything_and_no_order() -> None:
    roster = Roster({"a": _key(1), "b": _key(2)}, SERVER)
    assert roster.hash() == digest("roster", SERVER, b"a", _key(1), b"b", _key(2))
    same = Roster({"b": _key(2), "a": _key(1)}, SERVER)
    assert same == roster and hash(same) == hash(roster) and same.hash() == roster.hash()
    others = [
        Roster({"a": _key(2), "b": _key(1)}, SERVER),
        Roster({"a": _key(1)}, SERVER),
        Roster({"a": _key(1), "c": _key(2)}, SERVER),
        Roster({"a": _key(1), "b": _key(2)}, _key(3)),
    ]
    assert len({roster, *others}) == 5
    assert roster != "roster"
    assert repr(roster) == f"<Roster of 2 clients, {roster.hash().hex()[:16]}>"


def test_roster_is_frozen_and_copies_its_input() -> None:
    clients = {"a": _key(1)}
    roster = Roster(clients, SERVER)
    clients["b"] = _key(2)
    assert roster.ids == ("a",)
    with pytest.raises(AttributeError):
        roster._server = _key(3)
    with pytest.raises(AttributeError):
        roster.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        del roster._server
    for twin in (pickle.loads(pickle.dumps(roster)), copy.copy(roster), copy.deepcopy(roster)):
        assert twin == roster and twin.key("a") == _key(1)


def test_fault_34_one_key_under_two_ids_is_refused() -> None:
    with pytest.raises(ParameterError, match="'a' and 'b' have the same"):
        Roster({"a": _key(1), "b": _key(1)}, SERVER)
    with pytest.raises(ParameterError, match="the server and 'a'"):
        Roster({"a": SERVER}, SERVER)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a\t",
        "a\n",
        "\0",
        "\x7f",
        "a\u00a0b",
        "a\u200b",
        "a\u202eb",
        "\ud800",
        "x" * 65,
        "é" * 33,
        3,
        b"a",
        None,
    ],
)
def test_bad_ids_are_refused(name: object) -> None:
    with pytest.raises(ParameterError):
        check_id(name)  # type: ignore[arg-type]
    with pytest.raises(ParameterError):
        Roster({name: _key(1)}, SERVER)  # type: ignore[dict-item]


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=16))
def test_printable_ids_are_allowed(name: str) -> None:
    check_id(name)


@pytest.mark.parametrize("name", ["a", "x" * 64, "é" * 32, "the", "server", "hôpital-7", "病院"])
def test_good_ids(name: str) -> None:
    assert name in Roster({name: _key(1)}, SERVER)


BAD_KEYS = [
    b"",
    bytes(31),
    bytes(33),
    None,
    "x" * 32,
    bytearray(32),
    b"\xff" * 32,
    (2).to_bytes(32, "little"),
    *sorted(signing.SMALL_ORDER),
]


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_fault_20_bad_keys_are_refused(key: bytes) -> None:
    with pytest.raises(ParameterError, match="verify key of 'a'"):
        Roster({"a": key}, SERVER)
    with pytest.raises(ParameterError, match="verify key of the server"):
        Roster({"a": _key(1)}, key)


@pytest.mark.parametrize("clients", [{}, [], None, [("a", _key(1))]])
def test_roster_needs_clients(clients: object) -> None:
    with pytest.raises(ParameterError):
        Roster(clients, SERVER)  # type: ignore[arg-type]
