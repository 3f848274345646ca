"""A client that lies so that a member of the committee looks like a liar.

Nobody proves that the shares it deals lie on one polynomial, so a member that was dealt one beside it sends a sum that does not
fit the others', and decoding names the member. What a result says of it must leave room for that; and a client whose shares do
not open is named even where enough members are left for the sum.
"""

import numpy as np
import pytest

from secagg.errors import AbortError, DecodeError
from secagg.hazmat import field
from secagg.protocols.oneshot import sharing
from support.committee import Committee

LIAR = "c9"


@pytest.fixture
def dealt(monkeypatch):
    """Let the liar's upload deal to some places what `change` makes of an honest share, or a box of nothing."""

    def deal(places, *, sealed):
        honest = sharing.aead.seal

        def seal_shares(*args):
            count = 0

            def seal(key, plain, aad, entropy):
                nonlocal count
                count += 1
                if count - 1 in places:
                    first = (int.from_bytes(plain[:8], "little") + 1) % field.P
                    plain = first.to_bytes(8, "little") + plain[8:]
                return honest(key, plain, aad, entropy)

            with monkeypatch.context() as patch:
                if args[5] == LIAR and sealed:
                    patch.setattr(sharing.aead, "seal", seal)
                boxes = sharing.seal_shares(*args)
            if args[5] == LIAR and not sealed:
                boxes = [bytes(len(box)) if place in places else box for place, box in enumerate(boxes)]
            return boxes

        monkeypatch.setattr("secagg.protocols.oneshot.client.seal_shares", seal_shares)

    return deal


@pytest.fixture
def fed():
    return Committee(10, corrupt=1, min_clients=8, threshold=8, packing=1)


def test_a_member_that_was_dealt_a_wrong_share_is_not_called_a_liar(fed, dealt):
    dealt({0}, sealed=True)
    result = fed.round()
    fed.exact(result, fed.ids)
    assert list(result.blamed) == ["c0"]
    assert "or a client dealt it" in result.blamed["c0"]


def test_wrong_shares_for_more_members_than_can_be_corrected_end_the_round(fed, dealt):
    dealt({0, 1}, sealed=True)
    with pytest.raises(AbortError, match="contradict"):
        fed.round()


def test_a_client_whose_shares_do_not_open_is_named_though_the_sum_opens(fed, dealt):
    dealt({0, 1}, sealed=False)
    result = fed.round()
    np.testing.assert_array_equal(result.sum, np.sum([fed.updates[name] for name in fed.ids], axis=0))
    assert list(result.blamed) == [LIAR]
    assert "c0, c1" in result.blamed[LIAR]


def test_a_client_whose_shares_open_for_too_few_ends_the_round_and_is_named(fed, dealt):
    dealt({0, 1, 2}, sealed=False)
    with pytest.raises(AbortError, match=f"could not open shares of {LIAR}"):
        fed.round()


def test_a_member_that_complains_of_everybody_is_named_alone(fed, monkeypatch):
    fed.until("reveal")
    honest, opened = sharing.open_share, []

    def none(*args):
        opened.append(args[5][2])
        if args[5][2] == "c4":
            raise DecodeError("no share")
        return honest(*args)

    monkeypatch.setattr(sharing, "open_share", none)
    result = fed.finish(1)
    assert "c4" in opened
    assert list(result.blamed) == ["c4"]
