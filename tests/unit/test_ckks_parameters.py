"""The table of docs/spec/ckks.md: recomputed by its script, found on the page, and what the engine does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from secagg import FixedPoint, Params
from secagg.errors import ParameterError
from secagg.hazmat.ring import modulus

SPEC = Path(__file__).parents[2] / "docs" / "spec"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("ckks_parameters", SPEC / "ckks_parameters.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_table_that_the_script_prints(script):
    page = (SPEC / "ckks.md").read_text(encoding="utf-8")
    assert script.table() in page
    assert script.caps() in page


def test_the_engine_takes_the_rings_of_the_table(script):
    for bits, clients in script.CASES:
        row = script.choose(bits, clients)
        params = Params(clients, length=script.VALUES, encoding=FixedPoint(bits=bits), protocol="ckks", reveal="server")
        plan = params.cipher_plan
        assert (plan.ring.degree, plan.ring.bits) == (row.degree, row.modulus_bits)
        assert plan.segments[1].limbs == row.limbs
        assert plan.upload_bytes / script.VALUES == pytest.approx(row.bytes_a_value, rel=1e-12)
        assert 2.0**row.noise_bits == pytest.approx(plan.radius, rel=1e-9)
        assert 2.0**row.delta_bits == pytest.approx(plan.delta, rel=1e-9)
        assert plan.radius <= plan.worst


def test_every_modulus_is_the_engines(script):
    assert [script.modulus(bits) for bits in range(20, 62)] == [modulus(bits) for bits in range(20, 62)]


def test_the_estimate_agrees_with_the_standard_and_the_caps_stay_below_it(script):
    for degree, limit in script.STANDARD.items():
        assert 126 <= script.security(degree, limit) <= 133
        assert script.CAPS[degree] < limit
        with pytest.raises(ParameterError, match="128-bit security"):
            Params(2, length=10, protocol="ckks", reveal="server", min_honest=1, ring=(degree, script.CAPS[degree] + 1))
