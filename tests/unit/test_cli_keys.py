"""`secagg keygen` and `secagg roster`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from secagg import Identity, PublicKey, Roster
from secagg.cli import app
from secagg.identity import key_fingerprint


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return str(result.stderr)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with keys of three clients and a server."""
    monkeypatch.chdir(tmp_path)
    for name in ("server", "north", "south", "hôpital-[red]"):
        assert run("keygen", name).exit_code == 0
    return tmp_path


def test_keygen_writes_a_pair_and_shows_the_public_half(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        result = run("keygen", "north-clinic", "--out", tmp_path)
    finally:
        os.umask(before)
    assert result.exit_code == 0, result.output
    private, public = tmp_path / "north-clinic.key", tmp_path / "north-clinic.pub"
    assert sorted(tmp_path.iterdir()) == [private, public]
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    identity, known = Identity.load(private), PublicKey.load(public)
    assert known == PublicKey("north-clinic", identity.verify_key)
    for told in (str(private), str(public), known.key.hex(), known.fingerprint, "160 bits"):
        assert told in result.stdout


def test_keygen_json(tmp_path: Path) -> None:
    result = run("keygen", "h1", "--out", tmp_path, "--json")
    known = PublicKey.load(tmp_path / "h1.pub")
    assert json.loads(result.stdout) == {
        "name": "h1",
        "key": known.key.hex(),
        "fingerprint": known.fingerprint,
        "fingerprint_bits": 160,
        "secret_file": str(tmp_path / "h1.key"),
        "public_file": str(tmp_path / "h1.pub"),
    }


def test_canary_no_command_prints_the_secret_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = b"canary-canary-canary-canary-1234"
    monkeypatch.setattr(Identity, "generate", classmethod(lambda cls: cls.from_bytes(private)))
    out = [run("keygen", "h1", "--out", tmp_path), run("keygen", "h1", "--out", tmp_path)]
    out.append(run("keygen", "h2", "--out", tmp_path, "--json"))
    key, pub = tmp_path / "h1.key", tmp_path / "h1.pub"
    assert private.hex() in key.read_text()
    assert private.hex() not in pub.read_text()
    out += [
        run("roster", "make", tmp_path / "r", "--server", key, pub),
        run("roster", "make", tmp_path / "r", "--server", pub, key),
        run("roster", "make", tmp_path / "r", "--server", pub, tmp_path / "h2.pub"),
        run("roster", "show", key),
        run("verify", key, "--roster", key),
        run("verify", key, "--roster", pub, "--params", key, "--ledger", key),
    ]
    assert [result.exit_code for result in out] == [0, 2, 0, 2, 2, 2, 2, 2, 2]
    for result in out:
        assert "canary-canary" not in result.output
        assert private.hex()[:16] not in result.output
        assert "Traceback" not in result.output


def test_keygen_never_overwrites(tmp_path: Path) -> None:
    assert run("keygen", "h1", "--out", tmp_path).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert "exists" in refused("keygen", "h1", "--out", tmp_path)
    (tmp_path / "h1.pub").unlink()
    assert "h1.key exists" in refused("keygen", "h1", "--out", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {
        tmp_path / "h1.key": before[tmp_path / "h1.key"]
    }


def test_keygen_leaves_no_half_of_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: PublicKey, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PublicKey, "save", full)
    assert "No space left" in refused("keygen", "h1", "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a\n", "../h1", "a/b", "/etc/h1", "a\\b", "C:h1", ".", "..", ".hidden", "x" * 65, "a\u202eb"],
)
def test_keygen_refuses_names_that_are_no_ids_or_leave_the_directory(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "keys"
    inner.mkdir()
    refused("keygen", "--out", inner, "--", name)
    assert list(tmp_path.rglob("*")) == [inner]


def test_keygen_needs_a_directory(tmp_path: Path) -> None:
    assert "No such file or directory" in refused("keygen", "h1", "--out", tmp_path / "absent")


def test_make_and_show_a_roster(made: Path) -> None:
    pubs = ["south.pub", "hôpital-[red].pub", "north.pub"]
    result = run("roster", "make", "study.roster", "--server", "server.pub", *pubs)
    assert result.exit_code == 0, result.output
    roster = Roster.load("study.roster")
    assert roster.ids == ("hôpital-[red]", "north", "south")
    assert roster.server == Identity.load("server.key").verify_key
    assert roster.key("north") == Identity.load("north.key").verify_key
    shown = run("roster", "show", "study.roster")
    assert shown.exit_code == 0 and shown.stdout == result.stdout
    lines = shown.stdout.splitlines()
    for name in roster:
        assert any(line.startswith(name) and line.endswith(key_fingerprint(roster.key(name))) for line in lines)
    assert "3 clients and the server" in shown.stdout
    assert roster.fingerprint in shown.stdout and "160 bits" in shown.stdout


def test_roster_json(made: Path) -> None:
    made_json = run("roster", "make", "study.roster", "--server", "server.pub", "north.pub", "south.pub", "--json")
    shown = run("roster", "show", "study.roster", "--json")
    assert made_json.stdout == shown.stdout
    roster, told = Roster.load("study.roster"), json.loads(shown.stdout)
    assert told["fingerprint"] == roster.fingerprint and told["hash"] == roster.hash().hex()
    assert (told["count"], told["fingerprint_bits"], told["roster"]) == (2, 160, "study.roster")
    assert {name: bytes.fromhex(each["key"]) for name, each in told["clients"].items()} == {
        name: roster.key(name) for name in roster
    }
    assert told["server"] == {"key": roster.server.hex(), "fingerprint": key_fingerprint(roster.server)}


def test_duplicates_are_refused_by_file(made: Path) -> None:
    Path("copy.pub").write_bytes(Path("north.pub").read_bytes())
    PublicKey("south", PublicKey.load("server.pub").key).save("evil.pub")
    PublicKey("west", PublicKey.load("north.pub").key).save("west.pub")
    for clients, words in (
        (("north.pub", "south.pub", "copy.pub"), ("north.pub and copy.pub", "'north'")),
        (("north.pub", "north.pub"), ("north.pub and north.pub", "'north'")),
        (("north.pub", "west.pub"), ("north.pub and west.pub", "same key")),
        (("evil.pub",), ("server.pub and evil.pub", "same key")),
        (("north.pub", "server.pub"), ("server.pub and server.pub", "same key")),
    ):
        told = refused("roster", "make", "study.roster", "--server", "server.pub", *clients)
        assert all(word in told for word in words), told
    assert not Path("study.roster").exists()


def test_roster_refusals(made: Path) -> None:
    assert "absent.pub: No such file" in refused("roster", "make", "r", "--server", "server.pub", "absent.pub")
    assert "secret key" in refused("roster", "make", "r", "--server", "server.pub", "north.key")
    assert "secret key" in refused("roster", "make", "r", "--server", "server.key", "north.pub")
    assert "Is a directory" in refused("roster", "show", ".")
    assert "but a public key" in refused("roster", "show", "north.pub")
    assert "No such file" in refused("roster", "show", "absent")
    assert "No such file" in refused("roster", "make", "absent/r", "--server", "server.pub", "north.pub")
    assert run("roster", "make", "r", "--server", "server.pub", "north.pub").exit_code == 0
    before = Path("r").read_bytes()
    assert "exists" in refused("roster", "make", "r", "--server", "server.pub", "south.pub")
    assert Path("r").read_bytes() == before
    Path("r").write_bytes(before.replace(Path("r").read_bytes()[60:62], b"zz"))
    refused("roster", "show", "r")
    for incomplete in (("roster", "make", "r2", "--server", "server.pub"), ("roster", "make", "r2", "north.pub")):
        assert run(*incomplete).exit_code == 2


@pytest.mark.parametrize("command", [("keygen",), ("roster", "make"), ("roster", "show"), ("verify",)])
def test_help_has_an_example_and_the_exit_status(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert f"secagg {' '.join(command)}" in result.stdout
    assert "Exit status: 0" in result.stdout
    assert "--json" in result.stdout


def test_help_lists_the_commands_and_loads_nothing_heavy() -> None:
    told = run("--help").stdout
    assert all(word in told for word in ("demo", "keygen", "roster", "verify"))
    code = "import sys, secagg.cli; print({'secagg.cli.keys', 'secagg.cli.verify', 'rich.console'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "secagg.cli.keys" not in done.stdout and "secagg.cli.verify" not in done.stdout
