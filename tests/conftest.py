"""What holds for every suite: which package is under test, and how hypothesis behaves on shared machines."""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import secagg

# Set by make: the tests speak of the wheel that people install, so finding the source tree instead is a failure.
if os.environ.get("SECAGG_TEST_INSTALLED") == "1":
    here, wanted = Path(secagg.__file__).resolve(), Path(sysconfig.get_path("platlib")).resolve()
    if not here.is_relative_to(wanted):
        message = f"secagg was imported from {here.parent}, not from the wheel in {wanted}"
        raise RuntimeError(message)

# Time limits would fail on a busy machine for no fault of the code. In CI the examples are the same in every run.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


MEMORY = Path("/dev/shm")


@pytest.fixture
def memory():
    """A directory in memory where there is one: for ledgers of tests that are not about the disk."""
    home = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    yield home
    shutil.rmtree(home)
