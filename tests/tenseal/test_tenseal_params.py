"""The terms of a TenSEAL sum: what could wrap, drown in noise or be misunderstood is refused before anything is encrypted."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from secagg.errors import ParameterError
from secagg.integrations.tenseal import CiphertextSum, SumParams
from support import tenseal_bytes as tb

# log2 of the finest step of ten clients, by context.
FINEST = {"8192-60-40-40": 21, "4096-40-41": 12, "4096-54-55": 22}


def terms(**changes):
    good = {"clients": 10, "min_clients": 2, "length": 100, "bound": 1.0, "threat": "semi-honest"}
    return SumParams(**{"context": tb.shared().public()} | good | changes)


WRONG = {
    "half a client": {"clients": 2.5},
    "a length of text": {"length": "100"},
    "a bound of text": {"bound": "1"},
    "a fraction of a bit": {"precision_bits": 1.5},
    "no threat": {"threat": ""},
    "another threat": {"threat": "malicious"},
    "one client": {"clients": 1},
    "too many clients": {"clients": 1 << 21},
    "one is enough": {"min_clients": 1},
    "more than there are": {"min_clients": 11},
    "nothing": {"length": 0},
    "too long": {"length": 1 << 40},
    "bound 0": {"bound": 0.0},
    "bound negative": {"bound": -1.0},
    "bound NaN": {"bound": math.nan},
    "bound infinite": {"bound": math.inf},
    "bound huge": {"bound": 1e300},
    "too precise": {"precision_bits": 40},
    "coarser than the bound": {"precision_bits": -3},
    "drowned": {"bound": 1e-6},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_fault_41_and_47_and_48_terms_that_are_refused(change):
    terms()
    with pytest.raises(ParameterError):
        terms(**change)


def test_precision_is_that_of_the_noise():
    finest = {name: terms(context=tb.shared(name).public()).precision_bits for name in tb.SETS}
    assert finest == FINEST
    assert terms(precision_bits=5).step == 1 / 32
    wide = tb.shared("8192-60-40-40").public()
    assert terms(context=wide, clients=1000).precision_bits == FINEST["8192-60-40-40"] - 3


def test_every_term_is_in_the_hash():
    changes = [{}, {"clients": 11}, {"min_clients": 3}, {"length": 101}, {"bound": 0.5}, {"precision_bits": 4}]
    changes.append({"context": dataclasses.replace(tb.shared().public(), key_id=bytes(32))})
    assert len({terms(**change).hash() for change in changes}) == len(changes)


def test_contexts_hash_by_every_field():
    public = tb.shared().public()
    other = tb.shared("4096-54-55").public()
    changes = [{}, {"degree": 8192, "primes": other.primes[:0] or (1152921504606830593,)}, {"primes": other.primes}]
    changes += [{"scale": 2.0}, {"key_id": bytes(32)}, {"primes": public.primes[:1]}]
    assert len({dataclasses.replace(public, **change).hash() for change in changes}) == len(changes)


@pytest.mark.parametrize("public_key", [False, True], ids=["symmetric", "public-key"])
def test_the_largest_allowed_sum_is_right(public_key):
    """Ten clients at the bound, at a scale that leaves no room for an eleventh part more."""
    shared = tb.shared("4096-40-41", public_key)
    q = shared.public().moduli[0]
    bound = float(q / 2 / shared.public().scale / 10 * 0.99)
    with pytest.raises(ParameterError, match="beyond the modulus"):
        terms(context=shared.public(), bound=bound * 1.02)
    params = terms(context=shared.public(), bound=bound)
    top = math.floor(bound / params.step) * params.step
    values = np.resize([top, -top, top], 100)
    total = CiphertextSum(shared.public(), 100)
    for _ in range(10):
        total.add(shared.encrypt(values, params)[0])
    assert np.array_equal(shared.decrypt([total.to_bytes()], params), 10 * values)


def test_an_empty_vector_is_none():
    with pytest.raises(ParameterError, match="at least one value"):
        CiphertextSum(tb.shared().public(), 0)


def test_a_context_of_one_prime_has_the_noise_of_public_keys_undivided():
    one = dataclasses.replace(tb.shared("8192-60-40-40").public(), primes=(1152921504606830593,))
    assert terms(context=one).precision_bits == FINEST["8192-60-40-40"] - 4
