"""Whole rounds of TenSEAL sums: what is counted, what is refused, and what is given out."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from secagg.errors import (
    AbortError,
    AuthenticationError,
    DecodeError,
    EquivocationError,
    InputError,
    ParameterError,
    PeerError,
    StateError,
    ThresholdError,
)
from secagg.integrations.tenseal import PublicContext, SharedContext, SumClient, SumServer
from secagg.integrations.tenseal.messages import SUM, UPLOAD, Limits, SumHeader, UploadHeader
from support import tenseal_bytes as tb
from support.tenseal_round import SESSION, TensealRound, forged, taken_apart


def closed(f, round_id=1, context=b"", names=None, **options):
    f.server.open_round(round_id, context)
    sent = f.uploads(round_id, context)
    for name in names or f.ids:
        assert f.server.receive(sent[name], sender=name) == name
    return f.server.close_round(**options)


@pytest.mark.parametrize("name", tb.SETS)
def test_a_round_is_exact_for_everybody(name):
    f = TensealRound(4, 5000, name)
    message = closed(f, context=b"model 7")
    for client in f.clients.values():
        result = client.decrypt(message, 1)
        assert np.array_equal(result.sum, f.expected(f.ids))
        assert np.array_equal(result.mean, f.expected(f.ids) / 4)
        assert result.contributors == tuple(f.ids)
    assert "0." not in repr(result)


def test_fault_03_and_04_and_06_dropouts_need_nothing():
    f = TensealRound(5, 100)
    f.server.open_round(3)
    sent = f.uploads(3)
    f.server.receive(sent["h4"])
    f.server.receive(sent["h1"])
    assert f.server.missing == ("h0", "h2", "h3")
    message = f.server.close_round(compression="zstd")
    assert f.server.missing == ()
    for client in f.clients.values():
        result = client.decrypt(message, 3)
        assert result.contributors == ("h1", "h4")
        assert np.array_equal(result.sum, f.expected(["h1", "h4"]))


def test_several_vectors(monkeypatch):
    monkeypatch.setattr("secagg.integrations.tenseal.params.VECTOR_VALUES", 4096)
    f = TensealRound(2, 5000)
    f.server.open_round(1)
    sent = f.uploads()
    # the second vector is bad: the first is taken out again
    _, _, body = taken_apart(sent["h0"])
    header = msgspec.msgpack.decode(taken_apart(sent["h0"])[1].payload, type=UploadHeader)
    first, second = body[: header.sizes[0]], body[header.sizes[0] :]
    q = f.shared.public().moduli[0].to_bytes(8, "little")
    bad = tb.with_body(second, lambda raw: raw[:97] + q + raw[105:])
    with pytest.raises(DecodeError, match="not below its prime from 'h0'"):
        f.server.receive(forged(sent["h0"], UploadHeader, f.keys["h0"], [first, bad]))
    assert f.server.missing == ("h0", "h1")
    for name in f.ids:
        f.server.receive(sent[name])
    assert np.array_equal(f.clients["h0"].decrypt(f.server.close_round(), 1).sum, f.expected(f.ids))


def test_fault_09_and_10_the_same_upload_again_changes_nothing_and_another_is_equivocation():
    f = TensealRound()
    f.server.open_round(1)
    sent = f.uploads()
    other = f.client("h0").encrypt(f.updates["h0"], 1)
    for _ in range(2):
        assert f.server.receive(sent["h0"]) == "h0"
    with pytest.raises(EquivocationError, match="'h0'"):
        f.server.receive(other)
    f.server.receive(sent["h1"])
    message = f.server.close_round()
    assert np.array_equal(f.clients["h1"].decrypt(message, 1).sum, f.expected(["h0", "h1"]))


def test_fault_07_and_13_too_few_get_no_sum_and_the_round_is_over():
    f = TensealRound(3, min_clients=3)
    f.server.open_round(1)
    sent = f.uploads()
    f.server.receive(sent["h0"])
    f.server.receive(sent["h1"])
    with pytest.raises(ThresholdError, match="needed 3, have 2"):
        f.server.close_round()
    assert f.server.round_id is None
    with pytest.raises(DecodeError, match="no round is open"):
        f.server.receive(sent["h2"])
    with pytest.raises(StateError):
        f.server.close_round()
    with pytest.raises(InputError):
        f.server.open_round(1)


def test_fault_11_rounds_follow_each_other():
    f = TensealRound()
    first = closed(f, 1)
    f.server.open_round(5)
    with pytest.raises(StateError, match="round 5 is open"):
        f.server.open_round(6)
    old = f.client("h0").encrypt(f.updates["h0"], 1)
    with pytest.raises(DecodeError, match="round 1, not 5"):
        f.server.receive(old)
    client = f.clients["h0"]
    client.decrypt(first, 1)
    for name, upload in f.uploads(5).items():
        f.server.receive(upload, sender=name)
    second = f.server.close_round()
    with pytest.raises(DecodeError, match="round 1, not 5"):
        client.decrypt(first, 5)
    client.decrypt(second, 5)
    with pytest.raises(StateError):
        client.decrypt(first, 1)
    for wrong in (5, -1, "6", 1 << 63):
        with pytest.raises(InputError):
            f.server.open_round(wrong)


def test_fault_36_a_client_uploads_once_a_round():
    client = TensealRound().clients["h0"]
    client.encrypt(np.zeros(100), 4)
    for round_id in (4, 3):
        with pytest.raises(StateError, match="already encrypted"):
            client.encrypt(np.zeros(100), round_id)
    for wrong in (-1, 1 << 63, "5", None):
        with pytest.raises(InputError):
            client.encrypt(np.zeros(100), wrong)
    with pytest.raises(InputError):
        client.encrypt(np.full(100, 2.0), 5)
    client.encrypt(np.zeros(100), 5)


FORGERIES = {
    "another round": ({"round_id": 2}, DecodeError, "round 2, not 1"),
    "a negative round": ({"round_id": -1}, DecodeError, "out of range"),
    "other parameters": ({"params_hash": bytes(32)}, DecodeError, "other parameters"),
    "another context": ({"context_hash": bytes(32)}, AuthenticationError, "another TenSEAL context"),
    "another model": ({"model": bytes(32)}, DecodeError, "another model"),
    "a short hash": ({"model": bytes(31)}, DecodeError, "out of range"),
    "other ciphertexts": ({"sha256": bytes(32)}, AuthenticationError, "not those that were signed"),
    "no sizes": ({"sizes": []}, DecodeError, "other sizes"),
    "two sizes": ({"sizes": [5, 5]}, DecodeError, "other sizes"),
    "a negative size": ({"sizes": [-5]}, DecodeError, "other sizes"),
    "a large size": ({"sizes": [1 << 40]}, DecodeError, "other sizes"),
    "a smaller size": ({"sizes": [5]}, DecodeError, "another length"),
    "another session": ({"session": bytes(16)}, DecodeError, "another session"),
    "a stranger": ({"sender": "h9"}, AuthenticationError, "not on the roster"),
    "another client": ({"sender": "h1"}, AuthenticationError, "signature does not hold"),
    "another kind": ({"kind": SUM}, DecodeError, "another kind"),
    "garbage": ({"vectors": [b"garbage"]}, DecodeError, "cut short"),
    "nothing": ({"vectors": [b""]}, DecodeError, "other sizes"),
}


@pytest.mark.parametrize("changes, error, match", FORGERIES.values(), ids=FORGERIES)
def test_fault_14_and_18_and_32_and_35_uploads_that_are_refused(changes, error, match):
    f = TensealRound()
    f.server.open_round(1)
    sent = f.uploads()
    with pytest.raises(error, match=match):
        f.server.receive(forged(sent["h0"], UploadHeader, f.keys["h0"], **changes))
    assert f.server.missing == tuple(f.ids)
    for name in f.ids:
        f.server.receive(sent[name])
    assert np.array_equal(f.clients["h0"].decrypt(f.server.close_round(), 1).sum, f.expected(f.ids))


def test_fault_62_and_64_and_66_uploads_that_are_no_messages():
    f = TensealRound()
    f.server.open_round(1)
    upload = f.uploads()["h0"]
    limit = Limits.of(f.params).total
    with pytest.raises(DecodeError, match="over the limit"):
        f.server.receive(bytes(limit + 1))
    for wrong in (
        b"",
        b"\0\0\0",
        bytes(4),
        bytes(50),
        b"\xff" * 50,
        pickle.dumps([1, 2, 3]),
        b"\x93NUMPY\x01\x00" + bytes(100),
        upload[:100],
        "text",
        None,
        memoryview(upload)[::2],
    ):
        with pytest.raises(DecodeError):
            f.server.receive(wrong)
    with pytest.raises(AuthenticationError, match="carrier says otherwise"):
        f.server.receive(upload, sender="h1")
    with pytest.raises(AuthenticationError):
        f.server.receive(upload + b"\0")
    assert f.server.receive(bytearray(upload)) == "h0"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_mutated_uploads_raise_peer_errors_only(draw):
    f, upload = one_upload()
    data = bytearray(upload)
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, 400)) % len(data)
        data[at : at + draw.draw(st.integers(0, 5))] = draw.draw(st.binary(max_size=5))
    if bytes(data) == upload:
        return
    with pytest.raises(PeerError):
        f.server.receive(bytes(data))
    assert f.server.missing == tuple(f.ids)


@functools.cache
def one_upload():
    f = TensealRound()
    f.server.open_round(1)
    return f, f.clients["h0"].encrypt(f.updates["h0"], 1)


SUMS = {
    "another round": ({"round_id": 2}, DecodeError, "round 2, not 1"),
    "other parameters": ({"params_hash": bytes(32)}, DecodeError, "other parameters"),
    "another context": ({"context_hash": bytes(32)}, AuthenticationError, "another TenSEAL context"),
    "another model": ({"model": bytes(32)}, AuthenticationError, "another model"),
    "other ciphertexts": ({"sha256": bytes(32)}, AuthenticationError, "not those that were signed"),
    "garbage": ({"vectors": [b"garbage"]}, DecodeError, "cut short"),
    "unknown": ({"contributors": ["h0", "h1", "h9"]}, DecodeError, "contributors are unknown"),
    "twice": ({"contributors": ["h0", "h1", "h1"]}, DecodeError, "repeated"),
    "out of order": ({"contributors": ["h1", "h0", "h2"]}, DecodeError, "out of order"),
    "fewer than uploads": ({"contributors": ["h0", "h1"]}, DecodeError, "do not match"),
    "too few": ({"contributors": ["h0"], "uploads": bytes(32)}, ThresholdError, "needed 2, have 1"),
    "nobody": ({"contributors": [], "uploads": b""}, ThresholdError, "needed 2, have 0"),
    "another upload of this client": ({"uploads": bytes(96)}, AuthenticationError, "did not send"),
    "not from the server": ({"sender": "h1"}, AuthenticationError, "not the server's"),
    "another session": ({"session": bytes(16)}, DecodeError, "another session"),
    "another kind": ({"kind": UPLOAD}, DecodeError, "another kind"),
}


@pytest.mark.parametrize("changes, error, match", SUMS.values(), ids=SUMS)
def test_fault_30_and_31_sums_that_are_refused(changes, error, match):
    f = TensealRound()
    message = closed(f)
    client = f.clients["h0"]
    with pytest.raises(error, match=match):
        client.decrypt(forged(message, SumHeader, f.server_key, **changes), 1)


def test_a_sum_must_be_signed_by_the_server():
    f = TensealRound()
    message = closed(f)
    with pytest.raises(AuthenticationError, match="signature does not hold"):
        f.clients["h0"].decrypt(forged(message, SumHeader, f.keys["h1"]), 1)
    assert f.clients["h0"].decrypt(message, 1).contributors == tuple(f.ids)


def test_fault_72_one_round_is_decrypted_once():
    f = TensealRound()
    message = closed(f)
    client = f.clients["h0"]
    assert np.array_equal(client.decrypt(message, 1).sum, client.decrypt(message, 1).sum)
    _, _, body = taken_apart(f.client("h1").encrypt(f.updates["h1"], 1))
    # a lying server hands out one client's ciphertext as another sum of the round
    with pytest.raises(EquivocationError, match="two different sums"):
        client.decrypt(forged(message, SumHeader, f.server_key, [bytes(body)]), 1)
    # nor after a sum that came to nothing
    other = f.client("h2")
    with pytest.raises(DecodeError):
        other.decrypt(forged(message, SumHeader, f.server_key, [b"garbage"]), 1)
    with pytest.raises(EquivocationError):
        other.decrypt(message, 1)


def test_a_garbled_sum_is_an_abort():
    f = TensealRound()
    f.server.open_round(1)
    sent = f.uploads()
    _, _, body = taken_apart(sent["h0"])

    def shift(raw):
        value = int.from_bytes(raw[105:113], "little")
        return raw[:105] + (value ^ 1 << 30).to_bytes(8, "little") + raw[113:]

    f.server.receive(forged(sent["h0"], UploadHeader, f.keys["h0"], [tb.with_body(bytes(body), shift)]))
    f.server.receive(sent["h1"])
    with pytest.raises(AbortError, match="nothing was released"):
        f.client("h1").decrypt(f.server.close_round(), 1)


def test_parties_that_do_not_belong_together():
    f = TensealRound()
    other = TensealRound(again := 3)
    assert again == 3
    good = {"identity": f.server_key, "roster": f.roster}
    for wrong in ({"identity": f.keys["h0"]}, {"roster": other.roster}, {"session": bytes(15)}):
        with pytest.raises(ParameterError):
            SumServer(f.params, **good | wrong)
    few = secagg.Roster({"h0": f.keys["h0"].verify_key}, f.server_key.verify_key)
    with pytest.raises(ParameterError):
        SumServer(f.params, **good | {"roster": few})
    assert len(SumServer(f.params, **good).session) == 16
    mine = {"me": "h0", "identity": f.keys["h0"], "roster": f.roster, "session": SESSION}
    for wrong in ({"me": "h1"}, {"me": "h9"}, {"identity": f.server_key}, {"session": b""}):
        with pytest.raises(ParameterError):
            SumClient(f.shared, f.params, **mine | wrong)
    with pytest.raises(ParameterError, match="another TenSEAL context"):
        SumClient(tb.shared(again=1), f.params, **mine)


def test_what_tenseal_does_not_read_is_a_decode_error(monkeypatch):
    """Bytes that pass every check here and that this TenSEAL refuses all the same."""
    import tenseal

    def refuse(*args):
        raise RuntimeError("incompatible version")

    f = TensealRound()
    message, saved = closed(f), tb.context().serialize(save_secret_key=True)
    monkeypatch.setattr(tenseal, "ckks_vector_from", refuse)
    monkeypatch.setattr(tenseal, "context_from", refuse)
    with pytest.raises(DecodeError, match="does not read this sum"):
        f.clients["h0"].decrypt(message, 1)
    with pytest.raises(DecodeError, match="does not read this context"):
        SharedContext.from_bytes(saved)


def test_fault_58_and_59_nothing_that_holds_a_key_is_copied_or_shown():
    f = TensealRound()
    for holder in (f.shared, f.server, f.clients["h0"]):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                attempt(holder)
    key = tb.context().serialize(save_secret_key=True)
    shown = " ".join(map(repr, (f.shared, f.server, f.clients["h0"], f.params))).encode()
    assert not any(key[i : i + 12] in shown for i in range(100_000 % len(key), len(key) - 12, 997))


def test_the_servers_side_does_not_load_tenseal():
    code = (
        "import sys; import secagg; assert 'secagg.integrations' not in sys.modules\n"
        "from secagg.integrations import tenseal\n"
        "c = tenseal.PublicContext(4096, (1099510890497,), 2.0**20, bytes(32))\n"
        "tenseal.CiphertextSum(c, 10)\n"
        "assert not {'tenseal', 'numba'} & set(sys.modules), 'loaded'"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_zstandard_nothing_begins(monkeypatch):
    from secagg.integrations.tenseal import seal_format

    monkeypatch.setitem(sys.modules, "zstandard", None)
    seal_format._zstandard.cache_clear()
    with pytest.raises(ParameterError, match="zstandard"):
        TensealRound()
    with pytest.raises(ParameterError, match="zstandard"):
        PublicContext.from_tenseal(tb.context().serialize(), bytes(32))
    seal_format._zstandard.cache_clear()
