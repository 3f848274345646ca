"""Encrypted sums, in one process: one site holds the key, trains or not, is lost, restarts, and is on a certified roster."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from federation import initial, loss, trained, weight
from inprocess import NAMES
from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import make_reply
from test_kits import provision
from test_rounds import expected, same

import secagg
from secagg.errors import AbortError, InputError, ParameterError
from secagg.integrations.nvflare import Claim, SecureFedAvg, plan_for, roster_of

CKKS = {"protocol": "ckks", "reveal": "server"}


def counts(federation):
    return [saved.meta["nr_aggregated"] for saved in federation.saved]


@pytest.mark.parametrize("holder", ["site-3", "registry"])
def test_rounds_equal_fedavg(federate, holder):
    apart = {} if holder in NAMES else {"plan": CKKS, "holder": holder}
    federation = federate(**({"plan": CKKS, "holder": holder} | apart))
    federation.controller = federation.controlled(num_rounds=5, holder="" if holder in NAMES else holder)
    federation.controller.run()
    for saved, model in zip(federation.saved, expected(5, lambda number: NAMES), strict=True):
        same(saved.params, model)
    total = sum(map(weight, NAMES))
    for number, saved in enumerate(federation.saved):
        mean = sum(weight(site) * loss(site, number) for site in NAMES) / total
        assert saved.metrics == {"loss": pytest.approx(mean, abs=1e-6)}
    # Two keys serve four rounds each, and every round is decrypted; nothing else is asked of anybody.
    assert federation.tasks.sent == {"train": 5 * 5, "secagg_holder": 5 + 2}
    assert {name for name, task, _ in federation.heard if task == "secagg_holder"} == {holder}
    assert (federation.home / holder / "secagg" / "holder-ledger").exists()


def test_what_comes_back_holds_nothing_in_clear(federate):
    federation = federate(plan=CKKS, holder="site-1", num_rounds=2)
    federation.controller.run()
    model, secrets = initial(), []
    mean = {name: array for name, array in federation.saved[0].params.items() if array.size >= 3}
    secrets += [array.tobytes() for array in mean.values()]
    for site in NAMES:
        for name, array in trained(model, site, 0).items():
            if array.size >= 3:
                secrets += [array.tobytes(), np.asarray(array - model[name]).astype(np.float32).tobytes()]
        numbers = [("d", loss(site, 0)), ("f", loss(site, 0)), ("q", weight(site)), ("d", weight(site))]
        secrets += [struct.pack(order + form, value) for order in "<>" for form, value in numbers]
        secrets.append(str(weight(site)).encode())
    assert [task for _, task, _ in federation.heard].count("secagg_holder") == 3
    for _, _, result in federation.heard:
        assert set(result) <= {"secagg_session", "secagg_frames", "__headers__"}
        content = b"".join(result["secagg_frames"]) + repr(result["__headers__"]).encode()
        assert not [secret for secret in secrets if secret in content]


@pytest.mark.parametrize(
    "how", [None, "silent", lambda name, data: make_reply(ReturnCode.EXECUTION_EXCEPTION)], ids=str
)
def test_a_lost_site_is_a_dropout_and_comes_back(federate, how):
    federation = federate(plan=CKKS, holder="site-1", num_rounds=1)
    federation.controller.run()
    federation.lost["site-2"] = how
    federation.controller.run()
    del federation.lost["site-2"]
    federation.controller.run()
    assert counts(federation) == [5, 4, 5]


@pytest.mark.parametrize(
    "how", [None, "silent", make_reply(ReturnCode.EXECUTION_EXCEPTION)], ids=["dead", "silent", "error"]
)
@pytest.mark.parametrize("call", [0, 1], ids=["before the key", "before decrypting"])
def test_a_lost_holder_costs_an_attempt(federate, call, how):
    federation = federate(plan=CKKS, holder="site-4", num_rounds=1)
    node, calls = federation.nodes["site-4"], []

    def answer(task, data):
        if task == "secagg_holder":
            calls.append(task)
            if len(calls) == call + 1:
                return how
        return node.run(task, data)

    federation.lost["site-4"] = answer
    federation.controller.run()
    assert counts(federation) == [5]
    # The next attempt begins with a new key: whether the holder still has the other nobody can know.
    assert len(calls) == call + 1 + 2
    same(federation.saved[0].params, expected(1, lambda number: NAMES)[0])


def test_a_holder_that_is_not_there_ends_the_job_after_all_attempts(federate):
    federation = federate(plan=CKKS, holder="site-1", num_rounds=1, attempts=2)
    federation.lost["site-1"] = lambda task, data: (
        None if task == "secagg_holder" else federation.nodes["site-1"].run(task, data)
    )
    with pytest.raises(AbortError, match="key holder"):
        federation.controller.run()
    assert federation.saved == []
    assert federation.tasks.sent["train"] == 0
    engine = federation.controller.engine
    engine.clients = [client for client in engine.clients if client.name != "site-1"]
    with pytest.raises(AbortError, match="site-1, the site that holds the key, is not connected"):
        federation.controller.run()


def test_a_holder_that_lost_its_files_makes_a_new_key(federate):
    federation = federate(plan=CKKS, holder="site-1", num_rounds=1)
    federation.controller.run()
    node = federation.nodes["site-1"]
    node.site.close()
    node.start()
    (snapshot,) = (federation.home / "site-1" / "secagg").glob("*.holder-snapshot")
    snapshot.unlink()
    federation.controller.run()
    assert counts(federation) == [5, 5]


def test_a_new_process_for_every_message(federate):
    federation = federate(plan=CKKS, holder="site-2", num_rounds=3)

    def anew(name):
        def answer(task, data):
            node = federation.nodes[name]
            node.site.close()
            node.start()
            return node.run(task, data)

        return answer

    federation.lost = {name: anew(name) for name in NAMES}
    federation.controller.run()
    for saved, model in zip(federation.saved, expected(3, lambda number: NAMES), strict=True):
        same(saved.params, model)
    assert federation.tasks.sent["secagg_holder"] == 3 + 1


def test_a_server_that_was_restarted_begins_a_new_session(federate):
    federation = federate(plan=CKKS, holder="site-2", num_rounds=1)
    federation.controller.run()
    before = {path.name for path in federation.home.rglob("*snapshot")}
    federation.controller = federation.controlled(num_rounds=1)
    federation.controller.run()
    after = {path.name for path in federation.home.rglob("*snapshot")}
    assert len(before) == len(after) == 2
    assert not before & after
    assert counts(federation) == [5, 5]


def test_another_site_does_not_decrypt(federate):
    """The server sends the holder's frames to a site that does not hold the key."""
    federation = federate(plan=CKKS, holder="site-2")
    federation.controller = federation.controlled(num_rounds=1, attempts=1, holder="site-5")
    with pytest.raises(AbortError, match="keys of the key holder"):
        federation.controller.run()
    error = federation.nodes["site-5"].error
    assert isinstance(error, ParameterError)
    assert "not the roster's key holder" in str(error)


def test_a_holder_beside_the_clients_has_to_be_named(federate):
    federation = federate(plan=CKKS, holder="registry", num_rounds=1)
    with pytest.raises(ParameterError, match=r"SecureFedAvg\(holder='NAME'\)"):
        federation.controller.run()


def test_a_holder_beside_the_clients_is_asked_for_no_update(federate):
    federation = federate(plan=CKKS, holder="registry")
    federation.controller = federation.controlled(num_rounds=1, holder="registry")
    warned = []
    federation.controller.warning = warned.append
    federation.controller.engine.clients.append(Client("site-9", ""))
    federation.controller.run()
    assert warned == ["secagg: not on the roster, and left out: site-9"]
    assert not [task for name, task, _ in federation.heard if name == "registry" and task != "secagg_holder"]


def test_a_sum_that_stays_with_the_holder_is_no_fedavg():
    params = plan_for(initial(), 5, dropout=1, max_weight=20_000, protocol="ckks", reveal="holder")
    with pytest.raises(ParameterError, match="FedAvg needs reveal='server'"):
        SecureFedAvg(params)


def test_the_default_policy_takes_part_in_masking_only(federate):
    federation = federate(plan=CKKS, holder="site-1", num_rounds=1, attempts=1)
    for name in NAMES:
        (federation.home / name / "secagg" / "policy.toml").unlink()
    with pytest.raises(AbortError):
        federation.controller.run()
    assert "policy refuses protocol 'ckks'" in str(federation.nodes["site-1"].error)


# -- rosters from startup kits -----------------------------------------------------------------------------------------


def test_a_certified_roster_names_the_holder(tmp_path):
    kits = provision(tmp_path)
    root = (kits / "site-1" / "startup" / "rootCA.pem").read_bytes()
    keys = {
        name: secagg.PublicKey(name, secagg.Identity.generate().verify_key)
        for name in ("site-1", "site-2", "site-3", "server1")
    }
    claims = {name: Claim.sign(kits / name / "startup", key) for name, key in keys.items()}
    sites, server = [claims["site-1"], claims["site-2"]], claims["server1"]
    inside, outside = (roster_of(sites, server, root, holder=claims[name]) for name in ("site-2", "site-3"))
    assert inside.holder == keys["site-2"].key
    assert outside.holder == keys["site-3"].key
    assert inside.ids == outside.ids == ("site-1", "site-2")
    assert len({roster.fingerprint for roster in (inside, outside, roster_of(sites, server, root))}) == 3
    other = secagg.PublicKey("site-2", secagg.Identity.generate().verify_key)
    with pytest.raises(InputError, match="'site-2' claims twice, with two keys"):
        roster_of(sites, server, root, holder=Claim.sign(kits / "site-2" / "startup", other))
    with pytest.raises(secagg.errors.AuthenticationError):
        roster_of(sites, server, root, holder=Claim(other, claims["site-2"].certificate, claims["site-2"].signature))
    with pytest.raises(ParameterError, match="server"):
        roster_of(sites, server, root, holder=server)
