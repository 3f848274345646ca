"""Whole jobs in NVFlare's simulator: FedAvg's models, a site that fails, processes that end, and what goes over the wire."""

from __future__ import annotations

import re
import struct
import warnings

import numpy as np
import pytest
from federation import initial, loss, trained, weight
from inprocess import plaintext
from simulation import SITES, job, simulate


def check(outcome, away):
    """Compare with FedAvg's models, of which `away` says who was no part in which round."""
    model = initial()
    for number, got in enumerate(outcome.models):
        results = {site: trained(model, site, number) for site in SITES if number not in away.get(site, [])}
        assert outcome.contributors[number] == len(results)
        exact = plaintext(model, results)
        model = {
            name: (np.rint(array) if model[name].dtype.kind == "i" else array).astype(model[name].dtype)
            for name, array in exact.items()
        }
        for name, array in model.items():
            assert got[name].dtype == array.dtype
            step = 2 * float(np.spacing(np.abs(array)).max()) if array.dtype.kind == "f" else 0
            assert np.abs(got[name].astype(float) - array.astype(float)).max() <= 3e-6 + step
        model = got  # what the next round began with


def says(secret, message):
    """Whether a message holds a secret; digits count where they stand alone, not within a time or the hex digits of an id."""
    if secret.isdigit():
        return re.search(rb"(?<![0-9a-fA-F.-])" + secret + rb"(?![0-9a-fA-F-])", message) is not None
    return secret in message


def in_clear(rounds):
    """Return what must not be found in any message: weights, metrics, models and changes of each site."""
    found = [struct.pack(order + "d", 0.987654321) for order in "<>"]
    for site in SITES:
        found += [struct.pack(order + form, weight(site)) for order in "<>" for form in "Hqd"]
        found.append(str(weight(site)).encode())
        for number in range(rounds):
            found += [struct.pack(order + form, loss(site, number)) for order in "<>" for form in "df"]
        model = initial()
        for name, array in trained(model, site, 0).items():
            if array.size >= 3:
                change = np.asarray(array.astype(np.float32) - model[name].astype(np.float32))
                found += [array.tobytes()[:12], change.tobytes()[:12]]
    return [secret for secret in found if len(secret) > 2]


def test_a_job_equals_fedavg_and_says_nothing_in_clear(tmp_path):
    outcome = simulate(tmp_path, rounds=3, trainer={"fails": {"site-2": [1]}})
    assert len(outcome.models) == 3
    check(outcome, {"site-2": [1]})
    tasks = [task for task, _ in outcome.heard]
    # A setup costs two exchanges, each round two more: one trains.
    assert tasks.count("train") == 3 * len(SITES)
    assert tasks.count("secagg") >= (2 + 3) * len(SITES) - 1
    for secret in in_clear(3):
        assert not [task for task, message in outcome.heard if says(secret, message)]


def test_a_job_of_encrypted_sums(tmp_path):
    outcome = simulate(
        tmp_path, rounds=2, plan={"protocol": "ckks", "reveal": "server"}, trainer={"fails": {"site-2": [1]}}
    )
    assert len(outcome.models) == 2
    check(outcome, {"site-2": [1]})
    tasks = [task for task, _ in outcome.heard]
    # The first site is asked for a key, and to decrypt in every round; nobody is asked for anything else.
    assert (tasks.count("train"), tasks.count("secagg"), tasks.count("secagg_holder")) == (2 * len(SITES), 0, 3)
    for secret in in_clear(2):
        assert not [task for task, message in outcome.heard if says(secret, message)]


def test_the_listener_would_have_noticed():
    """The same search finds what FedAvg without protection sends."""
    plain = b"".join(array.tobytes() for array in trained(initial(), "site-1", 0).values())
    plain += struct.pack("<d", loss("site-1", 0)) + struct.pack(">d", weight("site-1"))
    assert sum(says(secret, plain) for secret in in_clear(1)) >= 4


def test_a_job_carries_no_code_of_secagg(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        job(tmp_path).export_job(str(tmp_path / "jobs"))
    custom = tmp_path / "jobs" / "secure" / "app" / "custom"
    assert [path.name for path in custom.iterdir()] == ["federation.py"]
    assert not [each for each in caught if "secret" in str(each.message)]


@pytest.mark.slow
def test_a_new_process_for_every_task(tmp_path):
    """With fewer threads than sites the simulator ends a site's process after each task."""
    outcome = simulate(tmp_path, threads=2, rounds=2)
    assert outcome.contributors == [4, 4]
    check(outcome, {})


@pytest.mark.slow
def test_a_site_whose_process_is_killed_while_it_trains(tmp_path):
    outcome = simulate(tmp_path, trainer={"dies": {"site-2": 1}}, seconds=15)
    assert outcome.contributors == [4, 3, 3]
    check(outcome, {"site-2": [1, 2]})
