"""Sums of TenSEAL's ciphertexts, judged by TenSEAL: the same residues as its own sum, and the right values when it decrypts."""

from __future__ import annotations

import numpy as np
import pytest
import tenseal as ts

from secagg.errors import AbortError, DecodeError, InputError, ParameterError, StateError
from secagg.integrations.tenseal import CiphertextSum, SharedContext, SumParams
from support import tenseal_bytes as tb

KINDS = pytest.mark.parametrize("public_key", [False, True], ids=["symmetric", "public-key"])


def vectors(count, length, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, length))


@KINDS
@pytest.mark.parametrize("name", tb.SETS)
@pytest.mark.parametrize("mode", tb.MODES)
def test_the_residues_are_those_of_tenseals_own_sum(name, mode, public_key):
    context, public = tb.context(name, public_key), tb.shared(name, public_key).public()
    values = vectors(2, public.slots + 5)
    sent = [tb.encrypted(v, name, public_key) for v in values]
    total = CiphertextSum(public, values.shape[1])
    for data in sent:
        total.add(tb.rewrap(data, mode))
    theirs = ts.ckks_vector_from(context, sent[0]) + ts.ckks_vector_from(context, sent[1])
    assert np.array_equal(tb.residues(theirs.serialize()), total.residues().reshape(2, -1))
    # and TenSEAL reads what we write, in every compression, as the same ciphertexts
    for written in tb.MODES:
        loaded = ts.ckks_vector_from(context, total.to_bytes(compression=written))
        assert np.array_equal(tb.residues(loaded.serialize()), tb.residues(theirs.serialize()))
        assert loaded.decrypt() == theirs.decrypt()


@KINDS
@pytest.mark.parametrize("name", tb.SETS)
def test_ten_clients(name, public_key):
    context, public = tb.context(name, public_key), tb.shared(name, public_key).public()
    values = vectors(10, 2 * public.slots + 1, 1)
    total, theirs = CiphertextSum(public, values.shape[1]), None
    for v in values:
        data = tb.encrypted(v, name, public_key)
        total.add(data)
        one = ts.ckks_vector_from(context, data)
        theirs = one if theirs is None else theirs + one
    assert total.count == 10
    assert np.array_equal(tb.residues(theirs.serialize()), total.residues().reshape(3, -1))
    decrypted = np.array(ts.ckks_vector_from(context, total.to_bytes()).decrypt())
    error = np.abs(decrypted - values.sum(axis=0)).max()
    # the noise that params are sized by, at 8 of its standard deviations
    params = SumParams(public, 10, 2, values.shape[1], 1.0, "semi-honest")
    assert error <= 0.4 * params._least_step()


@KINDS
@pytest.mark.parametrize("name", tb.SETS)
@pytest.mark.parametrize("length", [1, 100, 5000])
def test_encrypt_and_decrypt_are_exact(name, public_key, length):
    shared = tb.shared(name, public_key)
    params = SumParams(shared.public(), 3, 2, length, 1.0, "semi-honest")
    values = vectors(3, length, 2)
    totals = [CiphertextSum(shared.public(), n) for n in params.vector_lengths]
    for v in values:
        for total, data in zip(totals, shared.encrypt(v, params), strict=True):
            total.add(data)
    expected = sum(np.rint(v / params.step) for v in values) * params.step
    assert np.array_equal(shared.decrypt([total.to_bytes() for total in totals], params), expected)
    assert np.abs(expected - values.sum(axis=0)).max() <= 3 * params.step / 2


def test_fault_42_large_updates_are_few_vectors(monkeypatch):
    monkeypatch.setattr("secagg.integrations.tenseal.params.VECTOR_VALUES", 4096)
    shared = tb.shared()
    params = SumParams(shared.public(), 2, 2, 9000, 1.0, "semi-honest")
    assert params.vector_lengths == (4096, 4096, 808)
    values = vectors(2, 9000)
    totals = [CiphertextSum(shared.public(), n) for n in params.vector_lengths]
    for v in values:
        for total, data in zip(totals, shared.encrypt(v, params), strict=True):
            total.add(data)
    result = shared.decrypt([total.to_bytes() for total in totals], params)
    assert np.array_equal(result, (np.rint(values / params.step) * params.step).sum(axis=0))
    with pytest.raises(DecodeError, match="3 vectors, not 1"):
        shared.decrypt([totals[0].to_bytes()], params)


@pytest.mark.parametrize("first", [np.float32, np.float16, np.int64])
def test_kinds_of_updates(first):
    shared = tb.shared()
    params = SumParams(shared.public(), 2, 2, 3, 4.0, "semi-honest", precision_bits=4)
    total = CiphertextSum(shared.public(), 3)
    total.add(shared.encrypt(np.array([1, -2, 0], first), params)[0])
    total.add(shared.encrypt([0.5, 0.03, -0.01], params)[0])
    result = shared.decrypt([total.to_bytes()], params)
    assert result.tolist() == [1.5, -2.0, 0.0]
    assert not np.signbit(result[2])


REFUSED = [[1.0], [[1.0, 2.0]], [1.0, np.nan], [np.inf, 0], [1.5, 0], [1j, 0], ["1", "2"], [-(2**63), 0], None]


@pytest.mark.parametrize("update", REFUSED, ids=repr)
def test_fault_37_and_38_and_43_updates_that_are_refused(update):
    params = SumParams(tb.shared().public(), 2, 2, 2, 1.0, "semi-honest")
    with pytest.raises(InputError) as refused:
        tb.shared().encrypt(update, params)
    assert "1.5" not in str(refused.value)


@pytest.mark.parametrize("mode", tb.MODES)
@pytest.mark.parametrize("count", [1, 3, 20])
def test_many_at_once_is_one_after_the_other(mode, count):
    public = tb.shared().public()
    length = 18 * public.slots
    sent = [tb.rewrap(tb.encrypted(v), mode) for v in vectors(min(count, 3), length)]
    sent = (sent * count)[:count]
    one, many = CiphertextSum(public, length), CiphertextSum(public, length)
    for data in sent:
        one.add(data)
    many.add_many(sent)
    many.add_many([])
    assert many.count == count
    assert np.array_equal(many.residues(), one.residues())
    bad = tb.with_body(sent[0], lambda body: body[:97] + bytes([255] * 8) + body[105:], 17)
    with pytest.raises(DecodeError, match="not below its prime"):
        many.add_many([*sent, bad])
    with pytest.raises(DecodeError):
        many.add_many([*sent, sent[0][:-1]])
    assert many.count == count
    assert np.array_equal(many.residues(), one.residues())


def test_undo_takes_out_what_was_added():
    public = tb.shared().public()
    a, b = (tb.encrypted([x] * 2100) for x in (0.25, 0.5))
    total = CiphertextSum(public, 2100)
    with pytest.raises(StateError):
        total.undo(a)
    total.add(a)
    before = total.residues()
    total.add(b)
    total.undo(b)
    assert np.array_equal(total.residues(), before)
    assert total.count == 1
    assert "0.25" not in repr(total)
    with pytest.raises(DecodeError):
        total.undo(b[:-1])


def test_an_empty_sum_or_an_unknown_form_is_not_written():
    total = CiphertextSum(tb.shared().public(), 5)
    with pytest.raises(StateError):
        total.to_bytes()
    total.add(tb.encrypted([1.0] * 5))
    for wrong in ({"minor": 2}, {"compression": "lzma"}):
        with pytest.raises(InputError):
            total.to_bytes(**wrong)


def test_a_sum_whose_keys_cancel_is_not_given_out():
    public = tb.shared().public()
    data = tb.encrypted([1.0] * 5)
    q = np.array(public.moduli, np.uint64)
    assert len(q) == 1
    half = 97 + 8 * 4096

    def negate(body):
        c1 = np.frombuffer(body[half:], "<u8")
        return body[:half] + ((q[0] - c1) % q[0]).astype("<u8").tobytes()

    total = CiphertextSum(public, 5)
    total.add(data)
    total.add(tb.with_body(data, negate))
    with pytest.raises(AbortError, match="transparent"):
        total.to_bytes()


def test_ciphertexts_under_another_key_do_not_decrypt():
    shared, other = tb.shared(), tb.shared(again=1)
    params = SumParams(shared.public(), 2, 2, 500, 1.0, "semi-honest")
    total = CiphertextSum(shared.public(), 500)
    total.add(tb.encrypted([0.5] * 500))
    total.add(tb.encrypted([0.5] * 500, again=1))
    with pytest.raises(AbortError, match="another key"):
        shared.decrypt([total.to_bytes()], params)
    with pytest.raises(ParameterError, match="another context or key"):
        other.decrypt([total.to_bytes()], params)


def test_a_sum_of_more_than_agreed_is_not_returned():
    shared = tb.shared()
    params = SumParams(shared.public(), 2, 2, 5, 1.0, "semi-honest")
    total = CiphertextSum(shared.public(), 5)
    for _ in range(3):
        total.add(shared.encrypt([1.0] * 5, params)[0])
    with pytest.raises(AbortError, match="nothing was released"):
        shared.decrypt([total.to_bytes()], params)


def test_the_key_id_is_the_keys():
    context = tb.context()
    saved = context.serialize(save_secret_key=True)
    again = SharedContext.from_bytes(saved)
    assert again.key_id == tb.shared().key_id
    assert again.public() == tb.shared().public()
    assert tb.shared(again=1).key_id != again.key_id
    # public keys made anew, as after loading, do not change it
    loaded = ts.context_from(saved)
    loaded.generate_galois_keys()
    assert SharedContext(loaded).key_id == again.key_id


def test_a_context_must_have_its_key_and_scale():
    context = ts.context(ts.SCHEME_TYPE.CKKS, 4096, -1, [40, 41])
    with pytest.raises(ParameterError, match="global_scale"):
        SharedContext(context)
    context.global_scale = 2**20
    with pytest.raises(ParameterError, match="no secret key"):
        SharedContext.from_bytes(context.serialize())
    context.make_context_public()
    with pytest.raises(ParameterError, match="no secret key"):
        SharedContext(context)


def test_a_secret_key_in_pieces_is_refused_before_tenseal_reads_it():
    saved = tb.context().serialize(save_secret_key=True, save_relin_keys=False, save_galois_keys=False)
    for cut in (0, 1, 10, 90, 200, len(saved) - 1):
        with pytest.raises((DecodeError, ParameterError)):
            SharedContext.from_bytes(saved[:cut])
    with pytest.raises(InputError):
        SharedContext.from_bytes("text")
