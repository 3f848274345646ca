"""Faults 17 to 26: broken or hostile cryptographic values."""

import os

import pytest

from secagg.errors import AbortError, AuthenticationError, InputError, ParameterError, PeerError
from secagg.hazmat import shamir
from secagg.protocols.pairwise import dealing
from secagg.protocols.pairwise.messages import Answer, Dealing, Kind
from secagg.wire import encode_body
from support.federation import Federation, fields
from support.hostile import second_form
from support.liars import garble, lying_answer

P = (1 << 61) - 1


def at_shares(f):
    """Return the server's state with the shares phase open and everybody's dealing still under way."""
    f.server.open_round(1)
    f.until("shares")
    return f.hand(f.requests())


def test_fault_17_tampered_sealed_share_is_reported_and_unused():
    f = Federation(5, threshold=5, min_clients=5)
    sent = dict(at_shares(f))
    body = f.body(sent["c0"])
    sealed = bytearray(body.sealed)
    sealed[20] ^= 1  # c0's share for c1
    sent["c0"] = f.forge_client("c0", Kind.DEALING, fields(body, sealed=bytes(sealed)))
    f.bring(list(sent.items()))
    f.server.close_phase()
    # t = 5 of 5 holders: one short for c0 alone, so its mask could never be opened, and nobody is asked for shares
    with pytest.raises(AbortError, match=r"'c0': c1 complained"):
        f.phase()
    assert f.server._core._state.batch.complaints[1] == (0,)
    g = Federation(7, corrupt=1, threshold=5, min_clients=5)
    sent = dict(at_shares(g))
    body = g.body(sent["c0"])
    sealed = bytearray(body.sealed)
    sealed[20] ^= 1
    sent["c0"] = g.forge_client("c0", Kind.DEALING, fields(body, sealed=bytes(sealed)))
    g.bring(list(sent.items()))
    g.server.close_phase()
    g.phase()
    g.phase()
    g.check(g.ids)


def test_fault_17_a_dealer_that_nobody_can_use_is_left_out_of_later_rounds():
    f = Federation(7, corrupt=1, threshold=5, min_clients=5, rounds_per_setup=2)
    sent = dict(at_shares(f))
    body = f.body(sent["c6"])
    sent["c6"] = f.forge_client("c6", Kind.DEALING, fields(body, sealed=bytes(len(body.sealed))))
    f.bring(list(sent.items()))
    f.server.close_phase()
    with pytest.raises(AbortError, match=r"'c6': c0, c1, c2, c3, c4, c5 complained"):
        f.phase()
    f.round(2)
    f.check(f.ids[:6], 2)


def test_fault_18_swapped_sender_and_recipient_do_not_open():
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    sent = dict(at_shares(f))
    size = dealing.sealed_bytes(1)
    body = f.body(sent["c0"])
    swapped = body.sealed[size : 2 * size] + body.sealed[:size] + body.sealed[2 * size :]
    sent["c0"] = f.forge_client("c0", Kind.DEALING, fields(body, sealed=swapped))
    f.bring(list(sent.items()))
    f.server.close_phase()
    f.phase()
    complaints = f.server._core._state.batch.complaints
    assert (complaints[1], complaints[2]) == ((0,), (0,))


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_fault_19_small_order_x25519_keys_are_refused(key):
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    f.server.open_round(1)
    sent = dict(f.hand(f.requests()))
    body = f.body(sent["c0"])
    bad = f.forge_client("c0", Kind.ADVERTISEMENT, fields(body, mask_keys=key))
    with pytest.raises(AuthenticationError, match="small order"):
        f.server.receive(bad)
    f.bring([pair for pair in sent.items() if pair[0] != "c0"])
    f.server.close_phase()
    f.until("idle", {"c0"})
    f.check(f.ids[1:])


def test_fault_20_small_order_and_non_canonical_ed25519_keys_are_refused():
    from secagg import Identity, Roster

    good = Identity.generate().verify_key
    bad = [
        b"\x01" + bytes(31),
        bytes(32),
        (P255 := (1 << 255) - 19).to_bytes(32, "little"),
        (P255 + 1).to_bytes(32, "little"),
    ]
    for key in bad:
        with pytest.raises((ParameterError, AuthenticationError, InputError)):
            Roster({"a": key}, good)


def test_fault_21_s_not_below_group_order_is_refused():
    f = Federation()
    f.server.open_round(1)
    name, frame = f.hand(f.requests())[0]
    with pytest.raises(AuthenticationError):
        f.server.receive(second_form(frame))
    assert f.server.receive(frame) == name


def test_fault_22_equal_and_reflected_public_keys_are_refused():
    f = Federation()
    f.server.open_round(1)
    sent = dict(f.hand(f.requests()))
    theirs = f.body(sent["c1"])
    assert f.server.receive(sent["c1"]) == "c1"
    mine = f.body(sent["c0"])
    for changed in (
        fields(mine, channel_key=theirs.channel_key),
        fields(mine, mask_keys=theirs.mask_keys),
        fields(mine, mask_keys=mine.channel_key),
        fields(mine, channel_key=mine.server_key),
    ):
        with pytest.raises(AuthenticationError, match="twice"):
            f.server.receive(f.forge_client("c0", Kind.ADVERTISEMENT, changed))


def test_fault_23_nonces_never_repeat():
    seen = set()
    f = Federation()
    for round_id in (1, 2, 3):
        f.round(round_id)
    size = dealing.sealed_bytes(1)
    for _, frame in f.up:
        if frame[3] == Kind.DEALING:
            sealed = f.body(frame).sealed
            for at in range(0, len(sealed), size):
                seen.add(sealed[at : at + 12])
    assert len(seen) == 3 * 5 * 4


def test_fault_24_wrong_share_is_found_and_the_liar_named():
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    f.server.open_round(1)
    f.until("unmask")
    lying_answer(f, "c1", garble)
    f.phase()
    f.check(f.ids)
    assert set(f.server.result(1).blamed) == {"c1"}


def test_fault_24_without_enough_right_shares_aborts_with_blame():
    f = Federation(5, threshold=5, min_clients=5)
    f.server.open_round(1)
    f.until("unmask")
    lying_answer(f, "c1", garble)
    with pytest.raises(AbortError, match="c1"):
        f.phase()


def test_fault_24_inconsistent_dealer_is_named():
    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    f.server.open_round(1)
    f.until("shares")
    real = dealing.deal

    def crooked(seeds, keys, threshold, me, neighbours, entropy):
        plain = real(seeds, keys, threshold, me, neighbours, entropy)
        if me == 2:
            for rank in plain:
                off = bytearray(plain[rank])
                off[17] ^= 37 * (rank + 1) ** 2 & 255 | 1
                plain[rank] = bytes(off)
        return plain

    dealing.deal = crooked
    try:
        f.phase()
    finally:
        dealing.deal = real
    f.phase()
    with pytest.raises(AbortError, match=r"c2.*inconsistent"):
        f.phase()


def test_fault_25_share_indices_are_checked():
    shares = dict(enumerate(shamir.split(b"k" * 16, 3, [1, 2, 3, 4], os.urandom), start=1))
    for bad in ({0: shares[1], 2: shares[2], 3: shares[3]}, {P: shares[1], 2: shares[2], 3: shares[3]}):
        with pytest.raises((InputError, ParameterError)):
            shamir.combine(bad, 3, 16)
    for xs in ([0, 1, 2], [1, 1, 2], [1, 2, P]):
        with pytest.raises((InputError, ParameterError)):
            shamir.split(b"k" * 16, 2, xs, os.urandom)


def test_fault_26_non_canonical_field_elements_are_refused():
    shares = dict(enumerate(shamir.split(b"k" * 16, 2, [1, 2], os.urandom), start=1))
    shares[1] = P.to_bytes(8, "little") + shares[1][8:]
    with pytest.raises((InputError, ParameterError)):
        shamir.combine(shares, 2, 16)

    def overflow(plain):
        import msgspec

        body = msgspec.msgpack.Decoder(Answer).decode(plain)
        return encode_body(fields(body, seed_shares=b"\xff" * len(body.seed_shares)))

    f = Federation(7, corrupt=1, threshold=5, min_clients=5)
    f.server.open_round(1)
    f.until("unmask")
    lying_answer(f, "c1", overflow)
    f.phase()
    f.check(f.ids)
    assert set(f.server.result(1).blamed) == {"c1"}


def test_dealing_of_another_length_is_refused():
    f = Federation()
    sent = dict(at_shares(f))
    body = f.body(sent["c0"])
    for name in ("commitments", "holder_hashes", "sealed"):
        with pytest.raises(PeerError, match="length"):
            f.server.receive(f.forge_client("c0", Kind.DEALING, fields(body, **{name: b"x"})))
    assert isinstance(body, Dealing)
