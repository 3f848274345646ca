"""Faults 50 to 66 through the facades of the oneshot protocol: files, full disks, forks, wiping, odd frames."""

from __future__ import annotations

import copy
import logging
import pickle
import sqlite3
import threading
import traceback

import numpy as np
import pytest

from secagg import Client, Member
from secagg.errors import AbortError, AuthenticationError, DecodeError, InputError, PeerError, ThresholdError
from secagg.hazmat import hintrlwe, packed
from secagg.wire import decode_frame
from support.committee import SESSION, Committee
from support.hostile import bodies, foreign, huge, in_child, no_room, peak, refuses, signed

PHASES = ("keys", "masked", "reveal")


def at(phase, n=5, **changes):
    f = Committee(n, **changes)
    f.until(phase)
    return f, f.requests()


def finish(f, inbox):
    """Whatever was refused, the round ends with the exact sum."""
    f.errors.clear()
    f.bring(f.hand(inbox))
    f.server.close_phase()
    result = f.finish(1)
    assert not f.errors
    f.exact(result, f.ids)


def member(f, name, path=None):
    return Member(f.params, me=name, identity=f.keys[name], roster=f.roster, session=SESSION, ledger=path)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_fault_50_torn_changed_and_foreign_states_are_refused(phase):
    """In any phase: a snapshot that is cut, has one bit flipped, or is another's; the true one goes on from there."""
    f, inbox = at(phase)
    snapshot = f.clients["c0"].snapshot()
    for where in range(0, len(snapshot), max(1, len(snapshot) // 60)):
        flipped = bytes([*snapshot[:where], snapshot[where] ^ 1, *snapshot[where + 1 :]])
        for bad in (snapshot[:where], flipped, snapshot + b"\x00"):
            with pytest.raises(InputError):
                f.restore("c0", bad)
    others = [f.clients["c1"].snapshot(), member(f, "c0").snapshot()]
    for bad in (*others, b"", bytes(200), b"SQLite format 3\x00" + bytes(500), None, "text"):
        with pytest.raises(InputError):
            f.restore("c0", bad)
    f.clients["c0"] = f.restore("c0", snapshot)
    finish(f, inbox)


def test_fault_50_a_members_states_are_no_clients_and_the_other_way_round():
    f, inbox = at("reveal")
    given = {"identity": f.keys["c0"], "roster": f.roster}
    theirs = f.clients["c0"].snapshot()
    for blob in (theirs, theirs[:-1], f.clients["c1"].snapshot(), b"", b"\x80\x04pickle", None):
        with pytest.raises(InputError):
            Member.restore(blob, **given)
    mine = member(f, "c0").snapshot()
    for where in range(0, len(mine), 7):
        with pytest.raises(InputError):
            Member.restore(bytes([*mine[:where], mine[where] ^ 1, *mine[where + 1 :]]), **given)
    assert Member.restore(mine, **given).me == "c0"
    finish(f, inbox)


@pytest.mark.parametrize("damage", ["torn", "a page lost", "another's", "another format", "rows gone"])
def test_fault_50_nobody_begins_with_a_damaged_ledger(tmp_path, damage):
    """In a oneshot session the answers of the member in it are what is lost."""
    f = Committee(5, ledgers=tmp_path)
    f.exact(f.round(1), f.ids)
    snapshot = f.clients["c0"].snapshot()
    for client in f.clients.values():
        client.close()
    path = tmp_path / "c0.ledger"
    good = path.read_bytes()
    path.write_bytes(
        {
            "torn": good[: len(good) // 2],
            "a page lost": good[:8192] + bytes(4096) + good[12288:],
            "another's": (tmp_path / "c1.ledger").read_bytes(),
            "another format": b"\x80\x04pickle" * 50,
            "rows gone": good,
        }[damage]
    )
    if damage == "rows gone":
        db = sqlite3.connect(path)
        assert db.execute("DELETE FROM frames WHERE phase = 'reveal'").rowcount
        db.commit()
        db.close()
    with pytest.raises(InputError):
        f.restore("c0", snapshot)
    with pytest.raises(InputError):
        f.new_client("c0")
    with pytest.raises(InputError):
        member(f, "c0", path)
    path.write_bytes(good)
    f.clients = {name: f.new_client(name) for name in f.ids[1:]}
    f.clients["c0"] = f.restore("c0", snapshot)
    with pytest.raises(ThresholdError, match="survivors"):  # nobody else has the committee's keys any more
        f.round(2)
    with pytest.raises(ThresholdError, match="committee"):  # nor its own
        f.round(3)
    f.exact(f.round(4), f.ids)


@pytest.mark.parametrize("phase", ["masked", "reveal"])
def test_fault_52_with_a_full_disk_nothing_leaves_and_nothing_is_lost(memory, phase):
    """An update, or an answer, has to be on the disk before it leaves; with room again the same request gets its answer."""
    f, inbox = at(phase, ledgers=memory)
    client, ledger = f.clients["c0"], memory / "c0.ledger"
    before = ledger.read_bytes()
    with no_room(), pytest.raises(AbortError, match="nothing may leave"):
        client.receive(inbox["c0"][0])
        client.submit(f.updates["c0"])
    assert client.outbox() == []
    assert ledger.read_bytes() == before
    snapshot = client.snapshot()
    client.close()
    f.clients["c0"] = f.restore("c0", snapshot)
    finish(f, inbox)


def test_fault_52_a_stream_stops_before_its_first_frame(memory):
    f, inbox = at("masked", ledgers=memory)
    client = f.clients["c0"]
    client.receive(inbox["c0"][0])
    with no_room(), pytest.raises(AbortError, match="nothing may leave"):
        next(iter(client.stream(f.updates["c0"])))
    finish(f, inbox)


def test_fault_54_a_member_asked_by_many_threads_for_two_sets_answers_for_one():
    f = Committee(6, min_clients=4)
    f.server.open_round(1)
    alone, inbox = member(f, "c0"), f.requests()
    (request,) = inbox.pop("c0")
    alone.receive(request)
    f.bring([("c0", frame) for frame in alone.outbox()] + f.hand(inbox))
    f.server.close_phase()
    inbox = f.requests()
    refuses(alone, inbox.pop("c0")[0])  # an update is not its business
    f.bring(f.hand(inbox))
    f.server.close_phase()
    inbox = f.requests()
    (request,) = inbox.pop("c0")
    fewer, told = f.fewer(request, 4), []

    def ask(frame):
        try:
            alone.receive(frame)
        except PeerError as error:
            told.append(error)

    pool = [threading.Thread(target=ask, args=(frame,)) for frame in [request, fewer] * 8]
    for each in pool:
        each.start()
    for each in pool:
        each.join()
    answers = alone.outbox()
    assert len(answers) == len(told) == 8
    assert len(set(answers)) == 1
    f.bring(f.hand(inbox))
    if f.body(answers[0]).account == f.server._core._state.round.account:
        f.bring([("c0", answers[0])])
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids[1:])


# -- forks ------------------------------------------------------------------------------------------------------------


def drawn(what, f, request):
    """Something that a party draws when it is asked."""
    if what == "server":
        f.server.open_round(2)
        return f.body(f.server.outbox()[0][1]).server_key
    f.clients["c0"].receive(request)
    if what == "key":
        return f.body(f.clients["c0"].outbox()[0]).channel_key
    if what == "answer":
        return f.body(f.clients["c0"].outbox()[0]).sealed[:16]
    f.clients["c0"].submit(f.updates["c0"])
    frames = f.clients["c0"].outbox()
    chunk = decode_frame(frames[0], max_bytes=1 << 30)[1]
    return f.body(frames[-1]).channel_key + bytes(chunk.payload[:32])


@pytest.mark.parametrize("what, phase", [("server", None), ("key", "keys"), ("update", "masked"), ("answer", "reveal")])
def test_fault_55_parent_and_forked_children_draw_different_things(what, phase):
    f, request = Committee(5), None
    if phase is not None:
        f.until(phase)
        request = f.requests()["c0"][0]
    made = [in_child(lambda: drawn(what, f, request)) for _ in range(3)] + [drawn(what, f, request)]
    pieces = [each[i : i + 16] for each in made for i in range(0, len(each), 16)]
    assert len(set(pieces)) == len(pieces) >= 4


def test_fault_55_a_copy_of_a_member_is_a_copy_and_its_ledger_says_so(tmp_path):
    """Its key is the same on both sides: two copies of one member, of which one may answer."""
    f, inbox = at("reveal", ledgers=tmp_path)

    def child():
        try:
            f.clients["c0"].receive(inbox["c0"][0])
        except AbortError as error:
            return str(error).encode()
        return b"it spoke"

    assert b"after a fork" in in_child(child)
    finish(f, inbox)


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_fault_58_secrets_are_in_no_error_log_or_traceback(caplog):
    caplog.set_level(logging.DEBUG)
    f, inbox = at("reveal")
    (request,) = inbox["c0"]
    broken = f.body(request)
    broken = f.forged(request, sealed=bytes([broken.sealed[0] ^ 1]) + broken.sealed[1:])
    with pytest.raises(AuthenticationError) as error:
        f.clients["c0"].receive(broken)
    secrets = [client._core._state.round.seed for client in f.clients.values()]
    secrets += [client._core._member._batch.private for client in f.clients.values()]
    secrets.append(f.server._core._state.batch.pair.private_bytes())
    assert len(set(secrets)) == 11 and all(secrets)
    shown = "".join(traceback.format_exception(error.value)) + caplog.text + repr(error.value) + str(error.value.args)
    for secret in secrets:
        assert secret.hex() not in shown and repr(secret)[2:-1] not in shown
    finish(f, inbox)


def test_fault_58_and_59_states_show_nothing_and_are_never_pickled_or_copied():
    f, inbox = at("reveal")
    alone = member(f, "c0")
    f.hand(inbox)
    f.server._core._state.round.answers[0] = np.arange(3, dtype=np.uint64)
    core, state = f.clients["c0"]._core, f.clients["c0"]._core._state
    inner = (
        core, state, state.round, core._member, core._member._batch, alone._core, f.server._core, f.server._core._state,
        f.server._core._state.batch, f.server._core._state.round, f.server._core.bulk, f.server._core.bulk._spool,
    )  # fmt: skip
    secrets = [state.round.seed, core._member._batch.private, f.server._core._state.batch.pair.private_bytes()]
    for thing in (f.server, f.clients["c0"], alone, *inner):
        assert len(repr(thing)) < 120
        assert all(secret.hex() not in repr(thing) and repr(secret)[2:-1] not in repr(thing) for secret in secrets)
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="secret"):
                act(thing)


def test_fault_60_secrets_are_gone_when_they_have_served():
    """A client's randomness with its round; a member's key with the batch, and the server's with the next one."""
    f = Committee(5, rounds_per_setup=2)
    f.until("reveal")
    seeds = {name: f.clients[name]._core._state.round.seed for name in f.ids}
    keys = {name: f.clients[name]._core._member._batch.private for name in f.ids}
    assert all(seeds[name] in f.clients[name]._core.freeze() for name in f.ids)
    f.exact(f.finish(1), f.ids)
    assert f.server._core._state.round is None  # answers, and the shares in them
    f.exact(f.round(2), f.ids)
    for name in f.ids:
        frozen = f.clients[name]._core.freeze()
        assert seeds[name] not in frozen
        assert keys[name] not in frozen  # the last round of the batch was answered
    server = f.server._core._state.batch.pair.private_bytes()
    f.exact(f.round(3), f.ids)
    assert f.server._core._state.batch.pair.private_bytes() != server


def test_fault_60_arrays_of_secrets_are_wiped_after_use(monkeypatch):
    """The secret of an upload, what it is packed into, and the shares, when they are sealed."""
    kept = []

    def keep(module, name):
        honest = getattr(module, name)

        def made(*args, **kwargs):
            array = honest(*args, **kwargs)
            kept.append(array)
            assert array.any()
            return array

        monkeypatch.setattr(module, name, made)

    keep(packed, "pack_digits")
    keep(packed, "split")
    keep(hintrlwe.MaskSecret, "coefficients")
    f = Committee(5)
    f.exact(f.round(1), f.ids)
    assert len(kept) == 4 * 5 + 2 * 5  # the secret: for each of two segments, to share it, and what it was made from
    assert not any(array.any() for array in kept)


# -- wire -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_fault_62_what_is_too_long_or_claims_to_be_is_refused_unread(phase):
    f, inbox = at(phase, frame_bytes=1 << 16)
    sent, limit = f.hand(inbox), f.params.max_frame_bytes
    for party, frame in ((f.clients["c0"], inbox["c0"][0]), (f.server, sent[-1][1])):
        for odd in huge(frame, limit):
            assert peak(lambda odd=odd, party=party: refuses(party, odd, error=DecodeError)) < 4 * limit
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_64_nested_unknown_and_trailing_fields_of_authenticated_senders_are_refused(phase):
    f, inbox = at(phase, frame_bytes=1 << 16)
    (request,), session = inbox["c0"], f.server.session
    for payload in bodies(request):
        refuses(f.clients["c0"], signed(request, payload, session, f.server_key))
    inner = f.body(request)
    for name, signer in (("keys", "c0"), ("headers", "c0")):
        for payload in bodies(getattr(inner, name)[0]) if getattr(inner, name, None) else ():
            odd = [signed(getattr(inner, name)[0], payload, session, f.keys[signer]), *getattr(inner, name)[1:]]
            refuses(f.clients["c0"], f.forged(request, **{name: odd}))
    sent = f.hand(inbox)
    frame = [frame for name, frame in sent if name == "c1"][-1]
    for payload in bodies(frame):
        refuses(f.server, signed(frame, payload, session, f.keys["c1"]))
    for odd in (frame + b"\x00", frame[:-1], frame[:4] + b"\x91" * 5000):
        refuses(f.server, odd, error=DecodeError)
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_66_pickle_and_npy_are_no_frames_bodies_or_states_and_never_run(tmp_path, phase):
    f, inbox = at(phase, frame_bytes=1 << 16)
    trap, (request,) = tmp_path / "it ran", inbox["c0"]
    given = {"identity": f.keys["c0"], "roster": f.roster}
    alone = member(f, "c0")
    for blob in foreign(str(trap)):
        for party in (f.clients["c0"], alone, f.server):
            refuses(party, blob, error=DecodeError)
            refuses(party, request[:4] + blob)
        for party in (f.clients["c0"], alone):
            refuses(party, signed(request, blob, f.server.session, f.server_key))
        for kind in (Client, Member):
            with pytest.raises(InputError):
                kind.restore(blob, **given)
    sent = f.hand(inbox)
    for blob in foreign(str(trap)):
        refuses(f.server, signed(sent[-1][1], blob, f.server.session, f.keys[sent[-1][0]]))
    assert not trap.exists()
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)
