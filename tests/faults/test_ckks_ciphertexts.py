"""Faults 67 to 73 of the ckks protocol: what a ciphertext, a key and a result may be."""

import gc
import os
from types import FunctionType, ModuleType

import numpy as np
import pytest

from secagg import Integer
from secagg.errors import AbortError, AuthenticationError, DecodeError, ParameterError, PeerError
from secagg.hazmat import aead
from secagg.hazmat.rlwe import SecretKey
from secagg.protocols.accounts import holder_statement
from secagg.protocols.ckks.holder_state import OwnKey
from secagg.protocols.ckks.messages import Kind, result_key
from secagg.wire import HOLDER
from support.encrypted import MODES, Encrypted, make_params, uploads
from support.federation import fields


@pytest.fixture(params=MODES, ids="-".join)
def uploaded(request):
    """A round whose uploads are made, c0's still to be brought; and c0's header and ciphertexts."""
    reveal, threat = request.param
    f = Encrypted(5, reveal=reveal, threat=threat)
    f.server.open_round(1)
    f.phase()
    sent = f.hand(f.requests())
    f.bring([pair for pair in sent if pair[0] != "c0"])
    headers, payloads = uploads(sent)
    return f, f.body(headers["c0"]), payloads["c0"]


def without_c0(f):
    assert f.server.missing == ()
    f.server.close_phase()
    f.phase()
    f.check(f.ids[1:])


@pytest.mark.parametrize("length", [0, 1, 1000, -1])
def test_fault_67_empty_and_short_ciphertexts_are_refused(uploaded, length):
    f, header, payloads = uploaded
    short = {**payloads, (1, 0): payloads[1, 0][:length]}
    for name, frame in f.upload("c0", header, short)[1:2]:
        with pytest.raises(DecodeError, match="another length"):
            f.server.receive(frame, sender=name)
    assert f.server.missing == ("c0",)
    f.bring(f.upload("c0", header, payloads))
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_fault_68_a_flipped_bit_is_refused_before_anything_is_parsed(uploaded):
    f, header, payloads = uploaded
    good = f.upload("c0", header, payloads)
    rng = np.random.default_rng(2)
    for _, frame in good:
        for bit in rng.integers(0, len(frame) * 8, 60):
            broken = bytearray(frame)
            broken[bit // 8] ^= 1 << bit % 8
            with pytest.raises((AuthenticationError, DecodeError, PeerError)):
                f.server.receive(bytes(broken))
            assert not f.server._core._state.round.kept["c0"].keys() - set(payloads)
    chunk = bytearray(good[0][1])
    chunk[-1] ^= 1  # the last bit of the ciphertext: only the signature can tell
    with pytest.raises((AuthenticationError, PeerError), match="signature does not hold"):
        f.server.receive(bytes(chunk))
    f.bring(good)
    f.server.close_phase()
    f.phase()
    f.check(f.ids)


def test_fault_69_ciphertexts_of_another_key_or_params_are_refused_by_hash(uploaded):
    f, header, payloads = uploaded
    for change, words in (({"key_hash": bytes(32)}, "another key"), ({"params_hash": bytes(32)}, "another Params")):
        with pytest.raises(AuthenticationError, match=words):
            f.server.receive(f.forge_client("c0", Kind.ENCRYPTED_HEADER, fields(header, **change)))
    stale = f.chunk("c0", (1, 1, 0), payloads[1, 0], key_hash=bytes(32))  # made when another key was current
    with pytest.raises(AuthenticationError, match="signature does not hold"):
        f.server.receive(stale)
    f.bring(f.upload("c0", header, payloads))


def test_fault_40_and_70_sums_beyond_the_modulus_are_refused_at_params():
    with pytest.raises(ParameterError):
        make_params(3, max_weight=1 << 61)
    with pytest.raises(ParameterError, match="hold"):
        make_params(1000, min_clients=900, ring=(1024, 20))


def reachable(root):
    """Every object that can be reached from another, through containers, instances and closures, but not through modules."""
    seen, todo = {}, [root]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType):
            continue
        seen[id(thing)] = thing
        todo += (thing.__closure__ or ()) if isinstance(thing, FunctionType) else gc.get_referents(thing)
    return list(seen.values())


def test_fault_71_no_frame_brings_the_server_a_secret_key():
    """In the place of the public key, the seed of the secret one; and an announcement with a field more."""
    f = Encrypted(3)
    f.server.open_round(1)
    ((_, frame),) = f.hand(f.requests())
    told = f.body(frame)
    key = f.holder._core._state.key
    for secret in (key.seed, key.secret.seed_bytes(), told.public_key + key.seed):
        with pytest.raises(DecodeError, match="public key"):
            f.server.receive(f.forge_holder(Kind.KEY_ANNOUNCEMENT, fields(told, public_key=secret)))
    assert f.server.missing == (HOLDER,)
    f.bring([(HOLDER, frame)])
    for thing in reachable(f.server):
        assert not isinstance(thing, SecretKey | OwnKey)
        assert thing not in (key.seed, key.secret.seed_bytes()) if isinstance(thing, bytes) else True
    f.server.close_phase()
    f.until("idle")
    f.check(f.ids)


@pytest.mark.parametrize("place", [(0, 0), (1, 0)])
def test_fault_73_transparent_ciphertexts_are_refused(uploaded, place):
    """c1 = 0: what it says anybody can read, and after it anybody can read the sum of the others less the sum."""
    f, header, payloads = uploaded
    ring = f.params.cipher_plan.ring
    half = ring.degree * ring.bits // 8
    *chunks, last = f.upload("c0", header, {**payloads, place: bytes(half) + payloads[place][half:]})
    f.bring(chunks)
    with pytest.raises(AuthenticationError, match="upload refused"):
        f.server.receive(last[1])
    without_c0(f)


def test_fault_26_residues_and_padding_out_of_range_are_refused(uploaded):
    f, header, payloads = uploaded
    bad = b"\xff" * 4 + payloads[1, 0][4:]
    *chunks, last = f.upload("c0", header, {**payloads, (1, 0): bad})
    f.bring(chunks)
    with pytest.raises(AuthenticationError, match="upload refused"):
        f.server.receive(last[1])
    without_c0(f)


def test_results_with_padding_or_of_another_digest_or_tag_are_not_taken():
    """A lying holder: what it signs and what it sends must agree, and packed lanes have one form."""
    f = Encrypted(3, length=3, encoding=Integer(0, 1))  # two bits a value, and two of padding
    f.updates = {name: np.array([0, 1, 1]) for name in f.ids}
    f.server.open_round(1)
    f.until("decrypt")
    sent = f.hand(f.requests())
    key, current = f.holder._core._state.key, f.holder._core._state.round
    secret = result_key(key.channel.agree(current.request.server_key), f.server.session, key.hash, current.mark)
    sealed = uploads(sent)[1][HOLDER][1, 0]
    plain = aead.open_(secret, sealed, b"1/0")
    padded = aead.seal(secret, bytes([plain[0] | 0x80]), b"1/0", os.urandom)
    with pytest.raises(PeerError):
        f.server.receive(f.chunk(HOLDER, (1, 1, 0), padded))
    body = f.body(sent[0][1])
    signature = f.holder_key.sign(holder_statement(body.account, bytes(32)))
    lie = fields(body, result_hash=bytes(32), signature=signature)
    sent[0] = (HOLDER, f.forge_holder(Kind.DECRYPTED, lie))
    f.bring(sent)
    for _ in range(2):
        with pytest.raises(AbortError, match="not the one it signed for"):
            f.server.result(1) if f.server.phase == "idle" else f.server.close_phase()
    g = Encrypted(3)
    g.server.open_round(1)
    g.until("decrypt")
    sent = g.hand(g.requests())
    sent[0] = (HOLDER, g.forge_holder(Kind.DECRYPTED, fields(g.body(sent[0][1]), tag=bytes(32))))
    g.bring(sent)
    with pytest.raises(AbortError, match="chunks are not those of its answer"):
        g.server.close_phase()
    g.round(2)
    g.check(g.ids, 2)


def test_salts_are_sealed_of_32_bytes_and_only_where_the_sum_is_revealed():
    f = Encrypted(3)
    f.server.open_round(1)
    f.until("decrypt")
    sent = f.hand(f.requests())
    body = f.body(sent[0][1])
    key, current = f.holder._core._state.key, f.holder._core._state.round
    secret = result_key(key.channel.agree(current.request.server_key), f.server.session, key.hash, current.mark)
    for sealed in (b"", body.sealed_salt[:-1], aead.seal(secret, b"x" * 31, b"salt", os.urandom)):
        with pytest.raises(PeerError):
            f.server.receive(f.forge_holder(Kind.DECRYPTED, fields(body, sealed_salt=sealed)))
    f.bring(sent)
    f.server.close_phase()
    f.check(f.ids)
    g = Encrypted(3, reveal="holder")
    g.server.open_round(1)
    g.until("decrypt")
    ((_, frame),) = g.hand(g.requests())
    with pytest.raises(DecodeError, match="not revealed"):
        g.server.receive(g.forge_holder(Kind.DECRYPTED, fields(g.body(frame), sealed_salt=b"x")))
    g.bring([(HOLDER, frame)])
    g.server.close_phase()
    g.check(g.ids)
