"""What users see of ckks beside a round: plan and explain, rosters with a key holder, receipts and their check."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import secagg
from secagg import HOLDER, Params
from secagg.cli import app
from secagg.errors import AuthenticationError, InputError, ParameterError
from secagg.store import read_sent
from secagg.testing import Network

IDS = ["a", "b", "c", "d"]


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def session(tmp_path):
    """Return network, roster and Params of a round that is over, with ledgers."""
    keys = {name: secagg.Identity.generate() for name in IDS}
    server_key = secagg.Identity.generate()
    roster = secagg.Roster(
        {name: key.verify_key for name, key in keys.items()}, server_key.verify_key, holder=keys["a"].verify_key
    )
    params = Params(4, length=50, protocol="ckks", reveal="server", corrupt=1, min_clients=3, max_weight=7)
    clients = {
        name: secagg.Client(params, me=name, identity=keys[name], roster=roster, ledger=tmp_path / f"{name}.db")
        for name in IDS
    }
    holder = secagg.KeyHolder(params, identity=keys["a"], roster=roster, ledger=tmp_path / "holder.db")
    server = secagg.Server(params, identity=server_key, roster=roster)
    network = Network(server, clients, holder=holder)
    server.open_round(3)
    while server.phase != "idle":
        network.exchange(lambda client: client.submit(np.ones(50) / 2, weight=2, context=b"m"), silent={"d"})
        server.close_phase()
    yield network, roster, params
    for party in (*clients.values(), holder):
        party.close()


# -- plan and explain -----------------------------------------------------------------------------------------------


def test_plan_chooses_counts_and_the_ring_of_the_smallest_uploads():
    params = secagg.plan(100, length=10_000, protocol="ckks", reveal="holder", dropout=0.2, corrupt=0.1, sample=50)
    assert (params.max_participants, params.min_clients, params.corrupt, params.rounds_per_setup) == (50, 40, 10, 64)
    sizes = []
    for bits in range(20, 54):
        try:
            other = dataclasses.replace(params, ring=(2048, bits), threshold=None, min_cohort=None, neighbours=None)
        except ParameterError:
            continue
        sizes.append(other.cipher_plan.upload_bytes)
    assert params.cipher_plan.upload_bytes == min(sizes)


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"dropout": 3}, "min_honest=2"),
        ({"threshold": 3}, "belongs to pairwise"),
        ({"reveal": None}, "who learns the sum"),
        ({"min_clients": 2, "dropout": 0, "corrupt": 1}, "min_honest=2"),
    ],
)
def test_plan_refuses_what_cannot_be(asked, words):
    with pytest.raises(ParameterError, match=words):
        secagg.plan(5, **{"length": 10, "protocol": "ckks", "reveal": "server"} | asked)


@pytest.mark.parametrize("reveal", ["holder", "server"])
@pytest.mark.parametrize("threat", ["malicious", "semi-honest"])
def test_explain_says_the_bytes_that_are_sent(reveal, threat):
    params = Params(
        6, length=3000, protocol="ckks", reveal=reveal, threat=threat, rounds_per_setup=4, frame_bytes=40_000
    )
    told = params.explain().to_dict()
    ids = [f"{i:016d}" for i in range(6)]
    network = Network.fresh(params, ids)
    for round_id in (1, 2):
        for name in (*ids, HOLDER):
            network.sent_up[name] = network.sent_down[name] = 0
        network.server.open_round(round_id)
        while network.server.phase != "idle":
            network.exchange(lambda client: client.submit(np.zeros(3000)))
            network.server.close_phase()
    assert {network.sent_up[name] for name in ids} == {told["bytes_up_round"]}
    assert {network.sent_down[name] for name in ids} == {told["bytes_down_round"]}
    assert network.sent_up[HOLDER] == told["bytes_from_holder"]
    assert network.sent_down[HOLDER] == told["bytes_to_holder"]
    text = " ".join(str(params.explain()).split())
    assert ("receives every upload" in text) == params.recompute
    assert ("clients follow the protocol" in text) == (threat == "semi-honest")
    json.dumps(told)


# -- rosters --------------------------------------------------------------------------------------------------------


def test_a_roster_with_a_holder_is_made_shown_and_loaded(tmp_path):
    for name in ("server", "north", "south"):
        assert run("keygen", name, "--out", tmp_path).exit_code == 0
    path, public = tmp_path / "study.roster", [tmp_path / f"{name}.pub" for name in ("north", "south")]
    made = run("roster", "make", path, "--server", tmp_path / "server.pub", "--holder", public[0], *public)
    assert made.exit_code == 0, made.output
    assert "(the key holder)" in made.stdout and "the server and the key holder" in made.stdout
    roster = secagg.Roster.load(path)
    assert roster.holder == roster.key("north")
    told = json.loads(run("roster", "show", path, "--json").stdout)
    assert told["holder"]["key"] == roster.holder.hex()
    again = run(
        "roster",
        "make",
        tmp_path / "b",
        "--server",
        tmp_path / "server.pub",
        "--holder",
        tmp_path / "server.pub",
        *public,
    )
    assert again.exit_code == 2 and "protects nothing" in again.output


def test_a_holder_changes_the_rosters_hash_and_a_roster_without_one_is_as_before():
    keys = [secagg.Identity.generate().verify_key for _ in range(4)]
    plain, held = secagg.Roster({"a": keys[0]}, keys[1]), secagg.Roster({"a": keys[0]}, keys[1], keys[2])
    other = secagg.Roster({"a": keys[0]}, keys[1], keys[3])
    assert len({plain.hash(), held.hash(), other.hash()}) == 3
    assert plain.holder is None and held != plain
    params = Params(2, length=4, protocol="ckks", reveal="server", min_honest=1)
    with pytest.raises(ParameterError, match="needs a key holder"):
        secagg.Server(params, identity=secagg.Identity.generate(), roster=plain)


# -- receipts -------------------------------------------------------------------------------------------------------


def test_a_receipt_is_signed_by_the_holder_and_checked_against_ledgers(session, tmp_path):
    network, roster, params = session
    receipt = network.server.result(3).receipt
    receipt.verify(roster, params)
    assert list(receipt.signatures) == [HOLDER] and receipt.survivors == ("a", "b", "c")
    again = secagg.Receipt.from_json(receipt.to_json())
    again.verify(roster, params)
    for name in ("a", "b", "c", "d"):
        sent = read_sent(tmp_path / f"{name}.db", receipt.session, 3)
        receipt.verify_sent(sent, roster)
        assert (sent.header is None) == (name == "d")
    assert network.holder.result(3).receipt.account == receipt.account


def test_a_receipt_that_was_changed_or_is_of_another_protocol_does_not_hold(session):
    network, roster, params = session
    receipt = network.server.result(3).receipt
    changes = [
        {"context_hash": bytes(32)},
        {"uploads": {**receipt.uploads, "d": bytes(32)}},
        {"result_hash": bytes(32)},
        {"signatures": {HOLDER: bytes(64)}},
        {"signatures": {**receipt.signatures, "a": bytes(64)}},
        {"signatures": {}},
    ]
    for change in changes:
        with pytest.raises(AuthenticationError):
            dataclasses.replace(receipt, **change).verify(roster, params)
    without = secagg.Roster({name: roster.key(name) for name in IDS}, roster.server)
    with pytest.raises(AuthenticationError, match="not of its protocol"):
        receipt.verify(without)
    with pytest.raises(AuthenticationError, match="other Params"):
        receipt.verify(roster, Params(4, length=50))


def test_verify_says_what_a_holders_signature_proves(session, tmp_path):
    network, roster, params = session
    network.server.result(3).receipt.save(tmp_path / "r.json")
    roster.save(tmp_path / "study.roster")
    (tmp_path / "study.params").write_bytes(params.to_bytes())
    files = ["--roster", tmp_path / "study.roster", "--params", tmp_path / "study.params"]
    shown = run("verify", tmp_path / "r.json", *files, "--ledger", tmp_path / "b.db")
    assert shown.exit_code == 0, shown.output
    assert "The key holder decrypted one sum of this round" in " ".join(shown.stdout.split())
    told = json.loads(run("verify", tmp_path / "r.json", *files, "--json").stdout)
    assert told["signers"] == [HOLDER] and told["valid"]
    with pytest.raises(InputError):
        read_sent(tmp_path / "holder.db", bytes(16), 3)
