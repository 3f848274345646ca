"""The shares of a round's secret: sealed, added, put together, and what a wrong one comes to."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import AbortError, AuthenticationError, DecodeError
from secagg.hazmat import aead, field, prg
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.sharing import (
    add_shares,
    box_bytes,
    combine,
    derived,
    open_share,
    read_share,
    seal_shares,
)
from support.committee import make_params

SESSION, HASH = bytes(16), bytes(range(32))


def committee(size: int) -> tuple[list[KeyPair], Any]:
    """Members' keys, and as much of a setup as sharing looks at."""
    pairs = [KeyPair.generate() for _ in range(size)]
    bodies = tuple(SimpleNamespace(channel_key=pair.public_bytes) for pair in pairs)
    names = tuple(f"m{i}" for i in range(size))
    return pairs, SimpleNamespace(session=SESSION, hash=HASH, ids=names, bodies=bodies)


def secret_of(params: Any, seed: bytes | None = None) -> np.ndarray:
    return MaskSecret(params.mask_plan.segments[0].ring, seed or os.urandom(32)).coefficients()


PARAMS = [
    make_params(5),
    make_params(10, corrupt=1, threshold=8, packing=2),
    make_params(30, corrupt=3, threshold=26, packing=8),
    make_params(6, threat="semi-honest", corrupt=1, threshold=3, packing=2),
]


@pytest.mark.parametrize("params", PARAMS)
def test_sums_of_secrets_come_back_from_any_threshold_of_members(params: Any) -> None:
    pairs, setup = committee(params.committee)
    clients = [(f"c{i}", KeyPair.generate(), secret_of(params), os.urandom(32)) for i in range(4)]
    boxes = {name: seal_shares(secret, params, setup, pair, 3, name, seed) for name, pair, secret, seed in clients}
    answers = {}
    for place, pair in enumerate(pairs):
        shares = [
            open_share(boxes[name][place], params, setup, pair, own.public_bytes, (3, name, f"m{place}"))
            for name, own, _, _ in clients
        ]
        answers[place] = read_share(add_shares(shares), params, f"m{place}")
    expected = sum(secret for _, _, secret, _ in clients)
    rng = np.random.default_rng(5)
    for _ in range(4):
        chosen = rng.choice(params.committee, params.threshold, replace=False)
        total, wrong = combine(params, {int(place): answers[int(place)] for place in chosen})
        assert np.array_equal(total, expected) and wrong == ()
    total, wrong = combine(params, answers)
    assert np.array_equal(total, expected) and wrong == ()
    assert all(len(box) == box_bytes(params) for each in boxes.values() for box in each)


@pytest.mark.parametrize("liars", [1, 2, 3])
def test_half_of_the_answers_to_spare_are_corrected_and_more_are_refused(liars: int) -> None:
    """30 members, of whom 26 are needed: 4 to spare correct 2 liars; 3 leave too few to tell."""
    params = PARAMS[2]
    pairs, setup = committee(30)
    own, secret = KeyPair.generate(), secret_of(params)
    boxes = seal_shares(secret, params, setup, own, 1, "c0", os.urandom(32))
    answers = {
        place: open_share(boxes[place], params, setup, pair, own.public_bytes, (1, "c0", f"m{place}"))
        for place, pair in enumerate(pairs)
    }
    places = [3, 17, 29][:liars]
    for place in places:
        answers[place] = answers[place].copy()
        answers[place][place] = (int(answers[place][place]) + 12345) % field.P
    if liars < 3:
        total, wrong = combine(params, answers)
        assert np.array_equal(total, secret) and wrong == tuple(places)
    else:
        with pytest.raises(AbortError, match="contradict each other"):
            combine(params, answers)
    few = {place: answers[place] for place in range(26)}  # the first liar among them, and nobody to spare
    total, wrong = combine(params, few)
    assert wrong == () and not np.array_equal(total, secret)  # so little of a change shows when the sum is opened
    few[3] = np.random.default_rng(2).integers(0, field.P, len(answers[3]), dtype=np.uint64)
    with pytest.raises(AbortError, match="none that honest clients have"):
        combine(params, few)


def test_a_sum_that_no_digits_give_is_refused() -> None:
    """Shares of something else than a secret: nobody lied among the members, and yet nothing can be opened."""
    params = PARAMS[0]
    rows = params.mask_plan.share_rows(params.packing)
    rng = np.random.default_rng(1)
    value = rng.integers(1 << 59, field.P, (rows, params.packing), dtype=np.uint64)
    shares = sharing.packed.split(value, params.threshold, range(1, 6))
    with pytest.raises(AbortError, match="none that honest clients have"):
        combine(params, dict(enumerate(shares)))


def test_one_upload_is_made_again_byte_for_byte_and_another_is_another() -> None:
    params = PARAMS[1]
    _, setup = committee(10)
    own, secret, seed = KeyPair.generate(), secret_of(params), os.urandom(32)
    first = seal_shares(secret, params, setup, own, 1, "c0", seed)
    assert seal_shares(secret, params, setup, own, 1, "c0", seed) == first
    for other in (
        seal_shares(secret, params, setup, own, 1, "c0", os.urandom(32)),
        seal_shares(secret, params, setup, own, 2, "c0", seed),
        seal_shares(secret, params, setup, own, 1, "c1", seed),
        seal_shares(secret, params, setup, KeyPair.generate(), 1, "c0", seed),
    ):
        assert not set(other) & set(first)
    assert len(set(first)) == 10


def test_a_share_opens_for_its_member_client_round_and_setup_alone() -> None:
    params = PARAMS[0]
    pairs, setup = committee(5)
    own, secret = KeyPair.generate(), secret_of(params)
    boxes = seal_shares(secret, params, setup, own, 7, "c0", os.urandom(32))
    where = (7, "c0", "m2")

    def attempt(box: bytes, place: tuple[int, str, str] = where, pair: KeyPair = pairs[2], **changed: Any) -> Any:
        there = SimpleNamespace(**{**vars(setup), **changed})
        return open_share(box, params, there, pair, own.public_bytes, place)

    assert len(attempt(boxes[2])) == params.mask_plan.share_rows(params.packing)
    for call in (
        lambda: attempt(boxes[1]),
        lambda: attempt(boxes[2], (8, "c0", "m2")),
        lambda: attempt(boxes[2], (7, "c1", "m2")),
        lambda: attempt(boxes[2], (7, "c0", "m1")),
        lambda: attempt(boxes[2], pair=pairs[1]),
        lambda: attempt(boxes[2], session=bytes([1] * 16)),
        lambda: attempt(boxes[2], hash=bytes(32)),
        lambda: attempt(boxes[2][:-1]),
        lambda: attempt(b""),
        lambda: attempt(bytes([boxes[2][20] ^ 1]) + boxes[2][1:]),
    ):
        with pytest.raises(AuthenticationError):
            call()


def test_what_is_no_share_is_refused() -> None:
    params = PARAMS[0]
    good = bytes(8 * params.mask_plan.share_rows(params.packing))
    assert not read_share(good, params, "c0").any()
    edge = (field.P - 1).to_bytes(8, "little")
    assert read_share(edge + good[8:], params, "c0")[0] == field.P - 1
    for bad, words in (
        (good[:-1], "another length"),
        (good + b"\0", "another length"),
        (b"", "another length"),
        (field.P.to_bytes(8, "little") + good[8:], "not canonical"),
        (good[:-8] + b"\xff" * 8, "not canonical"),
    ):
        with pytest.raises(DecodeError, match=words) as error:
            read_share(bad, params, "c0")
        assert error.value.peer == "c0"


def test_threshold_less_packing_shares_are_uniform_whatever_the_secret() -> None:
    """A share of the least secret and of the largest look alike: their first elements lie evenly in the field."""
    params = make_params(5, corrupt=1, threshold=4, packing=1)
    pairs, setup = committee(5)
    for secret in (np.zeros(params.mask_plan.degree, np.int64), np.full(params.mask_plan.degree, 50, np.int64)):
        own = KeyPair.generate()
        boxes = seal_shares(secret, params, setup, own, 1, "c0", os.urandom(32))
        for place in (0, 4):  # drawn, and computed
            share = open_share(boxes[place], params, setup, pairs[place], own.public_bytes, (1, "c0", f"m{place}"))
            mean, count = share.astype(float).mean() / field.P, len(share)
            assert abs(mean - 0.5) < 8 / np.sqrt(12 * count)
            assert len(np.unique(share)) == count


@given(st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_a_derived_source_gives_one_stream_however_it_is_drawn(sizes: list[int]) -> None:
    draw = derived(b"s" * 32, "a label")
    whole = derived(b"s" * 32, "a label")(sum(sizes))
    assert b"".join(draw(size) for size in sizes) == whole
    assert derived(b"s" * 32, "another")(sum(sizes)) != whole or sum(sizes) < 4
    assert derived(b"t" * 32, "a label")(sum(sizes)) != whole or sum(sizes) < 4
    assert len(whole) == sum(sizes) and aead.KEY_BYTES == 32 and prg.SEED_BYTES == 16


def test_sums_are_added_modulo_p_and_leave_what_they_are_made_of() -> None:
    one, two = np.array([field.P - 1, 5], np.uint64), np.array([3, field.P - 5], np.uint64)
    assert np.frombuffer(add_shares([one, two]), "<u8").tolist() == [2, 0]
    assert one.tolist() == [field.P - 1, 5]
    assert np.frombuffer(add_shares([two]), "<u8").tolist() == two.tolist()
