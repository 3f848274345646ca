"""Receipts of oneshot: what they are verified against, what each change of one is worth, and what a ledger holds against them."""

from __future__ import annotations

import dataclasses
import os

import pytest

from secagg import HOLDER, Params, Receipt
from secagg.errors import AuthenticationError, InputError
from secagg.protocols.oneshot import committee
from secagg.store.sent import read_sent
from support.committee import SESSION, Committee, make_params


@pytest.fixture
def fed(memory):
    """A round of a committee that was drawn: one sender is lost, and one member answers although its own update was."""
    f = Committee(9, committee=6, corrupt=1, threshold=5, packing=1, min_clients=6, ledgers=memory)
    crew = committee(f.roster, SESSION, 6)
    f.outside = next(name for name in f.ids if name not in crew)
    f.late, f.crew = crew[0], crew
    f.until("masked")
    f.carry(silent={f.outside, f.late})
    f.server.close_phase()
    f.carry(silent={crew[1]})
    f.server.close_phase()
    f.receipt = f.server.result(1).receipt
    yield f
    for client in f.clients.values():
        client.close()


def signed(f, receipt, **changes):
    """A receipt that a lying server signs."""
    made = dataclasses.replace(receipt, **changes)
    return dataclasses.replace(made, server_signature=f.server_key.sign(made.statement))


def test_it_says_who_was_in_the_sum_and_which_members_answered(fed):
    receipt = fed.receipt
    receipt.verify(fed.roster, fed.params)
    assert receipt.survivors == tuple(name for name in fed.ids if name not in (fed.outside, fed.late))
    assert receipt.participants == tuple(fed.ids)
    assert set(receipt.signatures) == set(fed.crew) - {fed.crew[1]}
    assert fed.late in receipt.signatures and fed.late not in receipt.uploads
    assert Receipt.from_json(receipt.to_json()) == receipt
    lone = dataclasses.replace(receipt)
    with pytest.raises(AuthenticationError, match="params= would show"):
        lone.verify(fed.roster)


def test_other_params_and_counts_outside_them_are_refused(fed):
    other = make_params(9, committee=6, corrupt=1, threshold=5, packing=1, min_clients=7)
    with pytest.raises(AuthenticationError, match="other Params"):
        fed.receipt.verify(fed.roster, other)
    with pytest.raises(AuthenticationError, match="other Params"):
        fed.receipt.verify(fed.roster, Params(9, length=5))
    few = dict(list(fed.receipt.uploads.items())[:5])
    with pytest.raises(AuthenticationError, match="outside Params"):
        signed(fed, fed.receipt, uploads=few).verify(fed.roster, fed.params)
    with pytest.raises(AuthenticationError, match="outside Params"):
        signed(fed, fed.receipt, participants=fed.receipt.participants[:5]).verify(fed.roster, fed.params)


def test_fewer_signatures_than_the_threshold_are_refused(fed):
    signatures = dict(list(fed.receipt.signatures.items())[:4])
    with pytest.raises(AuthenticationError, match="4 clients signed this receipt; 5 are needed"):
        signed(fed, fed.receipt, signatures=signatures).verify(fed.roster, fed.params)


def test_signatures_of_others_than_members_are_worth_nothing(fed):
    """Of a client that is no member, of a stranger, of somebody else's key, and of a key holder."""
    account, first = fed.receipt.account, fed.crew[2]
    outside = {**fed.receipt.signatures, fed.outside: fed.keys[fed.outside].sign(account)}
    with pytest.raises(AuthenticationError, match="outside the committee"):
        signed(fed, fed.receipt, signatures=outside).verify(fed.roster, fed.params)
    stranger = {**fed.receipt.signatures, "zz": fed.keys["c0"].sign(account)}
    with pytest.raises(AuthenticationError, match="outside"):
        signed(fed, fed.receipt, signatures=stranger).verify(fed.roster, fed.params)
    wrong = {**fed.receipt.signatures, first: fed.keys[fed.outside].sign(account)}
    with pytest.raises(AuthenticationError):
        signed(fed, fed.receipt, signatures=wrong).verify(fed.roster, fed.params)
    with pytest.raises(AuthenticationError, match="key holder"):
        held = {**fed.receipt.signatures, HOLDER: bytes(64)}
        signed(fed, fed.receipt, signatures=held).verify(fed.roster, fed.params)


@pytest.mark.parametrize(
    "field",
    ["session", "round_id", "setup_hash", "members_hash", "context_hash", "result_hash", "uploads", "signatures"],
)
def test_every_field_is_signed(fed, field):
    value = getattr(fed.receipt, field)
    if field == "uploads":
        changed = {**value, fed.ids[0] if fed.ids[0] in value else next(iter(value)): bytes(32)}
    elif field == "signatures":
        changed = {name: bytes([sign[0] ^ 1]) + sign[1:] for name, sign in value.items()}
    else:
        changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    with pytest.raises(AuthenticationError):
        dataclasses.replace(fed.receipt, **{field: changed}).verify(fed.roster, fed.params)
    if field != "result_hash":  # which the server alone speaks for
        with pytest.raises(AuthenticationError):
            signed(fed, fed.receipt, **{field: changed}).verify(fed.roster, fed.params)


def test_another_session_is_another_committee(fed):
    """A receipt of a session that draws other members does not hold for this one."""
    other = next(
        session
        for session in (os.urandom(16) for _ in range(100))
        if set(committee(fed.roster, session, 6)) != set(fed.crew)
    )
    with pytest.raises(AuthenticationError):
        signed(fed, fed.receipt, session=other).verify(fed.roster, fed.params)


# -- against a ledger -------------------------------------------------------------------------------------------------


def sent(f, name, round_id=1):
    return read_sent(f.ledger(name), SESSION, round_id)


def test_what_the_ledgers_of_all_parts_say_fits(fed):
    for name in fed.ids:
        told = sent(fed, name)
        fed.receipt.verify_sent(told, fed.roster)
        # Who was silent never heard the request; the member that was late answered all the same.
        assert (told.header is not None) == (name not in (fed.outside, fed.late))
        assert told.answered == (name in fed.crew and name != fed.crew[1])
        assert (told.account == fed.receipt.account) == told.answered
        if told.header is not None:
            assert told.header.tag == fed.receipt.uploads[name]


def test_a_receipt_that_contradicts_a_ledger_is_refused(fed):
    name, other = fed.crew[2], fed.crew[1]
    told = sent(fed, name)
    nothing = sent(fed, name, 2)
    assert (nothing.header, nothing.answered, nothing.account) == (None, False, None)
    none = dataclasses.replace(told, header=None)
    for given, words in (
        ({"uploads": {**fed.receipt.uploads, name: bytes(32)}}, "another account|another upload"),
        ({"setup_hash": bytes(32)}, "another account"),
        ({"context_hash": bytes(32)}, "another account"),
        ({"signatures": {**fed.receipt.signatures, other: bytes(64)}}, "signature that the ledger does not know"),
    ):
        who = sent(fed, other) if "signatures" in given else told
        with pytest.raises(AuthenticationError, match=words):
            dataclasses.replace(fed.receipt, **given).verify_sent(who, fed.roster)
    with pytest.raises(AuthenticationError, match="upload that the ledger does not know"):
        fed.receipt.verify_sent(none, fed.roster)
    quiet = sent(fed, other)  # it sent an update, and no answer: only its header speaks
    for given, words in (
        ({"uploads": {**fed.receipt.uploads, other: bytes(32)}}, "another upload"),
        ({"params_hash": bytes(32)}, "under other Params"),
        ({"setup_hash": bytes(32)}, "in another setup"),
        ({"context_hash": bytes(32)}, "model"),
        ({"participants": fed.receipt.participants[:-1]}, "participants"),
    ):
        with pytest.raises(AuthenticationError, match=words):
            dataclasses.replace(fed.receipt, **given).verify_sent(quiet, fed.roster)


def test_a_member_that_answered_may_have_been_left_out(fed):
    """In oneshot an answer says nothing of one's own upload; where the account is still known, that of the sum it was for."""
    name = fed.crew[2]
    told = sent(fed, name)
    uploads = {each: tag for each, tag in fed.receipt.uploads.items() if each != name}
    without = dataclasses.replace(fed.receipt, uploads=uploads)
    with pytest.raises(AuthenticationError, match="another account"):
        without.verify_sent(told, fed.roster)
    without.verify_sent(dataclasses.replace(told, account=None), fed.roster)


def test_ledgers_of_others_and_of_other_rounds_are_mistakes(fed):
    told = sent(fed, fed.crew[2])
    for given, words in (
        ({"me": "zz"}, "not on this roster"),
        ({"verify_key": bytes(32)}, "not on this roster"),
        ({"round_id": 2}, "another round"),
        ({"session": bytes(16)}, "another round"),
    ):
        with pytest.raises(InputError, match=words):
            fed.receipt.verify_sent(dataclasses.replace(told, **given), fed.roster)
