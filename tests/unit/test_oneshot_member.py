"""The committee member: what it refuses of requests, and its facade with snapshots and a ledger."""

from __future__ import annotations

import copy
import pickle

import msgspec
import pytest

from secagg import Identity, KeyHolder, Member, Params, Roster, Server
from secagg.errors import (
    AbortError,
    AuthenticationError,
    DecodeError,
    EquivocationError,
    InputError,
    ParameterError,
    PeerError,
    StateError,
)
from secagg.protocols.oneshot import merkle
from secagg.protocols.oneshot.messages import Kind
from secagg.store import Ledger, seal_snapshot
from secagg.wire import SERVER, seal_envelope
from support.committee import FOUR, SESSION, Committee, at, finish, five, refused

NINE = bytes(31) + b"\x09"


def alone(f, name="c0", **own):
    return Member(f.params, me=name, identity=f.keys[name], roster=f.roster, **{"session": SESSION, **own})


def reveal(f, inbox, name="c0"):
    """What a member is asked in the last phase, and the parts of it."""
    (frame,) = inbox[name]
    body = f.body(frame)
    size = len(body.sealed) // len(body.headers)
    return frame, body, size


# -- requests ---------------------------------------------------------------------------------------------------------


def test_what_a_member_refuses_of_a_keys_request():
    f, inbox = at("keys")
    (request,) = inbox["c0"]
    for change, words, error in (
        ({"params_hash": bytes(32)}, "other Params", AuthenticationError),
        ({"rounds": 4}, "other Params", AuthenticationError),
        ({"roster_hash": bytes(32)}, "another roster", AuthenticationError),
        ({"first_round": -1}, "does not increase", PeerError),
        ({"first_round": (1 << 63) - 2}, "does not increase", PeerError),
        ({"server_key": bytes(32)}, "", AuthenticationError),
        ({"server_key": b"\xff" * 32}, "", AuthenticationError),
        ({"server_key": b"short"}, "", PeerError),
    ):
        refused(f.clients["c0"], f.forged(request, **change), words, error)
    finish(f, inbox)


def test_a_second_keys_request_for_the_same_or_earlier_rounds_is_refused():
    f, inbox = at("keys")
    (request,), client = inbox["c0"], f.clients["c0"]
    client.receive(f.forged(request, first_round=5))
    answer = client.outbox()
    refused(client, f.forged(request, first_round=5, server_key=NINE), "second, different keys", EquivocationError)
    refused(client, f.forged(request, first_round=4, server_key=NINE), "does not increase")
    client.receive(f.forged(request, first_round=5))
    assert client.outbox() == answer
    client.receive(f.forged(request, first_round=8))
    assert client.outbox() != answer


def test_who_is_in_no_committee_makes_no_key():
    f = Committee(12, committee=5, corrupt=1, threshold=4, packing=1)
    f.server.open_round(1)
    inbox = f.requests()
    outside = next(name for name in f.ids if not inbox[name])
    (request,) = next(frames for frames in inbox.values() if frames)
    refused(f.clients[outside], request, "no member of this session's committee")
    refused(alone(f, outside), request, "no member of this session's committee")
    assert f.server.missing == tuple(sorted(name for name in f.ids if inbox[name]))


def test_what_a_member_refuses_of_a_reveal_request():
    f, inbox = at("reveal")
    frame, body, size = reveal(f, inbox)
    path = len(body.paths) // len(body.headers)
    foreign = seal_envelope(Kind.MASKED_HEADER, SESSION, "c4", f.body(body.headers[0]), f.keys["c4"].sign)
    other = f.forged(body.headers[0], context_hash=bytes(32))
    for change, words in (
        ({"params_hash": bytes(32)}, "other Params"),
        ({"round_id": 2}, "header of another round"),
        ({"round_id": 0}, "not of this setup"),
        ({"round_id": 4}, "not of this setup"),
        ({"setup_hash": bytes(32)}, "not of this setup"),
        ({"keys": body.keys[1:]}, "left out or substituted"),
        ({"keys": [f.forged(body.keys[0], channel_key=NINE), *body.keys[1:]]}, "left out or substituted"),
        ({"keys": [body.keys[0], f.forged(body.keys[1], channel_key=NINE), *body.keys[2:]]}, "not of this setup"),
        ({"keys": []}, "too few or too many"),
        ({"participants": [0, 1]}, "number of participants"),
        ({"participants": [0, 1, 2, 3, 4]}, "number of participants"),
        ({"participants": [0, 2, 1, 3]}, "out of order"),
        ({"participants": [0, 1, 2, 9]}, "unknown"),
        ({"participants": [0, 1, 2, 4]}, "another participants|unknown"),
        ({"headers": body.headers[:2]}, "fewer survivors"),
        ({"headers": []}, "fewer survivors"),
        ({"headers": [*body.headers[:3], body.headers[2]]}, "unknown, repeated or out of order"),
        ({"headers": body.headers[::-1]}, "unknown, repeated or out of order"),
        ({"headers": [*body.headers[:3], foreign]}, "unknown, repeated or out of order"),
        ({"headers": [other, *body.headers[1:]]}, "different models"),
        ({"headers": [b"junk", *body.headers[1:]]}, ""),
        ({"headers": [body.keys[0], *body.headers[1:]]}, "none of this kind"),
        ({"headers": [f.forged(body.headers[0], tag=b"x"), *body.headers[1:]]}, "a hash has 32 bytes"),
        ({"headers": [f.forged(body.headers[0], params_hash=bytes(32)), *body.headers[1:]]}, "another Params"),
        ({"headers": [f.forged(body.headers[0], setup_hash=bytes(32)), *body.headers[1:]]}, "another setup"),
        ({"headers": [f.forged(body.headers[0], shares_root=bytes(32)), *body.headers[1:]]}, "its client signed for"),
        ({"headers": [f.forged(body.headers[0], signer="c1"), *body.headers[1:]]}, ""),
        ({"sealed": body.sealed[:-1]}, "number or length"),
        ({"sealed": body.sealed + b"\0"}, "number or length"),
        ({"sealed": b""}, "number or length"),
        ({"paths": body.paths[:-1]}, "number or length"),
        ({"paths": bytes(len(body.paths))}, "its client signed for"),
        ({"sealed": body.sealed[size:] + body.sealed[:size]}, "its client signed for"),
        ({"paths": body.paths[path:] + body.paths[:path]}, "its client signed for"),
    ):
        refused(f.clients["c0"], f.forged(frame, **change), words)
    finish(f, inbox)


def test_a_member_takes_no_other_members_shares():
    """Each has its place in the tree: what was sealed to another does not even come to be opened."""
    f, inbox = at("reveal")
    mine, theirs = reveal(f, inbox)[0], f.body(inbox["c1"][0])
    assert merkle.depth(5) == 3
    refused(f.clients["c0"], f.forged(mine, sealed=theirs.sealed, paths=theirs.paths), "its client signed for")
    refused(f.clients["c0"], inbox["c1"][0], "its client signed for")
    finish(f, inbox)


def test_a_member_without_a_key_answers_nothing():
    f, inbox = at("reveal")
    frame, *_ = reveal(f, inbox)
    for late in (alone(f), f.new_client("c0")):
        refused(late, frame, "no key was asked for yet" if late._core.session is None else "")
    finish(f, inbox)


def test_one_answer_a_round_and_the_same_again_on_request():
    f, inbox = at("reveal")
    frame, *_ = reveal(f, inbox)
    client = f.clients["c0"]
    client.receive(frame)
    answer = client.outbox()
    client.receive(frame)
    assert client.outbox() == answer
    refused(client, f.fewer(frame, 3), "another set", EquivocationError)
    refused(client, f.forged(frame, participants=[0, 1, 2, 4]), "another set", EquivocationError)
    f.bring([("c0", answer[0])])
    f.bring(f.hand({name: frames for name, frames in inbox.items() if name != "c0"}))
    f.server.close_phase()
    f.exact(f.server.result(1), FOUR)
    f.until("reveal", 2, list(FOUR))
    later = f.requests()
    client.receive(later["c0"][0])
    refused(client, frame, "does not increase")
    refused(client, f.forged(later["c0"][0], round_id=1), "does not increase")


def test_the_memory_is_asked_once_more_before_an_answer_leaves(monkeypatch):
    """Another copy of this member, on the same ledger, may have answered meanwhile."""
    for kept in (True, False):
        f, inbox = at("reveal")
        frame, *_ = reveal(f, inbox)
        memory = f.clients["c0"]._core._state.memory

        def record(session, round_id, phase, made, kept=kept):
            return made._replace(mark=bytes(32)) if kept else made._replace(frame=b"")

        with monkeypatch.context() as patched:
            patched.setattr(memory, "record", record)
            refused(f.clients["c0"], frame, "another set", EquivocationError)
        finish(f, inbox)


# -- the facade -------------------------------------------------------------------------------------------------------


def test_what_a_member_is_made_of():
    f = five()
    given = {"identity": f.keys["c0"], "roster": f.roster}
    with pytest.raises(ParameterError, match="only protocol='oneshot'"):
        Member(Params(5, length=5), me="c0", **given)
    with pytest.raises(ParameterError, match="only protocol='oneshot'"):
        Member({"clients": 5}, me="c0", **given)
    with pytest.raises(ParameterError, match="not in the roster"):
        Member(f.params, me="nobody", **given)
    with pytest.raises(ParameterError, match="roster's key"):
        Member(f.params, me="c1", **given)
    with pytest.raises(ParameterError, match="16 bytes"):
        Member(f.params, me="c0", session=b"x", **given)
    made = alone(f)
    assert (made.me, made.params, made.session, repr(made)) == ("c0", f.params, SESSION, "Member(me='c0')")
    assert alone(f, session=None).session is None
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a Member holds secrets"):
            act(made)
    made.close()


def run(f, member, path, restore):
    """A session of two batches with c0 as a member alone, that is restored after every frame it takes."""
    for round_id in (1, 2, 3, 4):
        f.server.open_round(round_id, list(f.ids))
        while f.server.phase != "idle":
            inbox = f.requests()
            for frame in inbox.pop("c0"):
                if frame[3] == Kind.MASKED_REQUEST:
                    refused(member, frame, "not a request to a committee member")
                    continue
                member.receive(frame)
                with pytest.raises(StateError, match="frames wait"):
                    member.snapshot()
                f.bring([("c0", out) for out in member.outbox()])
                blob = member.snapshot()
                member.close()
                member = restore(blob)
            f.bring(f.hand(inbox))
            f.server.close_phase()
        result = f.server.result(round_id)
        f.exact(result, f.ids[1:])
        assert "c0" in result.receipt.signatures
    return member


@pytest.mark.parametrize("kept", [True, False])
def test_a_member_goes_on_from_its_snapshots(tmp_path, kept):
    f = Committee(5, min_clients=4)
    path = tmp_path / "c0.ledger" if kept else None

    def restore(blob):
        return Member.restore(
            blob, identity=f.keys["c0"], roster=f.roster, ledger=path, params=f.params, session=SESSION
        )

    run(f, alone(f, ledger=path), path, restore).close()


def test_a_client_is_no_member_though_a_member_is_asked_like_one():
    f, inbox = at("masked")
    refused(alone(f), inbox["c0"][0], "not a request to a committee member")
    member = alone(f)
    for frame in (b"", b"junk", bytes(100)):
        with pytest.raises(DecodeError):
            member.receive(frame)
    assert member.outbox() == []
    finish(f, inbox)


def test_what_restoring_a_member_refuses(tmp_path):
    f, inbox = at("keys")
    path = tmp_path / "c0.ledger"
    member = alone(f, ledger=path)
    member.receive(inbox["c0"][0])
    member.outbox()
    blob = member.snapshot()
    member.close()
    given = {"identity": f.keys["c0"], "roster": f.roster, "ledger": path}
    stranger = Committee(5)
    weaker = Params(**{name: getattr(f.params, name) for name in ("clients", "layout", "encoding", "protocol")})
    for changes, words in (
        ({"identity": f.keys["c1"]}, ""),
        ({"identity": Identity.generate()}, ""),
        ({"roster": stranger.roster}, ""),
        ({"ledger": None}, "ledger"),
        ({"ledger": tmp_path / "new"}, "not the one that belongs"),
        ({"params": weaker}, "other Params"),
        ({"session": bytes(16)}, "another session"),
    ):
        with pytest.raises(InputError, match=words or None):
            Member.restore(blob, **{**given, **changes})
    (tmp_path / "new").unlink()
    for changes in ({"ledger": None}, {"ledger": tmp_path / "new"}):
        Member.restore(blob, **{**given, **changes}, ledger_lost=True).close()
    Member.restore(blob, **given).close()


def test_snapshots_of_other_kinds_of_parties_and_other_forms_are_refused():
    f, _ = at("keys")
    given = {"identity": f.keys["c0"], "roster": f.roster}
    client = f.clients["c0"].snapshot()
    with pytest.raises(InputError):
        Member.restore(client, **given)
    member = alone(f).snapshot()
    with pytest.raises(InputError):
        f.restore("c0", member)
    with pytest.raises(InputError):
        KeyHolder.restore(member, **given)

    def sealed(*plain):
        return seal_snapshot(msgspec.msgpack.encode(plain), identity=f.keys["c0"], roster=f.roster, session=SESSION)

    core, data = alone(f)._core.freeze(), f.params.to_bytes()
    assert Member.restore(sealed(data, "c0", None, core), **given).me == "c0"
    for plain in (
        (data, "c0", None),
        (data[:-1], "c0", None, core),
        (b"", "c0", None, core),
        (Params(5, length=5).to_bytes(), "c0", None, core),
        (data, "nobody", None, core),
        (data, SERVER, None, core),
        (data, "c0", None, b""),
        (data, "c0", None, core[:-1]),
        (data, "c0", None, core + b"\0"),
        (data, "c0", None, msgspec.msgpack.encode([msgspec.msgpack.decode(core)[0], b"\xc1"])),
        (data, "c0", None, msgspec.msgpack.encode([b"\xc1", None])),
    ):
        with pytest.raises(InputError):
            Member.restore(sealed(*plain), **given)


def test_a_members_half_of_a_state_in_other_forms_is_refused():
    f, inbox = at("reveal")
    half = f.clients["c0"]._core._member
    f.hand({"c0": inbox["c0"]})
    good = msgspec.msgpack.decode(half.freeze())
    for place, odd in ((0, 1), (2, b""), (2, b"\xc1"), (5, [1]), (6, "asleep"), (6, None)):
        bad = [*good[:place], odd, *good[place + 1 :]]
        with pytest.raises(DecodeError, match="of this version"):
            half.thaw(msgspec.msgpack.encode(bad))
    half.thaw(msgspec.msgpack.encode(good))
    assert msgspec.msgpack.decode(half.freeze()) == good
    half.thaw(None)
    assert msgspec.msgpack.decode(half.freeze()) == good


def test_a_member_whose_ledger_fails_lets_nothing_leave(tmp_path, monkeypatch):
    f, inbox = at("reveal")
    client = f.clients["c0"]
    ledger = Ledger(tmp_path / "l", me="c0", identity=f.keys["c0"])

    def full(*_):
        raise AbortError("the ledger failed, so nothing may leave: disk is full")

    monkeypatch.setattr(client._core._state, "memory", ledger)
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "record", full)
        refused(client, inbox["c0"][0], "nothing may leave", AbortError)
    finish(f, inbox)
    ledger.close()


def test_a_new_session_takes_the_place_of_one_that_came_to_nothing():
    """Where the id is learnt, a keys request of another session moves client and member; after an update or answer, none does."""
    f = Committee(5)
    client = f.new_client("c0", session=None)
    frames = {}
    for session in (SESSION, bytes([7] * 16)):
        server = Server(f.params, identity=f.server_key, roster=f.roster, session=session)
        server.open_round(1)
        frames[session] = dict(server.outbox())["c0"]
        client.receive(frames[session])
        assert client.session == session and len(client.outbox()) == 1
    client.receive(frames[SESSION])
    assert client.session == SESSION and len(client.outbox()) == 1
    f.server.open_round(1)
    inbox = f.requests()
    f.clients["c0"] = client
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.carry()
    refused(client, frames[bytes([7] * 16)], "another session", AuthenticationError)
    f.server.close_phase()
    f.exact(f.finish(1), f.ids)


def test_an_update_that_was_awaited_in_a_session_that_came_to_nothing_is_awaited_no_more():
    """Nothing of it had left, so the session may go; and with it the keys that the update was to be sealed to."""
    f = Committee(5)
    client = f.clients["c0"] = f.new_client("c0", session=None)
    f.until("masked")
    client.receive(f.requests()["c0"][0])
    assert client.awaiting
    other = Server(f.params, identity=f.server_key, roster=f.roster, session=bytes([7] * 16))
    other.open_round(1)
    client.receive(dict(other.outbox())["c0"])
    assert client.session == bytes([7] * 16)
    assert client.awaiting is None and client._core._state.basis is None
    with pytest.raises(StateError, match="no update is awaited"):
        client.submit(f.updates["c0"])


def test_a_roster_of_one_name_more_is_another_roster():
    f, inbox = at("keys")
    wide = Roster({name: key.verify_key for name, key in list(f.keys.items())[:4]}, f.server_key.verify_key)
    member = Member(f.params, me="c0", identity=f.keys["c0"], roster=wide, session=SESSION)
    refused(member, inbox["c0"][0], "another roster", AuthenticationError)
