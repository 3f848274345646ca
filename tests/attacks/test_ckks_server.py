"""A lying server against the holder of ckks: what it may hand over in a round's name, and that only the promised sum opens.

The holder is restored from one snapshot for every try, without a ledger: what stops these is not that it remembers.
"""

import itertools

import numpy as np
import pytest

from secagg import Identity, Roster, Server
from secagg.ciphertexts import CipherAccumulator
from secagg.errors import AbortError, AuthenticationError, PeerError
from secagg.hazmat import aead
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.rlwe import Sum, encrypt
from secagg.protocols.ckks.messages import KeyRequest, Kind, key_digest, result_key
from secagg.wire import HOLDER, SERVER, decode_frame
from support.encrypted import Encrypted, tag_of, tell, uploads
from support.federation import fields


def made(f, round_id=1, contexts=None):
    """Every client's header and ciphertexts of a round, with the holder's snapshot before any decryption."""
    f.server.open_round(round_id)
    f.until("encrypted")
    for name, frames in f.requests().items():
        if name != HOLDER:
            f.clients[name].receive(frames[0])
            f.clients[name].submit(f.updates[name], context=(contexts or {}).get(name, b""))
    sent = [(name, frame) for name in f.ids for frame in f.clients[name].outbox()]
    headers, payloads = uploads(sent)
    return [headers[name] for name in f.ids], [payloads[name] for name in f.ids], f.holder.snapshot()


def combined(f, payloads, weights, plus=()):
    """The linear combination of uploads with small integer weights; `plus` is (place, coefficients) to add in the clear."""
    plan = f.params.cipher_plan
    out = {}
    for number, index in payloads[0]:
        n = plan.segments[number].coefficients(index)
        total = Sum(plan.ring, n)
        for payload, weight in zip(payloads, weights, strict=True):
            one = Sum.from_bytes(plan.ring, n, payload[number, index])
            for _ in range(abs(weight)):
                for mine, theirs in ((total.c1, one.c1), (total.c0, one.c0)):
                    (plan.ring.add if weight > 0 else plan.ring.subtract)(mine, theirs)
        for place, coefficients in plus:
            if place == (number, index):
                plan.ring.add(total.c0, coefficients * np.uint64(plan.delta))
        out[number, index] = total.to_bytes()
    return out


def opened(f, snapshot, frames, pair):
    """What a server with the key pair of its request learns of a round: the model's integers, or the holder's refusal."""
    holder = f.restore_holder(snapshot)
    error = tell(holder, frames)
    answer = holder.outbox()
    if error is not None:
        assert answer == []
        return error
    key, current = holder._core._state.key, holder._core._state.round
    _, sealed = uploads([(HOLDER, frame) for frame in answer])
    secret = result_key(
        pair.agree(f.body(f.server._core._state.key.frame).channel_key), f.server.session, key.hash, current.mark
    )
    taken = CipherAccumulator(f.params)
    for place, box in sealed[HOLDER].items():
        taken.take(*place, aead.open_(secret, box, b"%d/%d" % place))
    return taken.lanes()[1]


def encoded(f, *names):
    return sum(f.updates[name] - f.params.encoding.low for name in names).astype(np.uint64)


def check_lane(f, missing):
    """Coefficients that make up for what is missing in the check lane, so that the holder sees nothing odd there."""
    cut = f.params.cipher_plan.segments[0]
    return ((0, 0), cut.split(np.array([0, 0, missing], np.uint64)))


def ask(f, headers, payloads, pair, **changes):
    return f.ask(headers, payloads, server_key=pair.public_bytes, **changes)


# -- any other sum ----------------------------------------------------------------------------------------------------


def test_of_all_small_combinations_of_the_uploads_only_their_sum_opens():
    """With the check lane made to look right: every integer combination with weights -1 to 2, all but one refused."""
    f, pair = Encrypted(3), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    tried = 0
    for weights in itertools.product([-1, 0, 1, 2], repeat=3):
        if not any(weights):
            continue  # the sum of nothing is transparent, and refused as that
        plus = [check_lane(f, 3 - sum(weights))] if sum(weights) < 3 else []
        found = opened(f, snapshot, ask(f, headers, combined(f, payloads, weights, plus), pair), pair)
        if weights == (1, 1, 1):
            np.testing.assert_array_equal(found, encoded(f, *f.ids))
        else:
            assert isinstance(found, AbortError), weights
            tried += 1
    assert tried == 4**3 - 2


def test_without_pads_one_upload_opens_as_the_sum_of_all():
    """The checker can lose: semi-honest, combinations open what the server wants: c1 alone, c0 + c2, 2 c0 + c2."""
    f, pair = Encrypted(3, threat="semi-honest"), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    for weights, names in (((0, 1, 0), ["c1"]), ((1, 0, 1), ["c0", "c2"]), ((2, 0, 1), ["c0", "c0", "c2"])):
        forged = combined(f, payloads, weights, [check_lane(f, 3 - len(names))])
        found = opened(f, snapshot, ask(f, headers, forged, pair), pair)
        np.testing.assert_array_equal(found, encoded(f, *names))


@pytest.mark.parametrize("threat", ["malicious", "semi-honest"])
def test_an_upload_as_it_is_is_not_the_sum_of_all(threat):
    f, pair = Encrypted(5, threat=threat), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    for payload in payloads:
        assert isinstance(opened(f, snapshot, ask(f, headers, payload, pair), pair), AbortError)


def test_the_sum_of_other_uploads_than_the_headers_say():
    f, pair = Encrypted(5), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    everybody, but_last = f.sums(payloads), f.sums(payloads[:4])
    for some, summed in ((headers, but_last), (headers[:4], everybody), (headers[1:], but_last)):
        assert isinstance(opened(f, snapshot, ask(f, some, summed, pair), pair), AbortError)
    np.testing.assert_array_equal(
        opened(f, snapshot, ask(f, headers[:4], but_last, pair), pair), encoded(f, *f.ids[:4])
    )


def test_fresh_ciphertexts_of_the_servers_do_not_take_a_pad_off():
    """The server can encrypt whatever it likes to the holder's key, as anybody can."""
    f, pair = Encrypted(3), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    plan, public = f.params.cipher_plan, f.holder._core._state.key.secret.public_key()
    lanes = [np.array([2, 0, 2], np.uint64), np.zeros(f.params.length, np.uint64)]
    zero = {
        (number, 0): encrypt(public, cut.split(lanes[number]), plan.delta, b"s" * 16, cut.first)
        for number, cut in enumerate(plan.segments)
    }
    for mine in ([payloads[0], zero], [zero]):
        assert isinstance(opened(f, snapshot, ask(f, headers, f.sums(mine), pair), pair), AbortError)


# -- other rounds, contexts, keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reveal", ["server", "holder"])
def test_uploads_of_an_earlier_round_under_later_headers(reveal):
    f, pair = Encrypted(3, reveal=reveal, rounds_per_setup=3), KeyPair.generate()
    first = made(f, 1)
    f.server.abort()
    second = made(f, 2)
    snapshot = second[2]
    if reveal == "server":
        for mixed in (first[1], [first[1][0], *second[1][1:]], [*first[1], *second[1]]):
            found = opened(f, snapshot, ask(f, second[0], f.sums(mixed), pair, round_id=2), pair)
            assert isinstance(found, AbortError)
        for headers in (first[0], [first[0][0], *second[0][1:]]):
            found = opened(f, snapshot, ask(f, headers, f.sums(first[1]), pair, round_id=2), pair)
            assert isinstance(found, AuthenticationError)
        return
    holder = f.restore_holder(snapshot)
    assert tell(holder, ask(f, second[0], {}, pair, round_id=2, sum_tag=b"")[:1]) is None
    for name, payloads in zip(f.ids, first[1], strict=True):
        for place, payload in payloads.items():
            old = f.chunk(name, (1, *place), payload)
            assert isinstance(tell(holder, [old]), PeerError)
            moved = old.replace(b"\x01" + bytes(place), b"\x02" + bytes(place), 1)
            assert moved != old and isinstance(tell(holder, [moved]), PeerError)  # its signature names its round
    assert holder.outbox() == []


@pytest.mark.parametrize("reveal", ["server", "holder"])
def test_updates_of_different_models_are_not_mixed(reveal):
    f, pair = Encrypted(5, reveal=reveal, min_clients=3), KeyPair.generate()
    headers, payloads, snapshot = made(f, contexts={"c3": b"another", "c4": b"another"})
    tag = tag_of(f.sums(payloads)) if reveal == "server" else b""
    assert isinstance(opened(f, snapshot, ask(f, headers, {}, pair, sum_tag=tag), pair), AuthenticationError)
    if reveal == "server":
        found = opened(f, snapshot, ask(f, headers[:3], f.sums(payloads), pair), pair)
        assert isinstance(found, AbortError)
        np.testing.assert_array_equal(
            opened(f, snapshot, ask(f, headers[:3], f.sums(payloads[:3]), pair), pair), encoded(f, *f.ids[:3])
        )


def test_a_second_sum_of_a_round_gives_a_difference_and_is_what_ledgers_are_for(memory):
    """All, then all but c4: refused over any rollback with the ledger; without it the difference is c4's update."""
    f, pair = Encrypted(5, ledgers=memory), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    requests = [ask(f, headers[:n], f.sums(payloads[:n]), pair) for n in (5, 4)]
    f.holder.close()
    everybody = opened(f, snapshot, requests[0], pair)
    assert isinstance(opened(f, snapshot, requests[1], pair), AbortError)
    np.testing.assert_array_equal(opened(f, snapshot, requests[0], pair), everybody)
    f.ledgers = None
    bare = Encrypted(5)
    headers, payloads, snapshot = made(bare)
    one, two = (opened(bare, snapshot, ask(bare, headers[:n], bare.sums(payloads[:n]), pair), pair) for n in (5, 4))
    np.testing.assert_array_equal(one - two, encoded(bare, "c4"))


@pytest.mark.parametrize("reveal", ["server", "holder"])
def test_suppression_stops_at_min_clients(reveal):
    """The server may leave out whom it likes, down to m: the sum then holds m - c honest updates, and no fewer."""
    f, pair = Encrypted(7, reveal=reveal, min_clients=4, corrupt=2), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    for kept in itertools.combinations(range(7), 3):
        some = [headers[i] for i in kept]
        frames = ask(f, some, f.sums([payloads[i] for i in kept]), pair)
        assert isinstance(opened(f, snapshot, frames[:1], pair), PeerError)
    assert f.params.opened_honest == 2
    kept = (0, 2, 3, 6)
    if reveal == "server":
        frames = ask(f, [headers[i] for i in kept], f.sums([payloads[i] for i in kept]), pair)
        np.testing.assert_array_equal(opened(f, snapshot, frames, pair), encoded(f, *(f"c{i}" for i in kept)))
        return
    holder = f.restore_holder(snapshot)
    (request,) = ask(f, [headers[i] for i in kept], {}, pair, sum_tag=b"")
    chunks = [f.chunk(f"c{i}", (1, *place), payload) for i in kept for place, payload in payloads[i].items()]
    assert tell(holder, [request, *chunks[:-1]]) is None
    assert holder.outbox() == []  # not before every survivor's upload is there
    assert tell(holder, chunks[-1:]) is None
    np.testing.assert_array_equal(holder.result(1).integer_sum, encoded(f, *(f"c{i}" for i in kept)))


# -- recomputation ----------------------------------------------------------------------------------------------------


def test_where_the_holder_adds_the_server_can_only_pass_on():
    f, pair = Encrypted(5, reveal="holder"), KeyPair.generate()
    headers, payloads, snapshot = made(f)
    (request,) = ask(f, headers, {}, pair, sum_tag=b"")
    holder = f.restore_holder(snapshot)
    assert tell(holder, [request]) is None
    total = f.sums(payloads)
    for frame in (
        f.chunk(SERVER, (1, 0, 0), total[0, 0]),  # a sum of its own
        f.chunk("c0", (1, 0, 0), payloads[1][0, 0]).replace(b"\xa2c0", b"\xa2c1"),  # one upload as another's
    ):
        assert isinstance(tell(holder, [frame]), PeerError)
    for name, payload in zip(f.ids, payloads, strict=True):
        assert tell(holder, [f.chunk(name, (1, *place), part) for place, part in payload.items()]) is None
    np.testing.assert_array_equal(holder.result(1).integer_sum, encoded(f, *f.ids))
    assert all(frame[3] == Kind.DECRYPTED for frame in holder.outbox())  # and the server sees nothing of it


# -- keys and rosters -------------------------------------------------------------------------------------------------


def test_a_server_with_sybils_in_its_own_roster_is_refused_by_holder_and_clients():
    f = Encrypted(4, min_clients=3)
    keys = {name: f.roster.key(name) for name in f.ids[:3]} | {"c9": Identity.generate().verify_key}
    padded = Roster(keys, f.roster.server, f.roster.holder)
    lying = Server(f.params, identity=f.server_key, roster=padded)
    lying.open_round(1)
    ((_, request),) = lying.outbox()
    with pytest.raises(AuthenticationError, match="another roster"):
        f.holder.receive(request)
    told = KeyRequest(1, 1, f.params.hash, f.roster.hash())
    f.holder.receive(f.forge(Kind.KEY_REQUEST, told, session=lying.session))
    with pytest.raises(AuthenticationError, match="not asked for"):
        lying.receive(f.holder.outbox()[0])  # an honest one would notice too
    pair = KeyPair.generate()
    g = Encrypted(4, min_clients=3)
    headers, payloads, snapshot = made(g)
    stranger = Identity.generate()
    g.keys["c9"] = stranger
    sybil = g.forge_client("c9", Kind.ENCRYPTED_HEADER, g.body(headers[3]))
    found = opened(g, snapshot, ask(g, [*headers[:3], sybil], g.sums(payloads), pair), pair)
    assert isinstance(found, PeerError)


@pytest.mark.parametrize("threat", ["malicious", "semi-honest"])
def test_fault_33_a_substituted_holder_key_is_refused(threat):
    """The server makes a key of its own: it cannot sign for the holder, and nobody has another holder in the roster."""
    f = Encrypted(3, threat=threat)
    mine = Encrypted(3, threat=threat)
    mine.holder = mine.new_holder()
    f.server.open_round(1)
    f.phase()
    body = f.body(f.requests()["c0"][0])
    told = f.body(body.key)
    request = KeyRequest(1, 1, mine.params.hash, mine.roster.hash())
    mine.holder.receive(mine.forge(Kind.KEY_REQUEST, request, session=f.server.session))
    foreign = mine.holder.outbox()[0]
    theirs = mine.body(foreign)
    own = fields(told, public_key=theirs.public_key, channel_key=theirs.channel_key)
    by_another = mine.forge_holder(Kind.KEY_ANNOUNCEMENT, own, session=f.server.session)
    for frame in (foreign, by_another, f.forge(Kind.KEY_ANNOUNCEMENT, own)):
        named = key_digest(f.server.session, decode_frame(frame, max_bytes=1 << 20)[1].payload)
        with pytest.raises(PeerError):
            f.clients["c0"].receive(f.forge(Kind.ENCRYPTED_REQUEST, fields(body, key=frame, key_hash=named)))
    assert f.clients["c0"].awaiting is None
    assert f.clients["c0"].session is None


def test_a_key_of_another_session_params_or_batch_is_refused():
    f = Encrypted(3, rounds_per_setup=2)
    weak = Encrypted(3, params=f.params)
    f.server.open_round(1)
    f.phase()
    body = f.body(f.requests()["c0"][0])
    told = f.body(body.key)
    holder = f.new_holder()  # the very same holder, asked in another session, or of another batch
    holder.receive(f.forge(Kind.KEY_REQUEST, KeyRequest(1, 2, f.params.hash, f.roster.hash()), session=bytes(16)))
    elsewhere = holder.outbox()[0]
    holder.receive(f.forge(Kind.KEY_REQUEST, KeyRequest(7, 2, f.params.hash, f.roster.hash())))
    later = holder.outbox()[0]
    for frame in (
        elsewhere,
        later,
        f.forge_holder(Kind.KEY_ANNOUNCEMENT, fields(told, params_hash=weak.roster.hash())),
    ):
        for key_hash in (body.key_hash, bytes(32)):
            with pytest.raises(PeerError):
                f.clients["c0"].receive(f.forge(Kind.ENCRYPTED_REQUEST, fields(body, key=frame, key_hash=key_hash)))
    assert f.clients["c0"].awaiting is None
