"""What users see of oneshot beside a round: predicted bytes, Params in a file, rosters' committees, receipts and their check."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import secagg
from secagg import Params
from secagg.cli import app
from secagg.cli.bench.figures import Size
from secagg.cli.bench.protections import Secagg, secagg_protections
from secagg.cli.toml import params_from_toml, write_params
from secagg.protocols.oneshot import committee
from secagg.testing import Network

IDS = [f"client-{i:09d}" for i in range(6)]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments])


# -- bytes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"length": 70_000, "frame_bytes": 1 << 17},
        {"threshold": 6, "packing": 2, "max_weight": 300},
        {"threat": "semi-honest", "threshold": 4, "packing": 3},
        {"ring": (8192, 40, 3), "frame_bytes": 1 << 18, "encoding": secagg.Integer(-9, 9)},
        {"committee": 4, "corrupt": 0, "threshold": 4, "packing": 1},
        {"clients": 40, "threshold": 35, "packing": 12, "frame_bytes": 50_000, "ring": (4096, 48, 2), "bits": 6},
        {
            "clients": 130,
            "length": 20,
            "rounds_per_setup": 200,
            "committee": 40,
            "corrupt": 3,
            "threshold": 33,
            "packing": 8,
        },
        {"metrics": ("loss",), "segments": {"metrics": secagg.FixedPoint(clip=4.0, bits=20)}},
    ],
)
def test_explain_says_the_bytes_that_are_sent(own: dict[str, Any]) -> None:
    own = {"clients": 6, "length": 3000, "rounds_per_setup": 4, **own}
    if "bits" in own:
        own["encoding"] = secagg.FixedPoint(bits=own.pop("bits"))
    params = Params(protocol="oneshot", **own)
    told = params.explain().to_dict()
    ids = [f"client-{i:09d}" for i in range(params.clients)]
    network = Network.fresh(params, ids)
    sent: dict[str, dict[str, tuple[int, int]]] = {}
    for round_id in (1, 2):
        sent.clear()
        network.server.open_round(round_id)
        while (phase := network.server.phase) != "idle":
            for name in ids:
                network.sent_up[name] = network.sent_down[name] = 0
            network.exchange(
                lambda client: client.submit(
                    np.zeros(
                        params.length or 0, np.int64 if isinstance(params.encoding, secagg.Integer) else np.float64
                    ),
                    metrics={"loss": 1.0} if params.metrics else None,
                )
            )
            sent[phase] = {name: (network.sent_up[name], network.sent_down[name]) for name in ids}
            network.server.close_phase()
        if round_id == 1:
            first = dict(sent)
    assert not network.refused
    crew = committee(network.server._core._roster, network.server.session, params.committee)
    assert {sent["masked"][name] for name in ids} == {(told["bytes_up_round"], told["bytes_down_round"])}
    (with_keys,) = {first["masked"][name][1] for name in ids}
    # In place of a nil; and the payload's length may then take a byte or three more.
    assert 0 <= with_keys - (told["bytes_down_round"] + told["bytes_keys"] - 1) <= 3
    assert {sent["reveal"][name] for name in crew} == {(told["bytes_from_member"], told["bytes_to_member"])}
    assert all(sent["reveal"][name] == (0, 0) for name in ids if name not in crew)
    text = " ".join(str(params.explain()).split())
    assert ("drawn from the roster" in text) == (params.committee < params.clients)
    json.dumps(told)


def test_the_plan_holds_its_bounds_from_few_clients_to_a_million() -> None:
    for clients, bits in ((3, 8), (10, 32), (100, 16), (1000, 24), (10_000, 16)):
        params = secagg.plan(clients, 1000, protocol="oneshot", encoding=secagg.FixedPoint(bits=bits), dropout=0.0)
        told = params.explain().data
        assert told["modulus_bits"] <= told["lattice_cap_bits"] and told["correctness_log2"] <= -40
        corrupt = told["corrupt_members"]
        assert params.threshold >= corrupt + params.packing
        assert 2 * (params.threshold - params.packing + 1) > params.committee + corrupt
    many = secagg.plan(1_000_000, 1000, protocol="oneshot", corrupt=1000, dropout=100, sample=2000)
    assert many.committee < 1025 and many.max_participants == 2000


# -- Params in a file -----------------------------------------------------------------------------------------------


def test_toml_says_committee_packing_and_ring(tmp_path: Path) -> None:
    params = secagg.plan(200, 5000, protocol="oneshot", corrupt=0.05)
    text = write_params(params)
    for words in (f"committee = {params.committee}", f"packing = {params.packing}", "ring = ["):
        assert words in text
    assert "neighbours" not in text and "min_cohort" not in text and "reveal" not in text
    assert params_from_toml(text) == params and params_from_toml(text).hash == params.hash
    out = tmp_path / "study.toml"
    done = run("plan", "--clients", 12, "--length", 500, "--json")
    (option,) = [each for each in json.loads(done.stdout)["options"] if each["name"] == "oneshot"]
    out.write_text(option["toml"])
    assert params_from_toml(out.read_text()).protocol == "oneshot"
    assert option["member"]["seconds_steady"] > 0 and option["holder"] is None


# -- rosters, receipts ----------------------------------------------------------------------------------------------


class Federation:
    """A round with ledgers in which one client of a drawn committee's roster drops out."""

    def __init__(self, home: Path, **own: Any) -> None:
        self.params = Params(6, length=50, protocol="oneshot", corrupt=1, min_clients=4, rounds_per_setup=8, **own)
        self.keys = {name: secagg.Identity.generate() for name in IDS}
        server_key, self.session = secagg.Identity.generate(), os.urandom(16)
        self.roster = secagg.Roster({name: key.verify_key for name, key in self.keys.items()}, server_key.verify_key)
        self.clients = {
            name: secagg.Client(
                self.params, me=name, identity=key, roster=self.roster, session=self.session, ledger=home / f"{name}.db"
            )
            for name, key in self.keys.items()
        }
        self.server = secagg.Server(self.params, identity=server_key, roster=self.roster, session=self.session)
        network = Network(self.server, self.clients)
        self.crew = committee(self.roster, self.session, self.params.committee)
        self.server.open_round(3)
        while self.server.phase != "idle":
            late = {self.crew[0]} if self.server.phase == "masked" else set()  # it answers as a member all the same
            network.exchange(lambda client: client.submit(np.ones(50) / 2, context=b"m"), silent=late)
            self.server.close_phase()
        assert not network.refused
        self.receipt = self.server.result(3).receipt
        self.home = home
        self.roster.save(home / "study.roster")
        self.receipt.save(home / "3.json")
        (home / "study.toml").write_text(write_params(self.params))

    def verify(self, *more: Any) -> Any:
        return run("verify", self.home / "3.json", "--roster", self.home / "study.roster", *more)


@pytest.fixture
def fed(tmp_path: Path) -> Any:
    made = Federation(tmp_path, committee=5)
    yield made
    for client in made.clients.values():
        client.close()


def test_verify_says_what_a_committees_signatures_prove(fed: Federation) -> None:
    done = fed.verify("--params", fed.home / "study.toml", "--ledger", fed.home / f"{fed.crew[1]}.db")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    for words in (
        "in the committee that roster and session give",
        "answers for no other set",
        "is the one in its ledger",
    ):
        assert words in text
    assert f"signed ({len(fed.receipt.signatures)}, at least {fed.params.threshold} needed)" in text
    late = fed.verify("--params", fed.home / "study.toml", "--ledger", fed.home / f"{fed.crew[0]}.db")
    assert late.exit_code == 0 and "has no upload of this round" in " ".join(late.stdout.split())


def test_verify_without_params_cannot_know_a_member_that_dropped_out(fed: Federation) -> None:
    done = fed.verify()
    assert done.exit_code == 1
    assert "params= would show" in done.stdout


def test_a_member_outside_the_committee_is_found(fed: Federation) -> None:
    (stranger,) = set(IDS) - set(fed.crew)
    told = json.loads((fed.home / "3.json").read_text())
    told["signatures"][stranger] = fed.keys[stranger].sign(fed.receipt.account).hex()
    (fed.home / "3.json").write_text(json.dumps(told))
    done = fed.verify("--params", fed.home / "study.toml")
    assert done.exit_code == 1 and "outside the committee" in done.stdout


def test_a_roster_shows_the_committee_of_a_session(fed: Federation) -> None:
    path, session = fed.home / "study.roster", fed.session.hex()
    done = run("roster", "show", path, "--session", session, "--committee", 5)
    assert done.exit_code == 0
    assert " ".join(done.stdout.split()).endswith(f"committee of that session (5): {' '.join(fed.crew)}")
    told = json.loads(run("roster", "show", path, "--session", session, "--committee", 5, "--json").stdout)
    assert told["committee"] == list(fed.crew)
    assert "committee" not in json.loads(run("roster", "show", path, "--json").stdout)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--session", "00" * 16], "go together"),
        (["--committee", 5], "go together"),
        (["--session", "abc", "--committee", 5], "32 digits"),
        (["--session", "00" * 16, "--committee", 7], "from 2 to"),
        (["--session", "00" * 16, "--committee", 1], "from 2 to"),
    ],
)
def test_a_committee_that_cannot_be_shown_is_a_mistake(fed: Federation, arguments: list[Any], words: str) -> None:
    done = run("roster", "show", fed.home / "study.roster", *arguments)
    assert done.exit_code == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_the_doctor_tries_all_protocols() -> None:
    done = run("doctor", "--json")
    (found,) = [each for each in json.loads(done.stdout)["findings"] if each["name"] == "rounds"]
    assert found["state"] == "fine" and "oneshot" in found["told"]


# -- bench ----------------------------------------------------------------------------------------------------------


def test_a_bench_that_is_fitted_keeps_the_drawn_committee() -> None:
    (row,) = [each for each in secagg_protections(1) if each.name == "oneshot"]
    row.prepare(Size(300, 1000, 16, 30))
    whole = row.params
    assert whole.committee < 300 and row.terms.first == whole.committee and row.terms.power == 1
    smaller = row._smaller(whole.committee, 500)
    for name in ("committee", "threshold", "packing", "ring"):
        assert getattr(smaller, name) == getattr(whole, name)
    assert "members open it" in row.words()[0]


def test_a_bench_of_few_clients_has_all_of_them_in_the_committee() -> None:
    (row,) = [each for each in secagg_protections(1) if each.name == "oneshot"]
    row.prepare(Size(12, 1000, 16, 2))
    assert row.terms.power == 2 and row._smaller(6, 500).committee == 6
    assert row._smaller(12, 1000) is row.params
    honest = Secagg("params", "", 1, {"params": Params(6, length=50, protocol="oneshot", threat="semi-honest")})
    honest.prepare(Size(6, 50, 16, 0))
    assert "a server that follows the protocol" in honest.words()[0]
