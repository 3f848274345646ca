"""The key holder's facade: who may be one, what it keeps, what its snapshot is worth."""

import copy
import pickle

import pytest

from secagg import Client, Identity, KeyHolder, Params, Roster
from secagg.errors import AuthenticationError, InputError, ParameterError, StateError
from secagg.store import open_snapshot
from secagg.wire import HOLDER
from support.encrypted import MODES, Encrypted, make_params


def decrypted(**changes):
    f = Encrypted(5, **changes)
    f.round(1)
    return f


def test_only_the_rosters_holder_is_one():
    f = Encrypted(5)
    for identity in (f.keys["c0"], f.server_key, Identity.generate()):
        with pytest.raises(ParameterError, match="not the roster's key holder"):
            f.new_holder(identity=identity)
    with pytest.raises(ParameterError, match="16 bytes"):
        f.new_holder(session=b"short")
    with pytest.raises(ParameterError, match="roster has 5"):
        f.new_holder(params=make_params(4))
    with pytest.raises(ParameterError, match="only protocol='ckks'"):
        f.new_holder(params=Params(clients=5, length=37))
    with pytest.raises(ParameterError, match="must be a Params"):
        f.new_holder(params=None)


def test_every_party_needs_a_holder_in_the_roster():
    f = Encrypted(5)
    without = Roster({name: f.roster.key(name) for name in f.ids}, f.roster.server)
    with pytest.raises(ParameterError, match="needs a key holder"):
        KeyHolder(f.params, identity=f.holder_key, roster=without)
    with pytest.raises(ParameterError, match="needs a key holder"):
        Client(f.params, me="c0", identity=f.keys["c0"], roster=without)
    with pytest.raises(ParameterError, match="a server that can decrypt"):
        Roster({"a": f.roster.key("c0")}, f.roster.server, f.roster.server)


@pytest.mark.parametrize("reveal, threat", MODES)
def test_a_client_may_be_the_holder(reveal, threat):
    f = Encrypted(5, reveal=reveal, threat=threat)
    keys = {name: key.verify_key for name, key in f.keys.items()}
    f.roster, f.holder_key = Roster(keys, f.server_key.verify_key, keys["c0"]), f.keys["c0"]
    f.server = type(f.server)(f.params, identity=f.server_key, roster=f.roster)
    f.clients = {name: f.new_client(name) for name in f.ids}
    f.holder = f.new_holder()
    f.round(1)
    f.check(f.ids)


@pytest.mark.parametrize("reveal", ["server", "holder"])
def test_it_keeps_the_last_eight_results(reveal):
    f = Encrypted(3, reveal=reveal, rounds_per_setup=4)
    with pytest.raises(StateError, match="not decrypted"):
        f.holder.result(1)
    for round_id in range(1, 11):
        f.round(round_id)
    for round_id in (1, 2):
        with pytest.raises(StateError, match="not decrypted, or is older"):
            f.holder.result(round_id)
    f.results = {round_id: f.holder.result(round_id) for round_id in range(3, 11)}
    for round_id in range(3, 11):
        f.check(f.ids, round_id)


def test_its_own_receipt_is_not_signed_by_the_server_yet():
    f = decrypted(reveal="holder")
    receipt = f.holder.result(1).receipt
    assert receipt.server_signature == b""
    with pytest.raises(AuthenticationError):
        receipt.verify(f.roster, f.params)
    f.check(f.ids)
    assert set(f.server.result(1).receipt.signatures) == {HOLDER}


def test_fault_58_and_59_no_secret_in_repr_and_no_pickle():
    f = Encrypted(3)
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    f.bring(f.hand(inbox))
    f.server.close_phase()
    f.hand(f.requests())
    state = f.holder._core._state
    upload = f.new_client("c0")
    upload.receive(inbox["c0"][0])
    upload = upload._core.begin_upload(b"")
    for thing in (f.holder, f.holder._core, state, state.key, state.round, upload):
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="pickled or copied"):
                act(thing)
    assert len(repr(f.holder)) < 80
    secrets = [state.key.seed, state.key.channel.private_bytes(), state.key.secret.seed_bytes(), upload.key, upload.pad]
    secrets += [client._core._state.round.seed for client in f.clients.values()]
    shown = "".join(
        repr(thing)
        for thing in (
            f.holder, f.holder._core, state, state.key, state.round, state.key.secret, upload, f.server._core._state,
            f.clients["c0"]._core._state, f.clients["c0"]._core._state.round, f.holder.result(1),
        )
    )  # fmt: skip
    assert all(len(secret) >= 16 for secret in secrets)
    assert all(secret.hex() not in shown and repr(secret)[2:-1] not in shown for secret in secrets)


def test_a_snapshot_is_refused_while_frames_wait():
    f = Encrypted(3)
    f.server.open_round(1)
    f.holder.receive(f.requests()[HOLDER][0])
    with pytest.raises(StateError, match="outbox"):
        f.holder.snapshot()
    assert len(f.holder.outbox()) == 1
    f.holder.snapshot()


@pytest.mark.parametrize("reveal, threat", MODES)
def test_a_restored_holder_goes_on_with_its_key(reveal, threat, memory):
    f = Encrypted(5, reveal=reveal, threat=threat, rounds_per_setup=3, ledgers=memory)
    f.restarts = True
    for round_id in (1, 2, 3, 4):
        f.round(round_id)
        f.check(f.ids, round_id)
    assert f.holder.session == f.server.session
    assert f.holder.params == f.params


def test_an_empty_holder_can_be_restored_too():
    f = Encrypted(3)
    f.restart_holder()
    assert f.holder.session is None
    f.round(1)
    f.check(f.ids)


def test_fault_50_torn_changed_and_foreign_snapshots_are_refused():
    f = decrypted()
    snapshot = f.holder.snapshot()
    for at in range(0, len(snapshot), 7):
        for bad in (snapshot[:at], bytes([*snapshot[:at], snapshot[at] ^ 1, *snapshot[at + 1 :]])):
            with pytest.raises(InputError):
                f.restore_holder(bad)
    for what in (None, 7, ""):
        with pytest.raises(InputError):
            f.restore_holder(what)
    other = Encrypted(5)
    with pytest.raises(InputError, match="another identity or roster"):
        f.restore_holder(snapshot, roster=other.roster, identity=other.holder_key)
    with pytest.raises(InputError, match="another identity or roster"):
        f.restore_holder(snapshot, identity=Identity.generate())
    with pytest.raises(InputError, match="other Params"):
        f.restore_holder(snapshot, params=make_params(5, threat="semi-honest"))
    with pytest.raises(InputError, match="another session"):
        f.restore_holder(snapshot, session=bytes(16))
    assert f.restore_holder(snapshot, session=f.server.session).session == f.server.session


def test_snapshots_of_other_parties_and_versions_are_refused(monkeypatch):
    import msgspec

    from secagg.store import seal_snapshot

    f = Encrypted(3)
    keys = {name: key.verify_key for name, key in f.keys.items()}
    roster = Roster(keys, f.server_key.verify_key, keys["c0"])  # c0 is holder and client: one identity, two roles
    client = Client(f.params, me="c0", identity=f.keys["c0"], roster=roster)
    holder = KeyHolder(f.params, identity=f.keys["c0"], roster=roster)
    party = {"identity": f.keys["c0"], "roster": roster}
    with pytest.raises(InputError, match=r"a client.s|another version"):
        KeyHolder.restore(client.snapshot(), **party)
    with pytest.raises(InputError, match="another version"):
        Client.restore(holder.snapshot(), **party)
    kept = msgspec.msgpack.decode(open_snapshot(holder.snapshot(), **party))
    for change in ([kept[0], "c0", *kept[2:]], [b"", *kept[1:]], [*kept[:3], b"\xc0"], kept[:3], [*kept, 1], "x"):
        blob = seal_snapshot(msgspec.msgpack.encode(change), session=None, **party)
        with pytest.raises(InputError):
            KeyHolder.restore(blob, **party)


def test_the_ledger_belongs_to_the_snapshot(memory):
    f = Encrypted(3, ledgers=memory, rounds_per_setup=2)
    f.round(1)
    early, early_ledger = f.holder.snapshot(), f.ledger("holder").read_bytes()
    f.round(2)
    late = f.holder.snapshot()
    f.holder.close()
    with pytest.raises(InputError, match="kept a ledger"):
        f.restore_holder(late, ledger=None)
    with pytest.raises(InputError, match="not the one that belongs"):
        f.restore_holder(late, ledger=memory / "new")
    f.restore_holder(early).close()  # older than its ledger: what the ledger knows stands
    f.ledger("holder").write_bytes(early_ledger)
    with pytest.raises(InputError, match="rolled back"):
        f.restore_holder(late)
    f.restore_holder(late, ledger_lost=True).close()
    with pytest.raises(InputError, match="another client or identity"):
        f.new_holder(ledger=f.ledger("c0"))  # a client's file


def test_secrets_of_an_earlier_key_are_in_no_later_snapshot():
    f = decrypted()
    seed = f.holder._core._state.key.seed
    before = open_snapshot(f.holder.snapshot(), identity=f.holder_key, roster=f.roster)
    assert seed in before
    assert seed not in f.holder.snapshot()
    f.round(2)
    assert seed not in open_snapshot(f.holder.snapshot(), identity=f.holder_key, roster=f.roster)
