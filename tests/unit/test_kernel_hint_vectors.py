"""hint.json on every implementation; and the file is what the reference makes."""

from __future__ import annotations

import json

import pytest

from secagg import _kernels, errors
from secagg.cli.vectors.hint_cases import OPERATIONS
from vectors.generate_hint import PATH, build
from vectors.generate_kernels import text

BACKENDS = _kernels.backends()
VECTORS = json.loads(PATH.read_text(encoding="utf-8"))


@pytest.fixture(params=list(BACKENDS))
def everywhere(request, monkeypatch):
    """The hazmat layer on this implementation: it calls the kernels by these names."""
    kernels = BACKENDS[request.param]
    for name in dir(kernels):
        if name.startswith(("ring_", "hint_", "shamir_", "keystream")):
            monkeypatch.setattr(_kernels, name, getattr(kernels, name))


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: f"{c['op']}-{c['success']}")
def test_vectors(case):
    run = OPERATIONS[case["op"]]
    if case["success"]:
        assert run(case["input"]) == case["output"]
    else:
        with pytest.raises(getattr(errors, case["error"])):
            run(case["input"])


def test_the_file_is_what_the_reference_makes():
    assert PATH.read_text(encoding="utf-8") == text(build())
