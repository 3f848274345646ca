"""What the kernels' contract refuses before C sees it: memory that is not what it says, and plans that nobody made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from secagg import _kernels
from secagg._kernels.plan import RingPlan, ring_plan
from secagg.errors import InputError, ParameterError

BACKENDS = _kernels.backends()
PLAN = ring_plan(1024, 1032193)
KEY = bytes(16)


@pytest.fixture(params=BACKENDS)
def kernels(request):
    return BACKENDS[request.param]


def words(*shape):
    return np.zeros(shape, np.uint64)


def test_a_read_only_view_of_the_sum_is_no_buffer_to_add(kernels):
    base = np.arange(64, dtype=np.uint64)
    acc = base[:32].reshape(1, 1, 1, 32)
    before = base.copy()
    with pytest.raises(InputError, match="share memory"):
        kernels.residues_add(acc, [memoryview(base[1:33]).toreadonly()], [97])
    np.testing.assert_array_equal(base, before)
    frozen = base[32:]
    frozen.flags.writeable = False
    with pytest.raises(InputError, match="not below"):
        kernels.residues_add(acc, [memoryview(np.full(32, 97, np.uint64))], [97])
    np.testing.assert_array_equal(base, before)


def test_a_payload_is_not_written_over_the_key(kernels):
    size = kernels.rlwe_payload_bytes(PLAN, 1300, seeded=True)
    secret = words(1024 * 8)[:1024]
    room = memoryview(secret).cast("B")[:size]
    values = words(1300)
    with pytest.raises(InputError, match="share memory"):
        kernels.rlwe_encrypt_seeded(PLAN, secret, values, 1000, KEY, KEY, 0, room)
    public = words(2, 1024)
    room = memoryview(public).cast("B")[: kernels.rlwe_payload_bytes(PLAN, 1300)]
    with pytest.raises(InputError, match="share memory"):
        kernels.rlwe_encrypt(PLAN, public, values, 1000, KEY, None, 0, room)
    assert not secret.any() and not public.any()


class Longer(np.ndarray):
    """An array that lies about its length."""

    def __len__(self):
        return 1 << 20


class Sixteen(bytes):
    """A key that lies about its length."""

    def __len__(self):
        return 16


def test_arrays_and_keys_that_say_other_than_their_memory_are_refused(kernels):
    masked = np.ma.MaskedArray(np.array([0, 2, 3], np.uint64), mask=[True, False, False])
    with pytest.raises(InputError, match="plain numpy array, not MaskedArray"):
        kernels.shamir_split(words(3), words(1, 3), masked)
    signs = np.ma.MaskedArray(np.array([0], np.int8), mask=[True])
    with pytest.raises(InputError, match="plain numpy array"):
        kernels.mask_apply(words(3), np.zeros((1, 16), np.uint8), signs, 0, 0, 64)
    with pytest.raises(InputError, match="plain numpy array, not Longer"):
        kernels.mask_apply(words(3).view(Longer), np.zeros((0, 16), np.uint8), np.zeros(0, np.int8), 0, 0, 64)
    with pytest.raises(InputError, match="bytes, not Sixteen"):
        kernels.keystream(Sixteen(), 0, 0, 16)


def test_a_mapped_file_is_an_array(kernels, tmp_path):
    acc = np.memmap(tmp_path / "acc", np.uint64, "w+", shape=(40,))
    kernels.mask_apply(acc, np.zeros((1, 16), np.uint8), np.ones(1, np.int8), 0, 0, 64)
    assert acc.tobytes() == kernels.keystream(KEY, 0, 0, 320)


def test_buffers_without_memory_are_refused(kernels):
    gone = memoryview(bytearray(8))
    gone.release()
    for buffer in (gone, np.zeros(1, "datetime64[s]"), 3):
        with pytest.raises(InputError, match="bytes-like"):
            kernels.unpack(buffer, 64, 1)
        with pytest.raises(InputError, match="bytes-like"):
            kernels.residues_add(words(1, 1, 1, 1), [buffer], [97])
        with pytest.raises(InputError, match="bytes-like"):
            kernels.rlwe_add(PLAN, words(1, 1024), words(1), buffer)
        with pytest.raises(InputError, match="bytes-like"):
            kernels.mask_pack_into(words(1), np.zeros((0, 16), np.uint8), np.zeros(0, np.int8), 0, 0, 64, buffer)


def test_whatever_is_true_subtracts(kernels):
    acc = words(8)
    kernels.ring_add(PLAN, acc, np.ones(8, np.uint64), minus=1 << 40)
    assert (acc == PLAN.modulus - 1).all()


def test_buffers_may_come_one_by_one(kernels):
    acc = words(1, 1, 1, 4)
    kernels.residues_add(acc, iter([bytes([5, *[0] * 7] * 4)]), [97])
    assert (acc == 5).all()


@pytest.mark.skipif("portable" not in BACKENDS, reason="no C module")
def test_a_key_that_has_shrunk_is_not_read():
    """Between the check and the call, by another thread."""
    from secagg._kernels.binding import key_in

    with pytest.raises(InputError, match="16 bytes"):
        key_in(bytearray(10))


def test_a_plan_that_was_not_made_by_ring_plan_is_none():
    table = PLAN.table.copy()
    with pytest.raises(ParameterError, match=r"ring's (plan|table)"):
        RingPlan(1024, PLAN.modulus, PLAN.bits, PLAN.root, table)  # may be written to
    for at, value in ((0, 97), (1, 1 << 20), (2, 62)):
        wrong = table.copy()
        wrong[at] = value
        wrong.flags.writeable = False
        with pytest.raises(ParameterError, match=r"ring's (plan|table)"):
            dataclasses.replace(PLAN, table=wrong)
    cut = table[:16]
    cut.flags.writeable = False
    with pytest.raises(ParameterError, match=r"ring's (plan|table)"):
        dataclasses.replace(PLAN, table=cut)
    with pytest.raises(ParameterError, match=r"ring's (plan|table)"):
        dataclasses.replace(PLAN, degree=1000)
    table.flags.writeable = False
    assert dataclasses.replace(PLAN, table=table).table is table
