"""States of oneshot clients as bytes: restored at every step, and what is none is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from secagg import Client, Params
from secagg.errors import AuthenticationError, DecodeError, InputError, StateError
from secagg.protocols.oneshot.messages import Kind
from secagg.protocols.oneshot.setup import Setup
from secagg.store import seal_snapshot
from secagg.wire import Chunk, decode_frame, encode_chunk
from support.committee import SESSION, Committee, at, finish, refused


def sealed(f, *plain, name="c0"):
    return seal_snapshot(msgspec.msgpack.encode(plain), identity=f.keys[name], roster=f.roster, session=SESSION)


def parts(client):
    """The halves of a client's state as lists."""
    both = msgspec.msgpack.decode(client._core.freeze())
    return [msgspec.msgpack.decode(both[0]), None if both[1] is None else msgspec.msgpack.decode(both[1])]


def joined(client, member):
    half = None if member is None else msgspec.msgpack.encode(member)
    return msgspec.msgpack.encode([msgspec.msgpack.encode(client), half])


@pytest.mark.parametrize("kept", [True, False])
def test_every_party_is_restored_at_every_step_of_two_batches(memory, kept):
    f = Committee(5, ledgers=memory if kept else None, rounds_per_setup=2)
    f.restarts = True
    for round_id in (1, 2, 3, 4):
        f.exact(f.round(round_id), f.ids)
    assert not f.errors


def test_a_snapshot_waits_for_the_outbox(memory):
    f, inbox = at("masked")
    client = f.clients["c0"]
    client.receive(inbox["c0"][0])
    assert client.snapshot()
    client.submit(f.updates["c0"])
    with pytest.raises(StateError, match="frames wait"):
        client.snapshot()
    frames = client.outbox()
    again = f.restore("c0", client.snapshot())
    again.receive(inbox["c0"][0])
    again.submit(f.updates["c0"])
    assert again.outbox() == frames
    with pytest.raises(InputError, match="another update"):
        again.receive(inbox["c0"][0])
        again.submit(np.roll(f.updates["c0"], 1))


def test_states_of_other_forms_are_refused():
    f, inbox = at("reveal")
    f.hand(inbox)
    data, client = f.params.to_bytes(), f.clients["c0"]
    own, member = parts(client)
    session, provisional, floor, basis, current = own
    chunk = encode_chunk(Chunk(SESSION, "c0", 1, 0, 0, bytes(64), memoryview(b"x")))
    given = {"identity": f.keys["c0"], "roster": f.roster}
    keys = msgspec.msgpack.decode(basis)
    good = Client.restore(sealed(f, data, "c0", None, None, joined(own, member)), **given)
    assert good._core.freeze() == client._core.freeze()
    for core in (
        b"",
        b"\xc1",
        joined(own, member) + b"\0",
        msgspec.msgpack.encode([b"", None]),
        msgspec.msgpack.encode([msgspec.msgpack.encode(own)]),
        joined([1, *own[1:]], member),
        joined([session, provisional, floor, b"\xc1", current], member),
        joined([session, provisional, floor, msgspec.msgpack.encode(keys[1:3]), current], member),
        joined([session, provisional, floor, msgspec.msgpack.encode([b"junk"] * 5), current], member),
        joined([bytes(16), provisional, floor, basis, current], member),
        joined([session, provisional, floor, basis, [*current[:1], [9], *current[2:]]], member),
        joined([session, provisional, floor, basis, [*current[:2], "asleep", *current[3:]]], member),
        joined([session, provisional, floor, basis, [*current[:4], b"junk", *current[5:]]], member),
        joined([session, provisional, floor, basis, [*current[:4], chunk, *current[5:]]], member),
        joined([session, provisional, floor, basis, [*current[:4], keys[0], *current[5:]]], member),
        joined([session, provisional, floor, basis, current[:-1]], member),
        joined(own, [*member[:-1], "asleep"]),
        joined(own, member[:-1]),
        joined(own, [member[0], member[1], b"", *member[3:]]),
    ):
        with pytest.raises(InputError, match="another version"):
            Client.restore(sealed(f, data, "c0", None, None, core), **given)
    for plain in (
        (data, "c0", None, None),
        (data, "nobody", None, None, joined(own, member)),
        (Params(5, length=5).to_bytes(), "c0", None, None, joined(own, member)),
    ):
        with pytest.raises(InputError):
            Client.restore(sealed(f, *plain), **given)


def test_a_state_without_keys_or_round_is_a_whole_one():
    f, inbox = at("keys")
    given = {"identity": f.keys["c0"], "roster": f.roster, "params": f.params}
    fresh = Client.restore(f.clients["c0"].snapshot(), **given)
    fresh.receive(inbox["c0"][0])
    f.bring([("c0", frame) for frame in fresh.outbox()])
    f.clients["c0"] = Client.restore(fresh.snapshot(), **given)  # a member's key, and no request for an update yet
    f.bring(f.hand({name: frames for name, frames in inbox.items() if name != "c0"}))
    f.server.close_phase()
    f.exact(f.finish(1), ("c0", "c1", "c2", "c3"))


def test_a_state_older_than_what_its_ledger_closed_keeps_its_keys_and_no_round(memory):
    """The ledger has begun a later round: what the state knew of the one before is over."""
    f = Committee(5, min_clients=4, ledgers=memory)
    f.until("masked")
    client = f.clients["c0"]
    client.receive(f.requests()["c0"][0])
    client.submit(f.updates["c0"])
    client.outbox()
    old = client.snapshot()
    f.server.abort()
    f.exact(f.round(2), f.ids)
    client.close()
    again = f.restore("c0", old)
    assert again.awaiting is None and again._core._state.round is None
    assert again._core._state.basis.hash == f.setup.hash
    f.clients["c0"] = again
    f.exact(f.round(3), f.ids)


def test_keys_that_are_no_list_of_frames_make_no_setup():
    f, inbox = at("masked")
    frames = f.body(inbox["c0"][0]).keys
    setup = Setup.read(frames, SESSION, f.roster, f.params)
    assert Setup.thaw(setup.frozen(), SESSION, f.roster, f.params) == setup == f.setup
    assert setup.covers(1) and setup.covers(3) and not setup.covers(0) and not setup.covers(4)
    for data in (b"", b"\xc1", msgspec.msgpack.encode({}), msgspec.msgpack.encode([1])):
        with pytest.raises(DecodeError, match="no list of keys"):
            Setup.thaw(data, SESSION, f.roster, f.params)
    finish(f, inbox)


def test_a_chunk_without_a_whole_signature_is_refused():
    f, inbox = at("masked")
    sent = f.hand(inbox)
    name, frame = sent[0]
    assert frame[3] == Kind.CHUNK
    chunk = decode_frame(frame, max_bytes=1 << 30)[1]
    values = {field: getattr(chunk, field) for field in chunk.__struct_fields__}
    for tag in (b"", chunk.tag[:-1], chunk.tag + b"\0"):
        with pytest.raises((AuthenticationError, DecodeError)):
            f.server.receive(encode_chunk(Chunk(**{**values, "tag": tag})), sender=name)
    refused(f.clients["c1"], frame, "not a request of the server's")
    f.bring(sent)
    f.server.close_phase()
    f.exact(f.finish(1), ("c0", "c1", "c2", "c3"))
