"""`secagg plan`: what it offers, what it refuses, and a cost model whose counts are those of real rounds."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from typer.testing import CliRunner

import secagg
from secagg.cli import app
from secagg.cli import plan as plan_module
from secagg.cli.plan import bulk as bulk_module
from secagg.cli.plan import hintbulk as hint_module
from secagg.cli.plan import options, work
from secagg.cli.plan.bulk import CipherBulk, MaskBulk, measure_ciphers, measure_masks
from secagg.cli.plan.committee import Oneshot
from secagg.cli.plan.hintbulk import HintBulk, measure_hints
from secagg.cli.plan.options import Link, Question, as_python, consider, share
from secagg.cli.plan.units import Units, least, measure_units, middle, per_item
from secagg.cli.toml import params_from_toml, read_params
from secagg.errors import InputError
from secagg.hazmat import signing
from secagg.hazmat.agreement import KeyPair
from secagg.testing import Network

NOTHING = Units(**dict.fromkeys((field.name for field in fields(Units)), 0.0))
NO_MASKS = MaskBulk(**dict.fromkeys((field.name for field in fields(MaskBulk)), 0.0))
NO_CIPHERS = CipherBulk(**dict.fromkeys((field.name for field in fields(CipherBulk)), 0.0))
NO_HINTS = HintBulk(**dict.fromkeys((field.name for field in fields(HintBulk)), 0.0))
SMALL = ["--clients", "12", "--length", "500", "--dropout", "2"]


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    done = CliRunner().invoke(app, ["plan", *SMALL, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def mistake(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return str(done.stderr)


def test_the_first_is_over_first(told):
    totals = [each["seconds_total"] for each in told["options"]]
    assert totals == sorted(totals)
    assert [each["rank"] for each in told["options"]] == list(range(1, len(totals) + 1))
    assert told["options"][0]["name"] in told["why"]
    for each in told["options"]:
        parts = [each[party]["seconds_round"] for party in ("client", "server", "holder", "member") if each[party]]
        assert min(parts) > 0
        assert sum(parts) + each["seconds_transfer"] == pytest.approx(each["seconds_total"])


def test_every_option_is_what_its_toml_and_its_python_say(told):
    names = {each["name"] for each in told["options"]} | {each["name"] for each in told["refused"]}
    assert names == set(options.NAMES)
    for each in told["options"]:
        made = params_from_toml(each["toml"])
        assert made == eval(each["python"], {"secagg": secagg})
        assert made.hash.hex() == each["hash"]
        assert made.explain().to_dict() == each["params"]


def test_a_server_that_may_lie_has_no_sparse_graph(told):
    (refused,) = told["refused"]
    assert refused["name"] == "pairwise, sparse graph"
    assert "needs the full graph" in refused["reason"]


def test_phones_get_a_sparse_graph():
    question = Question(200, 50, 0.05, 0.05, None, "semi-honest", True, 1, None, 1.0, Link(2e7, 0.04))
    found, refused = consider(question, NOTHING)
    assert not refused
    sparse = next(each for each in found if each.name == options.NAMES[1])
    assert not sparse.params.full
    assert sparse.told.data["security_log2"] <= -40


def test_few_clients_have_no_sparse_graph():
    question = Question(5, 50, 1, 1, None, "semi-honest", True, 1, None, 1.0, Link(2e7, 0.04))
    found, refused = consider(question, NOTHING)
    assert [each.name for each in refused] == ["pairwise, sparse graph"]
    assert "no sparser graph is safe" in refused[0].reason
    assert len(found) == 4


def test_who_may_not_see_the_sum_decides():
    done = run(*SMALL, "--no-server-sees-sum")
    assert done.exit_code == 0
    assert "ckks, only the holder does comes first" in done.stdout
    assert "nothing else serves. It needs a key holder" in " ".join(done.stdout.split())
    assert done.stdout.count("the server would see the sum") == 4


def test_the_text_has_all_it_promises(tmp_path):
    out = tmp_path / "study.toml"
    done = run(*SMALL, "--link", "20Mbit/40ms", "--choose", "2", "--out", out)
    assert done.exit_code == 0, done.output
    for words in (
        "comes first",
        "no pairwise, sparse graph:",
        "What number 2 gives",
        "privacy",
        "[encoding]",
        "secagg.Params(",
    ):
        assert words in done.stdout
    assert "20 Mbit/s with 40 ms" in done.stdout
    made = read_params(out)
    assert made.protocol == "ckks"
    assert f"written to {out}" in done.stdout
    assert "exists" in mistake(*SMALL, "--out", out)


def test_what_nothing_serves_is_status_1():
    done = run("--clients", "7", "--length", "100", "--dropout", "5")
    assert done.exit_code == 1
    assert "Nothing serves" in done.stdout
    assert done.stdout.count("no pairwise") == 2
    data = json.loads(run("--clients", "7", "--length", "100", "--dropout", "5", "--json").stdout)
    assert data["options"] == [] and data["chosen"] is None and len(data["refused"]) == 5


def test_mistakes():
    assert "20Mbit/40ms" in mistake(*SMALL, "--link", "fast")
    assert "20Mbit/40ms" in mistake(*SMALL, "--link", "0Mbit/4ms")
    assert "--dropout 'two'" in mistake("--clients", "12", "--length", "500", "--dropout", "two")
    assert "--choose" in mistake(*SMALL, "--choose", "0")
    assert "serve" in mistake(*SMALL, "--choose", "9")


def test_shares():
    assert share("dropout", None) is None
    assert share("dropout", "2") == 2 and isinstance(share("dropout", "2"), int)
    assert share("dropout", "0.1") == share("dropout", ".1") == share("dropout", "10%") == 0.1
    for text in ("", "-1", "1e3", "nan", "1.5", "1000%"):
        with pytest.raises(InputError):
            share("dropout", text)


def test_links():
    link = Link.parse("20Mbit/40ms")
    assert link == Link(2e7, 0.04)
    assert link.seconds(2_500_000) == 1.0
    assert Link.parse("1.5Gbit/0ms") == Link(1.5e9, 0.0)


def test_a_drawn_committee_needs_a_session_id_from_elsewhere():
    question = Question(200, 50, 0.1, 0.05, None, "malicious", True, 1, None, 1.0, Link(2e7, 0.04))
    found, _ = consider(question, NOTHING)
    oneshot = next(each for each in found if each.name == "oneshot")
    assert oneshot.params.committee < 200 and oneshot.cost.member is not None
    text = plan_module._why([oneshot])
    assert "the session id" in text and "elsewhere than the server" in text
    assert "session id" not in plan_module._why([each for each in found if each is not oneshot])


def test_python_leaves_out_what_a_protocol_has_not():
    text = as_python(secagg.Params(7, length=9, protocol="ckks", reveal="holder"))
    assert "threshold" not in text and "reveal='holder'" in text
    text = as_python(secagg.Params(7, length=9, protocol="oneshot"))
    assert "neighbours" not in text and "packing=" in text and "reveal" not in text


# -- the cost model against real rounds ---------------------------------------------------------------------------------


class Counted:
    """A session with its public-key operations counted by party."""

    def __init__(self, params: secagg.Params, rounds: int) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.party = ""
        ids = [f"client-{i:09d}" for i in range(params.clients)]
        network = Network.fresh(params, ids, threads=1)
        for name, client in network.clients.items():
            self._tell(client, name, ("receive", "submit", "outbox"))
        self._tell(network.server, "server", ("open_round", "receive", "close_phase", "outbox"))
        if network.holder is not None:
            self._tell(network.holder, "holder", ("receive", "outbox"))
        with (
            mock.patch.object(signing, "verify", self._counting("verify", signing.verify)),
            mock.patch.object(signing.SigningKey, "sign", self._method("sign", signing.SigningKey.sign)),
            mock.patch.object(KeyPair, "agree", self._method("agree", KeyPair.agree)),
        ):
            for round_id in range(1, rounds + 1):
                if round_id == rounds:
                    self.before, self.counts = self.counts, {}
                network.server.open_round(round_id)
                while network.server.phase != "idle":
                    network.exchange(lambda client: client.submit(np.zeros(params.length)))
                    network.server.close_phase()
        assert not network.refused and not network.aborted

    def _tell(self, party: Any, name: str, methods: tuple[str, ...]) -> None:
        for method in methods:
            inner = getattr(party, method)

            def call(*args: Any, inner: Any = inner, **kwargs: Any) -> Any:
                former, self.party = self.party, name
                try:
                    return inner(*args, **kwargs)
                finally:
                    self.party = former

            setattr(party, method, call)

    def _counting(self, kind: str, inner: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            key = (self.party, kind)
            self.counts[key] = self.counts.get(key, 0) + 1
            return inner(*args, **kwargs)

        return call

    def _method(self, kind: str, inner: Any) -> Any:
        return self._counting(kind, inner)  # a function, so that it binds as the method did

    def of(self, party: str, kind: str) -> int:
        return self.counts.get((party, kind), 0)

    def first(self, party: str, kind: str) -> int:
        return self.before.get((party, kind), 0)


KINDS = {"verify": ("verify", "envelope_in"), "sign": ("sign", "envelope_out"), "agree": ("agree",)}
CASES = {
    "full": {"threat": "malicious"},
    "sparse": {"threat": "semi-honest", "neighbours": 20, "threshold": 11, "min_clients": 38, "corrupt": 2, "clients": 40},
    "server": {"protocol": "ckks", "reveal": "server"},
    "holder": {"protocol": "ckks", "reveal": "holder"},
    "plain": {"protocol": "ckks", "reveal": "server", "threat": "semi-honest"},
    "oneshot": {"protocol": "oneshot"},
    "packed": {"protocol": "oneshot", "clients": 30, "threshold": 26, "packing": 10, "ring": (4096, 48, 2)},
    "tall": {"protocol": "oneshot", "clients": 30, "packing": 1},
}  # fmt: skip


def predicted(params: secagg.Params, units: Units) -> work.Prediction:
    if params.protocol == "pairwise":
        return work.Pairwise(params, units, NO_MASKS).predict()
    if params.protocol == "oneshot":
        return Oneshot(params, units, NO_HINTS).predict()
    return work.Ckks(params, units, NO_CIPHERS).predict()


@pytest.mark.parametrize("case", CASES)
def test_counts_are_those_of_a_round(case):
    own = dict(CASES[case])
    params = secagg.Params(own.pop("clients", 14), length=300, rounds_per_setup=2, frame_bytes=1 << 16, **own)
    counted = Counted(params, 2)
    for kind, names in KINDS.items():
        found = predicted(params, replace(NOTHING, **dict.fromkeys(names, 1.0)))
        for party in ("client-000000003", "server", "holder"):
            seconds = getattr(found, party.split("-", maxsplit=1)[0])
            if seconds is None:
                continue
            if party not in ("server", "holder") and found.member is not None:  # everybody is in the committee too
                seconds = work.Party(
                    seconds.setup + found.member.setup, seconds.steady + found.member.steady, seconds.rounds
                )
            steady, whole = counted.of(party, kind), counted.first(party, kind)
            assert seconds.steady == pytest.approx(steady, rel=0.02, abs=2), (case, party, kind)
            assert seconds.setup + seconds.steady == pytest.approx(whole, rel=0.02, abs=3), (case, party, kind)


def test_seconds_follow_length_and_clients():
    units = replace(NOTHING, verify=1.0, envelope_in=1.0)
    few, many = (predicted(secagg.Params(n, length=100), units) for n in (10, 100))
    assert 8 < many.client.steady / few.client.steady < 12
    masks = replace(NO_MASKS, protect=1.0, take=1.0, decode=1.0)
    short, long = (
        work.Pairwise(secagg.Params(10, length=length), NOTHING, masks).predict() for length in (1000, 10_000)
    )
    assert 9 < long.client.steady / short.client.steady < 10.1
    assert 9 < long.server.steady / short.server.steady < 10.1


def test_large_arrays_cost_memory_and_the_spool_its_file():
    large = secagg.Params(12, length=25_000_000, protocol="ckks", reveal="holder")
    memory = predicted(large, replace(NOTHING, fresh_byte=1.0))
    file = predicted(large, replace(NOTHING, spool_byte=1.0))
    uploads = 12 * large.cipher_plan.upload_bytes
    assert file.holder.steady == uploads - work.SPOOL
    assert file.server.steady == 1.5 * file.holder.steady
    assert memory.holder.steady > file.holder.steady
    assert predicted(secagg.Params(12, length=1000), replace(NOTHING, fresh_byte=1.0)).server.steady == 0


def test_a_setup_is_shared_by_its_rounds():
    assert work.Party(8.0, 1.0, 4).average == 3.0


# -- the measuring ------------------------------------------------------------------------------------------------------


def test_units_are_positive():
    made = measure_units()
    assert {name for name, value in vars(made).items() if not value >= 0} == set()
    always = ("sign", "verify", "agree", "hkdf", "digest", "sha_byte", "envelope_in", "leaf", "spool_byte")
    assert all(getattr(made, name) > 0 for name in always)


@pytest.mark.parametrize("encoding", [secagg.FixedPoint(clip=2.0, bits=12), secagg.Integer(-3, 900)])
def test_bulk_is_measured_on_any_encoding(encoding):
    masks = measure_masks(secagg.Params(7, length=20_000, encoding=encoding))
    assert masks.take > 0 and masks.decode > 0 and masks.protect >= 0
    ciphers = measure_ciphers(secagg.Params(7, length=20_000, encoding=encoding, protocol="ckks", reveal="server"))
    assert ciphers.encrypt > 0 and ciphers.add > 0 and ciphers.decrypt > 0 and ciphers.key > 0
    hints = measure_hints(secagg.Params(7, length=20_000, encoding=encoding, protocol="oneshot"))
    assert hints.protect >= 0
    assert min(value for name, value in vars(hints).items() if name != "protect") > 0


def test_a_long_update_is_measured_on_a_short_one():
    with mock.patch.multiple(
        bulk_module, MOST_MADE=5000, MOST_MASKED_SUM=9000, MOST_ENCRYPTED=5000, MOST_ENCRYPTED_SUM=9000
    ):
        assert measure_masks(secagg.Params(7, length=1 << 30)).take > 0
        assert (
            measure_ciphers(
                secagg.Params(7, length=1 << 24, protocol="ckks", reveal="server", threat="semi-honest")
            ).add
            > 0
        )
    with mock.patch.multiple(hint_module, MOST_MASKED=5000, MOST_MASKED_SUM=9000):
        assert measure_hints(secagg.Params(7, length=1 << 24, protocol="oneshot")).add > 0


def test_clocks():
    ran: list[int] = []
    assert least(lambda: ran.append(1), budget=0.0) >= 0
    assert len(ran) == 3
    assert middle(lambda: ran.append(1), budget=0.0) >= 0
    assert len(ran) == 6
    fixed, each = per_item(lambda n: sum(range(n)), 10, 100_000)
    assert fixed >= 0 and each > 0
