"""Sums of residues: every implementation against plain integers, at any alignment, refusing what is not below its modulus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import _kernels
from secagg.errors import InputError

BACKENDS = _kernels.backends()
PRIMES = [1152921504606830593, 1099510890497, (1 << 61) - 1, 2]


@pytest.fixture(params=BACKENDS, ids=str)
def kernels(request):
    return BACKENDS[request.param]


def residues(rng, npolys, moduli, n):
    rows = [rng.integers(0, q, (npolys, n), dtype=np.uint64) for q in moduli]
    return np.ascontiguousarray(np.stack(rows, axis=1))


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 64, 100, 4096])
@pytest.mark.parametrize("npolys", [1, 2, 3])
def test_sums_are_those_of_integers(kernels, n, npolys):
    rng = np.random.default_rng(n)
    acc, more = (residues(rng, npolys, PRIMES, n) for _ in range(2))
    top = np.array(PRIMES, np.uint64) - np.uint64(1)
    acc[0, :, -1] = more[0, :, -1] = top  # the largest sum there is
    acc[-1, :, 0], more[-1, :, 0] = 0, top  # and one that must not be reduced
    expected = [
        [[(int(a) + int(b)) % q for a, b in zip(r, s, strict=True)] for r, s, q in zip(x, y, PRIMES, strict=True)]
        for x, y in zip(acc, more, strict=True)
    ]
    for skip in (0, 1, 97 % 8, 7):
        total, raw = acc.copy(), bytes(skip) + more.astype("<u8").tobytes()
        kernels.residues_add(total[np.newaxis], [memoryview(raw)[skip:]], PRIMES)
        assert total.tolist() == expected


@pytest.mark.parametrize("over", [0, 1, 1 << 62, (1 << 64) - 1])
@pytest.mark.parametrize("n", [1, 5, 17, 64])
def test_a_residue_that_is_not_below_its_modulus_changes_nothing(kernels, n, over):
    rng = np.random.default_rng(n)
    for poly, prime, at in [(0, 0, 0), (1, 3, n - 1), (1, 1, n // 2)]:
        acc, more = (residues(rng, 2, PRIMES, n) for _ in range(2))
        before = acc.copy()
        more[poly, prime, at] = over if over >= 1 << 61 else PRIMES[prime] + over
        with pytest.raises(InputError, match="not below its modulus"):
            kernels.residues_add(acc[np.newaxis], [more.tobytes()], PRIMES)
        assert np.array_equal(acc, before)
        # and not what went with it either
        several, good = np.stack([before] * 3), before.tobytes()
        with pytest.raises(InputError, match="not below its modulus"):
            kernels.residues_add(several, [good, more.tobytes(), good], PRIMES)
        assert np.array_equal(several, np.stack([before] * 3))


@pytest.mark.parametrize("bad", [None, 0, 4, 7, 11])
def test_several_buffers_a_row(kernels, bad):
    """Four ciphertexts into each of three rows; one that is not below its modulus, anywhere, and nothing has changed."""
    rng = np.random.default_rng(3)
    acc = np.stack([residues(rng, 2, PRIMES, 33) for _ in range(3)])
    more = [residues(rng, 2, PRIMES, 33) for _ in range(12)]
    before, q = acc.copy(), np.array(PRIMES, object)[:, np.newaxis]
    if bad is None:
        kernels.residues_add(acc, [x.tobytes() for x in more], PRIMES)
        for i, row in enumerate(acc):
            expected = before[i].astype(object) + sum(x.astype(object) for x in more[4 * i : 4 * i + 4])
            assert np.array_equal(row, expected % q)
        return
    more[bad][bad % 2, 1, 31] = (1 << 64) - 1 - bad
    more[bad][:, 2, :] = np.uint64(1 << 63)
    with pytest.raises(InputError, match="not below its modulus"):
        kernels.residues_add(acc, [x.tobytes() for x in more], PRIMES)
    assert np.array_equal(acc, before)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 70), st.lists(st.integers(2, 1 << 61), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 99)
)
def test_all_implementations_agree(n, moduli, npolys, seed):
    rng = np.random.default_rng(seed)
    acc, more = residues(rng, npolys, moduli, n), residues(rng, npolys, moduli, n)
    sums = set()
    for kernels in BACKENDS.values():
        total = np.stack([acc, more])
        kernels.residues_add(total, [more.tobytes(), acc.tobytes()], moduli)
        assert np.array_equal(total[0], total[1])
        sums.add(total.tobytes())
    assert len(sums) == 1


def test_nothing_to_add(kernels):
    kernels.residues_add(np.zeros((1, 2, 1, 0), np.uint64), [b""], [17])
    kernels.residues_add(np.ones((3, 2, 1, 5), np.uint64), [], [17])


ACC = np.zeros((1, 2, 1, 3), np.uint64)
GOOD = {"acc": ACC, "bufs": [bytes(48)], "moduli": [17]}
MISUSE = {
    "three dimensions": {"acc": ACC[0]},
    "signed": {"acc": ACC.astype(np.int64)},
    "a list": {"acc": [[[[0]]]]},
    "strided": {"acc": np.zeros((1, 2, 1, 6), np.uint64)[:, :, :, ::2]},
    "too few moduli": {"moduli": []},
    "too many moduli": {"moduli": [17, 19]},
    "modulus 1": {"moduli": [1]},
    "modulus beyond 2^61": {"moduli": [(1 << 61) + 1]},
    "modulus of text": {"moduli": ["17"]},
    "no rows": {"acc": ACC[:0]},
    "three buffers for two rows": {"acc": np.zeros((2, 2, 1, 3), np.uint64), "bufs": [bytes(48)] * 3},
    "short": {"bufs": [bytes(47)]},
    "long": {"bufs": [bytes(49)]},
    "empty": {"bufs": [b""]},
    "text": {"bufs": ["0" * 48]},
    "strided bytes": {"bufs": [memoryview(bytes(96))[::2]]},
    "overlap": {"bufs": [ACC.data.cast("B")]},
}


@pytest.mark.parametrize("misuse", MISUSE.values(), ids=MISUSE)
def test_misuse_is_refused(kernels, misuse):
    with pytest.raises(InputError):
        kernels.residues_add(**GOOD | misuse)


def test_a_read_only_sum_is_refused(kernels):
    acc = np.zeros((1, 2, 1, 3), np.uint64)
    acc.flags.writeable = False
    with pytest.raises(InputError, match="read-only"):
        kernels.residues_add(acc, [bytes(48)], [17])


def test_a_read_only_view_of_the_sum_is_no_buffer(kernels):
    acc = np.arange(32, dtype=np.uint64).reshape(2, 1, 1, 16)
    before = acc.copy()
    view = memoryview(acc).cast("B").toreadonly()
    # Refused in its second row, it could not be undone: what was added to the first has changed.
    for bufs in (
        [view[8:136], np.full(16, 1000, np.uint64).tobytes()],
        [bytes(128), acc[0].view(np.uint8).data.toreadonly()],
    ):
        with pytest.raises(InputError, match="share memory"):
            kernels.residues_add(acc, bufs, [1000])
        assert np.array_equal(acc, before)
