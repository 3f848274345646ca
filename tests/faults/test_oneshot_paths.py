"""Fault 57 for whole oneshot sessions: without AES-NI, VAES or any C, the same bytes."""

import pytest

from secagg import _kernels
from support.paths import digest, elsewhere


@pytest.fixture(scope="module")
def here():
    return digest("oneshot")


@pytest.mark.parametrize("isa", _kernels.backends())
def test_fault_57_a_session_is_the_same_bytes_on_every_instruction_set(here, isa):
    assert elsewhere("oneshot", isa) == here
