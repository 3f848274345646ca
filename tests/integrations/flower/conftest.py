"""Fixtures of the Flower tests."""

from __future__ import annotations

import logging

import pytest
from flower_cohort import Federation, step
from flwr.supercore.task_identity import TaskIdentity


@pytest.fixture(autouse=True)
def task_identity():
    """Messages need to know who sends them; Flower's runtime sets this."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


@pytest.fixture(autouse=True)
def told(caplog):
    """Warnings are seen, whatever level a command of Flower's has set in this process before."""
    caplog.set_level(logging.INFO, logger="flwr")


@pytest.fixture
def federation():
    return Federation


@pytest.fixture
def about():
    """`step`, for tests that choose messages."""
    return step
