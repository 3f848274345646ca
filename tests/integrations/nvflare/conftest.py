"""Federations in one process, closed when a test ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as NVFlare does with a job's own code

from inprocess import Federation


@pytest.fixture
def federate(tmp_path):
    made = []

    def make(*args, **options):
        made.append(Federation(tmp_path / str(len(made)), *args, **options))
        return made[-1]

    yield make
    for federation in made:
        federation.close()
