"""Faults 67 to 71 and 73 for sums of TenSEAL's ciphertexts: nothing of a bad ciphertext is added, and TenSEAL never sees one."""

from __future__ import annotations

import numpy as np
import pytest

from secagg.errors import AuthenticationError, DecodeError, EquivocationError, ParameterError
from secagg.integrations.tenseal import PublicContext, SumParams
from secagg.integrations.tenseal.messages import SumHeader, UploadHeader
from support import tenseal_bytes as tb
from support.tenseal_round import TensealRound, forged, taken_apart


@pytest.fixture
def f():
    opened = TensealRound(3, 2100)
    opened.server.open_round(1)
    return opened


def refused_then_exact(f, upload, error, match):
    """The upload, though rightly signed, is refused; the honest ones still add up."""
    sent = f.uploads()
    with pytest.raises(error, match=match):
        f.server.receive(upload(sent["h0"]))
    assert f.server.missing == tuple(f.ids)
    for name in f.ids:
        f.server.receive(sent[name])
    assert np.array_equal(f.clients["h1"].decrypt(f.server.close_round(), 1).sum, f.expected(f.ids))


def vector_of(upload):
    return bytes(taken_apart(upload)[2])


@pytest.mark.parametrize("size", [0, 1, 10, 100, 50_000])
def test_fault_67_empty_and_short_ciphertexts_are_refused(f, size):
    def short(upload):
        return forged(upload, UploadHeader, f.keys["h0"], [vector_of(upload)[:size]])

    refused_then_exact(f, short, DecodeError, "cut short|other sizes|other parts|malformed|scale")


def test_fault_67_a_ciphertext_of_shape_only_is_refused(f):
    def shape_only(upload):
        vector = vector_of(upload)
        return forged(upload, UploadHeader, f.keys["h0"], [tb.with_body(vector, lambda body: body[:97])])

    refused_then_exact(f, shape_only, DecodeError, "another size")


@pytest.mark.parametrize("place", [0, 3, 4, 8, 30, 120, 1000, -1, -9, -5000])
def test_fault_68_a_flipped_bit_is_refused_before_parsing(f, place, monkeypatch):
    """Authentication comes first: the parser of ciphertexts is not even called."""
    from secagg.integrations.tenseal import ciphertexts

    upload = bytearray(f.uploads()["h0"])
    upload[place] ^= 1

    def parsed(*args):
        raise AssertionError("bytes were parsed before they were authenticated")

    monkeypatch.setattr(ciphertexts.VectorFormat, "split", parsed)
    monkeypatch.setattr(ciphertexts, "open_object", parsed)
    with pytest.raises((AuthenticationError, DecodeError)):
        f.server.receive(bytes(upload))
    assert f.server.missing == tuple(f.ids)


@pytest.mark.parametrize("place", [0, 100, 1000, -1, -5000])
def test_fault_68_a_flipped_bit_of_a_sum_never_reaches_tenseal(f, place, monkeypatch):
    for upload in f.uploads().values():
        f.server.receive(upload)
    message = bytearray(f.server.close_round())
    message[place] ^= 1
    import tenseal

    monkeypatch.setattr(tenseal, "ckks_vector_from", None)
    with pytest.raises((AuthenticationError, DecodeError)):
        f.clients["h0"].decrypt(bytes(message), 1)


def test_fault_69_ciphertexts_under_another_key_are_refused_by_the_context_hash(f):
    other = tb.shared(again=1)
    params = SumParams(other.public(), 3, 2, 2100, 1.0, "semi-honest")
    upload = f.client("h0", other, params).encrypt(f.updates["h0"], 1)
    refused_then_exact(f, lambda _: upload, AuthenticationError, "another TenSEAL context")


def test_fault_69_ciphertexts_of_other_parameters_are_refused_though_the_hash_lies(f):
    other = tb.encrypted(f.updates["h0"], "4096-54-55")

    def lying(upload):
        return forged(upload, UploadHeader, f.keys["h0"], [other])

    refused_then_exact(f, lying, DecodeError, "scale|other parameters|another size")


def test_fault_40_and_70_a_sum_beyond_the_modulus_is_refused_when_configured():
    public = tb.shared().public()
    room = public.moduli[0] / 2 / public.scale
    SumParams(public, 10, 2, 100, room / 11, "semi-honest")
    with pytest.raises(ParameterError, match="beyond the modulus"):
        SumParams(public, 11, 2, 100, room / 10, "semi-honest")
    with pytest.raises(ParameterError, match="beyond the modulus"):
        SumParams(public, 2, 2, 100, room, "semi-honest")


@pytest.mark.parametrize("public_key", [False, True], ids=["symmetric", "public-key"])
@pytest.mark.parametrize("relin", [False, True])
def test_fault_71_a_server_refuses_a_context_with_a_secret_key(public_key, relin):
    for name in tb.SETS:
        saved = tb.context(name, public_key).serialize(save_secret_key=True, save_relin_keys=relin)
        for read in (PublicContext.from_bytes, lambda data: PublicContext.from_tenseal(data, bytes(32))):
            with pytest.raises(ParameterError, match="holds the secret key") as refused:
                read(saved)
            assert refused.value.__cause__ is None
        # and what the server gets instead has none
        public = tb.shared(name, public_key).public()
        assert len(public.to_bytes()) < 100


def test_fault_72_one_round_is_not_decrypted_twice(f):
    sent = f.uploads()
    for upload in sent.values():
        f.server.receive(upload)
    message = f.server.close_round()
    f.clients["h0"].decrypt(message, 1)
    with pytest.raises(EquivocationError):
        f.clients["h0"].decrypt(forged(message, SumHeader, f.server_key, [vector_of(sent["h1"])]), 1)


@pytest.mark.parametrize("index", [0, 1])
def test_fault_73_transparent_ciphertexts_are_refused(f, index):
    half = 97 + 8 * 4096

    def transparent(upload):
        vector = tb.with_body(vector_of(upload), lambda body: body[:half] + bytes(8 * 4096), index)
        return forged(upload, UploadHeader, f.keys["h0"], [vector])

    refused_then_exact(f, transparent, DecodeError, "transparent")


def test_fault_73_one_prime_without_a_key_is_refused():
    f = TensealRound(2, 10, "8192-60-40-40")
    f.server.open_round(1)
    upload = f.uploads()["h0"]
    at = 97 + 8 * 8192 * 3  # the second prime of the second polynomial
    vector = tb.with_body(vector_of(upload), lambda body: body[:at] + bytes(8 * 8192))
    with pytest.raises(DecodeError, match="transparent"):
        f.server.receive(forged(upload, UploadHeader, f.keys["h0"], [vector]))
