"""Clients of oneshot that deal shares on other polynomials, or encode what no client encodes, and members whose answers are none.

Shares of other secrets, errors beyond the bound and lying members are in test_oneshot_liars.
"""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Member
from secagg.errors import AbortError, EquivocationError, PeerError
from secagg.hazmat import aead, field, packed
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import Kind, answer_key, make_chunk
from secagg.wire import decode_frame, seal_envelope
from support.committee import Committee
from support.federation import fields

LIAR = "c3"


def spoilt(monkeypatch, spoil, n=5, **changes):
    """A round up to the reveal in which one client's upload, which the server takes, is made with `spoil` in effect."""
    f = Committee(n, **{"min_clients": 4, "corrupt": 1, **changes})
    f.until("masked")
    requests = f.requests()
    f.bring(f.hand({name: frames for name, frames in requests.items() if name != LIAR}))
    with monkeypatch.context() as patched:
        spoil(patched)
        f.bring(f.hand({LIAR: requests[LIAR]}))
    f.server.close_phase()
    return f


def never_wrong(f):
    """The round ends in an abort, or in the exact sum of its contributors; the session goes on."""
    outcome = None
    try:
        result = f.finish(1)
    except AbortError as error:
        outcome = error
        with pytest.raises(AbortError):
            f.server.result(1)
    else:
        f.exact(result, result.contributors)
    f.exact(f.round(2), f.ids)
    return outcome


def splitting(change):
    """Let the client's polynomials be others."""

    def spoil(patched):
        honest = packed.split
        patched.setattr(packed, "split", lambda *args: change(honest, *args))

    return spoil


def higher_degree(split, secrets, threshold, xs, draw):
    """Polynomials with one coefficient more than the threshold allows, for one member more than there are."""
    return split(secrets, threshold + 1, [*xs, len(xs) + 1], draw)[: len(xs)]


def lower_degree(split, secrets, threshold, xs, draw):
    """One coefficient less: shares of fewer members tell the secret, which is the client's own loss, and fit all the same."""
    return split(secrets, threshold - 1, xs, draw)


def rubbish(split, *args):
    return np.random.default_rng(3).integers(0, field.P, split(*args).shape, np.uint64)


def constant(split, *args):
    """Everybody has the same share."""
    shares = split(*args)
    shares[:] = shares[0]
    return shares


def too_wide(patched):
    """A secret beyond the digits: within one element it runs over into its neighbours."""
    honest = packed.pack_digits

    def pack(values, width, rho=1):
        elements = honest(values, width, rho)
        elements[0] = np.uint64(field.P // 2)
        return elements

    patched.setattr(packed, "pack_digits", pack)


def tail(patched):
    """Something in the digits behind the last coefficient, or in the elements that fill up the last polynomial."""
    honest = packed.pack_digits

    def pack(values, width, rho=1):
        elements = honest(values, width, rho)
        elements[-1] = (elements[-1] + np.uint64(1 << 50)) % np.uint64(field.P)
        return elements

    patched.setattr(packed, "pack_digits", pack)


SPOIL = {
    "of a higher degree": splitting(higher_degree),
    "of nothing": splitting(rubbish),
    "the same for all": splitting(constant),
    "too wide": too_wide,
    "with a tail": tail,
}


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("how", SPOIL)
def test_shares_that_no_honest_client_deals_end_the_round(monkeypatch, how, spare):
    """Whether there are answers to spare or not."""
    f = spoilt(monkeypatch, SPOIL[how], 10, min_clients=8, threshold=10 - spare, packing=1)
    assert isinstance(never_wrong(f), AbortError)


def test_shares_of_a_lower_degree_are_right_ones(monkeypatch):
    """The control: what is spoilt is not that the client's own code was changed."""
    f = spoilt(monkeypatch, splitting(lower_degree), 10, min_clients=8, threshold=8, packing=1)
    assert never_wrong(f) is None


# -- values -------------------------------------------------------------------------------------------------------------------


def lanes(change):
    """Let the client encode other values than an honest one can."""

    def spoil(patched):
        honest = MaskSecret.mask

        def mask(secret, values, *rest):
            values = values.copy()
            change(values)
            return honest(secret, values, *rest)

        patched.setattr(MaskSecret, "mask", mask)

    return spoil


def counted_twice(values):
    if len(values) == 3:  # the head: weight, clipped values, and one
        values[2] += values.dtype.type(1)


def not_counted(values):
    if len(values) == 3:
        values[2] = 0


def heavier(values):
    if len(values) == 3:
        values[0] += values.dtype.type(5)


def beyond(values):
    if len(values) != 3:
        values[:] = 5500  # five honest clients' are 5250 at most


@pytest.mark.parametrize("change", [counted_twice, not_counted, heavier, beyond], ids=lambda change: change.__name__)
def test_values_that_no_client_encodes_end_the_round(monkeypatch, change):
    """Its check lane, a weight above the largest, and values that with the others' are beyond what a sum can be."""
    assert isinstance(never_wrong(spoilt(monkeypatch, lanes(change))), AbortError)


def test_values_in_range_count_as_they_are(monkeypatch):
    """The control, and the threat model's word: nobody can tell these from an update."""
    f = spoilt(monkeypatch, lanes(lambda values: values.sort() if len(values) != 3 else None))
    result = f.finish(1)
    others = sum(f.updates[name] for name in f.ids if name != LIAR)
    np.testing.assert_array_equal(result.sum - others, np.sort(f.updates[LIAR]))


# -- members that are set back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quiet", [False, True], ids=["a client", "a quiet member"])
def test_with_a_ledger_the_second_set_is_refused_whatever_is_restored_copied_or_made_anew(memory, quiet):
    f = Committee(6, min_clients=4, threshold=5, packing=2, ledgers=memory)
    given = {"identity": f.keys["c5"], "roster": f.roster, "ledger": f.ledger("c5")}

    def anew():
        return Member(f.params, me="c5", session=f.session, **given) if quiet else f.new_client("c5")

    def again(snapshot):
        return Member.restore(snapshot, **given) if quiet else f.restore("c5", snapshot)

    f.clients["c5"].close()
    f.clients["c5"] = anew()
    f.server.open_round(1, f.ids[:5])
    while f.server.phase != "reveal":
        for name, frames in f.requests().items():
            for frame in frames:
                f.clients[name].receive(frame)
            if getattr(f.clients[name], "awaiting", None):
                f.clients[name].submit(f.updates[name])
            f.bring([(name, frame) for frame in f.clients[name].outbox()])
        f.server.close_phase()
    first = f.asked(Kind.REVEAL_REQUEST)["c5"]
    second, old = f.fewer(first, 4), f.clients["c5"].snapshot()
    f.clients["c5"].close()
    one, other = again(old), again(old)
    one.receive(first)
    answer = one.outbox()
    with pytest.raises(EquivocationError, match="another set"):
        other.receive(second)
    other.receive(first)
    assert other.outbox() == answer
    one.close()
    other.close()
    third = again(old)
    with pytest.raises(EquivocationError, match="another set"):
        third.receive(second)
    third.close()
    fresh = anew()  # without its keys it answers nothing
    for frame in (first, second):
        with pytest.raises(PeerError):
            fresh.receive(frame)
    assert fresh.outbox() == []
    fresh.close()


def test_of_two_copies_on_one_ledger_that_answer_at_the_same_time_one_is_heard(monkeypatch, memory):
    """The second one answers for another set when the first has looked into the ledger, and has not yet written."""
    f = Committee(6, min_clients=4, threshold=5, packing=2, ledgers=memory)
    f.until("reveal")
    first = f.asked(Kind.REVEAL_REQUEST)["c5"]
    second, old = f.fewer(first, 4), f.clients["c5"].snapshot()
    f.clients["c5"].close()
    one, other, honest = f.restore("c5", old), f.restore("c5", old), sharing.add_shares

    def meanwhile(shares):
        monkeypatch.setattr(sharing, "add_shares", honest)
        other.receive(second)
        return honest(shares)

    monkeypatch.setattr(sharing, "add_shares", meanwhile)
    with pytest.raises(EquivocationError, match="another set"):
        one.receive(first)
    assert one.outbox() == []
    assert len(other.outbox()) == 1
    one.close()
    other.close()


# -- members' sums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["shorter", "longer", "nothing", "another account's", "another member's key"])
def test_answers_that_are_no_sums_are_refused_when_they_come(how):
    """Rightly sealed and signed by the member; the round goes on, and waits for its true answer."""
    f = Committee(6, min_clients=4, threshold=5, packing=2)
    f.until("reveal")
    sent = dict(f.hand(f.requests()))
    body, setup = f.body(sent["c2"]), f.setup
    keys = {
        name: answer_key(
            f.server._core._state.batch.pair.agree(setup.bodies[place].channel_key),
            f.server.session,
            setup.hash,
            1,
            name,
        )
        for place, name in enumerate(setup.ids)
    }
    plain = aead.open_(keys["c2"], body.sealed, body.account)
    changed = {"shorter": plain[:-8], "longer": plain + bytes(8), "nothing": b""}.get(how, plain)
    key = keys["c3" if how == "another member's key" else "c2"]
    account = bytes(32) if how == "another account's" else body.account
    with pytest.raises(PeerError):
        f.server.receive(f.forged(sent["c2"], sealed=aead.seal(key, changed, account)))
    assert f.server.missing == tuple(f.ids)
    f.bring(list(sent.items()))
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids)


def test_what_was_not_asked_of_somebody_is_refused_from_it():
    """A key of somebody outside the committee, an upload of no participant, and requests, which only the server makes."""
    f = Committee(12, committee=7, corrupt=1, threshold=5, packing=1, min_clients=9)
    f.server.open_round(1, f.ids[1:])
    requests = f.requests()
    sent = dict(f.hand(requests))
    member = next(iter(sent))
    outside = next(name for name in f.ids if name not in sent)
    theirs = fields(f.body(sent[member]), channel_key=bytes(31) + b"\x09")
    with pytest.raises(PeerError, match="no key was asked"):
        f.server.receive(seal_envelope(Kind.MEMBER_KEY, f.session, outside, theirs, f.keys[outside].sign))
    asked = f.body(requests[member][0])
    with pytest.raises(PeerError, match="not a client's frame"):
        f.server.receive(seal_envelope(Kind.KEYS_REQUEST, f.session, member, asked, f.keys[member].sign))
    f.bring(list(sent.items()))
    f.server.close_phase()
    uploads = f.hand(f.requests())
    header = next(frame for name, frame in uploads if name == "c1" and frame[3] == Kind.MASKED_HEADER)
    lie = seal_envelope(Kind.MASKED_HEADER, f.session, "c0", f.body(header), f.keys["c0"].sign)
    with pytest.raises(PeerError, match="no update was asked"):
        f.server.receive(lie)
    chunk = decode_frame(next(frame for _, frame in uploads if frame[3] == Kind.CHUNK), max_bytes=1 << 30)[1]
    frame, _ = make_chunk(f.session, "c0", (1, 0, 0), f.setup.hash, chunk.payload, f.keys["c0"].sign)
    with pytest.raises(PeerError, match="no update was asked"):
        f.server.receive(frame)
    f.bring(uploads)
    f.server.close_phase()
    answers = f.hand(f.requests())
    theirs = fields(f.body(answers[0][1]), complaints=[1], sealed=b"")
    with pytest.raises(PeerError, match="no answer was asked"):
        f.server.receive(seal_envelope(Kind.REVEAL, f.session, outside, theirs, f.keys[outside].sign))
    f.bring(answers)
    f.server.close_phase()
    f.exact(f.server.result(1), f.ids[1:])
