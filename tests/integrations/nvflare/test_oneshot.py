"""One message from each site, and one from each member of the committee: all sites, or some that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from federation import initial, loss, trained, weight
from inprocess import NAMES, Federation
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import make_reply
from test_rounds import Carrier, expected, same

import secagg
from secagg.errors import AbortError, AuthenticationError, ParameterError
from secagg.integrations.nvflare import SecureFedAvg
from secagg.protocols.oneshot import committee
from secagg.testing import conformance

ONESHOT = {"protocol": "oneshot"}
DRAWN = {**ONESHOT, "committee": 4, "corrupt": 1}
AGREED = "00112233445566778899aabbccddeeff"
SEVEN = tuple(f"site-{i}" for i in range(1, 8))


def allow(federation: Federation, **files: str) -> Federation:
    """Let every site's policy take the protocol, and put other files beside it."""
    for name in (*federation.nodes, "server"):
        home = federation.home / name / "secagg"
        (home / "policy.toml").write_text('protocols = ["oneshot"]\n')
        for what, content in files.items():
            (home / what).write_text(content)
    return federation


def counts(federation):
    return [saved.meta["nr_aggregated"] for saved in federation.saved]


# -- everybody is in the committee ---------------------------------------------------------------------------------


def test_rounds_equal_fedavg(federate):
    federation = allow(federate(plan=ONESHOT, num_rounds=5))
    federation.controller.run()
    for saved, model in zip(federation.saved, expected(5, lambda number: NAMES), strict=True):
        same(saved.params, model)
    total = sum(map(weight, NAMES))
    for number, saved in enumerate(federation.saved):
        mean = sum(weight(site) * loss(site, number) for site in NAMES) / total
        assert saved.metrics == {"loss": pytest.approx(mean, abs=1e-6)}
    # One training task a round and one for the committee; keys twice, for batches of four rounds.
    assert federation.tasks.sent == {"train": 5 * 5, "secagg": 5 * (5 + 2)}


def test_what_comes_back_holds_nothing_in_clear(federate):
    federation = allow(federate(plan=ONESHOT, num_rounds=1))
    federation.controller.run()
    model = initial()
    for name, _, result in federation.heard:
        assert set(result) <= {"secagg_session", "secagg_frames", "__headers__"}
        content = b"".join(result["secagg_frames"])
        for key, array in trained(model, name, 0).items():
            for form in (array, np.asarray(array - model[key]).astype(np.float32)):
                assert form.size < 3 or form.tobytes() not in content


@pytest.mark.parametrize(
    "how", [None, "silent", lambda name, data: make_reply(ReturnCode.EXECUTION_EXCEPTION)], ids=str
)
def test_a_lost_site_is_a_dropout_and_comes_back(federate, how):
    federation = allow(federate(plan=ONESHOT, num_rounds=1))
    federation.controller.run()
    federation.lost["site-2"] = how
    federation.controller.run()
    del federation.lost["site-2"]
    federation.controller.run()
    assert counts(federation) == [5, 4, 5]


def test_a_site_that_could_not_train_still_answers_as_a_member(federate):
    """Two of five fail: one in training, one when the committee is asked. Four answers are needed, and there are four."""
    federation = allow(federate(plan=ONESHOT, num_rounds=1))
    broken = make_reply(ReturnCode.EXECUTION_EXCEPTION)
    run = {name: federation.nodes[name].run for name in NAMES}
    asked = []

    def untrained(task, data):
        result = run["site-1"](task, data) if task == "secagg" else broken
        if task == "secagg":
            asked.append(result.get_return_code())
        return result

    def mute(task, data):
        answers = [each for each in asked if each]
        return broken if task == "secagg" and len(answers) == 2 else run["site-5"](task, data)

    federation.lost |= {"site-1": untrained, "site-5": mute}
    federation.controller.run()
    assert counts(federation) == [4]
    assert asked == [ReturnCode.OK, ReturnCode.OK]


def test_too_few_members_cost_an_attempt(federate):
    federation = allow(federate(plan=ONESHOT, num_rounds=1))
    calls = dict.fromkeys(NAMES, 0)

    def mute(name):
        def answer(task, data):
            calls[name] += task == "secagg"
            return None if task == "secagg" and calls[name] == 2 else federation.nodes[name].run(task, data)

        return answer

    federation.lost |= {name: mute(name) for name in ("site-2", "site-3")}
    federation.controller.run()
    assert counts(federation) == [5]
    assert calls["site-2"] == 4  # key, no answer; a new key, an answer


def test_a_new_process_for_every_message(federate):
    federation = allow(federate(plan=ONESHOT, num_rounds=3))

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


def test_a_site_asked_for_an_update_without_a_model_refuses(federate):
    """A server that hides the request for an update in another task gets no answer, and the model is not trained on."""
    federation = allow(federate(plan=ONESHOT, num_rounds=1))
    send = federation.tasks.answer
    federation.tasks.answer = lambda name, task, data: send(name, "secagg" if name == "site-4" else task, data)
    federation.controller.run()
    assert counts(federation) == [4]
    assert "without a model" in str(federation.nodes["site-4"].error)


def test_the_default_policy_refuses_the_protocol(federate):
    federation = federate(plan=ONESHOT, num_rounds=1, attempts=1)
    with pytest.raises(AbortError):
        federation.controller.run()
    assert "policy refuses protocol 'oneshot'" in str(federation.nodes["site-1"].error)


def test_the_loop_conforms(tmp_path):
    number = iter(range(100))
    report = conformance.check(lambda sites: Carrier(sites, tmp_path / str(next(number))), protocol="oneshot")
    assert len(report.cases) == len(conformance.CASES)


# -- a committee that is drawn -------------------------------------------------------------------------------------


def test_a_drawn_committee_follows_from_the_id_in_everybodys_files(federate):
    federation = allow(federate(SEVEN, plan=DRAWN, num_rounds=2), session=AGREED + "\n")
    federation.controller.run()
    assert counts(federation) == [7, 7]
    crew = committee(federation.roster, bytes.fromhex(AGREED), 4)
    assert {name for name, task, _ in federation.heard if task == "secagg"} == set(crew)
    assert federation.tasks.sent == {"train": 2 * 7, "secagg": 4 * (2 + 1)}


def test_without_an_agreed_id_nobody_draws(federate):
    federation = allow(federate(SEVEN, plan=DRAWN, num_rounds=1))
    with pytest.raises(ParameterError, match="agreed beforehand: put it into the file 'session'"):
        federation.controller.run()
    assert federation.heard == []


@pytest.mark.parametrize("other", [None, "ff" * 16, "nonsense"], ids=["no id", "another id", "no id at all"])
def test_sites_take_no_id_from_the_server(federate, other):
    """A server that chooses the session id could choose the committee."""
    federation = allow(federate(SEVEN, plan=DRAWN, num_rounds=1, attempts=1), session=AGREED)
    for name in SEVEN:
        path = federation.home / name / "secagg" / "session"
        path.unlink()
        if other is not None:
            path.write_text(other)
    with pytest.raises(AbortError):
        federation.controller.run()
    assert federation.saved == []
    error = next(node.error for node in federation.nodes.values() if hasattr(node, "error"))  # of a member
    kind, words = {
        None: (ParameterError, "agreed beforehand"),
        "ff" * 16: (AuthenticationError, "not the one in this site's files"),
        "nonsense": (ParameterError, "32 digits in hex"),
    }[other]
    assert isinstance(error, kind) and words in str(error)


def test_an_agreed_id_serves_one_job(federate):
    """A second controller under the same id counts its rounds anew, and every site refuses them."""
    federation = allow(federate(SEVEN, plan=DRAWN, num_rounds=1), session=AGREED)
    federation.controller.run()
    federation.controller = federation.controlled(num_rounds=1, attempts=1)
    with pytest.raises(AbortError):
        federation.controller.run()
    assert counts(federation) == [7]


def test_a_job_of_the_protocol_is_made_like_any_other(federate):
    federation = federate(plan=ONESHOT)
    assert SecureFedAvg(federation.controller.params).params == federation.controller.params
    assert secagg.Params.from_bytes(federation.params.to_bytes()).protocol == "oneshot"
