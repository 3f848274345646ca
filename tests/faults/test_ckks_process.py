"""Faults 23, 30 and 48b to 66 of the ckks protocol: nonces, lists, keys that change, disks, forks, wiping, odd frames."""

from __future__ import annotations

import pytest

from secagg import KeyHolder
from secagg.errors import AbortError, DecodeError, InputError, PeerError
from secagg.protocols.ckks.messages import Kind
from secagg.wire import HOLDER, decode_frame
from support.encrypted import MODES, PHASES, Encrypted, tell, uploads
from support.federation import fields
from support.hostile import bodies, foreign, huge, in_child, no_room, peak, refuses, signed

ALL_MODES = pytest.mark.parametrize("reveal, threat", MODES, ids=map("-".join, MODES))


def at(phase, n=5, **changes):
    f = Encrypted(n, **changes)
    f.server.open_round(1)
    f.until(phase)
    return f, f.requests()


def finish(f, inbox, round_id=1):
    """Whatever was refused, the round ends with the exact sum."""
    f.errors.clear()
    f.bring(f.hand(inbox))
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    assert not f.errors
    f.check(f.ids, round_id)


def asked(f, phase, inbox):
    """Who is asked in a phase, with the frame and the key of whoever answers it."""
    name = "c0" if phase == "encrypted" else HOLDER
    return f.party(name), inbox[name][0], name, f.keys.get(name, f.holder_key)


# -- broken values, lists ---------------------------------------------------------------------------------------------


def test_fault_23_nonces_never_repeat():
    """Of sealed results and salts, over rounds, retries and keys; each place of a round is sealed once."""
    f, nonces = Encrypted(3, rounds_per_setup=2), set()
    for round_id in range(1, 6):
        f.server.open_round(round_id)
        f.until("decrypt")
        inbox = f.requests()
        sent = f.hand(inbox)
        assert f.hand(inbox) == sent  # a retry seals nothing again
        boxes = list(uploads([pair for pair in sent if pair[0] == HOLDER])[1][HOLDER].values())
        (told,) = (f.body(frame) for _, frame in sent if frame[3] == Kind.DECRYPTED)
        boxes.append(told.sealed_salt)
        assert not nonces.intersection(box[:12] for box in boxes)
        nonces.update(box[:12] for box in boxes)
        f.bring(sent)
        f.server.close_phase()
    assert len(nonces) == 5 * 3


@ALL_MODES
def test_fault_30_strangers_repeats_and_disorder_in_lists_are_refused(reveal, threat):
    """In the participants a client is told, and in participants and survivors that the holder is."""
    f, inbox = at("encrypted", reveal=reveal, threat=threat)
    body = f.body(inbox["c0"][0])
    lists = ([0, 1, 2, 3, 9], [0, 0, 1, 2, 3], [4, 3, 2, 1, 0], [0, 1, 2, 3, 1 << 40], [1, 2, 3, 4], [0, 1, 2, 3, 4, 4])
    for participants in lists:
        refuses(f.clients["c0"], f.forge(Kind.ENCRYPTED_REQUEST, fields(body, participants=participants)))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    inbox = f.requests()
    body = f.body(inbox[HOLDER][0])
    stranger = Encrypted(5, reveal=reveal, threat=threat)
    foreign_header = stranger.forge_client(
        "c4", Kind.ENCRYPTED_HEADER, f.body(body.headers[4]), session=f.server.session
    )
    for headers in (
        [*body.headers, body.headers[-1]],
        [body.headers[0], *body.headers],
        body.headers[::-1],
        [*body.headers[:4], foreign_header],
    ):
        refuses(f.holder, f.forge(Kind.DECRYPT_REQUEST, fields(body, headers=headers)))
    for participants in lists[:4]:
        refuses(f.holder, f.forge(Kind.DECRYPT_REQUEST, fields(body, participants=participants)))
    finish(f, inbox)


# -- rounds -----------------------------------------------------------------------------------------------------------

SAMPLED = {"n": 7, "max_participants": 5, "min_clients": 4, "rounds_per_setup": 3}


def sampled(**changes):
    settings = {**SAMPLED, **changes}
    return Encrypted(settings.pop("n"), **settings)


@ALL_MODES
def test_fault_48b_what_the_unsampled_send_is_in_no_sum(reveal, threat):
    """It was not asked: the server takes no upload of it, and the holder no header."""
    f = sampled(reveal=reveal, threat=threat)
    f.round(1, participants=f.ids[2:])
    f.server.open_round(2, participants=f.ids[:5])
    inbox = f.requests()
    assert not inbox["c6"]
    eager = f.body(inbox["c0"][0])
    refuses(f.clients["c6"], inbox["c0"][0])  # even if it hears of the round
    f.clients["c6"].receive(f.forge(Kind.ENCRYPTED_REQUEST, fields(eager, participants=[0, 1, 2, 3, 6])))
    f.clients["c6"].submit(f.updates["c6"])
    unasked = f.clients["c6"].outbox()
    for frame in unasked:
        with pytest.raises(PeerError):
            f.server.receive(frame)
    f.bring(f.hand(inbox))
    f.server.close_phase()
    inbox = f.requests()
    body = f.body(inbox[HOLDER][0])
    refuses(f.holder, f.forge(Kind.DECRYPT_REQUEST, fields(body, headers=[*body.headers[:4], unasked[-1]])))
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.check(f.ids[:5], 2)


@ALL_MODES
def test_fault_48c_out_of_several_rounds_and_over_a_new_key(reveal, threat):
    """Silent, and without its state: it returns under the same key when it is shown it, and under the next one."""
    f = sampled(reveal=reveal, threat=threat)
    f.round(1, participants=f.ids[:5])
    f.round(2, silent={"encrypted": {"c1"}}, participants=f.ids[:5])
    f.check([name for name in f.ids[:5] if name != "c1"], 2)
    f.clients["c1"] = f.new_client("c1")
    f.round(3, participants=f.ids[:5])
    f.check(f.ids[:5], 3)
    f.clients["c1"] = f.new_client("c1")
    f.round(4, participants=f.ids[:5])  # a new key
    f.check(f.ids[:5], 4)
    assert not f.errors


@ALL_MODES
def test_fault_48d_other_participants_need_no_new_key_and_a_used_up_one_does(reveal, threat):
    """The holder's key is for the whole roster: samples may change from round to round; a cohort of its own there is none."""
    f = sampled(reveal=reveal, threat=threat)
    hashes = []
    for round_id in range(1, 5):
        crew = [name for i, name in enumerate(f.ids) if (i + round_id) % 7 < 5]
        f.round(round_id, participants=crew)
        f.check(crew, round_id)
        hashes.append(f.key_hash)
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    with pytest.raises(InputError, match="no cohort"):
        f.server.open_round(5, cohort=f.ids[:5])
    assert f.server.phase == "idle"
    f.round(5, participants=f.ids[:5])
    f.check(f.ids[:5], 5)


# -- process ----------------------------------------------------------------------------------------------------------


def test_fault_52_with_a_full_disk_client_and_holder_let_nothing_leave(memory):
    f = Encrypted(3, ledgers=memory)
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    client, ledger = f.clients["c0"], memory / "c0.ledger"
    client.receive(inbox["c0"][0])
    before = ledger.read_bytes()
    with no_room(), pytest.raises(AbortError, match="nothing may leave"):
        client.submit(f.updates["c0"])
    assert client.outbox() == []
    assert ledger.read_bytes() == before
    f.bring(f.hand(inbox))  # with room again
    f.server.close_phase()
    inbox, before = f.requests(), (memory / "holder.ledger").read_bytes()
    with no_room():
        assert isinstance(tell(f.holder, inbox[HOLDER]), AbortError)
    assert f.holder.outbox() == []
    assert (memory / "holder.ledger").read_bytes() == before
    f.server.abort()
    f.round(2)
    f.check(f.ids, 2)


def drawn(what, f, request):
    """Something that a party draws when it is asked."""
    if what == "holder":
        holder = KeyHolder(f.params, identity=f.holder_key, roster=f.roster)
        holder.receive(request)
        body = f.body(holder.outbox()[0])
        return body.channel_key + body.public_key[-32:]
    if what == "server":
        f.server.close_phase()
        return f.body(f.server.outbox()[0][1]).server_key
    f.clients["c0"].receive(request)
    f.clients["c0"].submit(f.updates["c0"])
    frames = f.clients["c0"].outbox()
    chunk = decode_frame(frames[0], max_bytes=1 << 30)[1]
    return f.body(frames[-1]).channel_key + bytes(chunk.payload[:64])


@pytest.mark.parametrize("what", ["holder", "client", "server"])
def test_fault_55_parent_and_forked_children_draw_different_things(what):
    f, inbox = at("keys" if what == "holder" else "encrypted", 3)
    request = inbox[HOLDER][0] if what == "holder" else inbox["c0"][0]
    if what == "server":
        f.bring(f.hand(inbox))
    made = [in_child(lambda: drawn(what, f, request)) for _ in range(3)] + [drawn(what, f, request)]
    pieces = [each[i : i + 32] for each in made for i in range(0, len(each), 32)]
    assert len(set(pieces)) == len(pieces) >= 4


def test_fault_60_secrets_are_gone_when_they_have_served():
    """A client's randomness with its round; the holder's key with the next one, and so the recorded uploads of its rounds."""
    f = Encrypted(3, rounds_per_setup=1)
    f.server.open_round(1)
    f.until("decrypt")
    seeds = {name: f.clients[name]._core._state.round.seed for name in f.ids}
    key = f.holder._core._state.key
    secrets = [key.seed, key.channel.private_bytes(), key.secret.seed_bytes()]
    assert key.seed in f.holder._core.freeze()
    assert all(seeds[name] in f.clients[name]._core.freeze() for name in f.ids)
    f.phase()
    f.check(f.ids)
    f.round(2)
    f.check(f.ids, 2)
    assert not [secret for secret in secrets if secret in f.holder._core.freeze()]
    assert not [name for name in f.ids if seeds[name] in f.clients[name]._core.freeze()]


# -- wire -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_fault_62_what_is_too_long_or_claims_to_be_is_refused_unread(phase):
    f, inbox = at(phase, 3)
    party, request, name, _ = asked(f, phase, inbox)
    limit = f.params.max_frame_bytes
    sent = f.hand(inbox)
    reply = [frame for who, frame in sent if who == name][-1]
    for who, frame in ((party, request), (f.server, reply)):
        for odd in huge(frame, limit):
            assert peak(lambda odd=odd, who=who: refuses(who, odd, error=DecodeError)) < 4 * limit
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_64_nested_unknown_and_trailing_fields_of_authenticated_senders_are_refused(phase):
    f, inbox = at(phase, 3)
    party, request, name, key = asked(f, phase, inbox)
    for payload in bodies(request):
        refuses(party, signed(request, payload, f.server.session, f.server_key))
    sent = f.hand(inbox)
    reply = next(frame for who, frame in reversed(sent) if who == name and frame[3] != Kind.CHUNK)
    for payload in bodies(reply):
        refuses(f.server, signed(reply, payload, f.server.session, key))
    for odd in (reply + b"\x00", reply[:-1], reply[:4] + b"\x91" * 5000):
        refuses(f.server, odd, error=DecodeError)
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_66_pickle_and_npy_are_no_frames_bodies_or_ciphertexts_and_never_run(tmp_path, phase):
    f, inbox = at(phase, 3)
    trap = tmp_path / "it ran"
    party, request, name, _ = asked(f, phase, inbox)
    sent = f.hand(inbox) if phase != "decrypt" else []
    for blob in foreign(str(trap)):
        for who in (party, f.server):
            refuses(who, blob, error=DecodeError)
            refuses(who, request[:4] + blob, error=DecodeError)
        refuses(party, signed(request, blob, f.server.session, f.server_key))
        if phase == "encrypted":
            with pytest.raises(PeerError):
                f.server.receive(f.chunk(name, (1, 1, 0), blob))
        with pytest.raises(InputError):
            f.restore_holder(blob)
    assert not trap.exists()
    if phase == "decrypt":
        sent = f.hand(inbox)
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)
