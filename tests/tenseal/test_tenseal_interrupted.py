"""What a failing machine leaves of a TenSEAL sum: nothing that could be taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import tenseal

from secagg.errors import AbortError, DecodeError
from secagg.integrations.tenseal import CiphertextSum, SharedContext


@pytest.fixture(scope="module")
def vectors():
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, 4096, -1, [40, 41], encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC
    )
    context.global_scale = 2**30
    values = np.linspace(-1, 1, 40_000)  # 20 ciphertexts: two batches
    return (
        SharedContext(context).public(),
        [tenseal.ckks_vector(context, values).serialize() for _ in range(2)],
        len(values),
    )


def test_a_sum_that_was_added_to_in_part_is_given_up(vectors, monkeypatch):
    public, (first, second), length = vectors
    total = CiphertextSum(public, length)
    total.add(first)
    batch, calls = total._batch, []

    def failing(columns, start, stop):
        calls.append(start)
        if len(calls) == 2:
            raise MemoryError
        batch(columns, start, stop)

    monkeypatch.setattr(total, "_batch", failing)
    with pytest.raises(MemoryError):
        total.add(second)
    for use in (total.to_bytes, lambda: total.add(second), lambda: total.undo(first)):
        with pytest.raises(AbortError, match="in part"):
            use()


def test_a_refused_vector_leaves_the_sum_whole(vectors):
    public, (first, second), length = vectors
    total = CiphertextSum(public, length)
    total.add(first)
    before = total.residues().copy()
    with pytest.raises(DecodeError):
        total.add(second[:-1])
    np.testing.assert_array_equal(total.residues(), before)
    total.add(second)
    assert total.count == 2
