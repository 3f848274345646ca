"""Faults 50 to 66 through the facades of the pairwise protocol: files, full disks, forks, wiping, odd frames."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from secagg import Client, Identity, Server
from secagg.errors import AbortError, DecodeError, InputError, PeerError
from secagg.hazmat import prg
from support.federation import PHASES, Federation
from support.hostile import bodies, foreign, huge, in_child, no_room, peak, refuses, signed

SETTINGS = {"corrupt": 1, "threshold": 4, "min_clients": 4}


def at(phase, **changes):
    f = Federation(5, **SETTINGS, **changes)
    f.server.open_round(1)
    f.until(phase)
    return f, f.requests()


def finish(f, inbox, silent=()):
    """Whatever was refused, the round ends with the exact sum."""
    f.errors.clear()
    f.bring(f.hand(inbox, silent))
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase(silent)
    assert not f.errors
    f.check([name for name in f.ids if name not in silent])


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_fault_50_torn_changed_and_foreign_client_states_are_refused(phase):
    """In any phase: a snapshot that is cut, has one bit flipped, or is another client's; the true one goes on from there."""
    f, inbox = at(phase)
    snapshot = f.clients["c0"].snapshot()
    step = max(1, len(snapshot) // 60)
    for where in range(0, len(snapshot), step):
        flipped = bytes([*snapshot[:where], snapshot[where] ^ 1, *snapshot[where + 1 :]])
        for bad in (snapshot[:where], flipped, snapshot + b"\x00"):
            with pytest.raises(InputError):
                f.restore("c0", bad)
    others = f.clients["c1"].snapshot()
    for bad in (others, b"", bytes(200), b"SQLite format 3\x00" + bytes(500), None, "text"):
        with pytest.raises(InputError):
            f.restore("c0", bad)
    f.clients["c0"] = f.restore("c0", snapshot)
    finish(f, inbox)


@pytest.mark.parametrize("damage", ["torn", "a page lost", "another client's", "another format", "rows gone"])
def test_fault_50_no_client_begins_with_a_damaged_ledger(tmp_path, damage):
    f = Federation(5, ledgers=tmp_path, **SETTINGS)
    f.round(1)
    snapshot = f.clients["c0"].snapshot()
    for client in f.clients.values():
        client.close()
    path = tmp_path / "c0.ledger"
    good = path.read_bytes()
    path.write_bytes(
        {
            "torn": good[: len(good) // 2],
            "a page lost": good[:8192] + bytes(4096) + good[12288:],
            "another client's": (tmp_path / "c1.ledger").read_bytes(),
            "another format": b"\x80\x04pickle" * 50,
            "rows gone": good,
        }[damage]
    )
    if damage == "rows gone":
        import sqlite3

        db = sqlite3.connect(path)
        db.execute("DELETE FROM frames WHERE phase = 'unmask'")
        db.commit()
        db.close()
    with pytest.raises(InputError):
        f.restore("c0", snapshot)
    with pytest.raises(InputError):
        f.new_client("c0")
    path.write_bytes(good)
    f.clients = {name: f.new_client(name) for name in f.ids[1:]}
    f.clients["c0"] = f.restore("c0", snapshot)
    f.round(2)
    f.check(f.ids, 2)


@pytest.mark.parametrize("phase", ["shares", "masked", "unmask"])
def test_fault_52_with_a_full_disk_nothing_leaves_and_nothing_is_lost(tmp_path, phase):
    """Every frame that has to be on the disk before it leaves; with room again the same request gets its answer."""
    f, inbox = at(phase, ledgers=tmp_path)
    client, ledger = f.clients["c0"], tmp_path / "c0.ledger"
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


def test_fault_52_a_stream_stops_before_its_first_frame(tmp_path):
    f, inbox = at("masked", ledgers=tmp_path)
    client = f.clients["c0"]
    client.receive(inbox["c0"][0])
    with no_room(), pytest.raises(AbortError, match="nothing may leave"):
        next(iter(client.stream(f.updates["c0"])))
    finish(f, inbox)


# -- forks ------------------------------------------------------------------------------------------------------------


def drawn(what, f):
    """Something that a party draws when it is asked."""
    if what == "identity":
        return Identity.generate().to_bytes()
    if what == "session":
        return Server(f.params, identity=f.server_key, roster=f.roster).session
    if what == "server":
        f.server.open_round(1)
        return f.body(f.server.outbox()[0][1]).server_key
    f.clients["c0"].receive(f.request)
    body = f.body(f.clients["c0"].outbox()[0])
    return body.channel_key + body.mask_keys


@pytest.mark.parametrize("what", ["identity", "session", "server", "client"])
def test_fault_55_parent_and_forked_children_draw_different_things(what):
    f = Federation(5, rounds_per_setup=3, **SETTINGS)
    if what == "client":
        f.server.open_round(1)
        f.request = f.requests()["c0"][0]
    made = [in_child(lambda: drawn(what, f)) for _ in range(3)] + [drawn(what, f)]
    pieces = [each[i : i + 16] for each in made for i in range(0, len(each), 16)]
    assert len(set(pieces)) == len(pieces) >= 4


def test_fault_55_what_is_seeded_in_the_process_is_copied():
    """What the tests above would find: a generator that lives in the process is the same one on both sides."""
    generator = np.random.default_rng()
    made = [in_child(lambda: generator.bytes(16)) for _ in range(3)] + [generator.bytes(16)]
    assert len(set(made)) == 1


def test_fault_55_a_copy_of_a_client_is_a_copy_and_its_ledger_says_so(tmp_path):
    """Keys that were drawn before the fork are the same on both sides: two copies of one client, of which one may speak."""
    f, inbox = at("masked", ledgers=tmp_path)
    client = f.clients["c0"]

    def child():
        client.receive(inbox["c0"][0])
        try:
            client.submit(f.updates["c1"])
        except AbortError as error:
            return str(error).encode()
        return b"it spoke"

    assert b"after a fork" in in_child(child)
    finish(f, inbox)


# -- wiping -----------------------------------------------------------------------------------------------------------


def held(f, name):
    """Every secret of the round in progress that a client has."""
    batch = f.clients[name]._core._state.batch
    shares = [share for holding in (batch.own, *batch.holdings.values()) for share in holding.shares[:2]]
    return [batch.seeds[0], batch.mask_pairs[0].private_bytes(), *shares]


def test_fault_60_a_rounds_secrets_are_gone_when_it_is_answered():
    """From the state, and so from every later snapshot: whoever takes them has nothing of it."""
    f, inbox = at("unmask", rounds_per_setup=2)
    before = {name: held(f, name) for name in f.ids}
    for name in f.ids:
        assert all(secret in f.clients[name]._core.freeze() for secret in before[name])
    finish(f, inbox)
    for name in f.ids:
        frozen = f.clients[name]._core.freeze()
        assert not [secret for secret in before[name] if any(secret) and secret in frozen]
        assert f.clients[name]._core._state.batch.seeds[1] is not None  # the next round's are there


def test_fault_60_what_only_the_setup_needed_is_gone_with_it():
    f, inbox = at("shares")
    f.bring(f.hand(inbox))
    channels = {name: f.clients[name]._core._state.batch.channel.private_bytes() for name in f.ids}
    agreed = {name: list(f.clients[name]._core._state.batch.pairwise.values()) for name in f.ids}
    f.server.close_phase()
    f.phase()
    for name in f.ids:
        frozen = f.clients[name]._core.freeze()
        assert channels[name] not in frozen and not any(secret in frozen for secret in agreed[name])
    f.phase()
    f.check(f.ids)


def test_fault_60_joined_mask_seeds_are_wiped_after_use():
    with prg.Masks([b"k" * 16, b"l" * 16], [1, -1]) as masks:
        joined = masks.keys
        assert joined.tobytes() == b"k" * 16 + b"l" * 16
    assert not joined.any()


# -- wire -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_fault_62_what_is_too_long_or_claims_to_be_is_refused_unread(phase):
    f, inbox = at(phase)
    sent = f.hand(inbox)
    limit = f.params.max_frame_bytes
    for party, frame in ((f.clients["c0"], inbox["c0"][0]), (f.server, sent[0][1])):
        for odd in huge(frame, limit):
            assert peak(lambda odd=odd, party=party: refuses(party, odd, error=DecodeError)) < 4 * limit
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_64_nested_unknown_and_trailing_fields_of_authenticated_senders_are_refused(phase):
    f, inbox = at(phase)
    request, session = inbox["c0"][0], f.server.session
    for payload in bodies(request):
        refuses(f.clients["c0"], signed(request, payload, session, f.server_key))
    sent = f.hand(inbox)
    frame = [frame for name, frame in sent if name == "c1"][-1]
    for payload in bodies(frame):
        refuses(f.server, signed(frame, payload, session, f.keys["c1"]))
    for odd in (frame + b"\x00", frame[:-1], frame[:4] + msgspec.msgpack.encode([1]), frame[:4] + b"\x91" * 5000):
        refuses(f.server, odd, error=DecodeError)
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


@pytest.mark.parametrize("phase", PHASES)
def test_fault_66_pickle_and_npy_are_no_frames_and_no_bodies_and_never_run(tmp_path, phase):
    f, inbox = at(phase)
    trap = tmp_path / "it ran"
    request = inbox["c0"][0]
    for blob in foreign(str(trap)):
        refuses(f.clients["c0"], blob, error=DecodeError)
        refuses(f.clients["c0"], request[:4] + blob, error=DecodeError)
        refuses(f.clients["c0"], signed(request, blob, f.server.session, f.server_key))
        refuses(f.server, blob, error=DecodeError)
        with pytest.raises(InputError):
            Client.restore(blob, identity=f.keys["c0"], roster=f.roster)
    sent = f.hand(inbox)
    for blob in foreign(str(trap)):
        refuses(f.server, signed(sent[-1][1], blob, f.server.session, f.keys[sent[-1][0]]))
    assert not trap.exists()
    f.bring(sent)
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    f.check(f.ids)


def test_fault_66_the_trap_works():
    """What would have run: a directory where there was none."""
    import pickle
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as home:
        pickles = [blob for blob in foreign(f"{home}/it ran") if blob[:1] not in b"\x93P"]
        for blob in pickles:
            pickle.loads(blob)
            Path(f"{home}/it ran").rmdir()
        assert len(pickles) == pickle.HIGHEST_PROTOCOL + 1


def test_a_refusal_of_an_authenticated_sender_names_it():
    f, inbox = at("keys")
    sent = f.hand(inbox)
    with pytest.raises(PeerError) as error:
        f.server.receive(signed(sent[1][1], b"\xc0", f.server.session, f.keys["c1"]))
    assert error.value.peer == "c1"
