"""`secagg verify`, and what a ledger says about a receipt."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from secagg import Receipt
from secagg.cli import app
from secagg.errors import AuthenticationError, DecodeError, InputError
from secagg.store import Ledger, read_sent
from support.federation import Federation

ROUND = 3


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A finished round in which c4 dropped out; all clients have ledgers."""
    home = tmp_path_factory.mktemp("federation")
    made = Federation(5, rounds_per_setup=2)
    for name in made.ids:
        made.clients[name] = made.new_client(name, ledger=home / f"{name}.db")
    made.round(ROUND, silent={"masked": ["c4"]})
    made.server.result(ROUND).receipt.save(home / "receipt.json")
    made.roster.save(home / "study.roster")
    (home / "study.params").write_bytes(made.params.to_bytes())
    made.home = home
    yield made
    for client in made.clients.values():
        client.close()


@pytest.fixture
def receipt(fed: Federation) -> Receipt:
    return fed.server.result(ROUND).receipt


def run(fed: Federation, *more: object, receipt: object = "receipt.json") -> Any:
    arguments = ["verify", fed.home / receipt, "--roster", fed.home / "study.roster", *more]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def mistake(result: Any) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return str(result.stderr)


def write(fed: Federation, receipt: Receipt, tmp_path: Path) -> Path:
    path = tmp_path / "changed.json"
    path.unlink(missing_ok=True)
    receipt.save(path)
    return path


# -- what holds ---------------------------------------------------------------------------------------------------


def test_a_receipt_that_holds_says_what_it_proves(fed: Federation, receipt: Receipt) -> None:
    result = run(fed)
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "holds: every signature is right" in text
    for line, ids in (
        ("asked for an update (5)", "c0 c1 c2 c3 c4"),
        ("counted in the sum (4)", "c0 c1 c2 c3"),
        ("asked, not counted (1)", "c4"),
        ("signed (4, at least 1 needed)", "c0 c1 c2 c3, and the server"),
        ("model context", receipt.context_hash.hex()),
        ("Params (not checked)", receipt.params_hash.hex()),
        ("fingerprint of the roster", fed.roster.fingerprint),
    ):
        assert any(each.startswith(line) and each.endswith(ids) for each in text.splitlines()), line
    flat = " ".join(text.split())
    assert flat.index("Proven:") < flat.index("one account") < flat.index("Not proven:")
    assert flat.index("Not proven:") < flat.index("That the published result is the right sum")
    assert "give --params" in flat and "give --ledger" in flat


def test_everything_together_and_in_json(fed: Federation, receipt: Receipt) -> None:
    more = ("--params", fed.home / "study.params", "--ledger", fed.home / "c0.db")
    text = run(fed, *more)
    assert text.exit_code == 0, text.output
    assert "give --" not in text.stdout
    assert "Params (as in the file)" in text.stdout and "upload of c0" in text.stdout
    told = json.loads(run(fed, *more, "--json").stdout)
    assert told["valid"] is True and told["params_checked"] is True
    assert told["client"] == {"id": "c0", "upload": "counted"}
    assert told["signatures_needed"] == fed.params.threshold
    assert told["round_id"] == ROUND and told["session"] == receipt.session.hex()
    assert told["participants"] == fed.ids and told["dropouts"] == ["c4"]
    assert told["survivors"] == told["signers"] == ["c0", "c1", "c2", "c3"]
    assert told["roster_fingerprint"] == fed.roster.fingerprint
    assert told["result_hash"] == receipt.result_hash.hex()
    assert any("right sum" in line for line in told["not_proven"])
    assert any("no more than 1" in line for line in told["proven"])


def test_the_installed_command(fed: Federation, tmp_path: Path, receipt: Receipt) -> None:
    secagg = Path(sys.executable).with_name("secagg")
    bad = write(fed, dataclasses.replace(receipt, result_hash=bytes(32)), tmp_path)
    for path, code, words in (
        (fed.home / "receipt.json", 0, "holds"),
        (bad, 1, "'server'"),
        (tmp_path / "absent.json", 2, "absent.json: No such file"),
    ):
        done = subprocess.run(
            [secagg, "verify", path, "--roster", fed.home / "study.roster"], capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert words in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


# -- the ledger ---------------------------------------------------------------------------------------------------


def test_the_ledger_of_a_running_client_is_only_read(fed: Federation) -> None:
    path = fed.home / "c1.db"
    before = path.read_bytes(), sorted(fed.home.iterdir())
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # a client in the middle of a record
    try:
        assert run(fed, "--ledger", path).exit_code == 0
    finally:
        writer.execute("ROLLBACK")
        writer.close()
    path.chmod(0o400)
    assert run(fed, "--ledger", path).exit_code == 0
    path.chmod(0o600)
    assert (path.read_bytes(), sorted(fed.home.iterdir())) == before


def test_what_the_ledger_says(fed: Federation, receipt: Receipt) -> None:
    sent = read_sent(fed.home / "c0.db", receipt.session, ROUND)
    assert (sent.me, sent.verify_key, sent.round_id) == ("c0", fed.roster.key("c0"), ROUND)
    assert sent.header is not None and sent.header.tag == receipt.uploads["c0"]
    assert sent.answered and sent.account == receipt.account
    receipt.verify_sent(sent, fed.roster)
    none = read_sent(fed.home / "c0.db", receipt.session, ROUND + 1)
    assert none.header is None and not none.answered and none.account is None


def test_a_client_that_was_not_counted(fed: Federation) -> None:
    text = run(fed, "--ledger", fed.home / "c4.db")
    assert text.exit_code == 0
    assert "none made" in text.stdout and "Nothing is counted for c4" in text.stdout


def test_an_upload_that_got_lost_is_no_contradiction(tmp_path: Path) -> None:
    f = Federation(5)
    f.clients["c4"] = f.new_client("c4", ledger=tmp_path / "c4.db")
    f.server.open_round(1)
    f.until("masked")
    f.bring([(name, frame) for name, frame in f.hand(f.requests()) if name != "c4"])
    f.server.close_phase()
    f.phase(["c4"])
    receipt = f.server.result(1).receipt
    sent = read_sent(tmp_path / "c4.db", receipt.session, 1)
    assert sent.header is not None and not sent.answered
    receipt.verify_sent(sent, f.roster)
    f.home = tmp_path
    receipt.save(tmp_path / "receipt.json")
    f.roster.save(tmp_path / "study.roster")
    text = run(f, "--ledger", tmp_path / "c4.db")
    assert text.exit_code == 0 and "made, not counted" in text.stdout
    told = json.loads(run(f, "--ledger", tmp_path / "c4.db", "--json").stdout)
    assert told["client"] == {"id": "c4", "upload": "made, not counted"}
    f.clients["c4"].close()


def test_a_receipt_that_contradicts_the_ledger_is_refused(fed: Federation, receipt: Receipt, tmp_path: Path) -> None:
    sent = read_sent(fed.home / "c0.db", receipt.session, ROUND)
    later = dataclasses.replace(sent, account=None)  # what is left of the answer when the next round begins
    others = {name: tag for name, tag in receipt.uploads.items() if name != "c0"}
    for change, words in (
        ({"uploads": {**receipt.uploads, "c0": bytes(32)}}, "another upload"),
        ({"uploads": others}, "leaves out"),
        ({"params_hash": bytes(32)}, "other Params"),
        ({"setup_hash": bytes(32)}, "another setup"),
        ({"members_hash": bytes(32)}, "other members"),
        ({"participants": ("c0", "c1", "c2", "c3")}, "other participants"),
        ({"context_hash": bytes(32)}, "another model context"),
    ):
        changed = dataclasses.replace(receipt, **change)
        with pytest.raises(AuthenticationError, match=words) as caught:
            changed.verify_sent(later, fed.roster)
        assert caught.value.peer == "c0"
        with pytest.raises(AuthenticationError, match="another account"):
            changed.verify_sent(sent, fed.roster)
    receipt.verify_sent(later, fed.roster)
    nothing = dataclasses.replace(later, header=None)
    with pytest.raises(AuthenticationError, match="upload that the ledger does not know"):
        receipt.verify_sent(nothing, fed.roster)
    with pytest.raises(AuthenticationError, match="signature that the ledger does not know"):
        receipt.verify_sent(dataclasses.replace(nothing, answered=False), fed.roster)
    for wrong in (dataclasses.replace(sent, round_id=9), dataclasses.replace(sent, session=bytes(16))):
        with pytest.raises(InputError, match="another round"):
            receipt.verify_sent(wrong, fed.roster)
    # On the command line: a ledger that was made after the round, as one that was rolled back.
    Ledger(tmp_path / "new.db", me="c0", identity=fed.keys["c0"]).close()
    result = run(fed, "--ledger", tmp_path / "new.db")
    assert result.exit_code == 1 and "ledger does not know from 'c0'" in result.stdout


def test_ledgers_that_cannot_be_read_are_mistakes(fed: Federation, receipt: Receipt, tmp_path: Path) -> None:
    def broken(statement: str, *values: object) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))} ?mode=rw#.db"
        with sqlite3.connect(fed.home / "c0.db") as source, sqlite3.connect(path) as copy:
            source.backup(copy)
        source.close()
        copy.execute(statement, values)
        copy.commit()
        copy.close()
        return path

    frame = "UPDATE frames SET frame = ? WHERE phase = 'masked'"
    header = Ledger(fed.home / "c0.db", me="c0", identity=fed.keys["c0"])
    good = header.recall(receipt.session, ROUND, "masked")
    header.close()
    assert good is not None
    text = tmp_path / "text.db"
    text.write_text("no database at all, and long enough to be looked at" * 20)
    for path, words in (
        (tmp_path / "absent.db", "No such file"),
        (tmp_path, "cannot be read as a secagg ledger"),
        (text, "not a database"),
        (broken("PRAGMA application_id = 1"), "not a ledger of this version"),
        (broken("DROP TABLE frames"), "not a ledger of this version"),
        (broken("DELETE FROM owner"), "no one owner"),
        (broken("INSERT INTO owner VALUES ('c9', x'00', x'00', 0)"), "no one owner"),
        (broken("UPDATE owner SET me = 7, verify_key = 'x'"), "no one owner"),
        (broken("UPDATE owner SET me = 'a b'"), "white space"),
        (broken(frame, b""), "not a secagg frame"),
        (broken(frame, "text"), "bytes-like"),
        (broken(frame, good.frame[:-1] + bytes([good.frame[-1] ^ 1])), "signature does not hold"),
        (broken("UPDATE frames SET frame = ? WHERE phase = 'unmask'", good.frame), "another kind"),
        (broken("UPDATE owner SET verify_key = ?", fed.roster.key("c1")), "signature does not hold"),
    ):
        told = mistake(run(fed, "--ledger", path))
        assert words in told and str(path) in told, told
    assert not (tmp_path / "absent.db").exists()
    stranger = tmp_path / "stranger.db"
    Ledger(stranger, me="c9", identity=fed.keys["c0"]).close()
    assert "not on this roster" in mistake(run(fed, "--ledger", stranger))
    Ledger(tmp_path / "other.db", me="c0", identity=fed.keys["c1"]).close()
    assert "not on this roster" in mistake(run(fed, "--ledger", tmp_path / "other.db"))


# -- tampering ----------------------------------------------------------------------------------------------------


def _flip(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def _without(form: dict[str, Any], field: str, name: str) -> dict[str, Any]:
    return {**form, field: {key: value for key, value in form[field].items() if key != name}}


def tampered(form: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    """Every field of a receipt file, changed so that it is still a receipt file, and the check that must see it."""
    account, server = (
        "signature on the receipt does not hold from 'c",
        "signature on the receipt does not hold from 'server'",
    )
    hashes = ("session", "params_hash", "setup_hash", "members_hash", "context_hash")
    return {
        **{field: ({**form, field: _flip(form[field])}, account) for field in hashes},
        "round_id": ({**form, "round_id": ROUND + 1}, account),
        "result_hash": ({**form, "result_hash": _flip(form["result_hash"])}, server),
        "server_signature": ({**form, "server_signature": _flip(form["server_signature"])}, server),
        "participants, one less": ({**form, "participants": form["participants"][:4]}, account),
        "participants, unsorted": ({**form, "participants": form["participants"][::-1]}, "unsorted"),
        "participants, twice": ({**form, "participants": ["c0", *form["participants"]]}, "repeated"),
        "participants, a stranger": ({**form, "participants": [*form["participants"], "d"]}, "outside the roster from 'd'"),
        "uploads, a tag": ({**form, "uploads": {**form["uploads"], "c1": "00" * 32}}, account),
        "uploads, one less": (_without(form, "uploads", "c0"), "a dropout signed this receipt"),
        "uploads, one more": ({**form, "uploads": {**form["uploads"], "c4": "00" * 32}}, account),
        "uploads, a stranger": ({**form, "uploads": {**form["uploads"], "d": "00" * 32}}, "was not asked"),
        "signatures, one changed": (
            {**form, "signatures": {**form["signatures"], "c3": _flip(form["signatures"]["c3"])}}, account,
        ),
        "signatures, one less": (_without(form, "signatures", "c3"), server),
        "signatures, a dropout's": (
            {**form, "signatures": {**form["signatures"], "c4": form["signatures"]["c3"]}}, "a dropout signed",
        ),
        "signatures, a stranger's": (
            {**form, "signatures": {**form["signatures"], "d": form["signatures"]["c3"]}}, "outside the roster from 'd'",
        ),
        "signatures, none": ({**form, "signatures": {}}, "0 clients signed this receipt; 1 are needed"),
    }  # fmt: skip


def test_every_field_that_is_tampered_with_is_found(fed: Federation, tmp_path: Path) -> None:
    form = json.loads((fed.home / "receipt.json").read_text())
    cases = tampered(form)
    assert {name.partition(",")[0] for name in cases} == set(form) - {"format"}
    path = tmp_path / "tampered.json"
    for name, (changed, words) in cases.items():
        path.write_text(json.dumps(changed))
        result = run(fed, receipt=path)
        assert result.exit_code == 1, (name, result.output)
        assert result.stdout.startswith(f"{path} DOES NOT HOLD: ") and words in result.stdout, (name, result.output)
        assert result.stdout.count("\n") == 1 and "Proven" not in result.stdout
        told = json.loads(run(fed, "--json", receipt=path).stdout)
        assert told["valid"] is False and words in told["reason"]


def test_params_and_threshold_are_checked(fed: Federation, tmp_path: Path, receipt: Receipt) -> None:
    other = tmp_path / "other.params"
    other.write_bytes(Federation(5).params.to_bytes())
    result = run(fed, "--params", other)
    assert result.exit_code == 1 and "under other Params" in result.stdout
    assert run(fed, "--threshold", 4).exit_code == 0
    for more in (("--threshold", 5), ("--threshold", 5, "--params", fed.home / "study.params")):
        result = run(fed, *more)
        assert result.exit_code == 1 and "4 clients signed this receipt; 5 are needed" in result.stdout
    # The server leaves signatures out and signs anew: only who knows the Params sees that.
    fewer = dataclasses.replace(receipt, signatures={"c0": receipt.signatures["c0"]})
    fewer = dataclasses.replace(fewer, server_signature=fed.server_key.sign(fewer.statement))
    path = write(fed, fewer, tmp_path)
    assert run(fed, receipt=path).exit_code == 0
    result = run(fed, "--params", fed.home / "study.params", receipt=path)
    assert result.exit_code == 1 and "1 clients signed this receipt; 4 are needed" in result.stdout


def test_counts_outside_params_are_refused_whoever_signed(fed: Federation, receipt: Receipt) -> None:
    for change in (
        {"uploads": {name: receipt.uploads[name] for name in ("c0", "c1", "c2")}},
        {"participants": (*receipt.participants, "d")},
    ):
        with pytest.raises(AuthenticationError, match="outside Params"):
            dataclasses.replace(receipt, **change).verify(fed.roster, fed.params)


def test_another_roster_is_refused(fed: Federation, tmp_path: Path) -> None:
    Federation(5).roster.save(tmp_path / "other.roster")
    result = run(fed, "--roster", tmp_path / "other.roster")
    assert result.exit_code == 1 and "does not hold" in result.stdout


# -- mistakes -----------------------------------------------------------------------------------------------------


def test_mistakes_are_one_line_and_status_2(fed: Federation, tmp_path: Path) -> None:
    assert "No such file" in mistake(run(fed, receipt="absent.json"))
    assert "Is a directory" in mistake(run(fed, receipt="."))
    assert "not a receipt but a roster" in mistake(run(fed, receipt="study.roster"))
    assert "not a roster but a receipt" in mistake(run(fed, "--roster", fed.home / "receipt.json"))
    assert "No such file" in mistake(run(fed, "--roster", tmp_path / "absent"))
    assert "No such file" in mistake(run(fed, "--params", tmp_path / "absent"))
    assert "receipt.json: not TOML" in mistake(run(fed, "--params", fed.home / "receipt.json"))
    assert "--threshold" in mistake(run(fed, "--threshold", 0))


def test_files_that_are_no_receipt(fed: Federation, tmp_path: Path) -> None:
    good = (fed.home / "receipt.json").read_text()
    form = json.loads(good)
    path = tmp_path / "no.json"
    for content in (
        "",
        "[]",
        good[:-3],
        good + "{}",
        good.replace('"c1":', '"c0":'),
        good.replace("{", '{"round_id": 3, ', 1),
        json.dumps({**form, "format": "secagg receipt v2"}),
        json.dumps({**form, "more": 1}),
        json.dumps({key: value for key, value in form.items() if key != "uploads"}),
        json.dumps({**form, "round_id": -1}),
        json.dumps({**form, "round_id": 1 << 63}),
        json.dumps({**form, "round_id": 10**400}),
        json.dumps({**form, "round_id": 3.0}),
        json.dumps({**form, "round_id": True}),
        json.dumps({**form, "session": form["session"][2:]}),
        json.dumps({**form, "session": form["session"].upper() + " "}),
        json.dumps({**form, "participants": ["a b"]}),
        json.dumps({**form, "participants": ["x" * 100_000]}),
        json.dumps({**form, "uploads": {"c0": "zz" * 32}}),
        json.dumps({**form, "signatures": {"c0": "00" * 63}}),
        json.dumps({**form, "signatures": {"\ud800": "00" * 64}}),
    ):
        path.write_text(content)
        told = mistake(run(fed, receipt=path))
        assert str(path) in told and len(told) < 400


def test_a_receipt_is_saved_once_and_comes_back(fed: Federation, receipt: Receipt, tmp_path: Path) -> None:
    path = write(fed, receipt, tmp_path)
    assert Receipt.load(path) == receipt
    assert path.read_text() == receipt.to_json()
    with pytest.raises(InputError, match="exists"):
        receipt.save(path)
    with pytest.raises(FileNotFoundError):
        Receipt.load(tmp_path / "absent")


def test_a_receipt_over_the_limit_is_not_parsed(receipt: Receipt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secagg.receipt.MAX_BYTES", 100)
    with pytest.raises(DecodeError, match="more than 100 bytes"):
        Receipt.from_json(receipt.to_json())


IDS = st.sampled_from(["c0", "c1", "c2", "c3", "c4", "d", ""])
HEX32 = st.binary(min_size=31, max_size=32).map(bytes.hex)
VALUES = (
    st.none()
    | st.integers()
    | st.text(max_size=70)
    | HEX32
    | st.binary(min_size=64, max_size=64).map(bytes.hex)
    | st.lists(IDS, max_size=6)
    | st.dictionaries(IDS, HEX32, max_size=6)
)


@given(st.data())
def test_receipts_with_arbitrary_fields_raise_only_typed_errors(fed: Federation, data: st.DataObject) -> None:
    form = json.loads(fed.server.result(ROUND).receipt.to_json())
    field = data.draw(st.sampled_from([*form, "more"]))
    before = form.get(field)
    form[field] = data.draw(VALUES)
    try:
        read = Receipt.from_json(json.dumps(form))
        read.verify(fed.roster)
    except (DecodeError, AuthenticationError):
        return
    assert form[field] == before


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_arbitrary_text_is_no_receipt(content: str | bytes) -> None:
    with pytest.raises(DecodeError):
        Receipt.from_json(content)


@given(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 4))
def test_no_change_of_the_file_passes_for_another_receipt(fed: Federation, at: int, put: bytes, cut: int) -> None:
    good = fed.server.result(ROUND).receipt
    content = good.to_json().encode()
    at %= len(content)
    try:
        read = Receipt.from_json(content[:at] + put + content[at + cut :])
        read.verify(fed.roster)
    except (DecodeError, AuthenticationError):
        return
    assert read == good  # white space was changed, or nothing
