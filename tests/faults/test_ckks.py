"""Faults 1 to 22 of the ckks protocol: dropouts, networks, broken cryptographic values."""

import random

import pytest

from secagg import Identity, Roster
from secagg.errors import AbortError, AuthenticationError, EquivocationError, ParameterError, PeerError, ThresholdError
from secagg.protocols.ckks.messages import Kind
from secagg.wire import HOLDER, Chunk, decode_frame, encode_chunk
from support.encrypted import MODES, PHASES, Encrypted, uploads
from support.federation import fields
from support.hostile import second_form


@pytest.fixture(params=MODES, ids="-".join)
def fed(request):
    reveal, threat = request.param
    return Encrypted(7, reveal=reveal, threat=threat, min_clients=5)


def rest(f, *gone):
    return [name for name in f.ids if name not in gone]


def finish(f, silent=()):
    while f.server.phase != "idle":
        f.phase(silent)


# -- dropouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["keys", "decrypt"])
def test_fault_01_and_07_without_the_holder_the_round_aborts_and_the_next_goes_on(fed, phase):
    f = fed
    with pytest.raises(ThresholdError) as error:
        f.round(silent={phase: {HOLDER}})
    assert (error.value.needed, error.value.have) == (1, 0)
    assert f.server.phase == "idle"
    with pytest.raises(AbortError):
        f.server.result(1)
    f.round(2)
    f.check(f.ids, 2)


def test_fault_03_dropouts_before_the_update_are_not_in_the_sum(fed):
    f = fed
    f.round(silent={"encrypted": {"c3", "c6"}})
    f.check(rest(f, "c3", "c6"))


def test_fault_04_dropouts_after_the_update_are_counted(fed):
    f = fed
    f.round(silent={"decrypt": set(f.ids)})
    f.check(f.ids)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_fault_05_dropout_mid_message_counts_as_absent(fed, kept):
    f = fed
    f.server.open_round(1)
    f.until("encrypted")
    sent = f.hand(f.requests())
    theirs = [pair for pair in sent if pair[0] == "c5"]
    assert len(theirs) == 3
    f.bring([pair for pair in sent if pair[0] != "c5"] + theirs[:kept])
    assert f.server.missing == ("c5",)
    f.server.close_phase()
    finish(f)
    f.check(rest(f, "c5"))


def test_fault_06_and_07_exactly_min_clients_succeed_and_one_fewer_aborts(fed):
    f = fed
    f.round(1, silent={"encrypted": {"c0", "c1"}})
    f.check(rest(f, "c0", "c1"))
    with pytest.raises(ThresholdError) as error:
        f.round(2, silent={"encrypted": {"c0", "c1", "c2"}})
    assert (error.value.needed, error.value.have) == (5, 4)
    f.round(3)
    f.check(f.ids, 3)


# -- network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_fault_09_identical_duplicates_change_nothing(fed, phase):
    f = fed
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox, twice = f.requests(), 1 + (f.server.phase == phase)
        sent = f.hand({name: frames * twice for name, frames in inbox.items()})
        f.bring(sent * twice)
        f.server.close_phase()
    assert not f.errors
    f.check(f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_10_other_content_is_refused_and_recorded(fed, phase):
    f = fed
    f.server.open_round(1)
    f.until(phase)
    sent = f.hand(f.requests())
    who = "c1" if phase == "encrypted" else HOLDER
    first = next(frame for name, frame in sent if name == who and frame[3] != Kind.CHUNK)
    if phase == "encrypted":
        second = f.forge_client("c1", Kind.ENCRYPTED_HEADER, fields(f.body(first), tag=bytes(32)))
    elif phase == "keys":
        other = f.new_holder()
        other.receive(f.down[-1][1])
        (second,) = other.outbox()
    else:
        second = f.forge_holder(Kind.DECRYPTED, fields(f.body(first), result_hash=bytes(32)))
    lies = [second]
    if phase == "encrypted" or (phase == "decrypt" and f.params.reveal == "server"):
        chunk = next(frame for name, frame in sent if name == who and frame[3] == Kind.CHUNK)
        _, outer = decode_frame(chunk, max_bytes=1 << 20)
        changed = bytes([outer.payload[0] ^ 1]) + bytes(outer.payload[1:])
        lies.append(f.chunk(who, (1, outer.segment, outer.index), changed))
    f.bring(sent)
    for lie in lies:
        with pytest.raises(EquivocationError):
            f.server.receive(lie)
    assert set(f.server.equivocations) == {who}
    f.server.close_phase()
    finish(f)
    f.check(f.ids)


def test_fault_11_replay_from_another_round_is_refused(fed):
    f = fed
    f.round(1)
    old, heard = list(f.up), list(f.down)
    f.server.open_round(2)
    while f.server.phase != "idle":
        for name, frame in old:
            with pytest.raises(PeerError) as error:
                f.server.receive(frame, sender=name)
            assert not isinstance(error.value, EquivocationError)  # nobody lied: a network did
        f.phase()
    assert f.server.equivocations == {}
    f.check(f.ids, 2)
    for name, frame in heard:
        with pytest.raises(PeerError):
            f.party(name).receive(frame)


def test_fault_11_replay_within_the_rounds_of_a_key_is_refused():
    for reveal, threat in MODES:
        f = Encrypted(5, reveal=reveal, threat=threat, rounds_per_setup=3)
        f.round(1)
        f.round(2)
        old = [(name, frame) for name, frame in f.up if name != HOLDER]
        f.server.open_round(3)
        assert f.server.phase == "encrypted"
        for name, frame in old:
            with pytest.raises(PeerError, match="another round"):
                f.server.receive(frame, sender=name)
        finish(f)
        f.check(f.ids, 3)


def test_fault_12_reordered_frames_give_the_same_sum(fed):
    f = fed
    rng = random.Random(3)
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox = f.requests()
        for frames in inbox.values():
            rng.shuffle(frames)  # the holder's request may come after the chunks it speaks of
        sent = f.hand(inbox)
        rng.shuffle(sent)
        f.bring(sent)
        f.server.close_phase()
    assert not f.errors
    f.check(f.ids)


def test_fault_13_late_frames_are_never_added(fed):
    f = fed
    f.server.open_round(1)
    f.until("encrypted")
    sent = f.hand(f.requests())
    f.bring([pair for pair in sent if pair[0] != "c3"])
    f.server.close_phase()
    late = [frame for name, frame in sent if name == "c3"]
    for frame in late:
        with pytest.raises(PeerError, match="not open"):
            f.server.receive(frame)
    finish(f)
    f.check(rest(f, "c3"))
    f.server.open_round(2)
    f.until("encrypted")
    for frame in late:
        with pytest.raises(PeerError):
            f.server.receive(frame)
    finish(f)
    f.check(f.ids, 2)


@pytest.mark.parametrize("name", ["c0", HOLDER])
def test_fault_14_wrong_session_and_version_are_refused(fed, name):
    f = fed
    f.server.open_round(1)
    f.until("keys" if name == HOLDER else "encrypted")
    frame = f.requests()[name][0]
    other = f.new_holder(session=bytes(16)) if name == HOLDER else f.new_client("c0", session=bytes(16))
    with pytest.raises(AuthenticationError, match="session"):
        other.receive(frame)
    with pytest.raises(PeerError, match="version"):
        f.party(name).receive(frame[:2] + b"\x02" + frame[3:])


def test_fault_15_lost_replies_are_resent_byte_for_byte(fed):
    f = fed
    f.server.open_round(1)
    while f.server.phase != "idle":
        inbox = f.requests()
        first = f.hand(inbox)
        assert f.hand(inbox) == first != []
        f.bring(first)
        f.server.close_phase()
    f.check(f.ids)


# -- broken values ----------------------------------------------------------------------------------------------------


def test_fault_18_ciphertexts_and_results_do_not_fit_another_place_or_sender():
    f = Encrypted(5)
    f.server.open_round(1)
    f.until("encrypted")
    sent = f.hand(f.requests())
    chunks = [pair for pair in sent if pair[1][3] == Kind.CHUNK]
    outer = {(name, decode_frame(frame, max_bytes=1 << 20)[1].segment): frame for name, frame in chunks}
    theirs = decode_frame(outer["c1", 1], max_bytes=1 << 20)[1]
    swapped = Chunk(theirs.session, "c0", *(theirs.round_id, 1, 0), theirs.tag, theirs.payload)
    with pytest.raises(AuthenticationError, match="signature"):
        f.server.receive(encode_chunk(swapped))
    f.bring(sent)
    f.server.close_phase()
    answer = f.hand(f.requests())
    frames = [frame for _, frame in answer]
    sealed = uploads([(HOLDER, frame) for frame in frames])[1][HOLDER]
    cut = sealed[1, 0][: len(sealed[0, 0])] if len(sealed[1, 0]) >= len(sealed[0, 0]) else sealed[1, 0]
    assert len(cut) == len(sealed[0, 0])
    with pytest.raises(AuthenticationError):
        f.server.receive(f.chunk(HOLDER, (1, 0, 0), cut))  # signed by the holder, but sealed for another place
    f.bring(answer)
    f.server.close_phase()
    f.check(f.ids)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_fault_19_small_order_x25519_keys_are_refused_by_everybody(key):
    f = Encrypted(5)
    f.server.open_round(1)
    inbox = f.requests()
    ((_, announcement),) = f.hand(inbox)
    bad = f.forge_holder(Kind.KEY_ANNOUNCEMENT, fields(f.body(announcement), channel_key=key))
    with pytest.raises(AuthenticationError, match="low order"):
        f.server.receive(bad)
    f.bring([(HOLDER, announcement)])
    f.server.close_phase()
    sent = f.hand(f.requests())
    header = next(frame for name, frame in sent if name == "c0" and frame[3] == Kind.ENCRYPTED_HEADER)
    with pytest.raises(AuthenticationError, match="low order"):
        f.server.receive(f.forge_client("c0", Kind.ENCRYPTED_HEADER, fields(f.body(header), channel_key=key)))
    f.bring(sent)
    f.server.close_phase()
    inbox = f.requests()
    with pytest.raises(AuthenticationError, match="low order"):
        f.holder.receive(f.forge(Kind.DECRYPT_REQUEST, fields(f.body(inbox[HOLDER][0]), server_key=key)))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids)


def test_fault_20_small_order_and_non_canonical_holder_keys_are_refused():
    client, server = Identity.generate().verify_key, Identity.generate().verify_key
    p = (1 << 255) - 19
    for bad in (b"\x01" + bytes(31), bytes(32), p.to_bytes(32, "little"), (p + 1).to_bytes(32, "little"), b"x"):
        with pytest.raises(ParameterError):
            Roster({"a": client}, server, bad)


def test_fault_21_s_not_below_the_group_order_is_refused():
    f = Encrypted(5)
    f.server.open_round(1)
    f.until("encrypted")
    sent = [pair for pair in f.hand(f.requests()) if pair[0] == "c0"]
    for _, frame in sent:
        with pytest.raises(AuthenticationError):
            f.server.receive(second_form(frame))
    f.bring(sent)


def test_fault_22_the_holders_channel_key_reflected_is_refused_by_server_and_holder():
    f = Encrypted(5)
    f.server.open_round(1)
    f.until("decrypt")
    inbox = f.requests()
    body = f.body(inbox[HOLDER][0])
    key = f.body(f.server._core._state.key.frame).channel_key
    reflected = f.forge_client("c0", Kind.ENCRYPTED_HEADER, fields(f.body(body.headers[0]), channel_key=key))
    with pytest.raises(AuthenticationError, match="reflected"):
        f.holder.receive(f.forge(Kind.DECRYPT_REQUEST, fields(body, headers=[reflected, *body.headers[1:]])))
    with pytest.raises(AuthenticationError, match="reflected"):  # a result sealed to the holder itself
        f.holder.receive(f.forge(Kind.DECRYPT_REQUEST, fields(body, server_key=key)))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids)
